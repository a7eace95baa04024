// Whether this browser may use the node: on the node's own machine always, elsewhere with a key.

import type { Trouble } from "../lib/errors";
import { exchange } from "../lib/keys";
import { SkepError } from "../lib/client";
import { keepKey, keyOf } from "../lib/pass";
import { Store } from "./store";

export interface Door {
  /** `shut` once the node asked for a key that is not here or not good; `pairing` while one is fetched for a code. */
  state: "open" | "pairing" | "shut";
  trouble: Trouble | null;
}

export const door = new Store<Door>({ state: "open", trouble: null });

/** Told by whoever hears that the node wants a key. */
export function shut(trouble: Trouble): void {
  // That a key is needed is no trouble yet for whoever never had one.
  if (door.value.state === "open") door.set({ state: "shut", trouble: keyOf() === null ? null : trouble });
}

/** Exchanges a code for a key, which this browser keeps. */
export async function pair(code: string): Promise<void> {
  door.set({ state: "pairing", trouble: null });
  try {
    keepKey((await exchange(code)).key);
    door.set({ state: "open", trouble: null });
  } catch (error) {
    const trouble = error instanceof SkepError ? error.trouble : { message: "No key came back.", hint: null };
    door.set({ state: "shut", trouble });
  }
}

/** Tries a key that somebody typed. */
export function tryKey(key: string): void {
  keepKey(key.trim());
  door.set({ state: "open", trouble: null });
}
