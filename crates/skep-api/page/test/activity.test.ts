import { expect, test } from "vitest";
import { ANSWERS_MAX, EVENTS_MAX, listAnswers, noticeNetwork, noticeReading, noticeSilence, nothingYet, priceOf, READINGS_MAX, wayText, whenText, type Activity } from "../src/lib/activity";
import { barsOf, GAP_MS, HEIGHT, lineOf, scaleTo, WIDTH } from "../src/lib/plot";
import type { NetworkView, NodeView, Summary } from "../src/lib/types";

const node = (id: string, more: Partial<NodeView> = {}): NodeView => ({ id, pid: null, blocks: [0, 4], alive: true, rtt_ms: null, frames: 0, label: "", figures: {} as NodeView["figures"], ...more });
const view = (nodes: NodeView[], last_answer: Summary | null = null): NetworkView => ({ gateway: "gate", model: {} as NetworkView["model"], nodes, last_answer, active: 1, can_unplug: false });
const answer = (total_ms: number, nodes = ["aaaa"], more: Partial<Summary> = {}): Summary => ({
  finish: "stop", prompt_tokens: 1, completion_tokens: 2, first_token_ms: 1, total_ms, lap_ms: null, recoveries: [],
  hops: nodes.map((id, at) => ({ node: id, blocks: [at, at + 1], frames: 2, hold_ms: 4, rtt_ms: null })), ...more,
});

/** What looks at these views one after another note, one per second. */
function after(...views: NetworkView[]): Activity {
  let all = nothingYet(0);
  views.forEach((next, at) => (all = noticeNetwork(all, views[at - 1] ?? null, next, at * 1000)));
  return all;
}
const said = (all: Activity) => all.events.map(({ kind, text }) => `${kind}: ${text}`);

test("the first look tells what there is, and nothing that happened", () => {
  const all = after(view([node("aaaa"), node("gate")], answer(5)));
  expect(all.events).toEqual([]);
  expect(all.answers).toEqual([{ at: null, summary: answer(5) }]);
});

test("who joins, leaves, comes back and moves is noted once, the latest first", () => {
  const a = node("aaaa");
  const all = after(
    view([a]),
    view([a, node("bbbb", { blocks: [4, 8] })]),
    view([a, node("bbbb", { alive: false })]),
    view([a, node("bbbb", { alive: false })]),
    view([a, node("bbbb")]),
    view([node("aaaa", { blocks: [0, 2] }), node("bbbb", { blocks: null })]),
    view([node("bbbb", { blocks: null })]),
  );
  expect(said(all)).toEqual([
    "left: Node aaaa left.",
    "moved: Node bbbb holds no blocks any more.",
    "moved: Node aaaa now holds blocks [0..2].",
    "joined: Node bbbb is back and holds blocks [0..4].",
    "left: Node bbbb left.",
    "joined: Node bbbb joined and holds blocks [4..8].",
  ]);
});

test("a node that was dead before it was seen, or dies and is forgotten, is noted once at most", () => {
  const dead = node("bbbb", { alive: false });
  expect(after(view([]), view([dead]), view([])).events).toEqual([]);
});

test("answers are noted once each, with a change of their route and what they lost", () => {
  const lost = { at_token: 7, lost: ["bbbb"], rung: "replay", stall_ms: 412 };
  const all = after(view([], answer(1)), view([], answer(1)), view([], answer(2)), view([], answer(3, ["aaaa", "gate"], { recoveries: [lost] })));
  expect(all.answers.map(({ at, summary }) => [at, summary.total_ms])).toEqual([[3000, 3], [2000, 2], [null, 1]]);
  expect(said(all)).toEqual(["route: Answers now go aaaa[0..1] → this machine[1..2].", "lost: An answer lost node bbbb at token 7 and went on after 412 ms."]);
});

test("another node behind the same address is a new beginning", () => {
  const other = { ...view([node("cccc")], answer(9)), gateway: "other" };
  const all = after(view([node("aaaa")]), other);
  expect(all.events).toEqual([]);
  expect(all.answers[0]?.at).toBeNull();
});

test("whatever comes, so much is kept and no more", () => {
  let all = nothingYet(0);
  let before = view([node("aaaa")]);
  for (let at = 1; at < 1200; at++) {
    const next = view([node("aaaa", { alive: at % 2 === 0 })], answer(at));
    all = noticeReading(noticeNetwork(all, before, next, at * 3000), next, null, at * 3000);
    before = next;
  }
  expect([all.answers.length, all.events.length, all.readings.length]).toEqual([ANSWERS_MAX, EVENTS_MAX, READINGS_MAX]);
  expect(all.readings.at(-1)).toEqual({ at: 1199 * 3000, nodes: 0, active: 1, work: null, cpu: null, upload: null, download: null });
});

test("readings that come too fast are left out, and silence is told both ways", () => {
  const once = noticeReading(nothingYet(0), view([]), null, 5000);
  expect(noticeReading(once, view([]), null, 6000)).toBe(once);
  expect(noticeReading(once, view([]), null, 7000).readings).toHaveLength(2);
  const told = noticeSilence(noticeSilence(once, true, 1), false, 2);
  expect(told.events.map(({ kind }) => kind)).toEqual(["back", "silent"]);
});

test("an answer that was seen and is in a chat is listed once, by the chat's time", () => {
  const here = { at: 50, summary: { ...answer(2), price: 3 }, chat: { id: "c", title: "t", place: 1 } };
  const old = { at: null, summary: answer(1), chat: { id: "d", title: "u", place: 3 } };
  const listed = listAnswers([{ at: 60, summary: answer(3) }, { at: 51, summary: answer(2) }], [here, old]);
  expect(listed.map(({ at, summary, chat }) => [at, summary.total_ms, chat?.id ?? null])).toEqual([[60, 3, null], [50, 2, "c"], [null, 1, "d"]]);
  expect(listAnswers([], Array.from({ length: 80 }, (_, at) => ({ at, summary: answer(at), chat: null })))).toHaveLength(ANSWERS_MAX);
});

test("a price is what the planner or the chat says, and nothing else", () => {
  expect(priceOf(answer(1))).toBeNull();
  expect(priceOf(answer(1, [], { price: 0 }))).toBe(0);
  expect(priceOf(answer(1, [], { why: { expected: { price: 9 } } as Summary["why"] }))).toBe(9);
});

test("ways and moments are short", () => {
  expect(wayText(answer(1, ["f".repeat(64), "gate"]).hops, "gate")).toBe("ffff…ff[0..1] → this machine[1..2]");
  const now = new Date(2026, 0, 5, 14, 3, 9).getTime();
  expect(whenText(now, now)).toBe("14:03:09");
  expect(whenText(new Date(2025, 11, 31, 9, 5, 1).getTime(), now)).toBe("31 Dec 09:05");
});

test("scales are round and never too low", () => {
  for (const [value, most] of [[0, 1], [-3, 1], [Number.NaN, 1], [0.3, 0.5], [1, 1], [1.01, 2], [37, 50], [100, 100], [6e6, 1e7]] as const) expect(scaleTo(value)).toBeCloseTo(most);
});

test("a line stays in its picture and breaks where nobody looked", () => {
  const points = [0, 5000, 10_000, 10_001 + GAP_MS].map((at, value) => ({ at, value: value * 1000 }));
  const { line, area } = lineOf(points, 0, 40_000, 1500);
  expect(line.split("M")).toHaveLength(3);
  expect(line).toMatch(/h0$/);
  expect(area.split("Z")).toHaveLength(3);
  for (const [, x, y] of line.matchAll(/([\d.]+) ([\d.]+)/g)) {
    expect(Number(x)).toBeLessThanOrEqual(WIDTH);
    expect(Number(y)).toBeGreaterThanOrEqual(0);
    expect(Number(y)).toBeLessThanOrEqual(HEIGHT);
  }
  expect(lineOf([], 0, 0, 1)).toEqual({ line: "", area: "" });
  expect(lineOf([{ at: 3, value: 1 }], 3, 3, 1).line).toBe(`M0.0 3.0h0`);
});

test("a count goes in steps", () => {
  const points = [{ at: 0, value: 1 }, { at: 10, value: 2 }];
  expect(lineOf(points, 0, 10, 2, true).line).toBe(`M0.0 ${(HEIGHT - (HEIGHT - 3) / 2).toFixed(1)}H300.0V3.0`);
});

test("bars are within their picture, and what is not known has none", () => {
  const bars = barsOf([1, null, 50, 100], 100, 20);
  expect(bars.map(({ height }) => height)).toEqual([1, 0, (HEIGHT - 3) / 2, HEIGHT - 3]);
  expect(barsOf(Array(50).fill(1), 1, 20).every(({ x, width }) => x >= 0 && x + width <= WIDTH)).toBe(true);
});
