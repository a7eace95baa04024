"""litellm against a running Skep.

Usage: litellm_client.py http://127.0.0.1:PORT MODEL
Needs: litellm==1.83.0. Exits 0 when every check passed, else 1 at the first that did not.
"""

import os

# Without this, litellm fetches a list of prices from the internet when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from client import API, MODEL, passed, run

MESSAGES = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Tell me a story."}]
OPTIONS = {"model": f"openai/{MODEL}", "api_base": f"{API}/v1", "api_key": "none", "messages": MESSAGES}
OPTIONS |= {"max_tokens": 24, "temperature": 0, "num_retries": 0, "timeout": 60}


def main():
    whole = litellm.completion(**OPTIONS)
    text = whole.choices[0].message.content
    assert text and whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens, whole
    passed("a chat answers whole, with usage")

    pieces = list(litellm.completion(**OPTIONS, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert streamed == text, (streamed, text)
    assert any(getattr(piece, "usage", None) for piece in pieces), pieces[-1]
    passed("the same chat streams the same text, with usage")

    continued = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="Once upon a time", max_tokens=8, temperature=0,
        api_base=f"{API}/v1", api_key="none",
    )
    assert continued.choices[0].text, continued
    passed("a text goes on")

    try:
        litellm.completion(**OPTIONS, n=2)
    except litellm.BadRequestError as refusal:
        assert "`n`" in str(refusal), refusal
    else:
        raise AssertionError("n was not refused")
    passed("what cannot be honoured is refused by name")


if __name__ == "__main__":
    run(main)
