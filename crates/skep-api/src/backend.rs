//! What the API needs of a gateway. The real one is [`Gateway`]; tests bring a scripted one.

use skep_node::{
    AnswerId, CatalogueOrder, CatalogueView, EncodeRequest, Encodings, Gateway, GenerateError, GenerateRequest,
    Generation, InviteRefused, MachineView, MemberView, ModelCard, NetworkView, OrderRefused, Reach, RemoveRefused,
    Resumed, RouteView, SetError, SettingsView, UnplugError,
};
use skep_owner::Command;
use skep_types::{Invite, NodeId};
use std::future::Future;

/// A gateway: it knows the models, answers requests and shows the network.
pub trait Backend: Clone + Send + Sync + 'static {
    /// The models that it can answer with.
    fn models(&self) -> Vec<ModelCard>;

    /// Begins an answer. Dropping the future or the [`Generation`] cancels it.
    ///
    /// # Errors
    /// Why it cannot be answered; later failures come as an event of the [`Generation`].
    fn generate(&self, request: GenerateRequest) -> impl Future<Output = Result<Generation, GenerateError>> + Send;

    /// Goes on with an answer that broke off when the process ended; its first event is all of the text so far.
    ///
    /// # Errors
    /// Why it cannot go on.
    fn resume(&self, id: AnswerId) -> impl Future<Output = Result<Resumed, GenerateError>> + Send;

    /// Makes vectors. Dropping the future cancels what is under way.
    ///
    /// # Errors
    /// Why one of the inputs cannot be answered.
    fn encode(&self, request: EncodeRequest) -> impl Future<Output = Result<Encodings, GenerateError>> + Send;

    /// The network as it is now.
    fn network(&self) -> NetworkView;

    /// The route of the last answer and of the next one, and why.
    fn route(&self) -> RouteView;

    /// An invite for `uses` machines, which ends after so many hours.
    ///
    /// # Errors
    /// Why there is none.
    fn invite(&self, hours: u32, uses: u16) -> Result<Invite, InviteRefused>;

    /// Whether members reach this machine when they dial it back.
    fn reach(&self) -> impl Future<Output = Reach> + Send;

    /// The members of the network, and who was removed.
    fn members(&self) -> Vec<MemberView>;

    /// Removes a machine from the network.
    ///
    /// # Errors
    /// Why this machine may not.
    fn remove(&self, node: NodeId) -> impl Future<Output = Result<(), RemoveRefused>> + Send;

    /// Ends the process of a node, as if its plug had been pulled. Only the demo offers this.
    ///
    /// # Errors
    /// [`UnplugError`] when nothing was ended.
    fn unplug(&self, node: NodeId) -> impl Future<Output = Result<(), UnplugError>> + Send;

    /// The models of this machine and its network, after an order, if one is given; none where nobody keeps models.
    ///
    /// # Errors
    /// [`OrderRefused`] when the order was not carried out, or the store cannot be read.
    fn catalogue(
        &self,
        order: Option<CatalogueOrder>,
    ) -> impl Future<Output = Option<Result<CatalogueView, OrderRefused>>> + Send;

    /// What of this machine is lent now; none where nobody keeps it to its owner's limits.
    fn machine(&self) -> Option<MachineView>;

    /// Takes the owner's word, and says what has become of it.
    fn command(&self, command: Command) -> impl Future<Output = Option<MachineView>> + Send;

    /// The owner's settings; none where nobody keeps to them.
    fn settings(&self) -> Option<SettingsView>;

    /// Changes one setting, or without a text leaves it to the preset.
    ///
    /// # Errors
    /// [`SetError`] when it is not changed.
    fn set(
        &self,
        name: &str,
        text: Option<&str>,
    ) -> impl Future<Output = Option<Result<SettingsView, SetError>>> + Send;
}

impl Backend for Gateway {
    fn models(&self) -> Vec<ModelCard> {
        Gateway::models(self)
    }

    fn generate(&self, request: GenerateRequest) -> impl Future<Output = Result<Generation, GenerateError>> + Send {
        Gateway::generate(self, request)
    }

    fn resume(&self, id: AnswerId) -> impl Future<Output = Result<Resumed, GenerateError>> + Send {
        Gateway::resume(self, id)
    }

    fn encode(&self, request: EncodeRequest) -> impl Future<Output = Result<Encodings, GenerateError>> + Send {
        Gateway::encode(self, request)
    }

    fn network(&self) -> NetworkView {
        Gateway::network(self)
    }

    fn route(&self) -> RouteView {
        Gateway::route(self)
    }

    fn invite(&self, hours: u32, uses: u16) -> Result<Invite, InviteRefused> {
        Gateway::invite(self, hours, uses)
    }

    fn reach(&self) -> impl Future<Output = Reach> + Send {
        Gateway::reach(self)
    }

    fn members(&self) -> Vec<MemberView> {
        Gateway::members(self)
    }

    fn remove(&self, node: NodeId) -> impl Future<Output = Result<(), RemoveRefused>> + Send {
        Gateway::remove(self, node)
    }

    fn unplug(&self, node: NodeId) -> impl Future<Output = Result<(), UnplugError>> + Send {
        Gateway::unplug(self, node)
    }

    async fn catalogue(&self, order: Option<CatalogueOrder>) -> Option<Result<CatalogueView, OrderRefused>> {
        let catalogue = Gateway::catalogue(self)?;
        Some(match order {
            Some(order) => catalogue.order(order).await,
            None => catalogue.view().await,
        })
    }

    fn machine(&self) -> Option<MachineView> {
        self.steward()?.machine()
    }

    async fn command(&self, command: Command) -> Option<MachineView> {
        self.steward()?.command(command).await
    }

    fn settings(&self) -> Option<SettingsView> {
        Some(self.steward()?.settings())
    }

    async fn set(&self, name: &str, text: Option<&str>) -> Option<Result<SettingsView, SetError>> {
        Some(self.steward()?.set(name, text).await)
    }
}
