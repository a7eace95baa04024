//! Auctions as pure functions: who trades, and at which price.
//!
//! In both nobody gains by stating another price than the own one, if each participant wants or offers one unit under one name: what a
//! trader pays or gets is set by others, and the own price decides only whether to trade.
//!
//! *Reverse*, for reservations. The lowest `count` bids win, and each is paid the next lowest bid; if there is none, the most that
//! the buyer pays.
//!
//! *Double*, for batch capacity (McAfee, 1992). With bids `b_1 ≥ b_2 ≥ …`, asks `s_1 ≤ s_2 ≤ …` and `k` the largest index with
//! `b_k ≥ s_k`: if both `b_{k+1}` and `s_{k+1}` exist and `p = (b_{k+1} + s_{k+1}) / 2` lies in `[s_k, b_k]`, the first `k` of each trade
//! at `p`, which a buyer pays rounded up and a seller gets rounded down. Else the first `k − 1` trade, buyers pay `b_k`, sellers get
//! `s_k`. What buyers pay beyond what sellers get is burned.
//!
//! Who comes first at the same price is decided by a hash that no price changes.

use crate::Amount;

/// A stated price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stated {
    /// For one unit.
    pub price: Amount,
    /// The lower one comes first at the same price.
    pub tie: [u8; 32],
}

/// What a reverse auction decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Award {
    /// Who won: indices of the bids, the lowest bid first.
    pub winners: Vec<usize>,
    /// What each winner is paid.
    pub price: Amount,
}

/// The lowest `count` of `bids` win. No bid may be above `most`.
pub fn reverse(bids: &[Stated], count: usize, most: Amount) -> Award {
    let mut order: Vec<usize> = (0..bids.len()).collect();
    order.sort_by_key(|bid| bids[*bid]);
    let price = order.get(count).map_or(most, |next| bids[*next].price);
    order.truncate(count);
    Award { winners: order, price }
}

/// What a double auction decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clearing {
    /// Who buys: indices of the bids. The first buys from the first seller, and so on.
    pub buyers: Vec<usize>,
    /// Who sells: indices of the asks, as many as buyers.
    pub sellers: Vec<usize>,
    /// What each buyer pays.
    pub buyer_pays: Amount,
    /// What each seller gets, never more.
    pub seller_gets: Amount,
}

/// Clears one round.
pub fn double(bids: &[Stated], asks: &[Stated]) -> Clearing {
    let mut buyers: Vec<usize> = (0..bids.len()).collect();
    buyers.sort_by_key(|bid| (std::cmp::Reverse(bids[*bid].price), bids[*bid].tie));
    let mut sellers: Vec<usize> = (0..asks.len()).collect();
    sellers.sort_by_key(|ask| asks[*ask]);
    let bid = |i: usize| buyers.get(i).map(|bid| u128::from(bids[*bid].price.0));
    let ask = |i: usize| sellers.get(i).map(|ask| u128::from(asks[*ask].price.0));
    let k = (0..).take_while(|i| bid(*i).zip(ask(*i)).is_some_and(|(bid, ask)| bid >= ask)).count();
    let Some((least_bid, most_ask)) = k.checked_sub(1).and_then(|last| bid(last).zip(ask(last))) else {
        return Clearing::default();
    };
    let twice = bid(k).zip(ask(k)).map(|(bid, ask)| bid + ask);
    let (trades, pays, gets) = match twice.filter(|twice| (2 * most_ask..=2 * least_bid).contains(twice)) {
        Some(twice) => (k, twice.div_ceil(2), twice / 2),
        None => (k - 1, least_bid, most_ask),
    };
    buyers.truncate(trades);
    sellers.truncate(trades);
    // Both are between two stated prices, so they fit.
    let amount = |value: u128| Amount(u64::try_from(value).unwrap_or(u64::MAX));
    Clearing { buyers, sellers, buyer_pays: amount(pays), seller_gets: amount(gets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(prices: &[u64]) -> Vec<Stated> {
        prices.iter().enumerate().map(|(i, price)| Stated { price: Amount(*price), tie: [i as u8; 32] }).collect()
    }

    fn cleared(bids: &[u64], asks: &[u64]) -> (usize, u64, u64) {
        let clearing = double(&stated(bids), &stated(asks));
        assert_eq!(clearing.buyers.len(), clearing.sellers.len());
        (clearing.buyers.len(), clearing.buyer_pays.0, clearing.seller_gets.0)
    }

    /// In tenths, so that halves are exact.
    #[test]
    fn rounds_clear_as_the_vectors_say() {
        assert_eq!(cleared(&[90, 80, 70, 40], &[20, 30, 40, 50]), (3, 45, 45));
        assert_eq!(cleared(&[90, 80, 70, 40], &[60, 70, 80, 90]), (2, 75, 75));
        assert_eq!(cleared(&[100, 90], &[10, 20]), (1, 90, 20));
        assert_eq!(cleared(&[90, 80, 70, 40], &[20, 30, 40, 120]), (2, 70, 40));
        assert_eq!(cleared(&[30], &[40]).0, 0);
        assert_eq!(cleared(&[], &[40]).0, 0);
        assert_eq!(cleared(&[9, 8, 7, 4], &[2, 3, 4, 5]), (3, 5, 4), "half a unit is burned for each trade");
        assert_eq!(cleared(&[u64::MAX; 3], &[u64::MAX; 3]), (2, u64::MAX, u64::MAX));
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let (bids, asks) = (stated(&[9, 8, 8, 8, 4]), stated(&[3, 3, 3, 5]));
        let forth = double(&bids, &asks);
        let back = double(&bids.iter().rev().copied().collect::<Vec<_>>(), &asks);
        let names = |clearing: &Clearing, last: usize| clearing.buyers.iter().map(|i| last - i).collect::<Vec<_>>();
        assert_eq!(forth.buyers, names(&back, bids.len() - 1));
        assert_eq!((forth.sellers, forth.buyer_pays), (back.sellers, back.buyer_pays));
    }

    /// What buyer `i` gains if its unit is worth `value` to it.
    fn buyer_gain(bids: &[u64], asks: &[u64], i: usize, value: u64) -> i64 {
        let clearing = double(&stated(bids), &stated(asks));
        if clearing.buyers.contains(&i) { value as i64 - clearing.buyer_pays.0 as i64 } else { 0 }
    }

    fn seller_gain(bids: &[u64], asks: &[u64], i: usize, cost: u64) -> i64 {
        let clearing = double(&stated(bids), &stated(asks));
        if clearing.sellers.contains(&i) { clearing.seller_gets.0 as i64 - cost as i64 } else { 0 }
    }

    /// Every list of `len` prices below `top`.
    fn profiles(len: usize, top: u64) -> impl Iterator<Item = Vec<u64>> {
        (0..top.pow(len as u32)).map(move |code| (0..len as u32).map(|i| code / top.pow(i) % top).collect())
    }

    fn with(prices: &[u64], i: usize, price: u64) -> Vec<u64> {
        let mut changed = prices.to_vec();
        changed[i] = price;
        changed
    }

    /// Tries every other price of every trader, above the highest true one too.
    fn no_profitable_lie(bids: &[u64], asks: &[u64], top: u64) {
        for (i, value) in bids.iter().enumerate() {
            let honest = buyer_gain(bids, asks, i, *value);
            assert!(honest >= 0, "{bids:?} {asks:?}");
            for lie in 0..=top {
                assert!(
                    buyer_gain(&with(bids, i, lie), asks, i, *value) <= honest,
                    "{bids:?} {asks:?} buyer {i}: {lie}"
                );
            }
        }
        for (i, cost) in asks.iter().enumerate() {
            let honest = seller_gain(bids, asks, i, *cost);
            assert!(honest >= 0, "{bids:?} {asks:?}");
            for lie in 0..=top {
                assert!(
                    seller_gain(bids, &with(asks, i, lie), i, *cost) <= honest,
                    "{bids:?} {asks:?} seller {i}: {lie}"
                );
            }
        }
    }

    fn all_rounds(buyers: usize, sellers: usize, top: u64) {
        for bids in profiles(buyers, top) {
            for asks in profiles(sellers, top) {
                no_profitable_lie(&bids, &asks, top);
            }
        }
    }

    #[test]
    fn nobody_gains_by_a_lie_in_a_small_double_auction() {
        for buyers in 1..=3 {
            for sellers in 1..=3 {
                all_rounds(buyers, sellers, 5);
            }
        }
    }

    #[test]
    fn nobody_gains_by_a_lie_among_four_buyers_and_four_sellers() {
        all_rounds(4, 4, 3);
        all_rounds(4, 3, 3);
        all_rounds(3, 4, 3);
    }

    #[test]
    fn nobody_gains_by_a_lie_in_a_reverse_auction() {
        let most = 6;
        let gain = |costs: &[u64], i: usize, cost: u64, count: usize| {
            let award = reverse(&stated(costs), count, Amount(most));
            if award.winners.contains(&i) { award.price.0 as i64 - cost as i64 } else { 0 }
        };
        for n in 1..=4 {
            for costs in profiles(n, most + 1) {
                for (i, count) in (0..n).flat_map(|i| (1..=n).map(move |count| (i, count))) {
                    let honest = gain(&costs, i, costs[i], count);
                    assert!(honest >= 0, "a winner is paid what it asks at least");
                    for lie in 0..=most {
                        assert!(gain(&with(&costs, i, lie), i, costs[i], count) <= honest, "{costs:?} {i}: {lie}");
                    }
                }
            }
        }
    }
}
