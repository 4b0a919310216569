//! Lists that were published whole: they are, up to a size, and paged beyond it and on request
//! (contract E9).

use crate::error::Error;

/// Most rows of an answer, and how many it has at most when the request does not say.
pub const MAX_ROWS: u32 = 1_000;

/// Which part of a list.
#[derive(Clone, Debug)]
pub struct Paging<I> {
    /// Only what comes after this one, in the list's own order.
    pub before: Option<I>,
    /// At most so many rows.
    pub limit: u32,
}

/// A part of a list.
#[derive(Debug)]
pub struct Listed<T> {
    /// In the list's order.
    pub rows: Vec<T>,
    /// How many rows the list has in all.
    pub total: i64,
}

impl<I> Paging<I> {
    /// At most so many rows, for SQL.
    pub(super) fn rows(&self) -> i64 {
        self.limit.into()
    }

    /// How many rows the list has, if so many are all of it: then nobody need count them.
    pub(super) fn whole(&self, shown: usize) -> Option<i64> {
        let shown = i64::try_from(shown).unwrap_or(i64::MAX);
        (self.before.is_none() && shown < self.rows()).then_some(shown)
    }
}

/// 404 for a `before` that names nothing the caller can see.
pub(super) fn unknown_place(what: &str) -> Error {
    Error::not_found(&format!("{what}: `before` names none that you can see"))
}
