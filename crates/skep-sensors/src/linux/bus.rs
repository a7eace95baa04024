//! As much of D-Bus as it takes to ask a service for a number or a yes.
//!
//! A client signs on by its user (`AUTH EXTERNAL`), says `Hello`, and sends method calls, each a header and strings; it reads replies until
//! the one to its call. Nothing is started by a call, nothing is subscribed to. Every message that is read is bounded, and so is the wait.
//! <https://dbus.freedesktop.org/doc/dbus-specification.html>

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long an answer may take: services answer within milliseconds, and readings are taken every second or so.
const WAIT: Duration = Duration::from_millis(250);
/// The most bytes of a message's fields, and of its body: answers here have under 200.
const PART_BYTES_MAX: u32 = 16 * 1024;
/// The most other messages before the answer: a bus tells a newcomer its name.
const OTHERS_MAX: usize = 8;
/// The most bytes of a line of the sign-on.
const LINE_BYTES_MAX: usize = 512;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
/// No service is to be started for the call.
const NO_AUTO_START: u8 = 2;

/// A question to a service.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call<'a> {
    /// A method without arguments.
    Method { destination: &'a str, path: &'a str, interface: &'a str, member: &'a str },
    /// A property.
    Property { destination: &'a str, path: &'a str, interface: &'a str, name: &'a str },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum BusError {
    #[error("there is no bus here ({0})")]
    Absent(ErrorKind),
    #[error("the bus says nothing")]
    Silent,
    #[error("the bus hung up")]
    Lost,
    #[error("the bus does not know this user")]
    SignOn,
    #[error("the answer was {0}")]
    Refused(String),
    #[error("the answer was in a form that Skep does not know")]
    Malformed,
}

impl From<std::io::Error> for BusError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            _ => Self::Lost,
        }
    }
}

/// A bus, and the connection to it while that works.
#[derive(Debug)]
pub(super) struct Bus {
    socket: PathBuf,
    user: u32,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    pub(super) fn new(socket: PathBuf, user: u32) -> Self {
        Self { socket, user, connection: None }
    }

    /// The number that a service answers; a yes is 1.
    pub(super) fn ask(&mut self, call: &Call<'_>) -> Result<u64, BusError> {
        if let Some(connection) = &mut self.connection {
            match connection.ask(call) {
                // The bus was started anew since the last question.
                Err(BusError::Lost) => self.connection = None,
                Err(error @ (BusError::Silent | BusError::Malformed)) => {
                    self.connection = None;
                    return Err(error);
                }
                answer => return answer,
            }
        }
        let mut connection = Connection::open(self)?;
        let answer = connection.ask(call);
        if matches!(answer, Ok(_) | Err(BusError::Refused(_))) {
            self.connection = Some(connection);
        }
        answer
    }
}

impl Connection {
    fn open(bus: &Bus) -> Result<Self, BusError> {
        let stream = UnixStream::connect(&bus.socket).map_err(|error| BusError::Absent(error.kind()))?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        let mut connection = Self { stream, serial: 0 };
        let user: String = bus.user.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        connection.stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        if !connection.line()?.starts_with(b"OK ") {
            return Err(BusError::SignOn);
        }
        connection.stream.write_all(b"BEGIN\r\n")?;
        let hello = Call::Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
        };
        connection.reply(&hello)?;
        Ok(connection)
    }

    fn line(&mut self) -> Result<Vec<u8>, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
            if line.len() > LINE_BYTES_MAX {
                return Err(BusError::Malformed);
            }
        }
        Ok(line)
    }

    fn ask(&mut self, call: &Call<'_>) -> Result<u64, BusError> {
        let reply = self.reply(call)?;
        let mut body = Reader { bytes: &reply.body, at: 0, big_endian: reply.big_endian };
        body.value(&reply.signature).ok_or(BusError::Malformed)
    }

    /// Sends a call and waits for the answer to it.
    fn reply(&mut self, call: &Call<'_>) -> Result<Message, BusError> {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.stream.write_all(&encode(call, self.serial).ok_or(BusError::Malformed)?)?;
        for _ in 0..=OTHERS_MAX {
            let message = self.message()?;
            if message.reply_to != Some(self.serial) {
                continue;
            }
            return match message.kind {
                METHOD_RETURN => Ok(message),
                ERROR => Err(BusError::Refused(message.error)),
                _ => Err(BusError::Malformed),
            };
        }
        Err(BusError::Malformed)
    }

    fn message(&mut self) -> Result<Message, BusError> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let big_endian = match head[0] {
            b'l' => false,
            b'B' => true,
            _ => return Err(BusError::Malformed),
        };
        let mut lengths = Reader { bytes: &head, at: 4, big_endian };
        let body_bytes = lengths.u32().ok_or(BusError::Malformed)?;
        lengths.at = 12;
        let field_bytes = lengths.u32().ok_or(BusError::Malformed)?;
        if body_bytes > PART_BYTES_MAX || field_bytes > PART_BYTES_MAX {
            return Err(BusError::Malformed);
        }
        let fields = self.part(field_bytes.next_multiple_of(8))?;
        let body = self.part(body_bytes)?;
        let mut message = Message { kind: head[1], big_endian, body, ..Message::default() };
        let used = usize::try_from(field_bytes).ok().and_then(|used| fields.get(..used)).unwrap_or_default();
        let mut reader = Reader { bytes: used, at: 0, big_endian };
        while reader.at < used.len() {
            reader.field(&mut message).ok_or(BusError::Malformed)?;
        }
        Ok(message)
    }

    fn part(&mut self, bytes: u32) -> Result<Vec<u8>, BusError> {
        let mut part = vec![0; usize::try_from(bytes).map_err(|_| BusError::Malformed)?];
        self.stream.read_exact(&mut part)?;
        Ok(part)
    }
}

/// What is used of a message.
#[derive(Debug, Default)]
struct Message {
    kind: u8,
    big_endian: bool,
    reply_to: Option<u32>,
    error: String,
    signature: String,
    body: Vec<u8>,
}

/// Bytes of a message, where each value begins at a multiple of its size.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(&mut self) -> Option<u64> {
        self.align(8);
        let bytes = self.take(8)?.try_into().ok()?;
        Some(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Text of so many bytes, and the zero after it.
    fn text(&mut self, bytes: usize) -> Option<String> {
        let text = std::str::from_utf8(self.take(bytes)?).ok()?.to_owned();
        (self.take(1)? == [0]).then_some(text)
    }

    fn string(&mut self) -> Option<String> {
        let bytes = usize::try_from(self.u32()?).ok()?;
        self.text(bytes)
    }

    fn signature(&mut self) -> Option<String> {
        let bytes = usize::from(*self.take(1)?.first()?);
        self.text(bytes)
    }

    /// A field of the header: its number, and a value with its kind.
    fn field(&mut self, message: &mut Message) -> Option<()> {
        self.align(8);
        let number = *self.take(1)?.first()?;
        match (number, self.signature()?.as_str()) {
            (5, "u") => message.reply_to = Some(self.u32()?),
            (4, "s") => message.error = self.string()?,
            (8, "g") => message.signature = self.signature()?,
            (_, "u") => drop(self.u32()?),
            (_, "s" | "o") => drop(self.string()?),
            (_, "g") => drop(self.signature()?),
            _ => return None,
        }
        Some(())
    }

    /// A yes or a number of this kind, or one inside a variant.
    fn value(&mut self, signature: &str) -> Option<u64> {
        match signature {
            "b" => self.u32().filter(|value| *value <= 1).map(u64::from),
            "u" => self.u32().map(u64::from),
            "t" => self.u64(),
            "v" => {
                let inner = self.signature()?;
                // A variant in a variant says nothing that a service here would.
                if inner == "v" { None } else { self.value(&inner) }
            }
            _ => None,
        }
    }
}

/// A call as bytes, little-endian.
fn encode(call: &Call<'_>, serial: u32) -> Option<Vec<u8>> {
    let (destination, path, interface, member, arguments) = match *call {
        Call::Method { destination, path, interface, member } => (destination, path, interface, member, None),
        Call::Property { destination, path, interface, name } => {
            (destination, path, "org.freedesktop.DBus.Properties", "Get", Some([interface, name]))
        }
    };
    let mut body = Vec::new();
    for argument in arguments.iter().flatten() {
        put_string(&mut body, argument)?;
    }
    let mut fields = Vec::new();
    for (number, kind, text) in [(1, b'o', path), (2, b's', interface), (3, b's', member), (6, b's', destination)] {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([number, 1, kind, 0]);
        put_string(&mut fields, text)?;
    }
    if arguments.is_some() {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([8, 1, b'g', 0, 2, b's', b's', 0]);
    }
    let mut message = vec![b'l', METHOD_CALL, NO_AUTO_START, 1];
    message.extend(u32::try_from(body.len()).ok()?.to_le_bytes());
    message.extend(serial.to_le_bytes());
    message.extend(u32::try_from(fields.len()).ok()?.to_le_bytes());
    message.extend(fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    Some(message)
}

fn put_string(bytes: &mut Vec<u8>, text: &str) -> Option<()> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(u32::try_from(text.len()).ok()?.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
    Some(())
}
