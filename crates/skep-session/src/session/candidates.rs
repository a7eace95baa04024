//! From candidates to tokens (rules 1 and 2).

use super::{Effect, Finish, Phase, Session, SessionError};
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
        let list = match &frame.payload {
            Payload::Candidates(list) if !awaited && well_formed(list, self.config.vocab) => return,
            Payload::Candidates(list) if list.len() >= self.needed as usize && well_formed(list, self.config.vocab) => {
                list
            }
            _ => {
                self.lasts.remove(&from);
                self.accuse(now, from, "its candidates are not a list of best tokens", out);
                return;
            }
        };
        let running = matches!(self.phase, Phase::Running { .. });
        if frame.epoch == self.epoch && running {
            if frame.pos >= self.settles_at {
                self.links.iter_mut().for_each(|link| link.settled = true);
            }
            self.ledger.hops(&self.route, &frame.hops);
        }
        match self.config.sampler.draw(u64::from(self.end()), list, &self.tokens) {
            Ok(id) => self.on_draw(now, id, out),
            Err(reason) => self.fail(SessionError::Sampling(reason), out),
        }
    }

    /// Takes the token at the next position.
    fn on_draw(&mut self, now: Duration, id: u32, out: &mut Vec<Effect>) {
        let index = self.drawn();
        out.extend(self.ledger.drawn(now, index).map(Effect::Recovered));
        if self.config.end_tokens.contains(&id) {
            return self.finish(now, Finish::Stop, out);
        }
        out.push(Effect::Token { index, id });
        self.tokens.push(id);
        if self.drawn() >= self.config.max_new {
            return self.finish(now, Finish::Length, out);
        }
        self.step_from = self.end() - 1;
        // While replacements are being opened there is no chain yet; the whole step is sent when there is one.
        if matches!(self.phase, Phase::Running { .. }) {
            self.send_tokens(self.step_from, self.step_from, out);
            self.await_candidates(now, 1, out);
        }
    }

    /// The position after the last token.
    pub(super) fn end(&self) -> u32 {
        // Checked in `new`: prompt and answer fit 32 bits.
        self.tokens.len() as u32
    }

    /// Tokens drawn so far.
    pub(super) fn drawn(&self) -> u32 {
        (self.tokens.len() - self.config.prompt.len()) as u32
    }
}

/// Whether these can be the best of `vocab` logits: finite, known ids, none twice, best first and ties by the lower id.
fn well_formed(list: &[(u32, f32)], vocab: u32) -> bool {
    let known = list.iter().all(|(id, logit)| *id < vocab && logit.is_finite());
    let sorted = list.windows(2).all(|two| two[0].1 > two[1].1 || (two[0].1 == two[1].1 && two[0].0 < two[1].0));
    let ids: BTreeSet<u32> = list.iter().map(|(id, _)| *id).collect();
    known && sorted && ids.len() == list.len()
}
