//! The thread that checks what comes of a fetch and puts it on the disk, so that neither holds up the network.

use super::serve::Server;
use skep_store::fetch::{Ended, Input, RequestId};
use skep_store::{Decoder, Part, Partial, Shape, StoreError};
use skep_types::wire::ServedModel;
use skep_types::{ModelId, NodeId};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait: of at most 64 KiB each, so 4 MiB beside what QUIC holds.
const ORDERS: usize = 64;
/// Groups after which others may have what has come: 1 MiB.
const PUBLISH_EVERY: u64 = 64;

/// What the thread is told about a request.
#[derive(Debug)]
pub(super) enum Order {
    /// Its slice begins. `proves_size` says that this slice was checked to prove the shape.
    Begin { request: RequestId, shape: Shape, groups: Range<u64>, proves_size: bool },
    /// Its next bytes.
    Bytes { request: RequestId, bytes: Vec<u8> },
    /// It is over.
    End { request: RequestId, how: Ended },
}

/// What the thread and the tasks of a fetch say.
#[derive(Debug)]
pub(super) enum Told {
    /// For the fetch.
    Input(Input),
    /// The gateway said again what the network serves.
    Network(Box<ServedModel>),
    /// A machine does not say what it holds, because it cannot be reached or because it refuses.
    Unreachable { node: NodeId, refused: bool },
    /// The disk refuses; nothing more comes.
    Broken(StoreError),
}

/// A slice that is being read.
struct Slice {
    decoder: Decoder,
    /// Bytes that came of the next part.
    begun: Vec<u8>,
    /// Nothing that follows counts.
    over: bool,
}

/// The thread's state.
struct Writer {
    store: PathBuf,
    id: ModelId,
    partial: Option<Partial>,
    server: Arc<Server>,
    slices: BTreeMap<RequestId, Slice>,
    unpublished: u64,
    told: mpsc::UnboundedSender<Told>,
}

/// Starts the thread. It ends when all senders of orders are gone, and then gives the partial file back, all of it on the disk.
///
/// What it says is not bounded by itself, but by the orders: it says at most three things for each.
pub(super) fn start(
    store: PathBuf,
    id: ModelId,
    partial: Option<Partial>,
    server: Arc<Server>,
    told: mpsc::UnboundedSender<Told>,
) -> std::io::Result<(mpsc::Sender<Order>, oneshot::Receiver<Option<Partial>>)> {
    let (orders_in, mut orders) = mpsc::channel(ORDERS);
    let (done, finished) = oneshot::channel();
    let mut writer = Writer { store, id, partial, server, slices: BTreeMap::new(), unpublished: 0, told };
    std::thread::Builder::new().name("skep-weights".into()).spawn(move || {
        writer.publish();
        while let Some(order) = orders.blocking_recv() {
            if let Err(fault) = writer.carry_out(order) {
                let _ = writer.told.send(Told::Broken(fault));
                return;
            }
        }
        match writer.partial.as_mut().map(Partial::sync) {
            Some(Err(fault)) => _ = writer.told.send(Told::Broken(fault)),
            _ => {
                writer.publish();
                let _ = done.send(writer.partial.take());
            }
        }
    })?;
    Ok((orders_in, finished))
}

impl Writer {
    fn carry_out(&mut self, order: Order) -> Result<(), StoreError> {
        match order {
            Order::Begin { request, shape, groups, proves_size } => {
                if self.partial.is_none() {
                    self.partial = Some(Partial::open(&self.store, self.id, shape)?);
                }
                let decoder = Decoder::new(self.id, shape, groups)?;
                self.slices.insert(request, Slice { decoder, begun: Vec::new(), over: false });
                if proves_size {
                    self.tell(Input::Size { request, shape });
                }
                Ok(())
            }
            Order::Bytes { request, bytes } => self.take(request, &bytes),
            Order::End { request, how } => {
                let slice = self.slices.remove(&request);
                let how = match (how, slice) {
                    // It was ended when the lie was found.
                    (_, Some(Slice { over: true, .. })) => return Ok(()),
                    (Ended::Done, Some(slice)) if slice.decoder.next_part().is_some() => Ended::Failed,
                    (how, _) => how,
                };
                self.tell(Input::Ended { request, how });
                Ok(())
            }
        }
    }

    /// Takes bytes of a slice part by part.
    fn take(&mut self, request: RequestId, mut bytes: &[u8]) -> Result<(), StoreError> {
        let (Some(slice), Some(partial)) = (self.slices.get_mut(&request), &mut self.partial) else { return Ok(()) };
        let mut got: Option<Range<u64>> = None;
        let mut lie = None;
        while !slice.over && !bytes.is_empty() {
            let Some((_, length)) = slice.decoder.next_part() else {
                slice.over = true;
                break;
            };
            let more = (length - slice.begun.len()).min(bytes.len());
            slice.begun.extend_from_slice(&bytes[..more]);
            bytes = &bytes[more..];
            if slice.begun.len() < length {
                break;
            }
            let part = std::mem::take(&mut slice.begun);
            match slice.decoder.push(&part) {
                Ok(verified) => {
                    partial.write(&verified)?;
                    if let Part::Group(group) = verified.part() {
                        // A slice's groups come in their order.
                        got = Some(got.map_or(group, |got| got.start)..group + 1);
                    }
                }
                Err(StoreError::Lie(found)) => {
                    slice.over = true;
                    lie = Some(found);
                }
                Err(other) => return Err(other),
            }
        }
        let ended = (slice.over && lie.is_none()).then_some(Ended::Failed).or(lie.map(Ended::Lied));
        if let Some(groups) = got {
            self.unpublished += groups.end - groups.start;
            self.tell(Input::Got { request, groups });
        }
        if let Some(how) = ended {
            self.tell(Input::Ended { request, how });
        }
        if self.unpublished >= PUBLISH_EVERY {
            self.publish();
        }
        Ok(())
    }

    /// Lets others have what is here.
    fn publish(&mut self) {
        self.unpublished = 0;
        if let Some(partial) = &self.partial {
            self.server.hold(partial.reader());
        }
    }

    fn tell(&self, input: Input) {
        let _ = self.told.send(Told::Input(input));
    }
}
