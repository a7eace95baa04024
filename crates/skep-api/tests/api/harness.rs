//! A server on a real socket, and a client that sees every byte.

use crate::scripted::Scripted;
use serde_json::Value;
use skep_api::{ApiConfig, router, serve};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub backend: Scripted,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Server {
    pub fn start(backend: Scripted) -> Self {
        Self::with(backend, ApiConfig::default())
    }

    pub fn with(backend: Scripted, config: ApiConfig) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let patience = config.patience.clone();
        let app = router(backend.clone(), config);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(socket).unwrap();
                serve(listener, app, patience, async { drop(stopped.await) }).await.unwrap();
            });
        });
        Self { address, backend, stop, thread }
    }

    /// Asks it to end, and waits until it has.
    pub fn shut_down(self) {
        self.stop.send(()).unwrap();
        eventually("the end of the server", || self.thread.is_finished());
        self.thread.join().unwrap();
    }

    /// Sends bytes and reads until the server has nothing more to say.
    pub fn raw(&self, request: &str) -> Answer {
        let mut stream = self.open(request);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Answer::parse(&String::from_utf8(bytes).unwrap())
    }

    /// Sends bytes and leaves the connection open.
    pub fn open(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.raw(&self.request("GET", path, "", ""))
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.raw(&self.request("POST", path, "content-type: application/json\r\n", body))
    }

    /// A request whose connection closes after the answer; `headers` are lines with their ends.
    pub fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
    }
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let headers: Vec<_> =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.into(), value.into())).collect();
        let mut answer = Self { status, headers, body: body.to_owned() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunk(body);
        }
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// `error.param`, `error.code` and the message.
    pub fn error(&self) -> (Value, Value, String) {
        let error = self.json()["error"].clone();
        (error["param"].clone(), error["code"].clone(), error["message"].as_str().unwrap().to_owned())
    }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
}

/// Waits for something that is sure to happen, and fails when it has not after twenty seconds.
pub fn eventually(what: &str, happened: impl Fn() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
