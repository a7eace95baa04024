//! The OpenAI-compatible API and the embedded page.
