#![allow(clippy::unwrap_used, reason = "a test")]

use super::tests::*;
use super::*;

fn span(gguf: &Gguf, blocks: (u32, u32)) -> Arc<Span> {
    Arc::new(Span::load(gguf, range(blocks)).unwrap())
}

#[test]
fn sessions_under_way_go_on_while_every_pool_changes_its_span() {
    let gguf = model();
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let mut pools = HELD.map(|held| pool(&gguf, held));
        let mut runs: Vec<Run> = (0..6)
            .map(|_| {
                let prompt = (0..1 + rng.below(100)).map(|_| rng.below(VOCAB) as u32).collect();
                Run::of(prompt, &mut rng)
            })
            .collect();
        let mut splits = Vec::new();
        for session in 0..runs.len() {
            let split = SPLITS[rng.below(3)];
            for (pool, blocks) in pools.iter_mut().zip(split) {
                pool.open(config(session, range(blocks))).unwrap();
            }
            splits.push(split);
        }
        play(&mut pools, &mut runs, 3, &mut rng);
        // Some sessions find their blocks in the new spans, some do not.
        let moved = [(1, 3), (2, 4), (0, 3)];
        for (pool, blocks) in pools.iter_mut().zip(moved) {
            pool.adopt(span(&gguf, blocks));
            if rng.below(2) == 0 {
                pool.retire();
            }
        }
        runs.iter_mut().for_each(Run::go_on);
        play(&mut pools, &mut runs, 6, &mut rng);
        for (session, run) in runs.iter().enumerate() {
            assert_eq!(run.lists, alone(&gguf, &run.prompt, 6), "seed {seed}, session {session}");
        }
        for (at, (pool, new)) in pools.iter_mut().zip(moved).enumerate() {
            pool.retire();
            let stays = splits.iter().any(|split| !range(new).covers(&range(split[at])));
            assert_eq!(pool.spans().loaded().0, 1 + usize::from(stays), "seed {seed}, pool {at}");
            (0..runs.len()).for_each(|session| pool.close(id(session)));
            assert_eq!(pool.spans().loaded(), (1, span(&gguf, new).weight_bytes()), "seed {seed}, pool {at}");
        }
    }
}

#[test]
fn an_earlier_span_takes_sessions_until_it_is_retired() {
    let gguf = model();
    let (old, new) = (span(&gguf, (0, 2)), span(&gguf, (1, 4)));
    let both = old.weight_bytes_beyond(new.blocks()) + new.weight_bytes();
    let mut pool = pool(&gguf, (0, 2));
    assert_eq!(pool.spans().loaded(), (1, old.weight_bytes()));
    pool.adopt(new.clone());
    assert!(both < old.weight_bytes() + new.weight_bytes(), "a block of both counts once");
    assert_eq!(pool.spans().loaded(), (2, both));
    let of = |pool: &Pool, blocks| pool.spans().of(range(blocks)).map(|span| span.blocks());
    assert_eq!(of(&pool, (1, 2)), Some(range((1, 4))));
    assert_eq!(of(&pool, (0, 1)), Some(range((0, 2))));
    assert_eq!(of(&pool, (0, 3)), None, "no session runs on two spans");
    pool.open(config(0, range((0, 1)))).unwrap();
    pool.retire();
    assert_eq!((of(&pool, (0, 1)), of(&pool, (3, 4))), (None, Some(range((1, 4)))));
    assert_eq!(pool.spans().loaded(), (2, both), "a session still runs on it");
    pool.arrive(id(0), arrival(tokens(0, &[3, 4], false))).unwrap();
    assert_eq!(pool.pass().remove(0).result.unwrap()[0].frame.rows, 2);
    pool.close(id(0));
    assert_eq!(pool.spans().loaded(), (1, new.weight_bytes()));
}

#[test]
fn a_span_that_is_unloaded_serves_the_same_blocks_when_it_comes_back() {
    let gguf = model();
    let mut pool = pool(&gguf, (0, 2));
    pool.open(config(0, range((0, 2)))).unwrap();
    pool.unload();
    assert_eq!(pool.spans().loaded().0, 1, "the session that runs keeps it");
    pool.arrive(id(0), arrival(tokens(0, &[3, 4], false))).unwrap();
    let before = pool.pass().remove(0).result.unwrap()[0].frame.payload.clone();
    assert!(pool.open(config(1, range((0, 2)))).unwrap_err().contains("not loaded"));
    pool.close(id(0));
    assert_eq!((pool.spans().loaded(), pool.spans().blocks()), ((0, 0), range((0, 2))));
    assert!(pool.spans().served().is_none() && pool.spans().of(range((0, 1))).is_none());
    pool.adopt(span(&gguf, (0, 2)));
    assert_eq!(pool.spans().loaded().0, 1);
    pool.open(config(1, range((0, 2)))).unwrap();
    pool.arrive(id(1), arrival(tokens(0, &[3, 4], false))).unwrap();
    assert_eq!(pool.pass().remove(0).result.unwrap()[0].frame.payload, before);
}
