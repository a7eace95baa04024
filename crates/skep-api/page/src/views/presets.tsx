// The three presets as cards, each with what it gives.

import { givenBy, lendsInUse, presetField, presetWords, wordText, type Field } from "../lib/limits";
import { limits, setLimit } from "../store/limits";
import { machine } from "../store/machine";
import { useStore } from "../store/store";
import { Outcome } from "./control";

function Gives({ fields, preset, memory }: { fields: Field[]; preset: string; memory: number | null }) {
  const lends = lendsInUse(fields, preset);
  const given = givenBy(fields, preset, memory);
  return (
    <dl class={lends ? "gives" : "gives only-free"}>
      <div class="gives-row gives-head" aria-hidden="true">
        <span>At most</span>
        <span>not in use</span>
        {lends && <span>in use</span>}
      </div>
      {given.map(({ name, text, inUse }) => (
        <div class="gives-row" key={name}>
          <dt>{name}</dt>
          <dd>{text}</dd>
          {lends && <dd>{inUse ?? text}</dd>}
        </div>
      ))}
      {!lends && (
        <div class="gives-note">
          <dt class="hidden">In use</dt>
          <dd>While you use it: nothing.</dd>
        </div>
      )}
    </dl>
  );
}

export function Presets() {
  const { view, fields } = useStore(limits);
  const memory = useStore(machine).view?.machine.memory_bytes || null;
  const field = presetField(fields);
  if (!view || !field || field.kind.is !== "choice") return null;
  const chosen = view.values[field.key]?.raw;
  const words = presetWords(field);
  return (
    <div data-testid="control" data-key={field.key} data-kind="choice" data-origin={view.values[field.key]?.origin} data-raw={String(chosen)}>
      <div class="presets" role="radiogroup" aria-label={field.title} aria-describedby={`${field.key}-said`}>
        {field.kind.words.map((preset) => (
          <label class={preset === chosen ? "preset on" : "preset"} data-testid={`preset-${preset}`}>
            <input type="radio" name="preset" value={preset} checked={preset === chosen} onChange={() => void setLimit(field.key, preset)} data-value={preset} />
            <span class="preset-name">{wordText(preset)}</span>
            <span class="preset-words">{words[preset]}</span>
            <Gives fields={fields} preset={preset} memory={memory} />
          </label>
        ))}
      </div>
      <Outcome of={field.key} id={`${field.key}-said`} />
    </div>
  );
}
