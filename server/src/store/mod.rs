//! PostgreSQL through Diesel: one file a resource, visibility in one place. Knows no HTTP.
//!
//! Functions take a [`Tx`], a transaction whose first statement has set the caller for row-level
//! security; there is no other way to a tenant's rows.

pub mod accounts;
pub mod authentication;
pub mod billing;
mod connection;
pub mod credits;
pub mod delegations;
pub mod events;
pub mod idempotency;
pub mod invitation_mails;
pub mod invitations;
pub mod keys;
mod lazy_transaction;
mod listener;
pub mod mcp_servers;
pub mod members;
pub mod memory;
pub mod message_search;
pub mod messages;
pub mod migrations;
pub mod models;
pub mod pages;
mod position;
pub mod quotas;
pub mod reactions;
pub mod requirements;
pub mod rights;
pub mod saved_sessions;
mod schema;
pub mod search;
pub mod secrets;
pub mod session_kinds;
pub mod sessions;
pub mod space_members;
pub mod spaces;
mod statements;
mod tls;
pub mod transcripts;
mod tx;
pub mod usage;
pub mod vault;
pub mod visibility;

pub use connection::{ConnectError, Pooled, Store, StoreConfig};
pub use lazy_transaction::LazyTransaction;
pub use listener::Listener;
pub use pages::{Listed, Paging};
pub use position::Position;
pub use switchy_types::ids;
pub use tx::{FACETS_TIMEOUT, LIST_TIMEOUT, SEARCH_TIMEOUT, SystemTx, Tx};
