// The page in a real browser against a real, running `skep demo`.
//
//   node test/browser.mjs BASE_URL CHROMIUM_PATH
//
// playwright-core is taken from the folder in SKEP_NODE_MODULES, else from the node_modules beside this package.
// SKEP_KILL_PID names the process to kill in the middle of an answer; without it the page's own button is pressed.
// SKEP_NODES is the number of nodes that the network must show. SKEP_PROMPT is the text to continue.
// Prints one line per check, and exits with 1 if any failed.

import { check, failures, launch, watch } from "./driver.mjs";

const [base, executablePath] = process.argv.slice(2);
if (!base || !executablePath) {
  console.error("usage: node test/browser.mjs BASE_URL CHROMIUM_PATH");
  process.exit(1);
}
const origin = new URL(base).origin;
const PROMPT = process.env.SKEP_PROMPT ?? "Once upon a time";
const TOKENS = Number(process.env.SKEP_TOKENS ?? 200);
const PATIENCE = { timeout: 60_000 };

async function network() {
  const response = await fetch(`${origin}/skep/v1/network`);
  return response.json();
}

/** The undisturbed text, asked for without the page. */
async function reference() {
  const response = await fetch(`${origin}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: PROMPT, max_tokens: TOKENS, temperature: 0 }),
  });
  if (!response.ok) throw new Error(`the reference was refused with ${response.status}: ${await response.text()}`);
  const answer = await response.json();
  return { text: answer.choices[0].text, answer, headers: response.headers };
}

/** Sets the page's options as the reference has them. */
async function greedy(page) {
  await page.getByTestId("settings-open").click();
  await page.getByTestId("setting-temperature").fill("0");
  await page.getByTestId("setting-top_p").fill("1");
  await page.getByTestId("setting-max_tokens").fill(String(TOKENS));
  await page.getByTestId("setting-max_tokens").press("Tab");
  await page.getByTestId("settings-close").click();
}

const lastAnswer = (page) => page.getByTestId("message-assistant").last();

async function hasText(page, characters) {
  await page.waitForFunction(
    (least) => ([...document.querySelectorAll("[data-testid=answer-text]")].at(-1)?.textContent.length ?? 0) >= least,
    characters,
    PATIENCE,
  );
}

/** Waits for the end of the last answer and gives its state and text. */
async function ended(page) {
  await page.waitForFunction(() => {
    const answer = [...document.querySelectorAll("[data-testid=message-assistant]")].at(-1);
    return answer !== undefined && answer.dataset.state !== "writing";
  }, undefined, PATIENCE);
  const answer = lastAnswer(page);
  return { state: await answer.getAttribute("data-state"), text: await answer.getByTestId("answer-text").evaluate((at) => at.textContent) };
}

async function ask(page, text) {
  await page.getByTestId("prompt").fill(text);
  await page.getByTestId("prompt").press("Enter");
}

async function firstToken(page) {
  const start = performance.now();
  await page.goto(`${origin}/`);
  await page.getByTestId("prompt").waitFor(PATIENCE);
  await page.getByTestId("mode-text").check({ force: true });
  await ask(page, PROMPT);
  await hasText(page, 1);
  console.log(`time from navigation to the first token: ${Math.round(performance.now() - start)} ms`);
  const { state, text } = await ended(page);
  check(state === "done" && text.length > 0, "a prompt is answered with streamed text", `${text.length} characters, ${state}`);
  const explained = await lastAnswer(page).getByTestId("explain").innerText();
  check(/token/.test(explained) && /\[\d+\.\.\d+\]/.test(explained), "the answer is explained by tokens and route", explained.replace(/\s+/g, " "));
}

async function networkView(page) {
  await page.getByTestId("view-network").click();
  await page.getByTestId("hop-row").first().waitFor(PATIENCE);
  const view = await network();
  const rows = await page.getByTestId("node-row").evaluateAll((all) => all.map((row) => ({ node: row.dataset.node, blocks: row.dataset.blocks })));
  const wanted = Number(process.env.SKEP_NODES ?? view.nodes.length);
  check(rows.length === wanted, "the network shows every node", `${rows.length} of ${wanted}`);
  const right = view.nodes.every((node) => rows.some((row) => row.node === node.id && row.blocks === (node.blocks ?? []).join("..")));
  check(right, "every node is shown with its blocks", rows.map((row) => `${row.node.slice(0, 4)}:${row.blocks}`).join(" "));
  const held = await page.locator('[data-testid=cell][data-held="yes"]').count();
  const holds = view.nodes.reduce((sum, node) => sum + (node.alive && node.blocks ? node.blocks[1] - node.blocks[0] : 0), 0);
  check(held === holds && holds > 0, "every held block is a filled cell", `${held} of ${holds}`);
  const hops = await page.getByTestId("route-hop").evaluateAll((all) => all.map((hop) => ({ ...hop.dataset })));
  const answer = view.last_answer;
  check(
    hops.length === answer.hops.length && hops.every((hop, at) => hop.node === answer.hops[at].node && Number(hop.ms) > 0),
    "the route of the last answer is drawn with the time of each hop",
    hops.map((hop) => `${hop.node.slice(0, 4)}[${hop.blocks}] ${Number(hop.ms).toFixed(2)} ms`).join(" → "),
  );
  const peers = await page.getByTestId("peer-row").evaluateAll((all) => all.map((row) => ({ ...row.dataset })));
  check(
    peers.length === view.nodes.length && peers.every((peer) => Number(peer.delayMs) >= 0 && Number(peer.blockMs) > 0),
    "the speed and delay of every node are shown as measured",
    peers.map((peer) => `${peer.node.slice(0, 4)} ${Number(peer.blockMs).toFixed(3)} ms, ${Number(peer.delayMs).toFixed(2)} ms away`).join("; "),
  );
  const reason = await page.getByTestId("why-reason").innerText();
  check(/ms a token/.test(reason), "the network view says why the route was chosen", reason);
  check(/\d/.test(await page.getByTestId("lap-time").innerText()), "the lap time is shown", await page.getByTestId("lap-time").innerText());
}

/** Kills a node that the answer under way passes through, by the page's button or by its process id. */
async function killOne(page) {
  if (process.env.SKEP_KILL_PID) {
    process.kill(Number(process.env.SKEP_KILL_PID), "SIGKILL");
    return `process ${process.env.SKEP_KILL_PID}`;
  }
  // In one go inside the page: a small model writes its 200 tokens in less than a second.
  const node = await page.evaluate(async () => {
    const find = (id, node) => document.querySelector(`[data-testid=${id}]${node ? `[data-node="${node}"]` : ""}`);
    const { node } = find("route-hop").dataset;
    find("unplug", node).click();
    while (!find("unplug-confirm", node)) await new Promise((resolve) => requestAnimationFrame(resolve));
    find("unplug-confirm", node).click();
    return node;
  });
  return `node ${node.slice(0, 10)}`;
}

async function pulledPlug(page, expected) {
  await page.getByTestId("view-chat").click();
  await page.getByTestId("new-chat").click();
  await greedy(page);
  await ask(page, PROMPT);
  await hasText(page, 8);
  const before = await lastAnswer(page).getByTestId("answer-text").evaluate((at) => at.textContent.length);
  const killed = await killOne(page);
  const { state, text } = await ended(page);
  check(before < expected.length, "the node was killed in the middle of the answer", `${killed} after ${before} of ${expected.length} characters`);
  check(state === "done", "the answer goes on after the kill", state);
  let at = 0;
  while (at < text.length && text[at] === expected[at]) at += 1;
  const difference = `differs at character ${at}: ${JSON.stringify(text.slice(at, at + 40))}, not ${JSON.stringify(expected.slice(at, at + 40))}`;
  check(text === expected, "its text is the text of the undisturbed run", text === expected ? `${text.length} characters` : difference);
  await page.getByTestId("view-network").click();
  await page.locator('[data-testid=node-row][data-alive="no"]').first().waitFor(PATIENCE);
  const shown = page.getByTestId("recovery").first();
  if (!process.env.SKEP_KILL_PID) await shown.waitFor({ timeout: 10_000 }).catch(() => {});
  const recovered = await page.getByTestId("recovery").count();
  console.log(`     recoveries shown: ${recovered}${recovered > 0 ? ` (${(await page.getByTestId("recovery").first().innerText()).replace(/\s+/g, " ")})` : ""}`);
  check(process.env.SKEP_KILL_PID !== undefined || recovered > 0, "the network view marks the recovery");
}

/** The same text again is another version of it, the same to the byte, and both stay. */
async function again(page, expected) {
  await page.getByTestId("view-chat").click();
  await lastAnswer(page).getByTestId("retry").click();
  await page.getByTestId("versions").waitFor(PATIENCE);
  const { state, text } = await ended(page);
  check(state === "done" && text === expected, "answering again writes the same text as another version", `${text.length} characters, ${state}`);
  await page.getByTestId("earlier").click();
  const first = await lastAnswer(page).getByTestId("answer-text").evaluate((at) => at.textContent);
  check(first === expected && (await page.getByTestId("versions").innerText()).includes("1 / 2"), "and the first one is still there");
}

/** What the page noted down on the way. */
async function activityView(page) {
  await page.getByTestId("view-activity").click();
  await page.getByTestId("answer-row").first().waitFor(PATIENCE);
  const rows = await page.getByTestId("answer-row").evaluateAll((all) => all.map((row) => ({ ...row.dataset, text: row.innerText.replace(/\s+/g, " ") })));
  const { last_answer: answer, nodes } = await network();
  const mine = rows.filter(({ from }) => from === "here");
  check(mine.length >= 3 && new Set(rows.map(({ text }) => text)).size === rows.length, "the answers of the tour are listed once each", `${rows.length}, ${mine.length} of this browser`);
  const last = rows.find(({ tokens, text }) => Number(tokens) === answer.completion_tokens && answer.hops.every((hop) => text.includes(hop.node.slice(0, 4))));
  check(last !== undefined && / m?s/.test(last.text), "with their routes and times", last?.text);
  const left = nodes.filter((node) => !node.alive);
  const told = await page.locator("[data-testid=happening][data-kind=left]").allInnerTexts();
  check(left.length > 0 && left.every((node) => told.some((text) => text.includes(node.id.slice(0, 4)))), "the node that was killed is noted as gone", told.join(" ").replace(/\s+/g, " "));
}

async function apiView(page) {
  await page.getByTestId("view-api").click();
  await page.getByTestId("snippet").first().waitFor(PATIENCE);
  const text = await page.getByTestId("api").innerText();
  const { data } = await (await fetch(`${origin}/v1/models`)).json();
  check(text.includes(data[0].id) && text.includes(`${origin}/v1`), "the API view names this node and its model");
  check(text.includes("skep-route") && text.includes("skep-timing"), "the API view documents the headers");
}

const browser = await launch(executablePath);
try {
  const page = await (await browser.newContext({ viewport: { width: 1366, height: 900 } })).newPage();
  page.setDefaultTimeout(PATIENCE.timeout);
  const seen = watch(page, origin);
  const undisturbed = await reference();
  check(/^[0-9a-f]+\[\d+\.\.\d+\]/.test(undisturbed.headers.get("skep-route") ?? ""), "completions carry skep-route", undisturbed.headers.get("skep-route") ?? "none");
  check(/;dur=/.test(undisturbed.headers.get("skep-timing") ?? ""), "completions carry skep-timing", undisturbed.headers.get("skep-timing") ?? "none");
  check(Array.isArray(undisturbed.answer.skep?.hops), "completions carry the skep object");
  await firstToken(page);
  await networkView(page);
  await pulledPlug(page, undisturbed.text);
  await again(page, undisturbed.text);
  await activityView(page);
  await apiView(page);
  // A node of a demo has no machine to show, and Chromium notes down every 404.
  const errors = seen.errors.filter(({ url }) => !url.endsWith("/skep/v1/machine")).map(({ text }) => text);
  check(errors.length === 0, "the page wrote no error to the console", errors.join(" | "));
  check(seen.foreign.length === 0, "the page asked no other origin", seen.foreign.join(" "));
  check((await page.getByTestId("view-machine").count()) === 0, "a demo, which has no machine of its own to lend, shows no view of it");
} catch (error) {
  check(false, "the tour of the page came to its end", String(error.stack ?? error));
} finally {
  await browser.close();
}
process.exit(failures() === 0 ? 0 : 1);
