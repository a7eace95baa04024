//! Sensors that are not there, and sensors that say what they are told.

use skep_owner::{Decision, Key, Own, Owner, Preferences, Preset, Reading, Reason, Sensors, Standing};
use skep_sensors::{Blind, Scripted, Sense};

#[test]
fn a_script_is_played_once_and_ends_with_its_last_reading() {
    let hot = Sensors { temperature_celsius: Reading::Known(99), ..Scripted::at_rest() };
    let mut sensors: Box<dyn Sense> = Box::new(Scripted::new([Scripted::at_rest(), hot]));
    let mut owner = Owner::new(Standing::Open);
    let preferences = Preferences::of(Preset::Quiet);
    let own = Own { work: 2, ..Own::default() };
    let mut lent = Vec::new();
    for now_ms in [1000, 2000, 3000] {
        let read = sensors.read(now_ms, own);
        assert_eq!((read.clock.now_ms, read.own), (now_ms, own));
        lent.push(matches!(owner.step(&preferences, &read), Decision::Run(_)));
    }
    assert_eq!(lent, [true, false, false]);
}

#[test]
fn a_machine_at_rest_is_lent_by_every_preset() {
    for preset in Preset::ALL {
        let read = Scripted::new([]).read(0, Own::default());
        assert!(matches!(skep_owner::decide(&Preferences::of(preset), &read), Decision::Run(_)), "{preset:?}");
    }
}

#[test]
fn a_machine_of_which_nothing_is_read_is_lent_only_by_an_owner_who_says_so() {
    let read = Blind.read(1_711_540_800_000, Own::default());
    assert_eq!(read.gaps().len(), 10, "each is shown with its advice");
    assert!(Scripted::at_rest().gaps().is_empty());
    let reason = |preset| match skep_owner::decide(&Preferences::of(preset), &read) {
        Decision::Pause(pause) => Some(pause.reason),
        Decision::Run(caps) => {
            assert!(caps.in_use, "nobody can tell, so the caps are those of use");
            None
        }
    };
    assert_eq!(reason(Preset::Quiet), Some(Reason::PowerUnsure));
    assert_eq!(reason(Preset::Balanced), Some(Reason::PowerUnsure));
    assert_eq!(reason(Preset::Full), None);
    assert_eq!(Reason::PowerUnsure.setting(), Some(Key::WhenOnBattery));
}
