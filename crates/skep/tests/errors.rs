//! What a person sees when something is wrong: one sentence, a hint, an exit code, and nothing on standard output.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BUNDLED: &[u8] = include_bytes!("../assets/skep-bard-q8_0.gguf");

fn skep(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skep")).args(arguments).env("SKEP_HOME", home).output().unwrap()
}

/// Checks the form of a failure and returns its sentence.
fn refusal(output: &Output, exit_code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{text}");
    assert!(output.stdout.is_empty(), "standard output is for data");
    assert!(!text.contains("panicked"), "{text}");
    let (sentence, hint) = text.split_once("\n\nhint: ").unwrap_or_else(|| panic!("no hint in: {text}"));
    assert!(!hint.trim().is_empty());
    sentence.strip_prefix("error: ").unwrap_or_else(|| panic!("no error in: {text}")).to_owned()
}

/// Starts a demo over a file of these bytes.
fn refused_model(bytes: &[u8]) -> String {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let inspected = skep(home.path(), &["model", "inspect", path]);
    assert!(inspected.status.code() == Some(3) || inspected.status.success(), "{inspected:?}");
    refusal(&skep(home.path(), &["demo", "--no-open", "--port", "0", "--model", path]), 3)
}

/// The bundled file with `from` replaced by `to` where it stands first.
fn with(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = BUNDLED.windows(from.len()).position(|window| window == from).unwrap();
    let mut bytes = BUNDLED.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn a_missing_model_file() {
    let home = tempfile::tempdir().unwrap();
    for command in
        [&["demo", "--no-open", "--port", "0", "--model", "/no/such.gguf"][..], &["model", "inspect", "/no/such.gguf"]]
    {
        let sentence = refusal(&skep(home.path(), command), 3);
        assert_eq!(sentence, "cannot read /no/such.gguf: No such file or directory (os error 2)");
    }
}

#[test]
fn too_little_memory_is_told_before_anything_is_promised() {
    let home = tempfile::tempdir().unwrap();
    let sentence = refusal(&skep(home.path(), &["up", "--port", "0", "--ephemeral", "--memory", "10kB"]), 3);
    assert!(sentence.starts_with("these blocks need ") && sentence.ends_with("; 10000 may be used"), "{sentence}");
}

#[test]
fn truncated_corrupted_and_foreign_model_files() {
    assert!(refused_model(b"").contains("malformed gguf"));
    assert!(refused_model(b"not a model at all").contains("malformed gguf"));
    assert!(
        refused_model(&BUNDLED[..BUNDLED.len() / 2]).contains("token_embd")
            || refused_model(&BUNDLED[..5000]).contains("malformed")
    );
    assert!(refused_model(&BUNDLED[..1000]).contains("malformed gguf"));
    let mut counts = BUNDLED.to_vec();
    counts[8..24].fill(0xff);
    assert!(refused_model(&counts).contains("malformed gguf"));
}

#[test]
fn an_unknown_architecture_is_named() {
    let mut key = b"general.architecture".to_vec();
    key.extend(8u32.to_le_bytes());
    key.extend(5u64.to_le_bytes());
    let (from, to) = ([&key[..], b"llama"].concat(), [&key[..], b"mamba"].concat());
    assert!(refused_model(&with(&from, &to)).contains("architecture mamba is not supported yet"));
}

#[test]
fn a_port_in_use() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for command in ["demo", "up"] {
        let output = skep(home.path(), &[command, "--port", &port.to_string()]);
        assert_eq!(refusal(&output, 4), format!("port {port} on this machine is in use"));
    }
}

#[test]
fn blocks_that_the_model_does_not_have() {
    let home = tempfile::tempdir().unwrap();
    let sentence = refusal(&skep(home.path(), &["up", "--port", "0", "--blocks", "4..99"]), 3);
    assert_eq!(sentence, "the model has blocks 0..8, so it cannot serve 4..99");
}

#[test]
fn no_network_to_ask() {
    let home = tempfile::tempdir().unwrap();
    for command in ["chat", "status", "models"] {
        let output = skep(home.path(), &[command, "--api", "http://127.0.0.1:1"]);
        assert!(refusal(&output, 5).starts_with("no network answers at http://127.0.0.1:1"));
    }
}

#[test]
fn a_gateway_that_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    let nobody = format!("{}@127.0.0.1:1", "5866666666666666666666666666666666666666666666666666666666666666");
    refusal(&skep(home.path(), &["up", "--blocks", "0..4", "--join", &nobody]), 5);
    refusal(&skep(home.path(), &["up", "--blocks", "0..4", "--join", "nonsense"]), 5);
}

#[test]
fn a_link_that_is_no_invite() {
    let home = tempfile::tempdir().unwrap();
    let told = |link: &str| refusal(&skep(home.path(), &["up", link]), 3);
    assert_eq!(told("https://example.org"), "an invite begins with `skep:`");
    assert_eq!(told("skep:a1"), "the invite is cut off, or has a character that no invite has");
    assert_eq!(told("skep:aeaa"), "the invite is of version 1, and this program reads version 3");
    assert_eq!(told("skep:amaq"), "the invite is cut off or changed");
    let node = skep_types::NodeId([0x58; 32]);
    let terms = skep_types::InviteTerms {
        network: node,
        gateways: vec![skep_types::wire::Peer { node, addrs: vec!["127.0.0.1:1".parse().unwrap()] }],
        expires: u64::MAX,
        nonce: [0; 16],
        uses: 1,
        relay: None,
    };
    let forged = skep_types::Invite { terms, by: None, signature: [0; 64] };
    assert_eq!(told(&forged.to_string()), "the invite is not as its network signed it");
}

/// A folder on a file system of 64 KiB, unmounted when dropped.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: this user may not mount a small disk; this test checked nothing");
        None
    }

    fn entries(&self) -> Vec<PathBuf> {
        let models = std::fs::read_dir(self.0.path().join("models")).into_iter().flatten();
        models.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk() {
    let Some(disk) = TinyDisk::mount() else { return };
    let sentence = refusal(&skep(disk.0.path(), &["demo", "--no-open", "--port", "0"]), 4);
    assert!(sentence.contains("No space left on device"), "{sentence}");
    assert_eq!(disk.entries(), [] as [PathBuf; 0], "half a file is left behind");
}

#[test]
fn help_says_what_the_page_of_it_says() {
    let home = tempfile::tempdir().unwrap();
    let pages: [(&str, &[&str]); 12] = [
        ("skep", &["--help"]),
        ("demo", &["demo", "--help"]),
        ("up", &["up", "--help"]),
        ("invite", &["invite", "--help"]),
        ("members", &["members", "--help"]),
        ("remove", &["remove", "--help"]),
        ("pull", &["pull", "--help"]),
        ("relay", &["relay", "--help"]),
        ("doctor", &["doctor", "--help"]),
        ("chat", &["chat", "--help"]),
        ("config", &["config", "--help"]),
        ("config-show", &["config", "show", "--help"]),
    ];
    for (name, arguments) in pages {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/help/{name}.txt"));
        let shown = String::from_utf8(skep(home.path(), arguments).stdout).unwrap();
        if std::env::var_os("SKEP_BLESS").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(shown, expected, "run with SKEP_BLESS=1 to accept a change of {}", path.display());
    }
}
