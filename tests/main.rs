//! End to end: a real server on a real PostgreSQL, driven through the client and over raw HTTP.

mod fixture;

mod authentication;
mod cli;
mod client;
mod documents;
mod envelope;
mod events;
mod failures;
mod idempotency;
mod isolation;
mod limits;
mod me;
mod memory;
mod messages;
mod round_trips;
mod saved_sessions;
mod search;
mod server_binary;
mod sessions;
mod spaces;
