// Who else may use this machine: a picture that lets a phone in, and the keys that there are.

import { useEffect, useRef, useState } from "preact/hooks";
import { SkepError } from "../lib/client";
import type { Trouble } from "../lib/errors";
import { fetchKeys, makeCode, pathOf, revokeKey, termsText, usedText, type KeysView, type KeyView, type PairCode, type Scope } from "../lib/keys";
import { keyOf } from "../lib/pass";
import { keepFocus } from "../ui/focus";
import { CopyButton } from "../ui/copy";
import { TroubleView } from "./message";

const troubleOf = (error: unknown): Trouble => (error instanceof SkepError ? error.trouble : { message: "The node takes long to answer.", hint: null });

/** How often the keys are looked at: closely while a phone is being let in. */
const CLOSE_MS = 1500;
const FAR_MS = 10_000;

function useKeys(close: boolean) {
  const [view, setView] = useState<KeysView | null>(null);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const look = () => fetchKeys().then(setView, (error: unknown) => setTrouble(troubleOf(error)));
  useEffect(() => {
    void look();
    const timer = setInterval(() => document.hidden || void look(), close ? CLOSE_MS : FAR_MS);
    return () => clearInterval(timer);
  }, [close]);
  return { view, trouble, look };
}

/** The picture is dark on light in every light: cameras expect it so. */
function Picture({ rows, link }: { rows: string[]; link: string }) {
  const edge = 4;
  const size = rows.length + 2 * edge;
  return (
    <svg class="pair-picture" viewBox={`${-edge} ${-edge} ${size} ${size}`} role="img" aria-label="The link as a picture for a camera" data-testid="pair-picture" data-link={link}>
      <rect x={-edge} y={-edge} width={size} height={size} fill="#fff" />
      <path d={pathOf(rows)} fill="#000" shape-rendering="crispEdges" />
    </svg>
  );
}

function Code({ code, until, onEnd }: { code: PairCode; until: number; onEnd(): void }) {
  const [chosen, setChosen] = useState(0);
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = Math.max(0, Math.round((until - now) / 1000));
  useEffect(() => {
    if (left === 0) onEnd();
  }, [left]);
  const link = code.links[chosen] ?? code.links[0];
  if (!link) return null;
  return (
    <div class="pair">
      <Picture rows={link.picture} link={link.link} />
      <div class="pair-words">
        <p>
          Point the phone's camera at the picture, or open the link there. It lets in one device, and is good for{" "}
          <b>{left >= 60 ? `${Math.ceil(left / 60)} min` : `${left} s`}</b>.
        </p>
        {code.links.length > 1 && (
          <label class="pair-address">
            Address of this machine{" "}
            <select class="entry" value={chosen} onChange={(event) => setChosen(Number(event.currentTarget.value))}>
              {code.links.map(({ link }, index) => (
                <option value={index}>{new URL(link).host}</option>
              ))}
            </select>
          </label>
        )}
        <p class="invite-link">
          <code data-testid="pair-link">{link.link}</code>
          <CopyButton text={link.link} what="the link" label="Copy" />
        </p>
        <button type="button" class="quiet edge" onClick={onEnd} data-testid="pair-end">
          Put it away
        </button>
      </div>
    </div>
  );
}

const SCOPES: [Scope, string, string][] = [
  ["use", "Use the models", "It chats, and sees the network."],
  ["owner", "Be the owner", "It also pauses, changes the settings, and does whatever else this page can."],
];

function Ask({ onAsk }: { onAsk(label: string, scope: Scope): void }) {
  const [label, setLabel] = useState("my phone");
  const [scope, setScope] = useState<Scope>("use");
  return (
    <form
      class="pair-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (label.trim() !== "") onAsk(label.trim(), scope);
      }}
    >
      <div>
        <label for="pair-label">Name of the device</label>
        <input id="pair-label" class="entry wide" maxLength={64} value={label} onInput={(event) => setLabel(event.currentTarget.value)} data-testid="pair-label" />
      </div>
      <fieldset>
        <legend>It may</legend>
        {SCOPES.map(([name, title, help]) => (
          <label class="pair-scope">
            <input type="radio" name="pair-scope" checked={scope === name} onChange={() => setScope(name)} data-testid={`pair-${name}`} />
            <span>
              {title} <span class="note">{help}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <button type="submit" class="press main" data-testid="pair">
        Show the picture
      </button>
    </form>
  );
}

function KeyRow({ view, now, onRevoke }: { view: KeyView; now: number; onRevoke(): void }) {
  return (
    <li class="key-row" data-testid="key-row" data-id={view.id} data-scope={view.scope}>
      <div>
        <b>{view.label}</b>
        <p class="note">
          {termsText(view, now)} · {usedText(view, now)}
        </p>
      </div>
      <button type="button" class="quiet edge" aria-label={`Revoke the key of ${view.label}`} onClick={onRevoke} data-testid="revoke">
        Revoke
      </button>
    </li>
  );
}

function Shut() {
  return (
    <p data-testid="phone-shut">
      Only this machine reaches this page now. Start Skep with <code>skep up --open</code>, and phones and other computers of your local network can use it, each with a key of its own.
    </p>
  );
}

interface Shown {
  code: PairCode;
  until: number;
  /** The keys that were there before: one more means that the device is in. */
  before: string[];
}

/** Letting a device in: the form, then the picture, then word that it is in. */
function Pairing({ view, shown, setShown, onTrouble }: { view: KeysView; shown: Shown | null; setShown(shown: Shown | null): void; onTrouble(trouble: Trouble | null): void }) {
  const [joined, setJoined] = useState<string | null>(null);
  const fresh = shown && view.keys.find(({ id }) => !shown.before.includes(id));
  useEffect(() => {
    if (!fresh) return;
    setJoined(fresh.label);
    setShown(null);
  }, [fresh?.id]);
  const ask = async (label: string, scope: Scope) => {
    try {
      const code = await makeCode(label, scope);
      setJoined(null);
      onTrouble(null);
      setShown({ code, until: Date.now() + code.seconds * 1000, before: view.keys.map(({ id }) => id) });
    } catch (error) {
      onTrouble(troubleOf(error));
    }
  };
  return (
    <>
      <p class="lead">
        A phone or another computer of your local network opens this page by a link that you show it, and keeps a key. What passes between them is not encrypted: do this in a
        network that you trust.
      </p>
      {shown ? <Code code={shown.code} until={shown.until} onEnd={() => setShown(null)} /> : <Ask onAsk={(label, scope) => void ask(label, scope)} />}
      <p role="status" data-testid="pair-done">
        {joined !== null && !shown && (
          <>
            <b>{joined}</b> is in.
          </>
        )}
      </p>
    </>
  );
}

/** The card of the view of the machine. Nothing where the node has no say in it, as for a key that is not the owner's. */
export function Phone() {
  const [shown, setShown] = useState<Shown | null>(null);
  const { view, trouble, look } = useKeys(shown !== null);
  const [refused, setRefused] = useState<Trouble | null>(null);
  const box = useRef<HTMLElement>(null);
  if (!view) return trouble && <TroubleView trouble={trouble} />;
  const revoke = (id: string) =>
    keepFocus(
      async () => {
        try {
          await revokeKey(id);
          setRefused(null);
        } catch (error) {
          setRefused(troubleOf(error));
        }
        await look();
      },
      () => box.current?.querySelector<HTMLElement>("button, input"),
    );
  const now = Date.now();
  return (
    <section class="card" aria-labelledby="phone-title" id="phone" ref={box} data-testid="phone">
      <h2 id="phone-title">Use it on my phone</h2>
      {keyOf() !== null ? (
        <p data-testid="phone-far">This device has a key. Another one is let in by this page on the machine itself.</p>
      ) : view.reached_at.length > 0 ? (
        <Pairing view={view} shown={shown} setShown={setShown} onTrouble={setRefused} />
      ) : (
        <Shut />
      )}
      {refused && <TroubleView trouble={refused} />}
      {view.keys.length > 0 && (
        <>
          <h3>Who has a key</h3>
          <ul class="key-list">
            {view.keys.map((key) => (
              <KeyRow key={key.id} view={key} now={now} onRevoke={() => void revoke(key.id)} />
            ))}
          </ul>
        </>
      )}
      <p class="note">
        <code>skep keys</code> does the same in a terminal, and makes keys for programs, with limits.
      </p>
    </section>
  );
}
