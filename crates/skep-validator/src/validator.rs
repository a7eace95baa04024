//! Starting a validator and ending it.

use crate::ValidatorError;
use crate::checks::Checks;
use crate::engine::{Board, Desk, Event, now};
use crate::inbound::{self, Front};
use crate::keys::Keyring;
use crate::log::LogFile;
use crate::peers::Peers;
use crate::store::Store;
use crate::wire::{Said, Status};
use skep_consensus::{Engine, Genesis, Pace};
use skep_net::{Net, NetEvent};
use skep_types::wire::Peer;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// The longest file of how a ledger begins, bytes: a million grants.
const GENESIS_BYTES_MAX: u64 = 48 << 20;
/// Events that wait for the engine's thread; who brings more waits.
const EVENTS_MAX: usize = 256;

/// What a validator needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its files are.
    pub folder: PathBuf,
    /// How the ledger begins.
    pub genesis: Genesis,
    /// The other validators, and others that may follow.
    pub peers: Vec<Peer>,
    /// How long the engine waits for what.
    pub pace: Pace,
    /// How long everything said to other validators is held back: a measurement of far ones.
    pub delay: Duration,
}

/// A running validator. When it is dropped, it stops; what is final is on disk.
pub struct Validator {
    net: Net,
    events: mpsc::Sender<Event>,
    board: Arc<Board>,
    ended: oneshot::Receiver<Result<(), ValidatorError>>,
}

impl Validator {
    /// Brings back what is on disk, and begins to take part. `net` is the machine's endpoint with the key of `secret`, and `arrivals` what
    /// others do to it.
    ///
    /// # Errors
    /// [`ValidatorError`].
    pub async fn start(
        config: Config,
        secret: &[u8; 32],
        (net, arrivals): (Net, mpsc::Receiver<NetEvent>),
    ) -> Result<Self, ValidatorError> {
        let Config { folder, genesis, peers, pace, delay } = config;
        let chain = genesis.chain();
        let keys = Keyring::new(secret);
        let (me, seen) = (keys.id(), keys.seen());
        let store_path = folder.join("blocks.redb");
        let (log, records) = LogFile::open(&folder.join("log"))?;
        let mut store = Store::open(&store_path, chain)?;
        let (restored, last) = store.restore(&genesis)?;
        let began = Instant::now();
        let (engine, first) = Engine::new((me, keys), restored, &records, pace, now(began))?;

        let life = skep_net::random_bytes();
        let life = u64::from_le_bytes(std::array::from_fn(|at| life[at]));
        let peers = Arc::new(Peers::start(&net, &peers, &Said::Hello { chain, life }, delay));
        let (events, taken) = mpsc::channel(EVENTS_MAX);
        let board = Arc::<Board>::default();
        let desk = Desk {
            engine,
            me,
            log,
            store,
            peers: peers.clone(),
            board: board.clone(),
            began,
            last,
            waiters: Default::default(),
            questions: Vec::new(),
            done: 0,
        };
        let checks = Checks::start(&seen, &events)?;
        let (tell, ended) = oneshot::channel();
        let runtime = Handle::current();
        let work = move || {
            // Nobody may be left to hear it.
            let _ = tell.send(desk.run(&runtime, taken, first));
        };
        let thread = std::thread::Builder::new().name("engine".into()).spawn(work);
        thread.map_err(|fault| ValidatorError::Thread(fault.to_string()))?;
        let front =
            Front { chain, peers, checks, events: events.clone(), board: board.clone(), open: Default::default() };
        tokio::spawn(inbound::serve(Arc::new(front), arrivals));
        Ok(Self { net, events, board, ended })
    }

    /// How far the ledger is here; none in the first moments.
    pub fn status(&self) -> Option<Status> {
        self.board.status()
    }

    /// Where others reach this machine.
    pub fn peer(&self) -> Peer {
        self.net.peer()
    }

    /// Waits until the validator ends by itself.
    ///
    /// # Errors
    /// [`ValidatorError`] says why.
    pub async fn ended(&mut self) -> Result<(), ValidatorError> {
        let ended = (&mut self.ended).await;
        ended.unwrap_or_else(|_| Err(ValidatorError::Thread("the engine's thread ended without a word".into())))
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`ValidatorError`] if it could not go on before.
    pub async fn stop(mut self) -> Result<(), ValidatorError> {
        // If the thread is gone, why is told below.
        let _ = self.events.send(Event::Stop).await;
        let ended = self.ended().await;
        self.net.close().await;
        ended
    }
}

/// Reads how a ledger begins.
///
/// # Errors
/// [`ValidatorError::File`], [`ValidatorError::Genesis`].
pub fn load_genesis(path: &Path) -> Result<Genesis, ValidatorError> {
    let fault = |source| ValidatorError::File { path: path.to_owned(), source };
    let refused = |reason: String| ValidatorError::Genesis { path: path.to_owned(), reason };
    if fs::metadata(path).map_err(fault)?.len() > GENESIS_BYTES_MAX {
        return Err(refused("it is too long".into()));
    }
    let genesis: Genesis =
        borsh::from_slice(&fs::read(path).map_err(fault)?).map_err(|source| refused(source.to_string()))?;
    genesis.state().map_err(|source| refused(source.to_string()))?;
    Ok(genesis)
}

/// Writes how a ledger begins, unless the file is there.
///
/// # Errors
/// [`ValidatorError::File`], [`ValidatorError::Ledger`] for a ledger that may not begin so.
pub fn save_genesis(path: &Path, genesis: &Genesis) -> Result<(), ValidatorError> {
    genesis.state()?;
    let fault = |source| ValidatorError::File { path: path.to_owned(), source };
    let bytes = borsh::to_vec(genesis).map_err(fault)?;
    let draft = path.with_extension("new");
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    // A link is made only where no file is, so nobody's ledger is replaced.
    let made = written.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    made.map_err(fault)
}
