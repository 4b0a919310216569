//! The vectors of questions that were asked before.

use super::embedder::QueryEmbedding;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Questions that are kept: about 2 kB each, with their vectors.
pub(super) const CAPACITY: usize = 4_096;
/// Longer questions, in bytes, are not asked twice.
const LONGEST: usize = 1_024;

/// Questions and their vectors.
type Kept = LruCache<Arc<str>, Arc<QueryEmbedding>>;

/// Keeps what was used last. Belongs to one embedder, whose models never change.
pub(super) struct QueryCache {
    /// `None`: nothing is kept.
    kept: Option<Mutex<Kept>>,
}

impl QueryCache {
    /// For so many questions; 0 keeps none.
    pub(super) fn new(capacity: usize) -> Self {
        QueryCache { kept: NonZeroUsize::new(capacity).map(|most| Mutex::new(LruCache::new(most))) }
    }

    fn kept(&self) -> Option<MutexGuard<'_, Kept>> {
        self.kept.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The vectors of `text`, if it was asked lately.
    pub(super) fn get(&self, text: &str) -> Option<Arc<QueryEmbedding>> {
        self.kept()?.get(text).cloned()
    }

    /// Keeps the vectors of `text`, in the place of what was not used for longest.
    pub(super) fn put(&self, text: &str, embedding: Arc<QueryEmbedding>) {
        if text.len() <= LONGEST
            && let Some(mut kept) = self.kept()
        {
            kept.put(text.into(), embedding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::embedder::{DIMENSIONS, Dense};
    use super::*;

    fn vector(x: f32) -> Arc<QueryEmbedding> {
        let mut components = vec![1.0; DIMENSIONS];
        components[0] = x;
        let dense = Dense::normalised(components).expect("a direction");
        Arc::new(QueryEmbedding { dense, sparse: None })
    }

    #[test]
    fn what_was_used_last_stays() {
        let cache = QueryCache::new(2);
        cache.put("a", vector(1.0));
        cache.put("b", vector(2.0));
        assert_eq!(cache.get("a"), Some(vector(1.0)));
        cache.put("c", vector(3.0));
        assert_eq!(cache.get("b"), None, "used before `a`");
        assert_eq!(cache.get("a"), Some(vector(1.0)));
        assert_eq!(cache.get("c"), Some(vector(3.0)));
        cache.put("a", vector(4.0));
        assert_eq!(cache.get("a"), Some(vector(4.0)));
        assert_eq!(cache.kept().expect("it keeps").len(), 2);
    }

    #[test]
    fn long_questions_are_not_kept_and_no_capacity_keeps_nothing() {
        let cache = QueryCache::new(2);
        let long = "x".repeat(LONGEST + 1);
        cache.put(&long, vector(1.0));
        assert_eq!(cache.get(&long), None);
        let none = QueryCache::new(0);
        none.put("a", vector(1.0));
        assert_eq!(none.get("a"), None);
    }
}
