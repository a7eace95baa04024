//! The steward over a scripted machine and a node that notes down what it is told.

use super::*;
use skep_owner::{Power, Reading, Sensors};
use skep_sensors::Scripted;
use skep_types::BlockRange;
use std::time::Instant;

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Lending>>>);

struct Fake {
    told: Told,
    work: u32,
}

impl Plant for Fake {
    fn work(&self) -> u32 {
        self.work
    }

    fn weights_bytes(&self) -> u64 {
        0
    }

    fn traffic(&self) -> Traffic {
        Traffic { sent: 3, received: 4 }
    }

    fn weights_traffic(&self) -> Traffic {
        Traffic { sent: 1, received: 1 }
    }

    fn blocks(&self) -> Option<BlockRange> {
        BlockRange::new(2, 5).ok()
    }

    fn model(&self) -> Option<String> {
        Some("tiny".into())
    }

    fn lend(&mut self, lending: &Lending) {
        self.told.0.lock().unwrap().push(lending.clone());
        if lending.ends {
            self.work = 0;
        }
    }

    fn divide(&mut self, _lending: &Lending, others: Traffic) {
        assert_eq!(others, Traffic::default(), "nothing is sent or received here after the start");
    }
}

struct Place {
    folder: tempfile::TempDir,
    told: Told,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), told: Told::default() }
    }

    fn file(&self) -> SettingsFile {
        SettingsFile::new(self.folder.path().join("settings.toml"))
    }

    fn start(&self, readings: impl IntoIterator<Item = Sensors>) -> Result<Steward, SettingsFault> {
        let config = StewardConfig {
            sense: Box::new(Scripted::new(readings)),
            settings: self.file(),
            flags: Changes::default(),
            kept: Some(self.folder.path().into()),
            weights: self.folder.path().into(),
        };
        Steward::start(config, Fake { told: self.told.clone(), work: 1 })
    }

    fn last(&self) -> Lending {
        self.told.0.lock().unwrap().last().unwrap().clone()
    }
}

fn on_battery() -> Sensors {
    let power = Power { on_battery: true, charging: false, charge_percent: Some(90) };
    Sensors { power: Reading::Known(power), ..Scripted::at_rest() }
}

fn eventually(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_sensors_say_is_carried_out_and_shown() {
    let place = Place::new();
    let steward = place.start([Scripted::at_rest(), on_battery()]).unwrap();
    let first = steward.machine().unwrap();
    assert_eq!((first.state, first.blocks, first.model.as_deref()), (State::Lending, Some([2, 5]), Some("tiny")));
    assert_eq!(place.told.0.lock().unwrap()[0].refusal, None);
    eventually("the pause", || steward.machine().unwrap().state == State::Paused);
    let paused = steward.machine().unwrap();
    let reason = paused.reason.unwrap();
    assert_eq!((reason.code, reason.setting), ("on_battery", Some("share.when_on_battery")));
    assert!(place.last().ends && place.last().drops_weights && paused.caps.is_none());
    assert_eq!(paused.timeline.len(), 2);
    assert_eq!((paused.timeline[1].from_ms, paused.timeline[1].state), (paused.since_ms, State::Paused));
}

#[tokio::test]
async fn the_owners_word_counts_at_once_and_outlasts_a_restart() {
    let place = Place::new();
    let steward = place.start([]).unwrap();
    assert_eq!(steward.command(Command::Finish).await.unwrap().state, State::Finishing);
    assert!(place.last().refusal.is_some() && !place.last().ends);
    let paused = steward.command(Command::Pause { until_ms: None }).await.unwrap();
    assert_eq!((paused.state, paused.reason.unwrap().code), (State::Paused, "owner"));
    drop(steward);
    let again = place.start([]).unwrap();
    assert_eq!(again.machine().unwrap().state, State::Paused);
    assert_eq!(again.command(Command::Resume).await.unwrap().state, State::Lending);
}

#[tokio::test]
async fn a_setting_holds_at_once_and_stands_in_the_file() {
    let place = Place::new();
    let steward = place.start([]).unwrap();
    let view = steward.set("share.cpu_percent", Some("40")).await.unwrap();
    assert_eq!(view.values["share.cpu_percent"].origin, "page");
    assert_eq!(place.last().cpu_percent, 40);
    assert_eq!(place.file().read().unwrap().get(Key::Cpu), Some(&Value::Number(40)));
    let view = steward.set("share.cpu_percent", None).await.unwrap();
    assert_eq!((view.values["share.cpu_percent"].origin, place.last().cpu_percent), ("preset", 75));
    for (name, text) in [("share.cpu", Some("40")), ("share.cpu_percent", Some("400")), ("share.cpu", None)] {
        assert!(steward.set(name, text).await.is_err(), "{name}");
    }
    assert_eq!(place.last().cpu_percent, 75);
}

#[test]
fn a_file_is_read_when_it_changes_and_a_refused_one_changes_nothing() {
    let place = Place::new();
    let shared = Shared { file: place.file(), layers: Mutex::default(), view: Mutex::new(None) };
    let plant = Fake { told: place.told.clone(), work: 1 };
    let mut work = Work::new(Arc::new(shared), Box::new(Scripted::new([])), None, place.folder.path().into(), plant);
    let mut cpu_after = |text: &str| {
        std::fs::write(place.file().path(), text).unwrap();
        work.look();
        place.last().cpu_percent
    };
    assert_eq!(cpu_after("[share]\ncpu_percent = 33\n"), 33);
    assert_eq!(cpu_after("[share]\ncpu_percent = 400\n"), 33);
    assert_eq!(cpu_after("[share]\ncpu_percent = 7\n"), 7);
    std::fs::write(place.file().path(), "[share]\ncpu = 33\n").unwrap();
    assert!(place.start([]).is_err(), "nobody has good settings at the start");
}
