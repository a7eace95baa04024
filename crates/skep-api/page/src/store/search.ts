// Finds chats by words that occur in them, in any of their versions. Pure.

import { titleOf, type Chat } from "./chats";

/** Most characters of what is searched for. */
export const WORDS_MAX = 200;

/** A chat in which all words occur. */
export interface Found {
  chat: Chat;
  /** The place of a turn that has what the title lacks; `null` when the title has all. */
  at: number | null;
  /** The text around the first word that the title lacks. */
  around: { before: string; word: string; after: string } | null;
}

/** Characters that are shown before and after a word. */
const BEFORE = 24;
const AFTER = 60;

const oneLine = (text: string): string => text.replace(/\s+/g, " ");

function cutAround(text: string, at: number, length: number): NonNullable<Found["around"]> {
  const start = Math.max(0, at - BEFORE);
  return {
    before: `${start > 0 ? "…" : ""}${oneLine(text.slice(start, at))}`,
    word: oneLine(text.slice(at, at + length)),
    after: `${oneLine(text.slice(at + length, at + length + AFTER))}${at + length + AFTER < text.length ? "…" : ""}`,
  };
}

/** Where `word` is in `text`, without regard to capitals. Both keep their length, so that the place is that in the text. */
function placeIn(text: string, word: string): number {
  const lower = text.toLowerCase();
  return lower.length === text.length ? lower.indexOf(word) : text.indexOf(word);
}

/** The chats in which every word of `query` occurs, in their order; all of them for no word. */
export function search(chats: Chat[], query: string): Found[] {
  const words = query.slice(0, WORDS_MAX).toLowerCase().split(/\s+/).filter((word) => word !== "");
  const found: Found[] = [];
  for (const chat of chats) {
    const title = titleOf(chat);
    const inTitle = words.every((word) => placeIn(title, word) >= 0);
    if (inTitle) {
      found.push({ chat, at: null, around: null });
      continue;
    }
    const has = (word: string) => placeIn(title, word) >= 0 || chat.turns.some((turn) => placeIn(turn.text, word) >= 0);
    if (!words.every(has)) continue;
    // The title lacks one of them at least, which some turn then has; a turn that has all that it lacks says more.
    const lacking = words.filter((one) => placeIn(title, one) < 0);
    const word = lacking[0] as string;
    const best = chat.turns.findIndex((turn) => lacking.every((one) => placeIn(turn.text, one) >= 0));
    const at = best >= 0 ? best : chat.turns.findIndex((turn) => placeIn(turn.text, word) >= 0);
    const { text } = chat.turns[at] as Chat["turns"][number];
    found.push({ chat, at, around: cutAround(text, placeIn(text, word), word.length) });
  }
  return found;
}
