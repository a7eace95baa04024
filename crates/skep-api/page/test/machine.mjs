// The owner's machine in a real browser against a real, running `skep up` of its own settings.
//
//   node test/machine.mjs BASE_URL CHROMIUM_PATH
//
// It must be alone in its network, with nothing that keeps it from being lent. Prints one line per check, and exits with 1 if any failed.

import { check, failures, launch, watch } from "./driver.mjs";
import { phoneIsLetIn } from "./views-phone.mjs";
import { firstSteps, ownersWord, settings } from "./views-machine.mjs";

const [base, executablePath] = process.argv.slice(2);
if (!base || !executablePath) {
  console.error("usage: node test/machine.mjs BASE_URL CHROMIUM_PATH");
  process.exit(1);
}
const { origin } = new URL(base);

const browser = await launch(executablePath);
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const seen = watch(page, origin);
  await firstSteps({ page, origin });
  await page.goto(`${origin}/#/settings`);
  await settings({ page, origin });
  await page.getByTestId("view-machine").click();
  await page.locator("[data-testid=machine-state][data-state=lending]").waitFor();
  await ownersWord({ page, origin });
  check((await page.getByTestId("meter").count()) === 6 && (await page.getByTestId("sensor").count()) > 5, "the machine says what it uses and what it notices");
  const [far] = (await (await fetch(`${origin}/skep/v1/keys`)).json()).reached_at;
  if (far) await phoneIsLetIn({ page, context, origin, far });
  else console.log("SKIPPED: no other machine reaches this one, so no phone was let in");
  // The tests ask for what is refused, and a machine that only listens to itself gives no invite.
  const errors = seen.errors.filter(({ url }) => !/\/skep\/v1\/(settings|invite)$/.test(url)).map(({ text }) => text);
  check(errors.length === 0, "the page wrote no error to the console", errors.join(" | "));
  check(seen.foreign.length === 0, "the page asked no other origin", seen.foreign.join(" "));
} catch (error) {
  check(false, "the tour of the machine came to its end", String(error.stack ?? error));
} finally {
  await browser.close();
}
process.exit(failures() === 0 ? 0 : 1);
