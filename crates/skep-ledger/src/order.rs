//! Reservations: machines for a time, by reverse auction, paid by the second out of an escrow.
//!
//! 1. Somebody places an *order*: what machines, how many, the most that it pays each a second, how long a notice it wants, and until when it
//!    takes bids. It deposits at least [`LEASE_S_MIN`] seconds for all of them.
//! 2. Providers *bid* a rate, with a bond and the notice that they will give, `reclaim_s`. A bid is checked in this order: the order is open,
//!    the bond, the rate, the machine, the notice, the number of bids. There are [`BIDS_MAX`] at most; after that a bid must be lower than the
//!    highest one, which it displaces and whose bond goes back: so nobody can keep lower bids out by many high ones.
//! 3. When the time for bids is over, the lowest win, and each is paid the next lowest bid ([`crate::auction`]). The others get their bonds
//!    back at once. An order without bids ends.
//! 4. *Leases* are paid by [`crate::stream`]. When the escrow cannot pay for another second, everything ends. The owner may add to
//!    it, and may end a lease or the order at any time: so it pays a machine that has gone for as long as it does not look.
//! 5. A provider that wants its machine back gives notice (*reclaim*) and leaves when the notice is over, with its whole bond. One that leaves
//!    earlier, with `m` seconds of the notice missing, gives `⌊bond · m / reclaim_s⌋` to the owner. Nothing else is ever taken for it.

use crate::auction::{Stated, reverse};
use crate::due::Due;
use crate::state::State;
use crate::stream::{lasts_s, settle};
use crate::{Amount, Event, Refusal, TxId};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;

/// The most bids of an order.
pub const BIDS_MAX: usize = 32;
/// The most machines of an order.
pub const MACHINES_MAX: u8 = 16;
/// What a deposit must last for, seconds.
pub const LEASE_S_MIN: u64 = 60;
/// The longest time for bids, seconds: a week.
pub const BIDDING_S_MAX: u64 = 7 * 86_400;

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Machine {
    /// The class of hardware, as governance numbers them.
    pub class: u32,
    /// Memory, MiB.
    pub memory_mib: u32,
}

impl Machine {
    /// Whether this machine can stand for `wanted`.
    pub fn serves(&self, wanted: &Self) -> bool {
        self.class == wanted.class && self.memory_mib >= wanted.memory_mib
    }
}

/// What an order asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Wanted {
    /// What each machine must be.
    pub machine: Machine,
    /// How many, 1 to [`MACHINES_MAX`].
    pub count: u8,
    /// The most for each, per second.
    pub rate_max: Amount,
    /// The shortest notice, seconds.
    pub reclaim_s_min: u32,
    /// Until when bids are taken, Unix seconds.
    pub until_s: u64,
}

/// What a provider offers for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Bid {
    /// What it wants at least, per second.
    pub rate: Amount,
    /// What it loses a part of if it leaves without notice.
    pub bond: Amount,
    /// The notice that it gives, seconds.
    pub reclaim_s: u32,
    /// What its machine is.
    pub machine: Machine,
}

/// A provider's part in an order: a bid, and when it has won a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Lease {
    /// Who.
    pub provider: NodeId,
    /// What it is paid per second; what it bid, before the award.
    pub rate: Amount,
    /// Its bond.
    pub bond: Amount,
    /// Its notice, seconds.
    pub reclaim_s: u32,
    /// When it gave notice, Unix seconds.
    pub notice_s: Option<u64>,
}

/// An order. Its name is that of the transaction that placed it, and so names the owner too.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Order {
    /// What is asked for.
    pub wanted: Wanted,
    /// What is left to pay with.
    pub escrow: Amount,
    /// Bids, and leases from the award on.
    pub parts: Vec<Lease>,
    /// Since when leases were not paid, Unix seconds; none before the award.
    pub settled_s: Option<u64>,
}

impl Order {
    /// All money of the order.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] in a state that broke its law.
    pub fn held(&self) -> Result<Amount, Refusal> {
        Amount::sum(self.parts.iter().map(|part| part.bond))?.plus(self.escrow)
    }

    fn rates(&self) -> Vec<Amount> {
        self.parts.iter().map(|part| part.rate).collect()
    }

    fn part(&self, provider: &NodeId) -> Option<usize> {
        self.parts.iter().position(|part| part.provider == *provider)
    }
}

/// What a provider loses of its bond if it leaves at `now_s`.
fn forfeit(lease: &Lease, now_s: u64) -> Result<Amount, Refusal> {
    let notice = u64::from(lease.reclaim_s);
    if notice == 0 {
        return Ok(Amount::ZERO);
    }
    let given = lease.notice_s.map_or(0, |since_s| now_s.saturating_sub(since_s));
    lease.bond.share(notice.saturating_sub(given), notice)
}

/// Says who comes first among equal bids.
fn tie(order: &TxId, provider: &NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"skep bid 1\0").update(&order.payer.0).update(&order.nonce.to_le_bytes()).update(&provider.0);
    hasher.finalize().into()
}

impl State {
    /// An open order.
    pub fn order(&self, id: &TxId) -> Option<&Order> {
        self.rows.orders.get(id)
    }

    fn known_order(&self, id: &TxId) -> Result<&Order, Refusal> {
        self.rows.orders.get(id).ok_or(Refusal::Unknown { what: "order", id: *id })
    }

    pub(crate) fn place_order(&mut self, id: TxId, wanted: Wanted, deposit: Amount) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        if wanted.until_s <= now_s || wanted.until_s - now_s > BIDDING_S_MAX {
            return Err(Refusal::Field("an order takes bids for a week at most"));
        }
        if wanted.count == 0 || wanted.count > MACHINES_MAX || wanted.rate_max == Amount::ZERO {
            return Err(Refusal::Field("an order asks for some machines and pays for them"));
        }
        if wanted.reclaim_s_min > self.params().reclaim_s_max {
            return Err(Refusal::Notice { least: 0, asked: wanted.reclaim_s_min, most: self.params().reclaim_s_max });
        }
        let least = wanted.rate_max.share(u64::from(wanted.count) * LEASE_S_MIN, 1)?;
        if deposit < least {
            return Err(Refusal::Deposit { offered: deposit, least });
        }
        self.debit(&id.payer, deposit)?;
        self.rows.orders.put(id, Order { wanted, escrow: deposit, parts: Vec::new(), settled_s: None });
        self.schedule(wanted.until_s, Due::Order(id));
        Ok(())
    }

    pub(crate) fn bid(&mut self, provider: NodeId, id: &TxId, bid: &Bid) -> Result<(), Refusal> {
        let (order, params) = (self.known_order(id)?, *self.params());
        let wanted = order.wanted;
        if order.settled_s.is_some() || wanted.until_s <= self.totals.time_s {
            return Err(Refusal::Closed { what: "order", id: *id, closed_s: wanted.until_s });
        }
        if bid.bond < params.bid_bond_min {
            return Err(Refusal::Deposit { offered: bid.bond, least: params.bid_bond_min });
        }
        if bid.rate == Amount::ZERO || bid.rate > wanted.rate_max {
            return Err(Refusal::Rate { rate: bid.rate, most: wanted.rate_max });
        }
        if !bid.machine.serves(&wanted.machine) {
            return Err(Refusal::Field("the machine is not what the order asks for"));
        }
        if !(wanted.reclaim_s_min..=params.reclaim_s_max).contains(&bid.reclaim_s) {
            let (least, most) = (wanted.reclaim_s_min, params.reclaim_s_max);
            return Err(Refusal::Notice { least, asked: bid.reclaim_s, most });
        }
        if provider == id.payer || order.part(&provider).is_some() {
            return Err(Refusal::Field("a provider bids once, and not for its own order"));
        }
        self.debit(&provider, bid.bond)?;
        self.make_room(id, bid.rate)?;
        let Bid { rate, bond, reclaim_s, .. } = *bid;
        if let Some(order) = self.rows.orders.edit(id) {
            order.parts.push(Lease { provider, rate, bond, reclaim_s, notice_s: None });
        }
        Ok(())
    }

    /// Displaces the highest bid of a full order, if it is above `rate`.
    fn make_room(&mut self, id: &TxId, rate: Amount) -> Result<(), Refusal> {
        let parts = &self.known_order(id)?.parts;
        if parts.len() < BIDS_MAX {
            return Ok(());
        }
        let highest = parts.iter().enumerate().max_by_key(|(_, part)| (part.rate, tie(id, &part.provider)));
        match highest.filter(|(_, part)| part.rate > rate).map(|(place, part)| (place, part.bond)) {
            Some((place, bond)) => self.end_part(id, place, bond),
            None => Err(Refusal::Field("the order has its bids, and none is higher")),
        }
    }

    pub(crate) fn fund(&mut self, by: NodeId, id: &TxId, amount: Amount) -> Result<(), Refusal> {
        self.known_order(id)?;
        self.debit(&by, amount)?;
        let order = self.rows.orders.edit(id).ok_or(Refusal::Unknown { what: "order", id: *id })?;
        order.escrow = order.escrow.plus(amount)?;
        self.schedule_exhaustion(id)
    }

    pub(crate) fn reclaim(&mut self, provider: NodeId, id: &TxId) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        let order = self.known_order(id)?;
        let part = order.part(&provider).filter(|_| order.settled_s.is_some());
        let part = part.ok_or(Refusal::NotInOrder { order: *id, provider })?;
        if let Some(order) = self.rows.orders.edit(id) {
            order.parts[part].notice_s.get_or_insert(now_s);
        }
        Ok(())
    }

    /// A provider takes back its bid, or leaves its lease.
    pub(crate) fn leave(&mut self, provider: NodeId, id: &TxId) -> Result<(), Refusal> {
        self.known_order(id)?;
        self.settle_order(id)?;
        let order = self.known_order(id)?;
        let part = order.part(&provider).ok_or(Refusal::NotInOrder { order: *id, provider })?;
        let lease = order.parts[part];
        let leased = order.settled_s.is_some();
        let lost = if leased { forfeit(&lease, self.totals.time_s)? } else { Amount::ZERO };
        self.credit(&id.payer, lost)?;
        self.end_part(id, part, lease.bond.minus(lost)?)
    }

    /// The owner ends one lease, or the order.
    pub(crate) fn dismiss(&mut self, by: NodeId, id: &TxId, provider: Option<NodeId>) -> Result<(), Refusal> {
        if by != id.payer {
            return Err(Refusal::NotYours { owner: id.payer });
        }
        self.known_order(id)?;
        self.settle_order(id)?;
        let Some(provider) = provider else { return self.end_order(id) };
        let order = self.known_order(id)?;
        let part = order.part(&provider).filter(|_| order.settled_s.is_some());
        let part = part.ok_or(Refusal::NotInOrder { order: *id, provider })?;
        let bond = order.parts[part].bond;
        self.end_part(id, part, bond)
    }

    /// Ends one part and gives `back` of its bond to the provider; the last lease ends the order.
    fn end_part(&mut self, id: &TxId, part: usize, back: Amount) -> Result<(), Refusal> {
        let order = self.rows.orders.edit(id).ok_or(Refusal::Unknown { what: "order", id: *id })?;
        let lease = order.parts.remove(part);
        let empty = order.settled_s.is_some() && order.parts.is_empty();
        self.credit(&lease.provider, back)?;
        if empty { self.end_order(id) } else { self.schedule_exhaustion(id) }
    }

    /// Pays leases until now. An order that cannot pay for another second ends.
    fn settle_order(&mut self, id: &TxId) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        let Some(order) = self.rows.orders.edit(id) else { return Ok(()) };
        let Some(since_s) = order.settled_s else { return Ok(()) };
        let settled = settle(order.escrow, &order.rates(), now_s.saturating_sub(since_s))?;
        (order.escrow, order.settled_s) = (settled.rest, Some(now_s));
        let providers: Vec<NodeId> = order.parts.iter().map(|part| part.provider).collect();
        for (provider, amount) in providers.iter().zip(&settled.paid) {
            self.credit(provider, *amount)?;
            self.tell(Event::Leased { order: *id, provider: *provider, amount: *amount });
        }
        if settled.exhausted { self.end_order(id) } else { Ok(()) }
    }

    fn schedule_exhaustion(&mut self, id: &TxId) -> Result<(), Refusal> {
        let Some(order) = self.rows.orders.get(id) else { return Ok(()) };
        let Some(since_s) = order.settled_s else { return Ok(()) };
        let lasts_s = lasts_s(order.escrow, &order.rates())?;
        self.schedule(since_s.saturating_add(lasts_s), Due::Order(*id));
        Ok(())
    }

    /// Gives back what an order holds.
    fn end_order(&mut self, id: &TxId) -> Result<(), Refusal> {
        let Some(order) = self.rows.orders.take(id) else { return Ok(()) };
        for part in &order.parts {
            self.credit(&part.provider, part.bond)?;
        }
        self.credit(&id.payer, order.escrow)?;
        self.tell(Event::OrderEnded { order: *id, returned: order.escrow });
        Ok(())
    }

    /// The time for bids is over, or the escrow is.
    pub(crate) fn order_due(&mut self, id: &TxId) -> Result<(), Refusal> {
        let Some(order) = self.rows.orders.get(id) else { return Ok(()) };
        if order.settled_s.is_none() && order.wanted.until_s <= self.totals.time_s {
            return self.award(id);
        }
        self.settle_order(id)?;
        self.schedule_exhaustion(id)
    }

    fn award(&mut self, id: &TxId) -> Result<(), Refusal> {
        let now_s = self.totals.time_s;
        let Some(order) = self.rows.orders.edit(id) else { return Ok(()) };
        let state = |part: &Lease| Stated { price: part.rate, tie: tie(id, &part.provider) };
        let bids: Vec<Stated> = order.parts.iter().map(state).collect();
        let award = reverse(&bids, order.wanted.count.into(), order.wanted.rate_max);
        let all = std::mem::take(&mut order.parts);
        order.parts = award.winners.iter().map(|bid| Lease { rate: award.price, ..all[*bid] }).collect();
        order.settled_s = Some(now_s);
        let won: Vec<NodeId> = order.parts.iter().map(|part| part.provider).collect();
        for lost in all.iter().filter(|part| !won.contains(&part.provider)) {
            self.credit(&lost.provider, lost.bond)?;
        }
        if won.is_empty() {
            return self.end_order(id);
        }
        self.tell(Event::Awarded { order: *id, providers: won, rate: award.price });
        self.schedule_exhaustion(id)
    }
}
