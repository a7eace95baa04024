//! The gateway: takes requests for text, owns their tokens, and knows the members that answer them.

mod answering;
mod discover;
mod door;
mod planning;

use crate::admission::Admission;
use crate::answers::Answers;
use crate::catalogue::Catalogue;
use crate::driver::{Driver, Returns};
use crate::generate::{ChatMessage, GenerateError, ModelCard, NetworkView, Prompt, Summary};
use crate::links::Links;
use crate::members::Members;
use crate::sink::Sink;
use crate::steward::Steward;
use planning::missing_block;
use skep_model::{ChatTemplate, Message, ModelConfig, Purpose, Tokenizer};
use skep_net::Net;
use skep_plan::{Label, Network};
use skep_session::{Effect, Input, Limits};
use skep_types::wire::{Join, Peer, SessionId};
use skep_types::{BlockRange, ModelId, NodeId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;

pub(crate) use answering::hops;
pub(crate) use discover::{discover, figures};
pub use door::{InviteRefused, MAX_INVITE_HOURS, MemberView, RemoveRefused};
pub(crate) use planning::kv_bytes;

/// The part of a model file that a gateway needs: it holds no weights.
pub struct ModelFront {
    /// BLAKE3 root of the file.
    pub id: ModelId,
    /// Bytes of the file.
    pub bytes: u64,
    /// Shapes and limits.
    pub config: ModelConfig,
    /// What it is for.
    pub purpose: Purpose,
    /// Text to tokens and back; a model of images has none.
    pub tokenizer: Option<Tokenizer>,
    /// How a chat becomes a text, if the model knows chats.
    pub template: Option<ChatTemplate>,
}

/// What a gateway may do.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// Answers under way at once.
    pub active: usize,
    /// Rows of one prefill frame; 0 means as many as a frame holds.
    pub prefill_chunk: u32,
    /// Bytes of a prompt as text.
    pub prompt_bytes: usize,
    /// Waits and retries of one answer.
    pub session: Limits,
    /// Folder where answers under way are noted down, so that they can be taken up after the process was ended; `None` for nowhere.
    pub answers: Option<PathBuf>,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self { active: 32, prefill_chunk: 64, prompt_bytes: 4 << 20, session: Limits::default(), answers: None }
    }
}

/// Why a node's process cannot be ended from here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnplugError {
    /// Only the demo starts processes that it may end.
    #[error("this gateway did not start its nodes and cannot end them")]
    NotHere,
    /// No such node, or it is gone already.
    #[error("no node {0} of this demo is running")]
    Unknown(NodeId),
}

/// A gateway that nobody asks for anything for so long lets its heartbeats go slowly.
const REST_AFTER: Duration = Duration::from_secs(4);

/// Ends the process of a node that this program started. Returns whether there was one.
pub type Unplug = Arc<dyn Fn(NodeId) -> bool + Send + Sync>;

/// A gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) model: ModelFront,
    pub(crate) net: Net,
    pub(crate) links: Links,
    pub(crate) limits: GatewayLimits,
    pub(crate) returns: Returns,
    pub(crate) active: Arc<Semaphore>,
    answers: Answers,
    admission: Admission,
    state: Mutex<State>,
    unplug: Mutex<Option<Unplug>>,
    steward: OnceLock<Steward>,
    catalogue: OnceLock<Catalogue>,
}

struct State {
    members: Members,
    /// The network as it was last drawn for the planner.
    drawn: Option<(Instant, Arc<Network>)>,
    /// Who reads the figures of each member.
    readers: HashMap<NodeId, AbortHandle>,
    last_answer: Option<Summary>,
    drivers: HashMap<u64, mpsc::Sender<Input>>,
    next_driver: u64,
    /// When somebody last asked for something.
    asked: Instant,
}

impl Gateway {
    pub(crate) fn new(model: ModelFront, net: Net, links: Links, limits: GatewayLimits, admission: Admission) -> Self {
        let active = Arc::new(Semaphore::new(limits.active));
        // Who can reach a machine's own addresses only is on it; others were invited by its owner.
        let label = if admission.is_open() { Label::MyDevices } else { Label::Trusted };
        let state = State {
            members: Members::new(label, net.node_id()),
            drawn: None,
            readers: HashMap::new(),
            last_answer: None,
            drivers: HashMap::new(),
            next_driver: 0,
            asked: Instant::now(),
        };
        let (state, unplug) = (Mutex::new(state), Mutex::new(None));
        let returns = Returns::default();
        let answers = Answers::open(limits.answers.clone());
        let (steward, catalogue) = (OnceLock::new(), OnceLock::new());
        let inner =
            Inner { model, net, links, limits, returns, active, answers, admission, state, unplug, steward, catalogue };
        Self { inner: Arc::new(inner) }
    }

    /// Lets [`Gateway::unplug`] end processes; only the demo does that.
    pub fn set_unplug(&self, unplug: Unplug) {
        *self.inner.unplug.lock().unwrap_or_else(PoisonError::into_inner) = Some(unplug);
    }

    /// Says once who keeps this node to its owner's limits.
    pub(crate) fn set_steward(&self, steward: Steward) {
        let _ = self.inner.steward.set(steward);
    }

    /// Who keeps this node to its owner's limits; none where nobody does.
    pub fn steward(&self) -> Option<&Steward> {
        self.inner.steward.get()
    }

    /// Says once what keeps the models of this machine.
    pub(crate) fn set_catalogue(&self, catalogue: Catalogue) {
        let _ = self.inner.catalogue.set(catalogue);
    }

    /// The models of this machine; none where nobody keeps them.
    pub fn catalogue(&self) -> Option<&Catalogue> {
        self.inner.catalogue.get()
    }

    /// The models that can be asked.
    pub fn models(&self) -> Vec<ModelCard> {
        let spans = self.state().members.spans();
        let ModelFront { id, bytes, config, purpose, .. } = &self.inner.model;
        vec![ModelCard {
            id: *id,
            name: config.name.clone(),
            blocks: config.n_blocks,
            context: config.context as u32,
            vocab: config.vocab as u32,
            bytes: *bytes,
            task: purpose.into(),
            dimensions: purpose.vector_width().map(|width| width as u32),
            available: missing_block(&spans, config.n_blocks).is_none(),
        }]
    }

    /// Somebody asks for something: who is gone counts at once.
    fn wake(&self) {
        self.state().asked = Instant::now();
        self.inner.net.set_resting(false);
    }

    /// Lets the heartbeats go slowly while nobody asks for anything.
    pub(crate) async fn rest(self) {
        loop {
            tokio::time::sleep(REST_AFTER / 4).await;
            let state = self.state();
            if state.drivers.is_empty() && state.asked.elapsed() > REST_AFTER {
                self.inner.net.set_resting(true);
            }
        }
    }

    /// The network as this gateway sees it.
    pub fn network(&self) -> NetworkView {
        self.wake();
        let model = self.models().remove(0);
        let can_unplug = self.inner.unplug.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let state = self.state();
        NetworkView {
            gateway: self.inner.net.node_id(),
            model,
            nodes: state.members.views(&self.inner.net),
            last_answer: state.last_answer.clone(),
            active: u32::try_from(state.drivers.len()).unwrap_or(u32::MAX),
            can_unplug,
        }
    }

    /// Ends the process of a node, as a pulled plug would.
    ///
    /// # Errors
    /// [`UnplugError`] when the node is not this program's to end.
    pub async fn unplug(&self, node: NodeId) -> Result<(), UnplugError> {
        let unplug = self.inner.unplug.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unplug = unplug.ok_or(UnplugError::NotHere)?;
        if unplug(node) { Ok(()) } else { Err(UnplugError::Unknown(node)) }
    }

    /// Carries a request to its end, whose session wants `first` done first. A permit that is given is held as long.
    pub(crate) async fn run(self, driver: Driver, first: Vec<Effect>, permit: Option<OwnedSemaphorePermit>) {
        let nodes: Vec<NodeId> = driver.session.route().iter().map(|stage| stage.peer.node).collect();
        let key = {
            self.wake();
            let mut state = self.state();
            state.members.under_way(&nodes, true);
            state.drawn = None;
            state.next_driver += 1;
            let key = state.next_driver;
            state.drivers.insert(key, driver.inputs_in.clone());
            key
        };
        let (is_text, began) = (matches!(driver.sink, Sink::Text(_)), driver.started);
        let finished = driver.run(first).await;
        let mut state = self.state();
        state.drivers.remove(&key);
        state.asked = Instant::now();
        state.members.under_way(&nodes, false);
        state.drawn = None;
        if let Some((report, summary)) = finished {
            state.members.learn(&report, began, &self.inner.net);
            // A vector has neither tokens nor laps, so it leaves the last text where people look.
            if is_text {
                state.last_answer = Some(summary);
            }
        }
        drop(permit);
    }

    /// Who serves, which blocks, and the bytes that each offers for sessions.
    pub(crate) fn lent(&self) -> Vec<(NodeId, BlockRange, u64)> {
        self.state().members.lent()
    }

    /// What the living offer.
    pub(crate) fn offers(&self) -> Vec<skep_plan::Offer> {
        self.state().members.offers()
    }

    /// Takes a node into the network, if it serves something.
    pub(crate) fn join(&self, join: Join) -> Result<(), String> {
        let ModelFront { id, config, .. } = &self.inner.model;
        if join.model != *id {
            return Err(format!("this gateway serves model {}, not {}", id.short(), join.model.short()));
        }
        // A machine that only uses the network is no node that anything could be asked of.
        let Some(blocks) = join.blocks else {
            self.cut_off(join.peer.node);
            return Ok(());
        };
        if blocks.end() > config.n_blocks {
            return Err(format!("the model has {} blocks, not {}", config.n_blocks, blocks.end()));
        }
        let far = join.peer.node != self.inner.net.node_id();
        tracing::info!(node = %join.peer.node.short(), %blocks, "a node joined");
        {
            let mut state = self.state();
            state.members.join(join.peer, blocks, join.pid, far.then_some(&self.inner.net))?;
            state.drawn = None;
        }
        self.tell(None);
        Ok(())
    }

    /// Notes that a node answers again or no more, and tells every answer under way.
    pub(crate) fn set_alive(&self, node: NodeId, alive: bool) {
        let changed = {
            let mut state = self.state();
            state.drawn = None;
            state.members.set_alive(node, alive)
        };
        if changed {
            tracing::info!(node = %node.short(), alive, "a node's state changed");
            self.tell((!alive).then_some(node));
        }
    }

    fn tell(&self, lost: Option<NodeId>) {
        let network = self.drawn_network();
        let state = self.state();
        for inputs in state.drivers.values() {
            let _ = inputs.try_send(Input::Network(network.clone()));
            if let Some(node) = lost {
                let _ = inputs.try_send(Input::Lost { node });
            }
        }
    }

    /// The request that waits for candidates of a session.
    pub(crate) fn waiting(&self, session: SessionId) -> Option<mpsc::Sender<Input>> {
        self.inner.returns.find(session)
    }

    /// A member's address and process id.
    pub fn member(&self, node: NodeId) -> Option<(Peer, Option<u32>)> {
        self.state().members.address(node).map(|(peer, pid)| (peer.clone(), pid))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModelFront {
    pub(crate) fn check_asked(&self, asked: Option<&str>) -> Result<(), GenerateError> {
        match asked {
            Some(asked) if asked != self.config.name && asked != self.id.to_string() => {
                Err(GenerateError::UnknownModel { asked: asked.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The tokenizer of a model that writes text.
    fn writer(&self) -> Result<&Tokenizer, GenerateError> {
        match (&self.purpose, &self.tokenizer) {
            (Purpose::Generate, Some(tokenizer)) => Ok(tokenizer),
            _ => Err(self.cannot("write text")),
        }
    }

    /// The refusal of a request for something that this model does not do.
    pub(crate) fn cannot(&self, what: &'static str) -> GenerateError {
        GenerateError::WrongModel { name: self.config.name.clone(), does: (&self.purpose).into(), what }
    }

    fn tokens(&self, tokenizer: &Tokenizer, prompt: &Prompt, max_bytes: usize) -> Result<Vec<u32>, GenerateError> {
        let context = self.config.context;
        let text_tokens = |text: &str, special: bool| {
            if text.len() > max_bytes {
                // Even one token per 64 bytes would not fit; the exact count is not worth the work.
                return Err(GenerateError::PromptTooLong { prompt: text.len() / 64, context });
            }
            tokenizer.encode(text, true, special).map_err(|error| bad_prompt(error.to_string()))
        };
        let tokens = match prompt {
            Prompt::Text(text) => text_tokens(text, false)?,
            Prompt::Tokens(tokens) => {
                if let Some(id) = tokens.iter().find(|id| **id as usize >= self.config.vocab) {
                    return Err(bad_prompt(format!(
                        "has token {id}, and the vocabulary ends at {}",
                        self.config.vocab
                    )));
                }
                tokens.clone()
            }
            Prompt::Chat(messages) => text_tokens(&self.render(messages)?, true)?,
        };
        if tokens.is_empty() { Err(bad_prompt("is empty".into())) } else { Ok(tokens) }
    }

    fn render(&self, messages: &[ChatMessage]) -> Result<String, GenerateError> {
        let template = self.template.as_ref().ok_or_else(|| GenerateError::BadOption {
            option: "messages",
            reason: "cannot be used: this model has no chat template; ask /v1/completions".into(),
        })?;
        let messages: Vec<Message> = messages
            .iter()
            .map(|message| Message { role: message.role.clone(), content: message.content.clone() })
            .collect();
        template
            .render(&messages, true)
            .map_err(|error| GenerateError::BadOption { option: "messages", reason: error.to_string() })
    }
}

fn bad_prompt(reason: String) -> GenerateError {
    GenerateError::BadOption { option: "prompt", reason }
}

/// Session ids must not be guessable: the seed comes from the system.
pub(crate) fn random_seed() -> [u8; 32] {
    skep_net::random_bytes()
}
