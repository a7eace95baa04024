// A phone is let in by a picture, uses the page with its key, and is sent away again.

import { check } from "./driver.mjs";

/** The link behind the picture that the owner's page shows. */
async function shownLink(page, label, scope) {
  await page.getByTestId("pair-label").fill(label);
  await page.getByTestId(`pair-${scope}`).check();
  await page.getByTestId("pair").click();
  await page.getByTestId("pair-picture").waitFor();
  return page.getByTestId("pair-picture").getAttribute("data-link");
}

const doorOf = async (phone, state) => phone.locator(`[data-testid=door][data-state=${state}]`).waitFor();

/** Over any node that other machines reach; `far` is the address by which the phone reaches it. */
export async function phoneIsLetIn({ page, context, origin, far }) {
  await page.goto(`${origin}/#/machine`);
  await page.getByTestId("phone").waitFor();
  const link = new URL(await shownLink(page, "a test phone", "use"));
  const squares = await page.getByTestId("pair-picture").locator("path").getAttribute("d");
  check(/^#pair=[0-9a-v]+$/.test(link.hash) && /^M0 0h7v1h-7z/.test(squares), "the owner's page shows a link and its picture", `${squares.length} characters of squares`);
  check((await page.getByTestId("pair-link").innerText()) === link.href, "the link stands beside the picture");
  const there = `${far}/`;
  const phone = await (await context.browser().newContext({ viewport: { width: 390, height: 800 } })).newPage();
  phone.setDefaultTimeout(30_000);
  await phone.goto(there);
  await doorOf(phone, "shut");
  const told = await phone.getByTestId("door").innerText();
  check(/asks for a key/.test(told) && (await phone.getByTestId("error").count()) === 0, "without a key the phone is told how to get one");
  await phone.goto(`${there}${link.hash}`);
  await phone.getByTestId("prompt").waitFor();
  check(!(await phone.evaluate(() => location.href)).includes("pair="), "the code is not left in the address");
  await page.getByText("a test phone is in.").waitFor();
  check((await page.getByTestId("key-row").count()) > 0, "the owner's page says that the phone is in, and lists its key");
  await phone.getByTestId("prompt").fill("Say hello.");
  await phone.getByTestId("prompt").press("Enter");
  await phone.locator("[data-testid=message-assistant][data-state=done]").waitFor();
  check((await phone.getByTestId("answer-text").innerText()).length > 0, "the phone is answered");
  check((await phone.getByTestId("view-machine").count()) === 0, "a phone that may use the models sees nothing of the owner's");
  await phone.goto("about:blank");
  await phone.goto(`${there}${link.hash}`);
  await doorOf(phone, "shut");
  check(/not good any more/.test(await phone.getByTestId("door").innerText()), "the link lets nobody in a second time");
  await phone.reload();
  await phone.getByTestId("prompt").waitFor();
  check(true, "the phone keeps its key");
  const row = page.getByTestId("key-row").filter({ hasText: "a test phone" });
  await row.getByTestId("revoke").click();
  await row.waitFor({ state: "detached" });
  await doorOf(phone, "shut");
  check(true, "a key that is revoked shuts the phone out at once");
  await phone.context().close();
}

/** What only the made-up node can be asked for. */
export async function phoneOfTheOwner({ page, context, origin, keys }) {
  keys.open = false;
  await page.goto(`${origin}/#/machine`);
  await page.getByTestId("phone-shut").waitFor();
  check(/skep up --open/.test(await page.getByTestId("phone-shut").innerText()), "a machine that nobody reaches says how to open it");
  keys.open = true;
  keys.add("laptop", "owner");
  const phone = await (await context.browser().newContext()).newPage();
  await phone.goto(origin.replace("127.0.0.1", "localhost"));
  await phone.getByTestId("door-key").fill("sk-skep-wrong");
  await phone.getByTestId("door-open").click();
  await doorOf(phone, "shut");
  await phone.getByTestId("door-key").fill("sk-skep-laptop");
  await phone.getByTestId("door-open").click();
  await phone.getByTestId("start").waitFor();
  check(true, "a key can be typed, and the owner's key opens what the owner's machine shows");
  await phone.getByTestId("start-close").click();
  await phone.goto(`${origin.replace("127.0.0.1", "localhost")}/#/machine`);
  await phone.getByTestId("phone-far").waitFor();
  check((await phone.getByTestId("key-row").count()) === 1 && (await phone.getByTestId("pair").count()) === 0, "it sees who has a key, and lets nobody in");
  await phone.context().close();
}
