//! Transport: one envelope around every answer, the gateway that makes sure of it, extractors that
//! name the offending field, and the OpenAPI documents. Knows no resource.

pub mod body;
pub mod canonical;
mod client_version;
mod compression;
pub mod connections;
mod contexts;
pub mod dialect;
pub mod envelope;
pub mod extract;
pub mod failure;
pub mod gateway;
mod inspect;
pub mod issues;
pub mod json;
mod metered;
pub mod openapi;
mod paced;
pub mod peer;
mod repeated;
pub mod reply;
pub mod request_state;
pub mod rpc;
mod seats;
mod shares;
pub mod sse;

pub use body::{Json, Raw, Unread};
pub use client_version::check_client_version;
pub use dialect::Dialect;
pub use envelope::{Envelope, Timestamp};
pub use extract::{IdempotencyKey, Params};
pub use failure::{CanonicalFailure, Failure};
pub use issues::{Check, Issues};
pub use repeated::Repeated;
pub use reply::{Answer, Bare200, BareAnswer, Created, NoContent, Ok200, Reply};
