//! Whose the keys were that were used lately.

use crate::auth::Caller;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys that are remembered, some 300 bytes each.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(4_096).expect("more than none");

/// A key's digest.
type Digest = [u8; 32];

/// Whose a key was when it was used last, for guessing whose it is now: the database is asked every
/// time, and what was read for somebody who it turns out not to be is thrown away.
pub struct KnownKeys(Mutex<LruCache<Digest, Caller>>);

impl Default for KnownKeys {
    fn default() -> Self {
        KnownKeys(Mutex::new(LruCache::new(CAPACITY)))
    }
}

impl KnownKeys {
    fn kept(&self) -> MutexGuard<'_, LruCache<Digest, Caller>> {
        // a cache that a panic has left half-done would only guess wrong
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose it was.
    pub fn get(&self, key: &Digest) -> Option<Caller> {
        self.kept().get(key).cloned()
    }

    /// It was used by `caller`.
    pub fn remember(&self, key: Digest, caller: &Caller) {
        self.kept().put(key, caller.clone());
    }

    /// It was refused. The next request with it is asked who it is before anything is read for it.
    pub fn forget(&self, key: &Digest) {
        self.kept().pop(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{OrgRole, PrivateNotes, Scopes};
    use crate::store::ids::{KeyId, OrgId, UserId};

    fn caller() -> Caller {
        Caller {
            key_id: KeyId::generate(),
            user_id: UserId::generate(),
            org_id: OrgId::generate(),
            role: OrgRole::Member,
            scopes: Scopes::stored(Vec::new()),
            private_notes: PrivateNotes::Open,
            on_behalf: false,
        }
    }

    #[test]
    fn a_key_is_its_last_caller_s_until_it_is_refused() {
        let (known, first, second) = (KnownKeys::default(), caller(), caller());
        assert_eq!(known.get(&[1; 32]), None);
        known.remember([1; 32], &first);
        known.remember([2; 32], &second);
        assert_eq!(known.get(&[1; 32]), Some(first));
        known.remember([1; 32], &second);
        assert_eq!(known.get(&[1; 32]), Some(second.clone()));
        known.forget(&[1; 32]);
        assert_eq!((known.get(&[1; 32]), known.get(&[2; 32])), (None, Some(second)));
    }

    #[test]
    fn what_was_used_last_stays() {
        let (known, caller) = (KnownKeys::default(), caller());
        let digest = |n: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_le_bytes());
            digest
        };
        for n in 0..=CAPACITY.get() {
            known.remember(digest(n), &caller);
            assert!(known.get(&digest(0)).is_some());
        }
        assert!(known.get(&digest(1)).is_none());
        assert!(known.get(&digest(CAPACITY.get())).is_some());
    }
}
