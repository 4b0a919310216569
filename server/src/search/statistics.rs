//! Keeps what lexical search knows about large sets of notes up to date.
//!
//! No writer counts: a counter would make writers wait for each other. Some of what is counted is a
//! few minutes old, which BM25 does not notice.

use super::Search;
use crate::error::Result;
use crate::store::{Store, search as store};
use slog::Logger;
use std::time::Duration;

/// How often to count.
const INTERVAL: Duration = Duration::from_secs(300);

/// Counts for as long as the server runs. Several servers of one database get by: each counts what
/// has not been counted yet.
pub async fn keep(store: Store, search: Search, log: Logger) {
    loop {
        if let Err(error) = refresh(&store, &search).await {
            slog::warn!(log, "the notes could not be counted"; "error" => error.chain());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn refresh(store: &Store, search: &Search) -> Result<()> {
    store::refresh_statistics(store).await?;
    search.note_exact_below(store::exact_below(store).await?);
    Ok(())
}
