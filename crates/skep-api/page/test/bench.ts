// What the unit tests of the desk share: a shelf in memory, and a desk whose stream and frames are driven by hand.

import type { Ask, Listener } from "../src/lib/client";
import { lastTurn } from "../src/store/branches";
import type { Shelf, Turn } from "../src/store/chats";
import { Desk } from "../src/store/desk";

/** A shelf that holds at most `room` characters. */
export class Box implements Shelf {
  readonly kept = new Map<string, string>();
  constructor(readonly room = Infinity) {}
  get length() {
    return this.kept.size;
  }
  key = (index: number) => [...this.kept.keys()][index] ?? null;
  getItem = (key: string) => this.kept.get(key) ?? null;
  removeItem = (key: string) => void this.kept.delete(key);
  setItem = (key: string, value: string) => {
    const others = [...this.kept].reduce((sum, [name, text]) => sum + (name === key ? 0 : text.length), 0);
    if (others + value.length > this.room) throw new Error("QuotaExceededError");
    this.kept.set(key, value);
  };
}

/** A desk whose stream and frames are driven by hand. */
export function bench(box = new Box()) {
  const frames: (() => void)[] = [];
  const asks: Ask[] = [];
  let hear: Listener | null = null;
  let settle: { resolve(): void; reject(error: unknown): void } | null = null;
  let next = 0;
  const desk = new Desk({
    shelf: box,
    now: () => ++next,
    newId: () => `id${++next}`,
    nextFrame: (callback) => frames.push(callback),
    stream: (ask, listener, signal) => {
      asks.push(ask);
      hear = listener;
      return new Promise<void>((resolve, reject) => {
        settle = { resolve, reject };
        signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
      });
    },
  });
  const last = () => lastTurn(desk.state.value.chat) as Turn;
  const listener = () => hear as unknown as Listener;
  const end = () => settle as unknown as { resolve(): void; reject(error: unknown): void };
  const frame = () => frames.splice(0).forEach((callback) => callback());
  return { box, desk, asks, frames, frame, last, listener, end };
}
