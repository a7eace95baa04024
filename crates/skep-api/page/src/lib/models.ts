// The models of the machine and its network: what the node says of them, in words.

import { blocksText, bytesText, plural } from "./route";

export type Fits = "here" | "network" | "no" | "unknown";

/** How far the network holds a model; `missing` are runs of blocks, the second number one past the last. */
export interface Served {
  blocks: number;
  held: number;
  missing: [number, number][];
  machines: number;
}

export interface ModelRow {
  id: string;
  name: string | null;
  bytes: number;
  held_bytes: number;
  complete: boolean;
  path: string | null;
  in_use: boolean;
  served: Served | null;
  task: "generate" | "embed" | "classify" | null;
  context: number | null;
  fits: Fits;
  why: string;
  /** Why it cannot be removed; `null` when it can be. */
  stays: string | null;
}

export type PullState = "waiting" | "fetching" | "checking" | "paused" | "failed" | "done";

export interface PullRow {
  id: string;
  source: string;
  name: string;
  state: PullState;
  bytes: number;
  total: number | null;
  bytes_per_second: number | null;
  error: { message: string; hint: string } | null;
  model: string | null;
}

/** The answer of `GET /skep/v1/models`. */
export interface ModelsView {
  models: ModelRow[];
  pulls: PullRow[];
  memory: { allowed_bytes: number | null; free_bytes: number | null; machines: number; offered_bytes: number };
  disk_free_bytes: number | null;
  folder: string;
}

export type Order =
  | { command: "pull"; source: string }
  | { command: "pause" | "resume" | "cancel"; pull: string }
  | { command: "remove"; model: string };

export const FITS: Record<Fits, string> = { here: "Fits here", network: "Fits the network", no: "Does not fit", unknown: "Not known yet" };

const TASKS: Record<NonNullable<ModelRow["task"]>, string> = { generate: "writes text", embed: "makes vectors", classify: "names pictures" };

export const nameOf = ({ name, id }: ModelRow): string => name || id.slice(0, 12);

/** Size, use and context, in one line. */
export function factsOf({ bytes, task, context }: ModelRow): string {
  return [bytesText(bytes), task && TASKS[task], context !== null && `context of ${plural(context, "token")}`].filter(Boolean).join(" · ");
}

/** How much of a file is there, in hundredths; a file that is not whole never shows all of them. */
export function percentOf(bytes: number, total: number | null): number | null {
  if (total === null || total <= 0) return null;
  return bytes >= total ? 100 : Math.min(99, Math.floor((bytes / total) * 100));
}

export function hereText({ bytes, held_bytes: held, complete }: ModelRow): string {
  if (complete) return "All of it is on this machine.";
  return held === 0 ? "None of it is on this machine." : `${bytesText(held)} of it are on this machine, ${percentOf(held, bytes)} %.`;
}

export function servedText({ blocks, held, missing, machines }: Served): string {
  if (held === blocks) return `The network holds all ${blocks} blocks, on ${plural(machines, "machine")}.`;
  const runs = missing.map((run) => blocksText(run)).join(", ");
  return `The network holds ${held} of ${blocks} blocks; nobody holds blocks ${runs}.`;
}

/** What memory and disk there is. */
export function roomText({ memory, disk_free_bytes: disk }: ModelsView, gib: (bytes: number) => string): string {
  const { allowed_bytes: allowed, free_bytes: free, machines, offered_bytes: offered } = memory;
  const own = [free !== null && `${gib(free)} are free on this machine`, allowed !== null && `you allow ${gib(allowed)}`].filter(Boolean).join(" and ");
  const others = machines > 0 && `${plural(machines, "other machine")} of the network ${machines === 1 ? "offers" : "offer"} ${gib(offered)}`;
  const told = [own, others].filter(Boolean).join("; ");
  const parts = [told && `Of memory, ${told}.`, disk !== null && `The disk has room for ${bytesText(disk)}.`];
  return parts.filter(Boolean).join(" ");
}

export const STATES: Record<PullState, string> = {
  waiting: "Waits for its turn",
  fetching: "Fetching",
  checking: "Being checked",
  paused: "Paused",
  failed: "Failed",
  done: "Here",
};

/** Bytes, rate and what is left, as far as they are known. */
export function progressText({ state, bytes, total, bytes_per_second: rate }: PullRow): string {
  if (state === "done") return bytesText(total ?? bytes);
  const parts = [total === null ? bytesText(bytes) : `${bytesText(bytes)} of ${bytesText(total)}`];
  if (rate !== null) parts.push(`${bytesText(rate)}/s`);
  if (rate && total !== null) parts.push(`${leftText((total - bytes) / rate)} left`);
  return parts.join(" · ");
}

function leftText(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Whether a pull can be paused, resumed, or neither. */
export const turnOf = ({ state }: PullRow): "pause" | "resume" | null =>
  state === "fetching" || state === "waiting" ? "pause" : state === "paused" || state === "failed" ? "resume" : null;
