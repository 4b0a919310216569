//! Keeps listening to PostgreSQL, and wakes who is concerned.

use super::Hub;
use crate::store::{ConnectError, Listener, Store};
use slog::Logger;
use std::sync::Arc;
use std::time::Duration;

/// The first wait before connecting again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait before connecting again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Listens for as long as the server runs.
pub async fn listen(store: Store, hub: Arc<Hub>, log: Logger) {
    let mut wait = FIRST_WAIT;
    loop {
        let listening = || {
            slog::debug!(log, "listening for events");
            wait = FIRST_WAIT;
        };
        let Err(error) = pass_on(&store, &hub, listening).await;
        slog::warn!(log, "live events are late until the database can be listened to again";
            "error" => error.to_string(), "retry_ms" => wait.as_millis());
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Passes on what is heard, until nothing is any more.
async fn pass_on(
    store: &Store,
    hub: &Hub,
    listening: impl FnOnce(),
) -> Result<std::convert::Infallible, ConnectError> {
    let mut listener = Listener::connect(store).await?;
    listening();
    // what happened before was not heard
    hub.wake_all();
    loop {
        hub.wake(&listener.next().await?);
    }
}
