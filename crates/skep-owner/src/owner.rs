//! What the law needs to remember: the owner's word, the calm, the throttle.

use crate::decide::{Caps, Decision, Law, Pause};
use crate::preferences::Preferences;
use crate::reason::Reason;
use crate::sensors::Sensors;
use crate::table::Key;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// How long all must be clear before a machine is lent again: loads and temperatures change within seconds, people notice minutes.
pub const CALM_MS: u64 = 60_000;
/// How often the throttle moves: a processor's power follows its load within this.
pub const ADJUST_MS: u64 = 5_000;
/// The lowest throttle, in thousandths: below it lending is not worth the heat.
pub const THROTTLE_MIN: u16 = 100;

const WHOLE: u16 = 1000;

/// What the owner says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Lend again.
    Resume,
    /// Stop at once, for good or until a moment in milliseconds since 1970.
    Pause {
        /// When the machine is lent again by itself.
        until_ms: Option<u64>,
    },
    /// Begin nothing new, and pause when all is done.
    Finish,
}

/// What the owner's word has come to. Kept over a restart by its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// Lent when the rules allow.
    #[default]
    Open,
    /// Paused, for good or until a moment.
    Paused {
        /// When it opens by itself, in milliseconds since 1970.
        until_ms: Option<u64>,
    },
    /// Nothing new begins.
    Finishing,
    /// All was done, so it is paused.
    Finished,
}

/// A machine's owner over time.
#[derive(Debug, Clone)]
pub struct Owner {
    standing: Standing,
    /// Whether a reason that wavers paused the machine and there has been no calm since.
    unsettled: bool,
    /// Since when all has been clear.
    clear_since_ms: Option<u64>,
    /// Whether all was clear at least once, so that a silent sensor is one that fell silent.
    was_clear: bool,
    throttle: u16,
    throttled_ms: Option<u64>,
}

impl Owner {
    /// An owner whose last word is known, or who has not said anything: [`Standing::Open`].
    #[must_use]
    pub fn new(standing: Standing) -> Self {
        Self { standing, unsettled: false, clear_since_ms: None, was_clear: false, throttle: WHOLE, throttled_ms: None }
    }

    /// What the owner's word has come to.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Takes the owner's word. The next [`step`](Self::step) keeps to it.
    pub fn command(&mut self, command: Command) {
        self.standing = match command {
            Command::Resume => Standing::Open,
            Command::Pause { until_ms } => Standing::Paused { until_ms },
            Command::Finish => Standing::Finishing,
        };
    }

    /// Whether the machine is lent from now until the next step.
    pub fn step(&mut self, preferences: &Preferences, sensors: &Sensors) -> Decision {
        let now_ms = sensors.clock.now_ms;
        let rules = self.rules(preferences, sensors, now_ms);
        match self.standing {
            Standing::Paused { until_ms: Some(until_ms) } if until_ms <= now_ms => self.standing = Standing::Open,
            Standing::Finishing if sensors.own.work == 0 => self.standing = Standing::Finished,
            _ => {}
        }
        let said = match self.standing {
            Standing::Open | Standing::Finishing => None,
            Standing::Paused { until_ms } => Some(Pause { reason: Reason::Owner, until_ms }),
            Standing::Finished => Some(Pause { reason: Reason::Finished, until_ms: None }),
        };
        match (said, rules) {
            (Some(pause), _) | (None, Err(pause)) => Decision::Pause(pause),
            (None, Ok(caps)) => Decision::Run(Caps { new_work: self.standing == Standing::Open, ..caps }),
        }
    }

    /// The rules with calm and throttle, whatever the owner's word.
    fn rules(&mut self, preferences: &Preferences, sensors: &Sensors, now_ms: u64) -> Result<Caps, Pause> {
        self.adjust(preferences, sensors, now_ms);
        let throttled = self.unsettled || self.throttle <= THROTTLE_MIN;
        let law = Law { preferences, sensors, clear: self.unsettled, throttled };
        if let Some(pause) = law.first() {
            let begins = matches!(pause.reason, Reason::NotReadYet(_)) && !self.was_clear;
            self.unsettled |= pause.reason.wavers() && !begins;
            self.clear_since_ms = None;
            return Err(pause);
        }
        self.was_clear = true;
        let since_ms = self.clear_since_ms.unwrap_or(now_ms).min(now_ms);
        self.clear_since_ms = Some(since_ms);
        if self.unsettled && now_ms - since_ms < CALM_MS {
            return Err(Pause { reason: Reason::Calming, until_ms: Some(since_ms.saturating_add(CALM_MS)) });
        }
        self.unsettled = false;
        let caps = law.caps();
        Ok(Caps { cpu_percent: throttled_percent(caps.cpu_percent, self.throttle), ..caps })
    }

    /// Moves the throttle by what the processor draws.
    fn adjust(&mut self, preferences: &Preferences, sensors: &Sensors, now_ms: u64) {
        let Some(limit) = preferences.number(Key::Watts) else {
            self.throttle = WHOLE;
            return;
        };
        let Some(watts) = sensors.watts.known().map(|watts| u64::from(*watts)) else { return };
        let since_ms = self.throttled_ms.map(|at_ms| at_ms.min(now_ms));
        if since_ms.is_some_and(|at_ms| now_ms - at_ms < ADJUST_MS) {
            self.throttled_ms = since_ms;
            return;
        }
        self.throttled_ms = Some(now_ms);
        if watts > limit {
            self.throttle = (self.throttle * 3 / 4).max(THROTTLE_MIN);
        } else if watts <= limit * 9 / 10 {
            self.throttle = (self.throttle + WHOLE / 20).min(WHOLE);
        }
    }
}

fn throttled_percent(percent: u8, throttle: u16) -> u8 {
    let throttled = u32::from(percent) * u32::from(throttle) / u32::from(WHOLE);
    u8::try_from(throttled).unwrap_or(percent).clamp(1, percent.max(1))
}

impl Display for Standing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Paused { until_ms: None } => f.write_str("paused"),
            Self::Paused { until_ms: Some(until_ms) } => write!(f, "paused until {until_ms}"),
            Self::Finishing => f.write_str("finishing"),
            Self::Finished => f.write_str("finished"),
        }
    }
}

impl FromStr for Standing {
    type Err = UnknownStanding;

    fn from_str(text: &str) -> Result<Self, UnknownStanding> {
        let until = |text: &str| text.strip_prefix("paused until ")?.parse().ok();
        match text.trim() {
            "open" => Ok(Self::Open),
            "paused" => Ok(Self::Paused { until_ms: None }),
            "finishing" => Ok(Self::Finishing),
            "finished" => Ok(Self::Finished),
            other => match until(other) {
                Some(until_ms) => Ok(Self::Paused { until_ms: Some(until_ms) }),
                None => Err(UnknownStanding),
            },
        }
    }
}

/// A text that is no [`Standing`]. Whoever reads one keeps the machine paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is none of open, paused, paused until MILLISECONDS, finishing, finished")]
pub struct UnknownStanding;
