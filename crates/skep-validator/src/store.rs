//! The blocks of a validator on disk, with a [snapshot](skep_consensus::snapshot) of the state from time to time.
//!
//! One `redb` file with three tables: `about`, where `chain` is the name of the ledger; `blocks`, from the number of a block to `borsh` of its
//! [`Decided`], without gaps from 1; `snapshots`, with the last snapshot under the number of its block. A block, and the snapshot that
//! may be taken after it, are one transaction, which is on disk when [`Store::add`] returns.

use crate::ValidatorError;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use skep_consensus::message::BLOCKS_MAX;
use skep_consensus::{Chain, Decided, Genesis, Snapshot};
use skep_ledger::ChainId;
use skep_types::NodeId;
use skep_types::signed::Keys;
use std::path::{Path, PathBuf};

const ABOUT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const SNAPSHOTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshots");
/// What the store keeps in memory: blocks are written once and seldom read.
const CACHE_BYTES: usize = 8 << 20;
/// Blocks of so many bytes are applied again at a start, at most twice: a fraction of a second. And at least as many as a snapshot has, so
/// that writing snapshots costs no more than writing blocks.
const SNAPSHOT_EVERY: usize = 8 << 20;

/// What is final was verified when it was stored.
struct Verified;

impl Keys for Verified {
    fn sign(&self, _message: &[u8]) -> [u8; 64] {
        [0; 64]
    }

    fn verify(&self, _signer: &NodeId, _message: &[u8], _signature: &[u8; 64]) -> bool {
        true
    }
}

pub(crate) struct Store {
    database: Database,
    path: PathBuf,
    /// Bytes of blocks since the last snapshot, and of that one.
    since: usize,
    snapshot: usize,
}

impl Store {
    /// Opens or makes the store of a ledger.
    pub fn open(path: &Path, chain: ChainId) -> Result<Self, ValidatorError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(|it| fault(path, it))?;
        let store = Self { database, path: path.to_owned(), since: 0, snapshot: 0 };
        if store.claim(chain).map_err(|it| fault(path, it))? {
            Ok(store)
        } else {
            Err(ValidatorError::OtherLedger { path: path.to_owned() })
        }
    }

    /// Writes whose blocks these are; false if they are another ledger's.
    fn claim(&self, chain: ChainId) -> Result<bool, redb::Error> {
        let write = self.database.begin_write()?;
        let same = {
            let mut about = write.open_table(ABOUT)?;
            let known = about.get("chain")?.map(|name| name.value().to_vec());
            if known.is_none() {
                about.insert("chain", &chain.0[..])?;
            }
            write.open_table(BLOCKS)?;
            write.open_table(SNAPSHOTS)?;
            known.is_none_or(|known| known == chain.0)
        };
        write.commit()?;
        Ok(same)
    }

    /// Brings back the chain as far as it is stored, and its last block.
    pub fn restore(&mut self, genesis: &Genesis) -> Result<(Chain, Option<Decided>), ValidatorError> {
        let mut chain = match self.last_snapshot()? {
            Some((height, bytes)) => {
                let snapshot: Snapshot = borsh::from_slice(&bytes).map_err(|it| fault(&self.path, it))?;
                let block = self.block(height)?.ok_or_else(|| fault(&self.path, "a snapshot without its block"))?;
                self.snapshot = bytes.len();
                Chain::restore(genesis.chain(), &block.block.header, snapshot)?
            }
            None => Chain::begin(genesis)?,
        };
        while let Some(bytes) = self.bytes(chain.head().height + 1)? {
            let decided: Decided = borsh::from_slice(&bytes).map_err(|it| fault(&self.path, it))?;
            chain.extend(&decided, &Verified)?;
            self.since += bytes.len();
        }
        let last = self.block(chain.head().height)?;
        Ok((chain, last))
    }

    /// Has blocks that follow each other on disk, with one sync for all of them, and a snapshot after the last if it is time for one.
    pub fn add(&mut self, blocks: &[Decided], chain: &mut Chain) -> Result<(), ValidatorError> {
        let encoded = |decided: &Decided| Ok((decided.block.header.height, borsh::to_vec(decided)?));
        let encoded: std::io::Result<Vec<_>> = blocks.iter().map(encoded).collect();
        let encoded = encoded.map_err(|it| fault(&self.path, it))?;
        let Some((last, _)) = encoded.last() else { return Ok(()) };
        self.since += encoded.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let snapshot = if self.since >= SNAPSHOT_EVERY.max(self.snapshot) && chain.head().height == *last {
            Some(borsh::to_vec(&chain.snapshot()?).map_err(|it| fault(&self.path, it))?)
        } else {
            None
        };
        self.write(&encoded, snapshot.as_deref()).map_err(|it| fault(&self.path, it))?;
        if let Some(snapshot) = snapshot {
            (self.since, self.snapshot) = (0, snapshot.len());
        }
        Ok(())
    }

    fn write(&self, blocks: &[(u64, Vec<u8>)], snapshot: Option<&[u8]>) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(BLOCKS)?;
            for (height, block) in blocks {
                table.insert(*height, &block[..])?;
            }
        }
        if let (Some(snapshot), Some((height, _))) = (snapshot, blocks.last()) {
            let mut snapshots = write.open_table(SNAPSHOTS)?;
            snapshots.retain(|_, _| false)?;
            snapshots.insert(*height, snapshot)?;
        }
        Ok(write.commit()?)
    }

    fn last_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, ValidatorError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(SNAPSHOTS)?;
            Ok(table.last()?.map(|(height, bytes)| (height.value(), bytes.value().to_vec())))
        };
        read().map_err(|it| fault(&self.path, it))
    }

    fn bytes(&self, height: u64) -> Result<Option<Vec<u8>>, ValidatorError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(BLOCKS)?;
            Ok(table.get(height)?.map(|bytes| bytes.value().to_vec()))
        };
        read().map_err(|it| fault(&self.path, it))
    }

    /// A block.
    pub fn block(&self, height: u64) -> Result<Option<Decided>, ValidatorError> {
        let bytes = self.bytes(height)?;
        bytes.map(|bytes| borsh::from_slice(&bytes).map_err(|it| fault(&self.path, it))).transpose()
    }

    /// Blocks from this number on, as many as one answer takes.
    pub fn blocks(&self, from: u64, bytes_max: usize) -> Result<Vec<Decided>, ValidatorError> {
        let (mut blocks, mut left) = (Vec::new(), bytes_max);
        while blocks.len() < BLOCKS_MAX {
            let Some(bytes) = self.bytes(from + blocks.len() as u64)? else { break };
            if bytes.len() > left && !blocks.is_empty() {
                break;
            }
            left = left.saturating_sub(bytes.len());
            blocks.push(borsh::from_slice(&bytes).map_err(|it| fault(&self.path, it))?);
        }
        Ok(blocks)
    }
}

fn fault(path: &Path, reason: impl std::fmt::Display) -> ValidatorError {
    ValidatorError::Store { path: path.to_owned(), reason: reason.to_string() }
}
