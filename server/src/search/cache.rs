//! The vectors of questions that were asked before.

use super::embedder::QueryEmbedding;
use crate::store::ids::OrgId;
use lru::LruCache;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Questions that are kept: about 2 kB each, with their vectors.
pub(super) const CAPACITY: usize = 4_096;
/// Part of them that one organization may have: the others' stay, however much one asks.
const SHARES: usize = 8;
/// Longer questions, in bytes, are not asked twice.
const LONGEST: usize = 1_024;

/// Questions and their vectors.
type Questions = LruCache<Arc<str>, Arc<QueryEmbedding>>;

/// Those of every organization, and how many they are together.
struct Kept {
    by_org: LruCache<OrgId, Questions>,
    count: usize,
}

/// Keeps what was used last, each organization's own: how long an answer takes says nothing about
/// what another organization has asked. Belongs to one embedder, whose models never change.
pub(super) struct QueryCache {
    capacity: usize,
    kept: Mutex<Kept>,
}

impl QueryCache {
    /// For so many questions; 0 keeps none.
    pub(super) fn new(capacity: usize) -> Self {
        let kept = Kept { by_org: LruCache::unbounded(), count: 0 };
        QueryCache { capacity, kept: Mutex::new(kept) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The vectors of `text`, if the organization has asked that lately.
    pub(super) fn get(&self, org: &OrgId, text: &str) -> Option<Arc<QueryEmbedding>> {
        self.kept().by_org.get_mut(org)?.get(text).cloned()
    }

    /// Keeps the vectors of `text` for the organization: in the place of that question of its own
    /// which was not used for longest, where it has its share, or of one of the organization that
    /// has asked nothing for longest, where all is taken.
    pub(super) fn put(&self, org: &OrgId, text: &str, embedding: Arc<QueryEmbedding>) {
        if text.len() > LONGEST || self.capacity == 0 {
            return;
        }
        let share = (self.capacity / SHARES).max(1);
        let mut kept = self.kept();
        let Kept { by_org, count } = &mut *kept;
        let own = by_org.get_or_insert_mut(org.clone(), LruCache::unbounded);
        if own.put(text.into(), embedding).is_some() {
            return;
        }
        *count += 1;
        if own.len() > share {
            own.pop_lru();
            *count -= 1;
        } else if *count > self.capacity
            && let Some((_, idlest)) = by_org.iter_mut().next_back()
        {
            idlest.pop_lru();
            *count -= 1;
            if idlest.is_empty() {
                by_org.pop_lru();
            }
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
        let (cache, org) = (QueryCache::new(2 * SHARES), OrgId::generate());
        cache.put(&org, "a", vector(1.0));
        cache.put(&org, "b", vector(2.0));
        assert_eq!(cache.get(&org, "a"), Some(vector(1.0)));
        cache.put(&org, "c", vector(3.0));
        assert_eq!(cache.get(&org, "b"), None, "used before `a`");
        assert_eq!(cache.get(&org, "a"), Some(vector(1.0)));
        assert_eq!(cache.get(&org, "c"), Some(vector(3.0)));
        cache.put(&org, "a", vector(4.0));
        assert_eq!(cache.get(&org, "a"), Some(vector(4.0)));
        assert_eq!(cache.kept().count, 2);
    }

    #[test]
    fn what_one_organization_has_asked_is_not_there_for_another() {
        let (cache, here, there) =
            (QueryCache::new(CAPACITY), OrgId::generate(), OrgId::generate());
        cache.put(&here, "a", vector(1.0));
        assert_eq!(cache.get(&there, "a"), None);
        cache.put(&there, "a", vector(1.0));
        assert_eq!(cache.kept().count, 2);
    }

    #[test]
    fn one_organization_pushes_out_its_own_questions_alone() {
        let (cache, quiet, loud) = (QueryCache::new(80), OrgId::generate(), OrgId::generate());
        cache.put(&quiet, "a", vector(1.0));
        for n in 0..1_000 {
            cache.put(&loud, &n.to_string(), vector(1.0));
        }
        assert_eq!(cache.get(&quiet, "a"), Some(vector(1.0)));
        assert_eq!(cache.get(&loud, "999"), Some(vector(1.0)));
        assert_eq!(cache.kept().count, 11);
    }

    #[test]
    fn all_organizations_together_keep_no_more_than_there_is_room_for() {
        let cache = QueryCache::new(80);
        let orgs: Vec<OrgId> = (0..100).map(|_| OrgId::generate()).collect();
        for n in 0..3 {
            for org in &orgs {
                cache.put(org, &n.to_string(), vector(1.0));
            }
        }
        let kept = cache.kept();
        let there: usize = kept.by_org.iter().map(|(_, questions)| questions.len()).sum();
        assert_eq!((there, kept.count), (80, 80));
        assert!(kept.by_org.iter().all(|(_, questions)| !questions.is_empty()));
    }

    #[test]
    fn long_questions_are_not_kept_and_no_capacity_keeps_nothing() {
        let (cache, org) = (QueryCache::new(2), OrgId::generate());
        let long = "x".repeat(LONGEST + 1);
        cache.put(&org, &long, vector(1.0));
        assert_eq!(cache.get(&org, &long), None);
        let none = QueryCache::new(0);
        none.put(&org, "a", vector(1.0));
        assert_eq!(none.get(&org, "a"), None);
    }
}
