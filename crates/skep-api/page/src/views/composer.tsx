// Where one writes: the box, its mode, send and stop.

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Mode } from "../store/chats";
import type { Desk, DeskState } from "../store/desk";
import { SendIcon, SlidersIcon, StopIcon } from "../ui/icons";

const MODES: { mode: Mode; label: string; help: string }[] = [
  { mode: "chat", label: "Chat", help: "A conversation, by the model's own chat template" },
  { mode: "text", label: "Continue a text", help: "The model goes on with your text, exactly from where it ends" },
];

interface Props {
  desk: Desk;
  state: DeskState;
  draft: string;
  setDraft(text: string): void;
  onSettings(): void;
}

function ModeSwitch({ desk, mode }: { desk: Desk; mode: Mode }) {
  return (
    <div class="modes" role="radiogroup" aria-label="What the model does with your text">
      {MODES.map((choice) => (
        <label class={choice.mode === mode ? "on" : undefined} title={choice.help}>
          <input
            type="radio"
            name="mode"
            checked={choice.mode === mode}
            onChange={() => desk.setMode(choice.mode)}
            data-testid={`mode-${choice.mode}`}
          />
          {choice.label}
        </label>
      ))}
    </div>
  );
}

/** The box grows with its text, up to a bound that the style sets. */
function useGrowingBox(draft: string) {
  const box = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const area = box.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [draft]);
  return box;
}

export function Composer({ desk, state, draft, setDraft, onSettings }: Props) {
  const { chat, writing } = state;
  const box = useGrowingBox(draft);
  const finePointer = matchMedia("(pointer: fine)").matches;
  useEffect(() => {
    // On a touch screen the focus would open the keyboard over the page; and who has just deleted a chat may want it back.
    if (finePointer && !document.activeElement?.closest(".removed")) box.current?.focus();
  }, [chat.id, draft === ""]);
  const goesOn = chat.mode === "text" && chat.turns.length > 0;
  const ready = !writing && (draft.trim() !== "" || goesOn);
  const send = () => {
    if (!ready) return;
    void desk.send(draft);
    setDraft("");
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // While an input method composes a character, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };
  const placeholder = chat.mode === "chat" ? "Ask something…" : goesOn ? "Write on, or send as it is to let it go on…" : "Begin a text…";
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-box">
        <label class="hidden" for="prompt">
          {chat.mode === "chat" ? "Your message" : "The text to continue"}
        </label>
        <textarea
          id="prompt"
          ref={box}
          rows={1}
          value={draft}
          placeholder={placeholder}
          onInput={(event) => setDraft(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          data-testid="prompt"
        />
        <div class="composer-bar">
          <ModeSwitch desk={desk} mode={chat.mode} />
          <span class="keys">Enter sends · Shift+Enter starts a line</span>
          <button type="button" class="round" aria-label="How it answers" title="How it answers" onClick={onSettings} data-testid="settings-open">
            <SlidersIcon />
          </button>
          {/* Keys keep the two apart: were one turned into the other, the click that stops would also send. */}
          {writing ? (
            <button key="stop" type="button" class="round main" aria-label="Stop" title="Stop" onClick={() => desk.stop()} data-testid="stop">
              <StopIcon />
            </button>
          ) : (
            <button key="send" type="submit" class="round main" aria-label="Send" title="Send" aria-disabled={!ready} data-testid="send">
              <SendIcon />
            </button>
          )}
        </div>
      </div>
    </form>
  );
}
