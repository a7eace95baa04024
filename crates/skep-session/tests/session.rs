//! Each rule of a session, by script.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{D_MODEL, GATEWAY, VOCAB, peer, unmeasured};
use skep_plan::Offer;
use skep_session::{
    Effect, Encode, Finish, Generate, Input, Limits, Report, Rung, Session, SessionConfig, SessionError, Source, Task,
};
use skep_types::{
    BlockRange, ModelId,
    wire::{Control, ControlReply, Fault, Frame, HopReport, Output, Payload, SessionId},
};
use std::time::Duration;

/// A session with a clock that only the script moves.
struct Script {
    session: Session,
    now: Duration,
}

fn config() -> SessionConfig {
    SessionConfig {
        model: ModelId([1; 32]),
        n_blocks: 4,
        vocab: VOCAB,
        d_model: D_MODEL,
        kv_bytes: 16,
        gateway: peer(GATEWAY),
        task: Task::Generate(generate()),
        id_seed: [3; 32],
        limits: Limits { max_recoveries: 3, ..Limits::default() },
    }
}

fn generate() -> Generate {
    Generate {
        prompt: vec![1, 2, 3],
        max_new: 4,
        end_tokens: vec![49],
        sampler: Box::new(skep_model::SamplingParams::greedy()),
        prefill_chunk: 2,
    }
}

fn asking(task: Task) -> SessionConfig {
    SessionConfig { task, ..config() }
}

fn offer(id: u8, start: u32, end: u32) -> Offer {
    Offer { peer: peer(id), blocks: BlockRange::new(start, end).unwrap() }
}

/// The chain is 1 → 2; 11 and 12 hold the same in halves, so that nobody prefers them.
fn offers() -> Vec<Offer> {
    vec![offer(1, 0, 2), offer(2, 2, 4), offer(11, 0, 1), offer(21, 1, 2), offer(12, 2, 3), offer(22, 3, 4)]
}

fn candidates(epoch: u32, pos: u32, best: u32) -> Frame {
    let payload = Payload::Candidates(vec![(best, 2.0)]);
    Frame { epoch, pos, rows: 1, forward_from: 0, wants_candidates: false, hops: Vec::new(), payload }
}

impl Script {
    fn new(config: SessionConfig) -> Self {
        Self { session: Session::new(config).unwrap(), now: Duration::ZERO }
    }

    /// A session whose chain is open and whose prefill is on its way.
    fn running(config: SessionConfig) -> Self {
        let mut script = Self::new(config);
        script.step(Input::Start { network: unmeasured(offers()) });
        script.opened(&[1, 2], 0);
        script
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.session.step(self.now, input)
    }

    fn wait(&mut self, ms: u64) -> Vec<Effect> {
        self.now += Duration::from_millis(ms);
        self.step(Input::Wake)
    }

    fn opened(&mut self, nodes: &[u8], epoch: u32) -> Vec<Effect> {
        let session = self.session.id();
        let reply = |id: &u8| Input::Reply { from: peer(*id).node, reply: ControlReply::Opened { session, epoch } };
        nodes.iter().flat_map(|id| self.session.step(self.now, reply(id))).collect()
    }

    fn draws(&mut self, from: u8, frame: Frame) -> Vec<Effect> {
        let session = self.session.id();
        self.step(Input::Candidates { from: peer(from).node, session, frame })
    }

    fn lost(&mut self, id: u8) -> Vec<Effect> {
        self.step(Input::Lost { node: peer(id).node })
    }

    fn fault(&mut self, from: u8, epoch: u32, fault: Fault) -> Vec<Effect> {
        let session = self.session.id();
        self.step(Input::Reply { from: peer(from).node, reply: ControlReply::Fault { session, epoch, fault } })
    }

    fn route(&self) -> Vec<u8> {
        self.session.route().iter().map(|stage| stage.peer.node.0[0]).collect()
    }
}

/// Opens as (node, epoch, next), in the order of the nodes.
fn opens(effects: &[Effect]) -> Vec<(u8, u32, u8)> {
    let open = |effect: &Effect| match effect {
        Effect::Control { to, message: Control::Open { epoch, next, .. } } => {
            Some((to.node.0[0], *epoch, next.node.0[0]))
        }
        _ => None,
    };
    let mut list: Vec<_> = effects.iter().filter_map(open).collect();
    list.sort_unstable();
    list
}

fn closes(effects: &[Effect]) -> Vec<(u8, SessionId)> {
    let close = |effect: &Effect| match effect {
        Effect::Control { to, message: Control::Close { session } } => Some((to.node.0[0], *session)),
        _ => None,
    };
    effects.iter().filter_map(close).collect()
}

/// Sent frames as (node, epoch, first, rows, forward_from, wants candidates).
fn sends(effects: &[Effect]) -> Vec<(u8, u32, u32, u32, u32, bool)> {
    let send = |effect: &Effect| match effect {
        Effect::Send { to, frame, .. } => {
            let Frame { epoch, pos, rows, forward_from, wants_candidates, .. } = frame;
            Some((to.node.0[0], *epoch, *pos, *rows, *forward_from, *wants_candidates))
        }
        _ => None,
    };
    effects.iter().filter_map(send).collect()
}

fn tokens(effects: &[Effect]) -> Vec<(u32, u32)> {
    let token = |effect: &Effect| match effect {
        Effect::Token { index, id } => Some((*index, *id)),
        _ => None,
    };
    effects.iter().filter_map(token).collect()
}

fn encoding(source: Source, width: u32) -> SessionConfig {
    asking(Task::Encode(Encode { source, width }))
}

fn done(effects: &[Effect]) -> &Report {
    effects.iter().find_map(|effect| if let Effect::Done(report) = effect { Some(&**report) } else { None }).unwrap()
}

#[test]
fn requests_that_mean_nothing_are_refused() {
    for bad in [
        asking(Task::Generate(Generate { prompt: Vec::new(), ..generate() })),
        asking(Task::Generate(Generate { max_new: 0, ..generate() })),
        asking(Task::Generate(Generate { max_new: u32::MAX, ..generate() })),
        encoding(Source::Tokens(Vec::new()), 5),
        encoding(Source::Tokens(vec![1]), 0),
        encoding(Source::Patches { rows: 0, values: vec![1.0] }, 5),
        encoding(Source::Patches { rows: 2, values: vec![1.0; 3] }, 5),
        SessionConfig { d_model: 1 << 21, ..encoding(Source::Tokens(vec![1, 2]), 5) },
        SessionConfig { n_blocks: 0, ..config() },
        SessionConfig { vocab: 0, ..config() },
        SessionConfig { d_model: 0, ..config() },
    ] {
        assert!(matches!(Session::new(bad), Err(SessionError::Config(_))));
    }
    let prompt = vec![1, VOCAB];
    for unknown in
        [asking(Task::Generate(Generate { prompt: prompt.clone(), ..generate() })), encoding(Source::Tokens(prompt), 5)]
    {
        let error = Session::new(unknown).unwrap_err();
        assert_eq!(error, SessionError::PromptToken { id: VOCAB, vocab: VOCAB });
    }
}

#[test]
fn all_stages_open_before_the_first_chunk() {
    let mut script = Script::new(config());
    let effects = script.step(Input::Start { network: unmeasured(offers()) });
    assert_eq!(opens(&effects), [(1, 0, 2), (2, 0, GATEWAY)]);
    assert!(sends(&effects).is_empty());
    assert!(sends(&script.opened(&[2], 0)).is_empty());
    assert!(sends(&script.opened(&[1], 7)).is_empty(), "a reply of another epoch");
    assert_eq!(sends(&script.opened(&[1], 0)), [(1, 0, 0, 2, 0, false), (1, 0, 2, 1, 0, true)]);
}

#[test]
fn only_the_awaited_position_counts_and_once() {
    let mut script = Script::running(config());
    assert!(script.draws(2, candidates(0, 1, 7)).is_empty());
    assert!(script.draws(1, candidates(0, 2, 7)).is_empty(), "not the last of the chain");
    let stray = Input::Candidates { from: peer(2).node, session: SessionId([0; 16]), frame: candidates(0, 2, 7) };
    assert!(script.step(stray).is_empty());
    let effects = script.draws(2, candidates(0, 2, 7));
    assert_eq!(tokens(&effects), [(0, 7)]);
    assert_eq!(sends(&effects), [(1, 0, 3, 1, 3, true)]);
    assert!(script.draws(2, candidates(0, 2, 7)).is_empty());
}

#[test]
fn an_end_token_or_the_most_tokens_end_the_answer() {
    let mut script = Script::running(config());
    script.draws(2, candidates(0, 2, 7));
    let effects = script.draws(2, candidates(0, 3, 49));
    assert_eq!((done(&effects).finish, done(&effects).completion_tokens), (Finish::Stop, 1));
    assert_eq!((closes(&effects).len(), tokens(&effects).len()), (2, 0));
    assert!(script.session.is_ended() && script.lost(1).is_empty() && script.wait(9_000).is_empty());

    let mut script = Script::running(config());
    let effects: Vec<Effect> = (2..6).flat_map(|pos| script.draws(2, candidates(0, pos, 7))).collect();
    assert_eq!((done(&effects).finish, done(&effects).completion_tokens), (Finish::Length, 4));
    assert_eq!(tokens(&effects), [(0, 7), (1, 7), (2, 7), (3, 7)]);
}

#[test]
fn cancel_and_stop_close_everything() {
    for (input, finish) in [(Input::Cancel, Finish::Cancelled), (Input::Stop, Finish::Stop)] {
        let mut script = Script::running(config());
        let effects = script.step(input);
        assert_eq!(done(&effects).finish, finish);
        assert_eq!(closes(&effects).len(), 2);
    }
}

#[test]
fn a_lost_stage_is_replaced_and_the_stage_before_replays() {
    let mut script = Script::running(config());
    script.draws(2, candidates(0, 2, 7));
    let session = script.session.id();
    let effects = script.lost(2);
    assert_eq!(opens(&effects), [(12, 1, 22), (22, 1, GATEWAY)]);
    assert_eq!(closes(&effects), [(2, session)]);
    assert!(sends(&effects).is_empty());
    script.now += Duration::from_millis(300);
    let effects = script.opened(&[12, 22], 1);
    let redirect = Control::Redirect { session, epoch: 1, next: peer(12), replay_from: 0, forward_from: 0 };
    assert!(effects.contains(&Effect::Control { to: peer(1), message: redirect }));
    assert_eq!(sends(&effects), [(1, 1, 3, 1, 3, true)]);
    let effects = script.draws(22, candidates(1, 3, 8));
    let Some(Effect::Recovered(report)) = effects.first() else { panic!("{effects:?}") };
    assert_eq!((report.at_token, report.rung, report.lost.as_slice()), (1, Rung::Replay, [peer(2).node].as_slice()));
    assert_eq!(report.stall, Duration::from_millis(300));
    assert_eq!(tokens(&effects), [(1, 8)]);
}

#[test]
fn a_lost_first_stage_gets_all_tokens_from_the_gateway() {
    let mut script = Script::running(config());
    script.draws(2, candidates(0, 2, 7));
    assert_eq!(opens(&script.lost(1)), [(11, 1, 21), (21, 1, 2)]);
    let effects = script.opened(&[21, 11], 1);
    assert_eq!(sends(&effects), [(11, 1, 0, 2, 0, false), (11, 1, 2, 2, 0, true)], "all but the last pass on all");
}

#[test]
fn a_lone_replacement_passes_on_the_step_only() {
    let offers = || vec![offer(1, 0, 2), offer(2, 2, 4), offer(11, 0, 2), offer(12, 2, 4)];
    for first in [true, false] {
        let mut script = Script::new(config());
        script.step(Input::Start { network: unmeasured(offers()) });
        let chain = script.route();
        script.opened(&chain, 0);
        script.draws(chain[1], candidates(0, 2, 7));
        script.lost(if first { chain[0] } else { chain[1] });
        let now = script.route();
        let effects = script.opened(&now, 1);
        if first {
            assert_eq!(sends(&effects), [(now[0], 1, 0, 2, 3, false), (now[0], 1, 2, 2, 3, true)]);
        } else {
            let session = script.session.id();
            let message = Control::Redirect { session, epoch: 1, next: peer(now[1]), replay_from: 0, forward_from: 3 };
            assert!(effects.contains(&Effect::Control { to: peer(now[0]), message }));
        }
    }
}

#[test]
fn an_answer_on_the_old_chain_counts_during_a_recovery() {
    let mut script = Script::running(config());
    script.draws(2, candidates(0, 2, 7));
    script.lost(2);
    let effects = script.draws(2, candidates(0, 3, 8));
    assert_eq!((tokens(&effects), sends(&effects).len()), (vec![(1, 8)], 0));
    assert_eq!(sends(&script.opened(&[12, 22], 1)), [(1, 1, 4, 1, 4, true)]);
}

#[test]
fn a_replacement_lost_before_it_settled_is_replaced_too() {
    let mut script = Script::running(config());
    script.draws(2, candidates(0, 2, 7));
    script.lost(2);
    script.step(Input::Network(unmeasured([offers(), vec![offer(32, 2, 4)]].concat())));
    let effects = script.lost(12);
    assert_eq!(opens(&effects), [(32, 2, GATEWAY)]);
    assert_eq!(closes(&effects).len(), 2, "12 and 22 are not needed");
    assert_eq!(sends(&script.opened(&[32], 2)), [(1, 2, 3, 1, 3, true)]);
}

#[test]
fn with_no_other_holder_a_suspect_is_asked_again_after_a_pause() {
    let mut script = Script::running(config());
    script.draws(2, candidates(0, 2, 7));
    script.step(Input::Network(unmeasured(vec![offer(1, 0, 2), offer(2, 2, 4)])));
    let before = script.session.id();
    let effects = script.lost(2);
    assert_eq!((opens(&effects).len(), closes(&effects).len()), (0, 2));
    assert!(effects.contains(&Effect::WakeAt(Duration::from_millis(50))));
    let effects = script.wait(50);
    assert_eq!(opens(&effects), [(1, 0, 2), (2, 0, GATEWAY)]);
    assert_ne!(script.session.id(), before);
    let effects = script.opened(&[1, 2], 0);
    assert_eq!(sends(&effects), [(1, 0, 0, 2, 0, false), (1, 0, 2, 2, 0, true)]);
    let effects = script.draws(2, candidates(0, 3, 8));
    assert!(matches!(effects.first(), Some(Effect::Recovered(report)) if report.rung == Rung::Prefill));
}

#[test]
fn a_block_that_nobody_holds_is_waited_for() {
    let missing = vec![offer(1, 0, 2)];
    let mut script = Script::new(config());
    let effects = script.step(Input::Start { network: unmeasured(missing.clone()) });
    assert_eq!(effects, [Effect::WakeAt(Duration::from_secs(3))]);
    assert_eq!(script.wait(2_999), [Effect::WakeAt(Duration::from_secs(3))]);
    assert_eq!(script.wait(1), [Effect::Failed(SessionError::NoRoute { block: 2 })]);

    let mut script = Script::new(config());
    script.step(Input::Start { network: unmeasured(missing) });
    assert_eq!(opens(&script.step(Input::Network(unmeasured(offers())))).len(), 2);
}

#[test]
fn bad_candidates_make_their_sender_a_suspect() {
    let bad: [Vec<(u32, f32)>; 6] = [
        Vec::new(),
        vec![(VOCAB, 1.0)],
        vec![(1, f32::NAN)],
        vec![(1, 1.0), (2, 2.0)],
        vec![(2, 1.0), (1, 1.0)],
        vec![(1, 2.0), (1, 1.0)],
    ];
    for list in bad {
        let mut script = Script::running(config());
        script.draws(2, candidates(0, 2, 7));
        let effects = script.draws(2, Frame { payload: Payload::Candidates(list.clone()), ..candidates(0, 3, 7) });
        assert!(tokens(&effects).is_empty(), "{list:?}");
        assert_eq!(opens(&effects), [(12, 1, 22), (22, 1, GATEWAY)], "{list:?}");
        assert!(script.draws(2, candidates(0, 3, 8)).is_empty(), "it is not listened to any more");
    }
}

#[test]
fn deadlines_accuse_the_late() {
    let mut script = Script::new(config());
    script.step(Input::Start { network: unmeasured(offers()) });
    script.opened(&[1], 0);
    assert_eq!(script.wait(1_999), [Effect::WakeAt(Duration::from_secs(2))]);
    let effects = script.wait(1);
    assert_eq!(opens(&effects), [(1, 0, 12), (12, 0, 22), (22, 0, GATEWAY)]);

    let mut script = Script::running(config());
    let effects = script.wait(5_000);
    assert_eq!(opens(&effects).len(), 4, "a chain without any of the silent ones");
    assert_eq!(script.route(), [11, 21, 12, 22]);
    // Where all is slow, beginning anew at the same pace would never end.
    script.opened(&[11, 21, 12, 22], 0);
    assert_eq!(script.wait(9_999), [Effect::WakeAt(Duration::from_secs(15))]);
    assert!(!script.wait(1).is_empty());
}

#[test]
fn faults_blame_the_right_node() {
    let reason = || "a test".to_owned();
    let bad_frame = |id: u8| Fault::BadFrame { node: peer(id).node, reason: reason() };
    let next_lost = |id: u8| Fault::NextLost { node: peer(id).node };
    for (from, fault, blamed) in [
        (1, next_lost(2), Some(2)),
        (2, next_lost(GATEWAY), Some(2)),
        (1, next_lost(77), None),
        (2, next_lost(1), None),
        (77, bad_frame(1), None),
        (2, bad_frame(1), Some(1)),
        (1, bad_frame(GATEWAY), Some(1)),
        (2, Fault::Gap { expected: 0, got: 1 }, Some(2)),
        (1, Fault::Compute { reason: reason() }, Some(1)),
    ] {
        let mut script = Script::running(config());
        script.fault(from, 0, fault.clone());
        let gone = [1, 2].into_iter().find(|id| !script.route().contains(id));
        assert_eq!(gone, blamed, "{fault:?} from {from}");
    }
    let mut script = Script::running(config());
    script.lost(2);
    let route = script.route();
    assert!(script.fault(1, 0, Fault::Compute { reason: reason() }).is_empty(), "a fault of an older epoch");
    assert_eq!(script.route(), route);
}

#[test]
fn a_refusal_finds_another_node_and_recoveries_are_bounded() {
    let mut script = Script::new(config());
    script.step(Input::Start { network: unmeasured(vec![offer(1, 0, 4)]) });
    for round in 0..4 {
        let session = script.session.id();
        let reply = ControlReply::Refused { session, reason: "full".to_owned() };
        let effects = script.step(Input::Reply { from: peer(1).node, reply });
        if round == 3 {
            assert!(matches!(
                effects.last(),
                Some(Effect::Failed(SessionError::TooManyRecoveries { recoveries: 3, cause })) if cause.ends_with("it refused: full")
            ));
            return;
        }
        assert_eq!(opens(&script.wait(50 << round)).len(), 1, "the pause doubles");
    }
}

#[test]
fn the_report_adds_up_what_the_stages_said() {
    let mut script = Script::running(config());
    let hop = |hold_us| HopReport { hold_us, rtt_us: hold_us * 2 };
    script.now = Duration::from_millis(10);
    script.draws(2, Frame { hops: vec![hop(5), hop(6)], ..candidates(0, 2, 7) });
    script.now = Duration::from_millis(14);
    // Only the last stage reports on a frame that was replayed to it.
    script.draws(2, Frame { hops: vec![HopReport { hold_us: 7, rtt_us: u32::MAX }], ..candidates(0, 3, 7) });
    script.now = Duration::from_millis(20);
    let effects = script.draws(2, candidates(0, 4, 49));
    let report = done(&effects);
    assert_eq!((report.first_token, report.total), (Duration::from_millis(10), Duration::from_millis(20)));
    assert_eq!(report.lap_mean, Some(Duration::from_millis(5)));
    let totals: Vec<_> = report.hops.iter().map(|hop| (hop.frames, hop.hold.as_micros(), hop.rtt_last)).collect();
    let micros = |n| Some(Duration::from_micros(n));
    assert_eq!(totals, [(1, 5, micros(10)), (2, 13, micros(12))]);
}

fn vector(epoch: u32, values: Vec<f32>) -> Frame {
    Frame { payload: Payload::Vector(values), ..candidates(epoch, 2, 0) }
}

#[test]
fn an_encoding_is_one_frame_and_one_vector() {
    let mut script = Script::new(encoding(Source::Tokens(vec![1, 2, 3]), 2));
    let effects = script.step(Input::Start { network: unmeasured(offers()) });
    let wanted = |effect: &Effect| match effect {
        Effect::Control { message: Control::Open { output, max_positions, .. }, .. } => Some((*output, *max_positions)),
        _ => None,
    };
    assert_eq!(effects.iter().filter_map(wanted).collect::<Vec<_>>(), [(Output::Vector, 3); 2]);
    assert_eq!(sends(&script.opened(&[1, 2], 0)), [(1, 0, 0, 3, 0, true)]);
    let effects = script.draws(2, vector(0, vec![0.5, -1.0]));
    assert!(effects.contains(&Effect::Vector(vec![0.5, -1.0])));
    assert_eq!((done(&effects).finish, done(&effects).completion_tokens), (Finish::Stop, 0));
    assert_eq!(closes(&effects).len(), 2);
}

#[test]
fn a_last_stage_that_sends_no_vector_of_the_model_is_replaced() {
    for bad in [vector(0, vec![1.0]), vector(0, vec![1.0, f32::NAN]), candidates(0, 2, 7)] {
        let mut script = Script::running(encoding(Source::Tokens(vec![1, 2, 3]), 2));
        let effects = script.draws(2, bad);
        assert_eq!(opens(&effects), [(12, 1, 22), (22, 1, GATEWAY)]);
        let effects = script.opened(&[12, 22], 1);
        assert_eq!(sends(&effects), [(1, 1, 0, 3, 0, true)]);
        let effects = script.draws(22, vector(1, vec![0.5, -1.0]));
        assert!(effects.contains(&Effect::Vector(vec![0.5, -1.0])));
        assert_eq!(done(&effects).recoveries[0].rung, Rung::Replay);
    }
}
