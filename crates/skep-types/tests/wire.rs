//! The wire formats: golden bytes, round trips, and refusal of everything else.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use skep_types::offer::Audience;
use skep_types::wire::*;
use skep_types::{BlockRange, ModelId, NodeId, Pass};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frame(payload: Payload, rows: u32) -> Frame {
    Frame {
        epoch: 3,
        pos: 17,
        rows,
        forward_from: 5,
        wants_candidates: true,
        hops: vec![HopReport { hold_us: 1000, rtt_us: u32::MAX }],
        payload,
    }
}

fn read(bytes: &[u8]) -> Result<Frame, FrameError> {
    let (head, body) = bytes.split_at(FRAME_HEADER_BYTES);
    Frame::decode(FrameHeader::parse(head.try_into().unwrap())?, body)
}

#[test]
fn frames_have_these_bytes() {
    let head = |kind: &str, rows: &str, body: &str| {
        format!("{kind}010100030000001100000{rows}00000005000000{body}000000e8030000ffffffff")
    };
    let tokens = frame(Payload::Tokens(vec![1, 258]), 2).encode().unwrap();
    assert_eq!(hex(&tokens), head("01", "002", "10") + "0100000002010000");
    let rows = frame(Payload::Rows(vec![1.0, -2.0]), 1).encode().unwrap();
    assert_eq!(hex(&rows), head("02", "001", "10") + "0000803f000000c0");
    let candidates = frame(Payload::Candidates(vec![(7, 0.5)]), 1).encode().unwrap();
    assert_eq!(hex(&candidates), head("03", "001", "10") + "070000000000003f");
    let vector = frame(Payload::Vector(vec![1.0, -2.0, 0.5]), 1).encode().unwrap();
    assert_eq!(hex(&vector), head("04", "001", "14") + "0000803f000000c00000003f");
}

#[test]
fn control_messages_have_these_bytes() {
    let session = SessionId([9; 16]);
    let peer = Peer { node: NodeId([1; 32]), addrs: vec!["127.0.0.1:4433".parse().unwrap()] };
    let blocks = BlockRange::new(2, 4).unwrap();
    let open = Control::Open {
        session,
        epoch: 1,
        model: ModelId([2; 32]),
        blocks,
        next: peer.clone(),
        output: Output::Candidates(64),
        max_positions: 512,
    };
    let peer_hex = "01".repeat(32) + "01000000" + "00" + "7f000001" + "5111";
    assert_eq!(
        hex(&borsh::to_vec(&open).unwrap()),
        "00".to_owned()
            + &"09".repeat(16)
            + "01000000"
            + &"02".repeat(32)
            + "0200000004000000"
            + &peer_hex
            + "004000000000020000"
    );
    assert_eq!(hex(&borsh::to_vec(&Output::Vector).unwrap()), "01");
    let mirror = Control::Mirror { session, to: Some(peer.clone()) };
    assert_eq!(hex(&borsh::to_vec(&mirror).unwrap()), "03".to_owned() + &"09".repeat(16) + "01" + &peer_hex);
    assert_eq!(
        hex(&borsh::to_vec(&Control::Mirror { session, to: None }).unwrap()),
        "03".to_owned() + &"09".repeat(16) + "00"
    );
    let redirect = Control::Redirect { session, epoch: 2, next: peer, replay_from: 0, forward_from: 9 };
    assert_eq!(
        hex(&borsh::to_vec(&redirect).unwrap()),
        "01".to_owned() + &"09".repeat(16) + "02000000" + &peer_hex + "0000000009000000"
    );
    let fault = ControlReply::Fault { session, epoch: 2, fault: Fault::Gap { expected: 3, got: 5 } };
    assert_eq!(
        hex(&borsh::to_vec(&fault).unwrap()),
        "02".to_owned() + &"09".repeat(16) + "02000000" + "01" + "0300000005000000"
    );
}

#[test]
fn who_asks_to_be_dialled_back_has_these_bytes() {
    assert_eq!(hex(&borsh::to_vec(&DialAsk { pass: None, port: 4433 }).unwrap()), "005111");
    let addr = "127.0.0.1:4433".parse().unwrap();
    assert_eq!(hex(&borsh::to_vec(&DialReply::Reached { addr }).unwrap()), "00007f0000015111");
    assert_eq!(hex(&borsh::to_vec(&DialReply::Silent { addr }).unwrap()), "01007f0000015111");
    assert_eq!(hex(&borsh::to_vec(&DialReply::Relayed).unwrap()), "02");
    let refused = |length| DialReply::Refused { reason: "x".repeat(length) };
    assert_eq!(hex(&borsh::to_vec(&refused(1)).unwrap()), "030100000078");
    assert_eq!((refused(512).fault(), refused(513).fault()), (None, Some("its reason is too long")));
    assert!(borsh::from_slice::<DialAsk>(&[0, 0x51]).is_err() && borsh::from_slice::<DialReply>(&[4]).is_err());
}

#[test]
fn joins_have_these_bytes() {
    let peer = Peer { node: NodeId([1; 32]), addrs: vec!["127.0.0.1:4433".parse().unwrap()] };
    let blocks = Some(BlockRange::new(2, 4).unwrap());
    let serves = Join { peer, model: ModelId([2; 32]), blocks, pid: Some(7), invite: None, pass: None };
    let start = "01".repeat(32) + "01000000" + "00" + "7f000001" + "5111" + &"02".repeat(32);
    assert_eq!(hex(&borsh::to_vec(&serves).unwrap()), start.clone() + "010200000004000000" + "0107000000" + "0000");
    let pass = Pass { network: NodeId([3; 32]), member: NodeId([1; 32]), expires: 5, by: None, signature: [4; 64] };
    let uses = Join { blocks: None, pid: None, pass: Some(pass), ..serves };
    let pass_hex = "03".repeat(32) + &"01".repeat(32) + "050000000000000000" + &"04".repeat(64);
    assert_eq!(hex(&borsh::to_vec(&uses).unwrap()), start + "000000" + "01" + &pass_hex);
}

fn figures() -> NodeFigures {
    NodeFigures {
        decode_ns: 1_000_000,
        prefill_ns: 20_000,
        visit_us: 100,
        wait_us: 7,
        goodput_kib_s: 2048,
        room: 9,
        memory: 1 << 30,
        sessions: 3,
        price: 5,
        audience: Audience::Own,
    }
}

#[test]
fn figures_have_these_bytes_and_no_others_are_figures() {
    let bytes = borsh::to_vec(&figures()).unwrap();
    assert_eq!(
        hex(&bytes),
        "40420f00204e00006400000007000000000800000900000000000040000000000300000005000000000000".to_owned() + "0002"
    );
    assert_eq!(borsh::from_slice::<NodeFigures>(&bytes).unwrap(), figures());
    for at in 0..bytes.len() {
        assert!(borsh::from_slice::<NodeFigures>(&bytes[..at]).is_err());
    }
    assert!(borsh::from_slice::<NodeFigures>(&[&bytes[..], &[0]].concat()).is_err());
    let nobody = [&bytes[..44], &[3]].concat();
    assert!(borsh::from_slice::<NodeFigures>(&nobody).is_err());
}

#[test]
fn figures_differ_when_a_plan_would() {
    let now = figures();
    assert!(!now.differ(&now));
    assert!(!now.differ(&NodeFigures { decode_ns: 1_120_000, ..now }));
    assert!(now.differ(&NodeFigures { decode_ns: 1_150_000, ..now }));
    assert!(now.differ(&NodeFigures { wait_us: 0, ..now }));
    assert!(now.differ(&NodeFigures { sessions: 4, ..now }));
    assert!(now.differ(&NodeFigures { room: 8, ..now }));
    assert!(now.differ(&NodeFigures { memory: 1 << 29, ..now }));
}

#[test]
fn headers_that_no_frame_has_are_refused_before_the_body() {
    let good = frame(Payload::Tokens(vec![1, 2]), 2).encode().unwrap();
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        read(&bytes).unwrap_err()
    };
    assert_eq!(with(0, &[9]), FrameError::Kind(9));
    assert_eq!(with(1, &[2]), FrameError::Flags(2));
    assert_eq!(with(2, &[65, 0]), FrameError::Hops(65));
    assert_eq!(with(20, &[0, 0, 0, 1]), FrameError::TooLong(1 << 24));
    assert_eq!(with(12, &[0; 4]), FrameError::Rows { pos: 17, rows: 0 });
    assert_eq!(with(8, &[0xff; 4]), FrameError::Rows { pos: u32::MAX, rows: 2 });
    assert_eq!(with(12, &[3]), FrameError::Payload { bytes: 8, rows: 3 });
    // A vector is of one row, whatever its length.
    assert_eq!(with(0, &[4]), FrameError::Payload { bytes: 8, rows: 2 });
}

proptest! {
    #[test]
    fn frames_round_trip_bit_for_bit(epoch: u32, pos in 0u32..1 << 30, width in 1usize..9, bits in prop::collection::vec(any::<u32>(), 1..9)) {
        let values: Vec<f32> = bits.iter().flat_map(|b| vec![f32::from_bits(*b); width]).collect();
        let mut sent = frame(Payload::Rows(values), bits.len() as u32);
        (sent.epoch, sent.pos) = (epoch, pos);
        let bytes = sent.encode().unwrap();
        prop_assert_eq!(read(&bytes).unwrap().encode().unwrap(), bytes);
    }

    #[test]
    fn any_bytes_are_a_frame_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 24..200)) {
        if let Ok(frame) = read(&bytes) {
            prop_assert_eq!(frame.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_control_message_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = borsh::from_slice::<Control>(&bytes);
        let _ = borsh::from_slice::<ControlReply>(&bytes);
        let _ = borsh::from_slice::<Join>(&bytes);
        let _ = borsh::from_slice::<NodeFigures>(&bytes);
    }
}

#[test]
fn a_cut_frame_is_two_frames_that_say_the_same() {
    for payload in [Payload::Tokens((0..6).collect()), Payload::Rows((0..18).map(|x| x as f32).collect())] {
        let whole = frame(payload, 6);
        for at in 1..6 {
            let mut head = whole.clone();
            let rest = head.cut(at).unwrap();
            assert_eq!((head.pos, head.rows, rest.pos, rest.rows), (17, at, 17 + at, 6 - at));
            assert_eq!((head.wants_candidates, rest.wants_candidates), (false, true));
            assert_eq!((rest.epoch, rest.forward_from, &rest.hops), (3, 5, &whole.hops));
            let joined = match (head.payload, rest.payload) {
                (Payload::Tokens(a), Payload::Tokens(b)) => Payload::Tokens([a, b].concat()),
                (Payload::Rows(a), Payload::Rows(b)) => Payload::Rows([a, b].concat()),
                other => panic!("{other:?}"),
            };
            assert_eq!(joined, whole.payload);
        }
        for at in [0, 6, 7] {
            let mut same = whole.clone();
            assert_eq!(same.cut(at), None);
            assert_eq!(same, whole);
        }
    }
    let mut uneven = frame(Payload::Rows(vec![0.0; 7]), 2);
    assert_eq!((uneven.cut(1), uneven.rows), (None, 2));
}
