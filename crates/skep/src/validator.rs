//! `skep validator`: a machine's part in agreeing on a ledger's blocks.

use crate::error::Error;
use crate::{home, log, output, up};
use clap::{Args, Subcommand};
use serde_json::json;
use skep_consensus::{Genesis, Pace, Validators};
use skep_ledger::{Amount, Params};
use skep_net::{Net, NetConfig, format_peer, parse_peer};
use skep_types::NodeId;
use skep_types::wire::Peer;
use skep_validator::{Client, Config, Keyring, Validator, ValidatorError, load_genesis, save_genesis};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where validators listen beside the port of the page.
const LISTEN: &str = "127.0.0.1:7539";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ValidatorArgs {
    #[command(subcommand)]
    command: Option<ValidatorCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum ValidatorCommand {
    /// Write how a new ledger begins, with this machine's key among its validators or as the only one
    Init(InitArgs),
    /// Show how far the ledger is on the validator that runs on this machine
    Status(StatusArgs),
    /// Show this machine's key, for the `--validator` of whoever begins a ledger with it
    Key,
    /// Show what an account has, proved from the ledger's beginning on
    Balance(BalanceArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// How the ledger begins, as `skep validator init` writes it [default: the ledger that is here, or a new one of this machine alone]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// UDP address for other validators and for those who ask
    #[arg(long, value_name = "IP:PORT", default_value = LISTEN)]
    listen: SocketAddr,
    /// Another validator, as KEY@IP:PORT; may be given several times
    #[arg(long = "peer", value_name = "PEER", value_parser = peer)]
    peers: Vec<Peer>,
    /// Hold what is said to other validators back for so long: how far ones are measured
    #[arg(long, value_name = "MS", default_value_t = 0, hide = true)]
    delay_ms: u64,
    /// Print one line of JSON when it is ready
    #[arg(long)]
    json: bool,
    /// End when standard input ends
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

#[derive(Debug, Args)]
struct InitArgs {
    /// A validator, as KEY or KEY=POWER; may be given several times [default: this machine]
    #[arg(long = "validator", value_name = "KEY", value_parser = share)]
    validators: Vec<(NodeId, u64)>,
    /// What an account begins with, as KEY=AMOUNT, on a ledger for trying out; a network for everybody grants nothing
    #[arg(long = "grant", value_name = "KEY=AMOUNT", value_parser = share)]
    grants: Vec<(NodeId, u64)>,
    /// Where to write it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// Ask this validator, as KEY@IP:PORT, instead of the one on this machine
    #[arg(long, value_name = "PEER", value_parser = peer)]
    at: Option<Peer>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BalanceArgs {
    /// The account [default: that of this machine's key]
    #[arg(value_name = "KEY")]
    account: Option<NodeId>,
    #[command(flatten)]
    from: StatusArgs,
}

fn peer(text: &str) -> Result<Peer, String> {
    parse_peer(text).map_err(|fault| fault.to_string())
}

fn share(text: &str) -> Result<(NodeId, u64), String> {
    let (key, amount) = text.split_once('=').unwrap_or((text, "1"));
    let key = key.parse().map_err(|fault| format!("{fault}"))?;
    Ok((key, amount.parse().map_err(|_| format!("`{amount}` is not a number"))?))
}

pub(crate) async fn run(args: ValidatorArgs) -> Result<(), Error> {
    match args.command {
        None => validate(args.run).await,
        Some(ValidatorCommand::Init(args)) => init(&args),
        Some(ValidatorCommand::Status(args)) => status(&args).await,
        Some(ValidatorCommand::Key) => output::line(Keyring::new(&home::key()?).id()),
        Some(ValidatorCommand::Balance(args)) => balance(&args).await,
    }
}

fn folder() -> PathBuf {
    home::folder().join("validator")
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn beginning(validators: &[(NodeId, u64)], grants: &[(NodeId, u64)]) -> Result<Genesis, ValidatorError> {
    let validators = validators.iter().map(|(id, power)| skep_consensus::Validator { id: *id, power: *power });
    let validators = Validators::new(validators.collect()).ok_or(skep_ledger::Refusal::Field(
        "each of the 1 to 100 validators is named once, with a power that one may have",
    ))?;
    let mut grants: Vec<_> = grants.iter().map(|(who, amount)| (*who, Amount(*amount))).collect();
    grants.sort_unstable_by_key(|(who, _)| *who);
    Ok(Genesis { params: Params::default(), time_s: unix_s(), validators, grants })
}

fn init(args: &InitArgs) -> Result<(), Error> {
    let me = Keyring::new(&home::key()?).id();
    let validators = if args.validators.is_empty() { vec![(me, 1)] } else { args.validators.clone() };
    let genesis = beginning(&validators, &args.grants)?;
    save_genesis(&args.file, &genesis)?;
    output::line(genesis.chain())
}

/// The ledger of this machine: the one given, the one that is here, or a new one of this machine alone.
fn ledger(folder: &Path, given: Option<&Path>, me: NodeId) -> Result<Genesis, Error> {
    let kept = folder.join("genesis");
    let genesis = match given {
        Some(path) => load_genesis(path)?,
        None if kept.exists() => return Ok(load_genesis(&kept)?),
        None => beginning(&[(me, 1)], &[])?,
    };
    if !kept.exists() {
        save_genesis(&kept, &genesis)?;
    } else if load_genesis(&kept)?.chain() != genesis.chain() {
        return Err(ValidatorError::OtherLedger { path: folder.to_owned() }.into());
    }
    Ok(genesis)
}

async fn validate(args: RunArgs) -> Result<(), Error> {
    if args.end_with_stdin {
        up::end_with_stdin()?;
    }
    log::begin(false);
    let (secret, folder) = (home::key()?, folder());
    let fault = |source| Error::System { what: format!("writing {}", folder.display()), source };
    std::fs::create_dir_all(&folder).map_err(fault)?;
    let genesis = ledger(&folder, args.genesis.as_deref(), Keyring::new(&secret).id())?;
    let chain = genesis.chain();
    let net = Net::bind(NetConfig::new(secret, args.listen)).await?;
    let peer = format_peer(&net.0.peer());
    let delay = Duration::from_millis(args.delay_ms);
    let config = Config { folder: folder.clone(), genesis, peers: args.peers, pace: Pace::default(), delay };
    let mut validator = Validator::start(config, &secret, net).await?;
    std::fs::write(folder.join("address"), &peer).map_err(fault)?;
    if args.json {
        output::line(json!({ "peer": peer, "chain": chain.to_string(), "pid": std::process::id() }))?;
    } else {
        output::line(format!("Ledger {chain}\nOther validators reach this one with: --peer {peer}"))?;
        eprintln!("Ctrl-C ends it");
    }
    let ended = tokio::select! {
        ended = validator.ended() => ended,
        () = up::ended() => validator.stop().await,
    };
    Ok(ended?)
}

/// A stream to the validator that was named, or to the one on this machine.
async fn reach(at: Option<&Peer>) -> Result<Client, Error> {
    let peer = match at {
        Some(peer) => peer.clone(),
        None => {
            let path = folder().join("address");
            let fault = |source| Error::System { what: format!("reading {}", path.display()), source };
            parse_peer(&std::fs::read_to_string(&path).map_err(fault)?)?
        }
    };
    let any = if peer.addrs.iter().any(SocketAddr::is_ipv6) {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let bind = SocketAddr::new(any, 0);
    let (net, _) = Net::bind(NetConfig::new(skep_net::random_bytes(), bind)).await?;
    Ok(Client::connect(&net, &peer).await?)
}

async fn status(args: &StatusArgs) -> Result<(), Error> {
    let status = reach(args.at.as_ref()).await?.status().await?;
    if args.json {
        return output::line(json!({
            "chain": status.chain.to_string(),
            "validator": status.me.to_string(),
            "height": status.height,
            "block": status.block.to_string(),
            "time": status.time_s,
            "validators": status.validators,
            "power": status.power,
            "total_power": status.total,
            "waiting": status.waiting,
            "transactions": status.done,
        }));
    }
    output::line(format!(
        "ledger        {}\nblock         {} ({})\nvalidators    {}, this one with {} of {} power\nwaiting       {} transactions",
        status.chain, status.height, status.block, status.validators, status.power, status.total, status.waiting
    ))
}

async fn balance(args: &BalanceArgs) -> Result<(), Error> {
    let secret = home::key()?;
    let account = args.account.unwrap_or_else(|| Keyring::new(&secret).id());
    // What begins the trust is here, not there.
    let genesis = load_genesis(&folder().join("genesis"))?;
    let mut client = reach(args.from.at.as_ref()).await?;
    let proved = client.account(&genesis, account, unix_s()).await?;
    let (height, account_now) = (proved.height, proved.account);
    if args.from.json {
        let (balance, nonce) = (account_now.balance.0, account_now.nonce);
        return output::line(
            json!({ "account": account.to_string(), "balance": balance, "nonce": nonce, "height": height }),
        );
    }
    output::line(format!("{} after block {height}, proved", account_now.balance.0))
}
