// What a browser sees that the node asks for a key.

import { useState } from "preact/hooks";
import { door, tryKey } from "../store/door";
import { useStore } from "../store/store";
import { Mark } from "../ui/icons";
import { TroubleView } from "./message";

export function DoorPage() {
  const { state, trouble } = useStore(door);
  const [key, setKey] = useState("");
  return (
    <main class="page door" data-testid="door" data-state={state}>
      <section class="card" aria-labelledby="door-title">
        <Mark size={64} />
        <h1 id="door-title">{state === "pairing" ? "Letting you in…" : "This Skep asks for a key"}</h1>
        {state === "shut" && (
          <>
            {trouble && <TroubleView trouble={trouble} />}
            <p>
              On the computer where it runs, open its page, go to <b>My machine</b> and choose <b>Use it on my phone</b>. Then point this device's
              camera at the picture, or open the link here.
            </p>
            <form
              class="door-form"
              onSubmit={(event) => {
                event.preventDefault();
                if (key.trim() !== "") tryKey(key);
              }}
            >
              <label for="door-key">Or type a key</label>
              <input
                id="door-key"
                class="entry wide"
                type="password"
                autocomplete="off"
                placeholder="sk-skep-…"
                value={key}
                onInput={(event) => setKey(event.currentTarget.value)}
                data-testid="door-key"
              />
              <button type="submit" class="press main" data-testid="door-open">
                Open
              </button>
            </form>
          </>
        )}
      </section>
    </main>
  );
}
