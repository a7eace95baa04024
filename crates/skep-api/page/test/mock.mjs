// A made-up node, for looking at the page while it is being written and for `views.mjs`. Never shipped.
//
//   node test/mock.mjs [PORT]      serves dist/ and answers from a fixed text

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { mockKeys } from "./mock-keys.mjs";
import { mockMachine } from "./mock-machine.mjs";
import { mockModels } from "./mock-models.mjs";

const DIST = process.env.SKEP_DIST ?? join(fileURLToPath(new URL(".", import.meta.url)), "..", "dist");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const id = (text) => createHash("sha256").update(text).digest("hex");
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const VERSE = `## On the hive

A skep is a basket of **straw**, turned over and left in the garden. The bees do the rest:

1. scouts look for a place,
2. builders hang the comb,
3. and *foragers* come and go until evening.

> No bee holds the whole hive; each holds a little of it.

\`\`\`python
def hive(bees):
    return sum(bee.cells for bee in bees)
\`\`\`

O for a muse of straw, that would ascend
The warmest heaven of invention;
A garden for a stage, bees to attend,
And keepers to behold the swelling comb.

`;

async function text(request) {
  let body = "";
  for await (const chunk of request) body += chunk;
  return body;
}

/**
 * `own` gives it a machine of its own; without one it is as a node of a demo. What it says is in `script` and may be changed: the text, the
 * milliseconds between its pieces (0: as fast as they are taken), the piece at which the connection breaks and what it waits for before, and
 * whether it is away, which it says with 503.
 */
export function mock({ delay = 25, verse = VERSE, blocks = 6, own = null, keys = own && mockKeys() } = {}) {
  const models = mockModels();
  const script = { delay, verse, breakAt: null, breakWhen: null, away: false };
  const half = blocks / 2;
  const parts = [[0, half], [half, blocks], [0, half], [half, blocks]];
  const state = {
    gateway: id("gateway"),
    model: { id: id("model"), name: "skep-tiny", blocks, context: 512, vocab: 4096, bytes: 3_912_448, available: true },
    nodes: parts.map((range, index) => ({ id: id(`node ${index}`), pid: 4100 + index, blocks: range, alive: true, rtt_ms: 0.2, frames: 0, label: "trusted",
      figures: { decode_block_ms: 2.1 + index, prefill_block_ms: 0.4, visit_ms: 1.2, wait_ms: 0.1, delay_ms: 0.1 + 12 * index, correction_ms: index === 2 ? 14.2 : 0, memory: 2e9, sessions: 0, price: 0 } })),
    last_answer: null,
    active: 0,
    can_unplug: true,
  };
  const pick = () => {
    const holder = (start) => state.nodes.find((node) => node.alive && node.blocks[0] === start);
    return [holder(0), holder(half)].filter(Boolean).map((node) => ({ node: node.id, blocks: node.blocks }));
  };

  async function complete(request, response, chat) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const ask = JSON.parse(Buffer.concat(chunks).toString());
    const route = pick();
    if (route.length < 2) return json(response, 503, { error: { message: "no live node holds block 0", type: "server_error", param: null, code: "no_route", hint: "start a node that holds it" } });
    if (JSON.stringify(ask).includes("too long")) {
      return json(response, 400, { error: { message: "the prompt has 900 tokens and the context of this model holds 512", type: "invalid_request_error", param: "messages", code: null, hint: "shorten the prompt, or start a new chat" } });
    }
    const { delay } = script;
    const pieces = script.verse.match(delay > 0 ? /\s*\S+\s*?/g : /[^]{1,5}/g).slice(0, ask.max_tokens ?? Infinity);
    if (!ask.stream) {
      const skep = { finish: "stop", prompt_tokens: 3, completion_tokens: pieces.length, hops: route.map((hop) => ({ ...hop, frames: 1, hold_ms: 4, rtt_ms: null })), recoveries: [], first_token_ms: 3, total_ms: 9, lap_ms: 2 };
      response.setHeader("skep-route", `${route[0].node.slice(0, 10)}[0..${half}]`);
      response.setHeader("skep-timing", "prefill;dur=1");
      return json(response, 200, { choices: [{ index: 0, text: pieces.join(""), finish_reason: "stop" }], skep });
    }
    const header = route.map((hop) => `${hop.node.slice(0, 10)}[${hop.blocks[0]}..${hop.blocks[1]}]`).join(",");
    response.writeHead(200, { "content-type": "text/event-stream", "skep-route": header, "skep-timing": "prefill;dur=31.4" });
    const send = (choice, more = {}) => response.write(`data: ${JSON.stringify({ id: "x", object: "chunk", choices: [{ index: 0, finish_reason: null, ...choice }], ...more })}\n\n`);
    const part = (text) => (chat ? { delta: { content: text } } : { text });
    const recoveries = [];
    state.active += 1;
    let gone = false;
    response.on("close", () => (gone = true));
    let hops = route;
    for (let at = 0; at < pieces.length && !gone; at++) {
      const lost = hops.filter((hop) => !state.nodes.find((node) => node.id === hop.node).alive);
      if (lost.length > 0) {
        await wait(400);
        hops = pick();
        recoveries.push({ at_token: at, lost: lost.map((hop) => hop.node), rung: "replay", stall_ms: 412.3 });
      }
      send(part(pieces[at]));
      // As fast as the page takes it, but for the pauses in which this process hears that somebody has left.
      if (delay > 0 || at % 200 === 0) await wait(delay);
      if (script.breakAt === at) {
        await script.breakWhen;
        state.active -= 1;
        return void response.destroy();
      }
    }
    state.active -= 1;
    if (gone) return;
    const summary = {
      finish: "stop", prompt_tokens: 12, completion_tokens: pieces.length,
      hops: hops.map((hop, index) => ({ ...hop, frames: pieces.length + 1, hold_ms: (pieces.length + 1) * (8.1 + index * 2.3), rtt_ms: 0.31 + index * 0.1 })),
      recoveries, first_token_ms: 31.4, total_ms: pieces.length * delay, lap_ms: delay,
      why: {
        reason: "It is expected to be the fastest route: 2 stages, 24.1 ms a token. The next best, without 9b01c2d3e4, would take 29.0 ms a token.",
        expected: { way: "chain", stages: route.map((hop) => ({ ...hop, hop_ms: 90, visits_ms: 240, compute_ms: 900, measured: true })), first_token_ms: 30, per_token_ms: 24.1, total_ms: 2400 },
        planned_for: [12, 256],
        instead: route.map((hop, index) => ({ what: "without", without: hop.node, route: index > 0 ? null : { way: "chain", stages: route, per_token_ms: 29, total_ms: 2900, first_token_ms: 40 }, refused: index > 0 ? "nobody else holds block 3" : null })),
      },
    };
    state.last_answer = summary;
    for (const hop of hops) state.nodes.find((node) => node.id === hop.node).frames += pieces.length;
    send({ ...part(""), finish_reason: "stop" }, { skep: summary });
    response.end(`data: ${JSON.stringify({ id: "x", choices: [], usage: { prompt_tokens: 12, completion_tokens: pieces.length } })}\n\ndata: [DONE]\n\n`);
  }

  function json(response, status, body) {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  }

  async function file(path, response) {
    const name = normalize(path === "/" ? "/index.html" : path);
    try {
      const bytes = await readFile(join(DIST, name));
      response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "application/octet-stream" });
      response.end(bytes);
    } catch {
      json(response, 404, { error: { message: `there is no ${path}` } });
    }
  }

  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    const refused = keys?.refusal(request, path);
    if (refused) return json(response, ...refused);
    if (keys && /^\/skep\/v1\/(keys|keys\/revoke|pair|pair-code)$/.test(path)) {
      const body = request.method === "POST" ? JSON.parse(await text(request)) : null;
      return json(response, ...keys.answer(path, body, `http://${request.headers.host}`));
    }
    if (path === "/v1/chat/completions") return complete(request, response, true);
    if (path === "/v1/completions") return complete(request, response, false);
    if (path === "/v1/models") return json(response, 200, { object: "list", data: [{ id: state.model.id, object: "model" }] });
    if (path === "/skep/v1/network") return json(response, 200, state);
    if (own && path === "/skep/v1/machine") {
      const wrong = request.method === "POST" ? own.command(JSON.parse(await text(request))) : null;
      return wrong ? json(response, 400, { error: wrong }) : json(response, 200, own.machine);
    }
    if (own && path === "/skep/v1/settings") {
      const wrong = request.method === "PUT" ? own.put(JSON.parse(await text(request))) : null;
      return wrong ? json(response, 400, { error: wrong }) : json(response, 200, own.settings());
    }
    if (own && path === "/skep/v1/models") {
      const wrong = request.method === "POST" ? models.order(JSON.parse(await text(request))) : null;
      return wrong ? json(response, 400, { error: wrong }) : json(response, 200, models.look());
    }
    if (path.startsWith("/skep/v1/answers/")) {
      script.breakAt = null;
      if (script.away) return json(response, 503, { error: { message: "not yet" } });
      return complete(Readable.from([Buffer.from('{"stream":true}')]), response, true);
    }
    if (path === "/skep/v1/invite") return json(response, 200, { link: `skep:${id("invite")}${id("terms")}`, hours: 24, uses: 8, expires: Math.round(Date.now() / 1000) + 86_400 });
    if (path === "/skep/v1/unplug") {
      const body = await text(request);
      const node = state.nodes.find((candidate) => candidate.id === JSON.parse(body).node);
      if (node) node.alive = false;
      return json(response, node ? 200 : 404, node ? {} : { error: { message: "no such node" } });
    }
    return file(path, response);
  });
  return { server, state, script, models };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.argv[2] ?? 4680);
  mock({ own: mockMachine() }).server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`));
}
