//! A file over HTTPS that goes on where it was, whenever it was ended.
//!
//! What has come lies in a file named by the hash of the address, beside it the server's tag of that version (`ETag`, or `Last-Modified`).
//! Another try asks for the rest of that very version (`Range` with `If-Range`); a server that has another one by now, or knows
//! no ranges, sends all of it, and the file begins anew.

use crate::error::Error;
use indicatif::ProgressBar;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Tries in a row that bring nothing.
const TRIES: u32 = 4;
/// Where `hf:` leads, unless `HF_ENDPOINT` names another place, as for Hugging Face's own programs.
const HUB: &str = "https://huggingface.co";
const BUFFER_BYTES: usize = 256 << 10;

/// Where a file is.
#[derive(Debug)]
pub(crate) struct Address {
    uri: Uri,
    /// Whether it is on the hub, which alone may see the person's token.
    hub: bool,
}

impl Address {
    /// Reads `https://…`, `http://…` or `hf:OWNER/REPOSITORY/FILE`, also with `@REVISION` after the repository; none for a text that is
    /// none of these.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, Error> {
        let refused = |reason: &str| Error::Url { text: text.to_owned(), reason: reason.to_owned() };
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
    pub(crate) fn is_plain(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.uri.scheme_str() != Some("https") && !here
    }

    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }
}

/// Why one try ended.
enum Broke {
    /// Another may go on.
    Again(String),
    Final(Error),
}

/// Fetches a file into `folder` and says where it is.
///
/// # Errors
/// [`Error::Http`] when the server refuses; [`Error::Download`] when it cannot be reached or breaks off again and again;
/// [`Error::System`] when the disk refuses. What has come is kept.
pub(crate) fn fetch(address: &Address, folder: &Path, bar: &ProgressBar) -> Result<PathBuf, Error> {
    let name = &blake3_hex(&address.uri.to_string())[..32];
    let path = folder.join(format!("{name}.part"));
    let system = |source| Error::System { what: format!("writing {}", path.display()), source };
    let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let file = opened.map_err(system)?;
    if file.try_lock().is_err() {
        return Err(Error::PulledTwice { url: address.uri.to_string() });
    }
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(address.uri.scheme_str() == Some("https"))
        .user_agent("skep")
        .tls_config(tls)
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .build();
    let mut download = Download { address, agent: config.into(), file, tag: folder.join(format!("{name}.tag")), bar };
    let mut failures = 0;
    loop {
        let before = download.len().map_err(system)?;
        let reason = match download.attempt() {
            Ok(()) => break,
            Err(Broke::Final(error)) => return Err(error),
            Err(Broke::Again(reason)) => reason,
        };
        failures = if download.len().map_err(system)? > before { 1 } else { failures + 1 };
        if failures >= TRIES {
            return Err(Error::Download { url: address.uri.to_string(), reason });
        }
        std::thread::sleep(Duration::from_millis(500) * failures);
    }
    // The next file at this address is another one.
    let _ = std::fs::remove_file(&download.tag);
    Ok(path)
}

struct Download<'a> {
    address: &'a Address,
    agent: Agent,
    file: File,
    /// Where the version of what has come is noted.
    tag: PathBuf,
    bar: &'a ProgressBar,
}

impl Download<'_> {
    fn len(&self) -> std::io::Result<u64> {
        self.file.metadata().map(|file| file.len())
    }

    fn attempt(&mut self) -> Result<(), Broke> {
        let here = self.len().map_err(|source| self.disk(source))?;
        let tag = std::fs::read_to_string(&self.tag).ok();
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
                    self.cut()?;
                    return Err(Broke::Again("the server does not go on where the file ends".into()));
                }
                total
            }
            busy if busy.is_server_error() || busy == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Broke::Again(format!("the server answers {busy}")));
            }
            refused => {
                let (url, status) = (self.address.uri.to_string(), refused.to_string());
                return Err(Broke::Final(Error::Http { url, status, code: refused.as_u16() }));
            }
        };
        self.copy(response.into_body(), total)
    }

    /// Appends what comes.
    fn copy(&mut self, body: Body, total: Option<u64>) -> Result<(), Broke> {
        let mut here = self.file.seek(SeekFrom::End(0)).map_err(|source| self.disk(source))?;
        self.bar.set_length(total.unwrap_or(0));
        let (mut body, mut buffer) = (body.into_reader(), vec![0; BUFFER_BYTES]);
        loop {
            self.bar.set_position(here);
            let n = body.read(&mut buffer).map_err(|fault| Broke::Again(fault.to_string()))?;
            if n == 0 {
                break;
            }
            self.file.write_all(&buffer[..n]).map_err(|source| self.disk(source))?;
            here += n as u64;
        }
        match total {
            Some(total) if here != total => Err(Broke::Again(format!("{here} of {total} bytes came"))),
            _ => Ok(()),
        }
    }

    /// The file is another version from here on.
    fn begin_anew(&mut self, headers: &HeaderMap) -> Result<(), Broke> {
        self.cut()?;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        // A weak tag does not say that the bytes are the same.
        let tag = text("etag").filter(|tag| !tag.starts_with("W/")).or_else(|| text("last-modified"));
        match tag {
            Some(tag) => std::fs::write(&self.tag, tag).map_err(|source| self.disk(source)),
            None => Ok(()),
        }
    }

    fn cut(&mut self) -> Result<(), Broke> {
        let _ = std::fs::remove_file(&self.tag);
        self.file.set_len(0).map_err(|source| self.disk(source))
    }

    fn disk(&self, source: std::io::Error) -> Broke {
        let folder = self.tag.parent().unwrap_or(&self.tag);
        Broke::Final(Error::System { what: format!("writing into {}", folder.display()), source })
    }
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

fn blake3_hex(text: &str) -> String {
    skep_types::ModelId::of(text.as_bytes()).to_string()
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
            assert!(matches!(Address::read(bad), Err(Error::Url { .. })), "{bad}");
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
