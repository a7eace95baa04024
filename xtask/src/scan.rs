//! A small scanner of Rust source: enough of the grammar to tell code from comments and strings, to find where a function
//! begins and ends, and to know which lines are compiled only for tests.
//!
//! It is no parser. It never fails: on source that does not compile its answers are merely useless, and the compiler
//! speaks first.

use std::ops::Range;

/// The source with the inside of every comment, string and character literal replaced by spaces. Quotes and line ends
/// stay, so that byte offsets and line numbers are those of the original.
pub fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        if let Some((from, to)) = hidden_part(bytes, at, end) {
            for byte in &mut out[from..to] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment, literal, word or single byte that starts at `at` ends.
fn token_end(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        b'/' if bytes.get(at + 1) == Some(&b'/') => find(bytes, at, b"\n").unwrap_or(bytes.len()),
        b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
        b'"' => quoted_end(bytes, at + 1, b'"'),
        b'\'' => char_end(bytes, at),
        byte if is_word(byte) => {
            let end = at + bytes[at..].iter().take_while(|b| is_word(**b)).count();
            match &bytes[at..end] {
                b"r" | b"br" | b"cr" => raw_string_end(bytes, end).unwrap_or(end),
                _ => end,
            }
        }
        _ => at + 1,
    }
}

/// The bytes of a token that are text rather than code.
fn hidden_part(bytes: &[u8], at: usize, end: usize) -> Option<(usize, usize)> {
    match bytes[at] {
        b'/' if end > at + 1 => Some((at, end)),
        b'"' => Some((at + 1, end.saturating_sub(1).max(at + 1))),
        b'\'' if end > at + 1 => Some((at + 1, end - 1)),
        b'r' | b'b' | b'c' if bytes[at..end].contains(&b'"') => Some((at, end)),
        _ => None,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|window| window == what).map(|offset| from + offset)
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut here) = (0, at);
    while here < bytes.len() {
        let step = match &bytes[here..bytes.len().min(here + 2)] {
            b"/*" => {
                depth += 1;
                2
            }
            b"*/" => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        here += step;
        if depth == 0 {
            return here;
        }
    }
    bytes.len()
}

/// The end of a literal with escapes whose opening quote is just before `from`.
fn quoted_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut here = from;
    while here < bytes.len() {
        match bytes[here] {
            b'\\' => here += 2,
            byte if byte == quote => return here + 1,
            _ => here += 1,
        }
    }
    bytes.len()
}

/// `'x'`, `'\n'` and `'√'` are characters; `'a` is a lifetime, of which only the quote is taken.
fn char_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at + 1) {
        Some(b'\\') => quoted_end(bytes, at + 1, b'\''),
        Some(first) => {
            let width = 1 + bytes[at + 2..].iter().take_while(|b| *first >= 0x80 && (0x80..0xC0).contains(*b)).count();
            if bytes.get(at + 1 + width) == Some(&b'\'') { at + width + 2 } else { at + 1 }
        }
        None => at + 1,
    }
}

/// The end of `r"…"` or `r#"…"#` whose prefix ends at `at`, or nothing where it is a raw identifier or a word.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    Some(find(bytes, at + hashes + 1, &close).map_or(bytes.len(), |end| end + close.len()))
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Line of the word `fn`, counted from 1.
    pub line: usize,
    /// Lines from the word `fn` to the closing brace.
    pub lines: usize,
}

/// Every function that has a body in a masked source, nested ones too.
pub fn functions(masked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for at in word_offsets(masked, "fn") {
        let name: String =
            masked[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue; // the type of a function pointer
        }
        let end = item_end(masked, at);
        if masked.as_bytes().get(end.saturating_sub(1)) == Some(&b'}') {
            let lines = masked[at..end].matches('\n').count() + 1;
            found.push(Function { name, line: line_of(masked, at), lines });
        }
    }
    found
}

/// The end of the item that starts at `from`: after its `;`, or after the brace that closes its body.
fn item_end(masked: &str, from: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in masked.as_bytes().iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return offset + 1;
                }
            }
            b';' if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    masked.len()
}

/// Byte ranges of a masked source that are compiled only for tests: items under `#[test]`, `#[cfg(test)]` and their like.
pub fn test_ranges(masked: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    while let Some(at) = masked[from..].find("#[").map(|offset| offset + from) {
        let end = attribute_end(masked, at);
        from = end;
        if is_test_attribute(&masked[at + 2..end.saturating_sub(1)]) {
            let stop = item_end(masked, skip_attributes(masked, end));
            ranges.push(at..stop);
            from = stop;
        }
    }
    ranges
}

fn is_test_attribute(inside: &str) -> bool {
    let words: Vec<&str> =
        inside.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["cfg", rest @ ..] => rest.contains(&"test") && !rest.contains(&"not"),
        [.., "test"] => words[0] == "test" || words[0] == "tokio",
        ["tokio", "test", ..] => true,
        _ => false,
    }
}

fn attribute_end(masked: &str, at: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in masked.as_bytes().iter().enumerate().skip(at) {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 1 => return offset + 1,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    masked.len()
}

fn skip_attributes(masked: &str, mut at: usize) -> usize {
    loop {
        let start = at + (masked[at..].len() - masked[at..].trim_start().len());
        if !masked[start..].starts_with("#[") {
            return start;
        }
        at = attribute_end(masked, start);
    }
}

/// Names of modules that are declared for tests only and live in a file of their own: `#[cfg(test)] mod NAME;`.
pub fn test_modules(masked: &str) -> Vec<String> {
    let declared = |range: Range<usize>| {
        let item = masked[range].trim_end().strip_suffix(';')?;
        let at = word_offsets(item, "mod").last().copied()?;
        Some(item[at + 3..].trim().to_owned())
    };
    test_ranges(masked).into_iter().filter_map(declared).collect()
}

/// Offsets at which `word` stands as a whole word.
pub fn word_offsets(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let whole = |at: &usize| {
        let before = at.checked_sub(1).and_then(|i| bytes.get(i));
        let after = bytes.get(at + word.len());
        !before.is_some_and(|b| is_word(*b)) && !after.is_some_and(|b| is_word(*b))
    };
    text.match_indices(word).map(|(at, _)| at).filter(whole).collect()
}

/// The line of a byte offset, counted from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
