// One turn of a conversation, and under an answer how it came about.

import { useMemo } from "preact/hooks";
import { blocksText, msText, plural, shortId } from "../lib/route";
import type { Trouble } from "../lib/errors";
import type { Hop, Recovery, Summary } from "../lib/types";
import type { Mode, Turn } from "../store/chats";
import { CopyButton } from "../ui/copy";
import { AgainIcon, BoltIcon } from "../ui/icons";
import { inline, Plain, Rich } from "../ui/rich";

/** Tokens per second after the first, which is what one feels while reading. */
export function rateOf(summary: Summary): number | null {
  const rest = summary.total_ms - summary.first_token_ms;
  return summary.completion_tokens > 1 && rest > 0 ? ((summary.completion_tokens - 1) * 1000) / rest : null;
}

/** What happened, in one sentence. */
export function recoveryText(recovery: Recovery): string {
  const lost = recovery.lost.length;
  const who = lost === 1 ? `A node (${shortId(recovery.lost[0] as string)}) was` : lost === 0 ? "The route was" : `${lost} nodes were`;
  return `${who} lost at token ${recovery.at_token}; the answer went on after ${msText(recovery.stall_ms)}.`;
}

export function RouteText({ hops }: { hops: Hop[] }) {
  return (
    <span class="route-text" data-testid="explain-route">
      {hops.map((hop, index) => (
        <>
          {index > 0 && <span class="arrow"> → </span>}
          <span title={`${hop.node}: blocks ${hop.blocks[0]} to ${hop.blocks[1] - 1}`}>
            {shortId(hop.node)}
            {blocksText(hop.blocks)}
          </span>
        </>
      ))}
    </span>
  );
}

function Explain({ turn }: { turn: Turn }) {
  const { summary, state } = turn;
  const hops = summary?.hops ?? turn.route;
  const rate = summary ? rateOf(summary) : null;
  return (
    <div class="explain" data-testid="explain">
      {state === "writing" && !turn.broken && <span class="writing">{turn.text === "" ? "reading your text" : "writing"}</span>}
      {state === "stopped" && <span>stopped</span>}
      {summary && (
        <>
          <span data-testid="explain-tokens">{plural(summary.completion_tokens, "token")}</span>
          {rate !== null && <span data-testid="explain-rate">{rate.toFixed(rate < 10 ? 1 : 0)} tokens/s</span>}
          <span>first after {msText(summary.first_token_ms)}</span>
          {summary.finish === "length" && <span>ended by the longest answer allowed</span>}
        </>
      )}
      {hops && hops.length > 0 && <RouteText hops={hops} />}
      {summary?.recoveries.map((recovery) => (
        <span class="recovery" data-testid="explain-recovery">
          <BoltIcon /> {recoveryText(recovery)}
        </span>
      ))}
    </div>
  );
}

export function TroubleView({ trouble, onRetry }: { trouble: Trouble; onRetry?: (() => void) | null }) {
  return (
    <div class="trouble" role="alert" data-testid="error">
      <p>{inline(trouble.message)}</p>
      {trouble.hint && <p class="hint">{inline(trouble.hint)}</p>}
      {onRetry && (
        <button type="button" class="quiet" onClick={onRetry}>
          <AgainIcon /> Try again
        </button>
      )}
    </div>
  );
}

/** A connection that broke is no failure yet: most come back by themselves. */
function Broken() {
  return (
    <p class="broken-off" role="status" data-testid="broken">
      <BoltIcon />
      <span>The connection broke. The answer is taken up again as soon as Skep is back; this page tries for half a minute.</span>
    </p>
  );
}

interface Props {
  turn: Turn;
  mode: Mode;
  /** Asks again; only the last answer can be. */
  onRetry: (() => void) | null;
}

function Answer({ turn, mode, onRetry }: Props) {
  const waiting = turn.state === "writing" && turn.text === "" && !turn.broken;
  return (
    <article class={`answer ${turn.state ?? "done"}`} aria-label="Answer" data-testid="message-assistant" data-state={turn.state ?? "done"}>
      {waiting && (
        <p class="waiting" aria-label="The answer is being prepared">
          <i />
          <i />
          <i />
        </p>
      )}
      <div class="answer-text" data-testid="answer-text">
        {mode === "chat" ? <Rich text={turn.text} /> : <Plain text={turn.text} />}
      </div>
      {turn.state === "writing" && turn.broken && <Broken />}
      {turn.trouble && <TroubleView trouble={turn.trouble} onRetry={onRetry} />}
      <div class="under">
        <Explain turn={turn} />
        {turn.state !== "writing" && turn.text !== "" && (
          <span class="tools">
            <CopyButton text={turn.text} what="the answer" />
            {onRetry && (
              <button type="button" class="quiet" aria-label="Answer again" title="Answer again" onClick={onRetry} data-testid="retry">
                <AgainIcon />
              </button>
            )}
          </span>
        )}
      </div>
    </article>
  );
}

export function MessageView({ turn, mode, onRetry }: Props) {
  const canRetry = onRetry !== null;
  // Turns are replaced, never changed: a turn that is the same is drawn the same, and left alone.
  return useMemo(() => {
    if (turn.role === "assistant") return <Answer turn={turn} mode={mode} onRetry={onRetry} />;
    return (
      <article class="question" aria-label={mode === "chat" ? "Your message" : "Your text"} data-testid="message-user">
        <Plain text={turn.text} />
      </article>
    );
  }, [turn, mode, canRetry]);
}
