#!/usr/bin/env python3
"""Small models of every decoder family, with random weights, as GGUF files, and their logits by Hugging Face transformers.

    hf_families.py OUTPUT_DIR [NAME ...]

For each family NAME three files: NAME.gguf, NAME.tokens (little-endian u32) and NAME.logits (little-endian float32, a row of the
vocabulary for each token). Tensor names, permutations and metadata are those of llama.cpp's converter. It needs torch and a
transformers that knows the families: tools/requirements-torch.txt.
"""

import math
import os
import pathlib
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import gguf
import torch
import transformers

# Positions of the text: more than a window, a part of attention's sums, or a page of keys.
LENGTH = 300
VOCAB = 320
CONTEXT = 512
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
GEMMA = {"head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "num_hidden_layers": 7, "sliding_window": 50}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 48, "norm_topk_prob": True}
LONG = {
    "type": "longrope",
    "short_factor": [1.0 + i / 10 for i in range(6)],
    "long_factor": [2.0 + i for i in range(6)],
}

# name: architecture in GGUF, class of transformers, what its configuration has besides SMALL.
FAMILIES = {
    "llama2": ("llama", "Llama", {"tie_word_embeddings": False}),
    "llama3": ("llama", "Llama", {"rope_theta": 500000.0, "rope_scaling": LLAMA3, "rms_norm_eps": 1e-5}),
    "llama-bias": ("llama", "Llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 32}),
    "llama-linear": ("llama", "Llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "mistral": ("llama", "Mistral", {"sliding_window": 40, "head_dim": 32}),
    "mixtral": ("llama", "Mixtral", {"num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": None}),
    "smollm": ("llama", "Llama", {"tie_word_embeddings": True, "num_attention_heads": 9, "num_key_value_heads": 3,
                                  "hidden_size": 72, "rope_theta": 100000.0}),
    "qwen2": ("qwen2", "Qwen2", {"rope_theta": 1000000.0, "tie_word_embeddings": True}),
    "qwen3": ("qwen3", "Qwen3", {"head_dim": 32, "rope_theta": 1000000.0}),
    "qwen3moe": ("qwen3moe", "Qwen3Moe", {"head_dim": 32, **EXPERTS}),
    "gemma": ("gemma", "Gemma", GEMMA | {"sliding_window": None}),
    "gemma2": ("gemma2", "Gemma2", GEMMA | {"query_pre_attn_scalar": 32, "attn_logit_softcapping": 2.0,
                                            "final_logit_softcapping": 30.0}),
    "gemma3": ("gemma3", "Gemma3", GEMMA | {"query_pre_attn_scalar": 32, "rope_theta": 1000000.0,
                                            "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "phi3": ("phi3", "Phi3", {"sliding_window": 45, "rope_theta": 10000.0}),
    "phi3-long": ("phi3", "Phi3", {"rope_scaling": LONG, "original_max_position_embeddings": 384,
                                   "max_position_embeddings": 4096, "partial_rotary_factor": 0.75}),
}

# Names of GGUF by those of transformers, of one block and of the whole.
BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
}
# Families with norms after the sub-layers, too.
SANDWICH = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
EXPERT = {"w1": "ffn_gate", "w3": "ffn_up", "w2": "ffn_down", "gate_proj": "ffn_gate", "up_proj": "ffn_up",
          "down_proj": "ffn_down"}


def build(kind, changes):
    """A model with random weights large enough that attention and routing are far from uniform."""
    names = {"Gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM")}
    config_name, model_name = names.get(kind, (f"{kind}Config", f"{kind}ForCausalLM"))
    config = getattr(transformers, config_name)(**(SMALL | changes))
    model = getattr(transformers, model_name)(config).eval().float()
    generator = torch.Generator().manual_seed(7)
    for name, tensor in sorted(model.state_dict().items()):
        if name.endswith("norm.weight"):
            around = 0.0 if kind.startswith("Gemma") else 1.0
            tensor.copy_(around + 0.3 * torch.randn(tensor.shape, generator=generator))
        elif name.endswith("bias"):
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
        elif name != "lm_head.weight" or not config.tie_word_embeddings:
            scale = 1.0 if "embed" in name else 1.6 / math.sqrt(tensor.shape[-1])
            tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
    return model


def permuted(tensor, heads):
    """Rows of queries or keys so that what turns together is adjacent, as GGUF has them for llama."""
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape)


def tensors(model, architecture, kind):
    """GGUF names and values."""
    config, experts = model.config, {}
    for name, tensor in model.state_dict().items():
        stem, _, end = name.rpartition(".")
        if kind.startswith("Gemma") and name.endswith("norm.weight"):
            tensor = tensor + 1
        if stem == "lm_head" and config.tie_word_embeddings:
            continue
        if stem in WHOLE:
            yield f"{WHOLE[stem]}.{end}", tensor
            continue
        block, _, part = stem.removeprefix("model.layers.").partition(".")
        if ".experts." in name:
            _, number, matrix = part.rsplit(".", 2)
            experts.setdefault((int(block), EXPERT[matrix]), {})[int(number)] = tensor
            continue
        name = (SANDWICH if kind in ("Gemma2", "Gemma3") and part in SANDWICH else BLOCK)[part]
        if architecture == "llama" and name in ("attn_q", "attn_k"):
            tensor = permuted(tensor, config.num_attention_heads if name == "attn_q" else config.num_key_value_heads)
        yield f"blk.{block}.{name}.{end}", tensor
    for (block, name), all_of_them in experts.items():
        yield f"blk.{block}.{name}_exps.weight", torch.stack([all_of_them[i] for i in range(len(all_of_them))])


def llama3_factors(config, head_dim):
    """The divisors that llama.cpp's converter writes for Llama 3.1."""
    scaling = config.rope_scaling
    low, high, original = scaling["low_freq_factor"], scaling["high_freq_factor"], LLAMA3["original_max_position_embeddings"]
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * config.rope_theta ** (i / head_dim)
        if wavelength < original / high:
            yield 1.0
        elif wavelength > original / low:
            yield scaling["factor"]
        else:
            smooth = (original / wavelength - low) / (high - low)
            yield 1 / ((1 - smooth) / scaling["factor"] + smooth)


def rope(writer, config, head_dim):
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(int(getattr(config, "partial_rotary_factor", 1.0) * head_dim))
    if getattr(config, "rope_local_base_freq", None) is not None:
        writer.add_rope_freq_base_swa(config.rope_local_base_freq)
    scaling = getattr(config, "rope_scaling", None) or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    elif kind == "llama3":
        factors = torch.tensor(list(llama3_factors(config, head_dim)), dtype=torch.float32)
        writer.add_tensor("rope_freqs.weight", factors.numpy())
    elif kind == "longrope":
        original = config.original_max_position_embeddings
        stretch = config.max_position_embeddings / original
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(stretch) / math.log(original)))
        for side in ("short", "long"):
            factors = torch.tensor(scaling[f"{side}_factor"], dtype=torch.float32)
            writer.add_tensor(f"rope_factors_{side}.weight", factors.numpy())


def export(model, path, architecture, kind):
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"random {kind}")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    rope(writer, config, head_dim)
    if getattr(config, "sliding_window", None) and kind != "Qwen2":
        writer.add_sliding_window(config.sliding_window)
    if getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    experts = getattr(config, "num_local_experts", getattr(config, "num_experts", None))
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        if hasattr(config, "moe_intermediate_size"):
            writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    for name, tensor in tensors(model, architecture, kind):
        writer.add_tensor(name, tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    output = pathlib.Path(sys.argv[1])
    # One thread, so that the same machine gives the same sums.
    torch.set_num_threads(1)
    for name in sys.argv[2:] or FAMILIES:
        architecture, kind, changes = FAMILIES[name]
        model = build(kind, changes)
        tokens = torch.randint(VOCAB, (LENGTH,), generator=torch.Generator().manual_seed(11)).tolist()
        with torch.no_grad():
            logits = model(torch.tensor([tokens]), use_cache=False).logits[0]
        export(model, output / f"{name}.gguf", architecture, kind)
        torch.tensor(tokens, dtype=torch.int32).numpy().astype("<u4").tofile(output / f"{name}.tokens")
        logits.numpy().astype("<f4").tofile(output / f"{name}.logits")
        print(name, architecture, kind, f"logits up to {logits.abs().max():.3g}, deviation {logits.std():.3g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
