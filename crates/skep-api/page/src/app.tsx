// The frame of the page: the mark, the three views, and one line on the state of the network.

import { useEffect, useState } from "preact/hooks";
import { plural } from "./lib/route";
import type { Desk } from "./store/desk";
import { network, watchNetwork, type NetworkState } from "./store/network";
import { useStore } from "./store/store";
import { Mark } from "./ui/icons";
import { ApiView } from "./views/api";
import { ChatView } from "./views/chat";
import { NetworkPage } from "./views/network";

const VIEWS = ["chat", "network", "api"] as const;
type View = (typeof VIEWS)[number];
const NAMES: Record<View, string> = { chat: "Chat", network: "Network", api: "API" };

const viewOf = (hash: string): View => VIEWS.find((view) => hash === `#/${view}`) ?? "chat";

function useView(): View {
  const [view, setView] = useState(viewOf(location.hash));
  useEffect(() => {
    const take = () => setView(viewOf(location.hash));
    addEventListener("hashchange", take);
    return () => removeEventListener("hashchange", take);
  }, []);
  return view;
}

/** State, and what it is about, in a few words. */
function stateOf({ view, trouble }: NetworkState): { kind: "good" | "bad" | "wait"; text: string } {
  if (trouble) return { kind: "bad", text: "no answer from the node" };
  if (!view) return { kind: "wait", text: "looking at the network…" };
  const alive = view.nodes.filter((node) => node.alive).length;
  if (!view.model.available) return { kind: "bad", text: "some blocks are held by no node" };
  return { kind: "good", text: `${view.model.name} on ${plural(alive, "node")}` };
}

function Status() {
  const state = useStore(network);
  const { kind, text } = stateOf(state);
  return (
    <a class={`status ${kind}`} href="#/network" data-testid="status" title={text}>
      <span class="dot" />
      <span class="status-text">{text}</span>
    </a>
  );
}

export function App({ desk }: { desk: Desk }) {
  const view = useView();
  useEffect(watchNetwork, []);
  useEffect(() => {
    document.title = view === "chat" ? "Skep" : `Skep · ${NAMES[view]}`;
  }, [view]);
  return (
    <div class="app">
      <header class="top">
        <a class="brand" href="#/chat" aria-label="Skep, to the chat">
          <Mark />
          <span>Skep</span>
        </a>
        <nav aria-label="Views">
          {VIEWS.map((name) => (
            <a href={`#/${name}`} aria-current={name === view ? "page" : undefined} data-testid={`view-${name}`}>
              {NAMES[name]}
            </a>
          ))}
        </nav>
        <Status />
      </header>
      {view === "chat" && <ChatView desk={desk} />}
      {view === "network" && <NetworkPage />}
      {view === "api" && <ApiView />}
    </div>
  );
}
