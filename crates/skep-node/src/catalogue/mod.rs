//! The models of this machine and of its network: which there are, whether they fit and why, and how new ones come and old ones go.
//!
//! A pull brings a model into the store: from a server, a file of this machine, or the other machines of the network. [`pulls`] decides
//! what works and what waits; [`work`] carries it out; [`fit`] judges by what a model needs and what memory there is. A node computes with
//! one model, which is chosen when it starts: what is pulled is used by the next start that names it.

mod copy;
mod download;
mod fault;
mod fit;
mod part;
mod pulls;
mod source;
mod view;
mod work;

pub use download::{Address, fetch as fetch_url};
pub use fault::{PullError, system_hint};
pub use fit::{Fits, NeedView, RoomView, ServedView};
pub use source::{clean_name, stem};
pub use view::{CatalogueView, FaultView, ModelRow, PullRow};
pub use work::{name_stored, take_in};

use crate::gateway::{Gateway, Inner};
use crate::weights::Sent;
use pulls::{Asked, Effect, How, Input, Pulls, Refused};
use skep_net::Net;
use skep_store::{StoreError, adopt};
use skep_types::ModelId;
use skep_types::wire::Peer;
use source::Source;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use thiserror::Error;
use tokio::runtime::Handle;
use view::Facts;
use work::Stop;

/// Where models are kept.
#[derive(Debug, Clone)]
pub struct Places {
    /// The store: a folder for each model.
    pub store: PathBuf,
    /// What is on its way there; on the same file system.
    pub incoming: PathBuf,
}

/// What an owner asks of the models of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogueOrder {
    /// Bring one here.
    Pull {
        /// Where it comes from: `https://…`, `hf:OWNER/REPOSITORY/FILE`, the whole path of a file, or the name or id of the network's model.
        source: String,
        /// What it is to be called here.
        name: Option<String>,
        /// What it must hash to.
        id: Option<ModelId>,
    },
    /// Let a pull rest, by its key.
    Pause(String),
    /// Let it go on.
    Resume(String),
    /// End it and remove what has come; of one that has ended, put it aside.
    Cancel(String),
    /// Remove a model from the store.
    Remove(ModelId),
}

/// Why an order was not carried out.
#[derive(Debug, Error)]
pub enum OrderRefused {
    /// The source cannot be pulled from, or the store refuses.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// All places for pulls are taken.
    #[error("{} pulls are here already, and none of them has ended", pulls::KEPT_MAX)]
    Full,
    /// There is no pull of that key.
    #[error("there is no such pull")]
    NoPull,
    /// All of the model is here.
    #[error("all of model {0} is on this machine already")]
    Here(ModelId),
    /// This node computes with it.
    #[error("this node serves model {0}")]
    Serves(ModelId),
    /// The node is ending.
    #[error("this node is ending")]
    Ending,
}

impl From<Refused> for OrderRefused {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Unknown => Self::NoPull,
        }
    }
}

/// The models of one node. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    shared: Arc<Shared>,
}

/// What workers and handles share.
struct Shared {
    places: Places,
    /// The file that this node computes with.
    own: PathBuf,
    /// The gateway holds the catalogue.
    gateway: Weak<Inner>,
    sent: Sent,
    net: Net,
    runtime: Handle,
    started: Instant,
    state: Mutex<State>,
    /// What was read of the headers of models that are whole.
    facts: Mutex<HashMap<ModelId, Facts>>,
}

struct State {
    pulls: Pulls,
    workers: HashMap<String, Arc<Stop>>,
}

impl Catalogue {
    /// Of a node that computes with the file `own`. Pulls of earlier processes rest. Must be called within a runtime.
    pub(crate) fn new(places: Places, own: PathBuf, gateway: &Gateway, sent: Sent, net: Net) -> Self {
        let here = |(asked, part): (Asked, u64)| {
            let stored = asked.id.and_then(|id| adopt::stored(&places.store, id).ok().flatten());
            let bytes = stored.map_or(part, |stored| stored.bytes().max(part));
            (asked, bytes)
        };
        let kept = part::kept(&places.incoming).into_iter().map(here).collect();
        let state = Mutex::new(State { pulls: Pulls::kept(kept), workers: HashMap::new() });
        let shared = Shared {
            places,
            own,
            gateway: Arc::downgrade(&gateway.inner),
            sent,
            net,
            runtime: Handle::current(),
            started: Instant::now(),
            state,
            facts: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Everything that there is to see. Reads the disk, in a thread of its own.
    ///
    /// # Errors
    /// [`OrderRefused::Pull`] when the store cannot be read.
    pub async fn view(&self) -> Result<CatalogueView, OrderRefused> {
        let shared = self.shared.clone();
        let viewed = tokio::task::spawn_blocking(move || view::view(&shared));
        viewed.await.map_err(|_| OrderRefused::Ending)?
    }

    /// Carries out an order, and returns what has become of it.
    ///
    /// # Errors
    /// [`OrderRefused`]; nothing has changed then.
    pub async fn order(&self, order: CatalogueOrder) -> Result<CatalogueView, OrderRefused> {
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || {
            shared.order(order)?;
            view::view(&shared)
        });
        done.await.map_err(|_| OrderRefused::Ending)?
    }

    /// Has all workers let go of their files.
    pub(crate) fn close(&self) {
        self.shared.state().workers.values().for_each(|stop| stop.ask());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gateway(&self) -> Option<Gateway> {
        self.gateway.upgrade().map(|inner| Gateway { inner })
    }

    fn order(self: &Arc<Self>, order: CatalogueOrder) -> Result<(), OrderRefused> {
        let input = match order {
            CatalogueOrder::Pull { source, name, id } => Input::Ask(self.asked(source.trim(), name, id)?),
            CatalogueOrder::Pause(key) => Input::Pause(key),
            CatalogueOrder::Resume(key) => Input::Resume(key),
            CatalogueOrder::Cancel(key) => Input::Cancel(key),
            CatalogueOrder::Remove(id) => return self.remove(id),
        };
        Ok(self.step(input)?)
    }

    /// A pull as it is asked for, if it can be one.
    fn asked(&self, text: &str, name: Option<String>, id: Option<ModelId>) -> Result<Asked, OrderRefused> {
        let served = self.gateway().ok_or(OrderRefused::Ending)?.models().remove(0);
        let source = self.source(text, id.is_some())?;
        let (id, total) = match &source {
            Source::Network(model) => (Some(*model), Some(served.bytes)),
            // Told at once and not by a pull that failed.
            Source::File(path) => {
                let model = |source| PullError::Model { path: path.clone(), source };
                (id, Some(skep_model::Gguf::open(path).map_err(model)?.file_bytes()))
            }
            Source::Url(_) => (id, None),
        };
        if let Some(id) = id {
            let whole =
                adopt::stored(&self.places.store, id).map_err(PullError::from)?.is_some_and(|here| here.is_whole());
            // The file that this node computes with is whole, or lies in the store.
            if whole || id == served.id && !self.own.starts_with(skep_store::partial::folder(&self.places.store, id)) {
                return Err(OrderRefused::Here(id));
            }
        }
        let name = clean_name(&name.unwrap_or_else(|| source.name(&served.name)));
        Ok(Asked { key: source.key(), source: text.to_owned(), name, id, total })
    }

    fn source(&self, text: &str, has_id: bool) -> Result<Source, PullError> {
        let served = self.gateway().map(|gateway| (gateway.inner.model.id, gateway.inner.model.config.name.clone()));
        let (id, name) = served.unwrap_or((ModelId([0; 32]), String::new()));
        Source::read(text, (id, &name), has_id)
    }

    fn remove(&self, id: ModelId) -> Result<(), OrderRefused> {
        if self.gateway().is_some_and(|gateway| gateway.inner.model.id == id) {
            return Err(OrderRefused::Serves(id));
        }
        skep_store::remove::remove(&self.places.store, id).map_err(PullError::from)?;
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    /// Takes in what happened and does what follows, in that order even when two things happen at once.
    fn step(self: &Arc<Self>, input: Input) -> Result<(), Refused> {
        let mut state = self.state();
        for effect in state.pulls.step(self.started.elapsed(), input)? {
            self.carry_out(&mut state, effect);
        }
        Ok(())
    }

    /// Takes in what cannot be refused.
    fn tell(self: &Arc<Self>, input: Input) {
        _ = self.step(input);
    }

    fn ended(self: &Arc<Self>, key: String, how: How) {
        self.state().workers.remove(&key);
        self.tell(Input::Ended { key, how });
    }

    fn carry_out(self: &Arc<Self>, state: &mut State, effect: Effect) {
        let incoming = &self.places.incoming;
        match effect {
            Effect::Start(asked) => {
                let stop = Arc::new(Stop::default());
                state.workers.insert(asked.key.clone(), stop.clone());
                work::start(self, asked, stop);
            }
            Effect::Stop(key) => _ = state.workers.get(&key).map(|stop| stop.ask()),
            Effect::Keep(asked) => {
                if let Err(fault) = part::keep(incoming, &asked) {
                    tracing::warn!(%fault, "a pull is not remembered for the next start");
                }
            }
            Effect::Forget(key) => part::forget(incoming, &key),
            Effect::Discard(asked) => {
                part::discard(incoming, &asked.key);
                // What came over the network lies in the store, unless this node computes with it.
                let over_network = matches!(self.source(&asked.source, true), Ok(Source::Network(_)));
                if let Some(id) = asked.id.filter(|_| over_network) {
                    match self.remove(id) {
                        Ok(())
                        | Err(OrderRefused::Serves(_) | OrderRefused::Pull(PullError::Store(StoreError::Absent(_)))) => {
                        }
                        Err(fault) => tracing::warn!(%fault, "what has come of a model is still here"),
                    }
                }
            }
        }
    }

    /// Refuses a pull of which so much is missing where the owner leaves no room for it on the disk, beside what is there and what other
    /// pulls still bring; while nothing is lent, only the disk's own room counts.
    fn check_disk(&self, key: &str, needed: u64) -> Result<(), PullError> {
        let machine = self.gateway().and_then(|gateway| gateway.steward()?.machine());
        let cap = machine.as_ref().and_then(|machine| machine.caps?.disk_bytes);
        let used = machine.map_or(0, |machine| machine.used.disk_bytes);
        let used = used.saturating_add(crate::steward::usage::disk_bytes(&self.places.incoming));
        let used = used.saturating_add(self.state().pulls.missing_of_others(key));
        match cap.map(|cap| cap.saturating_sub(used)) {
            Some(left) if left < needed => Err(PullError::DiskCap { needed, left }),
            _ => Ok(()),
        }
    }

    /// A member of the network that can be asked for weights.
    fn other_member(&self) -> Option<Peer> {
        let gateway = self.gateway()?;
        let living = gateway.offers().into_iter().map(|offer| offer.peer);
        let known = gateway.inner.links.membership().contacts();
        living.chain(known).find(|peer| peer.node != self.net.node_id())
    }
}
