// Deletes chats in such a way that they can be brought back.

import { titleOf } from "../store/chats";
import type { Desk, DeskState } from "../store/desk";
import { keepFocus } from "../ui/focus";
import { CloseIcon } from "../ui/icons";

/** Deletes a chat; the keyboard, which was on it, is then on the way back. */
export const removeChat = (desk: Desk, id: string): void =>
  void keepFocus(async () => desk.remove(id), () => document.querySelector<HTMLElement>("[data-testid=undo]"));

/** What was deleted last, and the way back. */
export function Removed({ desk, state }: { desk: Desk; state: DeskState }) {
  const { removed } = state;
  return (
    <div role="status" class="removed" data-testid="removed">
      {removed && (
        <>
          <span>“{titleOf(removed.chat)}” is deleted.</span>
          <button type="button" class="quiet edge" onClick={() => desk.undo()} data-testid="undo">
            Undo
          </button>
          <button type="button" class="quiet" aria-label="Delete it for good" title="Delete it for good" onClick={() => desk.forget()}>
            <CloseIcon />
          </button>
        </>
      )}
    </div>
  );
}
