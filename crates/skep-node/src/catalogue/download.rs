//! A file over HTTPS that goes on where it was, whenever it was ended.
//!
//! What has come lies in a file named by the hash of the address, beside it the server's tag of that version (`ETag`, or `Last-Modified`).
//! Another try asks for the rest of that very version (`Range` with `If-Range`); a server that has another one by now, or knows
//! no ranges, sends all of it, and the file begins anew.

use super::fault::PullError;
use super::part::{self, Part, Tell};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Tries in a row that bring nothing.
const TRIES: u32 = 4;
/// Where `hf:` leads, unless `HF_ENDPOINT` names another place, as for Hugging Face's own programs.
const HUB: &str = "https://huggingface.co";
const BUFFER_BYTES: usize = 256 << 10;
/// Portions that may wait for the disk: 1 MiB.
const PORTIONS: usize = 4;
/// How often whoever fetches looks whether it is to stop while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A server that sends nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a file is.
#[derive(Debug)]
pub struct Address {
    uri: Uri,
    /// Whether it is on the hub, which alone may see the person's token.
    hub: bool,
}

impl Address {
    /// Reads `https://…`, `http://…` or `hf:OWNER/REPOSITORY/FILE`, also with `@REVISION` after the repository; none for a text that is
    /// none of these.
    pub fn read(text: &str) -> Result<Option<Self>, PullError> {
        let refused = |reason: &str| PullError::Url { text: text.to_owned(), reason: reason.to_owned() };
        if let Some(place) = text.strip_prefix("hf:") {
            let parts: Vec<&str> = place.splitn(3, '/').collect();
            let [owner, repository, file] = parts[..] else {
                return Err(refused("a file of the hub is written as hf:OWNER/REPOSITORY/FILE.gguf"));
            };
            let (repository, revision) = repository.split_once('@').unwrap_or((repository, "main"));
            if [owner, repository, revision, file].iter().any(|part| part.is_empty()) {
                return Err(refused("a file of the hub is written as hf:OWNER/REPOSITORY/FILE.gguf"));
            }
            let hub = std::env::var("HF_ENDPOINT").ok().filter(|hub| !hub.is_empty()).unwrap_or(HUB.to_owned());
            let url = format!("{}/{owner}/{repository}/resolve/{revision}/{file}", hub.trim_end_matches('/'));
            let uri = url.parse().map_err(|_| refused("it has a character that no address has"))?;
            return Ok(Some(Self { uri, hub: true }));
        }
        let Some((scheme, _)) = text.split_once("://") else { return Ok(None) };
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(refused("only https addresses are fetched"));
        }
        let uri: Uri = text.parse().map_err(|_| refused("it has a character that no address has, or no host"))?;
        Ok(Some(Self { uri, hub: false }))
    }

    /// Whether it is fetched without TLS from another machine.
    pub fn is_plain(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.uri.scheme_str() != Some("https") && !here
    }

    /// Its path, which ends with the name of the file.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Names what comes from there.
    pub fn key(&self) -> String {
        part::key(&self.uri.to_string())
    }
}

/// Why one try ended.
enum Broke {
    /// Another may go on.
    Again(String),
    Final(PullError),
}

impl From<PullError> for Broke {
    fn from(error: PullError) -> Self {
        Self::Final(error)
    }
}

/// Fetches a file into `folder` and says where it is; `tell` hears of each portion how many bytes are here and how many there will be, may
/// take its time, and may end it.
///
/// # Errors
/// [`PullError::Http`] when the server refuses; [`PullError::Download`] when it cannot be reached or breaks off again and again;
/// [`PullError::DiskFull`] and [`PullError::System`] when the disk is too small or refuses; [`PullError::Stopped`] when `tell` ends it. What
/// has come is kept.
pub fn fetch(address: &Address, folder: &Path, tell: Tell<'_>) -> Result<PathBuf, PullError> {
    let part = Part::open(folder, &address.key(), &address.uri.to_string())?;
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(address.uri.scheme_str() == Some("https"))
        .user_agent("skep")
        .tls_config(tls)
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .build();
    let mut download = Download { address, agent: config.into(), part, tell };
    let mut failures = 0;
    loop {
        let before = download.part.len()?;
        let reason = match download.attempt() {
            Ok(()) => break,
            Err(Broke::Final(error)) => return Err(error),
            Err(Broke::Again(reason)) => reason,
        };
        let here = download.part.len()?;
        failures = if here > before { 1 } else { failures + 1 };
        if failures >= TRIES {
            return Err(PullError::Download { url: address.uri.to_string(), reason });
        }
        let again = Instant::now() + Duration::from_millis(500) * failures;
        while Instant::now() < again {
            if (download.tell)(here, None).is_break() {
                return Err(PullError::Stopped);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
    download.part.done()
}

struct Download<'a> {
    address: &'a Address,
    agent: Agent,
    part: Part,
    tell: Tell<'a>,
}

impl Download<'_> {
    fn attempt(&mut self) -> Result<(), Broke> {
        let here = self.part.len()?;
        let tag = self.part.tag();
        let mut request = self.agent.get(self.address.uri.clone());
        if let (Some(tag), true) = (&tag, here > 0) {
            request = request.header("range", format!("bytes={here}-")).header("if-range", tag);
        }
        if let (Some(token), true) =
            (std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()), self.address.hub)
        {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.call().map_err(|fault| Broke::Again(fault.to_string()))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let total = match status {
            StatusCode::OK => {
                self.begin_anew(&headers)?;
                number(&headers, "content-length")
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                let (start, total) = content_range(&headers);
                if status != StatusCode::PARTIAL_CONTENT && total == Some(here) {
                    return Ok(());
                }
                if start != Some(here) {
                    self.part.begin_anew(None)?;
                    return Err(Broke::Again("the server does not go on where the file ends".into()));
                }
                total
            }
            busy if busy.is_server_error() || busy == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Broke::Again(format!("the server answers {busy}")));
            }
            refused => {
                let (url, status) = (self.address.uri.to_string(), refused.to_string());
                return Err(Broke::Final(PullError::Http { url, status, code: refused.as_u16() }));
            }
        };
        self.copy(response.into_body(), total)
    }

    /// Appends what comes. What reads from the network is a thread of its own, so that a server which sends nothing holds up nobody.
    fn copy(&mut self, body: Body, total: Option<u64>) -> Result<(), Broke> {
        let mut here = self.part.seek_end()?;
        self.part.check_room(total.unwrap_or(here) - here.min(total.unwrap_or(here)))?;
        let portions = read(body).map_err(|source| PullError::System { what: "starting a thread".into(), source })?;
        let mut came = Instant::now();
        loop {
            if (self.tell)(here, total).is_break() {
                return Err(Broke::Final(PullError::Stopped));
            }
            match portions.recv_timeout(LOOK_EVERY) {
                Ok(Ok(portion)) => {
                    self.part.append(&portion)?;
                    here += portion.len() as u64;
                    came = Instant::now();
                }
                Ok(Err(fault)) => return Err(Broke::Again(fault.to_string())),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if came.elapsed() < PATIENCE => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Broke::Again(format!("nothing came for {} seconds", PATIENCE.as_secs())));
                }
            }
        }
        match total {
            Some(total) if here != total => Err(Broke::Again(format!("{here} of {total} bytes came"))),
            _ => Ok(()),
        }
    }

    /// The file is another version from here on.
    fn begin_anew(&mut self, headers: &HeaderMap) -> Result<(), Broke> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // A weak tag does not say that the bytes are the same.
        let tag = text("etag").filter(|tag| !tag.starts_with("W/")).or_else(|| text("last-modified"));
        Ok(self.part.begin_anew(tag)?)
    }
}

/// Reads a body in a thread, which ends with it, or when nobody takes what it reads.
fn read(body: Body) -> std::io::Result<Receiver<std::io::Result<Vec<u8>>>> {
    let (out, portions) = sync_channel(PORTIONS);
    let mut body = body.into_reader();
    std::thread::Builder::new().name("skep-download".into()).spawn(move || {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let portion = match body.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => Ok(buffer[..n].to_vec()),
                Err(fault) => Err(fault),
            };
            let broke = portion.is_err();
            if out.send(portion).is_err() || broke {
                return;
            }
        }
    })?;
    Ok(portions)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The first byte and the size of the file, of `bytes 5-9/10` or `bytes */10`.
fn content_range(headers: &HeaderMap) -> (Option<u64>, Option<u64>) {
    let value = headers.get("content-range").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (range, total) = value.trim_start_matches("bytes ").split_once('/').unwrap_or_default();
    (range.split('-').next().and_then(|start| start.trim().parse().ok()), total.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let url = |text: &str| Address::read(text).unwrap().unwrap().uri.to_string();
        assert_eq!(url("hf:a/b/c/d.gguf"), "https://huggingface.co/a/b/resolve/main/c/d.gguf");
        assert_eq!(url("hf:a/b@v1/d.gguf"), "https://huggingface.co/a/b/resolve/v1/d.gguf");
        assert_eq!(url("https://example.org/x.gguf?a=b"), "https://example.org/x.gguf?a=b");
        assert!(Address::read("/tmp/model.gguf").unwrap().is_none() && Address::read("C:\\x.gguf").unwrap().is_none());
        for bad in ["hf:a/b", "hf:a//c", "hf:a/b@/c", "hf:a/b/c d", "ftp://example.org/x", "https://", "https://a b/"] {
            assert!(matches!(Address::read(bad), Err(PullError::Url { .. })), "{bad}");
        }
        let plain = |text: &str| Address::read(text).unwrap().unwrap().is_plain();
        assert!(plain("http://example.org/x") && plain("http://127.0.0.1.example.org/x"));
        assert!(!plain("https://example.org/x") && !plain("http://127.0.0.1:8/x") && !plain("http://[::1]:8/x"));
    }

    #[test]
    fn ranges_of_servers() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-range", text.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(of("bytes 5-9/10"), (Some(5), Some(10)));
        assert_eq!(of("bytes */10"), (None, Some(10)));
        assert_eq!(of("bytes 5-9/*"), (Some(5), None));
        assert_eq!((of(""), of("bytes")), ((None, None), (None, None)));
    }
}
