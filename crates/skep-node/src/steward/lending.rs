//! What a decision of the owner's limits means for a node. Pure.

use super::view::{ReasonView, State};
use skep_owner::{Decision, Reason};

/// What a node is told to do for other machines. Work for its own gateway is not concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lending {
    /// Why others may begin nothing; none when they may.
    pub(crate) refusal: Option<&'static str>,
    /// Whether what runs for others is ended.
    pub(crate) ends: bool,
    /// Whether weights may go when nothing runs on them.
    pub(crate) drops_weights: bool,
    /// Most of all processors that work for others takes.
    pub(crate) cpu_percent: u8,
    /// Most bytes that weights and sessions of others take together.
    pub(crate) memory_bytes: u64,
    /// Most bytes sent per second.
    pub(crate) upload: Option<u64>,
    /// Most bytes received per second.
    pub(crate) download: Option<u64>,
}

/// What a stranger hears. Why a machine is not lent is its owner's business: that somebody sits at it, that it runs on its battery.
const PAUSED: &str = "this machine's owner lends it to nobody now";
const FINISHING: &str = "this machine's owner lets it finish what it has begun, and begin nothing new";

impl Lending {
    /// A node whose owner sets no limit.
    pub(crate) fn unlimited() -> Self {
        Self {
            refusal: None,
            ends: false,
            drops_weights: false,
            cpu_percent: 100,
            memory_bytes: u64::MAX,
            upload: None,
            download: None,
        }
    }

    /// What follows from a decision, on a machine of so much memory (zero where that is not known).
    pub(crate) fn of(decision: &Decision, machine_bytes: u64) -> Self {
        let caps = match decision {
            Decision::Run(caps) => caps,
            Decision::Pause(pause) => {
                // Before the first readings the machine is neither in use nor free: nothing is torn down for a second's sake.
                let waits = matches!(pause.reason, Reason::NotReadYet(_));
                return Self { refusal: Some(PAUSED), ends: true, drops_weights: !waits, ..Self::unlimited() };
            }
        };
        Self {
            refusal: (!caps.new_work).then_some(FINISHING),
            ends: false,
            drops_weights: false,
            cpu_percent: caps.cpu_percent,
            memory_bytes: share(machine_bytes, caps.memory_percent),
            upload: caps.upload,
            download: caps.download,
        }
    }
}

/// So many hundredths of the memory; all of it where its size is not known.
pub(super) fn share(machine_bytes: u64, percent: u8) -> u64 {
    if machine_bytes == 0 { u64::MAX } else { machine_bytes / 100 * u64::from(percent) }
}

/// What the owner is shown of a decision.
pub(super) fn shown(decision: &Decision) -> (State, Option<ReasonView>, Option<u64>) {
    match decision {
        Decision::Run(caps) if caps.new_work => (State::Lending, None, None),
        Decision::Run(_) => (State::Finishing, None, None),
        Decision::Pause(pause) => (State::Paused, Some(ReasonView::from(&pause.reason)), pause.until_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_owner::{Command, Owner, Pause, Preferences, Preset, Sensor, Standing};

    fn decided(command: Option<Command>, work: u32) -> Decision {
        let mut owner = Owner::new(Standing::Open);
        let mut sensors = skep_sensors::Scripted::at_rest();
        sensors.own.work = work;
        if let Some(command) = command {
            owner.command(command);
        }
        owner.step(&Preferences::of(Preset::Balanced), &sensors)
    }

    #[test]
    fn a_machine_that_is_lent_keeps_to_its_caps() {
        let lending = Lending::of(&decided(None, 0), 16_000);
        assert_eq!((lending.refusal, lending.ends, lending.drops_weights), (None, false, false));
        assert_eq!((lending.cpu_percent, lending.memory_bytes), (75, 8_000));
        assert_eq!((lending.upload, lending.download), (Some(2_000_000), Some(5_000_000)));
        assert_eq!(Lending::of(&decided(None, 0), 0).memory_bytes, u64::MAX);
    }

    #[test]
    fn finishing_begins_nothing_and_ends_nothing() {
        let decision = decided(Some(Command::Finish), 1);
        let lending = Lending::of(&decision, 16_000);
        assert_eq!((lending.refusal, lending.ends, lending.cpu_percent), (Some(FINISHING), false, 75));
        assert_eq!(shown(&decision).0, State::Finishing);
    }

    #[test]
    fn a_pause_ends_the_work_of_others_and_does_not_tell_them_why() {
        for command in [Command::Pause { until_ms: Some(9_000) }, Command::Finish] {
            let decision = decided(Some(command), 0);
            let lending = Lending::of(&decision, 16_000);
            assert_eq!((lending.refusal, lending.ends, lending.drops_weights), (Some(PAUSED), true, true));
            let (state, reason, _) = shown(&decision);
            assert_eq!((state, reason.unwrap().setting), (State::Paused, None));
        }
        let waits = Decision::Pause(Pause { reason: Reason::NotReadYet(Sensor::Power), until_ms: None });
        let lending = Lending::of(&waits, 16_000);
        assert!(lending.refusal.is_some() && lending.ends && !lending.drops_weights);
    }
}
