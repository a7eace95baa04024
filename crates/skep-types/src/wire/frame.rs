//! The frame of a data stream; its layout stands in the module above.

use super::{MAX_FRAME_BYTES, MAX_HOPS};
use thiserror::Error;

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 24;
const WANTS_CANDIDATES: u8 = 1;

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The kind is none of the known ones.
    #[error("frame kind {0} is unknown")]
    Kind(u8),
    /// A reserved flag is set.
    #[error("frame flags {0:#04x} are unknown")]
    Flags(u8),
    /// More hop reports than a route can have.
    #[error("{0} hop reports are more than a route can have")]
    Hops(u16),
    /// The frame is longer than any may be.
    #[error("a frame body of {0} bytes is over the limit")]
    TooLong(usize),
    /// A frame must carry a row, and positions must fit in 32 bits.
    #[error("rows {rows} at position {pos} are not a span of positions")]
    Rows {
        /// First position.
        pos: u32,
        /// Number of rows.
        rows: u32,
    },
    /// The body does not have the length that kind and rows ask for.
    #[error("a payload of {bytes} bytes does not fit {rows} rows")]
    Payload {
        /// Bytes after the hop reports.
        bytes: usize,
        /// Rows of the header.
        rows: u32,
    },
}

/// Time that one stage reports for one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopReport {
    /// Microseconds from the frame's arrival at the stage to its departure.
    pub hold_us: u32,
    /// Round-trip time in microseconds from the stage to the hop it sends to; `u32::MAX` if unknown.
    pub rtt_us: u32,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// One token id per row.
    Tokens(Vec<u32>),
    /// Hidden rows, row-major; the width is the model's.
    Rows(Vec<f32>),
    /// Candidates as (token id, logit), best first.
    Candidates(Vec<(u32, f32)>),
    /// What a model says of its whole input.
    Vector(Vec<f32>),
}

/// One frame of a data stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The sender's epoch.
    pub epoch: u32,
    /// Position of the first row.
    pub pos: u32,
    /// Number of rows, at least 1.
    pub rows: u32,
    /// Outputs of positions below this are kept by the receiver but not forwarded.
    pub forward_from: u32,
    /// Whether the candidates after the last row, or the vector of all rows, are wanted.
    pub wants_candidates: bool,
    /// Reports of the stages passed so far, first stage first.
    pub hops: Vec<HopReport>,
    /// What it carries.
    pub payload: Payload,
}

/// The checked header of a frame whose body has not arrived yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    kind: u8,
    flags: u8,
    hops: u16,
    epoch: u32,
    pos: u32,
    rows: u32,
    forward_from: u32,
    body: u32,
}

impl FrameHeader {
    /// Reads and checks a header, so that nobody waits or allocates for a body that no frame has.
    ///
    /// # Errors
    /// Any [`FrameError`] that the header alone shows.
    pub fn parse(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<Self, FrameError> {
        let header = Self {
            kind: bytes[0],
            flags: bytes[1],
            hops: u16::from_le_bytes([bytes[2], bytes[3]]),
            epoch: word(bytes, 4),
            pos: word(bytes, 8),
            rows: word(bytes, 12),
            forward_from: word(bytes, 16),
            body: word(bytes, 20),
        };
        header.check()?;
        Ok(header)
    }

    /// Bytes of the body.
    pub fn body_bytes(&self) -> usize {
        self.body as usize
    }

    fn check(&self) -> Result<(), FrameError> {
        if !(1..=4).contains(&self.kind) {
            return Err(FrameError::Kind(self.kind));
        }
        if self.flags & !WANTS_CANDIDATES != 0 {
            return Err(FrameError::Flags(self.flags));
        }
        if self.hops as usize > MAX_HOPS {
            return Err(FrameError::Hops(self.hops));
        }
        if self.body_bytes() > MAX_FRAME_BYTES - FRAME_HEADER_BYTES {
            return Err(FrameError::TooLong(self.body_bytes()));
        }
        if self.rows == 0 || self.pos.checked_add(self.rows).is_none() {
            return Err(FrameError::Rows { pos: self.pos, rows: self.rows });
        }
        let reports = self.hops as usize * 8;
        let bytes = self.body_bytes().saturating_sub(reports);
        let unit = match self.kind {
            3 => 8,
            4 => 4,
            _ => 4 * u64::from(self.rows),
        };
        let fits = self.body_bytes() >= reports && bytes > 0 && (bytes as u64).is_multiple_of(unit);
        let exact = self.kind != 1 || bytes as u64 == unit;
        let single = !matches!(self.kind, 3 | 4) || self.rows == 1;
        if fits && exact && single { Ok(()) } else { Err(FrameError::Payload { bytes, rows: self.rows }) }
    }
}

impl Frame {
    /// The position after the last row.
    pub fn end(&self) -> u32 {
        self.pos + self.rows
    }

    /// Keeps the first `rows` rows and gives the others as a frame of their own, which alone wants candidates if this one did.
    /// `None`, and nothing changes, when there are no others or the payload is not so many equal rows.
    pub fn cut(&mut self, rows: u32) -> Option<Self> {
        let after = self.rows.checked_sub(rows).filter(|after| rows > 0 && *after > 0)?;
        let whole =
            |len: usize| len.is_multiple_of(self.rows as usize).then(|| len / self.rows as usize * rows as usize);
        let payload = match &mut self.payload {
            Payload::Tokens(tokens) => Payload::Tokens(tokens.split_off(whole(tokens.len())?)),
            Payload::Rows(values) => Payload::Rows(values.split_off(whole(values.len())?)),
            Payload::Candidates(_) | Payload::Vector(_) => return None,
        };
        let rest = Self { pos: self.pos.checked_add(rows)?, rows: after, payload, hops: self.hops.clone(), ..*self };
        (self.rows, self.wants_candidates) = (rows, false);
        Some(rest)
    }

    /// The frame's bytes, header first.
    ///
    /// # Errors
    /// The same refusals as on reading, so that nothing is sent that the receiver would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, unit, count) = match &self.payload {
            Payload::Tokens(tokens) => (1u8, 4, tokens.len()),
            Payload::Rows(values) => (2, 4, values.len()),
            Payload::Candidates(list) => (3, 8, list.len()),
            Payload::Vector(values) => (4, 4, values.len()),
        };
        let body = self.hops.len() * 8 + unit * count;
        let header = FrameHeader {
            kind,
            flags: u8::from(self.wants_candidates),
            hops: u16::try_from(self.hops.len()).map_err(|_| FrameError::Hops(u16::MAX))?,
            epoch: self.epoch,
            pos: self.pos,
            rows: self.rows,
            forward_from: self.forward_from,
            body: u32::try_from(body).map_err(|_| FrameError::TooLong(body))?,
        };
        header.check()?;
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + body);
        bytes.extend([header.kind, header.flags]);
        bytes.extend(header.hops.to_le_bytes());
        for word in [header.epoch, header.pos, header.rows, header.forward_from, header.body] {
            bytes.extend(word.to_le_bytes());
        }
        for hop in &self.hops {
            bytes.extend(hop.hold_us.to_le_bytes());
            bytes.extend(hop.rtt_us.to_le_bytes());
        }
        match &self.payload {
            Payload::Tokens(tokens) => tokens.iter().for_each(|id| bytes.extend(id.to_le_bytes())),
            Payload::Rows(values) | Payload::Vector(values) => {
                values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            }
            Payload::Candidates(list) => list.iter().for_each(|(id, logit)| {
                bytes.extend(id.to_le_bytes());
                bytes.extend(logit.to_le_bytes());
            }),
        }
        Ok(bytes)
    }

    /// The frame of a checked header and its body.
    ///
    /// # Errors
    /// [`FrameError::Payload`] when the body is not as long as the header says.
    pub fn decode(header: FrameHeader, body: &[u8]) -> Result<Self, FrameError> {
        if body.len() != header.body_bytes() {
            return Err(FrameError::Payload { bytes: body.len(), rows: header.rows });
        }
        let (reports, payload) = body.split_at(header.hops as usize * 8);
        let words = |bytes: &[u8]| bytes.chunks_exact(4).map(|four| word(four, 0)).collect::<Vec<u32>>();
        let values = |bytes: &[u8]| words(bytes).into_iter().map(f32::from_bits).collect();
        let payload = match header.kind {
            1 => Payload::Tokens(words(payload)),
            2 => Payload::Rows(values(payload)),
            4 => Payload::Vector(values(payload)),
            _ => Payload::Candidates(
                payload.chunks_exact(8).map(|pair| (word(pair, 0), f32::from_bits(word(pair, 4)))).collect(),
            ),
        };
        Ok(Self {
            epoch: header.epoch,
            pos: header.pos,
            rows: header.rows,
            forward_from: header.forward_from,
            wants_candidates: header.flags & WANTS_CANDIDATES != 0,
            hops: reports
                .chunks_exact(8)
                .map(|pair| HopReport { hold_us: word(pair, 0), rtt_us: word(pair, 4) })
                .collect(),
            payload,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
