//! The command line.

use crate::bench::BenchModelArgs;
use crate::diagnostics::DiagnosticsArgs;
use crate::generate::{CompletionsArgs, ManualArgs};
use crate::keys::KeysCommand;
use crate::ledger_bench::BenchLedgerArgs;
use crate::log::LogsArgs;
use crate::machine::parse_time;
use crate::open::OpenFlags;
use crate::service::ServiceCommand;
use crate::settings::ShareFlags;
use crate::top::TopArgs;
use crate::uninstall::UninstallArgs;
use crate::validator::ValidatorArgs;
use clap::{Args as ClapArgs, Parser, Subcommand};
use skep_node::{DoorRules, MAX_INVITE_HOURS};
use skep_owner::parse_bytes;
use skep_types::{BlockRange, MAX_INVITE_USES, ModelId, PASS_SECONDS, Relay};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// The port of the page and the API: SKEP on a telephone's keys.
pub(crate) const DEFAULT_PORT: u16 = 7537;

/// The port of a relay, beside that.
pub(crate) const RELAY_PORT: u16 = 7538;

/// One AI network out of many people's computers.
#[derive(Debug, Parser)]
#[command(name = "skep", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a whole network on this machine, each node a process of its own, and a page to use it
    Demo(DemoArgs),
    /// Start a node: alone it is a complete network, with an invite's link it serves blocks to another
    Up(UpArgs),
    /// Bring a model to this machine: from a file, over HTTPS, or from a network
    Pull(PullArgs),
    /// Print a link with which other machines join the network that runs on this one
    Invite(InviteArgs),
    /// Show who is a member of the network, who lets others in, and who was removed
    Members(AskArgs),
    /// Remove a machine from the network; every member refuses it from then on
    Remove(RemoveArgs),
    /// Make, list and revoke the keys with which other machines use this one's models
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Pass bytes on between machines of a network that cannot reach each other
    Relay(RelayArgs),
    /// Say whether this machine can be part of a network, and what would help
    Doctor(DoctorArgs),
    /// Print what helps others to see what is wrong here, without keys, addresses, prompts, paths or names
    Diagnostics(DiagnosticsArgs),
    /// Ask a running network; without a prompt, chat until the end of input
    Chat(ChatArgs),
    /// Show whether this machine is lent, which node holds which blocks, and how the last answer came about
    Status(AskArgs),
    /// Lend nothing of this machine, at once: for good, or for a time as 2h
    Pause(PauseArgs),
    /// Lend this machine again
    Resume(AskArgs),
    /// Begin nothing new for others, and pause when all is done
    Finish(AskArgs),
    /// Show what of this machine may be used now, beside what is
    Limits(AskArgs),
    /// Watch all that live: what is lent and used, the nodes, the last answer
    Top(TopArgs),
    /// Show what happened on this machine
    Logs(LogsArgs),
    /// Show how fast each node is, how far away, and what it has room for, as measured
    Peers(AskArgs),
    /// Show the route of the last answer and of the next one, and why it is that one
    Route(RouteArgs),
    /// List the models of this machine and its network, whether each fits and why, and what is on its way
    Models(AskArgs),
    /// Work with model files
    #[command(subcommand)]
    Model(ModelCommand),
    /// Show and change the limits of what this machine lends
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Take part in agreeing on a ledger's blocks, alone or with others
    Validator(ValidatorArgs),
    /// Measure how fast this machine is
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Run Skep from when this machine starts, without a window
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Remove what Skep keeps on this machine, after it said what that is
    Uninstall(UninstallArgs),
    /// Print what a shell needs to complete commands
    Completions(CompletionsArgs),
    /// Print the manual's page, or write all pages into a folder
    Manual(ManualArgs),
}

impl Command {
    /// Whether what happens is worth keeping: that of a node that will be here again.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self, Self::Up(args) if !args.ephemeral)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting and its value, as the file would hold it
    Show(ShowConfigArgs),
    /// Set one in the file; what else stands there stays
    Set(SetConfigArgs),
    /// Leave one to the preset again
    Unset(UnsetConfigArgs),
    /// Say whether this machine would be lent now and why, and what it does not tell of itself; a Skep that runs counts as another
    /// program here
    Check(CheckConfigArgs),
    /// Print a file that explains every setting and sets none
    Template,
    /// Print the JSON Schema of the file, for editors
    Schema,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShowConfigArgs {
    /// Say of each where its value comes from: preset, file or flag
    #[arg(long)]
    pub(crate) origin: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) flags: ShareFlags,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SetConfigArgs {
    /// Its name, as share.cpu_percent
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its value, as the file takes it but without quotes
    #[arg(value_name = "VALUE")]
    pub(crate) value: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UnsetConfigArgs {
    /// Its name, as share.cpu_percent
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckConfigArgs {
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) flags: ShareFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Run a model file and show tokens per second and the share of the memory's bandwidth
    Model(BenchModelArgs),
    /// Start validators on this machine, hand in transfers of different accounts and show how many become final, and how soon
    Ledger(BenchLedgerArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Show what a GGUF file holds and whether Skep can run it
    Inspect(InspectArgs),
    /// List the models on this machine that were pulled, or of which a network's members gave some
    List(ListArgs),
    /// Remove one of them from this machine's disk, unless a running Skep uses it
    Remove(RemoveModelArgs),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RemoveModelArgs {
    /// Its name, or the beginning of its id, as `skep model list` shows them
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PullArgs {
    /// hf:OWNER/REPOSITORY[@REVISION]/FILE.gguf, an https address, a GGUF file, or the LINK of an invite for what that network serves
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// Name for `skep up --model` [default: that of the file]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Take it only if it is this model: 64 hexadecimal digits
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<ModelId>,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// Number of nodes; from 4 on every block is on two of them
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) nodes: u32,
    /// Model file (GGUF); the bundled model if absent
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Port of the page and the API; 0 takes a free one
    #[arg(long, value_name = "P", default_value_t = DEFAULT_PORT)]
    pub(crate) port: u16,
    /// Most memory for each node's sessions, as 4GiB; the weights stay in the mapped file and do not count
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<u64>,
    /// Print one line of JSON when the network can answer
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not open the page in a browser
    #[arg(long)]
    pub(crate) no_open: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UpArgs {
    /// Link of an invite to the network to join, as `skep invite` prints it on the machine of its owner
    #[arg(value_name = "LINK", group = "network")]
    pub(crate) link: Option<String>,
    /// Model file (GGUF), or the name or id of a pulled one [default: what the network joined serves, fetched from its members;
    /// alone, the bundled model]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
    /// Blocks to serve, as 0..4 [default: all that are here, or all that fit into this machine's memory]
    #[arg(long, value_name = "A..B")]
    pub(crate) blocks: Option<BlockRange>,
    /// Gateway to serve without a link, as KEY@IP:PORT: one on this machine, or one that knows this node
    #[arg(long, value_name = "PEER", group = "network")]
    pub(crate) join: Option<String>,
    /// UDP address for other nodes, 0.0.0.0:PORT for all of this machine's [default: this machine only, but with the LINK of
    /// another machine all]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Relay for machines that cannot reach each other, as `skep relay` prints it; invites name it [default: none, or the LINK's]
    #[arg(long, value_name = "RELAY")]
    pub(crate) relay: Option<Relay>,
    /// Port of the page and the API; 0 takes a free one [default: 7537; who joins a network takes a free one if that is in use]
    #[arg(long, value_name = "P")]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) open: OpenFlags,
    /// Only lend this machine to the network it joins: no page and no API here
    #[arg(long, conflicts_with = "port", requires = "network")]
    pub(crate) lend_only: bool,
    /// Only use the network that it joins: page and API here, but nothing is lent, and of the model no more than its header is fetched
    #[arg(long, requires = "network", conflicts_with_all = ["lend_only", "blocks", "weights", "upload"])]
    pub(crate) use_only: bool,
    /// Join a network that is announced on the local network, or begin one and announce it: whoever is on the local network may join
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "7538", conflicts_with_all = ["network", "lend_only"])]
    pub(crate) lan: Option<u16>,
    /// Threads that compute; all processors if absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// Most memory for sessions, as 4GiB; the weights stay in the mapped file and do not count [default: 2GiB]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<u64>,
    /// Most weights of a node that chooses its blocks in a network, as 4GiB: all of the model, or two spans, so that it can load
    /// another one while it serves [default: what is free in this machine's memory]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, conflicts_with = "blocks")]
    pub(crate) weights: Option<u64>,
    /// Most bytes per second of weights that other members may fetch from here, as 5MB; 0 gives them none [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) upload: Option<u64>,
    /// Read the model from the disk again at the start, so that Linux can hold it in large pages: answers come faster
    #[arg(long)]
    pub(crate) large_pages: bool,
    /// Print one line of JSON when the node is ready
    #[arg(long)]
    pub(crate) json: bool,
    /// Use a new key that is forgotten at the end
    #[arg(long)]
    pub(crate) ephemeral: bool,
    #[command(flatten)]
    pub(crate) doors: DoorFlags,
    /// End when standard input ends: how the demo's nodes notice that it is gone
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
    /// Take what this file says for what this machine says of itself: how tests play its owner
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) sensors: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) share: ShareFlags,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DoorFlags {
    /// Of a network that begins here, let nobody else invite machines and renew memberships: it ends two weeks after this machine is
    /// gone. Otherwise the members that are here for longest may, each after an hour
    #[arg(long)]
    pub(crate) no_doorkeepers: bool,
    /// Seconds after which a member may let others in
    #[arg(long, value_name = "N", hide = true)]
    pub(crate) standing_seconds: Option<u64>,
    /// Seconds that a pass of this machine lasts
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u64).range(1..=PASS_SECONDS))]
    pub(crate) pass_seconds: Option<u64>,
}

impl DoorFlags {
    /// The rules that come of them.
    pub(crate) fn rules(&self) -> DoorRules {
        let rules = DoorRules::default();
        DoorRules {
            named: if self.no_doorkeepers { 0 } else { rules.named },
            standing: self.standing_seconds.map_or(rules.standing, Duration::from_secs),
            pass_seconds: self.pass_seconds.unwrap_or(rules.pass_seconds),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InviteArgs {
    /// Hours until the invite ends
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_INVITE_HOURS)))]
    pub(crate) hours: u32,
    /// Machines that may join with it
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_INVITE_USES)))]
    pub(crate) uses: u16,
    /// Show the link as a picture too, for a camera
    #[arg(long, conflicts_with = "json")]
    pub(crate) qr: bool,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RemoveArgs {
    /// Its key, or the beginning that `skep members` shows
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RelayArgs {
    /// Address to listen on, TCP and UDP
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddr::from(([0, 0, 0, 0], RELAY_PORT)))]
    pub(crate) listen: SocketAddr,
    /// Address by which others reach it [default: that of --listen]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) public: Option<SocketAddr>,
    /// Most bytes that each machine may send through it per second, as 4MB [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = parse_rate)]
    pub(crate) rate: Option<NonZeroU32>,
    /// Print one line of JSON when it is ready
    #[arg(long)]
    pub(crate) json: bool,
    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    /// Link of an invite: is its gateway reached from here?
    #[arg(value_name = "LINK")]
    pub(crate) link: Option<String>,
    /// Gateway to look for without a link, as KEY@IP:PORT
    #[arg(long, value_name = "PEER", conflicts_with = "link")]
    pub(crate) join: Option<String>,
    /// Relay to ask, as `skep relay` prints it [default: none, or the LINK's]
    #[arg(long, value_name = "RELAY")]
    pub(crate) relay: Option<Relay>,
    /// UDP address to try to listen on [default: a free port of all addresses]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AskArgs {
    /// Address of a running network's API
    #[arg(long, value_name = "URL", default_value_t = default_api())]
    pub(crate) api: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PauseArgs {
    /// How long, as 45s, 15m, 2h or 1d [default: until `skep resume`]
    #[arg(value_name = "TIME", value_parser = parse_time)]
    pub(crate) how_long: Option<Duration>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RouteArgs {
    /// Show where the time is expected to go, and what the alternatives would take
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ChatArgs {
    /// What to say; absent, read lines from standard input
    pub(crate) prompt: Option<String>,
    /// Most tokens of an answer
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<u32>,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T")]
    pub(crate) temperature: Option<f32>,
    /// The same seed gives the same answer
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// The file
    pub(crate) file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = u32::try_from(parse_bytes(text)?).ok().and_then(NonZeroU32::new);
    rate.ok_or_else(|| "a rate is 1B to 4GB per second".to_owned())
}

pub(crate) fn default_api() -> String {
    format!("http://127.0.0.1:{DEFAULT_PORT}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
