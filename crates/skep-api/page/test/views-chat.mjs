// Versions of what was asked and answered, and the chats as files and as a list.

import { readFileSync } from "node:fs";
import { check } from "./driver.mjs";

const id = (page, testid) => page.getByTestId(testid);

/** Presses what makes the page ask, and waits for the whole of the answer that it gets. */
async function answered(page, node, verse, act) {
  node.script.verse = verse;
  await act();
  await page.waitForFunction((text) => {
    const last = [...document.querySelectorAll("[data-testid=message-assistant]")].at(-1);
    return last?.dataset.state === "done" && last.querySelector("[data-testid=answer-text]").textContent.trim() === text;
  }, verse);
}

const ask = (page, node, text, verse) =>
  answered(page, node, verse, async () => {
    await id(page, "prompt").fill(text);
    await id(page, "prompt").press("Enter");
  });

const told = (page) => page.locator("[data-testid=message-user] .question-text, [data-testid=answer-text]").allTextContents().then((all) => all.map((text) => text.trim()).join(" | "));
const counts = (page) => page.locator(".versions-count [aria-hidden]").allInnerTexts().then((all) => all.join(", "));
/** Waits until the keyboard is on something. */
const focused = (page, testid) => page.waitForFunction((wanted) => document.activeElement?.dataset.testid === wanted, testid);

/** The answer that `ask` asked for once more, a question written anew, and the ways between them, all by the keyboard. */
export async function versions({ page, origin, node }) {
  await page.goto(origin);
  await ask(page, node, "one", "first answer");
  await ask(page, node, "two", "second answer");
  await answered(page, node, "another second answer", () => id(page, "retry").last().press("Enter"));
  check((await told(page)) === "one | first answer | two | another second answer" && (await counts(page)) === "2 / 2", "answering again keeps the old answer", await counts(page));
  await id(page, "edit").first().focus();
  await page.keyboard.press("Enter");
  await focused(page, "edit-text");
  await page.keyboard.press("Escape");
  await focused(page, "edit");
  check(true, "editing begins in its box, and Escape leaves it for where the keyboard was");
  await page.keyboard.press("Enter");
  await focused(page, "edit-text");
  await answered(page, node, "to the new one", async () => {
    await id(page, "edit-text").fill("ONE");
    await page.keyboard.press("Enter");
  });
  check((await told(page)) === "ONE | to the new one" && (await counts(page)) === "2 / 2", "a question written anew begins another way", await told(page));
  await id(page, "earlier").first().focus();
  await page.keyboard.press("Enter");
  check((await told(page)) === "one | first answer | two | another second answer", "the old way is whole, as it was left");
  await focused(page, "earlier");
  check((await page.locator(".versions .hidden").first().innerText()) === "Version 1 of 2", "the keyboard stays on the arrow, and the place is told in words");
  await page.keyboard.press("Enter");
  check((await counts(page)) === "1 / 2, 2 / 2", "the first version has none before it", await counts(page));
  await id(page, "earlier").last().click();
  check(/two \| second answer$/.test(await told(page)), "the arrows go between the answers too");
  await page.reload();
  await id(page, "history-item").first().click();
  check((await told(page)) === "one | first answer | two | second answer" && (await counts(page)) === "1 / 2, 1 / 2", "all versions are kept, and the open ones are open again", await counts(page));
  await ask(page, node, "three", "third answer");
  await id(page, "later").first().click();
  check((await told(page)) === "ONE | to the new one", "one way goes on without the other");
  await id(page, "mode-text").check({ force: true });
  await ask(page, node, "Once upon", "a time");
  await answered(page, node, "a hive", () => id(page, "retry").click());
  await id(page, "earlier").click();
  check((await page.getByTestId("messages").locator(".column").innerText()).startsWith("Once upon"), "a text has versions as well", await counts(page));
  check((await id(page, "answer-text").last().evaluate((at) => at.textContent)).trim() === "a time", "of which one goes on at a time");
}

/** Chats of before there were versions, as they were kept then. */
const OLD = [
  { id: "00aa", mode: "chat", updated: 2, turns: [{ role: "user", text: "an old question" }, { role: "assistant", text: "an old answer", state: "done", route: [{ node: "3f2a91bc04", blocks: [0, 4] }], summary: null }] },
  { id: "00bb", mode: "text", updated: 1, turns: [{ role: "user", text: "Straw " }, { role: "assistant", text: "and wax", state: "stopped" }] },
];

async function save(page, press) {
  const [download] = await Promise.all([page.waitForEvent("download"), press()]);
  return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
}

const give = (page, text, name = "chats.json") => id(page, "import-file").setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(text) });
const items = (page) => id(page, "history-item").evaluateAll((all) => all.map((at) => at.firstChild.textContent));

export async function files({ page, context, origin, node }) {
  await page.goto(origin);
  await page.evaluate((old) => old.forEach((chat) => localStorage.setItem(`skep.chat.${chat.id}`, JSON.stringify(chat))), OLD);
  await page.reload();
  check((await items(page)).join() === "an old question,Straw", "chats of before there were versions are all there");
  await id(page, "history-item").first().click();
  check((await told(page)) === "an old question | an old answer", "and are read as they were");
  await answered(page, node, "a newer answer", () => id(page, "retry").press("Enter"));
  await id(page, "chat-menu").press("Enter");
  await focused(page, "rename");
  await page.keyboard.press("Escape");
  await focused(page, "chat-menu");
  check((await id(page, "rename").count()) === 0, "the menu of a chat takes the keyboard, and Escape closes it");
  await id(page, "chat-menu").click();
  await id(page, "rename").click();
  await id(page, "chat-name").fill("On <b>hives</b>");
  await id(page, "chat-name").press("Enter");
  check((await id(page, "chat-title").innerText()) === "On <b>hives</b>" && (await items(page))[0] === "On <b>hives</b>", "a chat has the name that it is given");
  await id(page, "chat-menu").click();
  const markdown = await save(page, () => id(page, "save-markdown").click());
  check(/^skep-on-b-hives-b-[\d-]+\.md$/.test(markdown.name) && /## You\n\nan old question\n\n## Answer\n\na newer answer\n$/.test(markdown.text), "a chat is saved as Markdown", markdown.name);
  await id(page, "chat-menu").click();
  const one = await save(page, () => id(page, "save-json").click());
  check(JSON.parse(one.text).chats[0].turns.length === 3, "and as JSON, with all versions", one.name);
  const all = await save(page, () => id(page, "export-all").click());
  check(JSON.parse(all.text).chats.length === 2, "all chats are one file", all.name);
  await searches(page);
  await deletes(page);
  await imports(page, all.text);
  const other = await context.browser().newContext({ viewport: { width: 1280, height: 900 } });
  await other.addInitScript(() => location.protocol === "http:" && localStorage.setItem("skep.met", "1"));
  const fresh = await other.newPage();
  await fresh.goto(origin);
  await give(fresh, all.text);
  await fresh.getByText("2 chats added.").waitFor();
  check((await items(fresh)).join() === (await items(page)).join(), "another browser takes them over");
  await id(fresh, "history-item").first().click();
  check((await counts(fresh)) === "2 / 2", "with their versions");
  await other.close();
}

async function searches(page) {
  await id(page, "history-search").fill("OLD answer");
  check((await items(page)).join() === "On <b>hives</b>", "a search looks into every version");
  check((await id(page, "history-item").locator("mark").innerText()) === "old", "and shows where");
  await id(page, "history-item").click();
  check((await told(page)).endsWith("an old answer"), "what is found is opened");
  await id(page, "history-search").fill("nowhere at all");
  check((await items(page)).length === 0 && (await page.getByText("No chat has these words.").count()) === 1, "nothing found is said");
  await id(page, "history-search").fill("");
}

async function deletes(page) {
  await id(page, "history-remove").first().focus();
  await page.keyboard.press("Enter");
  await focused(page, "undo");
  check((await items(page)).join() === "Straw" && /is deleted/.test(await id(page, "removed").innerText()), "a deleted chat is gone, and the keyboard is on the way back");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=history-item]").length === 2);
  check((await told(page)).endsWith("an old answer"), "undo brings it back, open as it was", await told(page));
}

async function imports(page, whole) {
  await give(page, whole);
  // The second file differs in which version is open, and is therefore another chat.
  await page.getByText(/added|Nothing new/).waitFor();
  const before = await page.evaluate(() => JSON.stringify(Object.entries(localStorage).sort()));
  for (const [text, sentence] of [
    ["not JSON at all", "The file is not JSON."],
    ['{"format":"skep-chats","version":1,"chats":[{"id":"../x","mode":"chat","updated":1,"turns":[]}]}', "Chat 1 of the file cannot be read: it has no id."],
    [JSON.stringify({ format: "skep-chats", version: 9, chats: [] }), "The file is of a version that this page does not read; it reads version 1."],
    ["x".repeat(12_000_001), "The file has 13 MB; at most 12 MB are read."],
  ]) {
    await give(page, text);
    await page.locator(".files [data-testid=error]").getByText(sentence).waitFor();
  }
  check((await page.evaluate(() => JSON.stringify(Object.entries(localStorage).sort()))) === before, "a bad file is refused by a sentence and changes nothing");
  await give(page, whole);
  await page.getByText("Nothing new: 2 chats of the file are here already.").waitFor();
  check(true, "the same file twice adds nothing");
  for (let left = (await items(page)).length; left > 2; left--) await id(page, "history-remove").first().click();
}
