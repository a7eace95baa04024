// Chats as files: written for people as Markdown, and for reading back as JSON. Pure but for the shelf that is handed in.
//
// The JSON is `{"format": "skep-chats", "version": 1, "chats": […]}` with the chats as this browser keeps them.

import type { Trouble } from "../lib/errors";
import { plural } from "../lib/route";
import { openTurns } from "./branches";
import { documentOf, KEY, loadChats, MAX_CHARACTERS, MAX_CHATS, putChat, removeChat, titleOf, type Chat, type Shelf } from "./chats";
import { chatOf } from "./read";

const FORMAT = "skep-chats";
const VERSION = 1;

/** Most bytes of a file that is read: all that a browser keeps, in characters of up to four bytes, and its spaces. */
export const FILE_BYTES_MAX = 12_000_000;

/** Most turns of one chat of a file, all versions counted. What this browser keeps is bounded by its characters. */
export const TURNS_MAX = 4000;

/** What an import did, or why it did nothing. */
export type Imported = { added: number; known: number } | Trouble;

/** Whether an import did nothing. */
export const isTrouble = (imported: Imported): imported is Trouble => "message" in imported;

/** Chats as a file to read back. */
export const toJson = (chats: Chat[]): string => `${JSON.stringify({ format: FORMAT, version: VERSION, chats }, null, 1)}\n`;

/** The open conversation of a chat, for people. */
export function toMarkdown(chat: Chat): string {
  const turns = openTurns(chat);
  const hidden = chat.turns.length - turns.length;
  const lines = [`# ${titleOf(chat)}`];
  if (hidden > 0) lines.push(`*Of several versions this is the one that was open; ${plural(hidden, "other turn")} of the chat ${hidden === 1 ? "is" : "are"} only in the JSON.*`);
  if (chat.mode === "text") return `${[...lines, documentOf(turns)].join("\n\n")}\n`;
  for (const { role, text, state } of turns) {
    lines.push(role === "user" ? "## You" : "## Answer", text.trim() === "" ? "*(nothing)*" : text);
    if (role === "assistant" && state !== "done") lines.push(state === "failed" ? "*(failed here)*" : "*(stopped here)*");
  }
  return `${lines.join("\n\n")}\n`;
}

/** A name for a file, of letters that every system takes. */
export function fileName(title: string, now: number, extension: "md" | "json"): string {
  const words = title.toLowerCase().normalize("NFKD").replace(/[^a-z0-9]+/g, "-").slice(0, 40).replace(/^-+|-+$/g, "");
  return `skep-${words || "chat"}-${new Date(now).toISOString().slice(0, 10)}.${extension}`;
}

const refuse = (message: string, hint: string | null = null): Trouble => ({ message, hint });

/** Why a file of so many bytes is not even opened; nothing for one that is. */
export const tooLarge = (bytes: number): Trouble | null =>
  bytes <= FILE_BYTES_MAX ? null : refuse(`The file has ${Math.ceil(bytes / 1e6)} MB; at most ${FILE_BYTES_MAX / 1e6} MB are read.`, "Export fewer chats at once.");

/** The chats of a file, or what is wrong with it. */
export function fromJson(text: string): Chat[] | Trouble {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse("The file is not JSON.", "Choose a file that “Save as JSON” or “Export all” made.");
  }
  const file = typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  if (file.format !== FORMAT) return refuse("The file holds no chats of Skep.", "Choose a file that “Save as JSON” or “Export all” made.");
  if (file.version !== VERSION) return refuse(`The file is of a version that this page does not read; it reads version ${VERSION}.`, "A newer Skep may have made it.");
  if (!Array.isArray(file.chats)) return refuse("The file has no list of chats.");
  if (file.chats.length > MAX_CHATS) return refuse(`The file holds ${file.chats.length} chats; at most ${MAX_CHATS} are kept.`);
  const chats: Chat[] = [];
  for (const [at, one] of file.chats.entries()) {
    const many = Array.isArray(one?.turns) && one.turns.length > TURNS_MAX;
    const chat = many ? `it has more than ${TURNS_MAX} turns` : chatOf(one);
    if (typeof chat === "string") return refuse(`Chat ${at + 1} of the file cannot be read: ${chat}.`);
    if (chat.turns.length > 0) chats.push(chat);
  }
  return chats;
}

/** The text of a chat apart from its id, by which the same chat is known again. */
const bodyOf = (chat: Chat): string => JSON.stringify({ ...chat, id: "" });

/** What is added so that all of `chats` are kept, none twice and each under an id of its own. */
function newOnes(kept: Chat[], chats: Chat[], newId: () => string): Chat[] {
  const bodies = new Set(kept.map(bodyOf));
  const ids = new Set(kept.map((chat) => chat.id));
  const added: Chat[] = [];
  for (const chat of chats) {
    if (bodies.has(bodyOf(chat))) continue;
    const own = ids.has(chat.id) ? { ...chat, id: newId() } : chat;
    bodies.add(bodyOf(own));
    ids.add(own.id);
    added.push(own);
  }
  return added;
}

/** Adds the chats of a file: all of them or none, and never in place of others. */
export function importChats(shelf: Shelf, text: string, newId: () => string): Imported {
  const chats = fromJson(text);
  if (!Array.isArray(chats)) return chats;
  const kept = loadChats(shelf);
  const added = newOnes(kept, chats, newId);
  const room = MAX_CHATS - kept.length;
  if (added.length > room) {
    return refuse(`The file holds ${plural(added.length, "new chat")}, and this browser has room for ${room} of its ${MAX_CHATS}.`, "Delete some chats first.");
  }
  const characters = kept.reduce((sum, chat) => sum + (shelf.getItem(KEY + chat.id)?.length ?? 0), 0);
  const more = added.reduce((sum, chat) => sum + JSON.stringify(chat).length, 0);
  if (characters + more > MAX_CHARACTERS) return refuse("The chats of the file do not fit into what this browser keeps.", "Delete some chats first.");
  for (const [at, chat] of added.entries()) {
    if (putChat(shelf, chat)) continue;
    for (const one of added.slice(0, at)) removeChat(shelf, one.id);
    return refuse("This browser has no room left for the chats of the file.", "Delete some chats first.");
  }
  return { added: added.length, known: chats.length - added.length };
}
