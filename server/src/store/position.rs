//! Places in lists that are sorted by time and id, newest first: what a cursor stands for.

use chrono::{DateTime, Utc};

/// The place of one element; the page after it holds what is older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position<Id> {
    /// When it was last changed, in the microseconds that the database keeps.
    pub at: DateTime<Utc>,
    /// Tells elements of the same moment apart.
    pub id: Id,
}
