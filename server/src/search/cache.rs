//! The vectors of questions that were asked before.

use super::embedder::QueryEmbedding;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Questions that are kept: about 2 kB each, with their vectors.
pub(super) const CAPACITY: usize = 4_096;
/// Longer questions, in bytes, are not asked twice.
const LONGEST: usize = 1_024;

/// Keeps what was used last. Belongs to one embedder, whose models never change.
pub(super) struct QueryCache {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_text: HashMap<Arc<str>, (u64, Arc<QueryEmbedding>)>,
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
}

impl QueryCache {
    /// For so many questions; 0 keeps none.
    pub(super) fn new(capacity: usize) -> Self {
        QueryCache { capacity, kept: Mutex::default() }
    }

    /// The vectors of `text`, if it was asked lately.
    pub(super) fn get(&self, text: &str) -> Option<Arc<QueryEmbedding>> {
        if self.capacity == 0 {
            return None;
        }
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        let (used, embedding) = kept.by_text.get_mut(text)?;
        kept.uses += 1;
        if let Some(key) = kept.by_use.remove(used) {
            kept.by_use.insert(kept.uses, key);
        }
        *used = kept.uses;
        Some(Arc::clone(embedding))
    }

    /// Keeps the vectors of `text`, in the place of what was not used for longest.
    pub(super) fn put(&self, text: &str, embedding: Arc<QueryEmbedding>) {
        if self.capacity == 0 || text.len() > LONGEST {
            return;
        }
        let key: Arc<str> = text.into();
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        kept.uses += 1;
        let now = kept.uses;
        if let Some((before, _)) = kept.by_text.insert(Arc::clone(&key), (now, embedding)) {
            kept.by_use.remove(&before);
        }
        kept.by_use.insert(now, key);
        while kept.by_text.len() > self.capacity {
            let Some((_, oldest)) = kept.by_use.pop_first() else { break };
            kept.by_text.remove(&oldest);
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
        let kept = cache.kept.lock().expect("no panic");
        assert_eq!((kept.by_text.len(), kept.by_use.len()), (2, 2));
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
