//! One directory and whatever is sent to it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod net;

use net::*;
use proptest::prelude::*;
use skep_directory::*;
use skep_types::ModelId;
use skep_types::offer::{OFFER_ADDRS_MAX, Volunteer};
use skep_types::signed::{Keys, Signed};

const NOW_S: u64 = START_MS / 1000;

fn publish(offer: Signed<skep_types::offer::Offer>) -> Message {
    Message::Publish { depth: 0, offer: Box::new(offer) }
}

fn refusal(answer: Option<Message>) -> Refusal {
    match answer {
        Some(Message::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bad_offers_are_refused_with_the_reason() {
    let mut lone = Lone::new();
    let good = offer(1, MODEL, 5, NOW_S + 60);
    // From a shelf that was just put up nothing follows about the number of servers.
    assert!(matches!(lone.ask(1, START_MS, publish(good.clone())), Some(Message::Kept { servers: 0, .. })));
    assert_eq!(refusal(lone.ask(1, START_MS, publish(good.clone()))), Refusal::Replayed);
    assert_eq!(refusal(lone.ask(1, START_MS, publish(offer(1, MODEL, 4, NOW_S + 60)))), Refusal::Replayed);
    assert_eq!(refusal(lone.ask(2, START_MS, publish(good.clone()))), Refusal::NotYours);
    let reason = |answer| refusal(answer).to_string();
    let said = reason(lone.ask(1, START_MS, publish(offer(1, MODEL, 6, NOW_S))));
    assert!(said.contains("expired"), "{said}");
    let said = reason(lone.ask(1, START_MS, publish(offer(1, MODEL, 6, NOW_S + 600))));
    assert!(said.contains("later than"), "{said}");
    let mut forged = offer(1, MODEL, 6, NOW_S + 60);
    forged.statement.terms.price = 0;
    let said = reason(lone.ask(1, START_MS, publish(forged)));
    assert!(said.contains("signature"), "{said}");
    let mut long = offer(1, MODEL, 6, NOW_S + 60);
    long.statement.addrs = vec!["127.0.0.1:1".parse().unwrap(); OFFER_ADDRS_MAX + 1];
    long.signature = Toy(node(1)).sign(b"anything");
    let said = reason(lone.ask(1, START_MS, publish(long)));
    assert!(said.contains("too many addresses"), "{said}");
    // None of them has done harm.
    assert_eq!(lone.0.directory().unwrap().held(), 1);
    let next = publish(offer(1, MODEL, 6, NOW_S + 60));
    assert!(matches!(lone.ask(1, START_MS + PUBLISH_MS, next), Some(Message::Kept { servers: 1, .. })));
}

#[test]
fn one_node_keeps_few_offers_and_a_flood_is_not_answered() {
    let mut lone = Lone::new();
    let model = |id: u8| ModelId([id; 32]);
    for id in 0..OFFERS_PER_NODE {
        assert!(matches!(
            lone.ask(1, START_MS, publish(offer(1, model(id), 1, NOW_S + 60))),
            Some(Message::Kept { .. })
        ));
    }
    assert_eq!(refusal(lone.ask(1, START_MS, publish(offer(1, model(99), 1, NOW_S + 60)))), Refusal::TooMany);
    let who = || Message::Who { shard: Shard::at(MODEL, 0, 0) };
    let answered = (0..1000).filter(|_| lone.ask(1, START_MS, who()).is_some()).count();
    assert_eq!(answered, BURST as usize - usize::from(OFFERS_PER_NODE) - 1);
    assert!(lone.ask(2, START_MS, who()).is_some());
}

#[test]
fn ten_thousand_keys_fill_one_shard_and_no_more() {
    let mut lone = Lone::new();
    let mut points: Vec<u64> = Vec::new();
    let mut crowded = 0;
    for id in 1..=10_000 {
        points.push(Shard::point(&MODEL, &node(id)));
        match lone.ask(id, START_MS, publish(offer(id, MODEL, 1, NOW_S + 60))) {
            Some(Message::Kept { .. }) => {}
            answer => crowded += usize::from(refusal(answer) == Refusal::Crowded),
        }
    }
    let directory = lone.0.directory().unwrap();
    assert_eq!(directory.held(), SHELF_MAX);
    assert!(crowded > 5_000, "{crowded}");
    points.sort_unstable();
    // Those with the lowest points are there, and the number of all is known from them.
    let find = Message::Find { shard: Shard::at(MODEL, 0, 0), blocks: blocks(0, 4), salt: 1, near: FAR };
    let found = lone.ask(20_000, START_MS + PUBLISH_MS, find);
    let Some(Message::Found { servers, offers, .. }) = found else { panic!() };
    assert!((9_000..11_000).contains(&servers), "{servers}");
    assert_eq!(offers.len(), OFFERS_MAX);
    assert!(offers.iter().all(|offer| Shard::point(&MODEL, &offer.statement.node) <= points[SHELF_MAX - 1]));
}

#[test]
fn claims_of_speed_fill_at_most_half_of_an_answer() {
    let mut lone = Lone::new();
    for id in 1..=400 {
        let mut claim = offer(id, MODEL, 1, NOW_S + 60).statement;
        // One in ten claims to be a hundred times as fast as the others.
        claim.terms.decode_ns = if id % 10 == 0 { 10_000 } else { 1_000_000 };
        lone.ask(id, START_MS, publish(Signed::sign(claim, &Toy(node(id))).unwrap()));
    }
    let find = Message::Find { shard: Shard::at(MODEL, 0, 0), blocks: blocks(0, 4), salt: 3, near: FAR };
    let found = lone.ask(999, START_MS, find);
    let Some(Message::Found { offers, .. }) = found else { panic!() };
    let fast = offers.iter().filter(|offer| offer.statement.terms.decode_ns == 10_000).count();
    assert!((OFFERS_MAX / 2..=OFFERS_MAX * 3 / 4).contains(&fast), "{fast} of {}", offers.len());
}

#[test]
fn half_of_an_answer_is_near_the_asker() {
    let mut lone = Lone::new();
    for id in 1..=400 {
        let mut claim = offer(id, MODEL, 1, NOW_S + 60).statement;
        // All as fast, and one in ten within two milliseconds of the asker.
        claim.terms.beacons =
            if id % 10 == 0 { [300, 120, 90, 80, 70, 60, 50, 40] } else { [300, 500, 90, 80, 70, 60, 50, 40] };
        lone.ask(id, START_MS, publish(Signed::sign(claim, &Toy(node(id))).unwrap()));
    }
    let near = [u16::MAX, 140, u16::MAX, 70, 70, 70, 50, 50];
    let found =
        lone.ask(999, START_MS, Message::Find { shard: Shard::at(MODEL, 0, 0), blocks: blocks(0, 4), salt: 3, near });
    let Some(Message::Found { offers, .. }) = found else { panic!() };
    let close = offers.iter().filter(|offer| offer.statement.terms.beacons[1] == 120).count();
    assert!((OFFERS_MAX / 2..=OFFERS_MAX * 3 / 4).contains(&close), "{close} of {}", offers.len());
}

#[test]
fn a_directory_says_how_slow_the_slowest_block_is_and_lists_all_in_short() {
    let mut lone = Lone::new();
    let mut keep = |id: u32, now_ms: u64, span| {
        let mut claim = offer(id, MODEL, now_ms, now_ms / 1000 + 60).statement;
        claim.terms.blocks = span;
        let answer = lone.ask(id, now_ms, publish(Signed::sign(claim, &Toy(node(id))).unwrap()));
        let Some(Message::Kept { slowest, .. }) = answer else { panic!("{answer:?}") };
        slowest
    };
    assert_eq!(keep(1, START_MS, blocks(0, 4)), 100);
    // Blocks 0 and 1 have three times the supply of the others.
    assert_eq!(keep(2, START_MS + 10_000, blocks(0, 2)), 50);
    assert_eq!(keep(1, START_MS + 20_000, blocks(0, 2)), 0, "it is remembered that there were four blocks");
    let shard = Shard::at(MODEL, 0, 0);
    let Some(Message::Spans { mut spans, .. }) = lone.ask(9, START_MS + 20_000, Message::Look { shard }) else {
        panic!()
    };
    spans.sort_unstable_by_key(|span| span.point != Shard::point(&MODEL, &node(1)));
    let told = |span: &Span| (span.point, span.start, span.end, span.decode_ns);
    assert_eq!(told(&spans[0]), (Shard::point(&MODEL, &node(1)), 0, 2, 1_000_000));
    assert_eq!(told(&spans[1]), (Shard::point(&MODEL, &node(2)), 0, 2, 1_000_000));
    assert_eq!(spans.len(), 2);
    let elsewhere = Shard::at(MODEL, 1, 0);
    let none = lone.ask(9, START_MS + 20_000, Message::Look { shard: elsewhere });
    assert!(matches!(none, Some(Message::Spans { spans, .. }) if spans.is_empty()));
}

#[test]
fn a_volunteer_speaks_for_itself_only() {
    let mut lone = Lone::new();
    let record = |id: u32, by: u32| {
        let statement = Volunteer { node: node(id), seq: 1, expires: NOW_S + 100, held: 1, addrs: Vec::new() };
        Message::Here { record: Signed::sign(statement, &Toy(node(by))).unwrap() }
    };
    lone.ask(1, START_MS, record(2, 2));
    lone.ask(1, START_MS, record(1, 2));
    assert_eq!(lone.0.directory().unwrap().roll().len(), 1);
    lone.ask(1, START_MS, record(1, 1));
    assert_eq!(lone.0.directory().unwrap().roll().len(), 2);
    // Marks and a page that nobody asked for are not read.
    let Message::Here { record } = record(3, 3) else { panic!() };
    assert_eq!(lone.ask(3, START_MS, Message::Marks { until: 9, marks: vec![Mark { key: 1, second: 1 }] }), None);
    assert_eq!(lone.ask(3, START_MS, Message::Page { records: vec![record] }), None);
    assert_eq!(lone.0.directory().unwrap().roll().len(), 2);
}

#[test]
fn a_list_is_told_in_short_from_where_the_asker_left_off() {
    let mut lone = Lone::new();
    let here = |id: u32, seq: u64| {
        let statement = Volunteer { node: node(id), seq, expires: NOW_S + 100, held: 1, addrs: Vec::new() };
        Message::Here { record: Signed::sign(statement, &Toy(node(id))).unwrap() }
    };
    let told = |lone: &mut Lone, since| match lone.ask(9, START_MS, Message::Roll { since }) {
        Some(Message::Marks { until, marks }) => (until, marks),
        other => panic!("{other:?}"),
    };
    lone.ask(1, START_MS, here(1, 5_000));
    let (first, marks) = told(&mut lone, 0);
    assert_eq!((marks.len(), marks[1].second), (2, 5), "the directory itself and one other");
    assert_eq!(told(&mut lone, first), (first, vec![]));
    lone.ask(2, START_MS, here(2, 7_000));
    lone.ask(1, START_MS, here(1, (1 << 16) * 1000 + 9_000));
    let (second, news) = told(&mut lone, first);
    assert_eq!(
        news.iter().map(|mark| mark.second).collect::<Vec<_>>(),
        [7, 9],
        "the oldest news first, newer records too"
    );
    assert!(second > first && news[1].key == marks[1].key);
    // Who asks from a number of another life of this directory is told everything that is new to it, and where to go on.
    assert_eq!(told(&mut lone, u64::MAX), (second, vec![]));
    let keys = vec![news[0].key, 77];
    let Some(Message::Page { records }) = lone.ask(9, START_MS, Message::Want { keys }) else { panic!() };
    assert_eq!(records.iter().map(|record| record.statement.node).collect::<Vec<_>>(), [node(2)], "nobody has key 77");
    // Lists that are too long are not answered.
    assert_eq!(lone.ask(9, START_MS, Message::Want { keys: vec![1; PAGE_RECORDS + 1] }), None);
    let long = Message::Marks { until: 1, marks: vec![Mark { key: 1, second: 1 }; MARKS_MAX + 1] };
    assert!(!long.is_valid() && borsh::to_vec(&long).unwrap().len() < MESSAGE_BYTES_MAX);
}

#[test]
fn messages_have_these_bytes() {
    let hex =
        |message: &Message| borsh::to_vec(message).unwrap().iter().map(|b| format!("{b:02x}")).collect::<String>();
    let shard = Shard { model: ModelId([2; 32]), depth: 3, prefix: 5 };
    let shard_hex = "02".repeat(32) + "03" + "05000000";
    assert_eq!(hex(&Message::Who { shard }), "00".to_owned() + &shard_hex);
    let kept = Message::Kept { shard, servers: 700, size: 1000, slowest: 75 };
    assert_eq!(hex(&kept), "03".to_owned() + &shard_hex + "bc020000" + "e8030000" + "4b");
    let refused = Message::Refused { shard, reason: Refusal::Crowded, servers: 1 };
    assert_eq!(hex(&refused), "04".to_owned() + &shard_hex + "03" + "01000000");
    assert_eq!(hex(&Message::Leave { model: shard.model }), "05".to_owned() + &"02".repeat(32));
    let find = Message::Find { shard, blocks: blocks(1, 9), salt: 7, near: [258; 8] };
    assert_eq!(hex(&find), "06".to_owned() + &shard_hex + "0100000009000000" + "0700000000000000" + &"0201".repeat(8));
    let found = Message::Found { shard, servers: 1, size: 2, offers: Vec::new() };
    assert_eq!(hex(&found), "07".to_owned() + &shard_hex + "01000000" + "02000000" + "00000000");
    assert_eq!(hex(&Message::Roll { since: 258 }), "090201000000000000");
    assert_eq!(hex(&Message::Page { records: Vec::new() }), "0a00000000");
    let marks = vec![Mark { key: 7, second: 258 }];
    let marks_hex = "0d".to_owned() + "0900000000000000" + "01000000" + "0700000000000000" + "0201";
    assert_eq!(hex(&Message::Marks { until: 9, marks }), marks_hex);
    assert_eq!(hex(&Message::Want { keys: vec![1, 2] }), "0e020000000100000000000000".to_owned() + "0200000000000000");
    // The question that asked from a key, as it once was.
    assert!(borsh::from_slice::<Message>(&[vec![9], vec![1; 32]].concat()).is_err());
    assert_eq!(hex(&Message::Look { shard }), "0b".to_owned() + &shard_hex);
    let spans = vec![Span { point: 7, start: 4, end: 8, decode_ns: 9 }];
    let spans_hex = "01000000".to_owned() + "0700000000000000" + "0400" + "0800" + "09000000";
    assert_eq!(hex(&Message::Spans { shard, spans }), "0c".to_owned() + &shard_hex + &spans_hex);
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..300), id in 1u32..9) {
        if let Ok(message) = borsh::from_slice::<Message>(&bytes) {
            prop_assert_eq!(&borsh::to_vec(&message).unwrap(), &bytes);
            Lone::new().ask(id, START_MS, message);
        }
    }

    #[test]
    fn any_shard_is_answered_or_ignored(kind in 0u8..10, depth: u8, prefix: u32, model: [u8; 32], salt: u64) {
        let shard = Shard { model: ModelId(model), depth, prefix };
        let message = match kind {
            0 => Message::Who { shard },
            1 => Message::Find { shard, blocks: blocks(0, u32::MAX), salt, near: [kind.into(); 8] },
            2 => Message::Publish { depth, offer: Box::new(offer(1, shard.model, 1, NOW_S + 60)) },
            3 => Message::Found { shard, servers: prefix, size: prefix, offers: Vec::new() },
            4 => Message::Roll { since: salt },
            5 => Message::Marks { until: salt, marks: vec![Mark { key: salt, second: 1 }; usize::from(depth)] },
            6 => Message::Want { keys: vec![salt; usize::from(depth)] },
            _ => Message::Refused { shard, reason: Refusal::Crowded, servers: prefix },
        };
        Lone::new().ask(1, START_MS, message);
    }
}
