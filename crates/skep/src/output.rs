//! Standard output, which carries data only.

use crate::error::Error;
use std::io::{ErrorKind, Write};

/// Writes `text` as it stands and hands it on at once.
///
/// A reader that has seen enough, such as `head`, is no failure: the process ends quietly.
///
/// # Errors
/// [`Error::System`] when standard output takes nothing for another reason, such as a full disk.
pub(crate) fn write(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(fault) if fault.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(source) => Err(Error::System { what: "writing to standard output".into(), source }),
        Ok(()) => Ok(()),
    }
}

/// Writes a line.
///
/// # Errors
/// As [`write`].
pub(crate) fn line(text: impl std::fmt::Display) -> Result<(), Error> {
    write(&format!("{text}\n"))
}
