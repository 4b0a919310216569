//! Rate limits and idempotency: what a request costs, and whether it was answered before.

mod idempotency;
mod rate;

pub use idempotency::{First, Paused, WithSecret, Write, begin, begin_bodiless};
pub use rate::{Bucket, Limits, admit, count_failure, digest};
