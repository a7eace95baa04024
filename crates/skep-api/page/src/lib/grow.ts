// Cuts a growing Markdown text into parts that no longer change, so that only its end is read and drawn anew.

import { FENCE, ITEM, TABLE_RULE, closes } from "./markdown";

/** A part of an answer that is drawn once. `goesOn` tells that it goes on with the block of the part before it. */
export interface Part {
  text: string;
  goesOn: boolean;
}

/** What is still open: Markdown, and after it the inside of a fence that nobody has closed yet. */
export interface Open {
  text: string;
  code: { language: string; text: string } | null;
}

/**
 * Looks at each line once, when it is complete, however often the text grows. A part ends where its blocks can no longer
 * change: after a blank line outside of a fence that is followed by something which no list takes up. A block that is
 * longer than two parts is cut at the end of a line all the same, as a picture of a long answer must not take ever longer.
 */
export class Grower {
  readonly parts: Part[] = [];
  readonly #size: number;
  readonly #longest: number;
  /** Where the part that is still open starts. */
  #start = 0;
  /** Whether that part goes on with the block before it. */
  goesOn = false;
  /** Start of the first line that was not looked at. */
  #next = 0;
  /** End of the blank line before that line. */
  #blankEnd = -1;
  /** The fence that is open: its mark, its language, where its line and where its inside start. */
  #fence: { mark: string; language: string; line: number; inside: number } | null = null;
  /** The line before, and the head of the table that is open; a part that goes on with a table repeats it. */
  #before = "";
  #table = "";
  #head = "";

  /** Characters: a part has at least `size`, and blocks of more than `longest` are cut. */
  constructor(size: number, longest = 2 * size) {
    this.#size = size;
    this.#longest = longest;
  }

  /** Takes the whole text so far, which must begin with the text of the call before. */
  take(text: string): Open {
    for (let end = text.indexOf("\n", this.#next); end >= 0; end = text.indexOf("\n", this.#next)) {
      this.#line(text, text.slice(this.#next, end), end + 1);
    }
    this.#cutLine(text);
    if (!this.#fence) return { text: this.#head + text.slice(this.#start), code: null };
    const { line, inside, language } = this.#fence;
    return { text: this.#head + text.slice(this.#start, line), code: { language, text: text.slice(inside) } };
  }

  #line(text: string, line: string, after: number): void {
    if (this.#fence) {
      if (closes(line, this.#fence.mark)) this.#fence = null;
    } else {
      const blank = line.trim() === "";
      const indented = /^\s/.test(line);
      const length = this.#next - this.#start;
      if (this.#table !== "" && !line.includes("|")) this.#table = "";
      if (this.#blankEnd >= this.#start + this.#size && !blank && !indented && !ITEM.test(line)) this.#cut(text, this.#blankEnd, false);
      else if (length >= this.#longest && !blank && (!indented || length >= 2 * this.#longest)) this.#cut(text, this.#next, true);
      const opened = FENCE.exec(line);
      if (opened) this.#fence = { mark: opened[1] as string, language: opened[2] ?? "", line: this.#next, inside: after };
      if (TABLE_RULE.test(line) && this.#before.includes("|")) this.#table = `${this.#before}\n${line}\n`;
      this.#blankEnd = blank ? after : -1;
    }
    this.#before = line;
    this.#next = after;
  }

  #cut(text: string, at: number, goesOn: boolean): void {
    this.parts.push({ text: this.#head + text.slice(this.#start, at), goesOn: this.goesOn });
    this.#start = at;
    this.goesOn = goesOn;
    this.#head = goesOn ? this.#table : "";
  }

  /** A single line that is as long as many parts is cut between two of its words. */
  #cutLine(text: string): void {
    while (!this.#fence && text.length - this.#next > 2 * this.#longest) {
      const space = text.lastIndexOf(" ", this.#next + this.#longest);
      let at = space > this.#next ? space + 1 : this.#next + this.#longest;
      const code = text.charCodeAt(at);
      if (code >= 0xdc00 && code <= 0xdfff) at += 1;
      this.#cut(text, at, true);
      this.#next = at;
      this.#blankEnd = -1;
    }
  }
}
