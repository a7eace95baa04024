import { expect, test } from "vitest";
import { append, reveal } from "../src/store/branches";
import { KEY, loadChats, MAX_CHATS, saveChat, type Chat } from "../src/store/chats";
import { FILE_BYTES_MAX, fileName, fromJson, importChats, isTrouble, TURNS_MAX, toJson, toMarkdown, tooLarge } from "../src/store/files";
import { search } from "../src/store/search";
import { Box } from "./bench";

const SUMMARY = {
  finish: "stop" as const, prompt_tokens: 3, completion_tokens: 9, hops: [{ node: "3f".repeat(32), blocks: [0, 4] as [number, number], frames: 10, hold_ms: 3.25, rtt_ms: null }],
  recoveries: [{ at_token: 4, lost: ["ab"], rung: "replay", stall_ms: 12.5 }], first_token_ms: 1.5, total_ms: 20, lap_ms: 2, price: 7,
};

/** A chat with a name, two versions of its answer, and all that an answer may carry. */
function whole(id = "a", question = "What is a skep?"): Chat {
  let chat: Chat = { id, mode: "chat", updated: 5, title: "Hives & <b>bees</b>", turns: [{ role: "user", text: question }] };
  chat = append(chat, { role: "assistant", text: "A basket.", state: "done", route: [{ node: "3f2a", blocks: [0, 4] }], summary: SUMMARY, at: 77 });
  chat = append(chat, { role: "assistant", text: "A hi", state: "failed", trouble: { message: "No.", hint: "Try." } }, 0);
  return reveal(chat, 1);
}

let ids = 0;
const newId = () => `new${++ids}`;
const wrap = (chats: unknown, more: object = {}) => JSON.stringify({ format: "skep-chats", version: 1, chats, ...more });
const message = (text: string): string => {
  const read = fromJson(text);
  return Array.isArray(read) ? "" : read.message;
};

test("what is exported is imported the same, into a browser that has nothing", () => {
  const chats = [whole("a"), { ...whole("b", "Another?"), mode: "text" as const }];
  const box = new Box();
  expect(importChats(box, toJson(chats), newId)).toEqual({ added: 2, known: 0 });
  expect(loadChats(box).sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(chats);
  expect(fromJson(toJson(loadChats(box).reverse()))).toEqual(loadChats(box).reverse());
});

test("the same file twice adds nothing, and another chat of the same id gets one of its own", () => {
  const box = new Box();
  importChats(box, toJson([whole()]), newId);
  expect(importChats(box, toJson([whole(), whole()]), newId)).toEqual({ added: 0, known: 2 });
  expect(importChats(box, toJson([whole("a", "Other words")]), newId)).toEqual({ added: 1, known: 0 });
  expect(loadChats(box).map((chat) => chat.id)).toContain("a");
  expect(loadChats(box)).toHaveLength(2);
});

test("what is not such a file is refused by a sentence, and nothing is changed", () => {
  const turn = { role: "user", text: "x" };
  const chat = { id: "a", mode: "chat", updated: 1, turns: [turn] };
  const bad: [string, RegExp][] = [
    ["", /^The file is not JSON\.$/],
    ["\u0000\u00ff", /not JSON/],
    ["null", /holds no chats of Skep/],
    ["[]", /holds no chats of Skep/],
    ['{"format":"other"}', /holds no chats of Skep/],
    [wrap([], { version: 2 }), /reads version 1/],
    [wrap([], { version: "1" }), /reads version 1/],
    [wrap({}), /no list of chats/],
    [wrap(Array(MAX_CHATS + 1).fill(chat)), /holds 61 chats; at most 60/],
    [wrap([chat, 7]), /^Chat 2 of the file cannot be read: it is not an object\.$/],
    [wrap([{ ...chat, id: "../../etc" }]), /has no id/],
    [wrap([{ ...chat, id: { toString: "x" } }]), /has no id/],
    [wrap([{ ...chat, mode: "html" }]), /neither a conversation nor a text/],
    [wrap([{ ...chat, updated: "now" }]), /has no time/],
    [wrap([{ ...chat, turns: { length: 3 } }]), /has no turns/],
    [wrap([{ ...chat, turns: Array(TURNS_MAX + 1).fill(turn) }]), /more than 4000 turns/],
    [wrap([{ ...chat, turns: [turn, null] }]), /turn 2 is not an object/],
    [wrap([{ ...chat, turns: [{ ...turn, role: "system" }] }]), /turn 1 is of neither side/],
    [wrap([{ ...chat, turns: [{ role: "user", text: ["x"] }] }]), /turn 1 has no text/],
    [wrap([{ ...chat, turns: [turn, { ...turn, after: 1 }] }]), /turn 2 follows none before it/],
    [wrap([{ ...chat, turns: [{ ...turn, after: -2 }] }]), /turn 1 follows none before it/],
    [wrap([{ ...chat, turns: [turn, { ...turn, after: "0" }] }]), /turn 2 follows none before it/],
  ];
  const box = new Box();
  saveChat(box, whole());
  const kept = [...box.kept];
  for (const [text, sentence] of bad) {
    expect(message(text)).toMatch(sentence);
    expect(message(text)).toMatch(/^[A-Z].*\.$/);
    expect(isTrouble(importChats(box, text, newId))).toBe(true);
  }
  expect([...box.kept]).toEqual(kept);
  expect(tooLarge(FILE_BYTES_MAX)).toBeNull();
  expect(tooLarge(FILE_BYTES_MAX + 1)?.message).toMatch(/13 MB; at most 12 MB/);
});

test("of what a chat carries only what is known and fits is taken over", () => {
  const odd = {
    ...whole(), first: "x", hostile: 1, __proto__: { polluted: true }, title: "x".repeat(500),
    turns: [
      { role: "user", text: "q", state: "done", summary: SUMMARY, next: -4 },
      { role: "assistant", text: "a", state: "writing", broken: true, summary: { ...SUMMARY, hops: [{ node: {}, blocks: [0, 1], frames: 1, hold_ms: 1 }] }, route: [{ node: "x", blocks: [4, 2] }], trouble: "no", at: "then" },
      { role: "assistant", text: "b", state: "evil", summary: { ...SUMMARY, lap_ms: "fast", why: { expected: { price: 12 } }, extra: {} } },
    ],
  };
  const [chat] = fromJson(wrap([odd])) as Chat[];
  expect(chat).toEqual({
    id: "a", mode: "chat", updated: 5, title: "x".repeat(100),
    turns: [
      { role: "user", text: "q" },
      { role: "assistant", text: "a", state: "stopped" },
      { role: "assistant", text: "b", state: "done", summary: { ...SUMMARY, lap_ms: null, price: 12 } },
    ],
  });
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
});

test("an import takes the place of no chat, and is whole or nothing", () => {
  const box = new Box();
  for (let at = 0; at < MAX_CHATS - 1; at++) saveChat(box, whole(`k${at}`, `question ${at}`));
  const refused = importChats(box, toJson([whole("x", "one"), whole("y", "two")]), newId);
  expect(isTrouble(refused) && refused.message).toBe("The file holds 2 new chats, and this browser has room for 1 of its 60.");
  expect(importChats(box, toJson([whole("x", "one")]), newId)).toEqual({ added: 1, known: 0 });
  const small = new Box(3000);
  const many = Array.from({ length: 8 }, (_, at) => whole(`m${at}`, `question ${at} ${"x".repeat(200)}`));
  expect(isTrouble(importChats(small, toJson(many), newId))).toBe(true);
  expect(small.kept.size).toBe(0);
});

test("a kept chat of any number of turns stays readable", () => {
  const box = new Box();
  const long: Chat = { id: "long", mode: "chat", updated: 1, turns: Array.from({ length: TURNS_MAX + 10 }, (_, at) => ({ role: "user", text: `${at}` })) };
  saveChat(box, long);
  expect(loadChats(box)).toEqual([long]);
});

test("arbitrary bytes in a kept chat never come back as anything else", () => {
  const box = new Box();
  for (const text of ["\u2028<script>", "\"}]", "\ud800", "__proto__", "${x}"]) {
    const chat = { ...whole(), id: "z", turns: [{ role: "user" as const, text }] };
    const [back] = fromJson(toJson([chat])) as Chat[];
    expect(back).toEqual(chat);
    box.removeItem(`${KEY}z`);
  }
});

test("Markdown is the conversation that is open, and says that there is more", () => {
  const text = toMarkdown(whole());
  expect(text).toBe(
    "# Hives & <b>bees</b>\n\n*Of several versions this is the one that was open; 1 other turn of the chat is only in the JSON.*\n\n" +
      "## You\n\nWhat is a skep?\n\n## Answer\n\nA basket.\n",
  );
  expect(toMarkdown(reveal(whole(), 2))).toMatch(/A hi\n\n\*\(failed here\)\*\n$/);
  expect(toMarkdown({ id: "t", mode: "text", updated: 1, turns: [{ role: "user", text: "ROMEO:\n" }, { role: "assistant", text: "But soft" }] })).toBe("# ROMEO:\n\nROMEO:\nBut soft\n");
});

test("file names are of plain letters", () => {
  const at = Date.UTC(2026, 0, 2);
  expect(fileName("Über / “bees” ..\\", at, "md")).toBe("skep-u-ber-bees-2026-01-02.md");
  expect(fileName("蜂", at, "json")).toBe("skep-chat-2026-01-02.json");
  expect(fileName("x".repeat(300), at, "md").length).toBeLessThan(70);
});

test("a search finds all words, in every version, and shows where", () => {
  const chats = [whole("a"), { ...whole("b", "Something else about straw and wax"), title: "Other" }];
  expect(search(chats, " ").map((found) => found.chat.id)).toEqual(["a", "b"]);
  expect(search(chats, "BEES")).toEqual([{ chat: chats[0], at: null, around: null }]);
  const [found] = search(chats, "wax straw");
  expect(found).toMatchObject({ chat: { id: "b" }, at: 0, around: { word: "wax", before: "…ng else about straw and ", after: "" } });
  expect(search(chats, "other BASKET")[0]).toMatchObject({ chat: { id: "b" }, at: 1 });
  expect(search(chats, "nowhere")).toEqual([]);
  expect(search([{ ...whole(), title: "İİİ x" }], "x").length).toBe(1);
});
