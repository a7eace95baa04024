// What the page has seen of the network and of the machine since it was opened: nothing but what the node said. Pure.

import type { MachineView } from "./machine";
import { blocksText, msText, shortId } from "./route";
import type { Hop, NetworkView, Summary } from "./types";

/** Most answers, happenings and readings that are kept: more than anybody reads, and far less than a page may hold. */
export const ANSWERS_MAX = 50;
export const EVENTS_MAX = 200;
export const READINGS_MAX = 900;

/** Readings nearer to each other than this say nothing new. */
const READ_EVERY_MS = 2000;

/** A complete answer, and when it was seen; without a time it was there before the page looked. */
export interface Seen {
  at: number | null;
  summary: Summary;
}

/** Something that changed in the network. */
export interface Happening {
  at: number;
  kind: "joined" | "left" | "moved" | "route" | "lost" | "silent" | "back";
  text: string;
}

/** What was read at one moment. What the node did not say then is `null`. */
export interface Reading {
  at: number;
  nodes: number | null;
  active: number | null;
  work: number | null;
  cpu: number | null;
  upload: number | null;
  download: number | null;
}

/** All of it; answers and happenings with the latest first, readings with the latest last. */
export interface Activity {
  since: number;
  answers: Seen[];
  events: Happening[];
  readings: Reading[];
}

export const nothingYet = (since: number): Activity => ({ since, answers: [], events: [], readings: [] });

/** An answer is known again by its route and its measured times, which no two share. */
export const keyOf = ({ first_token_ms, total_ms, completion_tokens, hops }: Summary): string =>
  [first_token_ms, total_ms, completion_tokens, ...hops.map(({ node, blocks, hold_ms }) => `${node}${blocksText(blocks)}${hold_ms}`)].join(" ");

/** A route in short: `this machine[0..4] → 3f2a…52[4..8]`. */
export const wayText = (hops: Hop[], gateway: string | null): string =>
  hops.map(({ node, blocks }) => `${node === gateway ? "this machine" : shortId(node)}${blocksText(blocks)}`).join(" → ");

const sameWay = (a: Hop[], b: Hop[]): boolean => wayText(a, null) === wayText(b, null);

function changesOf(before: NetworkView, after: NetworkView, at: number): Happening[] {
  const events: Happening[] = [];
  const say = (kind: Happening["kind"], text: string) => events.push({ at, kind, text });
  const known = new Map(before.nodes.map((node) => [node.id, node]));
  const name = (id: string) => (id === after.gateway ? "This machine" : `Node ${shortId(id)}`);
  for (const node of after.nodes) {
    const was = known.get(node.id);
    known.delete(node.id);
    const holds = node.blocks ? ` and holds blocks ${blocksText(node.blocks)}` : "";
    if (!was) {
      if (node.alive) say("joined", `${name(node.id)} joined${holds}.`);
    } else if (was.alive !== node.alive) {
      say(node.alive ? "joined" : "left", node.alive ? `${name(node.id)} is back${holds}.` : `${name(node.id)} left.`);
    } else if (node.alive && String(was.blocks) !== String(node.blocks)) {
      say("moved", node.blocks ? `${name(node.id)} now holds blocks ${blocksText(node.blocks)}.` : `${name(node.id)} holds no blocks any more.`);
    }
  }
  for (const gone of known.values()) if (gone.alive) say("left", `${name(gone.id)} left.`);
  return events;
}

/** What an answer tells about the way that answers take. */
function wayOf(before: Summary | null, answer: Summary, gateway: string, at: number): Happening[] {
  const events: Happening[] = answer.recoveries.map(({ at_token, lost, stall_ms }) => ({
    at,
    kind: "lost",
    text: `An answer lost ${lost.length === 0 ? "its route" : lost.map((id) => `node ${shortId(id)}`).join(", ")} at token ${at_token} and went on after ${msText(stall_ms)}.`,
  }));
  if (before && !sameWay(before.hops, answer.hops)) events.push({ at, kind: "route", text: `Answers now go ${wayText(answer.hops, gateway)}.` });
  return events;
}

/** Notes what a look at the network showed; `before` is what the last one did. */
export function noticeNetwork(activity: Activity, before: NetworkView | null, after: NetworkView, at: number): Activity {
  const known = before?.gateway === after.gateway ? before : null;
  const events = known ? changesOf(known, after, at) : [];
  const answer = after.last_answer;
  const last = activity.answers[0];
  const fresh = answer !== null && !(last && keyOf(last.summary) === keyOf(answer));
  if (fresh && known) events.push(...wayOf(last?.summary ?? null, answer, after.gateway, at));
  const answers = fresh ? [{ at: known ? at : null, summary: answer }, ...activity.answers].slice(0, ANSWERS_MAX) : activity.answers;
  if (!fresh && events.length === 0) return activity;
  return { ...activity, answers, events: [...events.reverse(), ...activity.events].slice(0, EVENTS_MAX) };
}

/** Notes that the node does not answer, or that it does again. */
export function noticeSilence(activity: Activity, silent: boolean, at: number): Activity {
  const event: Happening = silent ? { at, kind: "silent", text: "Skep on this machine stopped answering this page." } : { at, kind: "back", text: "Skep on this machine answers again." };
  return { ...activity, events: [event, ...activity.events].slice(0, EVENTS_MAX) };
}

/** Adds a reading, unless the last one is too near. */
export function noticeReading(activity: Activity, network: NetworkView | null, machine: MachineView | null, at: number): Activity {
  const last = activity.readings.at(-1);
  if (last && at - last.at < READ_EVERY_MS) return activity;
  const { use } = machine ?? {};
  const reading: Reading = {
    at,
    nodes: network ? network.nodes.filter((node) => node.alive).length : null,
    active: network?.active ?? null,
    work: use?.work ?? null,
    cpu: use?.cpu_percent ?? null,
    upload: use?.upload ?? null,
    download: use?.download ?? null,
  };
  return { ...activity, readings: [...activity.readings, reading].slice(-READINGS_MAX) };
}

/** An answer as it is listed: when it was complete, and the chat of this browser that has it. */
export interface Listed {
  at: number | null;
  summary: Summary;
  chat: { id: string; title: string; place: number } | null;
}

/** What was seen and what the chats of this browser remember, each answer once, the latest first and those of no known time last. */
export function listAnswers(seen: Seen[], kept: Listed[]): Listed[] {
  const all = new Map<string, Listed>();
  for (const one of kept) all.set(keyOf(one.summary), one);
  for (const { at, summary } of seen) {
    const known = all.get(keyOf(summary));
    // The node's own word has more in it than what a chat keeps.
    all.set(keyOf(summary), { at: known?.at ?? at, summary, chat: known?.chat ?? null });
  }
  return [...all.values()].sort((a, b) => (b.at ?? -Infinity) - (a.at ?? -Infinity) || 0).slice(0, ANSWERS_MAX);
}

/** What an answer was expected to cost, in the smallest unit of money; `null` when the node did not say. */
export const priceOf = (summary: Summary): number | null => summary.why?.expected.price ?? summary.price ?? null;

/** The time of a moment, and its day unless that is today. */
export function whenText(at: number, now: number): string {
  const [then, today] = [new Date(at), new Date(now)];
  const time = [then.getHours(), then.getMinutes(), then.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
  if (then.toDateString() === today.toDateString()) return time;
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  return `${then.getDate()} ${months[then.getMonth()]} ${time.slice(0, 5)}`;
}
