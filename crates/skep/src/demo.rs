//! `skep demo`: a whole network on this machine.
//!
//! This process is the gateway and holds no block. Each node is a child process with its own key that loads only its blocks and is
//! reached over QUIC like any other machine. A pipe at each child's standard input ties its life to this process.

use crate::args::DemoArgs;
use crate::error::Error;
use crate::home;
use crate::output;
use crate::up::{api_url, block_count, ended, listen, spinner};
use skep_api::{ApiConfig, Patience};
use skep_node::{Gateway, GatewayLimits, Node, NodeConfig, StageLimits};
use skep_types::{BlockRange, NodeId};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// The nodes must have joined within this time.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// The child processes, in the order of their start.
type Children = Arc<Mutex<Vec<Child>>>;

/// Runs the demo until Ctrl-C.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Error> {
    let listener = listen(Ipv4Addr::LOCALHOST, args.port).await?;
    let api = api_url(&listener)?;
    let spinner = spinner("starting the network", args.json);
    let model = home::find_model(args.model.as_deref())?.path();
    let n_blocks = block_count(&model)?;
    let placement = skep_plan::place(n_blocks, args.nodes)?;
    let node = Node::start(NodeConfig {
        secret: skep_net::random_bytes(),
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        model: model.clone(),
        blocks: None,
        gateway: Some(GatewayLimits::default()),
        stage: StageLimits::default(),
        admitted: None,
        join: None,
        invite: None,
        steward: None,
    })
    .await?;
    let Some(gateway) = node.gateway().cloned() else { return Err(skep_node::NodeError::Idle.into()) };
    let peer = skep_net::format_peer(node.peer());
    let children: Children = Arc::default();
    for blocks in &placement {
        let child = start_child(&model, *blocks, &peer, args.memory)?;
        lock(&children).push(child);
    }
    wait_until_joined(&gateway, &children, placement.len()).await?;
    spinner.finish_and_clear();
    let (killer, known) = (children.clone(), gateway.clone());
    gateway.set_unplug(Arc::new(move |node| end_node(&killer, &known, node)));
    let ended = ended();
    if args.json {
        announce_json(&api, &gateway, &children)?;
    } else {
        announce(&api, &gateway, &placement)?;
    }
    if !args.json && !args.no_open {
        open_page(&api);
    }
    let served =
        skep_api::serve(listener, skep_api::router(gateway, ApiConfig::default()), Patience::default(), ended).await;
    end_all(&children).await;
    node.close().await;
    served.map_err(|source| Error::System { what: "serving the API".into(), source })
}

fn start_child(model: &Path, blocks: BlockRange, gateway: &str, memory: Option<u64>) -> Result<Child, Error> {
    let system = |source| Error::System { what: "starting a node".into(), source };
    let memory = memory.map(|bytes| ["--memory".to_owned(), bytes.to_string()]);
    Command::new(std::env::current_exe().map_err(system)?)
        .arg("up")
        .arg("--model")
        .arg(model)
        .args([
            "--blocks",
            &blocks.to_string(),
            "--join",
            gateway,
            "--ephemeral",
            "--end-with-stdin",
            "--lend-only",
            "--json",
        ])
        // They have the file already.
        .args(["--upload", "0"])
        // All nodes share this machine, and one of them computes at a time for one answer.
        .args(["--threads", "1"])
        .args(memory.iter().flatten())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(system)
}

/// Waits until every node joined, and stops waiting when one has ended.
async fn wait_until_joined(gateway: &Gateway, children: &Children, wanted: usize) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let joined = gateway.network().nodes.len();
        if joined == wanted {
            return Ok(());
        }
        for (index, child) in lock(children).iter_mut().enumerate() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Error::NodeEnded { number: index + 1, status: status.to_string() });
            }
        }
        if started.elapsed() > READY_WITHIN {
            return Err(Error::NotReady { joined, wanted, seconds: READY_WITHIN.as_secs() });
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

fn announce_json(api: &str, gateway: &Gateway, children: &Children) -> Result<(), Error> {
    let view = gateway.network();
    let pids: Vec<Option<u32>> = lock(children).iter().map(Child::id).collect();
    // In the order of their start, so that a program can tell the covers apart.
    let nodes: Vec<_> = pids
        .iter()
        .filter_map(|pid| view.nodes.iter().find(|node| node.pid == *pid))
        .map(|node| serde_json::json!({ "pid": node.pid, "id": node.id, "blocks": node.blocks }))
        .collect();
    output::line(serde_json::json!({ "api": api, "model": view.model.id, "nodes": nodes }))
}

fn announce(api: &str, gateway: &Gateway, placement: &[BlockRange]) -> Result<(), Error> {
    let view = gateway.network();
    let blocks = view.model.blocks;
    let mut text = format!("A network of {} nodes serves {} ({blocks} blocks).", placement.len(), view.model.name);
    if placement.len() > 1 {
        text.push_str(" No node holds all of it:");
    }
    text.push_str("\n\n  process   node         blocks\n");
    for node in &view.nodes {
        let (pid, held) = (node.pid.unwrap_or(0), node.blocks.map(|held| held.to_string()).unwrap_or_default());
        let row = format!("  {pid:<8}  {}   {held:<6} {}\n", node.id.short(), picture(node.blocks, blocks));
        text.push_str(&row);
    }
    if let Some(single) = (0..blocks).find(|block| placement.iter().filter(|held| held.contains(*block)).count() < 2) {
        text.push_str(&format!("\nBlock {single} is on one node only: with --nodes 4 or more, any node may die.\n"));
    }
    output::line(format!(
        "{text}\n  page and API   {api}\n\n\
         Ask something on the page, then end a node with `kill -9 PROCESS`: the answer goes on.\n\
         Ctrl-C ends the network."
    ))
}

/// The blocks of one node as a row of cells.
fn picture(held: Option<BlockRange>, blocks: u32) -> String {
    (0..blocks).map(|block| if held.is_some_and(|held| held.contains(block)) { '■' } else { '·' }).collect()
}

/// Ends the process of a node. Returns whether it was running.
fn end_node(children: &Children, gateway: &Gateway, node: NodeId) -> bool {
    let Some((_, Some(pid))) = gateway.member(node) else { return false };
    let mut children = lock(children);
    children.iter_mut().find(|child| child.id() == Some(pid)).is_some_and(|child| child.start_kill().is_ok())
}

async fn end_all(children: &Children) {
    let children: Vec<Child> = lock(children).drain(..).collect();
    for mut child in children {
        let _ = child.kill().await;
    }
}

/// Opens the page in the person's browser; where there is none, the printed address is enough.
fn open_page(api: &str) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let _ = std::process::Command::new(opener).arg(api).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

fn lock(children: &Children) -> std::sync::MutexGuard<'_, Vec<Child>> {
    children.lock().unwrap_or_else(PoisonError::into_inner)
}
