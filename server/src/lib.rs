//! The Switchy server as a library: what the binary starts, and what tests run in their own
//! process.

pub mod api;
pub mod auth;
pub mod billing;
pub mod bootstrap;
pub mod clock;
pub mod commands;
pub mod config;
pub mod eval;
pub mod events;
pub mod http;
pub mod limits;
pub mod logging;
pub mod mail;
pub mod mcp;
pub mod profile;
pub mod public_url;
pub mod round_trips;
pub mod search;
pub mod security_contact;
pub mod server;
pub mod store;

pub use switchy_types::error;
