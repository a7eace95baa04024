//! `skep up`: one node.

use crate::args::{DEFAULT_PORT, UpArgs};
use crate::error::Error;
use crate::home;
use crate::invite;
use crate::log;
use crate::output;
use crate::settings;
use crate::weights::{self, Held};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use skep_model::{Gguf, ModelConfig};
use skep_node::{Fetched, Gateway, Node, NodeConfig, StageLimits, StewardConfig, Weights, WeightsConfig};
use skep_sensors::{Noted, Sense};
use skep_types::BlockRange;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;

/// Runs a node until Ctrl-C.
pub(crate) async fn run(args: UpArgs) -> Result<(), Error> {
    if args.end_with_stdin {
        end_with_stdin()?;
    }
    log::begin(args.ephemeral);
    // Settings that are refused are told before anything slow.
    settings::layers(&args.share)?;
    let invite = match (&args.link, args.lan) {
        (Some(link), _) => Some(invite::read(link)?),
        (None, Some(port)) => invite::look_around(port, args.json).await?,
        (None, None) => None,
    };
    let invited_to = invite.as_ref().map(invite::first_gateway);
    let join = args.join.as_deref().map(skep_net::parse_peer).transpose()?.or(invited_to);
    // The port is taken before anything slow, so that a person who must choose another one learns it at once.
    let listener = if args.lend_only { None } else { Some(listen_for(&args, join.is_some()).await?) };
    let secret = if args.ephemeral { skep_net::random_bytes() } else { home::key()? };
    let relay = args.relay.or_else(|| invite.as_ref()?.terms.relay);
    let bind =
        args.listen.unwrap_or_else(|| invite::where_to_listen(invite.as_ref(), relay.is_some() || args.lan.is_some()));
    let network = invite.as_ref().map(|invite| invite.terms.network).or(join.as_ref().map(|gateway| gateway.node));
    let networks = (!args.ephemeral).then(home::networks);
    let (upload, doors) = (if args.use_only { Some(0) } else { args.upload }, args.doors.rules());
    let weights = Weights::bind(WeightsConfig { secret, bind, relay, network, networks, upload, doors }).await?;
    let Held { path, blocks, fetched, moves } =
        match weights::come_by(&args, &weights, join.as_ref(), invite.as_ref()).await {
            Ok(held) => held,
            Err(fault) => {
                weights.close().await;
                return Err(fault);
            }
        };
    let (spinner, note) = (spinner("reading the model", args.json), weights::note_of(&path));
    let lends = !bind.ip().is_loopback() || relay.is_some();
    let config = NodeConfig {
        secret,
        bind,
        model: path,
        blocks,
        gateway: listener.is_some().then(|| home::gateway_limits(args.ephemeral)),
        stage: StageLimits {
            // What was just written is in small pages.
            large_pages: args.large_pages || fetched.is_some() && blocks.is_some(),
            // What others ask of this machine goes behind what its owner does with it.
            background: lends,
            ..stage_limits(args.threads, args.memory)
        },
        // An ephemeral key makes a new network each time, which nobody joined yet.
        admitted: (!args.ephemeral).then(|| home::folder().join("admitted")),
        join,
        invite,
        steward: steward(&args, lends),
    };
    let mut node = Node::start_on(weights, config).await?;
    if let Some(moves) = moves {
        tokio::spawn(weights::tell_moves(node.keep_balanced(moves), note, args.json));
    }
    spinner.finish_and_clear();
    match (listener, node.gateway()) {
        (Some(listener), Some(gateway)) => serve(&args, &node, gateway.clone(), listener, fetched.as_ref()).await?,
        _ => {
            let ended = ended();
            announce(&args, &node, blocks, None, fetched.as_ref())?;
            ended.await;
        }
    }
    node.close().await;
    tracing::info!("this node ended");
    Ok(())
}

/// What keeps the node to its owner's limits. One that only its own machine reaches, and that nobody can ask about it, has none.
fn steward(args: &UpArgs, lends: bool) -> Option<StewardConfig> {
    if args.lend_only && !lends {
        return None;
    }
    let weights = home::store();
    let sense: Box<dyn Sense> = match &args.sensors {
        Some(file) => Box::new(Noted::new(file.clone())),
        None => skep_sensors::of_this_machine(&weights),
    };
    let kept = (!args.ephemeral).then(|| home::folder().join("owner"));
    Some(StewardConfig { sense, settings: settings::file(), flags: args.share.0.clone(), kept, weights })
}

async fn serve(
    args: &UpArgs,
    node: &Node,
    gateway: Gateway,
    listener: TcpListener,
    fetched: Option<&Fetched>,
) -> Result<(), Error> {
    node.keep_models(home::places());
    let (api, ended) = (api_url(&listener)?, ended());
    let config = args.open.config(&listener, args.ephemeral)?;
    if let Some(port) = args.lan {
        invite::announce(gateway.clone(), port);
    }
    announce(args, node, node.blocks(), Some(&api), fetched)?;
    let (keys, patience) = (config.keys.clone(), config.patience.clone());
    let served = skep_api::serve(listener, skep_api::router(gateway, config), patience, ended).await;
    keys.save()?;
    served.map_err(|source| Error::System { what: "serving the API".into(), source })
}

fn announce(
    args: &UpArgs,
    node: &Node,
    blocks: Option<BlockRange>,
    api: Option<&str>,
    fetched: Option<&Fetched>,
) -> Result<(), Error> {
    let limits = stage_limits(args.threads, args.memory);
    let (peer, version) = (skep_net::format_peer(node.peer()), env!("CARGO_PKG_VERSION"));
    tracing::info!(version, node = %node.peer().node.short(), model = %node.model().short(), "this node started");
    if args.json {
        let line = serde_json::json!({
            "api": api, "open": args.open.links(api), "model": node.model(), "peer": peer,
            "node": { "pid": std::process::id(), "id": node.peer().node, "blocks": blocks },
            "fetched": fetched.map(|fetched| serde_json::json!({
                "kept_bytes": fetched.kept_bytes, "received_bytes": fetched.received_bytes,
            })),
            "weight_bytes": node.resident_bytes(), "memory_bytes": limits.memory_bytes, "threads": limits.threads,
        });
        return output::line(line);
    }
    fetched.map_or(Ok(()), weights::announce)?;
    match blocks {
        Some(blocks) => {
            output::line(format!("this node holds blocks {blocks} of model {}", node.model().short()))?;
            output::line(format!(
                "{} of weights are mapped from the file; sessions may take {} and {} threads",
                HumanBytes(node.resident_bytes()),
                HumanBytes(limits.memory_bytes),
                limits.threads
            ))?;
        }
        None => output::line(format!("this machine uses model {} and lends nothing", node.model().short()))?,
    }
    if let Some(api) = api {
        output::line(format!("page and API: {api}"))?;
        for link in args.open.links(Some(api)) {
            output::line(format!("from other machines, each with a key of `skep keys add`: {link}"))?;
        }
        if !node.is_first() {
            // Only the machine that began a network invites others to it.
        } else if args.lan.is_some() {
            output::line("another machine of this local network joins with: skep up --lan")?;
        } else if node.peer().addrs.iter().all(|addr| addr.ip().is_loopback()) {
            output::line(format!("another node of this machine joins with: skep up --join {peer} --blocks A..B"))?;
        } else {
            output::line(format!("another machine joins with the link that this prints: skep invite --api {api}"))?;
        }
    }
    output::line("Ctrl-C ends it")
}

/// What the owner allows; what was not said is all processors, and the default memory.
fn stage_limits(threads: Option<u32>, memory_bytes: Option<u64>) -> StageLimits {
    let limits = StageLimits::default();
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    StageLimits {
        threads: threads.map_or_else(all, |threads| threads as usize),
        memory_bytes: memory_bytes.unwrap_or(limits.memory_bytes),
        ..limits
    }
}

/// The number of blocks of a model file.
pub(crate) fn block_count(model: &Path) -> Result<u32, Error> {
    let refuse = |source| Error::Model { path: model.to_owned(), source };
    let file = Gguf::open(model).map_err(refuse)?;
    Ok(ModelConfig::from_gguf(&file).map_err(refuse)?.n_blocks)
}

/// Takes the port that was asked for, or the usual one; a machine that joins a network may have to do with another one, as where two nodes
/// share it.
async fn listen_for(args: &UpArgs, joins: bool) -> Result<TcpListener, Error> {
    let (asked, address) = (args.port, args.open.address());
    match (asked, listen(address, asked.unwrap_or(DEFAULT_PORT)).await) {
        (None, Err(Error::PortInUse { .. })) if joins => listen(address, 0).await,
        (_, taken) => taken,
    }
}

/// Takes the API's port on this machine.
pub(crate) async fn listen(address: Ipv4Addr, port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::from((address, port));
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => Error::PortInUse { port },
        _ => Error::System { what: format!("listening on {address}"), source },
    })
}

/// The address that people and programs of this machine use.
pub(crate) fn api_url(listener: &TcpListener) -> Result<String, Error> {
    Ok(format!("http://{}:{}", Ipv4Addr::LOCALHOST, port_of(listener)?))
}

/// The port that was taken.
pub(crate) fn port_of(listener: &TcpListener) -> Result<u16, Error> {
    let address = listener.local_addr();
    address.map(|address| address.port()).map_err(|source| Error::System { what: "reading the port".into(), source })
}

/// Resolves at Ctrl-C or when the system asks the process to end. From this call on, not only from the first poll, neither ends the
/// process by itself: whoever is told that it is ready may end it at once.
pub(crate) fn ended() -> impl Future<Output = ()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{Signal, SignalKind, signal};
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
        let next = async |signal: Option<Signal>| match signal {
            Some(mut signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        };
        async move {
            tokio::select! {
                () = next(interrupt) => {}
                () = next(terminate) => {}
            }
        }
    }
    #[cfg(not(unix))]
    async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A sign of life for work of unknown length; silent where standard error is not a terminal or the output is for a program.
pub(crate) fn spinner(message: &'static str, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{spinner} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// A pipe from the demo stands at standard input. However the demo ends, even by `kill -9`, the system closes the pipe, and then
/// this process must not outlive it.
pub(crate) fn end_with_stdin() -> Result<(), Error> {
    let watch = std::thread::Builder::new().name("skep-parent".into()).spawn(|| {
        let mut byte = [0u8; 1];
        while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
        std::process::exit(0);
    });
    watch.map(drop).map_err(|source| Error::System { what: "starting a thread".into(), source })
}
