//! The 32-byte ids.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// An id is exactly 64 hexadecimal digits.
    #[error("an id has 64 hexadecimal digits, this text has {0} characters")]
    Length(usize),
    /// The text holds a character that is not a hexadecimal digit.
    #[error("character {position} of the id is not a hexadecimal digit")]
    Digit {
        /// Index of the first wrong byte, from 0.
        position: usize,
    },
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The first ten hexadecimal digits, for tables that people read.
            pub fn short(&self) -> String {
                self.to_string()[..10].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
    };
}

id!(
    /// A machine: its ed25519 public key.
    NodeId
);
id!(
    /// A model: the BLAKE3 root of its file.
    ModelId
);

impl ModelId {
    /// The id of a model file held in memory.
    pub fn of(file: &[u8]) -> Self {
        Self(*blake3::hash(file).as_bytes())
    }
}

fn parse(text: &str) -> Result<[u8; 32], IdError> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(IdError::Length(text.chars().count()));
    }
    let mut bytes = [0u8; 32];
    for (position, digit) in digits.iter().enumerate() {
        let value = (*digit as char).to_digit(16).ok_or(IdError::Digit { position })? as u8;
        bytes[position / 2] = bytes[position / 2] << 4 | value;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_borsh_round_trip(bytes: [u8; 32]) {
            let id = NodeId(bytes);
            prop_assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
            prop_assert_eq!(borsh::from_slice::<NodeId>(&borsh::to_vec(&id).unwrap()).unwrap(), id);
        }

        #[test]
        fn any_text_is_an_id_or_a_clear_refusal(text: String) {
            let _ = text.parse::<ModelId>();
        }
    }

    #[test]
    fn refusals_name_the_fault() {
        assert_eq!("ab".parse::<NodeId>(), Err(IdError::Length(2)));
        assert_eq!("g".repeat(64).parse::<NodeId>(), Err(IdError::Digit { position: 0 }));
    }

    #[test]
    fn the_model_id_is_the_blake3_root() {
        assert_eq!(ModelId::of(b"").to_string(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }
}
