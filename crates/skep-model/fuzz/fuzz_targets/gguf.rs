//! Any bytes as a model file: refused, or everything in it can be read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_model::{ChatTemplate, Gguf, Tokenizer, describe};

fuzz_target!(|bytes: &[u8]| {
    let Ok(gguf) = Gguf::from_bytes(bytes.to_vec()) else { return };
    let _ = describe(&gguf).map(|description| description.to_string());
    for tensor in gguf.tensors() {
        let _ = gguf.read_tensor(&tensor.name);
    }
    let _ = Tokenizer::from_gguf(&gguf).map(|tokenizer| tokenizer.encode("a b", true, true));
    let _ = ChatTemplate::from_gguf(&gguf);
});
