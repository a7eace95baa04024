import { expect, test } from "vitest";
import { bytesOf, capsOf, fieldsOf, givenBy, groupsOf, lendsInUse, presetField, presetWords, readAmount, unitsFor, valueText, wordText, writeAmount } from "../src/lib/limits";
import type { Schema } from "../src/lib/limits";
import { withTitles } from "../src/ui/named";
import schema from "./settings.schema.json";

// The very schema of the node: a test of its crate compares the two.
const SCHEMA = schema as unknown as Schema;
const FIELDS = fieldsOf(SCHEMA);

/** Every `x-key` of a schema, however deep. */
function keysOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => (name === "x-key" ? [String(inner)] : keysOf(inner)));
}

test("every setting of the schema is drawn exactly once, with words for people", () => {
  const drawn = [presetField(FIELDS), ...groupsOf(FIELDS).flatMap(({ rows }) => rows.flatMap(({ field, inUse }) => [field, inUse]))];
  const keys = drawn.filter((field) => field !== null).map(({ key }) => key);
  expect(keysOf(SCHEMA).length).toBeGreaterThan(20);
  expect(keys.sort()).toEqual(keysOf(SCHEMA).sort());
  for (const { key, title, help, group } of FIELDS) {
    expect(title, key).toMatch(/^[A-Z][^_]+$/);
    expect([help.length > 20, group.length > 0], key).toEqual([true, true]);
  }
});

test("every setting has a control of its kind, and every preset a value that its control shows", () => {
  const kinds = new Set(FIELDS.map(({ kind }) => kind.is));
  expect(kinds).toEqual(new Set(["choice", "text", "number", "switch"]));
  for (const { key, kind, presets } of FIELDS) {
    expect(Object.keys(presets), key).toEqual(["quiet", "balanced", "full"]);
    for (const raw of Object.values(presets)) {
      if (kind.is === "choice") expect(kind.words, key).toContain(raw);
      if (kind.is === "number" && raw === "none") expect(kind.none, key).toBe(true);
      else if (kind.is === "number" && kind.bytes) expect(writeAmount(readAmount(raw) as never), key).toBe(raw);
      else if (kind.is === "number") expect(Number(raw) >= kind.min && Number(raw) <= kind.max, key).toBe(true);
      expect(valueText(kind, raw), key).not.toMatch(/undefined|NaN|_/);
    }
  }
});

test("settings stand in the order of the node, whatever became of the order of the object on the way", () => {
  const shuffled = { properties: { share: { properties: Object.fromEntries(Object.entries(SCHEMA.properties?.share?.properties ?? {}).reverse()) } } };
  expect(fieldsOf(shuffled).map(({ key }) => key)).toEqual(FIELDS.map(({ key }) => key));
  expect(FIELDS.map(({ key }) => key).slice(0, 2)).toEqual(["share.preset", "share.schedule"]);
});

test("a setting that came later is drawn as well, by its name if it has no title", () => {
  const later = { properties: { new: { properties: { thing: { type: "string", "x-key": "new.some_thing" } } } } };
  expect(groupsOf(fieldsOf(later))).toMatchObject([{ name: "Settings", rows: [{ field: { title: "Some thing", kind: { is: "text" } }, inUse: null }] }]);
});

test("amounts are read in every form in which they come, and written as whole numbers", () => {
  expect(["20GiB", "2 MB/s", "500 kB", 7, "12", "1.5GiB"].map(readAmount)).toEqual([
    { number: 20, unit: "GiB" }, { number: 2, unit: "MB" }, { number: 500, unit: "kB" }, { number: 7, unit: "B" }, { number: 12, unit: "B" }, { number: 1.5, unit: "GiB" },
  ]);
  for (const text of ["", "none", "GiB", "-1GB", "4 XB"]) expect(readAmount(text), text).toBeNull();
  expect([{ number: 1.5, unit: "GB" }, { number: 0.25, unit: "GiB" }, { number: 3, unit: "MB" }, { number: 2.4, unit: "B" }].map(writeAmount)).toEqual(["1500MB", "256MiB", "3MB", "2B"]);
  expect(bytesOf("20GiB")).toBe(20 * 2 ** 30);
  expect([unitsFor(true, "MB"), unitsFor(false, "GiB")]).toEqual([["kB", "MB"], ["MB", "GB", "TB", "GiB"]]);
});

test("what a preset gives is told in numbers", () => {
  expect(FIELDS.length > 0 && [lendsInUse(FIELDS, "quiet"), lendsInUse(FIELDS, "balanced")]).toEqual([false, true]);
  expect(givenBy(FIELDS, "balanced", 16 * 2 ** 30)).toEqual([
    { name: "Processors", text: "75 %", inUse: "25 %" },
    { name: "Memory", text: "8 GiB", inUse: "4 GiB" },
    { name: "Graphics", text: "yes", inUse: "no" },
    { name: "Upload", text: "2 MB/s", inUse: "500 kB/s" },
    { name: "Download", text: "5 MB/s", inUse: "1 MB/s" },
  ]);
  expect(givenBy(FIELDS, "full", null)[1]).toEqual({ name: "Memory", text: "80 %", inUse: "50 %" });
  expect(capsOf(FIELDS, "quiet", 2 ** 34, 2 ** 30)).toEqual({
    cpu_percent: 50, memory_bytes: 2 ** 32, disk_bytes: 20 * 2 ** 30, gpu: false, upload: 500_000, download: 2_000_000, transfer_left: 4 * 2 ** 30,
  });
  expect(capsOf(FIELDS, "full", 2 ** 34, 0)).toMatchObject({ cpu_percent: 100, disk_bytes: null, upload: null, transfer_left: null });
  expect(presetWords(presetField(FIELDS) as never)).toEqual({
    quiet: "Goes unnoticed.", balanced: "Steps back while you use it.", full: "Is for a machine that is there for this.",
  });
});

test("names and words of the file are told as the page shows them", () => {
  expect(withTitles("share.cpu_percent cannot be 0: it takes 1 to 100 %", FIELDS)).toBe("“Processors” cannot be 0: it takes 1 to 100 %");
  expect(withTitles("Share.when_in_use is no share.nothing.", FIELDS)).toBe("“While somebody uses it” is no share.nothing.");
  expect(withTitles("Set share.when_metered to if_unsure or always.", FIELDS)).toBe("Set “On a metered network” to “If that is unsure” or always.");
  expect([wordText("never"), wordText("if_unsure"), wordText("to_come")]).toEqual(["Never", "If that is unsure", "To come"]);
});
