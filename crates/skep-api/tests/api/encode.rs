//! Embeddings and classifications.

use crate::harness::Server;
use crate::scripted::Scripted;
use data_encoding::BASE64;
use serde_json::{Value, json};
use skep_model::Picture;
use skep_node::EncodeInput;

const EMBEDDINGS: &str = "/v1/embeddings";
const CLASSES: &str = "/v1/images/classifications";

fn server() -> Server {
    Server::start(Scripted::says(&["x"]))
}

fn text(text: &str) -> EncodeInput {
    EncodeInput::Text(text.into())
}

#[test]
fn embeddings_are_exactly_these_bytes() {
    let server = server();
    let answer = server.post(EMBEDDINGS, r#"{"input":["a","b"],"model":"scripted/tiny","dimensions":3,"user":"u"}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let golden = [
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0,0.1,-2.5]},"#,
        r#"{"object":"embedding","index":1,"embedding":[1.0,0.1,-2.5]}],"model":"<model>","#,
        r#""usage":{"prompt_tokens":7,"total_tokens":7}}"#,
    ];
    assert_eq!(answer.body, golden.concat().replace("<model>", &"ab".repeat(32)));
    assert_eq!(answer.header("skep-route"), Some("0101010101[0..4],0202020202[4..8]"));
    let body = json!({"input": "a", "encoding_format": "base64"});
    let answer = server.post(EMBEDDINGS, &body.to_string());
    assert_eq!(answer.json()["data"][0]["embedding"], "AAAAAM3MzD0AACDA");
}

#[test]
fn every_form_of_input_is_read() {
    let server = server();
    let tokens = |ids: &[u32]| EncodeInput::Tokens(ids.to_vec());
    let forms = [
        (json!("a"), vec![text("a")]),
        (json!(["a", "b"]), vec![text("a"), text("b")]),
        (json!([1, 2]), vec![tokens(&[1, 2])]),
        (json!([[1], [2, 3]]), vec![tokens(&[1]), tokens(&[2, 3])]),
        (json!([[1], "b"]), vec![tokens(&[1]), text("b")]),
    ];
    for (input, read) in forms {
        let answer = server.post(EMBEDDINGS, &json!({"input": input, "encoding_format": "float"}).to_string());
        assert_eq!(answer.status, 200, "{input}: {}", answer.body);
        assert_eq!(server.backend.encode_requests.lock().unwrap().pop().unwrap().inputs, read);
    }
}

#[test]
fn embeddings_that_cannot_be_made_are_refused_by_name() {
    let server = server();
    let with = |field: &str, value: Value| {
        let mut body = json!({"input": "a"});
        body[field] = value;
        body.to_string()
    };
    let cases = [
        ("{}".to_owned(), "input"),
        (with("input", json!([])), "input"),
        (with("input", json!(5)), "input"),
        (with("input", json!({"text": "a"})), "input"),
        (with("input", json!([1, -2])), "input"),
        (with("input", json!(["a", 5])), "input[1]"),
        (with("input", json!([["a"]])), "input[0]"),
        (with("input", json!([[]])), "input[0]"),
        (with("input", json!(vec!["a"; 2049])), "input"),
        (with("encoding_format", json!("int8")), "encoding_format"),
        (with("dimensions", json!(2)), "dimensions"),
        (with("dimensions", json!(0)), "dimensions"),
        (with("user", json!(7)), "user"),
        (with("truncate", json!(true)), "truncate"),
    ];
    for (body, param) in cases {
        let answer = server.post(EMBEDDINGS, &body);
        assert_eq!((answer.status, answer.error().0), (400, json!(param)), "{body}: {}", answer.body);
    }
    assert!(server.backend.encode_requests.lock().unwrap().is_empty());
    let answer = server.post(EMBEDDINGS, r#"{"input":""}"#);
    let (param, code, message) = answer.error();
    assert_eq!((answer.status, param, code), (400, json!("model"), json!("wrong_model")));
    assert!(
        message.starts_with("the model `m` does not make embeddings: it writes text\nhint: ask /v1/c"),
        "{message}"
    );
}

/// Pictures of 3 × 2 pixels, in base64, that Pillow wrote: the same colours in every kind of PNG, and a plain JPEG.
const PICTURES: &str = include_str!("pictures.txt");

fn picture(name: &str) -> &'static str {
    PICTURES.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t')).unwrap()
}

#[test]
fn pictures_of_every_kind_are_read() {
    let server = server();
    let colour = [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 128, 128, 128, 255, 255, 255];
    let grey: Vec<u8> = [0, 50, 100, 150, 200, 255].iter().flat_map(|grey| [*grey; 3]).collect();
    for name in ["rgb", "rgba", "palette", "interlaced", "grey", "grey_alpha", "grey16"] {
        let expected = if name.starts_with("grey") { grey.clone() } else { colour.to_vec() };
        for image in [picture(name).to_owned(), format!("data:image/png;base64,{}", picture(name))] {
            let answer = server.post(CLASSES, &json!({"image": image}).to_string());
            assert_eq!(answer.status, 200, "{name}: {}", answer.body);
            let read = server.backend.encode_requests.lock().unwrap().pop().unwrap().inputs;
            assert_eq!(read, [EncodeInput::Picture(Picture::new(3, 2, expected.clone()).unwrap())], "{name}");
        }
    }
    let answer = server.post(CLASSES, &json!({"image": picture("jpeg")}).to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let read = server.backend.encode_requests.lock().unwrap().pop().unwrap().inputs;
    assert_eq!(read, [EncodeInput::Picture(Picture::new(3, 2, [90, 90, 90].repeat(6)).unwrap())]);
}

#[test]
fn classes_come_best_first_with_their_probabilities() {
    let server = server();
    let ask = |fields: Value| {
        let mut body = json!({"image": picture("rgb")});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        server.post(CLASSES, &body.to_string())
    };
    let answer = ask(json!({})).json();
    assert_eq!((&answer["object"], &answer["model"]), (&json!("image.classification"), &json!("ab".repeat(32))));
    let classes = answer["data"].as_array().unwrap();
    let order: Vec<_> =
        classes.iter().map(|class| (class["label"].as_str().unwrap(), class["index"].as_u64())).collect();
    assert_eq!(order, [("dog", Some(1)), ("cat", Some(0)), ("eel", Some(2))]);
    let total: f64 = classes.iter().map(|class| class["score"].as_f64().unwrap()).sum();
    assert!((total - 1.0).abs() < 1e-6, "{total}");
    let ratio = classes[0]["score"].as_f64().unwrap() / classes[1]["score"].as_f64().unwrap();
    assert!((ratio - 0.1f64.exp()).abs() < 1e-6, "{ratio}");
    assert_eq!(ask(json!({"top_k": 1})).json()["data"].as_array().unwrap().len(), 1);
    for (field, value) in [("top_k", json!(0)), ("model", json!(1)), ("crop", json!(true))] {
        let refused = ask(json!({field: value}));
        assert_eq!((refused.status, refused.error().0), (400, json!(field)));
    }
}

#[test]
fn what_is_no_picture_is_refused_with_the_reason() {
    let server = server();
    let whole = BASE64.decode(picture("rgb").as_bytes()).unwrap();
    let mut flipped = whole.clone();
    flipped[45] ^= 0x10;
    let mut huge = whole.clone();
    huge[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    let jpeg = BASE64.decode(picture("jpeg").as_bytes()).unwrap();
    for image in [
        json!(5),
        json!("!!"),
        json!("data:image/png,abc"),
        json!(""),
        json!(BASE64.encode(b"GIF89a")),
        json!(BASE64.encode(&whole[..40])),
        json!(BASE64.encode(&flipped)),
        json!(BASE64.encode(&huge)),
        json!(BASE64.encode(&jpeg[..30])),
    ] {
        let answer = server.post(CLASSES, &json!({"image": image}).to_string());
        assert_eq!((answer.status, answer.error().0), (400, json!("image")), "{image}: {}", answer.body);
    }
}
