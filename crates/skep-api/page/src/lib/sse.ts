// Server-sent events, as far as an OpenAI-compatible stream uses them: `data:` lines, comments, blank lines.

/**
 * Splits a stream of text into the payloads of its events. Pieces may end anywhere, also between the two characters of
 * a CRLF. A line that is still open when the stream ends belongs to an event that never ended, and is dropped, as the
 * standard wants it.
 */
export class SseParser {
  #line = "";
  #data: string[] = [];
  #afterReturn = false;
  #first = true;

  /** Takes the next piece and gives the payloads that it completes. */
  push(piece: string): string[] {
    let text = piece;
    if (this.#first && text !== "") {
      this.#first = false;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    if (this.#afterReturn && text !== "") {
      this.#afterReturn = false;
      if (text.startsWith("\n")) text = text.slice(1);
    }
    const events: string[] = [];
    let start = 0;
    const ends = /\r\n|\n|\r/g;
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      this.#take(this.#line + text.slice(start, end.index), events);
      this.#line = "";
      start = ends.lastIndex;
    }
    this.#afterReturn = text.endsWith("\r");
    this.#line += text.slice(start);
    return events;
  }

  #take(line: string, events: string[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push(this.#data.join("\n"));
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== "data") return;
    const value = colon < 0 ? "" : line.slice(colon + 1);
    this.#data.push(value.startsWith(" ") ? value.slice(1) : value);
  }
}
