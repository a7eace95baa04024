//! What the owner is shown of the models.

use super::fit::{Fits, NeedView, RoomView, SESSION_TOKENS, ServedView, fit};
use super::pulls::{Pull, Stage};
use super::{OrderRefused, PullError, Shared, part};
use crate::gateway::{Gateway, kv_bytes};
use crate::generate::Task;
use crate::steward::usage;
use serde::Serialize;
use skep_model::{Gguf, ModelConfig, Purpose};
use skep_store::adopt::{self, Stored};
use skep_types::{BlockRange, ModelId};
use std::path::Path;
use std::sync::PoisonError;

/// Models whose headers are remembered.
const FACTS_MAX: usize = 256;

/// The models of a machine and of its network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CatalogueView {
    /// Those that are here in whole or in part, and the one of the network, which is the first.
    pub models: Vec<ModelRow>,
    /// What is on its way, and what became of it, the oldest first.
    pub pulls: Vec<PullRow>,
    /// What memory there is.
    pub memory: RoomView,
    /// Bytes that are free on the disk of the store; none where the system does not say.
    pub disk_free_bytes: Option<u64>,
    /// The store.
    pub folder: String,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelRow {
    /// BLAKE3 root of its file.
    pub id: ModelId,
    /// What it is called here, else its name in the network or in its file.
    pub name: Option<String>,
    /// Bytes of its file.
    pub bytes: u64,
    /// Bytes of it on this machine's disk.
    pub held_bytes: u64,
    /// Whether that is all of it.
    pub complete: bool,
    /// Where its file is on this machine.
    pub path: Option<String>,
    /// Whether this node computes with it, or asks others for it.
    pub in_use: bool,
    /// How far the network holds it; none of what it does not serve.
    pub served: Option<ServedView>,
    /// What it does, once its header is here.
    pub task: Option<Task>,
    /// Tokens that its context holds.
    pub context: Option<u32>,
    /// What it needs of memory, once its header is here.
    pub need: Option<NeedView>,
    /// Whether it fits.
    pub fits: Fits,
    /// One sentence why.
    pub why: String,
    /// Why it cannot be removed; none when it can be.
    pub stays: Option<&'static str>,
}

/// A pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PullRow {
    /// Names it in orders.
    pub id: String,
    /// Where it comes from, as it was asked for.
    pub source: String,
    /// What the model will be called.
    pub name: String,
    /// `waiting`, `fetching`, `checking`, `paused`, `failed` or `done`.
    pub state: &'static str,
    /// Bytes that are here.
    pub bytes: u64,
    /// Bytes of the file, once they are known.
    pub total: Option<u64>,
    /// Of late, while something comes.
    pub bytes_per_second: Option<u64>,
    /// Why it failed.
    pub error: Option<FaultView>,
    /// The model, when it is done.
    pub model: Option<ModelId>,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultView {
    /// One sentence.
    pub message: String,
    /// What would help.
    pub hint: String,
}

/// What a header says.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    name: String,
    context: u32,
    task: Task,
    need: NeedView,
}

impl Facts {
    fn new(config: &ModelConfig, bytes: u64) -> Self {
        let context = u32::try_from(config.context).unwrap_or(u32::MAX);
        let session_tokens = context.min(SESSION_TOKENS);
        // Of each token: keys and values in every block, and the last row, which a stage keeps until the next one has it.
        let row_bytes = 4 * config.d_model as u64;
        let token_bytes = kv_bytes(config) * u64::from(config.n_blocks) + row_bytes;
        let session_bytes = token_bytes * u64::from(session_tokens);
        let need = NeedView { weights_bytes: bytes, session_bytes, session_tokens };
        Self { name: config.name.clone(), context, task: (&Purpose::of(config)).into(), need }
    }

    fn read(path: &Path) -> Option<Self> {
        let file = Gguf::open(path).ok()?;
        let config = ModelConfig::from_gguf(&file).ok()?;
        Some(Self::new(&config, file.file_bytes()))
    }
}

/// Reads everything that there is to see.
pub(super) fn view(shared: &Shared) -> Result<CatalogueView, OrderRefused> {
    let gateway = shared.gateway().ok_or(OrderRefused::Ending)?;
    let memory = room(shared, &gateway);
    let mut stored = adopt::list(&shared.places.store).map_err(PullError::from)?;
    let served = gateway.inner.model.id;
    let own = stored.iter().position(|stored| stored.id == served).map(|at| stored.remove(at));
    let mut models = vec![served_row(shared, &gateway, own.as_ref(), &memory)];
    models.extend(stored.iter().map(|stored| stored_row(shared, stored, &memory)));
    let store = shared.places.store.ancestors().find(|folder| folder.is_dir());
    Ok(CatalogueView {
        models,
        pulls: shared.state().pulls.shown().map(pull_row).collect(),
        memory,
        disk_free_bytes: store.and_then(part::free_bytes),
        folder: shared.places.store.display().to_string(),
    })
}

fn room(shared: &Shared, gateway: &Gateway) -> RoomView {
    let machine = gateway.steward().and_then(|steward| steward.machine());
    let allowed = machine.and_then(|machine| machine.caps).map(|caps| caps.memory_bytes);
    let others: Vec<u64> = gateway
        .lent()
        .into_iter()
        .filter(|(node, _, memory)| *node != shared.net.node_id() && *memory > 0)
        .map(|(_, _, memory)| memory)
        .collect();
    RoomView {
        allowed_bytes: allowed.filter(|bytes| *bytes < u64::MAX),
        free_bytes: usage::free_memory(),
        machines: u32::try_from(others.len()).unwrap_or(u32::MAX),
        offered_bytes: others.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes)),
    }
}

/// The model of the network. What of it lies in no store is a whole file of this machine's own.
fn served_row(shared: &Shared, gateway: &Gateway, stored: Option<&Stored>, memory: &RoomView) -> ModelRow {
    let front = &gateway.inner.model;
    let facts = Facts::new(&front.config, front.bytes);
    let spans: Vec<BlockRange> = gateway.lent().into_iter().map(|(_, blocks, _)| blocks).collect();
    let served = served(front.config.n_blocks, &spans);
    let (fits, why) = fit(Some(&facts.need), memory, Some(&served));
    ModelRow {
        id: front.id,
        name: stored.and_then(name_of).or(Some(facts.name)),
        bytes: front.bytes,
        held_bytes: stored.map_or(front.bytes, Stored::bytes),
        complete: stored.is_none_or(Stored::is_whole),
        path: Some(shared.own.display().to_string()),
        in_use: true,
        served: Some(served),
        task: Some(facts.task),
        context: Some(facts.context),
        need: Some(facts.need),
        fits,
        why,
        stays: Some("this node uses it"),
    }
}

fn served(blocks: u32, spans: &[BlockRange]) -> ServedView {
    let mut missing: Vec<[u32; 2]> = Vec::new();
    for block in (0..blocks).filter(|block| !spans.iter().any(|span| span.contains(*block))) {
        match missing.last_mut() {
            Some(run) if run[1] == block => run[1] = block + 1,
            _ => missing.push([block, block + 1]),
        }
    }
    let held = blocks - missing.iter().map(|run| run[1] - run[0]).sum::<u32>();
    ServedView { blocks, held, missing, machines: u32::try_from(spans.len()).unwrap_or(u32::MAX) }
}

/// A model of the store that this node does not use.
fn stored_row(shared: &Shared, stored: &Stored, memory: &RoomView) -> ModelRow {
    let facts = facts(shared, stored);
    let (fits, why) = fit(facts.as_ref().map(|facts| &facts.need), memory, None);
    let (fits, why) = match &facts {
        None if stored.is_whole() => (Fits::No, "This version of Skep cannot run it.".to_owned()),
        _ => (fits, why),
    };
    let pulled = shared.state().pulls.shown().any(|pull| {
        pull.asked.id == Some(stored.id) && matches!(pull.stage, Stage::Waiting | Stage::Fetching | Stage::Checking)
    });
    ModelRow {
        id: stored.id,
        name: name_of(stored).or(facts.as_ref().map(|facts| facts.name.clone())),
        bytes: stored.shape.bytes(),
        held_bytes: stored.bytes(),
        complete: stored.is_whole(),
        path: Some(stored.path.display().to_string()),
        in_use: false,
        served: None,
        task: facts.as_ref().map(|facts| facts.task),
        context: facts.as_ref().map(|facts| facts.context),
        need: facts.map(|facts| facts.need),
        fits,
        why,
        stays: pulled.then_some("it is being fetched"),
    }
}

fn name_of(stored: &Stored) -> Option<String> {
    std::fs::read_to_string(stored.path.with_file_name("name")).ok()
}

/// What the header of a model says; of one that is whole it is read once.
fn facts(shared: &Shared, stored: &Stored) -> Option<Facts> {
    let mut known = shared.facts.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(facts) = known.get(&stored.id) {
        return Some(facts.clone());
    }
    let facts = Facts::read(&stored.path)?;
    if stored.is_whole() && known.len() < FACTS_MAX {
        known.insert(stored.id, facts.clone());
    }
    Some(facts)
}

fn pull_row(pull: &Pull) -> PullRow {
    let (state, error, model) = match &pull.stage {
        Stage::Waiting => ("waiting", None, None),
        Stage::Fetching => ("fetching", None, None),
        Stage::Checking => ("checking", None, None),
        Stage::Paused => ("paused", None, None),
        Stage::Failed { sentence, hint } => {
            ("failed", Some(FaultView { message: sentence.clone(), hint: hint.clone() }), None)
        }
        Stage::Done(id) => ("done", None, Some(*id)),
    };
    PullRow {
        id: pull.asked.key.clone(),
        source: pull.asked.source.clone(),
        name: pull.asked.name.clone(),
        state,
        bytes: pull.here,
        total: pull.asked.total,
        bytes_per_second: pull.rate(),
        error,
        model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_told_in_runs() {
        let span = |a, b| BlockRange::new(a, b).unwrap();
        let of = |spans: &[BlockRange]| {
            let served = served(8, spans);
            (served.held, served.missing)
        };
        assert_eq!(of(&[span(0, 8)]), (8, vec![]));
        assert_eq!(of(&[span(0, 2), span(1, 3), span(6, 7)]), (4, vec![[3, 6], [7, 8]]));
        assert_eq!(of(&[]), (0, vec![[0, 8]]));
    }

    #[test]
    fn a_model_needs_its_weights_and_room_for_a_conversation() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../skep/assets/skep-bard-q8_0.gguf");
        let bytes = std::fs::metadata(path).unwrap().len();
        let file = Gguf::open(Path::new(path)).unwrap();
        let config = ModelConfig::from_gguf(&file).unwrap();
        let facts = Facts::read(Path::new(path)).unwrap();
        // Keys and values of two bytes each, and a row of four.
        let values = 2 * config.n_kv_heads * config.head_dim * config.n_blocks as usize;
        let session = (2 * values + 4 * config.d_model) * config.context;
        assert_eq!(facts.need.weights_bytes, bytes);
        assert_eq!((facts.need.session_bytes, facts.need.session_tokens), (session as u64, config.context as u32));
    }
}
