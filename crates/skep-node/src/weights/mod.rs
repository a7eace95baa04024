//! Weights from and for other members of the network, so that a model's file has to be on one machine only.
//!
//! # Who may fetch
//! A node gives weights to whoever shows a [`Pass`](skep_types::Pass) that a door of its network signed for the asker's key, and to nobody else. A
//! door gives a pass to whom it lets in by the rules of [`admission`](crate::admission), which counts an invite as used. So the
//! members of one network fetch from its gateway and from each other, also while the gateway is away, and strangers get nothing.
//!
//! # What is given
//! Slices of the one model that the node holds, whole or in part, also while it is still fetching ([`serve`]). The slices that one
//! machine asks for are sent one at a time, and at most [`serve::WAITING_MAX`] of its questions wait. All of a node's uploads together keep to the owner's cap.
//!
//! # How a node without the file comes to it
//! It asks the gateway what is served and who holds it, again every few seconds, and fetches from all of these at once ([`fetch`]):
//! the last group, which proves the size; the front of the file, until the header is whole; then the tensors of its blocks. What it has
//! stays in a partial file, from which it computes and which it serves, and which a later start goes on with.

mod ask;
mod bucket;
mod caps;
mod choose;
mod fetch;
mod gateway;
mod serve;
mod writer;

pub(crate) use choose::room;
pub use choose::{choose_blocks, weight_bytes};
pub use fetch::{FetchProgress, Fetched, Fetching, Report};

use crate::gateway::Gateway;
use crate::membership::{DoorRules, Membership};
use crate::node::NodeError;
use crate::steward::Lending;
use serve::Server;
use skep_net::{Net, NetConfig, NetEvent, NetLimits};
use skep_store::Reader;
use skep_types::wire::{Peer, ServedModel};
use skep_types::{BlockRange, Invite, ModelId, NodeId, Relay};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How a machine is reached, and what it may give.
pub struct WeightsConfig {
    /// Its secret key.
    pub secret: [u8; 32],
    /// UDP address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// What passes bytes on where two machines of the network cannot reach each other.
    pub relay: Option<Relay>,
    /// The machine that began the network which this one is of; `None` when it begins one itself.
    pub network: Option<NodeId>,
    /// Folder where it keeps its pass and whom it knows of each network that it joined; without it that is forgotten at the end.
    pub networks: Option<PathBuf>,
    /// Most bytes per second of weights that it sends, over all askers; 0 gives nothing to anybody, `None` sets no cap.
    pub upload: Option<u64>,
    /// Whom it makes doorkeepers if it began its network, and how long the passes last that it gives.
    pub doors: DoorRules,
}

/// A machine's endpoint with what it holds of a model: it serves that to other members, and fetches what it lacks. A
/// [`Node`](crate::Node) may be started on it.
pub struct Weights {
    pub(crate) net: Net,
    events: Option<mpsc::Receiver<NetEvent>>,
    pub(crate) membership: Membership,
    server: Arc<Server>,
    task: JoinHandle<()>,
    /// Who answered last what the network serves.
    answered: Mutex<Option<Peer>>,
}

impl Weights {
    /// Opens the endpoint. It holds nothing yet.
    ///
    /// # Errors
    /// [`NodeError::Net`], for instance when the port is in use.
    pub async fn bind(config: WeightsConfig) -> Result<Self, NodeError> {
        let limits = NetLimits::default();
        let (net, events) =
            Net::bind(NetConfig { secret: config.secret, bind: config.bind, relay: config.relay, limits }).await?;
        let network = config.network.unwrap_or(net.node_id());
        let membership = Membership::open(net.node_id(), network, config.networks.as_deref(), config.doors);
        let server = Arc::new(Server::new(membership.clone(), config.upload));
        let task = tokio::spawn(serve::run(net.store_asks(), server.clone()));
        Ok(Self { net, events: Some(events), membership, server, task, answered: Mutex::default() })
    }

    /// Shares a whole file. It is read once, to hash it; the nodes of its tree are kept in `folder`, beside those of other files. Waits
    /// for the disk.
    ///
    /// # Errors
    /// [`NodeError::Store`].
    pub fn share(&self, file: &Path, folder: &Path) -> Result<ModelId, NodeError> {
        let io = |what| move |source| NodeError::Folder { what, path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(io("create"))?;
        let unfinished = folder.join(format!("{}.tree", std::process::id()));
        let reader = Reader::build(file, &unfinished)?;
        let id = reader.id();
        std::fs::rename(&unfinished, folder.join(format!("{id}.tree"))).map_err(io("rename a file in"))?;
        self.hold(reader);
        Ok(id)
    }

    /// Serves what `reader` reads.
    pub fn hold(&self, reader: Reader) {
        self.server.hold(reader);
    }

    /// The model of which this machine holds some.
    pub fn model(&self) -> Option<ModelId> {
        self.server.held().map(|reader| reader.id())
    }

    /// Asks a gateway what its network serves, and to be let in for that. When it cannot be reached, it asks the others that the invite
    /// names, and if this machine is a member already, those whom it knows.
    ///
    /// # Errors
    /// [`NodeError::Refused`]; [`NodeError::Net`] when it cannot be reached.
    pub async fn ask_network(&self, gateway: &Peer, invite: Option<&Invite>) -> Result<ServedModel, NodeError> {
        let (served, by) = ask::network(&self.net, &self.membership, gateway, invite).await?;
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(by);
        Ok(served)
    }

    /// Who answered last what the network serves.
    pub(crate) fn answered(&self) -> Option<Peer> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins or goes on to fetch the model that the network serves, into its folder in `store`.
    ///
    /// # Errors
    /// [`NodeError::Store`], for instance when another process is at it.
    pub async fn fetch(&self, gateway: Peer, served: ServedModel, store: &Path) -> Result<Fetching, NodeError> {
        Fetching::new(self.net.clone(), self.server.clone(), gateway, served, store.to_owned()).await
    }

    /// Closes the endpoint.
    pub async fn close(self) {
        self.task.abort();
        self.net.close().await;
    }

    /// What other machines do to this one besides; a node takes it over.
    pub(crate) fn take_events(&mut self) -> mpsc::Receiver<NetEvent> {
        self.events.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// What it sends, while it is still all in one hand.
    pub(crate) fn sent(&self) -> Sent {
        Sent(self.server.clone())
    }

    /// The parts that a node goes on with; the gateway, if it is one, says from now on what the network serves.
    pub(crate) fn into_parts(self, gateway: Option<Gateway>) -> (JoinHandle<()>, Sent) {
        self.server.set_gateway(gateway);
        (self.task, Sent(self.server))
    }
}

/// Says how many bytes of weights this node has sent.
#[derive(Clone)]
pub(crate) struct Sent(Arc<Server>);

impl Sent {
    /// Fetches what is still missing of these blocks into the partial file in `store`, and serves it.
    pub(crate) async fn fetch_more(
        &self,
        net: &Net,
        gateway: &Peer,
        store: &Path,
        blocks: BlockRange,
    ) -> Result<(), NodeError> {
        let (served, _) = ask::network(net, self.0.membership(), gateway, None).await?;
        let mut fetching =
            Fetching::new(net.clone(), self.0.clone(), gateway.clone(), served, store.to_owned()).await?;
        let header = fetching.header(&mut |_| ()).await?;
        fetching.blocks(&header, blocks, &mut |_| ()).await?;
        fetching.finish().await.map(drop)
    }

    /// Fetches what is still missing of the whole model, and says which it is; none when `stopped` ends first. What has come is on the disk then.
    pub(crate) async fn fetch_all(
        &self,
        net: &Net,
        gateway: &Peer,
        store: &Path,
        report: Report<'_>,
        stopped: impl Future<Output = ()>,
    ) -> Result<Option<ModelId>, NodeError> {
        let (served, _) = ask::network(net, self.0.membership(), gateway, None).await?;
        let mut fetching =
            Fetching::new(net.clone(), self.0.clone(), gateway.clone(), served, store.to_owned()).await?;
        let came = tokio::select! {
            came = fetching.everything(report) => Some(came),
            () = stopped => None,
        };
        let fetched = fetching.finish().await;
        match came {
            Some(came) => {
                came?;
                Ok(Some(fetched?.id))
            }
            None => fetched.map(|_| None),
        }
    }

    /// Counts bytes that this machine received from elsewhere for its owner, and says how long their worker is to wait.
    pub(crate) fn wait_to_pull(&self, bytes: u64) -> Duration {
        self.0.caps().wait_to_pull(bytes)
    }

    /// Bytes of models that came from elsewhere than the network.
    pub(crate) fn pulled_bytes(&self) -> u64 {
        self.0.caps().pulled_bytes()
    }

    /// Keeps only what this machine's owner pulls to a limit: others cannot reach it.
    pub(crate) fn lend_nothing(&self, download: Option<u64>, others: u64) {
        self.0.caps().limit_pulls(download, others);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.sent_bytes()
    }

    /// Bytes of weights sent to other machines and received from them so far.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.0.sent_bytes(), self.0.caps().received_bytes())
    }

    /// Keeps to the owner's limits from now on, where everything but weights takes so many bytes per second of them, sent and received.
    pub(crate) fn lend(&self, lending: &Lending, others: (u64, u64)) {
        self.0.caps().lend(lending, others);
    }
}
