//! Verifying signatures on threads of their own: what comes from the network goes through here before the engine sees it.
//!
//! Transactions that wait are verified together. A proposed block whose transactions were all passed on before needs nothing verified; what is
//! missing is verified on another thread than loose transactions, so that a vote does not wait for them.

use crate::ValidatorError;
use crate::engine::{Event, Submission};
use crate::keys::{self, Digest, Seen};
use skep_consensus::Message;
use skep_ledger::Tx;
use skep_types::NodeId;
use skep_types::signed::{Signed, Statement};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// The most packets that wait for each thread; who sends more waits.
const JOBS_MAX: usize = 64;

/// Something with signatures.
pub(crate) enum Job {
    /// Passed on by a validator.
    Txs(Vec<Signed<Tx>>),
    /// Handed in by whoever asks.
    Submit(Submission),
    /// Blocks of a validator.
    Blocks(NodeId, Message),
}

impl Job {
    fn txs(&self) -> Vec<&Signed<Tx>> {
        match self {
            Self::Txs(txs) => txs.iter().collect(),
            Self::Submit(submission) => submission.txs.iter().map(|(_, tx)| tx).collect(),
            Self::Blocks(_, message) => txs_of(message),
        }
    }
}

fn txs_of(message: &Message) -> Vec<&Signed<Tx>> {
    match message {
        Message::Proposal(_, block) => block.txs.iter().collect(),
        Message::Blocks(all) => all.iter().flat_map(|one| &one.block.txs).collect(),
        _ => Vec::new(),
    }
}

/// The ways to the two threads.
#[derive(Clone)]
pub(crate) struct Checks {
    txs: mpsc::Sender<Job>,
    blocks: mpsc::Sender<Job>,
}

impl Checks {
    /// Starts the threads.
    pub fn start(seen: &Arc<Seen>, events: &mpsc::Sender<Event>) -> Result<Self, ValidatorError> {
        let start = |name: &str| {
            let (sender, jobs) = mpsc::channel(JOBS_MAX);
            let (seen, events, runtime) = (seen.clone(), events.clone(), Handle::current());
            let work = move || work(&runtime, jobs, &seen, &events);
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
            thread.map(|_| sender).map_err(|fault| ValidatorError::Thread(fault.to_string()))
        };
        Ok(Self { txs: start("check-txs")?, blocks: start("check-blocks")? })
    }

    /// Takes a job; waits while too many wait. False at the end.
    pub async fn add(&self, job: Job) -> bool {
        let way = if matches!(job, Job::Blocks(..)) { &self.blocks } else { &self.txs };
        way.send(job).await.is_ok()
    }
}

fn work(runtime: &Handle, mut waiting: mpsc::Receiver<Job>, seen: &Seen, events: &mpsc::Sender<Event>) {
    let mut jobs = Vec::with_capacity(JOBS_MAX);
    while runtime.block_on(waiting.recv_many(&mut jobs, JOBS_MAX)) > 0 {
        let mut held = check(&jobs, seen).into_iter();
        for job in jobs.drain(..) {
            let event = match job {
                Job::Txs(mut txs) => {
                    txs.retain(|_| held.next().unwrap_or(false));
                    Event::Txs(txs)
                }
                Job::Submit(submission) => Event::Submit(submission.keep(|| held.next().unwrap_or(false))),
                Job::Blocks(from, message) => {
                    let txs = txs_of(&message).len();
                    held.by_ref().take(txs).for_each(drop);
                    Event::Heard(from, message)
                }
            };
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    }
}

/// Says of each transaction whether its signature holds, and notes which do. What was verified before is not verified again.
fn check(jobs: &[Job], seen: &Seen) -> Vec<bool> {
    let named = |tx: &Signed<Tx>| -> Option<(NodeId, Vec<u8>, [u8; 64], Digest)> {
        let (signer, message) = (tx.statement.signer(), tx.to_sign().ok()?);
        let digest = keys::digest(&signer, &message, &tx.signature);
        Some((signer, message, tx.signature, digest))
    };
    let all: Vec<_> = jobs.iter().flat_map(Job::txs).map(named).collect();
    let known = |digest: &Digest| seen.has(digest);
    let mut held: Vec<bool> = all.iter().map(|one| one.as_ref().is_some_and(|(.., digest)| known(digest))).collect();
    let fresh = || all.iter().enumerate().filter_map(|(at, one)| one.as_ref().map(|one| (at, one)));
    let fresh: Vec<_> = fresh().filter(|(at, _)| !held[*at]).collect();
    let claims: Vec<keys::Claim<'_>> =
        fresh.iter().map(|(_, (signer, message, signature, _))| (*signer, &message[..], *signature)).collect();
    if claims.is_empty() {
        return held;
    }
    let holds = keys::check(&claims, &skep_net::random_bytes());
    let good = fresh.iter().zip(&holds).filter(|(_, holds)| **holds);
    seen.add(good.map(|((_, (.., digest)), _)| *digest));
    fresh.iter().zip(holds).for_each(|((at, _), holds)| held[*at] = holds);
    held
}
