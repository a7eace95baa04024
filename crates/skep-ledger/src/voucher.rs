//! Vouchers: a client's signed word for what it received, which never touches the ledger until the provider claims it.
//!
//! A voucher is cumulative: it says how many tokens this provider has served on this tab in all, so only the last one matters and a lost
//! one is no loss. What is signed is the context `skep voucher 1\0` and the `borsh` encoding of [`Voucher`], by the client whose
//! tab it is. Each provider of a route has vouchers of its own: one that fell out of the route is not paid for what its successor does.

use crate::{ChainId, Refusal, TxId, Units};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;
use skep_types::signed::Keys;

const CONTEXT: &[u8] = b"skep voucher 1\0";

/// What a client owes one provider of a tab for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Voucher {
    /// The network.
    pub chain: ChainId,
    /// The tab; its client signs.
    pub tab: TxId,
    /// Who is owed.
    pub provider: NodeId,
    /// Grows with each voucher for this provider, from 1.
    pub seq: u32,
    /// All that was served so far; no count ever falls.
    pub units: Units,
    /// BLAKE3 of the output so far: what was paid for.
    pub output: [u8; 32],
}

/// A voucher with the client's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedVoucher {
    /// What is owed for.
    pub voucher: Voucher,
    /// The client's: 64 bytes of ed25519.
    pub signature: [u8; 64],
}

impl Voucher {
    /// Signs it. The keys must be the client's, or nobody takes it.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if memory ends.
    pub fn sign(self, keys: &impl Keys) -> Result<SignedVoucher, Refusal> {
        Ok(SignedVoucher { voucher: self, signature: keys.sign(&self.message()?) })
    }

    fn message(&self) -> Result<Vec<u8>, Refusal> {
        let mut bytes = CONTEXT.to_vec();
        self.serialize(&mut bytes).map_err(|_| Refusal::Overflow)?;
        Ok(bytes)
    }

    /// Whether this voucher may follow one with `known` and `units` on a tab that is good for `most`.
    ///
    /// # Errors
    /// [`Refusal::VoucherOrder`], [`Refusal::VoucherFell`], [`Refusal::OverDeposit`].
    pub fn follows(&self, known: u32, units: &Units, most: &Units) -> Result<(), Refusal> {
        if self.seq <= known {
            return Err(Refusal::VoucherOrder { seq: self.seq, known });
        }
        if !units.within(&self.units) {
            return Err(Refusal::VoucherFell { units: self.units, known: *units });
        }
        if !self.units.within(most) {
            return Err(Refusal::OverDeposit { units: self.units, most: *most });
        }
        Ok(())
    }
}

impl SignedVoucher {
    /// Whether the client of the tab signed it.
    ///
    /// # Errors
    /// [`Refusal::VoucherForged`].
    pub fn verify(&self, keys: &impl Keys) -> Result<(), Refusal> {
        let client = self.voucher.tab.payer;
        let holds = keys.verify(&client, &self.voucher.message()?, &self.signature);
        if holds { Ok(()) } else { Err(Refusal::VoucherForged { client }) }
    }
}
