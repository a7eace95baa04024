//! A light client believes what is proved and nothing else, also over changes of who validates.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::world::{Links, World};
use common::*;
use skep_consensus::light::{LightError, Shown, Trusted};
use skep_consensus::*;
use skep_ledger::{Action, Key, Refusal};

const CALM: Links = Links { delay_ms: (1, 3), loss_percent: 0 };
const WEEK_S: u64 = 7 * 86_400;
const KEYS: Fast = Fast(skep_types::NodeId([0; 32]));

fn show(blocks: &[Decided], sets: &[Validators], height: usize) -> Shown {
    let decided = &blocks[height - 1];
    let (validators, next) = (sets[height - 1].clone(), sets[height].clone());
    let next = (next != validators).then_some(next);
    Shown { header: decided.block.header.clone(), certificate: decided.certificate.clone(), validators, next }
}

/// A chain whose validators change at height 4, from 1, 2, 3, 4 to 1, 2, 3, 4, 5, and later to 2, 3, 4, 5.
fn grown() -> (World, Vec<Validators>) {
    let mut world = World::new(3, genesis(4), &[1, 2, 3, 4, 5].map(node), CALM);
    world.begin();
    let mut nonces = [0; 5];
    let mut endorse = |world: &mut World, voters: [u8; 4], validator: u8, power: u64| {
        for voter in voters {
            let (now, chain) = (world.now(), world.genesis.chain());
            let nonce = &mut nonces[usize::from(voter) - 1];
            let action = Action::Endorse { validator: node(validator), power };
            if world.submit_tx(usize::from(voter) - 1, signed(chain, now.unix_s, node(voter), *nonce, action)) {
                *nonce += 1;
            }
            world.run_until(world.now_ms + 300);
        }
    };
    endorse(&mut world, [1, 2, 3, 4], 5, 1);
    endorse(&mut world, [2, 3, 4, 5], 1, 0);
    world.submit(2, node(6));
    world.run_until(world.now_ms + 500);
    assert_eq!(world.violations, Vec::<String>::new());
    // What the validators of each height were, by executing the blocks.
    let mut chain = chain(&world.genesis);
    let mut sets = vec![chain.head().next.clone()];
    for decided in &world.machines[1].disk.blocks {
        chain.extend(decided, &KEYS).unwrap();
        sets.push(chain.head().next.clone());
    }
    (world, sets)
}

#[test]
fn it_follows_every_change_of_validators() {
    let (mut world, sets) = grown();
    let blocks = world.machines[1].disk.blocks.clone();
    let sizes: Vec<usize> = sets.iter().map(Validators::len).collect();
    assert!(sizes.contains(&5) && sizes.first() == Some(&4) && sets.last() != sets.first(), "{sizes:?}");
    let now_s = world.now().unix_s;
    let mut trusted = Trusted::begin(&world.genesis);
    for height in 1..=blocks.len() {
        trusted.follow(&show(&blocks, &sets, height), now_s, WEEK_S, &KEYS).unwrap();
    }
    let state = world.machines[1].engine.as_mut().unwrap().chain().state();
    for key in [Key::Account(node(3)), Key::Validator(node(5)), Key::Validator(node(1)), Key::Account(node(99))] {
        let (row, proof) = (state.row(&key).unwrap(), state.prove(&key).unwrap());
        trusted.shows(&proof, &key, row.as_deref()).unwrap();
        assert!(trusted.shows(&proof, &key, Some(&[1, 2, 3])).is_err());
    }
    let again: Trusted = borsh::from_slice(&borsh::to_vec(&trusted).unwrap()).unwrap();
    assert_eq!(again, trusted);
}

#[test]
fn it_leaps_where_enough_of_the_trusted_signed() {
    let (world, sets) = grown();
    let (blocks, now_s) = (&world.machines[1].disk.blocks, world.now().unix_s);
    let mut trusted = Trusted::begin(&world.genesis);
    trusted.leap(&show(blocks, &sets, blocks.len()), now_s, WEEK_S, &KEYS).unwrap();
    assert_eq!(trusted.height, blocks.len() as u64);
    // Somebody's own network of the same name cannot be leapt to.
    let strangers = Validators::new((10..14).map(|number| Validator { id: node(number), power: 1 }).collect()).unwrap();
    let forged = forge(show(blocks, &sets, blocks.len()), &strangers, 4);
    let mut trusted = Trusted::begin(&world.genesis);
    let overlap = LightError::Overlap { signed: 0, total: 4 };
    assert_eq!(trusted.leap(&forged, now_s, WEEK_S, &KEYS), Err(overlap));
    // One of four is not more than a third.
    let mixed = [1, 10, 11, 12].map(|number| Validator { id: node(number), power: 1 });
    let forged = forge(show(blocks, &sets, blocks.len()), &Validators::new(mixed.to_vec()).unwrap(), 4);
    let overlap = LightError::Overlap { signed: 1, total: 4 };
    assert_eq!(trusted.leap(&forged, now_s, WEEK_S, &KEYS), Err(overlap));
    assert_eq!(trusted, Trusted::begin(&world.genesis));
}

/// The header with other validators, of whom the first ones sign it.
fn forge(mut shown: Shown, validators: &Validators, signers: u16) -> Shown {
    (shown.header.validators, shown.header.next) = (validators.hash(), validators.hash());
    (shown.validators, shown.next) = (validators.clone(), None);
    let (height, block) = (shown.header.height, shown.header.id());
    shown.certificate = Certificate { height, round: 0, block, signatures: Vec::new() };
    for place in 0..signers {
        let id = validators.at(place.into()).unwrap().id;
        let vote = vote::Signed::sign(shown.certificate.vote(id), &shown.header.chain, &Fast(id));
        shown.certificate.signatures.push((place, vote.signature));
    }
    shown
}

#[test]
fn what_is_not_proved_is_not_believed() {
    let (world, sets) = grown();
    let (blocks, now_s) = (&world.machines[1].disk.blocks, world.now().unix_s);
    let good = show(blocks, &sets, 1);
    let begin = Trusted::begin(&world.genesis);
    let refused = |shown: &Shown| {
        let mut trusted = begin.clone();
        let error = trusted.follow(shown, now_s, WEEK_S, &KEYS).unwrap_err();
        assert_eq!(trusted, begin, "nothing changes when nothing is believed");
        error
    };
    let with = |change: &dyn Fn(&mut Shown)| {
        let mut shown = good.clone();
        change(&mut shown);
        shown
    };
    let too_little = CertificateError::Power { signed: 2, total: 4 };
    assert_eq!(refused(&with(&|it| it.certificate.signatures.truncate(2))), too_little.into());
    let forged = CertificateError::Forged(node(1));
    assert_eq!(refused(&with(&|it| it.certificate.signatures[0].1[5] ^= 1)), forged.clone().into());
    assert_eq!(refused(&with(&|it| it.certificate.round += 1)), forged.into());
    assert_eq!(refused(&with(&|it| it.certificate.signatures[1].0 = 0)), CertificateError::Places.into());
    assert_eq!(refused(&with(&|it| it.certificate.signatures[0].0 = 9)), CertificateError::Places.into());
    assert_eq!(refused(&with(&|it| it.header.root[0] ^= 1)), CertificateError::OtherBlock.into());
    assert_eq!(refused(&with(&|it| it.header.next[0] ^= 1)), LightError::Validators);
    assert_eq!(refused(&with(&|it| it.validators = equals(3))), LightError::Validators);
    assert_eq!(refused(&with(&|it| it.next = Some(equals(3)))), LightError::Validators);
    assert_eq!(refused(&with(&|it| it.header.chain.0[0] ^= 1)), LightError::Chain);
    assert_eq!(refused(&show(blocks, &sets, 2)), LightError::Place { trusted: 0, got: 2 });
    let late_s = BEGIN_S + WEEK_S + 1;
    let expired = LightError::Expired { trusted_s: BEGIN_S, now_s: late_s };
    assert_eq!(begin.clone().follow(&good, late_s, WEEK_S, &KEYS), Err(expired));
    let time_s = good.header.time_s;
    let future = LightError::Time { time_s, now_s: time_s - 31 };
    assert_eq!(begin.clone().follow(&good, time_s - 31, WEEK_S, &KEYS), Err(future));
    let nothing = Refusal::Proof("nothing is known of the state before the first block");
    let proof = skep_ledger::Proof { siblings: Vec::new(), end: None };
    assert_eq!(begin.shows(&proof, &Key::Totals, None), Err(nothing.into()));
}
