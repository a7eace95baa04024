//! The engine: one machine's part in agreeing on blocks, as a state machine without I/O.
//!
//! Whoever runs it hands in messages, transactions and the passing of time, and carries out [`Effect`]s in their order. A lone validator
//! is the same engine among one.
//!
//! A height begins when there is something to agree on: a transaction waits here, or a validator speaks of the height. Between
//! heights nothing is timed, logged or said, but for [`Message::Status`] among several machines.

use crate::block::{BlockError, Decided};
use crate::chain::Chain;
use crate::core::{self, Height, Roster, Value};
use crate::effect::{Committed, Effect, EngineError, Input, Now, Pace};
use crate::evidence::HEIGHTS_KEPT;
use crate::hands::{Body, Hands};
use crate::log::Record;
use crate::mempool::{Mempool, PoolRefusal};
use crate::message::Message;
use crate::sync::Sync;
use crate::vote::{Proposal, Signed, Vote};
use arc_malachitebft_core_consensus::{LocallyProposedValue, Params, ProposedValue, ValuePayload};
use arc_malachitebft_core_types::{Round, Validity, ValueOrigin, VoteExtensionPolicy};
use skep_ledger::Tx;
use skep_types::NodeId;
use skep_types::signed::{CLOCK_SKEW_S, Keys, Signed as SignedStatement};

mod replay;

/// The most messages of one validator that wait for the next height to begin: what it says in a few rounds.
const EARLY_MAX: usize = 16;
/// The most blocks among all of them, one of a sender.
const EARLY_BLOCKS_MAX: usize = 8;
/// The most blocks that are tried out for one round: one who proposes more has given evidence against itself.
const BLOCKS_OF_ROUND: u8 = 2;
/// The most blocks that are remembered at one height, which is half an hour without agreement.
const BODIES_MAX: usize = 128;
/// How many rounds ahead proposals are looked at, as the core does.
const ROUNDS_AHEAD: u32 = 10;

/// One machine's part.
pub struct Engine<K> {
    chain: Chain,
    core: core::State,
    hands: Hands<K>,
    pool: Mempool,
    sync: Sync,
    /// Whether the height after the head has begun.
    running: bool,
    early: Vec<(NodeId, Message)>,
    status_at: u64,
}

impl<K: Keys> Engine<K> {
    /// Starts where chain and log end. The first effects bring the log into order, and say again what was said.
    ///
    /// # Errors
    /// [`EngineError::Replay`] for a log that leads to something else than it says.
    pub fn new(
        (me, keys): (NodeId, K),
        chain: Chain,
        log: &[u8],
        pace: Pace,
        now: Now,
    ) -> Result<(Self, Vec<Effect>), EngineError> {
        let head = chain.head();
        let roster = Roster::new(head.next.clone(), head.turns());
        let params = Params {
            address: core::Address(me),
            threshold_params: Default::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        let core = core::State::new(core::Skep, Height(head.height + 1), roster.clone(), params, 1, 1);
        let hands = Hands {
            keys,
            me,
            chain: chain.id(),
            pace,
            now,
            roster,
            out: Vec::new(),
            queue: Default::default(),
            timers: Vec::new(),
            wanted: None,
            decided: None,
            locked: None,
            bodies: Default::default(),
            tried: Default::default(),
            witness: Default::default(),
            said: Default::default(),
            replayed: Default::default(),
            unsynced: false,
            fault: None,
        };
        let (pool, sync) = Default::default();
        let mut engine = Self { chain, core, hands, pool, sync, running: false, early: Vec::new(), status_at: now.ms };
        engine.replay(log)?;
        engine.go_on()?;
        let effects = std::mem::take(&mut engine.hands.out);
        Ok((engine, effects))
    }

    /// The chain as far as it is final.
    pub fn chain(&mut self) -> &mut Chain {
        &mut self.chain
    }

    /// How many transactions wait.
    pub fn waiting(&self) -> usize {
        self.pool.len()
    }

    /// The number that an account's next transaction must have, after those that wait.
    pub fn next_nonce(&self, payer: &NodeId) -> u64 {
        self.pool.next_nonce(payer, self.chain.state_as_is())
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// [`EngineError`], after which the engine must be stopped.
    pub fn step(&mut self, now: Now, input: Input) -> Result<Vec<Effect>, EngineError> {
        self.hands.now = now;
        if let Input::Message { from, message } = input {
            self.message(from, message)?;
        }
        self.go_on()?;
        Ok(std::mem::take(&mut self.hands.out))
    }

    /// Takes in a transaction of somebody who asked this machine.
    ///
    /// # Errors
    /// [`PoolRefusal`] says why it is not taken.
    pub fn submit(&mut self, now: Now, tx: SignedStatement<Tx>) -> Result<Vec<Effect>, PoolRefusal> {
        self.pool.add(tx.clone(), self.chain.state_as_is(), now.unix_s, &self.hands.keys)?;
        let alone = self.hands.is_alone();
        Ok(if alone { Vec::new() } else { vec![Effect::Broadcast(Message::Tx(Box::new(tx)))] })
    }

    /// Takes in transactions that other machines passed on; a [tick](Input::Tick) has to follow.
    pub fn hear(&mut self, now: Now, txs: impl IntoIterator<Item = SignedStatement<Tx>>) {
        self.hands.now = now;
        for tx in txs {
            // Whoever sent it was told by the machine that it asked.
            let _ = self.pool.add(tx, self.chain.state_as_is(), now.unix_s, &self.hands.keys);
        }
    }

    /// Whether a height has begun that is not final: then looking at the state costs trying a block out again.
    pub fn is_busy(&self) -> bool {
        self.running
    }

    /// When a [tick](Input::Tick) is due at the latest, by the clock of [`Now::ms`]; never if nothing but a message can wake it.
    pub fn wake_at(&self) -> Option<u64> {
        let start = self.wants_to_start().then_some(0);
        let timer = self.hands.timers.iter().map(|(at, _)| *at).min();
        let status = (!self.hands.is_alone()).then_some(self.status_at);
        let sync = self.sync.wake_at(self.chain.head().height, &self.hands.pace);
        [start, timer, status, sync].into_iter().flatten().min()
    }

    fn wants_to_start(&self) -> bool {
        !self.running && !self.pool.is_empty() && self.chain.head().next.get(&self.hands.me).is_some()
    }

    /// What time brings.
    fn go_on(&mut self) -> Result<(), EngineError> {
        let now = self.hands.now.ms;
        let at_head = self.chain.head().height;
        let due: Vec<_> = self.hands.timers.iter().filter(|(at, _)| *at <= now).map(|(_, timeout)| *timeout).collect();
        self.hands.timers.retain(|(at, _)| *at > now);
        for timeout in due {
            if self.running && self.chain.head().height == at_head {
                self.feed(core::Input::TimeoutElapsed(timeout))?;
            }
        }
        // One block at most in a step: whoever runs the engine has its turn between two blocks.
        if self.chain.head().height == at_head && self.wants_to_start() {
            self.start()?;
        }
        if !self.running && !self.early.is_empty() {
            self.start()?;
        }
        let height = self.chain.head().height;
        if !self.hands.is_alone() && now >= self.status_at {
            self.status_at = now + self.hands.pace.status_ms;
            self.hands.out.push(Effect::Broadcast(Message::Status { height }));
        }
        if let Some(peer) = self.sync.ask(now, height, &self.hands.pace) {
            self.hands.out.push(Effect::Send(peer, Message::Ask { from: height + 1 }));
        }
        Ok(())
    }

    fn message(&mut self, from: NodeId, message: Message) -> Result<(), EngineError> {
        let height = self.chain.head().height;
        match message {
            Message::Tx(tx) => {
                self.hear(self.hands.now, [*tx]);
                Ok(())
            }
            Message::Status { height: theirs } => {
                self.sync.heard(from, theirs);
                if theirs < height {
                    self.hands.out.push(Effect::Send(from, Message::Status { height }));
                }
                Ok(())
            }
            Message::Ask { from: first } => {
                if (1..=height).contains(&first) {
                    self.hands.out.push(Effect::Serve { to: from, from: first });
                }
                Ok(())
            }
            Message::Blocks(blocks) => self.blocks(from, blocks),
            Message::Vote(ref vote) => self.about(from, vote.said.height, message),
            Message::Proposal(ref proposal, _) => self.about(from, proposal.said.height, message),
            Message::Polka(ref polka) => self.about(from, polka.height, message),
            Message::Passage(ref passage) => self.about(from, passage.height, message),
        }
    }

    /// A message about a height.
    fn about(&mut self, from: NodeId, height: u64, message: Message) -> Result<(), EngineError> {
        let current = self.chain.head().height + 1;
        if height < current {
            if let Message::Vote(vote) = &message {
                self.late(vote);
            }
            return Ok(());
        }
        if height > current {
            self.sync.heard(from, height - 1);
            if height == current + 1 {
                self.keep_early(from, message);
            }
            return Ok(());
        }
        if !self.running {
            if self.chain.head().next.get(&from).is_none() {
                return Ok(());
            }
            self.start()?;
        }
        self.deliver_or_note(height, message)
    }

    /// Hands a message to the core, unless what came before it has decided its height.
    fn deliver_or_note(&mut self, height: u64, message: Message) -> Result<(), EngineError> {
        match message {
            message if self.running && self.chain.head().height + 1 == height => self.deliver(message),
            Message::Vote(vote) => {
                self.late(&vote);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn keep_early(&mut self, from: NodeId, message: Message) {
        if self.chain.head().next.get(&from).is_none() {
            return;
        }
        let is_block = |message: &Message| matches!(message, Message::Proposal(..));
        let blocks = self.early.iter().filter(|(_, other)| is_block(other)).count();
        let own = || self.early.iter().filter(|(sender, _)| *sender == from);
        let known = own().any(|(_, other)| *other == message);
        let room = !is_block(&message) || blocks < EARLY_BLOCKS_MAX && !own().any(|(_, other)| is_block(other));
        if room && !known && own().count() < EARLY_MAX {
            self.early.push((from, message));
        }
    }

    /// A vote for a height that is final: it may complete the certificate, by which nobody counts as absent, or convict.
    fn late(&mut self, vote: &Signed<Vote>) {
        let (head, said) = (self.chain.head(), &vote.said);
        let Some(place) = head.validators.place(&said.validator) else { return };
        let of_head = |it: &crate::certificate::Certificate| *said == it.vote(said.validator) && !it.has(place);
        let completes = head.certificate.as_ref().is_some_and(of_head);
        let recent = said.height + HEIGHTS_KEPT > head.height && said.round <= ROUNDS_AHEAD;
        let matters = completes || recent && self.hands.witness.is_news(said);
        if !matters || !self.hands.heard_late(vote) {
            return;
        }
        if let Some(certificate) = self.chain.certificate_mut().filter(|_| completes) {
            certificate.add(place as u16, vote.signature);
        }
    }

    fn deliver(&mut self, message: Message) -> Result<(), EngineError> {
        match message {
            Message::Vote(vote) => self.feed(core::Input::Vote(core::core_vote(&vote))),
            Message::Polka(polka) => self.feed(core::Input::PolkaCertificate(core::core_polka(&polka))),
            Message::Passage(passage) => self.feed(core::Input::RoundCertificate(core::core_passage(&passage))),
            Message::Proposal(proposal, block) => self.proposal(&proposal, *block),
            _ => Ok(()),
        }
    }

    fn proposal(&mut self, proposal: &Signed<Proposal>, block: crate::block::Block) -> Result<(), EngineError> {
        let said = &proposal.said;
        let round = self.core.round().as_u32().unwrap_or(0);
        // Signature and turn are looked at before a block is tried out, which costs the most of all.
        if said.round > round.saturating_add(ROUNDS_AHEAD)
            || said.validator != self.hands.roster.proposer(said.round)
            || said.block != block.id()
            || !proposal.holds(&self.hands.chain, &self.hands.keys)
        {
            return Ok(());
        }
        if !self.hands.bodies.contains_key(&said.block) {
            let tried = self.hands.tried.entry(said.round).or_default();
            if *tried >= BLOCKS_OF_ROUND || self.hands.bodies.len() >= BODIES_MAX {
                return Ok(());
            }
            *tried += 1;
            let valid = self.vote_worthy(&block).is_ok();
            self.hands.bodies.insert(said.block, Body { block, valid, logged: false });
        }
        self.feed(core::Input::Proposal(core::core_proposal(proposal)))?;
        self.tried(said)
    }

    /// Tells the core what became of a proposed block.
    fn tried(&mut self, said: &Proposal) -> Result<(), EngineError> {
        let Some(body) = self.hands.bodies.get(&said.block).filter(|_| self.running) else { return Ok(()) };
        let validity = if body.valid { Validity::Valid } else { Validity::Invalid };
        self.feed(self.value(said.round, said.validator, said.block, validity))
    }

    fn value(&self, round: u32, proposer: NodeId, id: crate::block::BlockId, validity: Validity) -> core::Input {
        let value = ProposedValue {
            height: self.core.height(),
            round: Round::new(round),
            valid_round: Round::Nil,
            proposer: core::Address(proposer),
            value: Value(id),
            validity,
        };
        core::Input::ProposedValue(value, ValueOrigin::Consensus)
    }

    /// Whether this validator votes for a block.
    fn vote_worthy(&mut self, block: &crate::block::Block) -> Result<(), BlockError> {
        let (time_s, now_s) = (block.header.time_s, self.hands.now.unix_s);
        if time_s > now_s.saturating_add(CLOCK_SKEW_S) {
            return Err(BlockError::Time { time_s, now_s });
        }
        self.chain.check(block, &self.hands.keys)
    }

    /// Begins the height after the head.
    fn start(&mut self) -> Result<(), EngineError> {
        self.begin(false)?;
        let height = self.chain.head().height + 1;
        std::mem::take(&mut self.early).into_iter().try_for_each(|(_, message)| self.deliver_or_note(height, message))
    }

    /// Those who agree on the block after the head.
    fn roster(&self) -> Roster {
        let head = self.chain.head();
        Roster::new(head.next.clone(), head.turns())
    }

    fn begin(&mut self, again: bool) -> Result<(), EngineError> {
        let (height, roster) = (self.chain.head().height + 1, self.roster());
        self.hands.begin(height, roster.clone());
        self.running = true;
        self.hands.append(&Record::Begin { height });
        self.feed(core::Input::StartHeight(Height(height), roster, again, None, VoteExtensionPolicy::Disabled))
    }

    /// Feeds the core, and carries out what it asks for until it asks for nothing more.
    fn feed(&mut self, input: core::Input) -> Result<(), EngineError> {
        self.hands.queue.push_back(input);
        while let Some(input) = self.hands.queue.pop_front() {
            let hands = &mut self.hands;
            let done: Result<(), core::Error> = arc_malachitebft_core_consensus::process!(
                input: input, state: &mut self.core, metrics: &(), with: asked => hands.carry_out(asked)
            );
            if let Some(fault) = self.hands.fault.take() {
                return Err(fault);
            }
            if let Err(error) = done {
                if self.core.is_replaying_wal() {
                    return Err(EngineError::Replay(error.to_string()));
                }
                self.hands.out.push(Effect::Trouble(error.to_string()));
            }
            if let Some(certificate) = self.hands.decided.take() {
                let body = self.hands.bodies.remove(&certificate.value_id).ok_or(EngineError::Missing)?;
                let certificate = core::certificate_of(&certificate, &self.hands.roster.validators);
                return self.finish(Decided { block: body.block, certificate });
            }
            self.show_lock();
            self.make_block()?;
        }
        Ok(())
    }

    /// Shows the others why this validator locked itself. The core does so from the eleventh round on; but with a validator that says
    /// different things to different machines, some may be locked on one block and some on another for as long as they do not know.
    fn show_lock(&mut self) {
        let Some((round, block)) = self.hands.locked.take() else { return };
        if let Some(polka) = self.core.polka_certificate(Round::new(round), &block) {
            let polka = core::polka_of(polka);
            self.hands.say(Message::Polka(polka));
        }
    }

    /// Makes the block that the core wants. While a log is replayed, it may be in the log.
    fn make_block(&mut self) -> Result<(), EngineError> {
        let Some(round) = self.hands.wanted.filter(|_| !self.core.is_replaying_wal()) else { return Ok(()) };
        self.hands.wanted = None;
        let (me, now_s) = (self.hands.me, self.hands.now.unix_s);
        let block = match self.chain.propose(me, now_s, &mut self.pool, &self.hands.keys) {
            Ok(block) => block,
            Err(error) => {
                self.hands.out.push(Effect::Trouble(error.to_string()));
                return Ok(());
            }
        };
        let id = block.id();
        self.hands.bodies.insert(id, Body { block, valid: true, logged: false });
        let (height, round) = (self.core.height(), Round::new(round));
        let proposed = LocallyProposedValue::new(height, round, Value(id));
        self.hands.queue.push_back(core::Input::Propose(proposed));
        Ok(())
    }

    /// The next block is final.
    fn finish(&mut self, decided: Decided) -> Result<(), EngineError> {
        let events = self.chain.commit(&decided, &self.hands.keys)?;
        self.pool.settle(&decided.block.txs, self.chain.state_as_is());
        self.running = false;
        self.hands.roster = self.roster();
        self.hands.timers.clear();
        self.hands.queue.clear();
        self.hands.unsynced = false;
        self.sync.progress();
        let height = decided.block.header.height;
        self.hands.out.push(Effect::Commit(Box::new(Committed { decided, events })));
        self.hands.out.push(Effect::Cut(0));
        if self.hands.is_alone() {
            self.hands.out.push(Effect::Broadcast(Message::Status { height }));
        }
        Ok(())
    }

    /// Final blocks that were asked for.
    fn blocks(&mut self, from: NodeId, blocks: Vec<Decided>) -> Result<(), EngineError> {
        if !self.sync.answered(&from) {
            return Ok(());
        }
        for decided in blocks {
            let head = self.chain.head();
            if decided.block.header.height <= head.height {
                continue;
            }
            // An answer to a question of long ago, of a life before the last crash perhaps.
            if decided.block.header.height > head.height + 1 {
                break;
            }
            if let Err(error) = self.chain.verify(&decided, &self.hands.keys) {
                self.sync.failed(&from);
                self.hands
                    .out
                    .push(Effect::Trouble(format!("{} sent a block that is not final: {error}", from.short())));
                return Ok(());
            }
            self.finish(decided)?;
        }
        self.early.clear();
        Ok(())
    }
}
