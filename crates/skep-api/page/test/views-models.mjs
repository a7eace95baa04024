// The models: what there is, a pull from its first byte to its last, and a removal.

import { check } from "./driver.mjs";

const look = async (origin) => (await fetch(`${origin}/skep/v1/models`)).json();
const focused = (page, testid) => page.waitForFunction((wanted) => document.activeElement?.dataset.testid === wanted, testid);

/** Over the made-up node: every sign, sentence and refusal. */
export async function models({ page, origin, models: made }) {
  await page.goto(`${origin}/#/models`);
  await page.getByTestId("model-row").first().waitFor();
  const signs = await page.getByTestId("fits").allInnerTexts();
  check(signs.join("|") === "Fits here|Fits the network|Does not fit|Not known yet", "each model says whether it fits", signs.join(" | "));
  const why = await page.getByTestId("model-why").allInnerTexts();
  check(why.every((text, index) => text === made.view.models[index].why), "and why, in the words of the node");
  check(/8 GiB/.test(await page.getByTestId("models-room").innerText()), "what room there is is told", await page.getByTestId("models-room").innerText());
  check((await page.getByTestId("model-row").first().getByTestId("model-remove").count()) === 0, "what the node uses has no button to remove it");
  const failed = page.locator("[data-testid=pull-row][data-state=failed]");
  check(/404 Not Found/.test(await failed.getByTestId("error").innerText()), "a pull that failed says why");
  await page.getByTestId("pull-source").fill("Bart");
  await page.getByTestId("pull-source").press("Enter");
  const refused = page.getByTestId("error").filter({ hasText: "Bart" });
  await refused.waitFor();
  check(/neither an address nor a model/.test(await refused.innerText()) && (await page.getByTestId("pull-source").inputValue()) === "Bart", "what cannot be pulled is refused beside the box, and stays in it");
  await page.getByTestId("pull-source").fill("hf:bees/comb/straw.gguf");
  await page.getByTestId("pull-start").click();
  const row = page.locator("[data-testid=pull-row]").filter({ hasText: "straw" });
  await row.getByRole("progressbar").waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll("[role=progressbar]")].some((bar) => Number(bar.getAttribute("aria-valuenow")) > 5));
  check(/5.2 GB · 31 MB\/s · \d+ min left/.test(await row.innerText()), "a pull says how far, how fast, and how long", (await row.innerText()).replace(/\s+/g, " "));
  await pausing({ page, row });
  await row.getByTestId("pull-cancel").click();
  await focused(page, "pull-cancel-confirm");
  await page.keyboard.press("Escape");
  await focused(page, "pull-cancel");
  check((await row.count()) === 1, "cancelling asks once more, and Escape keeps it");
  await page.keyboard.press("Enter");
  await focused(page, "pull-cancel-confirm");
  await page.keyboard.press("Enter");
  await row.waitFor({ state: "detached" });
  await focused(page, "pull-source");
  check(true, "the keyboard goes to the box when what it was on is gone");
  await removal({ page, row: page.locator("[data-testid=model-row]").filter({ hasText: "Qwen3" }) });
}

/** Pauses a pull and resumes it, both by the keyboard. */
async function pausing({ page, row }) {
  await row.getByTestId("pull-pause").focus();
  await page.keyboard.press("Enter");
  await row.getByText("Paused").waitFor();
  await focused(page, "pull-resume");
  const held = await row.getAttribute("data-bytes");
  await page.waitForTimeout(1500);
  check((await row.getAttribute("data-bytes")) === held, "a pause holds, and the keyboard is on what takes it back", `${held} bytes`);
  await page.keyboard.press("Enter");
  await page.waitForFunction(([at, before]) => Number(at.dataset.bytes) > Number(before), [await row.elementHandle(), held]);
  check(true, "it goes on where it was");
}

async function removal({ page, row }) {
  await row.getByTestId("model-remove").click();
  await row.getByTestId("model-remove-confirm").waitFor();
  await row.getByTestId("model-remove-cancel").click();
  check((await row.count()) === 1, "a removal asks once more");
  await row.getByTestId("model-remove").click();
  await row.getByTestId("model-remove-confirm").click();
  await row.waitFor({ state: "detached" });
  check(true, "a model that is removed is gone");
}

/** Over a real node: `server` gives a real file as far as it is let; on a screen as wide as a phone. */
export async function realPull({ page, origin, server }) {
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(`${origin}/#/models`);
  await page.getByTestId("model-row").first().waitFor();
  check((await page.getByTestId("model-row").first().getAttribute("data-fits")) === "here", "the model that comes with Skep fits here");
  await page.getByTestId("pull-source").fill(server.url);
  await page.getByTestId("pull-start").click();
  const row = page.getByTestId("pull-row");
  await page.waitForFunction((bytes) => Number(document.querySelector("[data-testid=pull-row]")?.dataset.bytes) >= bytes, server.opened());
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(over <= 0, "nothing is wider than a phone while a model comes", `${over}`);
  const paused = row.getByText("Paused");
  await row.getByTestId("pull-pause").click();
  await paused.waitFor();
  const held = Number(await row.getAttribute("data-bytes"));
  server.open();
  await page.waitForTimeout(1500);
  const kept = (await look(origin)).pulls[0];
  check(kept.state === "paused" && kept.bytes < server.size && Number(await row.getAttribute("data-bytes")) === kept.bytes, "a real pull is paused", `${held} bytes, then ${kept.bytes} of ${server.size}`);
  await row.getByTestId("pull-resume").click();
  await page.locator("[data-testid=pull-row][data-state=done]").waitFor();
  check(server.starts.length === 2 && server.starts[1] >= held, "and goes on where it was", server.starts.join(", "));
  const model = page.locator(`[data-testid=model-row][data-model="${(await look(origin)).pulls[0].model}"]`);
  await model.waitFor();
  check((await model.getAttribute("data-complete")) === "yes" && (await model.getAttribute("data-fits")) === "here", "what was pulled is among the models");
  await page.getByTestId("pull-aside").click();
  await row.waitFor({ state: "detached" });
  await removal({ page, row: model });
  check((await look(origin)).models.length === 1, "and off the disk when it is removed");
}
