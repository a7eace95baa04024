//! A small economy of honest people, people who vanish and people who cheat, driven by a seed.

use crate::common::*;
use skep_ledger::meter::*;
use skep_ledger::round::{HOUR_S, commitment};
use skep_ledger::*;
use skep_types::signed::Signed;
use skep_types::{BlockRange, ModelId, NodeId};
use std::collections::BTreeMap;

pub const PEOPLE: u64 = 16;
/// The highest of these numbers cheat.
pub const CHEATS: u64 = 4;
const MODEL: ModelId = ModelId([5; 32]);
/// Tabs that are used at once; what opens beyond that replaces an older one, whose people forget it.
const LIVE_MAX: usize = 24;

pub struct Rng(pub u64);

impl Rng {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len() as u64) as usize]) }
    }
}

/// One provider of one tab, as both sides see it.
pub struct Leg {
    pub tab: TxId,
    pub provider: NodeId,
    client: ClientMeter,
    server: ProviderMeter,
    /// What really arrived at the client.
    pub delivered: u64,
    /// One side is gone, or has stopped to sign.
    pub broken: bool,
}

impl Leg {
    /// Units that the provider served and cannot claim.
    pub fn at_risk(&self) -> u64 {
        let best = self.server.best().map_or(Units::default(), |best| best.voucher.units);
        let served = self.server.served();
        served.input + served.output - best.input - best.output
    }
}

pub struct World {
    pub state: State,
    pub rng: Rng,
    pub legs: Vec<Leg>,
    orders: Vec<TxId>,
    seals: Vec<(Round, NodeId, Side, u64)>,
    /// Something that was applied: sent again, it must be refused.
    old: Option<Signed<Tx>>,
    pub applied: u64,
    pub refused: u64,
    /// What verified work was subsidised with.
    pub issued: u64,
    /// How often each kind of event happened.
    pub seen: BTreeMap<String, u64>,
}

/// Units of a voucher in both directions.
pub fn total(units: Units) -> u64 {
    units.input + units.output
}

impl World {
    pub fn new(seed: u64) -> Self {
        let people: Vec<NodeId> = (0..PEOPLE).map(person).collect();
        let mut state = funded(&people);
        let quick = Params {
            dispute_s: 300,
            unbonding_s: 7200,
            seal_deposit_min: Amount(50_000),
            bid_bond_min: Amount(10_000),
            subsidy_max: Amount(100_000),
            ..*state.params()
        };
        state.rule(&Ruling::Params(quick)).unwrap();
        let rng = Rng(seed);
        let issued = state.totals().issued.0;
        let (legs, orders, seals) = (Vec::new(), Vec::new(), Vec::new());
        Self { state, rng, legs, orders, seals, old: None, applied: 0, refused: 0, issued, seen: BTreeMap::new() }
    }

    fn anyone(&mut self) -> NodeId {
        person(self.rng.below(PEOPLE))
    }

    pub fn cheats(who: &NodeId) -> bool {
        u64::from(who.0[0]) >= PEOPLE - CHEATS
    }

    /// One thing happens.
    pub fn step(&mut self) {
        match self.rng.below(100) {
            0..=44 => self.serve(),
            45..=49 => self.open(),
            50..=59 => self.claim(),
            60..=62 => self.forge(),
            63..=65 => self.end(),
            66..=72 => self.transfer(),
            73..=76 => self.provide(),
            77..=84 => self.reserve(),
            85..=91 => self.trade(),
            92..=93 => self.replay(),
            94..=95 => self.judge(),
            _ => self.wait(),
        }
    }

    pub fn act(&mut self, who: NodeId, action: Action) -> bool {
        let keys = Fast(who);
        let tx = tx(&self.state, who, action);
        let Ok(signed) = Signed::sign(tx, &keys) else { return false };
        let done = self.state.apply(&signed, &keys);
        match &done {
            Ok(events) => {
                (self.applied, self.old) = (self.applied + 1, Some(signed));
                self.note(events);
            }
            Err(_) => self.refused += 1,
        }
        done.is_ok()
    }

    fn note(&mut self, events: &[Event]) {
        for event in events {
            let kind: String = format!("{event:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
            *self.seen.entry(kind).or_default() += 1;
            if let Event::Issued { amount, .. } = event {
                self.issued += amount.0;
            }
        }
    }

    fn open(&mut self) {
        let client = self.anyone();
        let count = 1 + self.rng.below(3);
        let price_max = Price { input: 2000, output: 2000 };
        let hires: Vec<Hire> = (0..count).map(|_| Hire { provider: self.anyone(), model: MODEL, price_max }).collect();
        let most = Units { input: self.rng.below(2000), output: self.rng.below(2000) };
        let until_s = self.state.totals().time_s + self.rng.below(9000);
        let tab = TxId { payer: client, nonce: self.state.account(&client).nonce };
        let providers: Vec<NodeId> = hires.iter().map(|hire| hire.provider).collect();
        if !self.act(client, Action::OpenTab { hires, most, until_s }) {
            return;
        }
        for provider in providers {
            let first = Voucher { chain: CHAIN, tab, provider, seq: 0, units: Units::default(), output: [0; 32] };
            let window = self.rng.below(200);
            let (client, server) = (ClientMeter::new(first, most), ProviderMeter::new(first, most, window));
            self.legs.push(Leg { tab, provider, client, server, delivered: 0, broken: false });
        }
        if self.legs.len() > LIVE_MAX {
            self.legs.drain(..self.legs.len() - LIVE_MAX);
        }
    }

    /// Some tokens are served, perhaps arrive, and are perhaps signed for.
    fn serve(&mut self) {
        if self.legs.is_empty() {
            return;
        }
        let place = self.rng.below(self.legs.len() as u64) as usize;
        let (count, input) = (1 + self.rng.below(40), self.rng.one_in(4));
        let (vanishes, stops, lost) = (self.rng.one_in(200), self.rng.one_in(20), self.rng.one_in(20));
        let leg = &mut self.legs[place];
        let count = count.min(leg.server.allowance());
        let units = if input { Units { input: count, output: 0 } } else { Units { input: 0, output: count } };
        if leg.broken || leg.server.serve(units).is_err() {
            return;
        }
        // A machine may vanish with what it was about to send; a cheat sends nothing and hopes.
        if vanishes || Self::cheats(&leg.provider) && stops {
            leg.broken = true;
            return;
        }
        leg.delivered += count;
        let due = leg.client.receive(units).unwrap();
        // A cheat takes what it has and signs no more.
        if Self::cheats(&leg.tab.payer) && stops {
            leg.broken = true;
        } else if due {
            let keys = Fast(leg.tab.payer);
            let voucher = leg.client.sign([0; 32], &keys).unwrap().unwrap();
            if !lost {
                leg.server.take(&voucher, &keys).unwrap();
            }
        }
    }

    fn claim(&mut self) {
        if self.legs.is_empty() {
            return;
        }
        let place = self.rng.below(self.legs.len() as u64) as usize;
        let last = self.rng.one_in(3);
        let leg = &self.legs[place];
        let Some(best) = leg.server.best().copied() else { return };
        assert!(total(best.voucher.units) <= leg.delivered, "nobody signs for what did not arrive");
        let provider = leg.provider;
        self.act(provider, Action::Claim { vouchers: vec![best], last });
    }

    /// A cheat claims for more than was signed, or signs itself.
    fn forge(&mut self) {
        let cheat = person(PEOPLE - 1 - self.rng.below(CHEATS));
        let Some(leg) = self.legs.iter().find(|leg| leg.provider == cheat) else { return };
        let (tab, seq, units) = (leg.tab, u32::MAX, Units { input: 1, output: leg.delivered + 1 });
        let voucher = Voucher { chain: CHAIN, tab, provider: cheat, seq, units, output: [0; 32] };
        let mut signed = voucher.sign(&Fast(cheat)).unwrap();
        if let Some(best) = leg.server.best().filter(|_| cheat != tab.payer) {
            signed.signature = best.signature;
        }
        let claim = Action::Claim { vouchers: vec![signed], last: false };
        assert!(!self.act(cheat, claim) || tab.payer == cheat, "a forged voucher was paid");
    }

    fn end(&mut self) {
        let tabs: Vec<(TxId, NodeId)> = self.legs.iter().map(|leg| (leg.tab, leg.provider)).collect();
        let Some((tab, provider)) = self.rng.pick(&tabs) else { return };
        match self.rng.below(3) {
            0 => self.act(provider, Action::LetGo { tab }),
            1 => self.act(tab.payer, Action::CloseTab { tab }),
            _ => {
                let stranger = self.anyone();
                self.act(stranger, Action::CloseTab { tab })
            }
        };
    }

    fn transfer(&mut self) {
        let (from, to) = (self.anyone(), self.anyone());
        let has = self.state.account(&from).balance.0;
        let amount = Amount(if self.rng.one_in(8) { self.rng.below(u64::MAX) } else { self.rng.below(has / 100 + 2) });
        self.act(from, Action::Transfer { to, amount });
    }

    fn provide(&mut self) {
        let who = self.anyone();
        let amount = Amount(self.rng.below(20_000_000));
        let price = Price { input: self.rng.below(2100), output: self.rng.below(2100) };
        let until_s = self.state.totals().time_s + self.rng.below(90_000);
        let ask = Ask { blocks: BlockRange::new(0, 8).unwrap(), price, until_s };
        match self.rng.below(8) {
            0 => self.act(who, Action::Withdraw { model: MODEL }),
            1 => self.act(who, Action::Unbond { amount }),
            2..=4 => self.act(who, Action::Bond { amount }),
            _ => self.act(who, Action::Post { model: MODEL, ask }),
        };
    }

    fn reserve(&mut self) {
        let who = self.anyone();
        let order = self.rng.pick(&self.orders);
        let machine = Machine { class: self.rng.below(2) as u32, memory_mib: self.rng.below(4) as u32 };
        let (rate, time) = (Amount(self.rng.below(60)), self.rng.below(300));
        match (self.rng.below(10), order) {
            (0..=1, _) | (_, None) => {
                let order = TxId { payer: who, nonce: self.state.account(&who).nonce };
                let (count, until_s) = (self.rng.below(4) as u8, self.state.totals().time_s + time);
                let wanted = Wanted { machine, count, rate_max: rate, reclaim_s_min: 60, until_s };
                if self.act(who, Action::PlaceOrder { wanted, deposit: Amount(self.rng.0 % 100_000) }) {
                    self.orders.push(order);
                    self.orders.drain(..self.orders.len().saturating_sub(6));
                }
            }
            (2..=5, Some(order)) => {
                let bid = Bid { rate, bond: Amount(10_000 + time), reclaim_s: 30 + time as u32, machine };
                self.act(who, Action::Bid { order, bid });
            }
            (6, Some(order)) => drop(self.act(who, Action::Reclaim { order })),
            (7, Some(order)) => drop(self.act(who, Action::Leave { order })),
            (8, Some(order)) => drop(self.act(who, Action::Fund { order, amount: Amount(time) })),
            (_, Some(order)) => {
                let provider = if self.rng.one_in(2) { None } else { Some(who) };
                self.act(order.payer, Action::Dismiss { order, provider });
            }
        }
    }

    fn trade(&mut self) {
        let who = self.anyone();
        let (price, salt) = (self.rng.below(110_000), [3; 32]);
        let side = if self.rng.one_in(2) { Side::Buy } else { Side::Sell };
        let now_s = self.state.totals().time_s;
        let mut open = self.seals.clone();
        if self.rng.below(10) > 0 {
            open.retain(|(round, ..)| (now_s.saturating_sub(HOUR_S)..now_s + 600).contains(&round.start_s));
        }
        match (self.rng.below(6), self.rng.pick(&open)) {
            (0, _) | (_, None) => {
                let start_s = (self.state.totals().time_s / HOUR_S + 1 + self.rng.below(2)) * HOUR_S;
                let round = Round { class: (self.rng.below(8) / 7) as u32, start_s };
                let commitment = commitment(&round, &who, side, Amount(price), &salt).unwrap();
                if self.act(who, Action::Seal { round, commitment, deposit: Amount(100_000) }) {
                    self.seals.push((round, who, side, price));
                    self.seals.drain(..self.seals.len().saturating_sub(100));
                }
            }
            (1..=4, Some((round, trader, side, price))) => {
                let price = Amount(if self.rng.one_in(20) { price + 1 } else { price });
                self.act(trader, Action::Reveal { round, side, price, salt });
            }
            (_, Some((round, trader, ..))) => drop(self.act(who, Action::EndSale { round, seller: trader })),
        }
    }

    fn replay(&mut self) {
        if let Some(old) = &self.old {
            assert!(self.state.apply(old, &Fast(old.statement.payer)).is_err(), "applied twice");
            self.refused += 1;
        }
    }

    fn judge(&mut self) {
        let (provider, victim, reporter) = (self.anyone(), self.anyone(), self.anyone());
        if self.rng.one_in(2) {
            let work = self.rng.below(1000);
            self.state.rule(&Ruling::Work { provider, work }).unwrap();
        } else if Self::cheats(&provider) {
            let (mut case, number) = ([0; 32], self.rng.below(4000));
            case[..8].copy_from_slice(&number.to_le_bytes());
            let (share_ppm, harm) = (self.rng.below(1_100_000) as u32, Amount(self.rng.below(100_000)));
            let fraud = Fraud { case, provider, share_ppm, victim, harm, reporter };
            let done = self.state.rule(&Ruling::Fraud(fraud));
            self.note(&done.unwrap_or_default());
        }
    }

    fn wait(&mut self) {
        let totals = *self.state.totals();
        let seconds = if self.rng.one_in(500) { self.rng.below(20_000) } else { self.rng.below(60) };
        let events = self.state.begin_block(totals.height + 1, totals.time_s + seconds).unwrap();
        self.note(&events);
    }
}

fn person(number: u64) -> NodeId {
    node(number as u8)
}
