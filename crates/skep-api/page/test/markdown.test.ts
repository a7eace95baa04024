import { expect, test } from "vitest";
import { Grower } from "../src/lib/grow";
import { readBlocks, readInline } from "../src/lib/markdown";

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
  const grower = new Grower(1, 1000);
  let before: string[] = [];
  for (let length = 1; length < TEXT.length; length++) {
    grower.take(TEXT.slice(0, length));
    const parts = grower.parts.map((part) => part.text);
    expect(parts.slice(0, before.length)).toEqual(before);
    before = parts;
  }
  const open = grower.take(`${TEXT}\n`);
  expect(grower.parts.length).toBeGreaterThan(3);
  const texts = [...grower.parts.map((part) => part.text), open.text];
  expect(texts.join("")).toBe(`${TEXT}\n`);
});

test("what a grower has settled and what is open give the blocks of the whole text at every length", () => {
  const grower = new Grower(20, 1000);
  for (let length = 1; length <= TEXT.length; length++) {
    const text = TEXT.slice(0, length);
    const open = grower.take(text);
    const blocks = [...grower.parts.map((part) => part.text), open.text].flatMap((part) => readBlocks(part));
    const { code } = open;
    const all = code ? [...blocks, { kind: "code", language: code.language, text: code.text.replace(/\n$/, ""), open: true }] : blocks;
    // The line that a fence is being written on may still become part of its inside.
    if (!code || !/\n`{1,3}$/.test(text)) expect(all, JSON.stringify(text)).toEqual(readBlocks(text.replace(/\n$/, "")));
  }
});

const LONG = {
  list: "- an item of a list\n".repeat(400),
  table: `| a | b |\n|---|---|\n${"| 1 | 2 |\n".repeat(400)}`,
  line: "word ".repeat(2000),
  bees: "🐝".repeat(2000),
  lines: "one line\n".repeat(400),
};

test("blocks of any length end up in parts of a bounded length that say the whole", () => {
  for (const [name, text] of Object.entries(LONG)) {
    const grower = new Grower(100);
    let open = "";
    for (let length = 7; length < text.length + 7; length += 7) open = grower.take(text.slice(0, length)).text;
    const parts = [...grower.parts.map((part) => part.text), open];
    expect(grower.parts.length, name).toBeGreaterThan(10);
    expect(Math.max(...parts.map((part) => part.length)), name).toBeLessThan(600);
    expect(parts.every((part) => part.isWellFormed()), name).toBe(true);
    expect(name === "table" ? parts.flatMap((part) => readBlocks(part).map((block) => block.kind)) : parts.join("")).toEqual(
      name === "table" ? parts.map(() => "table") : text,
    );
  }
});

test("an open fence is no part, however long, and a closed one is", () => {
  const grower = new Grower(100);
  const code = "let x = 1;\n".repeat(500);
  const open = grower.take(`text\n\n\`\`\`js\n${code}`);
  expect(open).toEqual({ text: "text\n\n", code: { language: "js", text: code } });
  const closed = grower.take(`text\n\n\`\`\`js\n${code}\`\`\`\nmore\n`);
  expect([closed, grower.parts.length]).toEqual([{ text: "more\n", code: null }, 1]);
});

test("any text is read to its end", () => {
  for (const piece of ["*", "`", "[", "_", "> ", "- ", "|", "```\n", "\n", "1. ", "#", "~~", "\\"]) {
    const text = piece.repeat(3000);
    expect(() => readBlocks(text).forEach((block) => "text" in block && readInline(block.text))).not.toThrow();
  }
});
