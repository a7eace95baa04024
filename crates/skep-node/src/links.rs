//! One way to reach a machine, be it far or this very process.
//!
//! A route may begin, end or stay on the node that coordinates it, and a machine does not dial itself. So every link is a pair of
//! channels: towards another machine a task carries them over the transport, towards this one they are handed to the node's own
//! dispatcher as an [`Arrival`]. Who holds the sending end never knows the difference.

use crate::membership::Membership;
use skep_net::{ControlReplies, ControlRequests, FrameReceiver, Net, NetError};
use skep_types::NodeId;
use skep_types::wire::{Control, ControlReply, Frame, Peer, StreamHello};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Control messages that may wait on one link. A gateway sends a handful per route change.
const CONTROL_QUEUE: usize = 64;
/// Frames that may wait on one link: a whole prompt in small chunks fits; more means that the next hop stands still.
const FRAME_QUEUE: usize = 4096;
/// Frames that may wait for this node to take them; the others wait at the sender, held back by the transport.
const ARRIVED_QUEUE: usize = 4;

/// Somebody opened a stream to this node.
pub(crate) enum Arrival {
    /// A gateway wants a stage to serve it. The link's end is the end of its sessions.
    Control { from: NodeId, requests: mpsc::Receiver<Control>, replies: mpsc::Sender<ControlReply> },
    /// A hop sends frames. An error is the last item.
    Data { from: NodeId, hello: StreamHello, frames: mpsc::Receiver<Result<Frame, String>> },
}

/// Opens links. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Links {
    net: Net,
    membership: Membership,
    own: mpsc::Sender<Arrival>,
    runtime: Handle,
}

impl Links {
    pub(crate) fn new(net: Net, membership: Membership, own: mpsc::Sender<Arrival>) -> Self {
        Self { net, membership, own, runtime: Handle::current() }
    }

    /// This machine's membership.
    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Runs a task beside the links.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Waits on this thread, which is none of the runtime's, for at most so long; none if that was too short.
    pub(crate) fn wait<T>(&self, most: Duration, what: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async { tokio::time::timeout(most, what).await.ok() })
    }

    /// This machine's key.
    pub(crate) fn own(&self) -> NodeId {
        self.net.node_id()
    }

    /// Round-trip time in microseconds to `node`, `u32::MAX` if unknown, 0 to itself.
    pub(crate) fn rtt_us(&self, node: NodeId) -> u32 {
        if node == self.net.node_id() {
            return 0;
        }
        self.net.rtt(node).map_or(u32::MAX, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX))
    }

    /// Opens a control link. Each reply goes to `sink` through `wrap`, and `None` once when the link is over.
    pub(crate) fn control<T: Send + 'static>(
        &self,
        to: &Peer,
        sink: mpsc::Sender<T>,
        wrap: impl Fn(Option<ControlReply>) -> T + Send + 'static,
    ) -> mpsc::Sender<Control> {
        let (requests_in, requests) = mpsc::channel(CONTROL_QUEUE);
        let (replies_in, mut replies) = mpsc::channel(CONTROL_QUEUE);
        let (links, to) = (self.clone(), to.clone());
        self.runtime.spawn(async move {
            if to.node == links.net.node_id() {
                let _ = links.own.send(Arrival::Control { from: to.node, requests, replies: replies_in }).await;
            } else {
                tokio::spawn(carry_control(links, to, requests, replies_in));
            }
            while let Some(reply) = replies.recv().await {
                if sink.send(wrap(Some(reply))).await.is_err() {
                    return;
                }
            }
            let _ = sink.send(wrap(None)).await;
        });
        requests_in
    }

    /// Opens a data link. `lost` is called once if it breaks before the sender is dropped.
    pub(crate) fn data(
        &self,
        to: &Peer,
        hello: StreamHello,
        lost: impl FnOnce() + Send + 'static,
    ) -> mpsc::Sender<Frame> {
        let (frames_in, mut frames) = mpsc::channel::<Frame>(FRAME_QUEUE);
        let (links, to) = (self.clone(), to.clone());
        self.runtime.spawn(async move {
            let done = if to.node == links.net.node_id() {
                links.hand_over(to.node, hello, &mut frames).await
            } else {
                carry_frames(&links.net, &to, hello, &mut frames).await.is_ok()
            };
            if !done {
                lost();
            }
        });
        frames_in
    }

    /// Gives frames to this node's own dispatcher. Returns whether all of them were taken.
    async fn hand_over(&self, from: NodeId, hello: StreamHello, frames: &mut mpsc::Receiver<Frame>) -> bool {
        let (copy_in, copy) = mpsc::channel(ARRIVED_QUEUE);
        if self.own.send(Arrival::Data { from, hello, frames: copy }).await.is_err() {
            return false;
        }
        while let Some(frame) = frames.recv().await {
            if copy_in.send(Ok(frame)).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Carries a control link over the transport until either side ends it.
async fn carry_control(
    links: Links,
    to: Peer,
    mut requests: mpsc::Receiver<Control>,
    replies_in: mpsc::Sender<ControlReply>,
) {
    let hello = links.membership.hello();
    let Ok((mut sender, mut receiver)) = links.net.open_control(&to, hello).await else { return };
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => if sender.send(request).await.is_err() { return },
                None => return,
            },
            reply = receiver.recv() => match reply {
                Ok(Some(reply)) => if replies_in.send(reply).await.is_err() { return },
                Ok(None) | Err(_) => return,
            },
        }
    }
}

/// Carries frames over the transport until the sender is dropped.
async fn carry_frames(
    net: &Net,
    to: &Peer,
    hello: StreamHello,
    frames: &mut mpsc::Receiver<Frame>,
) -> Result<(), NetError> {
    let mut sender = net.open_data(to, hello).await?;
    while let Some(frame) = frames.recv().await {
        sender.send(&frame).await?;
    }
    Ok(())
}

/// Turns a control stream that came over the transport into an [`Arrival`].
pub(crate) fn arrived_control(from: NodeId, mut requests: ControlRequests, mut replies: ControlReplies) -> Arrival {
    let (requests_in, requests_out) = mpsc::channel(CONTROL_QUEUE);
    let (replies_in, mut replies_out) = mpsc::channel::<ControlReply>(CONTROL_QUEUE);
    tokio::spawn(async move {
        while let Some(reply) = replies_out.recv().await {
            if replies.send(reply).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok(Some(request)) = requests.recv().await {
            if requests_in.send(request).await.is_err() {
                return;
            }
        }
    });
    Arrival::Control { from, requests: requests_out, replies: replies_in }
}

/// Turns a data stream that came over the transport into an [`Arrival`].
pub(crate) fn arrived_data(from: NodeId, hello: StreamHello, mut frames: FrameReceiver) -> Arrival {
    let (frames_in, frames_out) = mpsc::channel(ARRIVED_QUEUE);
    tokio::spawn(async move {
        loop {
            let item = match frames.recv().await {
                Ok(Some(frame)) => Ok(frame),
                Ok(None) => return,
                Err(error) => Err(error.to_string()),
            };
            let last = item.is_err();
            if frames_in.send(item).await.is_err() || last {
                return;
            }
        }
    });
    Arrival::Data { from, hello, frames: frames_out }
}
