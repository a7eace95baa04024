// The control of one setting, by its kind; where its value comes from; what the node said of the last change.

import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { readAmount, unitsFor, valueText, wordText, writeAmount, type Field, type Kind, type Raw } from "../lib/limits";
import { keepFocus } from "../ui/focus";
import { withTitles } from "../ui/named";
import { inline } from "../ui/rich";
import { limits, setLimit, type LimitsState } from "../store/limits";
import { useStore } from "../store/store";
import { Week } from "./week";

interface Props {
  field: Field;
  raw: Raw;
  /** Ids of what describes the control. */
  about: string;
  set(value: Raw): void;
}

function Choice({ field, raw, about, words, set }: Props & { words: string[] }) {
  return (
    <div class="modes" role="radiogroup" aria-label={field.title} aria-describedby={about}>
      {words.map((word) => (
        <label class={word === raw ? "on" : undefined}>
          <input type="radio" name={field.key} checked={word === raw} onChange={() => set(word)} data-value={word} />
          {wordText(word)}
        </label>
      ))}
    </div>
  );
}

function Switch({ field, raw, about, set }: Props) {
  return (
    <label class="switch">
      <input type="checkbox" role="switch" checked={raw === true} aria-label={field.title} aria-describedby={about} onChange={(event) => set(event.currentTarget.checked)} />
      <span aria-hidden="true">{raw === true ? "Yes" : "No"}</span>
    </label>
  );
}

/** What somebody is typing, which nothing that comes from the node may disturb; after it what holds is shown again. */
function useDraft(shown: string) {
  const [draft, setDraft] = useState<string | null>(null);
  const onInput = (event: { currentTarget: HTMLInputElement }) => setDraft(event.currentTarget.value);
  return { value: draft ?? shown, onInput, end: () => setDraft(null) };
}

function Text({ field, raw, about, set }: Props) {
  const { value, onInput, end } = useDraft(String(raw));
  return (
    <>
      <input
        class="entry wide"
        type="text"
        value={value}
        aria-label={field.title}
        aria-describedby={about}
        autocomplete="off"
        spellcheck={false}
        onInput={onInput}
        onChange={(event) => {
          end();
          set(event.currentTarget.value.trim());
        }}
      />
      <Week schedule={String(raw)} />
    </>
  );
}

/** A number, its unit, and whether there is a limit at all. Going back to a limit takes the nearest preset that has one. */
function Number_({ field, raw, about, set, kind }: Props & { kind: Extract<Kind, { is: "number" }> }) {
  const number = useRef<HTMLInputElement>(null);
  const unit = useRef<HTMLSelectElement>(null);
  const none = raw === "none";
  const amount = none ? null : kind.bytes ? readAmount(raw) : { number: Number(raw), unit: kind.unit };
  const rate = kind.unit === "bytes per second";
  const { value: shown, onInput, end } = useDraft(String(amount?.number ?? ""));
  const send = () => {
    const value = number.current?.valueAsNumber ?? Number.NaN;
    end();
    if (Number.isNaN(value)) return;
    set(kind.bytes ? writeAmount({ number: value, unit: unit.current?.value ?? "B" }) : value);
  };
  const limited = Object.values(field.presets).find((value) => value !== "none") ?? (kind.bytes ? `${kind.min}B` : kind.max);
  return (
    <div class="number">
      <input
        ref={number}
        class="entry"
        type="number"
        inputMode="decimal"
        value={shown}
        min={kind.bytes ? 0 : kind.min}
        max={kind.bytes ? undefined : kind.max}
        step={kind.bytes ? "any" : 1}
        disabled={none}
        aria-label={field.title}
        aria-describedby={about}
        onInput={onInput}
        onChange={send}
      />
      {kind.bytes ? (
        <select ref={unit} class="entry" value={amount?.unit ?? (rate ? "MB" : "GB")} disabled={none} aria-label={`Unit of ${field.title}`} onChange={send}>
          {unitsFor(rate, amount?.unit ?? (rate ? "MB" : "GB")).map((name) => (
            <option value={name}>{rate ? `${name}/s` : name}</option>
          ))}
        </select>
      ) : (
        <span>{kind.unit}</span>
      )}
      {kind.none && (
        <label class="no-limit">
          <input type="checkbox" checked={none} onChange={(event) => set(event.currentTarget.checked ? "none" : limited)} data-testid="no-limit" /> No limit
        </label>
      )}
    </div>
  );
}

function Kinded(props: Props) {
  const { kind } = props.field;
  switch (kind.is) {
    case "choice":
      return <Choice {...props} words={kind.words} />;
    case "switch":
      return <Switch {...props} />;
    case "number":
      return <Number_ {...props} kind={kind} />;
    case "text":
      return <Text {...props} />;
  }
}

const ORIGINS = { file: "from the file", flag: "from a flag of this run", page: "set on this page" };

/** Where a value comes from, and the way back to the preset. */
function From({ field, state }: { field: Field; state: LimitsState }) {
  const origin = state.view?.values[field.key]?.origin ?? "preset";
  const preset = presetOf(state);
  const given = field.presets[preset.raw];
  if (origin === "preset") return <span class="origin">from {preset.name}</span>;
  return (
    <span class="origin">
      <span class="origin-own">{ORIGINS[origin]}</span>
      <button
        type="button"
        class="quiet"
        onClick={(event) => {
          const control = event.currentTarget.closest(".control");
          void keepFocus(
            () => setLimit(field.key, null),
            () => control?.querySelector<HTMLElement>("input:checked, input:not([type=radio])"),
          );
        }}
        aria-label={`${field.title}: back to ${preset.name}`}
        data-testid="to-preset"
      >
        Back to {preset.name}
        {given !== undefined && ` (${valueText(field.kind, given)})`}
      </button>
    </span>
  );
}

/** The preset that holds. */
export function presetOf({ view, fields }: LimitsState): { raw: string; name: string } {
  const field = fields.find(({ kind, presets }) => kind.is === "choice" && kind.words.every((word) => presets[word] === word));
  const raw = String(view?.values[field?.key ?? ""]?.raw ?? "");
  return { raw, name: raw === "" ? "the preset" : wordText(raw) };
}

/** What the node said of the last change of a setting. */
export function Outcome({ of, id }: { of: string; id: string }) {
  const { last, fields } = useStore(limits);
  const mine = last?.key === of ? last.result : null;
  const refused = typeof mine === "object" ? mine : null;
  return (
    <div class="outcome" id={id}>
      <span role="status">{mine === "saved" && <span class="saved">Saved</span>}</span>
      {refused && (
        <p class="refused" role="alert" data-testid="refused">
          {/* The sentence says what is taken; the hint beside it is for programs. */}
          {inline(withTitles(refused.message, fields))}
        </p>
      )}
    </div>
  );
}

export function Control({ field, about, label }: { field: Field; about: string; label?: ComponentChildren }) {
  const state = useStore(limits);
  const value = state.view?.values[field.key];
  if (!value) return null;
  const said = `${field.key}-said`;
  return (
    <div class="control" data-testid="control" data-key={field.key} data-kind={field.kind.is} data-origin={value.origin} data-raw={String(value.raw)}>
      {label && <span class="control-label">{label}</span>}
      <Kinded field={field} raw={value.raw} about={`${about} ${said}`} set={(next) => void setLimit(field.key, next)} />
      <From field={field} state={state} />
      <Outcome of={field.key} id={said} />
    </div>
  );
}
