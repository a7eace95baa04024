#!/usr/bin/env python3
"""Logits of a Hugging Face Llama checkpoint, in float32 on the CPU: the independent side of tests/forward_golden.rs.

    hf_logits.py MODEL_DIR OUTPUT [TOKEN ...]

MODEL_DIR holds config.json and model.safetensors. OUTPUT receives the logits of every position, row-major, as
little-endian float32. With `--greedy N` before MODEL_DIR the prompt is first continued by N greedy tokens, which are
printed on standard output with the prompt, one line of numbers. With `--window N` the tokens after the first are read N at a time,
each time after the first, as a text that is longer than the context must be; OUTPUT then has the windows' logits in turn.

The model class is Hugging Face's own FlaxLlamaForCausalLM. Flax rather than torch because its wheels are small: the torch
wheel of the public registry brings gigabytes of GPU libraries. A machine that has torch gives the same check with
`--torch`, which uses LlamaForCausalLM.
"""

import argparse
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy


def flax_model(folder):
    """A function from token ids to logits, by Hugging Face's Flax class."""
    import jax
    from transformers import FlaxLlamaForCausalLM

    model = FlaxLlamaForCausalLM.from_pretrained(folder, dtype="float32", local_files_only=True)
    if model.config.tie_word_embeddings:
        # The Flax class knows no tied head: it would leave a random one.
        model.params["lm_head"]["kernel"] = model.params["model"]["embed_tokens"]["embedding"].T

    def logits(tokens):
        with jax.default_matmul_precision("float32"):
            return numpy.asarray(model(numpy.array([tokens], dtype="int32")).logits[0], dtype="float32")

    return logits


def torch_model(folder):
    """The same by Hugging Face's torch class."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True).eval()

    def logits(tokens):
        with torch.no_grad():
            return model(torch.tensor([tokens])).logits[0].numpy().astype("float32")

    return logits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", action="store_true", help="use torch instead of Flax")
    parser.add_argument("--greedy", type=int, default=0, metavar="N", help="continue by N greedy tokens first")
    parser.add_argument("--window", type=int, metavar="N", help="read N tokens at a time, each time after the first token")
    parser.add_argument("model")
    parser.add_argument("output")
    parser.add_argument("tokens", type=int, nargs="+")
    arguments = parser.parse_args()
    model = (torch_model if arguments.torch else flax_model)(arguments.model)
    tokens = list(arguments.tokens)
    for _ in range(arguments.greedy):
        tokens.append(int(model(tokens)[-1].argmax()))
    start, rest = tokens[:1], tokens[1:]
    step = arguments.window or len(tokens)
    windows = [start + rest[i : i + step] for i in range(0, max(len(rest), 1), step)]
    numpy.concatenate([model(window) for window in windows]).astype("<f4").tofile(arguments.output)
    print(*tokens)
    return 0


if __name__ == "__main__":
    sys.exit(main())
