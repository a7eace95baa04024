//! Who waits to hear what became of transactions.

use crate::engine::Submission;
use crate::wire::{Answer, Outcome};
use skep_ledger::TxId;
use std::collections::HashMap;

/// How long a transaction is watched, milliseconds: one that left the pool without a block is not heard of again.
const WATCHED_MS: u64 = 60_000;

#[derive(Default)]
pub(crate) struct Waiters {
    submissions: HashMap<u64, (u64, Submission)>,
    /// In which submission a transaction is, and at which place.
    of: HashMap<TxId, (u64, usize)>,
    count: u64,
    swept_ms: u64,
}

impl Waiters {
    /// Notes a submission of which these places wait; answers it at once if none does.
    pub fn add(&mut self, now_ms: u64, submission: Submission, taken: Vec<(usize, TxId)>) {
        if taken.is_empty() {
            answer(submission);
            return;
        }
        if self.submissions.is_empty() {
            self.swept_ms = now_ms;
        }
        self.count += 1;
        self.of.extend(taken.into_iter().map(|(place, id)| (id, (self.count, place))));
        self.submissions.insert(self.count, (now_ms, submission));
    }

    /// A transaction is final.
    pub fn done(&mut self, id: &TxId, height: u64) {
        let Some((submission, place)) = self.of.remove(id) else { return };
        let Some((_, waiting)) = self.submissions.get_mut(&submission) else { return };
        if let Some(outcome) = waiting.outcomes.get_mut(place) {
            *outcome = Some(Outcome::Final { height });
        }
        if waiting.outcomes.iter().all(Option::is_some)
            && let Some((_, whole)) = self.submissions.remove(&submission)
        {
            answer(whole);
        }
    }

    /// When was looked for who waits in vain; never while nobody waits.
    pub fn swept_at(&self) -> Option<u64> {
        (!self.submissions.is_empty()).then_some(self.swept_ms)
    }

    /// Answers who has waited for too long, if the last look was so long ago.
    pub fn sweep(&mut self, now_ms: u64, every_ms: u64) {
        if self.submissions.is_empty() || now_ms < self.swept_ms + every_ms {
            return;
        }
        self.swept_ms = now_ms;
        let late = self.submissions.extract_if(|_, (since, _)| *since + WATCHED_MS <= now_ms);
        late.for_each(|(_, (_, submission))| answer(submission));
        let submissions = &self.submissions;
        self.of.retain(|_, (submission, _)| submissions.contains_key(submission));
    }
}

fn answer(submission: Submission) {
    let outcomes = submission.outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Unknown)).collect();
    // Who asked may be gone.
    let _ = submission.answers.try_send(Answer::Submitted { number: submission.number, outcomes });
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::NodeId;
    use tokio::sync::mpsc;

    fn id(nonce: u64) -> TxId {
        TxId { payer: NodeId([1; 32]), nonce }
    }

    fn submission(places: usize) -> (Submission, mpsc::Receiver<Answer>) {
        let (answers, receiver) = mpsc::channel(4);
        (Submission { number: 7, txs: Vec::new(), outcomes: vec![None; places], answers }, receiver)
    }

    #[test]
    fn an_answer_comes_when_all_of_a_submission_is_known() {
        let (mut waiters, (mut two, mut answers)) = (Waiters::default(), submission(3));
        two.outcomes[1] = Some(Outcome::Refused { reason: "no".into() });
        waiters.add(0, two, vec![(0, id(0)), (2, id(1))]);
        waiters.done(&id(1), 5);
        waiters.done(&id(9), 5);
        assert!(answers.try_recv().is_err());
        waiters.done(&id(0), 6);
        let refused = Outcome::Refused { reason: "no".into() };
        let outcomes = vec![Outcome::Final { height: 6 }, refused, Outcome::Final { height: 5 }];
        assert_eq!(answers.try_recv(), Ok(Answer::Submitted { number: 7, outcomes }));
        assert_eq!((waiters.of.len(), waiters.swept_at()), (0, None));
    }

    #[test]
    fn who_waits_for_too_long_is_told_so_and_forgotten() {
        let (mut waiters, (one, mut answers)) = (Waiters::default(), submission(1));
        waiters.add(1000, one, vec![(0, id(0))]);
        waiters.sweep(1000 + WATCHED_MS - 1, 1);
        assert!(answers.try_recv().is_err());
        waiters.sweep(1000 + WATCHED_MS, 1);
        assert_eq!(answers.try_recv(), Ok(Answer::Submitted { number: 7, outcomes: vec![Outcome::Unknown] }));
        assert!(waiters.of.is_empty());
    }
}
