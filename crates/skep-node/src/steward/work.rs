//! The steward's thread: reads, decides, has it carried out, and notes down what came of it.

use super::files::{Kept, Mark};
use super::lending::{Lending, share, shown};
use super::timeline::Timeline;
use super::view::{CapsView, MachineView, ReasonView, State, UseView, WholeView, blocks, sensors};
use super::{Shared, usage};
use skep_owner::{Command, Decision, Own, Owner, Reason, Sensors, Transfer};
use skep_sensors::{Sense, clock};
use skep_types::BlockRange;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// How often sensors are read while nothing runs for others.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while something does: a pause must be through within a second of what it is for.
const LOOK_EVERY_AT_WORK: Duration = Duration::from_millis(500);
/// How often the thread looks whether something runs for others.
const WAKE_EVERY: Duration = Duration::from_millis(250);
/// The least time between two measurements of what this process takes.
const MEASURE_EVERY: Duration = Duration::from_millis(900);
/// How often the bytes of the day and of the disk are counted anew.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// What a steward keeps to its limits: a node.
pub(crate) trait Plant: Send + 'static {
    /// Sessions of others under way.
    fn work(&self) -> u32;
    /// Bytes of weights that are mapped.
    fn weights_bytes(&self) -> u64;
    /// What was sent and received since the start.
    fn traffic(&self) -> Traffic;
    /// The bytes of weights among that.
    fn weights_traffic(&self) -> Traffic;
    /// The blocks that it serves.
    fn blocks(&self) -> Option<BlockRange>;
    /// The model's name.
    fn model(&self) -> Option<String>;
    /// Carries it out. Returns when sessions of others that are to end have ended.
    fn lend(&mut self, lending: &Lending);
    /// Divides the caps on what is sent and received anew, where everything but weights takes so much of them per second.
    fn divide(&mut self, lending: &Lending, others: Traffic);
}

/// Bytes of UDP, with all that this costs, and of what the owner pulls from elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Traffic {
    /// What came after `before`.
    fn since(self, before: Self) -> Self {
        Self { sent: self.sent.saturating_sub(before.sent), received: self.received.saturating_sub(before.received) }
    }
}

/// What the thread is told. Each answers when it holds.
pub(super) enum Order {
    Command(Command, oneshot::Sender<()>),
    Changed(oneshot::Sender<()>),
}

/// The thread's own state.
pub(super) struct Work<P> {
    shared: Arc<Shared>,
    sense: Box<dyn Sense>,
    plant: P,
    owner: Owner,
    kept: Kept,
    transfer: Transfer,
    timeline: Timeline,
    machine: WholeView,
    /// What was read last.
    read: Option<Sensors>,
    looked: Instant,
    lending: Option<Lending>,
    used: UseView,
    measured: Option<Measured>,
    weights: PathBuf,
    counted: Option<Instant>,
    mark: Mark,
}

/// What was so when this process was measured last.
#[derive(Clone, Copy)]
struct Measured {
    at: Instant,
    processor: Option<Duration>,
    traffic: Traffic,
    weights: Traffic,
}

impl<P: Plant> Work<P> {
    pub(super) fn new(
        shared: Arc<Shared>,
        sense: Box<dyn Sense>,
        kept: Option<PathBuf>,
        weights: PathBuf,
        plant: P,
    ) -> Self {
        let mut kept = Kept::new(kept);
        let (owner, transfer) = (Owner::new(kept.standing()), kept.transfer());
        let machine = WholeView { memory_bytes: usage::memory_bytes(), processors: usage::processors() };
        let mark = shared.file.mark();
        Self {
            shared,
            sense,
            plant,
            owner,
            kept,
            transfer,
            timeline: Timeline::default(),
            machine,
            read: None,
            looked: Instant::now(),
            lending: None,
            used: UseView::default(),
            measured: None,
            weights,
            counted: None,
            mark,
        }
    }

    /// Works until the last handle is gone.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(self.wait()) {
                Ok(Order::Command(command, done)) => {
                    self.owner.command(command);
                    self.step();
                    let _ = done.send(());
                }
                Ok(Order::Changed(done)) => {
                    self.mark = self.shared.file.mark();
                    self.step();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.kept.keep_transfer(self.transfer);
                    return;
                }
            }
            if self.looked.elapsed() >= self.every() {
                self.look();
            }
        }
    }

    fn every(&self) -> Duration {
        if self.plant.work() > 0 { LOOK_EVERY_AT_WORK } else { LOOK_EVERY }
    }

    fn wait(&self) -> Duration {
        self.every().saturating_sub(self.looked.elapsed()).min(WAKE_EVERY)
    }

    /// Reads the sensors and the settings, and does what follows.
    pub(super) fn look(&mut self) {
        self.looked = Instant::now();
        self.read_settings();
        self.measure();
        let now_ms = now_ms();
        let own = self.own(now_ms);
        self.read = Some(self.sense.read(now_ms, own));
        self.step();
    }

    /// Decides by what was read last, and does what follows.
    fn step(&mut self) {
        let now_ms = now_ms();
        let own = self.own(now_ms);
        let Some(read) = &mut self.read else { return };
        (read.clock.now_ms, read.own) = (now_ms, own);
        let decision = self.owner.step(&self.shared.layers().preferences(), read);
        self.kept.keep_standing(self.owner.standing());
        let lending = Lending::of(&decision, self.machine.memory_bytes);
        let left = lending.ends && (self.plant.work() > 0 || self.plant.weights_bytes() > 0);
        if left || self.lending.as_ref() != Some(&lending) {
            self.plant.lend(&lending);
            self.lending = Some(lending);
        }
        self.show(&decision, now_ms);
    }

    fn own(&self, now_ms: u64) -> Own {
        let transferred_today_bytes = self.transfer.today(clock(now_ms));
        Own { work: self.plant.work(), disk_bytes: self.used.disk_bytes, transferred_today_bytes }
    }

    /// Takes the file's settings if it has changed; one that is refused changes nothing.
    fn read_settings(&mut self) {
        let mark = self.shared.file.mark();
        if mark == self.mark {
            return;
        }
        self.mark = mark;
        match self.shared.file.read() {
            Ok(changes) => self.shared.layers().file = changes,
            Err(fault) => tracing::warn!(%fault, "the settings stay as they were"),
        }
    }

    /// Measures what this process takes.
    fn measure(&mut self) {
        let now = Measured {
            at: Instant::now(),
            processor: usage::processor_time(),
            traffic: self.plant.traffic(),
            weights: self.plant.weights_traffic(),
        };
        let Some(before) = self.measured else {
            self.measured = Some(now);
            return;
        };
        let elapsed = now.at.saturating_duration_since(before.at);
        if elapsed < MEASURE_EVERY {
            return;
        }
        self.measured = Some(now);
        let seconds = elapsed.as_secs_f64();
        let taken =
            now.processor.zip(before.processor).map_or(Duration::ZERO, |(now, before)| now.saturating_sub(before));
        let Traffic { sent, received } = now.traffic.since(before.traffic);
        let rate = |bytes: u64| (bytes as f64 / seconds) as u64;
        let others = now.traffic.since(before.traffic).since(now.weights.since(before.weights));
        if let Some(lending) = &self.lending {
            self.plant.divide(lending, Traffic { sent: rate(others.sent), received: rate(others.received) });
        }
        let clock = clock(now_ms());
        self.transfer.add(clock, sent.saturating_add(received));
        let share = taken.as_secs_f64() / seconds / f64::from(self.machine.processors.max(1));
        self.used.cpu_percent = (share * 1e4).round() / 100.0;
        self.used.upload = rate(sent);
        self.used.download = rate(received);
        self.used.memory_bytes = usage::resident_bytes();
        if self.counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            self.counted = Some(now.at);
            self.used.disk_bytes = usage::disk_bytes(&self.weights);
            self.kept.keep_transfer(self.transfer);
        }
    }

    fn show(&mut self, decision: &Decision, now_ms: u64) {
        let (state, reason, until_ms): (State, Option<ReasonView>, Option<u64>) = shown(decision);
        self.timeline.note(now_ms, state, reason.as_ref());
        let in_use = match decision {
            Decision::Run(caps) => Some(caps.in_use),
            Decision::Pause(pause) => matches!(pause.reason, Reason::InUse { .. }).then_some(true),
        };
        let caps = match decision {
            Decision::Run(caps) => Some(CapsView::new(caps, self.memory_cap(caps.memory_percent))),
            Decision::Pause(_) => None,
        };
        let used = UseView {
            weights_bytes: self.plant.weights_bytes(),
            transferred_today_bytes: self.transfer.today(clock(now_ms)),
            work: self.plant.work(),
            ..self.used
        };
        let view = MachineView {
            state,
            reason,
            until_ms,
            since_ms: self.timeline.since_ms(),
            in_use,
            caps,
            used,
            machine: self.machine,
            blocks: self.plant.blocks().map(blocks),
            model: self.plant.model(),
            sensors: self.read.as_ref().map(sensors).unwrap_or_default(),
            timeline: self.timeline.entries(),
        };
        *self.shared.view() = Some(view);
    }

    fn memory_cap(&self, percent: u8) -> u64 {
        share(self.machine.memory_bytes, percent)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
