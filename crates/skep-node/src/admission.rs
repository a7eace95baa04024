//! Who may join a network at this node.
//!
//! The machine that began a network and its doorkeepers are its doors; at any other member nobody joins. A door takes in a machine that
//! shows a pass of the network, one whose key it took in before, or one that presents an [`Invite`] that names this door, is signed by one
//! whose word counts now, and is neither over nor used up here. Whoever was removed is not taken in. The machine that began a network
//! which only its own machine can reach takes in everybody.
//!
//! # What is remembered
//! The keys taken in, and how many machines each invite let in. It is on the disk before a node hears that it is welcome, so a
//! restart forgets nobody and lets no invite be used once more. A door notes down all members that showed it a pass, so that they can come
//! back here after a pass ended. The file is replaced whole: 1 byte version (1), the network's key (32 bytes), and the [`Roster`] in `borsh`. A file of another key is a former network's and counts for nothing; one that
//! cannot be read stops the start, for an invite's uses would be forgotten with it.
//!
//! # What a stranger can cost
//! A join without a known key is looked at in this order: network, end and uses of its invite, which take no memory, then one check of a
//! signature, or two of a doorkeeper's. Only what a door of this network signed is ever remembered, at most [`MAX_ADMITTED`] keys and [`MAX_USED`] invites.

use crate::files;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::{Invite, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Keys that are remembered: four times the nodes that a gateway knows at once.
const MAX_ADMITTED: usize = 4096;
/// Invites whose uses are remembered; those that are over make room for new ones.
const MAX_USED: usize = 1024;
/// More than the largest file of these limits.
const MAX_FILE_BYTES: u64 = 256 << 10;
const VERSION: u8 = 1;

/// Why a node may not join. The sentences are for the person who started it.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("this machine lets nobody in; the one that began the network, {}, does, and its doorkeepers", .0.short())]
    Elsewhere(NodeId),
    #[error("this machine was removed from the network")]
    Removed,
    #[error("whoever made this invite may let nobody in any more")]
    OldKeeper,
    #[error("the invite names other machines of this network, and those have to be asked")]
    OtherDoor,
    #[error("this network takes an invite: ask its owner for the link that `skep invite` prints")]
    NoInvite,
    #[error("the invite is for the network {}, and this is {}", invite.short(), own.short())]
    OtherNetwork { invite: NodeId, own: NodeId },
    #[error("the invite ended {} ago by this gateway's clock", span(*seconds))]
    Expired { seconds: u64 },
    #[error("the invite was for {machines} machines, and as many have used it")]
    UsedUp { machines: u16 },
    #[error("the invite is not as its network signed it")]
    Forged,
    #[error("this gateway remembers {limit} {what}, the most it can")]
    Full { limit: usize, what: &'static str },
    #[error("this gateway cannot remember who joins: {0}")]
    Disk(String),
}

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Roster {
    admitted: BTreeSet<NodeId>,
    used: BTreeMap<[u8; 16], Used>,
}

/// One invite, by its nonce.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Used {
    expires: u64,
    machines: u16,
}

/// The door of one gateway, whether or not it may be opened now.
pub(crate) struct Admission {
    own: NodeId,
    network: NodeId,
    /// `None` where everybody may join.
    roster: Option<Mutex<Roster>>,
    file: Option<PathBuf>,
}

impl Admission {
    /// Takes in everybody.
    pub(crate) fn open(own: NodeId) -> Self {
        Self { own, network: own, roster: None, file: None }
    }

    /// Takes in the invited to this network; remembers them in `file`, or until the end of the process.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub(crate) fn by_invite(own: NodeId, network: NodeId, file: Option<PathBuf>) -> io::Result<Self> {
        let roster = file.as_deref().map_or_else(|| Ok(Roster::default()), |path| load(path, network))?;
        Ok(Self { own, network, roster: Some(Mutex::new(roster)), file })
    }

    /// Whether everybody may join.
    pub(crate) fn is_open(&self) -> bool {
        self.roster.is_none()
    }

    /// Lets a node in whose key is proven. May wait for the disk.
    ///
    /// # Errors
    /// The reason why it may not join.
    pub(crate) fn admit(&self, now: u64, node: NodeId, invite: Option<&Invite>) -> Result<(), Refusal> {
        let Some(roster) = &self.roster else { return Ok(()) };
        let mut roster = lock(roster);
        if roster.admitted.contains(&node) {
            return Ok(());
        }
        let invite = invite.ok_or(Refusal::NoInvite)?;
        roster.check(self.own, self.network, now, invite)?;
        let mut next = roster.clone();
        next.note(now, node, invite)?;
        self.save(&next).map_err(|fault| Refusal::Disk(fault.to_string()))?;
        *roster = next;
        Ok(())
    }

    /// Remembers members that showed passes, as far as there is room, and forgets the removed. May wait for the disk.
    pub(crate) fn know(&self, members: impl IntoIterator<Item = NodeId>, removed: &[NodeId]) {
        let Some(roster) = &self.roster else { return };
        let mut roster = lock(roster);
        let mut next = roster.clone();
        next.admitted.extend(members);
        next.admitted.retain(|node| !removed.contains(node));
        if *roster == next || next.admitted.len() > MAX_ADMITTED {
            return;
        }
        match self.save(&next) {
            Ok(()) => *roster = next,
            Err(fault) => tracing::warn!(%fault, "this machine cannot remember the members"),
        }
    }

    /// The keys that were taken in.
    pub(crate) fn admitted(&self) -> Vec<NodeId> {
        self.roster.iter().flat_map(|roster| lock(roster).admitted.clone()).collect()
    }

    fn save(&self, roster: &Roster) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| save(file, self.network, roster))
    }
}

impl Roster {
    fn check(&self, own: NodeId, network: NodeId, now: u64, invite: &Invite) -> Result<(), Refusal> {
        let terms = &invite.terms;
        if terms.network != network {
            return Err(Refusal::OtherNetwork { invite: terms.network, own: network });
        }
        if !terms.gateways.iter().any(|gateway| gateway.node == own) {
            return Err(Refusal::OtherDoor);
        }
        if terms.expires <= now {
            return Err(Refusal::Expired { seconds: now - terms.expires });
        }
        if self.used.get(&terms.nonce).is_some_and(|used| used.machines >= terms.uses) {
            return Err(Refusal::UsedUp { machines: terms.uses });
        }
        if skep_net::is_signed(invite) { Ok(()) } else { Err(Refusal::Forged) }
    }

    fn note(&mut self, now: u64, node: NodeId, invite: &Invite) -> Result<(), Refusal> {
        let terms = &invite.terms;
        if self.admitted.len() >= MAX_ADMITTED {
            return Err(Refusal::Full { limit: MAX_ADMITTED, what: "keys" });
        }
        if !self.used.contains_key(&terms.nonce) && self.used.len() >= MAX_USED {
            self.used.retain(|_, used| used.expires > now);
            if self.used.len() >= MAX_USED {
                return Err(Refusal::Full { limit: MAX_USED, what: "invites" });
            }
        }
        self.used.entry(terms.nonce).or_insert(Used { expires: terms.expires, machines: 0 }).machines += 1;
        self.admitted.insert(node);
        Ok(())
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A length of time for people.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn lock(roster: &Mutex<Roster>) -> MutexGuard<'_, Roster> {
    roster.lock().unwrap_or_else(PoisonError::into_inner)
}

fn load(path: &Path, network: NodeId) -> io::Result<Roster> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?,
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(Roster::default()),
        Err(fault) => return Err(fault),
    };
    let refused = || io::Error::new(ErrorKind::InvalidData, "it does not hold the keys that joined");
    let rest = bytes.strip_prefix(&[VERSION]).filter(|_| bytes.len() as u64 <= MAX_FILE_BYTES).ok_or_else(refused)?;
    let (named, body) = rest.split_first_chunk::<32>().ok_or_else(refused)?;
    let roster: Roster = borsh::from_slice(body).map_err(|_| refused())?;
    Ok(if *named == network.0 { roster } else { Roster::default() })
}

fn save(path: &Path, network: NodeId, roster: &Roster) -> io::Result<()> {
    let mut bytes = vec![VERSION];
    bytes.extend(network.0);
    roster.serialize(&mut bytes)?;
    files::replace(path, &bytes)
}

#[cfg(test)]
mod tests;
