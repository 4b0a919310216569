//! Transport: one envelope around every answer, the gateway that makes sure of it, extractors that
//! name the offending field, and the OpenAPI documents. Knows no resource.

mod bodies;
pub mod canonical;
mod client_version;
mod compression;
pub mod connections;
mod contexts;
pub mod dialect;
pub mod envelope;
pub mod extract;
pub mod gateway;
mod inspect;
pub mod openapi;
pub mod reply;
pub mod rpc;
pub mod scope;
mod several;
pub mod sse;

pub use canonical::Refusal;
pub use client_version::check_client_version;
pub use dialect::Dialect;
pub use envelope::{Envelope, Failure, Timestamp};
pub use extract::{Check, IdempotencyKey, Issues, Json, Params, Raw};
pub use reply::{Answer, Bare200, BareAnswer, Created, NoContent, Ok200, Reply};
pub use several::Several;
