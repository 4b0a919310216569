//! Rate limits, turns and idempotency: what a request costs, when it is worked on, and whether it was
//! answered before.

mod idempotency;
mod known;
mod rate;
mod seats;

pub use idempotency::{
    Claimed, First, Kept, Part, Paused, WithSecret, Write, begin, begin_bodiless, begin_part,
};
pub use known::KnownKeys;
pub use rate::{Applicant, Bucket, Limits, Quota, count_failure, digest};
pub use seats::{Concurrency, SEAT_PATIENCE, Seat, Seats};
