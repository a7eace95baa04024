//! Rung a by script: standbys are opened, fed, promoted, and given up.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{D_MODEL, GATEWAY, VOCAB, peer, unmeasured};
use skep_plan::Offer;
use skep_session::{Effect, Generate, Input, Limits, Rung, SILENT, Session, SessionConfig, Task};
use skep_types::{
    BlockRange, ModelId,
    wire::{Control, ControlReply, Fault, Frame, Payload, SessionId},
};
use std::time::Duration;

/// A session in the middle of a long answer.
struct Script {
    session: Session,
    chain: [u8; 2],
    standbys: [u8; 2],
    /// The position whose candidates are awaited.
    at: u32,
    epoch: u32,
}

fn offer(id: u8, start: u32, end: u32) -> Offer {
    Offer { peer: peer(id), blocks: BlockRange::new(start, end).unwrap() }
}

fn config(limits: Limits) -> SessionConfig {
    let sampler = Box::new(skep_model::SamplingParams::greedy());
    SessionConfig {
        model: ModelId([1; 32]),
        n_blocks: 4,
        vocab: VOCAB,
        d_model: D_MODEL,
        kv_bytes: 16,
        gateway: peer(GATEWAY),
        task: Task::Generate(Generate {
            prompt: vec![1, 2, 3],
            max_new: 40,
            end_tokens: Vec::new(),
            sampler,
            prefill_chunk: 4,
        }),
        id_seed: [3; 32],
        limits,
    }
}

/// Whom the effects open, in the order of the chain.
fn opens(effects: &[Effect]) -> Vec<u8> {
    let open = |effect: &Effect| match effect {
        Effect::Control { to, message: Control::Open { blocks, .. } } => Some((blocks.start(), to.node.0[0])),
        _ => None,
    };
    let mut list: Vec<_> = effects.iter().filter_map(open).collect();
    list.sort_unstable();
    list.into_iter().map(|(_, id)| id).collect()
}

/// Frames as (node, epoch of the stream, epoch, first, rows, forward_from).
fn sends(effects: &[Effect]) -> Vec<(u8, u32, u32, u32, u32, u32)> {
    let send = |effect: &Effect| match effect {
        Effect::Send { to, epoch, frame, .. } => {
            Some((to.node.0[0], *epoch, frame.epoch, frame.pos, frame.rows, frame.forward_from))
        }
        _ => None,
    };
    effects.iter().filter_map(send).collect()
}

fn controls(effects: &[Effect]) -> Vec<(u8, Control)> {
    let control = |effect: &Effect| match effect {
        Effect::Control { to, message } => Some((to.node.0[0], message.clone())),
        _ => None,
    };
    effects.iter().filter_map(control).collect()
}

impl Script {
    /// Eight tokens are drawn and two standbys open, one for each stage.
    fn new() -> Self {
        let network = unmeasured(vec![offer(1, 0, 2), offer(2, 2, 4), offer(3, 0, 2), offer(4, 2, 4)]);
        let mut session = Session::new(config(Limits::default())).unwrap();
        session.step(Duration::ZERO, Input::Start { network });
        let chain: Vec<u8> = session.route().iter().map(|stage| stage.peer.node.0[0]).collect();
        let standbys = chain.iter().map(|id| [0, 3, 4, 1, 2][*id as usize]).collect::<Vec<_>>();
        let (chain, standbys) = (chain.try_into().unwrap(), standbys.try_into().unwrap());
        let mut script = Self { session, chain, standbys, at: 2, epoch: 0 };
        chain.into_iter().for_each(|id| _ = script.opened(id));
        let before: Vec<Effect> = (0..7).flat_map(|_| script.draw(chain[1])).collect();
        assert!(opens(&before).is_empty(), "a short answer has no standby");
        assert_eq!(opens(&script.draw(chain[1])), standbys);
        script
    }

    /// Both standbys have answered.
    fn ready() -> Self {
        let mut script = Self::new();
        script.standbys.into_iter().for_each(|id| _ = script.opened(id));
        script
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.session.step(Duration::from_millis(u64::from(self.at)), input)
    }

    fn reply(&mut self, from: u8, reply: impl Fn(SessionId) -> ControlReply) -> Vec<Effect> {
        let reply = reply(self.session.id());
        self.step(Input::Reply { from: peer(from).node, reply })
    }

    fn opened(&mut self, id: u8) -> Vec<Effect> {
        let epoch = self.epoch;
        self.reply(id, |session| ControlReply::Opened { session, epoch })
    }

    /// The awaited candidates come from a last stage.
    fn draw(&mut self, from: u8) -> Vec<Effect> {
        let frame = Frame {
            epoch: self.epoch,
            pos: self.at,
            rows: 1,
            forward_from: 0,
            wants_candidates: false,
            hops: Vec::new(),
            payload: Payload::Candidates(vec![(7, 2.0)]),
        };
        self.at += 1;
        let session = self.session.id();
        self.step(Input::Candidates { from: peer(from).node, session, frame })
    }

    fn lost(&mut self, id: u8) -> Vec<Effect> {
        self.step(Input::Lost { node: peer(id).node })
    }
}

fn rung(effects: &[Effect]) -> Option<Rung> {
    effects.iter().find_map(|effect| if let Effect::Recovered(report) = effect { Some(report.rung) } else { None })
}

#[test]
fn a_standby_gets_everything_that_its_stage_got() {
    let mut script = Script::new();
    let (chain, standbys, session) = (script.chain, script.standbys, script.session.id());
    let fed = script.opened(standbys[0]);
    let silent = |at, rows| (standbys[0], 0, 0, at, rows, SILENT);
    assert_eq!(sends(&fed), [silent(0, 4), silent(4, 4), silent(8, 3)]);
    let mirrored = script.opened(standbys[1]);
    assert_eq!(controls(&mirrored), [(chain[0], Control::Mirror { session, to: Some(peer(standbys[1])) })]);
    assert!(script.opened(standbys[1]).is_empty(), "once");
    let next = script.draw(chain[1]);
    assert_eq!(sends(&next), [(chain[0], 0, 0, 11, 1, 11), silent(11, 1)]);
    assert_eq!(script.session.standbys().count(), 2);
}

#[test]
fn the_standby_of_the_last_stage_takes_its_place_without_an_open() {
    let mut script = Script::ready();
    let (chain, standbys, session) = (script.chain, script.standbys, script.session.id());
    let effects = script.lost(chain[1]);
    let redirect =
        |next: u8| Control::Redirect { session, epoch: 1, next: peer(next), replay_from: 10, forward_from: 10 };
    let expected =
        [(chain[1], Control::Close { session }), (standbys[1], redirect(GATEWAY)), (chain[0], redirect(standbys[1]))];
    assert_eq!(controls(&effects), expected);
    assert_eq!(sends(&effects), [(chain[0], 1, 1, 10, 1, 10)]);
    script.epoch = 1;
    let effects = script.draw(standbys[1]);
    assert_eq!(rung(&effects), Some(Rung::Standby));
    assert!(script.session.standbys().eq([(0, peer(standbys[0]).node)]), "the other one is still there");
}

#[test]
fn the_standby_of_the_first_stage_goes_on_with_its_stream() {
    let mut script = Script::ready();
    let (chain, standbys) = (script.chain, script.standbys);
    let effects = script.lost(chain[0]);
    assert_eq!(sends(&effects), [(standbys[0], 0, 1, 10, 1, 10)]);
    assert!(opens(&effects).is_empty());
    // The other standby was fed by the stage that is gone.
    assert!(controls(&effects).contains(&(standbys[1], Control::Close { session: script.session.id() })));
    script.epoch = 1;
    let effects = script.draw(chain[1]);
    assert_eq!(rung(&effects), Some(Rung::Standby));
    assert_eq!(sends(&effects), [(standbys[0], 0, 1, 11, 1, 11)]);
    assert!(opens(&effects).is_empty(), "the chain has not settled yet");
    // It may follow the new first stage.
    assert_eq!(opens(&script.draw(chain[1])), [standbys[1]]);
}

#[test]
fn both_stages_lost_at_once_are_replaced_by_a_lower_rung() {
    let mut script = Script::ready();
    let (chain, standbys) = (script.chain, script.standbys);
    script.lost(chain[0]);
    let effects = script.lost(chain[1]);
    assert!(!opens(&effects).is_empty() && opens(&effects).iter().all(|id| standbys.contains(id)), "{effects:?}");
}

#[test]
fn a_standby_that_refuses_fails_or_is_lost_costs_nothing() {
    let refuse = |session| ControlReply::Refused { session, reason: "full".to_owned() };
    let fault = |session| ControlReply::Fault { session, epoch: 0, fault: Fault::Compute { reason: "odd".to_owned() } };
    for ends in [
        &|script: &mut Script, id| script.reply(id, refuse) as Vec<Effect>,
        &|script: &mut Script, id| script.reply(id, fault),
        &|script: &mut Script, id| script.lost(id),
    ] as [&dyn Fn(&mut Script, u8) -> Vec<Effect>; 3]
    {
        let mut script = Script::ready();
        let (chain, standbys, session) = (script.chain, script.standbys, script.session.id());
        let effects = ends(&mut script, standbys[1]);
        let expected = [(chain[0], Control::Mirror { session, to: None }), (standbys[1], Control::Close { session })];
        assert_eq!(controls(&effects), expected);
        let effects = script.draw(chain[1]);
        assert!(opens(&effects).is_empty(), "nobody else could be one");
        assert_eq!(rung(&effects), None);
    }
    // The stage before says that it cannot reach the standby.
    let mut script = Script::ready();
    let (before, node) = (script.chain[0], peer(script.standbys[1]).node);
    script.reply(before, |session| ControlReply::Fault { session, epoch: 0, fault: Fault::NextLost { node } });
    assert_eq!(script.session.standbys().count(), 1);
    assert_eq!(rung(&script.draw(script.chain[1])), None);
}

#[test]
fn standbys_can_be_turned_off_and_end_with_the_answer() {
    let mut script = Script::ready();
    let closed = controls(&script.step(Input::Cancel));
    assert_eq!(closed.iter().filter(|(_, message)| matches!(message, Control::Close { .. })).count(), 4);

    let network = unmeasured(vec![offer(1, 0, 4), offer(2, 0, 4)]);
    let mut session = Session::new(config(Limits { standby: false, ..Limits::default() })).unwrap();
    session.step(Duration::ZERO, Input::Start { network });
    let only = session.route()[0].peer.node.0[0];
    let mut script = Script { session, chain: [only; 2], standbys: [0; 2], at: 2, epoch: 0 };
    script.opened(only);
    let effects: Vec<Effect> = (0..20).flat_map(|_| script.draw(only)).collect();
    assert!(opens(&effects).is_empty());
}
