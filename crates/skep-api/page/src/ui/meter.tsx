// A bar that shows how much is used, and how much of the scale may be used.

import type { Meter } from "../lib/machine";

const percent = (share: number): string => `${(share * 100).toFixed(1)}%`;

export function MeterView({ meter }: { meter: Meter }) {
  const { name, used, most, text } = meter;
  return (
    <li class="meter" data-testid="meter" data-name={name}>
      <span class="meter-name" aria-hidden={used !== null}>
        {name}
      </span>
      <span class="meter-text" aria-hidden={used !== null}>
        {text}
      </span>
      {used !== null && (
        <div
          class="meter-bar"
          role="meter"
          aria-label={name}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(used * 100)}
          aria-valuetext={text}
        >
          {most !== null && <i class="meter-most" style={{ width: percent(most) }} />}
          <i class={most !== null && used > most ? "meter-used over" : "meter-used"} style={{ width: percent(used) }} />
        </div>
      )}
    </li>
  );
}
