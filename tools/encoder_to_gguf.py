#!/usr/bin/env python3
"""Converts a Hugging Face encoder to GGUF: BERT sentence embedders and ViT image classifiers.

    encoder_to_gguf.py MODEL_DIR OUTPUT [--dtype f32|f16|q8_0]

MODEL_DIR may be `package:NAME` for the folder `model` of a Python package. It holds config.json and model.safetensors; a BERT also vocab.txt and, when it comes from sentence-transformers,
1_Pooling/config.json; a ViT also preprocessor_config.json. The type is that of matrices: vectors, positions and token types
stay f32, as does what does not divide into blocks.

BERT follows llama.cpp's convention for the architecture `bert`, name by name. For images llama.cpp has only the towers of
chat models, so `vit` is ours, after its names:

    vit.block_count, embedding_length, feed_forward_length, attention.head_count, attention.layer_norm_epsilon
    vit.context_length       positions: patches + 1
    vit.image_size, vit.patch_size        pixels
    vit.image_mean, vit.image_std         of each channel, after pixels were scaled to 0..1
    vit.classifier.output_labels          names of the classes
    patch_embd.weight        embedding_length x (3 * patch_size * patch_size), columns by channel, then line, then column
    patch_embd.bias, class_embd.weight, position_embd.weight (position 0 is the class token's)
    blk.N.attn_norm, attn_q, attn_k, attn_v, attn_output, ffn_norm, ffn_up, ffn_down: each with .weight and .bias
    output_norm.weight/.bias, cls.output.weight/.bias     final norm and classifier, of position 0
"""

import argparse
import importlib.resources
import json
import pathlib
import sys

import gguf
import numpy
from safetensors import safe_open

TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


class Model:
    """A checkpoint and the file that it becomes."""

    def __init__(self, folder, output, architecture, dtype):
        self.folder, self.dtype = folder, dtype
        self.config = json.loads((folder / "config.json").read_text())
        with safe_open(folder / "model.safetensors", "numpy") as file:
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.writer = gguf.GGUFWriter(output, architecture)

    def shape(self, positions):
        config, writer = self.config, self.writer
        writer.add_context_length(positions)
        writer.add_embedding_length(config["hidden_size"])
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_block_count(config["num_hidden_layers"])
        writer.add_head_count(config["num_attention_heads"])
        writer.add_layer_norm_eps(config["layer_norm_eps"])
        writer.add_causal_attention(False)
        if config["hidden_act"] != "gelu":
            sys.exit(f"the activation {config['hidden_act']} is not known: only gelu is")

    def vector(self, name, source):
        """A tensor that is kept as it is."""
        self.writer.add_tensor(name, self.tensors[source].astype("float32"))

    def matrix(self, name, source, array=None):
        """A tensor of the type that was asked for."""
        array = (self.tensors[source] if array is None else array).astype("float32")
        dtype = TYPES[self.dtype] if array.shape[-1] % 32 == 0 else TYPES["f32"]
        self.writer.add_tensor(name, gguf.quants.quantize(array, dtype), raw_dtype=dtype)

    def linear(self, name, source):
        self.matrix(f"{name}.weight", f"{source}.weight")
        self.vector(f"{name}.bias", f"{source}.bias")

    def norm(self, name, source):
        self.vector(f"{name}.weight", f"{source}.weight")
        self.vector(f"{name}.bias", f"{source}.bias")

    def finish(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def bert_vocabulary(model):
    """Pieces as llama.cpp spells them: `▁` before those that begin a word, nothing before those that go on."""
    words = (model.folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    special = {"[PAD]": "pad", "[UNK]": "unk", "[CLS]": "cls", "[SEP]": "sep", "[MASK]": "mask"}
    tokens, kinds = [], []
    for word in words:
        kinds.append(gguf.TokenType.CONTROL if word in special else gguf.TokenType.NORMAL)
        if word.startswith("##"):
            tokens.append(word[2:])
        elif word.startswith("[") and word.endswith("]"):
            tokens.append(word)
        else:
            tokens.append(f"\u2581{word}")
    writer = model.writer
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_type_count(model.config["type_vocab_size"])
    ids = {kind: words.index(word) for word, kind in special.items()}
    writer.add_bos_token_id(ids["cls"])
    writer.add_eos_token_id(ids["sep"])
    writer.add_unk_token_id(ids["unk"])
    writer.add_sep_token_id(ids["sep"])
    writer.add_pad_token_id(ids["pad"])
    writer.add_mask_token_id(ids["mask"])


def bert(folder, output, dtype, name):
    model = Model(folder, output, "bert", dtype)
    model.writer.add_name(name)
    model.shape(model.config["max_position_embeddings"])
    pooling = folder / "1_Pooling" / "config.json"
    mean = not pooling.exists() or json.loads(pooling.read_text())["pooling_mode_mean_tokens"]
    model.writer.add_pooling_type(gguf.PoolingType.MEAN if mean else gguf.PoolingType.CLS)
    bert_vocabulary(model)
    model.matrix("token_embd.weight", "embeddings.word_embeddings.weight")
    model.vector("token_types.weight", "embeddings.token_type_embeddings.weight")
    model.vector("position_embd.weight", "embeddings.position_embeddings.weight")
    model.norm("token_embd_norm", "embeddings.LayerNorm")
    for block in range(model.config["num_hidden_layers"]):
        source, to = f"encoder.layer.{block}", f"blk.{block}"
        model.linear(f"{to}.attn_q", f"{source}.attention.self.query")
        model.linear(f"{to}.attn_k", f"{source}.attention.self.key")
        model.linear(f"{to}.attn_v", f"{source}.attention.self.value")
        model.linear(f"{to}.attn_output", f"{source}.attention.output.dense")
        model.norm(f"{to}.attn_output_norm", f"{source}.attention.output.LayerNorm")
        model.linear(f"{to}.ffn_up", f"{source}.intermediate.dense")
        model.linear(f"{to}.ffn_down", f"{source}.output.dense")
        model.norm(f"{to}.layer_output_norm", f"{source}.output.LayerNorm")
    model.finish()


def vit(folder, output, dtype, name):
    model = Model(folder, output, "vit", dtype)
    config, writer = model.config, model.writer
    seen = json.loads((folder / "preprocessor_config.json").read_text())
    side = {"height": config["image_size"], "width": config["image_size"]}
    if seen["size"] != side or seen["resample"] != 2 or not (seen["do_rescale"] and seen["do_normalize"]):
        sys.exit("the pictures are prepared otherwise than by a bilinear resize to the model's size and a normalisation")
    writer.add_name(name)
    model.shape((config["image_size"] // config["patch_size"]) ** 2 + 1)
    writer.add_pooling_type(gguf.PoolingType.CLS)
    writer.add_uint32("vit.image_size", config["image_size"])
    writer.add_uint32("vit.patch_size", config["patch_size"])
    writer.add_array("vit.image_mean", [float(value) for value in seen["image_mean"]])
    writer.add_array("vit.image_std", [float(value) for value in seen["image_std"]])
    labels = [config["id2label"][key] for key in sorted(config["id2label"], key=int)]
    writer.add_array("vit.classifier.output_labels", labels)
    patches = "vit.embeddings.patch_embeddings.projection"
    kernel = model.tensors[f"{patches}.weight"]
    model.matrix("patch_embd.weight", None, kernel.reshape(kernel.shape[0], -1))
    model.vector("patch_embd.bias", f"{patches}.bias")
    writer.add_tensor("class_embd.weight", model.tensors["vit.embeddings.cls_token"].reshape(-1).astype("float32"))
    positions = model.tensors["vit.embeddings.position_embeddings"]
    writer.add_tensor("position_embd.weight", positions[0].astype("float32"))
    for block in range(config["num_hidden_layers"]):
        source, to = f"vit.encoder.layer.{block}", f"blk.{block}"
        model.norm(f"{to}.attn_norm", f"{source}.layernorm_before")
        model.linear(f"{to}.attn_q", f"{source}.attention.attention.query")
        model.linear(f"{to}.attn_k", f"{source}.attention.attention.key")
        model.linear(f"{to}.attn_v", f"{source}.attention.attention.value")
        model.linear(f"{to}.attn_output", f"{source}.attention.output.dense")
        model.norm(f"{to}.ffn_norm", f"{source}.layernorm_after")
        model.linear(f"{to}.ffn_up", f"{source}.intermediate.dense")
        model.linear(f"{to}.ffn_down", f"{source}.output.dense")
    model.norm("output_norm", "vit.layernorm")
    model.linear("cls.output", "classifier")
    model.finish()


def folder_of(model):
    package = model.removeprefix("package:")
    return pathlib.Path(model) if package == model else importlib.resources.files(package) / "model"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=folder_of)
    parser.add_argument("output")
    parser.add_argument("--dtype", choices=list(TYPES), default="f32")
    parser.add_argument("--name", help="general.name; the folder's name unless given")
    arguments = parser.parse_args()
    kind = json.loads((arguments.model / "config.json").read_text())["model_type"]
    convert = {"bert": bert, "vit": vit}.get(kind)
    if convert is None:
        sys.exit(f"a model of type {kind} is neither a bert nor a vit")
    convert(arguments.model, arguments.output, arguments.dtype, arguments.name or arguments.model.resolve().name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
