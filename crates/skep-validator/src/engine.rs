//! The thread that owns engine, log and store: takes events in, and carries out effects strictly in their order.

use crate::ValidatorError;
use crate::keys::Keyring;
use crate::log::LogFile;
use crate::peers::Peers;
use crate::store::Store;
use crate::waiters::Waiters;
use crate::wire::{Answer, Outcome, REASON_BYTES_MAX, Row, Said, Status, TXS_MAX};
use skep_consensus::light::Shown;
use skep_consensus::message::MESSAGE_BYTES_MAX;
use skep_consensus::{Decided, Effect, Engine, Input, Message, Now};
use skep_ledger::{Key, Tx};
use skep_types::NodeId;
use skep_types::signed::Signed;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// The most events that are taken in before effects of time are.
const EVENTS_MAX: usize = 64;
/// How long a question about the state waits for a height to end, milliseconds: answering within one costs trying its block out again.
const QUESTION_MS: u64 = 50;
/// How often is looked for who waits in vain, while somebody waits, milliseconds.
const SWEEP_MS: u64 = 5000;
/// What of a message of final blocks is left to what goes around them.
const AROUND_BYTES: usize = 1024;

/// Transactions of somebody who asks.
pub(crate) struct Submission {
    /// The number of the answer.
    pub number: u32,
    /// Those that may yet be taken, with their places.
    pub txs: Vec<(usize, Signed<Tx>)>,
    /// What became of each so far.
    pub outcomes: Vec<Option<Outcome>>,
    /// Where the answer goes.
    pub answers: mpsc::Sender<Answer>,
}

impl Submission {
    pub fn new(number: u32, txs: Vec<Signed<Tx>>, answers: mpsc::Sender<Answer>) -> Self {
        let outcomes = vec![None; txs.len()];
        Self { number, txs: txs.into_iter().enumerate().collect(), outcomes, answers }
    }

    /// Refuses those whose signatures do not hold.
    pub fn keep(mut self, mut holds: impl FnMut() -> bool) -> Self {
        let outcomes = &mut self.outcomes;
        self.txs.retain(|(place, tx)| {
            let holds = holds();
            if !holds {
                let reason = format!("the signature is not that of {}", tx.statement.payer);
                outcomes[*place] = Some(Outcome::Refused { reason });
            }
            holds
        });
        self
    }
}

/// What the thread takes in.
pub(crate) enum Event {
    /// A validator said something.
    Heard(NodeId, Message),
    /// Verified transactions of other validators.
    Txs(Vec<Signed<Tx>>),
    /// Verified transactions of somebody who asks.
    Submit(Submission),
    /// A row is asked for.
    Row(Key, mpsc::Sender<Answer>),
    /// Nothing more comes.
    Stop,
}

/// What others may know of the ledger at any time.
#[derive(Default)]
pub(crate) struct Board {
    status: RwLock<Option<Status>>,
}

impl Board {
    pub fn status(&self) -> Option<Status> {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, status: Status) {
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// Everything of the thread.
pub(crate) struct Desk {
    pub engine: Engine<Keyring>,
    pub me: NodeId,
    pub log: LogFile,
    pub store: Store,
    pub peers: Arc<Peers>,
    pub board: Arc<Board>,
    pub began: Instant,
    /// The last final block.
    pub last: Option<Decided>,
    pub waiters: Waiters,
    pub questions: Vec<(u64, Key, mpsc::Sender<Answer>)>,
    pub done: u64,
}

/// The time by both clocks.
pub(crate) fn now(began: Instant) -> Now {
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), unix_s }
}

impl Desk {
    /// Works until it is told to stop.
    ///
    /// # Errors
    /// [`ValidatorError`] when engine or disk cannot go on.
    pub fn run(
        mut self,
        runtime: &Handle,
        mut events: mpsc::Receiver<Event>,
        first: Vec<Effect>,
    ) -> Result<(), ValidatorError> {
        self.carry_out(first)?;
        self.show();
        let mut batch = Vec::with_capacity(EVENTS_MAX);
        loop {
            let wait = self.wake_at().map(|at| Duration::from_millis(at.saturating_sub(now(self.began).ms)));
            let came = runtime.block_on(async {
                let came = events.recv_many(&mut batch, EVENTS_MAX);
                match wait {
                    Some(wait) => tokio::time::timeout(wait, came).await.ok(),
                    None => Some(came.await),
                }
            });
            if came == Some(0) {
                return Ok(());
            }
            for event in batch.drain(..) {
                if matches!(event, Event::Stop) {
                    return Ok(());
                }
                self.take(event)?;
            }
            let effects = self.engine.step(now(self.began), Input::Tick)?;
            self.carry_out(effects)?;
            self.answer_questions()?;
        }
    }

    fn wake_at(&mut self) -> Option<u64> {
        let question = self.questions.first().map(|(at, ..)| at + QUESTION_MS);
        let sweep = self.waiters.swept_at().map(|at| at + SWEEP_MS);
        [self.engine.wake_at(), question, sweep].into_iter().flatten().min()
    }

    fn take(&mut self, event: Event) -> Result<(), ValidatorError> {
        let now = now(self.began);
        match event {
            Event::Heard(from, message) => {
                let effects = self.engine.step(now, Input::Message { from, message })?;
                self.carry_out(effects)
            }
            Event::Txs(txs) => {
                self.engine.hear(now, txs);
                Ok(())
            }
            Event::Submit(submission) => {
                self.submit(now, submission);
                Ok(())
            }
            Event::Row(key, answers) => {
                self.questions.push((now.ms, key, answers));
                Ok(())
            }
            Event::Stop => Ok(()),
        }
    }

    fn submit(&mut self, now: Now, mut submission: Submission) {
        let mut passed = Vec::with_capacity(submission.txs.len());
        let mut taken = Vec::with_capacity(submission.txs.len());
        for (place, tx) in std::mem::take(&mut submission.txs) {
            let id = tx.statement.id();
            match self.engine.submit(now, tx) {
                Ok(effects) => {
                    taken.push((place, id));
                    passed.extend(effects.into_iter().filter_map(|effect| match effect {
                        Effect::Broadcast(Message::Tx(tx)) => Some(*tx),
                        _ => None,
                    }));
                }
                Err(refusal) => {
                    let mut reason = refusal.to_string();
                    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
                    submission.outcomes[place] = Some(Outcome::Refused { reason });
                }
            }
        }
        if !passed.is_empty() {
            debug_assert!(passed.len() <= TXS_MAX);
            self.peers.broadcast(&Said::Txs(passed), false);
        }
        self.waiters.add(now.ms, submission, taken);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), ValidatorError> {
        let mut effects = effects.into_iter().peekable();
        while let Some(effect) = effects.next() {
            match effect {
                Effect::Cut(bytes) => self.log.cut(bytes)?,
                Effect::Append(frame) => self.log.append(&frame)?,
                Effect::Sync => self.log.sync()?,
                Effect::Broadcast(message) => {
                    let urgent = is_urgent(&message);
                    self.peers.broadcast(&Said::Engine(message), urgent);
                }
                Effect::Send(to, message) => {
                    let urgent = is_urgent(&message);
                    self.peers.send(&to, &Said::Engine(message), urgent);
                }
                Effect::Serve { to, from } => {
                    let blocks = self.store.blocks(from, MESSAGE_BYTES_MAX - AROUND_BYTES)?;
                    self.peers.send(&to, &Said::Engine(Message::Blocks(blocks)), false);
                }
                Effect::Commit(committed) => {
                    // Blocks that came together are on disk together, and only then is the log cut, once for all of them.
                    let mut run = vec![committed.decided];
                    while let Some(next) = effects.next_if(|it| matches!(it, Effect::Commit(_) | Effect::Cut(0))) {
                        run.extend(match next {
                            Effect::Commit(committed) => Some(committed.decided),
                            _ => None,
                        });
                    }
                    self.commit(run)?;
                    self.log.cut(0)?;
                }
                Effect::Evidence(evidence) => {
                    tracing::warn!(who = %evidence.validator(), "a validator contradicted itself");
                }
                Effect::Trouble(trouble) => tracing::warn!(%trouble, "the validator goes on after a trouble"),
            }
        }
        Ok(())
    }

    fn commit(&mut self, run: Vec<Decided>) -> Result<(), ValidatorError> {
        self.store.add(&run, self.engine.chain())?;
        for decided in &run {
            self.done += decided.block.txs.len() as u64;
            for tx in &decided.block.txs {
                self.waiters.done(&tx.statement.id(), decided.block.header.height);
            }
        }
        self.last = run.into_iter().last();
        self.show();
        Ok(())
    }

    fn show(&mut self) {
        let waiting = self.engine.waiting() as u64;
        let (me, chain) = (self.me, self.engine.chain());
        let (id, head) = (chain.id(), chain.head());
        self.board.show(Status {
            chain: id,
            me,
            height: head.height,
            block: head.id,
            time_s: head.time_s,
            validators: head.next.len() as u32,
            power: head.next.get(&me).map_or(0, |one| one.power),
            total: head.next.total(),
            waiting,
            done: self.done,
        });
    }

    fn answer_questions(&mut self) -> Result<(), ValidatorError> {
        let now_ms = now(self.began).ms;
        self.waiters.sweep(now_ms, SWEEP_MS);
        let Some((first_ms, ..)) = self.questions.first() else { return Ok(()) };
        if self.engine.is_busy() && now_ms < first_ms + QUESTION_MS {
            return Ok(());
        }
        for (_, key, answers) in std::mem::take(&mut self.questions) {
            let answer = Answer::Row(self.row(&key)?.map(Box::new));
            // Who asked may be gone, or asks faster than it reads.
            let _ = answers.try_send(answer);
        }
        Ok(())
    }

    fn row(&mut self, key: &Key) -> Result<Option<Row>, ValidatorError> {
        let chain = self.engine.chain();
        let head = chain.head();
        let Some(last) = &self.last else { return Ok(None) };
        let (validators, next) = (head.validators.clone(), head.next.clone());
        let next = (validators != next).then_some(next);
        let (header, certificate) = (last.block.header.clone(), last.certificate.clone());
        let state = chain.state();
        let (row, proof) = (state.row(key)?, state.prove(key)?);
        Ok(Some(Row { shown: Shown { header, certificate, validators, next }, row, proof }))
    }
}

/// What others wait for before they go on.
fn is_urgent(message: &Message) -> bool {
    !matches!(message, Message::Tx(_) | Message::Blocks(_))
}
