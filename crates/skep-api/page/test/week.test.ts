import { expect, test } from "vitest";
import { weekOf } from "../src/lib/week";

const hours = (text: string) => weekOf(text)?.map((day) => day.map(([from, to]) => [from * 24, to * 24]));

test("a schedule is drawn day by day, over midnight and over the end of the week", () => {
  expect(hours("always")).toEqual(Array(7).fill([[0, 24]]));
  expect(hours("mon-fri 18:00-08:00, sat-sun 0:00-24:00")).toEqual([
    [[18, 24]], [[0, 8], [18, 24]], [[0, 8], [18, 24]], [[0, 8], [18, 24]], [[0, 8], [18, 24]], [[0, 8], [0, 24]], [[0, 24]],
  ]);
  expect(hours("sun 22:30-6:00")).toEqual([[[0, 6]], [], [], [], [], [], [[22.5, 24]]]);
  expect(hours("Sat-Mon 9:00-10:00")).toEqual([[[9, 10]], [], [], [], [], [[9, 10]], [[9, 10]]]);
  expect(hours("tue 8:00-8:00")).toEqual([[], [[8, 24]], [[0, 8]], [], [], [], []]);
});

test("what is no schedule has no picture", () => {
  for (const text of ["", "never", "mon", "mon 9-10", "mon 24:00-1:00", "mon 9:60-10:00", "may 9:00-10:00", "mon 9:00-25:00", "mon 9:00-10:00;"]) {
    expect(weekOf(text), text).toBeNull();
  }
});
