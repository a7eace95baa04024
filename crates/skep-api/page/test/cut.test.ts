import { expect, test } from "vitest";
import { cutPlain } from "../src/lib/cut";

const TEXTS = ["", "short", "line\n".repeat(40), "x".repeat(95), "🐝".repeat(50), `a${"🐝".repeat(50)}\nend`, "\n".repeat(30)];

test("pieces make up the text, and none breaks a character", () => {
  for (const text of TEXTS) {
    const pieces = cutPlain(text, 10);
    expect(pieces.join("")).toBe(text);
    for (const piece of pieces) expect(piece.isWellFormed()).toBe(true);
    expect(pieces.every((piece) => piece !== "" && piece.length <= 11)).toBe(true);
  }
});

test("pieces stay while the text grows", () => {
  for (const text of TEXTS) {
    let before: string[] = [];
    for (let length = 1; length <= text.length; length++) {
      const pieces = cutPlain(text.slice(0, length), 10);
      expect(pieces.slice(0, Math.max(0, before.length - 1))).toEqual(before.slice(0, -1));
      before = pieces;
    }
  }
});
