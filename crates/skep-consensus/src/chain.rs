//! The chain as far as it is final: the ledger's state, the last block, and blocks that are tried out on top of it.
//!
//! At most one block is tried out at a time, on the state itself; trying another one or giving up takes it back.

use crate::block::{Block, BlockError, BlockId, Decided, Header, TXS_BYTES_MAX, hash};
use crate::certificate::Certificate;
use crate::genesis::Genesis;
use crate::mempool::Mempool;
use crate::snapshot::Snapshot;
use crate::validators::{ABSENT_AFTER, Validator, Validators};
use borsh::{BorshDeserialize, BorshSerialize};
use skep_ledger::{ChainId, Event, Hash, Refusal, State};
use skep_types::NodeId;
use skep_types::signed::Keys;

/// The last final block, and what the next one needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// Its number; 0 before the first block.
    pub height: u64,
    /// Its id.
    pub id: BlockId,
    /// Its time, Unix seconds.
    pub time_s: u64,
    /// What proves it; before the first block nothing does.
    pub certificate: Option<Certificate>,
    /// Those who agreed on it.
    pub validators: Validators,
    /// Those who agree on the next one.
    pub next: Validators,
    /// Who did not sign the last certificates that blocks carry, the latest last.
    pub missing: Vec<Vec<NodeId>>,
}

impl Head {
    /// Whose turn it is in each round of the next block, by places in [`Self::next`].
    pub fn turns(&self) -> Vec<u16> {
        let known = self.missing.len() >= ABSENT_AFTER;
        self.next.turns(self.height + 1, |id| known && self.missing.iter().all(|missing| missing.contains(id)))
    }

    /// The head after a block that follows this one.
    fn after(&self, block: &Block, id: BlockId, next: Validators) -> Self {
        let mut missing = self.missing.clone();
        if let Some(certificate) = &block.certificate {
            let silent = self.validators.iter().enumerate().filter(|(place, _)| !certificate.has(*place));
            missing.push(silent.map(|(_, one)| one.id).collect());
        }
        let older = missing.len().saturating_sub(ABSENT_AFTER);
        missing.drain(..older);
        let (height, time_s) = (block.header.height, block.header.time_s);
        Self { height, id, time_s, certificate: None, validators: self.next.clone(), next, missing }
    }
}

/// A block that was tried out.
#[derive(Clone, Debug)]
struct Trial {
    head: Head,
    events: Vec<Event>,
}

/// State and head, and perhaps a trial.
#[derive(Clone, Debug)]
pub struct Chain {
    state: State,
    head: Head,
    trial: Option<Trial>,
}

impl Chain {
    /// A chain without blocks.
    ///
    /// # Errors
    /// [`Refusal::Field`] for a beginning that no ledger may have.
    pub fn begin(genesis: &Genesis) -> Result<Self, Refusal> {
        let state = genesis.state()?;
        let validators = validators_of(&state).ok_or(Refusal::Field("a ledger begins with validators"))?;
        let head = Head {
            height: 0,
            id: BlockId(state.chain().0),
            time_s: genesis.time_s,
            certificate: None,
            validators: validators.clone(),
            next: validators,
            missing: Vec::new(),
        };
        Ok(Self { state, head, trial: None })
    }

    /// What a machine keeps so that it need not apply every block again when it starts. A trial is given up.
    ///
    /// # Errors
    /// [`Refusal::Overflow`] if memory ends.
    pub fn snapshot(&mut self) -> Result<Snapshot, Refusal> {
        self.give_up();
        Snapshot::of(&self.head, &self.state)
    }

    /// Brings back a chain from what this machine kept, at the block with this header.
    ///
    /// # Errors
    /// [`BlockError::Outcome`] for a snapshot that is not of this block, [`BlockError::Refused`] for rows that are no state.
    pub fn restore(chain: ChainId, header: &Header, snapshot: Snapshot) -> Result<Self, BlockError> {
        let Snapshot { head, rows } = snapshot;
        let mut state = State::restore(chain, rows)?;
        let place = (header.chain, header.height, header.id(), header.time_s);
        let same = place == (chain, head.height, head.id, head.time_s)
            && (header.root, header.validators, header.next)
                == (state.root()?, head.validators.hash(), head.next.hash())
            && state.totals().height == head.height;
        if same { Ok(Self { state, head, trial: None }) } else { Err(BlockError::Outcome) }
    }

    /// The network.
    pub fn id(&self) -> ChainId {
        self.state.chain()
    }

    /// The last final block.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The last final block, to add a late precommit to what proves it.
    pub(crate) fn certificate_mut(&mut self) -> Option<&mut Certificate> {
        self.head.certificate.as_mut()
    }

    /// The state after the last final block; a trial is given up.
    pub fn state(&mut self) -> &mut State {
        self.give_up();
        &mut self.state
    }

    /// The state as it is, perhaps with a trial in it: good enough to look before a transaction is taken in.
    pub(crate) fn state_as_is(&self) -> &State {
        &self.state
    }

    /// A header of the next block, without what its transactions lead to.
    fn header(&self, proposer: NodeId, time_s: u64) -> Header {
        Header {
            chain: self.id(),
            height: self.head.height + 1,
            time_s,
            parent: self.head.id,
            proposer,
            certificate: hash(b"", &self.head.certificate),
            txs: Hash::default(),
            root: Hash::default(),
            validators: self.head.next.hash(),
            next: Hash::default(),
        }
    }

    /// Makes the next block of what waits, and tries it out. Transactions that can never apply any more leave the pool.
    ///
    /// # Errors
    /// [`BlockError::Refused`] if not even an empty block can be made.
    pub fn propose(
        &mut self,
        proposer: NodeId,
        time_s: u64,
        pool: &mut Mempool,
        keys: &impl Keys,
    ) -> Result<Block, BlockError> {
        self.give_up();
        self.state.mark();
        let mut header = self.header(proposer, time_s.max(self.head.time_s));
        let mut events = match self.state.begin_block(header.height, header.time_s) {
            Ok(events) => events,
            Err(refusal) => return Err(self.fail(refusal.into())),
        };
        let (mut txs, mut left) = (Vec::new(), TXS_BYTES_MAX);
        pool.take(|tx, bytes| {
            if bytes > left {
                return Err(None);
            }
            events.extend(self.state.apply(tx, keys).map_err(Some)?);
            left -= bytes;
            txs.push(tx.clone());
            Ok(())
        });
        let (root, next) = match self.outcome() {
            Ok(outcome) => outcome,
            Err(error) => return Err(self.fail(error)),
        };
        (header.txs, header.root, header.next) = (hash(b"", &txs), root, next.hash());
        let block = Block { header, certificate: self.head.certificate.clone(), txs };
        self.trial = Some(Trial { head: self.head.after(&block, block.id(), next), events });
        Ok(block)
    }

    /// Tries out a block: whether it is valid after the last one.
    ///
    /// # Errors
    /// [`BlockError`], but for [`BlockError::Time`], which is for voters to say.
    pub fn check(&mut self, block: &Block, keys: &impl Keys) -> Result<(), BlockError> {
        let id = block.id();
        if self.trial.as_ref().is_some_and(|trial| trial.head.id == id) {
            return Ok(());
        }
        self.check_place(block, keys)?;
        self.give_up();
        self.state.mark();
        let done = self.execute(block, keys);
        let (events, next) = match done {
            Ok(done) => done,
            Err(error) => return Err(self.fail(error)),
        };
        self.trial = Some(Trial { head: self.head.after(block, id, next), events });
        Ok(())
    }

    fn check_place(&self, block: &Block, keys: &impl Keys) -> Result<(), BlockError> {
        let (header, head) = (&block.header, &self.head);
        if header.chain != self.id() {
            return Err(BlockError::Chain);
        }
        if header.height != head.height + 1 || header.parent != head.id {
            return Err(BlockError::Place { last: head.height, got: header.height });
        }
        block.check_parts()?;
        if header.validators != head.next.hash() {
            return Err(BlockError::Outcome);
        }
        if head.next.get(&header.proposer).is_none() {
            return Err(BlockError::Proposer(header.proposer));
        }
        match &block.certificate {
            None if head.height == 0 => Ok(()),
            Some(certificate)
                if head.height > 0 && (certificate.height, certificate.block) == (head.height, head.id) =>
            {
                Ok(certificate.verify(&self.id(), &head.validators, head.certificate.as_ref(), keys)?)
            }
            _ => Err(crate::certificate::CertificateError::OtherBlock.into()),
        }
    }

    fn execute(&mut self, block: &Block, keys: &impl Keys) -> Result<(Vec<Event>, Validators), BlockError> {
        let mut events = self.state.begin_block(block.header.height, block.header.time_s)?;
        for tx in &block.txs {
            events.extend(self.state.apply(tx, keys)?);
        }
        let (root, next) = self.outcome()?;
        let same = (root, next.hash()) == (block.header.root, block.header.next);
        if same { Ok((events, next)) } else { Err(BlockError::Outcome) }
    }

    fn outcome(&mut self) -> Result<(Hash, Validators), BlockError> {
        let root = self.state.root()?;
        Ok((root, validators_of(&self.state).ok_or(BlockError::Outcome)?))
    }

    fn fail(&mut self, error: BlockError) -> BlockError {
        self.state.rewind();
        error
    }

    fn give_up(&mut self) {
        if self.trial.take().is_some() {
            self.state.rewind();
        }
    }

    /// Makes a block final that a verified certificate proves, and says what it did.
    ///
    /// # Errors
    /// [`BlockError`] if it is not valid, which then more than two thirds of the power have not noticed.
    pub(crate) fn commit(&mut self, decided: &Decided, keys: &impl Keys) -> Result<Vec<Event>, BlockError> {
        self.check(&decided.block, keys)?;
        let trial = self.trial.take().ok_or(BlockError::Outcome)?;
        self.state.keep();
        self.head = Head { certificate: Some(decided.certificate.clone()), ..trial.head };
        Ok(trial.events)
    }

    /// Makes the next block final, if its certificate proves it.
    ///
    /// # Errors
    /// [`BlockError`]; nothing has changed then.
    pub fn extend(&mut self, decided: &Decided, keys: &impl Keys) -> Result<Vec<Event>, BlockError> {
        self.verify(decided, keys)?;
        self.commit(decided, keys)
    }

    /// Whether a certificate proves the next block, which is tried out.
    pub(crate) fn verify(&mut self, decided: &Decided, keys: &impl Keys) -> Result<(), BlockError> {
        let (certificate, height) = (&decided.certificate, self.head.height + 1);
        if (certificate.height, certificate.block) != (height, decided.block.id()) {
            return Err(crate::certificate::CertificateError::OtherBlock.into());
        }
        certificate.verify(&self.id(), &self.head.next, None, keys)?;
        self.check(&decided.block, keys)
    }
}

fn validators_of(state: &State) -> Option<Validators> {
    Validators::new(state.validators().map(|(id, power)| Validator { id, power }).collect())
}
