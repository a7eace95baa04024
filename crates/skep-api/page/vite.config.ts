import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

// The built page may talk to the node that serves it and to nobody else; the browser enforces it.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const policy: Plugin = {
  name: "skep-content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    { tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: POLICY }, injectTo: "head-prepend" },
  ],
};

/** Most bytes that a browser loads, compressed: the page is to be there at once, on a phone too. */
const BYTES_MAX = 150_000;

const size: Plugin = {
  name: "skep-size",
  apply: "build",
  writeBundle: (_, bundle) => {
    const texts = Object.values(bundle).map((file) => (file.type === "chunk" ? file.code : file.source));
    const bytes = texts.reduce((sum, text) => sum + gzipSync(text, { level: 9 }).length, 0);
    console.log(`the page is ${(bytes / 1000).toFixed(1)} kB compressed, of at most ${BYTES_MAX / 1000} kB`);
    if (bytes > BYTES_MAX) throw new Error("the page is larger than it may be");
  },
};

export default defineConfig({
  base: "./",
  plugins: [policy, size],
  build: {
    target: "es2022",
    // Every asset stays a file of its own, so that the policy needs no `data:`.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: { proxy: { "/v1": "http://127.0.0.1:4680", "/skep": "http://127.0.0.1:4680" } },
  test: { include: ["test/*.test.ts"], environment: "node" },
} as Parameters<typeof defineConfig>[0] & { test: object });
