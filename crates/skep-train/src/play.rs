//! A play as training data: speeches that are turns of a chat, and the running text.
//!
//! Half of the sequences are chats: `<s>`, then speech after speech from a random one on, each as a role token, the text
//! without the speaker's name, and `</s>`; the roles alternate, the user first. The other half are stretches of the running text,
//! names and all, from a random token on, after `<s>`. So the model answers in a chat, and goes on with a play.

use crate::bpe::{BOS, EOS, FIRST_CONTROL};
use crate::{Dataset, Stream, TrainError};
use skep_model::Tokenizer;

/// The control tokens of the two roles, in the order of their ids.
pub const ROLES: [&str; 2] = ["<|user|>", "<|bard|>"];

/// Renders a chat as [`PlayData`] does. System messages are spoken by the user.
pub const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
    {% if message['role'] == 'assistant' %}<|bard|>{% else %}<|user|>{% endif %}\
    {{ message['content'] | trim }}{{ eos_token }}{% endfor %}\
    {% if add_generation_prompt %}<|bard|>{% endif %}";

/// The texts of all speeches, without the names. A paragraph without a name goes on with the speech before it.
pub fn speeches(text: &str) -> Vec<String> {
    let mut speeches: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
        match (paragraph.split_once('\n'), speeches.last_mut()) {
            (Some((name, speech)), _) if name.ends_with(':') => speeches.push(speech.trim().to_owned()),
            (None, _) if paragraph.ends_with(':') => {}
            (_, Some(before)) => {
                before.push('\n');
                before.push_str(paragraph);
            }
            (_, None) => speeches.push(paragraph.to_owned()),
        }
    }
    speeches
}

/// A play in tokens.
#[derive(Clone, Debug)]
pub struct PlayData {
    running: Vec<u32>,
    speeches: Vec<Vec<u32>>,
}

impl PlayData {
    /// Encodes `text`.
    ///
    /// # Errors
    /// [`TrainError::Text`] when it holds no speech, [`TrainError::Model`] when it is too long to encode.
    pub fn new(text: &str, tokenizer: &Tokenizer) -> Result<Self, TrainError> {
        let running = tokenizer.encode(text, false, false)?;
        let encode = |speech: &String| tokenizer.encode(speech, false, false);
        let speeches = speeches(text).iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        if speeches.is_empty() {
            return Err(TrainError::Text("it holds no speech".into()));
        }
        Ok(Self { running, speeches })
    }

    /// The running text.
    pub fn running(&self) -> &[u32] {
        &self.running
    }

    /// The running text cut into stretches of at most `len` tokens, each after `<s>`: predicting all of them predicts every token
    /// of the text once.
    pub fn stretches(&self, len: usize) -> Vec<Vec<u32>> {
        self.running.chunks(len.max(1)).map(|chunk| [&[BOS], chunk].concat()).collect()
    }

    fn chat(&self, stream: &mut Stream, len: usize) -> Vec<u32> {
        let first = stream.below(self.speeches.len());
        let mut tokens = vec![BOS];
        for (role, speech) in (0..).zip(self.speeches.iter().cycle().skip(first)) {
            if tokens.len() >= len {
                break;
            }
            tokens.push(FIRST_CONTROL + role % 2);
            tokens.extend(speech);
            tokens.push(EOS);
        }
        tokens.truncate(len);
        tokens
    }
}

impl Dataset for PlayData {
    fn sequence(&self, stream: &mut Stream, len: usize) -> Result<Vec<u32>, TrainError> {
        if stream.below(2) == 0 {
            return Ok(self.chat(stream, len));
        }
        let places = (self.running.len() + 2).checked_sub(len).filter(|places| *places > 0 && len > 0);
        let Some(places) = places else {
            return Err(TrainError::Text(format!("{} tokens are fewer than a sequence of {len}", self.running.len())));
        };
        let from = stream.below(places);
        Ok([&[BOS], &self.running[from..from + len - 1]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpe::Vocabulary;
    use skep_model::Metadata;

    const TEXT: &str =
        "First:\nWe are here.\nAll of us.\n\nSecond:\nWe are here.\n\nand so on\n\nThird:\nAll of us are here.\n";

    fn data() -> (PlayData, Tokenizer) {
        let mut metadata = Metadata::new();
        Vocabulary::learn(TEXT, 290, &ROLES).unwrap().describe(&mut metadata);
        let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
        (PlayData::new(TEXT, &tokenizer).unwrap(), tokenizer)
    }

    #[test]
    fn speeches_lose_their_names_only() {
        assert_eq!(speeches(TEXT), ["We are here.\nAll of us.", "We are here.\nand so on", "All of us are here."]);
    }

    #[test]
    fn sequences_are_chats_or_running_text() {
        let (data, tokenizer) = data();
        let (mut chats, mut running) = (0, 0);
        for i in 0..40 {
            let sequence = data.sequence(&mut Stream::new(1, "t", i), 20).unwrap();
            assert_eq!((sequence.len(), sequence[0]), (20, BOS));
            match sequence[1] {
                FIRST_CONTROL => chats += 1,
                _ => {
                    running += 1;
                    assert!(TEXT.contains(&tokenizer.decode(&sequence)));
                }
            }
        }
        assert!(chats > 5 && running > 5);
        assert!(matches!(data.sequence(&mut Stream::new(1, "t", 1), 4000), Ok(_) | Err(TrainError::Text(_))));
    }

    #[test]
    fn the_template_renders_what_training_shows() {
        let (data, tokenizer) = data();
        let mut chat = data.chat(&mut Stream::new(1, "t", 0), 200);
        let template: String = CHAT_TEMPLATE.into();
        assert!(template.contains(ROLES[0]) && template.contains(ROLES[1]));
        let ends = chat.iter().enumerate().filter(|(_, id)| **id == EOS).map(|(i, _)| i).nth(1).unwrap();
        chat.truncate(ends + 1);
        let spoken: Vec<String> = chat.split(|id| *id == EOS).map(|turn| tokenizer.decode(turn)).collect();
        let text = format!("<s><|user|>{}</s><|bard|>{}</s>", spoken[0], spoken[1]);
        assert_eq!(tokenizer.encode(&text, false, true).unwrap(), chat);
    }

    #[test]
    fn stretches_cover_the_text_once() {
        let (data, _) = data();
        let all: Vec<u32> = data.stretches(7).iter().flat_map(|s| s[1..].to_vec()).collect();
        assert_eq!(all, data.running());
    }
}
