//! Rate limits and idempotency: what a request costs, and whether it was answered before.

mod idempotency;
mod rate;

pub use idempotency::{Claimable, Claimed, First, WithSecret, Write, begin, claim};
pub use rate::{Bucket, Limits, Quota, admit, admit_to};
