//! MCP, in both directions: `server` is what Switchy offers; the rest is for the servers that
//! organizations have registered, as their client.
//!
//! `guard` decides whom this server talks to, `client` talks, `health` keeps asking how they are.

pub mod client;
pub mod guard;
pub mod health;
pub mod server;
