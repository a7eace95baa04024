//! The pulls of one machine, as a state machine without I/O: what is asked for, what works, what waits, and what became of each.
//!
//! # Rules
//! 1. At most [`ACTIVE_MAX`] pulls work at once; others wait, in the order in which they were asked for.
//! 2. A pull is named by its key, which is made of where the model comes from: who asks twice for one thing has one pull.
//! 3. A pause holds at once for whoever looks, and for the worker when it has let go of its files; a pull that is resumed before that begins
//!    again after it. The same is true of a cancelled one, whose files go when the worker has let go of them.
//! 4. What ended well or ill stays to be looked at until somebody puts it aside, or [`KEPT_MAX`] pulls are there.

use skep_types::ModelId;
use std::collections::VecDeque;
use std::time::Duration;

/// Pulls that work at once: two keep a line busy while one of them is being checked.
pub(crate) const ACTIVE_MAX: usize = 2;
/// Pulls that are kept, whatever became of them.
pub(crate) const KEPT_MAX: usize = 16;
/// The time over which a rate is measured.
const RATE_OVER: Duration = Duration::from_secs(4);
/// The least time between two marks of a rate.
const MARK_EVERY: Duration = Duration::from_millis(250);

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A pull that is new, or that is to go on.
    Ask(Asked),
    /// That it rests.
    Pause(String),
    /// That it goes on.
    Resume(String),
    /// That it ends without a trace; of one that has ended, that it is put aside.
    Cancel(String),
    /// A worker has so much.
    Progress { key: String, here: u64, total: Option<u64> },
    /// A worker has everything, and reads it once to check it.
    Checking(String),
    /// A worker has let go of its files.
    Ended { key: String, how: How },
}

/// What a pull is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Made of the source.
    pub(crate) key: String,
    /// As the person wrote it.
    pub(crate) source: String,
    /// What the model is to be called.
    pub(crate) name: String,
    /// What it must hash to, where that is known.
    pub(crate) id: Option<ModelId>,
    /// Bytes of the whole file, where they are known.
    pub(crate) total: Option<u64>,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// As it was told to.
    Stopped,
    /// The model is here.
    Done(ModelId),
    /// A sentence, and what would help.
    Failed { sentence: String, hint: String },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Begin to work, from what is here.
    Start(Asked),
    /// Have a worker let go of its files.
    Stop(String),
    /// Remember the pull for the next start.
    Keep(Asked),
    /// Forget it.
    Forget(String),
    /// Remove what has come of it.
    Discard(Asked),
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So many are there, and none of them has ended.
    Full,
    /// There is no such pull.
    Unknown,
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    Waiting,
    Fetching,
    Checking,
    Paused,
    Failed { sentence: String, hint: String },
    Done(ModelId),
}

/// What is wanted of a worker that has not let go of its files yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// That it works.
    Run,
    /// That it stops, and another takes its place.
    Again,
    Pause,
    Cancel,
}

/// One pull.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) asked: Asked,
    pub(crate) stage: Stage,
    /// Bytes that are here.
    pub(crate) here: u64,
    /// While a worker has its files.
    worker: Option<Wish>,
    /// When there were how many bytes, the oldest first.
    marks: VecDeque<(Duration, u64)>,
}

impl Pull {
    fn new(asked: Asked, stage: Stage, here: u64) -> Self {
        Self { asked, stage, here, worker: None, marks: VecDeque::new() }
    }

    /// Bytes per second of late, while something comes.
    pub(crate) fn rate(&self) -> Option<u64> {
        let (first, last) = (self.marks.front()?, self.marks.back()?);
        let seconds = (last.0.saturating_sub(first.0)).as_secs_f64();
        let fetching = self.stage == Stage::Fetching && seconds > 0.0;
        fetching.then(|| (last.1.saturating_sub(first.1) as f64 / seconds) as u64)
    }

    fn mark(&mut self, now: Duration, here: u64) {
        if self.marks.back().is_some_and(|last| now.saturating_sub(last.0) < MARK_EVERY) {
            return;
        }
        self.marks.push_back((now, here));
        while self.marks.len() > 2 && self.marks.front().is_some_and(|first| now.saturating_sub(first.0) > RATE_OVER) {
            self.marks.pop_front();
        }
    }

    fn has_ended(&self) -> bool {
        self.worker.is_none() && matches!(self.stage, Stage::Failed { .. } | Stage::Done(_))
    }
}

/// All pulls, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    all: Vec<Pull>,
}

impl Pulls {
    /// Those of an earlier process, with the bytes that are here: they rest until somebody resumes them.
    pub(crate) fn kept(kept: Vec<(Asked, u64)>) -> Self {
        let rests = |(asked, here)| Pull::new(asked, Stage::Paused, here);
        Self { all: kept.into_iter().take(KEPT_MAX).map(rests).collect() }
    }

    /// Those that somebody may look at.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Pull> {
        self.all.iter().filter(|pull| pull.worker != Some(Wish::Cancel))
    }

    /// Bytes that pulls at work but `key` still bring, as far as their sizes are known.
    pub(crate) fn missing_of_others(&self, key: &str) -> u64 {
        let others = self.all.iter().filter(|pull| pull.stage == Stage::Fetching && pull.asked.key != key);
        others.map(|pull| pull.asked.total.unwrap_or(pull.here).saturating_sub(pull.here)).fold(0, u64::saturating_add)
    }

    /// Takes in what happened at `now`, and says what to do.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub(crate) fn step(&mut self, now: Duration, input: Input) -> Result<Vec<Effect>, Refused> {
        let mut effects = Vec::new();
        match input {
            Input::Ask(asked) => self.ask(asked, &mut effects)?,
            Input::Pause(key) => {
                let pull = self.find(&key).ok_or(Refused::Unknown)?;
                match (&pull.stage, pull.worker) {
                    (Stage::Waiting, None) => pull.stage = Stage::Paused,
                    (_, Some(_)) if pull.stage != Stage::Checking => {
                        (pull.stage, pull.worker) = (Stage::Paused, Some(Wish::Pause));
                        effects.push(Effect::Stop(key));
                    }
                    _ => {}
                }
            }
            Input::Resume(key) => {
                let pull = self.find(&key).ok_or(Refused::Unknown)?;
                pull.go_on();
            }
            Input::Cancel(key) => self.cancel(&key, &mut effects)?,
            Input::Progress { key, here, total } => {
                let Some(pull) = self.find(&key) else { return Ok(effects) };
                if pull.worker == Some(Wish::Run) {
                    pull.mark(now, here);
                    pull.here = here;
                    if total.is_some() && pull.asked.total != total {
                        pull.asked.total = total;
                        effects.push(Effect::Keep(pull.asked.clone()));
                    }
                }
            }
            Input::Checking(key) => {
                if let Some(pull) = self.find(&key).filter(|pull| pull.worker == Some(Wish::Run)) {
                    pull.stage = Stage::Checking;
                }
            }
            Input::Ended { key, how } => self.ended(&key, how, &mut effects),
        }
        self.begin(&mut effects);
        Ok(effects)
    }

    fn find(&mut self, key: &str) -> Option<&mut Pull> {
        self.all.iter_mut().find(|pull| pull.asked.key == key && pull.worker != Some(Wish::Cancel))
    }

    fn ask(&mut self, asked: Asked, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        if let Some(pull) = self.all.iter_mut().find(|pull| pull.asked.key == asked.key) {
            // What is asked for again counts as it is asked for now.
            pull.asked = Asked { total: pull.asked.total, ..asked };
            effects.push(Effect::Keep(pull.asked.clone()));
            if matches!(pull.stage, Stage::Done(_)) {
                pull.here = 0;
            }
            pull.go_on();
            return Ok(());
        }
        if self.all.len() >= KEPT_MAX {
            let ended = self.all.iter().position(Pull::has_ended).ok_or(Refused::Full)?;
            effects.push(Effect::Forget(self.all.remove(ended).asked.key));
        }
        effects.push(Effect::Keep(asked.clone()));
        self.all.push(Pull::new(asked, Stage::Waiting, 0));
        Ok(())
    }

    fn cancel(&mut self, key: &str, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let pull = self.find(key).ok_or(Refused::Unknown)?;
        effects.push(Effect::Forget(key.to_owned()));
        if pull.worker.is_some() {
            pull.worker = Some(Wish::Cancel);
            effects.push(Effect::Stop(key.to_owned()));
            return Ok(());
        }
        if !matches!(pull.stage, Stage::Done(_)) {
            effects.push(Effect::Discard(pull.asked.clone()));
        }
        self.all.retain(|pull| pull.asked.key != key);
        Ok(())
    }

    fn ended(&mut self, key: &str, how: How, effects: &mut Vec<Effect>) {
        let Some(pull) = self.all.iter_mut().find(|pull| pull.asked.key == key) else { return };
        let wish = pull.worker.take();
        pull.marks.clear();
        match (wish, how) {
            // The model is in the store, where it can be removed like any other.
            (Some(Wish::Cancel), How::Done(_)) => self.all.retain(|pull| pull.asked.key != key),
            (Some(Wish::Cancel), _) => {
                effects.push(Effect::Discard(pull.asked.clone()));
                self.all.retain(|pull| pull.asked.key != key);
            }
            (_, How::Done(id)) => {
                pull.here = pull.asked.total.unwrap_or(pull.here);
                pull.stage = Stage::Done(id);
                effects.push(Effect::Forget(key.to_owned()));
            }
            (Some(Wish::Again), How::Stopped | How::Failed { .. }) => pull.stage = Stage::Waiting,
            (_, How::Stopped) => pull.stage = Stage::Paused,
            (_, How::Failed { sentence, hint }) => pull.stage = Stage::Failed { sentence, hint },
        }
    }

    /// Lets those begin that wait, as far as there is room.
    fn begin(&mut self, effects: &mut Vec<Effect>) {
        let mut active = self.all.iter().filter(|pull| pull.worker.is_some()).count();
        for pull in &mut self.all {
            if active >= ACTIVE_MAX {
                return;
            }
            if pull.stage == Stage::Waiting && pull.worker.is_none() {
                (pull.stage, pull.worker) = (Stage::Fetching, Some(Wish::Run));
                effects.push(Effect::Start(pull.asked.clone()));
                active += 1;
            }
        }
    }
}

impl Pull {
    /// Works again, at once or when its worker has let go.
    fn go_on(&mut self) {
        match self.worker {
            None if !matches!(self.stage, Stage::Waiting) => self.stage = Stage::Waiting,
            Some(Wish::Pause | Wish::Cancel) => (self.stage, self.worker) = (Stage::Waiting, Some(Wish::Again)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
