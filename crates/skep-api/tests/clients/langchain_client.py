"""LangChain's OpenAI integration against a running Skep.

Usage: langchain_client.py http://127.0.0.1:PORT MODEL
Needs: langchain-openai==1.7.3. Exits 0 when every check passed, else 1 at the first that did not.
"""

import sys

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

API, MODEL = sys.argv[1].removesuffix("/").removesuffix("/v1"), sys.argv[2]
MESSAGES = [SystemMessage("Answer briefly."), HumanMessage("Tell me a story.")]


def chat(**options):
    return ChatOpenAI(
        base_url=f"{API}/v1", api_key="none", model=MODEL, temperature=0, max_retries=0, timeout=60, **options
    )


def main():
    answer = chat(max_tokens=24).invoke(MESSAGES)
    assert answer.text, answer
    usage = answer.usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0, usage
    assert answer.response_metadata["finish_reason"] in ("stop", "length"), answer.response_metadata
    print("ok: invoke answers, with usage", flush=True)

    whole = None
    for piece in chat(max_tokens=24, stream_usage=True).stream(MESSAGES):
        whole = piece if whole is None else whole + piece
    assert whole.text == answer.text, (whole.text, answer.text)
    assert whole.usage_metadata["total_tokens"] == usage["total_tokens"], whole.usage_metadata
    print("ok: stream gives the same text and the same usage", flush=True)

    history = [*MESSAGES, AIMessage(answer.text), HumanMessage([{"type": "text", "text": "Go on."}])]
    assert chat(max_tokens=8).invoke(history).usage_metadata["input_tokens"] > usage["input_tokens"]
    print("ok: a chat goes on from its own answers", flush=True)

    mark = answer.text[len(answer.text) // 2 :][:3]
    stopped = chat(max_tokens=24, stop_sequences=[mark]).invoke(MESSAGES)
    assert stopped.text == answer.text[: answer.text.find(mark)], (stopped.text, answer.text, mark)
    assert stopped.response_metadata["finish_reason"] == "stop", stopped.response_metadata
    print("ok: a stop text ends the answer", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        print(f"FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise
