// The picture of the network: who holds which blocks, and the way of an answer through them.

import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { HEAD, ROW, hexagon, layout, type Layout, type Row, type ShownHop } from "../lib/picture";
import { blocksText, msText, shortId } from "../lib/route";
import type { NetworkView, NodeView, Recovery } from "../lib/types";
import { network } from "../store/network";
import { useStore } from "../store/store";
import { BoltIcon } from "../ui/icons";
import { PlugButton } from "./unplug";

interface Props {
  view: NetworkView;
  route: ShownHop[];
  recoveries: Recovery[];
  /** Whether an answer is on this way now. */
  flowing: boolean;
  compact?: boolean;
}

function useWidth() {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(Math.floor(element.clientWidth)));
    observer.observe(element);
    setWidth(Math.floor(element.clientWidth));
    return () => observer.disconnect();
  }, []);
  return { box, width };
}

function CellView({ shape, row, block, x, lit }: { shape: Layout; row: Row; block: number; x: number; lit: boolean }) {
  const held = row.cells.some((cell) => cell.block === block);
  const kind = !held ? "empty" : !row.node.alive ? "dead" : lit ? "lit" : "held";
  const data = {
    class: `cell ${kind}`,
    "data-testid": "cell",
    "data-node": row.node.id,
    "data-block": block,
    "data-held": held && row.node.alive ? "yes" : held ? "dead" : "no",
  };
  const title = held ? `Block ${block}, held by ${row.node.id}` : null;
  if (shape.radius > 0) {
    return (
      <polygon points={hexagon(x, row.y, shape.radius)} {...data}>
        {title && <title>{title}</title>}
      </polygon>
    );
  }
  const gap = shape.column > 5 ? 1 : 0;
  return (
    <rect x={x - shape.column / 2 + gap / 2} y={row.y - 12} width={Math.max(0.5, shape.column - gap)} height={24} {...data}>
      {title && <title>{title}</title>}
    </rect>
  );
}

function Cells({ shape, blocks }: { shape: Layout; blocks: number }) {
  const columns = Array.from({ length: blocks }, (_, block) => block);
  return (
    <>
      {shape.rows.map((row, index) => {
        const lines = shape.hops.filter((line) => line.row === index).map((line) => line.hop.blocks);
        return (
          <g key={row.node.id}>
            {columns.map((block) => (
              <CellView
                shape={shape}
                row={row}
                block={block}
                x={shape.left + (block + 0.5) * shape.column}
                lit={lines.some(([from, to]) => block >= from && block < to)}
              />
            ))}
          </g>
        );
      })}
    </>
  );
}

function Way({ shape, compact }: { shape: Layout; compact: boolean }) {
  return (
    <g class="way">
      {shape.links.map((link) => (
        <path class="link" d={link.path} />
      ))}
      {shape.hops.map((line) => (
        <g
          class={shape.rows[line.row]?.node.alive ? "hop" : "hop broken"}
          data-testid="route-hop"
          data-node={shape.rows[line.row]?.node.id}
          data-blocks={`${line.hop.blocks[0]}..${line.hop.blocks[1]}`}
          data-ms={line.hop.ms ?? undefined}
        >
          <path d={`M${line.from} ${line.y}H${line.to}`} />
          <circle cx={line.from} cy={line.y} r={3.5} />
        </g>
      ))}
      {!compact &&
        shape.links.map((link) =>
          link.rtt_ms === null ? null : (
            <g class="rtt" transform={`translate(${link.label.x} ${link.label.y})`}>
              <rect x={-27} y={-8.5} width={54} height={17} rx={8.5} />
              <text dy="0.35em">{msText(link.rtt_ms)}</text>
            </g>
          ),
        )}
    </g>
  );
}

function Head({ shape, blocks, gateway, compact }: { shape: Layout; blocks: number; gateway: string; compact: boolean }) {
  const x = shape.left - 26;
  const every = Math.max(1, Math.ceil(22 / shape.column));
  const numbers = Array.from({ length: Math.ceil(blocks / every) }, (_, index) => index * every);
  const width = Math.max(shape.right - shape.left + 52, compact ? 0 : 190);
  return (
    <g>
      <g class="gateway">
        <rect x={x} y={2} width={width} height={32} rx={16} />
        <text x={x + width / 2} y={18} dy="0.35em">
          {width > 180 ? `gateway ${shortId(gateway)}` : "gateway"}
        </text>
      </g>
      {numbers.map((block) => (
        <text class="number" x={shape.left + (block + 0.5) * shape.column} y={HEAD - 10}>
          {block}
        </text>
      ))}
    </g>
  );
}

/** What the last answer had to do with a node: its time, or its loss. */
function Share({ node, hops, recoveries, compact }: { node: NodeView; hops: ShownHop[]; recoveries: Recovery[]; compact: boolean }) {
  const loss = recoveries.find((recovery) => recovery.lost.includes(node.id));
  const ms = hops.reduce<number | null>((sum, hop) => (hop.ms === null ? sum : (sum ?? 0) + hop.ms), null);
  if (loss) {
    return (
      <span class="row-loss" title={`Lost at token ${loss.at_token} of the last answer`} data-testid="lost-node" data-node={node.id}>
        <BoltIcon /> {compact ? loss.at_token : `lost at token ${loss.at_token}`}
      </span>
    );
  }
  if (ms === null) return null;
  return (
    <span class="row-ms" title="Mean time that one frame spent in this node" data-testid="hop-time" data-node={node.id}>
      {msText(ms)}
    </span>
  );
}

/** What the row shows, for those who do not see it. */
const said = (node: NodeView): string =>
  `Node ${node.id.slice(0, 10)}, ${node.alive ? "alive" : "gone"}, ` +
  (node.blocks ? `holds blocks ${node.blocks[0]} to ${node.blocks[1] - 1}` : "holds no block");

export function Picture({ view, route, recoveries, flowing, compact = false }: Props) {
  const { box, width } = useWidth();
  const { trouble } = useStore(network);
  const narrow = compact || width < 620;
  const blocks = view.model.blocks;
  const side = narrow ? (view.can_unplug ? 34 : 6) : 230;
  const shape = useMemo(
    () => layout(view.nodes, blocks, route, Math.max(260, width), narrow ? 52 : 150, side),
    [view, route, width, narrow, side],
  );
  return (
    <div class={`picture ${narrow ? "narrow" : ""} ${flowing ? "flowing" : ""} ${trouble ? "stale" : ""}`} ref={box} data-testid="network-picture">
      {width > 0 && (
        <>
          <svg width={shape.width} height={shape.height} aria-hidden="true" focusable="false">
            <Head shape={shape} blocks={blocks} gateway={view.gateway} compact={narrow} />
            <Cells shape={shape} blocks={blocks} />
            <Way shape={shape} compact={narrow} />
          </svg>
          <ul class="rows" style={{ paddingTop: `${HEAD}px` }} aria-label="Nodes">
            {shape.rows.map(({ node }, index) => {
              const hops = shape.hops.filter((line) => line.row === index).map((line) => line.hop);
              const lost = recoveries.some((recovery) => recovery.lost.includes(node.id));
              const share = <Share node={node} hops={hops} recoveries={recoveries} compact={narrow} />;
              return (
              <li
                key={node.id}
                class={node.alive ? "row" : "row gone"}
                style={{ height: `${ROW}px` }}
                data-testid="node-row"
                data-node={node.id}
                data-blocks={node.blocks ? node.blocks.join("..") : ""}
                data-alive={node.alive ? "yes" : "no"}
                data-pid={node.pid ?? undefined}
              >
                <span class="row-name">
                  <span class="hidden">{said(node)}</span>
                  <b aria-hidden="true" title={node.id}>
                    {narrow ? node.id.slice(0, 4) : shortId(node.id)}
                  </b>
                  <small aria-hidden="true">
                    {!node.alive ? (narrow && lost ? null : "gone") : narrow ? null : node.blocks ? `blocks ${blocksText(node.blocks)}` : "no blocks"}
                  </small>
                  {narrow && share}
                </span>
                <span class="row-side">
                  {!narrow && share}
                  {view.can_unplug && node.alive && <PlugButton node={node} compact={narrow} />}
                </span>
              </li>
              );
            })}
          </ul>
        </>
      )}
    </div>
  );
}
