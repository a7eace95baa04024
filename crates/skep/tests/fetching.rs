//! Real processes without the model's file come to their blocks of it: counted on the wire, killed in the middle, and without the machine
//! where the file was.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/model.rs"]
mod model;
#[path = "common/up.rs"]
mod up;

use serde_json::Value;
use skep_model::Gguf;
use skep_store::adopt;
use skep_types::ModelId;
use std::path::Path;
use std::time::Duration;
use up::{Up, skep, start, succeed, up};

/// What a node says that it fetched before it was ready.
fn fetched(node: &Up, what: &str) -> u64 {
    node.said["fetched"][what].as_u64().unwrap()
}

/// Waits until as many nodes are alive.
fn wait_for_nodes(home: &Path, api: &str, wanted: usize) {
    loop {
        let view: Value = serde_json::from_str(&succeed(skep(home).args(["status", "--json", "--api", api]))).unwrap();
        if view["nodes"].as_array().unwrap().iter().filter(|node| node["alive"] == true).count() == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A network of one machine that has the six-block model, and its port.
struct Origin {
    home: tempfile::TempDir,
    file: String,
    listen: String,
    bytes: Vec<u8>,
}

impl Origin {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (file, bytes) = (home.path().join("model.gguf"), model::six_blocks().unwrap());
        std::fs::write(&file, &bytes).unwrap();
        let port = std::net::UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        // On all addresses, so that whoever joins needs an invite.
        Self { file: file.to_str().unwrap().to_owned(), listen: format!("0.0.0.0:{port}"), home, bytes }
    }

    fn up(&self, arguments: &[&str]) -> Up {
        let listen = ["--model", &self.file, "--blocks", "0..1", "--listen", &self.listen, "--port", "0"];
        up(self.home.path(), &[&listen, arguments].concat())
    }

    fn link(&self, gateway: &Up) -> String {
        succeed(skep(self.home.path()).args(["invite", "--api", gateway.said["api"].as_str().unwrap()]))
    }

    /// Bytes of the tensors of so many blocks.
    fn block_bytes(&self, blocks: std::ops::Range<u32>) -> u64 {
        let gguf = Gguf::from_bytes(self.bytes.clone()).unwrap();
        let of = |name: &str| blocks.clone().any(|block| name.starts_with(&format!("blk.{block}.")));
        gguf.tensors().iter().filter(|info| of(&info.name)).map(|info| info.bytes).sum()
    }

    /// Bytes before the first tensor.
    fn header_bytes(&self) -> u64 {
        Gguf::from_bytes(self.bytes.clone()).unwrap().tensors().iter().map(|info| info.offset).min().unwrap()
    }

    /// Bytes of the model that a machine has, as it noted them down.
    fn held(&self, home: &Path) -> u64 {
        let stored = adopt::stored(&home.join("models"), ModelId::of(&self.bytes)).unwrap();
        stored.map_or(0, |stored| stored.bytes())
    }
}

#[test]
fn a_process_that_only_uses_the_network_fetches_the_header_and_lends_nothing() {
    let (origin, homes) = (Origin::new(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let gateway = origin.up(&[]);
    let link = origin.link(&gateway);
    let other = up(homes[0].path(), &[&link, "--blocks", "1..6"]);
    let user = up(homes[1].path(), &["--port", "0", "--use-only", &link]);
    let (came, header) = (fetched(&user, "received_bytes"), origin.header_bytes());
    let whole = origin.bytes.len();
    println!("{came} bytes received for a header of {header}, of a file of {whole}");
    // A quarter more than the header at most, the last group, and what QUIC takes.
    assert!(came < header * 5 / 4 + (96 << 10), "{came} bytes were received");
    assert_eq!((&user.said["node"]["blocks"], &user.said["weight_bytes"]), (&Value::Null, &0.into()));
    let api = |node: &Up| node.said["api"].as_str().unwrap().to_owned();
    wait_for_nodes(homes[1].path(), &api(&user), 2);
    let answer = |api: String| {
        let answer = ureq::post(format!("{api}/v1/completions")).header("content-type", "application/json");
        let mut answer = answer.send(r#"{"prompt": "Who?", "max_tokens": 4, "temperature": 0}"#).unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["choices"][0]["text"].clone()
    };
    wait_for_nodes(homes[0].path(), &api(&gateway), 2);
    assert_eq!(answer(api(&user)), answer(api(&gateway)));
    // Nobody takes it for a node, also when it has told all that it tells.
    for node in [&gateway, &other] {
        let status = succeed(skep(homes[0].path()).args(["status", "--json", "--api", &api(node)]));
        assert!(!status.contains(user.said["node"]["id"].as_str().unwrap()), "{status}");
    }
}

/// Bytes of a file that take space on the disk.
#[cfg(unix)]
fn on_disk(home: &Path, id: ModelId) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(home.join("models").join(id.to_string()).join("model.gguf")).map_or(0, |file| file.blocks() * 512)
}

#[cfg(unix)]
#[test]
fn processes_killed_at_half_of_a_fetch_go_on_where_they_were() {
    let (origin, home) = (Origin::new(), tempfile::tempdir().unwrap());
    let gateway = origin.up(&["--upload", "4MB"]);
    let (link, id) = (origin.link(&gateway), ModelId::of(&origin.bytes));
    let own = origin.block_bytes(2..4);
    let arguments = [link.as_str(), "--blocks", "2..4"];
    // As on a machine where Skep never ran.
    let home = home.path().join("new");
    let mut child = start(&home, &arguments);
    while origin.held(&home) < own / 2 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it had half");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let had = on_disk(&home, id);
    let again = up(&home, &arguments);
    let (kept, came) = (fetched(&again, "kept_bytes"), fetched(&again, "received_bytes"));
    println!("it had {had} bytes, kept {kept} of them and received {came} more; its blocks have {own}");
    assert!(had < own, "it was killed too late: {had} of {own}");
    assert!(had.saturating_sub(kept) * 20 < had, "{had} bytes were here, and {kept} of them counted");
    assert!(kept + came < own / 10 * 11, "{kept} bytes kept and {came} received for {own}");
}

#[test]
fn processes_need_the_origin_no_more_once_others_hold_the_blocks() {
    let (origin, homes) = (Origin::new(), [(); 3].map(|()| tempfile::tempdir().unwrap()));
    let gateway = origin.up(&[]);
    let link = origin.link(&gateway);
    let spans = [("0..3", 0..3), ("3..6", 3..6), ("2..4", 2..4)];
    let mut nodes = Vec::new();
    for (home, (text, blocks)) in homes.iter().zip(&spans[..2]) {
        let node = up(home.path(), &[&link, "--blocks", text]);
        let (came, own) = (fetched(&node, "received_bytes"), origin.block_bytes(blocks.clone()));
        println!("blocks {text}: {came} bytes received for {own} of blocks, with an end of the model");
        nodes.push(node);
    }
    // The machine with the file comes back, at its old address, and gives nothing any more.
    drop(gateway);
    let gateway = origin.up(&["--upload", "0"]);
    let api = gateway.said["api"].as_str().unwrap();
    wait_for_nodes(origin.home.path(), api, 3);
    let (text, blocks) = spans[2].clone();
    let node = up(homes[2].path(), &[&link, "--blocks", text]);
    let (came, own) = (fetched(&node, "received_bytes"), origin.block_bytes(blocks));
    println!("blocks {text}: {came} bytes received for {own} of blocks ({:.3} times)", came as f64 / own as f64);
    assert!(came * 10 <= own * 11, "{came} bytes were received for {own}");
    // They compute with it: the last blocks are on the second node only.
    let answer = ureq::post(format!("{api}/v1/completions"))
        .header("content-type", "application/json")
        .send(r#"{"prompt": "Who?", "max_tokens": 2}"#)
        .unwrap();
    let (route, last) =
        (answer.headers()["skep-route"].to_str().unwrap(), nodes[1].said["node"]["id"].as_str().unwrap());
    assert!(route.contains(&last[..10]), "{last} is not in {route}");
}
