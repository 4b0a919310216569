//! End to end: a real server on a real PostgreSQL, driven through the client and over raw HTTP.

mod fixture;

mod authentication;
mod billing;
mod cli;
mod client;
mod documents;
mod envelope;
mod events;
mod failures;
mod faults;
mod idempotency;
mod integrations;
mod invitations;
mod isolation;
mod keys;
mod limits;
mod mail;
mod mcp_server;
mod me;
mod members;
mod memory;
mod memory_batch;
mod memory_changes;
mod messages;
mod round_trips;
mod saved_sessions;
mod search;
mod server_binary;
mod sessions;
mod space_changes;
mod space_members;
mod spaces;
