//! Continuous batching: rows of all sessions that wait go through the blocks together, pass by pass, without I/O.
//!
//! # Rules
//! 1. Frames of one session run in the order of their arrival, at most one a pass.
//! 2. Every pass takes all waiting frames of at most [`FEW_ROWS`] rows: a session that decodes never waits longer than one pass.
//! 3. Longer frames (prompts) share what room a pass has for them, in order of arrival. What does not fit is cut off and waits for a
//!    later pass, behind other sessions' prompts. A whole text or picture, of which a vector is made, cannot be cut: it goes into a pass
//!    that has any room left.
//! 4. The weights are read once for all rows of a pass that go through the same blocks, and the output matrix once for all rows
//!    after which candidates are wanted. What runs together changes no bit (RK-1), and a session that fails, fails alone.

use super::Arrival;
use skep_model::{BatchItem, KvCache, PASS_ROWS, Span, top_candidates};
use skep_session::{Begun, Outgoing, Stage, StageConfig};
use skep_types::BlockRange;
use skep_types::wire::{Fault, Output, Payload, Peer, SessionId, cut_reason};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// A frame of at most this many rows counts as decoding. Its rows cost little beside the weights that they all read.
const FEW_ROWS: u32 = 8;
/// Rows of prompts that one pass takes beside rows that decode.
const PROMPT_ROWS: u32 = 64;
/// Rows of logits that are computed together: their memory is this times the vocabulary.
const LOGITS_ROWS: usize = 32;

/// The sessions of this node and the rows that they wait for.
pub(super) struct Pool {
    span: Arc<Span>,
    seats: HashMap<SessionId, Seat>,
    /// Sessions with something waiting, each once.
    line: VecDeque<SessionId>,
}

/// One session.
struct Seat {
    stage: Stage,
    cache: KvCache,
    waiting: VecDeque<Arrival>,
}

/// What came of something that arrived.
pub(super) struct Settled {
    pub(super) session: SessionId,
    /// When it arrived.
    pub(super) arrived: Instant,
    pub(super) result: Result<Vec<Outgoing>, Fault>,
}

/// A frame on its way through a pass.
struct Work {
    session: SessionId,
    arrived: Instant,
    seat: Seat,
    begun: Begun,
    /// The new rows: those that enter the blocks, then those that leave them.
    rows: Vec<f32>,
    output: Option<Payload>,
    fault: Option<Fault>,
}

impl Pool {
    pub(super) fn new(span: Arc<Span>) -> Self {
        Self { span, seats: HashMap::new(), line: VecDeque::new() }
    }

    /// Makes a seat for a session that has none.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn open(&mut self, config: StageConfig) -> Result<(), String> {
        let cache =
            self.span.new_cache(config.blocks, config.max_positions as usize).map_err(|error| error.to_string())?;
        let session = config.session;
        let seat = Seat { stage: Stage::new(config), cache, waiting: VecDeque::new() };
        self.seats.insert(session, seat);
        Ok(())
    }

    /// Forgets a session and what waits for it.
    pub(super) fn close(&mut self, session: SessionId) {
        self.seats.remove(&session);
        self.line.retain(|waiting| *waiting != session);
    }

    /// The newest epoch of a session.
    pub(super) fn epoch(&self, session: SessionId) -> Option<u32> {
        self.seats.get(&session).map(|seat| seat.stage.epoch())
    }

    /// [`Stage::redirect`] of a session.
    pub(super) fn redirect(
        &mut self,
        session: SessionId,
        epoch: u32,
        next: Peer,
        replay_from: u32,
        forward_from: u32,
    ) -> Vec<Outgoing> {
        let seat = self.seats.get_mut(&session);
        seat.map(|seat| seat.stage.redirect(epoch, next, replay_from, forward_from)).unwrap_or_default()
    }

    /// Takes what came for a session; nothing happens when it has no seat.
    pub(super) fn arrive(&mut self, session: SessionId, arrival: Arrival) {
        let Some(seat) = self.seats.get_mut(&session) else { return };
        if seat.waiting.is_empty() {
            self.line.push_back(session);
        }
        seat.waiting.push_back(arrival);
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.line.is_empty()
    }

    /// Runs one pass over what waits.
    pub(super) fn pass(&mut self) -> Vec<Settled> {
        let (mut settled, mut works) = (Vec::new(), Vec::new());
        for (session, arrival) in self.pick() {
            let arrived = arrival.at;
            match self.begin(session, arrival) {
                Some(Ok(work)) => works.push(work),
                Some(Err(fault)) => settled.push(Settled { session, arrived, result: Err(fault) }),
                None => {}
            }
        }
        self.forward(&mut works);
        self.candidates(&mut works);
        self.vectors(&mut works);
        for work in works {
            let result = match work.fault {
                Some(fault) => Err(fault),
                None => Ok(work.seat.stage.finish(work.begun, work.output)),
            };
            settled.push(Settled { session: work.session, arrived: work.arrived, result });
            self.seats.insert(work.session, work.seat);
        }
        settled
    }

    /// Rules 1 to 3: what the next pass takes.
    fn pick(&mut self) -> Vec<(SessionId, Arrival)> {
        let Self { seats, line, .. } = self;
        let rows =
            |seat: &Seat| seat.waiting.front().map_or(0, |next| next.frame.as_ref().map_or(0, |frame| frame.rows));
        let decoding = line.iter().filter_map(|session| seats.get(session)).any(|seat| rows(seat) <= FEW_ROWS);
        let mut room = if decoding { PROMPT_ROWS } else { PASS_ROWS as u32 };
        let (mut picked, mut passed_over, mut again) = (Vec::new(), VecDeque::new(), VecDeque::new());
        for session in line.drain(..) {
            let Some(seat) = seats.get_mut(&session) else { continue };
            let few = rows(seat) <= FEW_ROWS;
            let Some(mut next) = seat.waiting.pop_front() else { continue };
            if let (Ok(frame), false) = (&mut next.frame, few) {
                let whole = frame.rows <= room || (room > 0 && seat.stage.output() == Output::Vector);
                let take = if whole { frame.rows } else { whole_pages(frame.pos, room) };
                if take == 0 {
                    seat.waiting.push_front(next);
                    passed_over.push_back(session);
                    continue;
                }
                room = room.saturating_sub(take);
                if let Some(rest) = frame.cut(take) {
                    let ticket = next.ticket.take();
                    seat.waiting.push_front(Arrival { frame: Ok(rest), ticket, ..next });
                }
            }
            picked.push((session, next));
            if !seat.waiting.is_empty() {
                again.push_back(session);
            }
        }
        passed_over.append(&mut again);
        *line = passed_over;
        picked
    }

    /// Checks a frame and finds the rows that it wants run; `None` when the frame is to be ignored. The seat goes with the work.
    fn begin(&mut self, session: SessionId, arrival: Arrival) -> Option<Result<Work, Fault>> {
        let Arrival { from, frame, at: arrived, .. } = arrival;
        let begin = |stage: &Stage| {
            let frame = frame.map_err(|reason| Fault::BadFrame { node: from, reason: cut_reason(reason) })?;
            let Some(mut begun) = stage.begin(from, frame)? else { return Ok(None) };
            let rows = match begun.take_new() {
                Some(Payload::Tokens(tokens)) => self.span.embed(&tokens).map_err(compute_fault)?,
                Some(Payload::Rows(patches)) if stage.blocks().start() == 0 => {
                    self.span.embed_patches(&patches).map_err(compute_fault)?
                }
                Some(Payload::Rows(rows)) => rows,
                _ => Vec::new(),
            };
            Ok(Some((begun, rows)))
        };
        let (begun, rows) = match begin(&self.seats.get(&session)?.stage).transpose()? {
            Ok(begun) => begun,
            Err(fault) => return Some(Err(fault)),
        };
        let seat = self.seats.remove(&session)?;
        Some(Ok(Work { session, arrived, seat, begun, rows, output: None, fault: None }))
    }

    /// Runs the rows of all works, those of the same blocks together, and hands them to their stages.
    fn forward(&self, works: &mut [Work]) {
        let mut ranges: Vec<BlockRange> = works.iter().map(|work| work.seat.cache.blocks()).collect();
        ranges.sort_unstable();
        ranges.dedup();
        for range in ranges {
            let of_range = |work: &&mut Work| work.seat.cache.blocks() == range && !work.rows.is_empty();
            let mut members: Vec<&mut Work> = works.iter_mut().filter(of_range).collect();
            let mut items: Vec<BatchItem<'_>> = members
                .iter_mut()
                .map(|work| BatchItem { cache: &mut work.seat.cache, rows: &mut work.rows })
                .collect();
            let results = self.span.forward_batch(&mut items);
            for (work, result) in members.into_iter().zip(results) {
                work.fault = result.err().map(compute_fault);
            }
        }
        for work in works.iter_mut().filter(|work| work.fault.is_none()) {
            work.fault = work.seat.stage.keep(&work.begun, &work.rows).err();
            // What a stage does not keep, its cache forgets.
            work.seat.cache.truncate(work.seat.stage.len() as usize);
        }
    }

    /// The candidates of all works that want some.
    fn candidates(&self, works: &mut [Work]) {
        let wants = |work: &&mut Work| {
            let rows = work.seat.stage.wants_output(&work.begun);
            work.fault.is_none() && rows.is_some() && work.seat.stage.output() != Output::Vector
        };
        let mut wanting: Vec<&mut Work> = works.iter_mut().filter(wants).collect();
        for group in wanting.chunks_mut(LOGITS_ROWS) {
            let rows: Vec<f32> =
                group.iter().filter_map(|work| work.seat.stage.wants_output(&work.begun)).flatten().copied().collect();
            let logits = match self.span.logits_batch(&rows) {
                Ok(logits) => logits,
                Err(error) => {
                    let fault = compute_fault(error);
                    group.iter_mut().for_each(|work| work.fault = Some(fault.clone()));
                    continue;
                }
            };
            for (work, logits) in group.iter_mut().zip(logits) {
                let n = if let Output::Candidates(n) = work.seat.stage.output() { n as usize } else { 0 };
                match logits.and_then(|logits| top_candidates(&logits, n)) {
                    Ok(best) => {
                        let best = best.into_iter().map(|best| (best.id, best.logit)).collect();
                        work.output = Some(Payload::Candidates(best));
                    }
                    Err(error) => work.fault = Some(compute_fault(error)),
                }
            }
        }
    }

    /// The vectors of all works that want one.
    fn vectors(&self, works: &mut [Work]) {
        for work in works.iter_mut().filter(|work| work.fault.is_none() && work.seat.stage.output() == Output::Vector) {
            match work.seat.stage.wants_output(&work.begun).map(|rows| self.span.vector(rows)) {
                None => {}
                Some(Ok(vector)) => work.output = Some(Payload::Vector(vector)),
                Some(Err(error)) => work.fault = Some(compute_fault(error)),
            }
        }
    }
}

/// Rows from `pos` to the last end of a page within `room` rows: what is cut there can still be shared page by page.
fn whole_pages(pos: u32, room: u32) -> u32 {
    let page = skep_kernels::PAGE as u32;
    (pos.saturating_add(room) / page * page).saturating_sub(pos)
}

fn compute_fault(reason: impl ToString) -> Fault {
    Fault::Compute { reason: cut_reason(reason.to_string()) }
}

#[cfg(test)]
mod tests;
