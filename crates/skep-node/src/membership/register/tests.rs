use super::*;
use proptest::prelude::*;
use skep_net::{Net, NetConfig};
use skep_types::PASS_SECONDS;

const NOW: u64 = 1_800_000_000;

async fn machine(key: u8) -> Net {
    Net::bind(NetConfig::new([key; 32], "127.0.0.1:0".parse().unwrap())).await.unwrap().0
}

fn node(number: u64) -> NodeId {
    let mut id = [0xaa; 32];
    id[..8].copy_from_slice(&number.to_le_bytes());
    NodeId(id)
}

fn of(delegations: &[Delegation], removals: &[Removal]) -> RegisterPage {
    RegisterPage { delegations: delegations.to_vec(), removals: removals.to_vec(), doors: Vec::new() }
}

/// The machine that began the network, and two doorkeepers that a register knows.
async fn scene() -> ([Net; 3], [Delegation; 2], Register) {
    let nets = [machine(1).await, machine(2).await, machine(3).await];
    let keepers = [1, 2].map(|at| nets[0].delegate(nets[at].node_id(), NOW + DELEGATION_SECONDS));
    let mut register = Register::default();
    register.take(nets[0].node_id(), NOW, &of(&keepers, &[])).unwrap();
    (nets, keepers, register)
}

#[tokio::test]
async fn who_may_remove_whom() {
    let ([first, keeper, other], delegations, mut register) = scene().await;
    let network = first.node_id();
    let removal = |by: &Net, member| by.removal(network, member, NOW + REMOVAL_SECONDS);
    let stranger = machine(9).await;
    let said = [
        removal(&keeper, node(1)),
        removal(&keeper, other.node_id()),
        removal(&keeper, network),
        removal(&first, network),
        removal(&stranger, node(2)),
    ];
    register.take(network, NOW, &of(&[], &said)).unwrap();
    let removed = |register: &Register, member| register.removed_by(network, member, NOW);
    assert_eq!(removed(&register, node(1)), Some(keeper.node_id()));
    for member in [other.node_id(), network, node(2), keeper.node_id()] {
        assert_eq!(removed(&register, member), None, "{member}");
    }
    assert_eq!(register.removed(network, NOW), [node(1)]);

    // With a doorkeeper goes what it said, and its delegation does not come back.
    let gone = first.removal(network, keeper.node_id(), NOW + DELEGATION_SECONDS);
    register.take(network, NOW, &of(&[], &[gone])).unwrap();
    register.take(network, NOW, &of(&delegations, &said)).unwrap();
    assert_eq!(register.removed(network, NOW), [keeper.node_id()]);
    assert_eq!(register.keepers(NOW).map(|known| known.keeper).collect::<Vec<_>>(), [other.node_id()]);
    // The removal of what is no doorkeeper any more counts from then on.
    register.take(network, NOW, &of(&[], &[removal(&first, other.node_id()), removal(&first, node(3))])).unwrap();
    assert_eq!(register.removed(network, NOW).len(), 3);
    assert!(register.tidy(NOW + REMOVAL_SECONDS));
    assert_eq!(register.removed(network, NOW + REMOVAL_SECONDS), [keeper.node_id()]);
}

#[tokio::test]
async fn what_nobody_honest_would_tell_is_an_error_and_changes_nothing() {
    let ([first, keeper, other], delegations, mut register) = scene().await;
    let network = first.node_id();
    let before = register.clone();
    let forged = Delegation { keeper: node(1), ..delegations[0].clone() };
    let own = other.delegate(node(1), NOW + 60);
    for delegation in [forged, own] {
        assert_eq!(register.take(network, NOW, &of(&[delegation], &[])), Err(RegisterFault::Forged(network)));
    }
    let good = keeper.removal(network, node(1), NOW + REMOVAL_SECONDS);
    let by_another = Removal { by: other.node_id(), ..good.clone() };
    assert_eq!(register.take(network, NOW, &of(&[], &[by_another])), Err(RegisterFault::Forged(other.node_id())));
    let of_another_network = keeper.removal(node(7), node(1), NOW + 60);
    let whole_life = keeper.removal(network, node(1), NOW + DELEGATION_SECONDS);
    assert!(register.take(network, NOW, &of(&[], &[of_another_network])).is_err());
    assert_eq!(register.take(network, NOW, &of(&[], &[whole_life])), Err(RegisterFault::TooFar));
    let for_ever = first.delegate(node(1), u64::MAX);
    assert_eq!(register.take(network, NOW, &of(&[for_ever], &[])), Err(RegisterFault::TooFar));
    // What is over, or of who may not say it, is no news.
    let over = [keeper.removal(network, node(1), NOW), machine(9).await.removal(network, node(1), NOW + 60)];
    register.take(network, NOW, &of(&[first.delegate(node(1), NOW)], &over)).unwrap();
    assert_eq!(register, before);
    register.take(network, NOW, &of(&[], &[good])).unwrap();
    assert_ne!(register.digest(), before.digest());
}

#[tokio::test]
async fn nobody_crowds_out_what_another_said() {
    let ([first, keeper, _], _, mut register) = scene().await;
    let network = first.node_id();
    register.take(network, NOW, &of(&[], &[first.removal(network, node(0), NOW + 60)])).unwrap();
    for number in 1..=100 {
        let removal = keeper.removal(network, node(number), NOW + PASS_SECONDS + number);
        register.take(network, NOW, &of(&[], &[removal])).unwrap();
    }
    // Those that end last stay.
    let stay: Vec<NodeId> = (101 - REMOVALS_OF_KEEPER as u64..=100).map(node).chain([node(0)]).collect();
    let mut removed = register.removed(network, NOW);
    assert_eq!(removed.len(), stay.len());
    removed.retain(|node| !stay.contains(node));
    assert_eq!(removed, []);
    for number in 0..2 * MAX_DOORKEEPERS as u64 {
        let delegation = first.delegate(node(1000 + number), NOW + 1000 + number);
        register.take(network, NOW, &of(&[delegation], &[])).unwrap();
    }
    assert_eq!(register.keepers(NOW).count(), MAX_DOORKEEPERS);
}

/// Statements of a network with two doorkeepers, of which one is removed, to be told in any order.
fn statements() -> (NodeId, Vec<RegisterPage>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ([first, keeper, other], delegations, _) = scene().await;
        let network = first.node_id();
        let mut pages: Vec<RegisterPage> = Vec::new();
        for (at, by) in [(1, &keeper), (2, &other), (3, &first), (4, &keeper), (5, &other)] {
            pages.push(of(&delegations, &[by.removal(network, node(at), NOW + 60 + at)]));
        }
        pages.push(of(&delegations, &[other.removal(network, keeper.node_id(), NOW + 60)]));
        pages.push(of(&[], &[first.removal(network, keeper.node_id(), NOW + DELEGATION_SECONDS)]));
        pages.push(of(&[first.delegate(other.node_id(), NOW + DELEGATION_SECONDS + 5)], &[]));
        (network, pages)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_whatever_order_two_members_hear_the_same_they_know_the_same(order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(), cut in 0usize..8) {
        static SAID: std::sync::OnceLock<(NodeId, Vec<RegisterPage>)> = std::sync::OnceLock::new();
        let (network, pages) = SAID.get_or_init(statements);
        let hear = |register: &mut Register, pages: &[RegisterPage]| {
            pages.iter().for_each(|page| register.take(*network, NOW, page).unwrap());
        };
        let (mut one, mut two, mut all) = (Register::default(), Register::default(), Register::default());
        for at in &order[..cut] {
            hear(&mut one, &pages[*at..=*at]);
        }
        for at in &order[cut..] {
            hear(&mut two, &pages[*at..=*at]);
        }
        // An exchange, as two members have it: all of the one, and what the other has beyond that.
        let told = two.pages(&Register::default());
        let mut heard = Register::default();
        told.iter().for_each(|page| heard.note(page));
        hear(&mut one, &told);
        hear(&mut two, &one.pages(&heard));
        prop_assert_eq!(one.digest(), two.digest());
        hear(&mut all, pages);
        prop_assert_eq!(&one, &all);
        prop_assert!(one.pages(&two).is_empty());
    }
}
