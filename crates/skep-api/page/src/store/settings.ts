// How answers are drawn: the few options that a person changes.

import type { Shelf } from "./chats";

export interface Settings {
  temperature: number;
  top_p: number;
  /** `null`: to the end of the context. */
  max_tokens: number | null;
  /** `null`: another answer every time. */
  seed: number | null;
  /** Most tokens per second; `null`: as fast as the network can. */
  pace: number | null;
}

export const DEFAULTS: Settings = { temperature: 0.8, top_p: 0.95, max_tokens: 256, seed: null, pace: 24 };

/** What a field of the settings may hold. */
export const FIELDS = {
  temperature: { label: "Temperature", min: 0, max: 2, step: 0.05, help: "0 always takes the likeliest token; higher is freer." },
  top_p: { label: "Top p", min: 0.05, max: 1, step: 0.05, help: "Draws only from the likeliest tokens that reach this share together." },
  max_tokens: { label: "Longest answer", min: 1, max: 1_000_000, step: 1, help: "In tokens. Empty: until the context is full." },
  seed: { label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, help: "The same seed gives the same answer. Empty: a new one each time." },
  pace: { label: "Reading pace", min: 1, max: 1000, step: 1, help: "Most tokens per second, so that one can read along (and pull a plug in mid-answer). Empty: full speed." },
} as const;

const KEY = "skep.settings";

/** The nearest value that a field may hold; `null` where the field may be empty and the value is no number. */
export function fit<K extends keyof Settings>(field: K, value: number | null): Settings[K] {
  const { min, max, step } = FIELDS[field];
  const whole = step === 1;
  if (value === null || !Number.isFinite(value)) return (whole ? null : DEFAULTS[field]) as Settings[K];
  const bounded = Math.min(max, Math.max(min, value));
  return (whole ? Math.round(bounded) : bounded) as Settings[K];
}

export function loadSettings(shelf: Shelf): Settings {
  let kept: unknown = null;
  try {
    kept = JSON.parse(shelf.getItem(KEY) ?? "null");
  } catch {
    return DEFAULTS;
  }
  if (typeof kept !== "object" || kept === null) return DEFAULTS;
  const settings: Settings = { ...DEFAULTS };
  for (const field of Object.keys(DEFAULTS) as (keyof Settings)[]) {
    const value = (kept as Record<string, unknown>)[field];
    if (typeof value === "number" || value === null) Object.assign(settings, { [field]: fit(field, value) });
  }
  return settings;
}

/** Best effort: a browser that keeps nothing starts with the defaults next time. */
export function saveSettings(shelf: Shelf, settings: Settings): void {
  try {
    shelf.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Storage is full or forbidden; the settings hold until the page is closed.
  }
}

/** The options as the API takes them; unset ones are left out. */
export function optionsOf(settings: Settings): Record<string, number> {
  const options: Record<string, number> = { temperature: settings.temperature, top_p: settings.top_p };
  if (settings.max_tokens !== null) options.max_tokens = settings.max_tokens;
  if (settings.seed !== null) options.seed = settings.seed;
  if (settings.pace !== null) options.pace = settings.pace;
  return options;
}
