// The later first steps: how others come into the network, and a first answer.

import { useRef, useState } from "preact/hooks";
import { makeInvite, SkepError, type Invite } from "../lib/client";
import type { Trouble } from "../lib/errors";
import { momentText } from "../lib/machine";
import { plural } from "../lib/route";
import type { Desk } from "../store/desk";
import { network } from "../store/network";
import { useStore } from "../store/store";
import { CopyButton } from "../ui/copy";
import { keepFocus } from "../ui/focus";
import { useFollow } from "./chat";
import { Turns, TroubleView } from "./message";

function Invited({ invite }: { invite: Invite }) {
  return (
    <>
      <p>
        On the other machine, start Skep with this line. It lets in {plural(invite.uses, "machine")} until{" "}
        {momentText(invite.expires * 1000, Date.now())}; show it only to those whom you invite.
      </p>
      <p class="invite-link">
        <code data-testid="invite-link">skep up {invite.link}</code>
        <CopyButton text={`skep up ${invite.link}`} what="the line" label="Copy" />
      </p>
    </>
  );
}

export function Private() {
  const { view } = useStore(network);
  const [invite, setInvite] = useState<Invite | null>(null);
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const made = useRef<HTMLElement>(null);
  const make = async () => {
    try {
      setInvite(await makeInvite());
      setTrouble(null);
    } catch (error) {
      setTrouble(error instanceof SkepError ? error.trouble : { message: "No invite came back.", hint: null });
    }
  };
  const ask = () => keepFocus(make, () => made.current?.querySelector("button"));
  const alive = view?.nodes.filter((node) => node.alive).length;
  return (
    <>
      <p class="lead">
        Only machines that were invited are part of it{alive === undefined ? "" : `; ${alive === 1 ? "it is one machine now" : `they are ${alive} now`}`}. Nothing is
        sent to anybody else.
      </p>
      <div class="two">
        <section aria-labelledby="invite-title" ref={made}>
          <h2 id="invite-title">Invite a machine</h2>
          {invite ? (
            <div role="status">
              <Invited invite={invite} />
            </div>
          ) : (
            <>
              <p>Another computer of yours, or a friend's, joins with a link. The more there are, the larger a model they can run together.</p>
              <button type="button" class="press" onClick={() => void ask()} data-testid="invite">
                Make a link
              </button>
            </>
          )}
          {trouble && <TroubleView trouble={trouble} />}
        </section>
        <section aria-labelledby="join-title">
          <h2 id="join-title">Join another network</h2>
          <p>
            Ask its owner for a link. Then stop Skep on this machine and start it again with <code>skep up LINK</code>.
          </p>
        </section>
      </div>
    </>
  );
}

const IDEAS = ["Say hello.", "Tell me a story about a bee.", "Speak to me of love and of the sea."];

export function FirstAnswer({ desk }: { desk: Desk }) {
  const { chat, writing } = useStore(desk.state);
  const [begun, setBegun] = useState<string | null>(null);
  const { box, onScroll } = useFollow(chat);
  const whole = useStore(network).view?.model.available;
  const mine = begun !== null && begun === chat.id;
  const ask = (text: string) => {
    if (!mine) desk.newChat("chat");
    setBegun(desk.state.value.chat.id);
    void desk.send(text);
  };
  if (whole === false) {
    return (
      <p class="lead" role="status">
        Not yet: a part of the model is held by no machine now. Answers begin as soon as another machine takes it up; the chat tells when.
      </p>
    );
  }
  return (
    <>
      <p class="lead">Choose one of these, or write your own in the chat. The answer is computed by the machines of your network, and by nobody else.</p>
      <div class="ideas">
        {IDEAS.map((idea) => (
          <button type="button" class="idea" aria-disabled={writing} onClick={() => !writing && ask(idea)} data-testid="start-idea">
            {idea}
          </button>
        ))}
      </div>
      {mine && (
        <div class="start-chat" role="log" aria-label="Conversation" aria-busy={writing} tabIndex={0} ref={box} onScroll={onScroll}>
          <Turns desk={desk} chat={chat} writing={writing} />
        </div>
      )}
    </>
  );
}
