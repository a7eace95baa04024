"""The official OpenAI client against a running Skep that serves an embedder.

Usage: openai_embeddings.py http://127.0.0.1:PORT MODEL
Needs: openai==3.52.0 (and httpx, which it brings), numpy. Exits 0 when every check passed, else 1 at the first that did not.
"""

import numpy
import openai
from client import API, MODEL, passed, run

CLIENT = openai.OpenAI(base_url=f"{API}/v1", api_key="none", max_retries=0, timeout=60)
TEXTS = ["A bee collects nectar.", "Insects gather food from flowers.", "The central bank raised its rates."]


def embed(text, **options):
    return CLIENT.embeddings.create(model=MODEL, input=text, **options)


def main():
    card = CLIENT.models.retrieve(MODEL).skep
    assert (card["task"], card["dimensions"]) == ("embed", 384), card
    passed("the list of models says that it embeds")

    # The client asks for base64 by itself and decodes it.
    answer = embed(TEXTS)
    assert [item.index for item in answer.data] == [0, 1, 2] and answer.model == MODEL, answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > len(TEXTS), answer.usage
    vectors = numpy.array([item.embedding for item in answer.data], "float32")
    assert vectors.shape == (3, 384) and numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alike, apart = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert alike > apart + 0.2, (alike, apart)
    passed(f"what means the same is near ({alike:.3f}), the rest is not ({apart:.3f})")

    floats = embed(TEXTS[0], encoding_format="float", dimensions=384).data[0].embedding
    assert (numpy.array(floats, "float32") == vectors[0]).all()
    alone = embed([TEXTS[0]]).data[0].embedding
    assert (numpy.array(alone, "float32") == vectors[0]).all()
    passed("floats and base64, alone and beside others: the same bits")

    many = embed([f"Sentence number {number}." for number in range(100)]).data
    assert [item.index for item in many] == list(range(100))
    assert len({tuple(item.embedding) for item in many}) == 100
    passed("100 texts keep their order")

    for param, refused in [
        ("dimensions", lambda: embed("a", dimensions=2)),
        ("model", lambda: CLIENT.completions.create(model=MODEL, prompt="Once")),
        ("model", lambda: CLIENT.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])),
        (None, lambda: embed("word " * 600)),
    ]:
        try:
            refused()
        except openai.BadRequestError as refusal:
            assert refusal.param == param and "hint: " in refusal.message, refusal
        else:
            raise AssertionError(f"{param} was not refused")
    passed("what cannot be honoured is refused by name")


if __name__ == "__main__":
    run(main)
