//! The coordinator of one request and the stage it talks to, as pure state machines.
//!
//! A [`Session`] runs at the gateway: it plans the chain, opens it, feeds it tokens, draws from the candidates that come back (or takes
//! the one vector that it asked for) and finds a way on when a machine vanishes. A [`Stage`] runs at each machine of the chain. Neither knows a clock, a socket or chance;
//! machines carry out what they return, and the tests of this crate run the same code through thousands of seeded disasters.
//!
//! The rules of a stage stand in [`stage`], those of a session in [`session`].

mod sampler;
pub mod session;
pub mod stage;

pub use sampler::Sampler;
pub use session::{
    Effect, Encode, Finish, Generate, HopTotals, Input, Limits, RecoveryReport, Report, Rung, Session, SessionConfig,
    SessionError, Source, Task,
};
pub use stage::{Begun, Compute, Outgoing, SILENT, Stage, StageConfig};
