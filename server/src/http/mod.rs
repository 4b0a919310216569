//! Transport: one envelope around every answer, the gateway that makes sure of it, extractors that
//! name the offending field, and the OpenAPI documents. Knows no resource.

pub mod envelope;
pub mod extract;
pub mod gateway;
mod inspect;
pub mod openapi;
pub mod reply;
pub mod scope;
pub mod sse;

pub use envelope::{Envelope, Failure, Timestamp};
pub use extract::{Check, IdempotencyKey, Issues, Json, Params, Raw};
pub use reply::{Answer, Created, NoContent, Ok200, Reply};
