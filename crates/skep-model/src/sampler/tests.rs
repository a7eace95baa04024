use super::*;
use proptest::prelude::*;

fn ids(candidates: &[Candidate]) -> Vec<u32> {
    candidates.iter().map(|candidate| candidate.id).collect()
}

#[test]
fn candidates_are_ordered_and_ties_go_to_the_lowest_id() {
    let logits = [1.0, 3.0, 3.0, -2.0, -0.0, 0.0];
    assert_eq!(ids(&top_candidates(&logits, 0).unwrap()), [1, 2, 0, 4, 5, 3]);
    assert_eq!(ids(&top_candidates(&logits, 1).unwrap()), [1]);
    assert_eq!(ids(&top_candidates(&logits, 5).unwrap()), [1, 2, 0, 4, 5]);
    assert_eq!(top_candidates(&logits, 99).unwrap().len(), 6);
    let error = top_candidates(&[0.0, f32::NAN], 1).unwrap_err().to_string();
    assert_eq!(error, "non-finite value in the logit of token 1");
    assert!(top_candidates(&[], 3).unwrap().is_empty());
}

fn draw(params: SamplingParams, logits: &[f32], history: &[u32]) -> u32 {
    params.draw(history.len() as u64, &top_candidates(logits, 0).unwrap(), history).unwrap()
}

#[test]
fn penalties_follow_the_published_rules() {
    let greedy = SamplingParams::greedy();
    assert_eq!(draw(greedy, &[2.0, 3.0, 2.5], &[1]), 1);
    // 3 / 1.5 = 2 is below 2.5.
    let repetition = SamplingParams { repetition_penalty: 1.5, ..greedy };
    assert_eq!(draw(repetition, &[2.0, 3.0, 2.5], &[1]), 2);
    // -1 · 1.5 is below -1.2.
    assert_eq!(draw(repetition, &[-1.0, -1.2], &[0]), 1);
    // The window has left the first token behind.
    let short = SamplingParams { repetition_window: 1, ..repetition };
    assert_eq!(draw(short, &[2.0, 3.0, 2.5], &[1, 0]), 1);
    assert_eq!(draw(SamplingParams { repetition_window: 0, ..repetition }, &[2.0, 3.0], &[1]), 1);
    // Presence counts once, frequency each time.
    let presence = SamplingParams { presence_penalty: 0.6, ..greedy };
    assert_eq!(draw(presence, &[3.0, 2.0], &[0, 0]), 0);
    let frequency = SamplingParams { frequency_penalty: 0.6, ..greedy };
    assert_eq!(draw(frequency, &[3.0, 2.0], &[0]), 0);
    assert_eq!(draw(frequency, &[3.0, 2.0], &[0, 0]), 1);
}

/// How often each token is drawn over many positions.
fn shares(params: SamplingParams, logits: &[f32]) -> Vec<f64> {
    let candidates = top_candidates(logits, 0).unwrap();
    let mut counts = vec![0.0; logits.len()];
    for position in 0..20_000 {
        counts[params.draw(position, &candidates, &[]).unwrap() as usize] += 1.0 / 20_000.0;
    }
    counts
}

#[test]
fn draws_follow_the_distribution() {
    // Probabilities 0.4, 0.3, 0.2, 0.1.
    let logits = [0.4f32, 0.3, 0.2, 0.1].map(f32::ln);
    let near = |params: SamplingParams, expected: [f64; 4]| {
        let found = shares(SamplingParams { seed: 7, ..params }, &logits);
        let close = found.iter().zip(expected).all(|(a, b)| if b == 0.0 { *a == 0.0 } else { (a - b).abs() < 0.015 });
        assert!(close, "{found:?} {expected:?}");
    };
    let all = SamplingParams::default();
    near(all, [0.4, 0.3, 0.2, 0.1]);
    near(SamplingParams { top_k: 2, ..all }, [0.4 / 0.7, 0.3 / 0.7, 0.0, 0.0]);
    near(SamplingParams { top_p: 0.65, ..all }, [0.4 / 0.7, 0.3 / 0.7, 0.0, 0.0]);
    near(SamplingParams { top_p: 0.0, ..all }, [1.0, 0.0, 0.0, 0.0]);
    near(SamplingParams { min_p: 0.45, ..all }, [0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9, 0.0]);
    near(SamplingParams { min_p: 1.0, ..all }, [1.0, 0.0, 0.0, 0.0]);
    near(SamplingParams { temperature: 0.5, ..all }, [16.0 / 30.0, 9.0 / 30.0, 4.0 / 30.0, 1.0 / 30.0]);
    near(SamplingParams { temperature: 1e-30, ..all }, [1.0, 0.0, 0.0, 0.0]);
}

/// These numbers are part of the protocol: two gateways with one seed must draw the same.
#[test]
fn the_random_numbers_are_golden() {
    let found: Vec<u64> = [(0, 0), (0, 1), (1, 0), (u64::MAX, u64::MAX)]
        .map(|(seed, position)| (uniform(seed, position) * (1u64 << 53) as f64) as u64)
        .into();
    assert_eq!(found, [8409057986772078, 7382022877391868, 6446131652707491, 657785208068626]);
}

#[test]
fn bad_options_are_named() {
    let base = SamplingParams::default();
    base.validate().unwrap();
    let refused = |params: SamplingParams| {
        let candidates = [Candidate { id: 0, logit: 0.0 }];
        let drawn = params.draw(0, &candidates, &[]).unwrap_err().to_string();
        assert_eq!(params.validate().unwrap_err().to_string(), drawn);
        drawn
    };
    assert_eq!(
        refused(SamplingParams { temperature: -1.0, ..base }),
        "option temperature is -1, but must be from 0 to 100"
    );
    assert!(refused(SamplingParams { temperature: f32::NAN, ..base }).starts_with("option temperature is NaN"));
    assert!(refused(SamplingParams { top_p: 1.5, ..base }).starts_with("option top_p"));
    assert!(refused(SamplingParams { min_p: -0.1, ..base }).starts_with("option min_p"));
    assert!(refused(SamplingParams { repetition_penalty: 0.0, ..base }).starts_with("option repetition_penalty"));
    assert!(refused(SamplingParams { presence_penalty: 3.0, ..base }).starts_with("option presence_penalty"));
    assert!(refused(SamplingParams { frequency_penalty: -3.0, ..base }).starts_with("option frequency_penalty"));
    assert_eq!(base.draw(0, &[], &[]).unwrap_err().to_string(), "there is no candidate to draw from");
    let infinite = [Candidate { id: 4, logit: f32::INFINITY }];
    assert!(matches!(base.draw(0, &infinite, &[]), Err(ModelError::NonFinite(_))));
}

fn params() -> impl Strategy<Value = SamplingParams> {
    let penalty = || prop_oneof![Just(0.0f32), -1.0f32..2.0];
    let repetition = prop_oneof![Just(1.0f32), 0.5f32..3.0];
    let temperature = prop_oneof![Just(0.0f32), 0.1f32..3.0];
    (temperature, 0u32..8, 0.0f32..=1.0, 0.0f32..0.5, repetition, 0u32..6, penalty(), penalty(), any::<u64>()).prop_map(
        |(temperature, top_k, top_p, min_p, repetition_penalty, repetition_window, presence, frequency, seed)| {
            SamplingParams {
                temperature,
                top_k,
                top_p,
                min_p,
                repetition_penalty,
                repetition_window,
                presence_penalty: presence,
                frequency_penalty: frequency,
                seed,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What the gateway asks of the last stage is enough: few candidates give the draw of the whole vocabulary.
    #[test]
    fn the_needed_candidates_give_the_draw_of_all(
        params in params(),
        // Coarse logits make ties.
        logits in proptest::collection::vec((-20i32..20).prop_map(|x| x as f32 * 0.25), 1..40),
        history in proptest::collection::vec(0u32..40, 0..12),
        position: u64,
    ) {
        let needed = params.candidates_needed(logits.len());
        prop_assert!((1..=logits.len()).contains(&needed));
        let all = top_candidates(&logits, 0).unwrap();
        let best = top_candidates(&logits, needed).unwrap();
        prop_assert_eq!(&all[..needed], &best[..]);
        prop_assert_eq!(params.draw(position, &best, &history).unwrap(), params.draw(position, &all, &history).unwrap());
    }

    #[test]
    fn the_order_of_candidates_does_not_matter(
        params in params(),
        logits in proptest::collection::vec(-5.0f32..5.0, 1..20),
        position: u64,
    ) {
        let mut candidates = top_candidates(&logits, 0).unwrap();
        let drawn = params.draw(position, &candidates, &[1, 2]).unwrap();
        candidates.reverse();
        prop_assert_eq!(params.draw(position, &candidates, &[1, 2]).unwrap(), drawn);
    }
}

#[test]
fn greedy_and_top_k_ask_for_few() {
    let greedy = SamplingParams::greedy();
    assert_eq!(greedy.candidates_needed(4096), 1);
    assert_eq!(SamplingParams { repetition_penalty: 1.1, ..greedy }.candidates_needed(4096), 65);
    assert_eq!(SamplingParams { repetition_penalty: 0.9, ..greedy }.candidates_needed(4096), 4096);
    assert_eq!(SamplingParams { top_k: 40, ..SamplingParams::default() }.candidates_needed(4096), 40);
    assert_eq!(SamplingParams::default().candidates_needed(4096), 4096);
    assert_eq!(SamplingParams { top_k: u32::MAX, ..SamplingParams::default() }.candidates_needed(10), 10);
}
