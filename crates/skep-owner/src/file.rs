//! Settings as TOML: reading them, writing one without touching the rest, and the file that a new owner starts with.
//!
//! The file has one table for each part of the names of [`SETTINGS`] before the dot. A number in bytes is a string with its unit, `none`
//! is a string, everything else is what TOML calls it. A name that no setting has is refused, so that no setting is without effect.

use crate::layers::{Changes, SettingError, misfit, unknown};
use crate::preferences::Preset;
use crate::table::{Key, SETTINGS, Setting};
use crate::value::{Kind, Unit, Value};
use toml_edit::{DocumentMut, Item, TableLike};

/// The most bytes of a file of settings: twenty times the template.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// Columns of the template.
const WIDTH: usize = 110;

/// Reads a file.
///
/// # Errors
/// [`SettingError`] of the first thing that is refused; then nothing of the file holds.
pub fn read_file(text: &str) -> Result<Changes, SettingError> {
    let mut changes = Changes::default();
    collect(parse(text)?.as_table(), "", &mut changes)?;
    Ok(changes)
}

/// The file with one setting changed, or with `None` left to the preset; everything else stays as it stands, comments too.
///
/// # Errors
/// [`SettingError`] when the file cannot be read, or the setting does not take the value.
pub fn write_file(text: &str, key: Key, value: Option<&Value>) -> Result<String, SettingError> {
    let mut wanted = read_file(text)?;
    let held = wanted.get(key).is_some();
    match value {
        Some(value) => wanted.set(key, value.clone())?,
        None => wanted.unset(key),
    }
    let by_line = match value {
        Some(value) if !held => with_line(text, key, LineIs::Comment, &assignment(key, value)),
        None if held => with_line(text, key, LineIs::Set, &format!("#{}", assignment(key, &of_preset(&wanted, key)))),
        _ => None,
    };
    // A line that only looks like the setting's, as inside a string of several lines, gives something else than was wanted.
    if let Some(written) = by_line.filter(|written| read_file(written).as_ref() == Ok(&wanted)) {
        return Ok(written);
    }
    let mut document = parse(text)?;
    edit(&mut document, key, value);
    Ok(document.to_string())
}

/// The file of a new owner: every setting with its help, none set.
#[must_use]
pub fn template() -> String {
    let mut text = String::new();
    let opening = "Skep's settings. A line that begins with #NAME is not set: the preset gives its value. Take the # away to set \
                   it. Changes hold at once, without a restart. `skep config show --origin` says where each value comes from. A \
                   setting that ends in _in_use holds as well while somebody uses this machine: the smaller value counts.";
    comment(&mut text, opening);
    let mut table = "";
    for setting in &SETTINGS {
        let (part, _) = name_parts(setting.key);
        if part != table {
            text.push_str(&format!("\n[{part}]\n"));
            table = part;
        }
        text.push('\n');
        comment(&mut text, setting.help);
        comment(&mut text, &takes(setting));
        let balanced = &setting.presets[Preset::Balanced as usize];
        text.push_str(&format!("#{}\n", assignment(setting.key, balanced)));
    }
    text
}

fn takes(setting: &Setting) -> String {
    let [quiet, balanced, full] = &setting.presets;
    let text = |value: &Value| setting.kind.text(value);
    let presets = if quiet == balanced && balanced == full {
        format!("In all presets {}.", text(quiet))
    } else if setting.key == Key::Preset {
        String::new()
    } else {
        format!("Quiet {}, balanced {}, full {}.", text(quiet), text(balanced), text(full))
    };
    format!("Takes {}. {presets}", setting.kind.wanted())
}

/// Adds a comment, broken between words.
fn comment(text: &mut String, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        let length = word.chars().count() + 1;
        if column == 0 || column + length > WIDTH {
            text.push_str(if column == 0 { "#" } else { "\n#" });
            column = 1;
        }
        text.push(' ');
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

fn parse(text: &str) -> Result<DocumentMut, SettingError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(SettingError::Long { bytes: text.len(), max: FILE_BYTES_MAX });
    }
    text.parse().map_err(|error: toml_edit::TomlError| {
        let before = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(before).filter(|byte| *byte == b'\n').count();
        SettingError::Syntax { line, what: error.message().lines().collect::<Vec<_>>().join(", ") }
    })
}

/// Takes the settings out of a table whose name so far is `prefix`, with its dot.
fn collect(table: &dyn TableLike, prefix: &str, changes: &mut Changes) -> Result<(), SettingError> {
    for (part, item) in table.iter() {
        let name = format!("{prefix}{part}");
        if let Some(key) = Key::named(&name) {
            changes.set(key, value(key, item)?)?;
            continue;
        }
        let inner_prefix = format!("{name}.");
        let inner = item.as_table_like();
        let leads_on = SETTINGS.iter().any(|setting| setting.name.starts_with(&inner_prefix));
        match inner {
            Some(inner) if leads_on => collect(inner, &inner_prefix, changes)?,
            _ => return Err(unknown(&name)),
        }
    }
    Ok(())
}

fn value(key: Key, item: &Item) -> Result<Value, SettingError> {
    let text = match item {
        Item::Value(toml_edit::Value::String(text)) => text.value().clone(),
        Item::Value(toml_edit::Value::Integer(number)) => number.value().to_string(),
        Item::Value(toml_edit::Value::Boolean(on)) => on.value().to_string(),
        Item::Table(_) | Item::ArrayOfTables(_) => return Err(misfit(key, "a table")),
        other => return Err(misfit(key, other.to_string().trim())),
    };
    key.setting().kind.parse(&text).map_err(|_| misfit(key, &text))
}

/// The value that the file's own preset gives.
fn of_preset(changes: &Changes, key: Key) -> Value {
    let preset = match changes.get(Key::Preset) {
        Some(Value::Choice(name)) => Preset::named(name).unwrap_or_default(),
        _ => Preset::default(),
    };
    key.setting().presets[preset as usize].clone()
}

/// The table and the name in it.
fn name_parts(key: Key) -> (&'static str, &'static str) {
    let name = key.setting().name;
    name.rsplit_once('.').unwrap_or(("", name))
}

/// A line of the file that sets a setting.
fn assignment(key: Key, value: &Value) -> String {
    format!("{} = {}", name_parts(key).1, toml(key, value))
}

impl Setting {
    /// A value of this setting as TOML writes it.
    #[must_use]
    pub fn toml(&self, value: &Value) -> String {
        toml(self.key, value)
    }
}

fn toml(key: Key, value: &Value) -> String {
    toml_value(key, value).to_string().trim().to_owned()
}

fn toml_value(key: Key, value: &Value) -> toml_edit::Value {
    match (key.setting().kind, value) {
        (_, Value::Switch(on)) => (*on).into(),
        (Kind::Number { unit: Unit::Bytes | Unit::BytesPerSecond, .. }, _) => key.setting().kind.text(value).into(),
        // Ranges end far below; a number that is too large for TOML would be written as a string, which reads the same.
        (kind, Value::Number(number)) => i64::try_from(*number).map_or_else(|_| kind.text(value).into(), Into::into),
        (kind, _) => kind.text(value).into(),
    }
}

/// How a line has the setting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineIs {
    Comment,
    Set,
}

/// The text with the first such line of the setting's table replaced.
fn with_line(text: &str, key: Key, line_is: LineIs, new: &str) -> Option<String> {
    let (table, name) = name_parts(key);
    let header = format!("[{table}]");
    let mut inside = false;
    let mut found = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == header;
        }
        let (has, line) =
            line.strip_prefix('#').map_or((LineIs::Set, line), |line| (LineIs::Comment, line.trim_start()));
        let is_it = line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='));
        if inside && is_it && has == line_is {
            found = Some(index);
            break;
        }
    }
    let found = found?;
    let lines = text.split_inclusive('\n').enumerate().map(|(index, line)| {
        let ending = &line[line.trim_end_matches(['\r', '\n']).len()..];
        if index == found { format!("{new}{ending}") } else { line.to_owned() }
    });
    Some(lines.collect())
}

/// Changes the document itself, for what no line stands for yet.
fn edit(document: &mut DocumentMut, key: Key, value: Option<&Value>) {
    let (table, name) = name_parts(key);
    let Some(value) = value else {
        if let Some(inner) = document.get_mut(table).and_then(Item::as_table_like_mut) {
            inner.remove(name);
        }
        return;
    };
    let item = document.entry(table).or_insert_with(toml_edit::table);
    let Some(inner) = item.as_table_like_mut() else { return };
    let mut new = toml_value(key, value);
    match inner.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => drop(inner.insert(name, Item::Value(new))),
    }
}
