//! Rate limits, turns and idempotency: what a request costs, when it is worked on, and whether it was
//! answered before.

mod idempotency;
mod key_cache;
mod rate;
mod seats;

pub use idempotency::{Answer, Answered, Claimed, Kept, Once};
pub use key_cache::KeyCache;
pub use rate::{Admission, AuthAttempt, Bucket, Limits, Quota, count_failure};
pub use seats::{Concurrency, SEAT_PATIENCE, Seat, Seats};
