// The AI SDK against a running Skep.
//
// Usage: node ai_sdk.mjs http://127.0.0.1:PORT MODEL
// Needs: ai@6.0.326 and @ai-sdk/openai-compatible@2.0.87. Exits 0 when every check passed, else 1 at the first that did not.

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const [api, id] = [process.argv[2].replace(/\/(v1\/?)?$/, ""), process.argv[3]];
const model = createOpenAICompatible({ name: "skep", baseURL: `${api}/v1`, includeUsage: true })(id);
const messages = [
  { role: "system", content: "Answer briefly." },
  { role: "user", content: "Tell me a story." },
];
const options = { model, messages, temperature: 0, maxOutputTokens: 24, maxRetries: 0, allowSystemInMessages: true };

async function generate() {
  const answer = await generateText(options);
  assert.ok(answer.text.length > 0);
  assert.ok(["stop", "length"].includes(answer.finishReason), answer.finishReason);
  const { inputTokens, outputTokens, totalTokens } = answer.usage;
  assert.ok(inputTokens > 0 && outputTokens > 0);
  assert.equal(totalTokens, inputTokens + outputTokens);
  assert.match(answer.response.headers["skep-route"], /\[0\.\.\d+\]/);
  assert.deepEqual(answer.warnings ?? [], []);
  console.log("ok: generateText answers, with usage and route");
  return answer;
}

async function stream(whole) {
  const failures = [];
  const answer = streamText({ ...options, onError: ({ error }) => failures.push(error) });
  let text = "";
  for await (const piece of answer.textStream) text += piece;
  assert.deepEqual(failures, []);
  assert.equal(text, whole.text);
  assert.equal(await answer.finishReason, whole.finishReason);
  assert.equal((await answer.usage).totalTokens, whole.usage.totalTokens);
  console.log("ok: streamText gives the same text and the same usage");
}

async function stop(whole) {
  const characters = Array.from(whole.text);
  const middle = Math.floor(characters.length / 2);
  const mark = characters.slice(middle, middle + 3).join("");
  const answer = await generateText({ ...options, stopSequences: [mark] });
  assert.equal(answer.text, whole.text.slice(0, whole.text.indexOf(mark)));
  assert.equal(answer.finishReason, "stop");
  console.log("ok: a stop text ends the answer");
}

async function active() {
  return (await (await fetch(`${api}/skep/v1/network`)).json()).active;
}

async function abort() {
  const controller = new AbortController();
  const failures = [];
  const answer = streamText({
    ...options,
    maxOutputTokens: undefined,
    temperature: 1,
    seed: 1,
    // At this pace the answer would take much longer than the patience below.
    providerOptions: { skep: { pace: 2 } },
    abortSignal: controller.signal,
    onError: ({ error }) => failures.push(error),
  });
  let aborted = false;
  for await (const part of answer.fullStream) {
    if (part.type === "text-delta" && !aborted) {
      assert.ok((await active()) > 0);
      controller.abort();
    }
    if (part.type === "abort") aborted = true;
  }
  assert.ok(aborted, `the stream ended by itself: ${failures}`);
  for (const patience = Date.now() + 5_000; (await active()) > 0; ) {
    assert.ok(Date.now() < patience, "the answer goes on although nobody reads it");
    await new Promise((done) => setTimeout(done, 20));
  }
  console.log("ok: an abort ends the answer");
}

async function refuse() {
  const tools = { f: { description: "f", inputSchema: (await import("ai")).jsonSchema({ type: "object", properties: {} }) } };
  await assert.rejects(generateText({ ...options, tools }), (error) => {
    assert.equal(error.statusCode, 400);
    assert.match(error.message, /`tools` is not supported here/);
    return true;
  });
  console.log("ok: an option that cannot be honoured is refused by name");
}

try {
  const whole = await generate();
  await stream(whole);
  await stop(whole);
  await abort();
  await refuse();
} catch (error) {
  console.error("FAILED:", error);
  process.exit(1);
}
