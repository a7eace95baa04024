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

export default defineConfig({
  base: "./",
  plugins: [policy],
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
