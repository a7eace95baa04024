//! Two programs for the hosts of a lab: `skep-netlab echo PORT` sends every datagram back, and `skep-netlab ping IP:PORT COUNT BYTES`
//! prints the round trip of each of so many datagrams in milliseconds, or `lost` after two seconds without an answer.

use std::io::{self, Write};
use std::net::UdpSocket;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["echo", port] => port.parse().map_err(io::Error::other).and_then(echo),
        ["ping", to, count, bytes] => match (count.parse(), bytes.parse()) {
            (Ok(count), Ok(bytes)) => ping(to, count, bytes),
            _ => Err(io::Error::other("COUNT and BYTES are numbers")),
        },
        _ => Err(io::Error::other("use: skep-netlab echo PORT | skep-netlab ping IP:PORT COUNT BYTES")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says `ready`, then answers until it is killed.
fn echo(port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    println!("ready");
    let mut buffer = [0; 2048];
    loop {
        let (bytes, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..bytes], from)?;
    }
}

fn ping(to: &str, count: u32, bytes: usize) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    let mut out = io::stdout().lock();
    let mut buffer = vec![0; bytes.max(4)];
    for number in 0..count {
        buffer[..4].copy_from_slice(&number.to_le_bytes());
        let sent = Instant::now();
        socket.send(&buffer)?;
        match answer(&socket, number, sent)? {
            Some(after) => writeln!(out, "{:.3}", after.as_secs_f64() * 1e3)?,
            None => writeln!(out, "lost")?,
        }
    }
    Ok(())
}

/// When the answer of this number came; answers to those before it came too late.
fn answer(socket: &UdpSocket, number: u32, sent: Instant) -> io::Result<Option<Duration>> {
    let mut buffer = [0; 2048];
    loop {
        let left = PATIENCE.saturating_sub(sent.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut buffer) {
            Ok(bytes) if bytes >= 4 && buffer[..4] == number.to_le_bytes() => return Ok(Some(sent.elapsed())),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(None);
            }
            // A process that was stopped for a while and goes on.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Nobody listens there yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
