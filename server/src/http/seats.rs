//! Connections that are open: how many, and whose.
//!
//! While there is room, one address may take as many as it likes: behind a proxy, everybody has its
//! address. When three quarters are taken, addresses that have more than their share get no more,
//! and connections that never showed a valid key are closed sooner; so whoever takes all that they
//! can get leaves a quarter to others.

use super::peer;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// An address has one in so many seats for sure, and at least [`FEWEST`].
const SHARE: usize = 16;

/// Seats that an address has for sure, however few there are in all.
const FEWEST: usize = 2;

/// All seats.
pub(super) struct Seats(Arc<Hall>);

struct Hall {
    most: usize,
    taken: Mutex<Taken>,
    /// Whether there are few left.
    few: watch::Sender<bool>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A seat that is taken; given back when this is dropped.
pub(super) struct Seat {
    hall: Arc<Hall>,
    address: IpAddr,
}

impl Seats {
    pub(super) fn of(most: usize) -> Self {
        let (few, _) = watch::channel(false);
        Seats(Arc::new(Hall { most: most.max(1), taken: Mutex::default(), few }))
    }

    /// A seat for the peer at `address`; none when all are taken, or few are left and it has more
    /// than its share.
    pub(super) fn take(&self, address: IpAddr) -> Option<Seat> {
        let address = peer::counted(address);
        let mut taken = self.0.taken();
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        let full = taken.all >= self.0.most;
        if full || (self.0.are_few(taken.all) && of_address >= (self.0.most / SHARE).max(FEWEST)) {
            return None;
        }
        taken.all += 1;
        *taken.by_address.entry(address).or_default() += 1;
        self.0.tell(taken.all);
        Some(Seat { hall: Arc::clone(&self.0), address })
    }

    /// Whether few are left, now and later.
    pub(super) fn few(&self) -> watch::Receiver<bool> {
        self.0.few.subscribe()
    }
}

impl Hall {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // numbers are not left half-changed by a panic
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_few(&self, taken: usize) -> bool {
        taken * 4 >= self.most * 3
    }

    /// Tells those who wait for it. Few are few until half are free again: it must not change with
    /// every connection.
    fn tell(&self, taken: usize) {
        let few = self.are_few(taken) || (*self.few.borrow() && taken * 2 > self.most);
        self.few.send_if_modified(|told| std::mem::replace(told, few) != few);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.hall.taken();
        taken.all -= 1;
        if let Some(of_address) = taken.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        self.hall.tell(taken.all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn one_address_leaves_a_quarter_to_others() {
        let seats = Seats::of(64);
        let greedy: Vec<Seat> = std::iter::from_fn(|| seats.take(address(1))).collect();
        assert_eq!(greedy.len(), 48);
        // the others have their share each, until all are taken
        let others: Vec<usize> = (2..7)
            .map(|n| {
                let its: Vec<Seat> = std::iter::from_fn(|| seats.take(address(n))).collect();
                let count = its.len();
                std::mem::forget(its);
                count
            })
            .collect();
        assert_eq!(others, [4, 4, 4, 4, 0]);
    }

    #[test]
    fn a_seat_is_given_back() {
        let seats = Seats::of(4);
        let held: Vec<Seat> = std::iter::from_fn(|| seats.take(address(1))).collect();
        assert_eq!(held.len(), 3);
        assert!(*seats.few().borrow());
        drop(held);
        assert!(!*seats.few().borrow());
        assert!(seats.0.taken().by_address.is_empty());
        assert!(seats.take(address(1)).is_some());
    }

    #[test]
    fn few_are_few_until_half_are_free() {
        let seats = Seats::of(8);
        let mut held: Vec<Seat> = (0..6).filter_map(|n| seats.take(address(n))).collect();
        assert!(*seats.few().borrow());
        held.pop();
        assert!(*seats.few().borrow());
        held.pop();
        assert!(!*seats.few().borrow());
    }
}
