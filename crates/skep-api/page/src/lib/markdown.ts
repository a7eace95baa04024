// The part of Markdown that chat models write, read into a tree. The page draws the tree as elements, so no HTML is
// ever built from text and there is nothing to sanitise. What is not understood stays as it was written.

/** A piece of text inside a block. */
export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "strong" | "em" | "del"; children: Inline[] }
  | { kind: "link"; href: string; children: Inline[] };

/** A block of an answer. */
export type Block =
  | { kind: "paragraph"; text: string }
  | { kind: "heading"; level: number; text: string }
  | { kind: "code"; language: string; text: string; open: boolean }
  | { kind: "list"; ordered: boolean; start: number; items: string[] }
  | { kind: "quote"; text: string }
  | { kind: "table"; head: string[]; rows: string[][] }
  | { kind: "rule" };

/** Longest paragraph in characters: longer ones are cut, so that a growing answer lays out only its end anew. */
const LONGEST = 6000;

export const FENCE = /^ {0,3}(```+|~~~+)\s*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
export const ITEM = /^ {0,3}(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/;
const RULE = /^ {0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
export const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$/;

/** Whether a line closes a fence that `mark` opened. */
export const closes = (line: string, mark: string): boolean =>
  line.trim().startsWith(mark) && line.trim().replaceAll(mark.charAt(0), "") === "";

const cellsOf = (line: string): string[] => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

/** Reads blocks one after another; every function takes the first line of its block and gives the line after it. */
class Reader {
  readonly blocks: Block[] = [];
  constructor(readonly lines: string[]) {}

  line(index: number): string {
    return this.lines[index] ?? "";
  }

  code(index: number, fence: RegExpExecArray): number {
    const mark = fence[1] as string;
    const end = this.lines.findIndex((line, at) => at > index && closes(line, mark));
    const last = end < 0 ? this.lines.length : end;
    const text = this.lines.slice(index + 1, last).join("\n");
    this.blocks.push({ kind: "code", language: fence[2] ?? "", text, open: end < 0 });
    return last + 1;
  }

  list(index: number, first: RegExpExecArray): number {
    const ordered = first[2] !== undefined;
    const items: string[] = [];
    let at = index;
    for (; at < this.lines.length; at++) {
      const item = ITEM.exec(this.line(at));
      if (item && (item[2] !== undefined) === ordered) items.push(item[3] ?? "");
      else if (/^\s{2,}\S/.test(this.line(at))) items.push(`${items.pop() ?? ""}\n${this.line(at).trim()}`);
      else if (this.line(at).trim() === "" && ITEM.test(this.line(at + 1))) continue;
      else break;
    }
    this.blocks.push({ kind: "list", ordered, start: Number(first[2] ?? 1), items });
    return at;
  }

  table(index: number): number {
    const head = cellsOf(this.line(index));
    const rows: string[][] = [];
    let at = index + 2;
    for (; this.line(at).includes("|"); at++) rows.push(cellsOf(this.line(at)).slice(0, head.length));
    this.blocks.push({ kind: "table", head, rows });
    return at;
  }

  run(index: number, kind: "paragraph" | "quote"): number {
    const taken: string[] = [];
    let characters = 0;
    let at = index;
    for (; at < this.lines.length; at++) {
      const line = this.line(at);
      const quoted = /^ {0,3}>/.test(line);
      if (line.trim() === "" || quoted !== (kind === "quote")) break;
      if (at > index && kind === "paragraph" && this.interrupts(at)) break;
      if (characters > LONGEST) break;
      taken.push(quoted ? line.replace(/^ {0,3}> ?/, "") : line);
      characters += line.length;
    }
    this.blocks.push({ kind, text: taken.join("\n") });
    return at;
  }

  interrupts(at: number): boolean {
    const line = this.line(at);
    const item = ITEM.exec(line);
    return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || (item !== null && (item[2] ?? "1") === "1");
  }

  next(index: number): number {
    const line = this.line(index);
    if (line.trim() === "") return index + 1;
    const fence = FENCE.exec(line);
    if (fence) return this.code(index, fence);
    const heading = HEADING.exec(line);
    if (heading) {
      this.blocks.push({ kind: "heading", level: (heading[1] as string).length, text: heading[2] ?? "" });
      return index + 1;
    }
    if (RULE.test(line)) {
      this.blocks.push({ kind: "rule" });
      return index + 1;
    }
    const item = ITEM.exec(line);
    if (item) return this.list(index, item);
    if (line.includes("|") && TABLE_RULE.test(this.line(index + 1))) return this.table(index);
    return this.run(index, /^ {0,3}>/.test(line) ? "quote" : "paragraph");
  }
}

/** The blocks of a text. Any text is read; time grows linearly with its length. */
export function readBlocks(text: string): Block[] {
  const reader = new Reader(text.replaceAll("\r\n", "\n").split("\n"));
  for (let index = 0; index < reader.lines.length; ) index = reader.next(index);
  return reader.blocks;
}

const INLINE =
  /(`+)(?!`)([\s\S]*?[^`])\1(?!`)|\*\*(?=\S)([\s\S]*?\S)\*\*(?!\*)|__(?=\S)([\s\S]*?\S)__(?!\w)|~~(?=\S)([\s\S]*?\S)~~|\*(?=[^\s*])([^*]*?[^\s*])\*|(?<!\w)_(?=[^\s_])([^_]*?[^\s_])_(?!\w)|\[([^[\]]*)\]\((https?:\/\/[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)\)|(https?:\/\/[^\s<>()"]*[^\s<>()".,;:!?'])/;

/** The pieces of a block's text. Only `http` and `https` addresses become links. */
export function readInline(text: string, depth = 0): Inline[] {
  // One line of many thousand characters is no prose; looking for pairs of marks in it could take long.
  if (text.length > 4 * LONGEST) return [{ kind: "text", text }];
  const pieces: Inline[] = [];
  let rest = text;
  while (rest !== "") {
    const found = depth > 4 ? null : INLINE.exec(rest);
    if (!found) break;
    if (found.index > 0) pieces.push({ kind: "text", text: rest.slice(0, found.index) });
    pieces.push(inlineOf(found, depth + 1));
    rest = rest.slice(found.index + found[0].length);
  }
  if (rest !== "") pieces.push({ kind: "text", text: rest });
  return pieces;
}

function inlineOf(found: RegExpExecArray, depth: number): Inline {
  const [whole, , code, strong, strong2, del, em, em2, label, address, bare] = found;
  if (code !== undefined) return { kind: "code", text: code.replace(/^ (.*[^ ].*) $/s, "$1") };
  const bold = strong ?? strong2;
  if (bold !== undefined) return { kind: "strong", children: readInline(bold, depth) };
  if (del !== undefined) return { kind: "del", children: readInline(del, depth) };
  const slanted = em ?? em2;
  if (slanted !== undefined) return { kind: "em", children: readInline(slanted, depth) };
  if (address !== undefined) return { kind: "link", href: address, children: readInline(label || address, 9) };
  return { kind: "link", href: bare ?? "", children: [{ kind: "text", text: bare ?? whole }] };
}
