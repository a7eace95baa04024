// The chats that this browser keeps: a list to open, search and delete, and files to take them elsewhere.

import { useRef, useState } from "preact/hooks";
import type { Trouble } from "../lib/errors";
import { plural } from "../lib/route";
import { titleOf } from "../store/chats";
import type { Desk, DeskState } from "../store/desk";
import { fileName, isTrouble, toJson, tooLarge } from "../store/files";
import { search, WORDS_MAX, type Found } from "../store/search";
import { TrashIcon } from "../ui/icons";
import { saveFile } from "../ui/save";
import { TroubleView } from "./message";
import { removeChat } from "./removed";

interface Props {
  desk: Desk;
  state: DeskState;
  onPick(): void;
}

function Item({ desk, found, open, onPick, onRemove }: { desk: Desk; found: Found; open: boolean; onPick(): void; onRemove(): void }) {
  const { chat, at, around } = found;
  const title = titleOf(chat);
  return (
    <li class={open ? "current" : undefined}>
      <button
        type="button"
        class="history-open"
        aria-current={open ? "true" : undefined}
        onClick={() => {
          desk.open(chat.id, at);
          onPick();
        }}
        data-testid="history-item"
      >
        {title}
        {around && (
          <small>
            {around.before}
            <mark>{around.word}</mark>
            {around.after}
          </small>
        )}
      </button>
      <button type="button" class="history-remove" aria-label={`Delete “${title}”`} title="Delete" onClick={onRemove} data-testid="history-remove">
        <TrashIcon />
      </button>
    </li>
  );
}

/** What became of an import, as a sentence. */
function addedText({ added, known }: { added: number; known: number }): string {
  const already = known === 0 ? "" : added === 0 ? `Nothing new: ${plural(known, "chat")} of the file ${known === 1 ? "is" : "are"} here already.` : ` ${plural(known, "other")} of the file ${known === 1 ? "was" : "were"} here already.`;
  return added === 0 ? already || "The file holds no chat." : `${plural(added, "chat")} added.${already}`;
}

function Files({ desk, state }: { desk: Desk; state: DeskState }) {
  const [said, setSaid] = useState<string | Trouble | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const read = async (file: File | undefined) => {
    if (!file) return;
    const large = tooLarge(file.size);
    const done = large ?? desk.take(await file.text().catch(() => ""));
    setSaid(isTrouble(done) ? done : addedText(done));
  };
  return (
    <div class="files">
      <p class="side-note">Chats stay in this browser.</p>
      <span class="files-bar">
        {state.history.length > 0 && (
          <button type="button" class="quiet edge" onClick={() => saveFile(fileName("all chats", Date.now(), "json"), toJson(state.history), "application/json")} data-testid="export-all">
            Export all
          </button>
        )}
        <button type="button" class="quiet edge" onClick={() => input.current?.click()} data-testid="import">
          Import…
        </button>
      </span>
      <input
        ref={input}
        type="file"
        hidden
        accept=".json,application/json"
        onChange={(event) => {
          const at = event.currentTarget;
          void read(at.files?.[0]).then(() => (at.value = ""));
        }}
        data-testid="import-file"
      />
      <div role="status" data-testid="import-said">
        {typeof said === "string" && <p class="side-note">{said}</p>}
      </div>
      {said !== null && typeof said !== "string" && <TroubleView trouble={said} />}
    </div>
  );
}

export function History({ desk, state, onPick }: Props) {
  const [query, setQuery] = useState("");
  const found = search(state.history, query);
  return (
    <div class="history-body">
      {(state.history.length > 1 || query !== "") && (
        <input
          type="search"
          class="history-search"
          placeholder="Search your chats"
          aria-label="Search your chats"
          maxLength={WORDS_MAX}
          value={query}
          onInput={(event) => setQuery(event.currentTarget.value)}
          data-testid="history-search"
        />
      )}
      <p class="hidden" role="status">
        {query.trim() !== "" && `${plural(found.length, "chat")} found`}
      </p>
      <ul class="history-list">
        {found.map((one) => (
          <Item key={one.chat.id} desk={desk} found={one} open={one.chat.id === state.chat.id} onPick={onPick} onRemove={() => removeChat(desk, one.chat.id)} />
        ))}
        {found.length === 0 && query.trim() !== "" && <li class="side-note">No chat has these words.</li>}
      </ul>
      <Files desk={desk} state={state} />
    </div>
  );
}
