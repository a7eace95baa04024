//! The state root: one hash that stands for every row, and short proofs of what is and what is not.
//!
//! Every row has a 32-byte name, `BLAKE3(borsh(Key))`, and a value, `BLAKE3(borsh(row))`. The names' bits, the first bit of a byte
//! being its highest, are paths in a binary tree:
//!
//! ```text
//! hash(no row)       = 32 zero bytes
//! hash(one row)      = BLAKE3-keyed("skep state tree leaf 1" padded with zeros to 32 bytes, name ‖ value)
//! hash(several rows) = BLAKE3-keyed("skep state tree node 1" padded likewise, hash(rows whose next bit is 0) ‖ hash(… is 1))
//! ```
//!
//! So the root depends on the rows alone, not on how they came about, and each hash is one call of BLAKE3's compression.
//!
//! A proof lists the hashes beside the path, from the root down, and what is at its end: nothing, or one row. It proves that a name has a
//! value if its end is that row; that a name has none if its end is nothing, or another row: it stands alone on the name's path.

use crate::Refusal;
use borsh::{BorshDeserialize, BorshSerialize};

/// A hash of this tree.
pub type Hash = [u8; 32];

/// A path has as many steps as a name has bits.
const DEPTH_MAX: usize = 256;
const NOTHING: Hash = [0; 32];
const LEAF: &Hash = b"skep state tree leaf 1\0\0\0\0\0\0\0\0\0\0";
const NODE: &Hash = b"skep state tree node 1\0\0\0\0\0\0\0\0\0\0";

fn keyed(key: &Hash, left: &Hash, right: &Hash) -> Hash {
    let mut both = [0; 64];
    both[..32].copy_from_slice(left);
    both[32..].copy_from_slice(right);
    *blake3::keyed_hash(key, &both).as_bytes()
}

/// Bit `depth` of a name: which side of a node it is on.
fn side(name: &Hash, depth: usize) -> usize {
    usize::from(name[depth / 8] >> (7 - depth % 8) & 1)
}

/// The name and value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Leaf {
    /// Hash of the row's key.
    pub name: Hash,
    /// Hash of the row.
    pub value: Hash,
}

impl Leaf {
    fn hash(&self) -> Hash {
        keyed(LEAF, &self.name, &self.value)
    }
}

#[derive(Clone, Debug, Default)]
enum Node {
    #[default]
    Nothing,
    Leaf(Leaf, Hash),
    Branch(Box<Branch>),
}

#[derive(Clone, Debug)]
struct Branch {
    hash: Hash,
    sides: [Node; 2],
}

impl Node {
    fn hash(&self) -> &Hash {
        match self {
            Self::Nothing => &NOTHING,
            Self::Leaf(_, hash) => hash,
            Self::Branch(branch) => &branch.hash,
        }
    }

    fn leaf(leaf: Leaf) -> Self {
        let hash = leaf.hash();
        Self::Leaf(leaf, hash)
    }

    /// A node over two. One row alone stands as high as it can.
    fn over(sides: [Self; 2]) -> Self {
        match sides {
            [Self::Nothing, alone @ (Self::Nothing | Self::Leaf(..))] | [alone @ Self::Leaf(..), Self::Nothing] => {
                alone
            }
            sides => Self::Branch(Box::new(Branch { hash: keyed(NODE, sides[0].hash(), sides[1].hash()), sides })),
        }
    }

    /// A node of these rows, sorted by name, which share the first `depth` bits.
    fn of(leaves: &[Leaf], depth: usize) -> Self {
        match leaves {
            [] => Self::Nothing,
            [leaf] => Self::leaf(*leaf),
            _ => {
                let (zeros, ones) = leaves.split_at(leaves.partition_point(|leaf| side(&leaf.name, depth) == 0));
                Self::over([Self::of(zeros, depth + 1), Self::of(ones, depth + 1)])
            }
        }
    }

    /// This node after changes, sorted by name.
    fn changed(self, changes: &[(Hash, Option<Hash>)], depth: usize) -> Self {
        if changes.is_empty() {
            return self;
        }
        if let Self::Branch(branch) = self {
            let (zeros, ones) = changes.split_at(changes.partition_point(|(name, _)| side(name, depth) == 0));
            let [left, right] = branch.sides;
            return Self::over([left.changed(zeros, depth + 1), right.changed(ones, depth + 1)]);
        }
        let changed = changes.iter().filter_map(|(name, value)| value.map(|value| Leaf { name: *name, value }));
        let mut leaves: Vec<Leaf> = changed.collect();
        if let Self::Leaf(leaf, _) = self
            && let Err(place) = changes.binary_search_by(|(name, _)| name.cmp(&leaf.name))
        {
            let before = changes[..place].iter().filter(|(_, value)| value.is_some()).count();
            leaves.insert(before, leaf);
        }
        Self::of(&leaves, depth)
    }
}

/// The tree over all rows.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    root: Node,
}

impl Tree {
    /// Its hash.
    pub fn root(&self) -> Hash {
        *self.root.hash()
    }

    /// Gives names new values, or none. The last change of a name counts.
    pub fn change(&mut self, mut changes: Vec<(Hash, Option<Hash>)>) {
        changes.reverse();
        changes.sort_by_key(|(name, _)| *name);
        changes.dedup_by_key(|(name, _)| *name);
        self.root = std::mem::take(&mut self.root).changed(&changes, 0);
    }

    /// Proves what is known of a name.
    pub fn prove(&self, name: &Hash) -> Proof {
        let (mut node, mut siblings) = (&self.root, Vec::new());
        while let Node::Branch(branch) = node {
            let turn = side(name, siblings.len());
            siblings.push(*branch.sides[1 - turn].hash());
            node = &branch.sides[turn];
        }
        let end = if let Node::Leaf(leaf, _) = node { Some(*leaf) } else { None };
        Proof { siblings, end }
    }
}

/// What is at the end of a name's path.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proof {
    /// The hashes beside the path, from the root down; at most 256.
    pub siblings: Vec<Hash>,
    /// The only row at its end, if there is one.
    pub end: Option<Leaf>,
}

impl Proof {
    /// Says under `root` which value a name has, or that it has none.
    ///
    /// # Errors
    /// [`Refusal::Proof`] for what proves nothing of this name under this root.
    pub fn value(&self, root: &Hash, name: &Hash) -> Result<Option<Hash>, Refusal> {
        if self.siblings.len() > DEPTH_MAX {
            return Err(Refusal::Proof("the path is longer than a name"));
        }
        let end = self.end.map_or(NOTHING, |leaf| leaf.hash());
        let up = |hash: Hash, (depth, sibling): (usize, &Hash)| match side(name, depth) {
            0 => keyed(NODE, &hash, sibling),
            _ => keyed(NODE, sibling, &hash),
        };
        if self.siblings.iter().enumerate().rev().fold(end, up) != *root {
            return Err(Refusal::Proof("the path leads to another root"));
        }
        Ok(self.end.filter(|leaf| leaf.name == *name).map(|leaf| leaf.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Names that share many bits with each other.
    fn name(number: u16) -> Hash {
        let mut name = [0; 32];
        name[0] = number as u8 & 3;
        name[30..].copy_from_slice(&number.to_be_bytes());
        name
    }

    fn value(number: u8) -> Hash {
        [number; 32]
    }

    /// The definition, word for word.
    fn defined(rows: &BTreeMap<Hash, Hash>, depth: usize) -> Hash {
        match rows.len() {
            0 => NOTHING,
            1 => rows.iter().map(|(name, value)| keyed(LEAF, name, value)).next().unwrap(),
            _ => {
                let half = |wanted| rows.iter().filter(move |row| side(row.0, depth) == wanted).map(|(k, v)| (*k, *v));
                keyed(NODE, &defined(&half(0).collect(), depth + 1), &defined(&half(1).collect(), depth + 1))
            }
        }
    }

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn roots_are_these() {
        let mut tree = Tree::default();
        assert_eq!(tree.root(), [0; 32]);
        tree.change(vec![([0x00; 32], Some([1; 32]))]);
        assert_eq!(hex(&tree.root()), "df65b0e2234c9808973c9ac1aa001fa3059737f72dfdfd6dafcc357af1cece99");
        tree.change(vec![([0xff; 32], Some([2; 32]))]);
        assert_eq!(hex(&tree.root()), "b4a3feb06b7ce90e66a3d2dd51d66dfbedd83ada8dadf15157415158f6c57236");
    }

    type Changes = Vec<Vec<(u16, Option<u8>)>>;

    fn changes() -> impl Strategy<Value = Changes> {
        let change = (0u16..40, prop::option::weighted(0.7, any::<u8>()));
        prop::collection::vec(prop::collection::vec(change, 0..12), 0..12)
    }

    fn built(changes: &Changes) -> (Tree, BTreeMap<Hash, Hash>) {
        let (mut tree, mut rows) = (Tree::default(), BTreeMap::new());
        for batch in changes {
            tree.change(batch.iter().map(|(number, to)| (name(*number), to.map(value))).collect());
            for (number, to) in batch {
                match to {
                    Some(to) => rows.insert(name(*number), value(*to)),
                    None => rows.remove(&name(*number)),
                };
            }
        }
        (tree, rows)
    }

    proptest! {
        #[test]
        fn the_root_is_that_of_the_rows_however_they_came(changes in changes()) {
            let (tree, rows) = built(&changes);
            prop_assert_eq!(tree.root(), defined(&rows, 0));
        }

        #[test]
        fn every_name_is_proved_to_be_there_or_not(changes in changes()) {
            let (tree, rows) = built(&changes);
            for number in 0..60 {
                let proof = tree.prove(&name(number));
                prop_assert_eq!(proof.value(&tree.root(), &name(number)), Ok(rows.get(&name(number)).copied()));
                let encoded = borsh::to_vec(&proof).unwrap();
                prop_assert_eq!(borsh::from_slice::<Proof>(&encoded).unwrap(), proof);
            }
        }

        /// A forged proof may be a longer way to say the same, but never says anything else.
        #[test]
        fn no_changed_proof_says_anything_else(changes in changes(), number in 0u16..60, at: prop::sample::Index, flip in 1u8..) {
            let (tree, rows) = built(&changes);
            let mut bytes = borsh::to_vec(&tree.prove(&name(number))).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let Ok(proof) = borsh::from_slice::<Proof>(&bytes) else { return Ok(()) };
            if let Ok(said) = proof.value(&tree.root(), &name(number)) {
                prop_assert_eq!(said, rows.get(&name(number)).copied());
            }
        }

        #[test]
        fn a_proof_of_another_root_or_name_proves_nothing(changes in changes(), number in 0u16..60, other in 0u16..60) {
            let (tree, rows) = built(&changes);
            let proof = tree.prove(&name(number));
            prop_assert!(proof.value(&[7; 32], &name(number)).is_err());
            if let Ok(said) = proof.value(&tree.root(), &name(other)) {
                prop_assert_eq!(said, rows.get(&name(other)).copied());
            }
        }
    }

    #[test]
    fn a_path_longer_than_a_name_is_refused() {
        let proof = Proof { siblings: vec![[0; 32]; DEPTH_MAX + 1], end: None };
        assert_eq!(proof.value(&[0; 32], &[0; 32]), Err(Refusal::Proof("the path is longer than a name")));
    }

    #[test]
    fn names_that_differ_in_the_last_bit_only_are_told_apart() {
        let (mut tree, mut last) = (Tree::default(), [0; 32]);
        last[31] = 1;
        tree.change(vec![([0; 32], Some([1; 32])), (last, Some([2; 32]))]);
        let proof = tree.prove(&last);
        assert_eq!((proof.siblings.len(), proof.value(&tree.root(), &last)), (256, Ok(Some([2; 32]))));
        tree.change(vec![(last, None)]);
        assert_eq!(tree.prove(&last).value(&tree.root(), &last), Ok(None));
    }
}
