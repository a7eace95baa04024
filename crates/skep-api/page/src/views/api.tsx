// The API, documented where it runs: every snippet names this node and its model.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { fetchModels } from "../lib/client";
import { keyOf } from "../lib/pass";
import { CopyButton } from "../ui/copy";
import { Scroll } from "../ui/scroll";
import { LANGUAGES, OPTIONS, snippets, type Language } from "./snippets";

function Code({ text, what, title }: { text: string; what: string; title: string }) {
  return (
    <figure class="code">
      <figcaption>
        <span>{title}</span>
        <CopyButton text={text} what={what} label="Copy" />
      </figcaption>
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}

function Snippets({ origin, model }: { origin: string; model: string }) {
  const [language, setLanguage] = useState<Language>("curl");
  return (
    <section class="card" aria-labelledby="use-title">
      <div class="card-head">
        <h2 id="use-title">Use it</h2>
        <div class="modes" role="radiogroup" aria-label="Language of the examples">
          {LANGUAGES.map((name) => (
            <label class={name === language ? "on" : undefined}>
              <input type="radio" name="language" checked={name === language} onChange={() => setLanguage(name)} data-testid={`language-${name}`} />
              {name}
            </label>
          ))}
        </div>
      </div>
      {snippets(origin, model, keyOf() !== null).map((snippet) => (
        <div key={snippet.title} data-testid="snippet">
          <h3>
            {snippet.title} <code>{snippet.about}</code>
          </h3>
          <Code text={snippet.code[language]} what={`the ${language} example`} title={language} />
        </div>
      ))}
    </section>
  );
}

function Options() {
  return (
    <section class="card" aria-labelledby="options-title">
      <h2 id="options-title">Options</h2>
      <p>
        These are understood. Any other option is refused with status 400 and an error that names it, unless its value asks for
        what happens anyway, such as <code>"n": 1</code>. Nothing that you ask for is silently ignored.
      </p>
      <Scroll label="Options">
        <table class="options" data-testid="options">
          <thead>
            <tr>
              <th scope="col">Option</th>
              <th scope="col">Value</th>
              <th scope="col">What it does</th>
            </tr>
          </thead>
          <tbody>
            {OPTIONS.map((option) => (
              <tr>
                <th scope="row">
                  {option.name.split(", ").map((name) => (
                    <code>{name}</code>
                  ))}
                </th>
                <td>{option.values}</td>
                <td>{option.meaning}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </section>
  );
}

const SKEP_OBJECT = `{
  "finish": "length",
  "prompt_tokens": 12,
  "completion_tokens": 96,
  "hops": [
    {"node": "3f2a…c1", "blocks": [0, 4], "frames": 97, "hold_ms": 402.1, "rtt_ms": 0.2},
    {"node": "9b04…7e", "blocks": [4, 8], "frames": 97, "hold_ms": 398.7, "rtt_ms": 0.2}
  ],
  "recoveries": [
    {"at_token": 57, "lost": ["c07d…19"], "rung": "replay", "stall_ms": 412.0}
  ],
  "first_token_ms": 31.4,
  "total_ms": 1240.2,
  "lap_ms": 8.4
}`;

function Term({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>
        <code>{name}</code>
      </dt>
      <dd>{children}</dd>
    </>
  );
}

function Answers() {
  return (
    <section class="card" aria-labelledby="answers-title">
      <h2 id="answers-title">How an answer came about</h2>
      <p>Every completion says which nodes computed it and what that took, in two headers and one object.</p>
      <dl class="terms">
        <Term name="skep-route">
          The chain in order, each node with the blocks it ran: <code>3f2a91bc04[0..4],9b04e1d27e[4..8]</code>. A node is named
          by the first ten digits of its key; blocks are counted from 0, and the second number is one past the last.
        </Term>
        <Term name="skep-timing">
          Milliseconds in the syntax of <code>Server-Timing</code>: <code>prefill;dur=12.3, total;dur=840.1</code>. <code>prefill</code>{" "}
          is the time to the first token, and all that the header of a streamed answer knows. A whole answer adds <code>total</code>,{" "}
          <code>lap</code> and, for each stage, <code>stage0</code>, <code>stage1</code>, … with the time that it held its frames.
        </Term>
        <Term name="skep">
          An object in every answer that is not streamed, and in the last chunk (the one with <code>finish_reason</code>) of every
          streamed one:
        </Term>
      </dl>
      <Code text={SKEP_OBJECT} what="the example" title="skep" />
      <p>
        <code>hold_ms</code> is the time from a frame's arrival at a stage to its departure, summed over the answer and measured
        by that stage. <code>lap_ms</code> is the mean time per token after the first. A recovery says that nodes were lost while
        token <code>at_token</code> was awaited, and how long the text stood still; the text itself is the same as if nothing had
        happened.
      </p>
    </section>
  );
}

function Endpoints({ origin }: { origin: string }) {
  const rows: [string, string, string][] = [
    ["GET", "/v1/models", "The models that this node answers with."],
    ["POST", "/v1/chat/completions", "Answers a chat, by the model's own template. Streaming or not."],
    ["POST", "/v1/completions", "Goes on with a text, or with token ids. Streaming or not."],
    ["POST", "/v1/responses", "The same as a chat in OpenAI's newer form. Streaming or not; nothing is stored."],
    ["POST", "/v1/embeddings", "A vector for each text, by a model that makes vectors."],
    ["POST", "/v1/images/classifications", "What is in a picture, by a model that names pictures."],
    ["GET", "/skep/v1/network", "The nodes, their blocks, and how the last answer came about."],
    ["GET", "/skep/v1/answers/ID", "The rest of a streamed answer whose node ended and started again; its first piece is all of the text so far."],
    ["POST", "/skep/v1/invite", "A link with which other machines join: {\"hours\": 24, \"uses\": 8}."],
    ["GET", "/skep/v1/machine", "Whether this machine is lent, why not, and what it uses. A node of a demo has none of it."],
    ["POST", "/skep/v1/machine", "The owner's word: {\"command\": \"pause\", \"seconds\": 7200}, or resume, or finish."],
    ["GET", "/skep/v1/models", "The models of this machine and its network, whether each fits and why, and what is on its way."],
    ["POST", "/skep/v1/models", "{\"command\": \"pull\", \"source\": \"hf:owner/repository/file.gguf\"}, or pause, resume, cancel, remove."],
    ["GET", "/skep/v1/settings", "The owner's settings, their schema, and who set what."],
    ["PUT", "/skep/v1/settings", "Sets one: {\"key\": \"share.cpu_percent\", \"value\": 40}; null leaves it to the preset."],
    ["GET", "/skep/v1/keys", "Who has a key. On its own machine, POST makes one: {\"label\": \"a laptop\"}."],
    ["GET", "/metrics", "What is counted, for Prometheus; the owner's."],
    ["POST", "/skep/v1/unplug", "Demo only: kills the process of the node named in {\"node\": \"…\"}."],
  ];
  return (
    <section class="card" aria-labelledby="api-title">
      <h1 id="api-title">The API</h1>
      <p class="lead">
        Programs that speak the OpenAI protocol work with this node as it is. On its own machine no key is needed, so give any; elsewhere each needs one
        that <code>skep keys add</code> makes. The base address is{" "}
        <code data-testid="base-url">{origin}/v1</code>
        <CopyButton text={`${origin}/v1`} what="the base address" />
      </p>
      <Scroll label="Addresses">
        <table class="endpoints">
          <tbody>
            {rows.map(([method, path, about]) => (
              <tr>
                <td>
                  <span class={method === "GET" ? "method" : "method post"}>{method}</span>
                </td>
                <th scope="row">
                  <code>{path}</code>
                </th>
                <td>{about}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <p>
        Closing the connection cancels an answer, and its nodes free what they held for it. Errors have the usual form,{" "}
        <code>{`{"error": {"message": …, "type": …, "param": …, "code": …}}`}</code>; the message ends with a line{" "}
        <code>hint: …</code> that says what to do.
      </p>
    </section>
  );
}

export function ApiView() {
  const [model, setModel] = useState<string | null>(null);
  useEffect(() => {
    let here = true;
    fetchModels().then(
      (ids) => here && setModel(ids[0] ?? "MODEL"),
      // The status line of the page says that the node does not answer; the documentation is of use without it.
      () => here && setModel("MODEL"),
    );
    return () => {
      here = false;
    };
  }, []);
  const origin = location.origin;
  return (
    <main class="page" data-testid="api">
      <Endpoints origin={origin} />
      {model !== null && <Snippets origin={origin} model={model} />}
      <Options />
      <Answers />
    </main>
  );
}
