//! Validators as real processes: they agree, survive `kill -9`, and refuse what nobody may say.
#![allow(clippy::unwrap_used, reason = "a test")]

use serde_json::Value;
use skep_consensus::{Genesis, Message, Validator, Validators, light::Trusted};
use skep_ledger::{Action, Amount, Key, Params, Tx};
use skep_net::{Net, NetConfig, Packet, PacketSender, parse_peer};
use skep_types::signed::Signed;
use skep_types::wire::Peer;
use skep_validator::wire::{Outcome, Said, Status};
use skep_validator::{Client, Keyring, save_genesis};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longer than anything takes on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(60);
const GRANT: u64 = 1_000_000_000;

/// The account of a number.
fn account(number: u8) -> Keyring {
    Keyring::new(&[number; 32])
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A ledger whose validators are processes of their own.
struct Ledger {
    folder: tempfile::TempDir,
    genesis: Genesis,
    peers: Vec<String>,
    children: Vec<Option<Child>>,
}

impl Ledger {
    fn start(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut validators, mut peers) = (Vec::new(), Vec::new());
        for number in 0..count {
            let home = folder.path().join(number.to_string());
            std::fs::create_dir_all(&home).unwrap();
            let id = Keyring::new(&skep_net::load_or_create_key(&home.join("node.key")).unwrap()).id();
            validators.push(Validator { id, power: 1 });
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            peers.push(format!("{id}@{}", socket.local_addr().unwrap()));
        }
        let mut grants: Vec<_> = (100..110).map(|number| (account(number).id(), Amount(GRANT))).collect();
        grants.sort_unstable();
        let (params, validators) = (Params::default(), Validators::new(validators).unwrap());
        let genesis = Genesis { params, time_s: unix_s(), validators, grants };
        save_genesis(&folder.path().join("genesis"), &genesis).unwrap();
        let mut ledger = Self { folder, genesis, peers, children: (0..count).map(|_| None).collect() };
        (0..count).for_each(|number| ledger.revive(number));
        ledger
    }

    fn home(&self, number: usize) -> std::path::PathBuf {
        self.folder.path().join(number.to_string())
    }

    /// Starts a validator and waits until it is ready.
    fn revive(&mut self, number: usize) {
        let listen = self.peers[number].split_once('@').unwrap().1;
        let others = self.peers.iter().filter(|peer| **peer != self.peers[number]);
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["validator", "--json", "--end-with-stdin", "--listen", listen, "--genesis"])
            .arg(self.folder.path().join("genesis"))
            .args(others.flat_map(|peer| ["--peer", peer]))
            .env("SKEP_HOME", self.home(number))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["chain"], self.genesis.chain().to_string());
        self.children[number] = Some(child);
    }

    /// `kill -9`.
    fn kill(&mut self, number: usize) {
        let mut child = self.children[number].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn peer(&self, number: usize) -> Peer {
        parse_peer(&self.peers[number]).unwrap()
    }

    fn transfer(&self, payer: u8, nonce: u64) -> Signed<Tx> {
        let keys = account(payer);
        let action = Action::Transfer { to: account(200).id(), amount: Amount(1) };
        let fee = Amount(4000);
        let tx = Tx { chain: self.genesis.chain(), payer: keys.id(), nonce, expires: unix_s() + 600, fee, action };
        Signed::sign(tx, &keys).unwrap()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn net() -> Net {
    Net::bind(NetConfig::new(skep_net::random_bytes(), "127.0.0.1:0".parse().unwrap())).await.unwrap().0
}

/// A client with a connection of its own, of a validator that may have been started a moment ago.
async fn client(peer: &Peer) -> Client {
    let begun = Instant::now();
    loop {
        match Client::connect(&net().await, peer).await {
            Ok(client) => return client,
            Err(fault) => assert!(begun.elapsed() < SOON, "{fault}"),
        }
    }
}

async fn status(peer: &Peer) -> Status {
    client(peer).await.status().await.unwrap()
}

/// Waits until a validator is as far as this.
async fn reaches(peer: &Peer, height: u64) -> Status {
    let begun = Instant::now();
    loop {
        let status = status(peer).await;
        if status.height >= height {
            return status;
        }
        assert!(begun.elapsed() < SOON, "{status:?} is not at {height}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn submit(client: &mut Client, txs: Vec<Signed<Tx>>) -> Vec<Outcome> {
    tokio::time::timeout(SOON, client.submit(txs)).await.unwrap().unwrap()
}

fn finals(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Final { .. })).count()
}

/// What an account has by the word of a validator that is believed in nothing.
async fn proved(ledger: &Ledger, number: usize, who: u8) -> u64 {
    let mut client = client(&ledger.peer(number)).await;
    client.account(&ledger.genesis, account(who).id(), unix_s()).await.unwrap().account.balance.0
}

#[tokio::test(flavor = "multi_thread")]
async fn four_agree_and_one_that_was_killed_catches_up() {
    let mut ledger = Ledger::start(4);
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(client(&ledger.peer(number)).await);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let payer = 100 + number as u8;
        let txs = (0..20).map(|nonce| ledger.transfer(payer, nonce)).collect();
        assert_eq!(finals(&submit(client, txs).await), 20);
    }
    ledger.kill(3);
    let txs = (0..20).map(|nonce| ledger.transfer(105, nonce)).collect();
    assert_eq!(finals(&submit(&mut clients[0], txs).await), 20, "three of four are enough");
    let goal = status(&ledger.peer(0)).await.height;
    ledger.revive(3);
    let caught_up = reaches(&ledger.peer(3), goal).await;
    assert_eq!((caught_up.validators, caught_up.power, caught_up.total), (4, 1, 4));
    // All four say the same, with proofs.
    for number in 0..4 {
        reaches(&ledger.peer(number), goal).await;
        assert_eq!(proved(&ledger, number, 200).await, 100);
        assert_eq!(proved(&ledger, number, 105).await, GRANT - 20 - 20 * 4000);
    }
    // And the one that came back has its say: with another one dead, nothing goes on without it.
    ledger.kill(1);
    let txs = vec![ledger.transfer(106, 0)];
    assert_eq!(finals(&submit(&mut clients[2], txs).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_when_all_are_killed_at_random_moments() {
    let mut ledger = Ledger::start(4);
    let mut acknowledged = [0u64; 4];
    for round in 0..4u64 {
        let mut tasks = Vec::new();
        for (number, known) in acknowledged.iter().enumerate() {
            let (peer, payer) = (ledger.peer(number), 100 + number as u8);
            let mut client = client(&peer).await;
            let key = Key::Account(account(payer).id());
            let genesis = ledger.genesis.clone();
            // What is acknowledged stands in the state of whoever acknowledged it; more may have become final unheard.
            let nonce = match client.row(key).await.unwrap() {
                None => 0,
                Some(_) => client.account(&genesis, account(payer).id(), unix_s()).await.unwrap().account.nonce,
            };
            assert!(nonce >= *known, "validator {number} has lost {} transfers", known - nonce);
            let txs: Vec<_> = (nonce..nonce + 400).map(|nonce| ledger.transfer(payer, nonce)).collect();
            let last = Arc::new(AtomicU64::new(nonce));
            let counted = last.clone();
            let task = tokio::spawn(async move {
                // Until the validator dies.
                for tx in txs {
                    match client.submit(vec![tx]).await {
                        Ok(outcomes) if finals(&outcomes) == 1 => counted.fetch_add(1, Ordering::SeqCst),
                        _ => break,
                    };
                }
            });
            tasks.push((task, last));
        }
        let seed = u64::from(skep_net::random_bytes()[0]);
        tokio::time::sleep(Duration::from_millis(150 + 200 * round + seed)).await;
        (0..4).for_each(|number| ledger.kill(number));
        for (known, (task, last)) in acknowledged.iter_mut().zip(tasks) {
            task.abort();
            *known = last.load(Ordering::SeqCst);
        }
        (0..4).for_each(|number| ledger.revive(number));
    }
    assert!(acknowledged.iter().sum::<u64>() > 0, "nothing became final at all");
    let goal = (0..4).map(|number| ledger.peer(number));
    let mut highest = 0;
    for peer in goal {
        highest = highest.max(status(&peer).await.height);
    }
    for number in 0..4 {
        reaches(&ledger.peer(number), highest).await;
        for (payer, known) in acknowledged.iter().enumerate() {
            let mut client = client(&ledger.peer(number)).await;
            let id = account(100 + payer as u8).id();
            let nonce = client.account(&ledger.genesis, id, unix_s()).await.unwrap().account.nonce;
            assert!(nonce >= *known, "validator {number} lacks transfers of {payer}");
        }
    }
}

/// What a validator whose stream this is may be told; false once it has ended the stream.
async fn is_heard(stream: &mut PacketSender) -> bool {
    let status = Said::Engine(Message::Status { height: 0 }).packet().unwrap();
    for _ in 0..200 {
        if stream.send(&status).await.is_err() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_refuse_what_is_forged_replayed_oversized_or_from_nobody() {
    let ledger = Ledger::start(1);
    let net = net().await;
    let mut client = client(&ledger.peer(0)).await;
    let good = ledger.transfer(100, 0);
    let mut forged = ledger.transfer(101, 0);
    forged.signature[5] ^= 1;
    let foreign = {
        let tx = Tx { chain: skep_ledger::ChainId([1; 32]), ..ledger.transfer(102, 0).statement };
        Signed::sign(tx, &account(102)).unwrap()
    };
    let late = {
        let tx = Tx { expires: 1, ..ledger.transfer(103, 0).statement };
        Signed::sign(tx, &account(103)).unwrap()
    };
    let poor = ledger.transfer(99, 0);
    let outcomes = submit(&mut client, vec![forged, good.clone(), foreign, late, poor]).await;
    let reasons: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Refused { reason } => &reason[..],
            _ => "",
        })
        .collect();
    assert!(reasons[0].contains("the signature is not that of"), "{reasons:?}");
    assert_eq!(outcomes[1], Outcome::Final { height: 1 });
    assert!(reasons[2].contains("another network"), "{reasons:?}");
    assert!(reasons[3].contains("expired"), "{reasons:?}");
    assert!(reasons[4].contains("needs"), "{reasons:?}");
    let Outcome::Refused { .. } = &submit(&mut client, vec![good]).await[0] else { panic!("taken twice") };

    // Bytes that are no question end the stream, and only that.
    let (mut asks, mut answers) = net.open_ledger(&ledger.peer(0)).await.unwrap();
    asks.send(&Packet::new(&[77; 10]).unwrap()).await.unwrap();
    assert!(!matches!(tokio::time::timeout(SOON, answers.recv()).await.unwrap(), Ok(Some(_))));
    // Whoever is no validator is not listened to, even with a right hello.
    let mut blocks = net.open_blocks(&ledger.peer(0), true).await.unwrap();
    let hello = Said::Hello { chain: ledger.genesis.chain(), life: 1 };
    blocks.send(&hello.packet().unwrap()).await.unwrap();
    assert!(!is_heard(&mut blocks).await);
    assert_eq!(status(&ledger.peer(0)).await.height, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_proof_is_not_believed_of_processes() {
    let ledger = Ledger::start(1);
    let mut client = client(&ledger.peer(0)).await;
    assert_eq!(client.row(Key::Account(account(100).id())).await.unwrap(), None, "there is no block yet");
    submit(&mut client, vec![ledger.transfer(100, 0)]).await;
    let key = Key::Account(account(100).id());
    let row = client.row(key).await.unwrap().unwrap();
    let keys = account(1);
    let mut trusted = Trusted::begin(&ledger.genesis);
    let mut forged = row.shown.clone();
    forged.header.root = [0; 32];
    assert!(trusted.leap(&forged, unix_s(), 600, &keys).is_err());
    trusted.leap(&row.shown, unix_s(), 600, &keys).unwrap();
    trusted.shows(&row.proof, &key, row.row.as_deref()).unwrap();
    let mut richer = row.row.clone().unwrap();
    richer[0] ^= 1;
    assert!(trusted.shows(&row.proof, &key, Some(&richer)).is_err());
}

fn skep(home: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let out = Command::new(env!("CARGO_BIN_EXE_skep")).args(arguments).env("SKEP_HOME", home).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(out.stdout), text(out.stderr), out.status.code())
}

#[test]
fn the_commands_of_a_lone_validators_processes() {
    let mut ledger = Ledger::start(1);
    let home = ledger.home(0);
    let (out, _, _) = skep(&home, &["validator", "status", "--json"]);
    let status: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&status["height"], &status["validators"]), (&0.into(), &1.into()));
    assert_eq!(status["chain"], ledger.genesis.chain().to_string());
    let (key, ..) = skep(&home, &["validator", "key"]);
    assert_eq!(key.trim(), status["validator"]);
    let (_, error, code) = skep(&home, &["validator", "balance"]);
    assert!(error.contains("nothing is proved before the first block"), "{error}");
    assert_eq!(code, Some(5));
    // A second one with the same folder, and another ledger in it.
    let (_, error, code) = skep(&home, &["validator", "--listen", "127.0.0.1:0"]);
    assert!(error.contains("cannot use the blocks") && code == Some(5), "{error}");
    ledger.kill(0);
    let other = ledger.folder.path().join("other");
    let (name, ..) = skep(&home, &["validator", "init", other.to_str().unwrap()]);
    assert_eq!(name.trim().len(), 64);
    let (_, error, _) = skep(&home, &["validator", "init", other.to_str().unwrap()]);
    assert!(error.contains("cannot use"), "nobody's ledger is replaced: {error}");
    let (_, error, _) = skep(&home, &["validator", "--genesis", other.to_str().unwrap()]);
    assert!(error.contains("holds another ledger"), "{error}");
    let (_, error, _) = skep(&home, &["validator", "status"]);
    assert!(error.contains("error:"), "nobody is there: {error}");
}
