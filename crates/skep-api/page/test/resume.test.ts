import { afterEach, expect, test, vi } from "vitest";
import { FORGOTTEN, NOT_BACK } from "../src/lib/errors";
import { streamAnswer, SkepError, TRIES, type Listener } from "../src/lib/client";

const ID = "chatcmpl-00";
const piece = (content: string, finish: string | null = null) =>
  `data: ${JSON.stringify({ id: ID, choices: [{ delta: { content }, finish_reason: finish }] })}\n\n`;

/** A response whose stream says `pieces` and then ends well or breaks. */
function says(pieces: string[], breaks = false): Response {
  const body = new ReadableStream<Uint8Array>({
    start(out) {
      for (const text of pieces) out.enqueue(new TextEncoder().encode(text));
      if (breaks) out.error(new TypeError("network error"));
      else out.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

function hear() {
  const heard = { text: "", starts: 0, breaks: 0 };
  const listener: Listener = {
    onBreak: () => heard.breaks++,
    onStart: () => heard.starts++,
    onText: (text) => (heard.text += text),
    onSummary: () => undefined,
  };
  return { heard, listener };
}

/** Answers requests in order; whoever asks for more is told that the node is away. */
function world(...answers: (Response | "away")[]) {
  const paths: string[] = [];
  vi.stubGlobal("location", { origin: "http://here" });
  vi.stubGlobal("fetch", async (path: string) => {
    paths.push(path);
    const next = answers.shift() ?? "away";
    if (next === "away") throw new TypeError("failed to fetch");
    return next;
  });
  return paths;
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const ask = { path: "/v1/chat/completions" as const, body: {} };

test("an answer goes on where it broke off, whatever the pieces", async () => {
  vi.useFakeTimers();
  const paths = world(
    says([piece("Once"), piece(" upon")]),
    "away",
    new Response("{}", { status: 503 }),
    says([piece("Once upon a"), piece(" ti")], true),
    says([piece("Once upon a time"), piece("."), piece("", "stop"), "data: [DONE]\n\n"]),
  );
  const { heard, listener } = hear();
  const whole = streamAnswer(ask, listener, new AbortController().signal);
  await vi.runAllTimersAsync();
  await whole;
  expect(heard).toEqual({ text: "Once upon a time.", starts: 3, breaks: 4 });
  expect(paths.slice(1)).toEqual(Array(4).fill(`/skep/v1/answers/${ID}`));
});

test("an answer that nobody can go on with is broken off, and why is told", async () => {
  vi.useFakeTimers();
  const forgotten = [says([piece("Once")]), new Response("{}", { status: 404 })];
  const away = [says([piece("Once")])];
  for (const [answers, trouble, asked] of [[forgotten, FORGOTTEN, 1], [away, NOT_BACK, TRIES]] as const) {
    const paths = world(...answers);
    const { heard, listener } = hear();
    const failed = streamAnswer(ask, listener, new AbortController().signal).catch((error: unknown) => error);
    await vi.runAllTimersAsync();
    expect(await failed).toEqual(new SkepError(trouble));
    expect(heard).toMatchObject({ text: "Once", breaks: asked });
    expect(paths.length).toBe(1 + asked);
  }
});

test("a break is told before anything is tried", async () => {
  vi.useFakeTimers();
  const paths = world(says([piece("Once")]));
  const { heard, listener } = hear();
  const abort = new AbortController();
  const failed = streamAnswer(ask, listener, abort.signal).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(0);
  expect([heard.breaks, paths.length]).toEqual([1, 1]);
  abort.abort();
  await vi.runAllTimersAsync();
  await failed;
});

test("whoever stops an answer ends the waiting too", async () => {
  vi.useFakeTimers();
  world(says([piece("Once")]));
  const abort = new AbortController();
  const { listener } = hear();
  const failed = streamAnswer(ask, listener, abort.signal).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(1500);
  abort.abort();
  await vi.runAllTimersAsync();
  expect(await failed).toBe(abort.signal.reason);
});
