//! MCP: the servers that organizations have registered, as their client.
//!
//! `guard` decides whom this server talks to, `client` talks, `health` keeps asking how they are.

pub mod client;
pub mod guard;
pub mod health;
