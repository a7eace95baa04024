// Watches the network: asks the node once a second while the page can be seen.

import { fetchNetwork, SkepError } from "../lib/client";
import type { Trouble } from "../lib/errors";
import type { NetworkView } from "../lib/types";
import { Store } from "./store";

export interface NetworkState {
  view: NetworkView | null;
  /** Why the last question had no answer; the view is then the last one that came. */
  trouble: Trouble | null;
}

const EVERY_MS = 1000;

/** The network as last seen. */
export const network = new Store<NetworkState>({ view: null, trouble: null });

/** Asks now. Equal answers are dropped, so that a quiet network draws nothing anew. */
export async function lookNow(): Promise<void> {
  const { view: before } = network.value;
  try {
    const view = await fetchNetwork(AbortSignal.timeout(5 * EVERY_MS));
    const same = before !== null && JSON.stringify(before) === JSON.stringify(view);
    network.update((state) => (same && state.trouble === null ? state : { view: same ? before : view, trouble: null }));
  } catch (error) {
    const slow = { message: "The node takes long to answer.", hint: null };
    network.update((state) => ({ ...state, trouble: error instanceof SkepError ? error.trouble : slow }));
  }
}

/** Looks again and again until the returned function is called. One question at a time, however slow the node is. */
export function watchNetwork(): () => void {
  let ended = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const round = async () => {
    if (!document.hidden) await lookNow();
    if (!ended) timer = setTimeout(() => void round(), EVERY_MS);
  };
  void round();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
