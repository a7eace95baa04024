// The models: what is on this machine and in its network, whether it fits and why, and how new ones come and old ones go.

import { useEffect, useRef, useState } from "preact/hooks";
import { troubleOf, type Trouble } from "../lib/errors";
import { memoryText } from "../lib/machine";
import { factsOf, FITS, hereText, nameOf, percentOf, progressText, roomText, servedText, STATES, turnOf } from "../lib/models";
import type { ModelRow, ModelsView, PullRow } from "../lib/models";
import { bytesText } from "../lib/route";
import { models, order, watchModels } from "../store/models";
import { useStore } from "../store/store";
import { AskButton } from "../ui/ask";
import { CopyButton } from "../ui/copy";
import { keepFocus } from "../ui/focus";
import { TrashIcon } from "../ui/icons";
import { TroubleView } from "./message";

/** Where the keyboard goes when what it was on is gone. */
const toBox = () => document.getElementById("pull-source");

function Bar({ percent, label, busy }: { percent: number | null; label: string; busy: boolean }) {
  return (
    <div class={busy ? "pull-bar busy" : "pull-bar"} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={percent ?? undefined}>
      <i style={{ width: `${percent ?? 0}%` }} />
    </div>
  );
}

function Model({ model }: { model: ModelRow }) {
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const name = nameOf(model);
  const use = `skep up --model ${name}`;
  return (
    <li class="model" data-testid="model-row" data-model={model.id} data-fits={model.fits} data-complete={model.complete ? "yes" : "no"}>
      <div class="model-head">
        <h2>{name}</h2>
        {model.in_use && <span class="tag">in use</span>}
        <span class={`fits is-${model.fits}`} data-testid="fits">
          {FITS[model.fits]}
        </span>
      </div>
      <p class="note">{factsOf(model)}</p>
      <p data-testid="model-why">{model.why}</p>
      <p>
        {hereText(model)} {model.served && servedText(model.served)}
      </p>
      {!model.complete && model.held_bytes > 0 && <Bar percent={percentOf(model.held_bytes, model.bytes)} label={`${name} on this machine`} busy={false} />}
      <div class="model-buttons">
        {model.complete && !model.in_use && model.fits === "here" && (
          <span class="model-use">
            Use it with <code>{use}</code>
            <CopyButton text={use} what="the command" />
          </span>
        )}
        {!model.complete && model.in_use && (
          <button type="button" class="quiet edge" onClick={() => void order({ command: "pull", source: model.id }).then(setTrouble)} data-testid="model-rest">
            Fetch the rest<span class="hidden"> of {name}</span>
          </button>
        )}
        {model.stays === null ? (
          <AskButton
            label="Remove"
            of={name}
            icon={<TrashIcon />}
            question={`This takes ${name} off the disk of this machine and frees ${bytesText(model.held_bytes)}. It can be pulled again.`}
            yes="Remove it"
            no="Keep it"
            testid="model-remove"
            act={async () => {
              let wrong: Trouble | null = null;
              await keepFocus(async () => (wrong = await order({ command: "remove", model: model.id })), toBox);
              return wrong;
            }}
          />
        ) : (
          <span class="note">It stays on the disk: {model.stays}.</span>
        )}
      </div>
      {trouble && <TroubleView trouble={trouble} />}
    </li>
  );
}

function Pull({ pull }: { pull: PullRow }) {
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const { id, name, state } = pull;
  const turn = turnOf(pull);
  const failure = troubleOf({ error: pull.error });
  const percent = state === "done" ? 100 : percentOf(pull.bytes, pull.total);
  const cancel = async () => {
    let wrong: Trouble | null = null;
    await keepFocus(async () => (wrong = await order({ command: "cancel", pull: id })), toBox);
    return wrong;
  };
  return (
    <li class={`pull is-${state}`} data-testid="pull-row" data-pull={id} data-state={state} data-bytes={pull.bytes}>
      <div class="pull-head">
        <b>{name}</b>
        {/* Told once when it changes; numbers that change by the second stay outside. */}
        <span role="status">{STATES[state]}</span>
        <span class="pull-percent">{percent !== null && `${percent} %`}</span>
      </div>
      <Bar percent={percent} label={`${name}: ${STATES[state]}`} busy={state === "checking"} />
      <p class="note">{progressText(pull)}</p>
      <p class="note pull-from">
        from <code>{pull.source}</code>
      </p>
      {failure && <TroubleView trouble={failure} />}
      <div class="model-buttons">
        {turn && (
          <button type="button" class="press" onClick={() => void order({ command: turn, pull: id }).then(setTrouble)} data-testid={`pull-${turn}`}>
            {turn === "pause" ? "Pause" : state === "failed" ? "Try again" : "Resume"}
            <span class="hidden"> {name}</span>
          </button>
        )}
        {state === "done" ? (
          <button type="button" class="quiet edge" onClick={() => void cancel()} data-testid="pull-aside">
            Put aside<span class="hidden"> {name}</span>
          </button>
        ) : (
          <AskButton
            label="Cancel"
            of={name}
            question={`This ends the pull and removes the ${bytesText(pull.bytes)} that have come.`}
            yes="End it"
            no="Keep it"
            testid="pull-cancel"
            act={cancel}
          />
        )}
      </div>
      {trouble && <TroubleView trouble={trouble} />}
    </li>
  );
}

function PullBox({ view }: { view: ModelsView }) {
  const [source, setSource] = useState("");
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const ask = async () => {
    if (busy) return;
    if (source.trim() === "") return void input.current?.focus();
    setBusy(true);
    const wrong = await order({ command: "pull", source: source.trim() });
    setBusy(false);
    setTrouble(wrong);
    if (wrong === null) setSource("");
    input.current?.focus();
  };
  return (
    <section class="card" aria-labelledby="pull-title">
      <h2 id="pull-title">Bring a model here</h2>
      <form
        class="pull-box"
        onSubmit={(event) => {
          event.preventDefault();
          void ask();
        }}
      >
        <label for="pull-source">Where it comes from</label>
        <input
          id="pull-source"
          ref={input}
          value={source}
          onInput={(event) => setSource(event.currentTarget.value)}
          placeholder="hf:owner/repository/file.gguf"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          aria-describedby="pull-help"
          aria-invalid={trouble !== null}
          data-testid="pull-source"
        />
        <button type="submit" class="press main" aria-disabled={busy} data-testid="pull-start">
          Pull
        </button>
      </form>
      <p class="note" id="pull-help">
        A file of Hugging Face as <code>hf:owner/repository/file.gguf</code>, an https address, or the whole path of a GGUF file on this machine. The
        models lie in <code>{view.folder}</code>.
      </p>
      {trouble && <TroubleView trouble={trouble} />}
      {view.pulls.length > 0 && (
        <ul class="pulls" aria-label="On the way" data-testid="pulls">
          {view.pulls.map((pull) => (
            <Pull key={pull.id} pull={pull} />
          ))}
        </ul>
      )}
    </section>
  );
}

export function ModelsPage() {
  const { view, trouble } = useStore(models);
  useEffect(watchModels, []);
  return (
    <main class="page" data-testid="models">
      {trouble && <TroubleView trouble={trouble} />}
      {!view && !trouble && <p class="note">Looking for models…</p>}
      {view && (
        <>
          <section class="card" aria-labelledby="models-title">
            <h1 id="models-title">Models</h1>
            <p class="lead" data-testid="models-room">
              {roomText(view, memoryText)}
            </p>
            <ul class="models">
              {view.models.map((model) => (
                <Model key={model.id} model={model} />
              ))}
            </ul>
          </section>
          <PullBox view={view} />
        </>
      )}
    </main>
  );
}
