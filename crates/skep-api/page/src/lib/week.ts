// The hours of the week in which a machine is lent, as the setting writes them, as a picture needs them.

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY = 24 * 60;
const WEEK = 7 * DAY;

/** What the rows of the picture are called. */
export const DAY_NAMES = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

function minuteOf(text: string): number | null {
  const found = /^(\d{1,2}):(\d{2})$/.exec(text);
  if (!found) return null;
  const minute = Number(found[1]) * 60 + Number(found[2]);
  return Number(found[2]) < 60 && minute <= DAY ? minute : null;
}

/** The windows of a schedule as starts and lengths in minutes from Monday 0:00; `null` if it is none. */
function windowsOf(text: string): [number, number][] | null {
  if (text.trim().toLowerCase() === "always") return [[0, WEEK]];
  const windows: [number, number][] = [];
  for (const part of text.toLowerCase().split(",")) {
    const found = /^\s*([a-z]{3})(?:-([a-z]{3}))? +(\S+)-(\S+)\s*$/.exec(part);
    if (!found) return null;
    const [, firstName = "", lastName = firstName, fromText = "", toText = ""] = found;
    const [first, last, from, to] = [DAYS.indexOf(firstName), DAYS.indexOf(lastName), minuteOf(fromText), minuteOf(toText)];
    if (first < 0 || last < 0 || from === null || to === null || from === DAY) return null;
    // Hours that end at or before they begin end on the next day.
    const length = to > from ? to - from : to + DAY - from;
    for (let day = 0; day <= (last + 7 - first) % 7; day++) windows.push([((first + day) % 7) * DAY + from, length]);
  }
  return windows;
}

/** For each day of the week the stretches that are lent, from 0 to 1 of the day; `null` if the text is no schedule. */
export function weekOf(text: string): [number, number][][] | null {
  const windows = windowsOf(text);
  if (!windows) return null;
  const days: [number, number][][] = DAYS.map(() => []);
  for (const [start, length] of windows) {
    // Cut at each midnight, over the end of the week as well.
    for (let at = start; at < start + length; ) {
      const end = Math.min(start + length, (Math.floor(at / DAY) + 1) * DAY);
      const day = Math.floor(at / DAY);
      days[day % 7]?.push([(at - day * DAY) / DAY, (end - day * DAY) / DAY]);
      at = end;
    }
  }
  return days;
}
