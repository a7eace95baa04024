// Talks to the node that serves this page. Nothing here keeps state.

import { BROKEN_OFF, troubleOf, troubleOfResponse, unreachable, type Trouble } from "./errors";
import { parseRoute, parseTiming, type Timing } from "./route";
import { SseParser } from "./sse";
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
  onSummary(summary: Summary): unknown;
}

interface Chunk {
  choices?: { delta?: { content?: string | null }; text?: string; finish_reason?: string | null }[];
  skep?: Summary;
}

async function reach(path: string, init?: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new SkepError(unreachable(location.origin));
  }
}

async function refuse(response: Response): Promise<never> {
  throw new SkepError(troubleOfResponse(response.status, await response.text().catch(() => "")));
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
  const choice = chunk.choices?.[0];
  const text = choice?.delta?.content ?? choice?.text;
  if (text) listener.onText(text);
  if (chunk.skep) listener.onSummary(chunk.skep);
  return choice?.finish_reason ? "finished" : "more";
}

/** Streams an answer to `listener`. Ends normally when the answer is complete; throws otherwise, also when aborted. */
export async function streamAnswer(ask: Ask, listener: Listener, signal: AbortSignal): Promise<void> {
  const response = await reach(ask.path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...ask.body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
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
      throw new SkepError(BROKEN_OFF);
    }
    if (piece.done) break;
    for (const payload of parser.push(piece.value)) {
      const state = applyChunk(payload, listener);
      if (state === "done") return;
      finished ||= state === "finished";
    }
  }
  if (!finished) throw new SkepError(BROKEN_OFF);
}

/** The network as the gateway sees it. */
export async function fetchNetwork(signal?: AbortSignal): Promise<NetworkView> {
  const response = await reach("/skep/v1/network", { signal });
  if (!response.ok) return refuse(response);
  return (await response.json()) as NetworkView;
}

/** The ids of the models that the API answers with. */
export async function fetchModels(): Promise<string[]> {
  const response = await reach("/v1/models");
  if (!response.ok) return refuse(response);
  const body = (await response.json()) as { data?: { id: string }[] };
  return (body.data ?? []).map((model) => model.id);
}

/** Kills the process of a node; only the demo can. */
export async function unplug(node: string): Promise<void> {
  const response = await reach("/skep/v1/unplug", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ node }),
  });
  if (!response.ok) await refuse(response);
}
