// The Activity view: what was answered, what was done for others, what changed.

import { check } from "./driver.mjs";

const id = (page, testid) => page.getByTestId(testid);

async function ask(page, text) {
  await id(page, "prompt").fill(text);
  await id(page, "prompt").press("Enter");
  await page.waitForFunction((asked) => {
    const [question, answer] = [...document.querySelectorAll("[data-testid=message-user], [data-testid=message-assistant]")].slice(-2);
    return question?.textContent.trim() === asked && answer?.dataset.state === "done";
  }, text);
}

const rows = (page) => id(page, "answer-row").evaluateAll((all) => all.map((row) => ({ ...row.dataset, text: row.innerText.replace(/\s+/g, " ") })));
const happened = (page, words) => page.locator("[data-testid=happening]").filter({ hasText: words }).first().waitFor();

/** An answer that somebody else asked for: the node says of it, and no chat of this browser has it. */
const elsewhere = (origin) =>
  fetch(`${origin}/v1/completions`, { method: "POST", body: JSON.stringify({ prompt: "x", stream: true, max_tokens: 4 }) }).then((response) => response.text());

export async function activity({ page, origin, node, own }) {
  await page.goto(`${origin}/#/activity`);
  await page.getByText("None yet.").waitFor();
  check((await page.getByText("Nobody joined or left").count()) === 1, "a page that has seen nothing says so");
  await id(page, "view-chat").click();
  await ask(page, "What is straw?");
  await id(page, "view-activity").click();
  await id(page, "answer-row").first().waitFor();
  const [mine] = await rows(page);
  const hops = node.state.last_answer.hops;
  check(mine.from === "here" && Number(mine.tokens) === node.state.last_answer.completion_tokens && /What is straw\?/.test(mine.text), "an answer of a chat is listed with its chat", mine.text);
  check(hops.every((hop) => mine.text.includes(`${hop.node.slice(0, 4)}…`)) && /8\.1 ms/.test(mine.text) && /\d\d:\d\d:\d\d/.test(mine.text), "with its time, its route and the time of each node");
  check(!/Price/.test(await id(page, "answers").innerText()), "where nothing has a price, none is shown");
  await elsewhere(origin);
  await page.waitForFunction(() => document.querySelectorAll("[data-testid=answer-row]").length === 2);
  const [other] = await rows(page);
  check(other.from === "elsewhere" && /not in a chat here/.test(other.text), "an answer to somebody else is listed too", other.text);
  const lost = node.state.nodes.find((each) => each.id === hops[0].node);
  lost.alive = false;
  await happened(page, `Node ${lost.id.slice(0, 4)}…${lost.id.slice(-2)} left.`);
  await elsewhere(origin);
  await happened(page, "Answers now go");
  lost.alive = true;
  await happened(page, "is back and holds blocks [0..3]");
  check(true, "who leaves and comes back is noted, and the route that changed with it");
  await plots({ page, own });
  await id(page, "answer-row").filter({ hasText: "What is straw?" }).getByRole("link").click();
  await id(page, "messages").waitFor();
  check((await page.getByText("What is straw?").count()) > 0, "an answer leads to its chat");
  await page.reload();
  await id(page, "view-activity").click();
  await id(page, "answer-row").first().waitFor();
  const again = await rows(page);
  check(again.some(({ from, text }) => from === "here" && /\d\d:\d\d:\d\d/.test(text)), "answers of chats are listed with their time by a page that did not see them", again.map(({ text }) => text).join(" | "));
}

async function plots({ page, own }) {
  own.machine.use = { ...own.machine.use, work: 7, cpu_percent: 61.5 };
  await page.locator('[data-testid=plot][data-name="Answers for others"] b').getByText("7").waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll("[data-testid=for-others] path.plot-line")].every((path) => /[LH]/.test(path.getAttribute("d"))));
  const names = await id(page, "plot").evaluateAll((all) => all.map((at) => at.dataset.name));
  check(names.join() === "Speed,First token after,Answers for others,Processors,Upload,Download,Nodes alive,Answers under way here", "what was read is drawn", names.join(", "));
  const words = await page.locator("[data-testid=plot] svg").evaluateAll((all) => all.map((at) => at.getAttribute("aria-label")));
  check(words.every((text) => /between .+ and .+ in \d+ (readings|answers)/.test(text)), "every plot is told in words", words.find((text) => text.startsWith("Processors")));
  check(/62 % now/.test(words[3]) && /4 GiB/.test(await id(page, "for-others").innerText()), "with the figures that the node said");
  check((await id(page, "timeline").count()) === 1, "the machine's own record of the day is there");
}

/** A node without a machine of its own shows its answers and its network, and nothing of a machine. */
export async function activityWithoutMachine({ page, origin }) {
  await page.goto(`${origin}/#/activity`);
  await id(page, "happenings").waitFor();
  await page.waitForTimeout(300);
  check((await id(page, "for-others").count()) === 0 && (await id(page, "timeline").count()) === 0, "without a machine nothing is told of one");
}
