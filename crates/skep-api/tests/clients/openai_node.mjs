// The npm clients that speak OpenAI's own interfaces, against a running Skep: `openai`, and the AI SDK's `@ai-sdk/openai`, whose models
// speak `/v1/responses` unless told otherwise.
//
// Usage: node openai_node.mjs http://127.0.0.1:PORT MODEL
// Needs: openai@6.49.0, ai@6.0.326 and @ai-sdk/openai@3.0.141. Exits 0 when every check passed, else 1 at the first that did not.

import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const [api, model] = [process.argv[2].replace(/\/(v1\/?)?$/, ""), process.argv[3]];
const client = new OpenAI({ baseURL: `${api}/v1`, apiKey: "none", maxRetries: 0 });
const provider = createOpenAI({ baseURL: `${api}/v1`, apiKey: "none" });
const question = "Tell me a story.";
const messages = [{ role: "user", content: question }];

async function official() {
  const whole = await client.chat.completions.create({ model, messages, max_tokens: 24, temperature: 0 });
  const text = whole.choices[0].message.content;
  assert.ok(text.length > 0);
  let streamed = "";
  const pieces = await client.chat.completions.create({ model, messages, max_tokens: 24, temperature: 0, stream: true });
  for await (const piece of pieces) streamed += piece.choices[0]?.delta.content ?? "";
  assert.equal(streamed, text);
  console.log("ok: openai answers a chat, whole and streamed");

  const options = { model, input: question, max_output_tokens: 24, temperature: 0 };
  assert.equal((await client.responses.create(options)).output_text, text);
  let said = "";
  for await (const event of await client.responses.create({ ...options, stream: true })) {
    if (event.type === "response.output_text.delta") said += event.delta;
  }
  assert.equal(said, text);
  console.log("ok: openai's Responses give the same text, whole and streamed");
  return text;
}

async function sdk(expected) {
  const ways = { "its default": provider(model), chat: provider.chat(model) };
  for (const [name, way] of Object.entries(ways)) {
    const options = { model: way, prompt: question, temperature: 0, maxOutputTokens: 24, maxRetries: 0 };
    const whole = await generateText(options);
    assert.equal(whole.text, expected);
    assert.ok(["stop", "length"].includes(whole.finishReason), whole.finishReason);
    assert.ok(whole.usage.inputTokens > 0 && whole.usage.outputTokens > 0);
    const failures = [];
    const answer = streamText({ ...options, onError: ({ error }) => failures.push(error) });
    let text = "";
    for await (const piece of answer.textStream) text += piece;
    assert.deepEqual(failures, []);
    assert.equal(text, expected);
    assert.equal((await answer.usage).outputTokens, whole.usage.outputTokens);
    console.log(`ok: @ai-sdk/openai by ${name} gives the same text, whole and streamed`);
  }
}

try {
  await sdk(await official());
} catch (error) {
  console.error("FAILED:", error);
  process.exit(1);
}
