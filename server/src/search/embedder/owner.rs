//! For whom a note is embedded, and how soon.

/// How soon a note's vectors are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for this one note.
    Single,
    /// It is one of many, which somebody waits for.
    Batch,
    /// Nobody waits for it.
    Background,
}

/// How many urgencies there are.
pub(super) const URGENCIES: usize = 3;

/// The one who takes a turn. Groups take turns, and members within their group; what the keys mean is
/// nothing to the embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub(super) group: String,
    pub(super) member: String,
    pub(super) urgency: Urgency,
}

impl Owner {
    /// A member of a group.
    pub fn new(group: impl Into<String>, member: impl Into<String>, urgency: Urgency) -> Self {
        Self { group: group.into(), member: member.into(), urgency }
    }

    /// The server itself, catching up: in an order that is fair already.
    pub fn background() -> Self {
        Self::new("", "", Urgency::Background)
    }
}
