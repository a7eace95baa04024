import { expect, test } from "vitest";
import { troubleOf } from "../src/lib/errors";
import { memoryText } from "../src/lib/machine";
import { factsOf, hereText, percentOf, progressText, roomText, servedText, turnOf, type ModelRow, type PullRow } from "../src/lib/models";

const model: ModelRow = {
  id: "ab", name: "tiny", bytes: 3_912_448, held_bytes: 3_912_448, complete: true, path: null, in_use: true,
  served: null, task: "generate", context: 512, fits: "here", why: "", stays: null,
};
const pull: PullRow = { id: "1", source: "x", name: "x", state: "fetching", bytes: 500, total: 2000, bytes_per_second: 10, error: null, model: null };

test("a file that is not whole never shows a hundred hundredths", () => {
  expect([percentOf(0, 10), percentOf(999, 1000), percentOf(1000, 1000), percentOf(5, null), percentOf(5, 0)]).toEqual([0, 99, 100, null, null]);
});

test("what is here and in the network is said in words", () => {
  expect(factsOf(model)).toBe("3.9 MB · writes text · context of 512 tokens");
  expect(factsOf({ ...model, task: null, context: null })).toBe("3.9 MB");
  expect(hereText(model)).toBe("All of it is on this machine.");
  expect(hereText({ ...model, complete: false, held_bytes: 0 })).toBe("None of it is on this machine.");
  expect(hereText({ ...model, complete: false, held_bytes: 1_956_224 })).toBe("2.0 MB of it are on this machine, 50 %.");
  expect(servedText({ blocks: 8, held: 8, missing: [], machines: 1 })).toBe("The network holds all 8 blocks, on 1 machine.");
  expect(servedText({ blocks: 8, held: 5, missing: [[2, 4], [7, 8]], machines: 2 })).toBe("The network holds 5 of 8 blocks; nobody holds blocks [2..4], [7..8].");
});

test("only what is known of the room is told", () => {
  const none = { allowed_bytes: null, free_bytes: null, machines: 0, offered_bytes: 0 };
  const of = (memory: object, disk_free_bytes: number | null = null) => roomText({ models: [], pulls: [], memory: { ...none, ...memory }, disk_free_bytes, folder: "" }, memoryText);
  expect(of({})).toBe("");
  expect(of({}, 2e9)).toBe("The disk has room for 2.0 GB.");
  expect(of({ free_bytes: 2 ** 30 })).toBe("Of memory, 1 GiB are free on this machine.");
  expect(of({ allowed_bytes: 2 ** 31, machines: 1, offered_bytes: 2 ** 30 })).toBe("Of memory, you allow 2 GiB; 1 other machine of the network offers 1 GiB.");
});

test("a pull says how far, how fast and how long, as far as it knows", () => {
  expect(progressText(pull)).toBe("500 bytes of 2.0 kB · 10 bytes/s · 3 min left");
  expect(progressText({ ...pull, bytes_per_second: 1000 })).toBe("500 bytes of 2.0 kB · 1.0 kB/s · 2 s left");
  expect(progressText({ ...pull, total: null })).toBe("500 bytes · 10 bytes/s");
  expect(progressText({ ...pull, state: "paused", bytes_per_second: null })).toBe("500 bytes of 2.0 kB");
  expect(progressText({ ...pull, state: "done" })).toBe("2.0 kB");
});

test("each state has the turn that it can take", () => {
  const turns = (["waiting", "fetching", "checking", "paused", "failed", "done"] as const).map((state) => turnOf({ ...pull, state }));
  expect(turns).toEqual(["pause", "pause", null, "resume", "resume", null]);
});

test("an address keeps its small letters at the head of a sentence", () => {
  expect(troubleOf({ error: { message: "https://x.org/y answers 404", hint: "check it" } })).toEqual({ message: "https://x.org/y answers 404.", hint: "Check it." });
  expect(troubleOf({ error: { message: "the gateway refused: no" } })?.message).toBe("The gateway refused: no.");
});
