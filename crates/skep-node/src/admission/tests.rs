use super::*;
use skep_net::{Net, NetConfig};
use skep_types::InviteTerms;
use std::fs;

const NOW: u64 = 1_800_000_000;

async fn gateway(key: u8) -> Net {
    Net::bind(NetConfig::new([key; 32], "127.0.0.1:0".parse().unwrap())).await.unwrap().0
}

fn node(number: u64) -> NodeId {
    let mut id = [0xaa; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    NodeId(id)
}

#[tokio::test]
async fn an_invite_lets_in_as_many_machines_as_it_says_and_knows_them_again() {
    let net = gateway(1).await;
    let door = Admission::by_invite(net.node_id(), net.node_id(), None).unwrap();
    let invite = net.invite(NOW + 60, 2);
    assert_eq!(door.admit(NOW, node(1), None), Err(Refusal::NoInvite));
    for _ in 0..3 {
        assert_eq!(door.admit(NOW, node(1), Some(&invite)), Ok(()));
    }
    assert_eq!(door.admit(NOW, node(2), Some(&invite)), Ok(()));
    let refusal = door.admit(NOW, node(3), Some(&invite)).unwrap_err();
    assert_eq!(refusal.to_string(), "the invite was for 2 machines, and as many have used it");
    // Whoever is known needs no invite any more, and another invite has uses of its own.
    assert_eq!(door.admit(NOW + 1000, node(1), None), Ok(()));
    assert_eq!(door.admit(NOW, node(3), Some(&net.invite(NOW + 60, 1))), Ok(()));
    assert!(Admission::open(net.node_id()).admit(NOW, node(9), None).is_ok());
}

#[tokio::test]
async fn forged_changed_expired_and_foreign_invites_let_nobody_in() {
    let (net, other) = (gateway(1).await, gateway(2).await);
    let door = Admission::by_invite(net.node_id(), net.node_id(), None).unwrap();
    let good = net.invite(NOW + 60, 1);
    let refused = |invite: &Invite, now| door.admit(now, node(1), Some(invite)).unwrap_err();
    assert_eq!(refused(&good, NOW + 60), Refusal::Expired { seconds: 0 });
    assert_eq!(refused(&good, NOW + 60 + 7200).to_string(), "the invite ended 2 hours ago by this gateway's clock");
    let foreign = other.invite(NOW + 60, 1);
    assert_eq!(refused(&foreign, NOW), Refusal::OtherNetwork { invite: other.node_id(), own: net.node_id() });
    let change = |change: &dyn Fn(&mut Invite)| {
        let mut invite = good.clone();
        change(&mut invite);
        invite
    };
    for forged in [
        change(&|invite| invite.terms.expires += 1),
        change(&|invite| invite.terms.uses += 1),
        change(&|invite| invite.terms.nonce[15] ^= 1),
        change(&|invite| invite.terms.gateways[0].addrs[0].set_port(1)),
        change(&|invite| invite.terms.gateways[0].addrs.clear()),
        change(&|invite| invite.by = Some(Box::new(other.delegate(net.node_id(), NOW + 60)))),
        change(&|invite| invite.signature[63] ^= 1),
        change(&|invite| invite.signature = [0; 64]),
        Invite {
            terms: InviteTerms {
                network: net.node_id(),
                gateways: good.terms.gateways.clone(),
                ..foreign.terms.clone()
            },
            ..foreign.clone()
        },
    ] {
        assert_eq!(refused(&forged, NOW), Refusal::Forged, "{forged:?}");
    }
    let elsewhere = net.invite_to(net.node_id(), None, Vec::new(), NOW + 60, 1);
    let keeper = Admission::by_invite(other.node_id(), net.node_id(), None).unwrap();
    assert_eq!(keeper.admit(NOW, node(1), Some(&elsewhere)), Err(Refusal::OtherDoor));
    assert_eq!(door.admit(NOW, node(1), Some(&good)), Ok(()));
}

#[tokio::test]
async fn an_invite_counts_at_each_door_that_it_names() {
    let (net, other) = (gateway(1).await, gateway(2).await);
    let by = net.delegate(other.node_id(), NOW + 60);
    let invite = other.invite_to(net.node_id(), Some(by), vec![net.peer()], NOW + 60, 1);
    for own in [&net, &other] {
        let door = Admission::by_invite(own.node_id(), net.node_id(), None).unwrap();
        assert_eq!(door.admit(NOW, node(1), Some(&invite)), Ok(()));
        assert_eq!(door.admit(NOW, node(2), Some(&invite)), Err(Refusal::UsedUp { machines: 1 }));
    }
    // Nobody else may make a doorkeeper.
    let by = other.delegate(other.node_id(), NOW + 60);
    let forged = other.invite_to(net.node_id(), Some(by), vec![net.peer()], NOW + 60, 1);
    let door = Admission::by_invite(net.node_id(), net.node_id(), None).unwrap();
    assert_eq!(door.admit(NOW, node(1), Some(&forged)), Err(Refusal::Forged));
}

#[tokio::test]
async fn members_that_showed_passes_are_known_and_the_removed_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = Some(folder.path().join("admitted"));
    let door = Admission::by_invite(node(7), node(8), file.clone()).unwrap();
    door.know([node(1), node(2)], &[node(2)]);
    assert_eq!((door.admit(NOW, node(1), None), door.admit(NOW, node(2), None)), (Ok(()), Err(Refusal::NoInvite)));
    door.know([], &[node(1)]);
    let again = Admission::by_invite(node(7), node(8), file).unwrap();
    assert_eq!((again.admit(NOW, node(1), None), again.admitted()), (Err(Refusal::NoInvite), Vec::new()));
}

#[tokio::test]
async fn ten_thousand_strangers_leave_nothing_behind() {
    let net = gateway(1).await;
    let door = Admission::by_invite(net.node_id(), net.node_id(), None).unwrap();
    let mut invite = net.invite(NOW + 60, 1);
    door.admit(NOW, node(0), Some(&invite)).unwrap();
    let before = door.roster.as_ref().unwrap().lock().unwrap().clone();
    for number in 1..=10_000u64 {
        // Some bring what was used up, the others a nonce that nobody signed.
        if number.is_multiple_of(2) {
            invite.terms.nonce[..8].copy_from_slice(&number.to_le_bytes());
        }
        let refusal = door.admit(NOW, node(number), Some(&invite)).unwrap_err();
        assert!(matches!(refusal, Refusal::Forged | Refusal::UsedUp { .. }));
    }
    assert_eq!(*door.roster.as_ref().unwrap().lock().unwrap(), before);
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_over_makes_room() {
    let invite = |number: u64, expires| {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        let terms = InviteTerms { network: node(0), gateways: Vec::new(), expires, nonce, uses: 256, relay: None };
        Invite { terms, by: None, signature: [0; 64] }
    };
    let mut roster = Roster::default();
    for number in 0..MAX_USED as u64 {
        roster.note(NOW, node(number), &invite(number, NOW + 60)).unwrap();
    }
    let more = |roster: &mut Roster, now, number| roster.note(now, node(1 << 40 | number), &invite(number, NOW + 90));
    assert_eq!(more(&mut roster, NOW, 5000), Err(Refusal::Full { limit: MAX_USED, what: "invites" }));
    assert_eq!(more(&mut roster, NOW + 61, 5000), Ok(()));
    assert_eq!(roster.used.len(), 1);
    for number in roster.admitted.len() as u64..MAX_ADMITTED as u64 {
        roster.note(NOW, node(1 << 40 | number), &invite(5000, NOW + 90)).unwrap();
    }
    assert_eq!(more(&mut roster, NOW, 9000), Err(Refusal::Full { limit: MAX_ADMITTED, what: "keys" }));
    let mut bytes = Vec::new();
    roster.serialize(&mut bytes).unwrap();
    assert!((bytes.len() + MAX_USED * 26 + 33) as u64 <= MAX_FILE_BYTES);
}

#[tokio::test]
async fn a_restart_forgets_nobody_and_gives_no_use_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admitted");
    let net = gateway(1).await;
    let start = |own| Admission::by_invite(own, own, Some(file.clone()));
    let invite = net.invite(NOW + 60, 1);
    start(net.node_id()).unwrap().admit(NOW, node(1), Some(&invite)).unwrap();
    let again = start(net.node_id()).unwrap();
    assert_eq!(again.admit(NOW, node(1), None), Ok(()));
    assert_eq!(again.admit(NOW, node(2), Some(&invite)), Err(Refusal::UsedUp { machines: 1 }));
    // One machine and one invite, byte by byte.
    let bytes = fs::read(&file).unwrap();
    let expected = [&[1][..], &net.node_id().0, &[1, 0, 0, 0], &node(1).0, &[1, 0, 0, 0], &invite.terms.nonce];
    let rest = [&(NOW + 60).to_le_bytes()[..], &[1, 0]].concat();
    assert_eq!(bytes, [&expected.concat()[..], &rest].concat());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // Another key is another network.
    assert_eq!(start(node(7)).unwrap().admit(NOW, node(1), None), Err(Refusal::NoInvite));
    for broken in [&bytes[..0], &bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &[2], &[1; 300_000]] {
        fs::write(&file, broken).unwrap();
        assert_eq!(start(net.node_id()).err().map(|fault| fault.kind()), Some(ErrorKind::InvalidData));
    }
}

#[tokio::test]
async fn nobody_is_welcome_before_the_disk_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let net = gateway(1).await;
    let door = Admission::by_invite(net.node_id(), net.node_id(), Some(folder.path().join("gone/admitted"))).unwrap();
    let invite = net.invite(NOW + 60, 1);
    for _ in 0..2 {
        let refusal = door.admit(NOW, node(1), Some(&invite)).unwrap_err();
        assert!(refusal.to_string().starts_with("this gateway cannot remember who joins: "), "{refusal}");
    }
    fs::create_dir(folder.path().join("gone")).unwrap();
    assert_eq!(door.admit(NOW, node(1), Some(&invite)), Ok(()));
}
