//! Chat templates: the Jinja program in a model's file that turns a conversation into the text the model was trained on.
//!
//! A template is data of an untrusted file. It can read nothing but what it is given (the messages, the texts of the BOS
//! and EOS tokens and whether an answer is to begin), there is no clock and no file to include, and it runs with a bound
//! on steps, on recursion and on the text it gives. `strftime_now` is left undefined: templates that ask first fall back
//! on a date of their own, others are refused; so one conversation has one rendering. One thing has no bound: the engine
//! lets a template double a text again and again before it prints it, so a hostile one can still exhaust memory.
//!
//! The dialect is that of Hugging Face `apply_chat_template`: `trim_blocks`, `lstrip_blocks`, loop controls, Python's string
//! and dictionary methods, `raise_exception`, and a `tojson` that escapes no HTML.

use crate::{Gguf, ModelError};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value, context};
use std::fmt;

/// Steps that one rendering may take; real templates take some dozens a message.
const FUEL: u64 = 2_000_000;
/// Depth of nested calls and blocks.
const RECURSION: usize = 100;
/// Depth of nested values that `tojson` writes.
const JSON_DEPTH: usize = 64;
/// Longest template, in bytes; the longest known has some tens of thousands.
const MAX_SOURCE: usize = 1 << 20;
/// Longest rendering, in bytes.
const MAX_OUTPUT: usize = crate::MAX_TEXT_BYTES;
const NAME: &str = "chat";

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or another role that the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// A compiled chat template.
#[derive(Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The template in `tokenizer.chat_template`, or `None` if the model has none.
    ///
    /// # Errors
    /// [`ModelError::Template`] when it does not parse, [`ModelError::Metadata`] for values of the wrong type.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<Self>, ModelError> {
        let metadata = gguf.metadata();
        let Some(source) = metadata.text("tokenizer.chat_template")? else { return Ok(None) };
        let tokens = metadata.texts("tokenizer.ggml.tokens")?.unwrap_or(&[]);
        let text = |key: &str| -> Result<&str, ModelError> {
            let id = metadata.integer(key)?.and_then(|id| usize::try_from(id).ok());
            Ok(id.and_then(|id| tokens.get(id)).map_or("", String::as_str))
        };
        let (bos, eos) = (text("tokenizer.ggml.bos_token_id")?, text("tokenizer.ggml.eos_token_id")?);
        Self::new(source, bos, eos).map(Some)
    }

    /// Compiles `source`; `bos` and `eos` are what `bos_token` and `eos_token` stand for in it.
    ///
    /// # Errors
    /// [`ModelError::Template`] when it does not parse or is longer than 1 MiB.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, ModelError> {
        if source.len() > MAX_SOURCE {
            return Err(ModelError::Template(format!("has {} bytes, the limit is {MAX_SOURCE}", source.len())));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(refusal)?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, source.to_owned()).map_err(refusal)?;
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The prompt of a conversation, to be encoded with `parse_special`.
    ///
    /// # Errors
    /// [`ModelError::Template`] when the template refuses the conversation (in its own words) or exceeds a bound.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ModelError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => message.content.as_str() })
            .collect();
        let values = context! {
            messages => messages,
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        let mut output = Bounded(Vec::new());
        let template = self.environment.get_template(NAME).map_err(refusal)?;
        match template.render_captured_to(values, &mut output) {
            Ok(_) => {
                String::from_utf8(output.0).map_err(|_| ModelError::Template("gave a text that is not UTF-8".into()))
            }
            Err(error) => Err(refusal(error)),
        }
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("bos", &self.bos).field("eos", &self.eos).finish_non_exhaustive()
    }
}

/// A text that refuses to grow past the limit.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(std::io::Error::other(format!("the text is longer than {MAX_OUTPUT} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn refusal(error: Error) -> ModelError {
    let mut text = match (error.kind(), error.detail()) {
        // What the template itself raises is told in its words.
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    if let Some(source) = std::error::Error::source(&error) {
        text = format!("{text}: {source}");
    }
    if let Some(line) = error.line() {
        text = format!("{text} (line {line})");
    }
    ModelError::Template(text)
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)` of Python, which templates are written against.
fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    if indent.is_some_and(|indent| indent > 16) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson indents by 16 at most"));
    }
    let mut out = String::new();
    write_json(value, indent, 0, &mut out)?;
    Ok(Value::from_safe_string(out))
}

fn write_json(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > JSON_DEPTH || out.len() > MAX_OUTPUT {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value is too large for tojson"));
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool | ValueKind::Number => out.push_str(&value.to_string().to_lowercase()),
        ValueKind::String => out.push_str(&quoted(value.as_str().unwrap_or_default())),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| (None, item));
            write_items(items.collect(), ['[', ']'], indent, depth, out)?;
        }
        ValueKind::Map => {
            let mut items = Vec::new();
            for key in value.try_iter()? {
                items.push((Some(quoted(&key.to_string())), value.get_item(&key)?));
            }
            write_items(items, ['{', '}'], indent, depth, out)?;
        }
        kind => {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson cannot write a value of kind {kind}")));
        }
    }
    Ok(())
}

fn write_items(
    items: Vec<(Option<String>, Value)>,
    [open, close]: [char; 2],
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
) -> Result<(), Error> {
    let line = |depth: usize| indent.map(|indent| format!("\n{}", " ".repeat(indent * depth)));
    out.push(open);
    let several = !items.is_empty();
    for (i, (key, item)) in items.into_iter().enumerate() {
        if i > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        out.push_str(&line(depth + 1).unwrap_or_default());
        if let Some(key) = key {
            out.push_str(&key);
            out.push_str(": ");
        }
        write_json(&item, indent, depth + 1, out)?;
    }
    if several {
        out.push_str(&line(depth).unwrap_or_default());
    }
    out.push(close);
    Ok(())
}
