//! Stripe: a client for what is needed of its API, its objects, and its webhooks' signatures.

mod client;
pub mod objects;
pub mod signature;

pub use client::{Form, Stripe};
