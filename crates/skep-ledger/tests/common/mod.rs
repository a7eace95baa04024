//! Keys and networks for tests.
#![allow(dead_code, reason = "each test uses some of it")]

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use skep_ledger::*;
use skep_types::NodeId;
use skep_types::signed::{Keys, Signed};

pub const NOW: u64 = 1_700_000_000;
pub const CHAIN: ChainId = ChainId([9; 32]);

/// Real signatures.
pub struct Real(pub SigningKey);

impl Real {
    pub fn of(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }
}

impl Keys for Real {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&signer.0).is_ok_and(|key| key.verify(message, &signature).is_ok())
    }
}

/// Signatures that are a hash: fast, and as good as real ones in a test where nobody forges them.
pub struct Fast(pub NodeId);

fn mac(signer: &NodeId, message: &[u8]) -> [u8; 64] {
    let half = *blake3::Hasher::new().update(&signer.0).update(message).finalize().as_bytes();
    let mut whole = [0; 64];
    whole[..32].copy_from_slice(&half);
    whole[32..].copy_from_slice(&half);
    whole
}

impl Keys for Fast {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        mac(&self.0, message)
    }

    fn verify(&self, signer: &NodeId, message: &[u8], signature: &[u8; 64]) -> bool {
        mac(signer, message) == *signature
    }
}

/// An account whose signatures are hashes.
pub fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

/// A ledger at [`NOW`], with work paid so that each account has money.
pub fn funded(accounts: &[NodeId]) -> State {
    seated(accounts, &[])
}

/// The same with validators.
pub fn seated(accounts: &[NodeId], validators: &[(NodeId, u64)]) -> State {
    let mut state = State::new(CHAIN, Params { subsidy_max: Amount(u64::MAX), ..Params::default() }, NOW).unwrap();
    if !validators.is_empty() {
        state.seat_first(validators).unwrap();
    }
    for account in accounts {
        state.rule(&Ruling::Work { provider: *account, work: 1 }).unwrap();
    }
    state.begin_block(1, NOW + 3600).unwrap();
    assert_conserved(&state);
    state
}

pub fn assert_conserved(state: &State) {
    assert_eq!(state.audit().unwrap().total().unwrap(), state.supply().unwrap());
}

/// A transaction with the account's next number and a fee that suffices.
pub fn tx(state: &State, payer: NodeId, action: Action) -> Tx {
    let expires = state.totals().time_s + 60;
    let mut tx = Tx { chain: CHAIN, payer, nonce: state.account(&payer).nonce, expires, fee: Amount::ZERO, action };
    tx.fee = state.fee_of(&tx).unwrap();
    tx
}

/// Signs with a hash and applies.
pub fn act(state: &mut State, payer: NodeId, action: Action) -> Result<Vec<Event>, Refusal> {
    let tx = tx(state, payer, action);
    let keys = Fast(payer);
    state.apply(&Signed::sign(tx, &keys)?, &keys)
}

/// Lets time go on by a block.
pub fn wait(state: &mut State, seconds: u64) -> Vec<Event> {
    let totals = *state.totals();
    state.begin_block(totals.height + 1, totals.time_s + seconds).unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
