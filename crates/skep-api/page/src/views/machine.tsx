// My machine: whether it is lent, why not, what would change that, and what it costs.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Trouble } from "../lib/errors";
import type { Field } from "../lib/limits";
import { byOwner, HEADLINES, metersOf, momentText, sentence, spanText, untilTomorrow, workText } from "../lib/machine";
import type { Command, MachineView } from "../lib/machine";
import { limits, loadLimits } from "../store/limits";
import { lookClosely, machine, tellMachine } from "../store/machine";
import { useStore } from "../store/store";
import { keepFocus } from "../ui/focus";
import { Mark } from "../ui/icons";
import { MeterView } from "../ui/meter";
import { WithSettings } from "../ui/named";
import { Day } from "./day";
import { TroubleView } from "./message";
import { Phone } from "./phone";
import { Holds, Senses } from "./senses";

/** What would change a pause, and until when it lasts. */
function Remedy({ view, fields, now }: { view: MachineView; fields: Field[]; now: number }) {
  const { reason, until_ms: until } = view;
  if (!reason) return null;
  return (
    <p class="remedy" data-testid="remedy">
      {until !== null && until > now && (
        <>
          Until <b>{momentText(until, now)}</b>, in {spanText(until - now)}.{" "}
        </>
      )}
      {byOwner(view) ? (
        `It is lent again ${until === null ? "when" : "then, or when"} you press Resume.`
      ) : (
        <WithSettings text={reason.remedy} fields={fields} />
      )}
    </p>
  );
}

const HOUR = 3600;

function Buttons({ view }: { view: MachineView }) {
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const box = useRef<HTMLDivElement>(null);
  const tell = (command: Command) =>
    keepFocus(
      async () => {
        setBusy(true);
        setTrouble(await tellMachine(command));
        setBusy(false);
      },
      () => box.current?.querySelector("button"),
    );
  const pauses: [string, string, () => number | undefined][] = [
    ["now", "Until I resume", () => undefined],
    ["1h", "For 1 hour", () => HOUR],
    ["2h", "For 2 hours", () => 2 * HOUR],
    ["tomorrow", "Until tomorrow morning", () => untilTomorrow(Date.now())],
  ];
  return (
    <div class="owner-says" aria-busy={busy} ref={box}>
      {byOwner(view) && (
        <button type="button" class="press main" onClick={() => void tell({ command: "resume" })} data-testid="resume">
          Resume
        </button>
      )}
      <div class="press-group" role="group" aria-labelledby="pause-label">
        <span id="pause-label">Pause</span>
        {pauses.map(([id, label, seconds]) => (
          <button
            type="button"
            class="press"
            onClick={() => {
              const wanted = seconds();
              void tell(wanted === undefined ? { command: "pause" } : { command: "pause", seconds: wanted });
            }}
            data-testid={`pause-${id}`}
          >
            {label}
          </button>
        ))}
      </div>
      {view.state === "lending" && (
        <button type="button" class="press" onClick={() => void tell({ command: "finish" })} title="Takes nothing new, and pauses when what it has begun is done" data-testid="finish">
          Finish, then pause
        </button>
      )}
      {trouble && <TroubleView trouble={trouble} />}
    </div>
  );
}

function Hero({ view, fields, now }: { view: MachineView; fields: Field[]; now: number }) {
  const { state, reason } = view;
  return (
    <section class={`card hero is-${state}`} aria-labelledby="machine-title" data-testid="machine-state" data-state={state} data-reason={reason?.code}>
      <Mark size={84} />
      <div class="hero-words">
        {/* Told once when it changes; what changes by the second stays outside. */}
        <div role="status">
          <h1 id="machine-title">{HEADLINES[state]}</h1>
          {reason && <p class="hero-reason">{sentence(reason.text)}</p>}
        </div>
        {state !== "paused" && <p class="hero-reason">{workText(view)}</p>}
        <Remedy view={view} fields={fields} now={now} />
        <p class="note">
          {state === "paused" ? "Paused" : state === "finishing" ? "Finishing" : "Lent"} for {spanText(now - view.since_ms)}. Your own questions are
          answered whatever the state.
        </p>
      </div>
      <Buttons view={view} />
    </section>
  );
}

function Uses({ view }: { view: MachineView }) {
  return (
    <section class="card" aria-labelledby="uses-title">
      <div class="card-head">
        <h2 id="uses-title">What Skep uses now</h2>
        {view.caps ? (
          <a href="#/settings" data-testid="to-settings">
            Change the limits
          </a>
        ) : (
          <span class="note">nothing is lent</span>
        )}
      </div>
      <ul class="meters">
        {metersOf(view).map((meter) => (
          <MeterView key={meter.name} meter={meter} />
        ))}
      </ul>
      {view.caps && <p class="note">Graphics processors are {view.caps.gpu ? "lent too." : "not lent."}</p>}
    </section>
  );
}

export function MachinePage() {
  const { view, trouble } = useStore(machine);
  const { fields } = useStore(limits);
  useEffect(lookClosely, []);
  useEffect(() => void loadLimits(), []);
  const now = Date.now();
  return (
    <main class="page" data-testid="machine">
      {trouble && <TroubleView trouble={trouble} />}
      {!view && !trouble && <p class="note">Looking at this machine…</p>}
      {view && (
        <>
          <Hero view={view} fields={fields} now={now} />
          <Uses view={view} />
          <Day timeline={view.timeline} now={now} />
          <Holds view={view} />
          <Phone />
          <Senses sensors={view.sensors} fields={fields} />
        </>
      )}
    </main>
  );
}
