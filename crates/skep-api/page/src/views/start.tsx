// The first steps: what this machine is for, how much of it is lent, the network, a first answer.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Trouble } from "../lib/errors";
import { capsOf, lendsInUse, wordText } from "../lib/limits";
import { byOwner, metersOf, type MachineView } from "../lib/machine";
import type { Desk } from "../store/desk";
import { limits, loadLimits } from "../store/limits";
import { lookClosely, machine, tellMachine } from "../store/machine";
import { useStore } from "../store/store";
import { Mark } from "../ui/icons";
import { MeterView } from "../ui/meter";
import { presetOf } from "./control";
import { TroubleView } from "./message";
import { Presets } from "./presets";
import { FirstAnswer, Private } from "./start-network";

type Purpose = "use" | "share" | "both";

const PURPOSES: { purpose: Purpose; name: string; words: string }[] = [
  { purpose: "use", name: "Use", words: "You ask the network. Nothing of this machine is lent to others." },
  { purpose: "share", name: "Share", words: "You lend what lies idle here, so that others get answers." },
  { purpose: "both", name: "Both", words: "You ask, and lend what lies idle. This is how a network grows." },
];

function Purposes({ chosen, choose }: { chosen: Purpose; choose(purpose: Purpose): void }) {
  return (
    <>
      <div class="presets" role="radiogroup" aria-label="What this machine is for">
        {PURPOSES.map(({ purpose, name, words }) => (
          <label class={purpose === chosen ? "preset on" : "preset"} data-testid={`purpose-${purpose}`}>
            <input type="radio" name="purpose" checked={purpose === chosen} onChange={() => choose(purpose)} />
            <span class="preset-name">{name}</span>
            <span class="preset-words">{words}</span>
          </label>
        ))}
      </div>
      <p class="note" role="status">
        {chosen === "use"
          ? "Lending is paused for good: it stays so, also after a restart, until you press Resume under “My machine”."
          : "You can pause at any time, and it steps aside by itself while you need your machine."}
      </p>
    </>
  );
}

function HowMuch({ view }: { view: MachineView }) {
  const state = useStore(limits);
  const preset = presetOf(state);
  const caps = capsOf(state.fields, preset.raw, view.machine.memory_bytes, view.use.transferred_today_bytes);
  const lends = lendsInUse(state.fields, preset.raw);
  return (
    <>
      {state.trouble && <TroubleView trouble={state.trouble} />}
      <Presets />
      <h2>What it uses now, and could use at most</h2>
      <p class="note">
        {wordText(preset.raw)}, while nobody uses this machine. {lends ? "While somebody does, it is less." : "While somebody does, nothing is lent."}
      </p>
      <ul class="meters" data-testid="would-use">
        {metersOf({ ...view, caps }).map((meter) => (
          <MeterView key={meter.name} meter={meter} />
        ))}
      </ul>
    </>
  );
}

const TITLES = ["What is this machine for?", "How much may it lend?", "Your network is private", "Ask something"];

function Progress({ step, skipped }: { step: number; skipped: number | null }) {
  return (
    <ol class="steps" aria-label="Steps">
      {TITLES.map((title, index) => (
        <li class={index < step && index !== skipped ? "done" : undefined} aria-current={index === step ? "step" : undefined}>
          <span class="hidden">
            {title}
            {index === skipped ? " (not needed)" : ""}
          </span>
        </li>
      ))}
    </ol>
  );
}

/** Does what the purpose asks of the machine; gives what went wrong. */
async function follow(purpose: Purpose): Promise<Trouble | null> {
  const { view } = machine.value;
  if (purpose === "use") return tellMachine({ command: "pause" });
  return view && byOwner(view) ? tellMachine({ command: "resume" }) : null;
}

export function StartPage({ desk, onEnd }: { desk: Desk; onEnd(view: "chat" | "machine"): void }) {
  const { view } = useStore(machine);
  const [step, setStep] = useState(0);
  const [purpose, setPurpose] = useState<Purpose>("both");
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(lookClosely, []);
  useEffect(() => void loadLimits(), []);
  useEffect(() => title.current?.focus(), [step]);
  const last = TITLES.length - 1;
  const passes = (index: number) => index === 1 && purpose === "use";
  const go = (by: 1 | -1) => {
    setTrouble(null);
    if (step + by > last) onEnd(purpose === "share" ? "machine" : "chat");
    else setStep(passes(step + by) ? step + 2 * by : step + by);
  };
  const next = async () => {
    const wrong = step === 0 ? await follow(purpose) : null;
    if (wrong) setTrouble(wrong);
    else go(1);
  };
  return (
    <main class="page start" data-testid="start" data-step={step + 1}>
      <section class="card" aria-labelledby="start-title">
        <div class="card-head">
          <Mark size={44} />
          <Progress step={step} skipped={purpose === "use" ? 1 : null} />
          <button type="button" class="quiet" onClick={() => onEnd("chat")} data-testid="start-close">
            Skip all of this
          </button>
        </div>
        <h1 id="start-title" ref={title} tabIndex={-1}>
          <span class="hidden">{`Step ${step + 1} of ${TITLES.length}: `}</span>
          {TITLES[step]}
        </h1>
        {step === 0 && (
          <p class="lead">Skep makes one AI out of many people's computers, and yours can be one of them. Four short steps; all of it can be changed later.</p>
        )}
        {step === 0 && <Purposes chosen={purpose} choose={setPurpose} />}
        {step === 1 && view && <HowMuch view={view} />}
        {step === 2 && <Private />}
        {step === 3 && <FirstAnswer desk={desk} />}
        {trouble && <TroubleView trouble={trouble} />}
        <div class="start-foot">
          {step > 0 && (
            <button type="button" class="press" onClick={() => go(-1)} data-testid="start-back">
              Back
            </button>
          )}
          <span class="grow" />
          {step < last && (
            <button type="button" class="quiet" onClick={() => go(1)} data-testid="start-skip">
              Skip this step
            </button>
          )}
          <button type="button" class="press main" onClick={() => void next()} data-testid="start-next">
            {step === last ? (purpose === "share" ? "To my machine" : "To the chat") : "Go on"}
          </button>
        </div>
      </section>
    </main>
  );
}
