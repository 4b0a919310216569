//! The callers of the keys that were used lately.

use crate::auth::Caller;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys that are remembered, some 300 bytes each.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(4_096).expect("more than none");

/// A key's digest.
type Digest = [u8; 32];

/// Caches the last known caller of each key. An entry is only a hint: the database verifies it on
/// every request, and a speculative read is discarded if it was stale.
pub struct KeyCache(Mutex<LruCache<Digest, Caller>>);

impl Default for KeyCache {
    fn default() -> Self {
        KeyCache(Mutex::new(LruCache::new(CAPACITY)))
    }
}

impl KeyCache {
    fn kept(&self) -> MutexGuard<'_, LruCache<Digest, Caller>> {
        // a cache that a panic has left half-done would only hint wrong
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller who used the key last.
    pub fn get(&self, key: &Digest) -> Option<Caller> {
        self.kept().get(key).cloned()
    }

    /// Notes that `caller` used the key.
    pub fn remember(&self, key: Digest, caller: &Caller) {
        self.kept().put(key, caller.clone());
    }

    /// Forgets a key that was refused: its next request is authenticated before anything is read.
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
        let (known, first, second) = (KeyCache::default(), caller(), caller());
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
        let (known, caller) = (KeyCache::default(), caller());
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
