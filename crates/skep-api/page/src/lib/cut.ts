// Cuts a growing text into pieces that do not change while it grows.

/**
 * Pieces of about `size` characters that make up `text`, each cut at the last end of a line where there is one, and never
 * between the two halves of one character. All but the last stay the same when the text grows at its end.
 */
export function cutPlain(text: string, size: number): string[] {
  const pieces: string[] = [];
  let start = 0;
  while (text.length - start > size) {
    const line = text.lastIndexOf("\n", start + size - 1);
    let end = line >= start ? line + 1 : start + size;
    const code = text.charCodeAt(end);
    if (code >= 0xdc00 && code <= 0xdfff) end += 1;
    pieces.push(text.slice(start, end));
    start = end;
  }
  if (start < text.length) pieces.push(text.slice(start));
  return pieces;
}
