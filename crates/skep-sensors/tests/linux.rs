//! The sensors of Linux, over machines written down file by file.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use skep_owner::{Own, Power, Reading, Sensors};
use skep_sensors::{Linux, OwnLoad, Sense, Sources};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

const NOW_MS: u64 = 1_711_540_800_000;

/// A folder that looks like a machine's root.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(name: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(name);
        for file in fs::read_to_string(path).unwrap().split("@ ").filter(|file| !file.is_empty()) {
            let (path, text) = file.split_once('\n').unwrap();
            machine.write(path, text);
        }
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.0.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// Sets when a terminal was last read.
    fn typed(&self, path: &str, before_now_ms: u64) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW_MS - before_now_ms);
        let file = fs::File::open(self.0.path().join(path)).unwrap();
        file.set_times(fs::FileTimes::new().set_accessed(at)).unwrap();
    }

    fn sensors(&self) -> Linux {
        let root = self.0.path().to_owned();
        Linux::new(Sources { weights: root.join("models"), root, own_load: OwnLoad::Process })
    }

    fn read(&self) -> Sensors {
        self.sensors().read(NOW_MS, Own::default())
    }
}

fn why<T: std::fmt::Debug>(reading: &Reading<T>) -> &str {
    let Reading::CannotRead(gap) = reading else { panic!("{reading:?}") };
    assert!(gap.advice.ends_with('.') && !gap.why.ends_with('.'), "{gap:?}");
    &gap.why
}

#[test]
fn a_laptop_on_its_batteries() {
    let read = Machine::new("laptop.txt").read();
    assert_eq!(read.clock.now_ms, NOW_MS);
    // 40 of 60 Wh, and the mouse does not count.
    let power = Power { on_battery: true, charging: false, charge_percent: Some(66) };
    assert_eq!(read.power, Reading::Known(power));
    assert_eq!(read.temperature_celsius, Reading::Known(62), "the disk is hotter, and one input is broken");
    assert_eq!(read.memory_free_percent, Reading::Known(40));
    assert_eq!(read.memory_pressure_percent, Reading::Known(2));
    assert_eq!(
        (&read.others_cpu_percent, &read.watts),
        (&Reading::Unknown, &Reading::Unknown),
        "these take two samples"
    );
    assert_eq!(why(&read.idle_ms), "a desktop is open, and no logind says when it was last used");
    assert!(why(&read.metered).starts_with("NetworkManager cannot be asked: there is no bus here"));
    assert_eq!(why(&read.full_screen), "no interface of Linux says it on every desktop");
    assert!(matches!(read.disk_free_bytes, Reading::Known(bytes) if bytes > 0));
}

#[test]
fn a_laptop_that_is_plugged_in_and_charges() {
    let machine = Machine::new("laptop.txt");
    machine.write("sys/class/power_supply/ucsi-source-psy-USBC000:001/online", "1\n");
    machine.write("sys/class/power_supply/BAT0/status", "Charging\n");
    let power = Power { on_battery: false, charging: true, charge_percent: Some(66) };
    assert_eq!(machine.read().power, Reading::Known(power));
    machine.remove("sys/class/power_supply/BAT0/energy_now");
    assert_eq!(machine.read().power, Reading::Known(Power { charge_percent: Some(80), ..power }), "61 % and 99 %");
}

#[test]
fn batteries_without_a_word_of_mains() {
    let machine = Machine::new("laptop.txt");
    for mains in ["AC", "ucsi-source-psy-USBC000:001"] {
        machine.remove(&format!("sys/class/power_supply/{mains}"));
    }
    assert!(matches!(machine.read().power, Reading::Known(Power { on_battery: true, .. })));
    machine.write("sys/class/power_supply/BAT0/status", "Full\n");
    assert!(matches!(machine.read().power, Reading::Known(Power { on_battery: false, .. })));
    machine.write("sys/class/power_supply/BAT0/status", "Unknown\n");
    assert_eq!(why(&machine.read().power), "the battery does not say whether it is in use");
    machine.write("sys/class/power_supply/ups/type", "UPS\n");
    machine.write("sys/class/power_supply/ups/status", "Discharging\n");
    machine.write("sys/class/power_supply/BAT0/status", "Full\n");
    assert!(matches!(machine.read().power, Reading::Known(Power { on_battery: true, .. })));
}

#[test]
fn a_desktop_and_a_board_have_what_they_have() {
    let desktop = Machine::new("desktop.txt").read();
    assert_eq!(desktop.power, Reading::Known(Power::default()));
    assert_eq!(desktop.temperature_celsius, Reading::Known(46), "degrees are rounded up");
    assert_eq!(
        (desktop.memory_free_percent, desktop.memory_pressure_percent),
        (Reading::Known(100), Reading::Known(0))
    );
    let board = Machine::new("board.txt").read();
    assert_eq!(board.temperature_celsius, Reading::Known(49));
    assert_eq!(why(&board.watts), "this machine shows no energy of its processor");
    assert!(why(&board.memory_pressure_percent).starts_with("/proc/pressure/memory cannot be read: "));
    assert_eq!(why(&board.memory_free_percent), "/proc/meminfo does not say what is available");
    assert_eq!(board.idle_ms, Reading::Known(360_000), "nobody logged in since it started");
}

#[test]
fn a_machine_without_anything_says_so_of_each() {
    let empty = Machine(tempfile::tempdir().unwrap());
    let read = empty.read();
    assert_eq!(read.power, Reading::Known(Power::default()), "the kernel lists each battery, so there is none");
    assert_eq!(why(&read.others_cpu_percent), "/proc/stat, or what Skep itself used, cannot be read");
    assert_eq!(why(&read.temperature_celsius), "this machine shows no temperature of its processor");
    assert_eq!(read.idle_ms, Reading::Unknown);
}

#[test]
fn others_use_what_is_busy_and_not_ours() {
    let machine = Machine::new("laptop.txt");
    let mut sensors = machine.sensors();
    let mut after = |stat: &str, own: &str| {
        machine.write("proc/stat", stat);
        machine.write("proc/self/stat", own);
        sensors.read(NOW_MS, Own::default()).others_cpu_percent
    };
    let own = |user: u64| {
        format!("4242 (skep) 1 2 3 4) S 1 4242 4242 0 -1 4194304 5000 0 0 0 {user} 500 0 0 20 0 9 0 12345\n")
    };
    assert_eq!(after("cpu  1000 0 0 1000 0 0 0 0 0 0\n", &own(0)), Reading::Unknown);
    assert_eq!(after("cpu  1500 0 0 1400 50 0 0 50 0 0\n", &own(400)), Reading::Known(10), "100 of 1000 ticks");
    assert_eq!(after("cpu  1500 0 0 1401 50 0 0 50 0 0\n", &own(400)), Reading::Known(10), "too short to say anew");
    assert_eq!(after("cpu  2000 0 0 1400 50 0 0 50 0 0\n", &own(950)), Reading::Known(0), "ours was read later");
    assert_eq!(after("cpu  2000 9 0 2391 50 0 0 50 0 0\n", &own(950)), Reading::Known(1), "nice counts, rounded up");
    assert_eq!(after("cpu  10 0 0 10 0 0 0 0 0 0\n", &own(950)), Reading::Unknown, "counters began anew");
    assert!(matches!(after("cpu  10 0 zero 10 0 0 0 0\n", &own(950)), Reading::CannotRead(_)));
}

#[test]
fn a_control_group_stands_for_all_processes_that_skep_started() {
    let machine = Machine::new("desktop.txt");
    let group = "sys/fs/cgroup/skep.slice";
    let usage = |us: u64| machine.write(&format!("{group}/cpu.stat"), &format!("usage_usec {us}\nuser_usec 1\n"));
    let root = machine.0.path().to_owned();
    let sources = Sources { weights: root.clone(), root, own_load: OwnLoad::Group(group.into()) };
    let mut sensors = Linux::new(sources);
    usage(0);
    sensors.read(NOW_MS, Own::default());
    machine.write("proc/stat", "cpu  5205 356 584 4199 23 0 0 0 0 0\n");
    usage(2_500_000);
    assert_eq!(sensors.read(NOW_MS, Own::default()).others_cpu_percent, Reading::Known(25));
}

#[test]
fn watts_are_the_packages_energy_over_time_and_outlive_a_wrap() {
    let machine = Machine::new("desktop.txt");
    let mut sensors = machine.sensors();
    let mut after = |energy_uj: u64, now_ms: u64| {
        machine.write("sys/class/powercap/intel-rapl:0/energy_uj", &format!("{energy_uj}\n"));
        sensors.read(now_ms, Own::default()).watts
    };
    assert_eq!(after(65_532_000_000, NOW_MS), Reading::Unknown);
    assert_eq!(after(65_532_100_000, NOW_MS + 100), Reading::Unknown, "too soon");
    assert_eq!(after(99_389_013, NOW_MS + 1000), Reading::Known(100), "100 J in a second, over the end of the counter");
    assert_eq!(after(99_389_014, NOW_MS + 2000), Reading::Known(1), "rounded up");
    assert_eq!(after(500_000_000, NOW_MS + 60_000), Reading::Unknown, "it may have wrapped more than once");
    assert_eq!(after(500_000_000, NOW_MS), Reading::Unknown, "the clock was set back");
    machine.remove("sys/class/powercap/intel-rapl:0/energy_uj");
    assert!(why(&machine.read().watts).starts_with("the energy of the processor cannot be read: "));
}

#[test]
fn what_is_typed_into_terminals_counts() {
    let machine = Machine::new("laptop.txt");
    machine.remove("run/user");
    machine.typed("dev/tty1", 7_000_000);
    machine.typed("dev/pts/0", 64_000);
    assert_eq!(machine.read().idle_ms, Reading::Known(64_000));
    machine.typed("dev/pts/0", 8_000_000);
    assert_eq!(machine.read().idle_ms, Reading::Known(7_000_000));
    machine.write("dev/ttyS0", "");
    machine.write("dev/pts/ptmx", "");
    machine.write("dev/tty0", "");
    assert_eq!(machine.read().idle_ms, Reading::Known(7_000_000), "these are no terminals of people");
}

#[test]
fn long_files_and_foreign_bytes_are_read_without_harm() {
    let machine = Machine::new("laptop.txt");
    machine.write("proc/meminfo", &"x".repeat(1 << 20));
    fs::write(machine.0.path().join("proc/stat"), [0xff; 4096]).unwrap();
    machine.write("sys/class/power_supply/BAT0/capacity", "-1");
    machine.write("sys/class/power_supply/BAT0/energy_full", "0");
    machine.write("sys/class/hwmon/hwmon5/temp1_input", "99999999999999999999");
    let read = machine.read();
    assert!(matches!(read.memory_free_percent, Reading::CannotRead(_)));
    assert!(matches!(read.others_cpu_percent, Reading::CannotRead(_)));
    assert!(matches!(read.power, Reading::Known(Power { charge_percent: Some(99), .. })));
    assert_eq!(read.temperature_celsius, Reading::Known(62));
}

#[test]
fn this_machine_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut sensors = skep_sensors::of_this_machine(&folder.path().join("a/b/models"));
    let read = sensors.read(NOW_MS, Own { work: 3, ..Own::default() });
    assert_eq!(read.own.work, 3);
    let offset = read.clock.offset_minutes;
    assert!((-12 * 60..=14 * 60).contains(&offset) && offset % 15 == 0, "{offset}");
    assert!(matches!(read.memory_free_percent, Reading::Known(percent) if percent <= 100));
    assert_eq!(read.others_cpu_percent, Reading::Unknown);
    assert!(matches!(read.disk_free_bytes, Reading::Known(_)));
}
