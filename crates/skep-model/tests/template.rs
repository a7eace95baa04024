//! Chat templates against Jinja2, and against hostile input.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skep_model::{Array, ChatTemplate, Gguf, Message, Metadata, Value, encode_gguf};
use skep_testkit::shared_data;

fn message(role: &str, content: &str) -> Message {
    Message { role: role.into(), content: content.into() }
}

fn render(source: &str) -> Result<String, String> {
    let template = ChatTemplate::new(source, "<s>", "</s>").map_err(|error| error.to_string())?;
    template.render(&[message("user", "Hi <b>")], true).map_err(|error| error.to_string())
}

/// Recorded with Jinja2 in the configuration of Hugging Face `apply_chat_template`.
#[test]
fn real_templates_render_as_in_jinja2() {
    let cases: serde_json::Value = serde_json::from_str(include_str!("template_golden.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let text = |key: &str| case[key].as_str().unwrap();
        let Some(path) = shared_data(&format!("chat_templates/{}", text("template"))) else { return };
        let source = std::fs::read_to_string(path).unwrap();
        let template = ChatTemplate::new(&source, text("bos"), text("eos")).unwrap();
        let messages = case["messages"].as_array().unwrap().iter();
        let messages: Vec<Message> =
            messages.map(|m| message(m[0].as_str().unwrap(), m[1].as_str().unwrap())).collect();
        let rendered = template.render(&messages, case["add_generation_prompt"].as_bool().unwrap());
        match (rendered, case["error"].as_str()) {
            (Ok(rendered), None) => assert_eq!(rendered, text("text"), "{}", text("template")),
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error} / {expected}"),
            (rendered, expected) => panic!("{}: {rendered:?}, expected error {expected:?}", text("template")),
        }
    }
}

#[test]
fn the_dialect_is_that_of_hugging_face() {
    assert_eq!(render("{{ bos_token }}{{ messages[0].content.upper() }}").unwrap(), "<s>HI <B>");
    assert_eq!(render("{% for m in messages %}\n  {% if true %}\nx\n  {% endif %}\n{% endfor %}").unwrap(), "x\n");
    assert_eq!(
        render("{{ {'a': [1, 2.5, none, true], 'b': messages[0].content} | tojson }}").unwrap(),
        r#"{"a": [1, 2.5, null, true], "b": "Hi <b>"}"#
    );
    assert_eq!(render("{{ {'a': [1, {}]} | tojson(indent=2) }}").unwrap(), "{\n  \"a\": [\n    1,\n    {}\n  ]\n}");
    assert_eq!(render("{% for i in [1,2,3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}").unwrap(), "1");
    assert_eq!(render("{% if strftime_now is defined %}a{% else %}b{% endif %}").unwrap(), "b");
}

#[test]
fn a_refusal_is_told_in_the_templates_words() {
    let error = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
    assert_eq!(error, "chat template: roles must alternate (line 1)");
    assert!(render("a\n{% for %}").unwrap_err().contains("(line 2)"));
    assert!(render("{{ strftime_now('%Y') }}").unwrap_err().contains("strftime_now"));
}

#[test]
fn hostile_templates_are_stopped() {
    let loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    assert!(render(loops).unwrap_err().contains("fuel"));
    assert!(render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").unwrap_err().contains("recursion limit"));
    let long = "{% set x = 'abcdefgh' * 1000000 %}{{ x }}{{ x }}";
    assert!(render(long).unwrap_err().contains("the text is longer than 8388608 bytes"));
    assert!(render("{% include '/etc/passwd' %}").is_err());
    assert!(render("{% import '/etc/passwd' as x %}").is_err());
    assert!(render(&"{% if 1 %}".repeat(20_000)).is_err());
    assert!(render(&format!("{{{{ {}1{} }}}}", "[".repeat(50_000), "]".repeat(50_000))).is_err());
    assert!(render(&" ".repeat((1 << 20) + 1)).unwrap_err().contains("the limit is 1048576"));
}

#[test]
fn the_file_names_the_template_and_its_tokens() {
    let mut metadata = Metadata::new();
    let read = |metadata: &Metadata| {
        let gguf = Gguf::from_bytes(encode_gguf(metadata, &[]).unwrap()).unwrap();
        ChatTemplate::from_gguf(&gguf)
    };
    assert!(read(&metadata).unwrap().is_none());
    metadata.insert("tokenizer.chat_template", Value::String("{{ bos_token }}|{{ eos_token }}".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(vec!["<unk>".into(), "<s>".into()])));
    metadata.insert("tokenizer.ggml.bos_token_id", Value::U32(1));
    metadata.insert("tokenizer.ggml.eos_token_id", Value::U32(7));
    assert_eq!(read(&metadata).unwrap().unwrap().render(&[], false).unwrap(), "<s>|");
    metadata.insert("tokenizer.chat_template", Value::Bool(true));
    assert!(read(&metadata).unwrap_err().to_string().contains("tokenizer.chat_template: is not a string"));
}
