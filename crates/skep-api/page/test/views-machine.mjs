// The first steps, the machine, and its settings.

import { check } from "./driver.mjs";

/** What the node itself says, whichever node it is. */
const ask = async (origin, path) => (await fetch(`${origin}/skep/v1/${path}`)).json();
const valueOf = async (origin, key) => (await ask(origin, "settings")).values[key];
const becomes = (page, state) => page.locator(`[data-testid=machine-state][data-state=${state}]`).waitFor();
const step = (page) => page.getByTestId("start").getAttribute("data-step");
const until = (page, holds, value) => page.waitForFunction(holds, value);

export async function firstSteps({ page, origin }) {
  await page.goto(origin);
  await page.getByTestId("start").waitFor();
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null);
  console.log(`     first paint ${Math.round(paint)} ms after the navigation began`);
  check((await step(page)) === "1", "who has never seen the page is led through the first steps");
  await page.getByTestId("purpose-use").click();
  check(/paused for good/.test(await page.getByTestId("start").innerText()), "use only says plainly that nothing is lent");
  await page.getByTestId("start-next").click();
  await until(page, () => document.querySelector("[data-testid=start]").dataset.step === "3");
  const paused = await ask(origin, "machine");
  check(paused.state === "paused" && paused.reason.code === "owner" && paused.until_ms === null, "use only pauses lending for good, and needs no preset");
  await page.getByTestId("start-back").click();
  check((await step(page)) === "1", "the way back leaves out what was not needed");
  await page.getByTestId("purpose-both").click();
  await page.getByTestId("start-next").click();
  await page.getByTestId("preset-quiet").waitFor();
  check((await ask(origin, "machine")).reason?.code !== "owner" && (await step(page)) === "2", "both lends again");
  await page.getByTestId("preset-quiet").click();
  await until(page, () => document.querySelector("[data-key='share.preset']").dataset.raw === "quiet");
  await page.getByText("Saved").waitFor();
  check((await valueOf(origin, "share.preset")).raw === "quiet", "a preset is taken at once");
  const meters = await page.getByTestId("would-use").getByTestId("meter").allInnerTexts();
  check(meters.length === 6 && /of at most 50 %/.test(meters[0]), "what the preset would use is shown live", meters.join("; ").replace(/\s+/g, " "));
  await page.getByTestId("start-next").click();
  await page.getByTestId("invite").click();
  const made = page.getByTestId("invite-link").or(page.getByTestId("error"));
  await made.waitFor();
  const line = await made.innerText();
  check(/^skep up skep:|skep up --listen/.test(line), "an invite is one line to run, or what to do for one is said", line.slice(0, 120).replace(/\s+/g, " "));
  await page.getByTestId("start-next").click();
  await page.getByTestId("start-idea").first().click();
  await page.locator("[data-testid=message-assistant][data-state=done]").waitFor();
  check((await page.getByTestId("answer-text").innerText()).length > 0, "the last step answers");
  await page.getByTestId("start-next").click();
  await page.getByTestId("messages").waitFor();
  check((await page.getByTestId("message-assistant").count()) === 1, "the chat goes on where the first steps ended");
  await page.reload();
  await page.getByTestId("prompt").waitFor();
  await page.getByTestId("view-machine").waitFor();
  check((await page.getByTestId("start").count()) === 0, "the first steps are shown once");
  await page.getByTestId("view-settings").click();
  await page.getByTestId("start-again").click();
  check((await step(page)) === "1", "and again for whom asks in the settings");
  for (let at = 1; at < 4; at++) await page.getByTestId("start-skip").click();
  check((await step(page)) === "4" && (await valueOf(origin, "share.preset")).raw === "quiet", "each step can be skipped, and then changes nothing");
}

export async function myMachine({ page, origin, own }) {
  await page.goto(`${origin}/#/machine`);
  const state = page.getByTestId("machine-state");
  await becomes(page, "lending");
  check(/You are lending this machine/.test(await state.innerText()), "the state is one sentence");
  const meters = await page.getByTestId("meter").evaluateAll((all) => all.map((at) => at.dataset.name));
  check(meters.length === 6, "use is shown against limits", meters.join(", "));
  const valued = await page.locator("[role=meter]").evaluateAll((all) => all.every((at) => at.getAttribute("aria-label") && at.getAttribute("aria-valuetext")));
  check(valued, "every meter has a name and a value in words");
  check(/lent \d+ h/.test(await page.getByTestId("timeline").getAttribute("aria-label")), "the day is told in words as well");
  await page.locator(".day-list summary").click();
  check((await page.getByTestId("timeline-list").locator("li").count()) > 8, "the day is a list for whom wants one");
  const gaps = page.locator("[data-testid=sensor][data-gap=yes]");
  check((await gaps.count()) === 2 && /Cannot read.*\n?.*root/s.test(await gaps.last().innerText()), "what cannot be read says why, with an advice");
  check(/blocks 0 to 2 of skep-tiny/.test(await page.getByTestId("holds").innerText()), "what is held is told");
  await ownersWord({ page, origin });
  own.inUse();
  await becomes(page, "paused");
  check(/Somebody uses this machine/.test(await state.innerText()) && (await page.getByTestId("resume").count()) === 0, "a pause by itself says why, and offers no button that would not help");
  await page.getByTestId("remedy").getByRole("link").click();
  await page.getByTestId("limits").waitFor();
  await until(page, () => document.activeElement?.id === "share.when_in_use");
  check(true, "what would change it leads to its setting");
}

/** Pauses, resumes and finishes a machine that is lent. */
export async function ownersWord({ page, origin }) {
  const ends = async () => (await ask(origin, "machine")).until_ms;
  await page.getByTestId("pause-2h").click();
  await becomes(page, "paused");
  check(Math.abs((await ends()) - Date.now() - 7_200_000) < 60_000, "a pause of two hours ends in two hours");
  check(/Until \d+:\d\d, in 2 h/.test(await page.getByTestId("remedy").innerText()), "until when is told", await page.getByTestId("remedy").innerText());
  await page.getByTestId("resume").focus();
  await page.keyboard.press("Enter");
  await becomes(page, "lending");
  await until(page, () => document.activeElement?.dataset.testid === "pause-now");
  check(true, "the keyboard stays where it was when a button goes away");
  await page.getByTestId("pause-tomorrow").click();
  await becomes(page, "paused");
  check(new Date(await ends()).getHours() === 8, "until tomorrow is until the morning");
  await page.getByTestId("pause-now").click();
  await until(page, () => !/Until/.test(document.querySelector("[data-testid=remedy]").textContent));
  check((await ends()) === null, "a pause until resumed has no end");
  await page.getByTestId("resume").click();
  await becomes(page, "lending");
  await page.getByTestId("finish").click();
  // Without work it is finished at once.
  await page.locator("[data-testid=machine-state]:is([data-state=finishing], [data-reason=finished])").waitFor();
  check((await page.getByTestId("resume").count()) === 1, "finishing can be taken back");
  await page.getByTestId("resume").click();
  await becomes(page, "lending");
}

/** Changes a setting through its control to another value that it takes; gives what the node should then have. */
async function change(control, kind, property) {
  const now = await control.getAttribute("data-raw");
  if (kind === "choice") {
    const word = property.enum.find((other) => other !== now);
    await control.locator(`input[data-value="${word}"]`).check({ force: true });
    return word;
  }
  if (kind === "switch") {
    await control.getByRole("switch").click({ force: true });
    return now !== "true";
  }
  const input = control.locator("input.entry");
  if (kind === "text") {
    await input.fill("sat-sun 09:00-17:00");
    await input.press("Tab");
    return "sat-sun 09:00-17:00";
  }
  const none = control.getByTestId("no-limit");
  if ((await none.count()) > 0 && (await none.isChecked())) await none.click();
  await control.page().waitForFunction((at) => !at.disabled, await input.elementHandle());
  const bytes = (await control.locator("select").count()) > 0;
  await input.fill("31");
  await input.press("Tab");
  return bytes ? `31${await control.locator("select").inputValue()}` : 31;
}

export async function settings({ page, origin }) {
  await page.goto(`${origin}/#/settings`);
  await page.getByTestId("limits").waitFor();
  await page.getByTestId("control").first().waitFor();
  const { schema } = await ask(origin, "settings");
  const properties = Object.values(schema.properties).flatMap((table) => Object.values(table.properties));
  const shown = await page.getByTestId("control").evaluateAll((all) => all.map((at) => at.dataset.key));
  check(shown.length === properties.length && new Set(shown).size === shown.length, "the page has one control for each property of the schema", `${shown.length} of ${properties.length}`);
  const failed = [];
  for (const property of properties.filter((each) => each["x-key"] !== "share.preset")) {
    const key = property["x-key"];
    const control = page.locator(`[data-testid=control][data-key="${key}"]`);
    const wanted = await change(control, await control.getAttribute("data-kind"), property);
    await control.getByText("Saved").waitFor();
    const kept = await valueOf(origin, key);
    if (kept.raw !== wanted || (await control.getAttribute("data-origin")) !== "page") failed.push(`${key}: ${kept.raw}, not ${wanted}`);
    await control.getByTestId("to-preset").click();
    await control.getByText("Saved").waitFor();
    if ((await valueOf(origin, key)).origin !== "preset" || (await control.getAttribute("data-origin")) !== "preset") failed.push(`${key} did not go back`);
  }
  check(failed.length === 0, "every setting is changed by its control, says so, and goes back to the preset", failed.join("; "));
  const free = page.locator('[data-testid=control][data-key="share.disk_free_min"]');
  await free.locator("input.entry").fill("17");
  await page.evaluate(() => document.querySelector("[data-key='share.gpu'] input").click());
  await page.locator('[data-testid=control][data-key="share.gpu"]').getByText("Saved").waitFor();
  check((await free.locator("input.entry").inputValue()) === "17", "what somebody types is not disturbed by what comes from the node");
  await free.locator("input.entry").press("Tab");
  await free.getByText("Saved").waitFor();
  for (const key of ["share.disk_free_min", "share.gpu"]) {
    await page.locator(`[data-testid=control][data-key="${key}"]`).getByTestId("to-preset").click();
    await page.locator(`[data-testid=control][data-key="${key}"][data-origin=preset]`).getByText("Saved").waitFor();
  }
  const pair = await page.evaluate(() => document.querySelector("[data-key='share.cpu_percent']").closest(".limit").querySelectorAll("[data-testid=control]").length);
  check(pair === 2, "a value and its value in use stand side by side");
  const cpu = page.locator('[data-testid=control][data-key="share.cpu_percent"]');
  await cpu.locator("input").fill("0");
  await cpu.locator("input").press("Tab");
  const refused = await cpu.getByTestId("refused").innerText();
  check(/^“Processors” cannot be 0: it takes 1 to 100 %/.test(refused) && (await valueOf(origin, "share.cpu_percent")).origin === "preset", "what the node refuses is said at the control", refused);
  check((await cpu.locator("input").inputValue()) === (await cpu.getAttribute("data-raw")), "and the control shows what still holds");
  await page.getByTestId("preset-full").click();
  await page.waitForFunction(() => document.querySelector("[data-key='share.cpu_percent']").dataset.raw === "100");
  check((await valueOf(origin, "share.preset")).raw === "full", "a preset changes all that nobody set");
}

export async function withoutMachine({ page, origin }) {
  await page.goto(`${origin}/#/machine`);
  await page.getByTestId("prompt").waitFor();
  await page.waitForTimeout(300);
  const views = await page.locator("nav a").evaluateAll((all) => all.map((at) => at.dataset.testid));
  check(views.join(" ") === "view-chat view-network view-activity view-api", "a node without a machine shows none of its views", views.join(" "));
  check((await page.getByTestId("start").count()) === 0 && (await page.getByTestId("error").count()) === 0, "and neither first steps nor an error");
}
