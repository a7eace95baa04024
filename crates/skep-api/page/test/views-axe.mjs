// What axe finds in every view, in all four lights; what the keyboard reaches; what a phone shows.

import { readFileSync } from "node:fs";
import { axePath, check } from "./driver.mjs";

const AXE = readFileSync(axePath(), "utf8");

/** Violations of serious or critical impact; the lesser ones are printed. */
async function axe(page, what) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const told = ({ id, impact, nodes }) => `${impact} ${id} at ${nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`;
  const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  check(bad.length === 0, `axe finds nothing serious: ${what}`, bad.map(told).join(" | "));
  for (const lesser of violations.filter((violation) => !bad.includes(violation))) console.log(`     ${what}: ${told(lesser)}`);
}

const LIGHTS = [
  { name: "light", width: 1280, colorScheme: "light" },
  { name: "dark", width: 1280, colorScheme: "dark" },
  { name: "light phone", width: 360, colorScheme: "light" },
  { name: "dark phone", width: 360, colorScheme: "dark" },
];

async function narrow(page, what) {
  const wide = await page.evaluate(() => {
    const main = document.querySelector("main");
    return [document.documentElement.scrollWidth - innerWidth, main.scrollWidth - main.clientWidth];
  });
  check(wide.every((over) => over <= 0), `nothing is wider than the screen: ${what}`, wide.join(", "));
}

/** Presses Tab until the focus has gone round, from wherever it is; what was never reached, and what was reached without being seen. */
async function tabs(page, what) {
  const reached = new Set();
  const unseen = new Set();
  let rounds = 0;
  for (let presses = 0; presses < 300 && rounds < 2; presses++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const focused = document.activeElement;
      if (!focused || focused === document.body) return null;
      const ring = (element) => element && getComputedStyle(element).outlineStyle !== "none" && getComputedStyle(element).outlineWidth !== "0px";
      const box = focused.closest(".composer-box");
      focused.dataset.reached = "yes";
      return { name: focused.outerHTML.slice(0, 90), seen: ring(focused) || ring(focused.closest("label")) || Boolean(box) };
    });
    if (at === null) rounds += 1;
    else reached.add(at.name);
    if (at?.seen === false) unseen.add(at.name);
  }
  const missed = await page.evaluate(() => {
    const shown = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter((at) => at.checkVisibility() && !at.disabled);
    // Of a group of radio buttons the keyboard reaches the chosen one, and the others by its arrows.
    const groups = new Set(shown.filter((at) => at.type === "radio" && at.dataset.reached).map((at) => at.name));
    return shown.filter((at) => !at.dataset.reached && !(at.type === "radio" && groups.has(at.name))).map((at) => at.outerHTML.slice(0, 90));
  });
  check(reached.size > 1 && missed.length === 0, `the keyboard reaches everything: ${what}`, `${reached.size} places${missed.length > 0 ? `, but not ${missed.join(" ")}` : ""}`);
  check(unseen.size === 0, `the focus is always seen: ${what}`, [...unseen].join(" "));
}

async function look(page, what, light) {
  await axe(page, `${what}, ${light.name}`);
  if (light.width < 500) await narrow(page, what);
  if (light.name === "light") await tabs(page, what);
}

/** The list of chats with all that it may say at once. */
async function chats(page, light) {
  const narrowly = light.width < 500;
  if (narrowly) await page.getByTestId("history-open").click();
  await page.getByTestId("import-file").setInputFiles({ name: "x.json", mimeType: "application/json", buffer: Buffer.from("no") });
  await page.locator(".files [data-testid=error]").waitFor();
  await page.getByTestId("history-remove").first().click();
  await page.getByTestId("undo").waitFor();
  await look(page, "chats", light);
  await page.getByTestId("undo").click();
  if (narrowly) await page.getByRole("button", { name: "Close the list of chats" }).click();
}

async function views({ page, origin, own }, light) {
  await page.goto("about:blank");
  await page.goto(origin);
  await page.getByTestId("start").waitFor();
  for (let step = 1; step <= 4; step++) {
    if (step === 3) await page.getByTestId("invite").click().then(() => page.getByTestId("invite-link").waitFor());
    if (step === 4) await page.getByTestId("start-idea").first().click().then(() => page.locator("[data-state=done]").waitFor());
    if (step === 2) await page.getByTestId("would-use").waitFor();
    await look(page, `first steps ${step}`, light);
    await page.getByTestId("start-next").click();
  }
  await page.getByTestId("messages").waitFor();
  await page.getByTestId("retry").click();
  await page.getByTestId("versions").waitFor();
  await page.locator("[data-testid=message-assistant][data-state=done]").waitFor();
  await look(page, "chat", light);
  await page.getByTestId("edit").click();
  await page.getByTestId("edit-text").waitFor();
  await look(page, "a question written anew", light);
  await page.getByTestId("edit-cancel").click();
  await page.getByTestId("chat-menu").click();
  await look(page, "the menu of a chat", light);
  await page.keyboard.press("Escape");
  await chats(page, light);
  await page.getByTestId("settings-open").click();
  await look(page, "how it answers", light);
  await page.getByTestId("settings-close").click();
  await page.getByTestId("view-network").click();
  await page.getByTestId("hop-row").first().waitFor();
  await look(page, "network", light);
  await page.getByTestId("view-activity").click();
  await page.getByTestId("answer-row").first().waitFor();
  await page.locator("[data-testid=plot][data-name=Processors] svg").waitFor();
  await look(page, "activity", light);
  await page.getByTestId("view-models").click();
  await page.getByTestId("pull-row").first().waitFor();
  await page.getByTestId("pull-source").fill("Bart");
  await page.getByTestId("pull-source").press("Enter");
  await page.getByTestId("error").filter({ hasText: "Bart" }).waitFor();
  await look(page, "models", light);
  await page.getByTestId("model-remove").first().click();
  await page.getByTestId("model-remove-confirm").waitFor();
  await look(page, "models, one to be removed", { ...light, name: `${light.name} asked` });
  await page.getByTestId("model-remove-cancel").click();
  await page.getByTestId("view-machine").click();
  await page.getByTestId("timeline").waitFor();
  await page.locator(".day-list summary").click();
  await look(page, "my machine, lent", light);
  await page.getByTestId("pair").click();
  await page.getByTestId("pair-picture").waitFor();
  await look(page, "a phone is let in", light);
  await page.getByTestId("pair-end").click();
  own.inUse();
  await page.getByTestId("remedy").waitFor();
  await look(page, "my machine, paused", light);
  await page.getByTestId("view-settings").click();
  const cpu = page.locator('[data-testid=control][data-key="share.cpu_percent"] input');
  await cpu.fill("0");
  await cpu.press("Tab");
  await page.getByTestId("refused").waitFor();
  const disk = page.locator('[data-testid=control][data-key="share.disk"] input.entry');
  await disk.fill("31");
  await disk.press("Tab");
  await page.getByTestId("to-preset").first().waitFor();
  await look(page, "settings", light);
  await page.getByTestId("view-api").click();
  await page.getByTestId("snippet").first().waitFor();
  await look(page, "API", light);
  own.command({ command: "resume" });
}

/** What a phone sees that the node asks for a key. */
async function door({ context, origin }, light) {
  const page = await context.newPage();
  await page.setViewportSize({ width: light.width, height: 800 });
  await page.emulateMedia({ colorScheme: light.colorScheme, reducedMotion: "reduce" });
  await page.goto(origin.replace("127.0.0.1", "localhost"));
  await page.getByTestId("door-key").waitFor();
  await look(page, "a phone at the door", light);
  await page.close();
}

export async function accessible({ page, context, origin, own, keys }) {
  keys.add("a laptop with a rather long name of its own", "owner").tokens_per_day = 100_000;
  for (const light of LIGHTS) {
    await page.setViewportSize({ width: light.width, height: 800 });
    await page.emulateMedia({ colorScheme: light.colorScheme, reducedMotion: "reduce" });
    await page.goto(origin);
    await page.evaluate(() => localStorage.clear());
    await views({ page, origin, own }, light);
    await door({ context, origin }, light);
    for (const key of Object.keys(own.set)) delete own.set[key];
  }
}
