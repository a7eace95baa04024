//! A node of the network: the stages it serves, the requests it coordinates, and the tasks that carry out what the pure machines
//! of `skep-session` decide.
//!
//! A [`Node`] is composed of up to two roles over one endpoint:
//! - a *stage host*, which holds the weights of some blocks and computes for whoever opens a session with it;
//! - a [`Gateway`], which holds no weights, owns the tokens of each answer, and knows the members of the network that serve.
//!
//! `skep up` alone is a node with both roles and every block: a complete private network. A node that joins has both roles too: every
//! member takes requests, finds the others by the network's directories, and goes on when the machine that began the network is gone.

mod admission;
mod answers;
mod appraise;
mod catalogue;
mod driver;
mod encode;
mod explain;
mod files;
mod gateway;
mod generate;
mod joining;
mod links;
mod members;
mod membership;
mod moving;
mod node;
mod reach;
mod sink;
mod stage_host;
mod steward;
mod stop;
mod swarm;
mod tell;
mod text;
mod weights;

pub use answers::AnswerId;
pub use catalogue::{
    Address, Catalogue, CatalogueOrder, CatalogueView, FaultView, Fits, ModelRow, NeedView, OrderRefused, Places,
    PullError, PullRow, RoomView, ServedView, clean_name, fetch_url, name_stored, stem, system_hint, take_in,
};
pub use encode::{EncodeInput, EncodeRequest, Encodings, MAX_INPUTS, probabilities};
pub use explain::{Alternative, ExpectedRoute, ExpectedStage, Why};
pub use gateway::{
    Gateway, GatewayLimits, InviteRefused, MAX_INVITE_HOURS, MemberView, ModelFront, RemoveRefused, Unplug, UnplugError,
};
pub use generate::{
    ChatMessage, Event, FiguresView, FinishReason, GenerateError, GenerateRequest, Generation, Hop, HopTiming,
    ModelCard, NetworkView, NodeView, Prompt, Recovery, Resumed, RouteView, Summary, Task,
};
pub use membership::DoorRules;
pub use moving::{Moved, Moves};
pub use node::{Node, NodeConfig, NodeError};
pub use reach::Reach;
pub use skep_net::{own_addresses, random_bytes};
pub use skep_store::StoreError;
pub use stage_host::{PeerLimits, StageLimits};
pub use steward::{
    CapsView, GapView, MachineView, Raw, ReasonView, SensorView, SetError, SettingsFault, SettingsFile, SettingsView,
    State, Steward, StewardConfig, TimelineEntry, UseView, ValueView, WholeView, free_memory,
};
pub use weights::{FetchProgress, Fetched, Fetching, Report, Weights, WeightsConfig, choose_blocks, weight_bytes};
