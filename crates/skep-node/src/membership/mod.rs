//! Who is a member of this node's network, who lets others in, and who was removed, as each member can tell by itself.
//!
//! A network is named by the key of the machine that began it. That machine and its doorkeepers let others in and give each a [`Pass`];
//! see [`skep_types::Pass`] for who signs what. A member shows its pass with each stream that only members may open, so that any member
//! computes for any other and tells it what it knows, whether or not the machine that began the network is there. Delegations and
//! removals spread from member to member ([`gossip`]), and all who heard the same know the same ([`register`]).
//!
//! # Who becomes a doorkeeper
//! The machine that began a network makes doorkeepers of the [`DoorRules::named`] members that it has seen alive for longest, each
//! after [`DoorRules::standing`]. While both are there it signs a delegation anew once [`RENEWED_EVERY`] of it is over; one that was
//! not for [`AWAY_AFTER`] counts as away, and another member becomes a doorkeeper beside it.
//!
//! Seven by default: all have to be away for a whole pass before members are strangers, and their addresses fit into what members tell each
//! other. An hour by default: longer than a visitor tries something out, and far shorter than the time in which an owner loses interest.
//!
//! # What is remembered
//! The pass, and some members that keep directories or doors, so that a machine that starts again finds its way back also while the machine
//! that began the network is away. One file for each network, named by its key, replaced whole: 1 byte version (2), then pass and
//! members in `borsh`. It holds no secret, and one that cannot be read counts for nothing: the network lets the machine in again. The
//! register is in the file beside it that ends in `.register`: 1 byte version (1), then it in `borsh`; one that cannot be read is heard anew.

pub(crate) mod gossip;
mod register;

use crate::{admission, files};
use borsh::{BorshDeserialize, BorshSerialize};
pub(crate) use register::{Register, RegisterFault};
use skep_net::{Net, is_signed_pass};
use skep_types::wire::{MAX_ADDRS, MAX_DOOR_ADDRS, MAX_DOORS, MemberHello, Peer, RegisterHello, RegisterPage};
use skep_types::{CLOCKS_APART, DELEGATION_SECONDS, Delegation, NodeId, PASS_SECONDS, Pass, REMOVAL_SECONDS};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Members that are remembered.
const CONTACTS_MAX: usize = 16;
/// More than the longest file.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// More than the longest register: 16 delegations and 1,024 removals with their keys.
const REGISTER_BYTES_MAX: u64 = 256 << 10;
/// Members whose passes are remembered as they were shown last.
const SHOWN_MAX: usize = 1024;
const VERSION: u8 = 2;
const REGISTER_VERSION: u8 = 1;
/// A delegation is signed anew after so many seconds: 30 days.
const RENEWED_EVERY: u64 = 30 * 24 * 3600;
/// A doorkeeper whose delegation was not signed anew for so many seconds counts as away: 60 days.
const AWAY_AFTER: u64 = 60 * 24 * 3600;

/// Whom the machine that began a network makes doorkeepers, and how long the passes last that a door gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorRules {
    /// Doorkeepers at once; 0 names none.
    pub named: usize,
    /// For how long a member must have been seen alive.
    pub standing: Duration,
    /// Seconds that a pass lasts, at most [`PASS_SECONDS`].
    pub pass_seconds: u64,
}

impl Default for DoorRules {
    fn default() -> Self {
        Self { named: 7, standing: Duration::from_secs(3600), pass_seconds: PASS_SECONDS }
    }
}

/// This node's membership. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Membership {
    inner: Arc<Inner>,
}

struct Inner {
    own: NodeId,
    network: NodeId,
    /// The folder of what is remembered.
    folder: Option<PathBuf>,
    rules: DoorRules,
    known: Mutex<Known>,
    register: Mutex<Register>,
    /// What was shown last.
    shown: Mutex<BTreeMap<NodeId, Shown>>,
    /// Where doors are, as others say.
    hints: Mutex<BTreeMap<NodeId, Peer>>,
    changes: watch::Sender<()>,
}

#[derive(Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Known {
    pass: Option<Pass>,
    contacts: Vec<Peer>,
}

/// What a pass said that somebody showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) expires: u64,
    pub(crate) signer: NodeId,
}

impl Membership {
    /// Of the network that `network` began, with what is remembered of it in the folder. A node that began its own needs no pass.
    pub(crate) fn open(own: NodeId, network: NodeId, folder: Option<&Path>, rules: DoorRules) -> Self {
        let membership = Self {
            inner: Arc::new(Inner {
                own,
                network,
                folder: folder.map(Path::to_owned),
                rules,
                known: Mutex::default(),
                register: Mutex::default(),
                shown: Mutex::default(),
                hints: Mutex::default(),
                changes: watch::Sender::new(()),
            }),
        };
        if let Some(register) = membership.register_file().and_then(|file| read_register(&file)) {
            *lock(&membership.inner.register) = register;
        }
        if let Some(known) = membership.file().and_then(|file| read(&file)) {
            let pass = known.pass.filter(|pass| membership.is_pass_of(own, pass));
            *lock(&membership.inner.known) = Known { pass, ..known };
        }
        membership
    }

    /// The file of pass and members; who began the network has neither.
    fn file(&self) -> Option<PathBuf> {
        let folder = self.inner.folder.as_ref().filter(|_| !self.is_first())?;
        Some(folder.join(self.network().to_string()))
    }

    fn register_file(&self) -> Option<PathBuf> {
        self.beside("register")
    }

    /// A file of this network in the folder.
    pub(crate) fn beside(&self, ending: &str) -> Option<PathBuf> {
        Some(self.inner.folder.as_ref()?.join(format!("{}.{ending}", self.network())))
    }

    /// The machine that began the network.
    pub(crate) fn network(&self) -> NodeId {
        self.inner.network
    }

    /// Whether this node began it.
    pub(crate) fn is_first(&self) -> bool {
        self.inner.own == self.inner.network
    }

    /// Whom to make doorkeepers.
    pub(crate) fn rules(&self) -> &DoorRules {
        &self.inner.rules
    }

    /// What this node shows to other members.
    pub(crate) fn hello(&self) -> MemberHello {
        MemberHello { pass: self.pass() }
    }

    /// This node's pass.
    pub(crate) fn pass(&self) -> Option<Pass> {
        lock(&self.inner.known).pass.clone()
    }

    /// What this node shows to a member with whom it compares what both know.
    pub(crate) fn register_hello(&self) -> RegisterHello {
        RegisterHello { pass: self.pass(), digest: lock(&self.inner.register).digest() }
    }

    /// Members that may know the way.
    pub(crate) fn contacts(&self) -> Vec<Peer> {
        lock(&self.inner.known).contacts.clone()
    }

    /// Keeps a pass for this node; one that says something else is no use to it. Waits for the disk.
    pub(crate) fn keep(&self, pass: &Pass) -> bool {
        let good = self.is_pass_of(self.inner.own, pass);
        if good {
            self.remember(|known| known.pass = Some(pass.clone()));
        }
        good
    }

    /// Remembers members that may know the way, in place of those that it remembered; doors before others. Waits for the disk.
    pub(crate) fn meet(&self, mut contacts: Vec<Peer>) {
        // Of those who are named twice the first counts; in order, so that the same ones are the same file.
        contacts.retain(|peer| peer.node != self.inner.own && !self.is_removed(peer.node));
        contacts.sort_by_key(|peer| peer.node);
        contacts.dedup_by_key(|peer| peer.node);
        let doors = self.doors();
        contacts.sort_by_key(|peer| !doors.contains(&peer.node));
        contacts.truncate(CONTACTS_MAX);
        if !contacts.is_empty() {
            self.remember(|known| known.contacts = contacts);
        }
    }

    fn remember(&self, change: impl FnOnce(&mut Known)) {
        let mut known = lock(&self.inner.known);
        let before = known.clone();
        change(&mut known);
        if let Some(file) = self.file().filter(|_| *known != before) {
            write(&file, VERSION, &*known);
        }
    }

    /// Whether this node should ask for another pass.
    pub(crate) fn wants_pass(&self) -> bool {
        let half_over = |pass: &Pass| pass.expires < admission::now() + self.inner.rules.pass_seconds / 2;
        !self.is_first() && lock(&self.inner.known).pass.as_ref().is_none_or(half_over)
    }

    /// Whether `from`, whose key the connection has proven, is a member.
    pub(crate) fn admits(&self, from: NodeId, pass: Option<&Pass>) -> bool {
        if from == self.network() {
            return true;
        }
        let Some(pass) = pass.filter(|pass| self.is_pass_of(from, pass)) else { return false };
        self.note_shown(pass);
        true
    }

    /// Notes what a pass says that holds.
    pub(crate) fn note_shown(&self, pass: &Pass) {
        let mut shown = lock(&self.inner.shown);
        if shown.len() >= SHOWN_MAX && !shown.contains_key(&pass.member) {
            let now = admission::now();
            shown.retain(|_, shown| shown.expires > now);
        }
        if shown.len() < SHOWN_MAX || shown.contains_key(&pass.member) {
            shown.insert(pass.member, Shown { expires: pass.expires, signer: pass.signer() });
        }
    }

    /// What members showed last, of those who showed something.
    pub(crate) fn shown(&self) -> BTreeMap<NodeId, Shown> {
        lock(&self.inner.shown).clone()
    }

    /// Whether a pass is one of this network for `member`.
    pub(crate) fn is_pass_of(&self, member: NodeId, pass: &Pass) -> bool {
        let now = admission::now();
        let lasts = now + 1..=now.saturating_add(PASS_SECONDS + CLOCKS_APART);
        let ours = pass.network == self.network() && pass.member == member && lasts.contains(&pass.expires);
        ours && !self.is_removed(member) && self.may_sign(pass.by.as_deref()) && is_signed_pass(pass)
    }

    /// Whether the word of this doorkeeper, or without one of the machine that began the network, counts now.
    pub(crate) fn may_sign(&self, by: Option<&Delegation>) -> bool {
        by.is_none_or(|by| by.expires > admission::now() && !self.is_removed(by.keeper))
    }

    /// Whether a machine was removed.
    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        lock(&self.inner.register).removed_by(self.network(), node, admission::now()).is_some()
    }

    /// By whom a machine was removed, if it was.
    pub(crate) fn removed_by(&self, node: NodeId) -> Option<NodeId> {
        lock(&self.inner.register).removed_by(self.network(), node, admission::now())
    }

    /// Those who were removed.
    pub(crate) fn removed(&self) -> Vec<NodeId> {
        lock(&self.inner.register).removed(self.network(), admission::now())
    }

    /// Whether this node lets others in.
    pub(crate) fn is_door(&self) -> bool {
        self.is_first() || self.delegation().is_some()
    }

    /// What makes this node a doorkeeper, if anything does.
    pub(crate) fn delegation(&self) -> Option<Delegation> {
        lock(&self.inner.register).delegation(self.inner.own, admission::now()).cloned()
    }

    /// Who lets others in: the machine that began the network, and the doorkeepers.
    pub(crate) fn doors(&self) -> Vec<NodeId> {
        let register = lock(&self.inner.register);
        std::iter::once(self.network()).chain(register.keepers(admission::now()).map(|known| known.keeper)).collect()
    }

    /// Where the other doors are, as far as this node knows: by `met` first, then as it remembers, then as others say.
    pub(crate) fn door_peers(&self, met: impl Fn(NodeId) -> Option<Peer>) -> Vec<Peer> {
        let (contacts, hints) = (self.contacts(), lock(&self.inner.hints).clone());
        let remembered = |node| contacts.iter().find(|peer| peer.node == node).cloned();
        let doors = self.doors().into_iter().filter(|door| *door != self.inner.own);
        doors.filter_map(|door| met(door).or_else(|| remembered(door)).or_else(|| hints.get(&door).cloned())).collect()
    }

    /// A pass for `member` by this node; none if it is no door.
    pub(crate) fn pass_for(&self, net: &Net, member: NodeId) -> Option<Pass> {
        let by = self.delegation();
        if by.is_none() && !self.is_first() {
            return None;
        }
        let pass = net.pass_to(self.network(), by, member, admission::now() + self.inner.rules.pass_seconds);
        self.note_shown(&pass);
        Some(pass)
    }

    /// Makes doorkeepers of the first of these, who have been here for long enough, as far as there are too few; and signs anew what is due.
    pub(crate) fn name_doorkeepers(&self, net: &Net, standing: &[NodeId]) {
        let now = admission::now();
        let lasts_until = now + DELEGATION_SECONDS;
        let signed_for = |node| {
            lock(&self.inner.register).delegation(node, now).map(|known| lasts_until - known.expires.min(lasts_until))
        };
        let doors = self.doors();
        let there = doors.iter().filter_map(|door| signed_for(*door)).filter(|ago| *ago < AWAY_AFTER).count();
        let mut room = self.inner.rules.named.saturating_sub(there);
        let mut delegations = Vec::new();
        for node in standing.iter().filter(|node| !self.is_removed(**node)) {
            let due = match signed_for(*node) {
                Some(ago) => ago >= RENEWED_EVERY,
                None => {
                    room > 0 && {
                        room -= 1;
                        true
                    }
                }
            };
            if due {
                tracing::info!(node = %node.short(), "a member lets others in from now on");
                delegations.push(net.delegate(*node, lasts_until));
            }
        }
        // What this node signs itself is no lie.
        let _ = self.take(&RegisterPage { delegations, ..RegisterPage::default() });
    }

    /// Says that a machine is no member any more; whether this node may say so, the caller has asked. Waits for the disk.
    pub(crate) fn remove(&self, net: &Net, member: NodeId) {
        let now = admission::now();
        let delegated = lock(&self.inner.register).delegation(member, now).map_or(0, |known| known.expires);
        let removal = net.removal(self.network(), member, delegated.max(now + REMOVAL_SECONDS));
        // What this node signs itself is no lie.
        let _ = self.take(&RegisterPage { removals: vec![removal], ..RegisterPage::default() });
    }

    /// Takes what another member knows. Waits for the disk.
    ///
    /// # Errors
    /// [`RegisterFault`] when it is not to be listened to.
    pub(crate) fn take(&self, page: &RegisterPage) -> Result<(), RegisterFault> {
        self.take_hints(&page.doors);
        let mut register = lock(&self.inner.register);
        let before = register.clone();
        let taken = register.take(self.network(), admission::now(), page);
        self.keep_register(&before, register);
        taken
    }

    /// Forgets what is over. Waits for the disk.
    pub(crate) fn tidy(&self) {
        let mut register = lock(&self.inner.register);
        let before = register.clone();
        register.tidy(admission::now());
        self.keep_register(&before, register);
    }

    fn keep_register(&self, before: &Register, register: MutexGuard<'_, Register>) {
        if *register == *before {
            return;
        }
        if let Some(file) = self.register_file() {
            write(&file, REGISTER_VERSION, &*register);
        }
        drop(register);
        self.inner.changes.send_replace(());
    }

    /// Where doors are that nobody else has told of yet.
    fn take_hints(&self, told: &[Peer]) {
        let doors = self.doors();
        let mut hints = lock(&self.inner.hints);
        hints.retain(|node, _| doors.contains(node));
        for peer in told.iter().filter(|peer| doors.contains(&peer.node) && !peer.addrs.is_empty()) {
            hints.entry(peer.node).or_insert_with(|| peer.clone());
        }
    }

    /// All that this node knows and that `heard` lacks, and where doors are; none if there is nothing that `heard` lacks.
    pub(crate) fn pages(&self, heard: &Register, doors: Vec<Peer>) -> Vec<RegisterPage> {
        let mut pages = lock(&self.inner.register).pages(heard);
        if let Some(page) = pages.first_mut() {
            page.doors = doors;
            page.doors.truncate(MAX_DOORS);
            page.doors.iter_mut().for_each(|door| door.addrs.truncate(MAX_DOOR_ADDRS));
        }
        pages
    }

    /// Tells when what is known has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.inner.changes.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(file: &Path, version: u8, value: &impl BorshSerialize) {
    let mut bytes = vec![version];
    let written = std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))
        .and_then(|()| value.serialize(&mut bytes))
        .and_then(|()| files::replace(file, &bytes));
    if let Err(fault) = written {
        tracing::warn!(file = %file.display(), %fault, "this machine cannot remember its network");
    }
}

fn read_register(file: &Path) -> Option<Register> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(REGISTER_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    borsh::from_slice(bytes.strip_prefix(&[REGISTER_VERSION])?).ok()
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
mod tests;
