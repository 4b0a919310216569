//! Lists that have pages: all of them, or the one that is asked for.

use futures::TryStreamExt;
use switchy::{Paged, Request};

use crate::{args::Paging, failure::Failure, output::Output};

/// Prints a list: as JSON, or as `table` shows its rows.
pub async fn list<O: Paged>(
    mut request: Request<O>,
    paging: Paging,
    output: &Output,
    table: impl FnOnce(Vec<O::Item>, &Output) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let whole = paging.limit.is_none();
    if let Some(before) = paging.before {
        request = request.before(before);
    }
    if let Some(limit) = paging.limit {
        request = request.limit(limit);
    }
    if output.is_json() {
        let data = if whole { request.raw_all().await? } else { request.raw().await? };
        return output.json(&data);
    }
    let rows = if whole { request.stream().try_collect().await? } else { request.await? };
    table(rows, output)
}

/// The first row that is meant.
pub async fn find<O: Paged>(
    request: Request<O>,
    meant: impl Fn(&O::Item) -> bool,
) -> Result<Option<O::Item>, Failure> {
    let mut rows = request.stream();
    while let Some(row) = rows.try_next().await? {
        if meant(&row) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
