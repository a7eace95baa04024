// The two headers that every completion carries, and how times and ids are written for people.

import type { Blocks, Hop } from "./types";

/** The first four and last two digits of an id, enough to tell the nodes of one network apart; the last are unknown in a header. */
export function shortId(id: string): string {
  if (id.length <= 8) return id;
  return `${id.slice(0, 4)}…${id.length === 64 ? id.slice(-2) : ""}`;
}

/** `[a..b]` for people. */
export function blocksText(blocks: Blocks): string {
  return `[${blocks[0]}..${blocks[1]}]`;
}

/** Reads `skep-route`: `3f2a91bc04[0..4],9b…[4..8]`. A part that is no hop makes the whole header unreadable. */
export function parseRoute(header: string | null): Hop[] | null {
  if (header === null || header.trim() === "") return null;
  const hops: Hop[] = [];
  for (const part of header.split(",")) {
    const found = /^\s*([^\s[\]]+)\[(\d+)\.\.(\d+)\]\s*$/.exec(part);
    if (!found) return null;
    const start = Number(found[2]);
    const end = Number(found[3]);
    if (!(start < end)) return null;
    hops.push({ node: found[1] as string, blocks: [start, end] });
  }
  return hops;
}

/** One entry of `skep-timing`. */
export interface Timing {
  name: string;
  /** Milliseconds, where the entry has a duration. */
  ms: number | null;
  description: string | null;
}

/** Splits at `separator` outside of quoted strings. */
function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = [];
  let part = "";
  let quoted = false;
  for (let index = 0; index < text.length; index++) {
    const character = text[index] as string;
    if (quoted && character === "\\" && index + 1 < text.length) {
      part += character + text[++index];
      continue;
    }
    if (character === '"') quoted = !quoted;
    if (!quoted && character === separator) {
      parts.push(part);
      part = "";
    } else {
      part += character;
    }
  }
  parts.push(part);
  return parts;
}

/** Reads `skep-timing`, which has the syntax of `Server-Timing`: `prefill;dur=12.3, total;dur=400;desc="all"`. */
export function parseTiming(header: string | null): Timing[] {
  if (header === null) return [];
  const timings: Timing[] = [];
  for (const entry of splitOutsideQuotes(header, ",")) {
    const [name, ...parameters] = splitOutsideQuotes(entry, ";").map((part) => part.trim());
    if (!name) continue;
    const timing: Timing = { name, ms: null, description: null };
    for (const parameter of parameters) {
      const equals = parameter.indexOf("=");
      if (equals < 0) continue;
      const key = parameter.slice(0, equals).trim().toLowerCase();
      const raw = parameter.slice(equals + 1).trim();
      const value = raw.startsWith('"') && raw.endsWith('"') && raw.length > 1 ? raw.slice(1, -1).replace(/\\(.)/g, "$1") : raw;
      if (key === "dur" && value !== "" && Number.isFinite(Number(value))) timing.ms = Number(value);
      if (key === "desc") timing.description = value;
    }
    timings.push(timing);
  }
  return timings;
}

/** `0.42 ms`, `12 ms`, `1.3 s`: three figures at most. */
export function msText(ms: number): string {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 1000)} s`;
}

/** `3.9 MB`: powers of ten, as disks and downloads are sold. */
export function bytesText(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? `${value} bytes` : `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** `12,345`, the same in every language of the browser, as the page is English. */
export function countText(count: number): string {
  return Math.round(count).toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 token`, `2 tokens`. */
export function plural(count: number, one: string): string {
  return `${countText(count)} ${one}${count === 1 ? "" : "s"}`;
}
