// Notes what the looks at the network and at the machine show, for as long as the page is open.

import { listAnswers, noticeNetwork, noticeReading, noticeSilence, nothingYet, type Activity, type Listed } from "../lib/activity";
import type { NetworkView } from "../lib/types";
import { titleOf, type Chat } from "./chats";
import { machine } from "./machine";
import { network } from "./network";
import { Store } from "./store";

/** What was seen since the page was opened. */
export const activity = new Store<Activity>(nothingYet(Date.now()));

/** Milliseconds between two readings when nothing changes: a quiet network is a fact too. */
const READ_EVERY_MS = 5000;

/** Notes down until the returned function is called. */
export function watchActivity(): () => void {
  let before: NetworkView | null = null;
  let silent = false;
  const read = () => {
    if (document.hidden || network.value.trouble) return;
    activity.update((all) => noticeReading(all, network.value.view, machine.value.trouble ? null : machine.value.view, Date.now()));
  };
  const look = () => {
    const { view, trouble } = network.value;
    if ((trouble !== null) !== silent && view) {
      silent = trouble !== null;
      activity.update((all) => noticeSilence(all, silent, Date.now()));
    }
    if (view && !trouble && view !== before) {
      activity.update((all) => noticeNetwork(all, before, view, Date.now()));
      before = view;
      read();
    }
  };
  look();
  const ends = [network.watch(look), machine.watch(read)];
  const timer = setInterval(read, READ_EVERY_MS);
  return () => {
    clearInterval(timer);
    for (const end of ends) end();
  };
}

/** The answers that the chats of this browser remember. */
const remembered = (history: Chat[]): Listed[] =>
  history.flatMap((chat) =>
    chat.turns.flatMap(({ summary, at }, place) => (summary ? [{ at: at ?? null, summary, chat: { id: chat.id, title: titleOf(chat), place } }] : [])),
  );

/** The last answers that this page knows of. */
export const answersOf = (seen: Activity, history: Chat[]): Listed[] => listAnswers(seen.answers, remembered(history));
