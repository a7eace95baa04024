// Talks to the node that serves this page. Nothing here keeps state.

import { BROKEN_OFF, FORGOTTEN, NOT_BACK, troubleOf, troubleOfResponse, unreachable, type Trouble } from "./errors";
import { withKey } from "./pass";
import { parseRoute, parseTiming, type Timing } from "./route";
import { SseParser } from "./sse";
import type { Raw, SettingsView } from "./limits";
import type { Command, MachineView } from "./machine";
import type { ModelsView, Order } from "./models";
import type { Hop, NetworkView, Summary } from "./types";

/** A failure on the way to or from the node. */
export class SkepError extends Error {
  readonly trouble: Trouble;
  constructor(trouble: Trouble) {
    super(trouble.message);
    this.trouble = trouble;
  }
}

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

/** The body of a request for text; only options that are set are sent. */
export interface Ask {
  path: "/v1/chat/completions" | "/v1/completions";
  body: Record<string, unknown>;
}

/** Who hears of an answer while it comes. */
export interface Listener {
  onStart(route: Hop[] | null, timing: Timing[]): unknown;
  onText(text: string): unknown;
  onId?(id: string): unknown;
  /** The connection broke in the middle of the answer, and is being taken up again. */
  onBreak?(): unknown;
  onSummary(summary: Summary): unknown;
}

interface Chunk {
  id?: string;
  choices?: { delta?: { content?: string | null }; text?: string; finish_reason?: string | null }[];
  skep?: Summary;
}

async function reach(path: string, init?: RequestInit): Promise<Response> {
  try {
    return await fetch(path, withKey(init));
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new SkepError(unreachable(location.origin));
  }
}

/** Who hears that the node asks for a key that this browser does not have. */
let onLocked: (trouble: Trouble) => void = () => {};
export const whenLocked = (tell: (trouble: Trouble) => void): void => void (onLocked = tell);

async function refuse(response: Response): Promise<never> {
  const trouble = troubleOfResponse(response.status, await response.text().catch(() => ""));
  if (response.status === 401) onLocked(trouble);
  throw new SkepError(trouble);
}

/** Applies one payload; whether it was the last one of the answer. */
export function applyChunk(payload: string, listener: Listener): "more" | "finished" | "done" {
  if (payload === "[DONE]") return "done";
  let chunk: Chunk;
  try {
    chunk = JSON.parse(payload) as Chunk;
  } catch {
    throw new SkepError({ message: "The node sent a piece of the answer that is not JSON.", hint: null });
  }
  const trouble = troubleOf(chunk);
  if (trouble) throw new SkepError(trouble);
  if (chunk.id) listener.onId?.(chunk.id);
  const choice = chunk.choices?.[0];
  const text = choice?.delta?.content ?? choice?.text;
  if (text) listener.onText(text);
  if (chunk.skep) listener.onSummary(chunk.skep);
  return choice?.finish_reason ? "finished" : "more";
}

/** How often, and how often in all, a node that broke off is asked to go on: a machine starts again within half a minute. */
const TRY_EVERY_MS = 1000;
export const TRIES = 30;

/** Hears of an answer in one go, although its stream may break off and begin again with all of the text so far. */
class Continued implements Listener {
  readonly #listener: Listener;
  /** Characters that were passed on, and those of them that the stream of now has said again. */
  #passed = 0;
  #repeated = 0;
  id: string | null = null;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  onStart(route: Hop[] | null, timing: Timing[]): void {
    this.#repeated = 0;
    this.#listener.onStart(route, timing);
  }

  onText(text: string): void {
    const again = Math.min(text.length, this.#passed - this.#repeated);
    this.#repeated += again;
    if (again === text.length) return;
    this.#repeated += text.length - again;
    this.#passed += text.length - again;
    this.#listener.onText(text.slice(again));
  }

  onId(id: string): void {
    this.id = id;
  }

  onBreak(): void {
    this.#listener.onBreak?.();
  }

  onSummary(summary: Summary): void {
    this.#listener.onSummary(summary);
  }
}

/** Reads a stream to its end; whether the answer is complete. */
async function readStream(response: Response, listener: Listener): Promise<boolean> {
  if (!response.ok || !response.body) return refuse(response);
  listener.onStart(parseRoute(response.headers.get("skep-route")), parseTiming(response.headers.get("skep-timing")));
  const parser = new SseParser();
  const reader = response.body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>).getReader();
  let finished = false;
  for (;;) {
    let piece: ReadableStreamReadResult<string>;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      return false;
    }
    if (piece.done) return finished;
    for (const payload of parser.push(piece.value)) {
      const state = applyChunk(payload, listener);
      if (state === "done") return true;
      finished ||= state === "finished";
    }
  }
}

/** Asks a node that broke off to go on with an answer; none while it is away. */
async function resume(id: string, signal: AbortSignal): Promise<Response | null> {
  const response = await fetch(`/skep/v1/answers/${id}`, withKey({ signal })).catch((error: unknown) => {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    return null;
  });
  // Until its network is whole again, a node that has just started answers nothing.
  return response && response.status < 500 ? response : null;
}

/**
 * Streams an answer to `listener`. When the node breaks off in the middle and starts again, the answer goes on where it was. Ends
 * normally when the answer is complete; throws otherwise, also when aborted.
 */
export async function streamAnswer(ask: Ask, listener: Listener, signal: AbortSignal): Promise<void> {
  const continued = new Continued(listener);
  const first = await reach(ask.path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...ask.body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (await readStream(first, continued)) return;
  const { id } = continued;
  if (id === null) throw new SkepError(BROKEN_OFF);
  for (let tries = 0; tries < TRIES; tries++) {
    continued.onBreak();
    await new Promise((resolve) => setTimeout(resolve, TRY_EVERY_MS));
    signal.throwIfAborted();
    const response = await resume(id, signal);
    if (response?.status === 404) throw new SkepError(FORGOTTEN);
    if (response && (await readStream(response, continued))) return;
  }
  throw new SkepError(NOT_BACK);
}

/** The network as the gateway sees it. */
export const fetchNetwork = (signal?: AbortSignal): Promise<NetworkView> => read("/skep/v1/network", { signal });

/** The ids of the models that the API answers with. */
export async function fetchModels(): Promise<string[]> {
  const body = await read<{ data?: { id: string }[] }>("/v1/models");
  return (body.data ?? []).map((model) => model.id);
}

export const sends = (method: "POST" | "PUT", body: object): RequestInit => ({
  method,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

export async function read<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await reach(path, init);
  return response.ok ? ((await response.json()) as T) : refuse(response);
}

/** Kills the process of a node; only the demo can. */
export const unplug = (node: string): Promise<unknown> => read("/skep/v1/unplug", sends("POST", { node }));

/** What the node says of its machine; `null` from a node that lends nothing by itself, such as one of a demo, and where the key of this browser is not the owner's. */
export async function fetchMachine(signal?: AbortSignal): Promise<MachineView | null> {
  const response = await reach("/skep/v1/machine", { signal });
  if (response.status === 404 || response.status === 403) return null;
  return response.ok ? ((await response.json()) as MachineView) : refuse(response);
}

/** Pauses, resumes or finishes the lending; gives what the machine is then. */
export const commandMachine = (command: Command): Promise<MachineView> => read("/skep/v1/machine", sends("POST", command));

/** The models of this machine and its network. */
export const fetchModelsView = (signal?: AbortSignal): Promise<ModelsView> => read("/skep/v1/models", { signal });

/** Pulls, pauses, resumes, cancels or removes; gives what there is then. */
export const orderModels = (order: Order): Promise<ModelsView> => read("/skep/v1/models", sends("POST", order));

/** The owner's settings. */
export const fetchSettings = (): Promise<SettingsView> => read("/skep/v1/settings");

/** Sets one setting, or leaves it to the preset; gives all of them. */
export const putSetting = (key: string, value: Raw | null): Promise<SettingsView> => read("/skep/v1/settings", sends("PUT", { key, value }));

/** A link with which other machines join, and when it ends: seconds since 1970. */
export interface Invite {
  link: string;
  uses: number;
  expires: number;
}

export const makeInvite = (): Promise<Invite> => read("/skep/v1/invite", sends("POST", {}));
