//! Live events: who follows what, and how they learn that there is something to read.
//!
//! PostgreSQL tells every server *where* something happened (one `LISTEN` a server); the [`Hub`]
//! wakes those who follow that, and each of them reads what happened in a transaction of its own
//! caller. So nothing is passed on that the reader may not see, whichever server it happened on.
//! A word that was missed is made up for by the next heartbeat, at which everybody looks.

mod follow;
mod hub;
mod listen;

pub use follow::{Ending, Follower, Render, follow};
pub use hub::{Hub, Subscription};
pub use listen::listen;

use std::time::Duration;

/// How often a stream without events gets a heartbeat, and its caller is looked at again.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Most streams that one key may have open on one server.
pub const MAX_STREAMS_PER_KEY: usize = 10;

/// Most streams that one server holds open.
pub const MAX_STREAMS: usize = 10_000;

/// Most streams of a server that read at the same time: when thousands are woken at once, requests
/// must find connections of the pool all the same.
const MAX_READS: usize = 4;

/// How streams are served.
#[derive(Clone, Copy, Debug)]
pub struct EventsConfig {
    /// See [`HEARTBEAT`].
    pub heartbeat: Duration,
    /// See [`MAX_STREAMS_PER_KEY`].
    pub streams_per_key: usize,
    /// See [`MAX_STREAMS`].
    pub streams: usize,
}

impl Default for EventsConfig {
    fn default() -> Self {
        EventsConfig {
            heartbeat: HEARTBEAT,
            streams_per_key: MAX_STREAMS_PER_KEY,
            streams: MAX_STREAMS,
        }
    }
}
