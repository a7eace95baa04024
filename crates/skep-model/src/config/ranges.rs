//! Which bytes of a file a span of blocks needs.

use super::read::Keys;
use super::{Family, Makes, ROPE_FACTORS, ROPE_FACTORS_LONG, ROPE_FACTORS_SHORT};
use crate::{Gguf, ModelError};
use skep_types::BlockRange;
use std::ops::Range;

/// What a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Block(u64),
    /// What stands before the first block.
    Entry,
    /// What stands after the last block.
    Head,
    /// The embedding where it is also the output matrix.
    BothEnds,
    Everybody,
}

/// The bytes of a file that [`Span::load`](crate::Span::load) reads for `blocks`, in order: the header, the tensors of the blocks, the
/// embedding if `blocks` begins at 0 and the head if it ends the model. Tensors that stand side by side, with no more than padding between
/// them, are one range. `gguf` may be [the front of the file](Gguf::from_front): only the table is read.
///
/// A tensor that this version does not know is in the ranges of all spans, so that the loader refuses the model for what it is.
///
/// # Errors
/// [`ModelError::Input`] when the model has fewer blocks; [`ModelError::Architecture`] or [`ModelError::Metadata`] when it does not say
/// how many.
pub fn byte_ranges(gguf: &Gguf, blocks: BlockRange) -> Result<Vec<Range<u64>>, ModelError> {
    let architecture = gguf.metadata().text("general.architecture")?;
    let architecture = architecture.ok_or_else(|| ModelError::metadata("general.architecture", "is absent"))?;
    let family = Family::of(architecture).ok_or_else(|| ModelError::Architecture(architecture.to_owned()))?;
    let n_blocks = Keys { metadata: gguf.metadata(), family }.n_blocks()? as u32;
    if blocks.end() > n_blocks {
        let reason = format!("blocks {blocks} were asked for, but the model has blocks 0..{n_blocks}");
        return Err(ModelError::Input(reason));
    }
    let tied = family.makes == Makes::Logits && gguf.tensor("output.weight").is_none();
    let (begins, ends) = (blocks.start() == 0, blocks.end() == n_blocks);
    let needed = |name: &str| match owner(name, tied) {
        Owner::Block(block) => u32::try_from(block).is_ok_and(|block| blocks.contains(block)),
        Owner::Entry => begins,
        Owner::Head => ends,
        Owner::BothEnds => begins || ends,
        Owner::Everybody => true,
    };
    let tensors = gguf.tensors().iter().filter(|info| needed(&info.name));
    let mut ranges: Vec<Range<u64>> = tensors.map(|info| info.offset..info.offset + info.bytes).collect();
    ranges.push(0..gguf.header_bytes());
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            // 32 bytes are the format's usual alignment.
            Some(last) if range.start <= last.end.next_multiple_of(32) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    Ok(merged)
}

fn owner(name: &str, tied: bool) -> Owner {
    if let Some((block, _)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        return block.parse().map_or(Owner::Everybody, Owner::Block);
    }
    // The factors of the rotation are read with the hyper-parameters.
    if [ROPE_FACTORS, ROPE_FACTORS_SHORT, ROPE_FACTORS_LONG].contains(&name) {
        return Owner::Everybody;
    }
    match name.split_once('.').map_or(name, |(part, _)| part) {
        "token_embd" if tied => Owner::BothEnds,
        "token_embd" | "token_embd_norm" | "token_types" | "position_embd" | "patch_embd" | "class_embd" => {
            Owner::Entry
        }
        "output_norm" | "output" | "cls" => Owner::Head,
        _ => Owner::Everybody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FAMILIES, ModelConfig};
    use std::path::Path;

    fn bundled() -> Gguf {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../skep/assets/skep-bard-q8_0.gguf");
        Gguf::open(Path::new(path)).unwrap()
    }

    /// The names are those that the loader asks for, in every family.
    #[test]
    fn what_the_loader_reads_at_each_place_is_owned_by_that_place() {
        let config = ModelConfig::from_gguf(&bundled()).unwrap();
        for family in FAMILIES {
            for tied_head in [false, true] {
                let tied = tied_head && family.makes == Makes::Logits;
                let config = ModelConfig { family, tied_head, ..config.clone() };
                let owners = |tensors: Vec<crate::Expected>| {
                    tensors.into_iter().map(|(name, _)| (owner(&name, tied), name)).collect::<Vec<_>>()
                };
                for (owner, name) in owners(config.block_tensors(3)) {
                    assert_eq!(owner, Owner::Block(3), "{name}");
                }
                for (owner, name) in owners(config.entry_tensors()) {
                    assert!(owner == Owner::Entry || tied && owner == Owner::BothEnds, "{name}: {owner:?}");
                }
                for (owner, name) in owners(config.head_tensors()) {
                    assert!(owner == Owner::Head || tied && owner == Owner::BothEnds, "{name}: {owner:?}");
                }
            }
        }
        for name in ["patch_embd.weight", "patch_embd.bias", "class_embd.weight", "position_embd.weight"] {
            assert_eq!(owner(name, false), Owner::Entry);
        }
    }

    #[test]
    fn owners() {
        let owners = |tied| {
            ["blk.12.attn_q.weight", "token_embd.weight", "output.weight", "rope_freqs.weight"]
                .map(|name| owner(name, tied))
        };
        assert_eq!(owners(false), [Owner::Block(12), Owner::Entry, Owner::Head, Owner::Everybody]);
        assert_eq!(owners(true)[1], Owner::BothEnds);
        for odd in ["blk.x.attn_q.weight", "blk.", "blk.99999999999999999999.a", "", "adapter.weight"] {
            assert_eq!(owner(odd, false), Owner::Everybody, "{odd}");
        }
    }
}
