// Hands a text to the browser as a file. It never leaves the machine.

/** Milliseconds after which the browser has surely taken the text. */
const TAKEN_MS = 30_000;

export function saveFile(name: string, text: string, type: "application/json" | "text/markdown"): void {
  const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), TAKEN_MS);
}
