use super::*;
use skep_types::offer::Audience;

fn told(decode_us: u32, visit_us: u32) -> NodeFigures {
    NodeFigures {
        decode_ns: decode_us * 1000,
        prefill_ns: decode_us * 100,
        visit_us,
        wait_us: 0,
        goodput_kib_s: 0,
        room: 0,
        memory: 1 << 20,
        sessions: 0,
        price: 0,
        audience: Audience::Own,
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Numbers that look drawn.
fn draw(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

/// Six nodes of four blocks take part in chains of two. Node 5 tells that a visit takes 1 ms, reports as much, and takes 40.
fn after_answers(count: usize, seed: u64) -> Vec<Appraisal> {
    let now = Instant::now();
    let mut nodes = vec![Appraisal::default(); 6];
    nodes.iter_mut().for_each(|node| node.tell(told(250, 1000)));
    let mut state = seed;
    for _ in 0..count {
        let first = draw(&mut state, 6);
        let second = (first + 1 + draw(&mut state, 5)) % 6;
        let honest = Held { hold: ms(2), blocks: 4 };
        let slow = if first == 5 || second == 5 { ms(40) } else { Duration::ZERO };
        let (low, high) = (first.min(second), first.max(second));
        let (left, right) = nodes.split_at_mut(high);
        let mut chain = [(&mut left[low], honest, false), (&mut right[0], honest, false)];
        compare(now, ms(2) * 2 + ms(9) + slow + SLACK * 3, ms(9), &mut chain);
    }
    nodes
}

#[test]
fn who_takes_longer_than_it_says_is_found_out_by_the_chains_it_is_in() {
    for seed in 0..50 {
        let nodes = after_answers(120, seed);
        let visit = |node: &Appraisal| node.figures(Instant::now(), None, 0, 4).visit.unwrap();
        assert!(visit(&nodes[5]) > ms(35), "seed {seed}: {:?}", visit(&nodes[5]));
        for honest in &nodes[..5] {
            assert!(visit(honest) < ms(4), "seed {seed}: {:?}", visit(honest));
        }
    }
}

#[test]
fn one_answer_is_enough_to_make_a_liar_dearer_than_its_word() {
    let now = Instant::now();
    let mut liar = Appraisal::default();
    liar.tell(told(1, 1));
    compare(now, ms(50), ms(5), &mut [(&mut liar, Held { hold: ms(1), blocks: 2 }, false)]);
    let figures = liar.figures(now, None, 0, 2);
    let lap = figures.visit.unwrap() + figures.decode_block.unwrap() * 2 + ms(5);
    assert!(lap > ms(46) && lap < ms(50), "{lap:?}");
}

#[test]
fn who_lets_answers_stand_still_is_tried_ever_more_rarely_until_one_goes_well() {
    let now = Instant::now();
    let mut silent = Appraisal::default();
    silent.tell(told(1, 1));
    let visit = |node: &Appraisal, at| node.figures(at, None, 0, 2).visit.unwrap();
    silent.failed(now, ms(2000));
    assert!(visit(&silent, now) > ms(31) && visit(&silent, now) < ms(32));
    let later = |minutes: u64| now + Duration::from_secs(60 * minutes);
    let early = visit(&silent, later(4));
    assert!(early < ms(2));
    silent.failed(later(4), ms(2000));
    // As early as that only three minutes later than the last time.
    assert!(visit(&silent, later(8)) > 7 * early && visit(&silent, later(11)) < early + ms(1));
    for _ in 0..9 {
        silent.failed(later(12), ms(2000));
    }
    assert!(visit(&silent, later(12)) <= Duration::from_secs(60));
    compare(later(13), ms(3), ms(2), &mut [(&mut silent, Held { hold: ms(1), blocks: 2 }, false)]);
    assert!(visit(&silent, later(13)) < ms(2), "it answers now");
    silent.failed(later(13), ms(2000));
    assert!(visit(&silent, later(13)) < ms(40));
    // Who tells nothing and was never seen at work is no better for it.
    let mut unknown = Appraisal::default();
    assert_eq!(unknown.figures(now, None, 0, 2).visit, None);
    unknown.failed(now, ms(2000));
    assert!(visit(&unknown, now) > visit(&silent, later(13)));
}

#[test]
fn what_a_node_admits_to_is_charged_to_it_alone() {
    let now = Instant::now();
    let (mut slow, mut quick) = (Appraisal::default(), Appraisal::default());
    slow.tell(told(250, 1000));
    quick.tell(told(250, 1000));
    for _ in 0..10 {
        let (held, honest) = (Held { hold: ms(22), blocks: 4 }, Held { hold: ms(2), blocks: 4 });
        compare(now, ms(24), Duration::ZERO, &mut [(&mut slow, held, false), (&mut quick, honest, false)]);
    }
    assert!((slow.correction_us(now) - 20_000.0).abs() < 100.0, "{}", slow.correction_us(now));
    assert_eq!(quick.correction_us(now), 0.0);
}

#[test]
fn corrections_are_forgotten_by_halves() {
    let now = Instant::now();
    let mut node = Appraisal::default();
    node.tell(told(1, 1));
    compare(now, ms(50), ms(5), &mut [(&mut node, Held { hold: ms(1), blocks: 2 }, false)]);
    let before = node.correction_us(now);
    let later = node.correction_us(now + HALF_LIFE);
    assert!((later - before / 2.0).abs() < 1.0, "{before} {later}");
}

#[test]
fn a_node_that_tells_nothing_is_taken_by_what_it_held() {
    let now = Instant::now();
    let mut node = Appraisal::default();
    assert_eq!(node.figures(now, Some(ms(3)), 1, 4), Figures { delay: Some(ms(3)), ..Figures::default() });
    compare(now, ms(12), Duration::ZERO, &mut [(&mut node, Held { hold: ms(8), blocks: 4 }, false)]);
    let figures = node.figures(now, None, 0, 4);
    assert_eq!((figures.decode_block, figures.visit, figures.wait), (Some(ms(2)), Some(ms(2)), Some(Duration::ZERO)));
}

#[test]
fn sessions_under_way_lengthen_the_wait() {
    let mut node = Appraisal::default();
    node.tell(told(250, 1000));
    let wait = |sessions| node.figures(Instant::now(), None, sessions, 4).wait.unwrap();
    assert_eq!([wait(0), wait(1), wait(3)], [ms(0), ms(1), ms(3)]);
}

#[test]
fn the_gateway_does_not_charge_its_own_machine() {
    let now = Instant::now();
    let mut own = Appraisal::default();
    own.tell(told(250, 1000));
    compare(now, ms(50), Duration::ZERO, &mut [(&mut own, Held { hold: ms(2), blocks: 4 }, true)]);
    assert_eq!(own.correction_us(now), 0.0);
}
