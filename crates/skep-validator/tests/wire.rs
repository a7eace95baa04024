//! The bytes of packets: one encoding of each, bounds, and no panic for any input.
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use skep_consensus::{Message, MessageError};
use skep_ledger::{Action, Amount, ChainId, Key, Tx};
use skep_net::PACKET_BYTES_MAX;
use skep_types::NodeId;
use skep_types::signed::Signed;
use skep_validator::wire::{Answer, Ask, Outcome, Said, TXS_MAX};

fn transfer(nonce: u64) -> Signed<Tx> {
    let action = Action::Transfer { to: NodeId([2; 32]), amount: Amount(5) };
    let tx = Tx { chain: ChainId([9; 32]), payer: NodeId([1; 32]), nonce, expires: 7, fee: Amount(3), action };
    Signed { statement: tx, signature: [4; 64] }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn encodings_are_these() {
    let eight = |number: u64| number.to_le_bytes();
    let head = [&[9; 32][..], &[1; 32], &eight(6), &eight(7), &eight(3)].concat();
    let tx = hex(&[&head[..], &[0], &[2; 32], &eight(5), &[4; 64]].concat());
    let chain = "09".repeat(32);
    let said = |said: Said| hex(&borsh::to_vec(&said).unwrap());
    assert_eq!(said(Said::Hello { chain: ChainId([9; 32]), life: 258 }), format!("00{chain}0201000000000000"));
    assert_eq!(said(Said::Engine(Message::Status { height: 3 })), "01050300000000000000");
    assert_eq!(said(Said::Txs(vec![transfer(6)])), format!("0201000000{tx}"));
    let ask = |ask: Ask| hex(&borsh::to_vec(&ask).unwrap());
    assert_eq!(ask(Ask::Status), "00");
    assert_eq!(ask(Ask::Row(Key::Account(NodeId([1; 32])))), format!("0102{}", "01".repeat(32)));
    assert_eq!(ask(Ask::Submit { number: 3, txs: vec![transfer(6)] }), format!("020300000001000000{tx}"));
    let answer = |answer: Answer| hex(&borsh::to_vec(&answer).unwrap());
    assert_eq!(answer(Answer::Row(None)), "0100");
    let outcomes = vec![Outcome::Final { height: 4 }, Outcome::Refused { reason: "no".into() }, Outcome::Unknown];
    let expected = "02030000000300000000040000000000000001020000006e6f02";
    assert_eq!(answer(Answer::Submitted { number: 3, outcomes }), expected);
}

#[test]
fn what_is_too_long_is_refused() {
    let many = |count: u64| Said::Txs((0..count).map(transfer).collect());
    let most = borsh::to_vec(&many(TXS_MAX as u64)).unwrap();
    assert_eq!(Said::decode(&most), Ok(many(TXS_MAX as u64)));
    let over = borsh::to_vec(&many(TXS_MAX as u64 + 1)).unwrap();
    assert_eq!(Said::decode(&over), Err(MessageError::TooMany));
    let ask = Ask::Submit { number: 0, txs: (0..TXS_MAX as u64 + 1).map(transfer).collect() };
    assert_eq!(Ask::decode(&borsh::to_vec(&ask).unwrap()), Err(MessageError::TooMany));
    let long = vec![0; PACKET_BYTES_MAX + 1];
    assert_eq!(Said::decode(&long), Err(MessageError::TooLong(long.len())));
    assert_eq!(Ask::decode(&long), Err(MessageError::TooLong(long.len())));
    assert_eq!(Answer::decode(&long), Err(MessageError::TooLong(long.len())));
    // The bounds of the engine's own messages hold in here too.
    let polka = skep_consensus::certificate::Polka {
        height: 1,
        round: 0,
        block: skep_consensus::BlockId([0; 32]),
        signatures: vec![(NodeId([1; 32]), [0; 64]); 101],
    };
    let bytes = borsh::to_vec(&Said::Engine(Message::Polka(polka))).unwrap();
    assert_eq!(Said::decode(&bytes), Err(MessageError::TooMany));
}

#[test]
fn what_is_cut_or_followed_by_something_is_refused() {
    let whole = borsh::to_vec(&Said::Txs(vec![transfer(1), transfer(2)])).unwrap();
    for length in 0..whole.len() {
        assert!(matches!(Said::decode(&whole[..length]), Err(MessageError::Malformed(_))), "{length}");
    }
    assert!(matches!(Said::decode(&[&whole[..], &[0]].concat()), Err(MessageError::Malformed(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..4) {
        let bytes = [&[kind][..], &bytes].concat();
        if let Ok(said) = Said::decode(&bytes) {
            prop_assert_eq!(borsh::to_vec(&said).unwrap(), bytes.clone());
        }
        if let Ok(ask) = Ask::decode(&bytes) {
            prop_assert_eq!(borsh::to_vec(&ask).unwrap(), bytes.clone());
        }
        if let Ok(answer) = Answer::decode(&bytes) {
            prop_assert_eq!(borsh::to_vec(&answer).unwrap(), bytes);
        }
    }

    #[test]
    fn one_changed_byte_is_read_as_something_else_or_refused(at in 0usize..400, to: u8) {
        let mut bytes = borsh::to_vec(&Ask::Submit { number: 1, txs: vec![transfer(1), transfer(2)] }).unwrap();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(ask) = Ask::decode(&bytes) {
            prop_assert_eq!(borsh::to_vec(&ask).unwrap(), bytes);
        }
    }
}
