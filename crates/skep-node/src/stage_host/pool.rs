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
//! 5. Rows that come to a standby and ask for nothing wait until a page of them is there, or a frame that asks for something: what is run
//!    together reads the weights once.
//! 6. A pass may be for this machine's own gateway only, or for others only ([`Turn`]); the rules then hold among these.
//! 7. Rows at the head of a waiting frame that are in the store ([`super::reuse`]) are cut off and answered before each pass, whoever
//!    else waits: they cost nothing that others would wait for.

mod outputs;
mod silent;
mod turn;

use super::Arrival;
use super::memory::{payload_bytes, waiting_bytes};
use super::meter::{Meter, Spent};
use super::reuse::{Chain, Key, Link, Rows, Store};
use super::spans::Spans;
use skep_kernels::PAGE;
use skep_model::{BatchItem, KvCache, PASS_ROWS, Page, Span};
use skep_session::{Begun, Outgoing, Stage, StageConfig};
use skep_types::BlockRange;
use skep_types::wire::{Fault, Output, Payload, Peer, SessionId, cut_reason};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
pub(super) use turn::Turn;

/// A frame of at most this many rows counts as decoding. Its rows cost little beside the weights that they all read.
const FEW_ROWS: u32 = 8;
/// Rows of prompts that one pass takes beside rows that decode.
const PROMPT_ROWS: u32 = 64;

/// The sessions of this node and the rows that they wait for.
pub(super) struct Pool {
    spans: Spans,
    seats: HashMap<SessionId, Seat>,
    /// Sessions with something waiting, each once.
    line: VecDeque<SessionId>,
    store: Store,
    /// What the passes take.
    meter: Arc<Meter>,
}

/// One session.
struct Seat {
    stage: Stage,
    /// What it runs on; the same for all sessions of the same blocks.
    span: Arc<Span>,
    cache: KvCache,
    waiting: VecDeque<Arrival>,
    /// Most bytes that may wait; so much was counted for them.
    waiting_most: u64,
    /// The rows that were run, as keys of the store; `None` when nothing of this session is stored.
    chain: Option<Chain>,
    /// The page that the first waiting frame begins with, if it was not in the store.
    missing: Option<Key>,
    /// Whether it is of this machine's own gateway.
    own: bool,
}

/// Rows that need not be run.
struct Stored {
    chain: Chain,
    pages: Vec<Vec<Page>>,
    rows: Vec<f32>,
}

/// What came of something that arrived.
pub(super) struct Settled {
    pub(super) session: SessionId,
    /// When it arrived.
    pub(super) arrived: Instant,
    pub(super) result: Result<Vec<Outgoing>, Fault>,
    /// Of a frame of few rows that went through the blocks.
    pub(super) spent: Option<Spent>,
}

/// A frame on its way through a pass.
struct Work {
    session: SessionId,
    arrived: Instant,
    seat: Seat,
    begun: Begun,
    /// The new rows: those that enter the blocks, then those that leave them.
    rows: Vec<f32>,
    /// The session's keys after these rows, and the pages that they fill.
    chain: Option<Chain>,
    filled: Vec<Link>,
    output: Option<Payload>,
    fault: Option<Fault>,
    spent: Option<Spent>,
}

impl Pool {
    /// A pool without sessions.
    pub(super) fn new(span: Arc<Span>, meter: Arc<Meter>) -> Self {
        Self { spans: Spans::new(span), seats: HashMap::new(), line: VecDeque::new(), store: Store::default(), meter }
    }

    /// The spans that are loaded.
    pub(super) fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Serves another span from now on, beside the earlier ones until [`Pool::retire`].
    pub(super) fn adopt(&mut self, span: Arc<Span>) {
        let has = |seat: &&mut Seat| span.blocks().covers(&seat.stage.blocks());
        self.seats.values_mut().filter(has).for_each(|seat| seat.span = span.clone());
        self.spans.adopt(span);
    }

    /// Unmaps the weights; sessions that run on them keep them until they end.
    pub(super) fn unload(&mut self) {
        self.spans.unload();
    }

    /// Lets the earlier spans take no more sessions.
    pub(super) fn retire(&mut self) {
        self.spans.retire();
    }

    /// How many bytes the store may hold from now on.
    pub(super) fn set_store_room(&mut self, room: u64) {
        self.store.set_room(room);
    }

    /// Makes a seat for a session that has none.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn open(&mut self, config: StageConfig) -> Result<(), String> {
        let span = self.spans.of(config.blocks).cloned().ok_or("these blocks are not loaded")?;
        let cache = span.new_cache(config.blocks, config.max_positions as usize).map_err(|error| error.to_string())?;
        let session = config.session;
        let stored = span.config().family.causal && config.output != Output::Vector;
        let chain = stored.then(|| Chain::new(config.blocks));
        let waiting_most = waiting_bytes(&config);
        let mut stage = Stage::new(config);
        stage.reserve().map_err(|_| "the system has no memory for the session's rows".to_owned())?;
        let seat =
            Seat { stage, span, cache, waiting: VecDeque::new(), waiting_most, chain, missing: None, own: false };
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

    /// [`Stage::set_mirror`] of a session.
    pub(super) fn set_mirror(&mut self, session: SessionId, to: Option<Peer>) -> Vec<Outgoing> {
        self.seats.get_mut(&session).map(|seat| seat.stage.set_mirror(to)).unwrap_or_default()
    }

    /// Takes what came for a session; nothing happens when it has no seat.
    ///
    /// # Errors
    /// When more waits than a session can have under way; the frame is dropped then.
    pub(super) fn arrive(&mut self, session: SessionId, arrival: Arrival) -> Result<(), Fault> {
        let Some(seat) = self.seats.get_mut(&session) else { return Ok(()) };
        let bytes = |arrival: &Arrival| arrival.frame.as_ref().map_or(0, |frame| payload_bytes(&frame.payload));
        let most = seat.waiting_most;
        let too_much = |seat: &Seat| seat.waiting.iter().chain([&arrival]).map(bytes).sum::<u64>() > most;
        if let (true, Ok(newest)) = (too_much(seat), &arrival.frame) {
            // Several changes of route can follow each other closely; what comes of an older one will be ignored anyway.
            seat.waiting.retain(|old| old.frame.as_ref().is_ok_and(|frame| frame.epoch >= newest.epoch));
            seat.missing = None;
        }
        if too_much(seat) {
            let reason = "more rows wait than the session has positions".to_owned();
            return Err(Fault::BadFrame { node: arrival.from, reason });
        }
        if seat.take(arrival) && !self.line.contains(&session) {
            self.line.push_back(session);
        }
        Ok(())
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.line.is_empty()
    }

    /// Runs one pass over what waits of theirs, with at most so many rows of prompts.
    pub(super) fn pass_of(&mut self, turn: Turn, most_rows: u32) -> Vec<Settled> {
        let mut settled = Vec::new();
        loop {
            let works = self.take_stored(turn, &mut settled);
            if works.is_empty() {
                break;
            }
            self.complete(works, &mut settled);
        }
        let picked =
            self.pick(turn, most_rows).into_iter().map(|(session, arrival)| (session, arrival, None)).collect();
        let begun = Instant::now();
        let mut works = self.begin_all(picked, &mut settled);
        self.forward(begun, &mut works);
        self.complete(works, &mut settled);
        settled
    }

    /// Rule 7: what waiting frames begin with and the store has.
    fn take_stored(&mut self, turn: Turn, settled: &mut Vec<Settled>) -> Vec<Work> {
        let Self { seats, line, store, .. } = self;
        let of_line = |session: &SessionId| {
            let seat = seats.get_mut(session).filter(|seat| turn.takes(seat))?;
            let (arrival, stored) = seat.cut_stored(store)?;
            Some((*session, arrival, Some(stored)))
        };
        let cut = line.iter().filter_map(of_line).collect();
        line.retain(|session| seats.get(session).is_some_and(|seat| !seat.waiting.is_empty()));
        let works = self.begin_all(cut, settled);
        let rows: usize = works.iter().map(|work| work.begun.new_rows() as usize).sum();
        self.meter.reuse(rows as u64);
        works
    }

    /// Begins with each frame; what is refused is settled.
    fn begin_all(
        &mut self,
        frames: Vec<(SessionId, Arrival, Option<Stored>)>,
        settled: &mut Vec<Settled>,
    ) -> Vec<Work> {
        let mut works = Vec::new();
        for (session, arrival, stored) in frames {
            let arrived = arrival.at;
            match self.begin(session, arrival, stored) {
                Some(Ok(work)) => works.push(work),
                Some(Err(fault)) => settled.push(Settled { session, arrived, result: Err(fault), spent: None }),
                None => {}
            }
        }
        works
    }

    /// Hands the rows to their stages and settles all works.
    fn complete(&mut self, mut works: Vec<Work>, settled: &mut Vec<Settled>) {
        self.keep(&mut works);
        Self::candidates(&mut works);
        Self::vectors(&mut works);
        for work in works {
            let result = match work.fault {
                Some(fault) => Err(fault),
                None => Ok(work.seat.stage.finish(work.begun, work.output)),
            };
            settled.push(Settled { session: work.session, arrived: work.arrived, result, spent: work.spent });
            self.seats.insert(work.session, work.seat);
        }
    }

    /// Rules 1 to 3: what the next pass takes.
    fn pick(&mut self, turn: Turn, most_rows: u32) -> Vec<(SessionId, Arrival)> {
        let Self { seats, line, .. } = self;
        let rows =
            |seat: &Seat| seat.waiting.front().map_or(0, |next| next.frame.as_ref().map_or(0, |frame| frame.rows));
        let mut takes = line.iter().filter_map(|session| seats.get(session)).filter(|seat| turn.takes(seat));
        let decoding = takes.any(|seat| rows(seat) <= FEW_ROWS);
        let mut room = most_rows.min(if decoding { PROMPT_ROWS } else { PASS_ROWS as u32 });
        let (mut picked, mut passed_over, mut again) = (Vec::new(), VecDeque::new(), VecDeque::new());
        for session in line.drain(..) {
            let Some(seat) = seats.get_mut(&session) else { continue };
            if !turn.takes(seat) {
                passed_over.push_back(session);
                continue;
            }
            let few = rows(seat) <= FEW_ROWS;
            let Some(mut next) = seat.waiting.pop_front() else { continue };
            let missing = seat.missing.take();
            if let (Ok(frame), false) = (&mut next.frame, few) {
                let whole = frame.rows <= room || (room > 0 && seat.stage.output() == Output::Vector);
                let take = if whole { frame.rows } else { whole_pages(frame.pos, room) };
                if take == 0 {
                    seat.waiting.push_front(next);
                    seat.missing = missing;
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
    fn begin(&mut self, session: SessionId, arrival: Arrival, stored: Option<Stored>) -> Option<Result<Work, Fault>> {
        let Arrival { from, frame, at: arrived, .. } = arrival;
        let stage = &self.seats.get(&session)?.stage;
        let frame = frame.map_err(|reason| Fault::BadFrame { node: from, reason: cut_reason(reason) });
        let mut begun = match frame.and_then(|frame| stage.begin(from, frame)).transpose()? {
            Ok(begun) => begun,
            Err(fault) => return Some(Err(fault)),
        };
        let input = begun.take_new();
        let mut seat = self.seats.remove(&session)?;
        let (mut chain, mut filled) = (seat.chain.clone(), Vec::new());
        let rows = match stored {
            Some(stored) => {
                chain = Some(stored.chain);
                let shared = stored.pages.into_iter().try_for_each(|pages| seat.cache.share(pages));
                shared.map(|()| stored.rows).map_err(compute_fault)
            }
            None => {
                let entering = input.as_ref().and_then(|input| Rows::of(input, seat.span.config().d_model));
                if let (Some(chain), Some(entering)) = (&mut chain, entering) {
                    filled = chain.push(entering);
                }
                seat.enter(input)
            }
        };
        let (rows, fault) = rows.map_or_else(|fault| (Vec::new(), Some(fault)), |rows| (rows, None));
        Some(Ok(Work { session, arrived, seat, begun, rows, chain, filled, output: None, fault, spent: None }))
    }

    /// Runs the rows of all works, those of the same blocks together.
    fn forward(&self, begun: Instant, works: &mut [Work]) {
        let mut ranges: Vec<BlockRange> = works.iter().map(|work| work.seat.cache.blocks()).collect();
        ranges.sort_unstable();
        ranges.dedup();
        for range in ranges {
            let of_range = |work: &&mut Work| work.seat.cache.blocks() == range && !work.rows.is_empty();
            let mut members: Vec<&mut Work> = works.iter_mut().filter(of_range).collect();
            let rows: u32 = members.iter().map(|work| work.begun.new_rows()).sum();
            let few = members.iter().all(|work| work.begun.new_rows() <= FEW_ROWS);
            let Some(span) = members.first().map(|work| work.seat.span.clone()) else { continue };
            let entered = Instant::now();
            let mut items: Vec<BatchItem<'_>> = members
                .iter_mut()
                .map(|work| BatchItem { cache: &mut work.seat.cache, rows: &mut work.rows })
                .collect();
            let results = span.forward_batch(&mut items);
            let took = entered.elapsed();
            self.meter.ran(took, range.len(), rows, few);
            for (work, result) in members.into_iter().zip(results) {
                work.fault = result.err().map(compute_fault);
                if few && work.fault.is_none() {
                    work.spent = Some(Spent { waited: begun.saturating_duration_since(work.arrived), blocks: took });
                }
            }
        }
    }

    /// Hands the rows to their stages, and the pages that they fill to the store.
    fn keep(&mut self, works: &mut [Work]) {
        for work in works {
            let Work { seat, chain, filled, fault, .. } = work;
            if fault.is_none() {
                *fault = seat.stage.keep(&work.begun, &work.rows).err();
            }
            // What a stage does not keep, its cache forgets.
            seat.cache.truncate(seat.stage.len() as usize);
            if fault.is_some() {
                continue;
            }
            seat.chain = chain.take();
            for link in filled {
                let from = link.page as u32 * PAGE as u32;
                if let Some(pages) = seat.cache.page(link.page) {
                    self.store.insert(*link, pages, seat.stage.kept(from, from + PAGE as u32));
                }
            }
        }
    }
}

impl Seat {
    /// The rows that enter the first of its blocks.
    fn enter(&self, input: Option<Payload>) -> Result<Vec<f32>, Fault> {
        match input {
            Some(Payload::Tokens(tokens)) => self.span.embed(&tokens).map_err(compute_fault),
            Some(Payload::Rows(patches)) if self.stage.blocks().start() == 0 => {
                self.span.embed_patches(&patches).map_err(compute_fault)
            }
            Some(Payload::Rows(rows)) => Ok(rows),
            _ => Ok(Vec::new()),
        }
    }

    /// Cuts off what the first waiting frame begins with and the store has.
    fn cut_stored(&mut self, store: &mut Store) -> Option<(Arrival, Stored)> {
        let next = self.waiting.front_mut()?;
        let frame = next.frame.as_mut().ok()?;
        let width = self.stage.width();
        let (mut entering, mut chain) = (Rows::of(&frame.payload, width)?, self.chain.clone()?);
        let follows = frame.pos == self.stage.len() && entering.len() == frame.rows as usize;
        if !follows || self.missing.is_some_and(|key| !store.holds(&key)) {
            return None;
        }
        let mut stored = Stored { chain: chain.clone(), pages: Vec::new(), rows: Vec::new() };
        let mut count = 0;
        while chain.rows() + entering.len() >= PAGE {
            let before = chain.rows();
            let Some(link) = chain.next_page(&mut entering) else { break };
            let fits = (link.page + 1) * PAGE <= self.cache.max_positions();
            let Some(entry) = store.get(&link.key).filter(|_| fits) else {
                self.missing = Some(link.key);
                break;
            };
            stored.pages.push(entry.pages.clone());
            stored.rows.extend_from_slice(entry.rows.get(before * width..)?);
            stored.chain = chain.clone();
            count += (PAGE - before) as u32;
        }
        if count == 0 {
            return None;
        }
        let rest = frame.cut(count);
        let mut own = self.waiting.pop_front()?;
        if let Some(rest) = rest {
            self.waiting.push_front(Arrival { frame: Ok(rest), ticket: own.ticket.take(), from: own.from, at: own.at });
        }
        Some((own, stored))
    }
}

/// Rows from `pos` to the last end of a page within `room` rows: what is cut there can still be shared page by page.
fn whole_pages(pos: u32, room: u32) -> u32 {
    let page = PAGE as u32;
    (pos.saturating_add(room) / page * page).saturating_sub(pos)
}

fn compute_fault(reason: impl ToString) -> Fault {
    Fault::Compute { reason: cut_reason(reason.to_string()) }
}

#[cfg(test)]
mod move_tests;
#[cfg(test)]
mod reuse_tests;
#[cfg(test)]
pub(in crate::stage_host) mod tests;
