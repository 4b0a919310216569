//! End to end: a real server on a real PostgreSQL, driven through the client and over raw HTTP.

mod fixture;

mod authentication;
mod cli;
mod client;
mod documents;
mod envelope;
mod failures;
mod idempotency;
mod isolation;
mod limits;
mod me;
mod memory;
mod reembed;
mod round_trips;
mod search;
mod search_at_scale;
mod search_filters;
mod server_binary;
mod sessions;
mod spaces;
