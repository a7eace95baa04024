//! Any bytes as a model file: refused, or everything in it can be read and computed with.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_model::{ChatTemplate, Gguf, ModelConfig, ModelError, Span, Tokenizer, describe};
use skep_types::BlockRange;

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::from_bytes(bytes.to_vec()) else { return };
    let _ = describe(&gguf).map(|description| description.to_string());
    for tensor in gguf.tensors() {
        let _ = gguf.read_tensor(&tensor.name);
    }
    let _ = Tokenizer::from_gguf(&gguf).map(|tokenizer| tokenizer.encode("a b", true, true));
    let _ = ChatTemplate::from_gguf(&gguf);
    let _ = compute(&gguf);
});

/// One token through the whole model.
fn compute(gguf: &Gguf) -> Result<(), ModelError> {
    let config = ModelConfig::from_gguf(gguf)?;
    let blocks = BlockRange::new(0, config.n_blocks).map_err(|error| ModelError::Input(error.to_string()))?;
    let span = Span::load(gguf, blocks)?;
    let mut cache = span.new_cache(blocks, config.context.min(4))?;
    let mut rows = span.embed(&[0])?;
    span.forward(&mut cache, &mut rows)?;
    span.logits(&rows[..config.d_model]).map(drop)
}
