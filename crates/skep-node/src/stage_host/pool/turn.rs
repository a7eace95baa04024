//! Whose rows a pass takes.

use super::{Pool, Seat};
use skep_types::wire::SessionId;

/// Whose rows a pass takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stage_host) enum Turn {
    /// Everybody's.
    All,
    /// Those of this machine's own gateway.
    Own,
    /// Those of others.
    Others,
}

impl Turn {
    pub(super) fn takes(self, seat: &Seat) -> bool {
        self == Self::All || (self == Self::Own) == seat.own
    }
}

impl Pool {
    /// Says that a session is of this machine's own gateway.
    pub(in crate::stage_host) fn set_own(&mut self, session: SessionId) {
        if let Some(seat) = self.seats.get_mut(&session) {
            seat.own = true;
        }
    }

    /// Whether something of theirs waits.
    pub(in crate::stage_host) fn waits(&self, turn: Turn) -> bool {
        self.line.iter().filter_map(|session| self.seats.get(session)).any(|seat| turn.takes(seat))
    }
}
