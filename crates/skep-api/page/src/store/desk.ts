// The desk: the chat that is open, the answer under way, the chats on the shelf.

import { SkepError, type Ask, type Listener } from "../lib/client";
import { append, before, changeAnswer, lastTurn, openTurns, pathOf, reveal, withoutEmpty } from "./branches";
import { documentOf, fitTitle, loadChats, messagesOf, removeChat, saveChat } from "./chats";
import type { Chat, Mode, Shelf, Turn } from "./chats";
import { importChats, type Imported } from "./files";
import { summaryOf } from "./read";
import { loadSettings, optionsOf, saveSettings, type Settings } from "./settings";
import { Store } from "./store";

/** What the desk needs of the world, so that tests need no browser. */
export interface World {
  shelf: Shelf;
  now(): number;
  newId(): string;
  /** Calls back once, soon, at most once per picture that the screen shows. */
  nextFrame(callback: () => void): void;
  stream(ask: Ask, listener: Listener, signal: AbortSignal): Promise<void>;
}

export interface DeskState {
  chat: Chat;
  history: Chat[];
  settings: Settings;
  /** Whether an answer is under way; the page writes one at a time. */
  writing: boolean;
  /** Whether the browser could not keep the open chat. */
  unkept: boolean;
  /** The chat that was deleted last, for as long as that can be taken back, and whether it was open. */
  removed: { chat: Chat; open: boolean } | null;
}

/**
 * Characters that one picture adds at most: what comes faster than anybody reads is shown over several pictures, each of which is drawn
 * in the time of one.
 */
export const SHOWN_MAX = 3000;

export class Desk {
  readonly state: Store<DeskState>;
  readonly #world: World;
  #abort: AbortController | null = null;
  #pending = "";
  #frame = false;

  constructor(world: World) {
    this.#world = world;
    const settings = loadSettings(world.shelf);
    const history = loadChats(world.shelf);
    this.state = new Store({ chat: this.#blank("chat"), history, settings, writing: false, unkept: false, removed: null });
  }

  #blank(mode: Mode): Chat {
    return { id: this.#world.newId(), mode, updated: this.#world.now(), turns: [] };
  }

  /** Starts anew, in `mode` or in the mode of the open chat. */
  newChat(mode: Mode = this.state.value.chat.mode): void {
    this.stop();
    this.state.update((state) => ({ ...state, chat: this.#blank(mode), unkept: false }));
  }

  /** Opens a kept chat, and the way to the turn at `at` if one is named. */
  open(id: string, at: number | null = null): void {
    const { chat: open, history } = this.state.value;
    const kept = id === open.id ? open : history.find((other) => other.id === id);
    if (!kept) return;
    if (id !== open.id) this.stop();
    else if (at === null) return;
    this.state.update((state) => ({ ...state, chat: kept, unkept: id === open.id && state.unkept }));
    if (at !== null) this.choose(at);
  }

  /** Deletes a chat; `undo` brings it back. */
  remove(id: string): void {
    const { chat: open, history } = this.state.value;
    if (id === open.id) this.newChat();
    const chat = this.state.value.history.find((kept) => kept.id === id) ?? history.find((kept) => kept.id === id);
    removeChat(this.#world.shelf, id);
    const removed = chat ? { chat, open: id === open.id } : null;
    this.state.update((state) => ({ ...state, removed, history: state.history.filter((kept) => kept.id !== id) }));
  }

  /** Brings back the chat that was deleted last. */
  undo(): void {
    const { removed, chat: open } = this.state.value;
    if (!removed) return;
    saveChat(this.#world.shelf, removed.chat);
    this.state.update((state) => ({ ...state, removed: null, history: loadChats(this.#world.shelf) }));
    if (removed.open && open.turns.length === 0) this.open(removed.chat.id);
  }

  /** Lets go for good of the chat that was deleted last. */
  forget(): void {
    this.state.update((state) => ({ ...state, removed: null }));
  }

  /** Gives a chat a name; an empty one is that of its first words. */
  rename(id: string, name: string): void {
    const { chat: open, history } = this.state.value;
    const kept = id === open.id ? open : history.find((other) => other.id === id);
    if (!kept) return;
    const { title: _, ...bare } = kept;
    const title = fitTitle(name);
    const chat: Chat = title === undefined ? bare : { ...bare, title };
    if (id === open.id) this.state.update((state) => ({ ...state, chat }));
    const saved = chat.turns.length === 0 || saveChat(this.#world.shelf, chat);
    this.state.update((state) => ({ ...state, unkept: id === open.id ? !saved : state.unkept, history: loadChats(this.#world.shelf) }));
  }

  /** Takes over the chats of a file, all or none. */
  take(text: string): Imported {
    const done = importChats(this.#world.shelf, text, this.#world.newId);
    this.reload();
    return done;
  }

  /** A mode belongs to a chat; an open chat that has turns is left as it is and a new one begins. */
  setMode(mode: Mode): void {
    const { chat } = this.state.value;
    if (mode === chat.mode) return;
    if (chat.turns.length > 0) this.newChat(mode);
    else this.state.update((state) => ({ ...state, chat: { ...chat, mode } }));
  }

  setSettings(settings: Settings): void {
    saveSettings(this.#world.shelf, settings);
    this.state.update((state) => ({ ...state, settings }));
  }

  /** Reads the shelf again, after another tab changed it. */
  reload(): void {
    this.state.update((state) => ({ ...state, history: loadChats(this.#world.shelf) }));
  }

  /** Ends the answer under way, at once: what has come is kept. */
  stop(): void {
    const abort = this.#abort;
    if (!abort) return;
    this.#finish(abort, { state: "stopped" });
    abort.abort();
  }

  /** Keeps what has come so far, for a page that is about to be closed. */
  rest(): void {
    if (!this.#abort) return;
    this.#flush();
    saveChat(this.#world.shelf, this.state.value.chat);
  }

  /** Asks for an answer to `text`. An empty text is only meant in a document, where it asks to go on. */
  send(text: string): Promise<void> {
    const { chat, writing } = this.state.value;
    const goesOn = chat.mode === "text" && chat.turns.length > 0;
    if (writing || (text.trim() === "" && !goesOn)) return Promise.resolve();
    return this.#answer(text === "" ? chat : append(chat, { role: "user", text }));
  }

  /** Asks anew for the answer at `at`, or for the last one. What was answered stays as another version, unless it says nothing. */
  retry(at: number | undefined = pathOf(this.state.value.chat).at(-1)): Promise<void> {
    const { chat, writing } = this.state.value;
    if (writing || at === undefined || chat.turns[at]?.role !== "assistant") return Promise.resolve();
    const after = before(chat.turns, at);
    const rest = withoutEmpty(chat, at);
    return this.#answer(rest, after);
  }

  /** Asks with another text in place of the question at `at`, which stays as another version with all that followed it. */
  edit(at: number, text: string): Promise<void> {
    const { chat, writing } = this.state.value;
    const turn = chat.turns[at];
    if (writing || turn?.role !== "user" || text.trim() === "" || text === turn.text) return Promise.resolve();
    return this.#answer(append(chat, { role: "user", text }, before(chat.turns, at)));
  }

  /** Opens another version: the one that the turn at `at` belongs to. */
  choose(at: number): void {
    const { chat, writing } = this.state.value;
    if (writing || chat.turns[at] === undefined) return;
    this.state.update((state) => ({ ...state, chat: reveal(chat, at) }));
    this.#keep();
  }

  #ask(chat: Chat): Ask {
    const options = optionsOf(this.state.value.settings);
    return chat.mode === "chat"
      ? { path: "/v1/chat/completions", body: { messages: messagesOf(openTurns(chat)), ...options } }
      : { path: "/v1/completions", body: { prompt: documentOf(openTurns(chat)), ...options } };
  }

  /** Asks for what follows the turn at `after`, or the last open one. */
  async #answer(asked: Chat, after?: number): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    this.#pending = "";
    const turn: Turn = { role: "assistant", text: "", state: "writing" };
    const chat = { ...append(asked, turn, after), updated: this.#world.now() };
    const ask = this.#ask(chat);
    this.state.update((state) => ({ ...state, chat, writing: true }));
    this.#keep();
    const current = () => this.#abort === abort;
    const listener: Listener = {
      onStart: (route) => current() && this.#change({ route, broken: false }),
      onBreak: () => current() && this.#break(),
      onText: (text) => current() && this.#take(text),
      onSummary: (summary) => current() && this.#change({ summary: summaryOf(summary) }),
    };
    try {
      await this.#world.stream(ask, listener, abort.signal);
      await this.#shown(abort);
      this.#finish(abort, { state: "done", at: this.#world.now() });
    } catch (error) {
      const trouble =
        error instanceof SkepError ? error.trouble : { message: `The page failed: ${String(error)}.`, hint: null };
      this.#finish(abort, { state: "failed", trouble });
    }
  }

  #change(part: Partial<Turn>): void {
    this.state.update((state) => ({ ...state, chat: changeAnswer(state.chat, (turn) => ({ ...turn, ...part })) }));
  }

  /** Says at once that the connection broke, below all that came before. */
  #break(): void {
    this.#flush();
    if (lastTurn(this.state.value.chat)?.broken !== true) this.#change({ broken: true });
  }

  /** Text is shown at most once per frame: tokens may come faster than the screen shows pictures. */
  #take(text: string): void {
    this.#pending += text;
    if (this.#frame || this.#pending === "") return;
    this.#frame = true;
    this.#world.nextFrame(() => {
      this.#frame = false;
      this.#flush(SHOWN_MAX);
      this.#take("");
    });
  }

  /** Waits until the answer of `abort` is shown, unless what is left of it fits into the next picture. */
  async #shown(abort: AbortController): Promise<void> {
    if (this.#pending.length <= SHOWN_MAX) return;
    while (this.#abort === abort && this.#pending !== "") await new Promise<void>((resolve) => this.#world.nextFrame(resolve));
  }

  #flush(most = Infinity): void {
    const piece = this.#pending.slice(0, most);
    this.#pending = this.#pending.slice(piece.length);
    if (piece === "") return;
    this.state.update((state) => ({
      ...state,
      chat: changeAnswer(state.chat, (turn) => ({ ...turn, text: turn.text + piece })),
    }));
  }

  /** Ends the answer of `abort`, unless it was ended before. */
  #finish(abort: AbortController, end: Partial<Turn>): void {
    if (this.#abort !== abort) return;
    this.#flush();
    this.#abort = null;
    this.#change({ ...end, broken: false });
    this.state.update((state) => ({ ...state, writing: false }));
    this.#keep();
  }

  #keep(): void {
    const { chat } = this.state.value;
    const kept = saveChat(this.#world.shelf, chat);
    this.state.update((state) => ({ ...state, unkept: !kept, history: loadChats(this.#world.shelf) }));
  }
}
