// A week as seven bars, to see at a glance what a schedule says.

import { DAY_NAMES, weekOf } from "../lib/week";

const percent = (share: number): string => `${(share * 100).toFixed(2)}%`;

export function Week({ schedule }: { schedule: string }) {
  const week = weekOf(schedule);
  if (!week) return null;
  return (
    <div class="week" role="img" aria-label={`The week, in which the machine is lent: ${schedule}`} data-testid="week">
      {week.map((day, index) => (
        <div class="week-day" key={index}>
          <span>{DAY_NAMES[index]}</span>
          <div class="week-bar">
            {day.map(([from, to]) => (
              <i key={from} style={{ left: percent(from), width: percent(to - from) }} />
            ))}
          </div>
        </div>
      ))}
      <div class="week-day week-hours">
        <span />
        <div>
          {[0, 6, 12, 18, 24].map((hour) => (
            <span key={hour}>{hour}:00</span>
          ))}
        </div>
      </div>
    </div>
  );
}
