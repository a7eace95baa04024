//! Answers what other machines ask of this one's weights.

use super::caps::Caps;
use crate::gateway::Gateway;
use crate::membership::Membership;
use skep_net::{NetError, StoreAsked, StoreResponder};
use skep_store::{Encoder, Reader, Source, StoreError};
use skep_types::wire::{MAX_HELD_RUNS, StoreAnswer, StoreAsk};
use skep_types::{ModelId, NodeId, Pass};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Semaphore, mpsc};

/// Questions of one machine that may be with this one, the one that is being answered included.
pub(crate) const WAITING_MAX: usize = 8;
/// Bytes of a slice that are read from the disk and sent at once where no cap holds them back.
const BATCH_BYTES: usize = 256 << 10;
/// The same under a cap, so that several askers take turns often.
const CAPPED_BATCH_BYTES: usize = 16 << 10;

/// What this machine gives, to whom, and how fast.
pub(crate) struct Server {
    /// Whose passes count.
    membership: Membership,
    caps: Caps,
    held: Mutex<Option<Reader>>,
    gateway: OnceLock<Option<Gateway>>,
    turns: Mutex<HashMap<NodeId, Arc<Semaphore>>>,
    sent: AtomicU64,
}

/// Answers until the endpoint closes.
pub(crate) async fn run(mut asks: mpsc::Receiver<StoreAsked>, server: Arc<Server>) {
    while let Some(asked) = asks.recv().await {
        let StoreAsked { from, ask, reply } = asked;
        let server = server.clone();
        let Some(turn) = server.line_up(from) else {
            tokio::spawn(refuse(reply, "this machine has more of your questions than it answers at once".into()));
            continue;
        };
        tokio::spawn(async move {
            {
                // What takes a few bytes need not wait for the slices before it.
                let waits = matches!(ask, StoreAsk::Slice { .. } | StoreAsk::Last { .. });
                let _turn = if waits { turn.acquire().await.ok() } else { None };
                if let Err(fault) = server.answer(from, ask, reply).await {
                    tracing::debug!(node = %from.short(), %fault, "an answer about weights broke off");
                }
            }
            server.leave(from, turn);
        });
    }
}

impl Server {
    pub(crate) fn new(membership: Membership, upload: Option<u64>) -> Self {
        Self {
            membership,
            caps: Caps::new(upload),
            held: Mutex::default(),
            gateway: OnceLock::new(),
            turns: Mutex::default(),
            sent: AtomicU64::new(0),
        }
    }

    /// From now on serves what `reader` reads.
    pub(crate) fn hold(&self, reader: Reader) {
        *lock(&self.held) = Some(reader);
    }

    pub(crate) fn held(&self) -> Option<Reader> {
        lock(&self.held).clone()
    }

    /// Says once which gateway answers here, if any does.
    pub(crate) fn set_gateway(&self, gateway: Option<Gateway>) {
        let _ = self.gateway.set(gateway);
    }

    /// Who is a member of the network, and what this node is in it.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// What the owner lets it send and receive.
    pub(crate) fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Bytes of slices sent so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// A place in the line of a machine's questions; none when it is full.
    fn line_up(&self, from: NodeId) -> Option<Arc<Semaphore>> {
        let mut turns = lock(&self.turns);
        let turn = turns.entry(from).or_insert_with(|| Arc::new(Semaphore::new(1)));
        // One more than the questions in line: the map's.
        (Arc::strong_count(turn) <= WAITING_MAX).then(|| turn.clone())
    }

    fn leave(&self, from: NodeId, turn: Arc<Semaphore>) {
        let mut turns = lock(&self.turns);
        drop(turn);
        if turns.get(&from).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&from);
        }
    }

    async fn answer(&self, from: NodeId, ask: StoreAsk, reply: StoreResponder) -> Result<(), NetError> {
        match ask {
            StoreAsk::Network { invite, pass } => {
                let told = match self.gateway.get() {
                    Some(Some(gateway)) => {
                        gateway.tell_network(from, invite, pass, self.caps.refusal().is_none()).await
                    }
                    Some(None) => Err("this node takes no requests, so there is nothing to join".into()),
                    None => Err("this node is still starting".into()),
                };
                match told {
                    Ok(served) => reply.send(StoreAnswer::Network(served)).await,
                    Err(reason) => reply.send(StoreAnswer::Refused { reason }).await,
                }
            }
            StoreAsk::Holds { pass, model } => match self.reader(from, &pass, model) {
                Ok(Some(reader)) => {
                    let runs = reader.held().iter().take(MAX_HELD_RUNS).map(|run| (run.start, run.end)).collect();
                    reply.send(StoreAnswer::Holds { bytes: reader.shape().bytes(), runs }).await
                }
                Ok(None) => reply.send(StoreAnswer::NotHeld).await,
                Err(reason) => refuse(reply, reason).await,
            },
            StoreAsk::Last { pass, model } => self.give(from, &pass, model, None, reply).await,
            StoreAsk::Slice { pass, model, start, end } => self.give(from, &pass, model, Some(start..end), reply).await,
        }
    }

    /// What this machine holds of a model, for somebody who may have it.
    fn reader(&self, from: NodeId, pass: &Pass, model: ModelId) -> Result<Option<Reader>, String> {
        if let Some(refusal) = self.caps.refusal() {
            return Err(refusal.into());
        }
        if !self.membership.is_pass_of(from, pass) {
            return Err("the pass is not one of this network for this machine".into());
        }
        Ok(self.held().filter(|reader| reader.id() == model))
    }

    /// Sends a slice; of the last group if `groups` is none.
    async fn give(
        &self,
        from: NodeId,
        pass: &Pass,
        model: ModelId,
        groups: Option<Range<u64>>,
        reply: StoreResponder,
    ) -> Result<(), NetError> {
        let reader = match self.reader(from, pass, model) {
            Ok(Some(reader)) => reader,
            Ok(None) => return reply.send(StoreAnswer::NotHeld).await,
            Err(reason) => return refuse(reply, reason).await,
        };
        let shape = reader.shape();
        let groups = groups.unwrap_or_else(|| shape.last_group());
        let encoder = Encoder::new(model, shape, groups.clone());
        let (true, Ok(mut encoder)) = (reader.holds(groups), encoder) else {
            return reply.send(StoreAnswer::NotHeld).await;
        };
        let mut sender = reply.slice(shape.bytes()).await?;
        loop {
            if self.caps.refusal().is_some() {
                sender.give_up();
                return Ok(());
            }
            let batch_bytes = if self.caps.holds_back() { CAPPED_BATCH_BYTES } else { BATCH_BYTES };
            let reader = reader.clone();
            let read = tokio::task::spawn_blocking(move || {
                let batch = next_batch(&mut encoder, &reader, batch_bytes);
                (encoder, batch)
            });
            let batch = match read.await {
                Ok((next, Ok(batch))) => {
                    encoder = next;
                    batch
                }
                Ok((_, Err(fault))) => {
                    tracing::warn!(%fault, "this machine's disk does not give the weights back as they were");
                    sender.give_up();
                    return Ok(());
                }
                Err(_) => {
                    sender.give_up();
                    return Ok(());
                }
            };
            if batch.is_empty() {
                return Ok(());
            }
            self.caps.wait_to_send(batch.len()).await;
            self.sent.fetch_add(batch.len() as u64, Ordering::Relaxed);
            sender.send(batch).await?;
        }
    }
}

async fn refuse(reply: StoreResponder, reason: String) -> Result<(), NetError> {
    reply.send(StoreAnswer::Refused { reason }).await
}

/// The next bytes of a slice; none at its end.
fn next_batch(encoder: &mut Encoder, reader: &Reader, bytes: usize) -> Result<Vec<u8>, StoreError> {
    let mut batch = Vec::new();
    while batch.len() < bytes {
        match encoder.next(reader)? {
            Some(part) => batch.extend_from_slice(part.bytes()),
            None => break,
        }
    }
    Ok(batch)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
