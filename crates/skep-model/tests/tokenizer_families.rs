//! The tokenizers of decoder families against Hugging Face `tokenizers`, on small vocabularies that `tools/family_tokenizers.py`
//! trains behind each family's own patterns, normalisers and flags. Without its Python the test says loudly that it was skipped.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_model::{Gguf, Tokenizer};
use skep_testkit::{python, repository_root};
use std::process::Command;

#[test]
fn every_family_cuts_texts_as_hugging_face_does() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = repository_root();
    let run = Command::new(python)
        .arg(root.join("tools/family_tokenizers.py"))
        .arg(folder.path())
        .args(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let families = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut compared = 0;
    for path in families.filter(|path| path.extension().is_some_and(|e| e == "gguf")) {
        let tokenizer = Tokenizer::from_gguf(&Gguf::open(&path).unwrap()).unwrap();
        for line in std::fs::read_to_string(path.with_extension("jsonl")).unwrap().lines() {
            let (text, expected): (String, Vec<u32>) = serde_json::from_str(line).unwrap();
            assert_eq!(tokenizer.encode(&text, false, true).unwrap(), expected, "{}: {text:?}", path.display());
            compared += 1;
        }
        let end = |text: &str| *tokenizer.encode(text, false, true).unwrap().last().unwrap();
        assert!(["<|im_end|>", "<|end|>"].iter().all(|text| tokenizer.is_end_of_generation(end(text))));
    }
    assert!(compared > 3000, "only {compared} texts were compared");
}
