//! The key file: 64 lowercase hexadecimal digits and a line end, readable by its owner only.

use crate::NetError;
use iroh::SecretKey;
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

/// Reads the secret key of a file, or makes a new key and the file with mode 0600.
///
/// The file appears whole or not at all and an existing one is never changed, even when two processes start at once: both
/// then use the key of whichever was first.
///
/// # Errors
/// [`NetError::Key`] if the file cannot be read or written, is not a key, or can be read by other users.
pub fn load_or_create_key(path: &Path) -> Result<[u8; 32], NetError> {
    match load(path)? {
        Some(key) => Ok(key),
        None => {
            create(path)?;
            load(path)?.ok_or_else(|| refused(path, "it vanished while it was made"))
        }
    }
}

fn refused(path: &Path, reason: impl ToString) -> NetError {
    NetError::Key { path: path.to_owned(), reason: reason.to_string() }
}

fn load(path: &Path) -> Result<Option<[u8; 32]>, NetError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
        Err(fault) => return Err(refused(path, fault)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(|fault| refused(path, fault))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(refused(path, "other users can read it; make its mode 600"));
        }
    }
    let mut text = String::new();
    file.take(66).read_to_string(&mut text).map_err(|fault| refused(path, fault))?;
    // An id and a secret key have the same text; the refusal must not repeat it.
    let key = text.trim_end().parse::<skep_types::NodeId>().map_err(|_| refused(path, "it does not hold a key"))?;
    Ok(Some(key.0))
}

fn create(path: &Path) -> Result<(), NetError> {
    let key = SecretKey::generate();
    let draft = draft_path(path, &key);
    let written = write_draft(&draft, &key).and_then(|()| match fs::hard_link(&draft, path) {
        Err(fault) if fault.kind() != ErrorKind::AlreadyExists => Err(fault),
        _ => Ok(()),
    });
    let removed = fs::remove_file(&draft);
    written.map_err(|fault| refused(path, fault))?;
    removed.map_err(|fault| refused(&draft, fault))
}

/// A name that no other process draws; the public key is as random as needed and no secret.
fn draft_path(path: &Path, key: &SecretKey) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", key.public().fmt_short()));
    name.into()
}

fn write_draft(draft: &Path, key: &SecretKey) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    writeln!(file, "{}", skep_types::NodeId(key.to_bytes()))?;
    file.sync_all()
}
