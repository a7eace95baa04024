//! A backend that follows a script, so that the API can be tested without a network of nodes.

use skep_api::Backend;
use skep_model::SamplingParams;
use skep_node::*;
use skep_owner::{Changes, Command, Reason};
use skep_types::wire::Peer;
use skep_types::{BlockRange, Invite, InviteTerms, ModelId, NodeId};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What happens after a request.
#[derive(Clone, Default)]
pub struct Script {
    /// Refuses the request.
    pub refuse: Option<GenerateError>,
    /// What is sent.
    pub events: Vec<Result<Event, GenerateError>>,
    /// Waits before each event.
    pub pace: Duration,
    /// After the last event, the channel stays open until the client is gone.
    pub hold: bool,
}

type Plan = dyn Fn(&GenerateRequest) -> Script + Send + Sync;

/// Answers each request as its plan says, and counts.
#[derive(Clone)]
pub struct Scripted {
    plan: Arc<Plan>,
    pub requests: Arc<Mutex<Vec<GenerateRequest>>>,
    pub encode_requests: Arc<Mutex<Vec<EncodeRequest>>>,
    active: Arc<AtomicU32>,
    pub cancelled: Arc<AtomicU32>,
    /// Whether it has a steward; one that does notes down what it is told.
    pub steward: bool,
    pub told: Arc<Mutex<Vec<String>>>,
}

pub fn node(byte: u8) -> NodeId {
    NodeId([byte; 32])
}

pub fn card() -> ModelCard {
    let id = ModelId([0xab; 32]);
    ModelCard {
        id,
        name: "scripted/tiny".into(),
        blocks: 8,
        context: 512,
        vocab: 256,
        bytes: 4096,
        task: Task::Generate,
        dimensions: Some(3),
        available: true,
    }
}

fn hops() -> Vec<Hop> {
    let blocks = [(1, 0, 4), (2, 4, 8)];
    blocks.into_iter().map(|(byte, a, b)| Hop { node: node(byte), blocks: BlockRange::new(a, b).unwrap() }).collect()
}

pub fn summary(finish: FinishReason, completion_tokens: u32) -> Summary {
    let timing = |hop: Hop| HopTiming { node: hop.node, blocks: hop.blocks, frames: 3, hold_ms: 1.5, rtt_ms: None };
    Summary {
        finish,
        prompt_tokens: 5,
        completion_tokens,
        hops: hops().into_iter().map(timing).collect(),
        recoveries: vec![Recovery { at_token: 1, lost: vec![node(9)], rung: "replay", stall_ms: 20.5 }],
        first_token_ms: 12.25,
        total_ms: 40.0,
        lap_ms: Some(2.5),
        why: None,
    }
}

/// The events of a complete answer, one piece of text per token.
pub fn events(pieces: &[&str], finish: FinishReason) -> Vec<Result<Event, GenerateError>> {
    let text = |(index, piece): (usize, &&str)| Event::Text { text: (*piece).to_owned(), token_index: index as u32 };
    let done = Event::Done(Box::new(summary(finish, pieces.len() as u32)));
    pieces.iter().enumerate().map(text).chain([done]).map(Ok).collect()
}

/// A machine of which 2 of 8 blocks are lent, or none.
pub fn machine(state: State) -> MachineView {
    let lent = state == State::Lending;
    let caps = CapsView {
        cpu_percent: 50,
        memory_bytes: 4096,
        disk_bytes: None,
        gpu: false,
        upload: Some(500_000),
        download: None,
        transfer_left: Some(7),
    };
    let reason = (!lent).then(|| ReasonView::from(&Reason::Owner));
    MachineView {
        state,
        reason,
        until_ms: (!lent).then_some(9_000),
        since_ms: 5,
        in_use: lent.then_some(true),
        caps: lent.then_some(caps),
        used: UseView { cpu_percent: 12.5, work: 1, ..UseView::default() },
        machine: WholeView { memory_bytes: 8192, processors: 2 },
        blocks: Some([0, 2]),
        model: Some("scripted/tiny".into()),
        sensors: vec![SensorView {
            name: "power",
            text: "where power comes from",
            value: None,
            gap: Some(GapView { why: "it is dark".into(), advice: "Turn it on.".into() }),
        }],
        timeline: vec![TimelineEntry { from_ms: 5, state, reason: None }],
    }
}

/// One model of the network, of which a part is here, and a pull that failed.
pub fn catalogue() -> CatalogueView {
    let model = ModelRow {
        id: card().id,
        name: Some("tiny".into()),
        bytes: 4096,
        held_bytes: 1024,
        complete: false,
        path: Some("/models/model.gguf".into()),
        in_use: true,
        served: Some(ServedView { blocks: 8, held: 6, missing: vec![[2, 4]], machines: 2 }),
        task: Some(Task::Generate),
        context: Some(512),
        need: Some(NeedView { weights_bytes: 4096, session_bytes: 100, session_tokens: 512 }),
        fits: Fits::Here,
        why: "It is small.".into(),
        stays: Some("this node uses it"),
    };
    let error = FaultView { message: "nobody answers".into(), hint: "ask again".into() };
    let pull = PullRow {
        id: "0123".into(),
        source: "https://example.org/x.gguf".into(),
        name: "x".into(),
        state: "failed",
        bytes: 5,
        total: Some(10),
        bytes_per_second: None,
        error: Some(error),
        model: None,
    };
    let memory = RoomView { allowed_bytes: Some(9), free_bytes: None, machines: 1, offered_bytes: 7 };
    CatalogueView { models: vec![model], pulls: vec![pull], memory, disk_free_bytes: Some(1), folder: "/models".into() }
}

fn settings() -> SettingsView {
    let value = ValueView { value: "50 %".into(), raw: Raw::Number(50), origin: "file" };
    let values = [("share.cpu_percent", value)].into();
    SettingsView { schema: skep_owner::schema(), values, file: "skep/settings.toml".into() }
}

impl Scripted {
    pub fn new(plan: impl Fn(&GenerateRequest) -> Script + Send + Sync + 'static) -> Self {
        Self {
            plan: Arc::new(plan),
            requests: Arc::default(),
            encode_requests: Arc::default(),
            active: Arc::default(),
            cancelled: Arc::default(),
            steward: true,
            told: Arc::default(),
        }
    }

    /// Answers everything with the same pieces of text.
    pub fn says(pieces: &'static [&'static str]) -> Self {
        Self::new(move |_| Script { events: events(pieces, FinishReason::Stop), ..Script::default() })
    }
}

impl Backend for Scripted {
    fn models(&self) -> Vec<ModelCard> {
        vec![card()]
    }

    async fn generate(&self, request: GenerateRequest) -> Result<Generation, GenerateError> {
        let script = (self.plan)(&request);
        self.requests.lock().unwrap().push(request);
        if let Some(error) = script.refuse {
            return Err(error);
        }
        let (send, events) = mpsc::channel(4);
        let (cancel, cancelled) = oneshot::channel();
        let (active, count) = (self.active.clone(), self.cancelled.clone());
        active.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let play = async {
                for event in script.events {
                    tokio::time::sleep(script.pace).await;
                    if send.send(event).await.is_err() {
                        return false;
                    }
                }
                if script.hold {
                    std::future::pending::<()>().await;
                }
                true
            };
            tokio::select! {
                biased;
                _ = cancelled => { count.fetch_add(1, Ordering::SeqCst); }
                whole = play => { count.fetch_add(u32::from(!whole), Ordering::SeqCst); }
            }
            active.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(Generation {
            id: AnswerId([0xab; 16]),
            model: card().id,
            route: hops(),
            prompt_tokens: 5,
            events,
            cancel: Some(cancel),
        })
    }

    async fn resume(&self, id: AnswerId) -> Result<Resumed, GenerateError> {
        if id.0[0] != 0xab {
            return Err(GenerateError::NoAnswer { id });
        }
        let request = GenerateRequest {
            model: None,
            prompt: Prompt::Text("resumed".into()),
            max_tokens: None,
            stop: Vec::new(),
            sampling: SamplingParams::default(),
            pace: None,
        };
        Ok(Resumed { generation: self.generate(request).await?, created: 77, seed: 5 })
    }

    /// The vector of input number i is (i, 0.1, -2.5); a text without characters is refused.
    async fn encode(&self, request: EncodeRequest) -> Result<Encodings, GenerateError> {
        let n = request.inputs.len();
        let empty = request.inputs.contains(&EncodeInput::Text(String::new()));
        self.encode_requests.lock().unwrap().push(request);
        if empty {
            return Err(GenerateError::WrongModel { name: "m".into(), does: Task::Generate, what: "make embeddings" });
        }
        Ok(Encodings {
            model: card().id,
            vectors: (0..n).map(|i| vec![i as f32, 0.1, -2.5]).collect(),
            labels: ["cat", "dog", "eel"].map(str::to_owned).to_vec(),
            prompt_tokens: 7,
            route: hops(),
        })
    }

    fn network(&self) -> NetworkView {
        let view = |hop: Hop| NodeView {
            id: hop.node,
            pid: Some(77),
            blocks: Some(hop.blocks),
            alive: true,
            relayed: false,
            rtt_ms: Some(0.25),
            frames: 3,
            label: "trusted",
            figures: FiguresView { decode_block_ms: Some(0.5), delay_ms: Some(0.125), ..FiguresView::default() },
        };
        NetworkView {
            gateway: node(7),
            model: card(),
            nodes: hops().into_iter().map(view).collect(),
            last_answer: None,
            active: self.active.load(Ordering::SeqCst),
            can_unplug: true,
        }
    }

    fn route(&self) -> RouteView {
        let last = Some(summary(FinishReason::Stop, 3));
        RouteView { last, next: None, refused: Some("no node may run block 2".into()) }
    }

    fn invite(&self, hours: u32, uses: u16) -> Result<Invite, InviteRefused> {
        if uses == 13 {
            return Err(InviteRefused::ThisMachineOnly);
        }
        let gateways = vec![Peer { node: node(7), addrs: vec!["192.0.2.7:7537".parse().unwrap()] }];
        let expires = u64::from(hours) * 3600;
        let terms = InviteTerms { network: node(7), gateways, expires, nonce: [9; 16], uses, relay: None };
        Ok(Invite { terms, by: None, signature: [5; 64] })
    }

    async fn reach(&self) -> Reach {
        Reach { silent: Some("192.0.2.7:7".parse().unwrap()), answered: 1, ..Reach::default() }
    }

    fn members(&self) -> Vec<MemberView> {
        let view = |id, role| MemberView { id, role, alive: Some(true), blocks: None, pass_until: None, by: None };
        vec![view(node(7), "first"), view(node(1), "member")]
    }

    async fn remove(&self, asked: NodeId) -> Result<(), RemoveRefused> {
        if asked == node(7) { Err(RemoveRefused::First) } else { Ok(()) }
    }

    async fn unplug(&self, asked: NodeId) -> Result<(), UnplugError> {
        match asked.0[0] {
            1 | 2 => Ok(()),
            3 => Err(UnplugError::NotHere),
            _ => Err(UnplugError::Unknown(asked)),
        }
    }

    async fn catalogue(&self, order: Option<CatalogueOrder>) -> Option<Result<CatalogueView, OrderRefused>> {
        if !self.steward {
            return None;
        }
        Some(match order {
            None => Ok(catalogue()),
            Some(CatalogueOrder::Pause(key)) if key == "gone" => Err(OrderRefused::NoPull),
            Some(CatalogueOrder::Remove(id)) if id == card().id => Err(OrderRefused::Serves(id)),
            Some(CatalogueOrder::Remove(id)) => Err(OrderRefused::Pull(StoreError::Absent(id).into())),
            Some(CatalogueOrder::Pull { source, .. }) if source == "nothing" => {
                Err(OrderRefused::Pull(PullError::Url { text: source, reason: "it is nothing".into() }))
            }
            Some(order) => {
                self.told.lock().unwrap().push(format!("{order:?}"));
                Ok(catalogue())
            }
        })
    }

    fn machine(&self) -> Option<MachineView> {
        self.steward.then(|| machine(State::Lending))
    }

    async fn command(&self, command: Command) -> Option<MachineView> {
        self.steward.then(|| {
            self.told.lock().unwrap().push(format!("{command:?}"));
            machine(if command == Command::Resume { State::Lending } else { State::Paused })
        })
    }

    fn settings(&self) -> Option<SettingsView> {
        self.steward.then(settings)
    }

    async fn set(&self, name: &str, text: Option<&str>) -> Option<Result<SettingsView, SetError>> {
        self.steward.then(|| {
            let checked = match text {
                Some(text) => Changes::default().set_text(name, text),
                None => skep_owner::key_named(name),
            };
            checked.map_err(SettingsFault::from)?;
            self.told.lock().unwrap().push(format!("{name} = {text:?}"));
            Ok(settings())
        })
    }
}
