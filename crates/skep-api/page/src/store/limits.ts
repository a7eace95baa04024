// The owner's settings as the node has them, and what became of the last change of each.

import { fetchSettings, putSetting, SkepError } from "../lib/client";
import type { Trouble } from "../lib/errors";
import { fieldsOf, presetField, type Field, type Raw, type SettingsView } from "../lib/limits";
import { lookAtMachine } from "./machine";
import { Store } from "./store";

export interface LimitsState {
  view: SettingsView | null;
  fields: Field[];
  /** Why the settings could not be read. */
  trouble: Trouble | null;
  /** What became of the last change: under way, kept, or refused with a sentence. */
  last: { key: string; result: "saving" | "saved" | Trouble } | null;
}

/** The settings as last seen. */
export const limits = new Store<LimitsState>({ view: null, fields: [], trouble: null, last: null });

const troubleFor = (error: unknown): Trouble =>
  error instanceof SkepError ? error.trouble : { message: "The node takes long to answer.", hint: null };

const take = (view: SettingsView): void => limits.update((state) => ({ ...state, view, fields: fieldsOf(view.schema), trouble: null }));

/** Reads the settings. */
export async function loadLimits(): Promise<void> {
  try {
    take(await fetchSettings());
  } catch (error) {
    limits.update((state) => ({ ...state, trouble: troubleFor(error) }));
  }
}

type Result = NonNullable<LimitsState["last"]>["result"];

const tell = (key: string, result: Result): void => limits.update((state) => ({ ...state, last: { key, result } }));

/** The settings as they will be if the node takes a change, so that a control does not jump back while it is asked. */
function withValue(view: SettingsView, field: Field, value: Raw | null): SettingsView {
  const preset = presetField(fieldsOf(view.schema));
  const holds = view.values[preset?.key ?? ""]?.raw;
  const raw = value ?? field.presets[String(holds)] ?? view.values[field.key]?.raw ?? "";
  const origin = value === null ? "preset" : "page";
  return { ...view, values: { ...view.values, [field.key]: { value: String(raw), raw, origin } } };
}

/** The change under way; the next one waits for it, so that an older answer never replaces a newer one. */
let under: Promise<void> = Promise.resolve();

/** Sets one, or leaves it to the preset when the value is `null`. A refused change leaves all as it was. */
export function setLimit(key: string, value: Raw | null): Promise<void> {
  under = under.then(() => change(key, value));
  return under;
}

async function change(key: string, value: Raw | null): Promise<void> {
  const { view: before, fields } = limits.value;
  const field = fields.find((each) => each.key === key);
  if (before && field) take(withValue(before, field, value));
  const hoped = limits.value.view;
  tell(key, "saving");
  try {
    take(await putSetting(key, value));
    tell(key, "saved");
  } catch (error) {
    if (before && limits.value.view === hoped) take(before);
    tell(key, troubleFor(error));
  }
  await lookAtMachine();
}
