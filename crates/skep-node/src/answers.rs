//! Answers under way, noted down so that a gateway that starts again takes them up by their ids.
//!
//! A draw depends on nothing but position, seed and the tokens before it, and those on nothing but the model; see `skep-session` and RK-1.
//! So the request and the tokens drawn so far are all that is needed to go on, byte for byte.
//!
//! # What is kept
//! One file for each answer, named by its id, readable by the owner only: 1 byte version (1), the length of what follows as a
//! little-endian `u32`, the [`Asked`] in `borsh`, then each drawn token as a little-endian `u32` at once when it is drawn. It is
//! removed when the answer is over, whether it is complete, has failed, or nobody reads it any more. So one remains only where the process was ended in
//! the middle; it is removed when it is older than [`KEPT_FOR`]. What is only half there is a token that is drawn again.

use borsh::{BorshDeserialize, BorshSerialize};
use skep_model::SamplingParams;
use skep_types::ModelId;
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer that broke off may be taken up.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// More than a request with the longest prompt takes; see `GatewayLimits::prompt_bytes`.
const FILE_BYTES_MAX: u64 = 32 << 20;
const VERSION: u8 = 1;

/// Names an answer; drawn at random, so that nobody can guess it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnswerId(pub [u8; 16]);

impl AnswerId {
    pub(crate) fn draw() -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&skep_net::random_bytes()[..16]);
        Self(id)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for AnswerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AnswerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerId({self})")
    }
}

impl FromStr for AnswerId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digit = |at: usize| text.as_bytes().get(at).and_then(|byte| char::from(*byte).to_digit(16)).ok_or(());
        let mut id = [0; 16];
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = (digit(2 * at)? << 4 | digit(2 * at + 1)?) as u8;
        }
        if text.len() == 32 { Ok(Self(id)) } else { Err(()) }
    }
}

/// A request for text, as far as going on with its answer needs it.
#[derive(Debug, Clone, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Asked {
    pub(crate) model: ModelId,
    /// The tokens of the rendered prompt.
    pub(crate) prompt: Vec<u32>,
    /// Most tokens to draw.
    pub(crate) max_new: u32,
    pub(crate) stop: Vec<String>,
    pub(crate) draws: Draws,
    /// The most tokens per second that the reader wants.
    pub(crate) pace: Option<f32>,
    /// When it was asked, seconds since 1970.
    pub(crate) created: u64,
}

/// How tokens are drawn, field by field as [`SamplingParams`] has them.
#[derive(Debug, Clone, Copy, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Draws {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    repetition_window: u32,
    presence_penalty: f32,
    frequency_penalty: f32,
    seed: u64,
}

impl From<SamplingParams> for Draws {
    fn from(params: SamplingParams) -> Self {
        Self {
            temperature: params.temperature,
            top_k: params.top_k,
            top_p: params.top_p,
            min_p: params.min_p,
            repetition_penalty: params.repetition_penalty,
            repetition_window: params.repetition_window,
            presence_penalty: params.presence_penalty,
            frequency_penalty: params.frequency_penalty,
            seed: params.seed,
        }
    }
}

impl From<Draws> for SamplingParams {
    fn from(draws: Draws) -> Self {
        Self {
            temperature: draws.temperature,
            top_k: draws.top_k,
            top_p: draws.top_p,
            min_p: draws.min_p,
            repetition_penalty: draws.repetition_penalty,
            repetition_window: draws.repetition_window,
            presence_penalty: draws.presence_penalty,
            frequency_penalty: draws.frequency_penalty,
            seed: draws.seed,
        }
    }
}

/// The answers of one gateway. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Answers {
    folder: Option<Arc<PathBuf>>,
    under_way: Arc<Mutex<HashSet<AnswerId>>>,
}

impl Answers {
    /// Keeps them in a folder, of which what is too old is removed; or only says which are under way.
    pub(crate) fn open(folder: Option<PathBuf>) -> Self {
        if let Some(folder) = &folder {
            forget_old(folder);
        }
        Self { folder: folder.map(Arc::new), under_way: Arc::default() }
    }

    /// An answer begins, or goes on after the tokens that were drawn. None if it is under way.
    pub(crate) fn begin(&self, id: AnswerId, asked: &Asked, drawn: &[u32]) -> Option<Noted> {
        if !self.lock().insert(id) {
            return None;
        }
        let path = self.folder.as_ref().map(|folder| folder.join(id.to_string()));
        let file = path.as_deref().and_then(|path| match create(path, asked, drawn) {
            Ok(file) => Some(file),
            Err(fault) => {
                tracing::warn!(path = %path.display(), %fault, "an answer could not be taken up again");
                None
            }
        });
        Some(Noted { answers: self.clone(), id, path, file })
    }

    /// What was asked and drawn of an answer that broke off; none if there is no such answer here.
    pub(crate) fn read(&self, id: AnswerId) -> Option<(Asked, Vec<u32>)> {
        let folder = self.folder.as_ref()?;
        if self.lock().contains(&id) {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(folder.join(id.to_string())).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let (length, rest) = bytes.strip_prefix(&[VERSION])?.split_first_chunk::<4>()?;
        let (asked, tokens) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (tokens, _half) = tokens.as_chunks::<4>();
        Some((borsh::from_slice(asked).ok()?, tokens.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<AnswerId>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer under way.
pub(crate) struct Noted {
    answers: Answers,
    id: AnswerId,
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Noted {
    /// A token was drawn.
    pub(crate) fn drawn(&mut self, token: u32) {
        if let Some(file) = &mut self.file
            && file.write_all(&token.to_le_bytes()).is_err()
        {
            // A gap would make another answer of it; without the rest it is drawn again.
            self.file = None;
        }
    }

    /// The answer is over.
    pub(crate) fn over(self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// Where an answer is let go of in the middle, its file remains.
impl Drop for Noted {
    fn drop(&mut self) {
        self.answers.lock().remove(&self.id);
    }
}

fn create(path: &Path, asked: &Asked, drawn: &[u32]) -> io::Result<File> {
    let asked = borsh::to_vec(asked)?;
    let mut bytes = vec![VERSION];
    bytes.extend(u32::try_from(asked.len()).map_err(|_| ErrorKind::InvalidInput)?.to_le_bytes());
    bytes.extend(asked);
    drawn.iter().for_each(|token| bytes.extend(token.to_le_bytes()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(&bytes)?;
    Ok(file)
}

fn forget_old(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > KEPT_FOR) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            model: ModelId([3; 32]),
            prompt: vec![1, 2, 3],
            max_new: 9,
            stop: vec!["end".into()],
            draws: SamplingParams::default().into(),
            pace: Some(2.5),
            created: 77,
        }
    }

    #[test]
    fn what_was_drawn_is_there_after_the_process_ended_and_gone_after_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Answers::open(Some(folder.path().join("answers")));
        let (answers, id) = (open(), AnswerId::draw());
        let mut noted = answers.begin(id, &asked(), &[5]).unwrap();
        noted.drawn(6);
        assert!(answers.read(id).is_none() && answers.begin(id, &asked(), &[]).is_none(), "it is under way");
        drop(noted);
        let file = folder.path().join("answers").join(id.to_string());
        let whole = fs::read(&file).unwrap();
        assert_eq!(open().read(id), Some((asked(), vec![5, 6])));
        // Half a token is none, and without the request there is nothing.
        for cut in 0..whole.len() {
            fs::write(&file, &whole[..cut]).unwrap();
            let tokens = open().read(id).map(|(_, drawn)| drawn.len());
            let before = whole.len() - 8;
            assert_eq!(tokens, (cut >= before).then(|| (cut - before) / 4), "{cut}");
        }
        fs::write(&file, &whole).unwrap();
        let (asked, drawn) = open().read(id).unwrap();
        open().begin(id, &asked, &drawn).unwrap().over();
        assert!(!file.exists() && open().read(id).is_none());
    }

    #[test]
    fn ids_have_one_text() {
        let id = AnswerId([0xa7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "a7", "../../../../../../etc/passwd", &"g".repeat(32), &"a".repeat(33)] {
            assert_eq!(bad.parse::<AnswerId>(), Err(()));
        }
    }
}
