//! Small networks: everybody publishes, everybody is found, whoever goes away or lies.
#![allow(clippy::unwrap_used, reason = "a test")]

mod net;

use net::*;
use skep_directory::{BURST, Directory, Effect, Input, Message, PUBLISH_MS, RENEW_MS, Shard, THERE_MAX};
use skep_types::{ModelId, NodeId};

/// The directories of the only shard, the highest first.
fn keepers(net: &Net) -> Vec<NodeId> {
    let shard = Shard::at(MODEL, 0, 0);
    let roll = net.members[&node(0)].directory().unwrap().roll();
    roll.highest(&shard, 3).iter().map(|record| record.statement.node).collect()
}

#[test]
fn a_node_alone_finds_itself() {
    let mut net = Net::new(1);
    assert!(net.members[&node(0)].is_published());
    // How many there are it says when all have had the time to publish.
    let (offers, servers) = net.find(0, 1);
    assert_eq!((offers.len(), servers), (1, 0));
    net.pass(PUBLISH_MS);
    let (offers, servers) = net.find(0, 1);
    assert_eq!((offers.len(), servers), (1, 1));
}

#[test]
fn up_to_32_nodes_everyone_keeps_a_directory_and_knows_all_others() {
    let mut net = Net::new(32);
    net.pass(200_000);
    for member in net.members.values() {
        assert_eq!(member.directory().unwrap().roll().len(), 32);
        assert!(member.is_published());
    }
    let holding = net.members.values().filter(|member| member.directory().unwrap().held() > 0).count();
    assert_eq!(holding, 3);
    let (offers, servers) = net.find(7, 1);
    assert_eq!((offers.len(), servers, Net::covered(&offers)), (32, 32, 8));
}

/// The last nodes to come have met nodes that keep no directory, and those that kept the only shard when the network was small have
/// stepped down.
#[test]
fn in_a_larger_network_most_nodes_keep_none() {
    let mut net = Net::new(120);
    for ticket in 0..25 {
        // Every search finds everything while directories step down and others take their place.
        assert_eq!(Net::covered(&net.find(100, ticket).0), 8, "search {ticket}");
    }
    // The last to take a shard over says in its next record what it keeps, and the last to give one up that it keeps nothing.
    net.pass(2 * RENEW_MS);
    let published = net.members.values().filter(|member| member.is_published()).count();
    assert_eq!(published, 120);
    let directories: Vec<&Directory> = net.members.values().filter_map(|member| member.directory()).collect();
    assert!((16..=70).contains(&directories.len()), "{}", directories.len());
    let held: Vec<usize> = directories.iter().map(|directory| directory.held()).filter(|held| *held > 0).collect();
    assert_eq!(held, [120; 3]);
    let sizes: Vec<u32> = directories.iter().map(|directory| directory.size()).collect();
    assert!(sizes.iter().all(|size| *size == 120), "{sizes:?} {held:?}");
}

#[test]
fn a_node_without_a_directory_names_the_volunteers_it_knows_and_bears_a_flood() {
    let mut net = Net::new(120);
    net.pass(60_000);
    let asked = *net.members.iter().find(|(_, member)| member.directory().is_none()).unwrap().0;
    let shard = Shard::at(ModelId([1; 32]), 0, 0);
    let input = || Input::Message { from: node(500), message: Message::Who { shard } };
    let now_ms = net.now_ms;
    let mut ask = || net.members.get_mut(&asked).unwrap().step(now_ms, input(), &Toy(asked));
    let Some(Effect::Send { to, message: Message::There { volunteers, .. } }) = ask().pop() else { panic!() };
    assert_eq!((to, volunteers.len()), (node(500), THERE_MAX));
    let answered = (0..1000).filter(|_| !ask().is_empty()).count();
    assert_eq!(answered, BURST as usize - 1);
    for record in volunteers {
        assert!(record.verify(now_ms / 1000, &Toy(asked)).is_ok());
    }
}

#[test]
fn what_one_directory_omits_the_other_tells() {
    let mut net = Net::new(12);
    net.pass(60_000);
    for (ticket, liar) in keepers(&net).into_iter().enumerate() {
        net.silent = vec![liar];
        assert_eq!(net.find(5, ticket as u64).0.len(), 12);
    }
    net.silent = keepers(&net)[..2].to_vec();
    assert_eq!(net.find(5, 9).0.len(), 12, "the third is asked when two cover nothing");
    net.silent = keepers(&net);
    assert_eq!(net.find(5, 10).0.len(), 0);
}

#[test]
fn a_look_shows_what_two_directories_agree_on() {
    let mut net = Net::new(12);
    net.pass(60_000);
    let look = |net: &mut Net| {
        net.step(node(5), Input::Look);
        net.pass(3_000);
        net.members.get_mut(&node(5)).unwrap().take_view()
    };
    assert_eq!(look(&mut net).unwrap().len(), 12);
    assert_eq!(net.members[&node(5)].slowest(), 100);
    assert_eq!(net.members.get_mut(&node(5)).unwrap().take_view(), None, "once");
    // One directory that names nobody is believed: what is not named is not counted on.
    net.blind = keepers(&net)[..1].to_vec();
    assert_eq!(look(&mut net).unwrap().len(), 0);
    // One that does not answer is not waited for.
    net.blind.clear();
    net.dead = keepers(&net)[..1].to_vec();
    let alive = look(&mut net).unwrap().len();
    assert!((11..=12).contains(&alive), "{alive}");
}

#[test]
fn the_next_in_rank_takes_the_place_of_directories_that_died() {
    let mut net = Net::new(12);
    net.pass(60_000);
    net.dead = keepers(&net);
    let gateway = (0..12).find(|id| !net.dead.contains(&node(*id))).unwrap();
    net.pass(300_000);
    let (offers, _) = net.find(gateway, 1);
    assert_eq!(offers.len(), 9);
    assert!(offers.iter().all(|offer| !net.dead.contains(&offer.statement.node)));
}

#[test]
fn who_leaves_is_gone_at_once_and_who_vanishes_within_a_minute() {
    let mut net = Net::new(6);
    net.pass(60_000);
    net.step(node(2), Input::Serve(None));
    let of = |offers: &[skep_types::signed::Signed<skep_types::offer::Offer>], id| {
        offers.iter().any(|offer| offer.statement.node == node(id))
    };
    assert!(!of(&net.find(5, 1).0, 2));
    let keepers = keepers(&net);
    let gone = (0..6).find(|id| *id != 2 && *id != 5 && !keepers.contains(&node(*id))).unwrap_or(1);
    net.dead = vec![node(gone)];
    net.pass(80_000);
    assert!(!of(&net.find(5, 2).0, gone));
}
