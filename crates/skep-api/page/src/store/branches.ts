// A chat as a tree. Its turns stand in the order in which they were begun; each follows one that stands before it, and several may follow
// the same: the versions of what comes next. Of each of these one is open, and the open ones make the conversation that is shown. Pure.

import type { Chat, Turn } from "./chats";

/** What the first turns of a chat follow. */
export const START = -1;

/** What the turn at `at` follows. */
export const before = (turns: Turn[], at: number): number => turns[at]?.after ?? at - 1;

/** The turn that was chosen to follow `at`, if anything was. */
const chosen = (chat: Chat, at: number): number | undefined => (at === START ? chat.first : chat.turns[at]?.next);

/** The places of the open turns, from the first to the last. What nobody chose is the latest. */
export function pathOf(chat: Chat): number[] {
  const { turns } = chat;
  const latest = new Map<number, number>();
  turns.forEach((_, at) => latest.set(before(turns, at), at));
  const path: number[] = [];
  for (let at = START; ; ) {
    const wanted = chosen(chat, at);
    const fits = wanted !== undefined && wanted > at && wanted < turns.length && before(turns, wanted) === at;
    const next = fits ? wanted : latest.get(at);
    if (next === undefined) return path;
    path.push(next);
    at = next;
  }
}

/** The turns of the conversation that is shown. */
export const openTurns = (chat: Chat): Turn[] => pathOf(chat).map((at) => chat.turns[at] as Turn);

/** The last one of them. */
export function lastTurn(chat: Chat): Turn | undefined {
  const at = pathOf(chat).at(-1);
  return at === undefined ? undefined : chat.turns[at];
}

/** For each turn the places of its versions, itself among them, in the order in which they were begun. */
export function versionsOf(turns: Turn[]): number[][] {
  const following = new Map<number, number[]>();
  turns.forEach((_, at) => {
    const what = before(turns, at);
    const versions = following.get(what);
    if (versions) versions.push(at);
    else following.set(what, [at]);
  });
  return turns.map((_, at) => following.get(before(turns, at)) ?? [at]);
}

/** Makes `next` the one that follows `at`. */
function choose(chat: Chat, at: number, next: number | undefined): Chat {
  if (at === START) {
    const { first: _, ...rest } = chat;
    return next === undefined ? rest : { ...rest, first: next };
  }
  const { next: _, ...turn } = chat.turns[at] as Turn;
  const turns = chat.turns.slice();
  turns[at] = next === undefined ? turn : { ...turn, next };
  return { ...chat, turns };
}

/** Opens the way to the turn at `at`; what follows it stays as it was chosen before. */
export function reveal(chat: Chat, at: number): Chat {
  let shown = chat;
  for (let here = at; here >= 0 && here < chat.turns.length; here = before(chat.turns, here)) {
    shown = choose(shown, before(chat.turns, here), here);
  }
  return shown;
}

/** Adds a version of what follows `after`, and opens it. */
export function append(chat: Chat, turn: Turn, after: number = pathOf(chat).at(-1) ?? START): Chat {
  const at = chat.turns.length;
  const { after: _, next: __, ...bare } = turn;
  const added: Turn = after === at - 1 ? bare : { ...bare, after };
  return choose({ ...chat, turns: [...chat.turns, added] }, after, undefined);
}

/** The chat with its last open turn changed, if that is an answer; else the chat itself. */
export function changeAnswer(chat: Chat, change: (turn: Turn) => Turn): Chat {
  const last = pathOf(chat).at(-1);
  const turn = last === undefined ? undefined : chat.turns[last];
  if (last === undefined || turn?.role !== "assistant") return chat;
  const turns = chat.turns.slice();
  turns[last] = change(turn);
  return { ...chat, turns };
}

/** The chat without the turns that `keep` does not name. What follows a kept turn's is kept too, or is nowhere. */
function only(chat: Chat, keep: Set<number>): Chat {
  const place = new Map<number, number>([[START, START]]);
  const turns: Turn[] = [];
  chat.turns.forEach((turn, at) => {
    const after = place.get(before(chat.turns, at));
    if (!keep.has(at) || after === undefined) return;
    const { after: _, ...bare } = turn;
    place.set(at, turns.length);
    turns.push(after === turns.length - 1 ? bare : { ...bare, after });
  });
  const moved = (next: number | undefined) => (next === undefined ? undefined : place.get(next));
  const whole: Chat = { ...chat, turns: turns.map(({ next, ...turn }) => (moved(next) === undefined ? turn : { ...turn, next: moved(next) })) };
  return choose(whole, START, moved(chat.first));
}

/** The chat without its last turn, if nothing follows that and it is an answer that says nothing: a try that failed is no version. */
export function withoutEmpty(chat: Chat, at: number): Chat {
  const turn = chat.turns[at];
  const followed = chat.turns.some((_, other) => before(chat.turns, other) === at);
  if (turn?.role !== "assistant" || turn.text !== "" || followed) return chat;
  return only(chat, new Set([...chat.turns.keys()].filter((other) => other !== at)));
}

/** The chat, made to fit into `most` characters by letting go of the oldest ends that are not open; it may not fit even so. */
export function prune(chat: Chat, most: number): Chat {
  if (JSON.stringify(chat).length <= most) return chat;
  // A turn that is left may have to say anew what it follows.
  const sizes = chat.turns.map((turn) => JSON.stringify(turn).length + ',"after":1234'.length + 1);
  let size = sizes.reduce((sum, one) => sum + one, JSON.stringify({ ...chat, turns: [] }).length);
  const open = new Set(pathOf(chat));
  const followers = chat.turns.map(() => 0);
  chat.turns.forEach((_, at) => {
    const what = before(chat.turns, at);
    if (what !== START) followers[what] = (followers[what] ?? 0) + 1;
  });
  const keep = new Set(chat.turns.keys());
  const drop = (from: number) => {
    // Whatever ends with the dropped turn is an end itself, and older than all that was not looked at yet.
    for (let at = from; size > most && at !== START && keep.has(at) && !open.has(at) && followers[at] === 0; at = before(chat.turns, at)) {
      keep.delete(at);
      size -= sizes[at] ?? 0;
      const what = before(chat.turns, at);
      if (what !== START) followers[what] = (followers[what] ?? 1) - 1;
    }
  };
  for (let at = 0; at < chat.turns.length && size > most; at++) drop(at);
  return only(chat, keep);
}
