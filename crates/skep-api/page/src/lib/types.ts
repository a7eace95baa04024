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
  why?: Why;
  /** What `why` expected it to cost; only in what this browser keeps, which leaves out the rest of `why`. */
  price?: number;
}

/** What the planner expects of a route, in milliseconds. */
export interface ExpectedRoute {
  way: "solo" | "handoff" | "chain";
  stages: (Hop & { hop_ms: number; visits_ms: number; compute_ms: number; measured: boolean })[];
  first_token_ms: number;
  per_token_ms: number;
  total_ms: number;
  /** In the smallest unit of money; 0 is free. */
  price?: number;
}

/** What else there was: a route, or why there was none. */
export interface Alternative {
  what: string;
  without: string | null;
  route: ExpectedRoute | null;
  refused: string | null;
}

/** Why a route was chosen. */
export interface Why {
  reason: string;
  expected: ExpectedRoute;
  /** Tokens to read and to write. */
  planned_for: [number, number];
  instead: Alternative[];
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
  label: string;
  figures: Figures;
}

/** What the planner takes a node to be; `null` is what nobody measured. */
export interface Figures {
  decode_block_ms: number | null;
  prefill_block_ms: number | null;
  visit_ms: number | null;
  wait_ms: number | null;
  /** One way. */
  delay_ms: number | null;
  /** What the gateway adds to a visit by what it saw. */
  correction_ms: number;
  memory: number | null;
  sessions: number | null;
  price: number;
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
