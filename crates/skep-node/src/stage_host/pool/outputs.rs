//! What leaves the last block: candidates for the next token, or the vector of a whole input.

use super::super::memory::LOGITS_ROWS;
use super::{Pool, Work, compute_fault};
use skep_model::top_candidates;
use skep_types::wire::{Output, Payload};

impl Pool {
    /// The candidates of all works that want some.
    pub(super) fn candidates(works: &mut [Work]) {
        let wants = |work: &&mut Work| {
            let rows = work.seat.stage.wants_output(&work.begun);
            work.fault.is_none() && rows.is_some() && work.seat.stage.output() != Output::Vector
        };
        let mut wanting: Vec<&mut Work> = works.iter_mut().filter(wants).collect();
        for group in wanting.chunks_mut(LOGITS_ROWS) {
            let rows: Vec<f32> =
                group.iter().filter_map(|work| work.seat.stage.wants_output(&work.begun)).flatten().copied().collect();
            // Every span that ends the model has the same output matrix.
            let Some(span) = group.first().map(|work| work.seat.span.clone()) else { continue };
            let logits = match span.logits_batch(&rows) {
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
    pub(super) fn vectors(works: &mut [Work]) {
        for work in works.iter_mut().filter(|work| work.fault.is_none() && work.seat.stage.output() == Output::Vector) {
            match work.seat.stage.wants_output(&work.begun).map(|rows| work.seat.span.vector(rows)) {
                None => {}
                Some(Ok(vector)) => work.output = Some(Payload::Vector(vector)),
                Some(Err(error)) => work.fault = Some(compute_fault(error)),
            }
        }
    }
}
