//! What a member knows of who lets others in and who was removed. Pure: two members that told each other what they know, in whatever
//! order, know the same.
//!
//! # Bounds
//! Of more than [`MAX_DOORKEEPERS`] delegations those that end first are forgotten. Of the removals that one machine signed, so are those
//! beyond its share: [`REMOVALS_OF_NETWORK`] of the machine that began the network, [`REMOVALS_OF_KEEPER`] of each doorkeeper, so that
//! none of them can crowd out another's.
//!
//! # What holds
//! The machine that began the network is never removed. What it removed is removed, and if that was a doorkeeper its delegation and all
//! removals that it signed are forgotten. What a doorkeeper removed is removed unless it is a doorkeeper too.

use borsh::{BorshDeserialize, BorshSerialize};
use skep_net::{is_signed_delegation, is_signed_removal};
use skep_types::wire::{PAGE_REMOVALS, RegisterPage};
use skep_types::{
    CLOCKS_APART, DELEGATION_SECONDS, Delegation, MAX_DOORKEEPERS, MAX_REMOVALS, NodeId, REMOVAL_SECONDS, Removal,
};
use std::collections::BTreeMap;
use thiserror::Error;

/// Removals by the machine that began the network.
const REMOVALS_OF_NETWORK: usize = MAX_REMOVALS / 2;
/// Removals by one doorkeeper.
const REMOVALS_OF_KEEPER: usize = MAX_REMOVALS / 2 / MAX_DOORKEEPERS;

/// Why what a member told is not taken. Who tells such a thing is not listened to any longer.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum RegisterFault {
    #[error("a signature is not that of {}", .0.short())]
    Forged(NodeId),
    #[error("it would last for longer than anything of its kind")]
    TooFar,
}

/// Who lets others in, and who was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Register {
    delegations: BTreeMap<NodeId, Delegation>,
    /// By whom, whom.
    removals: BTreeMap<(NodeId, NodeId), Removal>,
}

impl Register {
    /// Sums up what is known.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let delegations: Vec<&Delegation> = self.delegations.values().collect();
        let removals: Vec<&Removal> = self.removals().collect();
        // Writing to memory does not fail.
        *blake3::hash(&borsh::to_vec(&(delegations, removals)).unwrap_or_default()).as_bytes()
    }

    /// In the order of whom, by whom.
    fn removals(&self) -> impl Iterator<Item = &Removal> {
        let mut removals: Vec<&Removal> = self.removals.values().collect();
        removals.sort_unstable_by_key(|removal| (removal.member, removal.by));
        removals.into_iter()
    }

    /// The delegation of a doorkeeper, if it is one at this time.
    pub(crate) fn delegation(&self, keeper: NodeId, now: u64) -> Option<&Delegation> {
        self.delegations.get(&keeper).filter(|delegation| delegation.expires > now)
    }

    /// Those who are doorkeepers at this time.
    pub(crate) fn keepers(&self, now: u64) -> impl Iterator<Item = &Delegation> {
        self.delegations.values().filter(move |delegation| delegation.expires > now)
    }

    /// By whom a machine was removed, if it was.
    pub(crate) fn removed_by(&self, network: NodeId, member: NodeId, now: u64) -> Option<NodeId> {
        if member == network {
            return None;
        }
        let is_keeper = self.delegation(member, now).is_some();
        let mut holding = self.removals.values().filter(|removal| {
            let may = removal.by == network || !is_keeper && self.delegation(removal.by, now).is_some();
            removal.member == member && removal.expires > now && may
        });
        holding.next().map(|removal| removal.by)
    }

    /// Those who are removed at this time.
    pub(crate) fn removed(&self, network: NodeId, now: u64) -> Vec<NodeId> {
        let mut members: Vec<NodeId> = self.removals.values().map(|removal| removal.member).collect();
        members.sort_unstable();
        members.dedup();
        members.retain(|member| self.removed_by(network, *member, now).is_some());
        members
    }

    /// Takes what somebody says; what is known, is over or says nothing new is passed over.
    ///
    /// # Errors
    /// [`RegisterFault`] at the first thing that nobody honest would tell; what came before it was taken.
    pub(crate) fn take(&mut self, network: NodeId, now: u64, page: &RegisterPage) -> Result<(), RegisterFault> {
        for delegation in &page.delegations {
            self.take_delegation(network, now, delegation)?;
        }
        for removal in &page.removals {
            self.take_removal(network, now, removal)?;
        }
        Ok(())
    }

    fn take_delegation(&mut self, network: NodeId, now: u64, told: &Delegation) -> Result<(), RegisterFault> {
        let newer = self.delegations.get(&told.keeper).is_none_or(|known| known.expires < told.expires);
        let removed = self.removals.get(&(network, told.keeper)).is_some_and(|removal| removal.expires > now);
        if told.expires <= now || !newer || removed || told.keeper == network {
            return Ok(());
        }
        if told.expires > now.saturating_add(DELEGATION_SECONDS + CLOCKS_APART) {
            return Err(RegisterFault::TooFar);
        }
        if !is_signed_delegation(network, told) {
            return Err(RegisterFault::Forged(network));
        }
        self.delegations.insert(told.keeper, told.clone());
        if self.delegations.len() > MAX_DOORKEEPERS {
            let first = self.delegations.values().min_by_key(|delegation| (delegation.expires, delegation.keeper));
            let first = first.map(|delegation| delegation.keeper);
            if let Some(keeper) = first {
                self.forget_keeper(keeper);
            }
        }
        Ok(())
    }

    fn take_removal(&mut self, network: NodeId, now: u64, told: &Removal) -> Result<(), RegisterFault> {
        let may = told.by == network || self.delegation(told.by, now).is_some();
        let newer = self.removals.get(&(told.by, told.member)).is_none_or(|known| known.expires < told.expires);
        if told.expires <= now || !may || !newer || told.member == network {
            return Ok(());
        }
        // A doorkeeper's delegation may last long, and only the machine that began the network may cut it off.
        let most = if told.by == network { DELEGATION_SECONDS } else { REMOVAL_SECONDS };
        if told.expires > now.saturating_add(most + CLOCKS_APART) {
            return Err(RegisterFault::TooFar);
        }
        if !is_signed_removal(network, told) {
            return Err(RegisterFault::Forged(told.by));
        }
        self.removals.insert((told.by, told.member), told.clone());
        if told.by == network {
            self.forget_keeper(told.member);
        }
        let share = if told.by == network { REMOVALS_OF_NETWORK } else { REMOVALS_OF_KEEPER };
        let of_signer = || self.removals.values().filter(|removal| removal.by == told.by);
        if of_signer().count() > share {
            let first = of_signer().min_by_key(|removal| (removal.expires, removal.member)).map(|first| first.member);
            if let Some(member) = first {
                self.removals.remove(&(told.by, member));
            }
        }
        Ok(())
    }

    /// A machine is no doorkeeper any more, and so its word that others are removed does not hold.
    fn forget_keeper(&mut self, keeper: NodeId) {
        self.delegations.remove(&keeper);
        self.removals.retain(|(by, _), _| *by != keeper);
    }

    /// Forgets what is over. Returns whether anything was.
    pub(crate) fn tidy(&mut self, now: u64) -> bool {
        let before = (self.delegations.len(), self.removals.len());
        let over: Vec<NodeId> =
            self.delegations.values().filter(|known| known.expires <= now).map(|known| known.keeper).collect();
        over.into_iter().for_each(|keeper| self.forget_keeper(keeper));
        self.removals.retain(|_, removal| removal.expires > now);
        before != (self.delegations.len(), self.removals.len())
    }

    /// All that is known but `heard`, in as few pages as it takes; none if there is nothing.
    pub(crate) fn pages(&self, heard: &Self) -> Vec<RegisterPage> {
        let news = |known: &&Delegation| heard.delegations.get(&known.keeper) != Some(*known);
        let delegations: Vec<Delegation> = self.delegations.values().filter(news).cloned().collect();
        let news = |known: &&Removal| heard.removals.get(&(known.by, known.member)) != Some(*known);
        let removals: Vec<Removal> = self.removals().filter(news).cloned().collect();
        let mut pages: Vec<RegisterPage> = removals
            .chunks(PAGE_REMOVALS)
            .map(|removals| RegisterPage { removals: removals.to_vec(), ..RegisterPage::default() })
            .collect();
        if pages.is_empty() && !delegations.is_empty() {
            pages.push(RegisterPage::default());
        }
        // First, so that what doorkeepers removed is known to be their word.
        if let Some(page) = pages.first_mut() {
            page.delegations = delegations;
        }
        pages
    }

    /// Notes what somebody else told, whether it holds or not, so that it need not be told back.
    pub(crate) fn note(&mut self, page: &RegisterPage) {
        self.delegations.extend(page.delegations.iter().map(|told| (told.keeper, told.clone())));
        self.removals.extend(page.removals.iter().map(|told| ((told.by, told.member), told.clone())));
    }
}

#[cfg(test)]
mod tests;
