//! Invites: golden bytes, round trips, and refusal of everything else.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use skep_types::wire::{MAX_ADDRS, Peer};
use skep_types::{Delegation, Invite, InviteError, InviteTerms, MAX_GATEWAYS, MAX_INVITE_USES, NodeId, Relay};
use std::net::SocketAddr;

fn peer(key: u8, addrs: &[&str]) -> Peer {
    Peer { node: NodeId([key; 32]), addrs: addrs.iter().map(|addr| addr.parse().unwrap()).collect() }
}

fn invite(addrs: &[&str], uses: u16) -> Invite {
    let gateways = vec![peer(1, addrs)];
    let terms =
        InviteTerms { network: NodeId([1; 32]), gateways, expires: 0x6900_0000, nonce: [9; 16], uses, relay: None };
    Invite { terms, by: None, signature: [7; 64] }
}

fn delegation(key: u8) -> Delegation {
    Delegation { keeper: NodeId([key; 32]), expires: 0x7000_0000, signature: [8; 64] }
}

fn relay(addr: &str) -> Relay {
    Relay { key: NodeId([5; 32]), token: [6; 16], addr: addr.parse().unwrap() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_invite_has_these_bytes_and_this_link() {
    let mut invite = invite(&["192.0.2.7:7537", "[2001:db8::1]:7537"], 8);
    invite.terms.relay = Some(relay("192.0.2.8:443"));
    let terms = "01".repeat(32)
        + "01000000"
        + &"01".repeat(32)
        + "02000000"
        + "00c0000207711d"
        + "0120010db8000000000000000000000001711d"
        + "0000006900000000"
        + &"09".repeat(16)
        + "0800"
        + "01"
        + &"05".repeat(32)
        + &"06".repeat(16)
        + "00c0000208bb01";
    assert_eq!(hex(&borsh::to_vec(&invite).unwrap()), terms.clone() + "00" + &"07".repeat(64));
    assert_eq!(hex(&invite.terms.to_sign()), hex(b"skep invite 3\0") + &terms);
    assert_eq!(invite.to_string(), GOLDEN_LINK);
    assert_eq!(GOLDEN_LINK.parse(), Ok(invite.clone()));
    assert_eq!(GOLDEN_LINK.to_uppercase().parse(), Ok(invite));
}

#[test]
fn an_invite_of_a_doorkeeper_carries_its_delegation() {
    let mut invite = invite(&["192.0.2.7:1"], 1);
    invite.terms.gateways = vec![peer(2, &["192.0.2.7:1"]), peer(1, &["192.0.2.8:2"])];
    invite.by = Some(Box::new(delegation(2)));
    let terms = "01".repeat(32)
        + "02000000"
        + &"02".repeat(32)
        + "01000000"
        + "00c00002070100"
        + &"01".repeat(32)
        + "01000000"
        + "00c00002080200"
        + "0000006900000000"
        + &"09".repeat(16)
        + "010000";
    assert_eq!(hex(&invite.terms.to_sign()), hex(b"skep invite 3\0") + &terms);
    let by = "01".to_owned() + &"02".repeat(32) + "0000007000000000" + &"08".repeat(64);
    assert_eq!(hex(&borsh::to_vec(&invite).unwrap()), terms + &by + &"07".repeat(64));
    assert_eq!(invite.to_string().parse(), Ok(invite));
}

const GOLDEN_LINK: &str = concat!(
    "skep:amaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaiaaaaacaiba",
    "eaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaicaaaaaagaaabao4i5aeqacdn",
    "yaaaaaaaaaaaaaaaaaaaxchiaaaagsaaaaaaascijbeeqscijbeeqscijbeeqscaaaecqk",
    "bifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbqgaydambqgaydambqgayd",
    "ambqayaaaecf3aeaaobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha",
    "4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4"
);

#[test]
fn the_largest_invite_is_within_the_limit() {
    let mut largest = invite(&[], MAX_INVITE_USES);
    largest.terms.gateways = vec![peer(2, &["[2001:db8::1]:7537"; MAX_ADDRS / MAX_GATEWAYS]); MAX_GATEWAYS];
    largest.by = Some(Box::new(delegation(2)));
    largest.terms.relay = Some(relay("[2001:db8::1]:443"));
    assert_eq!(borsh::to_vec(&largest).unwrap().len() + 1, 748);
    assert_eq!(largest.to_string().parse(), Ok(largest));
}

#[test]
fn refusals_name_the_fault() {
    let good = invite(&["192.0.2.7:1"], 1);
    let refused = |text: &str| text.parse::<Invite>().unwrap_err();
    let link = good.to_string();
    for text in ["", "s", "skep", "skip:aa", "https://example.org/", "ékep:aa", &link[5..], &format!(" {link}")] {
        assert_eq!(refused(text), InviteError::Scheme, "{text}");
    }
    assert_eq!(refused("skep:"), InviteError::Malformed);
    // Digits that look like letters, padding, spaces and letters beyond ASCII are in no link.
    for text in ["skep:a1", "skep:a0", "skep:aa======", "skep:a a", "skep:aé", "skep:ae\n", "skep:ab", "skep:a"] {
        assert_eq!(refused(text), InviteError::Text, "{text}");
    }
    assert_eq!(refused(&format!("skep:{}", "a".repeat(100_000))), InviteError::TooLong);
    assert_eq!(refused("skep:aeaa"), InviteError::Version(1));
    assert_eq!(refused(&link[..link.len() - 8]), InviteError::Malformed);
    let with = |change: &dyn Fn(&mut Invite)| {
        let mut changed = good.clone();
        change(&mut changed);
        refused(&changed.to_string())
    };
    assert_eq!(with(&|invite| invite.terms.gateways.clear()), InviteError::Gateways(0));
    assert_eq!(with(&|invite| invite.terms.gateways = vec![peer(1, &["[::1]:1"]); 5]), InviteError::Gateways(5));
    assert_eq!(with(&|invite| invite.terms.gateways.push(peer(3, &[]))), InviteError::Addresses(1));
    assert_eq!(with(&|invite| invite.terms.gateways[0].node = NodeId([2; 32])), InviteError::Signer);
    assert_eq!(with(&|invite| invite.by = Some(Box::new(delegation(2)))), InviteError::Signer);
    assert_eq!(refused(&invite(&[], 1).to_string()), InviteError::Addresses(0));
    assert_eq!(refused(&invite(&["[::1]:1"; MAX_ADDRS + 1], 1).to_string()), InviteError::Addresses(17));
    assert_eq!(refused(&invite(&["[::1]:1"], 0).to_string()), InviteError::Uses(0));
    assert_eq!(refused(&invite(&["[::1]:1"], 257).to_string()), InviteError::Uses(257));
}

#[test]
fn what_lets_a_machine_in_is_in_no_log() {
    let shown = format!("{:?}", invite(&["192.0.2.7:1"], 1));
    assert!(shown.contains("192.0.2.7:1") && !shown.contains("nonce") && !shown.contains("signature"), "{shown}");
    assert!(!shown.contains("9, 9") && !shown.contains("7, 7"), "{shown}");
}

proptest! {
    #[test]
    fn links_round_trip(
        key: [u8; 32], expires: u64, nonce: [u8; 16], uses in 1..=MAX_INVITE_USES, half: [u8; 32],
        relay: Option<([u8; 32], [u8; 16], (std::net::IpAddr, u16))>, by: Option<([u8; 32], u64)>, other: [u8; 32],
        addrs in prop::collection::vec(any::<(std::net::IpAddr, u16)>(), 1..=MAX_ADDRS - 1),
    ) {
        let addrs: Vec<_> = addrs.into_iter().map(SocketAddr::from).collect();
        let by = by.map(|(key, expires)| Box::new(Delegation { keeper: NodeId(key), expires, signature: [3; 64] }));
        let first = by.as_ref().map_or(NodeId(key), |by| by.keeper);
        let others = Peer { node: NodeId(other), addrs: addrs[..1].to_vec() };
        let gateways = vec![Peer { node: first, addrs }, others];
        let relay = relay.map(|(key, token, addr)| Relay { key: NodeId(key), token, addr: addr.into() });
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&half);
        let invite = Invite { terms: InviteTerms { network: NodeId(key), gateways, expires, nonce, uses, relay }, by, signature };
        prop_assert_eq!(invite.to_string().parse(), Ok(invite));
    }

    #[test]
    fn any_text_is_an_invite_or_a_refusal(text: String) {
        let _ = text.parse::<Invite>();
        let _ = format!("skep:{text}").parse::<Invite>();
    }

    #[test]
    fn a_changed_link_is_another_invite_or_a_refusal(at in 5usize..400, digit in 0usize..32, cut in 0usize..400) {
        let good = invite(&["192.0.2.7:7537", "[2001:db8::1]:7537"], 8);
        let link = good.to_string();
        let mut changed = link.clone().into_bytes();
        let at = at.min(changed.len() - 1);
        changed[at] = b"abcdefghijklmnopqrstuvwxyz234567"[digit];
        let changed = String::from_utf8(changed).unwrap();
        if let Ok(read) = changed.parse::<Invite>() {
            // One invite has one link, so another link is never the same invite.
            prop_assert_eq!(read == good, changed == link);
            prop_assert_eq!(read.to_string(), changed);
        } else {
            prop_assert_ne!(&changed, &link);
        }
        if cut > 0 {
            prop_assert!(link[..link.len().saturating_sub(cut)].parse::<Invite>().is_err());
        }
    }

    #[test]
    fn any_bytes_are_an_invite_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(invite) = borsh::from_slice::<Invite>(&bytes) {
            prop_assert_eq!(borsh::to_vec(&invite).unwrap(), bytes);
        }
    }
}
