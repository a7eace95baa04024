// Every failure that a person can meet, as one clear sentence and what to do about it.

/** A failure, told to a person. */
export interface Trouble {
  message: string;
  hint: string | null;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const textOf = (value: unknown): string | null => (typeof value === "string" && value.trim() !== "" ? value.trim() : null);

/** A message may carry its hint as a last line `hint: …`, as the command line prints it. */
function split(message: string, hint: string | null): Trouble {
  const found = /(?:^|\n)\s*hint:\s*([\s\S]+)$/i.exec(message);
  if (!found) return { message: sentence(message), hint: hint && sentence(hint) };
  return { message: sentence(message.slice(0, found.index).trim()), hint: sentence(hint ?? (found[1] as string).trim()) };
}

/** Starts with a capital, unless with an address, and ends with a full stop. */
function sentence(text: string): string {
  const first = /^[a-z](?![\w+-]*:)/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?…)]$/.test(first) ? first : `${first}.`;
}

/** The error object of an OpenAI-compatible answer, or `null` if `body` is none. */
export function troubleOf(body: unknown): Trouble | null {
  if (!isObject(body) || !("error" in body)) return null;
  const error = body.error;
  if (typeof error === "string") return split(error, textOf(body.hint));
  if (!isObject(error)) return null;
  const message = textOf(error.message);
  return message === null ? null : split(message, textOf(error.hint) ?? textOf(body.hint));
}

/** What an HTTP answer that is not a success says. */
export function troubleOfResponse(status: number, text: string): Trouble {
  let body: unknown = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Not JSON: the status alone is what is known, and the sentence below says it.
  }
  const told = troubleOf(body);
  if (told) return told;
  const short = text.trim().slice(0, 200);
  return {
    message: `The node refused with HTTP status ${status}${short && !short.startsWith("<") ? `: ${short}` : ""}.`,
    hint: status === 404 ? "This address may belong to another program." : null,
  };
}

/** What it means when the node could not be reached at all. */
export function unreachable(origin: string): Trouble {
  return { message: `Skep does not answer at ${origin}.`, hint: "See whether `skep demo` or `skep up` is still running in its terminal." };
}

/** What stays, and what one can do, when an answer ended too early. */
const KEPT = "What has arrived stays here; trying again writes another version of the answer.";

/** What it means when a stream ends before its first event. */
export const BROKEN_OFF: Trouble = { message: "The connection ended before the answer was complete.", hint: KEPT };

/** What it means when Skep is back, and no longer knows the answer that broke off. */
export const FORGOTTEN: Trouble = { message: "The connection broke. Skep is back, but cannot go on with this answer.", hint: KEPT };

/** What it means when Skep did not come back. */
export const NOT_BACK: Trouble = {
  message: "The connection broke, and Skep did not come back within half a minute.",
  hint: `See whether Skep is still running on that machine. ${KEPT}`,
};
