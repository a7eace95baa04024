// The key that this browser shows to a machine that is not its own: how it comes by one, and where it is kept.

/** Where the key is kept. */
const PLACE = "skep.key";

/** A browser that keeps nothing has it until the page is closed. */
let held: string | null = null;

/** The code in an address that a machine shows as a picture; none in any other. */
export function codeIn(hash: string): string | null {
  return /^#pair=([0-9a-v]{1,64})$/.exec(hash)?.[1] ?? null;
}

export function keyOf(): string | null {
  try {
    return localStorage.getItem(PLACE) ?? held;
  } catch {
    return held;
  }
}

export function keepKey(key: string | null): void {
  held = key;
  try {
    if (key === null) localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, key);
  } catch {
    // The key is held until the page is closed, which is all that this browser allows.
  }
}

/** What is sent to the node that serves this page, with the key if there is one. */
export function withKey(init: RequestInit = {}): RequestInit {
  const key = keyOf();
  if (key === null) return init;
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${key}`);
  return { ...init, headers };
}
