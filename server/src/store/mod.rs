//! PostgreSQL through Diesel: one file a resource, visibility in one place. Knows no HTTP.
//!
//! Functions take a [`Tx`], a transaction whose first statement has set the caller for row-level
//! security; there is no other way to a tenant's rows.

pub mod accounts;
pub mod authentication;
mod connection;
pub mod idempotency;
pub mod ids;
pub mod memory;
pub mod migrations;
pub mod models;
pub mod requirements;
mod schema;
pub mod search;
pub mod secrets;
pub mod sessions;
pub mod spaces;
mod tls;
mod tx;
pub mod visibility;

pub use connection::{ConnectError, Pooled, Store, StoreConfig};
pub use tx::{SystemTx, Tx};
