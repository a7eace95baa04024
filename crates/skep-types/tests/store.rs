//! What is asked of a store and answered: golden bytes, bounds, and refusal of everything else.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use skep_types::wire::*;
use skep_types::{Delegation, Invite, InviteTerms, ModelId, NodeId, Pass, Removal};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pass() -> Pass {
    Pass { network: NodeId([1; 32]), member: NodeId([2; 32]), expires: 0x0102_0304, by: None, signature: [7; 64] }
}

fn delegation(key: u8) -> Delegation {
    Delegation { keeper: NodeId([key; 32]), expires: 0x0506_0708, signature: [8; 64] }
}

fn removal() -> Removal {
    Removal { member: NodeId([2; 32]), by: NodeId([1; 32]), expires: 0x0102_0304, signature: [7; 64] }
}

fn peer(addrs: usize) -> Peer {
    Peer { node: NodeId([4; 32]), addrs: vec!["[::1]:4433".parse().unwrap(); addrs] }
}

fn served() -> ServedModel {
    let holders = vec![Peer { addrs: vec!["127.0.0.1:4433".parse().unwrap()], ..peer(0) }];
    ServedModel { model: ModelId([3; 32]), bytes: 974_304, holders, members: vec![1, 2], pass: pass() }
}

#[test]
fn what_a_gateway_signs_has_these_bytes() {
    let signed = Pass::to_sign(NodeId([1; 32]), NodeId([2; 32]), 0x0102_0304);
    assert_eq!(hex(&signed), hex(b"skep pass 2\0") + &"01".repeat(32) + &"02".repeat(32) + "0403020100000000");
    let signed = Delegation::to_sign(NodeId([1; 32]), NodeId([2; 32]), 0x0506_0708);
    assert_eq!(hex(&signed), hex(b"skep doorkeeper 1\0") + &"01".repeat(32) + &"02".repeat(32) + "0807060500000000");
    let signed = Removal::to_sign(NodeId([1; 32]), NodeId([2; 32]), NodeId([3; 32]), 0x0102_0304);
    let keys = "01".repeat(32) + &"02".repeat(32) + &"03".repeat(32);
    assert_eq!(hex(&signed), hex(b"skep removal 1\0") + &keys + "0403020100000000");
}

#[test]
fn a_register_has_these_bytes_and_its_bounds() {
    let keeper_hex = "02".repeat(32) + "0807060500000000" + &"08".repeat(64);
    let pass = Pass { by: Some(Box::new(delegation(2))), ..pass() };
    assert_eq!(pass.signer(), NodeId([2; 32]));
    let pass_hex = "01".repeat(32) + &"02".repeat(32) + "040302010000000001" + &keeper_hex + &"07".repeat(64);
    assert_eq!(hex(&borsh::to_vec(&pass).unwrap()), pass_hex);
    let hello = RegisterHello { pass: Some(pass), digest: [5; 32] };
    assert_eq!(hex(&borsh::to_vec(&hello).unwrap()), "01".to_owned() + &pass_hex + &"05".repeat(32));
    let door = Peer { addrs: vec!["127.0.0.1:4433".parse().unwrap()], ..peer(0) };
    let page = RegisterPage { delegations: vec![delegation(2)], removals: vec![removal()], doors: vec![door] };
    let removal_hex = "02".repeat(32) + &"01".repeat(32) + "0403020100000000" + &"07".repeat(64);
    let door_hex = "04".repeat(32) + "01000000" + "00" + "7f000001" + "5111";
    let page_hex = "01000000".to_owned() + &keeper_hex + "01000000" + &removal_hex + "01000000" + &door_hex;
    assert_eq!((hex(&borsh::to_vec(&page).unwrap()), page.fault()), (page_hex, None));

    let most = RegisterPage {
        delegations: vec![delegation(2); 16],
        removals: vec![removal(); PAGE_REMOVALS],
        doors: vec![peer(MAX_DOOR_ADDRS); MAX_DOORS],
    };
    assert_eq!(most.fault(), None);
    assert!(borsh::to_vec(&most).unwrap().len() <= MAX_CONTROL_BYTES);
    let with = |change: fn(&mut RegisterPage)| {
        let mut page = most.clone();
        change(&mut page);
        page.fault()
    };
    assert_eq!(with(|page| page.delegations.push(delegation(3))), Some("it names too many doorkeepers"));
    assert_eq!(with(|page| page.removals.push(removal())), Some("it lists too many removals"));
    assert_eq!(with(|page| page.doors.push(peer(1))), Some("it says too much about where doors are"));
    assert_eq!(with(|page| page.doors = vec![peer(5)]), Some("it says too much about where doors are"));
}

#[test]
fn questions_and_answers_have_these_bytes() {
    let bytes = |value: &StoreAsk| hex(&borsh::to_vec(value).unwrap());
    let (model, model_hex) = (ModelId([3; 32]), "03".repeat(32));
    let pass_hex = "01".repeat(32) + &"02".repeat(32) + "040302010000000000" + &"07".repeat(64);
    assert_eq!(bytes(&StoreAsk::Network { invite: None, pass: None }), "000000");
    assert_eq!(bytes(&StoreAsk::Holds { pass: pass(), model }), format!("01{pass_hex}{model_hex}"));
    assert_eq!(bytes(&StoreAsk::Last { pass: pass(), model }), format!("02{pass_hex}{model_hex}"));
    assert_eq!(
        bytes(&StoreAsk::Slice { pass: pass(), model, start: 3, end: 258 }),
        format!("03{pass_hex}{model_hex}03000000000000000201000000000000")
    );
    let bytes = |value: &StoreAnswer| hex(&borsh::to_vec(value).unwrap());
    let holder_hex = "04".repeat(32) + "01000000" + "00" + "7f000001" + "5111";
    assert_eq!(
        bytes(&StoreAnswer::Network(served())),
        format!("00{model_hex}e0dd0e000000000001000000{holder_hex}0200000001000200{pass_hex}")
    );
    assert_eq!(
        bytes(&StoreAnswer::Holds { bytes: 5, runs: vec![(0, 1)] }),
        "0105000000000000000100000000000000000000000100000000000000"
    );
    assert_eq!(bytes(&StoreAnswer::Slice { bytes: 5 }), "020500000000000000");
    assert_eq!(bytes(&StoreAnswer::NotHeld), "03");
    assert_eq!(bytes(&StoreAnswer::Refused { reason: "no".into() }), "04020000006e6f");
}

#[test]
fn what_breaks_a_bound_is_named() {
    let network = |change: fn(&mut ServedModel)| {
        let mut served = served();
        change(&mut served);
        StoreAnswer::Network(served).fault()
    };
    assert_eq!(network(|_| ()), None);
    assert_eq!(network(|served| served.holders = vec![peer(1); MAX_HOLDERS]), None);
    assert_eq!(network(|served| served.holders = vec![peer(1); MAX_HOLDERS + 1]), Some("it names too many holders"));
    assert_eq!(network(|served| served.holders = vec![peer(17)]), Some("a holder lists too many addresses"));
    assert_eq!(network(|served| served.members = vec![0; 1025]), Some("it counts too many blocks"));
    let holds = |runs| StoreAnswer::Holds { bytes: 5, runs }.fault();
    assert_eq!(holds(vec![(0, 1); 65]), Some("it lists too many runs"));
    assert_eq!(holds(vec![(0, 1), (4, 4)]), Some("one of its runs is empty"));
    assert_eq!(StoreAnswer::Refused { reason: "x".repeat(513) }.fault(), Some("its reason is too long"));
    let slice = |start, end| StoreAsk::Slice { pass: pass(), model: ModelId([3; 32]), start, end }.fault();
    assert_eq!((slice(3, 4), slice(4, 4), slice(5, 4)), (None, Some("its slice is empty"), Some("its slice is empty")));
    let terms = InviteTerms {
        network: NodeId([1; 32]),
        gateways: Vec::new(),
        expires: 1,
        nonce: [0; 16],
        uses: 1,
        relay: None,
    };
    let invite = Some(Invite { terms, by: None, signature: [0; 64] });
    assert_eq!(StoreAsk::Network { invite, pass: None }.fault(), Some("its invite is not within the bounds of one"));
}

/// The longest answer that keeps to the bounds is a message that may be sent.
#[test]
fn the_largest_network_fits_in_a_message() {
    let served =
        ServedModel { holders: vec![peer(MAX_ADDRS); MAX_HOLDERS], members: vec![0; MAX_COUNTED_BLOCKS], ..served() };
    assert!(borsh::to_vec(&StoreAnswer::Network(served)).unwrap().len() <= MAX_CONTROL_BYTES);
    let holds = StoreAnswer::Holds { bytes: 1 << 44, runs: vec![(0, 1); MAX_HELD_RUNS] };
    assert!(borsh::to_vec(&holds).unwrap().len() <= MAX_CONTROL_BYTES);
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(ask) = borsh::from_slice::<StoreAsk>(&bytes) {
            prop_assert_eq!(borsh::to_vec(&ask).unwrap(), bytes.clone());
        }
        if let Ok(page) = borsh::from_slice::<RegisterPage>(&bytes) {
            prop_assert_eq!(borsh::to_vec(&page).unwrap(), bytes.clone());
        }
        let _ = borsh::from_slice::<RegisterHello>(&bytes);
        if let Ok(answer) = borsh::from_slice::<StoreAnswer>(&bytes) {
            prop_assert_eq!(borsh::to_vec(&answer).unwrap(), bytes);
        }
    }
}
