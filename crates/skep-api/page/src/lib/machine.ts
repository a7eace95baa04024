// What the node says of the machine it runs on, and how that is told to the machine's owner.

import { bytesText } from "./route";

/** Whether the machine is lent to others. */
export type Lending = "lending" | "finishing" | "paused";

/** Why it is not lent, and what would change that. */
export interface Reason {
  code: string;
  /** A clause: “somebody uses this machine”. */
  text: string;
  /** A sentence. */
  remedy: string;
  /** The setting that made it a reason. */
  setting: string | null;
}

/** The most that is lent now: bytes, bytes per second; `null` is no limit. */
export interface Caps {
  cpu_percent: number;
  memory_bytes: number;
  disk_bytes: number | null;
  gpu: boolean;
  upload: number | null;
  download: number | null;
  /** Bytes until midnight. */
  transfer_left: number | null;
}

/** What is used now, as measured. */
export interface Use {
  cpu_percent: number;
  memory_bytes: number;
  weights_bytes: number;
  disk_bytes: number;
  upload: number;
  download: number;
  transferred_today_bytes: number;
  /** Answers of others in progress. */
  work: number;
}

/** What the machine was asked about itself; without a value and without a gap it was not read yet. */
export interface Sensor {
  name: string;
  text: string;
  value: string | null;
  gap: { why: string; advice: string } | null;
}

/** From when on what held, until the next one. */
export interface Stretch {
  from_ms: number;
  state: string;
  reason: string | null;
}

/** The answer of `GET /skep/v1/machine`; times are milliseconds since 1970. */
export interface MachineView {
  state: Lending;
  reason: Reason | null;
  until_ms: number | null;
  since_ms: number;
  in_use: boolean | null;
  caps: Caps | null;
  use: Use;
  machine: { memory_bytes: number; processors: number };
  blocks: [number, number] | null;
  model: string | null;
  sensors: Sensor[];
  timeline: Stretch[];
}

/** What an owner can ask of the machine. */
export type Command = { command: "pause"; seconds?: number } | { command: "resume" } | { command: "finish" };

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span of time as people say it; the seconds of anything longer than a minute are left out. */
export function spanText(ms: number): string {
  const minutes = Math.round(ms / MINUTE);
  if (minutes < 1) return "less than a minute";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.round(hours / 24)} days`;
}

const two = (number: number): string => String(number).padStart(2, "0");

/** The time of day where the reader is. */
export function clockText(ms: number): string {
  const at = new Date(ms);
  return `${at.getHours()}:${two(at.getMinutes())}`;
}

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const midnight = (ms: number): number => new Date(ms).setHours(0, 0, 0, 0);

/** A moment to come: its time, and its day where the time alone could be taken for another. */
export function momentText(ms: number, now: number): string {
  const days = Math.round((midnight(ms) - midnight(now)) / DAY);
  if (ms - now < DAY / 2) return clockText(ms);
  const day = days === 0 ? "today" : days === 1 ? "tomorrow" : days < 7 ? (DAYS[new Date(ms).getDay()] as string) : new Date(ms).toLocaleDateString();
  return `${day} ${clockText(ms)}`;
}

/** When the machine's owner is taken to be up again. */
const MORNING_HOUR = 8;

/** Whole seconds from now until tomorrow morning. */
export function untilTomorrow(now: number): number {
  const morning = new Date(midnight(now));
  morning.setDate(morning.getDate() + 1);
  morning.setHours(MORNING_HOUR);
  return Math.ceil((morning.getTime() - now) / 1000);
}

/** A clause as a sentence. */
export const sentence = (clause: string): string => `${clause.charAt(0).toUpperCase()}${clause.slice(1)}${/[.!?]$/.test(clause) ? "" : "."}`;

/** The state as a sentence. */
export const HEADLINES: Record<Lending, string> = {
  lending: "You are lending this machine.",
  finishing: "Finishing what it has begun.",
  paused: "Lending is paused.",
};

/** Whether it is the owner's own word that keeps the machine from being lent, so that the owner's word changes it. */
export const byOwner = ({ state, reason }: MachineView): boolean =>
  state === "finishing" || reason?.code === "owner" || reason?.code === "finished";

/** What the machine does for others, in one sentence. */
export function workText({ state, in_use, use }: MachineView): string {
  const work = use.work === 0 ? "Nobody asks anything of it at the moment" : use.work === 1 ? "It works on one answer for somebody else" : `It works on ${use.work} answers for others`;
  if (state === "finishing") return use.work === 0 ? "Nothing is left to do." : `${work}, and takes nothing new.`;
  return in_use ? `${work}. While it is in use, it lends less.` : `${work}.`;
}

/** A stretch of the day with both of its ends. */
export interface Segment {
  from: number;
  to: number;
  state: Lending | "unknown";
  reason: string | null;
}

const STATES = ["lending", "finishing", "paused"] as const;

/** The 24 hours before `now` without a gap; what nobody noted down is `unknown`. */
export function dayOf(timeline: Stretch[], now: number): Segment[] {
  const start = now - DAY;
  const segments: Segment[] = [];
  const add = (segment: Segment) => {
    const last = segments.at(-1);
    if (segment.to <= segment.from) return;
    if (last && last.state === segment.state && last.reason === segment.reason) last.to = segment.to;
    else segments.push(segment);
  };
  const inside = (ms: number) => Math.min(now, Math.max(start, ms));
  add({ from: start, to: inside(timeline[0]?.from_ms ?? now), state: "unknown", reason: null });
  timeline.forEach((stretch, index) => {
    const state = STATES.find((known) => known === stretch.state) ?? "unknown";
    add({ from: inside(stretch.from_ms), to: inside(timeline[index + 1]?.from_ms ?? now), state, reason: stretch.reason });
  });
  return segments;
}

/** What a state is called on the timeline. */
export const STATE_NAMES: Record<Segment["state"], string> = { lending: "lent", finishing: "finishing", paused: "paused", unknown: "not running" };

/** Milliseconds of each state, the longest first. */
export function totalsOf(segments: Segment[]): [Segment["state"], number][] {
  const totals = new Map<Segment["state"], number>();
  for (const { state, from, to } of segments) totals.set(state, (totals.get(state) ?? 0) + to - from);
  return [...totals].sort((a, b) => b[1] - a[1]);
}

/** The full hours of the day before `now` that are marked: every `step` hours, with their place from 0 to 1. */
export function hoursOf(now: number, step: number): { text: string; at: number }[] {
  const marks: { text: string; at: number }[] = [];
  for (let ms = new Date(now).setMinutes(0, 0, 0); ms > now - DAY; ms -= HOUR) {
    if (new Date(ms).getHours() % step === 0) marks.push({ text: clockText(ms), at: 1 - (now - ms) / DAY });
  }
  return marks.reverse();
}

/** One line of live use: the share of the scale that is used and that may be used, from 0 to 1; `null` where there is no scale. */
export interface Meter {
  name: string;
  used: number | null;
  most: number | null;
  text: string;
}

/** Memory and room on disks in the units of the settings: `16 GiB`. */
export function memoryText(bytes: number): string {
  const power = bytes < 2 ** 30 ? 2 : bytes < 2 ** 40 ? 3 : 4;
  const size = bytes / 1024 ** power;
  return `${size < 10 ? Number(size.toFixed(1)) : Math.round(size)} ${["MiB", "GiB", "TiB"][power - 2]}`;
}

const perSecond = (bytes: number): string => `${bytesText(Math.round(bytes)).replace(".0 ", " ")}/s`;

const share = (part: number, whole: number): number | null => (whole > 0 ? Math.min(1, Math.max(0, part / whole)) : null);

function sized(name: string, used: number, most: number | null | undefined, whole: number | null, say: (bytes: number) => string): Meter {
  const scale = whole ?? most ?? null;
  const limit = most === undefined ? "" : most === null ? ", no limit" : ` of at most ${say(most)}`;
  return {
    name,
    used: scale === null ? null : share(used, scale),
    most: scale === null || most === undefined || most === null ? null : share(most, scale),
    text: `${say(used)}${limit}`,
  };
}

/** What is used against what may be used. While nothing is lent there are no limits to hold it against. */
export function metersOf({ caps, use, machine }: Pick<MachineView, "caps" | "use" | "machine">): Meter[] {
  const cpu = use.cpu_percent < 10 ? use.cpu_percent.toFixed(1) : Math.round(use.cpu_percent).toString();
  const daily = caps && (caps.transfer_left === null ? null : caps.transfer_left + use.transferred_today_bytes);
  return [
    {
      name: "Processors",
      used: share(use.cpu_percent, 100),
      most: caps && share(caps.cpu_percent, 100),
      text: `${cpu} %${caps ? ` of at most ${caps.cpu_percent} %` : ""}`,
    },
    sized("Memory", use.memory_bytes, caps?.memory_bytes, machine.memory_bytes, memoryText),
    sized("Disk", use.disk_bytes, caps ? caps.disk_bytes : undefined, null, memoryText),
    sized("Upload", use.upload, caps ? caps.upload : undefined, null, perSecond),
    sized("Download", use.download, caps ? caps.download : undefined, null, perSecond),
    sized("Sent and received today", use.transferred_today_bytes, caps ? daily : undefined, null, memoryText),
  ];
}
