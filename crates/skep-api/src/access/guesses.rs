//! Who tries keys that are none, and how that is made slow.

use blake3::Hash;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Wrong keys of one address that are answered without a wait: slips of somebody who types.
const FREE: u32 = 3;
/// Wrong keys of one address after which it is refused for a while.
const MANY: u32 = 10;
/// How long it is refused the first time; each further time takes twice as long, up to the longest.
const REFUSED_MS: u64 = 60_000;
const REFUSED_MOST_MS: u64 = 15 * 60_000;
/// An address that tried nothing wrong for so long is forgotten.
const FORGET_MS: u64 = 60 * 60_000;
/// Addresses that are remembered. A key has 256 bits, so one that is forgotten too early gains nothing by it.
const ADDRESSES: usize = 1024;

/// One address that showed wrong keys.
#[derive(Debug)]
struct Tried {
    wrong: u32,
    /// The last wrong key: the same one again is a program that was not told, and no guess.
    last: Hash,
    at_ms: u64,
    refused_until_ms: u64,
}

/// The addresses that showed wrong keys lately.
#[derive(Debug, Default)]
pub(crate) struct Guesses(HashMap<IpAddr, Tried>);

impl Guesses {
    /// For how many more seconds nothing that `from` shows is looked at.
    pub(crate) fn refused(&self, from: IpAddr, now_ms: u64) -> Option<u64> {
        let until = self.0.get(&home(from))?.refused_until_ms;
        (until > now_ms).then(|| (until - now_ms).div_ceil(1000))
    }

    /// Notes down a wrong key; how long its answer is to wait, in units of the shortest wait.
    pub(crate) fn wrong(&mut self, from: IpAddr, key: Hash, now_ms: u64) -> u32 {
        self.0.retain(|_, tried| tried.at_ms + FORGET_MS > now_ms);
        let from = home(from);
        if self.0.len() >= ADDRESSES && !self.0.contains_key(&from) {
            let oldest = self.0.iter().min_by_key(|(_, tried)| tried.at_ms).map(|(address, _)| *address);
            oldest.map(|address| self.0.remove(&address));
        }
        let tried = self.0.entry(from).or_insert(Tried {
            wrong: 0,
            last: blake3::hash(b""),
            at_ms: now_ms,
            refused_until_ms: 0,
        });
        tried.at_ms = now_ms;
        if tried.last == key {
            return 1;
        }
        tried.last = key;
        tried.wrong = tried.wrong.saturating_add(1);
        if tried.wrong >= MANY && tried.wrong.is_multiple_of(MANY) {
            let times = tried.wrong / MANY - 1;
            let refused = REFUSED_MS.saturating_mul(1 << times.min(10)).min(REFUSED_MOST_MS);
            tried.refused_until_ms = now_ms + refused;
        }
        tried.wrong.saturating_sub(FREE).min(MANY)
    }
}

/// How long the answer to a wrong key waits.
pub(crate) fn wait(units: u32, unit: Duration) -> Duration {
    unit * units
}

/// What one household has of addresses: one of version 4, a network of 64 bits of version 6.
fn home(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Hash {
        blake3::hash(&n.to_le_bytes())
    }

    #[test]
    fn guesses_get_slower_and_are_then_refused_for_longer_and_longer() {
        let (mut guesses, from) = (Guesses::default(), IpAddr::from([192, 0, 2, 1]));
        let waits: Vec<_> = (0..9).map(|n| guesses.wrong(from, key(n), 0)).collect();
        assert_eq!(waits, [0, 0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(guesses.refused(from, 0), None);
        guesses.wrong(from, key(9), 0);
        assert_eq!((guesses.refused(from, 0), guesses.refused(from, 59_999)), (Some(60), Some(1)));
        assert_eq!(guesses.refused(from, 60_000), None);
        for n in 10..20 {
            guesses.wrong(from, key(n), 60_000);
        }
        assert_eq!(guesses.refused(from, 60_000), Some(120));
        for n in 20..1000 {
            guesses.wrong(from, key(n), 60_000);
        }
        assert_eq!(guesses.refused(from, 60_000), Some(900), "never longer than a quarter of an hour");
        assert_eq!(guesses.refused(IpAddr::from([192, 0, 2, 2]), 60_000), None, "others are not held to it");
    }

    #[test]
    fn a_program_that_was_not_told_of_a_key_that_ended_guesses_nothing() {
        let (mut guesses, from) = (Guesses::default(), IpAddr::from([192, 0, 2, 1]));
        for now in 0..100 {
            guesses.wrong(from, key(7), now);
        }
        assert_eq!(guesses.refused(from, 100), None);
    }

    #[test]
    fn a_household_has_one_count_and_so_many_are_remembered() {
        let mut guesses = Guesses::default();
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        for n in 0..10u16 {
            guesses.wrong(v6(n), key(n.into()), 5);
        }
        assert_eq!(guesses.refused(v6(99), 5), Some(60));
        let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201]);
        assert_eq!(home(mapped), IpAddr::from([192, 0, 2, 1]));
        for n in 0..5000u32 {
            guesses.wrong(IpAddr::from((n + (10 << 24)).to_be_bytes()), key(n), 6 + u64::from(n));
        }
        assert_eq!(guesses.0.len(), ADDRESSES);
        guesses.wrong(v6(1), key(0), 5000 + 2 * FORGET_MS);
        assert_eq!(guesses.0.len(), 1, "what is long past is forgotten");
    }
}
