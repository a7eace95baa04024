//! After a crash: the log is fed to the core again, which says what it said before, with the same signatures.

use super::Engine;
use crate::core;
use crate::effect::{Effect, EngineError};
use crate::hands::Body;
use crate::log::{self, Record};
use arc_malachitebft_core_types::Validity;
use skep_types::signed::Keys;

impl<K: Keys> Engine<K> {
    /// Brings back what was heard and said at the height that had begun.
    pub(super) fn replay(&mut self, log: &[u8]) -> Result<(), EngineError> {
        let (records, whole) = log::read(log);
        let height = self.chain.head().height + 1;
        if records.first() != Some(&Record::Begin { height }) {
            self.hands.out.push(Effect::Cut(0));
            return Ok(());
        }
        self.hands.out.push(Effect::Cut(whole));
        // What was read may never have been synced.
        self.hands.unsynced = true;
        for record in &records {
            if let Some(head) = record.frame().first_chunk() {
                self.hands.replayed.insert(*head);
            }
        }
        let inputs: Vec<_> = records.iter().filter_map(|record| self.input_of(record)).collect();
        self.core.index_wal_entries(&inputs);
        self.begin(true)?;
        for (record, input) in records[1..].iter().zip(inputs) {
            if !self.running {
                break;
            }
            if let Record::Tried { id, valid, block: Some(block), .. } = record {
                let body = Body { block: (**block).clone(), valid: *valid, logged: false };
                self.hands.bodies.insert(*id, body);
            }
            self.feed(input)?;
        }
        self.core.reset_entries_index();
        self.hands.replayed.clear();
        if self.running { self.resume() } else { Ok(()) }
    }

    fn input_of(&self, record: &Record) -> Option<core::Input> {
        Some(match record {
            Record::Begin { .. } => return None,
            Record::Vote(vote) => core::Input::Vote(core::core_vote(vote)),
            Record::Proposal(proposal) => core::Input::Proposal(core::core_proposal(proposal)),
            Record::Polka(polka) => core::Input::PolkaCertificate(core::core_polka(polka)),
            Record::Timeout { round, wait } => core::Input::TimeoutElapsed(core::core_timeout(*round, *wait)),
            Record::Tried { round, proposer, id, valid, .. } => {
                self.value(*round, *proposer, *id, if *valid { Validity::Valid } else { Validity::Invalid })
            }
        })
    }

    /// After a replay: proposes, if it is this validator's turn and it has not.
    fn resume(&mut self) -> Result<(), EngineError> {
        let round = self.core.round().as_u32();
        self.hands.wanted =
            self.hands.wanted.filter(|wanted| Some(*wanted) == round && !self.hands.said.contains_key(&(0, *wanted)));
        self.make_block()?;
        match self.hands.queue.pop_front() {
            Some(input) => self.feed(input),
            None => Ok(()),
        }
    }
}
