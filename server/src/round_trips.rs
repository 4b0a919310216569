//! Counts round trips to PostgreSQL: everybody should know how many a request makes.

use std::cell::Cell;

tokio::task_local! {
    static TRIPS: Cell<u32>;
}

/// Runs `future` with a count of its own, from 0.
pub async fn counted<F: Future>(future: F) -> F::Output {
    TRIPS.scope(Cell::new(0), future).await
}

/// One more. Outside of [`counted`] nothing is counted.
pub fn count() {
    let _ = TRIPS.try_with(|trips| trips.set(trips.get() + 1));
}

/// One less: two of those that count themselves travel together.
pub fn uncount() {
    let _ = TRIPS.try_with(|trips| trips.set(trips.get().saturating_sub(1)));
}

/// How many so far.
pub fn so_far() -> u32 {
    TRIPS.try_with(Cell::get).unwrap_or_default()
}
