import { expect, test } from "vitest";
import { copies, hexagon, inOrder, layout, shownHops } from "../src/lib/picture";
import type { Blocks, NodeView } from "../src/lib/types";

const node = (id: string, blocks: Blocks | null, alive = true): NodeView => ({ id, pid: null, blocks, alive, rtt_ms: null, frames: 0, label: "trusted",
  figures: { decode_block_ms: null, prefill_block_ms: null, visit_ms: null, wait_ms: null, delay_ms: null, correction_ms: 0, memory: null, sessions: null, price: 0 } });
const NODES = [node("bb", [2, 4]), node("dd", null), node("aa", [0, 2]), node("cc", [0, 4])];
const ROUTE = shownHops([
  { node: "aa", blocks: [0, 2], frames: 10, hold_ms: 50, rtt_ms: 0.2 },
  { node: "bb", blocks: [2, 4], frames: 0, hold_ms: 0, rtt_ms: null },
]);

test("rows keep their order when a node dies", () => {
  const before = inOrder(NODES).map((view) => view.id);
  expect(before).toEqual(["aa", "cc", "bb", "dd"]);
  const dead = NODES.map((view) => ({ ...view, alive: view.id !== "aa" })).sort((a, b) => Number(b.alive) - Number(a.alive));
  expect(inOrder(dead).map((view) => view.id)).toEqual(before);
});

test("every held block has one cell inside of the columns", () => {
  const shape = layout(NODES, 4, ROUTE, 800, 150, 200);
  expect(shape.rows.map((row) => row.cells.map((cell) => cell.block))).toEqual([[0, 1], [0, 1, 2, 3], [2, 3], []]);
  for (const row of shape.rows) for (const cell of row.cells) expect(cell.x > shape.left && cell.x < shape.right).toBe(true);
});

test("a route has a line per stage and a link before, between and after", () => {
  const shape = layout(NODES, 4, ROUTE, 800, 150, 200);
  expect(shape.hops.map((line) => [line.row, line.from, line.to])).toEqual([
    [0, shape.left, shape.left + 2 * shape.column],
    [2, shape.left + 2 * shape.column, shape.right],
  ]);
  expect(shape.links).toHaveLength(3);
  expect(shape.links.map((link) => link.rtt_ms)).toEqual([null, 0.2, null]);
  for (const link of shape.links) expect(link.path).not.toMatch(/NaN|undefined/);
});

test("ids may be shortened, and stages that nobody shown runs are left out", () => {
  const long = [node(`3f2a${"0".repeat(60)}`, [0, 2]), node("b".repeat(64), [2, 4])];
  const route = shownHops([{ node: "3f2a000000", blocks: [0, 2] }, { node: "gone", blocks: [2, 4] }]);
  expect(layout(long, 4, route, 800, 100, 100).hops).toHaveLength(1);
  expect(layout(long, 4, [], 800, 100, 100).links).toEqual([]);
});

test("many blocks fit into a narrow picture as bars", () => {
  const shape = layout([node("aa", [0, 80])], 80, [], 360, 60, 40);
  expect(shape.radius).toBe(0);
  expect(shape.right).toBeLessThanOrEqual(360);
});

test("times per frame, copies of blocks and corners are counted right", () => {
  expect(ROUTE.map((hop) => hop.ms)).toEqual([5, null]);
  expect(copies([...NODES, node("ee", [0, 1], false)], 4)).toEqual([2, 2, 2, 2]);
  expect(hexagon(0, 0, 10).split(" ")).toHaveLength(6);
});
