import { expect, test } from "vitest";
import { SkepError } from "../src/lib/client";
import { append, before, changeAnswer, lastTurn, openTurns, pathOf, prune, reveal, START, versionsOf, withoutEmpty } from "../src/store/branches";
import { loadChats, readChat, saveChat, type Chat } from "../src/store/chats";
import { bench, Box } from "./bench";

const empty: Chat = { id: "a", mode: "chat", updated: 1, turns: [] };
const says = (chat: Chat, text: string, after?: number) => append(chat, { role: chat.turns.length % 2 === 0 ? "user" : "assistant", text }, after);
const texts = (chat: Chat) => openTurns(chat).map((turn) => turn.text).join(" ");

/** Questions and answers `q0 a1 q2 a3`, another answer to the first question with what followed, and another first question. */
function grown(): Chat {
  let chat = ["q0", "a1", "q2", "a3"].reduce((all, text) => says(all, text), empty);
  chat = append(chat, { role: "assistant", text: "a1'" }, 0);
  chat = append(chat, { role: "user", text: "q5" });
  return append(chat, { role: "user", text: "q0'" }, START);
}

test("a chat kept before there were versions is one line of turns, and is written back as it was", () => {
  const old = '{"id":"a","mode":"chat","updated":1,"turns":[{"role":"user","text":"q"},{"role":"assistant","text":"x","state":"done"},{"role":"user","text":"r"}]}';
  const chat = readChat(old) as Chat;
  expect(pathOf(chat)).toEqual([0, 1, 2]);
  expect(JSON.stringify(chat)).toBe(old);
  expect(versionsOf(chat.turns)).toEqual([[0], [1], [2]]);
});

test("a new version is opened, and every other stays with what followed it", () => {
  const chat = grown();
  expect(texts(chat)).toBe("q0'");
  expect(versionsOf(chat.turns)[0]).toEqual([0, 6]);
  expect(versionsOf(chat.turns)[4]).toEqual([1, 4]);
  expect(texts(reveal(chat, 0))).toBe("q0 a1' q5");
  expect(texts(reveal(chat, 1))).toBe("q0 a1 q2 a3");
  expect(texts(reveal(chat, 3))).toBe("q0 a1 q2 a3");
});

test("going away and coming back finds what was open", () => {
  const inOld = reveal(grown(), 1);
  expect(texts(reveal(reveal(inOld, 6), 0))).toBe("q0 a1 q2 a3");
});

test("what goes on in an older version goes on there", () => {
  const chat = append(reveal(grown(), 1), { role: "user", text: "q7" });
  expect(texts(chat)).toBe("q0 a1 q2 a3 q7");
  expect(before(chat.turns, 7)).toBe(3);
  expect(texts(changeAnswer(reveal(chat, 4), (turn) => ({ ...turn, text: "no" })))).toBe("q0 a1' q5");
});

test("a choice that cannot be is no choice", () => {
  const chat = grown();
  for (const first of [-5, 1, 99, 0.5, Number.NaN]) expect(texts({ ...chat, first })).toBe("q0'");
  for (const next of [-1, 0, 6, 99]) expect(texts({ ...chat, first: 0, turns: chat.turns.map((turn, at) => (at === 0 ? { ...turn, next } : turn)) })).toBe("q0 a1' q5");
});

test("an answer that says nothing is no version, unless something follows it", () => {
  const failed = append(says(empty, "q"), { role: "assistant", text: "", state: "failed" });
  expect(withoutEmpty(failed, 1).turns).toEqual([{ role: "user", text: "q" }]);
  const followed = says(failed, "r");
  expect(withoutEmpty(followed, 1)).toBe(followed);
  expect(withoutEmpty(grown(), 4)).toEqual(grown());
});

test("of a chat that is too long the oldest closed ends go, and what is open stays whole", () => {
  let chat = says(says(empty, "q"), "open ".repeat(20));
  for (let at = 0; at < 30; at++) chat = append(chat, { role: "assistant", text: `closed ${at} `.repeat(20) }, 0);
  chat = reveal(chat, 1);
  const most = 3000;
  const small = prune(chat, most);
  expect(JSON.stringify(small).length).toBeLessThanOrEqual(most);
  expect(texts(small)).toBe(texts(chat));
  const left = small.turns.filter((turn) => turn.text.startsWith("closed"));
  expect(left.length).toBeGreaterThan(3);
  expect(left.at(-1)?.text).toMatch(/^closed 29 /);
  expect(left[0]?.text).toMatch(new RegExp(`^closed ${30 - left.length} `));
  expect(prune(chat, 1e6)).toBe(chat);
  expect(texts(prune(chat, 10))).toBe(texts(chat));
});

test("letting go of versions never mixes up what follows what", () => {
  // Every tree of up to 7 turns over a fixed walk, cut down to every size.
  for (let seed = 0; seed < 300; seed++) {
    let state = seed * 7919 + 13;
    const random = (below: number) => ((state = (state * 1103515245 + 12345) % 2 ** 31), Math.floor(state / 65536) % below);
    let chat: Chat = empty;
    for (let at = 0; at < 3 + random(5); at++) chat = append(chat, { role: "user", text: `<${at}>`.repeat(10) }, random(at + 1) - 1);
    chat = reveal(chat, random(chat.turns.length));
    const parents = new Map(chat.turns.map((turn, at) => [turn.text, chat.turns[before(chat.turns, at)]?.text]));
    for (let most = 0; most < 700; most += 50) {
      const small = prune(chat, most);
      expect(texts(small)).toBe(texts(chat));
      for (const [at, turn] of small.turns.entries()) expect(small.turns[before(small.turns, at)]?.text).toBe(parents.get(turn.text));
    }
  }
});

test("versions are kept, and come back as they were", () => {
  const box = new Box();
  const chat = reveal(grown(), 1);
  saveChat(box, chat);
  const [back] = loadChats(box);
  expect(back?.turns.map((turn) => turn.text)).toEqual(chat.turns.map((turn) => turn.text));
  expect(texts(back as Chat)).toBe("q0 a1 q2 a3");
});

test("answering again keeps the answer, sends what was sent, and can be stopped", async () => {
  const { desk, asks, last, listener, end } = bench();
  const first = desk.send("hi");
  listener().onText("one");
  end().resolve();
  await first;
  const second = desk.retry();
  expect(asks[1]).toEqual(asks[0]);
  expect(desk.state.value.chat.turns).toHaveLength(3);
  listener().onText("tw");
  desk.choose(1);
  expect(last().text).toBe("");
  desk.stop();
  await second;
  expect(last()).toMatchObject({ text: "tw", state: "stopped" });
  desk.choose(1);
  expect(last()).toMatchObject({ text: "one", state: "done" });
  expect(desk.state.value.history[0]?.turns).toHaveLength(3);
});

test("an answer in the middle is asked for again with what came before it alone", async () => {
  const { desk, asks, listener, end } = bench();
  for (const text of ["a", "b"]) {
    const sent = desk.send(text);
    listener().onText(`to ${text}`);
    end().resolve();
    await sent;
  }
  void desk.retry(1);
  expect(asks[2]?.body.messages).toEqual([{ role: "user", content: "a" }]);
  expect(texts(desk.state.value.chat).trim()).toBe("a");
});

test("a question written anew is asked in place of the old one, which stays", async () => {
  const { desk, asks, listener, end } = bench();
  for (const text of ["a", "b"]) {
    const sent = desk.send(text);
    listener().onText(`to ${text}`);
    end().resolve();
    await sent;
  }
  void desk.edit(2, "b");
  void desk.edit(2, "  ");
  void desk.edit(1, "an answer is not mine to edit");
  expect(asks).toHaveLength(2);
  void desk.edit(2, "B");
  expect(asks[2]?.body.messages).toEqual([
    { role: "user", content: "a" },
    { role: "assistant", content: "to a" },
    { role: "user", content: "B" },
  ]);
  desk.stop();
  desk.choose(2);
  expect(texts(desk.state.value.chat)).toBe("a to a b to b");
});

test("a failure without a word leaves no version behind", async () => {
  const { desk, end } = bench();
  const sent = desk.send("hi");
  end().reject(new SkepError({ message: "No.", hint: null }));
  await sent;
  void desk.retry();
  expect(desk.state.value.chat.turns).toHaveLength(2);
  expect(lastTurn(desk.state.value.chat)).toMatchObject({ state: "writing" });
});

test("a deleted chat comes back, open if it was", async () => {
  const { desk, listener, end } = bench();
  const sent = desk.send("hi");
  listener().onText("x");
  end().resolve();
  await sent;
  const { id } = desk.state.value.chat;
  desk.remove(id);
  expect(desk.state.value).toMatchObject({ history: [], removed: { open: true } });
  desk.undo();
  expect(desk.state.value).toMatchObject({ chat: { id }, removed: null });
  expect(desk.state.value.history.map((chat) => chat.id)).toEqual([id]);
});

test("a name is kept until it is taken away", async () => {
  const { box, desk } = bench();
  void desk.send("hi");
  desk.stop();
  const { id } = desk.state.value.chat;
  desk.rename(id, "  My \n chat ");
  expect(loadChats(box)[0]?.title).toBe("My chat");
  desk.rename(id, " ");
  expect(loadChats(box)[0]?.title).toBeUndefined();
});
