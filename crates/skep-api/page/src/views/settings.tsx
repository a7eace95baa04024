// The drawer with the options of an answer.

import { useEffect, useRef } from "preact/hooks";
import { DEFAULTS, FIELDS, fit, type Settings } from "../store/settings";
import { CloseIcon } from "../ui/icons";

type Change = (next: Settings) => void;

function Slider({ field, settings, onChange }: { field: "temperature" | "top_p"; settings: Settings; onChange: Change }) {
  const { label, min, max, step, help } = FIELDS[field];
  const id = `setting-${field}`;
  return (
    <div class="field">
      <label for={id}>
        {label} <output for={id}>{settings[field].toFixed(2)}</output>
      </label>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={settings[field]}
        aria-describedby={`${id}-help`}
        onInput={(event) => onChange({ ...settings, [field]: fit(field, event.currentTarget.valueAsNumber) })}
        data-testid={id}
      />
      <p id={`${id}-help`}>{help}</p>
    </div>
  );
}

/** What an empty field means. */
const EMPTY = { max_tokens: "to the end", seed: "new each time", pace: "full speed" };

function NumberField({ field, settings, onChange }: { field: "max_tokens" | "seed" | "pace"; settings: Settings; onChange: Change }) {
  const { label, min, max, help } = FIELDS[field];
  const id = `setting-${field}`;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="number"
        inputMode="numeric"
        min={min}
        max={max}
        step={1}
        value={settings[field] ?? ""}
        placeholder={EMPTY[field]}
        aria-describedby={`${id}-help`}
        onChange={(event) => {
          const { value } = event.currentTarget;
          const next = fit(field, value.trim() === "" ? null : Number(value));
          event.currentTarget.value = next === null ? "" : String(next);
          onChange({ ...settings, [field]: next });
        }}
        data-testid={id}
      />
      <p id={`${id}-help`}>{help}</p>
    </div>
  );
}

export function SettingsDrawer(props: { open: boolean; settings: Settings; onChange: Change; onClose(): void }) {
  const { open, settings, onChange, onClose } = props;
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (open) first.current?.focus();
  }, [open]);
  if (!open) return null;
  return (
    <>
      <div class="veil clear" onClick={onClose} />
      <div class="drawer" role="dialog" aria-modal="false" aria-labelledby="settings-title" data-testid="settings">
        <div class="drawer-head">
          <h2 id="settings-title">How it answers</h2>
          <button type="button" class="round" ref={first} aria-label="Close the settings" onClick={onClose} data-testid="settings-close">
            <CloseIcon />
          </button>
        </div>
        <Slider field="temperature" settings={settings} onChange={onChange} />
        <Slider field="top_p" settings={settings} onChange={onChange} />
        <NumberField field="max_tokens" settings={settings} onChange={onChange} />
        <NumberField field="seed" settings={settings} onChange={onChange} />
        <NumberField field="pace" settings={settings} onChange={onChange} />
        <button type="button" class="quiet" onClick={() => onChange(DEFAULTS)}>
          Back to the defaults
        </button>
      </div>
    </>
  );
}
