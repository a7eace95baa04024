#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use proptest::prelude::*;

const KV_BYTES: usize = 100;

fn blocks(start: u32, end: u32) -> BlockRange {
    BlockRange::new(start, end).unwrap()
}

fn keys(range: BlockRange, ids: &[u32]) -> Vec<Key> {
    Chain::new(range).push(Rows::Tokens(ids)).into_iter().map(|link| link.key).collect()
}

#[test]
fn the_same_rows_give_the_same_keys_however_they_come() {
    let ids: Vec<u32> = (0..100).collect();
    let whole = keys(blocks(0, 2), &ids);
    assert_eq!(whole.len(), 3, "100 rows fill three pages");
    for step in [1, 7, 32, 33] {
        let mut chain = Chain::new(blocks(0, 2));
        let links: Vec<Link> = ids.chunks(step).flat_map(|part| chain.push(Rows::Tokens(part))).collect();
        assert_eq!(links.iter().map(|link| link.key).collect::<Vec<_>>(), whole, "steps of {step}");
        assert_eq!(links.iter().map(|link| link.page).collect::<Vec<_>>(), [0, 1, 2]);
    }
}

#[test]
fn another_range_or_another_first_row_gives_other_keys_from_the_first_page_to_the_last() {
    let ids: Vec<u32> = (0..96).collect();
    let mut other = ids.clone();
    other[0] = 1;
    let same = keys(blocks(0, 2), &ids);
    for different in [keys(blocks(0, 3), &ids), keys(blocks(1, 2), &ids), keys(blocks(0, 2), &other)] {
        assert_eq!(different.len(), 3);
        assert!(same.iter().zip(&different).all(|(a, b)| a != b));
    }
    let mut last = ids.clone();
    last[95] = 7;
    assert_eq!(keys(blocks(0, 2), &last)[..2], same[..2]);
    assert_ne!(keys(blocks(0, 2), &last)[2], same[2]);
}

#[test]
fn rows_are_told_apart_by_their_bits() {
    let zero = Payload::Rows(vec![0.0; 64]);
    let mut bits = vec![0.0; 64];
    bits[63] = -0.0;
    let keys =
        [zero, Payload::Rows(bits)].map(|payload| Chain::new(blocks(1, 2)).push(Rows::of(&payload, 2).unwrap())[0].key);
    assert_ne!(keys[0], keys[1]);
    assert!(Rows::of(&Payload::Rows(vec![0.0; 5]), 2).is_none());
}

/// A store and the sessions that hold pages of it.
struct World {
    store: Store,
    room: u64,
    /// For each session its text so far, its keys, and the keys and values that it holds.
    sessions: Vec<(Vec<u32>, Chain, Vec<Vec<Page>>)>,
}

impl World {
    /// A session runs a page of rows of `id`, or finds it.
    fn page(&mut self, session: usize, id: u32) {
        let (text, chain, held) = &mut self.sessions[session];
        let rows = [id; PAGE];
        text.push(id);
        let link = chain.push(Rows::Tokens(&rows))[0];
        // What a page holds follows from the text; so whatever is found can be checked.
        let expected: Vec<f32> = text.iter().map(|id| *id as f32).collect();
        if let Some(entry) = self.store.get(&link.key) {
            assert_eq!(entry.rows, expected, "a page of another text was found");
            held.push(entry.pages.clone());
            return;
        }
        let pages = vec![Arc::new(vec![0; KV_BYTES]), Arc::new(vec![0; KV_BYTES])];
        held.push(pages.clone());
        self.store.insert(link, pages, &expected);
    }

    fn check(&self) {
        let Store { entries, leaves, most_bytes, .. } = &self.store;
        assert!(self.store.bytes() <= self.room, "{} bytes in a room of {}", self.store.bytes(), self.room);
        assert_eq!(*most_bytes, entries.values().map(|entry| entry.own_bytes() + entry.kv_bytes()).sum::<u64>());
        for (key, entry) in entries {
            assert!(entry.link.page == 0 || entries.contains_key(&entry.link.parent), "a page that cannot be found");
            let children = entries.values().filter(|child| child.link.page > 0 && child.link.parent == *key).count();
            assert_eq!(entry.children as usize, children);
            assert_eq!(leaves.get(&entry.used) == Some(key), children == 0);
        }
        assert_eq!(leaves.len(), entries.values().filter(|entry| entry.children == 0).count());
    }
}

proptest! {
    #[test]
    fn the_store_keeps_to_its_room_and_drops_only_what_nothing_continues(
        steps in proptest::collection::vec((0usize..4, 0u32..3, 0u64..12), 1..200),
    ) {
        let page = 2 * (KV_BYTES as u64 + PAGE_EXTRA_BYTES) + ENTRY_BYTES + 40;
        let mut world = World { store: Store::default(), room: 6 * page, sessions: Vec::new() };
        world.store.set_room(world.room);
        world.sessions = vec![(Vec::new(), Chain::new(blocks(0, 2)), Vec::new()); 4];
        for (session, id, action) in steps {
            match action {
                // A session ends and what it held counts with the store, in whose favour its own bytes are free then.
                0 => {
                    let held = world.sessions[session].2.len() as u64 * 2 * KV_BYTES as u64;
                    world.sessions[session] = (Vec::new(), Chain::new(blocks(0, 2)), Vec::new());
                    world.room += held;
                    world.store.set_room(world.room);
                    world.check();
                    world.room = 6 * page;
                    world.store.set_room(world.room);
                }
                1 => {
                    world.room = u64::from(id) * 2 * page;
                    world.store.set_room(world.room);
                }
                _ => world.page(session, id),
            }
            world.check();
        }
    }
}

#[test]
fn the_least_recently_used_text_goes_first_and_its_end_before_its_beginning() {
    let mut world = World { store: Store::default(), room: u64::MAX, sessions: Vec::new() };
    world.store.set_room(u64::MAX);
    let texts: [&[u32]; 3] = [&[1, 1], &[2, 2], &[1, 3]];
    for (session, text) in texts.iter().enumerate() {
        world.sessions.push((Vec::new(), Chain::new(blocks(0, 2)), Vec::new()));
        text.iter().for_each(|id| world.page(session, *id));
    }
    world.sessions.clear();
    let of = |text: &[u32]| {
        let ids: Vec<u32> = text.iter().flat_map(|id| [*id; PAGE]).collect();
        keys(blocks(0, 2), &ids)
    };
    let order = [of(&[1, 1])[1], of(&[2, 2])[1], of(&[2, 2])[0], of(&[1, 3])[1], of(&[1])[0]];
    assert!(order.iter().all(|key| world.store.holds(key)));
    for dropped in 1..=order.len() {
        world.store.set_room(world.store.bytes() - 1);
        let left: Vec<bool> = order.iter().map(|key| world.store.holds(key)).collect();
        assert_eq!(left.iter().filter(|held| !**held).count(), dropped, "one page makes room for one byte");
        assert!(left[..dropped].iter().all(|held| !held), "after {dropped}: {left:?}");
    }
    assert_eq!(world.store.bytes(), 0);
}
