// The chat: history on the left, the conversation, and on wide screens the network beside it.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Chat, Mode } from "../store/chats";
import type { Desk, DeskState } from "../store/desk";
import { network } from "../store/network";
import { useStore } from "../store/store";
import { CloseIcon, Mark, PlusIcon } from "../ui/icons";
import { ChatBar } from "./chat-bar";
import { Composer } from "./composer";
import { History } from "./history";
import { LivePicture } from "./live";
import { Turns } from "./message";
import { Removed } from "./removed";
import { SettingsDrawer } from "./settings";

const IDEAS: Record<Mode, { lead: string; ideas: string[] }> = {
  chat: {
    lead: "No single machine here holds the model that answers. Ask it something.",
    ideas: ["What news from the king?", "Tell me a story about a bee.", "Speak to me of love and of the sea."],
  },
  text: {
    lead: "Begin a text, and the model goes on with it, word for word from where you stopped.",
    ideas: ["ROMEO:\nBut soft, what light", "Once upon a time, there was a little bee", "First Citizen:\n"],
  },
};

function Welcome({ mode, onIdea }: { mode: Mode; onIdea(text: string): void }) {
  const { lead, ideas } = IDEAS[mode];
  return (
    <div class="welcome">
      <Mark size={76} />
      <h1>{mode === "chat" ? "Ask the swarm" : "Continue a text"}</h1>
      <p>{lead}</p>
      <div class="ideas">
        {ideas.map((idea) => (
          <button type="button" class="idea" onClick={() => onIdea(idea)}>
            {idea}
          </button>
        ))}
      </div>
    </div>
  );
}

/** Keeps the end of the conversation in sight, unless its reader has scrolled away from it. */
export function useFollow(chat: Chat) {
  const box = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  useEffect(() => {
    follows.current = true;
  }, [chat.id, chat.turns.length]);
  useLayoutEffect(() => {
    if (follows.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [chat]);
  const onScroll = () => {
    const at = box.current;
    if (at) follows.current = at.scrollHeight - at.scrollTop - at.clientHeight < 60;
  };
  return { box, onScroll };
}

function Conversation({ desk, state, onSettings }: { desk: Desk; state: DeskState; onSettings(): void }) {
  const { chat, writing } = state;
  const { box, onScroll } = useFollow(chat);
  const [draft, setDraft] = useState("");
  return (
    <>
      <div
        class={`messages in-${chat.mode}`}
        role="log"
        aria-label="Conversation"
        aria-live="polite"
        aria-busy={writing}
        ref={box}
        onScroll={onScroll}
        tabIndex={0}
        data-testid="messages"
      >
        <div class="column">
          {chat.turns.length === 0 && <Welcome mode={chat.mode} onIdea={setDraft} />}
          <Turns desk={desk} chat={chat} writing={writing} />
          {state.unkept && <p class="note">This chat is too long for the browser to keep: it ends with this page.</p>}
        </div>
      </div>
      <Composer desk={desk} state={state} draft={draft} setDraft={setDraft} onSettings={onSettings} />
    </>
  );
}

function Side() {
  const { view } = useStore(network);
  if (!view) return <aside class="side" aria-hidden="true" />;
  return (
    <aside class="side" aria-label="The network now">
      <h2>
        The network <a href="#/network">look closer</a>
      </h2>
      <LivePicture compact view={view} />
      {view.can_unplug && (
        <p class="side-note">While text streams, pull a plug: another node takes over and the text goes on, the same to the last byte.</p>
      )}
    </aside>
  );
}

export function ChatView({ desk }: { desk: Desk }) {
  const state = useStore(desk.state);
  const [drawer, setDrawer] = useState<"history" | "settings" | null>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => event.key === "Escape" && setDrawer(null);
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  const close = () => setDrawer(null);
  const closeSettings = () => {
    close();
    document.getElementById("prompt")?.focus();
  };
  return (
    <main class="chat">
      <aside class={`history ${drawer === "history" ? "open" : ""}`} aria-label="Chats kept in this browser">
        <div class="history-head">
          <button
            type="button"
            class="new-chat"
            onClick={() => {
              desk.newChat();
              close();
              document.getElementById("prompt")?.focus();
            }}
            data-testid="new-chat"
          >
            <PlusIcon /> New chat
          </button>
          <button type="button" class="round only-narrow" aria-label="Close the list of chats" onClick={close}>
            <CloseIcon />
          </button>
        </div>
        <History desk={desk} state={state} onPick={close} />
      </aside>
      {drawer === "history" && <div class="veil" onClick={close} />}
      <section class="conversation" aria-label="Chat">
        <ChatBar desk={desk} state={state} onHistory={() => setDrawer("history")} />
        <Conversation desk={desk} state={state} onSettings={() => setDrawer(drawer === "settings" ? null : "settings")} />
        <SettingsDrawer open={drawer === "settings"} settings={state.settings} onChange={(next) => desk.setSettings(next)} onClose={closeSettings} />
      </section>
      <Side />
      <Removed desk={desk} state={state} />
    </main>
  );
}
