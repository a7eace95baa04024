// The JSON of the node's own endpoints and of the `skep` object in answers, as its serde types give it.

/** Blocks `[start, end)` of a model. */
export type Blocks = [number, number];

/** One stage of a route. */
export interface Hop {
  node: string;
  blocks: Blocks;
}

/** One stage of a route, with the time that the stage itself measured. */
export interface HopTiming extends Hop {
  frames: number;
  hold_ms: number;
  /** To the next stage, or from the last one to the gateway. */
  rtt_ms: number | null;
}

/** One change of route in the middle of an answer. */
export interface Recovery {
  at_token: number;
  lost: string[];
  rung: string;
  stall_ms: number;
}

/** What an answer cost and how it came about. */
export interface Summary {
  finish: "stop" | "length";
  prompt_tokens: number;
  completion_tokens: number;
  hops: HopTiming[];
  recoveries: Recovery[];
  first_token_ms: number;
  total_ms: number;
  lap_ms: number | null;
}

export interface ModelCard {
  id: string;
  name: string;
  blocks: number;
  context: number;
  vocab: number;
  bytes: number;
  available: boolean;
}

export interface NodeView {
  id: string;
  pid: number | null;
  blocks: Blocks | null;
  alive: boolean;
  rtt_ms: number | null;
  frames: number;
}

/** The answer of `GET /skep/v1/network`. */
export interface NetworkView {
  gateway: string;
  model: ModelCard;
  nodes: NodeView[];
  last_answer: Summary | null;
  active: number;
  can_unplug: boolean;
}
