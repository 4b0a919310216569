//! Time, passed in: the database's in production, a test's own elsewhere.

use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where the server takes the time from.
///
/// What several servers must agree on (limits, expiry) is decided by the database's clock: the
/// default hands `None` to the SQL, which then asks its own.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The database's own clock; this machine's where no database is involved.
    #[default]
    Database,
    /// A clock that stands still until it is moved.
    Manual(ManualClock),
}

/// A clock that only its owner moves.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn starting_at(start: DateTime<Utc>) -> Self {
        ManualClock(Arc::new(AtomicI64::new(start.timestamp_micros())))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_microseconds().unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

impl Clock {
    /// What SQL gets as its `p_now`: `None` lets the database use its own clock.
    pub fn for_database(&self) -> Option<DateTime<Utc>> {
        match self {
            Clock::Database => None,
            Clock::Manual(clock) => Some(clock.now()),
        }
    }

    /// The time for what this process decides alone.
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Clock::Database => Utc::now(),
            Clock::Manual(clock) => clock.now(),
        }
    }
}
