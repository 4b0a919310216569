//! What words and vectors brought, and its order.

use super::neighbours::Neighbours;
use super::{CANDIDATES, fusion};
use crate::store::ids::MemoryId;
use crate::store::search::Similarity;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Notes that may be hits: the best of each arm, and those after them.
pub(super) struct Candidates {
    by_words: Vec<(MemoryId, f64)>,
    by_vector: Vec<MemoryId>,
}

/// A candidate and what ranks it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    /// Whether it comes after the best ones, whatever its score.
    pub(super) after: bool,
    /// `0..=1`.
    pub(super) score: f64,
    /// Which note, and where in it.
    pub(super) near: Similarity,
}

impl Placed {
    /// Better ones first; equal where only the notes can tell.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.after.cmp(&other.after).then_with(|| other.score.total_cmp(&self.score))
    }
}

impl Candidates {
    /// Of both arms, each best first.
    pub(super) fn new(by_words: Vec<(MemoryId, f64)>, by_vector: Vec<MemoryId>) -> Self {
        Self { by_words, by_vector }
    }

    /// All of them, each once.
    pub(super) fn ids(&self) -> Vec<MemoryId> {
        let mut seen = HashSet::new();
        let ids = self.by_words.iter().map(|(id, _)| id).chain(&self.by_vector);
        ids.filter(|id| seen.insert(*id)).cloned().collect()
    }

    /// `near`, best first; `query_expansion` as [`fusion::fuse`] takes it.
    ///
    /// The first [`CANDIDATES`] of each arm are ranked among themselves, as though there were no
    /// others; the others come after them, in an order of their own.
    pub(super) fn rank(&self, near: Vec<Similarity>, query_expansion: f64) -> Vec<Placed> {
        let (words, more_words) = self.by_words.split_at(CANDIDATES.min(self.by_words.len()));
        let by_words = words.iter().map(|(id, _)| id);
        let best: HashSet<&MemoryId> =
            by_words.chain(self.by_vector.iter().take(CANDIDATES)).collect();
        let (near, after): (Vec<_>, Vec<_>) =
            near.into_iter().partition(|n| best.contains(&n.memory_id));
        let mut placed = fused(near, words, query_expansion);
        let least = placed.iter().map(|p| p.score).fold(1.0, f64::min);
        for mut more in fused(after, more_words, query_expansion) {
            more.after = true;
            more.score *= least;
            placed.push(more);
        }
        placed.sort_by(Placed::order);
        placed
    }
}

/// `near` with their fused scores.
fn fused(near: Vec<Similarity>, words: &[(MemoryId, f64)], query_expansion: f64) -> Vec<Placed> {
    let words: HashMap<&MemoryId, f64> = words.iter().map(|(id, score)| (id, *score)).collect();
    let parts: Vec<_> = near
        .iter()
        .map(|n| fusion::Parts {
            words: words.get(&n.memory_id).copied(),
            cosine: n.cosine,
            expansion: n.expansion,
        })
        .collect();
    let vectors: Vec<_> = near.iter().map(|n| n.vector.as_ref()).collect();
    let scores = fusion::fuse(&parts, query_expansion, &Neighbours::among(&vectors));
    near.into_iter()
        .zip(scores)
        .map(|(near, score)| Placed {
            after: false,
            score,
            near: Similarity { vector: None, ..near },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> MemoryId {
        format!("c{n:024}").parse().expect("an id")
    }

    fn similarity(n: usize) -> Similarity {
        Similarity {
            memory_id: id(n),
            cosine: Some(1.0 / (1.0 + n as f64)),
            expansion: None,
            passage: None,
            vector: None,
        }
    }

    /// The order that comes of the first `arm` notes of both arms.
    fn order(arm: usize) -> Vec<(MemoryId, f64)> {
        // by words the even ones, by vector all of them
        let by_words = (0..arm).map(|n| (id(2 * n), 9.0 - n as f64 / 100.0)).collect();
        let candidates = Candidates::new(by_words, (0..arm).map(id).collect());
        let ids = candidates.ids();
        let near = (0..2 * arm).map(similarity).filter(|n| ids.contains(&n.memory_id)).collect();
        candidates.rank(near, 0.0).into_iter().map(|p| (p.near.memory_id, p.score)).collect()
    }

    #[test]
    fn more_candidates_come_after_the_best_and_change_nothing_about_them() {
        let (best, more) = (order(CANDIDATES), order(CANDIDATES + 40));
        assert_eq!(more[..best.len()], best[..]);
        assert!(more.len() > best.len());
        assert!(more.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{more:?}");
    }

    #[test]
    fn each_note_is_a_candidate_once() {
        let by_words = vec![(id(1), 2.0), (id(2), 1.0)];
        let candidates = Candidates::new(by_words, vec![id(2), id(3)]);
        assert_eq!(candidates.ids(), [id(1), id(2), id(3)]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let candidates = Candidates::new(Vec::new(), Vec::new());
        assert!(candidates.ids().is_empty() && candidates.rank(Vec::new(), 1.0).is_empty());
    }
}
