import { expect, test } from "vitest";
import { readBlocks, readInline, settledLength } from "../src/lib/markdown";

const TEXT = `# Title

First line
second line

- one
- two
  more

3. three
4. four

> said
> so

| a | b |
|---|---|
| 1 | 2 |

\`\`\`rust
fn main() {}

# not a heading
\`\`\`
---
end`;

test("blocks are read", () => {
  expect(readBlocks(TEXT)).toEqual([
    { kind: "heading", level: 1, text: "Title" },
    { kind: "paragraph", text: "First line\nsecond line" },
    { kind: "list", ordered: false, start: 1, items: ["one", "two\nmore"] },
    { kind: "list", ordered: true, start: 3, items: ["three", "four"] },
    { kind: "quote", text: "said\nso" },
    { kind: "table", head: ["a", "b"], rows: [["1", "2"]] },
    { kind: "code", language: "rust", text: "fn main() {}\n\n# not a heading", open: false },
    { kind: "rule" },
    { kind: "paragraph", text: "end" },
  ]);
});

test("a fence that is still open holds the rest", () => {
  expect(readBlocks("```\nlet x")).toEqual([{ kind: "code", language: "", text: "let x", open: true }]);
});

test("plain text stays as it is, whatever it holds", () => {
  for (const text of ["a < b && c > d", "<script>alert(1)</script>", "2 * 3 * 4", "snake_case_name", "**open", "[x](javascript:alert(1))", "` "]) {
    expect(readInline(text), text).toEqual([{ kind: "text", text }]);
  }
});

test("marks inside of a line are read", () => {
  expect(readInline("a **b *c*** `d*e*` [f](https://g.h/i_(j)) https://k.l.")).toEqual([
    { kind: "text", text: "a " },
    { kind: "strong", children: [{ kind: "text", text: "b " }, { kind: "em", children: [{ kind: "text", text: "c" }] }] },
    { kind: "text", text: " " },
    { kind: "code", text: "d*e*" },
    { kind: "text", text: " " },
    { kind: "link", href: "https://g.h/i_(j)", children: [{ kind: "text", text: "f" }] },
    { kind: "text", text: " " },
    { kind: "link", href: "https://k.l", children: [{ kind: "text", text: "https://k.l" }] },
    { kind: "text", text: "." },
  ]);
});

test("a growing text never changes what is settled, and parts give the blocks of the whole", () => {
  const whole = readBlocks(TEXT);
  let settled = 0;
  const parts: string[] = [];
  for (let length = 1; length <= TEXT.length; length++) {
    const next = settledLength(TEXT.slice(0, length), settled);
    expect(next).toBeGreaterThanOrEqual(settled);
    if (next > settled) parts.push(TEXT.slice(settled, next));
    settled = next;
  }
  parts.push(TEXT.slice(settled));
  expect(parts.length).toBeGreaterThan(4);
  expect(parts.flatMap((part) => readBlocks(part))).toEqual(whole);
});

test("any text is read to its end", () => {
  for (const piece of ["*", "`", "[", "_", "> ", "- ", "|", "```\n", "\n", "1. ", "#", "~~", "\\"]) {
    const text = piece.repeat(3000);
    expect(() => readBlocks(text).forEach((block) => "text" in block && readInline(block.text))).not.toThrow();
  }
});
