//! `skep bench ledger`: how many transfers real validators on this machine agree on, and how soon.
//!
//! Each validator is a process of its own with its own folder, key and socket. The transfers are signed before the time is taken, are
//! paid by twenty thousand accounts in turn, and are handed in as anybody would, over the network, some to each validator. A transfer's finality is the
//! time from when it is handed in until this process hears that the validator has it in a final block on its disk.

use crate::error::Error;
use crate::output;
use clap::Args;
use serde_json::json;
use skep_consensus::Genesis;
use skep_ledger::{Action, Amount, Params, Tx};
use skep_net::{Net, NetConfig, parse_peer};
use skep_types::signed::Signed;
use skep_types::wire::Peer;
use skep_validator::wire::{Answer, Ask, Outcome, SUBMITS_MAX};
use skep_validator::{Client, Keyring, save_genesis};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// Accounts that pay in turn.
const ACCOUNTS: usize = 20_000;
/// The most transfers of one message.
const MESSAGE_TXS: usize = 64;
/// How long a validator may take to start.
const START: Duration = Duration::from_secs(30);
/// How long the last transfers may take.
const DRAIN: Duration = Duration::from_secs(20);
/// What each account begins with.
const GRANT: Amount = Amount(1_000_000_000);

#[derive(Debug, Args)]
pub(crate) struct BenchLedgerArgs {
    /// Validators, each a process of its own
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    validators: u32,
    /// For how long transfers are handed in
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=120))]
    seconds: u32,
    /// Transfers handed in each second [default: as many as become final]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: Option<u32>,
    /// Transfers under way on each validator at most
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(64..=4096))]
    window: u32,
    /// Milliseconds that everything between two validators is held back, one way
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u32,
    /// Kill one validator after a third of the time (kill -9), and start it again after two thirds
    #[arg(long)]
    kill: bool,
    /// Folder for the validators' files [default: one under the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

impl BenchLedgerArgs {
    /// To how many validators transfers are handed in: to the one that is killed to none, or what is not handed in would be taken for what
    /// the others cannot do.
    fn fed(&self) -> usize {
        (self.validators as usize - usize::from(self.kill)).max(1)
    }
}

/// What a validator's process is started with.
struct Plan {
    folder: PathBuf,
    genesis: PathBuf,
    peers: Vec<String>,
    delay_ms: u32,
}

/// What became final: when, and how long it took.
#[derive(Default)]
struct Tally(Mutex<Vec<(Instant, Duration, u32)>>);

impl Tally {
    fn add(&self, took: Duration, count: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), took, count));
    }

    fn take(&self) -> Vec<(Instant, Duration, u32)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn failed(reason: impl ToString) -> Error {
    Error::LedgerBench { reason: reason.to_string() }
}

pub(crate) async fn run(args: BenchLedgerArgs) -> Result<(), Error> {
    let own = std::env::temp_dir().join(format!("skep-bench-ledger-{}", std::process::id()));
    let folder = args.folder.clone().unwrap_or(own);
    let fault = |source| Error::System { what: format!("using {}", folder.display()), source };
    std::fs::create_dir_all(&folder).map_err(fault)?;
    let measured = measure(&args, &folder).await;
    if args.folder.is_none() {
        std::fs::remove_dir_all(&folder).map_err(fault)?;
    }
    let values = measured?;
    if args.json {
        return output::line(values);
    }
    let mut text = String::new();
    for (name, value) in values.as_object().into_iter().flatten() {
        text.push_str(&format!("{name:<22}{value}\n"));
    }
    output::write(&text)
}

async fn measure(args: &BenchLedgerArgs, folder: &Path) -> Result<serde_json::Value, Error> {
    let accounts: Vec<Keyring> = (0..ACCOUNTS).map(account).collect();
    let (plan, genesis) = prepare(args, folder, &accounts)?;
    let mut children = Vec::new();
    for number in 0..args.validators as usize {
        children.push(start(&plan, number).await?);
    }
    let transfers = sign(args, &genesis, &accounts)?;
    let peers: Vec<Peer> = plan.peers.iter().map(|peer| parse_peer(peer)).collect::<Result<_, _>>()?;

    let (tally, begin) = (Arc::<Tally>::default(), Instant::now());
    let until = begin + Duration::from_secs(args.seconds.into());
    let (mut loads, fed) = (Vec::new(), args.fed());
    for (peer, transfers) in peers.iter().take(fed).zip(transfers) {
        let client = connect(peer).await?;
        let pace = args.rate.map(|rate| f64::from(rate) / fed as f64);
        let load = Load { transfers, window: args.window as usize, pace, until, tally: tally.clone() };
        loads.push(tokio::spawn(load.run(client)));
    }
    let killed = match children.pop() {
        Some(last) if args.kill && args.validators > 1 => Some(kill(args, &plan, last, &peers, begin).await?),
        Some(last) => {
            children.push(last);
            None
        }
        None => None,
    };
    for load in loads {
        load.await.map_err(failed)?;
    }
    let (samples, status) = (tally.take(), connect(&peers[0]).await?.status().await?);
    let mut values = summary(args, begin, &samples, status.height)?;
    if let Some(killed) = &killed {
        killed.tell(&mut values, begin, until, &samples);
    }
    for child in &mut children {
        let _ = child.kill().await;
    }
    Ok(values)
}

/// A stream to a validator over a connection of its own.
async fn connect(peer: &Peer) -> Result<Client, Error> {
    let bind = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let (net, _) = Net::bind(NetConfig::new(skep_net::random_bytes(), bind)).await?;
    Ok(Client::connect(&net, peer).await?)
}

/// The same account for the same number.
fn account(number: usize) -> Keyring {
    let mut secret = [0x5a; 32];
    secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Keyring::new(&secret)
}

fn prepare(args: &BenchLedgerArgs, folder: &Path, accounts: &[Keyring]) -> Result<(Plan, Genesis), Error> {
    let (mut validators, mut peers) = (Vec::new(), Vec::new());
    for number in 0..args.validators {
        let home = folder.join(number.to_string());
        let fault = |source| Error::System { what: format!("using {}", home.display()), source };
        std::fs::create_dir_all(&home).map_err(fault)?;
        let id = Keyring::new(&skep_net::load_or_create_key(&home.join("node.key"))?).id();
        validators.push(skep_consensus::Validator { id, power: 1 });
        // The port is free now, and most likely still is when the validator asks for it.
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        peers.push(format!("{id}@{}", socket.map_err(fault)?));
    }
    let validators =
        skep_consensus::Validators::new(validators).ok_or_else(|| failed("two validators have one key"))?;
    let mut grants: Vec<_> = accounts.iter().map(|keys| (keys.id(), GRANT)).collect();
    grants.sort_unstable();
    let time_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let genesis = Genesis { params: Params::default(), time_s, validators, grants };
    let path = folder.join("genesis");
    save_genesis(&path, &genesis)?;
    Ok((Plan { folder: folder.to_owned(), genesis: path, peers, delay_ms: args.delay_ms }, genesis))
}

/// Starts a validator's process and waits until it is ready.
async fn start(plan: &Plan, number: usize) -> Result<Child, Error> {
    let system = |source| Error::System { what: "starting a validator".into(), source };
    let listen = plan.peers[number].split_once('@').map_or("", |(_, address)| address);
    let others = plan.peers.iter().enumerate().filter(|(other, _)| *other != number);
    let mut child = Command::new(std::env::current_exe().map_err(system)?)
        .args(["validator", "--json", "--end-with-stdin", "--listen", listen])
        .arg("--genesis")
        .arg(&plan.genesis)
        .args(["--delay-ms", &plan.delay_ms.to_string()])
        .args(others.flat_map(|(_, peer)| ["--peer", peer]))
        .env("SKEP_HOME", plan.folder.join(number.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(system)?;
    let out = child.stdout.take().ok_or_else(|| failed("a validator has no output"))?;
    let ready = tokio::time::timeout(START, BufReader::new(out).lines().next_line()).await;
    match ready {
        Ok(Ok(Some(_))) => Ok(child),
        _ => Err(failed(format!("validator {number} did not start"))),
    }
}

/// Transfers for each validator. An account always pays at the same one, so its numbers come in order.
fn sign(args: &BenchLedgerArgs, genesis: &Genesis, accounts: &[Keyring]) -> Result<Vec<VecDeque<Signed<Tx>>>, Error> {
    let count = args.rate.unwrap_or(20_000) as usize * args.seconds as usize;
    let (validators, chain) = (args.fed(), genesis.chain());
    let expires = genesis.time_s + 3000;
    let mut all = vec![VecDeque::new(); validators];
    let ids: Vec<_> = accounts.iter().map(Keyring::id).collect();
    for number in 0..count {
        let (place, nonce) = (number % ACCOUNTS, (number / ACCOUNTS) as u64);
        let action = Action::Transfer { to: ids[(place * 7919 + 1) % ACCOUNTS], amount: Amount(1) };
        let tx = Tx { chain, payer: ids[place], nonce, expires, fee: Amount(4000), action };
        let tx = Signed::sign(tx, &accounts[place]).map_err(failed)?;
        all[place % validators].push_back(tx);
    }
    Ok(all)
}

/// What is handed in to one validator.
struct Load {
    transfers: VecDeque<Signed<Tx>>,
    window: usize,
    /// Transfers each second.
    pace: Option<f64>,
    until: Instant,
    tally: Arc<Tally>,
}

impl Load {
    async fn run(mut self, client: Client) {
        let (mut asker, mut listener) = client.split();
        let sent = Arc::<Mutex<BTreeMap<u32, Instant>>>::default();
        let message = match self.pace {
            // Messages come every ten milliseconds or so, as those of many people would.
            Some(pace) => ((pace / 100.0) as usize).clamp(1, MESSAGE_TXS),
            None => MESSAGE_TXS,
        };
        let window = (self.window / message).clamp(1, SUBMITS_MAX);
        let room = Arc::new(Semaphore::new(window));
        let (times, more, tally) = (sent.clone(), room.clone(), self.tally.clone());
        let reader = tokio::spawn(async move {
            while let Ok(Some(Answer::Submitted { number, outcomes })) = listener.next().await {
                let at = times.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
                let done = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Final { .. })).count();
                if let Some(refused) = outcomes.iter().find(|outcome| matches!(outcome, Outcome::Refused { .. })) {
                    eprintln!("a transfer was not taken: {refused:?}");
                }
                if let Some(at) = at {
                    tally.add(at.elapsed(), done as u32);
                }
                more.add_permits(1);
            }
            more.close();
        });
        let (begin, mut number, mut handed) = (Instant::now(), 0, 0);
        while Instant::now() < self.until && !self.transfers.is_empty() {
            let Ok(permit) = room.acquire().await else { break };
            permit.forget();
            if let Some(pace) = self.pace {
                tokio::time::sleep_until((begin + Duration::from_secs_f64(handed as f64 / pace)).into()).await;
            }
            let txs: Vec<_> = self.transfers.drain(..message.min(self.transfers.len())).collect();
            (number, handed) = (number + 1, handed + txs.len());
            sent.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Instant::now());
            if asker.ask(&Ask::Submit { number, txs }).await.is_err() {
                break;
            }
        }
        // The last ones.
        let _ = tokio::time::timeout(DRAIN, room.acquire_many(window as u32)).await;
        reader.abort();
    }
}

/// What happened to a validator that was killed.
struct Killed {
    at: Instant,
    again: Instant,
    restart: Duration,
    caught_up: Duration,
}

async fn kill(
    args: &BenchLedgerArgs,
    plan: &Plan,
    mut child: Child,
    peers: &[Peer],
    begin: Instant,
) -> Result<Killed, Error> {
    let third = Duration::from_secs(args.seconds.into()) / 3;
    tokio::time::sleep_until((begin + third).into()).await;
    let (number, at) = (peers.len() - 1, Instant::now());
    child.kill().await.map_err(failed)?;
    tokio::time::sleep_until((begin + 2 * third).into()).await;
    let again = Instant::now();
    let child = start(plan, number).await?;
    let restart = again.elapsed();
    let (mut theirs, mut own) = (connect(&peers[0]).await?, connect(&peers[number]).await?);
    while again.elapsed() < START {
        let goal = theirs.status().await?.height;
        if own.status().await?.height >= goal {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let killed = Killed { at, again, restart, caught_up: again.elapsed() };
    // It runs on until the measurement is over.
    tokio::spawn(async move {
        let _kept = child;
        std::future::pending::<()>().await;
    });
    Ok(killed)
}

/// Transfers per second between two moments.
fn rate(samples: &[(Instant, Duration, u32)], from: Instant, until: Instant) -> f64 {
    let within = samples.iter().filter(|(at, ..)| (from..until).contains(at));
    let count: u64 = within.map(|(.., count)| u64::from(*count)).sum();
    (count as f64 / until.saturating_duration_since(from).as_secs_f64()).round()
}

impl Killed {
    fn tell(
        &self,
        values: &mut serde_json::Value,
        begin: Instant,
        until: Instant,
        samples: &[(Instant, Duration, u32)],
    ) {
        let soon = Duration::from_secs(2);
        values["tps_before"] = rate(samples, begin, self.at).into();
        values["tps_at_kill"] = rate(samples, self.at, self.at + soon).into();
        values["tps_2s_after_kill"] = rate(samples, self.at + soon, self.again).into();
        values["tps_after_restart"] = rate(samples, self.again + soon / 2, until).into();
        values["restart_ms"] = (self.restart.as_millis() as u64).into();
        values["caught_up_ms"] = (self.caught_up.as_millis() as u64).into();
    }
}

fn summary(
    args: &BenchLedgerArgs,
    begin: Instant,
    samples: &[(Instant, Duration, u32)],
    blocks: u64,
) -> Result<serde_json::Value, Error> {
    let last = samples.iter().map(|(at, ..)| *at).max().ok_or_else(|| failed("nothing became final"))?;
    let count: u64 = samples.iter().map(|(.., count)| u64::from(*count)).sum();
    let mut took: Vec<(Duration, u32)> = samples.iter().map(|(_, took, count)| (*took, *count)).collect();
    took.sort_unstable();
    let percentile = |share: f64| {
        let goal = (count as f64 * share) as u64;
        let mut sum = 0;
        let found = took.iter().find(|(_, count)| {
            sum += u64::from(*count);
            sum > goal
        });
        found.map_or(0.0, |(took, _)| (took.as_secs_f64() * 10_000.0).round() / 10.0)
    };
    Ok(json!({
        "validators": args.validators,
        "seconds": args.seconds,
        "rate": args.rate,
        "delay_ms": args.delay_ms,
        "senders": ACCOUNTS,
        "transfers": count,
        "blocks": blocks,
        "tps": (count as f64 / (last - begin).as_secs_f64()).round(),
        "finality_ms_p50": percentile(0.5),
        "finality_ms_p99": percentile(0.99),
    }))
}
