// A small plot: its name, its value now, and the way it went. All that the picture says is also in words.

import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { barsOf, HEIGHT, lineOf, scaleTo, WIDTH, type Point } from "../lib/plot";

interface PlotProps {
  name: string;
  /** What the value is now; what the whole is in words, without the name. */
  now: string;
  words: string;
  /** The top of the scale in words. */
  top: string;
  testid: string;
  children: ComponentChildren;
}

function Plot({ name, now, words, top, testid, children }: PlotProps) {
  return (
    <figure class="plot" data-testid={testid} data-name={name}>
      <figcaption>
        <span>
          {name} <small aria-hidden="true">0 to {top}</small>
        </span>
        <b>{now}</b>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${name}: ${words}`}>
        {children}
      </svg>
    </figure>
  );
}

interface LineProps {
  name: string;
  points: Point[];
  from: number;
  to: number;
  say(value: number): string;
  /** A scale that is always the same, such as percent. */
  whole?: number;
  /** Whether it is a count, which goes in steps. */
  steps?: boolean;
}

/** How a value went over time. */
export function LinePlot({ name, points, from, to, say, whole, steps = false }: LineProps) {
  const values = points.map((point) => point.value);
  const most = whole ?? scaleTo(Math.max(0, ...values));
  const { line, area } = useMemo(() => lineOf(points, from, to, most, steps), [points, from, to, most, steps]);
  const last = values.at(-1);
  if (last === undefined) return null;
  const words = `${say(last)} now, between ${say(Math.min(...values))} and ${say(Math.max(...values))} in ${values.length} readings`;
  return (
    <Plot name={name} now={say(last)} words={words} top={say(most)} testid="plot">
      <path class="plot-area" d={area} />
      <path class="plot-line" d={line} />
    </Plot>
  );
}

/** One bar for each thing, the latest on the right. */
export function BarPlot({ name, values, room, say }: { name: string; values: (number | null)[]; room: number; say(value: number): string }) {
  const known = values.filter((value) => value !== null);
  const last = known.at(-1);
  if (last === undefined) return null;
  const most = scaleTo(Math.max(...known));
  const words = `the last ${say(last)}, between ${say(Math.min(...known))} and ${say(Math.max(...known))} in ${known.length} answers`;
  return (
    <Plot name={name} now={say(last)} words={words} top={say(most)} testid="plot">
      {barsOf(values, most, room).map(({ x, width, height }) => (
        <rect class="plot-bar" x={x} y={HEIGHT - height} width={width} height={height} />
      ))}
    </Plot>
  );
}
