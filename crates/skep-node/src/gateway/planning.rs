//! The planner at a gateway: what nodes tell, the network as it is drawn from that, and the next route.

use super::Gateway;
use crate::explain::Why;
use crate::generate::{GenerateError, RouteView};
use skep_model::ModelConfig;
use skep_net::FiguresReceiver;
use skep_plan::{Network, Request};
use skep_types::wire::NodeFigures;
use skep_types::{BlockRange, NodeId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A node's figures are read no faster than this, however fast it tells them.
const FIGURES_EVERY: Duration = Duration::from_millis(200);
/// How long a picture of the network is planned by.
const NETWORK_FRESH: Duration = Duration::from_millis(250);

impl Gateway {
    /// The route of the last answer, and of the next one.
    pub fn route(&self) -> RouteView {
        let last = self.state().last_answer.clone();
        let network = self.drawn_network();
        let config = &self.inner.model.config;
        let why = BlockRange::new(0, config.n_blocks).map(|wanted| {
            let request = Request { row_bytes: 4 * config.d_model as u64, ..Request::new(wanted) };
            Why::new(&network, &Request { kv_bytes: kv_bytes(config), ..request })
        });
        match why {
            Ok(Ok(why)) => RouteView { last, next: Some(why), refused: None },
            Ok(Err(refused)) => RouteView { last, next: None, refused: Some(refused.to_string()) },
            Err(fault) => RouteView { last, next: None, refused: Some(fault.to_string()) },
        }
    }

    /// Takes what a node tells of itself.
    pub(crate) fn set_figures(&self, node: NodeId, figures: NodeFigures) -> bool {
        self.state().members.tell(node, figures)
    }

    /// Reads what a member tells of itself for as long as it tells; a new stream takes the place of an older one.
    pub(crate) fn read_figures(&self, from: NodeId, mut figures: FiguresReceiver) {
        let mut state = self.state();
        if !state.members.is_member(from) {
            return;
        }
        let gateway = self.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(told)) = figures.recv().await {
                if !gateway.set_figures(from, told) {
                    return;
                }
                tokio::time::sleep(FIGURES_EVERY).await;
            }
        });
        if let Some(older) = state.readers.insert(from, reader.abort_handle()) {
            older.abort();
        }
        state.readers.retain(|_, reader| !reader.is_finished());
    }

    /// The living, if they hold every block.
    pub(crate) fn whole_network(&self) -> Result<Arc<Network>, GenerateError> {
        let spans = self.state().members.spans();
        match missing_block(&spans, self.inner.model.config.n_blocks) {
            Some(block) => Err(GenerateError::NoRoute { block }),
            None => Ok(self.drawn_network()),
        }
    }

    /// The living as the planner is to take them, drawn lately.
    pub(super) fn drawn_network(&self) -> Arc<Network> {
        let mut state = self.state();
        match &state.drawn {
            Some((at, network)) if at.elapsed() < NETWORK_FRESH => network.clone(),
            _ => {
                let network = Arc::new(state.members.network(&self.inner.net));
                state.drawn = Some((Instant::now(), network.clone()));
                network
            }
        }
    }
}

/// The first block that nobody offers.
pub(super) fn missing_block(spans: &[BlockRange], n_blocks: u32) -> Option<u32> {
    (0..n_blocks).find(|block| !spans.iter().any(|span| span.contains(*block)))
}

/// Bytes of keys and values that one token takes in one block, in halves as stages keep them.
pub(crate) fn kv_bytes(config: &ModelConfig) -> u64 {
    4 * (config.n_kv_heads * config.head_dim) as u64
}
