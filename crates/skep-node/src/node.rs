//! A node: one endpoint, the blocks it serves if any, and a gateway if it takes requests.

mod dispatch;

use crate::admission::Admission;
use crate::catalogue::{Catalogue, Places};
use crate::gateway::{Gateway, GatewayLimits, ModelFront, discover};
use crate::joining::{Announcer, doors, remember};
use crate::links::Links;
use crate::membership::gossip::Gossip;
use crate::membership::{DoorRules, Membership};
use crate::moving::{Moved, Mover, Moves, View};
use crate::stage_host::{StageHost, StageLimits, span_options};
use crate::steward::{NodePlant, SettingsFault, Steward, StewardConfig};
use crate::swarm::Swarm;
use crate::tell::{Listener, tell};
use crate::weights::{Sent, Weights, WeightsConfig};
use dispatch::{Roles, take_arrivals, take_events};
use skep_model::{ChatTemplate, Gguf, ModelConfig, ModelError, Purpose, Span, Tokenizer};
use skep_net::{Net, NetError};
use skep_store::StoreError;
use skep_store::remove::InUse;
use skep_types::wire::{Join, Peer};
use skep_types::{BlockRange, Invite, ModelId};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Streams that may wait for the dispatcher.
const ARRIVAL_QUEUE: usize = 1024;

/// What a node is to be.
pub struct NodeConfig {
    /// Its secret key.
    pub secret: [u8; 32],
    /// UDP address to listen on; port 0 takes a free one. A gateway on a loopback address and without a relay takes in every node that
    /// asks; any other, only those that it invited.
    pub bind: SocketAddr,
    /// The model file.
    pub model: PathBuf,
    /// The blocks to serve; `None` for none: such a node only uses the network, and needs only the header of the model's file.
    pub blocks: Option<BlockRange>,
    /// Whether to take requests for text.
    pub gateway: Option<GatewayLimits>,
    /// What its stages may use.
    pub stage: StageLimits,
    /// Where a gateway keeps the keys that it has taken in; without a file it forgets them at the end.
    pub admitted: Option<PathBuf>,
    /// A door of the network to join, if another machine began it: without an invite, the one that began it.
    pub join: Option<Peer>,
    /// What lets this node in there, unless its key is known.
    pub invite: Option<Invite>,
    /// What keeps it to its owner's limits; without, there are none.
    pub steward: Option<StewardConfig>,
}

/// Why a node cannot run.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The model file cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The endpoint cannot be made or a peer not be reached.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The gateway does not take this node in.
    #[error("the gateway refused this node: {reason}")]
    Refused {
        /// The gateway's sentence.
        reason: String,
    },
    /// Less memory may be used than passes over the blocks need.
    #[error("these blocks need {needed} bytes beside their weights, and more for each session; {given} may be used")]
    Memory {
        /// Bytes without which no session can be served.
        needed: u64,
        /// Bytes that may be used.
        given: u64,
    },
    /// Weights cannot be kept or served.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder of weights cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    Folder {
        /// What was tried, such as `create`.
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Nobody gives the weights that are missing.
    #[error(
        "{missing} bytes of the model are missing, and none of {peers} machines that hold some gave any for {seconds} seconds"
    )]
    NoWeights {
        /// Bytes that are missing.
        missing: u64,
        /// Machines that were asked.
        peers: usize,
        /// For how long nothing came.
        seconds: u64,
    },
    /// The file of the keys that have joined cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Admitted {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The pass that was given is not one.
    #[error(
        "the gateway took this node in, and gave it a pass that does not hold; do the clocks of the two machines differ?"
    )]
    Pass,
    /// The owner's settings cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsFault),
    /// Neither blocks nor a gateway: such a node would do nothing.
    #[error("a node needs blocks to serve or requests to take")]
    Idle,
}

/// A running node. Dropping it leaves its tasks running; call [`Node::close`].
pub struct Node {
    net: Net,
    peer: Peer,
    model: ModelId,
    file: PathBuf,
    n_blocks: u32,
    gateway: Option<Gateway>,
    stages: Option<StageHost>,
    /// What it says that it serves, once it is a member.
    announcer: Option<Arc<Announcer>>,
    membership: Membership,
    swarm: Swarm,
    sent: Sent,
    /// Ends with the node.
    steward: Option<Steward>,
    /// Nobody removes the file while this lives.
    _in_use: Option<InUse>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Loads what is needed of the model, opens the endpoint, and joins the gateway if one is given.
    ///
    /// # Errors
    /// [`NodeError`] when any of that fails; nothing keeps running then.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let NodeConfig { secret, bind, ref join, ref invite, .. } = config;
        let relay = invite.as_ref().and_then(|invite| invite.terms.relay);
        let network = invite.as_ref().map(|invite| invite.terms.network);
        let network = network.or(join.as_ref().map(|gateway| gateway.node));
        let (networks, upload, doors) = (None, Some(0), DoorRules::default());
        let weights = WeightsConfig { secret, bind, relay, network, networks, upload, doors };
        let weights = Weights::bind(weights).await?;
        Self::start_on(weights, config).await
    }

    /// The same on an endpoint that is open, with the key and the address that this one has, and serves weights. If it holds some
    /// of a model, that must be what `config.model` is the file of; it is not hashed again.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_on(mut weights: Weights, config: NodeConfig) -> Result<Self, NodeError> {
        let loaded = match Loaded::read(&config, weights.model()) {
            Ok(loaded) => loaded,
            Err(fault) => {
                weights.close().await;
                return Err(fault);
            }
        };
        let (net, events, membership) = (weights.net.clone(), weights.take_events(), weights.membership.clone());
        let admission = admission(&net, config.bind, config.admitted, &membership)?;
        let (own, arrivals) = mpsc::channel(ARRIVAL_QUEUE);
        let links = Links::new(net.clone(), membership.clone(), own.clone());
        let (model, n_blocks) = (loaded.front.id, loaded.front.config.n_blocks);
        let stages = match loaded.span {
            Some(span) => Some(
                StageHost::start(model, &Arc::new(span), config.model.clone(), config.stage, links.clone())
                    .map_err(|source| NodeError::System { what: "starting the compute thread", source })?,
            ),
            None => None,
        };
        let plant = NodePlant::new(stages.clone(), &weights, config.bind, &loaded.front.config.name);
        let steward = plant.set_steward(config.steward).await?;
        let gateway = config.gateway.map(|limits| Gateway::new(loaded.front, net.clone(), links, limits, admission));
        if let (Some(gateway), Some(steward)) = (&gateway, &steward) {
            gateway.set_steward(steward.clone());
        }
        let willing = config.blocks.is_some() || membership.is_first();
        let (swarm, directories) = Swarm::start(net.clone(), membership.clone(), willing);
        let (member, part) = (membership.clone(), swarm.clone());
        let gossip = Gossip::new(net.clone(), member.clone(), gateway.clone(), part.clone());
        let roles = Roles {
            stages: stages.clone(),
            gateway: gateway.clone(),
            membership: member,
            swarm: part,
            gossip: gossip.clone(),
        };
        let doors = doors(&membership, weights.answered(), config.join, config.invite.as_ref());
        let (serving, sent) = weights.into_parts(gateway.clone());
        let events = tokio::spawn(take_events(net.clone(), events, own, roles.clone()));
        let tasks = vec![serving, events, directories, tokio::spawn(take_arrivals(arrivals, roles))];
        let peer = net.peer();
        let mut node = Self {
            net,
            peer,
            model,
            file: config.model,
            n_blocks,
            gateway,
            stages,
            announcer: None,
            membership,
            swarm,
            sent,
            steward,
            _in_use: loaded.in_use,
            tasks,
        };
        if let Err(error) = node.join(config.blocks, doors, config.invite).await {
            node.close().await;
            return Err(error);
        }
        node.tasks.push(tokio::spawn(gossip.run()));
        node.net.set_resting(true);
        if let Some(gateway) = node.gateway.clone() {
            node.tasks.push(tokio::spawn(gateway.clone().rest()));
            node.tasks.push(tokio::spawn(discover(gateway, node.swarm.clone())));
        }
        Ok(node)
    }

    /// Becomes a member at one of the doors of the network that it joins, offers this node's blocks, if there are any, to its own gateway,
    /// to that door and to the directories, and keeps doing so.
    async fn join(
        &mut self,
        blocks: Option<BlockRange>,
        doors: Vec<Peer>,
        invite: Option<Invite>,
    ) -> Result<(), NodeError> {
        let pid = Some(std::process::id());
        let join = Join { peer: self.peer.clone(), model: self.model, blocks, pid, invite, pass: None };
        let (net, own, membership) = (self.net.clone(), self.gateway.clone(), self.membership.clone());
        let announcer = Arc::new(Announcer::new(net, own, doors.clone(), membership, join));
        announcer.first().await?;
        self.announcer = Some(announcer.clone());
        self.tell(self.gateway.clone().map(Listener::Own));
        self.tell(Some(Listener::All(self.swarm.clone(), self.model)));
        if doors.is_empty() {
            return Ok(());
        }
        for known in self.membership.contacts().iter().chain(&doors) {
            self.swarm.meet(known).await;
        }
        self.tell(Some(Listener::Far));
        self.tasks.push(tokio::spawn(remember(self.swarm.clone(), self.gateway.clone(), self.membership.clone())));
        self.tasks.push(tokio::spawn(async move { announcer.stay_joined().await }));
        Ok(())
    }

    /// Tells others what this node measures of itself.
    fn tell(&mut self, listener: Option<Listener>) {
        if let (Some(stages), Some(announcer), Some(listener)) = (&self.stages, &self.announcer, listener) {
            self.tasks.push(tokio::spawn(tell(stages.clone(), self.net.clone(), announcer.clone(), listener)));
        }
    }

    /// Lets this node go to other blocks when these are served too slowly; only one that chose its blocks itself may. What comes out is
    /// told of each move.
    pub fn keep_balanced(&mut self, moves: Moves) -> mpsc::UnboundedReceiver<Moved> {
        let (told, moved) = mpsc::unbounded_channel();
        if let (Some(stages), Some(announcer)) = (self.stages.clone(), self.announcer.clone()) {
            let view = View { gateway: self.gateway.clone(), swarm: self.swarm.clone() };
            let (net, sent, file) = (self.net.clone(), self.sent.clone(), self.file.clone());
            let mover = Mover {
                net,
                stages,
                announcer,
                view,
                sent,
                file,
                model: self.model,
                n_blocks: self.n_blocks,
                moves,
                told,
            };
            self.tasks.push(tokio::spawn(mover.run()));
        }
        moved
    }

    /// Shows the models of this machine to whoever asks its gateway, and lets new ones come and old ones go.
    pub fn keep_models(&self, places: Places) {
        if let Some(gateway) = &self.gateway {
            let catalogue = Catalogue::new(places, self.file.clone(), gateway, self.sent.clone(), self.net.clone());
            gateway.set_catalogue(catalogue);
        }
    }

    /// This node's key and addresses.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether it began its network.
    pub fn is_first(&self) -> bool {
        self.membership.is_first()
    }

    /// The blocks it serves.
    pub fn blocks(&self) -> Option<BlockRange> {
        self.announcer.as_ref().and_then(|announcer| announcer.blocks())
    }

    /// Its gateway, if it takes requests.
    pub fn gateway(&self) -> Option<&Gateway> {
        self.gateway.as_ref()
    }

    /// Who keeps it to its owner's limits, if anybody does.
    pub fn steward(&self) -> Option<&Steward> {
        self.steward.as_ref()
    }

    /// The model it serves.
    pub fn model(&self) -> ModelId {
        self.model
    }

    /// Bytes of weights that are mapped into memory now.
    pub fn resident_bytes(&self) -> u64 {
        self.stages.as_ref().map_or(0, |stages| stages.loaded().1)
    }

    /// Bytes of weights sent to other members so far.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.bytes()
    }

    /// Positions of all sessions so far that began as an earlier one did, so that their rows did not have to be run.
    pub fn reused_positions(&self) -> u64 {
        self.stages.as_ref().map_or(0, StageHost::reused_positions)
    }

    /// Ends its tasks and says goodbye to its peers.
    pub async fn close(self) {
        if let Some(catalogue) = self.gateway.as_ref().and_then(Gateway::catalogue) {
            catalogue.close();
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        self.net.close().await;
    }
}

/// What a node reads from the model file.
struct Loaded {
    front: ModelFront,
    span: Option<Span>,
    in_use: Option<InUse>,
}

impl Loaded {
    fn read(config: &NodeConfig, known: Option<ModelId>) -> Result<Self, NodeError> {
        if config.blocks.is_none() && config.gateway.is_none() {
            return Err(NodeError::Idle);
        }
        let in_use = InUse::mark(&config.model)?;
        // Before the file is read anew: what this brings into memory comes in small pages.
        let id = known.map_or_else(|| skep_model::model_id(&config.model), Ok)?;
        let file = if config.stage.large_pages { Gguf::open_again(&config.model)? } else { Gguf::open(&config.model)? };
        let shape = ModelConfig::from_gguf(&file)?;
        let StageLimits { threads, background, .. } = config.stage;
        let load = |blocks| Span::load_with(&file, blocks, span_options(threads, background)?);
        let span = config.blocks.map(load).transpose()?;
        let (needed, given) = (span.as_ref().map_or(0, StageHost::least_bytes), config.stage.memory_bytes);
        if needed > given {
            return Err(NodeError::Memory { needed, given });
        }
        let purpose = Purpose::of(&shape);
        let front = ModelFront {
            id,
            bytes: file.file_bytes(),
            config: shape,
            tokenizer: if purpose.d_patch() == 0 { Some(Tokenizer::from_gguf(&file)?) } else { None },
            purpose,
            template: ChatTemplate::from_gguf(&file)?,
        };
        Ok(Self { front, span, in_use })
    }
}

/// The door of a node at `bind`. Nobody but its own machine reaches a loopback address. A member has one too: it may become a doorkeeper.
fn admission(
    net: &Net,
    bind: SocketAddr,
    file: Option<PathBuf>,
    membership: &Membership,
) -> Result<Admission, NodeError> {
    if membership.is_first() && bind.ip().is_loopback() && net.relay().is_none() {
        return Ok(Admission::open(net.node_id()));
    }
    let file = if membership.is_first() { file } else { membership.beside("admitted") };
    Admission::by_invite(net.node_id(), membership.network(), file.clone())
        .map_err(|source| NodeError::Admitted { path: file.unwrap_or_default(), source })
}
