//! Those who agree on a block, and whose turn it is to propose it.
//!
//! A set of validators is encoded as `borsh` of a list of key (32 bytes) and power (`u64`), in the order of the keys, each key once. Its hash is
//! BLAKE3(`"skep validators 1\0"` ‖ encoding). More than two thirds of all power is a *quorum*.
//!
//! # Turns
//! Put the validators on a ring, each as long as its power. The turn of height `h` falls on the point `h · step mod total`, where `step`
//! is the least number from `⌊total · 618 / 1000⌋ + 1` that has no divisor in common with `total`: over `total` heights each
//! proposes exactly as often as it has power, and evenly. The rounds of a height go round the ring from there, to those first who were not
//! absent, and to the others after them. *Absent* is a validator that signed none of the last [`ABSENT_AFTER`] certificates that
//! blocks carry, and was a validator in all of them. So a dead machine costs its timeouts a few times and then no more, and it is back
//! as soon as it signs again.

use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::{Hash, POWER_MAX, VALIDATORS_MAX, validator::is_quorum};
use skep_types::NodeId;
use std::io;
use std::sync::Arc;

/// After how many certificates without its signature a validator proposes last.
pub const ABSENT_AFTER: usize = 4;
const CONTEXT: &[u8] = b"skep validators 1\0";

/// One validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Validator {
    /// Its key.
    pub id: NodeId,
    /// How much its vote weighs.
    pub power: u64,
}

/// Those who agree on a block, in the order of their keys. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators(Arc<[Validator]>);

impl Validators {
    /// A set of 1 to [`VALIDATORS_MAX`], or nothing if keys or powers are not as they must be.
    pub fn new(mut all: Vec<Validator>) -> Option<Self> {
        all.sort_by_key(|one| one.id);
        Self::of_sorted(all)
    }

    fn of_sorted(all: Vec<Validator>) -> Option<Self> {
        let sorted = all.windows(2).all(|pair| pair[0].id < pair[1].id);
        let sound = all.iter().all(|one| (1..=POWER_MAX).contains(&one.power));
        ((1..=VALIDATORS_MAX).contains(&all.len()) && sorted && sound).then(|| Self(all.into()))
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Validator> {
        self.0.iter()
    }

    /// How many there are: at least one.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The one at a place.
    pub fn at(&self, place: usize) -> Option<&Validator> {
        self.0.get(place)
    }

    /// The place of a key.
    pub fn place(&self, id: &NodeId) -> Option<usize> {
        self.0.binary_search_by_key(id, |one| one.id).ok()
    }

    /// A key with its power.
    pub fn get(&self, id: &NodeId) -> Option<&Validator> {
        self.place(id).and_then(|place| self.at(place))
    }

    /// All power.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|one| one.power).sum()
    }

    /// Whether this power is more than two thirds of all.
    pub fn is_quorum(&self, power: u64) -> bool {
        is_quorum(power, self.total())
    }

    /// What headers name this set by.
    pub fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(CONTEXT).update(&(self.0.len() as u32).to_le_bytes());
        for one in self.iter() {
            hasher.update(&one.id.0).update(&one.power.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Whose turn it is in each round of a height, by their places; after the last it is the first one's turn again.
    pub fn turns(&self, height: u64, absent: impl Fn(&NodeId) -> bool) -> Vec<u16> {
        let total = self.total();
        let mut left = (u128::from(height) * u128::from(step(total)) % u128::from(total)) as u64;
        let first = self.0.iter().position(|one| {
            let here = left < one.power;
            left = left.saturating_sub(one.power);
            here
        });
        let ring = (0..self.len()).map(|turn| (first.unwrap_or(0) + turn) % self.len());
        let (last, present): (Vec<usize>, Vec<usize>) = ring.partition(|place| absent(&self.0[*place].id));
        present.into_iter().chain(last).map(|place| place as u16).collect()
    }
}

fn step(total: u64) -> u64 {
    let divisor = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let from = (u128::from(total) * 618 / 1000) as u64 + 1;
    (from..).find(|step| divisor(*step, total) == 1).unwrap_or(1)
}

impl BorshSerialize for Validators {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.0[..].serialize(writer)
    }
}

impl BorshDeserialize for Validators {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let count = u32::deserialize_reader(reader)? as usize;
        if count > VALIDATORS_MAX {
            return Err(wrong("more validators than there may be"));
        }
        let all = (0..count).map(|_| Validator::deserialize_reader(reader)).collect::<io::Result<_>>()?;
        Self::of_sorted(all).ok_or_else(|| wrong("not a set of validators"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(powers: &[u64]) -> Validators {
        let one = |(number, power): (usize, &u64)| Validator { id: NodeId([number as u8; 32]), power: *power };
        Validators::new(powers.iter().enumerate().map(one).collect()).unwrap()
    }

    #[test]
    fn equals_take_turns() {
        let four = set(&[1, 1, 1, 1]);
        let first: Vec<u16> = (0..8).map(|height| four.turns(height, |_| false)[0]).collect();
        assert_eq!(first, [0, 3, 2, 1, 0, 3, 2, 1]);
        assert_eq!(four.turns(2, |_| false), [2, 3, 0, 1]);
    }

    #[test]
    fn the_absent_come_last() {
        let absent = |id: &NodeId| id.0[0] == 2 || id.0[0] == 3;
        assert_eq!(set(&[1, 1, 1, 1]).turns(2, absent), [0, 1, 2, 3]);
        assert_eq!(set(&[1, 1, 1, 1]).turns(2, |_| true), [2, 3, 0, 1]);
    }

    #[test]
    fn an_encoding_is_this() {
        let bytes = borsh::to_vec(&set(&[5, 7])).unwrap();
        let expected = [&[2u8, 0, 0, 0][..], &[0; 32], &[5, 0, 0, 0, 0, 0, 0, 0], &[1; 32], &[7, 0, 0, 0, 0, 0, 0, 0]];
        assert_eq!(bytes, expected.concat());
        let hash = blake3::hash(&[CONTEXT, &bytes].concat());
        assert_eq!(set(&[5, 7]).hash(), *hash.as_bytes(), "the hash is over the encoding");
    }

    #[test]
    fn what_is_no_set_is_not_decoded() {
        let one = |number: u8, power: u64| Validator { id: NodeId([number; 32]), power };
        let many = (0..=VALIDATORS_MAX as u8).map(|number| one(number, 1)).collect();
        for wrong in [vec![], vec![one(1, 0)], vec![one(1, POWER_MAX + 1)], vec![one(2, 1), one(1, 1)], many] {
            assert!(borsh::from_slice::<Validators>(&borsh::to_vec(&wrong).unwrap()).is_err(), "{}", wrong.len());
        }
        assert_eq!(Validators::new(vec![one(1, 1), one(1, 1)]), None);
    }

    proptest! {
        #[test]
        fn everyone_proposes_as_often_as_it_has_power(powers in prop::collection::vec(1u64..20, 1..12), from in 0u64..1000) {
            let all = set(&powers);
            let mut times = vec![0; powers.len()];
            for height in from..from + all.total() {
                let turns = all.turns(height, |_| false);
                times[usize::from(turns[0])] += 1;
                let mut places = turns;
                places.sort_unstable();
                prop_assert_eq!(places, (0..powers.len() as u16).collect::<Vec<_>>(), "everyone has a turn");
            }
            prop_assert_eq!(times, powers);
        }
    }
}
