//! A node that chose its blocks itself goes where they are served slowest, and no answer under way notices.
//!
//! # Rules
//! 1. Every [`Moves::every`], with a jitter of a quarter, a node that has served its span for [`Moves::settled_after`] looks who serves what
//!    ([`view`]) and asks [`skep_plan::decide_move`]. It moves if two looks in a row name it; the list may have changed meanwhile.
//! 2. *Make.* It fetches what it lacks of the new span, every byte verified, loads the span and runs one row through it, all while it
//!    serves. Whatever fails ends the move, and it serves on as before.
//!    Then it tells for [`Moves::rests`] that it has no room, so that others do not count on it and one of them moves instead.
//! 3. Before it takes new sessions on the new span, it looks once more and asks [`skep_plan::may_drop`].
//! 4. *Announce.* It serves both spans and says to its gateways and to the directories that it serves the new one.
//! 5. *Break.* After [`Moves::grace`], when whoever planned by an older picture has opened its session, the old span takes no more of them.
//!    It is unmapped when the last session on it has ended, and until then the node does not move again.
//! 6. The weights of all spans that are loaded never take more than [`Moves::weights`] bytes of the file.

pub(crate) mod view;

use crate::joining::Announcer;
use crate::node::NodeError;
use crate::stage_host::{Loader, StageHost};
use crate::weights::{Sent, room};
use skep_model::{Gguf, ModelError};
use skep_net::Net;
use skep_plan::{Holding, Move, TURN_S, decide_move, may_drop, supply};
use skep_types::{BlockRange, ModelId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
pub(crate) use view::View;

/// How a node moves.
#[derive(Debug, Clone)]
pub struct Moves {
    /// Most bytes of the file that may be loaded at once, while it moves.
    pub weights: u64,
    /// The folder of the partial file, where what a new span lacks is fetched; none where the whole file is here.
    pub store: Option<PathBuf>,
    /// How often it looks whether it should move.
    pub every: Duration,
    /// How long it serves a span before it looks.
    pub settled_after: Duration,
    /// How long the old span still takes sessions: longer than others go without asking the directories.
    pub grace: Duration,
    /// How long it does not move after a move failed: what failed once, as a full disk or weights that nobody gives, may well fail again.
    pub rests: Duration,
}

impl Moves {
    /// Looks every 5 seconds, from 20 seconds after its last move on, and gives others 10 seconds to hear of it. After a failure it rests
    /// for a turn.
    pub fn new(weights: u64, store: Option<PathBuf>) -> Self {
        let [every, settled_after, grace] = [5, 20, 10].map(Duration::from_secs);
        Self { weights, store, every, settled_after, grace, rests: Duration::from_secs(TURN_S) }
    }
}

/// A node went to other blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// What it served.
    pub from: BlockRange,
    /// What it serves now.
    pub to: BlockRange,
    /// The block that was served slowest, for which it moved.
    pub slowest: u32,
}

/// One node's mover.
pub(crate) struct Mover {
    pub(crate) net: Net,
    pub(crate) stages: StageHost,
    pub(crate) announcer: Arc<Announcer>,
    pub(crate) view: View,
    pub(crate) sent: Sent,
    pub(crate) file: PathBuf,
    pub(crate) model: ModelId,
    pub(crate) n_blocks: u32,
    pub(crate) moves: Moves,
    pub(crate) told: mpsc::UnboundedSender<Moved>,
}

impl Mover {
    /// Moves for as long as the node lives.
    pub(crate) async fn run(self) {
        let mut since = Instant::now();
        let mut named = false;
        loop {
            match self.count_room().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => {
                    tracing::warn!(%fault, "the file does not say how much room its blocks need");
                    return;
                }
            }
            tokio::time::sleep(jitter(self.moves.every)).await;
            let settled = since.elapsed() >= self.moves.settled_after && self.stages.loaded().0 == 1;
            let step = if settled { self.decide().await } else { None };
            let twice = std::mem::replace(&mut named, step.is_some());
            let Some((step, slowest)) = step.filter(|_| twice) else { continue };
            named = false;
            match self.carry_out(step).await {
                Ok(true) => {
                    since = Instant::now();
                    // Nobody may want to hear it.
                    let _ = self.told.send(Moved { from: step.from, to: step.to, slowest });
                    self.announcer.change(step.to).await;
                    tokio::time::sleep(self.moves.grace).await;
                    self.stages.retire().await;
                }
                Ok(false) => tracing::info!(blocks = %step.to, "the network has changed, and this node stays"),
                Err(fault) => {
                    tracing::warn!(blocks = %step.to, %fault, "this node cannot move there");
                    self.stages.set_room(0);
                    tokio::time::sleep(self.moves.rests).await;
                }
            }
        }
    }

    /// Tells others how much room this node has for a move from where it is. Returns whether it has any.
    async fn count_room(&self) -> Result<bool, ModelError> {
        let Some(blocks) = self.announcer.blocks() else { return Ok(false) };
        let (file, weights) = (self.file.clone(), self.moves.weights);
        let counted = blocking(move || room(&Gguf::open(&file)?, blocks, weights));
        let room = counted.await?;
        let moves = room > blocks.len();
        self.stages.set_room(if moves { room } else { 0 });
        Ok(moves)
    }

    /// All others who serve the model.
    async fn others(&self) -> Vec<Holding> {
        let Ok(whole) = BlockRange::new(0, self.n_blocks) else { return Vec::new() };
        let mut others = self.view.holdings(self.model, whole).await;
        others.retain(|other| other.node != self.net.node_id());
        others
    }

    /// The move that this node should make now, and the block for which.
    async fn decide(&self) -> Option<(Move, u32)> {
        let own = Holding {
            node: self.net.node_id(),
            blocks: self.announcer.blocks()?,
            block_time: self.stages.measured().decode_block?,
            room: self.stages.room(),
            settled: true,
        };
        let others = self.others().await;
        let turn = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs() / TURN_S);
        let step = decide_move(self.n_blocks, &own, &others, turn)?;
        let all = supply(self.n_blocks, &[others, vec![own]].concat());
        let slowest = (step.to.start()..step.to.end()).min_by_key(|block| all.get(*block as usize))?;
        Some((step, slowest))
    }

    /// Rules 2 to 4: serves the new span beside the old one. Returns whether it does.
    async fn carry_out(&self, step: Move) -> Result<bool, NodeError> {
        if let (Some(store), Some(gateway)) = (&self.moves.store, self.announcer.far()) {
            self.sent.fetch_more(&self.net, &gateway, store, step.to).await?;
        }
        let loader = Loader::new(self.file.clone(), self.stages.options());
        let span = blocking(move || loader.load_warm(step.to));
        let span = span.await?;
        if !may_drop(&step, &self.others().await) {
            return Ok(false);
        }
        self.stages.adopt(Arc::new(span)).await.map_err(|reason| NodeError::Refused { reason })?;
        Ok(true)
    }
}

/// About `every`: nodes that started together do not all look at once.
fn jitter(every: Duration) -> Duration {
    let [drawn, ..] = skep_net::random_bytes();
    every * (192 + u32::from(drawn) / 2) / 256
}

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, ModelError> {
    let ended = |_| ModelError::Input("this node is ending".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}
