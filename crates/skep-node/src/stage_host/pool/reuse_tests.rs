#![allow(clippy::unwrap_used, reason = "a test")]

use super::tests::*;
use super::*;

const PLENTY: u64 = 1 << 30;

/// What a session sends on, row by row as bits, when its text comes in frames of `step` tokens.
fn sent(pool: &mut Pool, config: StageConfig, ids: &[u32], step: usize) -> Vec<u32> {
    let session = config.session;
    pool.open(config).unwrap();
    let mut bits = Vec::new();
    for (i, part) in ids.chunks(step).enumerate() {
        pool.arrive(session, arrival(tokens(i * step, part, false))).unwrap();
        while !pool.is_idle() {
            for settled in pool.pass() {
                for out in settled.result.unwrap() {
                    let Payload::Rows(rows) = out.frame.payload else { panic!("rows were expected") };
                    bits.extend(rows.into_iter().map(f32::to_bits));
                }
            }
        }
    }
    bits
}

fn count(meter: &Meter) -> u64 {
    meter.reused.swap(0, std::sync::atomic::Ordering::Relaxed)
}

fn bundled() -> Gguf {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../skep/assets/skep-bard-q8_0.gguf");
    Gguf::open(std::path::Path::new(path)).unwrap()
}

#[test]
fn a_text_begun_before_gives_the_same_bits_without_being_run() {
    let gguf = bundled();
    let span = Span::load(&gguf, range((0, 2))).unwrap();
    let (d_model, n_blocks, vocab) = (span.config().d_model as u32, span.config().n_blocks, span.config().vocab as u32);
    let config = |session| StageConfig { d_model, n_blocks, ..config(session, range((0, 2))) };
    let text: Vec<u32> = (0..150).map(|i| (i * i * 31 + 403) % vocab).collect();
    let expected = sent(&mut pool(&gguf, (0, 2)), config(0), &text, 150);
    let (mut pool, reused) = pool_with_store(&gguf, (0, 2), PLENTY);
    assert_eq!(sent(&mut pool, config(0), &text, 50), expected);
    assert_eq!(count(&reused), 0);
    // Four full pages are there, of a session that is open and of one that is not, for frames of any length that bring their ends.
    for (session, step, hits) in [(1, 150, 128), (2, 64, 128), (3, 50, 32 + 46 + 28), (4, 1, 4), (1, 150, 128)] {
        assert_eq!(sent(&mut pool, config(session), &text, step), expected, "frames of {step}");
        assert_eq!(count(&reused), hits, "frames of {step}");
        pool.close(id(session - 1));
    }
}

#[test]
fn another_range_or_another_first_row_never_hits() {
    let gguf = model();
    let (mut pool, reused) = pool_with_store(&gguf, (0, 3), PLENTY);
    let text = [5; 100];
    let mut other = text;
    other[0] = 6;
    sent(&mut pool, config(0, range((0, 2))), &text, 100);
    sent(&mut pool, config(1, range((0, 1))), &text, 100);
    sent(&mut pool, config(2, range((0, 3))), &text, 100);
    sent(&mut pool, config(3, range((0, 2))), &other, 100);
    assert_eq!(count(&reused), 0);
    sent(&mut pool, config(4, range((0, 2))), &text, 100);
    assert_eq!(count(&reused), 96);
}

#[test]
fn a_session_without_room_for_a_whole_page_runs_its_rows() {
    let gguf = model();
    let (mut pool, reused) = pool_with_store(&gguf, (0, 2), PLENTY);
    let expected = sent(&mut pool, config(0, range((0, 2))), &[5; 64], 64);
    let short = StageConfig { max_positions: 40, ..config(1, range((0, 2))) };
    assert_eq!(sent(&mut pool, short, &[5; 40], 40), expected[..40 * D_MODEL]);
    assert_eq!(count(&reused), 32);
}

#[test]
fn stored_rows_do_not_wait_for_a_pass_with_room() {
    let gguf = model();
    let (mut pool, reused) = pool_with_store(&gguf, (0, 2), PLENTY);
    sent(&mut pool, config(0, range((0, 2))), &[5; 320], 320);
    for session in 1..4 {
        pool.open(config(session, range((0, 2)))).unwrap();
    }
    pool.arrive(id(1), arrival(tokens(0, &[7], false))).unwrap();
    pool.arrive(id(2), arrival(tokens(0, &[8; 300], false))).unwrap();
    pool.arrive(id(3), arrival(tokens(0, &[5; 64], false))).unwrap();
    pool.arrive(id(3), arrival(tokens(64, &[5; 258], false))).unwrap();
    let rows = |settled: Vec<Settled>| {
        let mut rows = [0; 4];
        for settled in settled {
            rows[settled.session.0[0] as usize] +=
                settled.result.unwrap().iter().map(|out| out.frame.rows).sum::<u32>();
        }
        rows
    };
    assert_eq!(rows(pool.pass()), [0, 1, 64, 322]);
    assert_eq!(count(&reused), 320);
}

#[test]
fn faulty_rows_are_not_stored() {
    let gguf = model();
    let (mut pool, reused) = pool_with_store(&gguf, (0, 2), PLENTY);
    pool.open(config(0, range((0, 2)))).unwrap();
    let mut bad = [5; 64];
    bad[63] = VOCAB as u32;
    pool.arrive(id(0), arrival(tokens(0, &bad, false))).unwrap();
    assert!(pool.pass().remove(0).result.is_err());
    pool.close(id(0));
    let fresh = sent(&mut pool, config(0, range((0, 2))), &[5; 64], 64);
    assert_eq!((count(&reused), fresh.len()), (0, 64 * D_MODEL));
}

#[test]
fn sessions_that_begin_alike_in_any_order_and_any_room_get_what_each_gets_alone() {
    let gguf = model();
    for seed in 0..12 {
        let mut rng = Rng(seed);
        let room = [0, 40_000, PLENTY][rng.below(3)];
        let mut reused = Vec::new();
        let mut pools = HELD.map(|held| {
            let (pool, count) = pool_with_store(&gguf, held, room);
            reused.push(count);
            pool
        });
        let common: Vec<u32> = (0..250).map(|_| rng.below(VOCAB) as u32).collect();
        for _ in 0..2 {
            let mut runs: Vec<Run> = (0..6)
                .map(|_| {
                    let mut prompt = common[..rng.below(250)].to_vec();
                    prompt.extend((0..1 + rng.below(50)).map(|_| rng.below(VOCAB) as u32));
                    Run::of(prompt, &mut rng)
                })
                .collect();
            for session in 0..runs.len() {
                for (pool, blocks) in pools.iter_mut().zip(SPLITS[rng.below(3)]) {
                    pool.close(id(session));
                    pool.open(config(session, range(blocks))).unwrap();
                }
            }
            play(&mut pools, &mut runs, 6, &mut rng);
            for (session, run) in runs.iter().enumerate() {
                assert_eq!(run.lists, alone(&gguf, &run.prompt, 6), "seed {seed}, session {session}, room {room}");
            }
        }
        let counts: Vec<u64> = reused.iter().map(|meter| meter.reused()).collect();
        assert!(counts.iter().all(|count| (*count > 0) == (room > 0)), "room {room}: {counts:?}");
    }
}
