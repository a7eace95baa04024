// The frame of the page: the mark, the views, and one line on the state of the network.

import { useEffect, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { plural } from "./lib/route";
import type { Shelf } from "./store/chats";
import type { Desk } from "./store/desk";
import { door } from "./store/door";
import { watchActivity } from "./store/activity";
import { hasMachine, machine, watchMachine } from "./store/machine";
import { hasMet, meet } from "./store/met";
import { network, watchNetwork, type NetworkState } from "./store/network";
import { useStore } from "./store/store";
import { ActivityIcon, ChatIcon, CodeIcon, HiveIcon, MachineIcon, Mark, ModelsIcon, SlidersIcon } from "./ui/icons";
import { ActivityPage } from "./views/activity";
import { ApiView } from "./views/api";
import { ChatView } from "./views/chat";
import { DoorPage } from "./views/door";
import { LimitsPage } from "./views/limits";
import { MachinePage } from "./views/machine";
import { ModelsPage } from "./views/models";
import { NetworkPage } from "./views/network";
import { StartPage } from "./views/start";

const VIEWS = ["chat", "network", "activity", "models", "machine", "settings", "api"] as const;
type View = (typeof VIEWS)[number] | "start";
const NAMES: Record<View, string> = { chat: "Chat", network: "Network", activity: "Activity", models: "Models", machine: "My machine", settings: "Settings", api: "API", start: "First steps" };
const ICONS: Record<View, () => ComponentChildren> = { chat: ChatIcon, network: HiveIcon, activity: ActivityIcon, models: ModelsIcon, machine: MachineIcon, settings: SlidersIcon, api: CodeIcon, start: ChatIcon };
/** Views that only a node with a machine of its own has. */
const OF_MACHINE: readonly View[] = ["models", "machine", "settings", "start"];

interface Place {
  view: View;
  /** What the view is to bring into sight. */
  target: string | null;
}

function placeOf(hash: string): Place {
  const [, name, target] = /^#\/(\w+)(?:\/([\w.]+))?$/.exec(hash) ?? [];
  return { view: [...VIEWS, "start" as const].find((view) => view === name) ?? "chat", target: target ?? null };
}

function usePlace(): Place {
  const [place, setPlace] = useState(placeOf(location.hash));
  useEffect(() => {
    const take = () => setPlace(placeOf(location.hash));
    addEventListener("hashchange", take);
    return () => removeEventListener("hashchange", take);
  }, []);
  return place;
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

/** The state of the machine as a dot beside its name. */
function MachineDot() {
  const { view } = useStore(machine);
  return view && <span class={`dot is-${view.state}`} role="img" aria-label={view.state} title={view.state} />;
}

function Views({ open, shown }: { open: View; shown: readonly View[] }) {
  return (
    <nav aria-label="Views">
      {shown.map((name) => {
        const Icon = ICONS[name];
        return (
          <a href={`#/${name}`} aria-current={name === open ? "page" : undefined} data-testid={`view-${name}`}>
            <Icon />
            <span>{NAMES[name]}</span>
            {name === "machine" && <MachineDot />}
          </a>
        );
      })}
    </nav>
  );
}

/** The page, once the node lets this browser in. */
export function App({ desk, shelf }: { desk: Desk; shelf: Shelf }) {
  return useStore(door).state === "open" ? <Inside desk={desk} shelf={shelf} /> : <DoorPage />;
}

function Inside({ desk, shelf }: { desk: Desk; shelf: Shelf }) {
  const { view: asked, target } = usePlace();
  const own = useStore(hasMachine);
  const [met, setMet] = useState(() => hasMet(shelf));
  useEffect(watchNetwork, []);
  useEffect(watchMachine, []);
  useEffect(watchActivity, []);
  const first = own === true && !met;
  const view = own === false && OF_MACHINE.includes(asked) ? "chat" : first ? "start" : asked;
  useEffect(() => {
    document.title = view === "chat" ? "Skep" : `Skep · ${NAMES[view]}`;
  }, [view]);
  const endStart = (next: View) => {
    meet(shelf);
    setMet(true);
    location.hash = `#/${next}`;
  };
  return (
    <div class="app">
      <header class="top">
        <a class="brand" href="#/chat" aria-label="Skep, to the chat">
          <Mark />
          <span>Skep</span>
        </a>
        {view !== "start" && <Views open={view} shown={VIEWS.filter((name) => own || !OF_MACHINE.includes(name))} />}
        <Status />
      </header>
      {view === "chat" && <ChatView desk={desk} />}
      {view === "network" && <NetworkPage />}
      {view === "activity" && <ActivityPage desk={desk} />}
      {view === "models" && <ModelsPage />}
      {view === "machine" && <MachinePage />}
      {view === "settings" && <LimitsPage target={target} />}
      {view === "api" && <ApiView />}
      {view === "start" && <StartPage desk={desk} onEnd={endStart} />}
    </div>
  );
}
