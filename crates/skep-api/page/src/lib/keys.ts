// The keys of other machines and phones, as their owner sees them.

import { read, sends } from "./client";

export type Scope = "use" | "owner";

/** A key, without itself. */
export interface KeyView {
  id: string;
  label: string;
  scope: Scope;
  /** Seconds since 1970. */
  created: number;
  expires: number | null;
  last_used: number | null;
  requests_per_minute: number | null;
  tokens_per_day: number | null;
  tokens_today: number;
}

export interface KeysView {
  keys: KeyView[];
  /** Where other machines reach this one; nothing while they do not. */
  reached_at: string[];
}

/** A link that pairs a device, and its picture: rows of squares, `1` for a dark one. */
export interface PairLink {
  link: string;
  picture: string[];
}

export interface PairCode {
  links: PairLink[];
  seconds: number;
}

export const fetchKeys = (): Promise<KeysView> => read("/skep/v1/keys");
export const revokeKey = (id: string): Promise<unknown> => read("/skep/v1/keys/revoke", sends("POST", { id }));
export const makeCode = (label: string, scope: Scope): Promise<PairCode> => read("/skep/v1/pair-code", sends("POST", { label, scope }));
export const exchange = (code: string): Promise<{ key: string; made: KeyView }> => read("/skep/v1/pair", sends("POST", { code }));

/** The dark squares as one path of an SVG, whose squares are one unit wide. */
export const pathOf = (picture: string[]): string =>
  picture.flatMap((row, y) => [...row.matchAll(/1+/g)].map((run) => `M${run.index} ${y}h${run[0].length}v1h-${run[0].length}z`)).join("");

/** What a key is good for, in words. */
export function termsText(key: KeyView, now: number): string {
  const day = (seconds: number) => new Date(seconds * 1000).toLocaleDateString(undefined, { day: "numeric", month: "long", year: "numeric" });
  const parts = [key.scope === "owner" ? "all that the owner can do" : "the models"];
  if (key.requests_per_minute !== null) parts.push(`${key.requests_per_minute} requests a minute`);
  if (key.tokens_per_day !== null) parts.push(`${key.tokens_today.toLocaleString("en")} of ${key.tokens_per_day.toLocaleString("en")} tokens today`);
  if (key.expires !== null) parts.push(key.expires * 1000 <= now ? "over" : `until ${day(key.expires)}`);
  return parts.join(" · ");
}

/** When a key was last used, in words. */
export function usedText(key: KeyView, now: number): string {
  if (key.last_used === null) return "never used";
  const minutes = Math.max(0, Math.round((now / 1000 - key.last_used) / 60));
  if (minutes < 1) return "in use now";
  if (minutes < 120) return `last used ${minutes} min ago`;
  return minutes < 2880 ? `last used ${Math.round(minutes / 60)} h ago` : `last used ${Math.round(minutes / 1440)} days ago`;
}
