//! This node's part in the directories of its network: carries out what the state machine of [`skep_directory`] asks for.
//!
//! Messages to one member go over one stream that lasts while there is something to say; each shows this node's pass, and messages of
//! who shows none are not read. At most [`PEERS_MAX`] such streams are open in each direction.

use crate::membership::Membership;
use skep_directory::{Contact, Effect, Input, Member, Message};
use skep_net::{DirectoryReceiver, Net};
use skep_types::offer::{OFFER_ADDRS_MAX, Offer, Terms};
use skep_types::wire::Peer;
use skep_types::{BlockRange, ModelId, NodeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

/// Orders and messages that wait for the state machine.
const ORDERS: usize = 256;
/// Messages to one member that wait for its stream; more are lost, which the state machine expects of any message.
const WAITING_MAX: usize = 32;
/// Members that messages go to, and that messages are read of.
const PEERS_MAX: usize = 128;
/// A stream on which nothing was said for so long ends.
const IDLE: Duration = Duration::from_secs(90);
/// The state machine is not woken more often than this by its own clock.
const WAKE_LEAST_MS: u64 = 10;

/// The way to this node's part. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Swarm {
    orders: mpsc::Sender<Order>,
    readers: Arc<Mutex<HashMap<NodeId, AbortHandle>>>,
}

enum Order {
    Do(Input),
    Find { model: ModelId, blocks: BlockRange, found: oneshot::Sender<Vec<Offer>> },
    Contacts { told: oneshot::Sender<Vec<Peer>> },
}

impl Swarm {
    /// Begins, knowing nobody. Only a `willing` node keeps a directory when that falls to it.
    pub(crate) fn start(net: Net, membership: Membership, willing: bool) -> (Self, JoinHandle<()>) {
        let (orders, queue) = mpsc::channel(ORDERS);
        let clock = Clock::new();
        let Peer { node, mut addrs } = net.peer();
        addrs.truncate(OFFER_ADDRS_MAX);
        let member = Member::new(Contact { node, addrs }, willing, 0, clock.now_ms());
        let shell = Shell {
            net,
            membership,
            member,
            clock,
            streams: HashMap::new(),
            asked: HashMap::new(),
            servers: 0,
            next: 0,
        };
        (Self { orders, readers: Arc::default() }, tokio::spawn(shell.run(queue)))
    }

    /// A node that knows the network.
    pub(crate) async fn meet(&self, peer: &Peer) {
        let mut addrs = peer.addrs.clone();
        addrs.truncate(OFFER_ADDRS_MAX);
        self.order(Input::Meet(vec![Contact { node: peer.node, addrs }])).await;
    }

    /// From now on this node serves this.
    pub(crate) async fn serve(&self, terms: Terms) {
        self.order(Input::Serve(Some(terms))).await;
    }

    async fn order(&self, input: Input) {
        // It fails only when the node is ending.
        let _ = self.orders.send(Order::Do(input)).await;
    }

    /// Members that keep directories, as far as this node remembers.
    pub(crate) async fn contacts(&self) -> Vec<Peer> {
        let (told, contacts) = oneshot::channel();
        let _ = self.orders.send(Order::Contacts { told }).await;
        contacts.await.unwrap_or_default()
    }

    /// What others offer of these blocks; nothing if nobody answered.
    pub(crate) async fn find(&self, model: ModelId, blocks: BlockRange) -> Vec<Offer> {
        let (found, offers) = oneshot::channel();
        let _ = self.orders.send(Order::Find { model, blocks, found }).await;
        offers.await.unwrap_or_default()
    }

    /// Reads nothing more of a machine that was removed.
    pub(crate) fn cut_off(&self, node: NodeId) {
        if let Some(reader) = self.readers.lock().unwrap_or_else(PoisonError::into_inner).remove(&node) {
            reader.abort();
        }
    }

    /// Reads what a member says for as long as it does; a new stream takes the place of an older one.
    pub(crate) fn listen(&self, from: NodeId, mut messages: DirectoryReceiver) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|_, reader| !reader.is_finished());
        if readers.len() >= PEERS_MAX && !readers.contains_key(&from) {
            return;
        }
        let orders = self.orders.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(message)) = messages.recv().await {
                if orders.send(Order::Do(Input::Message { from, message })).await.is_err() {
                    return;
                }
            }
        });
        if let Some(older) = readers.insert(from, reader.abort_handle()) {
            older.abort();
        }
    }
}

/// Unix milliseconds that never go back.
struct Clock {
    began: Instant,
    began_ms: u64,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), began_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }

    fn now_ms(&self) -> u64 {
        self.began_ms.saturating_add(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// What stands between the state machine and the world.
struct Shell {
    net: Net,
    membership: Membership,
    member: Member,
    clock: Clock,
    /// To whom something was said lately.
    streams: HashMap<NodeId, mpsc::Sender<Message>>,
    /// Who waits for the answer to which question.
    asked: HashMap<u64, oneshot::Sender<Vec<Offer>>>,
    /// How many servers the model has, by the last answer.
    servers: u32,
    next: u64,
}

impl Shell {
    async fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        loop {
            let wait = self.member.wake_ms().saturating_sub(self.clock.now_ms()).max(WAKE_LEAST_MS);
            let input = match timeout(Duration::from_millis(wait), queue.recv()).await {
                Err(_) => Input::Tick,
                Ok(None) => return,
                Ok(Some(Order::Do(input))) => input,
                Ok(Some(Order::Contacts { told })) => {
                    let peer = |contact: &Contact| Peer { node: contact.node, addrs: contact.addrs.clone() };
                    let _ = told.send(self.member.contacts().iter().map(peer).collect());
                    continue;
                }
                Ok(Some(Order::Find { model, blocks, found })) => {
                    self.next += 1;
                    let (ticket, salt) = (self.next, random());
                    self.asked.insert(ticket, found);
                    Input::Find { ticket, model, blocks, servers: self.servers, salt }
                }
            };
            for effect in self.member.step(self.clock.now_ms(), input, &self.net) {
                match effect {
                    Effect::Send { to, message } => self.send(to, message),
                    Effect::Found { ticket, offers, servers } => {
                        self.servers = servers;
                        if let Some(found) = self.asked.remove(&ticket) {
                            let _ = found.send(offers.into_iter().map(|offer| offer.statement).collect());
                        }
                    }
                }
            }
        }
    }

    /// Sends a message, over the member's stream if there is one.
    fn send(&mut self, to: NodeId, message: Message) {
        // Directories may name a machine that was removed for a minute yet.
        if self.membership.is_removed(to) {
            return;
        }
        let message = match self.streams.get(&to) {
            Some(stream) => match stream.try_send(message) {
                Err(mpsc::error::TrySendError::Closed(message)) => message,
                _ => return,
            },
            None => message,
        };
        self.streams.retain(|_, stream| !stream.is_closed());
        if self.streams.len() >= PEERS_MAX {
            return;
        }
        // Who has asked something without having been heard of is answered over the connection that it made.
        let addrs = self.member.addresses(&to).map(<[_]>::to_vec).unwrap_or_default();
        let (stream, messages) = mpsc::channel(WAITING_MAX);
        let _ = stream.try_send(message);
        self.streams.insert(to, stream);
        tokio::spawn(carry(self.net.clone(), Peer { node: to, addrs }, self.membership.clone(), messages));
    }
}

/// Carries messages to one member until there are none for a while or it cannot be reached.
async fn carry(net: Net, to: Peer, membership: Membership, mut messages: mpsc::Receiver<Message>) {
    let Ok(mut stream) = net.open_directory(&to, membership.hello()).await else { return };
    while let Ok(Some(message)) = timeout(IDLE, messages.recv()).await {
        if stream.send(message).await.is_err() {
            return;
        }
    }
}

fn random() -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = skep_net::random_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
