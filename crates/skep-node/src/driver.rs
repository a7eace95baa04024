//! Drives one request: carries out the effects of its [`Session`] and brings back what happens.

use crate::explain::Why;
use crate::generate::{FinishReason, GenerateError, HopTiming, Recovery, Summary};
use crate::links::Links;
use crate::sink::Sink;
use skep_session::{Effect, Finish, Input, RecoveryReport, Report, Rung, Session, SessionError};
use skep_types::NodeId;
use skep_types::wire::{Control, ControlReply, Frame, Peer, SessionId, StreamHello};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Inputs that may wait for one request's session.
pub(crate) const INPUT_QUEUE: usize = 1024;

/// Where frames of candidates go: from session id to the request that waits for them.
#[derive(Clone, Default)]
pub(crate) struct Returns(Arc<Mutex<HashMap<SessionId, mpsc::Sender<Input>>>>);

impl Returns {
    /// The request that waits for candidates of `session`.
    pub(crate) fn find(&self, session: SessionId) -> Option<mpsc::Sender<Input>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&session).cloned()
    }

    fn insert(&self, session: SessionId, inputs: mpsc::Sender<Input>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session, inputs);
    }

    fn remove(&self, sessions: &[SessionId]) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().for_each(|session| {
            map.remove(session);
        });
    }
}

/// Everything that one request needs from its surroundings.
pub(crate) struct Driver {
    pub(crate) session: Session,
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) inputs_in: mpsc::Sender<Input>,
    pub(crate) links: Links,
    pub(crate) returns: Returns,
    pub(crate) sink: Sink,
    /// Resolves when nobody reads any more.
    pub(crate) cancelled: oneshot::Receiver<()>,
    /// Least time between two tokens, if the reader asked for a pace.
    pub(crate) pace: Option<Duration>,
    pub(crate) prompt_tokens: u32,
    pub(crate) started: Instant,
    /// Why the first route was chosen.
    pub(crate) why: Option<JoinHandle<Option<Why>>>,
}

/// What the driver opened and must keep, and how far it is.
#[derive(Default)]
struct Progress {
    controls: HashMap<NodeId, mpsc::Sender<Control>>,
    frames: HashMap<(NodeId, SessionId, u32), mpsc::Sender<Frame>>,
    sessions: Vec<SessionId>,
    wake: Option<Duration>,
    /// Time spent waiting for a reader's pace. The session's clock leaves it out, so that laps and stalls are the network's.
    paused: Duration,
    /// A stop text was found; what follows it is never shown.
    stopped: bool,
    /// Nobody reads any more.
    cancelled: bool,
    over: bool,
    report: Option<Report>,
}

impl Driver {
    /// Runs the request to its end. Returns how a complete answer came about.
    pub(crate) async fn run(mut self, first: Vec<Effect>) -> Option<(Report, Summary)> {
        let mut progress = Progress::default();
        let mut next_token_at = self.started;
        self.carry_out(first, &mut progress);
        while !progress.over {
            let input = self.wait(&mut progress).await;
            if let (Some(pace), Input::Candidates { .. }) = (self.pace, &input) {
                let arrived = Instant::now();
                tokio::time::sleep_until(next_token_at.into()).await;
                progress.paused += arrived.elapsed();
                next_token_at = next_token_at.max(arrived) + pace;
            }
            let effects = self.session.step(self.started.elapsed() - progress.paused, input);
            self.carry_out(effects, &mut progress);
        }
        self.returns.remove(&progress.sessions);
        let Some(report) = progress.report.filter(|report| report.finish != Finish::Cancelled) else {
            self.sink.over();
            return None;
        };
        let mut summary = summary(&report, self.prompt_tokens);
        summary.completion_tokens += self.sink.before();
        summary.total_ms = millis(self.started.elapsed());
        if let Some(why) = self.why {
            summary.why = why.await.ok().flatten().map(Box::new);
        }
        self.sink.done(&summary, progress.stopped);
        Some((report, summary))
    }

    /// The next thing that happens to this request.
    async fn wait(&mut self, progress: &mut Progress) -> Input {
        let wake = progress.wake.map(|at| self.started + progress.paused + at);
        let alarm = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = &mut self.cancelled, if !progress.cancelled => {
                progress.cancelled = true;
                Input::Cancel
            }
            Some(input) = self.inputs.recv() => input,
            () = alarm => {
                progress.wake = None;
                Input::Wake
            }
        }
    }

    /// Carries out effects in order; a stop text found on the way ends the request at once.
    fn carry_out(&mut self, effects: Vec<Effect>, progress: &mut Progress) {
        let mut stop = false;
        for effect in effects {
            match effect {
                Effect::Control { to, message } => self.send_control(&to, message, progress),
                Effect::Send { to, session, epoch, frame } => self.send_frame(&to, session, epoch, frame, progress),
                Effect::Token { index, id } if !stop => stop = self.sink.token(index, id),
                Effect::Token { .. } => {}
                Effect::Vector(values) => self.sink.vector(values),
                Effect::Recovered(report) => {
                    let stall_ms = report.stall.as_millis() as u64;
                    tracing::info!(at_token = report.at_token, stall_ms, "the answer goes on over another route");
                }
                Effect::WakeAt(at) => progress.wake = Some(at),
                Effect::Done(report) => {
                    progress.over = true;
                    progress.report = Some(*report);
                }
                Effect::Failed(error) => {
                    progress.over = true;
                    self.sink.fail(refusal(error));
                }
            }
        }
        if stop && !progress.over {
            progress.stopped = true;
            let effects = self.session.step(self.started.elapsed() - progress.paused, Input::Stop);
            self.carry_out(effects, progress);
        }
        progress.stopped |= stop;
    }

    fn send_control(&mut self, to: &Peer, message: Control, progress: &mut Progress) {
        if let Control::Open { session, .. } = &message
            && !progress.sessions.contains(session)
        {
            progress.sessions.push(*session);
            self.returns.insert(*session, self.inputs_in.clone());
        }
        let node = to.node;
        if progress.controls.get(&node).is_none_or(mpsc::Sender::is_closed) {
            if matches!(message, Control::Close { .. }) {
                return;
            }
            let wrap = move |reply: Option<ControlReply>| match reply {
                Some(reply) => Input::Reply { from: node, reply },
                None => Input::Lost { node },
            };
            progress.controls.insert(node, self.links.control(to, self.inputs_in.clone(), wrap));
        }
        let sent = progress.controls.get(&node).is_some_and(|link| link.try_send(message).is_ok());
        if !sent {
            let _ = self.inputs_in.try_send(Input::Lost { node });
        }
    }

    fn send_frame(&mut self, to: &Peer, session: SessionId, epoch: u32, frame: Frame, progress: &mut Progress) {
        let node = to.node;
        let link = progress.frames.entry((node, session, epoch)).or_insert_with(|| {
            let inputs = self.inputs_in.clone();
            self.links.data(to, StreamHello { session, epoch }, move || {
                let _ = inputs.try_send(Input::Lost { node });
            })
        });
        if link.try_send(frame).is_err() {
            let _ = self.inputs_in.try_send(Input::Lost { node });
        }
    }
}

fn refusal(error: SessionError) -> GenerateError {
    match error {
        SessionError::NoRoute { block } => GenerateError::NoRoute { block },
        other => GenerateError::Failed { reason: other.to_string() },
    }
}

fn summary(report: &Report, prompt_tokens: u32) -> Summary {
    let hops = report.hops.iter().map(|hop| HopTiming {
        node: hop.stage.peer.node,
        blocks: hop.stage.blocks,
        frames: hop.frames,
        hold_ms: millis(hop.hold),
        rtt_ms: hop.rtt_last.map(millis),
    });
    Summary {
        finish: if report.finish == Finish::Length { FinishReason::Length } else { FinishReason::Stop },
        prompt_tokens,
        completion_tokens: report.completion_tokens,
        hops: hops.collect(),
        recoveries: report.recoveries.iter().map(recovery).collect(),
        first_token_ms: millis(report.first_token),
        total_ms: millis(report.total),
        lap_ms: report.lap_mean.map(millis),
        why: None,
    }
}

fn recovery(report: &RecoveryReport) -> Recovery {
    Recovery {
        at_token: report.at_token,
        lost: report.lost.clone(),
        rung: match report.rung {
            Rung::Standby => "standby",
            Rung::Replay => "replay",
            Rung::Prefill => "prefill",
        },
        stall_ms: millis(report.stall),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
