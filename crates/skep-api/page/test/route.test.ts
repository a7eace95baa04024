import { describe, expect, test } from "vitest";
import { troubleOf, troubleOfResponse } from "../src/lib/errors";
import { bytesText, countText, msText, parseRoute, parseTiming, plural, shortId } from "../src/lib/route";

describe("skep-route", () => {
  test("hops are read in order", () => {
    expect(parseRoute("3f2a91bc04[0..4],9b04e1d27e[4..8]")).toEqual([
      { node: "3f2a91bc04", blocks: [0, 4] },
      { node: "9b04e1d27e", blocks: [4, 8] },
    ]);
    expect(parseRoute(" 3f[0..1] , 9b[1..2] ")).toHaveLength(2);
  });
  test("what is no route is no route", () => {
    for (const header of [null, "", " ", "3f", "3f[0..4", "3f[4..4]", "3f[5..4]", "3f[0..4],", "3f[a..b]", "[0..4]", "3f[-1..4]"]) {
      expect(parseRoute(header), String(header)).toBeNull();
    }
  });
});

describe("skep-timing", () => {
  test("entries have a name, and maybe a duration and a description", () => {
    expect(parseTiming('prefill;dur=12.3, total;desc="all, of; \\"it\\"";dur=400, mark')).toEqual([
      { name: "prefill", ms: 12.3, description: null },
      { name: "total", ms: 400, description: 'all, of; "it"' },
      { name: "mark", ms: null, description: null },
    ]);
  });
  test("a duration that is no number is unknown, and an empty header has no entries", () => {
    expect(parseTiming("a;dur=x")).toEqual([{ name: "a", ms: null, description: null }]);
    expect(parseTiming("")).toEqual([]);
    expect(parseTiming(null)).toEqual([]);
  });
});

test("numbers are written for people", () => {
  expect([0.417, 4.2, 41.6, 999, 1300, 61_000].map(msText)).toEqual(["0.42 ms", "4.2 ms", "42 ms", "999 ms", "1.3 s", "61 s"]);
  expect([12, 3_912_448, 40_000_000_000].map(bytesText)).toEqual(["12 bytes", "3.9 MB", "40 GB"]);
  expect([0, 999, 1000, 1234567].map(countText)).toEqual(["0", "999", "1,000", "1,234,567"]);
  expect([plural(1, "token"), plural(2, "token")]).toEqual(["1 token", "2 tokens"]);
});

test("ids are shortened, and digits that are not known are not made up", () => {
  expect(shortId(`3f2a${"0".repeat(58)}c1`)).toBe("3f2a…c1");
  expect(shortId("3f2a91bc04")).toBe("3f2a…");
});

describe("errors", () => {
  test("the message becomes a sentence and the hint is found wherever it is", () => {
    const told = { message: "The prompt is too long.", hint: "Shorten it." };
    expect(troubleOf({ error: { message: "the prompt is too long", hint: "shorten it" } })).toEqual(told);
    expect(troubleOf({ error: { message: "the prompt is too long\nhint: shorten it" } })).toEqual(told);
    expect(troubleOf({ error: { message: "the prompt is too long" }, hint: "shorten it" })).toEqual(told);
    expect(troubleOf({ error: { message: "`n` is not supported" } })).toEqual({ message: "`n` is not supported.", hint: null });
  });
  test("what is no error object says nothing", () => {
    for (const body of [null, 1, "x", {}, { error: null }, { error: {} }]) expect(troubleOf(body)).toBeNull();
  });
  test("an answer that is not JSON is told by its status", () => {
    expect(troubleOfResponse(502, "<html>bad</html>").message).toBe("The node refused with HTTP status 502.");
    expect(troubleOfResponse(500, "boom").message).toContain("boom");
    expect(troubleOfResponse(400, '{"error":{"message":"no"}}').message).toBe("No.");
  });
});
