//! One stage of one session: what a node does with the frames that reach it.
//!
//! # Rules
//! A stage runs blocks `[a, b)` for one session. It keeps `len`, the number of rows it has run, and **every output row**, bit for
//! bit (the retention). Rows are named by their position in the text, and a position has one value whatever path it took (RK-1), so
//! whatever comes twice is answered from the retention and nothing has to be agreed on.
//!
//! 1. A frame of an older epoch than the stage's is ignored. A newer one raises the stage's epoch. Outputs carry the stage's epoch.
//! 2. A frame carries tokens if `a` = 0, else rows of the model's width. Anything else, positions past the end of the cache, and
//!    hop reports that leave no room for one more are [`Fault::BadFrame`]. A frame that begins past `len` is [`Fault::Gap`]. A
//!    failure of the arithmetic, an unknown token id among them, is [`Fault::Compute`].
//! 3. A refused frame changes nothing: the stage goes on with the next one. A fault is a report to the gateway, not an end. (If only
//!    the candidates fail, the rows before them stay run; the same frame, sent again, asks for them again.)
//! 4. Of a frame's rows `[pos, pos + n)` those below `len` are taken from the retention, and the others are run and retained.
//! 5. Outputs of positions below the frame's `forward_from` are not sent on. The others go to the next hop with the same
//!    `forward_from`, with the frame's hop reports, to which the machine adds its own, and with `wants_candidates` on the last.
//! 6. The last stage (`b` = number of blocks) sends no rows. If `wants_candidates` is set it sends the candidates after the frame's
//!    last row to the gateway, also when that row is one it has already run.
//! 7. A redirect of an older epoch is ignored. Any other sets the epoch and the next hop and sends the retained outputs from
//!    `replay_from` on, without hop reports, `wants_candidates` on the last if the newest accepted frame had it. The last stage has none to send.
//! 8. An `Open` for a session that the node already serves replaces its stage by an empty one. A `Close`, or the end of the control
//!    stream, frees the stage.

use skep_types::{
    BlockRange, NodeId,
    wire::{
        FRAME_HEADER_BYTES, Fault, Frame, HopReport, MAX_FRAME_BYTES, MAX_HOPS, MAX_REASON_BYTES, Payload, Peer,
        SessionId,
    },
};

/// The arithmetic of a span of blocks, with the KV cache of one session.
pub trait Compute {
    /// Embedding rows of these tokens, row-major.
    ///
    /// # Errors
    /// One sentence, for instance about an id outside the vocabulary.
    fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, String>;

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
    /// How many candidates the gateway wants; 0 means all.
    pub candidates: u32,
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
    /// The stage's epoch, for the hello of a new stream.
    pub epoch: u32,
    /// The frame.
    pub frame: Frame,
}

/// One stage of one session; the rules stand in the module text.
#[derive(Debug, Clone)]
pub struct Stage {
    config: StageConfig,
    /// Output rows of all positions so far, row-major.
    retained: Vec<f32>,
    /// Whether the newest accepted frame wanted candidates.
    wanted: bool,
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
        Self { config, retained: Vec::new(), wanted: false }
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

    /// Takes a frame that `from` sent.
    ///
    /// # Errors
    /// The fault to report to the gateway; the stage is then as it was before.
    pub fn on_frame(&mut self, from: NodeId, frame: Frame, compute: &mut dyn Compute) -> Result<Vec<Outgoing>, Fault> {
        if frame.epoch < self.config.epoch {
            return Ok(Vec::new());
        }
        let end = self.check(from, &frame)?;
        self.extend(&frame, compute)?;
        let sending = Sending {
            from: frame.pos.max(frame.forward_from),
            to: end,
            forward_from: frame.forward_from,
            wants_candidates: frame.wants_candidates,
            hops: frame.hops,
        };
        self.config.epoch = frame.epoch;
        self.wanted = frame.wants_candidates;
        if self.is_last() { self.candidates(sending, compute) } else { Ok(self.rows(sending)) }
    }

    /// Sends outputs to `next` from now on, and first those retained from `replay_from` on. The last stage has none to send again.
    pub fn redirect(&mut self, epoch: u32, next: Peer, replay_from: u32, forward_from: u32) -> Vec<Outgoing> {
        if epoch < self.config.epoch {
            return Vec::new();
        }
        self.config.epoch = epoch;
        self.config.next = next;
        if self.is_last() {
            return Vec::new();
        }
        let (to, wants_candidates) = (self.len(), self.wanted);
        self.rows(Sending { from: replay_from, to, forward_from, wants_candidates, hops: Vec::new() })
    }

    fn width(&self) -> usize {
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
        let per_row = match &frame.payload {
            Payload::Tokens(tokens) if self.config.blocks.start() == 0 => (tokens.len(), 1),
            Payload::Rows(values) if self.config.blocks.start() > 0 => (values.len(), self.width()),
            Payload::Tokens(_) => return bad(format!("tokens came to block {}", self.config.blocks.start())),
            Payload::Rows(_) => return bad("hidden rows came to block 0".to_owned()),
            Payload::Candidates(_) => return bad("candidates came to a stage".to_owned()),
        };
        if Some(per_row.0) != (frame.rows as usize).checked_mul(per_row.1) {
            return bad(format!("{} values do not make {} rows of {}", per_row.0, frame.rows, per_row.1));
        }
        if end > self.config.max_positions {
            return bad(format!("position {end} is past the {} of this session", self.config.max_positions));
        }
        if frame.hops.len() >= MAX_HOPS {
            return bad(format!("{} hop reports leave no room for one more", frame.hops.len()));
        }
        if frame.pos > self.len() {
            return Err(Fault::Gap { expected: self.len(), got: frame.pos });
        }
        Ok(end)
    }

    /// Rule 4: runs the rows that are new.
    fn extend(&mut self, frame: &Frame, compute: &mut dyn Compute) -> Result<(), Fault> {
        let known = (self.len() - frame.pos).min(frame.rows) as usize;
        if known == frame.rows as usize {
            return Ok(());
        }
        let mut rows = match &frame.payload {
            Payload::Tokens(tokens) => compute.embed(&tokens[known..]).map_err(failed)?,
            Payload::Rows(values) => values[known * self.width()..].to_vec(),
            Payload::Candidates(_) => Vec::new(),
        };
        let expected = (frame.rows as usize - known) * self.width();
        if rows.len() == expected {
            compute.forward(&mut rows).map_err(failed)?;
        }
        if rows.len() != expected {
            return Err(failed(format!("{} values came of {expected}", rows.len())));
        }
        self.retained.append(&mut rows);
        Ok(())
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

    /// Rule 6.
    fn candidates(&self, sending: Sending, compute: &mut dyn Compute) -> Result<Vec<Outgoing>, Fault> {
        let (Some(last), true) = (sending.to.checked_sub(1), sending.wants_candidates) else { return Ok(Vec::new()) };
        let row = &self.retained[last as usize * self.width()..][..self.width()];
        let list = compute.candidates(row, self.config.candidates as usize).map_err(failed)?;
        Ok(vec![self.outgoing(Frame {
            epoch: self.config.epoch,
            pos: last,
            rows: 1,
            forward_from: sending.forward_from,
            wants_candidates: false,
            hops: sending.hops,
            payload: Payload::Candidates(list),
        })])
    }

    fn outgoing(&self, frame: Frame) -> Outgoing {
        Outgoing { next: self.config.next.clone(), epoch: self.config.epoch, frame }
    }
}

/// How many rows of `d_model` values fit in one frame beside this many hop reports and the sender's own; at least 1.
pub(crate) fn rows_per_frame(d_model: u32, hops: usize) -> u32 {
    let room = MAX_FRAME_BYTES - FRAME_HEADER_BYTES - 8 * (hops.min(MAX_HOPS) + 1);
    ((room / 4) as u32 / d_model.max(1)).max(1)
}

/// A reason cut to what a control message may carry.
fn failed(mut reason: String) -> Fault {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    Fault::Compute { reason }
}
