//! From candidates to tokens, and the vector (rules 1, 2 and 9).

use super::{Effect, Finish, Phase, Session, SessionError, Task};
use skep_types::{
    NodeId,
    wire::{Frame, Payload, SessionId},
};
use std::{collections::BTreeSet, time::Duration};

impl Session {
    pub(super) fn on_candidates(
        &mut self,
        now: Duration,
        from: NodeId,
        session: SessionId,
        frame: Frame,
        out: &mut Vec<Effect>,
    ) {
        let busy = matches!(self.phase, Phase::Running { .. } | Phase::Opening { .. });
        if !busy || session != self.id || !self.lasts.contains(&from) {
            return;
        }
        let awaited = frame.pos == self.end().saturating_sub(1);
        if let Err(cause) = self.judge(&frame.payload, awaited) {
            self.lasts.remove(&from);
            return self.accuse(now, from, cause, out);
        }
        if !awaited {
            return;
        }
        let running = matches!(self.phase, Phase::Running { .. });
        if frame.epoch == self.epoch && running {
            if frame.pos >= self.settles_at {
                self.links.iter_mut().for_each(|link| link.settled = true);
            }
            self.ledger.hops(&self.route, &frame.hops);
        }
        match (&self.config.task, frame.payload) {
            (Task::Generate(task), Payload::Candidates(list)) => {
                match task.sampler.draw(u64::from(self.end()), &list, &self.tokens) {
                    Ok(id) => self.on_draw(now, id, out),
                    Err(reason) => self.fail(SessionError::Sampling(reason), out),
                }
            }
            (Task::Encode(_), Payload::Vector(values)) => {
                out.extend(self.ledger.drawn(now, 0).map(Effect::Recovered));
                out.push(Effect::Vector(values));
                self.finish(now, Finish::Stop, out);
            }
            // Not judged good.
            _ => {}
        }
    }

    /// Whether a healthy last stage could have sent this, or what is wrong with it.
    fn judge(&self, payload: &Payload, awaited: bool) -> Result<(), &'static str> {
        let (good, cause) = match (&self.config.task, payload) {
            (Task::Generate(_), Payload::Candidates(list)) => {
                let enough = !awaited || list.len() >= self.needed as usize;
                (enough && well_formed(list, self.config.vocab), "its candidates are not a list of best tokens")
            }
            (Task::Encode(task), Payload::Vector(values)) => {
                let finite = values.iter().all(|value| value.is_finite());
                (finite && values.len() == task.width as usize, "its vector is not one of this model's")
            }
            _ => (false, "it sent another kind of output than it was asked for"),
        };
        if good { Ok(()) } else { Err(cause) }
    }

    /// Takes the token at the next position.
    fn on_draw(&mut self, now: Duration, id: u32, out: &mut Vec<Effect>) {
        let Task::Generate(task) = &self.config.task else { return };
        let (max_new, ends) = (task.max_new, task.end_tokens.contains(&id));
        let index = self.drawn();
        self.missed = 0;
        out.extend(self.ledger.drawn(now, index).map(Effect::Recovered));
        if ends {
            return self.finish(now, Finish::Stop, out);
        }
        out.push(Effect::Token { index, id });
        self.tokens.push(id);
        if self.drawn() >= max_new {
            return self.finish(now, Finish::Length, out);
        }
        self.step_from = self.end() - 1;
        // While replacements are being opened there is no chain yet; the whole step is sent when there is one.
        if matches!(self.phase, Phase::Running { .. }) {
            self.send_tokens(self.step_from, self.step_from, out);
            self.send_silently(self.step_from, out);
            self.await_candidates(now, 1, out);
            self.stand_by(out);
        }
    }

    /// The position after the last row.
    pub(super) fn end(&self) -> u32 {
        self.input_rows + self.drawn()
    }

    /// Tokens drawn so far.
    pub(super) fn drawn(&self) -> u32 {
        // Checked in `new`: prompt and answer fit 32 bits. Of an image there are no tokens.
        (self.tokens.len() as u32).saturating_sub(self.input_rows)
    }
}

/// Whether these can be the best of `vocab` logits: finite, known ids, none twice, best first and ties by the lower id.
fn well_formed(list: &[(u32, f32)], vocab: u32) -> bool {
    let known = list.iter().all(|(id, logit)| *id < vocab && logit.is_finite());
    let sorted = list.windows(2).all(|two| two[0].1 > two[1].1 || (two[0].1 == two[1].1 && two[0].0 < two[1].0));
    let ids: BTreeSet<u32> = list.iter().map(|(id, _)| *id).collect();
    known && sorted && ids.len() == list.len()
}
