// The last 24 hours of the machine: a bar for the eye, the same as a list for everybody.

import { clockText, dayOf, hoursOf, sentence, spanText, STATE_NAMES, totalsOf, type Segment, type Stretch } from "../lib/machine";

const percent = (share: number): string => `${(share * 100).toFixed(3)}%`;

/** Hours between two marks: few enough for a phone. */
const STEP = 6;

/** Outside of these the text of a mark would go over the end of the bar. */
const EARLY = 0.07;
const LATE = 0.93;

function Bar({ segments, now }: { segments: Segment[]; now: number }) {
  const start = segments[0]?.from ?? now;
  const whole = Math.max(1, now - start);
  const said = totalsOf(segments).map(([state, ms]) => `${STATE_NAMES[state]} ${spanText(ms)}`);
  return (
    <div class="day-picture">
      <div class="day-bar" role="img" aria-label={`The last 24 hours: ${said.join(", ")}`} data-testid="timeline">
        {segments.map(({ from, to, state, reason }) => (
          <i
            key={from}
            class={`is-${state}`}
            style={{ width: percent((to - from) / whole) }}
            title={`${clockText(from)} to ${clockText(to)}: ${STATE_NAMES[state]}${reason ? `, ${reason}` : ""}`}
          />
        ))}
      </div>
      <div class="day-hours" aria-hidden="true">
        {hoursOf(now, STEP).map(({ text, at }) => (
          <span key={text} class={at > LATE ? "late" : at < EARLY ? "early" : undefined} style={{ left: percent(at) }}>
            {text}
          </span>
        ))}
      </div>
    </div>
  );
}

export function Day({ timeline, now }: { timeline: Stretch[]; now: number }) {
  const segments = dayOf(timeline, now);
  return (
    <section class="card" aria-labelledby="day-title">
      <div class="card-head">
        <h2 id="day-title">The last 24 hours</h2>
        <ul class="legend">
          {totalsOf(segments).map(([state, ms]) => (
            <li key={state}>
              <i class={`is-${state}`} /> {STATE_NAMES[state]} {spanText(ms)}
            </li>
          ))}
        </ul>
      </div>
      <Bar segments={segments} now={now} />
      <details class="day-list">
        <summary>As a list</summary>
        <ol tabIndex={0} aria-label="The last 24 hours, the latest first" data-testid="timeline-list">
          {[...segments].reverse().map(({ from, to, state, reason }) => (
            <li key={from}>
              <span class="day-when">
                {clockText(from)} – {to === now ? "now" : clockText(to)}
              </span>
              <i class={`is-${state}`} aria-hidden="true" />
              <span>
                {sentence(STATE_NAMES[state])} {reason && sentence(reason)}
              </span>
            </li>
          ))}
        </ol>
      </details>
    </section>
  );
}
