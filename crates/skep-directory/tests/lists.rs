//! How directories come to know each other: in a time and with a number of greetings that do not grow with how many they are.
#![allow(clippy::unwrap_used, reason = "a test")]

mod net;

use net::*;
use skep_directory::{Effect, Input, Mark, Message, RENEW_MS};
use skep_types::offer::{VOLUNTEER_LIFETIME_S, Volunteer};
use skep_types::signed::Signed;

/// Seconds until all know all.
fn seconds_to_know(net: &mut Net, all: usize) -> u64 {
    let begun_ms = net.now_ms;
    while net.least_known() < all {
        net.pass(1_000);
        assert!(net.now_ms < begun_ms + 120_000, "{} of {all}", net.least_known());
    }
    (net.now_ms - begun_ms) / 1000
}

#[test]
fn directories_that_start_at_once_know_each_other_within_a_minute_however_many_they_are() {
    for count in [40, 400] {
        let mut net = Net::of_directories(count);
        let seconds = seconds_to_know(&mut net, count as usize);
        assert!(seconds <= 45, "{count} directories need {seconds} s");
    }
}

#[test]
fn a_directory_greets_as_many_others_in_a_large_network_as_in_a_small_one() {
    for count in [40u32, 400] {
        let mut net = Net::of_directories(count);
        net.pass(120_000);
        (net.greetings, net.messages) = (0, 0);
        net.pass(2 * RENEW_MS);
        let each = |messages: usize| messages as f64 / f64::from(count) / 2.0;
        let (greetings, messages) = (each(net.greetings), each(net.messages));
        // Four with each record, one to each new partner.
        assert!((4.0..8.0).contains(&greetings), "{count} directories send {greetings} greetings a minute");
        // One question in two to four seconds, its answer, and the records.
        assert!(messages < 140.0, "{count} directories send {messages} messages a minute");
    }
}

#[test]
fn a_newcomer_is_known_to_all_and_the_dead_to_nobody_soon() {
    let mut net = Net::of_directories(60);
    net.pass(60_000);
    net.members.insert(node(60), skep_directory::Member::new(contact(60), true, 1, net.now_ms));
    net.step(node(60), Input::Meet(vec![contact(3)]));
    let seconds = seconds_to_know(&mut net, 61);
    assert!(seconds <= 30, "{seconds} s");
    net.dead = (0..20).map(node).collect();
    net.pass((VOLUNTEER_LIFETIME_S + 10) * 1000);
    let known = |id: u32| net.members[&node(id)].directory().unwrap().roll();
    for id in 20..=60 {
        assert_eq!(known(id).len(), 41);
        assert!((0..20).all(|dead| known(id).get(&node(dead)).is_none()));
    }
}

#[test]
fn who_hands_no_records_out_keeps_nobody_from_hearing_of_them() {
    let mut net = Net::of_directories(60);
    net.withholding = (0..12).map(node).collect();
    // What a liar was asked for in vain, another partner is asked for, or the next record is heard of.
    let seconds = seconds_to_know(&mut net, 60);
    assert!(seconds <= 100, "{seconds} s");
}

#[test]
fn what_a_partner_forges_is_not_taken() {
    let mut net = Net::of_directories(2);
    net.pass(10_000);
    let (me, now_ms) = (node(0), net.now_ms);
    let member = net.members.get_mut(&me).unwrap();
    let mut hear = |now_ms, message| member.step(now_ms, Input::Message { from: node(1), message }, &Toy(me));
    // The partner is asked again in some seconds; until then what it says is not awaited.
    let forged = |by: u32, seq: u64| {
        let statement = Volunteer { node: node(7), seq, expires: now_ms / 1000 + 100, held: 1, addrs: Vec::new() };
        Signed::sign(statement, &Toy(node(by))).unwrap()
    };
    let asked_at = (0..300).map(|tenths| now_ms + tenths * 100).find(|now_ms| {
        let roll = |effect: &Effect| matches!(effect, Effect::Send { message: Message::Roll { .. }, .. });
        hear(*now_ms, Message::Leave { model: MODEL }).iter().any(roll)
    });
    let asked_at = asked_at.unwrap();
    let marks = vec![Mark { key: 5, second: 1 }];
    let wanted = hear(asked_at, Message::Marks { until: 1, marks });
    let want = Effect::Send { to: node(1), message: Message::Want { keys: vec![5] } };
    assert!(wanted.contains(&want), "{wanted:?}");
    hear(asked_at, Message::Page { records: vec![forged(1, 1), forged(7, 1)] });
    let known = net.members[&me].directory().unwrap().roll();
    assert_eq!(known.len(), 3, "the one that its volunteer signed, and only that");
    assert_eq!(known.get(&node(7)), Some(&forged(7, 1)));
}
