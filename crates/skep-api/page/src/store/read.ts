// Reads chats that may have been written by anybody: nothing is believed, and only what is known is taken over. Pure.

import type { Trouble } from "../lib/errors";
import type { Blocks, Hop, HopTiming, Recovery, Summary } from "../lib/types";
import { fitTitle, type Chat, type Turn } from "./chats";

type Fields = Record<string, unknown>;

/** Most characters of an id, of which storage keys are made. */
const ID = /^[\w-]{1,64}$/;
/** Most stages of a route, and most changes of it, that are read of one answer. */
const HOPS_MAX = 256;

const fieldsOf = (value: unknown): Fields | null => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : null);
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const orNull = (value: unknown): number | null => (isNumber(value) ? value : null);

/** Every member of a list as `read` reads it; nothing when one of them cannot be read. */
function all<T>(value: unknown, read: (one: unknown) => T | null): T[] | null {
  if (!Array.isArray(value) || value.length > HOPS_MAX) return null;
  const read_ = value.map(read);
  return read_.every((one) => one !== null) ? (read_ as T[]) : null;
}

function blocksOf(value: unknown): Blocks | null {
  if (!Array.isArray(value) || value.length !== 2) return null;
  const [start, end] = value as unknown[];
  return isCount(start) && isCount(end) && start < end ? [start, end] : null;
}

function hopOf(value: unknown): Hop | null {
  const fields = fieldsOf(value);
  const blocks = blocksOf(fields?.blocks);
  return typeof fields?.node === "string" && fields.node.length <= 64 && blocks ? { node: fields.node, blocks } : null;
}

function timingOf(value: unknown): HopTiming | null {
  const hop = hopOf(value);
  const { frames, hold_ms, rtt_ms } = fieldsOf(value) ?? {};
  return hop && isCount(frames) && isNumber(hold_ms) ? { ...hop, frames, hold_ms, rtt_ms: orNull(rtt_ms) } : null;
}

const nameOf = (value: unknown): string | null => (typeof value === "string" && value.length <= 64 ? value : null);

function recoveryOf(value: unknown): Recovery | null {
  const { at_token, lost, rung, stall_ms } = fieldsOf(value) ?? {};
  const names = all(lost, nameOf);
  const how = nameOf(rung);
  return isCount(at_token) && names && how !== null && isNumber(stall_ms) ? { at_token, lost: names, rung: how, stall_ms } : null;
}

/** How an answer came about, as a chat keeps it: without why, but with its price. Nothing for what is not such. */
export function summaryOf(value: unknown): Summary | null {
  const fields = fieldsOf(value);
  if (!fields) return null;
  const { finish, prompt_tokens, completion_tokens, first_token_ms, total_ms, lap_ms } = fields;
  const hops = all(fields.hops, timingOf);
  const recoveries = all(fields.recoveries, recoveryOf);
  if ((finish !== "stop" && finish !== "length") || !hops || !recoveries) return null;
  if (!isCount(prompt_tokens) || !isCount(completion_tokens) || !isNumber(first_token_ms) || !isNumber(total_ms)) return null;
  const told = fieldsOf(fieldsOf(fields.why)?.expected)?.price ?? fields.price;
  const price = isCount(told) ? { price: told } : {};
  return { finish, prompt_tokens, completion_tokens, hops, recoveries, first_token_ms, total_ms, lap_ms: orNull(lap_ms), ...price };
}

function troubleIn(value: unknown): Trouble | null {
  const fields = fieldsOf(value);
  if (typeof fields?.message !== "string") return null;
  return { message: fields.message, hint: typeof fields.hint === "string" ? fields.hint : null };
}

const STATES = ["done", "stopped", "failed"] as const;

/** The turn at `at` of a list, or what is wrong with it. */
function turnOf(value: unknown, at: number): Turn | string {
  const fields = fieldsOf(value);
  if (!fields) return `turn ${at + 1} is not an object`;
  const { role, text, after, next } = fields;
  if (role !== "user" && role !== "assistant") return `turn ${at + 1} is of neither side`;
  if (typeof text !== "string") return `turn ${at + 1} has no text`;
  if (after !== undefined && !(Number.isInteger(after) && (after as number) >= -1 && (after as number) < at)) return `turn ${at + 1} follows none before it`;
  const turn: Turn = { role, text };
  if (after !== undefined && after !== at - 1) turn.after = after as number;
  if (isCount(next)) turn.next = next;
  if (role === "user") return turn;
  // An answer that was under way is not any more, wherever it is read.
  turn.state = fields.state === "writing" ? "stopped" : (STATES.find((state) => state === fields.state) ?? "done");
  const summary = summaryOf(fields.summary);
  const route = all(fields.route, hopOf);
  const trouble = troubleIn(fields.trouble);
  if (summary) turn.summary = summary;
  if (route) turn.route = route;
  if (trouble) turn.trouble = trouble;
  if (isNumber(fields.at)) turn.at = fields.at;
  return turn;
}

/** A chat, or what is wrong with it: a clause without its subject's name. */
export function chatOf(value: unknown): Chat | string {
  const fields = fieldsOf(value);
  if (!fields) return "it is not an object";
  const { id, mode, updated, title, first } = fields;
  if (typeof id !== "string" || !ID.test(id)) return "it has no id";
  if (mode !== "chat" && mode !== "text") return "it is neither a conversation nor a text";
  if (!isNumber(updated)) return "it has no time";
  if (!Array.isArray(fields.turns)) return "it has no turns";
  const turns: Turn[] = [];
  for (const [at, one] of fields.turns.entries()) {
    const turn = turnOf(one, at);
    if (typeof turn === "string") return turn;
    turns.push(turn);
  }
  const chat: Chat = { id, mode, updated, turns };
  const name = typeof title === "string" ? fitTitle(title) : undefined;
  if (name !== undefined) chat.title = name;
  if (isCount(first)) chat.first = first;
  return chat;
}
