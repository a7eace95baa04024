//! What an engine is told and does not believe, and blocks that nobody votes for.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use skep_consensus::certificate::{Passage, Polka};
use skep_consensus::vote::{Kind, Proposal, Said, Signed, Vote};
use skep_consensus::*;
use skep_ledger::{Hash, Refusal};
use skep_types::NodeId;

const NOW: Now = Now { ms: 1000, unix_s: BEGIN_S + 3600 };

/// Whose turn it is in the first round of the first block of four, and one that only listens.
fn proposer(chain: &Chain) -> NodeId {
    chain.head().next.at(chain.head().turns()[0].into()).unwrap().id
}

fn listener(chain: &Chain) -> NodeId {
    let turns = chain.head().turns();
    // Its turn comes last, so that it proposes nothing of its own here.
    chain.head().next.at(turns[3].into()).unwrap().id
}

struct Ear {
    chain: Chain,
    engine: Engine<Fast>,
    me: NodeId,
}

impl Ear {
    fn new() -> Self {
        let chain = chain(&genesis(4));
        let me = listener(&chain);
        let (engine, _) = Engine::new((me, Fast(me)), chain.clone(), &[], Pace::default(), NOW).unwrap();
        Self { chain, engine, me }
    }

    /// What it says of its own when it hears this.
    fn hear(&mut self, message: Message) -> Vec<Message> {
        let from = proposer(&self.chain);
        let effects = self.engine.step(NOW, Input::Message { from, message }).unwrap();
        let said = |effect| match effect {
            Effect::Broadcast(message) if !matches!(message, Message::Status { .. }) => Some(message),
            _ => None,
        };
        effects.into_iter().filter_map(said).collect()
    }

    fn others(&self) -> Vec<NodeId> {
        (1..=4).map(node).filter(|id| *id != self.me).collect()
    }

    fn block(&self, time_s: u64) -> Block {
        let who = proposer(&self.chain);
        self.chain.clone().propose(who, time_s, &mut Mempool::default(), &Fast(who)).unwrap()
    }

    fn propose(&self, block: Block) -> Message {
        let (block, who) = (Box::new(block), proposer(&self.chain));
        let said = Proposal { height: 1, round: 0, locked: None, block: block.id(), validator: who };
        Message::Proposal(self.sign(said), block)
    }

    fn sign<T: Said>(&self, said: T) -> Signed<T> {
        let keys = Fast(said.validator());
        Signed::sign(said, &self.chain.id(), &keys)
    }

    fn vote(&self, validator: NodeId, kind: Kind, block: Option<BlockId>, round: u32) -> Signed<Vote> {
        self.sign(Vote { height: 1, round, kind, block, validator })
    }

    fn own(&self, kind: Kind, block: Option<BlockId>) -> Message {
        Message::Vote(self.vote(self.me, kind, block, 0))
    }
}

#[test]
fn a_good_block_gets_a_vote_and_a_bad_one_a_vote_for_nothing() {
    let mut ear = Ear::new();
    let good = ear.block(NOW.unix_s);
    assert_eq!(ear.hear(ear.propose(good.clone())), [ear.own(Kind::Prevote, Some(good.id()))]);
    let bad = |change: &dyn Fn(&mut Block)| {
        let mut ear = Ear::new();
        let mut block = good.clone();
        change(&mut block);
        assert_eq!(ear.hear(ear.propose(block)), [ear.own(Kind::Prevote, None)]);
    };
    bad(&|block| block.header.root[0] ^= 1);
    bad(&|block| block.header.next[0] ^= 1);
    bad(&|block| block.header.parent.0[0] ^= 1);
    bad(&|block| block.header.proposer = node(9));
    bad(&|block| block.txs.push(transfer(block.header.chain, NOW.unix_s, node(1), 7)));
    let future = Ear::new().block(NOW.unix_s + 31);
    bad(&|block| *block = future.clone());
}

#[test]
fn a_proposal_out_of_turn_or_forged_is_not_heard() {
    let mut ear = Ear::new();
    let block = Box::new(ear.block(NOW.unix_s));
    let said = Proposal { height: 1, round: 0, locked: None, block: block.id(), validator: proposer(&ear.chain) };
    let mut forged = ear.sign(said.clone());
    forged.signature[0] ^= 1;
    let others = ear.others().into_iter().filter(|id| *id != said.validator);
    let out_of_turn = others.map(|validator| ear.sign(Proposal { validator, ..said.clone() }));
    let other_block = ear.sign(Proposal { block: BlockId([1; 32]), ..said.clone() });
    let wrong: Vec<_> = out_of_turn.chain([forged, other_block]).collect();
    for proposal in wrong {
        assert_eq!(ear.hear(Message::Proposal(proposal, block.clone())), []);
    }
    assert_eq!(ear.hear(Message::Proposal(ear.sign(said), block)).len(), 1, "the right one is");
}

#[test]
fn forged_votes_do_not_count() {
    let mut ear = Ear::new();
    let block = ear.block(NOW.unix_s);
    let id = block.id();
    ear.hear(ear.propose(block));
    let others = ear.others();
    for validator in &others[..2] {
        let mut vote = ear.vote(*validator, Kind::Prevote, Some(id), 0);
        vote.signature[3] ^= 1;
        assert_eq!(ear.hear(Message::Vote(vote)), []);
        let stranger = ear.vote(node(validator.0[0] + 40), Kind::Prevote, Some(id), 0);
        assert_eq!(ear.hear(Message::Vote(stranger)), []);
        let mut elsewhere = ear.vote(*validator, Kind::Prevote, Some(id), 0);
        elsewhere.signature =
            Signed::sign(elsewhere.said.clone(), &skep_ledger::ChainId([0; 32]), &Fast(*validator)).signature;
        assert_eq!(ear.hear(Message::Vote(elsewhere)), [], "a signature for another network");
    }
    assert_eq!(ear.hear(Message::Vote(ear.vote(others[0], Kind::Prevote, Some(id), 0))), []);
    let precommit = ear.own(Kind::Precommit, Some(id));
    assert_eq!(ear.hear(Message::Vote(ear.vote(others[1], Kind::Prevote, Some(id), 0))), [precommit]);
}

#[test]
fn a_polka_needs_a_quorum_of_different_validators() {
    let mut ear = Ear::new();
    let block = ear.block(NOW.unix_s);
    let id = block.id();
    ear.hear(ear.propose(block));
    let others = ear.others();
    let one = |validator: &NodeId| (*validator, ear.vote(*validator, Kind::Prevote, Some(id), 0).signature);
    let all: Vec<_> = others.iter().map(one).collect();
    let mut forged = all.clone();
    forged[0].1[0] ^= 1;
    let stranger = [&all[..2], &[one(&node(44))]].concat();
    let few = all[..2].to_vec();
    let twice = [&all[..2], &all[..1]].concat();
    let polka = |signatures| Message::Polka(Polka { height: 1, round: 0, block: id, signatures });
    let wrong: Vec<_> = [forged, stranger, few, twice].map(polka).into();
    let (right, precommit) = (polka(all.clone()), ear.own(Kind::Precommit, Some(id)));
    for message in wrong {
        assert_eq!(ear.hear(message), []);
    }
    assert_eq!(ear.hear(right), [precommit]);
}

#[test]
fn a_passage_needs_more_than_a_third_or_a_quorum_of_precommits() {
    let mut ear = Ear::new();
    ear.hear(Message::Vote(ear.vote(ear.others()[0], Kind::Prevote, None, 0)));
    let others = ear.others();
    let with = |kind| move |validator: &NodeId| (*validator, kind, None);
    let signed = |round, votes: Vec<(NodeId, Kind, Option<BlockId>)>, skip| {
        let one = |(id, kind, block): (NodeId, Kind, Option<BlockId>)| {
            (id, kind, block, ear.vote(id, kind, block, round).signature)
        };
        Message::Passage(Passage { height: 1, round, skip, votes: votes.into_iter().map(one).collect() })
    };
    let prevotes: Vec<_> = others.iter().map(with(Kind::Prevote)).collect();
    let precommits: Vec<_> = others.iter().map(with(Kind::Precommit)).collect();
    let wrong = [
        signed(2, prevotes[..1].to_vec(), true),
        signed(2, vec![prevotes[0], precommits[0]], true),
        signed(2, vec![prevotes[0], (node(44), Kind::Prevote, None)], true),
        signed(0, prevotes.clone(), false),
        signed(0, precommits[..2].to_vec(), false),
    ];
    let (skip, pass) = (signed(2, prevotes[..2].to_vec(), true), signed(0, precommits.clone(), false));
    for message in wrong {
        assert_eq!(ear.hear(message), []);
    }
    // Who enters a round shows to the others why. A quorum for different things is waited on a little first.
    assert_eq!(ear.hear(pass), []);
    let later = Now { ms: NOW.ms + 300, ..NOW };
    let effects = ear.engine.step(later, Input::Tick).unwrap();
    let shows = |message: &Message, round, skip| matches!(message, Message::Passage(it) if (it.round, it.skip) == (round, skip));
    let passed = |effect: &Effect| matches!(effect, Effect::Broadcast(message) if shows(message, 0, false));
    assert!(effects.iter().any(passed), "{effects:?}");
    assert!(ear.hear(skip).iter().any(|message| shows(message, 2, true)));
}

#[test]
fn blocks_are_final_by_their_certificates_only() {
    let mut ear = Ear::new();
    let block = ear.block(NOW.unix_s);
    let mut certificate = Certificate { height: 1, round: 0, block: block.id(), signatures: Vec::new() };
    for place in 0..3u16 {
        let id = ear.chain.head().next.at(place.into()).unwrap().id;
        certificate.signatures.push((place, ear.sign(certificate.vote(id)).signature));
    }
    let good = Decided { block, certificate };
    let from = proposer(&ear.chain);
    let mut send = |decided: &Decided, ask: bool| {
        if ask {
            // Two blocks ahead, so that it asks at once.
            let message = Message::Status { height: 2 };
            let asked = ear.engine.step(NOW, Input::Message { from, message }).unwrap();
            assert!(asked.contains(&Effect::Send(from, Message::Ask { from: 1 })));
        }
        ear.engine.step(NOW, Input::Message { from, message: Message::Blocks(vec![decided.clone()]) }).unwrap()
    };
    let is_final = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Commit(_)));
    assert!(!is_final(&send(&good, false)), "nobody asked for it");
    let with = |change: &dyn Fn(&mut Decided)| {
        let mut decided = good.clone();
        change(&mut decided);
        decided
    };
    let wrong = [
        with(&|it| it.certificate.signatures.truncate(2)),
        with(&|it| it.certificate.signatures[0].1[9] ^= 1),
        with(&|it| it.certificate.round = 1),
        with(&|it| it.certificate.signatures[2].0 = 3),
        with(&|it| it.block.header.root[0] ^= 1),
        with(&|it| it.block.txs.push(transfer(it.block.header.chain, NOW.unix_s, node(1), 0))),
    ];
    for decided in &wrong {
        let effects = send(decided, true);
        assert!(!is_final(&effects) && effects.iter().any(|effect| matches!(effect, Effect::Trouble(_))));
    }
    assert!(is_final(&send(&good, true)));
}

#[test]
fn two_of_a_kind_are_evidence_also_when_they_come_late() {
    let mut ear = Ear::new();
    let [one, two] = [NOW.unix_s, NOW.unix_s + 1].map(|time_s| ear.block(time_s));
    let (id, from) = (one.id(), proposer(&ear.chain));
    let set = ear.chain.head().next.clone();
    let evidence = |ear: &mut Ear, message: Message| {
        let effects = ear.engine.step(NOW, Input::Message { from, message }).unwrap();
        let found: Vec<_> = effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Evidence(evidence) => Some(*evidence),
                _ => None,
            })
            .collect();
        assert!(found.iter().all(|it| it.convicts(&ear.chain.id(), &set, &Fast(from))));
        found.iter().map(Evidence::validator).collect::<Vec<_>>()
    };
    let (first, second) = (ear.propose(one), ear.propose(two));
    assert_eq!(evidence(&mut ear, first), []);
    assert_eq!(evidence(&mut ear, second), [from]);
    let others = ear.others();
    for validator in others.clone() {
        for kind in [Kind::Prevote, Kind::Precommit] {
            let vote = Message::Vote(ear.vote(validator, kind, Some(id), 0));
            assert_eq!(evidence(&mut ear, vote), []);
        }
    }
    assert_eq!(ear.engine.chain().head().height, 1);
    for (validator, kind) in [(others[0], Kind::Precommit), (others[1], Kind::Prevote)] {
        let late = Message::Vote(ear.vote(validator, kind, None, 0));
        assert_eq!(evidence(&mut ear, late.clone()), [validator]);
        assert_eq!(evidence(&mut ear, late), [], "once");
        let same = Message::Vote(ear.vote(validator, kind, Some(id), 0));
        assert_eq!(evidence(&mut ear, same), [], "a vote again is none");
    }
    // What convicts nobody.
    let (vote, other) = (ear.vote(others[0], Kind::Prevote, None, 0), ear.vote(others[0], Kind::Prevote, Some(id), 0));
    let id = ear.chain.id();
    let convicts = |evidence: Evidence, keys: Fast| evidence.convicts(&id, &set, &keys);
    assert!(convicts(Evidence::Votes(vote.clone(), other.clone()), Fast(from)));
    assert!(!convicts(Evidence::Votes(vote.clone(), vote.clone()), Fast(from)));
    let precommit = ear.vote(others[0], Kind::Precommit, None, 0);
    assert!(!convicts(Evidence::Votes(precommit, other.clone()), Fast(from)));
    let mut forged = vote;
    forged.signature[0] ^= 1;
    assert!(!convicts(Evidence::Votes(forged, other), Fast(from)));
}

#[test]
fn each_fault_of_a_block_has_its_error() {
    let fresh = chain(&genesis(4));
    let keys = Fast(node(1));
    let good = Ear::new().block(NOW.unix_s);
    let with = |change: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        let error = fresh.clone().check(&block, &keys).unwrap_err();
        let mut tried = fresh.clone();
        assert!(tried.check(&block, &keys).is_err());
        assert_eq!(tried.check(&good, &keys), Ok(()), "a bad block leaves nothing behind");
        error
    };
    let hash = |value: &[Signed0]| -> Hash { *blake3::hash(&borsh::to_vec(value).unwrap()).as_bytes() };
    assert_eq!(with(&|it| it.header.chain.0[0] ^= 1), BlockError::Chain);
    assert_eq!(with(&|it| it.header.height = 2), BlockError::Place { last: 0, got: 2 });
    assert_eq!(with(&|it| it.header.parent.0[0] ^= 1), BlockError::Place { last: 0, got: 1 });
    assert_eq!(with(&|it| it.header.txs[0] ^= 1), BlockError::Parts);
    assert_eq!(with(&|it| it.header.certificate[0] ^= 1), BlockError::Parts);
    assert_eq!(with(&|it| it.header.validators[0] ^= 1), BlockError::Outcome);
    assert_eq!(with(&|it| it.header.proposer = node(9)), BlockError::Proposer(node(9)));
    assert_eq!(with(&|it| it.header.root[0] ^= 1), BlockError::Outcome);
    assert_eq!(with(&|it| it.header.next[0] ^= 1), BlockError::Outcome);
    let early = Refusal::Block { height: 0, last_s: BEGIN_S, got: 1, time_s: BEGIN_S - 1 };
    assert_eq!(with(&|it| it.header.time_s = BEGIN_S - 1), BlockError::Refused(early));
    let gap = Refusal::Nonce { payer: node(1), expected: 0, got: 3 };
    let with_gap = with(&|it| {
        it.txs.push(transfer(it.header.chain, NOW.unix_s, node(1), 3));
        it.header.txs = hash(&it.txs);
    });
    assert_eq!(with_gap, BlockError::Refused(gap));
}

type Signed0 = skep_types::signed::Signed<skep_ledger::Tx>;
