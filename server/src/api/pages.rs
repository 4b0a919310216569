//! Lists that were published whole, and are paged beyond a size and on request (contract E9).

use crate::http::{Check, Issues};
use crate::store::Paging;
use crate::store::pages::MAX_ROWS;
use schemars::JsonSchema;
use serde::Deserialize;

/// Which part of a list.
#[derive(Deserialize, JsonSchema)]
pub(super) struct PageParams<I> {
    /// Only what comes after the one with this id, in the list's order: the last one of the page
    /// before.
    before: Option<I>,
    /// At most so many.
    #[serde(default = "most_rows")]
    #[schemars(range(min = 1, max = 1_000))]
    limit: u32,
}

/// When the request names no limit.
pub(super) fn most_rows() -> u32 {
    MAX_ROWS
}

/// Whether a request may ask for so many.
pub(super) fn check_rows(issues: &mut Issues, limit: u32) {
    issues.range("limit", limit.into(), 1..=MAX_ROWS.into());
}

impl<I> Check for PageParams<I> {
    fn check(&self, issues: &mut Issues) {
        check_rows(issues, self.limit);
    }
}

impl<I> From<PageParams<I>> for Paging<I> {
    fn from(PageParams { before, limit }: PageParams<I>) -> Self {
        Paging { before, limit }
    }
}

/// A number of rows, as an answer tells it.
pub(super) fn total(rows: i64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
