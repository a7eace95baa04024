//! `skep pull`: from a file and over HTTP, ended and gone on with, and everything that can be wrong.

#![allow(clippy::unwrap_used, reason = "a test")]

use serde_json::Value;
use skep_types::ModelId;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BUNDLED: &[u8] = include_bytes!("../assets/skep-bard-q8_0.gguf");

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.args(arguments).env("SKEP_HOME", home).env_remove("HF_TOKEN").stdin(Stdio::null());
    command
}

fn skep(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).output().unwrap()
}

/// Checks that it succeeded and reads its line of JSON.
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Checks the form of a failure and returns its sentence and its hint.
fn refusal(output: &Output, exit_code: i32) -> (String, String) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{text}");
    assert!(output.stdout.is_empty(), "standard output is for data");
    let (sentence, hint) = text.trim_end().split_once("\n\nhint: ").unwrap_or_else(|| panic!("no hint in: {text}"));
    (sentence.strip_prefix("error: ").unwrap().to_owned(), hint.to_owned())
}

/// What lies in Skep's folder, but for empty folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

/// How a server answers one request; the requests of the others are those before it.
#[derive(Clone, Copy)]
enum Answer {
    /// As asked for, in the version of this tag.
    Give(&'static str),
    /// As asked for, but after so many bytes the connection ends.
    BreakOff(usize),
    /// As asked for, but after so many bytes nothing more comes.
    Hang(usize),
    Status(&'static str),
    Redirect(&'static str),
}

/// A server that answers each request by the next of its answers, the last one again and again. It notes the requests down.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, answers) = (requests.clone(), answers.to_vec());
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let answer = answers[number.min(answers.len() - 1)];
                let noted = noted.clone();
                std::thread::spawn(move || serve(stream.unwrap(), answer, &noted));
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}/models/bard.gguf", self.address)
    }

    /// The values of a header of all requests so far.
    fn headers(&self, name: &str) -> Vec<Option<String>> {
        let of = |request: &String| {
            let prefix = format!("{name}: ");
            request.lines().find_map(|line| line.to_lowercase().strip_prefix(&prefix).map(str::to_owned))
        };
        self.requests.lock().unwrap().iter().map(of).collect()
    }
}

fn serve(mut stream: TcpStream, answer: Answer, noted: &Mutex<Vec<String>>) {
    let mut request = String::new();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    while lines.read_line(&mut request).unwrap() > 2 {}
    let header = |name: &str| {
        request.lines().find_map(|line| line.to_lowercase().strip_prefix(&format!("{name}: ")).map(str::to_owned))
    };
    let (most, tag, hang) = match answer {
        Answer::Give(tag) => (usize::MAX, tag, false),
        Answer::BreakOff(most) => (most, "\"one\"", false),
        Answer::Hang(most) => (most, "\"one\"", true),
        Answer::Status(status) => {
            noted.lock().unwrap().push(request);
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return;
        }
        Answer::Redirect(to) => {
            noted.lock().unwrap().push(request);
            let _ = write!(
                stream,
                "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            return;
        }
    };
    let same = header("if-range").is_some_and(|held| held == tag);
    let range = header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let start: usize = range.filter(|_| same).unwrap_or(0);
    let body = &BUNDLED[start..];
    let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
    let (last, total) = (BUNDLED.len() - 1, BUNDLED.len());
    noted.lock().unwrap().push(request);
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-range: bytes {start}-{last}/{total}\r\netag: {tag}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..most.min(body.len())]));
    if hang {
        // Until the other end is gone.
        let _ = stream.read(&mut [0; 1]);
    }
}

#[test]
fn a_file_is_pulled_listed_and_used_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("My Bard.gguf");
    std::fs::write(&file, BUNDLED).unwrap();
    let pulled = json(&skep(home.path(), &["pull", file.to_str().unwrap(), "--json"]));
    assert_eq!((&pulled["name"], &pulled["model"]), (&"My-Bard".into(), &ModelId::of(BUNDLED).to_string().into()));
    assert!(std::fs::read(pulled["path"].as_str().unwrap()).unwrap() == BUNDLED && file.exists());
    let listed = json(&skep(home.path(), &["model", "list", "--json"]));
    assert_eq!(listed["models"][0]["name"], "My-Bard");
    assert_eq!(listed["models"][0]["held_bytes"], BUNDLED.len());
    let id = ModelId::of(BUNDLED).to_string();
    for name in ["My-Bard", &id[..8], &id] {
        let mut child = command(home.path(), &["up", "--json", "--ephemeral", "--port", "0", "--model", name])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.contains(&id), "{name}: {line}");
    }
    let (sentence, _) = refusal(&skep(home.path(), &["up", "--port", "0", "--model", "No-Bard"]), 3);
    assert_eq!(sentence, "cannot read No-Bard: No such file or directory (os error 2)");
}

#[test]
fn a_model_is_removed_when_no_process_uses_it() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("bard.gguf");
    std::fs::write(&file, BUNDLED).unwrap();
    json(&skep(home.path(), &["pull", file.to_str().unwrap(), "--json"]));
    let up = ["up", "--json", "--ephemeral", "--port", "0", "--model", "bard"];
    let mut child = command(home.path(), &up).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let id = ModelId::of(BUNDLED).to_string();
    let (sentence, hint) = refusal(&skep(home.path(), &["model", "remove", "bard"]), 4);
    assert_eq!(sentence, format!("model {id} is in use"));
    assert_eq!(hint, "end the `skep up` that serves it first");
    child.kill().unwrap();
    child.wait().unwrap();
    let removed = json(&skep(home.path(), &["model", "remove", &id[..8], "--json"]));
    assert_eq!((&removed["model"], &removed["bytes"]), (&id.into(), &BUNDLED.len().into()));
    assert_eq!(json(&skep(home.path(), &["model", "list", "--json"]))["models"], serde_json::json!([]));
    let (sentence, _) = refusal(&skep(home.path(), &["model", "remove", "bard"]), 3);
    assert_eq!(sentence, "no model here is called bard");
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&[Answer::BreakOff(300_000), Answer::BreakOff(200_000), Answer::Give("\"one\"")]);
    let pulled = json(&skep(home.path(), &["pull", &server.url(), "--json"]));
    assert_eq!((&pulled["name"], &pulled["bytes"]), (&"bard".into(), &BUNDLED.len().into()));
    assert_eq!(server.headers("range"), [None, Some("bytes=300000-".into()), Some("bytes=500000-".into())]);
    assert!(std::fs::read(pulled["path"].as_str().unwrap()).unwrap() == BUNDLED);
    // Nothing is left on its way.
    assert_eq!(files(&home.path().join("incoming")), [] as [PathBuf; 0]);
}

#[test]
fn another_version_of_the_file_begins_anew() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&[Answer::BreakOff(300_000), Answer::Give("\"two\"")]);
    let pulled = json(&skep(home.path(), &["pull", &server.url(), "--json", "--name", "x"]));
    assert_eq!(server.headers("if-range"), [None, Some("\"one\"".into())]);
    assert!(std::fs::read(pulled["path"].as_str().unwrap()).unwrap() == BUNDLED);
}

#[test]
fn a_killed_download_goes_on_in_the_next_process() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&[Answer::Hang(400_000), Answer::Give("\"one\"")]);
    let mut child = command(home.path(), &["pull", &server.url()]).spawn().unwrap();
    let came = || files(&home.path().join("incoming")).iter().map(|file| file.metadata().unwrap().len()).max();
    while came().unwrap_or(0) < 400_000 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    json(&skep(home.path(), &["pull", &server.url(), "--json"]));
    assert_eq!(server.headers("range"), [None, Some("bytes=400000-".into())]);
}

#[test]
fn the_hub_is_asked_for_the_file_and_only_it_sees_the_token() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&[Answer::Redirect("/cdn/0123"), Answer::Give("\"one\"")]);
    let output = command(home.path(), &["pull", "hf:skep/bard/q8/bard.gguf", "--json"])
        .env("HF_ENDPOINT", format!("http://{}", server.address))
        .env("HF_TOKEN", "secret")
        .output()
        .unwrap();
    assert_eq!(json(&output)["name"], "bard");
    let lines: Vec<String> =
        server.requests.lock().unwrap().iter().map(|request| request.lines().next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["GET /skep/bard/resolve/main/q8/bard.gguf HTTP/1.1", "GET /cdn/0123 HTTP/1.1"]);
    assert_eq!(server.headers("authorization"), [Some("bearer secret".into()), None]);
}

#[test]
fn a_server_that_refuses() {
    let home = tempfile::tempdir().unwrap();
    let url = Server::start(&[Answer::Status("404 Not Found")]).url();
    let (sentence, hint) = refusal(&skep(home.path(), &["pull", &url]), 5);
    assert_eq!(sentence, format!("{url} answers 404 Not Found"));
    assert!(hint.starts_with("check owner, repository, revision and file name"), "{hint}");
    let url = Server::start(&[Answer::Status("403 Forbidden")]).url();
    let (_, hint) = refusal(&skep(home.path(), &["pull", &url]), 5);
    assert!(hint.contains("HF_TOKEN"), "{hint}");
    let server = Server::start(&[Answer::Status("503 Service Unavailable")]);
    let (sentence, hint) = refusal(&skep(home.path(), &["pull", &server.url()]), 5);
    assert!(sentence.ends_with("the server answers 503 Service Unavailable"), "{sentence}");
    assert_eq!((hint.starts_with("what has come is kept"), server.requests.lock().unwrap().len()), (true, 4));
}

#[test]
fn nobody_at_the_address() {
    let home = tempfile::tempdir().unwrap();
    let (sentence, _) = refusal(&skep(home.path(), &["pull", "http://127.0.0.1:1/x.gguf"]), 5);
    assert!(sentence.starts_with("http://127.0.0.1:1/x.gguf cannot be fetched: "), "{sentence}");
}

#[test]
fn addresses_that_are_none_and_those_that_anybody_could_change() {
    let home = tempfile::tempdir().unwrap();
    for bad in ["hf:owner/file.gguf", "ftp://example.org/x.gguf", "https://"] {
        let (sentence, _) = refusal(&skep(home.path(), &["pull", bad]), 3);
        assert!(sentence.starts_with(&format!("{bad} is not fetched: ")), "{sentence}");
    }
    let (sentence, hint) = refusal(&skep(home.path(), &["pull", "http://192.0.2.1/x.gguf"]), 3);
    assert!(sentence.ends_with("without TLS anybody on the way can change the file"), "{sentence}");
    assert!(hint.contains("with --id also http"), "{hint}");
    let (sentence, _) = refusal(&skep(home.path(), &["pull", "/no/such.gguf"]), 3);
    assert_eq!(sentence, "cannot read /no/such.gguf: No such file or directory (os error 2)");
}

#[test]
fn another_model_than_asked_for_and_what_is_no_model_are_not_kept() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(&[Answer::Give("\"one\"")]);
    let (own, other) = (ModelId::of(BUNDLED).to_string(), "ab".repeat(32));
    let (sentence, _) = refusal(&skep(home.path(), &["pull", &server.url(), "--id", &other]), 3);
    assert_eq!(sentence, format!("this is model {own}, not {other}"));
    assert_eq!(files(home.path()), [] as [PathBuf; 0]);
    assert_eq!(json(&skep(home.path(), &["pull", &server.url(), "--id", &own, "--json"]))["model"], own);

    let home = tempfile::tempdir().unwrap();
    let text = home.path().join("text.gguf");
    std::fs::write(&text, "no model at all").unwrap();
    let (sentence, _) = refusal(&skep(home.path(), &["pull", text.to_str().unwrap()]), 3);
    assert!(sentence.contains("malformed gguf"), "{sentence}");
    assert_eq!(files(home.path()), [text]);
}

#[test]
fn a_full_disk() {
    let disk = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(disk.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: this user may not mount a small disk; this test checked nothing");
        return;
    }
    let other = tempfile::tempdir().unwrap();
    let file = other.path().join("bard.gguf");
    std::fs::write(&file, BUNDLED).unwrap();
    let url = Server::start(&[Answer::Give("\"one\"")]).url();
    let told = [file.to_str().unwrap(), &url].map(|from| {
        let output = skep(disk.path(), &["pull", from]);
        std::panic::catch_unwind(|| refusal(&output, 4))
    });
    Command::new("umount").arg(disk.path()).status().unwrap();
    for (told, why) in told.into_iter().zip(["No space left on device (os error 28)", "are free on the disk of"]) {
        let (sentence, hint) = told.unwrap();
        assert!(sentence.contains(why), "{sentence}");
        assert_eq!(hint, "free some space, or choose another folder with SKEP_HOME");
    }
}
