//! The recipe of the bundled model still gives the same bits: its first steps on the real text, and its chat template.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use skep_model::{ChatTemplate, Gguf, Message, ModelConfig, Tokenizer};
use skep_testkit::shared_data;
use skep_train::export::Precision;
use skep_train::{Trainer, bard};

#[test]
fn the_first_steps_on_the_real_text_have_the_recorded_bits() {
    let Some(path) = shared_data("text/tinyshakespeare.txt") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let material = bard::prepare(&text).unwrap();
    let config = bard::config();
    let mut trainer = Trainer::new(config.clone(), 2).unwrap();
    for _ in 0..5 {
        trainer.step(&material.training).unwrap();
    }
    let bytes = bard::file(&config, &material, trainer.params(), Precision::Q8_0).unwrap();
    assert_eq!(
        blake3::hash(&bytes).to_hex().as_str(),
        "56c38bb3864297e83e244a8c9f56b144fd26a89becd5b911df172bea51100a43"
    );
    check_chat(&Gguf::from_bytes(bytes).unwrap());
}

#[test]
fn the_bundled_file_is_of_this_recipe_and_its_page_names_it() {
    let path = skep_testkit::repository_root().join("crates/skep/assets/skep-bard-q8_0.gguf");
    let gguf = Gguf::open(&path).unwrap();
    check_chat(&gguf);
    let config = bard::config();
    let recorded = |key: &str| gguf.metadata().integer(&format!("skep.training.{key}")).unwrap();
    assert_eq!((recorded("seed"), recorded("steps")), (Some(config.seed), Some(config.steps)));
    let found = ModelConfig::from_gguf(&gguf).unwrap();
    let sizes = (found.n_blocks as usize, found.d_model, found.d_ff, found.vocab, found.context);
    let shape = config.shape;
    assert_eq!(sizes, (shape.n_blocks, shape.d_model, shape.d_ff, shape.vocab, shape.context));
    let readme = std::fs::read_to_string(path.with_file_name("README.md")).unwrap();
    assert!(readme.contains(skep_model::model_id(&path).unwrap().to_string().as_str()));
}

/// The file is whole, and a chat becomes the tokens that training showed.
fn check_chat(gguf: &Gguf) {
    ModelConfig::from_gguf(gguf).unwrap().check_tensors(gguf).unwrap();
    let tokenizer = Tokenizer::from_gguf(gguf).unwrap();
    let message = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    let messages = [message("user", " Who art thou? "), message("assistant", "A king."), message("user", "Prove it.")];
    let text = ChatTemplate::from_gguf(gguf).unwrap().unwrap().render(&messages, true).unwrap();
    assert_eq!(text, "<s><|user|>Who art thou?</s><|bard|>A king.</s><|user|>Prove it.</s><|bard|>");
    let ids = tokenizer.encode(&text, false, true).unwrap();
    assert_eq!((ids[0], ids[1], ids[ids.len() - 1]), (1, 259, 260));
    assert_eq!(ids.iter().filter(|id| tokenizer.is_end_of_generation(**id)).count(), 3);
    let spoken = "KING:\nNo more, I say; 'tis done — é!\n\n";
    assert_eq!(tokenizer.decode(&tokenizer.encode(spoken, true, false).unwrap()), spoken);
}

#[test]
fn the_last_tenth_is_held_out_from_a_whole_speech_on() {
    let text: String = (10..40).map(|i| format!("NAME {i}:\nSome words.\n\n")).collect();
    let (training, held_out) = bard::split(&text).unwrap();
    assert!(held_out.starts_with("NAME 38:") && training.ends_with(".\n\n"), "{held_out}");
    assert!(bard::split("no blank line").is_err());
    assert!(bard::prepare("no blank line").is_err());
}
