// Watches the machine that the node runs on, and passes on what its owner asks for.

import { commandMachine, fetchMachine, SkepError } from "../lib/client";
import type { Trouble } from "../lib/errors";
import type { Command, MachineView } from "../lib/machine";
import { Store } from "./store";

export interface MachineState {
  view: MachineView | null;
  /** Why the last question had no answer; the view is then the last one that came. */
  trouble: Trouble | null;
}

/** The machine as last seen. */
export const machine = new Store<MachineState>({ view: null, trouble: null });

/** Whether the node has a machine to show; `null` until it said so. A node of a demo has none. */
export const hasMachine = new Store<boolean | null>(null);

/** What may be lent changes by the second; a view that shows it asks as often, the rest of the page needs less. */
const CLOSE_MS = 1000;
const FAR_MS = 5000;

/** How many views look closely now. */
let close = 0;

const troubleFor = (error: unknown): Trouble =>
  error instanceof SkepError ? error.trouble : { message: "The node takes long to answer.", hint: null };

/** Asks now. */
export async function lookAtMachine(): Promise<void> {
  try {
    const view = await fetchMachine(AbortSignal.timeout(5000));
    hasMachine.set(view !== null);
    if (view) machine.set({ view, trouble: null });
  } catch (error) {
    machine.update((state) => ({ ...state, trouble: troubleFor(error) }));
  }
}

/** Looks until the returned function is called, or until the node says that it has nothing to show. */
export function watchMachine(): () => void {
  let ended = false;
  let asked = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const round = async () => {
    const due = close > 0 || Date.now() - asked >= FAR_MS;
    if (due && !document.hidden) {
      asked = Date.now();
      await lookAtMachine();
    }
    if (!ended && hasMachine.value !== false) timer = setTimeout(() => void round(), CLOSE_MS);
  };
  void round();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

/** Makes the page look closely until the returned function is called. */
export function lookClosely(): () => void {
  close += 1;
  if (hasMachine.value) void lookAtMachine();
  return () => void (close -= 1);
}

/** Asks something of the machine; gives what went wrong. */
export async function tellMachine(command: Command): Promise<Trouble | null> {
  try {
    machine.set({ view: await commandMachine(command), trouble: null });
    return null;
  } catch (error) {
    return troubleFor(error);
  }
}
