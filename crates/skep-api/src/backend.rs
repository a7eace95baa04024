//! What the API needs of a gateway. The real one is `skep_node::Gateway`; tests bring a scripted one.

use skep_node::{GenerateError, GenerateRequest, Generation, ModelCard, NetworkView};
use skep_types::NodeId;
use std::future::Future;
use thiserror::Error;

/// A gateway: it knows the models, answers requests and shows the network.
pub trait Backend: Clone + Send + Sync + 'static {
    /// The models that it can answer with.
    fn models(&self) -> Vec<ModelCard>;

    /// Begins an answer. Dropping the future or the [`Generation`] cancels it.
    ///
    /// # Errors
    /// Why it cannot be answered; later failures come as an event of the [`Generation`].
    fn generate(&self, request: GenerateRequest) -> impl Future<Output = Result<Generation, GenerateError>> + Send;

    /// The network as it is now.
    fn network(&self) -> NetworkView;

    /// Ends the process of a node, as if its plug had been pulled. Only the demo offers this.
    ///
    /// # Errors
    /// [`UnplugError`] when nothing was ended.
    fn unplug(&self, node: NodeId) -> impl Future<Output = Result<(), UnplugError>> + Send;
}

/// Why no process was ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnplugError {
    /// This gateway did not start the processes of its nodes.
    #[error("this gateway does not end processes")]
    NotOffered,
    /// No node has this id.
    #[error("no node {} is known here", node.short())]
    UnknownNode {
        /// The id that was asked for.
        node: NodeId,
    },
    /// The operating system did not do it.
    #[error("the process was not ended: {reason}")]
    Failed {
        /// What it said.
        reason: String,
    },
}
