//! Whether a model fits into the memory of this machine, or of its network, and why: what it needs beside what there is.

use serde::Serialize;

/// Tokens of the conversation that a model is to have room for, unless its context is shorter: what fits only without one is of no use.
pub(crate) const SESSION_TOKENS: u32 = 4096;

/// Whether a model fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fits {
    /// Into what may be used of this machine's memory.
    Here,
    /// Into that and what the other machines of the network offer; or these answer with it already.
    Network,
    /// Not even there.
    No,
    /// What it needs, or what there is, is not known.
    Unknown,
}

/// What a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NeedView {
    /// Bytes of its file.
    pub weights_bytes: u64,
    /// Bytes of keys, values and kept rows of one conversation.
    pub session_bytes: u64,
    /// How long that conversation is.
    pub session_tokens: u32,
}

impl NeedView {
    fn bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.session_bytes)
    }
}

/// What memory there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RoomView {
    /// Bytes of this machine's memory that its owner allows now; none where no limit holds, as during a pause.
    pub allowed_bytes: Option<u64>,
    /// Bytes of this machine's memory that the system says are free; none where it does not.
    pub free_bytes: Option<u64>,
    /// Other machines of the network that offer some.
    pub machines: u32,
    /// Bytes that they offer together.
    pub offered_bytes: u64,
}

/// A model of the network, as far as its blocks are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServedView {
    /// Its blocks.
    pub blocks: u32,
    /// How many of them some machine holds.
    pub held: u32,
    /// The others, in runs `[first, one past the last]`.
    pub missing: Vec<[u32; 2]>,
    /// Machines that hold some.
    pub machines: u32,
}

/// Judges, and says why in one sentence.
pub(crate) fn fit(need: Option<&NeedView>, room: &RoomView, served: Option<&ServedView>) -> (Fits, String) {
    let Some(need) = need else {
        return match served {
            Some(served) if served.missing.is_empty() => (Fits::Network, held(served)),
            _ => (Fits::Unknown, "What it needs is known when the beginning of its file is here.".into()),
        };
    };
    let needs = format!(
        "It needs {} of memory: {} for its weights and {} for a conversation of {} tokens",
        text(need.bytes()),
        text(need.weights_bytes),
        text(need.session_bytes),
        need.session_tokens
    );
    let here = room.allowed_bytes.into_iter().chain(room.free_bytes).min();
    let (Some(here), bytes) = (here, need.bytes()) else {
        return (Fits::Unknown, format!("{needs}; this system does not say how much memory is free."));
    };
    let own = if room.allowed_bytes == Some(here) {
        format!("you allow {} on this machine", text(here))
    } else {
        format!("{} are free on this machine", text(here))
    };
    if bytes <= here {
        return (Fits::Here, format!("{needs}; {own}."));
    }
    if let Some(served) = served.filter(|served| served.missing.is_empty()) {
        return (Fits::Network, format!("{needs}; {own}. {}", held(served)));
    }
    let others = match room.machines {
        0 => "no other machine offers any".to_owned(),
        1 => format!("another machine offers {}", text(room.offered_bytes)),
        machines => format!("{machines} other machines offer {}", text(room.offered_bytes)),
    };
    match bytes.saturating_sub(here).saturating_sub(room.offered_bytes) {
        0 => (Fits::Network, format!("{needs}; {own} and {others}.")),
        missing => (Fits::No, format!("{needs}; {own} and {others}, so {} are missing.", text(missing))),
    }
}

fn held(served: &ServedView) -> String {
    match served.machines {
        1 => format!("One machine of the network holds all of its {} blocks.", served.blocks),
        machines => format!("{machines} machines of the network hold all of its {} blocks.", served.blocks),
    }
}

/// Bytes as people read them.
pub(crate) fn text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64 / 1024.0, UNITS[0]);
    for larger in &UNITS[1..] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    let digits = usize::from(value < 100.0);
    if bytes < 1000 { format!("{bytes} bytes") } else { format!("{value:.digits$} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn need(weights: u64) -> NeedView {
        NeedView { weights_bytes: weights * GIB, session_bytes: GIB, session_tokens: 4096 }
    }

    fn judge(weights: u64, room: RoomView) -> (Fits, String) {
        fit(Some(&need(weights)), &room, None)
    }

    #[test]
    fn the_smaller_of_what_is_allowed_and_what_is_free_decides() {
        let room =
            RoomView { allowed_bytes: Some(8 * GIB), free_bytes: Some(12 * GIB), machines: 2, offered_bytes: 4 * GIB };
        let (fits, why) = judge(7, room);
        assert_eq!(fits, Fits::Here);
        assert_eq!(
            why,
            "It needs 8.0 GiB of memory: 7.0 GiB for its weights and 1.0 GiB for a conversation of 4096 tokens; you allow 8.0 GiB on this machine."
        );
        let (fits, why) = judge(8, room);
        assert_eq!(fits, Fits::Network);
        assert!(why.ends_with("you allow 8.0 GiB on this machine and 2 other machines offer 4.0 GiB."), "{why}");
        let (fits, why) = judge(14, room);
        assert_eq!(fits, Fits::No);
        assert!(why.ends_with("2 other machines offer 4.0 GiB, so 3.0 GiB are missing."), "{why}");
        let (fits, why) = judge(7, RoomView { free_bytes: Some(2 * GIB), machines: 0, offered_bytes: 0, ..room });
        assert_eq!(fits, Fits::No);
        assert!(
            why.ends_with("2.0 GiB are free on this machine and no other machine offers any, so 6.0 GiB are missing."),
            "{why}"
        );
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        assert_eq!(judge(7, RoomView::default()).0, Fits::Unknown);
        assert_eq!(fit(None, &RoomView { free_bytes: Some(GIB), ..RoomView::default() }, None).0, Fits::Unknown);
    }

    #[test]
    fn what_the_network_answers_with_fits_there() {
        let served = ServedView { blocks: 8, held: 8, missing: Vec::new(), machines: 3 };
        let room = RoomView { free_bytes: Some(GIB), ..RoomView::default() };
        let (fits, why) = fit(Some(&need(7)), &room, Some(&served));
        assert_eq!(fits, Fits::Network);
        assert!(
            why.ends_with("1.0 GiB are free on this machine. 3 machines of the network hold all of its 8 blocks."),
            "{why}"
        );
        let torn = ServedView { held: 6, missing: vec![[2, 4]], ..served.clone() };
        assert_eq!(fit(Some(&need(7)), &room, Some(&torn)).0, Fits::No);
        assert_eq!(fit(None, &room, Some(&served)).0, Fits::Network);
    }

    #[test]
    fn bytes_are_told_in_few_digits() {
        let of = [0, 999, 1000, 4_100_000, 950 << 20, 1023 << 20, 150 << 30, 3 << 40].map(text);
        assert_eq!(of, ["0 bytes", "999 bytes", "1.0 KiB", "3.9 MiB", "950 MiB", "1.0 GiB", "150 GiB", "3.0 TiB"]);
    }
}
