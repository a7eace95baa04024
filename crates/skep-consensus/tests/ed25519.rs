//! With real signatures: a transaction, the block that takes it, and a light client that believes it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{BEGIN_S, genesis};
use skep_consensus::light::{LightError, Shown, Trusted};
use skep_consensus::*;
use skep_ledger::{Action, Ask, Key, Price, Refusal, Tx};
use skep_testkit::keys::Real;
use skep_types::signed::{Signed, StatementError};
use skep_types::{BlockRange, ModelId, NodeId};

const NOW: Now = Now { ms: 0, unix_s: BEGIN_S + 3600 };

/// A key and whose it is.
fn of(seed: u8) -> (NodeId, Real) {
    let keys = Real::of(seed);
    (keys.id(), keys)
}

#[test]
fn a_lone_validator_signs_what_everyone_can_check() {
    let ((me, keys), (payer, payers_keys)) = (of(1), of(2));
    let validators = Validators::new(vec![Validator { id: me, power: 1 }]).unwrap();
    let genesis = Genesis { validators: validators.clone(), ..genesis(1) };
    let chain = Chain::begin(&genesis).unwrap();
    let (mut engine, _) = Engine::new((me, keys), chain, &[], Pace::default(), NOW).unwrap();

    let price = Price { input: 1, output: 1 };
    let ask = Ask { blocks: BlockRange::new(0, 8).unwrap(), price, until_s: NOW.unix_s + 600 };
    let action = Action::Post { model: ModelId([5; 32]), ask };
    let expires = NOW.unix_s + 60;
    let tx = Tx { chain: genesis.chain(), payer, nonce: 0, expires, fee: skep_ledger::Amount::ZERO, action };
    let good = Signed::sign(tx, &payers_keys).unwrap();
    let mut forged = good.clone();
    forged.signature[0] ^= 1;
    let refused = PoolRefusal::Refused(Refusal::Statement(StatementError::Forged(payer)));
    assert_eq!(engine.submit(NOW, forged), Err(refused));
    engine.submit(NOW, good).unwrap();

    let effects = engine.step(NOW, Input::Tick).unwrap();
    let committed = effects.iter().find_map(|effect| match effect {
        Effect::Commit(committed) => Some(committed.decided.clone()),
        _ => None,
    });
    let Decided { block, certificate } = committed.unwrap();
    assert_eq!(block.txs.len(), 1);

    let (_, anyone) = of(9);
    let mut trusted = Trusted::begin(&genesis);
    let shown = Shown { header: block.header, certificate, validators, next: None };
    let mut forged = shown.clone();
    forged.certificate.signatures[0].1[40] ^= 1;
    let refused = LightError::Certificate(CertificateError::Forged(me));
    assert_eq!(trusted.follow(&forged, NOW.unix_s, 86_400, &anyone), Err(refused));
    trusted.follow(&shown, NOW.unix_s, 86_400, &anyone).unwrap();
    let key = Key::Ask((payer, ModelId([5; 32])));
    let state = engine.chain().state();
    let (row, proof) = (state.row(&key).unwrap(), state.prove(&key).unwrap());
    assert!(row.is_some());
    trusted.shows(&proof, &key, row.as_deref()).unwrap();
    assert!(trusted.shows(&proof, &key, None).is_err());
}
