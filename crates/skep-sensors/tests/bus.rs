//! What services on a bus say, over a bus that a test plays.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use skep_owner::{Own, Reading, Sensors};
use skep_sensors::{Linux, OwnLoad, Sense, Sources};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const NOW_MS: u64 = 1_711_540_800_000;

/// What the bus answers to a question that holds a word.
#[derive(Clone)]
enum Answer {
    /// A value by its signature, as bytes.
    Value(&'static str, Vec<u8>),
    /// The same in a variant, as properties come.
    Variant(&'static str, Vec<u8>),
    Error(&'static str),
    Silence,
    HangUp,
    /// These bytes instead of a message.
    Bytes(Vec<u8>),
}

type Answers = Arc<Mutex<HashMap<&'static str, Answer>>>;

/// A folder that looks like a root, with a bus.
struct Machine {
    root: tempfile::TempDir,
    answers: Answers,
}

impl Machine {
    fn new(bus: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let machine = Self { root, answers: Answers::default() };
        fs::create_dir_all(machine.path("proc/self")).unwrap();
        fs::write(machine.path("proc/uptime"), "500.0 900.0\n").unwrap();
        machine.add_bus(bus, b'l');
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn user(&self) -> u32 {
        fs::metadata(self.path("proc/self")).unwrap().uid()
    }

    fn add_bus(&self, socket: &str, order: u8) {
        let socket = self.path(socket);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(socket).unwrap();
        let answers = Arc::clone(&self.answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || serve(&stream.unwrap(), &answers, order));
            }
        });
    }

    fn answer(&self, word: &'static str, answer: Answer) {
        self.answers.lock().unwrap().insert(word, answer);
    }

    fn sensors(&self) -> Linux {
        let root = self.root.path().to_owned();
        Linux::new(Sources { weights: root.clone(), root, own_load: OwnLoad::Process })
    }

    fn read(&self) -> Sensors {
        self.sensors().read(NOW_MS, Own::default())
    }
}

const SYSTEM: &str = "run/dbus/system_bus_socket";

fn serve(stream: &UnixStream, answers: &Answers, order: u8) -> Option<()> {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    let user = line.strip_prefix("\0AUTH EXTERNAL ")?.trim();
    assert!(user.len() % 2 == 0 && user.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
    (&*stream).write_all(b"OK 0123456789abcdef\r\n").ok()?;
    line.clear();
    lines.read_line(&mut line).ok()?;
    assert_eq!(line, "BEGIN\r\n");
    loop {
        let (serial, question) = message(&mut lines)?;
        if question.contains("Hello") {
            (&*stream).write_all(&reply(order, serial, "s", b"\x05\0\0\0:1.42\0")).ok()?;
            // The bus tells a newcomer its name, by a signal that answers nothing.
            (&*stream).write_all(&signal(order)).ok()?;
            continue;
        }
        let answers = answers.lock().unwrap().clone();
        let found = answers.iter().filter(|(word, _)| question.contains(**word)).max_by_key(|(word, _)| word.len());
        match found.map(|(_, answer)| answer.clone()) {
            Some(Answer::Value(signature, body)) => {
                (&*stream).write_all(&reply(order, serial, signature, &body)).ok()?
            }
            Some(Answer::Variant(signature, body)) => {
                // An answer to a question that was not asked, which must not be taken for this one.
                (&*stream).write_all(&reply(order, serial + 1000, "u", &u32_bytes(order, 9))).ok()?;
                (&*stream).write_all(&reply(order, serial, "v", &variant(signature, &body))).ok()?;
            }
            Some(Answer::Error(name)) => (&*stream).write_all(&error(order, serial, name)).ok()?,
            Some(Answer::Bytes(bytes)) => (&*stream).write_all(&bytes).ok()?,
            Some(Answer::Silence) => {}
            Some(Answer::HangUp) => return None,
            None => (&*stream).write_all(&error(order, serial, "org.freedesktop.DBus.Error.ServiceUnknown")).ok()?,
        }
    }
}

/// Reads a call: its serial, and all of it as text.
fn message(from: &mut impl Read) -> Option<(u32, String)> {
    let mut head = [0; 16];
    from.read_exact(&mut head).ok()?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    assert_eq!((head[0], head[1], head[3]), (b'l', 1, 1), "a call, in the order and version that it says");
    assert_eq!(head[2] & 2, 2, "no service is started");
    let mut rest = vec![0; number(12).next_multiple_of(8) as usize + number(4) as usize];
    from.read_exact(&mut rest).ok()?;
    Some((number(8), String::from_utf8_lossy(&rest).into_owned()))
}

fn u32_bytes(order: u8, number: u32) -> [u8; 4] {
    if order == b'l' { number.to_le_bytes() } else { number.to_be_bytes() }
}

fn assemble(order: u8, kind: u8, fields: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![order, kind, 1, 1];
    let length = |bytes: &[u8]| u32_bytes(order, u32::try_from(bytes.len()).unwrap());
    bytes.extend(length(body));
    bytes.extend(u32_bytes(order, 7));
    bytes.extend(length(fields));
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

fn reply_to(order: u8, serial: u32) -> Vec<u8> {
    [&[5, 1, b'u', 0][..], &u32_bytes(order, serial)].concat()
}

fn reply(order: u8, serial: u32, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = reply_to(order, serial);
    fields.extend([8, 1, b'g', 0, u8::try_from(signature.len()).unwrap()]);
    fields.extend(signature.bytes());
    fields.push(0);
    assemble(order, 2, &fields, body)
}

fn error(order: u8, serial: u32, name: &str) -> Vec<u8> {
    let mut fields = reply_to(order, serial);
    fields.extend([4, 1, b's', 0]);
    fields.extend(u32_bytes(order, u32::try_from(name.len()).unwrap()));
    fields.extend(name.bytes());
    fields.push(0);
    assemble(order, 3, &fields, &[])
}

fn signal(order: u8) -> Vec<u8> {
    let mut fields = vec![3, 1, b's', 0];
    fields.extend(u32_bytes(order, 12));
    fields.extend(b"NameAcquired\0");
    assemble(order, 4, &fields, &[])
}

fn variant(signature: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(signature.len()).unwrap()];
    bytes.extend(signature.bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(value.len().max(1)), 0);
    bytes.extend(value);
    bytes
}

fn yes(yes: bool) -> Answer {
    Answer::Variant("b", u32::from(yes).to_le_bytes().to_vec())
}

fn since(before_now_ms: u64) -> Answer {
    Answer::Variant("t", ((NOW_MS - before_now_ms) * 1000).to_le_bytes().to_vec())
}

fn metered(state: u32) -> Answer {
    Answer::Variant("u", state.to_le_bytes().to_vec())
}

#[test]
fn network_manager_says_whether_the_network_is_metered() {
    let machine = Machine::new(SYSTEM);
    let mut sensors = machine.sensors();
    let mut after = |state| {
        machine.answer("Metered", metered(state));
        sensors.read(NOW_MS, Own::default()).metered
    };
    let known = [1, 2, 3, 4].map(&mut after);
    assert_eq!(known, [true, false, true, false].map(Reading::Known));
    assert!(
        matches!(after(0), Reading::CannotRead(gap) if gap.why == "NetworkManager does not know whether the network is metered")
    );
}

#[test]
fn logind_says_since_when_all_sessions_are_idle() {
    let machine = Machine::new(SYSTEM);
    machine.answer("IdleHint", yes(false));
    assert_eq!(machine.read().idle_ms, Reading::Known(0));
    machine.answer("IdleHint", yes(true));
    machine.answer("IdleSinceHint", since(90_000));
    assert_eq!(machine.read().idle_ms, Reading::Known(90_000));
    machine.answer("IdleSinceHint", Answer::Error("org.freedesktop.DBus.Error.NoReply"));
    assert_eq!(machine.read().idle_ms, Reading::Unknown);
}

#[test]
fn gnome_is_believed_when_nobody_else_is_logged_in() {
    let machine = Machine::new(SYSTEM);
    let user = machine.user();
    machine.add_bus(&format!("run/user/{user}/bus"), b'l');
    machine.answer("IdleMonitor", Answer::Value("t", 120_000u64.to_le_bytes().to_vec()));
    machine.answer("IdleHint", yes(false));
    fs::create_dir_all(machine.path("run/systemd/users")).unwrap();
    fs::write(machine.path(&format!("run/systemd/users/{user}")), "").unwrap();
    assert_eq!(machine.read().idle_ms, Reading::Known(120_000));
    fs::write(machine.path("run/systemd/users/4242"), "").unwrap();
    assert_eq!(machine.read().idle_ms, Reading::Known(0), "the other one may be there");
    machine.answer("IdleHint", yes(true));
    machine.answer("IdleSinceHint", since(500_000));
    assert_eq!(machine.read().idle_ms, Reading::Known(120_000));
}

#[test]
fn a_bus_in_the_other_byte_order_is_understood() {
    let machine = Machine::new("run/elsewhere");
    machine.add_bus(SYSTEM, b'B');
    machine.answer("Metered", Answer::Variant("u", 2u32.to_be_bytes().to_vec()));
    machine.answer("IdleHint", Answer::Variant("b", 1u32.to_be_bytes().to_vec()));
    machine.answer("IdleSinceHint", Answer::Variant("t", ((NOW_MS - 5000) * 1000).to_be_bytes().to_vec()));
    let read = machine.read();
    assert_eq!((read.metered, read.idle_ms), (Reading::Known(false), Reading::Known(5000)));
}

#[test]
fn a_service_that_is_not_there_is_a_gap_and_one_that_is_silent_is_unknown() {
    let machine = Machine::new(SYSTEM);
    let read = machine.read();
    let Reading::CannotRead(gap) = read.metered else { panic!("{:?}", read.metered) };
    assert_eq!(gap.why, "NetworkManager cannot be asked: the answer was org.freedesktop.DBus.Error.ServiceUnknown");
    assert_eq!(read.idle_ms, Reading::Known(500_000), "nobody logged in since it started");
    machine.answer("Metered", Answer::Silence);
    machine.answer("IdleHint", Answer::Silence);
    let read = machine.read();
    assert_eq!((read.metered, read.idle_ms), (Reading::Unknown, Reading::Unknown));
}

#[test]
fn a_bus_that_was_started_anew_is_asked_again() {
    let machine = Machine::new(SYSTEM);
    machine.answer("Metered", metered(1));
    let mut sensors = machine.sensors();
    assert_eq!(sensors.read(NOW_MS, Own::default()).metered, Reading::Known(true));
    machine.answer("Hang", Answer::HangUp);
    machine.answer("IdleHint", Answer::HangUp);
    sensors.read(NOW_MS, Own::default());
    machine.answer("IdleHint", yes(false));
    let read = sensors.read(NOW_MS, Own::default());
    assert_eq!((read.metered, read.idle_ms), (Reading::Known(true), Reading::Known(0)));
}

#[test]
fn bad_answers_are_no_answers() {
    let machine = Machine::new(SYSTEM);
    let huge = assemble(b'l', 2, &reply_to(b'l', 2), &[]);
    let mut long_body = huge.clone();
    long_body[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut long_fields = huge.clone();
    long_fields[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut no_order = huge.clone();
    no_order[0] = b'x';
    let unknown_field = assemble(b'l', 2, &[9, 1, b'a', 0, 0, 0, 0, 0], &[]);
    let text_without_end = assemble(b'l', 2, &[4, 1, b's', 0, 255, 255, 255, 255], &[]);
    let bad = [
        Answer::Variant("s", b"\x01\0\0\0x\0".to_vec()),
        Answer::Variant("v", vec![1, b'u', 0, 0, 1, 0, 0, 0]),
        Answer::Variant("b", 2u32.to_le_bytes().to_vec()),
        Answer::Variant("u", vec![1, 0]),
        Answer::Value("v", vec![]),
        Answer::Value("", vec![]),
        Answer::Bytes(long_body),
        Answer::Bytes(long_fields),
        Answer::Bytes(no_order),
        Answer::Bytes(unknown_field),
        Answer::Bytes(text_without_end),
        Answer::Bytes([signal(b'l'), signal(b'l')].concat().repeat(20)),
    ];
    for (index, answer) in bad.into_iter().enumerate() {
        machine.answer("Metered", answer);
        let Reading::CannotRead(gap) = machine.read().metered else { panic!("answer {index} was believed") };
        assert_eq!(
            gap.why, "NetworkManager cannot be asked: the answer was in a form that Skep does not know",
            "{index}"
        );
    }
}
