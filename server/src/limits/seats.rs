//! How many requests of one key, and of one organization, are worked on at once.

use crate::auth::Caller;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// How long a request waits for its turn before it is refused.
pub const SEAT_PATIENCE: Duration = Duration::from_secs(2);
/// Seconds after which somebody who was refused may try again.
const RETRY_AFTER_CROWD: u32 = 1;
/// Lines beyond those in use for which there is room before the unused ones are removed.
const SPARE_LINES: usize = 64;

/// How many requests are worked on at once on this server; 0 means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Of one key.
    pub key: u32,
    /// Of all keys of one organization together.
    pub org: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        Concurrency { key: 4, org: 8 }
    }
}

impl Concurrency {
    /// No limits at all.
    pub fn unlimited() -> Self {
        Concurrency { key: 0, org: 0 }
    }
}

/// The seats of this server: a request has one while it is worked on.
///
/// Those that find none wait in the order in which they came, without a connection to the database.
pub struct Seats {
    keys: Lines,
    orgs: Lines,
    patience: Duration,
}

/// A seat of one request, given back when it is dropped.
pub struct Seat {
    _held: [Option<OwnedSemaphorePermit>; 2],
}

/// One line for each key, or for each organization.
struct Lines {
    /// As messages call that which it is a line of.
    whose: &'static str,
    /// How many seats each has.
    seats: u32,
    /// Those that somebody sits or waits in.
    lines: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Lines {
    fn new(whose: &'static str, seats: u32) -> Self {
        Lines { whose, seats, lines: Mutex::default() }
    }

    /// `None`: there is no limit.
    fn line(&self, id: &str) -> Option<Arc<Semaphore>> {
        let seats = usize::try_from(self.seats).unwrap_or(Semaphore::MAX_PERMITS);
        if seats == 0 {
            return None;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(id).and_then(Weak::upgrade) {
            return Some(line);
        }
        if lines.len() == lines.capacity() {
            lines.retain(|_, line| line.strong_count() > 0);
            let spare = lines.len() + SPARE_LINES;
            lines.reserve(spare);
        }
        let line = Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS)));
        lines.insert(id.to_owned(), Arc::downgrade(&line));
        Some(line)
    }

    async fn take(&self, id: &str, until: Instant) -> Result<Option<OwnedSemaphorePermit>> {
        let Some(line) = self.line(id) else { return Ok(None) };
        match timeout_at(until, line.acquire_owned()).await {
            Ok(seat) => seat.map(Some).map_err(Error::internal),
            Err(_) => Err(Error::Crowded {
                whose: self.whose,
                at_once: self.seats,
                retry_after: RETRY_AFTER_CROWD,
            }),
        }
    }

    /// `Err`: it would have to wait.
    fn take_now(&self, id: &str) -> Result<Option<OwnedSemaphorePermit>, ()> {
        match self.line(id) {
            Some(line) => line.try_acquire_owned().map(Some).map_err(|_| ()),
            None => Ok(None),
        }
    }
}

impl Seats {
    /// With so many.
    pub fn new(concurrency: Concurrency) -> Self {
        Seats {
            keys: Lines::new("key", concurrency.key),
            orgs: Lines::new("organization", concurrency.org),
            patience: SEAT_PATIENCE,
        }
    }

    /// A seat for a request of `caller`, when it is its turn; 429 when that does not come within
    /// [`SEAT_PATIENCE`].
    ///
    /// The key's line comes first: however many requests a key has, no more of them than it has seats
    /// wait in the organization's line, and the organization's other keys have their turns.
    pub async fn take(&self, caller: &Caller) -> Result<Seat> {
        let until = Instant::now() + self.patience;
        let key = self.keys.take(caller.key_id.as_str(), until).await?;
        let org = self.orgs.take(caller.org_id.as_str(), until).await?;
        Ok(Seat { _held: [key, org] })
    }

    /// The same, if nobody has to wait for it.
    pub fn take_now(&self, caller: &Caller) -> Option<Seat> {
        let key = self.keys.take_now(caller.key_id.as_str()).ok()?;
        let org = self.orgs.take_now(caller.org_id.as_str()).ok()?;
        Some(Seat { _held: [key, org] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{OrgRole, PrivateNotes, Scopes};
    use crate::store::ids::{KeyId, OrgId, UserId};

    fn caller(org_id: &OrgId) -> Caller {
        Caller {
            key_id: KeyId::generate(),
            user_id: UserId::generate(),
            org_id: org_id.clone(),
            role: OrgRole::Member,
            scopes: Scopes::all_rest(),
            private_notes: PrivateNotes::Open,
            on_behalf: false,
        }
    }

    #[test]
    fn a_key_has_its_seats_an_organization_its_own_and_others_theirs() {
        let seats = Seats::new(Concurrency { key: 2, org: 3 });
        let (here, there) = (OrgId::generate(), OrgId::generate());
        let (first, second, stranger) = (caller(&here), caller(&here), caller(&there));
        let mut held: Vec<Seat> = (0..2).filter_map(|_| seats.take_now(&first)).collect();
        assert_eq!(held.len(), 2);
        assert!(seats.take_now(&first).is_none(), "the key has no more");
        held.extend(seats.take_now(&second));
        assert_eq!(held.len(), 3);
        assert!(seats.take_now(&second).is_none(), "the organization has no more");
        assert!(seats.take_now(&stranger).is_some(), "another one has");
        held.remove(0);
        assert!(seats.take_now(&second).is_some(), "what was given back");
    }

    #[test]
    fn without_limits_everybody_sits_and_nothing_is_kept() {
        let seats = Seats::new(Concurrency::unlimited());
        let caller = caller(&OrgId::generate());
        let held: Vec<Seat> = (0..1_000).filter_map(|_| seats.take_now(&caller)).collect();
        assert_eq!(held.len(), 1_000);
        assert!(seats.keys.lines.lock().expect("no panic").is_empty());
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_seat_in_the_order_of_arrival() {
        let seats = Arc::new(Seats::new(Concurrency { key: 1, org: 0 }));
        let caller = caller(&OrgId::generate());
        let held = seats.take(&caller).await.expect("a seat");
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..3)
            .map(|n| {
                let (seats, caller, order) = (seats.clone(), caller.clone(), order.clone());
                tokio::spawn(async move {
                    let seat = seats.take(&caller).await;
                    order.lock().expect("no panic").push(n);
                    seat
                })
            })
            .collect();
        // each runs until it waits
        tokio::task::yield_now().await;
        assert!(order.lock().expect("no panic").is_empty());
        drop(held);
        for task in waiting {
            assert!(task.await.expect("no panic").is_ok());
        }
        assert_eq!(*order.lock().expect("no panic"), [0, 1, 2]);
    }

    #[tokio::test]
    async fn who_waits_in_vain_is_refused_and_holds_nothing() {
        let patience = Duration::from_millis(20);
        let seats = Seats { patience, ..Seats::new(Concurrency { key: 1, org: 1 }) };
        let org = OrgId::generate();
        let (first, second) = (caller(&org), caller(&org));
        let held = seats.take(&first).await.expect("a seat");
        for (who, line) in [(&first, "key"), (&second, "organization")] {
            match seats.take(who).await {
                Err(Error::Crowded { whose, at_once: 1, .. }) => assert_eq!(whose, line),
                _ => panic!("not refused: {line}"),
            }
        }
        drop(held);
        assert!(seats.take_now(&second).is_some());
    }

    #[test]
    fn lines_that_nobody_is_in_are_forgotten() {
        let seats = Seats::new(Concurrency { key: 1, org: 0 });
        let held = caller(&OrgId::generate());
        let _seat = seats.take_now(&held).expect("a seat");
        for _ in 0..10_000 {
            drop(seats.take_now(&caller(&held.org_id)).expect("a seat"));
        }
        assert!(seats.keys.lines.lock().expect("no panic").len() <= 4 * SPARE_LINES);
        assert!(seats.take_now(&held).is_none(), "a line that somebody is in stays");
    }
}
