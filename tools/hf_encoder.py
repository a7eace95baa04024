#!/usr/bin/env python3
"""What Hugging Face `transformers` makes of encoders, in float32 on the CPU: the independent side of our tests.

    hf_encoder.py embed MODEL_DIR TEXTS OUTPUT      sentence embeddings; TEXTS is a JSON array of strings
    hf_encoder.py new-vit SEED MODEL_DIR            a small random ViT, its preprocessing, and pictures as .png and .raw
    hf_encoder.py classify MODEL_DIR OUTPUT         the logits of those pictures

OUTPUT receives vectors, row-major, as little-endian float32. An embedding is what sentence-transformers makes for
all-MiniLM-L6-v2, whose modules are Transformer (cut at 256 tokens), Pooling (the mean over tokens) and Normalize:
sentence-transformers itself needs torch, whose wheel brings gigabytes, so the three are done here, the first by the Flax
class of transformers.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy

MAX_TOKENS = 256
# The pictures of a new ViT: width, height, kind.
PICTURES = [(32, 32, "RGB"), (32, 32, "L"), (100, 37, "RGB"), (17, 23, "RGB"), (640, 480, "RGB"), (1, 1, "RGB")]


def embed(folder, texts, output):
    import jax
    from tokenizers import Tokenizer
    from transformers import FlaxBertModel

    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    model = FlaxBertModel.from_pretrained(folder, dtype="float32", local_files_only=True, add_pooling_layer=False)
    vectors = []
    with jax.default_matmul_precision("float32"):
        for text in json.loads(pathlib.Path(texts).read_text(encoding="utf-8")):
            ids = tokenizer.encode(text).ids
            # Padded to a few lengths, as each one is compiled anew.
            length = -(-len(ids) // 32) * 32
            padded = numpy.zeros((1, length), "int32")
            padded[0, : len(ids)] = ids
            mask = (numpy.arange(length) < len(ids)).astype("int32")[None]
            states = numpy.asarray(model(padded, attention_mask=mask).last_hidden_state[0], "float64")
            mean = states[: len(ids)].mean(axis=0)
            vectors.append(mean / numpy.linalg.norm(mean))
    numpy.array(vectors).astype("<f4").tofile(output)


def new_vit(seed, folder):
    """A checkpoint under the names of the torch class, which is what is published and converted."""
    from PIL import Image
    from safetensors.numpy import save_file
    from transformers import ViTConfig, ViTImageProcessor

    folder.mkdir(parents=True, exist_ok=True)
    draw = numpy.random.default_rng(int(seed))
    config = ViTConfig(hidden_size=64, num_hidden_layers=6, num_attention_heads=4, intermediate_size=160, image_size=32,
                       patch_size=8, num_labels=10)
    config.architectures = ["ViTForImageClassification"]
    width, inner, tensors = config.hidden_size, config.intermediate_size, {}
    normal = lambda *shape, scale=0.2: draw.normal(0, scale, shape).astype("float32")

    def linear(name, rows, columns):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = normal(rows, columns), normal(rows)

    def norm(name):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1 + normal(width), normal(width)

    tensors["vit.embeddings.cls_token"] = normal(1, 1, width)
    tensors["vit.embeddings.position_embeddings"] = normal(1, (config.image_size // config.patch_size) ** 2 + 1, width)
    patches = "vit.embeddings.patch_embeddings.projection"
    tensors[f"{patches}.weight"] = normal(width, 3, config.patch_size, config.patch_size)
    tensors[f"{patches}.bias"] = normal(width)
    for layer in range(config.num_hidden_layers):
        block = f"vit.encoder.layer.{layer}"
        for part in ["query", "key", "value"]:
            linear(f"{block}.attention.attention.{part}", width, width)
        linear(f"{block}.attention.output.dense", width, width)
        linear(f"{block}.intermediate.dense", inner, width)
        linear(f"{block}.output.dense", width, inner)
        norm(f"{block}.layernorm_before")
        norm(f"{block}.layernorm_after")
    norm("vit.layernorm")
    linear("classifier", config.num_labels, width)
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    for index, (wide, high, kind) in enumerate(PICTURES):
        channels = 3 if kind == "RGB" else 1
        # Smooth with noise, so that neither edges nor plains decide alone.
        y, x = numpy.mgrid[0:high, 0:wide]
        waves = [127 + 90 * numpy.sin(x / (3 + c) + y / (5 - c) + index) for c in range(channels)]
        pixels = numpy.stack(waves, -1) + draw.normal(0, 20, (high, wide, channels))
        pixels = numpy.clip(pixels, 0, 255).astype("uint8")
        picture = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        picture.save(folder / f"{index}.png")
        # The same for readers without a PNG decoder: width, height, bytes of the colours.
        sides = numpy.array([wide, high], "<u4").tobytes()
        (folder / f"{index}.raw").write_bytes(sides + picture.convert("RGB").tobytes())


def classify(folder, output):
    import jax
    from PIL import Image
    from transformers import FlaxViTForImageClassification, ViTImageProcessor

    model = FlaxViTForImageClassification.from_pretrained(folder, dtype="float32", local_files_only=True)
    processor = ViTImageProcessor.from_pretrained(folder, local_files_only=True)
    logits = []
    with jax.default_matmul_precision("float32"):
        for path in sorted(folder.glob("*.png")):
            picture = Image.open(path).convert("RGB")
            # Said, since a picture of one pixel has its channels anywhere.
            seen = processor(picture, return_tensors="np", input_data_format="channels_last").pixel_values
            logits.append(numpy.asarray(model(pixel_values=seen).logits[0], "float32"))
    numpy.array(logits).astype("<f4").tofile(output)


def main():
    command, *arguments = sys.argv[1:]
    if command == "embed":
        embed(*arguments)
    elif command == "new-vit":
        new_vit(arguments[0], pathlib.Path(arguments[1]))
    elif command == "classify":
        classify(pathlib.Path(arguments[0]), arguments[1])
    else:
        sys.exit(f"unknown command {command}: embed, new-vit or classify")
    return 0


if __name__ == "__main__":
    sys.exit(main())
