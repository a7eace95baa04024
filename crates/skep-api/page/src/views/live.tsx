// The picture with the route that matters now: of the answer under way on this page, else of the last answer.

import { useMemo } from "preact/hooks";
import { shownHops } from "../lib/picture";
import type { Hop, NetworkView, Recovery } from "../lib/types";
import { lastTurn } from "../store/branches";
import type { Desk } from "../store/desk";
import { lookNow } from "../store/network";
import { Store, useStore } from "../store/store";
import { Picture } from "./picture";

/** The route of the answer that this page is getting; `null` while it gets none. */
export const underWay = new Store<Hop[] | null>(null);

/** Follows the desk, for as long as the page lives. */
export function followDesk(desk: Desk): void {
  let wrote = false;
  desk.state.watch(() => {
    const { writing, chat } = desk.state.value;
    // An answer that just ended is the last answer that the network tells of: it need not wait for the next look.
    if (wrote && !writing) void lookNow();
    wrote = writing;
    const last = lastTurn(chat);
    underWay.set(writing && last?.role === "assistant" && !last.summary ? (last.route ?? null) : null);
  });
}

const NONE: Recovery[] = [];

export function LivePicture({ view, compact = false }: { view: NetworkView; compact?: boolean }) {
  const now = useStore(underWay);
  const hops = now ?? view.last_answer?.hops;
  const route = useMemo(() => shownHops(hops ?? []), [hops]);
  const recoveries = now ? NONE : (view.last_answer?.recoveries ?? NONE);
  return <Picture view={view} route={route} recoveries={recoveries} flowing={now !== null || view.active > 0} compact={compact} />;
}
