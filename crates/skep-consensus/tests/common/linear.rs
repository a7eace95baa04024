//! Whether what clients saw of a bank could have happened one thing after another, each at some moment between its question and its answer.
//!
//! It is the search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memory of what was tried before: it knows
//! nothing of blocks, heights or validators.

use std::collections::HashSet;

/// Accounts of the bank.
pub const ACCOUNTS: usize = 8;

/// What everybody has.
pub type Balances = [u64; ACCOUNTS];

#[derive(Clone, Debug)]
pub enum Did {
    Transfer { from: usize, to: usize, amount: u64 },
    Read(Balances),
}

/// Something that a client asked for and was answered. What never was answered has no end: it may have happened, at any time or never.
#[derive(Clone, Debug)]
pub struct Op {
    pub asked_ms: u64,
    pub answered_ms: Option<u64>,
    pub did: Did,
}

/// Whether there is such an order.
pub fn is_linearizable(begin: Balances, ops: &[Op]) -> bool {
    assert!(ops.len() <= 128, "a set of them is a number");
    let mut ops = ops.to_vec();
    ops.sort_by_key(|op| op.asked_ms);
    let needed = (0..ops.len()).filter(|at| ops[*at].answered_ms.is_some()).fold(0, |set, at| set | 1 << at);
    let mut tried = HashSet::new();
    let mut open = vec![(0u128, begin)];
    while let Some((done, balances)) = open.pop() {
        if done & needed == needed {
            return true;
        }
        if !tried.insert((done, balances)) {
            continue;
        }
        // Next can be only what was asked before anything else that is left was answered.
        let left = || (0..ops.len()).filter(move |at| done & 1 << at == 0);
        let soonest = left().filter_map(|at| ops[at].answered_ms).min().unwrap_or(u64::MAX);
        for at in left().take_while(|at| ops[*at].asked_ms <= soonest) {
            if let Some(after) = after(balances, &ops[at].did) {
                open.push((done | 1 << at, after));
            }
        }
    }
    false
}

/// The bank after this, if that can happen there.
fn after(mut balances: Balances, did: &Did) -> Option<Balances> {
    match did {
        Did::Transfer { from, to, amount } => {
            balances[*from] = balances[*from].checked_sub(*amount)?;
            balances[*to] += amount;
            Some(balances)
        }
        Did::Read(seen) => (*seen == balances).then_some(balances),
    }
}
