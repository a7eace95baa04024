//! What goes out to other validators: two bounded queues for each, and a task that empties each.
//!
//! A queue that is full loses its oldest packet. That costs time and never safety: votes are said again, blocks are asked for again, and a
//! transaction that was not passed on still waits where it was handed in.

use crate::wire::Said;
use skep_net::{Net, Packet, PacketSender};
use skep_types::NodeId;
use skep_types::wire::Peer;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The most packets of a queue: votes of several rounds of a hundred validators, said for each of them.
const PACKETS_MAX: usize = 1024;
/// The most bytes of them.
const BYTES_MAX: usize = 16 << 20;
/// Between two tries to reach a validator, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

#[derive(Default)]
struct Waiting {
    packets: VecDeque<(Instant, Packet)>,
    bytes: usize,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    came: Notify,
    lost: AtomicU64,
}

impl Queue {
    fn put(&self, packet: Packet) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes += packet.len();
        waiting.packets.push_back((Instant::now(), packet));
        while waiting.bytes > BYTES_MAX || waiting.packets.len() > PACKETS_MAX {
            let Some((_, oldest)) = waiting.packets.pop_front() else { break };
            waiting.bytes -= oldest.len();
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        drop(waiting);
        self.came.notify_one();
    }

    fn take(&self) -> Option<(Instant, Packet)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.packets.pop_front()?;
        waiting.bytes -= next.1.len();
        Some(next)
    }

    async fn next(&self) -> (Instant, Packet) {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.came.notified().await;
        }
    }
}

struct Outgoing {
    urgent: Arc<Queue>,
    bulk: Arc<Queue>,
    /// The life of the other process that streams lead to; another number ends them.
    life: tokio::sync::watch::Sender<u64>,
}

/// The ways to all other validators.
pub(crate) struct Peers(BTreeMap<NodeId, Outgoing>);

impl Peers {
    /// Begins to reach them.
    pub fn start(net: &Net, peers: &[Peer], hello: &Said, delay: Duration) -> Self {
        let all = peers.iter().filter(|peer| peer.node != net.node_id()).map(|peer| {
            let outgoing = Outgoing { urgent: Arc::default(), bulk: Arc::default(), life: Default::default() };
            for (queue, urgent) in [(&outgoing.urgent, true), (&outgoing.bulk, false)] {
                let writer = Writer {
                    net: net.clone(),
                    peer: peer.clone(),
                    urgent,
                    queue: queue.clone(),
                    hello: hello.packet(),
                    delay,
                };
                tokio::spawn(writer.run(outgoing.life.subscribe()));
            }
            (peer.node, outgoing)
        });
        Self(all.collect())
    }

    /// Whether this validator speaks to a machine.
    pub fn has(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    /// Says something to one.
    pub fn send(&self, to: &NodeId, said: &Said, urgent: bool) {
        if let (Some(outgoing), Some(packet)) = (self.0.get(to), said.packet()) {
            outgoing.queue(urgent).put(packet);
        }
    }

    /// Says something to all.
    pub fn broadcast(&self, said: &Said, urgent: bool) {
        if self.0.is_empty() {
            return;
        }
        if let Some(packet) = said.packet() {
            self.0.values().for_each(|outgoing| outgoing.queue(urgent).put(packet.clone()));
        }
    }

    /// A machine said which of its lives it speaks from.
    pub fn heard_life(&self, node: &NodeId, life: u64) {
        if let Some(outgoing) = self.0.get(node) {
            outgoing.life.send_if_modified(|known| std::mem::replace(known, life) != life);
        }
    }
}

impl Outgoing {
    fn queue(&self, urgent: bool) -> &Queue {
        if urgent { &self.urgent } else { &self.bulk }
    }
}

struct Writer {
    net: Net,
    peer: Peer,
    urgent: bool,
    queue: Arc<Queue>,
    hello: Option<Packet>,
    /// How long each packet is held back, for measurements.
    delay: Duration,
}

impl Writer {
    async fn run(self, mut life: tokio::sync::watch::Receiver<u64>) {
        let Some(hello) = &self.hello else { return };
        loop {
            life.mark_unchanged();
            let mut stream = self.open(hello).await;
            // The packet that was on its way when a stream failed is lost, as the ones before it may be.
            loop {
                let (at, packet) = tokio::select! {
                    // First, or what is said to the new life goes to the old one.
                    biased;
                    changed = life.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    next = self.queue.next() => next,
                };
                if !self.delay.is_zero() {
                    tokio::time::sleep_until(at + self.delay).await;
                }
                if let Err(fault) = stream.send(&packet).await {
                    tracing::debug!(node = %self.peer.node.short(), %fault, "a stream to a validator ended");
                    break;
                }
            }
        }
    }

    async fn open(&self, hello: &Packet) -> PacketSender {
        let (mut pause, most) = RETRY;
        loop {
            if let Ok(mut stream) = self.net.open_blocks(&self.peer, self.urgent).await
                && stream.send(hello).await.is_ok()
            {
                return stream;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_what_is_oldest() {
        let queue = Queue::default();
        let packet = |number: u32| Packet::new(&number.to_le_bytes()).unwrap();
        (0..PACKETS_MAX as u32 + 3).for_each(|number| queue.put(packet(number)));
        assert_eq!(queue.take().unwrap().1, packet(3));
        assert_eq!(queue.lost.load(Ordering::Relaxed), 3);
        let long = Packet::new(&vec![0; 1 << 20]).unwrap();
        (0..40).for_each(|_| queue.put(long.clone()));
        let waiting = queue.waiting.lock().unwrap();
        assert!(waiting.bytes <= BYTES_MAX && waiting.packets.len() < 17, "{}", waiting.packets.len());
    }
}
