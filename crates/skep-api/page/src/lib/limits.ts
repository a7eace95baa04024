// The owner's settings, read from their schema: what is drawn for each, and how its values are written and said.

import { memoryText, type Caps } from "./machine";

/** A value as the API gives and takes it; bytes are texts such as `20GiB`, and `"none"` is no limit. */
export type Raw = number | string | boolean;

/** Who set a value; the later wins. */
export type Origin = "preset" | "file" | "flag" | "page";

/** The answer of `GET /skep/v1/settings`. */
export interface SettingsView {
  schema: Schema;
  values: Record<string, { value: string; raw: Raw; origin: Origin }>;
  file: string;
}

/** As much of JSON Schema as the settings use. */
export interface Schema {
  properties?: Record<string, Schema>;
  title?: string;
  description?: string;
  type?: string;
  enum?: string[];
  anyOf?: { type?: string; minimum?: number; maximum?: number; const?: string }[];
  "x-key"?: string;
  "x-group"?: string;
  "x-place"?: number;
  "x-unit"?: string;
  "x-in-use"?: string;
  "x-presets"?: Record<string, Raw>;
}

/** What is drawn for a setting. */
export type Kind =
  | { is: "choice"; words: string[] }
  | { is: "switch" }
  | { is: "text" }
  | { is: "number"; unit: string; min: number; max: number; none: boolean; bytes: boolean };

export interface Field {
  key: string;
  /** Where it stands among all. */
  place: number;
  title: string;
  help: string;
  group: string;
  kind: Kind;
  presets: Record<string, Raw>;
  /** The setting that holds as well while the machine is in use. */
  inUse: string | null;
}

/** A row of the page: a setting, and the one that holds as well while the machine is in use. */
export interface Row {
  field: Field;
  inUse: Field | null;
}

function kindOf(schema: Schema): Kind {
  if (schema.enum) return { is: "choice", words: schema.enum };
  if (schema.type === "boolean") return { is: "switch" };
  const range = schema.anyOf?.find((way) => way.type === "integer");
  if (!range) return { is: "text" };
  return {
    is: "number",
    unit: schema["x-unit"] ?? "",
    min: range.minimum ?? 0,
    max: range.maximum ?? Number.MAX_SAFE_INTEGER,
    none: schema.anyOf?.some((way) => way.const === "none") ?? false,
    bytes: schema.anyOf?.some((way) => way.type === "string") ?? false,
  };
}

/** The words of a key, for a setting that has no title. */
function titleOf(key: string): string {
  const words = (key.split(".").at(-1) ?? key).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Every setting of a schema, in the order in which people meet them. */
export const fieldsOf = (schema: Schema): Field[] => within(schema).sort((a, b) => a.place - b.place);

function within(schema: Schema): Field[] {
  const key = schema["x-key"];
  if (key === undefined) return Object.values(schema.properties ?? {}).flatMap(within);
  return [
    {
      key,
      place: schema["x-place"] ?? Number.MAX_SAFE_INTEGER,
      title: schema.title ?? titleOf(key),
      help: schema.description ?? "",
      group: schema["x-group"] ?? "Settings",
      kind: kindOf(schema),
      presets: schema["x-presets"] ?? {},
      inUse: schema["x-in-use"] ?? null,
    },
  ];
}

/** The setting that names the preset: the one that each preset gives its own name. */
export const presetField = (fields: Field[]): Field | null =>
  fields.find(({ kind, presets }) => kind.is === "choice" && kind.words.every((word) => presets[word] === word)) ?? null;

/** All settings but the preset as rows in groups. Each is in exactly one row. */
export function groupsOf(fields: Field[]): { name: string; rows: Row[] }[] {
  const preset = presetField(fields);
  const partners = new Set(fields.map((field) => field.inUse));
  const groups = new Map<string, Row[]>();
  for (const field of fields) {
    if (field === preset || partners.has(field.key)) continue;
    const inUse = fields.find((other) => other.key === field.inUse) ?? null;
    groups.set(field.group, [...(groups.get(field.group) ?? []), { field, inUse }]);
  }
  return [...groups].map(([name, rows]) => ({ name, rows }));
}

const WORDS: Record<string, string> = { if_unsure: "If that is unsure", none: "No limit" };

/** A word of a choice as people read it. */
export function wordText(word: string): string {
  const words = WORDS[word] ?? word.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A number and its unit. */
export interface Amount {
  number: number;
  unit: string;
}

const SIZES: Record<string, number> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** Reads `20GiB`, `2 MB/s` or a number of bytes; `null` for anything else. */
export function readAmount(raw: Raw): Amount | null {
  if (typeof raw === "number") return { number: raw, unit: "B" };
  const found = /^(\d+(?:\.\d+)?) ?([kKMGT]i?B|B)?(?:\/s)?$/.exec(String(raw).trim());
  if (!found) return null;
  const unit = (found[2] ?? "B").replace("KB", "kB");
  return unit in SIZES ? { number: Number(found[1]), unit } : null;
}

/** An amount as the API takes it: a whole number, in a smaller unit where it has to be. */
export function writeAmount({ number, unit }: Amount): string {
  if (Number.isInteger(number)) return `${number}${unit}`;
  const base = unit.includes("i") ? 1024 : 1000;
  const smaller = Object.keys(SIZES).find((name) => name.includes("i") === unit.includes("i") && SIZES[name] === (SIZES[unit] ?? 1) / base);
  if (smaller === undefined) return `${Math.round(number)}${unit}`;
  return writeAmount({ number: Math.round(number * base * 1000) / 1000, unit: smaller });
}

/** The units to choose from for a size or a rate; `unit` is always one of them. */
export function unitsFor(rate: boolean, unit: string): string[] {
  const units = rate ? ["kB", "MB"] : ["MB", "GB", "TB"];
  return units.includes(unit) ? units : [...units, unit];
}

/** What an amount counts in bytes. */
export const bytesOf = (raw: Raw): number | null => {
  const amount = readAmount(raw);
  return amount && amount.number * (SIZES[amount.unit] ?? 1);
};

/** A value as people read it, with its unit. */
export function valueText(kind: Kind, raw: Raw): string {
  if (raw === "none") return "no limit";
  if (kind.is === "switch") return raw === true ? "yes" : "no";
  if (kind.is !== "number") return wordText(String(raw));
  if (!kind.bytes) return `${raw} ${kind.unit}`.trim();
  const amount = readAmount(raw);
  const text = amount ? `${amount.number} ${amount.unit}` : String(raw);
  return kind.unit === "bytes per second" ? `${text}/s` : text;
}

/** What the description of the preset's setting says of each preset: `quiet goes unnoticed, balanced …`. */
export function presetWords(field: Field): Record<string, string> {
  const list = field.help.slice(field.help.indexOf(":") + 1).replace(/\.$/, "");
  const words = field.kind.is === "choice" ? field.kind.words : [];
  const starts = words.map((word) => ({ word, at: list.search(new RegExp(`\\b${word} `)) })).filter(({ at }) => at >= 0);
  starts.sort((a, b) => a.at - b.at);
  return Object.fromEntries(
    starts.map(({ word, at }, index) => {
      const clause = list.slice(at + word.length, starts[index + 1]?.at).trim().replace(/,$/, "");
      return [word, `${clause.charAt(0).toUpperCase()}${clause.slice(1)}.`];
    }),
  );
}

/** One line of what a preset gives. */
export interface Given {
  name: string;
  /** While nobody uses the machine, and while somebody does. */
  text: string;
  inUse: string | null;
}

/** What a preset gives in numbers: the settings that have a value of their own while the machine is in use. */
export function givenBy(fields: Field[], preset: string, memory: number | null): Given[] {
  return groupsOf(fields)
    .flatMap((group) => group.rows)
    .filter(({ field, inUse }) => inUse && !/others/.test(field.key))
    .map(({ field, inUse }) => {
      const text = (of: Field): string => {
        const raw = of.presets[preset] ?? "none";
        const room = memory !== null && typeof raw === "number" && of.key.includes(".memory_percent");
        return room ? memoryText((memory * raw) / 100) : valueText(of.kind, raw);
      };
      return { name: field.title, text: text(field), inUse: inUse && text(inUse) };
    });
}

/** Whether a preset lends the machine while it is in use. */
export const lendsInUse = (fields: Field[], preset: string): boolean =>
  fields.find((field) => field.key.endsWith("when_in_use"))?.presets[preset] !== "never";

/** What a preset lends of a machine that nobody uses, and that has sent and received so many bytes today. */
export function capsOf(fields: Field[], preset: string, memory: number, transferred: number): Caps {
  const raw = (name: string): Raw => fields.find((field) => field.key.endsWith(`.${name}`))?.presets[preset] ?? "none";
  const percent = (name: string): number => (typeof raw(name) === "number" ? (raw(name) as number) : 100);
  const daily = bytesOf(raw("daily_transfer"));
  return {
    cpu_percent: percent("cpu_percent"),
    memory_bytes: (memory * percent("memory_percent")) / 100,
    disk_bytes: bytesOf(raw("disk")),
    gpu: raw("gpu") === true,
    upload: bytesOf(raw("upload")),
    download: bytesOf(raw("download")),
    transfer_left: daily === null ? null : Math.max(0, daily - transferred),
  };
}
