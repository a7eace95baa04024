//! A server of one file, which gives no more of it than a test lets through.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PORTION: usize = 64 << 10;

/// A running server, until the process ends.
pub struct Server {
    address: String,
    /// Nothing of the file from this byte on is sent.
    gate: Arc<AtomicU64>,
    starts: Arc<Mutex<Vec<u64>>>,
}

impl Server {
    pub fn start(file: Vec<u8>, gate: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (gate, starts) = (Arc::new(AtomicU64::new(gate)), Arc::new(Mutex::new(Vec::new())));
        let (gate_in, starts_in, file) = (gate.clone(), starts.clone(), Arc::new(file));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (gate, starts, file) = (gate_in.clone(), starts_in.clone(), file.clone());
                // Whoever hangs up ends it.
                std::thread::spawn(move || serve(&stream.unwrap(), &file, &gate, &starts).ok());
            }
        });
        Self { address, gate, starts }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://{}/models/{name}", self.address)
    }

    pub fn open(&self, gate: u64) {
        self.gate.store(gate, Ordering::Relaxed);
    }

    /// From which byte on each request wanted the file.
    pub fn starts(&self) -> Vec<u64> {
        self.starts.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, file: &[u8], gate: &AtomicU64, starts: &Mutex<Vec<u64>>) -> std::io::Result<()> {
    let mut request = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while lines.read_line(&mut request)? > 2 {}
    if !request.contains(".gguf ") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let range = request.lines().find_map(|line| {
        let line = line.to_lowercase();
        line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
    });
    let start = range.unwrap_or(0);
    starts.lock().unwrap().push(start as u64);
    let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
    let (left, last, total) = (file.len() - start, file.len() - 1, file.len());
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {left}\r\ncontent-range: bytes {start}-{last}/{total}\r\netag: \"one\"\r\nconnection: close\r\n\r\n"
    )?;
    let mut at = start;
    while at < file.len() {
        let open = usize::try_from(gate.load(Ordering::Relaxed)).unwrap_or(usize::MAX).min(file.len());
        let next = open.min(at + PORTION);
        if next > at {
            stream.write_all(&file[at..next])?;
            at = next;
        } else {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}
