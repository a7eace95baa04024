//! A node as its steward sees it.

use super::{Lending, Plant, Steward, StewardConfig, Traffic};
use crate::node::NodeError;
use crate::stage_host::StageHost;
use crate::weights::{Sent, Weights};
use skep_net::Net;
use skep_types::BlockRange;
use std::net::SocketAddr;

/// The parts of a node that limits touch.
pub(crate) struct NodePlant {
    stages: Option<StageHost>,
    net: Net,
    sent: Sent,
    model: String,
    /// Whether other machines can reach it. Where they cannot, whoever asks is this machine itself.
    lends: bool,
}

impl NodePlant {
    /// The parts of a node that listens at `bind`.
    pub(crate) fn new(stages: Option<StageHost>, weights: &Weights, bind: SocketAddr, model: &str) -> Self {
        let (net, sent) = (weights.net.clone(), weights.sent());
        let lends = !bind.ip().is_loopback() || net.relay().is_some();
        Self { stages, net, sent, model: model.to_owned(), lends }
    }

    /// Sets a steward over the node, before others hear of it.
    ///
    /// # Errors
    /// [`NodeError::Settings`].
    pub(crate) async fn set_steward(self, config: Option<StewardConfig>) -> Result<Option<Steward>, NodeError> {
        let Some(config) = config else { return Ok(None) };
        // The first look waits for sensors and for the compute thread.
        let started = tokio::task::spawn_blocking(move || Steward::start(config, self)).await;
        let ended = |_| NodeError::System { what: "starting the steward", source: std::io::ErrorKind::Other.into() };
        Ok(Some(started.map_err(ended)??))
    }
}

impl Plant for NodePlant {
    fn work(&self) -> u32 {
        self.stages.as_ref().filter(|_| self.lends).map_or(0, StageHost::foreign)
    }

    fn weights_bytes(&self) -> u64 {
        self.stages.as_ref().map_or(0, |stages| stages.loaded().1)
    }

    fn traffic(&self) -> Traffic {
        let skep_net::Traffic { sent, received } = self.net.traffic();
        Traffic { sent, received: received + self.sent.pulled_bytes() }
    }

    fn weights_traffic(&self) -> Traffic {
        let (sent, received) = self.sent.traffic();
        Traffic { sent, received: received + self.sent.pulled_bytes() }
    }

    fn blocks(&self) -> Option<BlockRange> {
        self.stages.as_ref().and_then(StageHost::blocks)
    }

    fn model(&self) -> Option<String> {
        Some(self.model.clone())
    }

    fn lend(&mut self, lending: &Lending) {
        let own = Lending { drops_weights: lending.drops_weights, ..Lending::unlimited() };
        let to_others = if self.lends { lending } else { &own };
        if let Some(stages) = &self.stages {
            stages.lend(to_others);
        }
        self.divide(lending, Traffic::default());
    }

    fn divide(&mut self, lending: &Lending, others: Traffic) {
        if self.lends {
            self.sent.lend(lending, (others.sent, others.received));
        } else {
            self.sent.lend_nothing(lending.download, others.received);
        }
    }
}
