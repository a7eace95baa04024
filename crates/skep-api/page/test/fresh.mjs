// Whether dist/ is what the sources build: exits with 1 and names the files if it is not.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));

async function contents(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(await Promise.all(files.map(async (file) => [relative(folder, file), await readFile(file, "utf8")])));
}

const outDir = await mkdtemp(join(tmpdir(), "skep-page-"));
await build({ root, logLevel: "error", build: { outDir, emptyOutDir: true } });
const [built, kept] = [await contents(outDir), await contents(join(root, "dist"))];
await rm(outDir, { recursive: true });
const stale = [...new Set([...built.keys(), ...kept.keys()])].filter((file) => built.get(file) !== kept.get(file));
for (const file of stale) console.error(`dist/${file} is not what the sources build`);
if (stale.length > 0) console.error("hint: run `npm run build` and commit dist/");
process.exit(stale.length > 0 ? 1 : 0);
