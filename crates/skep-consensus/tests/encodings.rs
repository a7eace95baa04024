//! The bytes of every format, and bytes that are none: refused, never a panic.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::*;
use proptest::prelude::*;
use skep_consensus::block::BLOCK_BYTES_MAX;
use skep_consensus::certificate::{Passage, Polka};
use skep_consensus::log::{self, Record, Wait};
use skep_consensus::message::{BLOCKS_MAX, MESSAGE_BYTES_MAX};
use skep_consensus::vote::{Kind, Proposal, Signed, Vote};
use skep_consensus::*;
use skep_ledger::{ChainId, VALIDATORS_MAX};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(value: &impl borsh::BorshSerialize) -> String {
    hex(&blake3::hash(&borsh::to_vec(value).unwrap()).as_bytes()[..8])
}

fn header() -> Header {
    Header {
        chain: ChainId([1; 32]),
        height: 2,
        time_s: 3,
        parent: BlockId([4; 32]),
        proposer: node(5),
        certificate: [6; 32],
        txs: [7; 32],
        root: [8; 32],
        validators: [9; 32],
        next: [10; 32],
    }
}

fn certificate() -> Certificate {
    Certificate { height: 1, round: 2, block: BlockId([3; 32]), signatures: vec![(0, [4; 64]), (2, [5; 64])] }
}

fn block() -> Block {
    let txs = vec![transfer(ChainId([1; 32]), BEGIN_S, node(1), 0), post(ChainId([1; 32]), BEGIN_S, node(2), 7)];
    Block { header: header(), certificate: Some(certificate()), txs }
}

fn vote() -> Signed<Vote> {
    let said = Vote { height: 1, round: 2, kind: Kind::Precommit, block: None, validator: node(3) };
    Signed { said, signature: [4; 64] }
}

fn proposal() -> Signed<Proposal> {
    let said = Proposal { height: 1, round: 2, locked: Some(0), block: BlockId([3; 32]), validator: node(3) };
    Signed { said, signature: [4; 64] }
}

fn messages() -> Vec<Message> {
    let polka = Polka { height: 1, round: 2, block: BlockId([3; 32]), signatures: vec![(node(1), [4; 64])] };
    let votes =
        vec![(node(1), Kind::Prevote, None, [4; 64]), (node(2), Kind::Precommit, Some(BlockId([3; 32])), [5; 64])];
    vec![
        Message::Vote(vote()),
        Message::Proposal(proposal(), Box::new(block())),
        Message::Polka(polka),
        Message::Passage(Passage { height: 1, round: 2, skip: true, votes }),
        Message::Tx(Box::new(transfer(ChainId([1; 32]), BEGIN_S, node(1), 0))),
        Message::Status { height: 9 },
        Message::Ask { from: 9 },
        Message::Blocks(vec![Decided { block: block(), certificate: certificate() }]),
    ]
}

fn records() -> Vec<Record> {
    let tried = |block| Record::Tried { round: 1, proposer: node(2), id: BlockId([3; 32]), valid: true, block };
    vec![
        Record::Begin { height: 1 },
        Record::Vote(vote()),
        Record::Proposal(proposal()),
        Record::Polka(Polka { height: 1, round: 2, block: BlockId([3; 32]), signatures: vec![(node(1), [4; 64])] }),
        Record::Timeout { round: 1, wait: Wait::Prevote },
        tried(None),
        tried(Some(Box::new(block()))),
    ]
}

#[test]
fn a_header_is_this() {
    let bytes = borsh::to_vec(&header()).unwrap();
    let numbers = [&2u64.to_le_bytes()[..], &3u64.to_le_bytes()].concat();
    let parts: Vec<Vec<u8>> = (4..=10).map(|byte| vec![byte; 32]).collect();
    assert_eq!(bytes, [&[1; 32][..], &numbers, &parts.concat()].concat());
    let id = blake3::hash(&[&b"skep block 1\0"[..], &bytes].concat());
    assert_eq!(header().id(), BlockId(*id.as_bytes()));
}

#[test]
fn a_certificate_is_this() {
    let numbers = [&1u64.to_le_bytes()[..], &2u32.to_le_bytes(), &[3; 32], &2u32.to_le_bytes()].concat();
    let expected = [&numbers[..], &[0, 0], &[4; 64], &[2, 0], &[5; 64]].concat();
    assert_eq!(borsh::to_vec(&certificate()).unwrap(), expected);
}

#[test]
fn messages_and_records_are_these() {
    let first: Vec<u8> = messages().iter().map(|message| message.encode().unwrap()[0]).collect();
    assert_eq!(first, (0..8).collect::<Vec<u8>>(), "a message of every kind");
    let got: Vec<String> = messages().iter().map(digest).chain(records().iter().map(digest)).collect();
    let expected = [
        "94f7ee1090e97079",
        "a7194c61971ce5e4",
        "d1ec1dd4319260ec",
        "9902033d106a185a",
        "7fc7b2031412ed06",
        "e488906269bd4912",
        "288af7291120bd11",
        "3bf24588b72f4b10",
        "6ed8166c081787b3",
        "2b6dc2dfbd3c19b4",
        "71358be9edaf5aa1",
        "208da7b10feeb995",
        "6bcc2595c468293e",
        "e77bfd1d5f979264",
        "d609c306f1f7dd12",
    ];
    assert_eq!(got, expected);
}

#[test]
fn what_is_too_long_is_refused() {
    let one = |number: u8| (node(number), [0; 64]);
    let signatures = (0..=VALIDATORS_MAX as u8).map(one).collect();
    let polka = Polka { height: 1, round: 0, block: BlockId([0; 32]), signatures };
    let votes = polka.signatures.iter().map(|(id, it)| (*id, Kind::Prevote, None, *it)).collect();
    let passage = Passage { height: 1, round: 0, skip: true, votes };
    let mut long = certificate();
    long.signatures = (0..=VALIDATORS_MAX as u16).map(|place| (place, [0; 64])).collect();
    let inside = Block { certificate: Some(long.clone()), ..block() };
    let empty = Decided { block: Block { certificate: None, txs: Vec::new(), ..block() }, certificate: certificate() };
    let many = [
        Message::Polka(polka),
        Message::Passage(passage),
        Message::Proposal(proposal(), Box::new(inside.clone())),
        Message::Blocks(vec![Decided { block: inside, certificate: certificate() }]),
        Message::Blocks(vec![Decided { block: block(), certificate: long }]),
        Message::Blocks(vec![empty; BLOCKS_MAX + 1]),
    ];
    for message in many {
        assert_eq!(Message::decode(&message.encode().unwrap()), Err(MessageError::TooMany));
    }
    let bytes = vec![0; MESSAGE_BYTES_MAX + 1];
    assert_eq!(Message::decode(&bytes), Err(MessageError::TooLong(bytes.len())));
    let tx = transfer(ChainId([1; 32]), BEGIN_S, node(1), 0);
    let huge = Block { txs: vec![tx; 10_000], ..block() };
    assert!(matches!(huge.check_parts(), Err(BlockError::TooLong { bytes }) if bytes > BLOCK_BYTES_MAX));
    assert_eq!(block().check_parts(), Err(BlockError::Parts), "the header names other transactions");
}

proptest! {
    #[test]
    fn noise_is_no_message(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode().unwrap(), bytes.clone(), "one encoding of each message");
        }
        let (records, whole) = log::read(&bytes);
        prop_assert!(records.is_empty() && whole == 0, "a frame has a hash");
    }

    /// A number of something, up to the largest, in the place of each four bytes: no allocation is as large as it says.
    #[test]
    fn a_changed_message_is_refused_or_another_one(
        kind in 0usize..8, at: prop::sample::Index, to in prop::array::uniform4(any::<u8>()), cut: prop::sample::Index
    ) {
        let good = messages()[kind].encode().unwrap();
        let mut bytes = good.clone();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + 4);
        bytes[at..end].copy_from_slice(&to[..end - at]);
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode().unwrap(), bytes);
        }
        prop_assert!(Message::decode(&good[..cut.index(good.len())]).is_err());
    }

    #[test]
    fn a_log_after_noise_ends_there(noise in prop::collection::vec(any::<u8>(), 1..60), before in 0usize..7) {
        let frames: Vec<u8> = records()[..before].iter().flat_map(Record::frame).collect();
        let (read, whole) = log::read(&[&frames[..], &noise].concat());
        prop_assert_eq!(&read[..], &records()[..before]);
        prop_assert_eq!(whole, frames.len());
    }
}
