//! Tabs: an escrow out of which the providers of a route are paid for what the client's vouchers say.
//!
//! A client opens a tab with the providers of a route, up to `most` units each, until a time. With `due_i(u)` what provider `i` asks for
//! `u` units ([`Price::of`](crate::Price::of)), the tab holds
//!
//! ```text
//! deposit = Σ_i due_i(most)
//! ```
//!
//! so no unit is promised twice, and no voucher that is within `most` can find the tab empty. What the tab holds for a provider is at
//! stake with its bond ([`crate::bond`]). Provider `i` claims with its best
//! voucher, as often as it likes, and is paid `due_i(units) − paid_i`. Anyone may send the claim; only the provider is paid. A claim
//! whose number is not above the last one, whose units fall or pass `most`, or which the client did not sign, is refused.
//!
//! A tab ends in three ways, and what it still holds goes back to the client:
//! - *cooperatively*: a provider ends its own part with its last claim or by letting go; with the last part, the tab is gone;
//! - *by the client*: it closes the tab, and the providers have `dispute_s` seconds for their last claims;
//! - *by time*.
//!
//! A client that opens tabs and never uses them ties up its own deposit, and as much of what a provider's bond stands for; such a
//! provider lets go.
//!
//! Each side is at risk for one window: a provider serves at most a window beyond the last voucher, and a client signs for at most a window
//! beyond what it received ([`crate::meter`]).

use crate::due::Due;
use crate::state::State;
use crate::voucher::SignedVoucher;
use crate::{Amount, Event, Price, Refusal, TxId, Units};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::signed::Keys;
use skep_types::{ModelId, NodeId};

/// The most providers of a tab: a route with some standing by.
pub const LEGS_MAX: usize = 32;
/// The most vouchers of a claim: what fits a transaction.
pub const VOUCHERS_MAX: usize = 32;

/// A provider whom a client names in a new tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Hire {
    /// Who.
    pub provider: NodeId,
    /// Whose ask for this model is taken.
    pub model: ModelId,
    /// The most that the client takes that ask at; it pays what is asked.
    pub price_max: Price,
}

/// One provider's part in a tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Leg {
    /// Who serves.
    pub provider: NodeId,
    /// The ask when the tab was opened.
    pub price: Price,
    /// The number of its last voucher, 0 before the first.
    pub seq: u32,
    /// What it was paid for.
    pub units: Units,
    /// What it was paid.
    pub paid: Amount,
    /// It will claim no more.
    pub done: bool,
}

/// An open tab. Its name is that of the transaction that opened it, and so names the client too.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tab {
    /// The providers.
    pub legs: Vec<Leg>,
    /// The most units of each.
    pub most: Units,
    /// Until when providers may claim, Unix seconds.
    pub closes_s: u64,
}

impl Leg {
    /// What the tab holds for this provider.
    ///
    /// # Errors
    /// [`Refusal::Overflow`], never in an open tab.
    pub fn held(&self, most: Units) -> Result<Amount, Refusal> {
        if self.done { Ok(Amount::ZERO) } else { self.price.of(most)?.minus(self.paid) }
    }
}

impl Tab {
    /// What the tab holds.
    ///
    /// # Errors
    /// [`Refusal::Overflow`], never in an open tab.
    pub fn held(&self) -> Result<Amount, Refusal> {
        self.legs.iter().try_fold(Amount::ZERO, |sum, leg| sum.plus(leg.held(self.most)?))
    }

    fn leg(&self, provider: &NodeId) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.provider == *provider)
    }
}

impl State {
    /// An open tab.
    pub fn tab(&self, id: &TxId) -> Option<&Tab> {
        self.rows.tabs.get(id)
    }

    pub(crate) fn open_tab(&mut self, id: TxId, hires: &[Hire], most: Units, until_s: u64) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        if until_s <= now_s || until_s - now_s > u64::from(self.params().tab_s_max) {
            return Err(Refusal::Field("a tab ends later than now, and not later than is allowed"));
        }
        if hires.is_empty()
            || hires.iter().enumerate().any(|(i, a)| hires[..i].iter().any(|b| a.provider == b.provider))
        {
            return Err(Refusal::Field("a tab names each of its providers once"));
        }
        let legs = hires.iter().map(|hire| self.leg_of(hire)).collect::<Result<Vec<_>, _>>()?;
        let tab = Tab { legs, most, closes_s: until_s };
        let deposit = tab.held()?;
        self.debit(&id.payer, deposit)?;
        for leg in &tab.legs {
            self.expose(leg.provider, leg.held(most)?)?;
        }
        self.tell(Event::TabOpened { tab: id, deposit });
        self.rows.tabs.put(id, tab);
        self.schedule(until_s, Due::Tab(id));
        Ok(())
    }

    fn leg_of(&self, hire: &Hire) -> Result<Leg, Refusal> {
        let Hire { provider, model, price_max } = *hire;
        let ask = self.ask(&provider, &model).ok_or(Refusal::NoAsk { provider, model })?;
        if !ask.price.within(&price_max) {
            return Err(Refusal::TooDear { provider, asks: ask.price, most: price_max });
        }
        Ok(Leg { provider, price: ask.price, seq: 0, units: Units::default(), paid: Amount::ZERO, done: false })
    }

    pub(crate) fn claim(
        &mut self,
        by: NodeId,
        vouchers: &[SignedVoucher],
        last: bool,
        keys: &impl Keys,
    ) -> Result<(), Refusal> {
        if vouchers.is_empty() {
            return Err(Refusal::Field("a claim without vouchers"));
        }
        for signed in vouchers {
            self.claim_one(signed, keys)?;
            if last {
                self.end_leg(by, &signed.voucher.tab, &signed.voucher.provider)?;
            }
        }
        Ok(())
    }

    fn claim_one(&mut self, signed: &SignedVoucher, keys: &impl Keys) -> Result<(), Refusal> {
        let voucher = &signed.voucher;
        let (id, provider) = (voucher.tab, voucher.provider);
        if voucher.chain != self.chain() {
            return Err(Refusal::Chain);
        }
        let (tab, leg) = self.open_leg(&id, &provider)?;
        voucher.follows(leg.seq, &leg.units, &tab.most)?;
        let pay = leg.price.of(voucher.units)?.minus(leg.paid)?;
        signed.verify(keys)?;
        self.edit_leg(&id, &provider, |leg| {
            (leg.seq, leg.units) = (voucher.seq, voucher.units);
            leg.paid = leg.paid.plus(pay)?;
            Ok(())
        })?;
        self.expose_paid(&provider, pay)?;
        self.credit(&provider, pay)?;
        self.tell(Event::Claimed { tab: id, provider, amount: pay });
        Ok(())
    }

    /// A leg on which may still be claimed.
    fn open_leg(&self, id: &TxId, provider: &NodeId) -> Result<(&Tab, &Leg), Refusal> {
        let tab = self.rows.tabs.get(id).ok_or(Refusal::Unknown { what: "tab", id: *id })?;
        if tab.closes_s <= self.totals.time_s {
            return Err(Refusal::Closed { what: "tab", id: *id, closed_s: tab.closes_s });
        }
        let leg = tab.leg(provider).filter(|leg| !leg.done);
        let leg = leg.ok_or(Refusal::NotInTab { tab: *id, provider: *provider })?;
        Ok((tab, leg))
    }

    fn edit_leg(
        &mut self,
        id: &TxId,
        provider: &NodeId,
        edit: impl FnOnce(&mut Leg) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let legs = self.rows.tabs.edit(id).map(|tab| tab.legs.iter_mut());
        let leg = legs.and_then(|mut legs| legs.find(|leg| leg.provider == *provider));
        edit(leg.ok_or(Refusal::NotInTab { tab: *id, provider: *provider })?)
    }

    /// Ends the part of a provider, who asks for it, and gives back what was held for it.
    pub(crate) fn end_leg(&mut self, by: NodeId, id: &TxId, provider: &NodeId) -> Result<(), Refusal> {
        if by != *provider {
            return Err(Refusal::NotYours { owner: *provider });
        }
        let (tab, leg) = self.open_leg(id, provider)?;
        let held = leg.held(tab.most)?;
        self.edit_leg(id, provider, |leg| {
            leg.done = true;
            Ok(())
        })?;
        self.expose_less(provider, held)?;
        self.credit(&id.payer, held)?;
        if self.rows.tabs.get(id).is_some_and(|tab| tab.legs.iter().all(|leg| leg.done)) {
            self.rows.tabs.take(id);
            self.tell(Event::TabEnded { tab: *id, returned: held });
        }
        Ok(())
    }

    pub(crate) fn close_tab(&mut self, by: NodeId, id: &TxId) -> Result<(), Refusal> {
        if by != id.payer {
            return Err(Refusal::NotYours { owner: id.payer });
        }
        let closes_s = self.totals.time_s.saturating_add(self.params().dispute_s.into());
        let tab = self.rows.tabs.edit(id).ok_or(Refusal::Unknown { what: "tab", id: *id })?;
        if closes_s < tab.closes_s {
            tab.closes_s = closes_s;
            self.schedule(closes_s, Due::Tab(*id));
        }
        Ok(())
    }

    /// Ends a tab whose time is over.
    pub(crate) fn end_tab(&mut self, id: &TxId) -> Result<(), Refusal> {
        let over = self.rows.tabs.get(id).is_some_and(|tab| tab.closes_s <= self.totals.time_s);
        let Some(tab) = over.then(|| self.rows.tabs.take(id)).flatten() else { return Ok(()) };
        let held = tab.held()?;
        for leg in &tab.legs {
            self.expose_less(&leg.provider, leg.held(tab.most)?)?;
        }
        self.credit(&id.payer, held)?;
        self.tell(Event::TabEnded { tab: *id, returned: held });
        Ok(())
    }
}
