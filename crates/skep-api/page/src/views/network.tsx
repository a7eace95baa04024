// The network: who holds what, the way of the last answer with its times, the model.

import { copies } from "../lib/picture";
import { blocksText, bytesText, countText, msText, plural, shortId } from "../lib/route";
import type { HopTiming, ModelCard, NetworkView, Summary } from "../lib/types";
import { network } from "../store/network";
import { useStore } from "../store/store";
import { CopyButton } from "../ui/copy";
import { BoltIcon } from "../ui/icons";
import { Scroll } from "../ui/scroll";
import { LivePicture } from "./live";
import { rateOf, recoveryText, TroubleView } from "./message";
import { Peers } from "./peers";
import { WhyView } from "./why";

function Fact({ name, value, testid }: { name: string; value: string; testid?: string }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd data-testid={testid}>{value}</dd>
    </div>
  );
}

const perFrame = (hop: HopTiming): number => (hop.frames > 0 ? hop.hold_ms / hop.frames : 0);

/** One lap of the chain as a bar: the share of each stage, and what is left for the ways between them. */
function LapBar({ answer }: { answer: Summary }) {
  const stages = answer.hops.map((hop) => ({ name: shortId(hop.node), ms: perFrame(hop) }));
  const held = stages.reduce((sum, stage) => sum + stage.ms, 0);
  const lap = Math.max(answer.lap_ms ?? held, held);
  if (lap <= 0) return null;
  const rest = lap - held;
  return (
    <figure class="lap">
      <figcaption>Where the time of one token goes</figcaption>
      <div class="lap-bar" role="img" aria-label={stages.map((stage) => `${stage.name}: ${msText(stage.ms)}`).join(", ")}>
        {stages.map((stage) => (
          <span class="lap-stage" style={{ flexGrow: stage.ms / lap }} title={`${stage.name}: ${msText(stage.ms)}`}>
            <i>{stage.ms / lap > 0.13 ? msText(stage.ms) : ""}</i>
          </span>
        ))}
        {rest > 0 && (
          <span class="lap-rest" style={{ flexGrow: rest / lap }} title={`between the stages and in the gateway: ${msText(rest)}`}>
            <i>{rest / lap > 0.25 ? `${msText(rest)} between` : ""}</i>
          </span>
        )}
      </div>
    </figure>
  );
}

function HopTable({ hops }: { hops: HopTiming[] }) {
  return (
    <Scroll label="Stages">
      <table class="hops">
        <thead>
          <tr>
            <th scope="col">Stage</th>
            <th scope="col">Node</th>
            <th scope="col">Blocks</th>
            <th scope="col" class="num">Frames</th>
            <th scope="col" class="num">Per frame</th>
            <th scope="col" class="num">In all</th>
            <th scope="col" class="num">Round trip to the next</th>
          </tr>
        </thead>
        <tbody>
          {hops.map((hop, index) => (
            <tr data-testid="hop-row" data-node={hop.node} data-blocks={`${hop.blocks[0]}..${hop.blocks[1]}`} data-hold-ms={hop.hold_ms} data-rtt-ms={hop.rtt_ms ?? undefined}>
              <td>{index + 1}</td>
              <td title={hop.node}>
                <code>{shortId(hop.node)}</code>
              </td>
              <td>{blocksText(hop.blocks)}</td>
              <td class="num">{countText(hop.frames)}</td>
              <td class="num">{hop.frames > 0 ? msText(perFrame(hop)) : "–"}</td>
              <td class="num">{msText(hop.hold_ms)}</td>
              <td class="num">{hop.rtt_ms === null ? "–" : msText(hop.rtt_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

/** How an interruption was overcome. */
const HOW: Record<string, string> = {
  standby: "A standby that had followed along took its place.",
  replay: "The stage before it sent its rows again.",
  prefill: "The text so far was read again on another route.",
};

function LastAnswer({ answer }: { answer: Summary }) {
  const rate = rateOf(answer);
  return (
    <section class="card" aria-labelledby="answer-title" data-testid="last-answer">
      <h2 id="answer-title">The last answer</h2>
      <dl class="facts">
        <Fact name="tokens" value={countText(answer.completion_tokens)} />
        <Fact name="tokens/s" value={rate === null ? "–" : rate.toFixed(rate < 10 ? 1 : 0)} />
        <Fact name="first token after" value={msText(answer.first_token_ms)} />
        <Fact name="one lap of the chain" value={answer.lap_ms === null ? "–" : msText(answer.lap_ms)} testid="lap-time" />
        <Fact name="in all" value={msText(answer.total_ms)} />
      </dl>
      {answer.recoveries.map((recovery) => (
        <p class="recovery-line" data-testid="recovery" data-token={recovery.at_token} data-rung={recovery.rung}>
          <BoltIcon />
          <span>
            {recoveryText(recovery)}{" "}
            {HOW[recovery.rung]}
          </span>
        </p>
      ))}
      <LapBar answer={answer} />
      <HopTable hops={answer.hops} />
      {answer.why && <WhyView why={answer.why} measured={answer.lap_ms} />}
    </section>
  );
}

function Model({ model, view }: { model: ModelCard; view: NetworkView }) {
  const counts = copies(view.nodes, model.blocks);
  const fewest = counts.length > 0 ? Math.min(...counts) : 0;
  return (
    <section class="card" aria-labelledby="model-title" data-testid="model-card">
      <h2 id="model-title">{model.name || "The model"}</h2>
      <dl class="facts">
        <Fact name="blocks" value={countText(model.blocks)} />
        <Fact name="context" value={plural(model.context, "token")} />
        <Fact name="vocabulary" value={countText(model.vocab)} />
        <Fact name="file" value={bytesText(model.bytes)} />
        <Fact name="copies of every block" value={fewest === 0 ? "not all held" : `at least ${fewest}`} />
      </dl>
      <p class="id-line">
        <span>BLAKE3 root of its file, and its id</span>
        <code>{model.id}</code>
        <CopyButton text={model.id} what="the model's id" />
      </p>
    </section>
  );
}

/** What the network can bear now, in one sentence. */
function standing(view: NetworkView): string {
  const counts = copies(view.nodes, view.model.blocks);
  const fewest = counts.length > 0 ? Math.min(...counts) : 0;
  const alive = plural(view.nodes.filter((node) => node.alive).length, "node");
  if (fewest === 0) return `${alive} alive, and block ${counts.indexOf(0)} is held by none: no answer is possible until it is held again.`;
  if (fewest === 1) return `${alive} alive. Block ${counts.indexOf(1)} has a single holder: if that one goes, answers stop.`;
  return `${alive} alive. Every block is held ${fewest === 2 ? "twice" : `${fewest} times`} or more, so any ${fewest === 2 ? "one" : fewest - 1} may go.`;
}

function Legend() {
  return (
    <ul class="legend" aria-label="Signs">
      <li>
        <i class="lit" /> on the way of the answer
      </li>
      <li>
        <i class="held" /> held, ready to take over
      </li>
      <li>
        <i class="dead" /> gone
      </li>
    </ul>
  );
}

export function NetworkPage() {
  const { view, trouble } = useStore(network);
  return (
    <main class="page" data-testid="network">
      {trouble && <TroubleView trouble={trouble} />}
      {!view && !trouble && <p class="note">Looking at the network…</p>}
      {view && (
        <>
          <section class="card" aria-labelledby="network-title">
            <div class="card-head">
              <h1 id="network-title">Who holds what</h1>
              <Legend />
            </div>
            <p class="lead" data-testid="standing">
              {standing(view)}
            </p>
            <LivePicture view={view} />
          </section>
          {view.last_answer ? (
            <LastAnswer answer={view.last_answer} />
          ) : (
            <section class="card">
              <p class="note">
                No answer yet. <a href="#/chat">Ask something</a>, and its way through the network appears here.
              </p>
            </section>
          )}
          <Peers view={view} />
          <Model model={view.model} view={view} />
        </>
      )}
    </main>
  );
}
