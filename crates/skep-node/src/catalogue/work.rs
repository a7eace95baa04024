//! What carries out pulls: a thread for each that reads a server or a file, a task for one over the network.

use super::Shared;
use super::copy::copy;
use super::download::fetch;
use super::fault::PullError;
use super::pulls::{Asked, How, Input};
use super::source::{Source, clean_name};
use crate::node::NodeError;
use skep_model::Gguf;
use skep_store::StoreError;
use skep_store::adopt::{self, Stored};
use skep_types::ModelId;
use skep_types::wire::Peer;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often a worker that is held back looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a pull waits for the first other machine of the network.
const MEMBER_WITHIN: Duration = Duration::from_secs(30);

/// Tells a worker to let go of its files.
#[derive(Debug, Default)]
pub(super) struct Stop {
    asked: AtomicBool,
    heard: Notify,
}

impl Stop {
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.heard.notify_one();
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Begins to work on a pull. Whatever becomes of it, [`Input::Ended`] follows.
pub(super) fn start(shared: &Arc<Shared>, asked: Asked, stop: Arc<Stop>) {
    let source = shared.source(&asked.source, asked.id.is_some());
    let (shared, key) = (shared.clone(), asked.key.clone());
    let failed = |sentence: String, hint: &str| How::Failed { sentence, hint: hint.to_owned() };
    match source {
        // This is called with the pulls locked, so the end of even such a pull is told by somebody else.
        Err(fault) => {
            _ = shared.runtime.clone().spawn_blocking(move || {
                shared.ended(key, failed(fault.to_string(), fault.hint()));
            })
        }
        Ok(Source::Network(_)) => {
            _ = shared.runtime.clone().spawn(async move {
                let how = match over_network(&shared, &asked, &stop).await {
                    Ok(how) => how,
                    Err(fault) => {
                        failed(fault.to_string(), "what has come is kept: resume it when other members are up")
                    }
                };
                _ = tokio::task::spawn_blocking(move || shared.ended(key, how)).await;
            })
        }
        Ok(source) => {
            let (again, key_again) = (shared.clone(), key.clone());
            let thread = std::thread::Builder::new().name("skep-pull".into()).spawn(move || {
                let how = match bring(&shared, &asked, source, &stop) {
                    Ok(id) => How::Done(id),
                    Err(PullError::Stopped) => How::Stopped,
                    Err(fault) => failed(fault.to_string(), fault.hint()),
                };
                shared.ended(key, how);
            });
            if let Err(fault) = thread {
                let how = failed(format!("starting a thread: {fault}"), "SKEP_LOG=info shows more");
                again.runtime.clone().spawn_blocking(move || again.ended(key_again, how));
            }
        }
    }
}

/// Brings a file from a server or a folder into the store.
fn bring(shared: &Arc<Shared>, asked: &Asked, source: Source, stop: &Stop) -> Result<ModelId, PullError> {
    let mut teller = Teller { shared, asked, stop, capped: false, last: None, refused: None };
    let incoming = &shared.places.incoming;
    let fetched = match &source {
        Source::File(path) => copy(path, incoming, &mut |here, total| teller.tell(here, total)),
        Source::Url(address) => {
            teller.capped = true;
            fetch(address, incoming, &mut |here, total| teller.tell(here, total))
        }
        Source::Network(_) => return Err(PullError::Stopped),
    };
    let file = fetched.map_err(|fault| teller.refused.take().unwrap_or(fault))?;
    shared.tell(Input::Checking(asked.key.clone()));
    Ok(take_in(&shared.places.store, &file, asked.id, &asked.name)?.id)
}

/// Moves a file that is whole into `store` and names it there, as [`name_stored`] does. What is no model, or another one than `expected`, is removed.
///
/// # Errors
/// [`PullError::Model`]; [`PullError::OtherFile`]; [`PullError::Store`]; [`PullError::System`].
pub fn take_in(store: &Path, file: &Path, expected: Option<ModelId>, name: &str) -> Result<Stored, PullError> {
    let model = |source| PullError::Model { path: file.to_owned(), source };
    let taken = Gguf::open(file).map_err(model).and_then(|_| match adopt::adopt(store, file, expected) {
        Ok(reader) => Ok(reader.id()),
        Err(StoreError::OtherModel { kept, found }) => Err(PullError::OtherFile { expected: kept, found }),
        Err(other) => Err(other.into()),
    });
    // What is no model is not worth keeping for another try.
    if matches!(taken, Err(PullError::Model { .. } | PullError::OtherFile { .. })) {
        let _ = std::fs::remove_file(file);
    }
    name_stored(store, taken?, name)
}

/// Names a model of `store` that is whole; its first use reads it from the disk, in large pages where that is possible.
///
/// # Errors
/// As [`take_in`].
pub fn name_stored(store: &Path, id: ModelId, name: &str) -> Result<Stored, PullError> {
    let stored = adopt::stored(store, id)?.ok_or(StoreError::Absent(id))?;
    let note = stored.path.with_file_name("name");
    let fault = |source| PullError::System { what: format!("writing {}", note.display()), source };
    std::fs::write(&note, clean_name(name)).map_err(fault)?;
    Gguf::open_again(&stored.path).map_err(|source| PullError::Model { path: stored.path.clone(), source })?;
    Ok(stored)
}

/// Fetches the rest of the network's model from its other machines.
async fn over_network(shared: &Arc<Shared>, asked: &Asked, stop: &Stop) -> Result<How, NodeError> {
    let Some(door) = some_member(shared, stop).await? else { return Ok(How::Stopped) };
    let (told, key) = (shared.clone(), asked.key.clone());
    let mut report = move |progress: crate::FetchProgress| {
        let (here, total) = (progress.verified_bytes, Some(progress.wanted_bytes).filter(|bytes| *bytes > 0));
        told.tell(Input::Progress { key: key.clone(), here, total });
    };
    let stopped = async {
        while !stop.is_asked() {
            stop.heard.notified().await;
        }
    };
    let fetched = shared.sent.fetch_all(&shared.net, &door, &shared.places.store, &mut report, stopped).await?;
    let Some(id) = fetched else { return Ok(How::Stopped) };
    let (store, name) = (shared.places.store.clone(), asked.name.clone());
    let named = tokio::task::spawn_blocking(move || name_stored(&store, id, &name)).await;
    Ok(match named {
        Ok(Err(fault)) => How::Failed { sentence: fault.to_string(), hint: fault.hint().to_owned() },
        _ => How::Done(id),
    })
}

/// Another machine of the network, which a node that has just started may not know yet; none if the pull is to stop.
async fn some_member(shared: &Arc<Shared>, stop: &Stop) -> Result<Option<Peer>, NodeError> {
    for _ in 0..MEMBER_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
        match shared.other_member() {
            _ if stop.is_asked() => return Ok(None),
            Some(member) => return Ok(Some(member)),
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    Err(NodeError::Refused { reason: "no other machine of this network is known".into() })
}

/// What a worker says on its way, and what holds it back.
struct Teller<'a> {
    shared: &'a Arc<Shared>,
    asked: &'a Asked,
    stop: &'a Stop,
    /// Whether the owner's limit on what is received counts: what comes from this machine itself is not received.
    capped: bool,
    /// Bytes that were here last; none before the first portion.
    last: Option<u64>,
    /// Why it ends before it is told to.
    refused: Option<PullError>,
}

impl Teller<'_> {
    fn tell(&mut self, here: u64, total: Option<u64>) -> ControlFlow<()> {
        if self.last.is_none()
            && let Some(total) = total
            && let Err(fault) = self.shared.check_disk(&self.asked.key, total.saturating_sub(here))
        {
            self.refused = Some(fault);
            return ControlFlow::Break(());
        }
        let came = self.last.map_or(0, |last| here.saturating_sub(last));
        if total.is_some() {
            self.last = Some(here);
            self.shared.tell(Input::Progress { key: self.asked.key.clone(), here, total });
        }
        let mut wait = if self.capped && came > 0 { self.shared.sent.wait_to_pull(came) } else { Duration::ZERO };
        while !self.stop.is_asked() && !wait.is_zero() {
            let begun = Instant::now();
            std::thread::sleep(wait.min(LOOK_EVERY));
            wait = wait.saturating_sub(begun.elapsed());
        }
        if self.stop.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
