//! One stage of one session: what a node does with the frames that reach it.
//!
//! # Rules
//! A stage runs blocks `[a, b)` for one session. It keeps `len`, the number of rows it has run, and **every output row**, bit for
//! bit (the retention). Rows are named by their position in the text, and a position has one value whatever path it took (RK-1), so
//! whatever comes twice is answered from the retention and nothing has to be agreed on.
//!
//! 1. A frame of an older epoch than the stage's is ignored, unless it is [`SILENT`] and not older than the `Open`: such a frame brings rows
//!    and asks for nothing. A newer one raises the stage's epoch. Outputs carry the stage's epoch.
//! 2. A frame carries what the model reads if `a` = 0 (tokens, or rows of an image's patches), else rows of the model's width. In a
//!    session for a vector it carries all positions at once. Anything else, positions past the end of the cache, and
//!    hop reports that leave no room for one more are [`Fault::BadFrame`]. A frame that begins past `len` is [`Fault::Gap`], but is
//!    ignored if it is silent. A failure of the arithmetic, an unknown token id among them, is [`Fault::Compute`].
//! 3. A refused frame changes nothing: the stage goes on with the next one. A fault is a report to the gateway, not an end. (If only
//!    the candidates fail, the rows before them stay run; the same frame, sent again, asks for them again.)
//! 4. Of a frame's rows `[pos, pos + n)` those below `len` are taken from the retention, and the others are run and retained.
//! 5. Outputs of positions below the frame's `forward_from` are not sent on. The others go to the next hop with the same
//!    `forward_from`, with the frame's hop reports, to which the machine adds its own, and with `wants_candidates` on the last.
//! 6. The last stage (`b` = number of blocks) sends no rows. If `wants_candidates` is set it sends the candidates after the frame's
//!    last row to the gateway, also when that row is one it has already run; in a session for a vector, the vector of all rows.
//! 7. A redirect of an older epoch is ignored. Any other sets the epoch and the next hop and sends the retained outputs from
//!    `replay_from` on, without hop reports, `wants_candidates` on the last if the newest accepted frame had it. The last stage has none to send.
//! 8. A mirror is a standby of the next hop. It gets every new output, and when it is named every retained one, in frames whose
//!    `forward_from` is [`SILENT`]: the standby runs and retains the rows and sends nothing. The machine keeps the frames of a
//!    mirror in order on one stream, and goes on with that stream when a redirect makes the mirror the next hop, so that nothing has to be
//!    sent again. Any redirect ends the mirror.
//! 9. An `Open` for a session that the node already serves replaces its stage by an empty one, and frames that wait for the old one
//!    are dropped. A `Close`, or the end of the control stream, frees the stage.
//! 10. A machine may cut a frame in two at any row ([`Frame::cut`]) and take the parts one after the other, each as a frame of its own,
//!     with anything between them: rows of many sessions can then share the machine evenly. Not so in a session for a vector.
//!
//! # In three steps
//! [`Stage::on_frame`] is [`Stage::begin`], which checks a frame and says which of its rows are new, [`Stage::keep`], which takes the
//! rows that came of them, and [`Stage::finish`], which takes the output, if [`Stage::wants_output`], and gives the frames to send.
//! A machine that runs rows of many sessions together calls the three itself; between them it changes nothing else of that stage.

use skep_types::{
    BlockRange, NodeId,
    wire::{
        FRAME_HEADER_BYTES, Fault, Frame, HopReport, MAX_FRAME_BYTES, MAX_HOPS, Output, Payload, Peer, SessionId,
        cut_reason,
    },
};
use std::collections::TryReserveError;

/// The `forward_from` of frames from which nothing is to be sent on, as no position is above it.
pub const SILENT: u32 = u32::MAX;

/// The arithmetic of a span of blocks, with the KV cache of one session.
pub trait Compute {
    /// Embedding rows of these tokens, row-major.
    ///
    /// # Errors
    /// One sentence, for instance about an id outside the vocabulary.
    fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, String>;

    /// What enters block 0 for these patches of an image, row-major both; every position of the input at once.
    ///
    /// # Errors
    /// One sentence.
    fn embed_patches(&mut self, patches: &[f32]) -> Result<Vec<f32>, String>;

    /// Runs the blocks over rows at the positions that follow those of the calls before, in place, and appends to the KV cache.
    ///
    /// # Errors
    /// One sentence; the cache is then as it was before the call.
    fn forward(&mut self, rows: &mut Vec<f32>) -> Result<(), String>;

    /// The `n` best candidates (0: all) after an output row of the last block, best first, ties by the lower id.
    ///
    /// # Errors
    /// One sentence.
    fn candidates(&mut self, row: &[f32], n: usize) -> Result<Vec<(u32, f32)>, String>;

    /// What the model says of its whole input, from all output rows of the last block.
    ///
    /// # Errors
    /// One sentence.
    fn vector(&mut self, rows: &[f32]) -> Result<Vec<f32>, String>;
}

/// What a stage is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageConfig {
    /// The session.
    pub session: SessionId,
    /// The epoch of the `Open`.
    pub epoch: u32,
    /// The blocks to run.
    pub blocks: BlockRange,
    /// Blocks of the whole model.
    pub n_blocks: u32,
    /// Values per row.
    pub d_model: u32,
    /// Values per patch of an image model's input; 0 if the model reads tokens.
    pub d_patch: u32,
    /// What the gateway wants.
    pub output: Output,
    /// Positions that the KV cache holds.
    pub max_positions: u32,
    /// Where outputs go.
    pub next: Peer,
}

/// A frame that the machine is to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// To whom.
    pub next: Peer,
    /// Whether that is the mirror, not the next hop.
    pub mirror: bool,
    /// The stage's epoch, for the hello of a new stream.
    pub epoch: u32,
    /// The frame.
    pub frame: Frame,
}

/// One stage of one session; the rules stand in the module text.
#[derive(Debug, Clone)]
pub struct Stage {
    config: StageConfig,
    /// The epoch of the `Open`.
    opened: u32,
    /// Output rows of all positions so far, row-major.
    retained: Vec<f32>,
    /// Whether the newest accepted frame wanted candidates.
    wanted: bool,
    /// The standby of the next hop.
    mirror: Option<Peer>,
}

/// A frame that a stage has accepted and not yet answered.
#[derive(Debug)]
pub struct Begun {
    /// The frame; its payload is only what is new, until it is taken.
    frame: Frame,
    /// Position of the first new row, or the frame's end when all are known.
    first: u32,
    end: u32,
}

impl Begun {
    /// Position of the first row that is to be run.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// How many rows are to be run.
    pub fn new_rows(&self) -> u32 {
        self.end - self.first
    }

    /// What is to be run: what the model reads at block 0, else rows. `None` when all rows are known.
    pub fn take_new(&mut self) -> Option<Payload> {
        let payload = std::mem::replace(&mut self.frame.payload, Payload::Tokens(Vec::new()));
        (self.new_rows() > 0).then_some(payload)
    }
}

/// How a run of retained rows is to be sent.
struct Sending {
    from: u32,
    to: u32,
    forward_from: u32,
    wants_candidates: bool,
    hops: Vec<HopReport>,
}

impl Stage {
    /// A stage without rows.
    pub fn new(config: StageConfig) -> Self {
        Self { opened: config.epoch, config, retained: Vec::new(), wanted: false, mirror: None }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.config.session
    }

    /// The newest epoch that the stage knows.
    pub fn epoch(&self) -> u32 {
        self.config.epoch
    }

    /// Where outputs go now.
    pub fn next(&self) -> &Peer {
        &self.config.next
    }

    /// The blocks it runs.
    pub fn blocks(&self) -> BlockRange {
        self.config.blocks
    }

    /// Rows run so far.
    pub fn len(&self) -> u32 {
        // At most max_positions rows are retained, so this fits.
        (self.retained.len() / self.width()) as u32
    }

    /// Whether no row has been run.
    pub fn is_empty(&self) -> bool {
        self.retained.is_empty()
    }

    /// Takes memory for the output rows of all positions, so that none is missing later.
    ///
    /// # Errors
    /// When there is not enough.
    pub fn reserve(&mut self) -> Result<(), TryReserveError> {
        let values = (self.config.max_positions as usize).saturating_mul(self.width());
        self.retained.try_reserve_exact(values.saturating_sub(self.retained.len()))
    }

    /// Output rows of positions `from..to`, row-major; empty when they are not all kept.
    pub fn kept(&self, from: u32, to: u32) -> &[f32] {
        self.retained.get(from as usize * self.width()..to as usize * self.width()).unwrap_or_default()
    }

    /// What the gateway wants.
    pub fn output(&self) -> Output {
        self.config.output
    }

    /// Takes a frame that `from` sent.
    ///
    /// # Errors
    /// The fault to report to the gateway; the stage is then as it was before.
    pub fn on_frame(&mut self, from: NodeId, frame: Frame, compute: &mut dyn Compute) -> Result<Vec<Outgoing>, Fault> {
        let Some(mut begun) = self.begin(from, frame)? else { return Ok(Vec::new()) };
        if let Some(input) = begun.take_new() {
            let mut rows = match input {
                Payload::Tokens(tokens) => compute.embed(&tokens).map_err(failed)?,
                Payload::Rows(patches) if self.config.blocks.start() == 0 => {
                    compute.embed_patches(&patches).map_err(failed)?
                }
                Payload::Rows(values) => values,
                Payload::Candidates(_) | Payload::Vector(_) => Vec::new(),
            };
            if rows.len() == begun.new_rows() as usize * self.width() {
                compute.forward(&mut rows).map_err(failed)?;
            }
            self.keep(&begun, &rows)?;
        } else {
            self.keep(&begun, &[])?;
        }
        let output = match (self.wants_output(&begun), self.config.output) {
            (None, _) => None,
            (Some(row), Output::Candidates(n)) => {
                Some(Payload::Candidates(compute.candidates(row, n as usize).map_err(failed)?))
            }
            (Some(rows), Output::Vector) => Some(Payload::Vector(compute.vector(rows).map_err(failed)?)),
        };
        Ok(self.finish(begun, output))
    }

    /// Checks a frame that `from` sent (rules 1 and 2). `None` when it is to be ignored. Nothing changes yet.
    ///
    /// # Errors
    /// The fault to report to the gateway.
    pub fn begin(&self, from: NodeId, mut frame: Frame) -> Result<Option<Begun>, Fault> {
        let oldest = if frame.forward_from == SILENT { self.opened } else { self.config.epoch };
        if frame.epoch < oldest {
            return Ok(None);
        }
        let end = match self.check(from, &frame) {
            // The rows before it are on another way, or will be asked for.
            Err(Fault::Gap { .. }) if frame.forward_from == SILENT => return Ok(None),
            checked => checked?,
        };
        let known = (self.len() - frame.pos).min(frame.rows);
        match &mut frame.payload {
            Payload::Tokens(tokens) => drop(tokens.drain(..known as usize)),
            Payload::Rows(values) => drop(values.drain(..values.len() / frame.rows as usize * known as usize)),
            Payload::Candidates(_) | Payload::Vector(_) => {}
        }
        Ok(Some(Begun { first: frame.pos + known, end, frame }))
    }

    /// Takes the output rows of a frame's new rows, and with them the frame's epoch.
    ///
    /// # Errors
    /// [`Fault::Compute`] when these are not the rows that were to be run; nothing has changed then.
    pub fn keep(&mut self, begun: &Begun, rows: &[f32]) -> Result<(), Fault> {
        let expected = begun.new_rows() as usize * self.width();
        // A frame that was wholly known when it began may end below the newest row.
        let follows = begun.first == self.len() || (begun.new_rows() == 0 && begun.first <= self.len());
        if rows.len() != expected || !follows {
            return Err(failed(format!("{} values came of {expected}", rows.len())));
        }
        self.retained.extend_from_slice(rows);
        self.config.epoch = self.config.epoch.max(begun.frame.epoch);
        if begun.frame.forward_from != SILENT {
            self.wanted = begun.frame.wants_candidates;
        }
        Ok(())
    }

    /// The rows that an output is wanted of, which is the last stage's work after [`Stage::keep`]: the frame's last row for
    /// candidates, all rows for a vector.
    pub fn wants_output(&self, begun: &Begun) -> Option<&[f32]> {
        let wanted = self.is_last() && begun.frame.wants_candidates;
        let from = if self.config.output == Output::Vector { 0 } else { begun.end - 1 };
        wanted.then(|| self.kept(from, begun.end)).filter(|rows| !rows.is_empty())
    }

    /// The frames to send after [`Stage::keep`], with this output if one was wanted (rules 5 and 6).
    pub fn finish(&self, begun: Begun, output: Option<Payload>) -> Vec<Outgoing> {
        if self.is_last() {
            let answer = |payload| {
                let (epoch, pos) = (self.config.epoch, begun.end - 1);
                self.outgoing(Frame { epoch, pos, rows: 1, wants_candidates: false, payload, ..begun.frame })
            };
            return output.map(answer).into_iter().collect();
        }
        let mut frames = self.rows(Sending {
            from: begun.frame.pos.max(begun.frame.forward_from),
            to: begun.end,
            forward_from: begun.frame.forward_from,
            wants_candidates: begun.frame.wants_candidates,
            hops: begun.frame.hops,
        });
        frames.extend(self.mirrored(begun.first, begun.end));
        frames
    }

    /// Names a standby of the next hop, or none, and sends it the retained outputs (rule 8). The last stage has none to send.
    pub fn set_mirror(&mut self, to: Option<Peer>) -> Vec<Outgoing> {
        self.mirror = to;
        if self.is_last() { Vec::new() } else { self.mirrored(0, self.len()) }
    }

    /// The standby of the next hop.
    pub fn mirror(&self) -> Option<&Peer> {
        self.mirror.as_ref()
    }

    fn mirrored(&self, from: u32, to: u32) -> Vec<Outgoing> {
        let Some(mirror) = &self.mirror else { return Vec::new() };
        let mut frames =
            self.rows(Sending { from, to, forward_from: SILENT, wants_candidates: false, hops: Vec::new() });
        frames.iter_mut().for_each(|frame| (frame.next, frame.mirror) = (mirror.clone(), true));
        frames
    }

    /// Sends outputs to `next` from now on, and first those retained from `replay_from` on. The last stage has none to send again.
    pub fn redirect(&mut self, epoch: u32, next: Peer, replay_from: u32, forward_from: u32) -> Vec<Outgoing> {
        if epoch < self.config.epoch {
            return Vec::new();
        }
        self.config.epoch = epoch;
        self.config.next = next;
        self.mirror = None;
        if self.is_last() {
            return Vec::new();
        }
        let (to, wants_candidates) = (self.len(), self.wanted);
        self.rows(Sending { from: replay_from, to, forward_from, wants_candidates, hops: Vec::new() })
    }

    /// Values per row, at least 1.
    pub fn width(&self) -> usize {
        (self.config.d_model as usize).max(1)
    }

    fn is_last(&self) -> bool {
        self.config.blocks.end() >= self.config.n_blocks
    }

    /// Rule 2: what a frame of this session must look like. Returns the position after its last row.
    fn check(&self, from: NodeId, frame: &Frame) -> Result<u32, Fault> {
        let bad = |reason: String| Err(Fault::BadFrame { node: from, reason });
        let Some(end) = frame.pos.checked_add(frame.rows).filter(|end| *end > frame.pos) else {
            return bad(format!("{} rows at position {} are not a span of positions", frame.rows, frame.pos));
        };
        let (start, d_patch) = (self.config.blocks.start(), self.config.d_patch as usize);
        let per_row = match &frame.payload {
            Payload::Tokens(tokens) if start == 0 && d_patch == 0 => (tokens.len(), 1),
            Payload::Rows(values) if start == 0 && d_patch > 0 => (values.len(), d_patch),
            Payload::Rows(values) if start > 0 => (values.len(), self.width()),
            Payload::Tokens(_) if start == 0 => return bad("tokens came to a model of images".to_owned()),
            Payload::Tokens(_) => return bad(format!("tokens came to block {start}")),
            Payload::Rows(_) => return bad("hidden rows came to block 0".to_owned()),
            Payload::Candidates(_) | Payload::Vector(_) => return bad("an output came to a stage".to_owned()),
        };
        if Some(per_row.0) != (frame.rows as usize).checked_mul(per_row.1) {
            return bad(format!("{} values do not make {} rows of {}", per_row.0, frame.rows, per_row.1));
        }
        if end > self.config.max_positions {
            return bad(format!("position {end} is past the {} of this session", self.config.max_positions));
        }
        if self.config.output == Output::Vector && (frame.pos > 0 || end < self.config.max_positions) {
            return bad(format!("rows {}..{end} are not all {} positions", frame.pos, self.config.max_positions));
        }
        if frame.hops.len() >= MAX_HOPS {
            return bad(format!("{} hop reports leave no room for one more", frame.hops.len()));
        }
        if frame.pos > self.len() {
            return Err(Fault::Gap { expected: self.len(), got: frame.pos });
        }
        Ok(end)
    }

    /// Rule 5: retained rows in frames that keep to the limit.
    fn rows(&self, sending: Sending) -> Vec<Outgoing> {
        let step = rows_per_frame(self.config.d_model, sending.hops.len());
        let mut frames = Vec::new();
        let mut at = sending.from;
        while at < sending.to {
            let end = at.saturating_add(step).min(sending.to);
            let values = &self.retained[at as usize * self.width()..end as usize * self.width()];
            frames.push(self.outgoing(Frame {
                epoch: self.config.epoch,
                pos: at,
                rows: end - at,
                forward_from: sending.forward_from,
                wants_candidates: sending.wants_candidates && end == sending.to,
                hops: sending.hops.clone(),
                payload: Payload::Rows(values.to_vec()),
            }));
            at = end;
        }
        frames
    }

    fn outgoing(&self, frame: Frame) -> Outgoing {
        Outgoing { next: self.config.next.clone(), mirror: false, epoch: self.config.epoch, frame }
    }
}

/// How many rows of `d_model` values fit in one frame beside this many hop reports and the sender's own; at least 1.
pub(crate) fn rows_per_frame(d_model: u32, hops: usize) -> u32 {
    let room = MAX_FRAME_BYTES - FRAME_HEADER_BYTES - 8 * (hops.min(MAX_HOPS) + 1);
    ((room / 4) as u32 / d_model.max(1)).max(1)
}

fn failed(reason: String) -> Fault {
    Fault::Compute { reason: cut_reason(reason) }
}
