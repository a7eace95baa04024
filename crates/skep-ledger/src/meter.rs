//! Metering a tab while tokens flow: what keeps either side's risk to one window. Both sides run this; the ledger does not.
//!
//! The *client* signs a voucher when it has received [`VOUCHER_UNITS`] more than it signed for, and when it says so ([`ClientMeter::sign`]
//! is for the clock, 250 ms, and for the end). It signs for what it received and no more, so a provider that goes away keeps nothing that
//! it did not earn.
//!
//! The *provider* serves at most `window` units beyond the last voucher ([`ProviderMeter::serve`]), so a client that stops signing takes at
//! most the price of one window. The window must be at least [`VOUCHER_UNITS`], or both wait for each other; the default is
//! [`WINDOW_UNITS`].
//!
//! Units are tokens in and out together: a prompt is served in pieces of a window as well.

use crate::voucher::{SignedVoucher, Voucher};
use crate::{Refusal, Units};
use skep_types::signed::Keys;

/// A client signs again after this many tokens.
pub const VOUCHER_UNITS: u64 = 32;
/// What a provider serves ahead of vouchers by default, tokens.
pub const WINDOW_UNITS: u64 = 64;

fn total(units: &Units) -> u64 {
    units.input.saturating_add(units.output)
}

fn plus(units: &Units, more: &Units) -> Result<Units, Refusal> {
    let sum = |a: u64, b: u64| a.checked_add(b).ok_or(Refusal::Overflow);
    Ok(Units { input: sum(units.input, more.input)?, output: sum(units.output, more.output)? })
}

/// What a client has received from one provider of a tab, and signed for.
#[derive(Clone, Debug)]
pub struct ClientMeter {
    last: Voucher,
    received: Units,
    most: Units,
}

impl ClientMeter {
    /// Nothing received. `first` names tab and provider; `most` is the tab's limit.
    pub fn new(first: Voucher, most: Units) -> Self {
        Self { last: Voucher { seq: 0, units: Units::default(), ..first }, received: Units::default(), most }
    }

    /// Counts what arrived; returns whether a voucher is due.
    ///
    /// # Errors
    /// [`Refusal::OverDeposit`] for more than the tab is good for: nothing of it is counted.
    pub fn receive(&mut self, units: Units) -> Result<bool, Refusal> {
        let received = plus(&self.received, &units)?;
        if !received.within(&self.most) {
            return Err(Refusal::OverDeposit { units: received, most: self.most });
        }
        self.received = received;
        Ok(total(&received) - total(&self.last.units) >= VOUCHER_UNITS)
    }

    /// A voucher for all that was received, or none if one was signed for it. `output` is the hash of the output so far.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] after 2^32 vouchers.
    pub fn sign(&mut self, output: [u8; 32], keys: &impl Keys) -> Result<Option<SignedVoucher>, Refusal> {
        if self.received == self.last.units {
            return Ok(None);
        }
        let seq = self.last.seq.checked_add(1).ok_or(Refusal::Overflow)?;
        self.last = Voucher { seq, units: self.received, output, ..self.last };
        self.last.sign(keys).map(Some)
    }
}

/// What a provider has served on a tab, and the best voucher that it holds.
#[derive(Clone, Debug)]
pub struct ProviderMeter {
    first: Voucher,
    best: Option<SignedVoucher>,
    served: Units,
    most: Units,
    window: u64,
}

impl ProviderMeter {
    /// Nothing served. `first` names tab and provider; `most` is the tab's limit, `window` what may be ahead of vouchers.
    pub fn new(first: Voucher, most: Units, window: u64) -> Self {
        Self { first, best: None, served: Units::default(), most, window: window.max(VOUCHER_UNITS) }
    }

    /// How many units may be served now.
    pub fn allowance(&self) -> u64 {
        let vouched = self.best.map_or(0, |signed| total(&signed.voucher.units));
        (vouched.saturating_add(self.window)).saturating_sub(total(&self.served))
    }

    /// Counts what is about to be served.
    ///
    /// # Errors
    /// [`Refusal::AheadOfVouchers`] if it must wait for a voucher, [`Refusal::OverDeposit`]: nothing of it is counted.
    pub fn serve(&mut self, units: Units) -> Result<(), Refusal> {
        let served = plus(&self.served, &units)?;
        if !served.within(&self.most) {
            return Err(Refusal::OverDeposit { units: served, most: self.most });
        }
        if total(&units) > self.allowance() {
            return Err(Refusal::AheadOfVouchers { units: total(&units), allowance: self.allowance() });
        }
        self.served = served;
        Ok(())
    }

    /// Takes a voucher, by the rules by which the ledger would.
    ///
    /// # Errors
    /// What [`Voucher::follows`] and [`SignedVoucher::verify`] say, and [`Refusal::NotInTab`] for one of another tab or provider.
    pub fn take(&mut self, signed: &SignedVoucher, keys: &impl Keys) -> Result<(), Refusal> {
        let Voucher { chain, tab, provider, .. } = self.first;
        if (signed.voucher.chain, signed.voucher.tab, signed.voucher.provider) != (chain, tab, provider) {
            return Err(Refusal::NotInTab { tab: signed.voucher.tab, provider: signed.voucher.provider });
        }
        let (seq, units) = self.best.map_or((0, Units::default()), |best| (best.voucher.seq, best.voucher.units));
        signed.voucher.follows(seq, &units, &self.most)?;
        signed.verify(keys)?;
        self.best = Some(*signed);
        Ok(())
    }

    /// The voucher to claim with.
    pub fn best(&self) -> Option<&SignedVoucher> {
        self.best.as_ref()
    }

    /// What was served so far.
    pub fn served(&self) -> Units {
        self.served
    }
}
