// Chats and how they are kept in the browser. Pure but for the storage that is handed in.

import type { Message } from "../lib/client";
import type { Trouble } from "../lib/errors";
import type { Hop, Summary } from "../lib/types";
import { openTurns, prune } from "./branches";
import { chatOf } from "./read";

/** `chat` is a conversation; `text` is a document that the model goes on with. */
export type Mode = "chat" | "text";

/** What one side wrote. Only answers have more than a role and a text. */
export interface Turn {
  role: "user" | "assistant";
  text: string;
  /** `writing` only while the page is open; it is read back as `stopped`. */
  state?: "writing" | "done" | "stopped" | "failed";
  route?: Hop[] | null;
  summary?: Summary | null;
  trouble?: Trouble | null;
  /** The connection broke, and the answer is being taken up again; only while `writing`. */
  broken?: boolean;
  /** When the answer was complete, in milliseconds since 1970. */
  at?: number;
  /** The place of the turn that this one follows, which is always an earlier one; -1 begins the chat. Without it: the turn before. */
  after?: number;
  /** The place of the turn that was chosen to follow. Without it: the latest. */
  next?: number;
}

export interface Chat {
  id: string;
  mode: Mode;
  /** Milliseconds since 1970, of the last change. */
  updated: number;
  /** What the person calls it; without it: its first words. */
  title?: string;
  /** All turns of all versions, in the order in which they were begun; `branches.ts` makes a conversation of them. */
  turns: Turn[];
  /** The place of the turn that was chosen to begin it. Without it: the latest that begins one. */
  first?: number;
}

/** The part of `localStorage` that is used. */
export type Shelf = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

/** Each chat has its own key, so that two tabs never overwrite each other's chats. */
export const KEY = "skep.chat.";
/** At most so many chats are kept; the ones that rested longest go first. */
export const MAX_CHATS = 60;
/** Characters that all kept chats may have together; browsers hold about five million. */
export const MAX_CHARACTERS = 2_000_000;

/** Most characters of a name that a person gives. */
export const TITLE_MAX = 100;

/** A name as it is kept; nothing for one that says nothing. */
export const fitTitle = (title: string): string | undefined => title.replace(/\s+/g, " ").trim().slice(0, TITLE_MAX).trim() || undefined;

/** What the person calls it, else its first words. */
export function titleOf(chat: Chat): string {
  if (chat.title !== undefined) return chat.title;
  const words = (openTurns(chat).find((turn) => turn.role === "user")?.text ?? "").slice(0, 1000).replace(/\s+/g, " ").trim();
  if (words === "") return chat.mode === "text" ? "New text" : "New chat";
  return words.length > 60 ? `${words.slice(0, 59).trimEnd()}…` : words;
}

/** The messages to send: every exchange that has an answer, and the last question. */
export function messagesOf(turns: Turn[]): Message[] {
  const messages: Message[] = [];
  for (let index = 0; index < turns.length; index++) {
    const turn = turns[index] as Turn;
    if (turn.role !== "user") continue;
    const answer = turns[index + 1];
    const answered = answer?.role === "assistant" && answer.text !== "";
    // A question that never got an answer would break the alternation that chat templates ask for.
    const last = !turns.slice(index + 1).some((later) => later.role === "user");
    if (!answered && !last) continue;
    messages.push({ role: "user", content: turn.text });
    if (answered) messages.push({ role: "assistant", content: answer.text });
  }
  return messages;
}

/** The document so far: what the person wrote and what the model wrote, in order, with nothing between. */
export function documentOf(turns: Turn[]): string {
  return turns.map((turn) => turn.text).join("");
}

/** Reads one kept chat; `null` for anything that is not one. */
export function readChat(text: string): Chat | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const chat = chatOf(value);
  return typeof chat === "string" ? null : chat;
}

function keysOf(shelf: Shelf): string[] {
  const keys: string[] = [];
  for (let index = 0; index < shelf.length; index++) {
    const key = shelf.key(index);
    if (key?.startsWith(KEY)) keys.push(key);
  }
  return keys;
}

/** All kept chats, the newest first. What cannot be read is left where it is. */
export function loadChats(shelf: Shelf): Chat[] {
  const chats = keysOf(shelf).map((key) => readChat(shelf.getItem(key) ?? ""));
  return chats.filter((chat) => chat !== null).sort((a, b) => b.updated - a.updated || (a.id < b.id ? -1 : 1));
}

/** Keeps `chat` as it is if the browser has room for it, and gives whether it had. */
export function putChat(shelf: Shelf, chat: Chat): boolean {
  try {
    shelf.setItem(KEY + chat.id, JSON.stringify(chat));
    return true;
  } catch {
    return false;
  }
}

/**
 * Keeps `chat`, and lets go of the chats that rested longest while the bounds ask for it. Of a chat that is too long the oldest versions
 * that are not open go first. Returns whether it is kept: a chat that is too long by itself, or a browser that keeps nothing, is no failure of the page.
 */
export function saveChat(shelf: Shelf, chat: Chat): boolean {
  const text = JSON.stringify(prune(chat, MAX_CHARACTERS));
  if (text.length > MAX_CHARACTERS) return false;
  const others = loadChats(shelf).filter((other) => other.id !== chat.id);
  let characters = text.length;
  const kept: Chat[] = [];
  for (const other of others) {
    characters += shelf.getItem(KEY + other.id)?.length ?? 0;
    if (kept.length + 1 < MAX_CHATS && characters <= MAX_CHARACTERS) kept.push(other);
    else shelf.removeItem(KEY + other.id);
  }
  for (;;) {
    try {
      shelf.setItem(KEY + chat.id, text);
      return true;
    } catch {
      const oldest = kept.pop();
      if (!oldest) return false;
      shelf.removeItem(KEY + oldest.id);
    }
  }
}

export function removeChat(shelf: Shelf, id: string): void {
  shelf.removeItem(KEY + id);
}
