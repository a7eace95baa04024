// Activity: the answers that were asked for here, what was done for others, and what changed in the network.

import { useEffect, useMemo } from "preact/hooks";
import { priceOf, whenText, type Activity, type Happening, type Listed, type Reading } from "../lib/activity";
import { memoryText, spanText, workText, type MachineView } from "../lib/machine";
import type { Point } from "../lib/plot";
import { blocksText, bytesText, countText, msText, plural, shortId } from "../lib/route";
import type { HopTiming } from "../lib/types";
import { activity, answersOf } from "../store/activity";
import type { Desk } from "../store/desk";
import { hasMachine, lookClosely, machine } from "../store/machine";
import { network } from "../store/network";
import { useStore } from "../store/store";
import { BarPlot, LinePlot } from "../ui/plot";
import { Scroll } from "../ui/scroll";
import { Day } from "./day";
import { rateOf } from "./message";

/** Bars for so many answers at least, so that the first is not a wall. */
const BARS = 20;

const rateText = (rate: number): string => `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`;
const perSecond = (bytes: number): string => `${bytesText(Math.round(bytes))}/s`;

function Way({ hops, gateway }: { hops: HopTiming[]; gateway: string | null }) {
  return (
    <span class="way-text">
      {hops.map((hop, index) => (
        <>
          {index > 0 && <span class="arrow"> → </span>}
          <span class="way-hop" title={`${hop.node}: blocks ${hop.blocks[0]} to ${hop.blocks[1] - 1}`}>
            {hop.node === gateway ? "this machine" : shortId(hop.node)}
            {blocksText(hop.blocks)} {hop.frames > 0 && <b>{msText(hop.hold_ms / hop.frames)}</b>}
          </span>
        </>
      ))}
    </span>
  );
}

function Row({ desk, answer, gateway, now, priced }: { desk: Desk; answer: Listed; gateway: string | null; now: number; priced: boolean }) {
  const { at, summary, chat } = answer;
  const rate = rateOf(summary);
  const price = priceOf(summary);
  return (
    <tr data-testid="answer-row" data-tokens={summary.completion_tokens} data-from={chat ? "here" : "elsewhere"}>
      <td class="when">{at === null ? "earlier" : whenText(at, now)}</td>
      <td>
        {chat ? (
          <a href="#/chat" onClick={() => desk.open(chat.id, chat.place)}>
            {chat.title}
          </a>
        ) : (
          <span class="note">not in a chat here</span>
        )}
      </td>
      <td class="num" data-label="tokens">
        {countText(summary.prompt_tokens)} + {countText(summary.completion_tokens)}
      </td>
      <td class="num">{rate === null ? "–" : rateText(rate)}</td>
      <td class="num" data-label="first after">{msText(summary.first_token_ms)}</td>
      <td>
        <Way hops={summary.hops} gateway={gateway} />
        {summary.recoveries.length > 0 && <small class="note"> with {plural(summary.recoveries.length, "change")} of route</small>}
      </td>
      {priced && <td class="num" data-label="price">{price === null ? "–" : countText(price)}</td>}
    </tr>
  );
}

function Answers({ desk, answers, gateway, now }: { desk: Desk; answers: Listed[]; gateway: string | null; now: number }) {
  const priced = answers.some(({ summary }) => (priceOf(summary) ?? 0) > 0);
  const inTime = [...answers].reverse();
  return (
    <section class="card" aria-labelledby="answers-title" data-testid="answers">
      <h2 id="answers-title">The last answers</h2>
      {answers.length === 0 ? (
        <p class="note">
          None yet. <a href="#/chat">Ask something</a>, and it appears here.
        </p>
      ) : (
        <>
          <div class="plots">
            <BarPlot name="Speed" values={inTime.map(({ summary }) => rateOf(summary))} room={BARS} say={rateText} />
            <BarPlot name="First token after" values={inTime.map(({ summary }) => summary.first_token_ms)} room={BARS} say={msText} />
          </div>
          <Scroll label="The last answers">
            <table class="answers">
              <thead>
                <tr>
                  <th scope="col">When</th>
                  <th scope="col">Asked in</th>
                  <th scope="col" class="num">Tokens read + written</th>
                  <th scope="col" class="num">Speed</th>
                  <th scope="col" class="num">First after</th>
                  <th scope="col">Route, with the time of each node per frame</th>
                  {priced && (
                    <th scope="col" class="num" title="As the planner expected it, in the smallest unit of money">
                      Price
                    </th>
                  )}
                </tr>
              </thead>
              <tbody>
                {answers.map((answer, index) => (
                  <Row key={index} desk={desk} answer={answer} gateway={gateway} now={now} priced={priced} />
                ))}
              </tbody>
            </table>
          </Scroll>
          <p class="note">
            From the chats of this browser, and from what this page saw while it was open: of answers that followed each other within a second it may have missed
            some, and those that were stopped are not in it.
          </p>
        </>
      )}
    </section>
  );
}

const pointsOf = (readings: Reading[], take: (reading: Reading) => number | null): Point[] =>
  readings.flatMap((reading) => {
    const value = take(reading);
    return value === null ? [] : [{ at: reading.at, value }];
  });

interface Line {
  name: string;
  take(reading: Reading): number | null;
  say(value: number): string;
  whole?: number;
  steps?: boolean;
}

function Lines({ readings, lines, now }: { readings: Reading[]; lines: Line[]; now: number }) {
  const from = readings[0]?.at;
  if (from === undefined) return null;
  const to = readings.at(-1)?.at ?? from;
  return (
    <>
      <div class="plots">
        {lines.map(({ name, take, say, whole, steps }) => (
          <LinePlot key={name} name={name} points={pointsOf(readings, take)} from={from} to={to} say={say} whole={whole} steps={steps} />
        ))}
      </div>
      <p class="note">Drawn from {whenText(from, now)} until now.</p>
    </>
  );
}

const OF_MACHINE: Line[] = [
  { name: "Answers for others", take: (reading) => reading.work, say: countText, steps: true },
  { name: "Processors", take: (reading) => reading.cpu, say: (value) => `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} %`, whole: 100 },
  { name: "Upload", take: (reading) => reading.upload, say: perSecond },
  { name: "Download", take: (reading) => reading.download, say: perSecond },
];

const OF_NETWORK: Line[] = [
  { name: "Nodes alive", take: (reading) => reading.nodes, say: countText, steps: true },
  { name: "Answers under way here", take: (reading) => reading.active, say: countText, steps: true },
];

function ForOthers({ view, readings, now }: { view: MachineView; readings: Reading[]; now: number }) {
  const { use } = view;
  return (
    <section class="card" aria-labelledby="others-title" data-testid="for-others">
      <h2 id="others-title">What was done for others</h2>
      <p>{view.state === "paused" ? "Lending is paused now, so nobody else is served." : workText(view)}</p>
      <dl class="facts">
        <div class="fact">
          <dt>sent and received today</dt>
          <dd>{memoryText(use.transferred_today_bytes)}</dd>
        </div>
        <div class="fact">
          <dt>weights in memory</dt>
          <dd>{memoryText(use.weights_bytes)}</dd>
        </div>
        {view.blocks && (
          <div class="fact">
            <dt>blocks{view.model ? ` of ${view.model}` : ""}</dt>
            <dd>{blocksText(view.blocks)}</dd>
          </div>
        )}
      </dl>
      <Lines readings={readings} lines={OF_MACHINE} now={now} />
    </section>
  );
}

const SIGNS: Record<Happening["kind"], string> = { joined: "+", left: "−", moved: "↔", route: "→", lost: "!", silent: "!", back: "✓" };

function Happenings({ seen, now }: { seen: Activity; now: number }) {
  const { events, readings } = seen;
  return (
    <section class="card" aria-labelledby="events-title" data-testid="happenings">
      <h2 id="events-title">What changed in the network</h2>
      <Lines readings={readings} lines={OF_NETWORK} now={now} />
      {events.length === 0 ? (
        <p class="note">Nobody joined or left, and no route changed, since this page was opened.</p>
      ) : (
        <ol class="events" tabIndex={0} aria-label="What changed in the network, the latest first">
          {events.map(({ at, kind, text }) => (
            <li data-testid="happening" data-kind={kind}>
              <span class="when">{whenText(at, now)}</span>
              <i class={`sign is-${kind}`} aria-hidden="true">
                {SIGNS[kind]}
              </i>
              <span>{text}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

export function ActivityPage({ desk }: { desk: Desk }) {
  const seen = useStore(activity);
  const { history } = useStore(desk.state);
  const { view } = useStore(network);
  const { view: own } = useStore(machine);
  const has = useStore(hasMachine);
  useEffect(lookClosely, []);
  const answers = useMemo(() => answersOf(seen, history), [seen.answers, history]);
  const now = Date.now();
  return (
    <main class="page" data-testid="activity">
      <div class="activity-head">
        <h1>Activity</h1>
        <p class="lead">
          Seen by this page for {spanText(now - seen.since)}. It notes things down while it is open, and while it can be seen; the last 24 hours are the machine's own
          record.
        </p>
      </div>
      <Answers desk={desk} answers={answers} gateway={view?.gateway ?? null} now={now} />
      {has && own && <ForOthers view={own} readings={seen.readings} now={now} />}
      {has && own && <Day timeline={own.timeline} now={now} />}
      <Happenings seen={seen} now={now} />
    </main>
  );
}
