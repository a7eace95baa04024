// A button that puts a text on the clipboard and says so.

import { useEffect, useRef, useState } from "preact/hooks";
import { CheckIcon, CopyIcon } from "./icons";

/** Pages served over plain HTTP from another machine have no clipboard interface; the old way works there. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "offscreen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function CopyButton({ text, what, label }: { text: string; what: string; label?: string }) {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const onClick = async () => {
    setState((await copy(text)) ? "copied" : "failed");
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setState("idle"), 1600);
  };
  const said = state === "copied" ? "Copied" : state === "failed" ? "Not allowed here" : label;
  return (
    <button type="button" class="quiet" onClick={onClick} aria-label={`Copy ${what}`} title={`Copy ${what}`} data-testid="copy">
      {state === "copied" ? <CheckIcon /> : <CopyIcon />}
      {said && <span aria-live="polite">{said}</span>}
    </button>
  );
}
