// The first steps, the machine, and its settings.

import { check } from "./driver.mjs";

const PROPERTIES = (own) => Object.values(own.settings().schema.properties).flatMap((table) => Object.values(table.properties));
const step = (page) => page.getByTestId("start").getAttribute("data-step");
const until = (page, holds, value) => page.waitForFunction(holds, value);

export async function firstSteps({ page, origin, own, node }) {
  await page.goto(origin);
  await page.getByTestId("start").waitFor();
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null);
  console.log(`     first paint ${Math.round(paint)} ms after the navigation began`);
  check((await step(page)) === "1", "who has never seen the page is led through the first steps");
  await page.getByTestId("purpose-use").click();
  check(/paused for good/.test(await page.getByTestId("start").innerText()), "use only says plainly that nothing is lent");
  await page.getByTestId("start-next").click();
  await until(page, () => document.querySelector("[data-testid=start]").dataset.step === "3");
  check(own.machine.state === "paused" && own.machine.reason.code === "owner" && own.machine.until_ms === null, "use only pauses lending for good, and needs no preset");
  await page.getByTestId("start-back").click();
  check((await step(page)) === "1", "the way back leaves out what was not needed");
  await page.getByTestId("purpose-both").click();
  await page.getByTestId("start-next").click();
  await page.getByTestId("preset-quiet").waitFor();
  check(own.machine.state === "lending" && (await step(page)) === "2", "both lends again");
  await page.getByTestId("preset-quiet").click();
  await until(page, () => document.querySelector("[data-key='share.preset']").dataset.raw === "quiet");
  check(own.set["share.preset"] === "quiet", "a preset is taken at once");
  const meters = await page.getByTestId("would-use").getByTestId("meter").allInnerTexts();
  check(meters.length === 6 && /of at most 50 %/.test(meters[0]), "what the preset would use is shown live", meters.join("; ").replace(/\s+/g, " "));
  await page.getByTestId("start-next").click();
  await page.getByTestId("invite").click();
  const line = await page.getByTestId("invite-link").innerText();
  check(/^skep up skep:/.test(line), "an invite is one line to run", line.slice(0, 24));
  await page.getByTestId("start-next").click();
  await page.getByTestId("start-idea").first().click();
  await page.locator("[data-testid=message-assistant][data-state=done]").waitFor();
  check((await page.getByTestId("answer-text").innerText()).length > 50, "the last step answers");
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
  check((await step(page)) === "4" && own.set["share.preset"] === "quiet", "each step can be skipped, and then changes nothing");
  check(node.state.nodes.length === 4, "the network is what it was");
}

export async function myMachine({ page, origin, own }) {
  await page.goto(`${origin}/#/machine`);
  const state = page.getByTestId("machine-state");
  const becomes = (wanted) => page.locator(`[data-testid=machine-state][data-state=${wanted}]`).waitFor();
  await becomes("lending");
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
  await page.getByTestId("pause-2h").click();
  await becomes("paused");
  const left = own.machine.until_ms - Date.now();
  check(Math.abs(left - 7_200_000) < 60_000, "a pause of two hours ends in two hours");
  check(/Until \d+:\d\d, in 2 h/.test(await page.getByTestId("remedy").innerText()), "until when is told", await page.getByTestId("remedy").innerText());
  await page.getByTestId("resume").click();
  await becomes("lending");
  await page.getByTestId("pause-tomorrow").click();
  await becomes("paused");
  check(new Date(own.machine.until_ms).getHours() === 8, "until tomorrow is until the morning");
  await page.getByTestId("pause-now").click();
  await until(page, () => !/Until/.test(document.querySelector("[data-testid=remedy]").textContent));
  check(own.machine.until_ms === null, "a pause until resumed has no end");
  await page.getByTestId("resume").click();
  await becomes("lending");
  await page.getByTestId("finish").click();
  await becomes("finishing");
  check((await page.getByTestId("resume").count()) === 1, "finishing can be taken back");
  own.inUse();
  await becomes("paused");
  check(/Somebody uses this machine/.test(await state.innerText()) && (await page.getByTestId("resume").count()) === 0, "a pause by itself says why, and offers no button that would not help");
  await page.getByTestId("remedy").getByRole("link").click();
  await page.getByTestId("limits").waitFor();
  await until(page, () => document.activeElement?.id === "share.when_in_use");
  check(true, "what would change it leads to its setting");
}

/** Changes a setting through its control to another value that it takes; gives what the node should then have. */
async function change(control, kind, property) {
  if (kind === "choice") {
    const word = property.enum.find((other) => other !== property["x-presets"].balanced);
    await control.locator(`input[data-value="${word}"]`).check({ force: true });
    return word;
  }
  if (kind === "switch") {
    await control.getByRole("switch").setChecked(!property["x-presets"].balanced, { force: true });
    return !property["x-presets"].balanced;
  }
  const input = control.locator("input.entry");
  if (kind === "text") {
    await input.fill("sat-sun 9:00-17:00");
    await input.press("Tab");
    return "sat-sun 9:00-17:00";
  }
  const none = control.getByTestId("no-limit");
  if ((await none.count()) > 0 && (await none.isChecked())) await none.click();
  await control.page().waitForFunction((at) => !at.disabled, await input.elementHandle());
  const bytes = (await control.locator("select").count()) > 0;
  await input.fill("31");
  await input.press("Tab");
  return bytes ? `31${await control.locator("select").inputValue()}` : 31;
}

export async function settings({ page, origin, own }) {
  await page.goto(`${origin}/#/settings`);
  await page.getByTestId("limits").waitFor();
  await page.getByTestId("control").first().waitFor();
  const properties = PROPERTIES(own);
  const shown = await page.getByTestId("control").evaluateAll((all) => all.map((at) => at.dataset.key));
  check(shown.length === properties.length && new Set(shown).size === shown.length, "the page has one control for each property of the schema", `${shown.length} of ${properties.length}`);
  const failed = [];
  for (const property of properties.filter((each) => each["x-key"] !== "share.preset")) {
    const key = property["x-key"];
    const control = page.locator(`[data-testid=control][data-key="${key}"]`);
    const wanted = await change(control, await control.getAttribute("data-kind"), property);
    await control.getByText("Saved").waitFor();
    if (own.set[key] !== wanted || (await control.getAttribute("data-origin")) !== "page") failed.push(`${key}: ${own.set[key]}, not ${wanted}`);
    await control.getByTestId("to-preset").click();
    await control.getByText("Saved").waitFor();
    if (key in own.set || (await control.getAttribute("data-origin")) !== "preset") failed.push(`${key} did not go back`);
  }
  check(failed.length === 0, "every setting is changed by its control, says so, and goes back to the preset", failed.join("; "));
  const pair = await page.evaluate(() => document.querySelector("[data-key='share.cpu_percent']").closest(".limit").querySelectorAll("[data-testid=control]").length);
  check(pair === 2, "a value and its value in use stand side by side");
  const cpu = page.locator('[data-testid=control][data-key="share.cpu_percent"]');
  await cpu.locator("input").fill("0");
  await cpu.locator("input").press("Tab");
  const refused = await cpu.getByTestId("refused").innerText();
  check(/^“Processors” cannot be 0: it takes 1 to 100 %/.test(refused) && !("share.cpu_percent" in own.set), "what the node refuses is said at the control", refused);
  check((await cpu.locator("input").inputValue()) === "75", "and the control shows what still holds");
  await page.getByTestId("preset-full").click();
  await page.waitForFunction(() => document.querySelector("[data-key='share.cpu_percent']").dataset.raw === "100");
  check(own.set["share.preset"] === "full", "a preset changes all that nobody set");
}

export async function withoutMachine({ page, origin }) {
  await page.goto(`${origin}/#/machine`);
  await page.getByTestId("prompt").waitFor();
  await page.waitForTimeout(300);
  const views = await page.locator("nav a").evaluateAll((all) => all.map((at) => at.dataset.testid));
  check(views.join(" ") === "view-chat view-network view-api", "a node without a machine shows none of its views", views.join(" "));
  check((await page.getByTestId("start").count()) === 0 && (await page.getByTestId("error").count()) === 0, "and neither first steps nor an error");
}
