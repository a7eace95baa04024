//! Rows that come to a standby (rule 5): they are put together as they come.

use super::super::Arrival;
use super::Seat;
use skep_kernels::PAGE;
use skep_session::SILENT;
use skep_types::wire::{Frame, Payload};

impl Seat {
    /// Takes what came. Returns whether it is time to run something.
    pub(super) fn take(&mut self, arrival: Arrival) -> bool {
        let joined = match (self.waiting.back_mut(), &arrival.frame) {
            (Some(Arrival { frame: Ok(last), .. }), Ok(next)) => join(last, next),
            _ => false,
        };
        // What was joined needs no ticket: its stream may bring the next.
        if !joined {
            self.waiting.push_back(arrival);
        }
        if let Some(Arrival { frame: Ok(frame), ticket, .. }) = self.waiting.back_mut()
            && frame.forward_from == SILENT
        {
            *ticket = None;
        }
        let quiet = |arrival: &Arrival| match &arrival.frame {
            Ok(frame) if frame.forward_from == SILENT => Some(frame.rows as usize),
            _ => None,
        };
        let rows: Option<Vec<usize>> = self.waiting.iter().map(quiet).collect();
        rows.is_none_or(|rows| rows.iter().sum::<usize>() >= PAGE)
    }
}

/// Adds the rows of a silent frame to the one before it, if they follow each other.
fn join(last: &mut Frame, next: &Frame) -> bool {
    let follows = last.forward_from == SILENT
        && next.forward_from == SILENT
        && last.epoch == next.epoch
        && last.pos.checked_add(last.rows) == Some(next.pos);
    if !follows {
        return false;
    }
    match (&mut last.payload, &next.payload) {
        (Payload::Tokens(all), Payload::Tokens(more)) => all.extend_from_slice(more),
        (Payload::Rows(all), Payload::Rows(more)) => all.extend_from_slice(more),
        _ => return false,
    }
    last.rows += next.rows;
    true
}
