import { describe, expect, it } from "vitest";
import { pathOf, termsText, usedText, type KeyView } from "../src/lib/keys";
import { LANGUAGES, snippets } from "../src/views/snippets";
import { codeIn, keepKey, keyOf, withKey } from "../src/lib/pass";

const key: KeyView = {
  id: "0011223344",
  label: "a phone",
  scope: "use",
  created: 0,
  expires: null,
  last_used: null,
  requests_per_minute: null,
  tokens_per_day: null,
  tokens_today: 0,
};

describe("the code in an address", () => {
  it("is taken from the link that a machine shows, and from nothing else", () => {
    expect(codeIn("#pair=0123456789abcdefghijklmnop")).toBe("0123456789abcdefghijklmnop");
    for (const hash of ["", "#/chat", "#pair=", "#pair=A", "#pair=a/b", "#pair=a<script>", "#/pair=a", `#pair=${"a".repeat(65)}`]) {
      expect(codeIn(hash)).toBeNull();
    }
  });
});

describe("the key of this browser", () => {
  it("goes with what is asked, beside the other headers, and only when there is one", () => {
    expect(withKey({ method: "POST" })).toEqual({ method: "POST" });
    keepKey("sk-skep-x");
    expect(keyOf()).toBe("sk-skep-x");
    const sent = new Headers(withKey({ headers: { "content-type": "application/json" } }).headers);
    expect([sent.get("authorization"), sent.get("content-type")]).toEqual(["Bearer sk-skep-x", "application/json"]);
    keepKey(null);
    expect(withKey().headers).toBeUndefined();
  });
});

describe("a picture", () => {
  it("becomes one path of its dark squares, run by run", () => {
    expect(pathOf(["110", "000", "101"])).toBe("M0 0h2v1h-2zM0 2h1v1h-1zM2 2h1v1h-1z");
    expect(pathOf([])).toBe("");
  });
});

describe("a key in words", () => {
  it("says what it opens, how much of it and until when", () => {
    expect(termsText(key, 0)).toBe("the models");
    const limited = { ...key, scope: "owner" as const, requests_per_minute: 5, tokens_per_day: 100_000, tokens_today: 7, expires: 1 };
    expect(termsText(limited, 2000)).toBe("all that the owner can do · 5 requests a minute · 7 of 100,000 tokens today · over");
  });

  it("says when it was last used", () => {
    const used = (ago: number) => usedText({ ...key, last_used: 1_000_000 - ago }, 1_000_000_000);
    expect(usedText(key, 0)).toBe("never used");
    expect([used(5), used(600), used(7200), used(259_200)]).toEqual(["in use now", "last used 10 min ago", "last used 2 h ago", "last used 3 days ago"]);
  });
});

describe("the examples", () => {
  it("show no key on the node's own machine, and each of them one elsewhere", () => {
    const codes = (far: boolean) => snippets("http://hive.lan:7537", "m", far).flatMap(({ code }) => LANGUAGES.map((language) => code[language]));
    for (const code of codes(false)) expect(code).not.toContain("SKEP_API_KEY");
    for (const code of codes(true)) {
      expect(code.match(/SKEP_API_KEY/g)).toHaveLength(1);
      expect(code).not.toContain('"none"');
    }
  });
});
