//! Evidence: two different things that one validator said where it may say one.
//!
//! [`Evidence`] convicts by itself: whoever knows who validated at that height checks two signatures. A [`Witness`] remembers what was said
//! at the heights around the present one and finds it, also in what comes late.

use crate::validators::Validators;
use crate::vote::{Proposal, Said, Signed, Vote};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::ChainId;
use skep_types::NodeId;
use skep_types::signed::Keys;
use std::collections::{BTreeMap, BTreeSet};

/// How many heights behind the present one are remembered: what is later than that was held back for longer than any delay.
pub const HEIGHTS_KEPT: u64 = 4;
/// The most statements that are remembered: 100 validators in 100 rounds. Those of the lowest height and round go first.
pub const STATEMENTS_MAX: usize = 30_000;

/// Two statements that one honest validator never makes.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Evidence {
    /// Two votes of one kind in one round.
    Votes(Signed<Vote>, Signed<Vote>),
    /// Two proposals in one round.
    Proposals(Signed<Proposal>, Signed<Proposal>),
}

impl Evidence {
    /// Who is convicted.
    pub fn validator(&self) -> NodeId {
        match self {
            Self::Votes(one, _) => one.said.validator,
            Self::Proposals(one, _) => one.said.validator,
        }
    }

    /// The height at which it happened.
    pub fn height(&self) -> u64 {
        match self {
            Self::Votes(one, _) => one.said.height,
            Self::Proposals(one, _) => one.said.height,
        }
    }

    /// Whether it convicts a validator of that height.
    pub fn convicts(&self, chain: &ChainId, validators: &Validators, keys: &impl Keys) -> bool {
        let both = match self {
            Self::Votes(one, two) => {
                one.said.slot() == two.said.slot()
                    && one.said != two.said
                    && one.holds(chain, keys)
                    && two.holds(chain, keys)
            }
            Self::Proposals(one, two) => {
                one.said.slot() == two.said.slot()
                    && one.said != two.said
                    && one.holds(chain, keys)
                    && two.holds(chain, keys)
            }
        };
        both && validators.get(&self.validator()).is_some()
    }
}

/// Where a validator may say one thing: height, round, what kind of statement, who.
type Slot = (u64, u32, u8, NodeId);

pub(crate) trait Slotted: Said {
    fn slot(&self) -> Slot;
}

impl Slotted for Vote {
    fn slot(&self) -> Slot {
        (self.height, self.round, 1 + self.kind as u8, self.validator)
    }
}

impl Slotted for Proposal {
    fn slot(&self) -> Slot {
        (self.height, self.round, 0, self.validator)
    }
}

#[derive(Clone, Debug)]
enum Heard {
    Vote(Signed<Vote>),
    Proposal(Signed<Proposal>),
}

/// Remembers what was said.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    heard: BTreeMap<Slot, Heard>,
    /// For what evidence was given already.
    told: BTreeSet<Slot>,
}

impl Witness {
    /// Notes a vote whose signature was checked.
    pub fn vote(&mut self, vote: &Signed<Vote>) -> Option<Evidence> {
        let slot = vote.said.slot();
        match self.heard.get(&slot) {
            Some(Heard::Vote(known)) if known.said != vote.said => {
                let evidence = Evidence::Votes(known.clone(), vote.clone());
                self.told.insert(slot).then_some(evidence)
            }
            Some(_) => None,
            None => {
                self.keep(slot, Heard::Vote(vote.clone()));
                None
            }
        }
    }

    /// Notes a proposal whose signature was checked.
    pub fn proposal(&mut self, proposal: &Signed<Proposal>) -> Option<Evidence> {
        let slot = proposal.said.slot();
        match self.heard.get(&slot) {
            Some(Heard::Proposal(known)) if known.said != proposal.said => {
                let evidence = Evidence::Proposals(known.clone(), proposal.clone());
                self.told.insert(slot).then_some(evidence)
            }
            Some(_) => None,
            None => {
                self.keep(slot, Heard::Proposal(proposal.clone()));
                None
            }
        }
    }

    /// Whether a vote that nobody checked yet says something new: then it is worth checking.
    pub fn is_news(&self, vote: &Vote) -> bool {
        let slot = vote.slot();
        let same = |heard: &Heard| matches!(heard, Heard::Vote(known) if known.said == *vote);
        !self.told.contains(&slot) && !self.heard.get(&slot).is_some_and(same)
    }

    fn keep(&mut self, slot: Slot, heard: Heard) {
        self.heard.insert(slot, heard);
        if self.heard.len() > STATEMENTS_MAX {
            self.heard.pop_first();
        }
    }

    /// Forgets what is long past when a height begins.
    pub fn begin(&mut self, height: u64) {
        let from = (height.saturating_sub(HEIGHTS_KEPT), 0, 0, NodeId([0; 32]));
        self.heard = self.heard.split_off(&from);
        self.told = self.told.split_off(&from);
    }
}
