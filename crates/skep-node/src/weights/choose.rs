//! Which blocks a node without a wish of its own takes.

use skep_model::{Gguf, ModelConfig, ModelError, byte_ranges};
use skep_plan::{Holding, Joiner};
use skep_types::{BlockRange, NodeId};
use std::time::Duration;

/// More members of one block than this count as so many.
const COUNT_MAX: u16 = 64;

/// The blocks of the model for a node that has `memory` bytes for weights: as many as fit wherever they lie, where the fewest `members`
/// serve (a count for each block). `None` when not even one fits.
///
/// # Errors
/// When the model is one that this version cannot run.
pub fn choose_blocks(gguf: &Gguf, members: &[u16], memory: u64) -> Result<Option<BlockRange>, ModelError> {
    let n_blocks = ModelConfig::from_gguf(gguf)?.n_blocks;
    let fits = |start, len| Ok::<_, ModelError>(weight_bytes(gguf, range(start, start + len)?)? <= memory);
    if fits(0, n_blocks)? {
        return range(0, n_blocks).map(Some);
    }
    // The longest length of which every span fits; a longer span never takes less, so it may be halved for.
    let (mut least, mut most) = (0, n_blocks - 1);
    while least < most {
        let len = (least + most).div_ceil(2);
        let all = (0..=n_blocks - len).try_fold(true, |all, start| Ok::<_, ModelError>(all && fits(start, len)?))?;
        if all {
            least = len;
        } else {
            most = len - 1;
        }
    }
    let same_speed = Duration::from_millis(1);
    let serves = |(block, count): (u32, &u16)| {
        let blocks = BlockRange::new(block, block + 1).ok()?;
        let holding = Holding { node: NodeId([0; 32]), blocks, block_time: same_speed, room: 1, settled: false };
        Some(std::iter::repeat_n(holding, usize::from((*count).min(COUNT_MAX))))
    };
    let holdings: Vec<Holding> = (0..n_blocks).zip(members).filter_map(serves).flatten().collect();
    Ok(skep_plan::join(n_blocks, &holdings, &Joiner { blocks_max: least, block_time: same_speed }).ok())
}

/// Bytes of the file that a span of these blocks reads.
///
/// # Errors
/// When the model is one that this version cannot run, or has fewer blocks.
pub fn weight_bytes(gguf: &Gguf, blocks: BlockRange) -> Result<u64, ModelError> {
    Ok(byte_ranges(gguf, blocks)?.iter().map(|range| range.end - range.start).sum())
}

/// How many blocks a node that serves `blocks` can hold at once while it moves, if it has `memory` bytes for weights: whichever
/// blocks these are.
pub(crate) fn room(gguf: &Gguf, blocks: BlockRange, memory: u64) -> Result<u32, ModelError> {
    let n_blocks = ModelConfig::from_gguf(gguf)?.n_blocks;
    let held = weight_bytes(gguf, blocks)?;
    let mut more = 0;
    for len in 1..=n_blocks - blocks.len().min(n_blocks) {
        let most = (0..=n_blocks - len).try_fold(0, |most: u64, start| {
            Ok::<_, ModelError>(most.max(weight_bytes(gguf, range(start, start + len)?)?))
        })?;
        if held.saturating_add(most) > memory {
            break;
        }
        more = len;
    }
    Ok(blocks.len() + more)
}

fn range(start: u32, end: u32) -> Result<BlockRange, ModelError> {
    BlockRange::new(start, end).map_err(|fault| ModelError::Input(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_blocks_as_fit_where_the_fewest_serve() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../skep/assets/skep-bard-q8_0.gguf");
        let gguf = Gguf::open(std::path::Path::new(path)).unwrap();
        let bytes = |start, end| weight_bytes(&gguf, range(start, end).unwrap()).unwrap();
        let choose = |members: &[u16], memory| {
            choose_blocks(&gguf, members, memory).unwrap().map(|blocks| (blocks.start(), blocks.end()))
        };
        let nobody = [0; 8];
        assert_eq!(choose(&nobody, gguf.file_bytes()), Some((0, 8)));
        // The ends carry more than the middle.
        let three = bytes(0, 3).max(bytes(5, 8));
        assert_eq!(choose(&nobody, three), Some((0, 3)));
        assert_eq!(choose(&[1, 1, 1, 0, 0, 0, 1, 1], three), Some((3, 6)));
        assert_eq!(choose(&[9, 9, 9, 9, 9, 1, 1, 1], three), Some((5, 8)));
        // A gateway that counts nothing is no obstacle.
        assert_eq!(choose(&[], three), Some((0, 3)));
        assert_eq!(choose(&nobody, bytes(3, 4) / 2), None);
    }

    #[test]
    fn while_it_moves_a_node_has_room_for_what_fits_wherever_it_lies() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../skep/assets/skep-bard-q8_0.gguf");
        let gguf = Gguf::open(std::path::Path::new(path)).unwrap();
        let bytes = |start, end| weight_bytes(&gguf, range(start, end).unwrap()).unwrap();
        let (held, ends) = (range(2, 4).unwrap(), bytes(0, 2).max(bytes(6, 8)));
        let room = |memory| room(&gguf, held, memory).unwrap();
        assert_eq!(room(bytes(2, 4)), 2);
        assert_eq!(room(bytes(2, 4) + ends - 1), 3);
        assert_eq!(room(bytes(2, 4) + ends), 4);
        assert_eq!(room(u64::MAX), 8);
    }
}
