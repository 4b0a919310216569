//! Memory for bodies and answers: how many bytes are held at once by everybody, by one address, and
//! by one key. Nobody's share is so large that nothing is left for others.

use super::peer;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The unit of counting, in bytes: what one request holds is rounded up to a whole number of these.
const UNIT: usize = 4 * 1024;

/// An address has one in so many bytes of all.
const OF_ADDRESS: usize = 2;

/// A key has one in so many bytes of all.
const OF_KEY: usize = 8;

/// The share that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// Everybody's.
    All,
    /// The address's.
    Address,
    /// The key's.
    Key,
}

/// The memory that there is for all together. Copies share it.
#[derive(Clone)]
pub(super) struct Shares(Arc<Pool>);

struct Pool {
    /// In bytes.
    all: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    by_address: HashMap<IpAddr, usize>,
    by_key: HashMap<String, usize>,
}

impl Shares {
    pub(super) fn of(bytes: usize) -> Self {
        Shares(Arc::new(Pool { all: bytes, held: Mutex::default() }))
    }

    /// The share of one request of the peer at `address`, which holds nothing yet.
    pub(super) fn share(&self, address: IpAddr) -> Share {
        let address = peer::counted(address);
        Share { shares: self.clone(), address, key: None, bytes: 0, held: 0 }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // numbers are not left half-changed by a panic
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory that one request holds; given back when this is dropped.
pub(super) struct Share {
    shares: Shares,
    address: IpAddr,
    /// Once it is known.
    key: Option<String>,
    /// As much as was taken.
    bytes: usize,
    /// The same in whole units.
    held: usize,
}

fn give_back<K: Hash + Eq>(by: &mut HashMap<K, usize>, owner: &K, bytes: usize) {
    if let Some(held) = by.get_mut(owner) {
        *held -= bytes;
        if *held == 0 {
            by.remove(owner);
        }
    }
}

impl Share {
    /// Holds so many bytes more, or says what is short. `key` is the id of the caller's key, as soon
    /// as it is known.
    pub(super) fn take(&mut self, bytes: usize, key: Option<String>) -> Result<(), Short> {
        let wanted = (self.bytes + bytes).next_multiple_of(UNIT) - self.held;
        let Pool { all, .. } = *self.shares.0;
        let mut held = self.shares.held();
        if let (None, Some(key)) = (&self.key, key) {
            // what was held before counts for the key from now on
            if self.held > 0 {
                *held.by_key.entry(key.clone()).or_default() += self.held;
            }
            self.key = Some(key);
        }
        let of_address = held.by_address.get(&self.address).copied().unwrap_or(0);
        let of_key = self.key.as_ref().and_then(|key| held.by_key.get(key)).copied().unwrap_or(0);
        if held.bytes + wanted > all {
            return Err(Short::All);
        }
        if of_address + wanted > all / OF_ADDRESS {
            return Err(Short::Address);
        }
        if self.key.is_some() && of_key + wanted > all / OF_KEY {
            return Err(Short::Key);
        }
        self.bytes += bytes;
        if wanted > 0 {
            self.held += wanted;
            held.bytes += wanted;
            *held.by_address.entry(self.address).or_default() += wanted;
            if let Some(key) = &self.key {
                *held.by_key.entry(key.clone()).or_default() += wanted;
            }
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.held == 0 {
            return;
        }
        let mut held = self.shares.held();
        held.bytes -= self.held;
        give_back(&mut held.by_address, &self.address, self.held);
        if let Some(key) = &self.key {
            give_back(&mut held.by_key, key, self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn key(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn what_is_taken_is_given_back_with_the_request() {
        let shares = Shares::of(8 * UNIT);
        let mut held = shares.share(address(1));
        assert_eq!(held.take(4 * UNIT, None), Ok(()));
        assert_eq!(shares.share(address(1)).take(1, None), Err(Short::Address));
        drop(held);
        assert_eq!(shares.share(address(1)).take(4 * UNIT, None), Ok(()));
        let empty = shares.held();
        assert_eq!((empty.bytes, empty.by_address.len(), empty.by_key.len()), (0, 0, 0));
    }

    #[test]
    fn a_thousand_single_bytes_are_a_thousand_bytes() {
        let shares = Shares::of(2 * UNIT);
        let mut share = shares.share(address(1));
        for _ in 0..UNIT {
            assert_eq!(share.take(1, None), Ok(()));
        }
        assert_eq!(shares.held().bytes, UNIT);
        assert_eq!(share.take(1, None), Err(Short::Address));
    }

    #[test]
    fn neither_an_address_nor_a_key_takes_all() {
        let shares = Shares::of(8 * UNIT);
        let mut one = shares.share(address(1));
        assert_eq!(one.take(UNIT, key("a")), Ok(()));
        assert_eq!(shares.share(address(2)).take(1, key("a")), Err(Short::Key));
        let mut other = shares.share(address(1));
        assert_eq!(other.take(3 * UNIT, None), Ok(()));
        assert_eq!(shares.share(address(1)).take(1, key("b")), Err(Short::Address));
        assert_eq!(shares.share(address(3)).take(UNIT, key("b")), Ok(()));
    }

    #[test]
    fn a_key_counts_from_when_it_is_known() {
        let shares = Shares::of(16 * UNIT);
        let mut share = shares.share(address(1));
        assert_eq!(share.take(2 * UNIT, None), Ok(()));
        assert_eq!(share.take(1, key("a")), Err(Short::Key));
        assert_eq!(shares.held().by_key["a"], 2 * UNIT);
        drop(share);
        assert!(shares.held().by_key.is_empty());
    }

    #[test]
    fn all_together_have_a_limit_of_their_own() {
        let shares = Shares::of(8 * UNIT);
        let mut held: Vec<Share> = (0..2).map(|n| shares.share(address(n))).collect();
        for share in &mut held {
            assert_eq!(share.take(4 * UNIT, None), Ok(()));
        }
        assert_eq!(shares.share(address(9)).take(1, None), Err(Short::All));
    }
}
