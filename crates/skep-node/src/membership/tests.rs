use super::*;

fn peer(number: u8) -> Peer {
    Peer { node: NodeId([number; 32]), addrs: vec![([10, 0, 0, number], 7).into()] }
}

#[test]
fn what_is_remembered_is_there_again_and_what_is_damaged_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let open =
        |network| Membership::open(NodeId([1; 32]), NodeId([network; 32]), Some(folder.path()), DoorRules::default());
    open(2).meet(vec![peer(3), peer(4)]);
    assert_eq!(open(2).contacts(), [peer(3), peer(4)]);
    assert_eq!(open(3).contacts(), [], "another network");
    // The machine that began a network remembers its members elsewhere.
    open(1).meet(vec![peer(3)]);
    assert_eq!(open(1).contacts(), []);
    open(2).meet((0..40).chain(0..40).map(peer).collect());
    assert_eq!(open(2).contacts().len(), CONTACTS_MAX);
    let file = folder.path().join(NodeId([2; 32]).to_string());
    let good = std::fs::read(&file).unwrap();
    for cut in 0..good.len() {
        std::fs::write(&file, &good[..cut]).unwrap();
        assert_eq!(open(2).contacts(), []);
    }
    std::fs::write(&file, vec![0xff; 1 << 20]).unwrap();
    assert_eq!(open(2).contacts(), []);
    std::fs::write(&file, good).unwrap();
    assert_eq!(open(2).contacts().len(), CONTACTS_MAX);
}

#[test]
fn a_pass_that_does_not_hold_is_not_kept() {
    let membership = Membership::open(NodeId([1; 32]), NodeId([2; 32]), None, DoorRules::default());
    let (network, member) = (NodeId([2; 32]), NodeId([1; 32]));
    let expires = admission::now() + 60;
    assert!(!membership.keep(&Pass { network, member, expires, by: None, signature: [0; 64] }));
    assert!(membership.wants_pass() && membership.pass().is_none());
    assert!(membership.admits(network, None));
    assert!(!membership.admits(NodeId([3; 32]), None));
}
