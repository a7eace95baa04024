//! Watching a machine: heartbeats while anybody cares, and one event when it goes or comes back.

use crate::heartbeat;
use crate::link::{CLOSE_STALE, Entry};
use crate::net::{NetEvent, Shared};
use skep_types::NodeId;
use std::sync::{Arc, Weak, atomic::Ordering};
use tokio::{task::AbortHandle, time::MissedTickBehavior};

/// A machine that rests sends a heartbeat in so many beats.
const REST_TICKS: u32 = 10;

/// Keeps heartbeats going to one node; see [`crate::Net::watch`]. Dropping the last one of a node ends them.
pub struct Watch {
    shared: Arc<Shared>,
    node: NodeId,
}

impl Watch {
    /// The watched node.
    pub fn node(&self) -> NodeId {
        self.node
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut book = self.shared.book();
        if let Some(entry) = book.entries.get_mut(&self.node)
            && let Some(watched) = &mut entry.watched
        {
            watched.guards -= 1;
            if watched.guards == 0 {
                watched.task.abort();
                entry.watched = None;
            }
        }
        book.tidy(self.node);
    }
}

/// The state of a watched node.
pub(crate) struct Watched {
    guards: usize,
    task: AbortHandle,
    /// Whether the node is down as far as the heartbeats tell.
    pub(crate) down: bool,
    /// What the reader of the events was told.
    announced_down: bool,
    /// Whether there was a connection since the watch began.
    had_link: bool,
    /// Beats without any connection.
    beats_alone: u32,
}

/// Begins or shares the watch of `node`.
pub(crate) fn watch(shared: &Arc<Shared>, node: NodeId) -> Watch {
    let mut book = shared.book();
    let entry = book.entries.entry(node).or_default();
    match &mut entry.watched {
        Some(watched) => watched.guards += 1,
        None => {
            for link in &entry.links {
                link.missed.store(0, Ordering::Relaxed);
            }
            let task = shared.runtime.spawn(beat(Arc::downgrade(shared), node)).abort_handle();
            let had_link = !entry.links.is_empty();
            entry.watched =
                Some(Watched { guards: 1, task, down: false, announced_down: false, had_link, beats_alone: 0 });
        }
    }
    drop(book);
    Watch { shared: shared.clone(), node }
}

async fn beat(shared: Weak<Shared>, node: NodeId) {
    let Some(every) = shared.upgrade().map(|shared| shared.limits.heartbeat_every) else { return };
    let mut ticks = tokio::time::interval(every.max(std::time::Duration::from_millis(1)));
    // After a stall of this process the beats go on at their pace, so that peers get their time to answer.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rested = 0;
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        rested += 1;
        if shared.resting.load(Ordering::Relaxed) && rested < REST_TICKS {
            continue;
        }
        rested = 0;
        let mut book = shared.book();
        let Some(entry) = book.entries.get_mut(&node) else { return };
        let most = shared.limits.missed_beats();
        let alive = probe(entry, most);
        let Some(watched) = &mut entry.watched else { return };
        watched.judge(alive, most);
        if watched.down != watched.announced_down {
            let event = if watched.down { NetEvent::Down { node } } else { NetEvent::Up { node } };
            // With the queue full the next beat tries again.
            if shared.announce(event) {
                watched.announced_down = watched.down;
            }
        }
    }
}

/// Pings every connection and closes those that are silent while a newer one answers, so that their streams fail too. The node's
/// life is the answer of any; none without a connection.
fn probe(entry: &mut Entry, most: u32) -> Option<bool> {
    let mut alive = None;
    for link in entry.links.iter().rev().filter(|link| link.is_open()) {
        let answers = link.missed.load(Ordering::Relaxed) < most;
        if !answers && alive == Some(true) {
            link.connection.close(CLOSE_STALE, b"a newer connection answers");
            continue;
        }
        alive = Some(answers || alive == Some(true));
        link.missed.fetch_add(1, Ordering::Relaxed);
        heartbeat::ping(link);
    }
    alive
}

impl Watched {
    fn judge(&mut self, alive: Option<bool>, most: u32) {
        match alive {
            Some(alive) => {
                self.down = !alive;
                self.had_link = true;
                self.beats_alone = 0;
            }
            None => {
                self.beats_alone = self.beats_alone.saturating_add(1);
                self.down = self.had_link || self.beats_alone > most;
            }
        }
    }
}
