//! What can go wrong for the person at the terminal: one sentence, a hint, an exit code.

use skep_model::ModelError;
use skep_net::NetError;
use skep_node::{NodeError, PullError, SettingsFault, system_hint};
use skep_owner::SettingError;
use skep_relay::RelayFault;
use skep_store::StoreError;
use skep_validator::ValidatorError;
use std::path::{Path, PathBuf};
use thiserror::Error;

impl From<SettingsFault> for Error {
    fn from(fault: SettingsFault) -> Self {
        match fault {
            SettingsFault::Refused(source) => Self::Settings { path: crate::settings::path(), source },
            SettingsFault::Disk { what, path, source } => {
                Self::System { what: format!("{what} {}", path.display()), source }
            }
        }
    }
}

/// A failure of a command.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// A node could not start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The model file cannot be used.
    #[error("{}", model_text(path, source))]
    Model { path: PathBuf, source: ModelError },
    /// A key or a peer's address cannot be used.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The text given to join with is not an invite.
    #[error("{reason}")]
    Link { reason: String },
    /// The port of the API is taken.
    #[error("port {port} on this machine is in use")]
    PortInUse { port: u16 },
    /// A validator cannot run, or does not answer.
    #[error(transparent)]
    Validator(#[from] ValidatorError),
    /// A measurement of the ledger went wrong.
    #[error("the ledger cannot be measured: {reason}")]
    LedgerBench { reason: String },
    /// A setting that was given is refused.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The file of settings is refused.
    #[error("{}: {source}", path.display())]
    Settings { path: PathBuf, source: SettingError },
    /// The relay cannot run.
    #[error(transparent)]
    Relay(#[from] RelayFault),
    /// The system's manager of services refused.
    #[error("systemd refuses `{what}`: {reason}")]
    Service { what: String, reason: String },
    /// A node runs on the folder that would be removed.
    #[error("a node runs on {}", folder.display())]
    Running { folder: PathBuf },
    /// The system refused something.
    #[error("{what}: {source}")]
    System { what: String, source: std::io::Error },
    /// A node of the demo ended before the network was ready.
    #[error("node {number} of the demo ended while it started ({status})")]
    NodeEnded { number: usize, status: String },
    /// The demo's nodes did not come together in time.
    #[error("{joined} of {wanted} nodes joined within {seconds} seconds")]
    NotReady { joined: usize, wanted: usize, seconds: u64 },
    /// The blocks asked for are not the model's.
    #[error("the model has blocks 0..{n_blocks}, so it cannot serve {asked}")]
    Blocks { asked: String, n_blocks: u32 },
    /// Not even one block fits into the memory.
    #[error("not even one block of the model fits into the {memory} bytes of memory that are free for weights")]
    NoRoom { memory: u64 },
    /// A model of the store is there in part only.
    #[error("only {held} of the {bytes} bytes of {name} are here")]
    NotWhole { name: String, held: u64, bytes: u64 },
    /// A model cannot be brought to this machine.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// No model of the store has the name.
    #[error("no model here is called {name}")]
    NoModel { name: String },
    /// Several models of the store have the name.
    #[error("several models here are called {name}")]
    TwoModels { name: String },
    /// More nodes than there is work for.
    #[error(transparent)]
    Plan(#[from] skep_plan::PlanError),
    /// The processor lacks the instruction set that was asked for.
    #[error("this processor does not have {isa}")]
    NoInstructions { isa: String },
    /// No member, or more than one, has a key that begins so.
    #[error("{} a key that begins with {key}", if *several { "several members have" } else { "no member has" })]
    NoMember { key: String, several: bool },
    /// Nobody answers at the API's address.
    #[error("no network answers at {api}: {reason}")]
    NoApi { api: String, reason: String },
    /// The keys cannot be read or written.
    #[error(transparent)]
    Keys(#[from] skep_api::KeysFault),
    /// No key, or more than one, is called so.
    #[error("{} called {name}", if *several { "several keys are" } else { "no key is" })]
    NoKey { name: String, several: bool },
    /// The API refused the request.
    #[error("{message}")]
    Api { message: String, hint: String, status: u16 },
    /// The API said something that is not its protocol.
    #[error("{api} does not speak this API: {reason}")]
    NotSkep { api: String, reason: String },
}

impl Error {
    /// What to do about it, as the end of a sentence that begins with "hint:".
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::PortInUse { .. } => "choose another with --port, or let --port 0 find a free one".into(),
            Self::Model { source, .. } | Self::Node(NodeError::Model(source)) => model_hint(source).into(),
            Self::Node(NodeError::Refused { .. }) => {
                "a new link comes from `skep invite` on the gateway's machine; if models differ, start this node with the gateway's model file".into()
            }
            Self::Node(NodeError::Admitted { .. }) => {
                "restore the file, or remove it: then every machine needs a new invite".into()
            }
            Self::Keys(_) => "restore the file, or put it aside: then every key must be made anew".into(),
            Self::NoKey { .. } => "`skep keys list` shows the keys with their ids".into(),
            Self::Setting(source) | Self::Settings { source, .. } => setting_hint(source).into(),
            Self::Link { .. } => "copy the whole link that `skep invite` printed, from `skep:` to its end".into(),
            Self::Node(NodeError::Memory { .. }) => {
                "allow more with --memory, or serve fewer blocks with --blocks".into()
            }
            Self::Node(NodeError::Store(StoreError::Io { source, .. }) | NodeError::Folder { source, .. }) => {
                system_hint(source).into()
            }
            Self::Node(NodeError::Store(StoreError::Locked(_))) => {
                "end the other `skep up` or `skep pull` of this user, or give this one another folder with SKEP_HOME".into()
            }
            Self::Node(NodeError::NoWeights { .. }) => {
                "what has come is kept: start this again when other members are up, or give the file with --model".into()
            }
            Self::NoRoom { .. } => "say which blocks with --blocks; `skep model inspect FILE` shows their sizes".into(),
            Self::NotWhole { .. } => "`skep pull LINK` fetches the rest from the network that LINK leads to".into(),
            Self::Pull(source) => source.hint().into(),
            Self::NoModel { .. } => "`skep model list` shows what is here".into(),
            Self::TwoModels { .. } => "use the beginning of the id, which `skep model list` shows".into(),
            Self::Node(_) | Self::Net(_) => {
                "check the address given with --join or --listen, and that the other node is running".into()
            }
            Self::Relay(RelayFault::NoAddress { .. }) => {
                "say it with --public IP:PORT: the address of this machine, or of the router that passes the port on to it".into()
            }
            Self::Validator(source) => validator_hint(source).into(),
            Self::LedgerBench { .. } => "the validators' own messages stand above; SKEP_LOG=info shows more".into(),
            Self::Relay(_) => "choose another address with --listen".into(),
            Self::System { source, .. } => system_hint(source).into(),
            Self::Service { .. } => {
                "a service wants systemd and a login session of the user; elsewhere start `skep up` with what starts your programs, and `--print` shows the unit".into()
            }
            Self::Running { .. } => "end it first: Ctrl-C where it runs, or `skep service remove`".into(),
            Self::NodeEnded { .. } | Self::NotReady { .. } => {
                "its own message stands above; SKEP_LOG=info shows more".into()
            }
            Self::Blocks { .. } => "`skep model inspect FILE` shows the number of blocks".into(),
            Self::NoMember { .. } => "`skep members` lists them; give at least six digits".into(),
            Self::NoInstructions { .. } => "leave --isa away: the fastest one that is there is taken".into(),
            Self::Plan(_) => "use fewer nodes, or a model with more blocks".into(),
            Self::NoApi { .. } => "start a network with `skep demo` or `skep up`, or name one with --api URL".into(),
            Self::Api { hint, .. } => hint.clone(),
            Self::NotSkep { .. } => "--api wants the address that `skep demo` or `skep up` printed".into(),
        }
    }

    /// 3: what was given cannot be used. 4: this machine refuses. 5: the network does not answer or refuses. (2 is a wrong
    /// command line, by the parser.)
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Model { .. }
            | Self::Link { .. }
            | Self::Setting(_)
            | Self::Settings { .. }
            | Self::Blocks { .. }
            | Self::Plan(_)
            | Self::NoRoom { .. }
            | Self::NotWhole { .. }
            | Self::NoModel { .. }
            | Self::TwoModels { .. }
            | Self::Pull(PullError::Url { .. } | PullError::OtherFile { .. } | PullError::Model { .. })
            | Self::NoMember { .. }
            | Self::NoKey { .. }
            | Self::Node(NodeError::Model(_) | NodeError::Memory { .. }) => 3,
            Self::PortInUse { .. }
            | Self::Pull(
                PullError::Twice { .. }
                | PullError::System { .. }
                | PullError::Store(_)
                | PullError::DiskFull { .. }
                | PullError::DiskCap { .. },
            )
            | Self::Relay(_)
            | Self::Service { .. }
            | Self::Running { .. }
            | Self::Keys(_)
            | Self::System { .. }
            | Self::NoInstructions { .. }
            | Self::Node(
                NodeError::System { .. } | NodeError::Admitted { .. } | NodeError::Store(_) | NodeError::Folder { .. },
            ) => 4,
            _ => 5,
        }
    }
}

/// Names the file once; an error of the file system names it already.
fn model_text(path: &Path, source: &ModelError) -> String {
    match source {
        ModelError::Io { .. } => source.to_string(),
        _ => format!("{}: {source}", path.display()),
    }
}

fn model_hint(error: &ModelError) -> &'static str {
    match error {
        ModelError::Io { source, .. } => system_hint(source),
        _ => {
            "`skep model inspect FILE` shows what the file holds; Skep runs GGUF files in F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K and Q4_0"
        }
    }
}

fn validator_hint(error: &ValidatorError) -> &'static str {
    match error {
        ValidatorError::File { source, .. } => system_hint(source),
        ValidatorError::OtherLedger { .. } => "give the other ledger another folder with SKEP_HOME",
        ValidatorError::Store { .. } => {
            "end the other `skep validator` of this user, or give this one another SKEP_HOME"
        }
        ValidatorError::Genesis { .. } | ValidatorError::Ledger(_) => {
            "`skep validator init` writes how a ledger begins"
        }
        ValidatorError::Net(_) | ValidatorError::Answer(_) | ValidatorError::Light(_) => {
            "check that the validator runs, and its address"
        }
        _ => "SKEP_LOG=info shows more",
    }
}

fn setting_hint(error: &SettingError) -> &'static str {
    match error {
        SettingError::Unknown { .. } => "`skep config show` lists every setting",
        SettingError::Misfit { .. } => "`skep config template` explains every setting",
        SettingError::Syntax { .. } | SettingError::Long { .. } => {
            "mend the file, or put it aside: `skep config template` prints a new one"
        }
    }
}
