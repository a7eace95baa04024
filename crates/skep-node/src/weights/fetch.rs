//! Carries out what a [`Fetch`] decides: asks peers, hands what comes to the writer, and tells the fetch what happened.
//!
//! In memory are at most what QUIC holds for each peer (two requests, a MiB each) and what waits for the writer (4 MiB).

use super::ask::{Asked, answer_in_time, reach};
use super::serve::Server;
use super::writer::{self, Order, Told};
use crate::node::NodeError;
use skep_model::{Gguf, ModelError, byte_ranges};
use skep_net::{Net, StoreLink};
use skep_store::fetch::{Effect, Ended, FetchConfig, Input, RequestId};
use skep_store::{Fetch, Partial, RangeSet, Shape, partial};
use skep_types::wire::{Peer, ServedModel, StoreAnswer, StoreAsk};
use skep_types::{BlockRange, ModelId, NodeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

/// Members that are asked who holds the model when the gateway does not say.
const OTHERS_ASKED: usize = 3;
/// How often the gateway is asked who holds the model.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often progress is reported.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// A fetch to which nothing came for so long ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a machine is left alone that refused to say what it holds.
const REFUSED_REST: Duration = Duration::from_secs(60);
/// How long a peer may take for a group. A cap of its owner, shared by many askers, may leave each of them a few kB per second.
const STALL: Duration = Duration::from_secs(10);

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    /// Bytes of the file that are wanted so far.
    pub wanted_bytes: u64,
    /// Of these, bytes that are here.
    pub verified_bytes: u64,
    /// Bytes that came over the network, with all that this costs.
    pub received_bytes: u64,
    /// Machines that can be asked.
    pub peers: usize,
}

/// What a fetch left.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The model.
    pub id: ModelId,
    /// Its file, with holes where nothing was fetched.
    pub path: PathBuf,
    /// Bytes that were here before.
    pub kept_bytes: u64,
    /// Bytes that came over the network, with all that this costs.
    pub received_bytes: u64,
    /// Machines that sent something else than the model.
    pub liars: Vec<NodeId>,
}

/// A machine that may be asked.
struct Known {
    peer: Peer,
    /// The connection to it, made when it is first asked something.
    link: Arc<OnceCell<StoreLink>>,
    /// When it may be asked again after it refused.
    rests_until: Instant,
}

/// Whoever wants to hear how far a fetch is.
pub type Report<'a> = &'a mut (dyn FnMut(FetchProgress) + Send);

/// A fetch of a model, in whole or in part. Dropping it ends it; what has come stays.
pub struct Fetching {
    net: Net,
    /// Knows what the owner lets this machine receive.
    server: Arc<Server>,
    gateway: Peer,
    served: ServedModel,
    path: PathBuf,
    fetch: Fetch,
    started: Instant,
    told_in: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    orders: mpsc::Sender<Order>,
    finished: oneshot::Receiver<Option<Partial>>,
    known: BTreeMap<NodeId, Known>,
    liars: BTreeSet<NodeId>,
    /// Dropping one ends its request.
    requests: HashMap<RequestId, oneshot::Sender<()>>,
    complete: bool,
    kept_bytes: u64,
    /// Of connections that are closed.
    received_bytes: u64,
    /// The last number of verified bytes that was new, and when.
    moved: (u64, Instant),
}

impl Fetching {
    pub(super) async fn new(
        net: Net,
        server: Arc<Server>,
        gateway: Peer,
        served: ServedModel,
        store: PathBuf,
    ) -> Result<Self, NodeError> {
        let id = served.model;
        let path = partial::folder(&store, id).join("model.gguf");
        let folder = store.clone();
        let partial = blocking(move || Ok(Partial::resume(&folder, id)?)).await?;
        let kept: Option<(Shape, RangeSet)> = partial.as_ref().map(|here| (here.shape(), here.held().clone()));
        let bytes = |(shape, held): &(Shape, RangeSet)| held.iter().map(|run| length(&shape.bytes_of(run))).sum();
        let kept_bytes = kept.as_ref().map_or(0, bytes);
        // Those who fetch at the same time begin at different places, and then have something to give to each other.
        let own = net.node_id().0;
        let begin_at = u64::from_le_bytes([own[0], own[1], own[2], own[3], own[4], own[5], 0, 0]);
        let config = FetchConfig { begin_at, stall: STALL, ..FetchConfig::default() };
        let (told_in, told) = mpsc::unbounded_channel();
        let started = writer::start(store, id, partial, server.clone(), told_in.clone());
        let (orders, finished) =
            started.map_err(|source| NodeError::System { what: "starting the thread for weights", source })?;
        let now = Instant::now();
        let mut fetching = Self {
            net,
            server,
            gateway,
            path,
            fetch: Fetch::new(config, kept),
            started: now,
            told_in,
            told,
            orders,
            finished,
            known: BTreeMap::new(),
            liars: BTreeSet::new(),
            requests: HashMap::new(),
            complete: false,
            kept_bytes,
            received_bytes: 0,
            moved: (0, now),
            served,
        };
        fetching.meet();
        Ok(fetching)
    }

    /// What the gateway said last of the network.
    pub fn served(&self) -> &ServedModel {
        &self.served
    }

    /// Fetches the front of the file until the header is whole. The data of tensors cannot be read from what this returns.
    ///
    /// # Errors
    /// [`NodeError::Model`] when the file is no model; otherwise as [`Fetching::blocks`].
    pub async fn header(&mut self, report: Report<'_>) -> Result<Gguf, NodeError> {
        self.want(Some(0..1), report).await?;
        let mut front = 0;
        loop {
            let file = self.fetch.shape().map_or(0, |shape| shape.bytes());
            let next = Gguf::next_front(front, file);
            if next <= front {
                let path = self.path.clone();
                let source = std::io::ErrorKind::UnexpectedEof.into();
                return Err(ModelError::Io { path, source }.into());
            }
            front = next;
            self.want(Some(0..front), report).await?;
            let path = self.path.clone();
            let gguf = blocking(move || {
                let bytes = read_front(&path, front).map_err(|source| ModelError::Io { path, source })?;
                Ok(Gguf::from_front(bytes, file)?)
            });
            if let Some(gguf) = gguf.await? {
                return Ok(gguf);
            }
        }
    }

    /// Fetches what a node needs to serve `blocks`.
    ///
    /// # Errors
    /// [`NodeError::Store`] when the disk refuses; [`NodeError::NoWeights`] when nobody has given anything for a minute.
    pub async fn blocks(&mut self, header: &Gguf, blocks: BlockRange, report: Report<'_>) -> Result<(), NodeError> {
        self.want(byte_ranges(header, blocks)?, report).await
    }

    /// Fetches the whole file.
    ///
    /// # Errors
    /// As [`Fetching::blocks`].
    pub async fn everything(&mut self, report: Report<'_>) -> Result<(), NodeError> {
        self.want(Some(0..u64::MAX), report).await
    }

    /// Ends the fetch with all that came on the disk.
    ///
    /// # Errors
    /// [`NodeError::Store`] when the disk refuses.
    pub async fn finish(mut self) -> Result<Fetched, NodeError> {
        let received_bytes = self.progress().received_bytes;
        let Self { served, path, kept_bytes, liars, orders, requests, finished, told_in, .. } = self;
        drop((requests, orders, told_in));
        if finished.await.is_err() {
            while let Some(told) = self.told.recv().await {
                if let Told::Broken(fault) = told {
                    return Err(fault.into());
                }
            }
        }
        let liars = liars.into_iter().collect();
        Ok(Fetched { id: served.model, path, kept_bytes, received_bytes, liars })
    }

    /// How far it is.
    pub fn progress(&self) -> FetchProgress {
        let progress = self.fetch.progress();
        let open = self.known.values().filter_map(|known| known.link.get()).map(StoreLink::received_bytes);
        FetchProgress {
            wanted_bytes: progress.wanted_bytes,
            verified_bytes: progress.verified_bytes,
            received_bytes: self.received_bytes + open.sum::<u64>(),
            peers: progress.peers,
        }
    }

    /// Fetches these bytes, too, and returns when all that is wanted is here.
    async fn want(
        &mut self,
        ranges: impl IntoIterator<Item = Range<u64>>,
        report: Report<'_>,
    ) -> Result<(), NodeError> {
        for range in ranges {
            self.complete = false;
            self.step(Input::Want(range));
        }
        self.moved.1 = Instant::now();
        let mut look = interval_at(Instant::now(), REPORT_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ask_again = interval_at(Instant::now() + ASK_AGAIN, ASK_AGAIN);
        ask_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.complete {
            let wake = self.fetch.next_wake().map_or(ASK_AGAIN, |at| at.saturating_sub(self.started.elapsed()));
            tokio::select! {
                told = self.told.recv() => self.hear(told)?,
                () = sleep_until(Instant::now() + wake) => self.step(Input::Tick),
                _ = ask_again.tick() => self.ask_network(),
                _ = look.tick() => {
                    report(self.progress());
                    self.lose_patience()?;
                }
            }
        }
        report(self.progress());
        Ok(())
    }

    fn hear(&mut self, told: Option<Told>) -> Result<(), NodeError> {
        match told {
            Some(Told::Input(input)) => {
                if let Input::Ended { request, .. } = &input {
                    self.requests.remove(request);
                }
                self.step(input);
            }
            Some(Told::Network(served)) if served.model == self.served.model => {
                self.served = *served;
                self.meet();
            }
            Some(Told::Unreachable { node, refused }) => {
                if let Some(known) = self.known.get_mut(&node)
                    && refused
                {
                    known.rests_until = Instant::now() + REFUSED_REST;
                }
                self.step(Input::Left(node));
            }
            Some(Told::Broken(fault)) => return Err(fault.into()),
            Some(Told::Network(_)) | None => {}
        }
        Ok(())
    }

    fn lose_patience(&mut self) -> Result<(), NodeError> {
        let progress = self.fetch.progress();
        if progress.verified_bytes != self.moved.0 {
            self.moved = (progress.verified_bytes, Instant::now());
        }
        if self.moved.1.elapsed() < PATIENCE {
            return Ok(());
        }
        let missing = progress.wanted_bytes - progress.verified_bytes;
        Err(NodeError::NoWeights { missing, peers: progress.peers, seconds: PATIENCE.as_secs() })
    }

    /// Lets the fetch know of everybody whom the gateway named.
    fn meet(&mut self) {
        let now = Instant::now();
        for peer in self.served.holders.clone() {
            let node = peer.node;
            if node == self.net.node_id() || self.liars.contains(&node) {
                continue;
            }
            let known = self.known.entry(node).or_insert_with(|| Known {
                peer: peer.clone(),
                link: Arc::default(),
                rests_until: now,
            });
            if known.peer != peer {
                known.peer = peer;
                self.received_bytes += close(known);
            }
            if known.rests_until <= now {
                self.step(Input::Joined(node));
            }
        }
    }

    fn ask_network(&mut self) {
        let known: Vec<Peer> = self.known.values().map(|known| known.peer.clone()).collect();
        // While the gateway is away, others know as well; and if nobody tells, the members that are known go on.
        let others = known.into_iter().filter(|peer| peer.node != self.gateway.node).take(OTHERS_ASKED);
        let asked: Vec<Peer> = std::iter::once(self.gateway.clone()).chain(others).collect();
        let asked: Vec<_> = asked
            .into_iter()
            .map(|peer| (self.link(peer.node).map_or_else(Arc::default, |(_, link)| link), peer))
            .collect();
        let (net, told, pass) = (self.net.clone(), self.told_in.clone(), self.served.pass.clone());
        tokio::spawn(async move {
            for (link, peer) in asked {
                let ask = StoreAsk::Network { invite: None, pass: Some(pass.clone()) };
                let answer = async { answer_in_time(reach(&net, &peer, &link).await?, ask).await };
                if let Ok(StoreAnswer::Network(served)) = answer.await {
                    let _ = told.send(Told::Network(Box::new(served)));
                    return;
                }
            }
        });
    }

    /// The way to a peer; one that broke is made anew.
    fn link(&mut self, node: NodeId) -> Option<(Peer, Arc<OnceCell<StoreLink>>)> {
        let known = self.known.get_mut(&node)?;
        if known.link.get().is_some_and(|link| !link.is_open()) {
            self.received_bytes += close(known);
        }
        Some((known.peer.clone(), known.link.clone()))
    }

    /// Tells the fetch what happened and carries out what it decides.
    fn step(&mut self, input: Input) {
        for effect in self.fetch.step(self.started.elapsed(), input) {
            match effect {
                Effect::AskHolds { peer } => self.ask_holds(peer),
                Effect::AskSize { request, peer } => self.ask_slice(request, peer, None),
                Effect::AskSlice { request, peer, groups } => self.ask_slice(request, peer, Some(groups)),
                Effect::Cancel { request } => drop(self.requests.remove(&request)),
                Effect::Drop { peer, evidence } => {
                    let lie = evidence.lie;
                    tracing::warn!(node = %peer.short(), %lie, "a machine sent what is not of the model and is not asked again");
                    self.liars.insert(peer);
                    if let Some(mut known) = self.known.remove(&peer) {
                        self.received_bytes += close(&mut known);
                    }
                }
                Effect::GaveUp { groups } => {
                    tracing::warn!(?groups, "nobody gives these groups; they are tried again with whoever comes");
                }
                Effect::Complete => self.complete = true,
            }
        }
    }

    fn ask_holds(&mut self, node: NodeId) {
        let Some((peer, link)) = self.link(node) else { return };
        let (net, told) = (self.net.clone(), self.told_in.clone());
        let ask = StoreAsk::Holds { pass: self.served.pass.clone(), model: self.served.model };
        tokio::spawn(async move {
            let answer = async { answer_in_time(reach(&net, &peer, &link).await?, ask).await };
            let _ = told.send(match answer.await {
                Ok(StoreAnswer::Holds { runs, .. }) => {
                    let groups = runs.into_iter().map(|(start, end)| start..end).collect();
                    Told::Input(Input::Holds { peer: node, groups })
                }
                Ok(StoreAnswer::NotHeld) => Told::Input(Input::Holds { peer: node, groups: RangeSet::new() }),
                Ok(_) => Told::Unreachable { node, refused: true },
                Err(_) => Told::Unreachable { node, refused: false },
            });
        });
    }

    /// Asks for a slice; for the size and the slice of the last group if `groups` is none.
    fn ask_slice(&mut self, request: RequestId, node: NodeId, groups: Option<Range<u64>>) {
        let Some((peer, link)) = self.link(node) else {
            let _ = self.told_in.send(Told::Input(Input::Ended { request, how: Ended::Failed }));
            return;
        };
        let (pass, model) = (self.served.pass.clone(), self.served.model);
        let (net, orders, server) = (self.net.clone(), self.orders.clone(), self.server.clone());
        let shape = self.fetch.shape();
        let (cancel, mut cancelled) = oneshot::channel::<()>();
        self.requests.insert(request, cancel);
        tokio::spawn(async move {
            let asked = Asked { request, model, orders: &orders, caps: server.caps() };
            let work = async {
                let link = reach(&net, &peer, &link).await.ok()?;
                match (groups, shape) {
                    (Some(groups), Some(shape)) => asked.slice(link, pass, shape, groups).await,
                    _ => asked.size(link, pass).await,
                }
            };
            let how = tokio::select! {
                how = work => how.unwrap_or(Ended::Failed),
                _ = &mut cancelled => Ended::Failed,
            };
            let _ = orders.send(Order::End { request, how }).await;
        });
    }
}

/// Lets go of a connection and says what came over it.
fn close(known: &mut Known) -> u64 {
    std::mem::take(&mut known.link).get().map_or(0, StoreLink::received_bytes)
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

fn read_front(path: &Path, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut front = Vec::new();
    std::fs::File::open(path)?.take(bytes).read_to_end(&mut front)?;
    Ok(front)
}

/// Runs what waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    let ended = |_| NodeError::System { what: "reading weights", source: std::io::ErrorKind::Other.into() };
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}
