// One turn of a conversation, and under an answer how it came about.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { blocksText, msText, plural, shortId } from "../lib/route";
import type { Trouble } from "../lib/errors";
import type { Hop, Recovery, Summary } from "../lib/types";
import { pathOf, versionsOf } from "../store/branches";
import type { Chat, Mode, Turn } from "../store/chats";
import type { Desk } from "../store/desk";
import { CopyButton } from "../ui/copy";
import { AgainIcon, BoltIcon, PencilIcon } from "../ui/icons";
import { inline, Plain, Rich } from "../ui/rich";
import { Versions } from "../ui/versions";

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
  /** Its place among all turns of the chat, and those of its versions, itself among them. */
  at: number;
  versions: number[];
  mode: Mode;
  desk: Desk;
  /** Whether it ends the conversation. */
  last: boolean;
  /** Whether no answer is under way, so that something else can be asked for. */
  idle: boolean;
}

function Answer({ turn, at, versions, mode, desk, last, idle }: Props) {
  const waiting = turn.state === "writing" && turn.text === "" && !turn.broken;
  const again = () => void desk.retry(at);
  return (
    <article class={`answer ${turn.state ?? "done"}`} aria-label="Answer" data-testid="message-assistant" data-state={turn.state ?? "done"}>
      {waiting && (
        <p class="waiting" aria-label="The answer is being prepared">
          <i />
          <i />
          <i />
        </p>
      )}
      {/* Versions may begin alike; the key keeps what is drawn of one from being taken for the beginning of another. */}
      <div key={at} class="answer-text" data-testid="answer-text">
        {mode === "chat" ? <Rich text={turn.text} /> : <Plain text={turn.text} />}
      </div>
      {turn.state === "writing" && turn.broken && <Broken />}
      {turn.trouble && <TroubleView trouble={turn.trouble} onRetry={last && idle ? again : null} />}
      <div class="under">
        <Explain turn={turn} />
        {turn.state !== "writing" && (turn.text !== "" || versions.length > 1) && (
          <span class="tools">
            <Versions versions={versions} at={at} what="this answer" onChoose={idle ? (other) => desk.choose(other) : null} />
            {turn.text !== "" && <CopyButton text={turn.text} what="the answer" />}
            {idle && turn.text !== "" && (
              <button type="button" class="quiet" aria-label="Answer again" title="Answer again; this answer is kept" onClick={again} data-testid="retry">
                <AgainIcon />
              </button>
            )}
          </span>
        )}
      </div>
    </article>
  );
}

/** The box in which a question is written anew. */
function Editor({ text, what, onSend, onCancel }: { text: string; what: string; onSend(text: string): void; onCancel(): void }) {
  const [draft, setDraft] = useState(text);
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    box.current?.focus();
    box.current?.setSelectionRange(text.length, text.length);
  }, []);
  const ready = draft.trim() !== "" && draft !== text;
  const send = () => ready && onSend(draft);
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={box}
        aria-label={what}
        rows={Math.min(12, draft.split("\n").length + 1)}
        value={draft}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onCancel();
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          send();
        }}
        data-testid="edit-text"
      />
      <span class="editor-bar">
        <button type="button" class="quiet edge" onClick={onCancel} data-testid="edit-cancel">
          Cancel
        </button>
        <button type="submit" class="quiet edge strong" aria-disabled={!ready} data-testid="edit-send">
          Send anew
        </button>
      </span>
    </form>
  );
}

function Question({ turn, at, versions, mode, desk, idle }: Props) {
  const [editing, setEditing] = useState(false);
  const pencil = useRef<HTMLButtonElement>(null);
  const what = mode === "chat" ? "Your message" : "Your text";
  const end = () => {
    setEditing(false);
    // The pencil is back with the next picture; the keyboard goes on where it was.
    requestAnimationFrame(() => pencil.current?.focus());
  };
  if (editing && idle) {
    const send = (text: string) => {
      end();
      void desk.edit(at, text);
    };
    return (
      <article class="question editing" aria-label={what} data-testid="message-user">
        <Editor text={turn.text} what={`${what}, written anew`} onSend={send} onCancel={end} />
      </article>
    );
  }
  return (
    <article class="question" aria-label={what} data-testid="message-user">
      <div class="question-text">
        <Plain key={at} text={turn.text} />
      </div>
      <span class="tools">
        <Versions versions={versions} at={at} what={mode === "chat" ? "your message" : "your text"} onChoose={idle ? (other) => desk.choose(other) : null} />
        <button
          ref={pencil}
          type="button"
          class="quiet on-hover"
          aria-label={`Edit ${mode === "chat" ? "your message" : "your text"}`}
          title="Write it anew; what followed is kept"
          aria-disabled={!idle}
          onClick={() => idle && setEditing(true)}
          data-testid="edit"
        >
          <PencilIcon />
        </button>
      </span>
    </article>
  );
}

export function MessageView(props: Props) {
  const { turn, at, versions, mode, desk, last, idle } = props;
  // Turns are replaced, never changed: a turn that is the same is drawn the same, and left alone.
  return useMemo(
    () => (turn.role === "assistant" ? <Answer {...props} /> : <Question {...props} />),
    [turn, at, versions.join(), mode, desk, last, idle],
  );
}

/** The open conversation of a chat. A turn is known by how far down it stands, so that the keyboard stays on its arrows from version to version. */
export function Turns({ desk, chat, writing }: { desk: Desk; chat: Chat; writing: boolean }) {
  const path = pathOf(chat);
  const versions = useMemo(() => versionsOf(chat.turns), [chat.turns.length, chat.id]);
  return (
    <>
      {path.map((at, depth) => (
        <MessageView
          key={`${chat.id}/${depth}`}
          turn={chat.turns[at] as Turn}
          at={at}
          versions={versions[at] ?? [at]}
          mode={chat.mode}
          desk={desk}
          last={depth === path.length - 1}
          idle={!writing}
        />
      ))}
    </>
  );
}
