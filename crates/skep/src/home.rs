//! Where Skep keeps its files, and the model that comes with it.

use crate::error::Error;
use skep_node::{GatewayLimits, Places};
use skep_store::adopt::{self, Stored};
use skep_types::ModelId;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The model that comes with the binary.
static BUNDLED: &[u8] = include_bytes!("../assets/skep-bard-q8_0.gguf");

/// The folder of keys and models: `$SKEP_HOME`, else `skep` in the user's data folder.
pub(crate) fn folder() -> PathBuf {
    let home = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    home("SKEP_HOME")
        .or_else(|| home("XDG_DATA_HOME").map(|data| data.join("skep")))
        .or_else(|| home("HOME").map(|home| home.join(".local/share/skep")))
        .unwrap_or_else(|| PathBuf::from(".skep"))
}

/// This machine's key, made when there is none.
pub(crate) fn key() -> Result<[u8; 32], Error> {
    let folder = folder();
    let fault = |source| Error::System { what: format!("creating {}", folder.display()), source };
    std::fs::create_dir_all(&folder).map_err(fault)?;
    Ok(skep_net::load_or_create_key(&folder.join("node.key"))?)
}

/// The folder of the models that were fetched, each in a folder of its own, named by its id.
pub(crate) fn store() -> PathBuf {
    folder().join("models")
}

/// Where models are kept, and where they are on their way there.
pub(crate) fn places() -> Places {
    Places { store: store(), incoming: folder().join("incoming") }
}

/// The folder of what this machine remembers of each network that it joined.
pub(crate) fn networks() -> PathBuf {
    folder().join("networks")
}

/// The file of the API's keys.
pub(crate) fn api_keys() -> PathBuf {
    folder().join("api-keys.json")
}

/// What a gateway may do. One whose key is forgotten at the end takes up no answer later.
pub(crate) fn gateway_limits(ephemeral: bool) -> GatewayLimits {
    GatewayLimits { answers: (!ephemeral).then(|| folder().join("answers")), ..GatewayLimits::default() }
}

/// The id of the bundled model.
pub(crate) fn bundled_id() -> ModelId {
    ModelId::of(BUNDLED)
}

/// A model that is on this machine.
pub(crate) enum Model {
    /// A file of its own.
    File(PathBuf),
    /// One of the store, whole and hashed.
    Stored(Stored),
}

impl Model {
    pub(crate) fn path(self) -> PathBuf {
        match self {
            Self::File(path) => path,
            Self::Stored(stored) => stored.path,
        }
    }
}

/// The model to use: the file given, or the one in the store whose name or beginning of the id is given; if nothing is, the bundled one,
/// which is laid in [`store`] so that nodes read only their blocks.
pub(crate) fn find_model(given: Option<&Path>) -> Result<Model, Error> {
    let Some(given) = given else { return lay_out_bundled(&store()).map(Model::File) };
    let name = given.to_str().filter(|_| !given.exists());
    let Some(name) = name else { return Ok(Model::File(given.to_owned())) };
    match find_stored(name)? {
        Some(stored) if stored.is_whole() => Ok(Model::Stored(stored)),
        Some(stored) => {
            Err(Error::NotWhole { name: name.to_owned(), held: stored.bytes(), bytes: stored.shape.bytes() })
        }
        // Told as a file that is not there.
        None => Ok(Model::File(given.to_owned())),
    }
}

/// The model of the store whose name or beginning of the id is given, in whole or in part.
pub(crate) fn find_stored(name: &str) -> Result<Option<Stored>, Error> {
    let all = adopt::list(&store()).map_err(skep_node::NodeError::from)?;
    let by_id =
        |stored: &Stored| name.len() >= LEAST_ID_DIGITS && stored.id.to_string().starts_with(&name.to_lowercase());
    let mut found = all.into_iter().filter(|stored| by_id(stored) || name_of(stored).as_deref() == Some(name));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(Error::TwoModels { name: name.to_owned() }),
        (found, _) => Ok(found),
    }
}

/// Digits of an id that name a model.
const LEAST_ID_DIGITS: usize = 6;

/// The name of a model of the store.
pub(crate) fn name_of(stored: &Stored) -> Option<String> {
    std::fs::read_to_string(stored.path.with_file_name("name")).ok()
}

/// Names the model of the store whose file this is, if it has no name yet.
pub(crate) fn note_name(file: &Path, name: &str) -> Result<(), Error> {
    let note = file.with_file_name("name");
    if note.exists() {
        return Ok(());
    }
    let fault = |source| Error::System { what: format!("writing {}", note.display()), source };
    std::fs::write(&note, skep_node::clean_name(name)).map_err(fault)
}

/// Writes the bundled model under its id unless it is there already. A file that differs is replaced, never trusted.
fn lay_out_bundled(folder: &Path) -> Result<PathBuf, Error> {
    let id = ModelId::of(BUNDLED);
    let path = folder.join(format!("{id}.gguf"));
    let system = |source| Error::System { what: format!("writing {}", path.display()), source };
    if std::fs::read(&path).is_ok_and(|bytes| bytes == BUNDLED) {
        return Ok(path);
    }
    std::fs::create_dir_all(folder).map_err(system)?;
    let part = folder.join(format!("{id}.part-{}", std::process::id()));
    let written = std::fs::File::create(&part).and_then(|mut file| {
        file.write_all(BUNDLED)?;
        file.sync_all()
    });
    let written = written.and_then(|()| std::fs::rename(&part, &path));
    if let Err(source) = written {
        let _ = std::fs::remove_file(&part);
        return Err(system(source));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_model_is_laid_out_once_and_mended_when_it_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = lay_out_bundled(folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), BUNDLED);
        std::fs::write(&path, b"something else").unwrap();
        assert_eq!(lay_out_bundled(folder.path()).unwrap(), path);
        assert_eq!(std::fs::read(&path).unwrap(), BUNDLED);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_one_clear_error_and_leaves_nothing() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            eprintln!("SKIPPED: /dev/full is absent; this test checked nothing");
            return;
        }
        let error = lay_out_bundled(full).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert!(BUNDLED.len() <= 4_000_000);
    }
}
