// Every view of the page in a real browser, over the made-up node, which can say whatever a test needs.
//
//   node test/views.mjs CHROMIUM_PATH [DIST]
//
// Prints one line per check, and exits with 1 if any failed. Times are printed and judged by nobody: a machine may be busy.

import { fileURLToPath } from "node:url";
import { check, failures, launch, watch } from "./driver.mjs";

const [executablePath, dist] = process.argv.slice(2);
if (!executablePath) {
  console.error("usage: node test/views.mjs CHROMIUM_PATH [DIST]");
  process.exit(1);
}
if (dist) process.env.SKEP_DIST = dist;
else process.env.SKEP_DIST ??= fileURLToPath(new URL("../dist", import.meta.url));

const { mock } = await import("./mock.mjs");
const { mockMachine } = await import("./mock-machine.mjs");
const { hostile, long, torn } = await import("./views-answers.mjs");
const { accessible } = await import("./views-axe.mjs");
const { phoneIsLetIn, phoneOfTheOwner } = await import("./views-phone.mjs");
const { mockKeys } = await import("./mock-keys.mjs");
const { models } = await import("./views-models.mjs");
const { activity, activityWithoutMachine } = await import("./views-activity.mjs");
const { files, versions } = await import("./views-chat.mjs");
const { firstSteps, myMachine, settings, withoutMachine } = await import("./views-machine.mjs");

const browser = await launch(executablePath);

/** Runs a part over a made-up node of its own, in a browser that has never seen it or has. */
async function part(name, run, { own = mockMachine(), met = true, options = {}, context: more = {}, expects = [] } = {}) {
  const keys = own && mockKeys();
  const node = mock({ own, keys, delay: 2, ...options });
  await new Promise((resolve) => node.server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${node.server.address().port}`;
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", ...more });
  if (met) await context.addInitScript(() => location.protocol === "http:" && localStorage.setItem("skep.met", "1"));
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const seen = watch(page, origin);
  console.log(`— ${name}`);
  try {
    await run({ page, context, origin, own, keys, node, models: node.models });
  } catch (error) {
    check(false, `${name} came to its end`, String(error.stack ?? error));
  }
  const errors = seen.errors.filter(({ text }) => !expects.some((expected) => text.includes(expected))).map(({ text }) => text);
  check(errors.length === 0, `${name}: nothing unexpected in the console`, errors.join(" | "));
  check(seen.foreign.length === 0, `${name}: no other origin was asked`, seen.foreign.join(" "));
  await context.close();
  node.server.closeAllConnections();
  node.server.close();
}

try {
  await part("the first steps", firstSteps, { met: false });
  await part("my machine", myMachine);
  await part("the settings", settings, { expects: ["400"] });
  await part("a phone", (given) => phoneIsLetIn({ ...given, far: given.origin.replace("127.0.0.1", "localhost") }));
  await part("a phone of the owner's", phoneOfTheOwner);
  await part("the models", models, { expects: ["400"] });
  await part("a node without a machine", withoutMachine, { own: null, met: false, expects: ["404"] });
  await part("what the eye and the keyboard meet", accessible, { met: false, expects: ["400"] });
  await part("an answer that breaks off", torn, { expects: ["503", "ERR_INCOMPLETE_CHUNKED_ENCODING"] });
  await part("activity", activity);
  await part("activity of a node without a machine", activityWithoutMachine, { own: null, expects: ["404"] });
  await part("versions of turns", versions);
  await part("chats as files", files);
  await part("hostile text", hostile);
  await part("an answer of 100,000 tokens", long, { options: { delay: 0 } });
} finally {
  await browser.close();
}
process.exit(failures() === 0 ? 0 : 1);
