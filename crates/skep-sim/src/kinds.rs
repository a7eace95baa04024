//! The kinds of messages.

use skep_directory::Message;

/// The kinds of messages, as the report names them.
pub const KINDS: [&str; 15] = [
    "who", "there", "publish", "kept", "refused", "leave", "find", "found", "here", "roll", "page", "look", "spans",
    "marks", "want",
];

/// The place of a message's kind in [`KINDS`].
pub fn kind(message: &Message) -> usize {
    match message {
        Message::Who { .. } => 0,
        Message::There { .. } => 1,
        Message::Publish { .. } => 2,
        Message::Kept { .. } => 3,
        Message::Refused { .. } => 4,
        Message::Leave { .. } => 5,
        Message::Find { .. } => 6,
        Message::Found { .. } => 7,
        Message::Here { .. } => 8,
        Message::Roll { .. } => 9,
        Message::Page { .. } => 10,
        Message::Look { .. } => 11,
        Message::Spans { .. } => 12,
        Message::Marks { .. } => 13,
        Message::Want { .. } => 14,
    }
}
