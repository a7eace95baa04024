//! The names under which the Tendermint core knows our types, and the ways between both.
//!
//! The core works with blocks by their ids alone; blocks travel and are tried out beside it.

use crate::block::BlockId;
use crate::certificate::{Certificate, Passage, Polka};
use crate::log::Wait;
use crate::validators::{Validator, Validators};
use crate::vote::{Kind, Proposal, Signature, Signed, Vote};
use arc_malachitebft_core_consensus as engine;
use arc_malachitebft_core_types as types;
use skep_types::NodeId;
use std::fmt;
use std::sync::Arc;
use types::{NilOrVal, Round, SignedMessage, SigningScheme, Timeout, TimeoutKind, VoteType};

pub(crate) type State = engine::State<Skep>;
pub(crate) type Input = engine::Input<Skep>;
pub(crate) type Effect = engine::Effect<Skep>;
pub(crate) type Resume = engine::Resume<Skep>;
pub(crate) type Error = engine::Error<Skep>;
pub(crate) type CoreVote = types::SignedVote<Skep>;
pub(crate) type CoreProposal = types::SignedProposal<Skep>;
pub(crate) type CommitCertificate = types::CommitCertificate<Skep>;

/// Names all types for the core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skep;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(pub u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl types::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(pub NodeId);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl types::Address for Address {}

/// A validator under both of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    address: Address,
    power: u64,
}

impl types::Validator<Skep> for Member {
    fn address(&self) -> &Address {
        &self.address
    }

    fn public_key(&self) -> &NodeId {
        &self.address.0
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// Those who agree on a height, and whose turn it is in its rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roster {
    pub validators: Validators,
    members: Arc<[Member]>,
    turns: Arc<[u16]>,
}

impl Roster {
    pub fn new(validators: Validators, turns: Vec<u16>) -> Self {
        let member = |one: &Validator| Member { address: Address(one.id), power: one.power };
        Self { members: validators.iter().map(member).collect(), validators, turns: turns.into() }
    }

    fn turn(&self, round: Round) -> &Member {
        let round = round.as_u32().unwrap_or(0) as usize;
        let place = self.turns.get(round % self.turns.len().max(1)).copied().unwrap_or(0);
        &self.members[usize::from(place)]
    }

    pub fn proposer(&self, round: u32) -> NodeId {
        self.turn(Round::new(round)).address.0
    }
}

impl types::ValidatorSet<Skep> for Roster {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.validators.total()
    }

    fn get_by_address(&self, address: &Address) -> Option<&Member> {
        self.validators.place(&address.0).and_then(|place| self.members.get(place))
    }

    fn get_by_index(&self, index: usize) -> Option<&Member> {
        self.members.get(index)
    }
}

/// A block by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value(pub BlockId);

impl types::Value for Value {
    type Id = BlockId;

    fn id(&self) -> BlockId {
        self.0
    }
}

/// A vote as the core keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ballot {
    height: Height,
    round: Round,
    kind: VoteType,
    value: NilOrVal<BlockId>,
    address: Address,
}

impl types::Vote<Skep> for Ballot {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Address {
        &self.address
    }

    fn extension(&self) -> Option<&types::SignedExtension<Skep>> {
        None
    }

    fn take_extension(&mut self) -> Option<types::SignedExtension<Skep>> {
        None
    }

    fn extend(self, _extension: types::SignedExtension<Skep>) -> Self {
        self
    }
}

/// A proposal as the core keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Motion {
    height: Height,
    round: Round,
    locked: Round,
    value: Value,
    address: Address,
}

impl types::Proposal<Skep> for Motion {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.locked
    }

    fn validator_address(&self) -> &Address {
        &self.address
    }
}

/// Blocks do not travel in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoPart;

impl types::ProposalPart<Skep> for NoPart {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// The engine's pace is its own; the core asks nothing of this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoTimeouts;

impl types::Timeouts<Skep> for NoTimeouts {
    fn duration_for(&self, _timeout: Timeout) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// Signatures as bytes: the engine signs and verifies, and the core never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes;

impl SigningScheme for Bytes {
    type DecodingError = &'static str;
    type Signature = Signature;
    type PublicKey = NodeId;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<Signature, &'static str> {
        bytes.try_into().map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<NodeId, &'static str> {
        bytes.try_into().map(NodeId).map_err(|_| "a key has 32 bytes")
    }

    fn encode_public_key(key: &NodeId) -> Vec<u8> {
        key.0.to_vec()
    }
}

impl types::Context for Skep {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Motion;
    type Validator = Member;
    type ValidatorSet = Roster;
    type Timeouts = NoTimeouts;
    type Value = Value;
    type Vote = Ballot;
    type Extension = ();
    type SigningScheme = Bytes;

    fn select_proposer<'a>(&self, roster: &'a Roster, _height: Height, round: Round) -> &'a Member {
        roster.turn(round)
    }

    fn new_proposal(&self, height: Height, round: Round, value: Value, locked: Round, address: Address) -> Motion {
        Motion { height, round, locked, value, address }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockId>, address: Address) -> Ballot {
        Ballot { height, round, kind: VoteType::Prevote, value, address }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<BlockId>, address: Address) -> Ballot {
        Ballot { height, round, kind: VoteType::Precommit, value, address }
    }
}

/// The core never speaks before its first round.
fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or(0)
}

fn kind(kind: VoteType) -> Kind {
    match kind {
        VoteType::Prevote => Kind::Prevote,
        VoteType::Precommit => Kind::Precommit,
    }
}

fn optional(value: &NilOrVal<BlockId>) -> Option<BlockId> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(id) => Some(*id),
    }
}

fn nil_or(value: Option<BlockId>) -> NilOrVal<BlockId> {
    value.map_or(NilOrVal::Nil, NilOrVal::Val)
}

pub(crate) fn vote_of(ballot: &Ballot) -> Vote {
    let (round, block) = (number(ballot.round), optional(&ballot.value));
    Vote { height: ballot.height.0, round, kind: kind(ballot.kind), block, validator: ballot.address.0 }
}

pub(crate) fn signed_vote(vote: &CoreVote) -> Signed<Vote> {
    Signed { said: vote_of(&vote.message), signature: vote.signature }
}

pub(crate) fn core_vote(vote: &Signed<Vote>) -> CoreVote {
    let said = &vote.said;
    let kind = match said.kind {
        Kind::Prevote => VoteType::Prevote,
        Kind::Precommit => VoteType::Precommit,
    };
    let (height, round, address) = (Height(said.height), Round::new(said.round), Address(said.validator));
    SignedMessage::new(Ballot { height, round, kind, value: nil_or(said.block), address }, vote.signature)
}

pub(crate) fn proposal_of(motion: &Motion) -> Proposal {
    let (round, block) = (number(motion.round), motion.value.0);
    Proposal { height: motion.height.0, round, locked: motion.locked.as_u32(), block, validator: motion.address.0 }
}

pub(crate) fn signed_proposal(proposal: &CoreProposal) -> Signed<Proposal> {
    Signed { said: proposal_of(&proposal.message), signature: proposal.signature }
}

pub(crate) fn core_proposal(proposal: &Signed<Proposal>) -> CoreProposal {
    let said = &proposal.said;
    let (height, round, address) = (Height(said.height), Round::new(said.round), Address(said.validator));
    let locked = said.locked.map_or(Round::Nil, Round::new);
    SignedMessage::new(Motion { height, round, locked, value: Value(said.block), address }, proposal.signature)
}

pub(crate) fn polka_of(polka: &types::PolkaCertificate<Skep>) -> Polka {
    let signatures = polka.polka_signatures.iter().map(|one| (one.address.0, one.signature)).collect();
    Polka { height: polka.height.0, round: number(polka.round), block: polka.value_id, signatures }
}

pub(crate) fn core_polka(polka: &Polka) -> types::PolkaCertificate<Skep> {
    let one = |(id, signature): &(NodeId, Signature)| types::PolkaSignature::new(Address(*id), *signature);
    types::PolkaCertificate {
        height: Height(polka.height),
        round: Round::new(polka.round),
        value_id: polka.block,
        polka_signatures: polka.signatures.iter().map(one).collect(),
    }
}

pub(crate) fn passage_of(passage: &types::RoundCertificate<Skep>) -> Passage {
    let one =
        |it: &types::RoundSignature<Skep>| (it.address.0, kind(it.vote_type), optional(&it.value_id), it.signature);
    Passage {
        height: passage.height.0,
        round: number(passage.round),
        skip: passage.cert_type == types::RoundCertificateType::Skip,
        votes: passage.round_signatures.iter().map(one).collect(),
    }
}

pub(crate) fn core_passage(passage: &Passage) -> types::RoundCertificate<Skep> {
    let one = |(id, kind, block, signature): &(NodeId, Kind, Option<BlockId>, Signature)| {
        let kind = match kind {
            Kind::Prevote => VoteType::Prevote,
            Kind::Precommit => VoteType::Precommit,
        };
        types::RoundSignature::new(kind, nil_or(*block), Address(*id), *signature)
    };
    types::RoundCertificate {
        height: Height(passage.height),
        round: Round::new(passage.round),
        cert_type: if passage.skip {
            types::RoundCertificateType::Skip
        } else {
            types::RoundCertificateType::Precommit
        },
        round_signatures: passage.votes.iter().map(one).collect(),
    }
}

/// The core's certificate by places in the set; who is not in it is left out.
pub(crate) fn certificate_of(certificate: &CommitCertificate, validators: &Validators) -> Certificate {
    let place = |it: &types::CommitSignature<Skep>| Some((validators.place(&it.address.0)? as u16, it.signature));
    let mut signatures: Vec<_> = certificate.commit_signatures.iter().filter_map(place).collect();
    signatures.sort_unstable_by_key(|(place, _)| *place);
    signatures.dedup_by_key(|(place, _)| *place);
    let (height, round) = (certificate.height.0, number(certificate.round));
    Certificate { height, round, block: certificate.value_id, signatures }
}

/// What is waited for; nothing for what the log does not keep.
pub(crate) fn wait_of(timeout: &Timeout) -> Option<(u32, Wait)> {
    let wait = match timeout.kind {
        TimeoutKind::Propose => Wait::Propose,
        TimeoutKind::Prevote => Wait::Prevote,
        TimeoutKind::Precommit => Wait::Precommit,
        TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
    };
    Some((number(timeout.round), wait))
}

pub(crate) fn core_timeout(round: u32, wait: Wait) -> Timeout {
    let round = Round::new(round);
    match wait {
        Wait::Propose => Timeout::propose(round),
        Wait::Prevote => Timeout::prevote(round),
        Wait::Precommit => Timeout::precommit(round),
    }
}
