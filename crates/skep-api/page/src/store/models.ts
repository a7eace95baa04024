// Watches the models of the node, and passes on what its owner asks for.

import { fetchModelsView, orderModels, SkepError } from "../lib/client";
import type { Trouble } from "../lib/errors";
import type { ModelsView, Order } from "../lib/models";
import { Store } from "./store";

export interface ModelsState {
  view: ModelsView | null;
  /** Why the last question had no answer; the view is then the last one that came. */
  trouble: Trouble | null;
}

/** The models as last seen. */
export const models = new Store<ModelsState>({ view: null, trouble: null });

const EVERY_MS = 1000;

const troubleFor = (error: unknown): Trouble =>
  error instanceof SkepError ? error.trouble : { message: "The node takes long to answer.", hint: null };

/** Orders that came after a question was asked: what it hears is older than what they brought. */
let orders = 0;

async function look(): Promise<void> {
  const before = orders;
  try {
    const view = await fetchModelsView(AbortSignal.timeout(10 * EVERY_MS));
    if (before === orders) models.set({ view, trouble: null });
  } catch (error) {
    models.update((state) => ({ ...state, trouble: troubleFor(error) }));
  }
}

/** Looks until the returned function is called. One question at a time, however slow the node is. */
export function watchModels(): () => void {
  let ended = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const round = async () => {
    if (!document.hidden) await look();
    if (!ended) timer = setTimeout(() => void round(), EVERY_MS);
  };
  void round();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

/** Asks for something; gives what went wrong. */
export async function order(what: Order): Promise<Trouble | null> {
  orders += 1;
  try {
    models.set({ view: await orderModels(what), trouble: null });
    return null;
  } catch (error) {
    return troubleFor(error);
  } finally {
    orders += 1;
  }
}
