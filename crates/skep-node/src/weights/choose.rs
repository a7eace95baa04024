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
    let range = |start, end| BlockRange::new(start, end).map_err(|fault| ModelError::Input(fault.to_string()));
    let fits = |start, len| -> Result<bool, ModelError> {
        let ranges = byte_ranges(gguf, range(start, start + len)?)?;
        Ok(ranges.iter().map(|range| range.end - range.start).sum::<u64>() <= memory)
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_blocks_as_fit_where_the_fewest_serve() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../skep/assets/skep-bard-q8_0.gguf");
        let gguf = Gguf::open(std::path::Path::new(path)).unwrap();
        let bytes = |start, end| {
            let ranges = byte_ranges(&gguf, BlockRange::new(start, end).unwrap()).unwrap();
            ranges.iter().map(|range| range.end - range.start).sum::<u64>()
        };
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
}
