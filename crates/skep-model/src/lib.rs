//! GGUF, tokenizers, chat templates, the forward pass of a span of blocks, the seeded sampler.
