//! Pages of lists that are sorted by time and id.

use super::cursor;
use super::truncation::{self, Cut, Truncation};
use crate::error::Result;
use crate::store::Position;
use std::fmt::Display;

/// A page, as far as it fits into a result.
pub struct Paged<V> {
    /// What is on it.
    pub views: Vec<V>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
    /// What was left out.
    pub truncation: Truncation,
}

/// How many rows to ask for: one more than wanted tells whether there are more.
pub fn rows_for(limit: u32) -> i64 {
    i64::from(limit) + 1
}

/// The page that begins `rows`, of [`rows_for`] `limit`.
pub fn page<R, Id: Display, V: Cut>(
    mut rows: Vec<R>,
    limit: u32,
    place: impl Fn(&R) -> Position<Id>,
    view: impl FnMut(R) -> V,
) -> Result<Paged<V>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut more = rows.len() > limit;
    rows.truncate(limit);
    let places: Vec<_> = rows.iter().map(place).collect();
    let views = rows.into_iter().map(view).collect();
    let (views, truncation) = truncation::fit(views, 0, "`nextCursor` goes on from here")?;
    more |= views.len() < places.len();
    let last = views.len().checked_sub(1).and_then(|last| places.get(last));
    let next_cursor = last.filter(|_| more).map(cursor::encode);
    Ok(Paged { views, next_cursor, truncation })
}
