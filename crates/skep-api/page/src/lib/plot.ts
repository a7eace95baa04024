// Where the lines and bars of a small plot go. Pure.

/** One value at one time. */
export interface Point {
  at: number;
  value: number;
}

/** The picture's own units; it is stretched to the room that it gets. */
export const WIDTH = 300;
export const HEIGHT = 56;

/** Readings farther apart than this have nothing between them: the page was not looking. */
export const GAP_MS = 20_000;

const place = (value: number): string => value.toFixed(1);

/** The least number of the form 1, 2 or 5 times a power of ten that is not below `value`. */
export function scaleTo(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value * (1 - 1e-9)) ?? 10) * power;
}

/**
 * The line through `points` as the data of a path, and the area under it; where the page did not look, nothing is drawn. What is counted
 * goes in steps: between two nodes and three there is nothing.
 */
export function lineOf(points: Point[], from: number, to: number, most: number, steps = false): { line: string; area: string } {
  const x = (at: number) => place(((at - from) / Math.max(1, to - from)) * WIDTH);
  const y = (value: number) => place(HEIGHT - (Math.min(most, Math.max(0, value)) / most) * (HEIGHT - 3));
  const runs: Point[][] = [];
  for (const point of points) {
    const run = runs.at(-1);
    if (run && point.at - (run.at(-1) as Point).at <= GAP_MS) run.push(point);
    else runs.push([point]);
  }
  const way = (run: Point[]) => run.map(({ at, value }) => `${x(at)} ${y(value)}`).join("L");
  const stairs = (run: Point[]) => run.map(({ at, value }, index) => (index === 0 ? `${x(at)} ${y(value)}` : `H${x(at)}V${y(value)}`)).join("");
  const draw = steps ? stairs : way;
  return {
    // A lone reading is a dot: a line of no length with a round end.
    line: runs.map((run) => `M${draw(run)}${run.length === 1 ? "h0" : ""}`).join(""),
    area: runs.map((run) => `M${x((run[0] as Point).at)} ${HEIGHT}L${draw(run)}V${HEIGHT}Z`).join(""),
  };
}

/** Bars beside each other, the first on the left: their left ends, width and heights. */
export function barsOf(values: (number | null)[], most: number, room: number): { x: number; width: number; height: number }[] {
  const step = WIDTH / Math.max(room, values.length, 1);
  return values.map((value, index) => ({ x: index * step + step * 0.12, width: step * 0.76, height: value === null ? 0 : Math.max(1, (Math.min(most, value) / most) * (HEIGHT - 3)) }));
}
