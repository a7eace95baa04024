//! What the steward keeps on the disk: the settings, which people write as well, and what must outlast a restart.

use skep_owner::{Changes, Key, SettingError, Standing, Transfer, Value, read_file, template, write_file};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use thiserror::Error;

/// Why settings cannot be read or kept.
#[derive(Debug, Error)]
pub enum SettingsFault {
    /// The file, or the change, is refused.
    #[error(transparent)]
    Refused(#[from] SettingError),
    /// The disk refuses.
    #[error("{what} {}: {source}", path.display())]
    Disk {
        /// What was tried, such as `reading`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The file of settings, whether it is there or not.
#[derive(Debug, Clone)]
pub struct SettingsFile {
    path: PathBuf,
}

/// What tells a file from what it was.
pub(super) type Mark = Option<(SystemTime, u64)>;

impl SettingsFile {
    /// The file at this path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it sets; nothing if it is not there.
    ///
    /// # Errors
    /// [`SettingsFault`]; then nothing of the file holds.
    pub fn read(&self) -> Result<Changes, SettingsFault> {
        Ok(read_file(&self.text()?.unwrap_or_default())?)
    }

    /// Changes one setting, or with `None` leaves it to the preset. A file that is not there yet begins as the template.
    ///
    /// # Errors
    /// [`SettingsFault`]; the file is as it was then.
    pub fn change(&self, key: Key, value: Option<&Value>) -> Result<(), SettingsFault> {
        let before = self.text()?;
        if before.is_none() && value.is_none() {
            return Ok(());
        }
        let after = write_file(&before.unwrap_or_else(template), key, value)?;
        replace(&self.path, &after).map_err(|source| self.fault("writing", source))
    }

    /// Changes when the file does.
    pub(super) fn mark(&self) -> Mark {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn text(&self) -> Result<Option<String>, SettingsFault> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.fault("reading", source)),
        }
    }

    fn fault(&self, what: &'static str, source: io::Error) -> SettingsFault {
        SettingsFault::Disk { what, path: self.path.clone(), source }
    }
}

/// Puts a new file in the place of the old one, so that whoever reads finds one of the two whole.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    let written = fs::File::create(&new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&new, path));
    if replaced.is_err() {
        // What is left of a write that failed is in nobody's way, but it is nobody's file either.
        let _ = fs::remove_file(&new);
    }
    replaced
}

/// What outlasts a restart: the owner's last word, and the bytes of the day. Without a folder it is forgotten.
#[derive(Debug)]
pub(super) struct Kept {
    folder: Option<PathBuf>,
    standing: Option<Standing>,
    transfer: Option<Transfer>,
}

impl Kept {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, standing: None, transfer: None }
    }

    /// The owner's last word; where it cannot be read, the machine counts as paused.
    pub(super) fn standing(&mut self) -> Standing {
        let standing = match self.load("standing") {
            Ok(None) => Standing::Open,
            Ok(Some(text)) => text.parse().unwrap_or(Standing::Paused { until_ms: None }),
            Err(_) => Standing::Paused { until_ms: None },
        };
        self.standing = Some(standing);
        standing
    }

    /// The bytes of the day, none where they cannot be read.
    pub(super) fn transfer(&mut self) -> Transfer {
        let transfer = self.load("transfer").ok().flatten().and_then(|text| text.parse().ok()).unwrap_or_default();
        self.transfer = Some(transfer);
        transfer
    }

    /// Keeps the owner's word if it is another one.
    pub(super) fn keep_standing(&mut self, standing: Standing) {
        if self.standing != Some(standing) && self.save("standing", &standing.to_string()) {
            self.standing = Some(standing);
        }
    }

    /// Keeps the bytes of the day if there are more.
    pub(super) fn keep_transfer(&mut self, transfer: Transfer) {
        if self.transfer != Some(transfer) && self.save("transfer", &transfer.to_string()) {
            self.transfer = Some(transfer);
        }
    }

    fn load(&self, name: &str) -> io::Result<Option<String>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        match fs::read_to_string(folder.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn save(&self, name: &str, text: &str) -> bool {
        let Some(folder) = &self.folder else { return true };
        let saved = replace(&folder.join(name), &format!("{text}\n"));
        if let Err(fault) = &saved {
            tracing::warn!(%fault, name, "what the owner said cannot be kept for the next start");
        }
        saved.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_owner::Clock;

    #[test]
    fn a_setting_is_written_into_the_file_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::new(folder.path().join("inner").join("settings.toml"));
        assert_eq!((file.read().unwrap(), file.mark()), (Changes::default(), None));
        file.change(Key::Cpu, None).unwrap();
        assert_eq!(file.mark(), None, "nothing to unset makes no file");
        file.change(Key::Cpu, Some(&Value::Number(40))).unwrap();
        assert_eq!(file.read().unwrap().get(Key::Cpu), Some(&Value::Number(40)));
        assert!(file.mark().is_some());
        let refused = file.change(Key::Cpu, Some(&Value::Number(400))).unwrap_err();
        assert!(matches!(refused, SettingsFault::Refused(_)));
        assert_eq!(fs::read_dir(folder.path().join("inner")).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn the_last_word_outlasts_a_restart_and_an_unreadable_one_pauses() {
        let folder = tempfile::tempdir().unwrap();
        let again = || Kept::new(Some(folder.path().into()));
        let mut kept = again();
        assert_eq!((kept.standing(), kept.transfer()), (Standing::Open, Transfer::default()));
        let mut transfer = Transfer::default();
        transfer.add(Clock { now_ms: 1 << 40, offset_minutes: 0 }, 77);
        kept.keep_standing(Standing::Paused { until_ms: Some(5) });
        kept.keep_transfer(transfer);
        assert_eq!((again().standing(), again().transfer()), (Standing::Paused { until_ms: Some(5) }, transfer));
        for unreadable in [&b"perhaps"[..], &[0xff, 0xfe], b""] {
            fs::write(folder.path().join("standing"), unreadable).unwrap();
            assert_eq!(again().standing(), Standing::Paused { until_ms: None });
        }
    }
}
