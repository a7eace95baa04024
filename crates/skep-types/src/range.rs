//! A half-open range of a model's blocks.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// Why a pair of numbers or a text is not a range of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RangeError {
    /// The range holds no block.
    #[error("blocks {start}..{end} hold nothing: the first number must be below the second")]
    Empty {
        /// First block.
        start: u32,
        /// One past the last block.
        end: u32,
    },
    /// The text is not of the form `a..b`.
    #[error("`{0}` is not a range of blocks of the form 0..4")]
    Syntax(String),
}

/// Blocks `[start, end)` of a model, never empty. JSON and people read `[start, end]` and `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, Serialize, Deserialize)]
#[serde(into = "[u32; 2]", try_from = "[u32; 2]")]
pub struct BlockRange {
    start: u32,
    end: u32,
}

impl BlockRange {
    /// Blocks `[start, end)`.
    ///
    /// # Errors
    /// [`RangeError::Empty`] unless `start < end`.
    pub fn new(start: u32, end: u32) -> Result<Self, RangeError> {
        if start < end { Ok(Self { start, end }) } else { Err(RangeError::Empty { start, end }) }
    }

    /// First block.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// One past the last block.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Number of blocks, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> u32 {
        self.end - self.start
    }

    /// Whether this range holds block `block`.
    pub fn contains(&self, block: u32) -> bool {
        (self.start..self.end).contains(&block)
    }

    /// Whether this range holds every block of `other`.
    pub fn covers(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

impl BorshDeserialize for BlockRange {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let start = u32::deserialize_reader(reader)?;
        let end = u32::deserialize_reader(reader)?;
        Self::new(start, end)
            .map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error.to_string()))
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl FromStr for BlockRange {
    type Err = RangeError;
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let numbers = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (start, end) = numbers.ok_or_else(|| RangeError::Syntax(text.to_owned()))?;
        Self::new(start, end)
    }
}

impl From<BlockRange> for [u32; 2] {
    fn from(range: BlockRange) -> Self {
        [range.start, range.end]
    }
}

impl TryFrom<[u32; 2]> for BlockRange {
    type Error = RangeError;
    fn try_from([start, end]: [u32; 2]) -> Result<Self, RangeError> {
        Self::new(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_borsh_round_trip(start in 0u32..1000, len in 1u32..1000) {
            let range = BlockRange::new(start, start + len).unwrap();
            prop_assert_eq!(range.to_string().parse::<BlockRange>().unwrap(), range);
            prop_assert_eq!(borsh::from_slice::<BlockRange>(&borsh::to_vec(&range).unwrap()).unwrap(), range);
        }
    }

    #[test]
    fn an_empty_range_cannot_be_made_or_decoded() {
        assert_eq!(BlockRange::new(3, 3), Err(RangeError::Empty { start: 3, end: 3 }));
        assert!(borsh::from_slice::<BlockRange>(&borsh::to_vec(&(5u32, 2u32)).unwrap()).is_err());
        assert!("3-4".parse::<BlockRange>().is_err());
    }
}
