//! Rate limits and idempotency: what a request costs, and whether it was answered before.

mod idempotency;
mod rate;

pub use idempotency::{First, Write, begin, begin_without_body};
pub use rate::{Bucket, Limits, admit, digest};
