//! What a partial file remembers of itself: which groups were verified and written, and up to where that is durable.
//!
//! A journal is a header of 64 bytes and records of 32. All integers are little-endian, all checks are the first 8 bytes of a BLAKE3
//! hash.
//!
//! | offset | header | |
//! |---|---|---|
//! | 0 | magic | `skeppart` |
//! | 8 | version | `u64`: 1 |
//! | 16 | id | 32 bytes |
//! | 48 | bytes | `u64`: size of the model's file |
//! | 56 | check | of the 56 bytes before |
//!
//! | offset | record | |
//! |---|---|---|
//! | 0 | kind | `u64`: 1 = groups `[start, end)` were written, 2 = all before is durable (0, 0), 3 = `[start, end)` is not held any more |
//! | 8 | start | `u64` |
//! | 16 | end | `u64` |
//! | 24 | check | of the header's check, the record's number from 0 as `u64`, and the 24 bytes before |
//!
//! Since a check covers the header and the number, a record counts only in its own file and place; reading stops at the first that does
//! not. A torn or damaged record therefore loses what follows it and never adds anything.

use crate::{RangeSet, Shape, StoreError};
use skep_types::ModelId;
use std::ops::Range;

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const RECORD_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"skeppart";
const VERSION: u64 = 1;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Written(Range<u64>),
    Durable,
    Dropped(Range<u64>),
}

/// Encodes records in their order.
#[derive(Debug)]
pub(crate) struct Writer {
    header: [u8; HEADER_BYTES],
    records: u64,
}

impl Writer {
    pub(crate) fn new(id: ModelId, shape: Shape) -> Self {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&VERSION.to_le_bytes());
        header[16..48].copy_from_slice(&id.0);
        header[48..56].copy_from_slice(&shape.bytes().to_le_bytes());
        let check = check(&[&header[..56]]);
        header[56..].copy_from_slice(&check);
        Self { header, records: 0 }
    }

    pub(crate) fn header(&self) -> [u8; HEADER_BYTES] {
        self.header
    }

    /// Offset in the file of the next record.
    pub(crate) fn end(&self) -> u64 {
        HEADER_BYTES as u64 + self.records * RECORD_BYTES as u64
    }

    pub(crate) fn record(&mut self, record: &Record) -> [u8; RECORD_BYTES] {
        let (kind, range) = match record {
            Record::Written(range) => (1u64, range.clone()),
            Record::Durable => (2, 0..0),
            Record::Dropped(range) => (3, range.clone()),
        };
        let mut bytes = [0; RECORD_BYTES];
        for (at, number) in [kind, range.start, range.end].into_iter().enumerate() {
            bytes[8 * at..8 * at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let check = check(&[&self.header[56..], &self.records.to_le_bytes(), &bytes[..24]]);
        bytes[24..].copy_from_slice(&check);
        self.records += 1;
        bytes
    }
}

/// What a journal says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) id: ModelId,
    pub(crate) shape: Shape,
    /// Verified, written and synced.
    pub(crate) durable: RangeSet,
    /// Verified and written; whether it reached the disk is not known.
    pub(crate) doubtful: RangeSet,
}

/// Reads a journal; none when its header does not hold.
pub(crate) fn read(journal: &[u8]) -> Option<Kept> {
    let header = journal.first_chunk::<HEADER_BYTES>()?;
    let sound = &header[..8] == MAGIC && number(&header[8..16]) == VERSION && header[56..] == check(&[&header[..56]]);
    let id = ModelId(*header[16..48].first_chunk::<32>()?);
    let shape = Shape::new(number(&header[48..56])).ok()?;
    if !sound {
        return None;
    }
    let mut kept = Kept { id, shape, durable: RangeSet::new(), doubtful: RangeSet::new() };
    let (records, _) = journal[HEADER_BYTES..].as_chunks::<RECORD_BYTES>();
    for (i, bytes) in records.iter().enumerate() {
        if bytes[24..] != check(&[&header[56..], &(i as u64).to_le_bytes(), &bytes[..24]]) {
            break;
        }
        let range = number(&bytes[8..16])..number(&bytes[16..24]).min(shape.groups());
        match number(&bytes[..8]) {
            1 => kept.doubtful.insert(range),
            2 => {
                kept.doubtful.iter().for_each(|range| kept.durable.insert(range));
                kept.doubtful = RangeSet::new();
            }
            3 => {
                kept.doubtful.remove(range.clone());
                kept.durable.remove(range);
            }
            _ => break,
        }
    }
    Some(kept)
}

/// A journal that says just `held`, all of it durable.
pub(crate) fn fresh(id: ModelId, shape: Shape, held: &RangeSet) -> (Writer, Vec<u8>) {
    let mut writer = Writer::new(id, shape);
    let mut bytes = writer.header().to_vec();
    for range in held.iter() {
        bytes.extend(writer.record(&Record::Written(range)));
    }
    bytes.extend(writer.record(&Record::Durable));
    (writer, bytes)
}

/// Refuses a journal of another model or size.
pub(crate) fn same(kept: &Kept, id: ModelId, shape: Shape) -> Result<(), StoreError> {
    if kept.id != id {
        return Err(StoreError::OtherModel { kept: kept.id, found: id });
    }
    if kept.shape != shape {
        return Err(StoreError::OtherSize { id, kept: kept.shape.bytes(), asked: shape.bytes() });
    }
    Ok(())
}

fn check(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    parts.iter().for_each(|part| _ = hasher.update(part));
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    check
}

fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GROUP_BYTES;
    use proptest::prelude::*;

    const ID: ModelId = ModelId([7; 32]);

    fn shape() -> Shape {
        Shape::new(100 * GROUP_BYTES).unwrap()
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let range = (0u64..100, 1u64..9).prop_map(|(start, n)| start..(start + n).min(100));
        prop_oneof![
            6 => range.clone().prop_map(Record::Written),
            2 => Just(Record::Durable),
            1 => range.prop_map(Record::Dropped),
        ]
    }

    fn journal(records: &[Record]) -> Vec<u8> {
        let mut writer = Writer::new(ID, shape());
        let mut bytes = writer.header().to_vec();
        for record in records {
            assert_eq!(writer.end(), bytes.len() as u64);
            bytes.extend(writer.record(record));
        }
        bytes
    }

    /// What the records say, told in another way: group by group.
    fn naive(records: &[Record]) -> Vec<u8> {
        let mut states = vec![0; 100];
        for record in records {
            for (group, state) in states.iter_mut().enumerate() {
                match record {
                    Record::Written(range) if range.contains(&(group as u64)) => *state = (*state).max(1),
                    Record::Dropped(range) if range.contains(&(group as u64)) => *state = 0,
                    Record::Durable if *state == 1 => *state = 2,
                    _ => {}
                }
            }
        }
        states
    }

    fn states(kept: &Kept) -> Vec<u8> {
        let state = |group| match (kept.durable.contains(group), kept.doubtful.contains(group)) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        };
        (0..100).map(state).collect()
    }

    proptest! {
        #[test]
        fn cut_at_any_byte_it_says_what_its_whole_records_say(records in prop::collection::vec(any_record(), 0..20), cut: prop::sample::Index) {
            let bytes = journal(&records);
            let cut = cut.index(bytes.len() + 1);
            let kept = read(&bytes[..cut]);
            if cut < HEADER_BYTES {
                prop_assert_eq!(kept, None);
            } else {
                let whole = (cut - HEADER_BYTES) / RECORD_BYTES;
                prop_assert_eq!(states(&kept.unwrap()), naive(&records[..whole]));
            }
        }

        #[test]
        fn a_damaged_byte_loses_its_record_and_those_after(records in prop::collection::vec(any_record(), 1..20), at: prop::sample::Index, xor in 1u8..) {
            let mut bytes = journal(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= xor;
            let kept = read(&bytes);
            if at < HEADER_BYTES {
                prop_assert_eq!(kept, None);
            } else {
                prop_assert_eq!(states(&kept.unwrap()), naive(&records[..(at - HEADER_BYTES) / RECORD_BYTES]));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(read(&bytes), None);
        }
    }

    #[test]
    fn a_record_of_another_journal_or_place_does_not_count() {
        let other = journal(&[Record::Written(0..5), Record::Written(9..20)]);
        let mut bytes = Writer::new(ModelId([8; 32]), shape()).header().to_vec();
        bytes.extend(&other[HEADER_BYTES..]);
        assert!(read(&bytes).unwrap().doubtful.is_empty());
        let mut swapped = other[..HEADER_BYTES].to_vec();
        swapped.extend(&other[HEADER_BYTES + RECORD_BYTES..]);
        assert!(read(&swapped).unwrap().doubtful.is_empty());
    }

    #[test]
    fn golden_encoding() {
        let bytes = journal(&[Record::Written(3..64), Record::Durable, Record::Dropped(5..6)]);
        assert_eq!(bytes.len(), 160);
        assert_eq!(
            blake3::hash(&bytes).to_hex().as_str(),
            "62f66b2ba3d75a3d2a4312d4f5e0622ccc942517231c5215a03e16adecc3108e"
        );
    }
}
