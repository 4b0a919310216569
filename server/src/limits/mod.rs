//! Rate limits and idempotency: what a request costs, and whether it was answered before.

mod idempotency;
mod rate;

pub use idempotency::{
    Claimed, First, Part, Paused, WithSecret, Write, begin, begin_bodiless, begin_part,
};
pub use rate::{Bucket, Limits, Quota, admit, admit_to, count_failure, digest};
