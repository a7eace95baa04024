import { expect, test } from "vitest";
import { byOwner, clockText, dayOf, hoursOf, memoryText, metersOf, momentText, sentence, spanText, totalsOf, untilTomorrow, workText } from "../src/lib/machine";
import type { MachineView } from "../src/lib/machine";

const HOUR = 3_600_000;
const NOON = new Date(2026, 4, 14, 12, 0).getTime();
const GIB = 2 ** 30;
const VIEW: MachineView = {
  state: "lending",
  reason: null,
  until_ms: null,
  since_ms: NOON,
  in_use: false,
  caps: { cpu_percent: 50, memory_bytes: 4 * GIB, disk_bytes: null, gpu: false, upload: 1_000_000, download: null, transfer_left: 3 * GIB },
  use: { cpu_percent: 2.5, memory_bytes: GIB, weights_bytes: 0, disk_bytes: 2 * GIB, upload: 250_000, download: 1000, transferred_today_bytes: GIB, work: 0 },
  machine: { memory_bytes: 16 * GIB, processors: 8 },
  blocks: null,
  model: null,
  sensors: [],
  timeline: [],
};

test("times are told as people tell them", () => {
  expect([0, 59_000, 125_000, HOUR, 2 * HOUR + 600_000, 72 * HOUR].map(spanText)).toEqual(["less than a minute", "1 min", "2 min", "1 h", "2 h 10 min", "3 days"]);
  expect(clockText(NOON + 5 * 60_000)).toBe("12:05");
  expect([NOON + HOUR, NOON + 11 * HOUR, NOON + 20 * HOUR, NOON + 60 * HOUR].map((ms) => momentText(ms, NOON))).toEqual(["13:00", "23:00", "tomorrow 8:00", "Sunday 0:00"]);
  expect(momentText(NOON - 2 * HOUR + 14 * HOUR, NOON - 12 * HOUR + 1)).toBe("tomorrow 0:00");
});

test("tomorrow begins in the morning, also late at night", () => {
  for (const hour of [0, 7, 12, 23]) {
    const now = new Date(2026, 4, 14, hour, 59).getTime();
    const end = new Date(now + untilTomorrow(now) * 1000);
    expect([end.getDate(), end.getHours()]).toEqual([15, 8]);
  }
});

test("a clause becomes a sentence once", () => {
  expect(["you paused it", "It is so."].map(sentence)).toEqual(["You paused it.", "It is so."]);
});

test("the work for others is told in one sentence", () => {
  const told = (change: Partial<MachineView>, work = 0) => workText({ ...VIEW, ...change, use: { ...VIEW.use, work } });
  expect(told({})).toBe("Nobody asks anything of it at the moment.");
  expect(told({ in_use: true }, 1)).toBe("It works on one answer for somebody else. While it is in use, it lends less.");
  expect(told({ state: "finishing" }, 3)).toBe("It works on 3 answers for others, and takes nothing new.");
  expect(told({ state: "finishing" })).toBe("Nothing is left to do.");
});

test("only what the owner said is undone by the owner's word", () => {
  const reason = (code: string) => ({ ...VIEW, state: "paused" as const, reason: { code, text: "", remedy: "", setting: null } });
  expect(["owner", "finished", "in_use", "calming"].map((code) => byOwner(reason(code)))).toEqual([true, true, false, false]);
  expect([byOwner(VIEW), byOwner({ ...VIEW, state: "finishing" })]).toEqual([false, true]);
});

test("a day has no gap, begins 24 hours ago, and what nobody noted down is unknown", () => {
  const at = (hours: number, state: string, reason: string | null = null) => ({ from_ms: NOON - hours * HOUR, state, reason });
  const day = dayOf([at(20, "lending"), at(10, "paused", "x"), at(10, "paused", "x"), at(4, "paused", "y"), at(1, "dancing")], NOON);
  expect(day.map(({ state, from, to }) => [state, (NOON - from) / HOUR, (NOON - to) / HOUR])).toEqual([
    ["unknown", 24, 20], ["lending", 20, 10], ["paused", 10, 4], ["paused", 4, 1], ["unknown", 1, 0],
  ]);
  expect(totalsOf(day).map(([state, ms]) => [state, ms / HOUR])).toEqual([["lending", 10], ["paused", 9], ["unknown", 5]]);
  expect(dayOf([], NOON)).toEqual([{ from: NOON - 24 * HOUR, to: NOON, state: "unknown", reason: null }]);
  expect(dayOf([at(30, "lending"), at(-1, "paused")], NOON)).toEqual([{ from: NOON - 24 * HOUR, to: NOON, state: "lending", reason: null }]);
});

test("the hours of a day are marked where they were", () => {
  expect(hoursOf(NOON + HOUR / 2, 6).map(({ text }) => text)).toEqual(["18:00", "0:00", "6:00", "12:00"]);
  expect(hoursOf(NOON + HOUR / 2, 6).at(-1)?.at).toBeCloseTo(1 - 0.5 / 24);
});

test("use is held against limits where there are any", () => {
  expect(metersOf(VIEW).map(({ text }) => text)).toEqual([
    "2.5 % of at most 50 %", "1 GiB of at most 4 GiB", "2 GiB, no limit", "250 kB/s of at most 1 MB/s", "1 kB/s, no limit", "1 GiB of at most 4 GiB",
  ]);
  expect(metersOf(VIEW).map(({ used, most }) => [used, most])).toEqual([[0.025, 0.5], [1 / 16, 0.25], [null, null], [0.25, 1], [null, null], [0.25, 1]]);
  expect(metersOf({ ...VIEW, caps: null }).map(({ text, most }) => [text, most])).toEqual([
    ["2.5 %", null], ["1 GiB", null], ["2 GiB", null], ["250 kB/s", null], ["1 kB/s", null], ["1 GiB", null],
  ]);
  expect([300 * 2 ** 20, 1.5 * GIB, 2 ** 41].map(memoryText)).toEqual(["300 MiB", "1.5 GiB", "2 TiB"]);
});
