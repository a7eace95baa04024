// Pulling the plug: kills the process of one node of the demo, after asking once.

import { useEffect, useRef, useState } from "preact/hooks";
import { SkepError, unplug } from "../lib/client";
import type { Trouble } from "../lib/errors";
import { shortId } from "../lib/route";
import type { NodeView } from "../lib/types";
import { lookNow } from "../store/network";
import { CopyButton } from "../ui/copy";
import { PlugIcon } from "../ui/icons";
import { inline } from "../ui/rich";

export function PlugButton({ node, compact }: { node: NodeView; compact: boolean }) {
  const [state, setState] = useState<"idle" | "asking" | "pulling" | Trouble>("idle");
  const confirm = useRef<HTMLButtonElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (state === "asking") confirm.current?.focus();
  }, [state]);
  const close = () => {
    setState("idle");
    opener.current?.focus();
  };
  const pull = async () => {
    setState("pulling");
    try {
      await unplug(node.id);
      await lookNow();
      setState("idle");
    } catch (error) {
      setState(error instanceof SkepError ? error.trouble : { message: "The plug could not be pulled.", hint: null });
    }
  };
  const name = shortId(node.id);
  return (
    <span class="plug">
      <button
        type="button"
        class={compact ? "round small" : "quiet edge"}
        ref={opener}
        aria-label={`Pull the plug of node ${name}`}
        title="Pull the plug"
        aria-expanded={state !== "idle"}
        onClick={() => setState(state === "idle" ? "asking" : "idle")}
        data-testid="unplug"
        data-node={node.id}
      >
        <PlugIcon />
        {!compact && <span>Pull the plug</span>}
      </button>
      {state !== "idle" && (
        <div class="plug-ask" role="dialog" aria-label={`Pull the plug of node ${name}?`} onKeyDown={(event) => event.key === "Escape" && close()}>
          {typeof state === "object" ? (
            <>
              <p role="alert">{inline(state.message)}</p>
              {state.hint && <p class="hint">{inline(state.hint)}</p>}
            </>
          ) : (
            <p>
              The process of <b>{name}</b> is killed at once, as if its power were cut. Answers under way go on elsewhere.
            </p>
          )}
          <div class="plug-buttons">
            <button type="button" class="danger" ref={confirm} disabled={state === "pulling"} onClick={() => void pull()} data-testid="unplug-confirm" data-node={node.id}>
              Pull it
            </button>
            <button type="button" class="quiet" onClick={close} data-testid="unplug-cancel">
              Keep it
            </button>
          </div>
          {node.pid !== null && (
            <p class="plug-kill">
              or in a terminal <code data-testid="kill-text">kill -9 {node.pid}</code>
              <CopyButton text={`kill -9 ${node.pid}`} what="the command" />
            </p>
          )}
        </div>
      )}
    </span>
  );
}
