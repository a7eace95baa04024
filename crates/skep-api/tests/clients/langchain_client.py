"""LangChain's OpenAI integration against a running Skep.

Usage: langchain_client.py http://127.0.0.1:PORT MODEL
Needs: langchain-openai==1.7.3. Exits 0 when every check passed, else 1 at the first that did not.
"""

from client import API, MODEL, passed, run
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

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
    passed("invoke answers, with usage")

    whole = None
    for piece in chat(max_tokens=24, stream_usage=True).stream(MESSAGES):
        whole = piece if whole is None else whole + piece
    assert whole.text == answer.text, (whole.text, answer.text)
    assert whole.usage_metadata["total_tokens"] == usage["total_tokens"], whole.usage_metadata
    passed("stream gives the same text and the same usage")

    history = [*MESSAGES, AIMessage(answer.text), HumanMessage([{"type": "text", "text": "Go on."}])]
    assert chat(max_tokens=8).invoke(history).usage_metadata["input_tokens"] > usage["input_tokens"]
    passed("a chat goes on from its own answers")

    mark = answer.text[len(answer.text) // 2 :][:3]
    stopped = chat(max_tokens=24, stop_sequences=[mark]).invoke(MESSAGES)
    assert stopped.text == answer.text[: answer.text.find(mark)], (stopped.text, answer.text, mark)
    assert stopped.response_metadata["finish_reason"] == "stop", stopped.response_metadata
    passed("a stop text ends the answer")


if __name__ == "__main__":
    run(main)
