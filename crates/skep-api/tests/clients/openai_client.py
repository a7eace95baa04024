"""The official OpenAI client against a running Skep.

Usage: openai_client.py http://127.0.0.1:PORT MODEL
Needs: openai==3.52.0 (and httpx, which it brings). Exits 0 when every check passed, else 1 at the first that did not.
"""

import json
import time
import urllib.request

import openai
from client import API, MODEL, passed, run

CLIENT = openai.OpenAI(base_url=f"{API}/v1", api_key="none", max_retries=0, timeout=60)
MESSAGES = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Tell me a story."}]
PROMPT = "Once upon a time"


def chat(**options):
    return CLIENT.chat.completions.create(model=MODEL, messages=MESSAGES, **options)


def network():
    with urllib.request.urlopen(f"{API}/skep/v1/network", timeout=10) as answer:
        return json.load(answer)


def models():
    listed = CLIENT.models.list().data
    assert [model.id for model in listed] == [MODEL], listed
    assert CLIENT.models.retrieve(MODEL).id == MODEL
    name = listed[0].skep["name"]
    assert CLIENT.models.retrieve(name).id == MODEL, name
    passed("models are listed, and found by id and by name")


def whole_chat():
    raw = CLIENT.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, max_tokens=24, temperature=0)
    route, timing = raw.headers["skep-route"], raw.headers["skep-timing"]
    assert "[0.." in route and timing.startswith("prefill;dur="), (route, timing)
    answer = raw.parse()
    assert answer.object == "chat.completion" and answer.model == MODEL, answer
    choice, usage = answer.choices[0], answer.usage
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length"), choice
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage
    assert 0 < usage.completion_tokens <= 24 and usage.prompt_tokens > 0, usage
    assert choice.finish_reason == "stop" or usage.completion_tokens == 24, answer
    assert not choice.message.tool_calls and answer.skep["hops"], answer
    passed("a chat answers whole, with usage, route and timing")
    return choice.message.content


def streamed_chat(expected):
    stream = chat(max_tokens=24, temperature=0, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    *pieces, last = chunks
    assert last.choices == [] and last.usage.completion_tokens > 0, last
    assert all(chunk.usage is None for chunk in pieces), pieces
    assert len({chunk.id for chunk in chunks}) == 1
    assert pieces[0].choices[0].delta.role == "assistant"
    reasons = [chunk.choices[0].finish_reason for chunk in pieces]
    assert reasons[-1] in ("stop", "length") and set(reasons[:-1]) == {None}, reasons
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
    assert text == expected, (text, expected)
    assert pieces[-1].skep["hops"], pieces[-1]
    passed("the same chat streams the same text, with usage at the end")


def stop():
    options = {"model": MODEL, "prompt": PROMPT, "temperature": 0}
    whole = CLIENT.completions.create(max_tokens=40, **options).choices[0].text
    assert len(whole) > 8, whole
    middle = len(whole) // 2
    mark = whole[middle : middle + 3]
    expected = whole[: whole.find(mark)]
    for stops in (mark, ["\u0000never", mark]):
        choice = CLIENT.completions.create(max_tokens=40, stop=stops, **options).choices[0]
        assert (choice.text, choice.finish_reason) == (expected, "stop"), (choice, expected)
        stream = CLIENT.completions.create(max_tokens=40, stop=stops, stream=True, **options)
        streamed = "".join(chunk.choices[0].text for chunk in stream)
        assert streamed == expected, (streamed, expected)
    passed("a stop text ends the answer and is no part of it")


def seed():
    first, second, other = (
        CLIENT.completions.create(model=MODEL, prompt=PROMPT, max_tokens=48, temperature=1, seed=number)
        for number in (7, 7, 8)
    )
    assert first.choices[0].text == second.choices[0].text, (first, second)
    assert first.choices[0].text != other.choices[0].text, (first, other)
    drawn = CLIENT.completions.create(model=MODEL, prompt=PROMPT, max_tokens=48)
    again = CLIENT.completions.create(model=MODEL, prompt=PROMPT, max_tokens=48, seed=drawn.skep["seed"])
    assert drawn.choices[0].text == again.choices[0].text, (drawn, again)
    passed("a seed repeats an answer, also one that the server drew")


def completion_stream():
    stream = CLIENT.completions.create(model=MODEL, prompt=PROMPT, max_tokens=16, temperature=0, stream=True)
    streamed = "".join(chunk.choices[0].text for chunk in stream)
    whole = CLIENT.completions.create(model=MODEL, prompt=[PROMPT], max_tokens=16, temperature=0)
    assert whole.choices[0].text == streamed, (whole, streamed)
    passed("a completion streams what it answers whole")


def responses(expected):
    options = {"model": MODEL, "instructions": MESSAGES[0]["content"], "input": MESSAGES[1]["content"]}
    options |= {"max_output_tokens": 24, "temperature": 0}
    answer = CLIENT.responses.create(**options)
    assert answer.output_text == expected, (answer.output_text, expected)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens, answer.usage
    assert answer.status in ("completed", "incomplete"), answer
    with CLIENT.responses.stream(**options) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        last = stream.get_final_response()
    assert "".join(pieces) == expected == last.output_text, (pieces, last)
    again = CLIENT.responses.create(
        model=MODEL, input=[MESSAGES[1], *answer.output, {"role": "user", "content": "And then?"}], max_output_tokens=4
    )
    assert again.output_text, again
    refused(openai.BadRequestError, "previous_response_id", lambda: CLIENT.responses.create(**options, previous_response_id="resp_1"))
    passed("the Responses interface gives the same text, whole and streamed, and takes its own answer back")


def cancel():
    # At this pace the answer would take much longer than the patience below.
    stream = chat(stream=True, seed=1, extra_body={"pace": 2})
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    assert network()["active"] > 0
    stream.close()
    patience = time.monotonic() + 5
    while network()["active"] > 0:
        assert time.monotonic() < patience, "the answer goes on although nobody reads it"
        time.sleep(0.02)
    passed("closing a stream ends the answer")


def refused(error, param, action):
    try:
        action()
    except error as refusal:
        assert refusal.param == param and "hint: " in refusal.message, refusal
        assert param is None or param in refusal.message, refusal
        return
    raise AssertionError(f"{param} was not refused")


def refusals():
    refused(openai.BadRequestError, "n", lambda: chat(n=2))
    refused(openai.BadRequestError, "logprobs", lambda: chat(logprobs=True))
    refused(openai.BadRequestError, "response_format", lambda: chat(response_format={"type": "json_object"}))
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    refused(openai.BadRequestError, "tools", lambda: chat(tools=[tool]))
    refused(openai.BadRequestError, "made_up", lambda: chat(extra_body={"made_up": 1}))
    refused(openai.BadRequestError, "max_tokens", lambda: chat(max_tokens=0))
    refused(openai.BadRequestError, None, lambda: chat_of("word " * 40_000))
    unknown = lambda: CLIENT.chat.completions.create(model="gpt-none", messages=MESSAGES)
    refused(openai.NotFoundError, "model", unknown)
    passed("what cannot be honoured is refused by name")


def post(path, body):
    request = urllib.request.Request(API + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def keys():
    made = post("/skep/v1/keys", {"label": "a client", "requests_per_minute": 1})

    def refusal(error, key):
        client = openai.OpenAI(base_url=f"{API}/v1", api_key=key, max_retries=0)
        try:
            client.models.list()
        except error as refused:
            return refused
        raise AssertionError(f"{key} was not refused")

    assert refusal(openai.AuthenticationError, "sk-skep-wrong").code == "invalid_api_key"
    assert len(openai.OpenAI(base_url=f"{API}/v1", api_key=made["key"]).models.list().data) == 1
    limited = refusal(openai.RateLimitError, made["key"])
    assert limited.code == "rate_limit_exceeded" and limited.type == "requests", limited
    assert 0 < int(limited.response.headers["retry-after"]) <= 60, limited
    post("/skep/v1/keys/revoke", {"id": made["made"]["id"]})
    assert refusal(openai.AuthenticationError, made["key"]).code == "invalid_api_key"
    passed("a key that is wrong, spent or revoked is refused as OpenAI does it")


def chat_of(content):
    return CLIENT.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])


def main():
    models()
    text = whole_chat()
    streamed_chat(text)
    responses(text)
    completion_stream()
    stop()
    seed()
    cancel()
    refusals()
    keys()


if __name__ == "__main__":
    run(main)
