// Puts the page together: the desk gets the world, the app gets the desk.

import { render } from "preact";
import { App } from "./app";
import { streamAnswer, whenLocked } from "./lib/client";
import { codeIn } from "./lib/pass";
import type { Shelf } from "./store/chats";
import { KEY } from "./store/chats";
import { Desk } from "./store/desk";
import { pair, shut } from "./store/door";
import { followDesk } from "./views/live";

/** A browser may forbid storage; the page then works and forgets. */
function shelf(): Shelf {
  try {
    localStorage.setItem("skep.probe", "1");
    localStorage.removeItem("skep.probe");
    return localStorage;
  } catch {
    const memory = new Map<string, string>();
    return {
      get length() {
        return memory.size;
      },
      key: (index) => [...memory.keys()][index] ?? null,
      getItem: (key) => memory.get(key) ?? null,
      setItem: (key, value) => void memory.set(key, value),
      removeItem: (key) => void memory.delete(key),
    };
  }
}

/** `crypto.randomUUID` needs a secure origin; a page served over plain HTTP from another machine has none. */
const newId = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const kept = shelf();
const desk = new Desk({
  shelf: kept,
  now: () => Date.now(),
  newId,
  nextFrame: (callback) => {
    // A hidden tab gets no frames; a timer keeps its text from piling up.
    if (document.hidden) setTimeout(callback, 250);
    else requestAnimationFrame(callback);
  },
  stream: streamAnswer,
});

addEventListener("storage", (event) => {
  if (event.key?.startsWith(KEY)) desk.reload();
});
addEventListener("pagehide", () => desk.rest());

followDesk(desk);

whenLocked(shut);
/** A link that pairs this browser is used once, and is in nobody's history afterwards. */
function takeCode(): void {
  const code = codeIn(location.hash);
  if (code === null) return;
  history.replaceState(null, "", "#/chat");
  void pair(code);
}
takeCode();
addEventListener("hashchange", takeCode);

const root = document.getElementById("app");
if (root) render(<App desk={desk} shelf={kept} />, root);
