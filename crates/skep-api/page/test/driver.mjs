// What the browser tests share: the browser, checks that print a line each, and what a page says and asks.

import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Folders that may hold packages: the one in SKEP_NODE_MODULES, else the node_modules beside this package. */
const PLACES = [process.env.SKEP_NODE_MODULES, fileURLToPath(new URL("../node_modules", import.meta.url))].filter(Boolean);

/** Something of an npm package, from the first place that has it. */
function from(name, take) {
  for (const place of PLACES) {
    try {
      // What it is given names a file beside `node_modules`, which need not exist.
      return take(createRequire(join(place, "..", "package.json")), join(place, name));
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") throw error;
    }
  }
  console.error(`${name} is not in ${PLACES.join(" nor in ")}\nhint: run \`npm ci\` in this folder`);
  return process.exit(1);
}

/** A Chromium that asks nobody for anything. */
export function launch(executablePath) {
  const { chromium } = from("playwright-core", (require, path) => require(path));
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

/** The path of axe's script. */
export const axePath = () => from("axe-core/axe.min.js", (require, path) => require.resolve(path));

let failed = 0;

/** How many checks did not hold; the last word of a run. */
export function failures() {
  console.log(failed === 0 ? "all checks of the page passed" : `${failed} checks of the page failed`);
  return failed;
}

export function check(holds, what, detail = "") {
  if (!holds) failed += 1;
  console.log(`${holds ? "ok  " : "FAIL"} ${what}${detail === "" ? "" : `: ${detail}`}`);
}

/** Notes down what a page writes to its console as an error, and what it asks of others than `origin`. */
export function watch(page, origin) {
  const seen = { errors: [], foreign: [] };
  page.on("console", (message) => message.type() === "error" && seen.errors.push({ text: message.text(), url: message.location().url }));
  page.on("pageerror", (error) => seen.errors.push({ text: String(error), url: "" }));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (/^(https?|wss?):$/.test(url.protocol) && url.origin !== origin) seen.foreign.push(request.url());
  });
  return seen;
}
