//! Offers and volunteers' records: golden bytes, and refusal of everything that was not signed like this.
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use skep_testkit::keys::Real;
use skep_types::offer::*;
use skep_types::signed::*;
use skep_types::{BlockRange, ModelId, NodeId};

const NOW: u64 = 1_700_000_000;

fn keys() -> Real {
    Real::of(7)
}

fn offer() -> Offer {
    Offer {
        node: keys().id(),
        seq: 3,
        expires: NOW + 60,
        terms: Terms {
            model: ModelId([2; 32]),
            blocks: BlockRange::new(4, 12).unwrap(),
            price: 5,
            decode_ns: 1_000_000,
            prefill_ns: 20_000,
            visit_us: 100,
            wait_us: 0,
            goodput_kib_s: 2048,
            room: 6,
            memory: 1 << 30,
            audience: Audience::Trusted,
            beacons: [100, 200, 300, 400, u16::MAX, u16::MAX, u16::MAX, u16::MAX],
        },
        addrs: vec!["127.0.0.1:4433".parse().unwrap()],
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_offer_has_these_bytes() {
    let signed = Signed::sign(offer(), &keys()).unwrap();
    let statement = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c".to_owned()
        + "0300000000000000"
        + "3cf1536500000000"
        + &"02".repeat(32)
        + "040000000c000000"
        + "0500000000000000"
        + "40420f00204e00006400000000000000"
        + "00080000"
        + "06000000"
        + "0000004000000000"
        + "01"
        + "6400c8002c019001ffffffffffffffff"
        + "01000000007f0000015111";
    let signature = "9103e96e52d2579bef55d6404273145a73be0a5b94eef8547683a03697141723cee05da0534edb8b636e25a839051704bd6d4f2187f02f98989810e365ac770d";
    assert_eq!(hex(&signed.encode().unwrap()), statement + signature);
    assert_eq!(Signed::<Offer>::decode(&signed.encode().unwrap()), Ok(signed.clone()));
    assert_eq!(signed.verify(NOW, &keys()), Ok(()));
}

#[test]
fn a_volunteers_record_has_these_bytes() {
    let record = Volunteer { node: NodeId([1; 32]), seq: 2, expires: 9, held: 700, addrs: Vec::new() };
    let signed = Signed { statement: record, signature: [4; 64] };
    let expect = "01".repeat(32) + "0200000000000000" + "0900000000000000" + "bc020000" + "00000000" + &"04".repeat(64);
    assert_eq!(hex(&signed.encode().unwrap()), expect);
}

#[test]
fn the_largest_statements_fit_their_limits() {
    let addrs = vec!["[2001:db8::1]:4433".parse().unwrap(); OFFER_ADDRS_MAX];
    assert!(Signed::sign(Offer { addrs: addrs.clone(), ..offer() }, &keys()).unwrap().encode().is_ok());
    let node = offer().node;
    let record = Volunteer { node, seq: 1, expires: NOW, held: 1, addrs };
    assert!(Signed::sign(record, &keys()).unwrap().encode().is_ok());
}

#[test]
fn what_is_not_valid_now_is_refused_with_a_reason() {
    let signed = Signed::sign(offer(), &keys()).unwrap();
    let expires = NOW + 60;
    assert_eq!(signed.verify(expires, &keys()), Err(StatementError::Expired { expires, now: expires }));
    let early = NOW - CLOCK_SKEW_S - 1;
    assert_eq!(signed.verify(early, &keys()), Err(StatementError::TooFar { expires, latest: expires - 1 }));
    assert_eq!(signed.verify(early + 1, &keys()), Ok(()));
    assert_eq!(signed.replaces(&signed), Err(StatementError::Replayed { seq: 3, known: 3 }));
    let newer = Signed::sign(Offer { seq: 4, ..offer() }, &keys()).unwrap();
    assert_eq!(newer.replaces(&signed), Ok(()));
    assert_eq!(signed.replaces(&newer), Err(StatementError::Replayed { seq: 3, known: 4 }));
}

#[test]
fn oversized_offers_are_refused_before_they_are_read() {
    let long = vec![0; OFFER_BYTES_MAX + 1];
    let too_long = StatementError::TooLong { bytes: OFFER_BYTES_MAX + 1, max: OFFER_BYTES_MAX };
    assert_eq!(Signed::<Offer>::decode(&long), Err(too_long));
    let addrs = vec!["127.0.0.1:1".parse().unwrap(); OFFER_ADDRS_MAX + 1];
    let many = Signed { statement: Offer { addrs, ..offer() }, signature: [0; 64] };
    assert!(matches!(Signed::<Offer>::decode(&borsh::to_vec(&many).unwrap()), Err(StatementError::Field(_))));
    assert!(matches!(many.verify(NOW, &keys()), Err(StatementError::Field(_))));
    let blocks = BlockRange::new(0, OFFER_BLOCK_MAX + 1).unwrap();
    let terms = Terms { blocks, ..offer().terms };
    assert!(matches!(Signed::sign(Offer { terms, ..offer() }, &keys()), Err(StatementError::Field(_))));
}

#[test]
fn a_signature_of_one_kind_is_none_of_another() {
    let keys = keys();
    let bare = keys.sign(&borsh::to_vec(&offer()).unwrap());
    let signed = Signed { statement: offer(), signature: bare };
    assert_eq!(signed.verify(NOW, &keys), Err(StatementError::Forged(offer().node)));
}

#[test]
fn no_flipped_bit_is_taken() {
    let bytes = Signed::sign(offer(), &keys()).unwrap().encode().unwrap();
    for at in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[at] ^= 1 << (at % 8);
        let taken = Signed::<Offer>::decode(&forged).and_then(|offer| offer.verify(NOW, &keys()));
        assert!(taken.is_err(), "byte {at}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_offer_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        if let Ok(offer) = Signed::<Offer>::decode(&bytes) {
            prop_assert_eq!(offer.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn a_cut_or_lengthened_offer_is_refused(cut in 1usize..200, more in prop::collection::vec(any::<u8>(), 1..9)) {
        let bytes = Signed::sign(offer(), &keys()).unwrap().encode().unwrap();
        prop_assert!(Signed::<Offer>::decode(&bytes[..bytes.len() - cut]).is_err());
        prop_assert!(Signed::<Offer>::decode(&[bytes, more].concat()).is_err());
    }
}
