//! The rules over 100,000 machines made by chance. They are stated here once more, from the owner's side and without the code's own
//! helpers: what must never be lent, what must be lent again, and how often it may change.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Chance, at_rest, change, preferences};
use skep_owner::{
    CALM_MS, Caps, Command, Decision, Key, Owner, Pause, Preferences, Reading, Reason, Rule, Sensors, Standing,
    THROTTLE_MIN, decide,
};

const TRACES: u64 = 100_000;
const STEPS: u64 = 48;

/// Whether the owner's word on a state allows this.
fn allows(rule: Rule, is_so: &Reading<bool>) -> bool {
    match is_so {
        Reading::Known(so) => !so || rule == Rule::Always,
        Reading::Unknown => rule == Rule::Always,
        Reading::CannotRead(_) => rule != Rule::Never,
    }
}

/// Whether a limit allows this: without a limit anything, without a sensor as well, but not before it was read.
fn within<T: Copy>(limit: Option<u64>, reading: &Reading<T>, keeps: impl Fn(T, u64) -> bool) -> bool {
    match (limit, reading) {
        (None, _) | (_, Reading::CannotRead(_)) => true,
        (Some(_), Reading::Unknown) => false,
        (Some(limit), Reading::Known(value)) => keeps(*value, limit),
    }
}

fn used_lately(p: &Preferences, s: &Sensors) -> Reading<bool> {
    s.idle_ms.clone().map(|idle| idle < p.number(Key::IdleMinutes).unwrap() * 60_000)
}

fn in_use(p: &Preferences, s: &Sensors) -> bool {
    used_lately(p, s) != Reading::Known(false) || !matches!(s.others_cpu_percent, Reading::Known(_))
}

/// The smaller of both values of a pair in use, else the first.
fn of_pair(p: &Preferences, s: &Sensors, key: Key, key_in_use: Key) -> Option<u64> {
    let both = [p.number(key), p.number(key_in_use).filter(|_| in_use(p, s))];
    both.into_iter().flatten().min()
}

/// Whether all that the owner set, but for watts, allows lending. With a margin of 1, also after a reason that wavers.
fn may_lend(p: &Preferences, s: &Sensors, margin: u64) -> bool {
    let clock = s.clock;
    let others = of_pair(p, s, Key::OthersCpu, Key::OthersCpuInUse);
    p.schedule().contains(clock.week_minute())
        && allows(p.rule(Key::WhenOnBattery), &s.power.clone().map(|power| power.on_battery))
        && allows(p.rule(Key::WhenInUse), &used_lately(p, s))
        && allows(p.rule(Key::WhenFullScreen), &s.full_screen)
        && allows(p.rule(Key::WhenMetered), &s.metered)
        && within(p.number(Key::BatteryMin), &s.power, |power, min| {
            let enough = power.charge_percent.is_none_or(|charge| u64::from(charge) >= (min + 5 * margin).min(100));
            enough || !power.on_battery && !power.charging
        })
        && within(others, &s.others_cpu_percent, |is, max| u64::from(is) <= if margin == 1 { max * 4 / 5 } else { max })
        && within(p.number(Key::MemoryPressure), &s.memory_pressure_percent, |is, max| {
            u64::from(is) <= max / (1 + margin)
        })
        && within(p.number(Key::MemoryFreeMin), &s.memory_free_percent, |is, min| {
            u64::from(is) >= (min + 5 * margin).min(100)
        })
        && within(p.number(Key::Temperature), &s.temperature_celsius, |is, max| {
            i64::from(is) <= (max - 5 * margin) as i64
        })
        && within(p.number(Key::Watts), &s.watts, |_, _| true)
        && p.number(Key::DailyTransfer).is_none_or(|max| s.own.transferred_today_bytes < max)
}

fn too_many_watts(p: &Preferences, s: &Sensors) -> bool {
    !within(p.number(Key::Watts), &s.watts, |is, max| u64::from(is) <= max)
}

/// No cap is above what the owner set.
fn check_caps(p: &Preferences, s: &Sensors, caps: &Caps) {
    let most = |key, key_in_use| of_pair(p, s, key, key_in_use).unwrap_or(u64::MAX);
    let bounded = |cap: Option<u64>, most: u64| most == u64::MAX || cap.is_some_and(|cap| cap <= most);
    assert_eq!(caps.in_use, in_use(p, s));
    assert!(caps.cpu_percent >= 1 && u64::from(caps.cpu_percent) <= most(Key::Cpu, Key::CpuInUse));
    assert!(u64::from(caps.memory_percent) <= most(Key::Memory, Key::MemoryInUse));
    assert!(bounded(caps.upload, most(Key::Upload, Key::UploadInUse)));
    assert!(bounded(caps.download, most(Key::Download, Key::DownloadInUse)));
    assert!(bounded(caps.disk_bytes, p.number(Key::Disk).unwrap_or(u64::MAX)));
    assert!(!caps.gpu || p.is_on_now(Key::Gpu, false) && (!in_use(p, s) || p.is_on_now(Key::GpuInUse, false)));
    if let Some(max) = p.number(Key::DailyTransfer) {
        assert!(s.own.transferred_today_bytes + caps.transfer_left.unwrap() <= max);
    }
    let Some(kept_free) = p.number(Key::DiskFreeMin) else { return };
    let more = caps.disk_bytes.unwrap().saturating_sub(s.own.disk_bytes);
    assert!(more == 0 || *s.disk_free_bytes.known().unwrap() - more >= kept_free);
}

/// What an observer of one machine remembers.
#[derive(Default)]
struct Watch {
    /// Since when every rule would allow lending with its margin, without a break.
    clear_since_ms: Option<u64>,
    /// When a reason that wavers last held.
    wavered_ms: Option<u64>,
    /// Whether the machine was lent, or would have been but for the owner's word.
    was_clear: bool,
}

impl Watch {
    fn check(&mut self, p: &Preferences, s: &Sensors, standing: Standing, decision: &Decision) {
        let now_ms = s.clock.now_ms;
        let margins = may_lend(p, s, 1) && !too_many_watts(p, s);
        self.clear_since_ms = margins.then(|| self.clear_since_ms.unwrap_or(now_ms).min(now_ms));
        match decision {
            Decision::Run(caps) => {
                assert!(may_lend(p, s, 0), "lent against a rule");
                assert!(matches!(standing, Standing::Open | Standing::Finishing), "lent against the owner's word");
                assert_eq!(caps.new_work, standing == Standing::Open);
                check_caps(p, s, caps);
                assert!(self.wavered_ms.is_none_or(|at_ms| now_ms >= at_ms + CALM_MS), "lent again without a calm");
                self.was_clear = true;
            }
            Decision::Pause(pause) => self.check_pause(p, s, standing, pause),
        }
    }

    fn check_pause(&mut self, p: &Preferences, s: &Sensors, standing: Standing, pause: &Pause) {
        let now_ms = s.clock.now_ms;
        assert!(pause.until_ms.is_none_or(|until_ms| until_ms > now_ms), "it ended before it began");
        let said = match pause.reason {
            Reason::Owner => matches!(standing, Standing::Paused { .. }),
            Reason::Finished => standing == Standing::Finished,
            _ => matches!(standing, Standing::Open | Standing::Finishing),
        };
        assert!(said, "{:?} while {standing:?}", pause.reason);
        if pause.reason == Reason::Calming {
            assert!(self.clear_since_ms.is_some_and(|since_ms| now_ms - since_ms < CALM_MS), "a calm without end");
        } else if !matches!(pause.reason, Reason::Owner | Reason::Finished) {
            let for_watts = too_many_watts(p, s);
            assert!(!may_lend(p, s, 1) || for_watts, "not lent without a reason: {:?}", pause.reason);
        }
        let begins = matches!(pause.reason, Reason::NotReadYet(_)) && !self.was_clear;
        if pause.reason.wavers() && !begins {
            self.wavered_ms = Some(now_ms);
        }
    }
}

/// How often machines came to what the rules are about.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    calms: u64,
    throttled: u64,
    finished: u64,
}

/// One machine: settings, sensors and the owner's word change by chance, mostly a little.
fn trace(seed: u64, tally: &mut Tally) {
    let chance = &mut Chance(seed);
    let mut p = preferences(chance);
    let mut s = at_rest();
    let mut owner = Owner::new(Standing::Open);
    let mut watch = Watch::default();
    let mut standing = Standing::Open;
    for _ in 0..STEPS {
        s.clock.now_ms += chance.pick(&[1000, 5000, 20_000, CALM_MS, 600_000]) + chance.below(100);
        if chance.one_in(10) {
            s.clock.now_ms += chance.below(7 * 86_400_000);
        }
        if chance.one_in(10) {
            s.clock.offset_minutes = chance.pick(&[0, 60, 120, -480, 345, 840]);
        }
        if chance.one_in(4) {
            s = Sensors { clock: s.clock, ..at_rest() };
        } else if chance.one_in(2) {
            change(chance, &p, &mut s);
        }
        if chance.one_in(12) {
            p = preferences(chance);
        }
        if chance.one_in(8) {
            let (command, after) = word(chance, s.clock.now_ms);
            owner.command(command);
            standing = after;
        }
        standing = match standing {
            Standing::Paused { until_ms: Some(until_ms) } if until_ms <= s.clock.now_ms => Standing::Open,
            Standing::Finishing if s.own.work == 0 => Standing::Finished,
            other => other,
        };
        let decision = owner.step(&p, &s);
        watch.check(&p, &s, standing, &decision);
        assert_eq!(owner.standing(), standing);
        count(tally, &p, &decision);
        check_memoryless(&p, &s);
    }
}

fn count(tally: &mut Tally, p: &Preferences, decision: &Decision) {
    match decision {
        Decision::Run(caps) => {
            tally.runs += 1;
            let whole = p.number_now(Key::Cpu, caps.in_use).unwrap();
            tally.throttled += u64::from(u64::from(caps.cpu_percent) < whole);
        }
        Decision::Pause(pause) if pause.reason == Reason::Calming => tally.calms += 1,
        Decision::Pause(pause) => tally.finished += u64::from(pause.reason == Reason::Finished),
    }
}

/// `decide` alone keeps the same rules, without margins and calm.
fn check_memoryless(p: &Preferences, s: &Sensors) {
    match decide(p, s) {
        Decision::Run(caps) => {
            assert!(may_lend(p, s, 0) && !too_many_watts(p, s));
            check_caps(p, s, &caps);
        }
        Decision::Pause(_) => assert!(!may_lend(p, s, 0) || too_many_watts(p, s)),
    }
}

fn word(chance: &mut Chance, now_ms: u64) -> (Command, Standing) {
    match chance.below(6) {
        0..3 => (Command::Resume, Standing::Open),
        3 => (Command::Pause { until_ms: None }, Standing::Paused { until_ms: None }),
        4 => (Command::Finish, Standing::Finishing),
        _ => {
            let until_ms = Some(now_ms + chance.below(3_600_000));
            (Command::Pause { until_ms }, Standing::Paused { until_ms })
        }
    }
}

#[test]
fn a_hundred_thousand_machines_keep_every_rule() {
    let mut tally = Tally::default();
    for seed in 0..TRACES {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| trace(seed, &mut tally)));
        assert!(outcome.is_ok(), "the machine of seed {seed} broke a rule, see above");
    }
    let Tally { runs, calms, throttled, finished } = tally;
    assert!(runs > 5 * TRACES && calms > TRACES && throttled > TRACES / 10 && finished > TRACES, "{tally:?}");
}

#[test]
fn too_many_watts_are_throttled_within_the_minute_and_end_in_a_pause() {
    let mut p = Preferences::of(skep_owner::Preset::Full);
    p.set(Key::Watts, skep_owner::Value::Number(65)).unwrap();
    let mut s = at_rest();
    let mut owner = Owner::new(Standing::Open);
    let mut cpu = Vec::new();
    s.watts = Reading::Known(66);
    let pause = loop {
        s.clock.now_ms += skep_owner::ADJUST_MS;
        match owner.step(&p, &s) {
            Decision::Run(caps) => cpu.push(caps.cpu_percent),
            Decision::Pause(pause) => break pause,
        }
    };
    assert_eq!(cpu, [75, 56, 42, 31, 23, 17, 13]);
    assert!(matches!(pause.reason, Reason::Watts(level) if (level.is, level.limit) == (66, 65)));
    s.watts = Reading::Known(10);
    let mut waited = 0;
    let first = loop {
        s.clock.now_ms += 1000;
        waited += 1;
        if let Decision::Run(caps) = owner.step(&p, &s) {
            break caps.cpu_percent;
        }
    };
    assert_eq!(waited, 1 + CALM_MS / 1000);
    assert_eq!(u64::from(first), u64::from(THROTTLE_MIN) / 10 + 5 * 12, "it rises by a twentieth every five seconds");
}
