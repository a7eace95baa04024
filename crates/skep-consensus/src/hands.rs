//! What the core asks for, carried out as far as that needs no world: signing, verifying, timers, the log; the rest becomes effects.

use crate::block::{Block, BlockId};
use crate::certificate::power_of;
use crate::core::{self, Ballot, Motion, Resume, Roster};
use crate::effect::{Effect, EngineError, Now, Pace};
use crate::evidence::{Evidence, Witness};
use crate::log::Record;
use crate::message::Message;
use crate::vote::{Kind, Said, Signature, Signed, Vote};
use arc_malachitebft_core_consensus::{ConsensusMsg, Effect as Asked, LivenessMsg, Resumable, SignedConsensusMsg};
use arc_malachitebft_core_types::{CertificateError, SignedMessage, Timeout, TimeoutKind, ValueOrigin};
use skep_ledger::ChainId;
use skep_types::NodeId;
use skep_types::signed::Keys;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A proposed block that was tried out.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub block: Block,
    pub valid: bool,
    /// Stands in the log.
    pub logged: bool,
}

/// Where the validator may say one thing at this height: 0 for a proposal, 1 and 2 for votes, and the round.
type Slot = (u8, u32);

/// Everything of a height but the core itself.
pub(crate) struct Hands<K> {
    pub keys: K,
    pub me: NodeId,
    pub chain: ChainId,
    pub pace: Pace,
    pub now: Now,
    pub roster: Roster,
    pub out: Vec<Effect>,
    /// What the core is fed next.
    pub queue: VecDeque<core::Input>,
    pub timers: Vec<(u64, Timeout)>,
    /// The round for which the core wants a block.
    pub wanted: Option<u32>,
    pub decided: Option<core::CommitCertificate>,
    /// On which block this validator has just locked itself, in a later round than the first.
    pub locked: Option<(u32, BlockId)>,
    pub bodies: BTreeMap<BlockId, Body>,
    /// How many blocks were tried out for each round.
    pub tried: BTreeMap<u32, u8>,
    pub witness: Witness,
    /// What this validator said at this height.
    pub said: BTreeMap<Slot, (Option<BlockId>, Signature)>,
    /// Heads of the frames that are in the log already, while it is replayed.
    pub replayed: BTreeSet<[u8; 12]>,
    /// Something was appended that may not be on disk.
    pub unsynced: bool,
    pub fault: Option<EngineError>,
}

impl<K: Keys> Hands<K> {
    /// Forgets the last height.
    pub fn begin(&mut self, height: u64, roster: Roster) {
        self.roster = roster;
        self.timers.clear();
        self.queue.clear();
        self.bodies.clear();
        self.tried.clear();
        self.said.clear();
        (self.wanted, self.decided, self.locked) = (None, None, None);
        self.witness.begin(height);
    }

    /// Whether nobody else has a say.
    pub fn is_alone(&self) -> bool {
        self.roster.validators.len() == 1 && self.roster.validators.get(&self.me).is_some()
    }

    /// Answers the core where it needs an answer, and does the rest.
    pub fn carry_out(&mut self, asked: core::Effect) -> Result<Resume, EngineError> {
        Ok(match asked {
            Asked::SignVote(ballot, r) => r.resume_with(self.sign_vote(ballot)?),
            Asked::SignProposal(motion, r) => r.resume_with(self.sign_proposal(motion)?),
            Asked::VerifySignature(message, _, r) => r.resume_with(self.holds(message)),
            // It is made of precommits that were each verified when they came.
            Asked::VerifyCommitCertificate(certificate, roster, _, r) => {
                let certificate = core::certificate_of(&certificate, &roster.validators);
                let signers =
                    certificate.signatures.iter().filter_map(|(place, _)| roster.validators.at((*place).into()));
                r.resume_with(checked(roster.validators.is_quorum(signers.map(|one| one.power).sum())))
            }
            Asked::VerifyPolkaCertificate(polka, _, _, r) => {
                let votes: Vec<_> = polka.votes(&core::Skep).map(|vote| core::signed_vote(&vote)).collect();
                r.resume_with(checked(self.is_quorum(&votes)))
            }
            Asked::VerifyRoundCertificate(it, _, _, r) => {
                let votes: Vec<_> = it.votes(&core::Skep).map(|vote| core::signed_vote(&vote)).collect();
                r.resume_with(checked(self.lets_in(&votes, core::passage_of(&it).skip)))
            }
            // Votes have no extensions, and final blocks of others are verified outside of the core.
            Asked::VerifyExtendedCommitCertificate(.., r) => r.resume_with(checked(false)),
            Asked::ExtendVote(.., r) => r.resume_with(None),
            Asked::VerifyVoteExtension(.., r) => r.resume_with(Ok(())),
            asked => {
                self.act(asked);
                Resume::Continue
            }
        })
    }

    fn act(&mut self, asked: core::Effect) {
        match asked {
            Asked::CancelAllTimeouts(_) => self.timers.clear(),
            Asked::CancelTimeout(timeout, _) => self.timers.retain(|(_, other)| *other != timeout),
            Asked::ScheduleTimeout(timeout, _) => self.schedule(timeout),
            Asked::PublishConsensusMsg(message, _) => self.publish(message),
            Asked::PublishLivenessMsg(message, _) => self.publish_liveness(message),
            Asked::RepublishVote(vote, _) => self.say(Message::Vote(core::signed_vote(&vote))),
            Asked::RepublishRoundCertificate(passage, _) => self.say(Message::Passage(core::passage_of(&passage))),
            Asked::GetValue(_, round, ..) => self.wanted = round.as_u32(),
            Asked::Finalize(certificate, ..) => self.decided = Some(certificate),
            Asked::WalAppend(_, input, _) => self.log(&input),
            // A proposal never travels without its block, so there is nothing to send again beside it. Deciding is followed by
            // finalizing at once, for no time is set for a height.
            _ => {}
        }
    }

    fn schedule(&mut self, timeout: Timeout) {
        let late = u64::from(timeout.round.as_u32().unwrap_or(0)).saturating_mul(self.pace.round_ms);
        let ms = match timeout.kind {
            TimeoutKind::Propose => self.pace.propose_ms + late,
            TimeoutKind::Prevote | TimeoutKind::Precommit => self.pace.vote_ms + late,
            TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => self.pace.repeat_ms,
        };
        self.timers.retain(|(_, other)| *other != timeout);
        self.timers.push((self.now.ms.saturating_add(ms.min(self.pace.wait_ms_max)), timeout));
    }

    /// Says something that rests on the log: first that has to be on disk.
    pub fn say(&mut self, message: Message) {
        if self.is_alone() {
            return;
        }
        if std::mem::take(&mut self.unsynced) {
            self.out.push(Effect::Sync);
        }
        self.out.push(Effect::Broadcast(message));
    }

    fn publish(&mut self, message: SignedConsensusMsg<core::Skep>) {
        match message {
            SignedConsensusMsg::Vote(vote) => {
                let vote = core::signed_vote(&vote);
                if let (Kind::Precommit, 1.., Some(block)) = (vote.said.kind, vote.said.round, vote.said.block) {
                    self.locked = Some((vote.said.round, block));
                }
                self.say(Message::Vote(vote));
            }
            SignedConsensusMsg::Proposal(proposal) => {
                let proposal = core::signed_proposal(&proposal);
                if let Some(body) = self.bodies.get(&proposal.said.block) {
                    let block = Box::new(body.block.clone());
                    self.say(Message::Proposal(proposal, block));
                }
            }
        }
    }

    fn publish_liveness(&mut self, message: LivenessMsg<core::Skep>) {
        self.say(match message {
            LivenessMsg::Vote(vote) => Message::Vote(core::signed_vote(&vote)),
            LivenessMsg::PolkaCertificate(polka) => Message::Polka(core::polka_of(&polka)),
            LivenessMsg::SkipRoundCertificate(passage) => Message::Passage(core::passage_of(&passage)),
        });
    }

    /// Appends to the log what is not in it yet.
    pub fn append(&mut self, record: &Record) {
        let frame = record.frame();
        let known = frame.first_chunk().is_some_and(|head: &[u8; 12]| self.replayed.contains(head));
        if !known {
            self.out.push(Effect::Append(frame));
            self.unsynced = true;
        }
    }

    fn log(&mut self, input: &core::Input) {
        let record = match input {
            core::Input::Vote(vote) => Record::Vote(core::signed_vote(vote)),
            core::Input::Proposal(proposal) => Record::Proposal(core::signed_proposal(proposal)),
            core::Input::PolkaCertificate(polka) => Record::Polka(core::polka_of(polka)),
            core::Input::TimeoutElapsed(timeout) => match core::wait_of(timeout) {
                Some((round, wait)) => Record::Timeout { round, wait },
                None => return,
            },
            core::Input::ProposedValue(value, ValueOrigin::Consensus) => {
                let (id, valid) = (value.value.0, value.validity.is_valid());
                let body = self.bodies.get_mut(&id).filter(|body| !body.logged);
                let block = body.map(|body| {
                    body.logged = true;
                    Box::new(body.block.clone())
                });
                let round = value.round.as_u32().unwrap_or(0);
                Record::Tried { round, proposer: value.proposer.0, id, valid, block }
            }
            _ => return,
        };
        self.append(&record);
    }

    /// Signs what does not contradict what was said.
    fn sign<T: Said>(&mut self, said: T, slot: Slot, block: Option<BlockId>) -> Result<Signature, EngineError> {
        if let Some((before, signature)) = self.said.get(&slot) {
            if *before == block {
                return Ok(*signature);
            }
            let fault = EngineError::Contradiction { round: slot.1 };
            self.fault = Some(fault.clone());
            return Err(fault);
        }
        let signature = Signed::sign(said, &self.chain, &self.keys).signature;
        self.said.insert(slot, (block, signature));
        Ok(signature)
    }

    fn sign_vote(&mut self, ballot: Ballot) -> Result<core::CoreVote, EngineError> {
        let vote = core::vote_of(&ballot);
        let (slot, block) = ((1 + vote.kind as u8, vote.round), vote.block);
        Ok(SignedMessage::new(ballot, self.sign(vote, slot, block)?))
    }

    fn sign_proposal(&mut self, motion: Motion) -> Result<core::CoreProposal, EngineError> {
        let proposal = core::proposal_of(&motion);
        let (slot, block) = ((0, proposal.round), Some(proposal.block));
        Ok(SignedMessage::new(motion, self.sign(proposal, slot, block)?))
    }

    /// Verifies what somebody said, and holds everyone to it: others by evidence, this validator by never saying otherwise.
    fn holds(&mut self, message: SignedMessage<core::Skep, ConsensusMsg<core::Skep>>) -> bool {
        match message.message {
            ConsensusMsg::Vote(ballot) => {
                let vote = Signed { said: core::vote_of(&ballot), signature: message.signature };
                self.heard_vote(&vote)
            }
            ConsensusMsg::Proposal(motion) => {
                let proposal = Signed { said: core::proposal_of(&motion), signature: message.signature };
                let slot = (0, proposal.said.round);
                if !self.is_own(&proposal, slot) && !proposal.holds(&self.chain, &self.keys) {
                    return false;
                }
                if proposal.said.validator == self.me {
                    self.said.entry(slot).or_insert((Some(proposal.said.block), proposal.signature));
                }
                let evidence = self.witness.proposal(&proposal);
                self.tell(evidence);
                true
            }
        }
    }

    /// Verifies a vote and notes it.
    pub fn heard_vote(&mut self, vote: &Signed<Vote>) -> bool {
        let slot = (1 + vote.said.kind as u8, vote.said.round);
        if !self.is_own(vote, slot) && !vote.holds(&self.chain, &self.keys) {
            return false;
        }
        if vote.said.validator == self.me {
            self.said.entry(slot).or_insert((vote.said.block, vote.signature));
        }
        self.note(vote);
        true
    }

    /// Verifies a vote for a height that is final, and notes it.
    pub fn heard_late(&mut self, vote: &Signed<Vote>) -> bool {
        let holds = vote.holds(&self.chain, &self.keys);
        if holds {
            self.note(vote);
        }
        holds
    }

    fn note(&mut self, vote: &Signed<Vote>) {
        let evidence = self.witness.vote(vote);
        self.tell(evidence);
    }

    fn tell(&mut self, evidence: Option<Evidence>) {
        self.out.extend(evidence.map(|evidence| Effect::Evidence(Box::new(evidence))));
    }

    /// Whether this is what was signed here a moment ago, and needs no verifying.
    fn is_own<T: Said>(&self, signed: &Signed<T>, slot: Slot) -> bool {
        let same = |(_, signature): &(_, Signature)| *signature == signed.signature;
        // Equal signatures of one key are over equal bytes, or one of them is none; those in the table were made or verified here.
        signed.said.validator() == self.me && self.said.get(&slot).is_some_and(same)
    }

    fn is_quorum(&mut self, votes: &[Signed<Vote>]) -> bool {
        let validators = self.roster.validators.clone();
        let power = power_of(votes, &self.chain, &validators, &self.keys);
        if power.is_ok() {
            votes.iter().for_each(|vote| self.note(vote));
        }
        power.is_ok_and(|power| validators.is_quorum(power))
    }

    fn lets_in(&mut self, votes: &[Signed<Vote>], skip: bool) -> bool {
        if !skip {
            return votes.iter().all(|vote| vote.said.kind == Kind::Precommit) && self.is_quorum(votes);
        }
        let power = power_of(votes, &self.chain, &self.roster.validators, &self.keys);
        if power.is_ok() {
            votes.iter().for_each(|vote| self.note(vote));
        }
        power.is_ok_and(|power| u128::from(power) * 3 > u128::from(self.roster.validators.total()))
    }
}

#[allow(clippy::result_large_err, reason = "it is the core's type")]
fn checked(holds: bool) -> Result<(), CertificateError<core::Skep>> {
    if holds { Ok(()) } else { Err(CertificateError::VerificationError(None)) }
}
