// Programs that can be copied and run as they are.

export type Language = "curl" | "Python" | "JavaScript";
export const LANGUAGES: Language[] = ["curl", "Python", "JavaScript"];

export interface Snippet {
  title: string;
  about: string;
  code: Record<Language, string>;
}

/** The same for a machine that is not the node's own: the key is in `SKEP_API_KEY`. */
function withKey(code: string, language: Language): string {
  switch (language) {
    case "curl":
      return code.replace(/^curl /, 'curl -H "Authorization: Bearer $SKEP_API_KEY" ');
    case "Python":
      return code.includes("api_key") ? `import os\n${code.replace('api_key="none"', 'api_key=os.environ["SKEP_API_KEY"]')}` : code;
    case "JavaScript": {
      const header = "authorization: `Bearer ${process.env.SKEP_API_KEY}`";
      return code
        .replace('apiKey: "none"', "apiKey: process.env.SKEP_API_KEY")
        .replace("headers: {", `headers: { ${header},`)
        .replace(/fetch\(("[^"]*")\)/, `fetch($1, { headers: { ${header} } })`);
    }
  }
}

/** Snippets for the node at `origin` that answers with `model`; `far` says whether the programs are to run on another machine. */
export function snippets(origin: string, model: string, far = false): Snippet[] {
  const all = here(origin, model);
  if (!far) return all;
  const keyed = (code: Snippet["code"]) => Object.fromEntries(LANGUAGES.map((language) => [language, withKey(code[language], language)]));
  return all.map((snippet) => ({ ...snippet, code: keyed(snippet.code) as Snippet["code"] }));
}

function here(origin: string, model: string): Snippet[] {
  const client = `from openai import OpenAI\n\nclient = OpenAI(base_url="${origin}/v1", api_key="none")`;
  const jsClient = `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${origin}/v1", apiKey: "none" });`;
  return [
    {
      title: "Chat, streamed",
      about: "POST /v1/chat/completions",
      code: {
        curl:
          `curl -N ${origin}/v1/chat/completions \\\n  -H 'Content-Type: application/json' \\\n  -d '{\n` +
          `    "model": "${model}",\n    "messages": [{"role": "user", "content": "Tell me a story."}],\n` +
          `    "max_tokens": 200,\n    "stream": true,\n    "stream_options": {"include_usage": true}\n  }'`,
        Python:
          `${client}\nstream = client.chat.completions.create(\n    model="${model}",\n` +
          `    messages=[{"role": "user", "content": "Tell me a story."}],\n    max_tokens=200,\n    stream=True,\n)\n` +
          `for chunk in stream:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)`,
        JavaScript:
          `${jsClient}\nconst stream = await client.chat.completions.create({\n  model: "${model}",\n` +
          `  messages: [{ role: "user", content: "Tell me a story." }],\n  max_tokens: 200,\n  stream: true,\n});\n` +
          `for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");`,
      },
    },
    {
      title: "Continue a text",
      about: "POST /v1/completions",
      code: {
        curl:
          `curl -i ${origin}/v1/completions \\\n  -H 'Content-Type: application/json' \\\n  -d '{\n` +
          `    "model": "${model}",\n    "prompt": "Once upon a time",\n    "max_tokens": 100,\n    "temperature": 0\n  }'`,
        Python:
          `${client}\nanswer = client.completions.create(\n    model="${model}",\n    prompt="Once upon a time",\n` +
          `    max_tokens=100,\n    temperature=0,\n)\nprint(answer.choices[0].text)`,
        JavaScript:
          `const response = await fetch("${origin}/v1/completions", {\n  method: "POST",\n` +
          `  headers: { "content-type": "application/json" },\n  body: JSON.stringify({\n    model: "${model}",\n` +
          `    prompt: "Once upon a time",\n    max_tokens: 100,\n    temperature: 0,\n  }),\n});\n` +
          `console.log(response.headers.get("skep-route"));\nconst answer = await response.json();\nconsole.log(answer.choices[0].text, answer.skep);`,
      },
    },
    {
      title: "The models",
      about: "GET /v1/models",
      code: {
        curl: `curl ${origin}/v1/models`,
        Python: `${client}\nfor model in client.models.list():\n    print(model.id)`,
        JavaScript: `const response = await fetch("${origin}/v1/models");\nconst { data } = await response.json();\nfor (const model of data) console.log(model.id);`,
      },
    },
  ];
}

export interface Option {
  name: string;
  values: string;
  meaning: string;
}

/** The options that completions understand; every other one is refused by its name. */
export const OPTIONS: Option[] = [
  { name: "model", values: "text", meaning: "The id of a model (64 hexadecimal digits) or its name, both from /v1/models. Left out, it is the only one." },
  { name: "messages", values: "list", meaning: "Chat only: objects with a role (system, developer, user, assistant) and content: a text, or parts of type text." },
  { name: "prompt", values: "text or token ids", meaning: "Completions only: what the model goes on with, as it stands." },
  { name: "max_tokens, max_completion_tokens", values: "1 or more", meaning: "Most new tokens; the second name is for chats. Left out, an answer may fill the context." },
  { name: "temperature", values: "0 to 2", meaning: "0 always takes the likeliest token. 1 if left out." },
  { name: "top_p", values: "0 to 1", meaning: "Draws only from the likeliest tokens that reach this share together." },
  { name: "top_k", values: "0 or more", meaning: "Draws only from so many of the likeliest tokens; 0 from all." },
  { name: "min_p", values: "0 to 1", meaning: "Leaves out tokens below this share of the likeliest one's." },
  { name: "repetition_penalty", values: "0.01 to 100", meaning: "Above 1, tokens that were just used become less likely." },
  { name: "presence_penalty, frequency_penalty", values: "−2 to 2", meaning: "The same by subtraction: once per used token, and once per use." },
  { name: "seed", values: "0 or more", meaning: "The same seed gives the same text, on whatever nodes it is computed. Left out, one is drawn." },
  { name: "pace", values: "0.1 to 1000", meaning: "Most tokens per second, for people who read along. Left out, as fast as the network can." },
  { name: "stop", values: "text, or up to 4 texts", meaning: "Texts that end the answer; they are not part of it." },
  { name: "stream", values: "true or false", meaning: "Sends the text as it comes, as server-sent events." },
  { name: "stream_options", values: '{"include_usage": true}', meaning: "With stream only: counts the tokens in a chunk of its own at the end." },
];
