#!/usr/bin/env python3
"""Makes GGUF files of the TinyLlama-1.1B shape with random weights: what speed is measured on.

    make_models.py --vocabulary VOCAB.gguf --peers PEERS OUTPUT_FOLDER

VOCAB.gguf is any GGUF file with a tokenizer of at most 32,000 tokens, whose tokenizer is taken over. PEERS is the program
of this folder. The PyPI package `gguf` writes a file in F16; PEERS quantises it to Q8_0, Q4_0 and Q4_K_M, and the file in
F16 is deleted unless --keep-f16 is given. The same seed gives the same weights.
"""

import argparse
import pathlib
import subprocess

import gguf
import numpy

BLOCKS, WIDTH, HEADS, KV_HEADS, HIDDEN, VOCABULARY, CONTEXT = 22, 2048, 32, 4, 5632, 32000, 2048
KINDS = ["Q8_0", "Q4_0", "Q4_K_M"]


def matrices():
    """Name, rows and columns of every matrix."""
    keys = WIDTH // HEADS * KV_HEADS
    yield "token_embd", VOCABULARY, WIDTH
    yield "output", VOCABULARY, WIDTH
    for block in range(BLOCKS):
        yield f"blk.{block}.attn_q", WIDTH, WIDTH
        yield f"blk.{block}.attn_k", keys, WIDTH
        yield f"blk.{block}.attn_v", keys, WIDTH
        yield f"blk.{block}.attn_output", WIDTH, WIDTH
        yield f"blk.{block}.ffn_gate", HIDDEN, WIDTH
        yield f"blk.{block}.ffn_up", HIDDEN, WIDTH
        yield f"blk.{block}.ffn_down", WIDTH, HIDDEN


def vectors():
    """The names of the norms."""
    yield "output_norm"
    for block in range(BLOCKS):
        yield f"blk.{block}.attn_norm"
        yield f"blk.{block}.ffn_norm"


def add_settings(writer):
    writer.add_name("random TinyLlama-1.1B shape")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_tokenizer(writer, path):
    """Takes over the tokenizer of another file, and fills the vocabulary up with unused tokens."""
    fields = gguf.GGUFReader(path).fields
    read = lambda name: fields[f"tokenizer.ggml.{name}"].contents()
    tokens, scores, kinds = list(read("tokens")), list(read("scores")), list(read("token_type"))
    if len(tokens) > VOCABULARY:
        raise SystemExit(f"{path} has {len(tokens)} tokens; at most {VOCABULARY} fit")
    missing = range(len(tokens), VOCABULARY)
    tokens += [f"<unused {index}>" for index in missing]
    scores += [-1e6 for _ in missing]
    kinds += [int(gguf.TokenType.UNUSED) for _ in missing]
    writer.add_tokenizer_model(read("model"))
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(read("bos_token_id"))
    writer.add_eos_token_id(read("eos_token_id"))
    writer.add_unk_token_id(read("unknown_token_id"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def write_f16(path, vocabulary, seed):
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=False)
    add_settings(writer)
    add_tokenizer(writer, vocabulary)
    random = numpy.random.default_rng(seed)
    for name, rows, columns in matrices():
        # A product of a unit input then stays near one, so the logits stay finite however deep the model is. Embeddings
        # are larger, or the blocks would drown the token and every continuation would be one token repeated.
        weights = random.standard_normal((rows, columns), dtype=numpy.float32)
        weights *= 4.0 if name == "token_embd" else columns**-0.5
        writer.add_tensor(f"{name}.weight", weights.astype(numpy.float16))
    for name in vectors():
        writer.add_tensor(f"{name}.weight", numpy.ones(WIDTH, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", required=True, help="a GGUF file whose tokenizer is taken over")
    parser.add_argument("--peers", required=True, help="the program skep-peers, which quantises")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-f16", action="store_true")
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    f16 = arguments.folder / "tinyllama-1.1b-random-F16.gguf"
    write_f16(f16, arguments.vocabulary, arguments.seed)
    for kind in KINDS:
        path = arguments.folder / f"tinyllama-1.1b-random-{kind}.gguf"
        subprocess.run([arguments.peers, "quantize", f16, path, kind], check=True)
        print(path, path.stat().st_size)
    if not arguments.keep_f16:
        f16.unlink()


if __name__ == "__main__":
    main()
