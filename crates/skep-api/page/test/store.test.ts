import { expect, test } from "vitest";
import { SkepError } from "../src/lib/client";
import type { Summary } from "../src/lib/types";
import { openTurns } from "../src/store/branches";
import { KEY, MAX_CHATS, loadChats, messagesOf, readChat, saveChat, titleOf, type Chat, type Turn } from "../src/store/chats";
import { SHOWN_MAX } from "../src/store/desk";
import { DEFAULTS, fit, loadSettings, optionsOf, saveSettings } from "../src/store/settings";
import { bench, Box } from "./bench";

const chat = (id: string, updated: number, text = "hello"): Chat => ({ id, mode: "chat", updated, turns: [{ role: "user", text }] });
const SUMMARY: Summary = {
  finish: "stop", prompt_tokens: 1, completion_tokens: 2, hops: [], recoveries: [], first_token_ms: 1, total_ms: 2, lap_ms: 1,
};

test("chats come back as they were kept, the newest first", () => {
  const box = new Box();
  saveChat(box, chat("a", 1));
  saveChat(box, chat("b", 2));
  expect(loadChats(box)).toEqual([chat("b", 2), chat("a", 1)]);
});

test("the chats that rested longest go when there are too many", () => {
  const box = new Box();
  for (let at = 0; at < MAX_CHATS + 5; at++) saveChat(box, chat(`c${at}`, at));
  const kept = loadChats(box);
  expect(kept).toHaveLength(MAX_CHATS);
  expect(kept.at(-1)?.id).toBe("c5");
});

test("a full browser lets go of old chats, and says when even that does not help", () => {
  const box = new Box(250);
  expect(saveChat(box, chat("a", 1))).toBe(true);
  expect(saveChat(box, chat("b", 2))).toBe(true);
  expect(saveChat(box, chat("c", 3, "x".repeat(100)))).toBe(true);
  expect(loadChats(box).map((kept) => kept.id)).toEqual(["c", "b"]);
  expect(saveChat(box, chat("d", 4, "x".repeat(300)))).toBe(false);
});

test("what is not a chat is left alone and does not stop the others", () => {
  const box = new Box();
  for (const text of ["", "{", "null", "[]", '{"id":"x"}', '{"id":"x","mode":"chat","updated":1,"turns":[{"role":"bee","text":"z"}]}']) {
    expect(readChat(text), text).toBeNull();
  }
  box.setItem(`${KEY}bad`, "{");
  saveChat(box, chat("a", 1));
  expect(loadChats(box)).toEqual([chat("a", 1)]);
  expect(box.getItem(`${KEY}bad`)).toBe("{");
});

test("titles are the first words, cut to one short line", () => {
  expect(titleOf(chat("a", 1, "  two\n words "))).toBe("two words");
  expect(titleOf(chat("a", 1, "x".repeat(100)))).toHaveLength(60);
  expect(titleOf({ ...chat("a", 1), turns: [] })).toBe("New chat");
});

test("questions without an answer are not sent again, but the last one is", () => {
  const turns: Turn[] = [
    { role: "user", text: "1" },
    { role: "assistant", text: "one" },
    { role: "user", text: "2" },
    { role: "assistant", text: "", state: "failed" },
    { role: "user", text: "3" },
  ];
  expect(messagesOf(turns).map((message) => message.content)).toEqual(["1", "one", "3"]);
  expect(messagesOf(turns.slice(0, 4)).map((message) => message.content)).toEqual(["1", "one", "2"]);
});

test("settings survive, and foreign values are fitted or replaced", () => {
  const box = new Box();
  expect(loadSettings(box)).toEqual(DEFAULTS);
  saveSettings(box, { temperature: 0, top_p: 1, max_tokens: null, seed: 7, pace: null });
  expect(loadSettings(box)).toEqual({ temperature: 0, top_p: 1, max_tokens: null, seed: 7, pace: null });
  box.setItem("skep.settings", '{"temperature":99,"top_p":"x","max_tokens":2.6,"seed":-3,"pace":0}');
  expect(loadSettings(box)).toEqual({ temperature: 2, top_p: DEFAULTS.top_p, max_tokens: 3, seed: 0, pace: 1 });
  expect(fit("seed", Number.NaN)).toBeNull();
  expect(optionsOf({ ...DEFAULTS, max_tokens: null })).toEqual({ temperature: DEFAULTS.temperature, top_p: DEFAULTS.top_p, pace: DEFAULTS.pace });
});

test("text is shown once per frame, and all of it at the end", async () => {
  const { box, desk, asks, frames, frame, last, listener, end } = bench();
  const sent = desk.send("hi");
  listener().onStart([{ node: "3f", blocks: [0, 1] }], []);
  listener().onText("a");
  listener().onText("b");
  expect([last().text, frames.length]).toEqual(["", 1]);
  frame();
  expect(last().text).toBe("ab");
  listener().onText("c");
  listener().onSummary(SUMMARY);
  end().resolve();
  await sent;
  expect(last()).toMatchObject({ text: "abc", state: "done", summary: SUMMARY, route: [{ node: "3f" }] });
  expect(desk.state.value.writing).toBe(false);
  expect(loadChats(box)[0]?.turns.at(-1)?.text).toBe("abc");
  expect(asks[0]).toMatchObject({ path: "/v1/chat/completions", body: { messages: [{ role: "user", content: "hi" }], temperature: 0.8 } });
});

test("what comes too fast for one picture is shown over several, and is whole before the answer is done", async () => {
  const { desk, frame, last, listener, end } = bench();
  const sent = desk.send("hi");
  const text = "0123456789".repeat(SHOWN_MAX / 4);
  listener().onText(text);
  frame();
  expect(last().text).toBe(text.slice(0, SHOWN_MAX));
  end().resolve();
  await Promise.resolve();
  while (desk.state.value.writing) {
    const before = last().text.length;
    frame();
    await Promise.resolve();
    await Promise.resolve();
    expect(last().text.length - before).toBeLessThanOrEqual(SHOWN_MAX);
  }
  await sent;
  expect(last()).toMatchObject({ text, state: "done" });
});

test("stop keeps what has come, at once, and what comes later is ignored", async () => {
  const { desk, last, listener } = bench();
  const sent = desk.send("hi");
  listener().onText("half");
  desk.stop();
  expect(last()).toMatchObject({ text: "half", state: "stopped" });
  expect(desk.state.value.writing).toBe(false);
  listener().onText(" more");
  await sent;
  expect(last()).toMatchObject({ text: "half", state: "stopped" });
});

test("a new answer does not hear the end of the one that was stopped", async () => {
  const { box, desk, frame, last, listener } = bench();
  const first = desk.send("one");
  const old = listener();
  old.onText("old");
  desk.newChat();
  void desk.send("two");
  old.onText("stale");
  listener().onText("new");
  await first;
  frame();
  expect(last()).toMatchObject({ text: "new", state: "writing" });
  expect(loadChats(box).map((kept) => kept.turns.at(-1)?.text).sort()).toEqual(["", "old"]);
});

test("a failure keeps what came, tells its sentence, and can be tried again", async () => {
  const { desk, asks, last, listener, end } = bench();
  const sent = desk.send("hi");
  listener().onText("par");
  end().reject(new SkepError({ message: "No live node holds block 3.", hint: "Start one." }));
  await sent;
  expect(last()).toMatchObject({ text: "par", state: "failed", trouble: { hint: "Start one." } });
  void desk.retry();
  expect(asks[1]).toEqual(asks[0]);
  expect(openTurns(desk.state.value.chat)).toHaveLength(2);
});

test("a broken connection is said below what came, until the answer goes on or ends", async () => {
  const { desk, last, listener, end } = bench();
  const sent = desk.send("hi");
  listener().onText("half");
  listener().onBreak?.();
  expect(last()).toMatchObject({ text: "half", state: "writing", broken: true });
  listener().onStart(null, []);
  expect(last()).toMatchObject({ state: "writing", broken: false });
  listener().onBreak?.();
  end().reject(new SkepError({ message: "It did not come back.", hint: null }));
  await sent;
  expect(last()).toMatchObject({ text: "half", state: "failed", broken: false });
});

test("one answer at a time, and nothing is sent for nothing", () => {
  const { desk, asks } = bench();
  void desk.send("  ");
  expect(asks).toHaveLength(0);
  void desk.send("hi");
  void desk.send("again");
  expect(asks).toHaveLength(1);
});

test("a document is sent as one text, and an empty line asks to go on", async () => {
  const { desk, asks, listener, end } = bench();
  desk.setMode("text");
  void desk.send("");
  expect(asks).toHaveLength(0);
  const first = desk.send("ROMEO:\n");
  listener().onText("But soft");
  end().resolve();
  await first;
  void desk.send("");
  expect(asks.map((ask) => [ask.path, ask.body.prompt])).toEqual([
    ["/v1/completions", "ROMEO:\n"],
    ["/v1/completions", "ROMEO:\nBut soft"],
  ]);
});

test("an answer that the page was closed on is read back as stopped", () => {
  const { box, desk, listener } = bench();
  void desk.send("hi");
  listener().onText("half");
  desk.rest();
  expect(bench(box).desk.state.value.history[0]?.turns.at(-1)).toMatchObject({ text: "half", state: "stopped" });
});

test("a mode belongs to a chat: changing it leaves a begun chat and begins another", () => {
  const { desk } = bench();
  const first = desk.state.value.chat.id;
  desk.setMode("text");
  expect(desk.state.value.chat).toMatchObject({ id: first, mode: "text" });
  void desk.send("a");
  desk.setMode("chat");
  expect(desk.state.value.chat.id).not.toBe(first);
  desk.open(first);
  expect(desk.state.value.chat).toMatchObject({ id: first, mode: "text" });
  desk.remove(first);
  expect(desk.state.value.history).toEqual([]);
});
