//! Batch capacity: one machine of a class for one hour, traded in a sealed double auction.
//!
//! A round is a class of machines and the hour that begins at `start_s`, a multiple of 3600.
//!
//! 1. *Seal*, until `start_s − reveal_s`: a trader deposits, and commits to side and price by
//!    `BLAKE3("skep seal 1\0" ‖ borsh(round, trader, side, price, salt))`. One seal per trader. The deposit shows the most that a buyer may bid; who
//!    minds deposits more.
//! 2. *Reveal*, from then until `start_s`. What is revealed must be what was sealed, and a buyer's deposit must cover its bid.
//! 3. *Clear*, at `start_s`, by [`crate::auction::double`]. Who sealed and did not reveal loses the least deposit, which is burned, for it made
//!    the price worse for others; everything else goes back to those who do not trade.
//! 4. *Sales*: the first buyer buys from the first seller, and so on. What the seller gets is held for the hour that begins when the round was cleared,
//!    and its deposit with it. Either side may end the sale at any time: the seller gets `⌊total · elapsed / 3600⌋` and the buyer the
//!    rest; a seller that ends it also gives the buyer `⌊deposit · remaining / 3600⌋`. At the end of the hour the seller gets everything.

use crate::auction::{Stated, double};
use crate::due::Due;
use crate::state::State;
use crate::{Amount, Event, Refusal};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_types::NodeId;

/// Seconds that are sold at once.
pub const HOUR_S: u64 = 3600;
/// The most seals of a round.
pub const SEALS_MAX: u32 = 256;
/// How far ahead a round may be, seconds: a week.
pub const AHEAD_S_MAX: u64 = 7 * 86_400;
const CONTEXT: &[u8] = b"skep seal 1\0";

/// What is traded: an hour of a class of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Round {
    /// The class of hardware, as governance numbers them.
    pub class: u32,
    /// When the hour begins, Unix seconds; a multiple of [`HOUR_S`].
    pub start_s: u64,
}

/// Which side of a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Side {
    /// Wants a machine.
    Buy,
    /// Has one.
    Sell,
}

/// A sealed price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sealed {
    /// What it commits to.
    pub commitment: [u8; 32],
    /// What is held for it.
    pub deposit: Amount,
    /// Side and price, when they were revealed.
    pub revealed: Option<(Side, Amount)>,
}

/// An hour that was sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sale {
    /// Who bought.
    pub buyer: NodeId,
    /// What the seller gets for the whole hour.
    pub total: Amount,
    /// The seller's deposit.
    pub bond: Amount,
    /// Since when it runs, Unix seconds.
    pub from_s: u64,
}

/// What a trader commits to.
///
/// # Errors
/// [`Refusal::Overflow`] if memory ends.
pub fn commitment(
    round: &Round,
    trader: &NodeId,
    side: Side,
    price: Amount,
    salt: &[u8; 32],
) -> Result<[u8; 32], Refusal> {
    let mut bytes = CONTEXT.to_vec();
    (round, trader, side, price, salt).serialize(&mut bytes).map_err(|_| Refusal::Overflow)?;
    Ok(*blake3::hash(&bytes).as_bytes())
}

/// Says who comes first at the same price.
fn tie(round: &Round, trader: &NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"skep trade 1\0").update(&round.class.to_le_bytes()).update(&round.start_s.to_le_bytes());
    hasher.update(&trader.0).finalize().into()
}

impl State {
    /// What a trader sealed in a round that is not cleared.
    pub fn sealed(&self, round: Round, trader: NodeId) -> Option<&Sealed> {
        self.rows.seals.get(&(round, trader))
    }

    /// A running sale.
    pub fn sale(&self, round: Round, seller: NodeId) -> Option<&Sale> {
        self.rows.sales.get(&(round, seller))
    }

    pub(crate) fn seal(
        &mut self,
        round: Round,
        trader: NodeId,
        commitment: [u8; 32],
        deposit: Amount,
    ) -> Result<(), Refusal> {
        let (now_s, params) = (self.totals.time_s, *self.params());
        if !round.start_s.is_multiple_of(HOUR_S) || round.start_s.saturating_sub(now_s) > AHEAD_S_MAX {
            return Err(Refusal::Field("a round begins at a full hour within a week"));
        }
        if now_s.saturating_add(params.reveal_s.into()) >= round.start_s {
            return Err(Refusal::RoundTime { round, now_s });
        }
        if deposit < params.seal_deposit_min {
            return Err(Refusal::Deposit { offered: deposit, least: params.seal_deposit_min });
        }
        if self.rows.seals.get(&(round, trader)).is_some() {
            return Err(Refusal::Field("a trader seals once in a round"));
        }
        self.debit(&trader, deposit)?;
        let seals = self.rows.rounds.edit_or_default(&round);
        if *seals >= SEALS_MAX {
            return Err(Refusal::Field("the round has as many seals as it may have"));
        }
        *seals += 1;
        self.rows.seals.put((round, trader), Sealed { commitment, deposit, revealed: None });
        self.schedule(round.start_s, Due::Round(round));
        Ok(())
    }

    pub(crate) fn reveal(
        &mut self,
        round: Round,
        trader: NodeId,
        (side, price): (Side, Amount),
        salt: &[u8; 32],
    ) -> Result<(), Refusal> {
        let (now_s, reveal_s) = (self.totals.time_s, u64::from(self.params().reveal_s));
        let sealed = self.rows.seals.get(&(round, trader)).copied().ok_or(Refusal::NotSealed { trader, round })?;
        if now_s.saturating_add(reveal_s) < round.start_s || now_s >= round.start_s {
            return Err(Refusal::RoundTime { round, now_s });
        }
        if sealed.revealed.is_some() || sealed.commitment != commitment(&round, &trader, side, price, salt)? {
            return Err(Refusal::NotSealed { trader, round });
        }
        if side == Side::Buy && sealed.deposit < price {
            return Err(Refusal::Deposit { offered: sealed.deposit, least: price });
        }
        if let Some(sealed) = self.rows.seals.edit(&(round, trader)) {
            sealed.revealed = Some((side, price));
        }
        Ok(())
    }

    /// Clears a round whose hour begins.
    pub(crate) fn clear_round(&mut self, round: Round) -> Result<(), Refusal> {
        if round.start_s > self.totals.time_s {
            return Ok(());
        }
        let whole = (round, NodeId([0; 32]))..=(round, NodeId([0xff; 32]));
        let seals: Vec<(NodeId, Sealed)> = self.rows.seals.range(whole).map(|(key, sealed)| (key.1, *sealed)).collect();
        self.rows.rounds.take(&round);
        for (trader, sealed) in &seals {
            self.rows.seals.take(&(round, *trader));
            let lost = if sealed.revealed.is_none() {
                self.params().seal_deposit_min.min(sealed.deposit)
            } else {
                Amount::ZERO
            };
            self.burn(lost)?;
            self.credit(trader, sealed.deposit.minus(lost)?)?;
        }
        let stated = |wanted: Side| -> Vec<(NodeId, Stated, Amount)> {
            let one = |(trader, sealed): &(NodeId, Sealed)| {
                let (_, price) = sealed.revealed.filter(|(side, _)| *side == wanted)?;
                Some((*trader, Stated { price, tie: tie(&round, trader) }, sealed.deposit))
            };
            seals.iter().filter_map(one).collect()
        };
        let (buyers, sellers) = (stated(Side::Buy), stated(Side::Sell));
        let prices = |side: &[(NodeId, Stated, Amount)]| side.iter().map(|one| one.1).collect::<Vec<_>>();
        let clearing = double(&prices(&buyers), &prices(&sellers));
        for (buyer, seller) in clearing.buyers.iter().zip(&clearing.sellers) {
            let (seller, _, bond) = sellers[*seller];
            let sale = Sale { buyer: buyers[*buyer].0, total: clearing.seller_gets, bond, from_s: self.totals.time_s };
            self.sell(round, seller, sale, clearing.buyer_pays)?;
        }
        Ok(())
    }

    /// Takes price and deposit, which were given back just before, and begins a sale.
    fn sell(&mut self, round: Round, seller: NodeId, sale: Sale, buyer_pays: Amount) -> Result<(), Refusal> {
        self.debit(&sale.buyer, buyer_pays)?;
        self.debit(&seller, sale.bond)?;
        self.burn(buyer_pays.minus(sale.total)?)?;
        self.rows.sales.put((round, seller), sale);
        self.schedule(sale.from_s.saturating_add(HOUR_S), Due::Sale(round, seller));
        self.tell(Event::Sold { round, seller, buyer: sale.buyer, amount: sale.total });
        Ok(())
    }

    /// One side ends a sale before its time.
    pub(crate) fn end_sale(&mut self, by: NodeId, round: Round, seller: NodeId) -> Result<(), Refusal> {
        let sale =
            self.rows.sales.get(&(round, seller)).copied().ok_or(Refusal::NotSealed { trader: seller, round })?;
        if by != seller && by != sale.buyer {
            return Err(Refusal::NotYours { owner: sale.buyer });
        }
        let remaining_s = sale.from_s.saturating_add(HOUR_S).saturating_sub(self.totals.time_s);
        let left = if by == seller { sale.bond.share(remaining_s, HOUR_S)? } else { Amount::ZERO };
        self.finish_sale(round, seller, left)
    }

    /// The hour of a sale is over.
    pub(crate) fn sale_due(&mut self, round: Round, seller: NodeId) -> Result<(), Refusal> {
        let over = |sale: &Sale| sale.from_s.saturating_add(HOUR_S) <= self.totals.time_s;
        if self.rows.sales.get(&(round, seller)).is_some_and(over) {
            return self.finish_sale(round, seller, Amount::ZERO);
        }
        Ok(())
    }

    /// Pays for what has passed of the hour; `forfeit` of the seller's deposit goes to the buyer.
    fn finish_sale(&mut self, round: Round, seller: NodeId, forfeit: Amount) -> Result<(), Refusal> {
        let Some(sale) = self.rows.sales.take(&(round, seller)) else { return Ok(()) };
        let elapsed_s = self.totals.time_s.saturating_sub(sale.from_s).min(HOUR_S);
        let earned = sale.total.share(elapsed_s, HOUR_S)?;
        self.credit(&seller, earned.plus(sale.bond.minus(forfeit)?)?)?;
        self.credit(&sale.buyer, sale.total.minus(earned)?.plus(forfeit)?)?;
        self.tell(Event::SaleEnded { round, seller, paid: earned });
        Ok(())
    }
}
