//! Where a pull comes from, as a person writes it.

use super::download::Address;
use super::fault::PullError;
use super::part;
use skep_types::ModelId;
use std::path::{Path, PathBuf};

/// The longest text that is a source: as long as servers take addresses.
const TEXT_MAX: usize = 4096;

/// Where a pull comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A server.
    Url(Address),
    /// A file of this machine.
    File(PathBuf),
    /// The other machines of this node's network.
    Network(ModelId),
}

impl Source {
    /// Reads what a person wrote; `served` is what this node's network serves.
    ///
    /// # Errors
    /// [`PullError::Url`].
    pub(crate) fn read(text: &str, served: (ModelId, &str), has_id: bool) -> Result<Self, PullError> {
        let refused = |reason: &str| {
            let text = text.chars().take(100).filter(|c| !c.is_control()).collect();
            Err(PullError::Url { text, reason: reason.to_owned() })
        };
        if text.is_empty() || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
            return refused("it is empty, too long, or has a character that nothing is named with");
        }
        if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("skep:")) {
            return refused("a link leads to another network, from which `skep pull LINK` fetches");
        }
        if let Some(address) = Address::read(text)? {
            if address.is_plain() && !has_id {
                return refused("without TLS anybody on the way can change the file");
            }
            return Ok(Self::Url(address));
        }
        let (id, name) = served;
        if text == name || text == clean_name(name) || text.eq_ignore_ascii_case(&id.to_string()) {
            return Ok(Self::Network(id));
        }
        match Path::new(text) {
            path if path.is_absolute() => Ok(Self::File(path.to_owned())),
            _ => refused("it is neither an address nor a model of this network, and a file is named by its whole path"),
        }
    }

    /// Names the pull: two texts that lead to one thing have one key.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Url(address) => address.key(),
            Self::File(path) => part::key(&format!("file:{}", path.display())),
            Self::Network(id) => part::key(&format!("model:{id}")),
        }
    }

    /// What the model is called if nobody says otherwise.
    pub(crate) fn name(&self, served: &str) -> String {
        match self {
            Self::Url(address) => stem(address.path()),
            Self::File(path) => stem(&path.to_string_lossy()),
            Self::Network(_) => served.to_owned(),
        }
    }
}

/// The last part of a path without `.gguf`.
pub fn stem(path: &str) -> String {
    let last = path.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(path);
    last.strip_suffix(".gguf").unwrap_or(last).to_owned()
}

/// A name that can be typed and stands on one line.
pub fn clean_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().take(64).map(plain).collect();
    if name.trim_matches('-').is_empty() { "model".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_paths_and_can_be_typed() {
        assert_eq!(stem("/models/Qwen2.5-7B.Q4_K_M.gguf"), "Qwen2.5-7B.Q4_K_M");
        assert_eq!(stem("a/b/"), "b");
        assert_eq!(clean_name("six blocks/ü\n"), "six-blocks---");
        assert_eq!((clean_name(""), clean_name("///")), ("model".into(), "model".into()));
    }

    #[test]
    fn sources_are_told_apart() {
        let served = (ModelId([0xab; 32]), "The Bard");
        let read = |text: &str| Source::read(text, served, false);
        assert!(matches!(read("hf:a/b/c.gguf"), Ok(Source::Url(_))));
        assert!(matches!(read("/models/x.gguf"), Ok(Source::File(_))));
        for name in ["The Bard", "The-Bard"] {
            assert!(matches!(read(name), Ok(Source::Network(id)) if id == served.0));
        }
        assert!(matches!(read(&"AB".repeat(32)), Ok(Source::Network(_))));
        assert_eq!(
            read("hf:a/b/c.gguf").unwrap().key(),
            read("https://huggingface.co/a/b/resolve/main/c.gguf").unwrap().key()
        );
        assert_ne!(read("/x").unwrap().key(), read("/y").unwrap().key());
        for (bad, why) in [
            ("", "empty"),
            ("a\nb", "character"),
            ("skep:abc", "another network"),
            ("Bart", "neither"),
            ("x.gguf", "whole path"),
            ("ftp://example.org/x", "only https"),
            ("http://example.org/x", "without TLS"),
        ] {
            let told = read(bad).unwrap_err().to_string();
            assert!(told.contains(why), "{bad:?}: {told}");
        }
        assert!(matches!(Source::read("http://example.org/x", served, true), Ok(Source::Url(_))));
    }
}
