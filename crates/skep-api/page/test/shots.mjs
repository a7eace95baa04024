// Takes pictures of the page over the made-up node, to look at: node test/shots.mjs FOLDER [CHROMIUM]

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { mock } from "./mock.mjs";

const [folder = "shots", executablePath = "/usr/bin/chromium"] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const { server, state } = mock();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const base = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({ executablePath, args: ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });

async function tour(name, options) {
  for (const node of state.nodes) node.alive = true;
  state.last_answer = null;
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && console.log(`${name}: ${message.text()}`));
  page.on("pageerror", (error) => console.log(`${name}: ${error}`));
  const shot = async (view) => page.screenshot({ path: join(folder, `${name}-${view}.png`) });
  const id = (testid) => page.getByTestId(testid);
  await page.goto(base);
  await page.waitForTimeout(300);
  await shot("1-welcome");
  await id("prompt").fill("What is a skep?");
  await id("prompt").press("Enter");
  await page.waitForTimeout(900);
  await shot("2-streaming");
  if (await id("unplug").first().isVisible().catch(() => false)) {
    const node = await id("route-hop").first().getAttribute("data-node");
    await page.locator(`[data-testid=unplug][data-node="${node}"]`).click();
    await shot("3-plug");
    await id("unplug-confirm").click();
  } else state.nodes[0].alive = false;
  await id("explain-tokens").waitFor();
  await page.waitForTimeout(1200);
  await shot("4-answered");
  await id("settings-open").click();
  await shot("5-settings");
  await id("settings-close").click();
  await id("view-network").click();
  await page.waitForTimeout(400);
  await shot("6-network");
  await page.locator("main").evaluate((main) => main.scrollTo(0, main.scrollHeight));
  await shot("6b-network-low");
  await id("view-api").click();
  await page.waitForTimeout(300);
  await shot("7-api");
  await page.locator("main").evaluate((main) => main.scrollTo(0, main.scrollHeight * 0.45));
  await shot("8-api-low");
  await id("view-chat").click();
  await page.getByTestId("mode-text").check({ force: true });
  await id("prompt").fill("FIRST KEEPER:\nWhat news from the garden");
  await id("prompt").press("Enter");
  await page.waitForTimeout(700);
  await id("stop").click();
  await page.waitForTimeout(200);
  await shot("9-text");
  await id("prompt").fill("this is far too long");
  await id("prompt").press("Enter");
  await page.waitForTimeout(400);
  await shot("a-error");
  await context.close();
}

await tour("light", { viewport: { width: 1280, height: 900 }, colorScheme: "light" });
await tour("dark", { viewport: { width: 1280, height: 900 }, colorScheme: "dark" });
await tour("phone", { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, colorScheme: "light", hasTouch: true });
await browser.close();
server.close();
