// Where everything of the network's picture stands: rows are nodes, columns are blocks. Pure geometry, in pixels.

import type { Blocks, Hop, NodeView } from "./types";

/** One stage of a route as the picture shows it; ids may be shortened to their first digits. */
export interface ShownHop extends Hop {
  /** Mean milliseconds that a frame spent in the stage. */
  ms: number | null;
  rtt_ms: number | null;
}

export interface Cell {
  block: number;
  x: number;
  y: number;
}

export interface Row {
  node: NodeView;
  y: number;
  /** Cells of the blocks that the node holds. */
  cells: Cell[];
}

/** A stage of the route, in the row of its node. */
export interface HopLine {
  hop: ShownHop;
  row: number;
  from: number;
  to: number;
  y: number;
}

/** The way from one stage to the next, or from and to the gateway. */
export interface Link {
  path: string;
  /** Where a time may be written on it. */
  label: { x: number; y: number };
  rtt_ms: number | null;
}

export interface Layout {
  width: number;
  height: number;
  /** Left edge of the first column and right edge of the last. */
  left: number;
  right: number;
  column: number;
  /** Radius of a hexagon; 0 where columns are too narrow and cells are bars. */
  radius: number;
  rows: Row[];
  hops: HopLine[];
  links: Link[];
}

export const ROW = 50;
/** Height of the strip that stands for the gateway, with the numbers of the blocks under it. */
export const HEAD = 66;
const GATEWAY_BOTTOM = 34;
const LANE = 22;
const WIDEST_COLUMN = 44;
const CORNER = 8;

/** Nodes in an order that a death does not change: by first block, then by id; those without blocks last. */
export function inOrder(nodes: NodeView[]): NodeView[] {
  const start = (node: NodeView) => node.blocks?.[0] ?? Number.MAX_SAFE_INTEGER;
  return [...nodes].sort((a, b) => start(a) - start(b) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

/** Whether `node`, an id or its first digits, means `id`. */
export function means(node: string, id: string): boolean {
  return node.length > 0 && id.startsWith(node);
}

/** A line from (x0, y0) down or up a lane at `x` to (x1, y1), with rounded corners. */
function around(x0: number, y0: number, x: number, x1: number, y1: number): string {
  if (y0 === y1) return `M${x0} ${y0}H${x1}`;
  const down = y1 > y0 ? 1 : -1;
  const radius = Math.min(CORNER, Math.abs(y1 - y0) / 2);
  const first = Math.min(radius, Math.abs(x - x0));
  const second = Math.min(radius, Math.abs(x1 - x));
  const left = Math.sign(x - x0);
  const right = Math.sign(x1 - x);
  return (
    `M${x0} ${y0}H${x - left * first}Q${x} ${y0} ${x} ${y0 + down * first}` +
    `V${y1 - down * second}Q${x} ${y1} ${x + right * second} ${y1}H${x1}`
  );
}

/** Lays the picture out in `width` pixels, `label` of them for names on the left and `side` for the right. */
export function layout(
  nodes: NodeView[],
  blocks: number,
  route: ShownHop[],
  width: number,
  label: number,
  side: number,
): Layout {
  const room = Math.max(40, width - label - side - 2 * LANE);
  const column = Math.min(WIDEST_COLUMN, room / Math.max(1, blocks));
  const radius = column >= 15 ? Math.min(column / Math.sqrt(3) - 2, 21) : 0;
  const left = label + LANE;
  const right = left + column * blocks;
  const middle = (block: number) => left + (block + 0.5) * column;
  const ordered = inOrder(nodes);
  const rows = ordered.map((node, index) => {
    const y = HEAD + (index + 0.5) * ROW;
    const held: Blocks = node.blocks ?? [0, 0];
    const cells: Cell[] = [];
    for (let block = held[0]; block < Math.min(held[1], blocks); block++) cells.push({ block, x: middle(block), y });
    return { node, y, cells };
  });
  const hops: HopLine[] = [];
  for (const hop of route) {
    const row = rows.findIndex((candidate) => means(hop.node, candidate.node.id));
    if (row < 0 || hop.blocks[1] > blocks) continue;
    const [from, to] = [left + hop.blocks[0] * column, left + hop.blocks[1] * column];
    hops.push({ hop, row, from, to, y: (rows[row] as Row).y });
  }
  const links = linksOf(hops, left, right);
  return { width, height: HEAD + rows.length * ROW + 6, left, right, column, radius, rows, hops, links };
}

function linksOf(hops: HopLine[], left: number, right: number): Link[] {
  const first = hops[0];
  const last = hops.at(-1);
  if (!first || !last) return [];
  const lane = LANE * 0.6;
  const links: Link[] = [
    {
      path: `M${left - lane} ${GATEWAY_BOTTOM}V${first.y - CORNER}Q${left - lane} ${first.y} ${left - lane + CORNER} ${first.y}H${first.from}`,
      label: { x: left - lane, y: between(0, first.row) },
      rtt_ms: null,
    },
  ];
  for (let index = 1; index < hops.length; index++) {
    const [a, b] = [hops[index - 1] as HopLine, hops[index] as HopLine];
    const label = { x: a.to, y: between(Math.min(a.row, b.row) + 1, Math.max(a.row, b.row)) };
    links.push({ path: around(a.to, a.y, a.to, b.from, b.y), label, rtt_ms: a.hop.rtt_ms });
  }
  links.push({
    path: `M${last.to} ${last.y}H${right + lane - CORNER}Q${right + lane} ${last.y} ${right + lane} ${last.y - CORNER}V${GATEWAY_BOTTOM}`,
    label: { x: right + lane, y: between(0, last.row) },
    rtt_ms: last.hop.rtt_ms,
  });
  return links;
}

/** The seam between two rows nearest the middle of the rows `from..=to`: a text there covers no cell. */
function between(from: number, to: number): number {
  return HEAD + Math.round((from + to) / 2) * ROW;
}

/** The corners of a hexagon that stands on a point. */
export function hexagon(x: number, y: number, radius: number): string {
  const corners: string[] = [];
  for (let corner = 0; corner < 6; corner++) {
    const angle = (Math.PI / 3) * corner + Math.PI / 6;
    corners.push(`${(x + radius * Math.cos(angle)).toFixed(1)},${(y + radius * Math.sin(angle)).toFixed(1)}`);
  }
  return corners.join(" ");
}

/** How many living nodes hold each block. */
export function copies(nodes: NodeView[], blocks: number): number[] {
  const counts = new Array<number>(blocks).fill(0);
  for (const node of nodes) {
    if (!node.alive || !node.blocks) continue;
    for (let block = node.blocks[0]; block < Math.min(node.blocks[1], blocks); block++) {
      counts[block] = (counts[block] ?? 0) + 1;
    }
  }
  return counts;
}

/** The hops of an answer, with their mean time per frame. */
export function shownHops(hops: (Hop & { frames?: number; hold_ms?: number; rtt_ms?: number | null })[]): ShownHop[] {
  return hops.map((hop) => ({
    node: hop.node,
    blocks: hop.blocks,
    ms: hop.hold_ms !== undefined && hop.frames ? hop.hold_ms / hop.frames : null,
    rtt_ms: hop.rtt_ms ?? null,
  }));
}
