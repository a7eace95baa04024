//! The keys themselves: what is kept of them, and what each may do.

use blake3::Hash;
use data_encoding::BASE32_DNSSEC;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What every key begins with.
pub(crate) const PREFIX: &str = "sk-skep-";
/// The most keys; one for each device and program of a household or a lab.
pub const MAX_KEYS: usize = 64;
/// The longest label, in characters.
pub const MAX_LABEL: usize = 64;
/// The longest file that is read, in bytes: each key takes less than 512.
const MAX_FILE: u64 = 64 << 10;
/// Digits of a key's hash that name it.
const ID_DIGITS: usize = 10;
/// The form of the file.
const VERSION: u32 = 1;

const MINUTE_MS: u64 = 60_000;
pub(crate) const DAY_SECONDS: u64 = 86_400;

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The models, and what the page shows of the network.
    Use,
    /// All that the owner can do, except to make keys.
    Owner,
}

/// What a key is made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What its owner calls it.
    pub label: String,
    /// What it opens.
    pub scope: Scope,
    /// When it ends, seconds since 1970; `None` for never.
    pub expires: Option<u64>,
    /// The most requests in a minute; `None` for any number.
    pub requests_per_minute: Option<u32>,
    /// The most tokens in a day of UTC, those of prompts included; `None` for any number.
    pub tokens_per_day: Option<u64>,
}

/// A key as its owner sees it: everything but the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyView {
    /// What it is named by: the beginning of its hash.
    pub id: String,
    /// What it was made with.
    #[serde(flatten)]
    pub terms: Terms,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// When it was last used, seconds since 1970; `None` for never.
    pub last_used: Option<u64>,
    /// Tokens of today (UTC).
    pub tokens_today: u64,
}

/// Why the keys are not as they should be.
#[derive(Debug, Error)]
pub enum KeysFault {
    /// The file cannot be read or written.
    #[error("{what} {}: {source}", path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not one of keys.
    #[error("{} is no file of keys: {reason}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no room for another key.
    #[error("there are {MAX_KEYS} keys, and no room for another")]
    Full,
}

/// The time by both clocks: that of the calendar, which may be set, and one that only goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Seconds since 1970.
    pub(crate) calendar: u64,
    /// Milliseconds since some moment of this process.
    pub(crate) steady_ms: u64,
}

/// What is kept of a key on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    #[serde(with = "hex")]
    hash: Hash,
    #[serde(flatten)]
    terms: Terms,
    created: u64,
    last_used: Option<u64>,
    /// The day of `tokens_today`, counted from 1970.
    day: u64,
    tokens_today: u64,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    keys: Vec<Kept>,
}

/// A key in memory.
#[derive(Debug)]
struct Entry {
    kept: Kept,
    /// When the requests so far are paid off, each taking its share of a minute.
    paid_ms: u64,
}

/// What a key that was shown is good for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// This.
    Good { id: KeyId, scope: Scope },
    /// Nothing: no such key, or not any more.
    Unknown,
    /// Nothing: its time is over.
    Ended,
    /// Nothing yet: too many requests. In so many seconds.
    TooMany { limit: u32, seconds: u64 },
    /// Nothing today: its tokens are spent. In so many seconds.
    Spent { limit: u64, seconds: u64 },
}

/// Which key: its hash, which names it for good.
pub(crate) type KeyId = Hash;

/// All keys of a node.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// Where they are kept; `None` in memory only.
    path: Option<PathBuf>,
    entries: Vec<Entry>,
    /// Whether there are counts that the file does not have.
    unsaved: bool,
}

impl Ring {
    /// The keys of a file, which need not be there yet.
    pub(crate) fn open(path: &Path) -> Result<Self, KeysFault> {
        let ring = Self { path: Some(path.to_owned()), ..Self::default() };
        let disk = |source| KeysFault::Disk { what: "reading", path: path.to_owned(), source };
        let form = |reason: String| KeysFault::Form { path: path.to_owned(), reason };
        let length = match fs::metadata(path) {
            Ok(about) => about.len(),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(ring),
            Err(fault) => return Err(disk(fault)),
        };
        if length > MAX_FILE {
            return Err(form(format!("it has {length} bytes")));
        }
        let contents: Contents =
            serde_json::from_slice(&fs::read(path).map_err(disk)?).map_err(|fault| form(fault.to_string()))?;
        if contents.version != VERSION || contents.keys.len() > MAX_KEYS {
            return Err(form(format!("version {} with {} keys", contents.version, contents.keys.len())));
        }
        let entries = contents.keys.into_iter().map(|kept| Entry { kept, paid_ms: 0 }).collect();
        Ok(Self { entries, ..ring })
    }

    /// Makes a key out of `secret`, 32 bytes that nobody can guess. The key is told here and never again.
    pub(crate) fn add(&mut self, terms: Terms, secret: [u8; 32], now: Moment) -> Result<(String, KeyView), KeysFault> {
        // Those that ended long ago make room.
        self.entries.retain(|entry| entry.kept.terms.expires.is_none_or(|end| end + DAY_SECONDS >= now.calendar));
        if self.entries.len() >= MAX_KEYS {
            return Err(KeysFault::Full);
        }
        let key = format!("{PREFIX}{}", BASE32_DNSSEC.encode(&secret));
        let kept = Kept {
            hash: blake3::hash(key.as_bytes()),
            terms,
            created: now.calendar,
            last_used: None,
            day: 0,
            tokens_today: 0,
        };
        let view = kept.view(now);
        self.entries.push(Entry { kept, paid_ms: 0 });
        if let Err(fault) = self.save() {
            self.entries.pop();
            return Err(fault);
        }
        Ok((key, view))
    }

    /// Ends a key from now on; `None` when there is none of this name.
    pub(crate) fn revoke(&mut self, id: &str, now: Moment) -> Result<Option<KeyView>, KeysFault> {
        let Some(index) = self.entries.iter().position(|entry| entry.kept.id() == id) else { return Ok(None) };
        // It ends even if the disk refuses: whoever asks for that wants it ended now, and is told that it may come back.
        let entry = self.entries.remove(index);
        self.save()?;
        Ok(Some(entry.kept.view(now)))
    }

    pub(crate) fn list(&self, now: Moment) -> Vec<KeyView> {
        self.entries.iter().map(|entry| entry.kept.view(now)).collect()
    }

    /// Looks at a key that a request shows, and counts the request. Takes equally long whatever key it is nearest to: every hash is
    /// compared, each in constant time.
    pub(crate) fn show(&mut self, key: &str, now: Moment) -> Shown {
        let hash = blake3::hash(key.as_bytes());
        let mut found = None;
        for entry in &mut self.entries {
            if entry.kept.hash == hash {
                found = Some(entry);
            }
        }
        let Some(entry) = found else { return Shown::Unknown };
        let terms = &entry.kept.terms;
        if terms.expires.is_some_and(|end| end <= now.calendar) {
            return Shown::Ended;
        }
        if let Some(limit) = terms.tokens_per_day
            && entry.kept.spent(now) >= limit
        {
            return Shown::Spent { limit, seconds: DAY_SECONDS - now.calendar % DAY_SECONDS };
        }
        if let Some(limit) = terms.requests_per_minute {
            // Each request takes its share of a minute, and at most a minute is owed.
            let share = MINUTE_MS / u64::from(limit.max(1));
            let paid = entry.paid_ms.max(now.steady_ms) + share;
            if paid > now.steady_ms + MINUTE_MS {
                return Shown::TooMany { limit, seconds: (paid - now.steady_ms - MINUTE_MS).div_ceil(1000) };
            }
            entry.paid_ms = paid;
        }
        // Not worth a write of its own: a page asks every second.
        entry.kept.last_used = Some(now.calendar);
        Shown::Good { id: hash, scope: entry.kept.terms.scope }
    }

    /// Counts tokens of a key; whether it is still one.
    pub(crate) fn charge(&mut self, id: KeyId, tokens: u64, now: Moment) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.kept.hash == id) else { return false };
        let kept = &mut entry.kept;
        kept.tokens_today = kept.spent(now).saturating_add(tokens);
        kept.day = now.calendar / DAY_SECONDS;
        self.unsaved = true;
        kept.terms.expires.is_none_or(|end| end > now.calendar)
    }

    /// Writes the counts if there are new ones.
    pub(crate) fn save_counts(&mut self) -> Result<(), KeysFault> {
        if self.unsaved { self.save() } else { Ok(()) }
    }

    fn save(&mut self) -> Result<(), KeysFault> {
        if let Some(path) = &self.path {
            let keys = self.entries.iter().map(|entry| entry.kept.clone()).collect();
            let disk = |source| KeysFault::Disk { what: "writing", path: path.clone(), source };
            let bytes = serde_json::to_vec_pretty(&Contents { version: VERSION, keys });
            replace(path, &bytes.map_err(|fault| disk(fault.into()))?).map_err(disk)?;
        }
        self.unsaved = false;
        Ok(())
    }
}

impl Kept {
    fn id(&self) -> String {
        self.hash.to_hex()[..ID_DIGITS].to_owned()
    }

    /// Tokens of today.
    fn spent(&self, now: Moment) -> u64 {
        if self.day == now.calendar / DAY_SECONDS { self.tokens_today } else { 0 }
    }

    fn view(&self, now: Moment) -> KeyView {
        KeyView {
            id: self.id(),
            terms: self.terms.clone(),
            created: self.created,
            last_used: self.last_used,
            tokens_today: self.spent(now),
        }
    }
}

/// A hash as its hexadecimal digits.
mod hex {
    use super::Hash;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(hash: &Hash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hash.to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        Hash::from_hex(String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// Replaces the file whole. Nobody else on this machine may read it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file: File| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&draft, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&draft);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(calendar: u64, steady_ms: u64) -> Moment {
        Moment { calendar, steady_ms }
    }

    fn terms() -> Terms {
        let (label, scope) = ("a phone".to_owned(), Scope::Use);
        Terms { label, scope, expires: None, requests_per_minute: None, tokens_per_day: None }
    }

    fn good(ring: &mut Ring, key: &str, now: Moment) -> KeyId {
        match ring.show(key, now) {
            Shown::Good { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_told_once_and_the_file_holds_its_hash_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api-keys.json");
        let mut ring = Ring::open(&path).unwrap();
        let (key, view) = ring.add(terms(), [7; 32], at(100, 0)).unwrap();
        assert_eq!((key.len(), &key[..8]), (60, PREFIX));
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&key[8..]) && text.contains("a phone"), "{text}");
        assert!(text.contains(blake3::hash(key.as_bytes()).to_hex().as_str()), "{text}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let mut again = Ring::open(&path).unwrap();
        assert_eq!(again.list(at(100, 0)), std::slice::from_ref(&view));
        good(&mut again, &key, at(100, 0));
        for wrong in ["", PREFIX, &key[1..], &key[..59], &key.to_uppercase(), &format!("{key} ")] {
            assert_eq!(again.show(wrong, at(100, 0)), Shown::Unknown, "{wrong}");
        }
        assert_eq!(again.revoke(&view.id, at(101, 0)).unwrap().map(|view| view.terms), Some(terms()));
        assert_eq!(again.revoke(&view.id, at(101, 0)).unwrap(), None);
        assert_eq!(again.show(&key, at(101, 0)), Shown::Unknown);
        assert_eq!(Ring::open(&path).unwrap().list(at(101, 0)), []);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn requests_of_a_minute_are_counted_as_they_come() {
        let mut ring = Ring::default();
        let limited = Terms { requests_per_minute: Some(3), ..terms() };
        let (key, _) = ring.add(limited, [7; 32], at(100, 0)).unwrap();
        for _ in 0..3 {
            good(&mut ring, &key, at(100, 5000));
        }
        assert_eq!(ring.show(&key, at(100, 5000)), Shown::TooMany { limit: 3, seconds: 20 });
        assert_eq!(ring.show(&key, at(100, 24_999)), Shown::TooMany { limit: 3, seconds: 1 });
        good(&mut ring, &key, at(100, 25_000));
        assert_eq!(ring.show(&key, at(100, 25_000)), Shown::TooMany { limit: 3, seconds: 20 });
    }

    #[test]
    fn tokens_of_a_day_end_with_the_day_and_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let mut ring = Ring::open(&path).unwrap();
        let limited = Terms { tokens_per_day: Some(100), ..terms() };
        let noon = 10 * DAY_SECONDS + DAY_SECONDS / 2;
        let (key, _) = ring.add(limited, [7; 32], at(noon, 0)).unwrap();
        let id = good(&mut ring, &key, at(noon, 0));
        assert!(ring.charge(id, 99, at(noon, 0)));
        good(&mut ring, &key, at(noon, 0));
        assert!(ring.charge(id, 5, at(noon, 0)));
        ring.save_counts().unwrap();
        let mut ring = Ring::open(&path).unwrap();
        assert_eq!(ring.list(at(noon, 0))[0].tokens_today, 104);
        assert_eq!(ring.show(&key, at(noon, 0)), Shown::Spent { limit: 100, seconds: DAY_SECONDS / 2 });
        good(&mut ring, &key, at(11 * DAY_SECONDS, 0));
        assert_eq!(ring.list(at(11 * DAY_SECONDS, 0))[0].tokens_today, 0);
        ring.charge(id, u64::MAX, at(noon, 0));
        assert!(ring.charge(id, 1, at(noon, 0)), "counts stop at the largest number");
    }

    #[test]
    fn a_key_ends_when_it_was_said_to() {
        let mut ring = Ring::default();
        let (key, view) = ring.add(Terms { expires: Some(200), ..terms() }, [7; 32], at(100, 0)).unwrap();
        let id = good(&mut ring, &key, at(199, 0));
        assert_eq!(ring.show(&key, at(200, 0)), Shown::Ended);
        assert!(!ring.charge(id, 1, at(200, 0)), "an answer under way ends with it");
        assert_eq!(ring.list(at(200, 0))[0].id, view.id, "its owner still sees it");
    }

    #[test]
    fn there_is_room_for_so_many_and_those_that_ended_make_room() {
        let mut ring = Ring::default();
        let ends = Terms { expires: Some(200), ..terms() };
        ring.add(ends, [0; 32], at(100, 0)).unwrap();
        for byte in 1..MAX_KEYS as u8 {
            ring.add(terms(), [byte; 32], at(100, 0)).unwrap();
        }
        assert!(matches!(ring.add(terms(), [99; 32], at(200, 0)), Err(KeysFault::Full)));
        ring.add(terms(), [99; 32], at(201 + DAY_SECONDS, 0)).unwrap();
        assert_eq!(ring.list(at(0, 0)).len(), MAX_KEYS);
    }

    #[test]
    fn a_file_that_is_none_of_keys_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let long = " ".repeat(MAX_FILE as usize + 1);
        for text in ["", "{}", "[]", r#"{"version":2,"keys":[]}"#, r#"{"version":1,"keys":[{}]}"#, &long] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Ring::open(&path), Err(KeysFault::Form { .. })), "{text:.30}");
        }
        fs::write(&path, r#"{"version":1,"keys":[]}"#).unwrap();
        Ring::open(&path).unwrap();
        let nowhere = Ring::open(&folder.path().join("no/such")).unwrap().add(terms(), [1; 32], at(0, 0));
        assert!(matches!(nowhere, Err(KeysFault::Disk { .. })));
    }
}
