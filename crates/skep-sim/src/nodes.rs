//! What a node is: its key, where it lies, what it can do.

use skep_types::offer::{Audience, BEACONS, Terms};
use skep_types::signed::Keys;
use skep_types::{BlockRange, ModelId, NodeId};
use std::time::Duration;

/// Blocks of every model.
pub const BLOCKS: u32 = 32;
/// All blocks of a model.
pub fn whole() -> BlockRange {
    // A range of constants that is not empty.
    BlockRange::try_from([0, BLOCKS]).unwrap_or_else(|_| unreachable!())
}

/// How much faster liars say they are.
const LIE: u32 = 20;

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n.max(1)
    }
}

/// The finaliser of SplitMix64.
pub fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of the `life`-th node at an index. The first bytes are the mix, so that keys are spread as real ones are.
pub fn key(index: u32, life: u32) -> NodeId {
    let mut bytes = [0; 32];
    let number = u64::from(life) << 32 | u64::from(index);
    bytes[..8].copy_from_slice(&mix(number ^ 0x5ca1_ab1e).to_be_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    NodeId(bytes)
}

/// Whose key it is: index and life.
pub fn owner(node: &NodeId) -> (u32, u32) {
    let part = |at: usize| u32::from_le_bytes([node.0[at], node.0[at + 1], node.0[at + 2], node.0[at + 3]]);
    (part(8), part(12))
}

/// The id of the `number`-th model.
pub fn model_id(number: u32) -> ModelId {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    ModelId(bytes)
}

/// Keys of the simulation.
#[derive(Debug, Clone, Copy)]
pub struct Mixed(pub NodeId);

impl Mixed {
    fn seal(node: &NodeId, message: &[u8]) -> [u8; 64] {
        let (index, life) = owner(node);
        let mut state = mix(u64::from(index) << 32 | u64::from(life));
        for chunk in message.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
        let mut seal = [0; 64];
        seal[..8].copy_from_slice(&mix(state).to_le_bytes());
        seal
    }
}

impl Keys for Mixed {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        Self::seal(&self.0, message)
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        Self::seal(signer, message) == *signature
    }
}

/// A machine, whatever key it has.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Where it lies, in tenths of a millisecond of delay.
    pub x: u16,
    /// As `x`.
    pub y: u16,
    /// The number of the model that it serves.
    pub model: u32,
    /// Blocks that it can hold.
    pub room: u32,
    /// True warm time of one block over one token.
    pub decode_ns: u32,
    /// Whether it lies.
    pub liar: bool,
    /// What it serves now.
    pub blocks: Option<BlockRange>,
}

/// Side of the square on which machines lie, in tenths of a millisecond.
const SIDE: u64 = 500;

impl Machine {
    /// A random machine in a network with so many models.
    pub fn draw(rng: &mut Rng, models: u32, liars_percent: u32) -> Self {
        // Popularity falls with the square of a uniform number: the first model has many servers, the last one few.
        let uniform = rng.below(1 << 20);
        let model = (((uniform * uniform) >> 20) * u64::from(models)) >> 20;
        let room = [4, 4, 8, 8, 16, 32][rng.below(6) as usize];
        let decode_ns = 200_000 + rng.below(2_000_000) as u32;
        let liar = rng.below(100) < u64::from(liars_percent);
        let (x, y) = (rng.below(SIDE) as u16, rng.below(SIDE) as u16);
        Self { x, y, model: model as u32, room, decode_ns, liar, blocks: None }
    }

    /// One-way delay without jitter, microseconds.
    pub fn delay_us(&self, other: &Self) -> u64 {
        self.to(u64::from(other.x), u64::from(other.y))
    }

    fn to(&self, x: u64, y: u64) -> u64 {
        let (dx, dy) = (u64::from(self.x).abs_diff(x), u64::from(self.y).abs_diff(y));
        3_000 + 100 * (dx * dx + dy * dy).isqrt()
    }

    /// Which half of the square.
    pub fn side(&self) -> bool {
        u64::from(self.x) < SIDE / 2
    }

    /// Its delay to each beacon, as in an offer.
    pub fn beacons(&self) -> [u16; BEACONS] {
        let mut all = [u16::MAX; BEACONS];
        for (at, beacon) in all.iter_mut().enumerate() {
            let (x, y) = (at as u64 % 4 * SIDE / 3, at as u64 / 4 * SIDE);
            *beacon = (self.to(x, y) / 100) as u16;
        }
        all
    }

    /// What it says that it offers.
    pub fn terms(&self, blocks: BlockRange) -> Terms {
        let decode_ns = if self.liar { self.decode_ns / LIE } else { self.decode_ns };
        Terms {
            model: model_id(self.model),
            blocks,
            price: 0,
            decode_ns,
            prefill_ns: decode_ns / 10,
            visit_us: 500,
            wait_us: 0,
            goodput_kib_s: 4096,
            room: 0,
            memory: 1 << 32,
            audience: Audience::Anyone,
            beacons: self.beacons(),
        }
    }

    /// Its true time for a token of prompt and a token of answer.
    pub fn times(&self) -> (Duration, Duration) {
        (Duration::from_nanos(u64::from(self.decode_ns / 10)), Duration::from_nanos(u64::from(self.decode_ns)))
    }
}
