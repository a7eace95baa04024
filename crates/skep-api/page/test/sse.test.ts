import { expect, test } from "vitest";
import { applyChunk, SkepError, type Listener } from "../src/lib/client";
import { SseParser } from "../src/lib/sse";

const STREAM = 'data: {"a":1}\n\n: a comment\n\nevent: x\nid: 7\ndata: one\ndata:two\n\ndata\n\ndata: žluť 🐝\r\n\r\ndata: [DONE]\n\n';
const EVENTS = ['{"a":1}', "one\ntwo", "", "žluť 🐝", "[DONE]"];

test("the events of a stream come out in order", () => {
  expect(new SseParser().push(STREAM)).toEqual(EVENTS);
});

test("any cut of the stream into two gives the same events", () => {
  for (let cut = 0; cut <= STREAM.length; cut++) {
    const parser = new SseParser();
    expect([...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))], `cut at ${cut}`).toEqual(EVENTS);
  }
});

test("one character at a time gives the same events, with each kind of line end", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const parser = new SseParser();
    const text = STREAM.replaceAll("\r\n", "\n").replaceAll("\n", end);
    const events = Array.from({ length: text.length }, (_, at) => parser.push(text[at] as string)).flat();
    expect(events).toEqual(EVENTS);
  }
});

test("a byte order mark is skipped at the start and nowhere else", () => {
  expect(new SseParser().push("\uFEFFdata: x\n\n")).toEqual(["x"]);
  expect(new SseParser().push("data: \uFEFFx\n\n")).toEqual(["\uFEFFx"]);
});

test("an event that the end of the stream cuts off is not an event", () => {
  expect(new SseParser().push("data: half")).toEqual([]);
  expect(new SseParser().push("data: half\n")).toEqual([]);
});

function recorder() {
  const heard: unknown[] = [];
  const listener: Listener = {
    onStart: (route) => heard.push(["start", route]),
    onText: (text) => heard.push(["text", text]),
    onSummary: (summary) => heard.push(["summary", summary]),
  };
  return { heard, listener };
}

test("chunks of chats and of completions give their text, their end and their summary", () => {
  const { heard, listener } = recorder();
  expect(applyChunk('{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}', listener)).toBe("more");
  expect(applyChunk('{"choices":[{"delta":{"content":"Hi"},"finish_reason":null}]}', listener)).toBe("more");
  expect(applyChunk('{"choices":[{"text":" there","finish_reason":null}]}', listener)).toBe("more");
  expect(applyChunk('{"choices":[{"delta":{},"finish_reason":"stop"}],"skep":{"finish":"stop"}}', listener)).toBe("finished");
  expect(applyChunk('{"choices":[],"usage":{"prompt_tokens":1}}', listener)).toBe("more");
  expect(applyChunk("[DONE]", listener)).toBe("done");
  expect(heard).toEqual([["text", "Hi"], ["text", " there"], ["summary", { finish: "stop" }]]);
});

test("an error in the middle of a stream, or a piece that is not JSON, ends it with a sentence", () => {
  const { listener } = recorder();
  const error = '{"error":{"message":"the answer could not be continued: no node","hint":"start one"}}';
  expect(() => applyChunk(error, listener)).toThrow(new SkepError({ message: "The answer could not be continued: no node.", hint: "Start one." }));
  expect(() => applyChunk("{", listener)).toThrow(SkepError);
});
