//! The steward: keeps a node to its owner's limits.
//!
//! # Rules
//! 1. It reads the machine's sensors ([`skep_sensors`]) every second, and twice a second while something runs for others, steps the
//!    [`Owner`] and has the node carry out what that decides ([`lending`]). The owner's word and a changed setting count at once.
//! 2. *Lending is work for other machines.* What this machine's own gateway asks of its own blocks is never refused, held back or ended.
//!    A node that only its own machine can reach (it listens on a loopback address and has no relay) lends nothing, so that limits touch
//!    none of its work; while it is paused its weights are not kept in memory, and are read again when they are needed.
//! 3. *Pause.* Sessions of other machines' gateways are ended with a refusal, from which these recover elsewhere; their memory is freed, the
//!    weights are unmapped once no session of this machine's own needs them, and gateways and directories hear that the node serves its owner
//!    only. A session of this machine's own maps the weights again for as long as it lasts.
//! 4. *Finish.* The same, but what runs for others runs on.
//! 5. *Run.* The weights are mapped and brought into memory again before others hear of it.
//! 6. A file of settings that is refused changes nothing: the last good settings hold, and a warning says what is wrong.
//! 7. The owner's last word and the bytes of the day outlast a restart. A word that cannot be read counts as a pause.
//!
//! The steward has a thread of its own, because sensors may wait for a bus and the answer to a pause may not.

pub(crate) mod files;
pub(crate) mod lending;
mod plant;
mod timeline;
pub(crate) mod usage;
pub(crate) mod view;
mod work;

pub use files::{SettingsFault, SettingsFile};
pub(crate) use lending::Lending;
pub(crate) use plant::NodePlant;
pub use usage::free_memory;
pub use view::{
    CapsView, GapView, MachineView, Raw, ReasonView, SensorView, SettingsView, State, TimelineEntry, UseView,
    ValueView, WholeView,
};
pub(crate) use work::{Plant, Traffic};

use skep_owner::{Changes, Command, Key, Layers, Value};
use skep_sensors::Sense;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;
use work::{Order, Work};

/// Orders that may wait for the steward: it takes them within a sensor's patience.
const ORDERS: usize = 32;
/// How long an order waits before it asks again for room.
const FULL: Duration = Duration::from_millis(10);

/// What a steward goes by.
pub struct StewardConfig {
    /// What reads the machine.
    pub sense: Box<dyn Sense>,
    /// The file of settings.
    pub settings: SettingsFile,
    /// What the command line sets.
    pub flags: Changes,
    /// Where the owner's word and the bytes of the day are kept; without a folder they are forgotten at the end.
    pub kept: Option<PathBuf>,
    /// The folder of weights, whose bytes count.
    pub weights: PathBuf,
}

/// Why a setting was not changed.
#[derive(Debug, Error)]
pub enum SetError {
    /// It is not one, or not one of its values, or the file cannot be changed.
    #[error(transparent)]
    Settings(#[from] SettingsFault),
    /// The node is ending.
    #[error("this node is ending")]
    Ending,
}

/// The way to a node's steward. Cheap to clone.
#[derive(Clone)]
pub struct Steward {
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
}

/// What the steward's thread and its handles share.
struct Shared {
    file: SettingsFile,
    layers: Mutex<Layers>,
    view: Mutex<Option<MachineView>>,
}

impl Shared {
    fn layers(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> MutexGuard<'_, Option<MachineView>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steward {
    /// Begins, with a first reading and what follows from it. A file of settings that is refused is an error here: nobody has good ones yet.
    ///
    /// # Errors
    /// [`SettingsFault`], also when the system refuses a thread.
    pub(crate) fn start(config: StewardConfig, plant: impl Plant) -> Result<Self, SettingsFault> {
        let StewardConfig { sense, settings, flags, kept, weights } = config;
        let layers = Layers { file: settings.read()?, flags, ..Layers::default() };
        let shared = Arc::new(Shared { file: settings.clone(), layers: Mutex::new(layers), view: Mutex::new(None) });
        let (orders, queue) = sync_channel(ORDERS);
        let mut work = Work::new(shared.clone(), sense, kept, weights, plant);
        work.look();
        let thread = std::thread::Builder::new().name("skep-steward".into());
        let started = thread.spawn(move || work.run(&queue));
        let fault = |source| SettingsFault::Disk {
            what: "starting the thread that keeps to",
            path: settings.path().into(),
            source,
        };
        started.map_err(fault)?;
        Ok(Self { shared, orders })
    }

    /// What is lent now, why not more, and what it takes.
    pub fn machine(&self) -> Option<MachineView> {
        self.shared.view().clone()
    }

    /// Takes the owner's word, and returns what has become of it.
    pub async fn command(&self, command: Command) -> Option<MachineView> {
        self.order(|done| Order::Command(command, done)).await;
        self.machine()
    }

    /// All settings.
    pub fn settings(&self) -> SettingsView {
        SettingsView::new(&self.shared.layers(), self.shared.file.path().display().to_string())
    }

    /// Changes one setting, for now and in the file; without a text it is left to the preset. Returns when it holds.
    ///
    /// # Errors
    /// [`SetError`]; nothing has changed then.
    pub async fn set(&self, name: &str, text: Option<&str>) -> Result<SettingsView, SetError> {
        let mut change = Changes::default();
        let refused = SettingsFault::from;
        let key: Key = match text {
            Some(text) => change.set_text(name, text).map_err(refused)?,
            None => skep_owner::key_named(name).map_err(refused)?,
        };
        let value: Option<Value> = change.get(key).cloned();
        let (file, written) = (self.shared.file.clone(), value.clone());
        let done = tokio::task::spawn_blocking(move || file.change(key, written.as_ref()));
        done.await.map_err(|_| SetError::Ending)??;
        {
            let mut layers = self.shared.layers();
            match value {
                Some(value) => layers.page.set(key, value).map_err(refused)?,
                None => layers.page.unset(key),
            }
        }
        self.order(Order::Changed).await;
        Ok(self.settings())
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, taken) = oneshot::channel();
        let mut order = order(done);
        loop {
            match self.orders.try_send(order) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => order = back,
                Err(TrySendError::Disconnected(_)) => return,
            }
            tokio::time::sleep(FULL).await;
        }
        // It fails when the node is ending.
        let _ = taken.await;
    }
}

#[cfg(test)]
mod tests;
