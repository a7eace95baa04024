//! Who may ask what, and how much of it.
//!
//! # The law
//! - A request from this machine itself needs no key. One that a proxy passed on (`forwarded`, `x-forwarded-for`, `x-real-ip` or `via`) is
//!   from elsewhere, whoever opened the connection.
//! - A request from elsewhere needs a key, `authorization: Bearer sk-skep-…`, but for the files of the page, `/health`, and the exchange of a
//!   code for a key. What a path needs is [`needed`]; a path that is not named there needs the owner's key.
//! - A program on this machine that shows such a key is held to it. Anything else that it says there is not read, since clients of other
//!   services insist on saying something.
//! - Keys are made on this machine only: a key cannot make keys.
//!
//! # Keys
//! A key is `sk-skep-` and 256 random bits in base 32. It is told when it is made; what is kept is its BLAKE3 hash, in a file that only its owner
//! reads. Hashes are compared in constant time, all of them for each request. A key that is revoked or over ends the answers that it began,
//! at their next token. Limits: requests in a minute, each of which is paid off by its share of a minute; tokens in a day of UTC, those of
//! prompts included, counted as they come: a day's last answers may go over it. The counts are written every ten seconds at most, and a process
//! that is killed loses what came after.
//!
//! # Guesses
//! The fourth wrong key of an address waits for its answer, and so on; after ten, the address is refused for a minute, and for longer the
//! next time, with 429 and `retry-after`. See [`guesses`].

mod codes;
mod guesses;
mod keys;
pub(crate) mod paths;

pub use keys::{KeyView, KeysFault, MAX_KEYS, MAX_LABEL, Scope, Terms};

use crate::error::ApiError;
use axum::http::{HeaderMap, Method, StatusCode, header};
pub(crate) use codes::CODE_SECONDS;
use codes::Codes;
use guesses::Guesses;
use keys::{KeyId, Moment, Ring, Shown};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the counts are written while there are new ones.
const SAVE_EVERY_MS: u64 = 10_000;

/// The keys of a node, its codes, and who guesses at them. Clones are the same.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    begun: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ring: Ring,
    codes: Codes,
    guesses: Guesses,
    saved_ms: u64,
}

impl Default for Keys {
    /// None, and those that are made are forgotten at the end.
    fn default() -> Self {
        Self::with(Ring::default())
    }
}

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it is the same for everybody.
    Nothing,
    /// A key of either scope.
    Use,
    /// The owner's key.
    Owner,
    /// To be on this machine.
    Here,
}

/// Who asks, once that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// The key that was shown; none on this machine, and where nothing is needed.
    key: Option<KeyId>,
    /// Whether it comes from this machine itself.
    here: bool,
}

impl Pass {
    /// Whether it is this machine, or somebody with a key.
    pub(crate) fn is_known(self) -> bool {
        self.here || self.key.is_some()
    }
}

impl Keys {
    /// The keys of a file, which need not be there yet; its folder must.
    ///
    /// # Errors
    /// [`KeysFault`] when it cannot be read or is something else.
    pub fn open(path: &Path) -> Result<Self, KeysFault> {
        Ok(Self::with(Ring::open(path)?))
    }

    fn with(ring: Ring) -> Self {
        Self(Arc::new(Shared { begun: Instant::now(), inner: Mutex::new(Inner { ring, ..Inner::default() }) }))
    }

    /// Writes what was counted since the last time, for a process that ends in peace.
    ///
    /// # Errors
    /// [`KeysFault::Disk`].
    pub fn save(&self) -> Result<(), KeysFault> {
        self.lock().ring.save_counts()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().ring.list(self.now()).len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        let steady_ms = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { calendar: crate::routes::now(), steady_ms }
    }

    /// Lets a request pass or says why not. The wait is how long the refusal is to be held back, in units.
    pub(crate) fn admit(&self, from: IpAddr, headers: &HeaderMap, need: Need) -> Result<Pass, (ApiError, u32)> {
        let here = from.to_canonical().is_loopback() && !passed_on(headers);
        let key = bearer(headers).filter(|key| !here || key.starts_with(keys::PREFIX));
        let Some(key) = key else {
            return match need {
                Need::Nothing => Ok(Pass { key: None, here }),
                _ if here => Ok(Pass { key: None, here }),
                _ => Err((no_key(), 0)),
            };
        };
        if need == Need::Nothing {
            return Ok(Pass { key: None, here });
        }
        let (mut inner, now) = (self.lock(), self.now());
        // Nobody on this machine is locked out of it by what another program there tries.
        let guesser = (!here).then_some(from);
        let shown = inner.look(guesser, now, |inner| match inner.ring.show(key, now) {
            Shown::Unknown => None,
            shown => Some(shown),
        });
        match shown.map_err(|refused| refused.of(key, &mut inner, guesser, now))? {
            Shown::Good { id, scope } => match (need, scope) {
                (Need::Here, _) => Err((not_here(), 0)),
                (Need::Owner, Scope::Use) => Err((missing_scope(), 0)),
                _ => Ok(Pass { key: Some(id), here }),
            },
            shown => Err((limited(&shown), 0)),
        }
    }

    /// The key that a code stands for, which is made now and told once.
    pub(crate) fn exchange(
        &self,
        from: IpAddr,
        pass: Pass,
        code: &str,
        secret: [u8; 32],
    ) -> Result<(String, KeyView), (ApiError, u32)> {
        let (mut inner, now) = (self.lock(), self.now());
        let guesser = (!pass.here).then_some(from);
        let terms = inner.look(guesser, now, |inner| inner.codes.take(code, now.steady_ms));
        let terms = terms.map_err(|refused| match refused {
            Refused::Wrong => (wrong_code(), inner.note(guesser, code, now)),
            refused @ Refused::For(_) => refused.of(code, &mut inner, guesser, now),
        })?;
        inner.ring.add(terms, secret, now).map_err(|fault| (unkept(&fault), 0))
    }

    /// Counts tokens of an answer; whether it may go on.
    pub(crate) fn charge(&self, pass: Pass, tokens: u64) -> bool {
        let Some(id) = pass.key else { return true };
        let now = self.now();
        let (alive, due) = {
            let mut inner = self.lock();
            let due = now.steady_ms >= inner.saved_ms + SAVE_EVERY_MS;
            if due {
                inner.saved_ms = now.steady_ms;
            }
            (inner.ring.charge(id, tokens, now), due)
        };
        if due {
            let keys = self.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(fault) = keys.save() {
                    tracing::warn!(%fault, "what keys used is not noted down");
                }
            });
        }
        alive
    }
}

/// Why what was shown is not looked at, or is nothing.
enum Refused {
    /// For so many seconds.
    For(u64),
    Wrong,
}

impl Refused {
    fn of(self, key: &str, inner: &mut Inner, from: Option<IpAddr>, now: Moment) -> (ApiError, u32) {
        match self {
            Self::For(seconds) => (guessed(seconds), 0),
            Self::Wrong => (wrong_key(), inner.note(from, key, now)),
        }
    }
}

impl Inner {
    /// Looks at something secret, unless whoever shows it showed too much that was wrong.
    fn look<T>(
        &mut self,
        from: Option<IpAddr>,
        now: Moment,
        look: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, Refused> {
        if let Some(seconds) = from.and_then(|from| self.guesses.refused(from, now.steady_ms)) {
            return Err(Refused::For(seconds));
        }
        look(self).ok_or(Refused::Wrong)
    }

    fn note(&mut self, from: Option<IpAddr>, shown: &str, now: Moment) -> u32 {
        from.map_or(0, |from| self.guesses.wrong(from, blake3::hash(shown.as_bytes()), now.steady_ms))
    }
}

/// How long a refusal is held back.
pub(crate) fn wait(units: u32, unit: Duration) -> Duration {
    guesses::wait(units, unit)
}

/// What a path needs of whoever asks. `is_file` says whether it is a file of the page.
pub(crate) fn needed(method: &Method, path: &str, is_file: impl FnOnce(&str) -> bool) -> Need {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/health" | "/skep/v1/pair" => Need::Nothing,
        "/skep/v1/keys" if !reads => Need::Here,
        "/skep/v1/pair-code" => Need::Here,
        "/skep/v1/network" | "/skep/v1/route" if reads => Need::Use,
        path if path.starts_with("/v1/") => Need::Use,
        path if reads && path.starts_with("/skep/v1/answers/") => Need::Use,
        path if reads && is_file(path) => Need::Nothing,
        _ => Need::Owner,
    }
}

/// Whether a proxy says that it passes on what somebody else asks.
fn passed_on(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name))
}

/// The key that a request shows. The `x-api-key` of other services is not read: one way is enough.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

fn no_key() -> ApiError {
    let hint = "send `authorization: Bearer sk-skep-…`; `skep keys add` makes a key on the machine that answers, and `use it on my phone` on its page pairs a phone";
    ApiError::refuse(StatusCode::UNAUTHORIZED, "another machine needs a key to use this one", hint)
        .code("invalid_api_key")
}

fn wrong_key() -> ApiError {
    let hint = "`skep keys list` on the machine that answers shows which keys there are";
    ApiError::refuse(StatusCode::UNAUTHORIZED, "this is no key of this machine, or it was revoked", hint)
        .code("invalid_api_key")
}

fn wrong_code() -> ApiError {
    let hint = "a code is good once and for five minutes: make another on the page of the machine";
    ApiError::refuse(StatusCode::UNAUTHORIZED, "this code is not good any more", hint).code("invalid_code")
}

/// Told to an answer under way whose key was revoked or is over.
pub(crate) fn over() -> ApiError {
    let hint = "`skep keys add` on the machine that answers makes another";
    ApiError::refuse(StatusCode::UNAUTHORIZED, "the key of this answer is not good any more", hint)
        .code("invalid_api_key")
}

fn missing_scope() -> ApiError {
    let hint = "ask its owner for a key of the scope `owner`, or do this on the machine itself";
    ApiError::refuse(StatusCode::FORBIDDEN, "this key is for the models only", hint).code("missing_scope")
}

fn not_here() -> ApiError {
    let hint = "run `skep keys add` there, or open its page there";
    ApiError::refuse(StatusCode::FORBIDDEN, "keys are made on the machine itself only", hint).code("missing_scope")
}

fn guessed(seconds: u64) -> ApiError {
    let hint = "wait, and send the right one";
    ApiError::refuse(StatusCode::TOO_MANY_REQUESTS, "too many wrong keys came from this address", hint)
        .limited("requests", seconds)
}

fn limited(shown: &Shown) -> ApiError {
    let refuse = |sentence: String, hint: &str| ApiError::refuse(StatusCode::TOO_MANY_REQUESTS, sentence, hint);
    match *shown {
        Shown::TooMany { limit, seconds } => {
            refuse(format!("this key is for {limit} requests a minute"), "ask again when the header `retry-after` says")
                .limited("requests", seconds)
        }
        Shown::Spent { limit, seconds } => {
            refuse(format!("this key is for {limit} tokens a day, and they are spent"), "ask again after midnight UTC")
                .limited("tokens", seconds)
        }
        Shown::Ended => over(),
        Shown::Good { .. } | Shown::Unknown => wrong_key(),
    }
}

fn unkept(fault: &KeysFault) -> ApiError {
    match fault {
        KeysFault::Full => {
            let hint = "revoke one with `skep keys revoke`";
            ApiError::refuse(StatusCode::CONFLICT, fault.to_string(), hint).code("too_many_keys")
        }
        _ => ApiError::server(
            StatusCode::INTERNAL_SERVER_ERROR,
            "not_kept",
            fault.to_string(),
            "free some space, or mend the file",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_nobody_thought_of_needs_the_owner() {
        let need = |method: Method, path: &str| needed(&method, path, |path| path == "/" || path == "/assets/a.js");
        for path in ["/", "/assets/a.js", "/health"] {
            assert_eq!(need(Method::GET, path), Need::Nothing, "{path}");
        }
        assert_eq!(need(Method::POST, "/skep/v1/pair"), Need::Nothing);
        for path in ["/v1/models", "/v1/models/a/b", "/v1/else", "/skep/v1/network", "/skep/v1/answers/x"] {
            assert_eq!(need(Method::GET, path), Need::Use, "{path}");
        }
        assert_eq!(need(Method::POST, "/v1/chat/completions"), Need::Use);
        for path in
            ["/v1", "/skep/v1/machine", "/skep/v1/keys", "/skep/v1/new", "/metrics", "/assets/b.js", "//v1/models"]
        {
            assert_eq!(need(Method::GET, path), Need::Owner, "{path}");
        }
        for path in ["/skep/v1/network", "/", "/assets/a.js", "/skep/v1/keys/revoke"] {
            assert_eq!(need(Method::POST, path), Need::Owner, "{path}");
        }
        for path in ["/skep/v1/keys", "/skep/v1/pair-code"] {
            assert_eq!(need(Method::POST, path), Need::Here, "{path}");
        }
    }

    #[test]
    fn a_proxy_on_this_machine_does_not_lend_out_what_this_machine_may() {
        let keys = Keys::default();
        let local = IpAddr::from([127, 0, 0, 1]);
        let mut headers = HeaderMap::new();
        assert!(keys.admit(local, &headers, Need::Here).is_ok());
        assert!(keys.admit(IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]), &headers, Need::Here).is_ok());
        for name in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
            headers = HeaderMap::new();
            headers.insert(name, header::HeaderValue::from_static("x"));
            for need in [Need::Use, Need::Owner, Need::Here] {
                assert!(keys.admit(local, &headers, need).is_err(), "{name}");
            }
            assert!(keys.admit(local, &headers, Need::Nothing).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_other_services_take_for_a_key_is_not_read_on_this_machine() {
        let (keys, local, far) = (Keys::default(), IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, header::HeaderValue::from_static(value));
            headers
        };
        for value in ["Bearer sk-none", "Bearer", "Basic sk-skep-", "Bearer  "] {
            assert!(keys.admit(local, &with(value), Need::Owner).is_ok(), "{value}");
            assert!(keys.admit(far, &with(value), Need::Use).is_err(), "{value}");
        }
        assert!(keys.admit(local, &with("Bearer sk-skep-wrong"), Need::Use).is_err());
    }
}
