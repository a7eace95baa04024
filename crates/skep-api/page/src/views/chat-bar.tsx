// The line above a conversation: its name, and what can be done with the whole of it.

import { useEffect, useRef, useState } from "preact/hooks";
import { TITLE_MAX, titleOf } from "../store/chats";
import type { Desk, DeskState } from "../store/desk";
import { fileName, toJson, toMarkdown } from "../store/files";
import { HistoryIcon, MoreIcon, PlusIcon } from "../ui/icons";
import { saveFile } from "../ui/save";
import { removeChat } from "./removed";

/** A list of buttons that opens under another, and closes with Escape, with a choice, and with what is pressed elsewhere. */
function Menu({ items }: { items: { id: string; name: string; act(): void }[] }) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    box.current?.querySelector<HTMLElement>(".menu button")?.focus();
    const away = (event: Event) => !box.current?.contains(event.target as Node) && setOpen(false);
    addEventListener("pointerdown", away);
    addEventListener("focusin", away);
    return () => {
      removeEventListener("pointerdown", away);
      removeEventListener("focusin", away);
    };
  }, [open]);
  const close = () => {
    setOpen(false);
    opener.current?.focus();
  };
  return (
    <div class="menu-box" ref={box} onKeyDown={(event) => event.key === "Escape" && open && (event.stopPropagation(), close())}>
      <button ref={opener} type="button" class="round small" aria-label="This chat: rename, save, delete" title="Rename, save, delete" aria-expanded={open} onClick={() => setOpen(!open)} data-testid="chat-menu">
        <MoreIcon />
      </button>
      {open && (
        <ul class="menu">
          {items.map(({ id, name, act }) => (
            <li>
              <button
                type="button"
                onClick={() => {
                  close();
                  act();
                }}
                data-testid={id}
              >
                {name}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function NameField({ name, onEnd }: { name: string; onEnd(name: string | null): void }) {
  const input = useRef<HTMLInputElement>(null);
  const ended = useRef(false);
  useEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);
  const end = (kept: boolean) => {
    if (ended.current) return;
    ended.current = true;
    onEnd(kept ? (input.current?.value ?? null) : null);
  };
  return (
    <input
      ref={input}
      class="chat-name"
      aria-label="The name of this chat"
      defaultValue={name}
      maxLength={TITLE_MAX}
      onBlur={() => end(true)}
      onKeyDown={(event) => {
        if (event.key === "Escape") event.stopPropagation();
        if (event.key === "Escape") end(false);
        if (event.key === "Enter" && !event.isComposing) end(true);
      }}
      data-testid="chat-name"
    />
  );
}

function Named({ desk, state }: { desk: Desk; state: DeskState }) {
  const { chat } = state;
  const [naming, setNaming] = useState(false);
  useEffect(() => setNaming(false), [chat.id]);
  const title = titleOf(chat);
  const rename = (name: string | null) => {
    if (name !== null && name !== title) desk.rename(chat.id, name);
    setNaming(false);
  };
  const items = [
    { id: "rename", name: "Rename", act: () => setNaming(true) },
    { id: "save-markdown", name: "Save as Markdown", act: () => saveFile(fileName(title, Date.now(), "md"), toMarkdown(chat), "text/markdown") },
    { id: "save-json", name: "Save as JSON", act: () => saveFile(fileName(title, Date.now(), "json"), toJson([chat]), "application/json") },
    { id: "delete", name: "Delete", act: () => removeChat(desk, chat.id) },
  ];
  return (
    <>
      <h1 class={naming ? "hidden" : "chat-title"} title={title} data-testid="chat-title">
        {title}
      </h1>
      {naming && <NameField name={title} onEnd={rename} />}
      <Menu items={items} />
    </>
  );
}

export function ChatBar({ desk, state, onHistory }: { desk: Desk; state: DeskState; onHistory(): void }) {
  const begun = state.chat.turns.length > 0;
  return (
    <div class={begun ? "chat-bar" : "chat-bar only-narrow"}>
      <button type="button" class="quiet only-narrow" onClick={onHistory} data-testid="history-open">
        <HistoryIcon /> Chats
      </button>
      {begun ? <Named desk={desk} state={state} /> : <span class="grow" />}
      <button type="button" class="quiet only-narrow" onClick={() => desk.newChat()}>
        <PlusIcon /> New
      </button>
    </div>
  );
}
