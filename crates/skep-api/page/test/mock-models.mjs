// The models of the made-up node. A pull gets on by a step with each look, so that a test sees all of it.

import { createHash } from "node:crypto";

const GIB = 2 ** 30;
const id = (text) => createHash("sha256").update(text).digest("hex");
const TOTAL = 5_200_000_000;

const WHY = {
  here: "It needs 19 MiB of memory: 3.7 MiB for its weights and 15 MiB for a conversation of 512 tokens; you allow 8.0 GiB on this machine.",
  network: "It needs 22 GiB of memory: 21 GiB for its weights and 1.0 GiB for a conversation of 4096 tokens; you allow 8.0 GiB on this machine and 3 other machines offer 16 GiB.",
  no: "It needs 132 GiB of memory: 127 GiB for its weights and 5.0 GiB for a conversation of 4096 tokens; you allow 8.0 GiB on this machine and 3 other machines offer 16 GiB, so 108 GiB are missing.",
};

const row = (name, bytes, fits, more = {}) => ({
  id: id(name), name, bytes, held_bytes: bytes, complete: true, path: `/srv/skep/models/${id(name)}/model.gguf`, in_use: false,
  served: null, task: "generate", context: 4096, need: null, fits, why: WHY[fits], stays: null, ...more,
});

export function mockModels() {
  const served = { blocks: 6, held: 6, missing: [], machines: 4 };
  const view = {
    models: [
      row("skep-tiny", 3_912_448, "here", { in_use: true, served, context: 512, stays: "this node uses it" }),
      row("Qwen3-32B-Instruct-Q5_K_M", 22_500_000_000, "network"),
      row("an-extraordinarily-large-model-with-a-name-that-does-not-fit-Q4_K", 136_000_000_000, "no"),
      row("half-of-it", 9_000_000_000, "unknown", { held_bytes: 3_100_000_000, complete: false, context: null, task: null, why: "What it needs is known when the beginning of its file is here." }),
    ],
    pulls: [
      { id: "1".repeat(32), source: "https://example.org/models/gone.gguf", name: "gone", state: "failed", bytes: 1_200_000, total: 4_100_000, bytes_per_second: null, model: null,
        error: { message: "https://example.org/models/gone.gguf answers 404 Not Found", hint: "check owner, repository, revision and file name in the address" } },
    ],
    memory: { allowed_bytes: 8 * GIB, free_bytes: 11 * GIB, machines: 3, offered_bytes: 16 * GIB },
    disk_free_bytes: 212e9,
    folder: "/srv/skep/models",
  };

  /** A look: what is fetched gets on. */
  function look() {
    for (const pull of view.pulls.filter(({ state }) => state === "fetching")) {
      pull.bytes = Math.min(TOTAL, pull.bytes + 310_000_000);
      pull.bytes_per_second = 31_000_000;
    }
    return view;
  }

  function order({ command, source, pull: key, model }) {
    const pull = view.pulls.find((each) => each.id === key);
    const refuse = (message, hint) => ({ message: `${message}\nhint: ${hint}`, type: "invalid_request_error", param: "source", code: "invalid_value" });
    if (command === "pull") {
      if (!/^hf:|^https:|^\//.test(source)) {
        return refuse(`${source} is not fetched: it is neither an address nor a model of this network, and a file is named by its whole path`, "`skep pull` takes hf:OWNER/REPOSITORY/FILE.gguf, an https address, a file or a link");
      }
      const name = source.split("/").at(-1).replace(/\.gguf$/, "");
      view.pulls.push({ id: id(source).slice(0, 32), source, name, state: "fetching", bytes: 0, total: TOTAL, bytes_per_second: null, error: null, model: null });
    } else if (command === "pause") Object.assign(pull, { state: "paused", bytes_per_second: null });
    else if (command === "resume") Object.assign(pull, { state: "fetching", error: null });
    else if (command === "cancel") view.pulls.splice(view.pulls.indexOf(pull), 1);
    else view.models.splice(view.models.findIndex((each) => each.id === model), 1);
    return null;
  }

  return { view, look, order };
}
