//! Rate limits and idempotency: what a request costs, and whether it was answered before.

mod idempotency;
mod known;
mod rate;

pub use idempotency::{
    Claimed, First, Kept, Part, Paused, WithSecret, Write, begin, begin_bodiless, begin_part,
};
pub use known::KnownKeys;
pub use rate::{Applicant, Bucket, Limits, Quota, count_failure, digest};
