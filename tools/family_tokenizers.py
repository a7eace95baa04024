#!/usr/bin/env python3
"""Small vocabularies behind the tokenizers of decoder families, as GGUF files, and what Hugging Face tokenizers makes of texts.

    family_tokenizers.py OUTPUT_DIR TEXT_FILE ...

For each family NAME two files: NAME.gguf with a vocabulary trained on the text files, and NAME.jsonl with a line [text, ids] for each
text that is tried. Patterns, normalisers and flags are those of the families' tokenizer.json; special tokens are parsed.
"""

import json
import pathlib
import random
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*%s"
WORDS = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|%s| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{SPACES}"
# name of the pre-tokenizer in GGUF: pattern (None: that of GPT-2), whether digits stand alone, NFC, words before merges.
BYTE_LEVEL = {
    "gpt-2": (None, False, False, False),
    "smollm": (None, True, False, False),
    "llama-bpe": (WORDS % r"\p{N}{1,3}", False, False, True),
    "dbrx": (WORDS % r"\p{N}{1,3}", False, False, False),
    "qwen2": (WORDS % r"\p{N}", False, True, False),
    "tekken": (f"{CASED % ('', '')}|\\p{{N}}| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n/]*|{SPACES}", False, False, True),
    "gpt-4o": (f"{CASED % (CONTRACTIONS + '?', CONTRACTIONS + '?')}|\\p{{N}}{{1,3}}| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n/]*|{SPACES}",
               False, False, False),
}
SPECIAL = ["<|im_end|>", "<|end|>"]
ALPHABET = list("aAbBsS'tTlLéÉ七ß0123456789 .,!?/-\n\r\t\"") + ["  ", "\u00a0", "\u3000", "e\u0301", "👍", "ı", " the", " and", "'ll"]
TRICKY = ["", " ", "  ", "\n", "\n\n a", "Hello, World! 12345", "I'LL it's  WE'RE", "a<|im_end|>b", "<|end|> x", "<|end|>\n\n<|end|>\n y",
          "camelCase HTTPServer iOS", "http://a.b/c//\n", "e\u0301 \u00e9", "x  \n  y", "\u4e03\u4e03 3.14159"]


def texts():
    chance = random.Random(5)
    yield from TRICKY
    for _ in range(300):
        yield "".join(chance.choice(ALPHABET) for _ in range(chance.randrange(1, 40)))


def byte_level(pattern, digits, nfc, whole_words, corpus):
    tokenizer = Tokenizer(models.BPE(ignore_merges=whole_words))
    steps = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    if pattern is None:
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    else:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in SPECIAL])
    return tokenizer


def sentence_piece(prefix, strips, corpus):
    """A vocabulary as of SentencePiece, and all merges of two pieces to a third, as Hugging Face converts it."""
    space = normalizers.Replace(" ", "▁")
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), space]) if prefix else space
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizer
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=600, show_progress=False))
    pieces = sorted(trained.get_vocab(), key=trained.get_vocab().get)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    ids = {token: id for id, token in enumerate(tokens)}
    merges = []
    for piece in pieces:
        cuts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        cuts = [cut for cut in cuts if cut[0] in ids and cut[1] in ids]
        merges += sorted(cuts, key=lambda cut: (ids[cut[0]], ids[cut[1]]))
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteFallback()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, rstrip=strips) for text in SPECIAL])
    return tokenizer


def write(tokenizer, path, architecture, kind, pre, prefix):
    writer = gguf.GGUFWriter(path, architecture)
    vocab = tokenizer.get_vocab()
    tokens = sorted(vocab, key=vocab.get)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    types = {**dict.fromkeys(SPECIAL, gguf.TokenType.CONTROL), "<s>": gguf.TokenType.CONTROL, "</s>": gguf.TokenType.CONTROL,
             "<unk>": gguf.TokenType.UNKNOWN}
    byte = gguf.TokenType.BYTE if kind == "llama" else gguf.TokenType.NORMAL
    plain = gguf.TokenType.NORMAL
    writer.add_token_types([types.get(token, byte if token.startswith("<0x") else plain) for token in tokens])
    if kind == "llama":
        writer.add_token_scores([-float(id) for id in range(len(tokens))])
        writer.add_add_space_prefix(prefix)
    else:
        writer.add_token_merges([" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    output = pathlib.Path(sys.argv[1])
    corpus = [pathlib.Path(name).read_text("utf-8") for name in sys.argv[2:]] + ["é É ß 七 3.14 naïve 12345 x\n\n\n", "     y"]
    made = {name: (byte_level(*how, corpus), "llama", "gpt2", name, False) for name, how in BYTE_LEVEL.items()}
    made["gemma"] = (sentence_piece(False, False, corpus), "gemma2", "llama", "default", False)
    made["llama2"] = (sentence_piece(True, False, corpus), "llama", "llama", "default", True)
    made["phi3"] = (sentence_piece(True, True, corpus), "phi3", "llama", "default", True)
    for name, (tokenizer, *how) in made.items():
        write(tokenizer, output / f"{name}.gguf", *how)
        with open(output / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for text in texts():
                file.write(json.dumps([text, tokenizer.encode(text, add_special_tokens=False).ids]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
