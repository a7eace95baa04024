//! What comes in: streams of other validators, and of those who ask.

use crate::checks::{Checks, Job};
use crate::engine::{Board, Event, Submission};
use crate::peers::Peers;
use crate::wire::{Answer, Ask, SUBMITS_MAX, Said};
use skep_consensus::Message;
use skep_ledger::ChainId;
use skep_net::{NetEvent, PacketReceiver, PacketSender};
use skep_types::NodeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

/// The most streams of blocks of one validator: two, and those of its life before.
const STREAMS_MAX: usize = 4;
/// The most streams of those who ask, among all of them.
const ASKERS_MAX: usize = 128;
/// Answers that wait to be read before a question more is not taken.
const ANSWERS_MAX: usize = SUBMITS_MAX + 8;
/// How often a validator may say how far it is or ask for blocks: so many times at once, and then at this pace. Each may cost reading a
/// megabyte from the disk.
const REQUESTS: (u32, Duration) = (64, Duration::from_millis(5));

/// What every reader needs.
pub(crate) struct Front {
    pub chain: ChainId,
    pub peers: Arc<Peers>,
    pub checks: Checks,
    pub events: mpsc::Sender<Event>,
    pub board: Arc<Board>,
    /// Open streams of each validator, and under nobody's key those of all who ask.
    pub open: Mutex<BTreeMap<Option<NodeId>, usize>>,
}

/// Serves streams until the endpoint closes.
pub(crate) async fn serve(front: Arc<Front>, mut events: mpsc::Receiver<NetEvent>) {
    while let Some(event) = events.recv().await {
        // What a machine that computes for others is asked goes nowhere here: the stream ends.
        let NetEvent::Packets { from, packets, answers } = event else { continue };
        let (who, most) = if answers.is_some() { (None, ASKERS_MAX) } else { (Some(from), STREAMS_MAX) };
        if !front.enter(who, most) {
            tracing::debug!(node = %from.short(), "too many streams");
            continue;
        }
        let front = front.clone();
        tokio::spawn(async move {
            match answers {
                Some(answers) => front.answer(packets, answers).await,
                None => front.hear(from, packets).await,
            }
            front.leave(who);
        });
    }
}

impl Front {
    fn enter(&self, who: Option<NodeId>, most: usize) -> bool {
        if who.is_some_and(|node| !self.peers.has(&node)) {
            return false;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(who).or_default();
        let may = *count < most;
        *count += usize::from(may);
        may
    }

    fn leave(&self, who: Option<NodeId>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(who).and_modify(|count| *count = count.saturating_sub(1));
    }

    /// Reads what a validator says.
    async fn hear(&self, from: NodeId, mut packets: PacketReceiver) {
        match packets.recv().await.map(|first| first.map(|bytes| Said::decode(&bytes))) {
            Ok(Some(Ok(Said::Hello { chain, life }))) if chain == self.chain => self.peers.heard_life(&from, life),
            _ => return packets.refuse(),
        }
        let mut requests = Requests::new();
        while let Ok(Some(bytes)) = packets.recv().await {
            let taken = match Said::decode(&bytes) {
                Ok(Said::Txs(txs)) => self.checks.add(Job::Txs(txs)).await,
                Ok(Said::Engine(Message::Tx(tx))) => self.checks.add(Job::Txs(vec![*tx])).await,
                Ok(Said::Engine(message @ (Message::Proposal(..) | Message::Blocks(_)))) => {
                    self.checks.add(Job::Blocks(from, message)).await
                }
                Ok(Said::Engine(message)) => {
                    let asks = matches!(message, Message::Status { .. } | Message::Ask { .. });
                    if asks && !requests.one_more() {
                        continue;
                    }
                    self.events.send(Event::Heard(from, message)).await.is_ok()
                }
                Ok(Said::Hello { .. }) | Err(_) => return packets.refuse(),
            };
            if !taken {
                return;
            }
        }
    }

    /// Answers somebody.
    async fn answer(&self, mut packets: PacketReceiver, mut out: PacketSender) {
        let (answers, mut ready) = mpsc::channel::<Answer>(ANSWERS_MAX);
        let mut under_way = 0;
        loop {
            tokio::select! {
                Some(answer) = ready.recv() => {
                    under_way -= 1;
                    let Some(packet) = answer.packet() else { return };
                    if out.send(&packet).await.is_err() {
                        return;
                    }
                }
                packet = packets.recv(), if under_way < SUBMITS_MAX => {
                    let Ok(Some(bytes)) = packet else { return };
                    let Ok(ask) = Ask::decode(&bytes) else { return packets.refuse() };
                    under_way += 1;
                    if !self.ask(ask, &answers).await {
                        return;
                    }
                }
            }
        }
    }

    async fn ask(&self, ask: Ask, answers: &mpsc::Sender<Answer>) -> bool {
        match ask {
            Ask::Status => match self.board.status() {
                Some(status) => answers.send(Answer::Status(status)).await.is_ok(),
                None => false,
            },
            Ask::Row(key) => self.events.send(Event::Row(key, answers.clone())).await.is_ok(),
            Ask::Submit { number, txs } => {
                self.checks.add(Job::Submit(Submission::new(number, txs, answers.clone()))).await
            }
        }
    }
}

/// How many requests a validator may still make.
struct Requests {
    left: u32,
    since: Instant,
}

impl Requests {
    fn new() -> Self {
        Self { left: REQUESTS.0, since: Instant::now() }
    }

    fn one_more(&mut self) -> bool {
        let more = u32::try_from(self.since.elapsed().as_millis() / REQUESTS.1.as_millis()).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(REQUESTS.0);
            self.since = Instant::now();
        }
        let may = self.left > 0;
        self.left -= u32::from(may);
        may
    }
}
