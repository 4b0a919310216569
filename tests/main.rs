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
mod keys;
mod limits;
mod me;
mod memory;
mod memory_batch;
mod memory_changes;
mod round_trips;
mod search;
mod server_binary;
mod sessions;
mod space_changes;
mod space_members;
mod spaces;
