//! Who is a member of this node's network, as each member can tell by itself.
//!
//! A network is named by the key of the machine that began it. That machine lets others in and gives each a [`Pass`]; see
//! [`skep_types::Pass`]. A member shows its pass with each stream that only members may open, so that any member computes for any other
//! and tells it what it knows, whether or not the machine that began the network is there.
//!
//! # What is remembered
//! The pass, and some members that keep directories, so that a machine that starts again finds its way back also while the machine
//! that began the network is away. One file for each network, named by its key, replaced whole: 1 byte version (1), then pass and
//! members in `borsh`. It holds no secret, and one that cannot be read counts for nothing: the network lets the machine in again.

use crate::{admission, files};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_net::is_signed_pass;
use skep_types::wire::{MAX_ADDRS, MemberHello, Peer};
use skep_types::{NodeId, PASS_SECONDS, Pass};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Members that are remembered.
const CONTACTS_MAX: usize = 16;
/// More than the longest file.
const FILE_BYTES_MAX: u64 = 16 << 10;
const VERSION: u8 = 1;

/// This node's membership. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Membership {
    own: NodeId,
    network: NodeId,
    file: Option<Arc<PathBuf>>,
    known: Arc<Mutex<Known>>,
}

#[derive(Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Known {
    pass: Option<Pass>,
    contacts: Vec<Peer>,
}

impl Membership {
    /// Of the network that `network` began, with what is remembered of it in the folder. A node that began its own needs no pass.
    pub(crate) fn open(own: NodeId, network: NodeId, folder: Option<&Path>) -> Self {
        let file = folder.filter(|_| own != network).map(|folder| folder.join(network.to_string()));
        let membership = Self { own, network, known: Arc::default(), file: file.map(Arc::new) };
        if let Some(known) = membership.file.as_deref().and_then(|file| read(file)) {
            let pass = known.pass.filter(|pass| membership.is_pass_of(own, pass));
            *membership.lock() = Known { pass, ..known };
        }
        membership
    }

    /// The machine that began the network.
    pub(crate) fn network(&self) -> NodeId {
        self.network
    }

    /// Whether this node began it.
    pub(crate) fn is_first(&self) -> bool {
        self.own == self.network
    }

    /// What this node shows to other members.
    pub(crate) fn hello(&self) -> MemberHello {
        MemberHello { pass: self.lock().pass.clone() }
    }

    /// Members that may know the way.
    pub(crate) fn contacts(&self) -> Vec<Peer> {
        self.lock().contacts.clone()
    }

    /// Keeps a pass for this node; one that says something else is no use to it. Waits for the disk.
    pub(crate) fn keep(&self, pass: &Pass) -> bool {
        let good = self.is_pass_of(self.own, pass);
        if good {
            self.remember(|known| known.pass = Some(pass.clone()));
        }
        good
    }

    /// Remembers members that may know the way, in place of those that it remembered. Waits for the disk.
    pub(crate) fn meet(&self, mut contacts: Vec<Peer>) {
        // Of those who are named twice the first counts; in order, so that the same ones are the same file.
        contacts.retain(|peer| peer.node != self.own);
        contacts.sort_by_key(|peer| peer.node);
        contacts.dedup_by_key(|peer| peer.node);
        contacts.truncate(CONTACTS_MAX);
        if !contacts.is_empty() {
            self.remember(|known| known.contacts = contacts);
        }
    }

    fn remember(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.lock();
        let before = known.clone();
        change(&mut known);
        let Some(file) = self.file.as_deref().filter(|_| *known != before) else { return };
        let mut bytes = vec![VERSION];
        let written = std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))
            .and_then(|()| known.serialize(&mut bytes))
            .and_then(|()| files::replace(file, &bytes));
        if let Err(fault) = written {
            tracing::warn!(file = %file.display(), %fault, "this machine cannot remember its network");
        }
    }

    /// Whether this node should ask for another pass.
    pub(crate) fn wants_pass(&self) -> bool {
        let half_over = |pass: &Pass| pass.expires < admission::now() + PASS_SECONDS / 2;
        !self.is_first() && self.lock().pass.as_ref().is_none_or(half_over)
    }

    /// Whether `from`, whose key the connection has proven, is a member.
    pub(crate) fn admits(&self, from: NodeId, hello: &MemberHello) -> bool {
        from == self.network || hello.pass.as_ref().is_some_and(|pass| self.is_pass_of(from, pass))
    }

    /// Whether a pass is one of this network for `member`.
    pub(crate) fn is_pass_of(&self, member: NodeId, pass: &Pass) -> bool {
        let ours = pass.network == self.network && pass.member == member && pass.expires > admission::now();
        ours && is_signed_pass(pass)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file remembers, unless it is no such file.
fn read(file: &Path) -> Option<Known> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let known: Known = borsh::from_slice(bytes.strip_prefix(&[VERSION])?).ok()?;
    let bounded =
        known.contacts.len() <= CONTACTS_MAX && known.contacts.iter().all(|peer| peer.addrs.len() <= MAX_ADDRS);
    bounded.then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> Peer {
        Peer { node: NodeId([number; 32]), addrs: vec![([10, 0, 0, number], 7).into()] }
    }

    #[test]
    fn what_is_remembered_is_there_again_and_what_is_damaged_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let open = |network| Membership::open(NodeId([1; 32]), NodeId([network; 32]), Some(folder.path()));
        open(2).meet(vec![peer(3), peer(4)]);
        assert_eq!(open(2).contacts(), [peer(3), peer(4)]);
        assert_eq!(open(3).contacts(), [], "another network");
        // The machine that began a network remembers its members elsewhere.
        open(1).meet(vec![peer(3)]);
        assert_eq!(open(1).contacts(), []);
        open(2).meet((0..40).chain(0..40).map(peer).collect());
        assert_eq!(open(2).contacts().len(), CONTACTS_MAX);
        let file = folder.path().join(NodeId([2; 32]).to_string());
        let good = std::fs::read(&file).unwrap();
        for cut in 0..good.len() {
            std::fs::write(&file, &good[..cut]).unwrap();
            assert_eq!(open(2).contacts(), []);
        }
        std::fs::write(&file, vec![0xff; 1 << 20]).unwrap();
        assert_eq!(open(2).contacts(), []);
        std::fs::write(&file, good).unwrap();
        assert_eq!(open(2).contacts().len(), CONTACTS_MAX);
    }

    #[test]
    fn a_pass_that_does_not_hold_is_not_kept() {
        let membership = Membership::open(NodeId([1; 32]), NodeId([2; 32]), None);
        let (network, member) = (NodeId([2; 32]), NodeId([1; 32]));
        assert!(!membership.keep(&Pass { network, member, expires: u64::MAX, signature: [0; 64] }));
        assert!(membership.wants_pass() && membership.hello().pass.is_none());
        assert!(membership.admits(network, &MemberHello { pass: None }));
        assert!(!membership.admits(NodeId([3; 32]), &MemberHello { pass: None }));
    }
}
