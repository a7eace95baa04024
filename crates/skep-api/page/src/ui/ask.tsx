// A button that asks once more before it acts, and keeps the keyboard where it was.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Trouble } from "../lib/errors";
import { inline } from "./rich";

interface Props {
  label: string;
  /** What it is done to, for whoever does not see where the button stands. */
  of: string;
  /** What will happen. */
  question: string;
  yes: string;
  no: string;
  testid: string;
  icon?: ComponentChildren;
  /** Gives what went wrong. */
  act: () => Promise<Trouble | null>;
}

export function AskButton({ label, of, question, yes, no, testid, icon, act }: Props) {
  const [state, setState] = useState<"idle" | "asking" | "acting" | Trouble>("idle");
  const confirm = useRef<HTMLButtonElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (state === "asking") confirm.current?.focus();
  }, [state]);
  const close = () => {
    setState("idle");
    opener.current?.focus();
  };
  const go = async () => {
    setState("acting");
    setState((await act()) ?? "idle");
  };
  const trouble = typeof state === "object" ? state : null;
  return (
    <span class="ask">
      <button type="button" class="quiet edge" ref={opener} aria-label={`${label} ${of}`} aria-expanded={state !== "idle"} onClick={() => setState(state === "idle" ? "asking" : "idle")} data-testid={testid}>
        {icon}
        <span>{label}</span>
      </button>
      {state !== "idle" && (
        <div class="ask-box" role="dialog" aria-label={`${label} ${of}?`} onKeyDown={(event) => event.key === "Escape" && close()}>
          <p role={trouble ? "alert" : undefined}>{trouble ? inline(trouble.message) : question}</p>
          {trouble?.hint && <p class="hint">{inline(trouble.hint)}</p>}
          <div class="plug-buttons">
            {!trouble && (
              <button type="button" class="danger" ref={confirm} disabled={state === "acting"} onClick={() => void go()} data-testid={`${testid}-confirm`}>
                {yes}
              </button>
            )}
            <button type="button" class="quiet" onClick={close} data-testid={`${testid}-cancel`}>
              {trouble ? "Close" : no}
            </button>
          </div>
        </div>
      )}
    </span>
  );
}
