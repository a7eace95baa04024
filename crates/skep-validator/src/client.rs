//! Asking a validator.

use crate::wire::{Answer, Ask, Outcome, Row, Status};
use crate::{Keyring, ValidatorError};
use skep_consensus::Genesis;
use skep_consensus::light::Trusted;
use skep_ledger::{Account, Key, Tx};
use skep_net::{Net, PacketReceiver, PacketSender};
use skep_types::NodeId;
use skep_types::signed::Signed;
use skep_types::wire::Peer;

/// A stream to a validator. What it answers proves nothing by itself but rows, which a light client checks.
pub struct Client {
    /// Without it the connection would end.
    net: Net,
    asks: PacketSender,
    answers: PacketReceiver,
}

impl Client {
    /// Reaches a validator.
    ///
    /// # Errors
    /// [`ValidatorError::Net`].
    pub async fn connect(net: &Net, to: &Peer) -> Result<Self, ValidatorError> {
        let (asks, answers) = net.open_ledger(to).await?;
        Ok(Self { net: net.clone(), asks, answers })
    }

    /// Both ends: who hands in much sends while answers come.
    pub fn split(self) -> (Asker, Listener) {
        (Asker(self.asks, self.net), Listener(self.answers))
    }

    /// How far the validator is.
    ///
    /// # Errors
    /// [`ValidatorError::Net`], [`ValidatorError::Answer`].
    pub async fn status(&mut self) -> Result<Status, ValidatorError> {
        match self.ask(&Ask::Status).await? {
            Answer::Status(status) => Ok(status),
            other => Err(unasked(&other)),
        }
    }

    /// A row with its proof.
    ///
    /// # Errors
    /// [`ValidatorError::Net`], [`ValidatorError::Answer`].
    pub async fn row(&mut self, key: Key) -> Result<Option<Row>, ValidatorError> {
        match self.ask(&Ask::Row(key)).await? {
            Answer::Row(row) => Ok(row.map(|row| *row)),
            other => Err(unasked(&other)),
        }
    }

    /// What an account has, believed from how the ledger began on: certificate and proof are checked here, and the validator is trusted with
    /// nothing. Those who agreed on the first block must not have lost a third of their power to somebody who would make up another past.
    ///
    /// # Errors
    /// [`ValidatorError::Light`] if it is not proved; [`ValidatorError::Net`], [`ValidatorError::Answer`].
    pub async fn account(&mut self, genesis: &Genesis, id: NodeId, now_s: u64) -> Result<Proved, ValidatorError> {
        let key = Key::Account(id);
        let Some(row) = self.row(key).await? else {
            return Err(ValidatorError::Answer("nothing is proved before the first block".into()));
        };
        let mut trusted = Trusted::begin(genesis);
        // This key signs nothing: it only verifies.
        trusted.leap(&row.shown, now_s, u64::MAX, &Keyring::new(&[0; 32]))?;
        trusted.shows(&row.proof, &key, row.row.as_deref())?;
        let account = row.row.as_deref().map(borsh::from_slice).transpose();
        let account = account.map_err(|fault| ValidatorError::Answer(fault.to_string()))?;
        Ok(Proved { height: trusted.height, account: account.unwrap_or_default() })
    }

    /// Hands in transactions, and waits until it is known what became of each.
    ///
    /// # Errors
    /// [`ValidatorError::Net`], [`ValidatorError::Answer`].
    pub async fn submit(&mut self, txs: Vec<Signed<Tx>>) -> Result<Vec<Outcome>, ValidatorError> {
        let count = txs.len();
        match self.ask(&Ask::Submit { number: 0, txs }).await? {
            Answer::Submitted { outcomes, .. } if outcomes.len() == count => Ok(outcomes),
            other => Err(unasked(&other)),
        }
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Answer, ValidatorError> {
        send(&mut self.asks, ask).await?;
        receive(&mut self.answers).await?.ok_or_else(|| ValidatorError::Answer("it ended the stream".into()))
    }
}

/// An account under a final block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Number of the block.
    pub height: u64,
    /// The account after it.
    pub account: Account,
}

/// The end that asks.
pub struct Asker(PacketSender, #[allow(dead_code, reason = "without it the connection would end")] Net);

impl Asker {
    /// Asks something.
    ///
    /// # Errors
    /// [`ValidatorError::Net`]; [`ValidatorError::Answer`] for a question that is too long.
    pub async fn ask(&mut self, ask: &Ask) -> Result<(), ValidatorError> {
        send(&mut self.0, ask).await
    }
}

/// The end at which answers come.
pub struct Listener(PacketReceiver);

impl Listener {
    /// The next answer; none at the end.
    ///
    /// # Errors
    /// [`ValidatorError::Net`], [`ValidatorError::Answer`].
    pub async fn next(&mut self) -> Result<Option<Answer>, ValidatorError> {
        receive(&mut self.0).await
    }
}

async fn send(asks: &mut PacketSender, ask: &Ask) -> Result<(), ValidatorError> {
    let packet = ask.packet().ok_or_else(|| ValidatorError::Answer("the question is too long".into()))?;
    Ok(asks.send(&packet).await?)
}

async fn receive(answers: &mut PacketReceiver) -> Result<Option<Answer>, ValidatorError> {
    let Some(bytes) = answers.recv().await? else { return Ok(None) };
    Answer::decode(&bytes).map(Some).map_err(|fault| ValidatorError::Answer(fault.to_string()))
}

fn unasked(answer: &Answer) -> ValidatorError {
    let kind = match answer {
        Answer::Status(_) => "a status",
        Answer::Row(_) => "a row",
        Answer::Submitted { .. } => "outcomes",
    };
    ValidatorError::Answer(format!("{kind} that was not asked for"))
}
