// The owner's machine in a real browser against a real, running `skep up` of its own settings.
//
//   node test/machine.mjs BASE_URL CHROMIUM_PATH
//
// SKEP_MODEL names a GGUF file, of which a copy that is another model is pulled.
// It must be alone in its network, with nothing that keeps it from being lent. Prints one line per check, and exits with 1 if any failed.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { check, failures, launch, watch } from "./driver.mjs";
import { phoneIsLetIn } from "./views-phone.mjs";
import { realPull } from "./views-models.mjs";
import { firstSteps, ownersWord, settings } from "./views-machine.mjs";

const [base, executablePath] = process.argv.slice(2);
if (!base || !executablePath) {
  console.error("usage: node test/machine.mjs BASE_URL CHROMIUM_PATH");
  process.exit(1);
}
const { origin } = new URL(base);

/** A server of a real model, which gives half of it until it is opened. */
async function modelServer() {
  const bytes = await readFile(process.env.SKEP_MODEL);
  // Another value at the end of the last tensor makes it another model.
  bytes[bytes.length - 1] ^= 1;
  let gate = bytes.length >> 1;
  const starts = [];
  const server = createServer(async (request, response) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    starts.push(start);
    response.writeHead(start > 0 ? 206 : 200, { etag: '"one"', "content-length": bytes.length - start, "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` });
    for (let at = start; at < bytes.length && !response.destroyed; ) {
      const next = Math.min(gate, at + 65_536);
      if (next <= at || !response.write(bytes.subarray(at, next))) await new Promise((resolve) => setTimeout(resolve, 20));
      at = Math.max(at, next);
    }
    response.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/another-bard.gguf`;
  return { url, size: bytes.length, starts, opened: () => gate, open: () => (gate = bytes.length), end: () => server.closeAllConnections() };
}

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
  // A setting on the way may have paused it, and it is lent again only after it has stayed free for a minute.
  await page.locator("[data-testid=machine-state][data-state=lending]").waitFor({ timeout: 120_000 });
  await ownersWord({ page, origin });
  check((await page.getByTestId("meter").count()) === 6 && (await page.getByTestId("sensor").count()) > 5, "the machine says what it uses and what it notices");
  const [far] = (await (await fetch(`${origin}/skep/v1/keys`)).json()).reached_at;
  if (far) await phoneIsLetIn({ page, context, origin, far });
  else console.log("SKIPPED: no other machine reaches this one, so no phone was let in");
  const server = await modelServer();
  await realPull({ page, origin, server });
  server.end();
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
