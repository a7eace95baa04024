// What every node is taken to be: speed, delay, room. All of it is measured; a dash is what nobody measured.

import { blocksText, bytesText, msText, shortId } from "../lib/route";
import type { NetworkView, NodeView } from "../lib/types";
import { Scroll } from "../ui/scroll";

const time = (ms: number | null): string => (ms === null ? "–" : msText(ms));

/** What the gateway adds to a node's own word, where somebody would notice it. */
function Seen({ ms }: { ms: number }) {
  if (Math.abs(ms) < 0.1) return null;
  const text = `${ms > 0 ? "+" : "−"}${msText(Math.abs(ms))}`;
  return (
    <small class="seen" title="Added by what this node saw in real laps">
      {text}
    </small>
  );
}

function Peer({ node, own }: { node: NodeView; own: boolean }) {
  const { figures } = node;
  return (
    <tr class={node.alive ? undefined : "gone"} data-testid="peer-row" data-node={node.id} data-delay-ms={figures.delay_ms ?? undefined} data-block-ms={figures.decode_block_ms ?? undefined}>
      <td title={node.id}>
        <code>{shortId(node.id)}</code>
        {own && <small> this one</small>}
      </td>
      <td>{node.blocks ? blocksText(node.blocks) : "–"}</td>
      <td class="num">{time(figures.decode_block_ms)}</td>
      <td class="num">
        {time(figures.visit_ms)} <Seen ms={figures.correction_ms} />
      </td>
      <td class="num">{time(figures.wait_ms)}</td>
      <td class="num">{time(figures.delay_ms)}</td>
      <td class="num">{figures.memory === null ? "–" : bytesText(figures.memory)}</td>
      <td class="num">{figures.sessions ?? "–"}</td>
      <td>{node.label}</td>
    </tr>
  );
}

export function Peers({ view }: { view: NetworkView }) {
  return (
    <section class="card" aria-labelledby="peers-title" data-testid="peers">
      <h2 id="peers-title">How fast, how far</h2>
      <p class="note">Measured by the nodes and corrected by what this one sees. The planner chooses by these numbers and by nothing else.</p>
      <Scroll label="Nodes">
        <table class="hops">
          <thead>
            <tr>
              <th scope="col">Node</th>
              <th scope="col">Blocks</th>
              <th scope="col" class="num" title="One block over the one token of a lap">One block</th>
              <th scope="col" class="num" title="What a visit takes beside its blocks">A visit</th>
              <th scope="col" class="num" title="Until others' work lets it begin">Wait</th>
              <th scope="col" class="num" title="One way: half of the round trip">Way there</th>
              <th scope="col" class="num">Room for sessions</th>
              <th scope="col" class="num">Sessions</th>
              <th scope="col">Label</th>
            </tr>
          </thead>
          <tbody>
            {view.nodes.map((node) => (
              <Peer key={node.id} node={node} own={node.id === view.gateway} />
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}
