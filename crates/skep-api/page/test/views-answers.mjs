// Answers that go wrong, mean harm, or never seem to end.

import { check } from "./driver.mjs";

const lastState = (page) => page.evaluate(() => [...document.querySelectorAll("[data-testid=message-assistant]")].at(-1)?.dataset.state);

async function ask(page, text) {
  await page.getByTestId("prompt").fill(text);
  await page.getByTestId("prompt").press("Enter");
}

async function ended(page, timeout = 30_000) {
  await page.waitForFunction(() => {
    const state = [...document.querySelectorAll("[data-testid=message-assistant]")].at(-1)?.dataset.state;
    return state !== undefined && state !== "writing";
  }, undefined, { timeout });
  return lastState(page);
}

const answerText = (page) => page.getByTestId("answer-text").last().evaluate((at) => at.textContent);

/** Answers without a longest length, as fast as the network can. */
const unbounded = (page) => page.addInitScript(() => location.protocol === "http:" && localStorage.setItem("skep.settings", '{"max_tokens":null,"pace":null}'));

/** The connection breaks in the middle, and the node is away for two questions. */
export async function torn({ page, origin, node }) {
  const words = Array.from({ length: 60 }, (_, at) => `word${at}`);
  let tear;
  Object.assign(node.script, { verse: words.join(" "), breakAt: 30, breakWhen: new Promise((resolve) => (tear = resolve)), away: true });
  await page.goto(origin);
  await ask(page, "hello");
  await page.getByText("word29").waitFor();
  tear();
  await page.getByTestId("broken").waitFor();
  check(/taken up again/.test(await page.getByTestId("broken").innerText()), "a break is told while the page tries again");
  check((await lastState(page)) === "writing" && (await page.getByTestId("stop").count()) === 1, "it can be stopped meanwhile");
  node.script.away = false;
  const state = await ended(page);
  check(state === "done", "the answer goes on when the node is back", state);
  check((await answerText(page)) === words.join(" "), "its text has each word once");
  check((await page.getByTestId("broken").count()) === 0, "nothing is left of the break");
}

const HOSTILE = `<script>window.harm = 1</script>
<img src="https://evil.example/a.png" onerror="window.harm = 2">
![picture](https://evil.example/b.png) ![data](data:image/png;base64,iVBORw0KGgo=) <img src="data:image/svg+xml,<svg onload=window.harm=12>">
[click](javascript:window.harm=3) [data](data:text/html,<script>window.harm=4</script>)
[odd](JaVaScRiPt:window.harm=5) [file](file:///etc/passwd) [ok](https://fine.example/x)
<iframe src="https://evil.example/"></iframe> <style>@import "https://evil.example/c.css"</style>
<svg onload="window.harm=6"></svg> [x](https://a.example/"onmouseover="window.harm=7)

| <script>window.harm=8</script> | b |
|---|---|
| ![c](https://evil.example/d.png) | <a href="javascript:window.harm=9">x</a> |

\`\`\`html"><script>window.harm=10</script>
<script>window.harm=11</script>
\`\`\`
- <link rel=prefetch href=https://evil.example/e>
`;

export async function hostile({ page, origin, node }) {
  node.script.verse = HOSTILE;
  await unbounded(page);
  await page.goto(origin);
  await ask(page, HOSTILE);
  await ended(page);
  await page.waitForTimeout(300);
  const found = await page.evaluate(() => {
    const inside = (selector) => [...document.querySelectorAll(`[data-testid=messages] :is(${selector})`)];
    return {
      harm: window.harm ?? null,
      elements: inside("script, img, iframe, style, link, object, embed, form, video, audio").length,
      handlers: inside("*").filter((at) => at.getAttributeNames().some((name) => name.startsWith("on"))).length,
      links: inside("a").map((at) => ({ protocol: new URL(at.href).protocol, rel: at.rel })),
    };
  });
  check(found.harm === null && found.elements === 0 && found.handlers === 0, "no script, picture or frame of an answer or a question comes to life", JSON.stringify(found));
  check(found.links.length > 0 && found.links.every(({ protocol, rel }) => protocol === "https:" && /noopener/.test(rel) && /noreferrer/.test(rel)), "links lead to web addresses only", `${found.links.length}`);
}

/** Text as a model writes it that is asked for a very long report, of about so many pieces of five characters. */
function report(pieces) {
  const kinds = [
    (n) => `## Part ${n}\n\n${"A sentence with **bold** and `code` in it, and a little more. ".repeat(8)}\n\n`,
    (n) => `${Array.from({ length: 40 }, (_, at) => `- item ${n}.${at} with *some* words`).join("\n")}\n\n`,
    (n) => `\`\`\`js\n${Array.from({ length: 60 }, (_, at) => `const x${n}_${at} = ${at} * 2; // a line`).join("\n")}\n\`\`\`\n\n`,
    () => `| a | b | c |\n|---|---|---|\n${"| one | two | three |\n".repeat(30)}\n`,
  ];
  let text = "";
  for (let n = 0; text.length < pieces * 5; n++) text += kinds[n % kinds.length](n);
  return text.slice(0, pieces * 5);
}

const SHAPES = {
  "of many kinds": report,
  "of one list": (pieces) => "- an item of a list of it\n".repeat(pieces).slice(0, pieces * 5),
  "of one program": (pieces) => `\`\`\`js\n${"let x = compute(1, 2, 3);\n".repeat(pieces)}`.slice(0, pieces * 5),
  "of one line": (pieces) => "word ".repeat(pieces),
};

/** How long the page was busy at most, by its own account: the longest of its long tasks, and the longest way from picture to picture. */
async function watchTasks(page) {
  await page.evaluate(() => {
    window.busy = { task: 0, tasks: 0, gap: 0, frames: 0 };
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) Object.assign(window.busy, { task: Math.max(window.busy.task, duration), tasks: window.busy.tasks + 1 });
    }).observe({ entryTypes: ["longtask"] });
    let last = performance.now();
    const frame = (now) => {
      Object.assign(window.busy, { gap: Math.max(window.busy.gap, now - last), frames: window.busy.frames + 1 });
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
}

export async function long({ page, origin, node }) {
  const tokens = 100_000;
  await unbounded(page);
  for (const [name, make] of Object.entries(SHAPES)) {
    node.script.verse = make(tokens);
    await page.goto("about:blank");
    await page.goto(origin);
    await page.getByTestId("prompt").waitFor();
    await page.waitForTimeout(500);
    await watchTasks(page);
    // A part that is drawn once stays the same element to the end.
    const first = page.evaluate(async () => {
      const settled = () => document.querySelectorAll(".rich > .part, .rich figure.code");
      const written = () => document.querySelector("[data-testid=answer-text]")?.textContent.length ?? 0;
      while (written() < 20_000) await new Promise((resolve) => requestAnimationFrame(resolve));
      window.firstPart = settled()[0];
    });
    const start = performance.now();
    await ask(page, "Write a very long report.");
    await first;
    const state = await ended(page, 300_000);
    const took = (performance.now() - start) / 1000;
    const busy = await page.evaluate(() => window.busy);
    const whole = await page.evaluate(() => document.querySelector("[data-testid=answer-text]").textContent.length);
    check(state === "done" && whole > tokens * 3, `100,000 tokens ${name} arrive whole`, `${whole} characters on the page`);
    check(await page.evaluate(() => window.firstPart.isConnected), `${name}: what was drawn once is not drawn anew`);
    console.log(
      `     ${name}: ${took.toFixed(1)} s, ${busy.frames} pictures, longest task ${busy.task === 0 ? "under 50" : Math.round(busy.task)} ms, ` +
        `${busy.tasks} tasks over 50 ms, longest way to the next picture ${Math.round(busy.gap)} ms`,
    );
  }
}
