//! Each rule of a stage.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{D_MODEL, D_PATCH, HashModel, VECTOR, peer};
use proptest::prelude::*;
use skep_session::{Compute, Outgoing, SILENT, Stage, StageConfig};
use skep_types::{
    BlockRange,
    wire::{FRAME_HEADER_BYTES, Fault, Frame, HopReport, MAX_FRAME_BYTES, MAX_HOPS, Output, Payload, SessionId},
};

const BLOCKS: u32 = 4;

fn config(start: u32, end: u32) -> StageConfig {
    StageConfig {
        session: SessionId([1; 16]),
        epoch: 3,
        blocks: BlockRange::new(start, end).unwrap(),
        n_blocks: BLOCKS,
        d_model: D_MODEL,
        d_patch: 0,
        output: Output::Candidates(5),
        max_positions: 20,
        next: peer(9),
    }
}

fn stage(start: u32, end: u32) -> (Stage, HashModel) {
    (Stage::new(config(start, end)), HashModel::new(BlockRange::new(start, end).unwrap()))
}

fn tokens(pos: u32, ids: &[u32]) -> Frame {
    Frame {
        epoch: 3,
        pos,
        rows: ids.len() as u32,
        forward_from: 0,
        wants_candidates: false,
        hops: Vec::new(),
        payload: Payload::Tokens(ids.to_vec()),
    }
}

fn rows(pos: u32, n: u32) -> Frame {
    let values = (0..n * D_MODEL).map(|at| (pos * D_MODEL + at) as f32).collect();
    Frame { rows: n, payload: Payload::Rows(values), ..tokens(pos, &[]) }
}

fn values(sent: &[Outgoing]) -> Vec<u32> {
    let of = |out: &Outgoing| match &out.frame.payload {
        Payload::Rows(values) => values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(),
        other => panic!("rows were expected, not {other:?}"),
    };
    sent.iter().flat_map(of).collect()
}

#[test]
fn what_comes_twice_is_answered_from_retention() {
    let (mut stage, mut model) = stage(0, 2);
    let first = stage.on_frame(peer(1).node, tokens(0, &[1, 2, 3]), &mut model).unwrap();
    let again = stage.on_frame(peer(1).node, tokens(1, &[2, 3, 4]), &mut model).unwrap();
    assert_eq!((model.rows_run, model.embedded, stage.len()), (4, 4, 4));
    assert_eq!(values(&first)[D_MODEL as usize..], values(&again)[..2 * D_MODEL as usize]);
    assert_eq!((again[0].frame.pos, again[0].frame.rows), (1, 3));
    let known = stage.on_frame(peer(1).node, tokens(0, &[1, 2]), &mut model).unwrap();
    assert_eq!(values(&known), values(&first)[..2 * D_MODEL as usize]);
    assert_eq!(model.rows_run, 4);
}

#[test]
fn outputs_below_forward_from_are_kept_but_not_sent() {
    let (mut stage, mut model) = stage(2, 3);
    let sent = stage.on_frame(peer(1).node, Frame { forward_from: 2, ..rows(0, 2) }, &mut model).unwrap();
    assert!(sent.is_empty() && stage.len() == 2);
    let sent = stage.on_frame(peer(1).node, Frame { forward_from: 3, ..rows(2, 3) }, &mut model).unwrap();
    assert_eq!((sent.len(), sent[0].frame.pos, sent[0].frame.rows, sent[0].frame.forward_from), (1, 3, 2, 3));
}

#[test]
fn flags_and_hop_reports_go_on() {
    let (mut stage, mut model) = stage(0, 1);
    let hop = HopReport { hold_us: 7, rtt_us: 8 };
    let frame = Frame { wants_candidates: true, hops: vec![hop], epoch: 4, ..tokens(0, &[1]) };
    let sent = stage.on_frame(peer(1).node, frame, &mut model).unwrap();
    assert_eq!(sent[0].next, peer(9));
    assert!(sent[0].frame.wants_candidates);
    assert_eq!((sent[0].epoch, sent[0].frame.epoch, stage.epoch()), (4, 4, 4));
    assert_eq!(sent[0].frame.hops, [hop]);
}

#[test]
fn older_epochs_are_ignored() {
    let (mut stage, mut model) = stage(0, 1);
    let old = Frame { epoch: 2, ..tokens(5, &[1]) };
    assert_eq!(stage.on_frame(peer(1).node, old, &mut model), Ok(Vec::new()));
    assert!(stage.redirect(2, peer(5), 0, 0).is_empty());
    assert_eq!((stage.next(), stage.len()), (&peer(9), 0));
}

#[test]
fn refused_frames_change_nothing() {
    let (mut first, mut model) = stage(0, 1);
    let (mut second, mut other) = stage(1, 2);
    first.on_frame(peer(1).node, tokens(0, &[1]), &mut model).unwrap();
    second.on_frame(peer(1).node, rows(0, 1), &mut other).unwrap();
    let full_hops = vec![HopReport { hold_us: 0, rtt_us: 0 }; MAX_HOPS];
    let bad = [
        Frame { epoch: 9, ..rows(1, 1) },
        Frame { epoch: 9, payload: Payload::Candidates(vec![(1, 1.0)]), ..tokens(1, &[1]) },
        Frame { epoch: 9, rows: 2, ..tokens(1, &[1]) },
        Frame { epoch: 9, rows: 0, ..tokens(1, &[]) },
        Frame { epoch: 9, ..tokens(1, &[1; 20]) },
        Frame { epoch: 9, pos: u32::MAX, ..tokens(1, &[1]) },
        Frame { epoch: 9, hops: full_hops, ..tokens(1, &[1]) },
    ];
    for frame in bad {
        let refused = first.on_frame(peer(7).node, frame.clone(), &mut model);
        assert!(matches!(refused, Err(Fault::BadFrame { node, .. }) if node == peer(7).node), "{frame:?}");
    }
    assert!(matches!(second.on_frame(peer(7).node, tokens(1, &[1]), &mut other), Err(Fault::BadFrame { .. })));
    let thin = Frame { payload: Payload::Rows(vec![1.0; 3]), ..rows(1, 1) };
    assert!(matches!(second.on_frame(peer(7).node, thin, &mut other), Err(Fault::BadFrame { .. })));
    let gap = first.on_frame(peer(1).node, Frame { epoch: 9, ..tokens(2, &[1]) }, &mut model);
    assert_eq!(gap, Err(Fault::Gap { expected: 1, got: 2 }));
    let unknown = first.on_frame(peer(1).node, Frame { epoch: 9, ..tokens(1, &[999]) }, &mut model);
    assert!(matches!(unknown, Err(Fault::Compute { .. })));
    assert_eq!((first.len(), first.epoch(), model.rows_run), (1, 3, 1));
    assert_eq!((second.len(), second.epoch(), other.rows_run), (1, 3, 1));
}

#[test]
fn the_last_stage_answers_with_candidates_also_twice() {
    let (mut stage, mut model) = stage(3, 4);
    let silent = stage.on_frame(peer(1).node, rows(0, 2), &mut model).unwrap();
    assert!(silent.is_empty());
    let wants = Frame { wants_candidates: true, ..rows(2, 2) };
    let sent = stage.on_frame(peer(1).node, wants.clone(), &mut model).unwrap();
    let again = stage.on_frame(peer(1).node, wants, &mut model).unwrap();
    assert_eq!(sent, again);
    assert_eq!((sent[0].frame.pos, sent[0].frame.rows, model.rows_run), (3, 1, 4));
    assert!(matches!(&sent[0].frame.payload, Payload::Candidates(list) if list.len() == 5));
    assert!(sent[0].frame.encode().is_ok());
}

#[test]
fn a_vector_is_made_of_all_positions_at_once() {
    let whole = StageConfig { output: Output::Vector, max_positions: 4, ..config(3, 4) };
    let (mut stage, mut model) = (Stage::new(whole), HashModel::new(BlockRange::new(3, 4).unwrap()));
    for part in [rows(0, 3), Frame { wants_candidates: true, ..rows(1, 3) }] {
        assert!(matches!(stage.on_frame(peer(1).node, part, &mut model), Err(Fault::BadFrame { .. })));
    }
    assert_eq!(model.rows_run, 0);
    let wants = Frame { wants_candidates: true, ..rows(0, 4) };
    let sent = stage.on_frame(peer(1).node, wants.clone(), &mut model).unwrap();
    assert_eq!(sent, stage.on_frame(peer(1).node, wants, &mut model).unwrap());
    assert_eq!((sent.len(), sent[0].frame.pos, sent[0].frame.rows, model.rows_run), (1, 3, 1, 4));
    assert!(matches!(&sent[0].frame.payload, Payload::Vector(values) if values.len() == VECTOR as usize));
    assert!(sent[0].frame.encode().is_ok());
}

#[test]
fn a_model_of_images_reads_patches_and_nothing_else() {
    let image = StageConfig { output: Output::Vector, max_positions: 2, d_patch: D_PATCH, ..config(0, 2) };
    let (mut stage, mut model) = (Stage::new(image), HashModel::new(BlockRange::new(0, 2).unwrap()));
    let refused = stage.on_frame(peer(1).node, tokens(0, &[1, 2]), &mut model);
    assert!(matches!(refused, Err(Fault::BadFrame { .. })));
    let refused = stage.on_frame(peer(1).node, rows(0, 2), &mut model);
    assert!(matches!(refused, Err(Fault::BadFrame { .. })), "rows of another width");
    let patches = Frame { rows: 2, payload: Payload::Rows(vec![0.5; 2 * D_PATCH as usize]), ..tokens(0, &[]) };
    let sent = stage.on_frame(peer(1).node, patches.clone(), &mut model).unwrap();
    assert_eq!((sent[0].frame.rows, values(&sent).len()), (2, 2 * D_MODEL as usize));
    assert_eq!(values(&sent), values(&stage.on_frame(peer(1).node, patches, &mut model).unwrap()));
    assert_eq!((model.embedded, model.rows_run), (2, 2));
}

#[test]
fn a_redirect_sends_retained_rows_to_the_new_hop() {
    let (mut stage, mut model) = stage(0, 1);
    let all = stage.on_frame(peer(1).node, tokens(0, &[1, 2, 3]), &mut model).unwrap();
    stage.on_frame(peer(1).node, Frame { wants_candidates: true, ..tokens(3, &[4]) }, &mut model).unwrap();
    let sent = stage.redirect(5, peer(6), 0, 3);
    assert_eq!(values(&sent)[..3 * D_MODEL as usize], values(&all));
    assert_eq!((sent[0].next.clone(), sent[0].epoch, sent[0].frame.forward_from), (peer(6), 5, 3));
    assert!(sent[0].frame.wants_candidates && sent[0].frame.hops.is_empty());
    assert_eq!(model.rows_run, 4);
    let later = stage.on_frame(peer(1).node, Frame { epoch: 5, ..tokens(4, &[5]) }, &mut model).unwrap();
    assert_eq!(later[0].next, peer(6));
    assert!(!stage.redirect(5, peer(6), 0, 3)[0].frame.wants_candidates);
}

/// Passes rows through and says how many there were.
struct Wide;

impl Compute for Wide {
    fn embed(&mut self, tokens: &[u32]) -> Result<Vec<f32>, String> {
        Ok(tokens.iter().flat_map(|id| vec![*id as f32; 1 << 20]).collect())
    }
    fn embed_patches(&mut self, _: &[f32]) -> Result<Vec<f32>, String> {
        Err("none".to_owned())
    }
    fn forward(&mut self, _: &mut Vec<f32>) -> Result<(), String> {
        Ok(())
    }
    fn candidates(&mut self, _: &[f32], _: usize) -> Result<Vec<(u32, f32)>, String> {
        Err("none".to_owned())
    }
    fn vector(&mut self, _: &[f32]) -> Result<Vec<f32>, String> {
        Err("none".to_owned())
    }
}

#[test]
fn long_outputs_are_cut_into_frames_that_may_be_sent() {
    let mut stage = Stage::new(StageConfig { d_model: 1 << 20, ..config(0, 1) });
    let frame = Frame { wants_candidates: true, ..tokens(0, &[1, 2, 3, 4, 5, 6, 7, 8]) };
    for sent in [stage.on_frame(peer(1).node, frame, &mut Wide).unwrap(), stage.redirect(4, peer(2), 1, 0)] {
        assert!(sent.len() >= 2);
        let ends: Vec<u32> = sent.iter().map(|out| out.frame.end()).collect();
        assert!(sent.windows(2).all(|two| two[0].frame.end() == two[1].frame.pos), "{ends:?}");
        assert_eq!(ends.last(), Some(&8));
        for (at, out) in sent.iter().enumerate() {
            let Payload::Rows(values) = &out.frame.payload else { panic!("rows were expected") };
            // One hop report more, for the sender's own.
            assert!(FRAME_HEADER_BYTES + 8 * (out.frame.hops.len() + 1) + 4 * values.len() <= MAX_FRAME_BYTES);
            assert_eq!(out.frame.wants_candidates, at + 1 == sent.len());
        }
    }
}

proptest! {
    /// However a text is cut, repeated and overlapped, the outputs of each position are the same bits.
    #[test]
    fn any_cutting_gives_the_same_rows(cuts in prop::collection::vec((0u32..12, 1u32..12), 0..8)) {
        let ids: Vec<u32> = (0..12).map(|id| id * 3 + 1).collect();
        let (mut whole, mut model) = stage(0, 2);
        let all = values(&whole.on_frame(peer(1).node, tokens(0, &ids), &mut model).unwrap());
        let (mut cut, mut model) = stage(0, 2);
        for (back, n) in cuts.into_iter().chain([(0, 12)]) {
            let pos = cut.len().saturating_sub(back).min(11);
            let end = (pos + n).min(12);
            let sent = cut.on_frame(peer(1).node, tokens(pos, &ids[pos as usize..end as usize]), &mut model).unwrap();
            prop_assert_eq!(values(&sent), &all[(pos * D_MODEL) as usize..(end * D_MODEL) as usize]);
        }
        let wide = D_MODEL as usize;
        let sent = cut.redirect(3, peer(2), 0, 0);
        prop_assert_eq!(&values(&sent)[..], &all[..cut.len() as usize * wide]);
        prop_assert_eq!(model.rows_run, cut.len());
    }
}

#[test]
fn a_mirror_gets_all_rows_in_silence_and_becomes_the_next_hop_without_a_gap() {
    let (mut first, mut first_model) = stage(0, 2);
    let (mut second, mut second_model) = (Stage::new(config(2, 4)), HashModel::new(BlockRange::new(2, 4).unwrap()));
    let (mut standby, mut standby_model) = (second.clone(), second_model.clone());
    let mut answer = |sent: Vec<Outgoing>| {
        let mut last = None;
        for out in sent.into_iter().filter(|out| !out.mirror) {
            for back in second.on_frame(peer(1).node, out.frame, &mut second_model).unwrap() {
                last = Some(back.frame.payload);
            }
        }
        last
    };
    answer(first.on_frame(peer(1).node, tokens(0, &[1, 2, 3]), &mut first_model).unwrap());
    let mut silent = first.set_mirror(Some(peer(7)));
    for (at, id) in [(3, 4), (4, 5)] {
        let sent = first.on_frame(peer(1).node, tokens(at, &[id]), &mut first_model).unwrap();
        silent.extend(sent.iter().filter(|out| out.mirror).cloned());
        answer(sent);
    }
    assert!(silent.iter().all(|out| out.next == peer(7) && out.frame.forward_from == SILENT && out.mirror));
    for out in &silent {
        assert!(standby.on_frame(peer(1).node, out.frame.clone(), &mut standby_model).unwrap().is_empty());
    }
    assert_eq!((standby.len(), standby_model.rows_run), (5, 5));
    // The step in flight is position 5; what the first stage sends again from there on is all that the standby lacks.
    let wanted = |epoch| Frame { epoch, forward_from: 5, wants_candidates: true, ..tokens(5, &[6]) };
    let expected = answer(first.on_frame(peer(1).node, wanted(3), &mut first_model).unwrap());
    standby.redirect(4, peer(9), 5, 5);
    let sent = first.redirect(4, peer(7), 5, 5);
    assert!(first.mirror().is_none() && sent.len() == 1);
    let back = standby.on_frame(peer(1).node, sent[0].frame.clone(), &mut standby_model).unwrap();
    assert_eq!(Some(&back[0].frame.payload), expected.as_ref());
    assert_eq!((back.len(), back[0].next == peer(9), standby_model.rows_run), (1, true, 6));
}

#[test]
fn silent_rows_of_an_older_epoch_count_and_those_past_the_end_do_not() {
    let (mut stage, mut model) = stage(2, 3);
    stage.redirect(9, peer(8), 0, 0);
    let silent = |pos, n| Frame { forward_from: SILENT, ..rows(pos, n) };
    assert!(stage.on_frame(peer(1).node, silent(0, 2), &mut model).unwrap().is_empty());
    assert_eq!((stage.len(), stage.epoch()), (2, 9));
    assert!(stage.on_frame(peer(1).node, silent(4, 2), &mut model).unwrap().is_empty());
    assert_eq!(stage.len(), 2);
    let before_the_open = Frame { epoch: 2, ..silent(2, 1) };
    assert!(stage.on_frame(peer(1).node, before_the_open, &mut model).unwrap().is_empty());
    assert_eq!(stage.len(), 2);
    let loud = Frame { epoch: 9, ..rows(4, 2) };
    assert_eq!(stage.on_frame(peer(1).node, loud, &mut model), Err(Fault::Gap { expected: 2, got: 4 }));
}
