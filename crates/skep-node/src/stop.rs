//! Finds stop texts in a stream of text, without ever showing a part of one.
//!
//! Text is held back only while it could still become a stop text: everything before the longest suffix that is a prefix of
//! some stop text is released at once. Of several stop texts, the one that begins first ends the answer, and of two that begin
//! at the same place the longer one does not matter, since the text is cut at its beginning.

/// Watches a stream for stop texts.
#[derive(Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

/// What [`StopMatcher::push`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Released {
    /// Text that may be shown.
    pub text: String,
    /// Whether a stop text was found; nothing may be shown after `text`.
    pub stopped: bool,
}

impl StopMatcher {
    /// Watches for `stops`; empty ones are ignored.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, held: String::new() }
    }

    /// Takes the next piece and returns what may be shown.
    pub fn push(&mut self, piece: &str) -> Released {
        self.held.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return Released { text: std::mem::take(&mut self.held), stopped: true };
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let held = self.held.split_off(self.held.len() - keep);
        Released { text: std::mem::replace(&mut self.held, held), stopped: false }
    }

    /// The stream ended by itself: what was held back may be shown.
    pub fn finish(self) -> String {
        self.held
    }
}

/// Bytes of the longest suffix of `text` that is a proper prefix of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest)
        .rev()
        .find(|n| stop.is_char_boundary(*n) && text.as_bytes().ends_with(&stop.as_bytes()[..*n]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut shown = String::new();
        for piece in pieces {
            let released = matcher.push(piece);
            shown.push_str(&released.text);
            if released.stopped {
                return (shown, true);
            }
        }
        (shown + &matcher.finish(), false)
    }

    #[test]
    fn a_stop_text_over_several_pieces_is_never_shown() {
        assert_eq!(run(&["\n\n"], &["To be\n", "\nor not"]), ("To be".into(), true));
        assert_eq!(run(&["END"], &["E", "N", "E", "ND!"]), ("EN".into(), true));
    }

    #[test]
    fn what_only_looked_like_a_stop_text_is_shown_in_the_end() {
        assert_eq!(run(&["END"], &["the EN"]), ("the EN".into(), false));
        assert_eq!(run(&["é!"], &["caf", "é", "?"]), ("café?".into(), false));
    }

    #[test]
    fn the_stop_text_that_begins_first_wins() {
        assert_eq!(run(&["cd", "bcx", "b"], &["abcd"]), ("a".into(), true));
    }

    #[test]
    fn without_stop_texts_nothing_is_held() {
        let mut matcher = StopMatcher::new(&[String::new()]);
        assert_eq!(matcher.push("abc"), Released { text: "abc".into(), stopped: false });
    }

    #[test]
    fn every_way_to_cut_a_text_shows_the_same() {
        let text = "one END two";
        for at in 0..text.len() {
            assert_eq!(run(&["END"], &[&text[..at], &text[at..]]), ("one ".into(), true));
        }
    }
}
