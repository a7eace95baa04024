//! What happened in the last 24 hours.

use super::view::{ReasonView, State, TimelineEntry};
use std::collections::VecDeque;

/// The most stretches that are kept: more than one each three minutes, and reasons that come and go change at most once a minute.
const ENTRIES_MAX: usize = 500;
const DAY_MS: u64 = 24 * 3_600_000;

/// Stretches of time, each with what held.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    entries: VecDeque<TimelineEntry>,
    /// What holds now, apart from the numbers in it.
    now: Option<(State, Option<&'static str>)>,
}

impl Timeline {
    /// Notes what holds now.
    pub(super) fn note(&mut self, now_ms: u64, state: State, reason: Option<&ReasonView>) {
        let now = Some((state, reason.map(|reason| reason.code)));
        if self.now != now {
            self.now = now;
            let reason_text = reason.map(|reason| reason.text.as_str());
            tracing::info!(?state, reason = reason_text, "what is lent of this machine changed");
            self.entries.push_back(TimelineEntry {
                from_ms: now_ms,
                state,
                reason: reason.map(|reason| reason.text.clone()),
            });
        }
        let begins = now_ms.saturating_sub(DAY_MS);
        // The stretch that reaches into the day stays.
        while self.entries.len() > ENTRIES_MAX || self.entries.get(1).is_some_and(|next| next.from_ms <= begins) {
            self.entries.pop_front();
        }
    }

    /// Since when it is as it is.
    pub(super) fn since_ms(&self) -> u64 {
        self.entries.back().map_or(0, |entry| entry.from_ms)
    }

    /// All, oldest first.
    pub(super) fn entries(&self) -> Vec<TimelineEntry> {
        self.entries.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_owner::{Level, Reason};

    #[test]
    fn only_another_state_or_reason_begins_a_stretch() {
        let mut timeline = Timeline::default();
        let hot = |is| ReasonView::from(&Reason::Hot(Level { is, limit: 80, again: 75 }));
        timeline.note(10, State::Lending, None);
        timeline.note(20, State::Lending, None);
        timeline.note(30, State::Paused, Some(&hot(81)));
        timeline.note(40, State::Paused, Some(&hot(85)));
        timeline.note(50, State::Paused, Some(&ReasonView::from(&Reason::Owner)));
        let shown: Vec<_> = timeline.entries().into_iter().map(|entry| (entry.from_ms, entry.state)).collect();
        assert_eq!(shown, [(10, State::Lending), (30, State::Paused), (50, State::Paused)]);
        assert_eq!(timeline.since_ms(), 50);
        assert_eq!(timeline.entries()[1].reason.as_deref(), Some("the processor is at 81 °C, and 80 °C is the limit"));
    }

    #[test]
    fn a_day_is_kept_and_never_more_than_the_limit() {
        let mut timeline = Timeline::default();
        for at in 0..3 {
            let state = if at % 2 == 0 { State::Lending } else { State::Paused };
            timeline.note(at * DAY_MS / 2, state, None);
        }
        assert_eq!(timeline.entries().len(), 3, "the first stretch reaches to where the day begins");
        timeline.note(DAY_MS * 3 / 2, State::Lending, None);
        assert_eq!(timeline.entries()[0].from_ms, DAY_MS / 2);
        for at in 0..2000 {
            let state = if at % 2 == 0 { State::Finishing } else { State::Paused };
            timeline.note(2 * DAY_MS + at, state, None);
        }
        assert_eq!(timeline.entries().len(), ENTRIES_MAX);
    }
}
