// Whether this browser has met Skep: who has not is led through the first steps, once.

import { KEY, type Shelf } from "./chats";

const MET = "skep.met";

/** A browser that keeps chats of Skep has met it, also when that was before the first steps existed. */
export function hasMet(shelf: Shelf): boolean {
  if (shelf.getItem(MET) !== null) return true;
  for (let index = 0; index < shelf.length; index++) if (shelf.key(index)?.startsWith(KEY)) return true;
  return false;
}

/** Best effort: a browser that keeps nothing meets Skep again next time. */
export function meet(shelf: Shelf): void {
  try {
    shelf.setItem(MET, "1");
  } catch {
    // Storage is full or forbidden.
  }
}
