//! Rate limits and idempotency: what a request costs, and whether it was answered before.

mod idempotency;
mod rate;

pub use idempotency::{First, Paused, Write, begin};
pub use rate::{Bucket, Limits, admit, count_failure};
