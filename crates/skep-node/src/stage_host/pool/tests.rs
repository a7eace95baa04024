#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
pub(super) use skep_model::Gguf;
use skep_model::{Metadata, Tensor, Value, encode_gguf, top_candidates};
use skep_types::NodeId;
use skep_types::wire::Frame;

pub(super) const D_MODEL: usize = 32;
pub(super) const VOCAB: usize = 64;
const BLOCKS: u32 = 4;
/// Which blocks each pool of a chain holds; they overlap, so that sessions of different blocks meet in one pool.
pub(super) const HELD: [(u32, u32); 3] = [(0, 2), (1, 3), (2, 4)];
/// Ways through the chain.
pub(super) const SPLITS: [[(u32, u32); 3]; 3] =
    [[(0, 1), (1, 2), (2, 4)], [(0, 2), (2, 3), (3, 4)], [(0, 1), (1, 3), (3, 4)]];

impl Pool {
    /// A pass for everybody.
    pub(super) fn pass(&mut self) -> Vec<Settled> {
        self.pass_of(Turn::All, PASS_ROWS as u32)
    }
}

pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// A model of random weights.
pub(in super::super) fn model() -> Gguf {
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", Value::String("llama".into()));
    for (key, value) in [
        ("embedding_length", D_MODEL as u32),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("block_count", BLOCKS),
        ("feed_forward_length", 48),
        ("context_length", 512),
        ("vocab_size", VOCAB as u32),
    ] {
        metadata.insert(format!("llama.{key}"), Value::U32(value));
    }
    metadata.insert("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let mut rng = Rng(7);
    let mut tensor = |name: String, shape: [usize; 2]| {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.below(2001) as f32 / 5e3 - 0.2).collect();
        Tensor::from_f32(&name, shape, &values).unwrap()
    };
    let mut tensors = vec![tensor("token_embd.weight".into(), [VOCAB, D_MODEL])];
    for block in 0..BLOCKS {
        for (part, shape) in [
            ("attn_norm", [1, 32]),
            ("attn_q", [32, 32]),
            ("attn_k", [16, 32]),
            ("attn_v", [16, 32]),
            ("attn_output", [32, 32]),
            ("ffn_norm", [1, 32]),
            ("ffn_gate", [48, 32]),
            ("ffn_up", [48, 32]),
            ("ffn_down", [32, 48]),
        ] {
            tensors.push(tensor(format!("blk.{block}.{part}.weight"), shape));
        }
    }
    tensors.push(tensor("output_norm.weight".into(), [1, D_MODEL]));
    Gguf::from_bytes(encode_gguf(&metadata, &tensors).unwrap()).unwrap()
}

pub(in super::super) fn range((start, end): (u32, u32)) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

pub(super) fn pool(gguf: &Gguf, blocks: (u32, u32)) -> Pool {
    pool_with_store(gguf, blocks, 0).0
}

/// A pool whose store has room for `room` bytes, and its meter, which counts reused rows.
pub(super) fn pool_with_store(gguf: &Gguf, blocks: (u32, u32), room: u64) -> (Pool, Arc<Meter>) {
    let meter = Arc::new(Meter::default());
    let mut pool = Pool::new(Arc::new(Span::load(gguf, range(blocks)).unwrap()), meter.clone());
    pool.set_store_room(room);
    (pool, meter)
}

pub(super) fn id(session: usize) -> SessionId {
    SessionId([session as u8; 16])
}

pub(in super::super) fn config(session: usize, blocks: BlockRange) -> StageConfig {
    let next = Peer { node: NodeId([9; 32]), addrs: Vec::new() };
    let (n_blocks, d_model, max_positions, output) = (BLOCKS, D_MODEL as u32, 400, Output::Candidates(5));
    StageConfig { session: id(session), epoch: 0, blocks, n_blocks, d_model, d_patch: 0, output, max_positions, next }
}

pub(super) fn tokens(pos: usize, ids: &[u32], wants_candidates: bool) -> Frame {
    let (pos, rows, payload) = (pos as u32, ids.len() as u32, Payload::Tokens(ids.to_vec()));
    Frame { epoch: 0, pos, rows, forward_from: 0, wants_candidates, hops: Vec::new(), payload }
}

pub(super) fn arrival(frame: Frame) -> Arrival {
    Arrival { from: NodeId([1; 32]), frame: Ok(frame), at: Instant::now(), ticket: None }
}

/// Greedy tokens and all candidates of a session that has the machine for itself.
pub(super) fn alone(gguf: &Gguf, prompt: &[u32], n: usize) -> Vec<Vec<(u32, u32)>> {
    let span = Span::load(gguf, range((0, BLOCKS))).unwrap();
    let mut cache = span.new_cache(span.blocks(), 400).unwrap();
    let (mut next, mut lists) = (prompt.to_vec(), Vec::new());
    for _ in 0..n {
        let mut rows = span.embed(&next).unwrap();
        span.forward(&mut cache, &mut rows).unwrap();
        let logits = span.logits(&rows[rows.len() - D_MODEL..]).unwrap();
        let best = top_candidates(&logits, 5).unwrap();
        next = vec![best[0].id];
        lists.push(best.into_iter().map(|one| (one.id, one.logit.to_bits())).collect());
    }
    lists
}

/// One session on its way through the chain.
pub(super) struct Run {
    pub(super) prompt: Vec<u32>,
    /// Frames under way to each pool, in order.
    under_way: [VecDeque<Frame>; 3],
    pub(super) lists: Vec<Vec<(u32, u32)>>,
}

impl Run {
    fn new(rng: &mut Rng) -> Self {
        let prompt = (0..1 + rng.below(300)).map(|_| rng.below(VOCAB) as u32).collect();
        Self::of(prompt, rng)
    }

    /// A prompt cut into frames by chance.
    pub(super) fn of(prompt: Vec<u32>, rng: &mut Rng) -> Self {
        let mut first = VecDeque::new();
        let mut at = 0;
        while at < prompt.len() {
            let end = (at + 1 + rng.below(400)).min(prompt.len());
            first.push_back(tokens(at, &prompt[at..end], end == prompt.len()));
            at = end;
        }
        Self { prompt, under_way: [first, VecDeque::new(), VecDeque::new()], lists: Vec::new() }
    }

    /// Sends on the token that was drawn last, after the session was held up.
    pub(super) fn go_on(&mut self) {
        let (pos, last) = (self.prompt.len() + self.lists.len() - 1, self.lists[self.lists.len() - 1][0].0);
        self.under_way[0].push_back(tokens(pos, &[last], true));
    }

    /// What the gateway does with the candidates of the last pool.
    fn draw(&mut self, frame: Frame, wanted: usize) {
        let Payload::Candidates(list) = frame.payload else { panic!("candidates were expected") };
        let id = list[0].0;
        assert_eq!(frame.pos as usize + 1, self.prompt.len() + self.lists.len());
        self.lists.push(list.into_iter().map(|(id, logit)| (id, logit.to_bits())).collect());
        if self.lists.len() < wanted {
            self.under_way[0].push_back(tokens(frame.pos as usize + 1, &[id], true));
        }
    }
}

/// Lets frames of all sessions arrive and passes run in an order of chance until every session has `wanted` lists.
pub(super) fn play(pools: &mut [Pool; 3], runs: &mut [Run], wanted: usize, rng: &mut Rng) {
    let mut passes = 0;
    while runs.iter().any(|run| run.lists.len() < wanted) {
        let (at, session) = (rng.below(3), rng.below(runs.len()));
        if rng.below(3) > 0 {
            if let Some(frame) = runs[session].under_way[at].pop_front() {
                pools[at].arrive(id(session), arrival(frame)).unwrap();
            }
            continue;
        }
        passes += usize::from(!pools[at].is_idle());
        assert!(passes < 20_000, "the sessions do not come to an end");
        for settled in pools[at].pass() {
            let run = &mut runs[settled.session.0[0] as usize];
            for out in settled.result.unwrap() {
                if at < 2 { run.under_way[at + 1].push_back(out.frame) } else { run.draw(out.frame, wanted) }
            }
        }
    }
}

#[test]
fn sessions_that_run_together_in_any_order_get_what_each_gets_alone() {
    let gguf = model();
    for seed in 0..30 {
        let mut rng = Rng(seed);
        let mut pools = HELD.map(|held| pool(&gguf, held));
        let mut runs: Vec<Run> = (0..8).map(|_| Run::new(&mut rng)).collect();
        for session in 0..runs.len() {
            for (pool, blocks) in pools.iter_mut().zip(SPLITS[rng.below(3)]) {
                pool.open(config(session, range(blocks))).unwrap();
            }
        }
        play(&mut pools, &mut runs, 6, &mut rng);
        for (session, run) in runs.iter().enumerate() {
            assert_eq!(run.lists, alone(&gguf, &run.prompt, 6), "seed {seed}, session {session}");
        }
    }
}

#[test]
fn a_session_that_decodes_shares_every_pass_with_long_prompts() {
    let gguf = model();
    let mut pool = pool(&gguf, (0, 2));
    for session in 0..4 {
        pool.open(config(session, range((0, 2)))).unwrap();
    }
    for session in 0..3 {
        pool.arrive(id(session), arrival(tokens(0, &[3; 300], true))).unwrap();
    }
    let mut rows = [0; 4];
    for pass in 0..15 {
        pool.arrive(id(3), arrival(tokens(pass, &[5], true))).unwrap();
        let settled = pool.pass();
        assert!(settled.iter().any(|settled| settled.session == id(3)), "pass {pass} left the decoding session out");
        let mut prompt_rows = 0;
        for settled in settled {
            for out in settled.result.unwrap() {
                rows[settled.session.0[0] as usize] += out.frame.rows;
                prompt_rows += if settled.session == id(3) { 0 } else { out.frame.rows };
                assert_eq!(out.frame.wants_candidates, settled.session == id(3) || out.frame.end() == 300);
            }
        }
        assert!(prompt_rows <= PROMPT_ROWS, "pass {pass} ran {prompt_rows} rows of prompts");
    }
    assert_eq!(rows, [300, 300, 300, 15], "prompts wait for each other and all come to their end");
    assert!(pool.is_idle());
}

#[test]
fn a_session_with_a_faulty_frame_fails_alone() {
    let gguf = model();
    let mut pool = pool(&gguf, (0, 2));
    for session in 0..3 {
        pool.open(config(session, range((0, 2)))).unwrap();
    }
    pool.arrive(id(0), arrival(tokens(0, &[3, 4], false))).unwrap();
    pool.arrive(id(1), arrival(tokens(0, &[3, VOCAB as u32], false))).unwrap();
    pool.arrive(id(2), Arrival { frame: Err("it broke".into()), ..arrival(tokens(0, &[1], false)) }).unwrap();
    pool.arrive(id(2), arrival(tokens(5, &[1], false))).unwrap();
    let results: HashMap<_, _> = pool.pass().into_iter().map(|settled| (settled.session, settled.result)).collect();
    assert_eq!(results[&id(0)].as_ref().unwrap()[0].frame.rows, 2);
    assert!(matches!(&results[&id(1)], Err(Fault::Compute { reason }) if reason.contains("vocabulary")));
    assert!(matches!(&results[&id(2)], Err(Fault::BadFrame { reason, .. }) if reason == "it broke"));
    let gap = pool.pass().remove(0).result;
    assert_eq!(gap, Err(Fault::Gap { expected: 0, got: 5 }));
    pool.arrive(id(1), arrival(tokens(0, &[3, 4], false))).unwrap();
    assert_eq!(
        pool.pass().remove(0).result.unwrap()[0].frame.payload,
        results[&id(0)].as_ref().unwrap()[0].frame.payload
    );
}

#[test]
fn a_closed_session_leaves_nothing_behind() {
    let gguf = model();
    let mut pool = pool(&gguf, (0, 2));
    pool.open(config(0, range((0, 2)))).unwrap();
    pool.arrive(id(0), arrival(tokens(0, &[3; 100], false))).unwrap();
    pool.close(id(0));
    assert!(pool.is_idle() && pool.pass().is_empty() && pool.seats.is_empty());
    pool.arrive(id(0), arrival(tokens(0, &[3], false))).unwrap();
    assert!(pool.is_idle(), "a frame of a session that is not open is dropped");
}

#[test]
fn more_than_a_session_has_positions_for_does_not_wait() {
    let gguf = model();
    let mut pool = pool(&gguf, (0, 2));
    pool.open(config(0, range((0, 2)))).unwrap();
    for _ in 0..2 {
        pool.arrive(id(0), arrival(tokens(0, &[3; 400], false))).unwrap();
    }
    let refused = pool.arrive(id(0), arrival(tokens(0, &[3], false)));
    assert!(matches!(refused, Err(Fault::BadFrame { reason, .. }) if reason.contains("more rows wait")));
    // What a newer route brings takes the place of what an older one brought.
    pool.arrive(id(0), arrival(Frame { epoch: 1, ..tokens(0, &[3; 400], false) })).unwrap();
    let mut rows = 0;
    while !pool.is_idle() {
        for settled in pool.pass() {
            rows += settled.result.unwrap().iter().map(|out| out.frame.rows).sum::<u32>();
        }
    }
    assert_eq!(rows, 400);
    pool.arrive(id(0), arrival(tokens(0, &[3], false))).unwrap();
}

#[test]
fn a_pass_takes_the_rows_of_those_whose_turn_it_is_and_no_more_than_it_may() {
    let gguf = model();
    let mut pool = pool(&gguf, (0, 2));
    for session in 0..3 {
        pool.open(config(session, range((0, 2)))).unwrap();
        pool.arrive(id(session), arrival(tokens(0, &[3 + session as u32; 300], true))).unwrap();
    }
    pool.set_own(id(1));
    assert!(pool.waits(Turn::Own) && pool.waits(Turn::Others));
    let ran = |settled: Vec<Settled>| -> Vec<(u8, u32)> {
        settled.iter().map(|one| (one.session.0[0], one.result.as_ref().unwrap()[0].frame.rows)).collect()
    };
    let page = PAGE as u32;
    assert_eq!(ran(pool.pass_of(Turn::Own, page)), [(1, page)]);
    let mut own = page;
    while pool.waits(Turn::Own) {
        own += ran(pool.pass_of(Turn::Own, PASS_ROWS as u32))
            .iter()
            .map(|(session, rows)| rows * u32::from(*session))
            .sum::<u32>();
    }
    assert_eq!((own, pool.pass_of(Turn::Own, 256).len(), pool.is_idle()), (300, 0, false));
    let mut others = 0;
    while pool.waits(Turn::Others) {
        let rows = ran(pool.pass_of(Turn::Others, page));
        let sum: u32 = rows.iter().map(|(_, rows)| rows).sum();
        assert!(sum > 0 && sum <= page, "{rows:?}");
        others += sum;
    }
    assert_eq!((others, pool.is_idle()), (600, true));
}
