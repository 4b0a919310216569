//! How good a ranking is, by what people judged.
//!
//! As the collections of the BEIR benchmark are measured (trec_eval's definitions): linear gains,
//! a discount of `1 / log2(rank + 1)`, averages over the questions that have a relevant document.

use serde::Serialize;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Ranks at which recall is measured.
pub const RECALL_AT: [usize; 3] = [5, 10, 50];
/// The rank at which nDCG and MRR end.
pub const CUT: usize = 10;

/// Grades by document: above 0 is relevant.
pub type Judgements<D> = HashMap<D, u32>;

/// Discounted cumulative gain of grades in their order.
fn gain(grades: impl Iterator<Item = u32>) -> f64 {
    grades.enumerate().map(|(i, grade)| f64::from(grade) / (i as f64 + 2.0).log2()).sum()
}

/// nDCG at `k`, `0..=1`: the gain of the ranking over that of the best possible one.
pub fn ndcg<D: Eq + Hash>(ranking: &[D], judged: &Judgements<D>, k: usize) -> f64 {
    let mut ideal: Vec<u32> = judged.values().copied().collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let best = gain(ideal.into_iter().take(k));
    if best == 0.0 {
        return 0.0;
    }
    gain(ranking.iter().take(k).map(|d| judged.get(d).copied().unwrap_or(0))) / best
}

/// The share of the relevant documents that are among the first `k`, `0..=1`.
pub fn recall<D: Eq + Hash>(ranking: &[D], judged: &Judgements<D>, k: usize) -> f64 {
    let relevant = judged.values().filter(|grade| **grade > 0).count();
    let found = ranking.iter().take(k).filter(|d| judged.get(d).is_some_and(|g| *g > 0)).count();
    if relevant == 0 { 0.0 } else { found as f64 / relevant as f64 }
}

/// One over the rank of the first relevant document among the first `k`, 0 without one.
pub fn reciprocal_rank<D: Eq + Hash>(ranking: &[D], judged: &Judgements<D>, k: usize) -> f64 {
    let first = ranking.iter().take(k).position(|d| judged.get(d).is_some_and(|g| *g > 0));
    first.map_or(0.0, |i| 1.0 / (i as f64 + 1.0))
}

/// Averages over questions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quality {
    /// nDCG at [`CUT`].
    #[serde(rename = "ndcg@10")]
    pub ndcg: f64,
    /// Recall at [`RECALL_AT`].
    #[serde(rename = "recall@5")]
    pub recall_5: f64,
    #[serde(rename = "recall@10")]
    #[expect(missing_docs, reason = "as above")]
    pub recall_10: f64,
    #[serde(rename = "recall@50")]
    #[expect(missing_docs, reason = "as above")]
    pub recall_50: f64,
    /// Mean reciprocal rank at [`CUT`].
    #[serde(rename = "mrr@10")]
    pub mrr: f64,
}

impl Quality {
    /// Of rankings with what was judged of each; those without a relevant document do not count.
    pub fn of<'a, D: Eq + Hash + 'a>(
        rankings: impl IntoIterator<Item = (&'a [D], &'a Judgements<D>)>,
    ) -> Quality {
        let mut sum = Quality::default();
        let mut questions = 0.0;
        for (ranking, judged) in rankings {
            if judged.values().all(|grade| *grade == 0) {
                continue;
            }
            questions += 1.0;
            sum.ndcg += ndcg(ranking, judged, CUT);
            sum.recall_5 += recall(ranking, judged, RECALL_AT[0]);
            sum.recall_10 += recall(ranking, judged, RECALL_AT[1]);
            sum.recall_50 += recall(ranking, judged, RECALL_AT[2]);
            sum.mrr += reciprocal_rank(ranking, judged, CUT);
        }
        let questions = f64::max(questions, 1.0);
        Quality {
            ndcg: sum.ndcg / questions,
            recall_5: sum.recall_5 / questions,
            recall_10: sum.recall_10 / questions,
            recall_50: sum.recall_50 / questions,
            mrr: sum.mrr / questions,
        }
    }
}

/// How long something took, in milliseconds, over many times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

impl Latency {
    /// By nearest rank; zero of nothing.
    pub fn of(mut times: Vec<Duration>) -> Latency {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (percent * times.len()).div_ceil(100).max(1);
            times.get(rank - 1).map_or(0.0, |t| t.as_secs_f64() * 1_000.0)
        };
        Latency { p50_ms: at(50), p95_ms: at(95), p99_ms: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(grades: &[(&'static str, u32)]) -> Judgements<&'static str> {
        grades.iter().copied().collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_best_ranking_is_worth_one_and_none_nothing() {
        let grades = judged(&[("a", 2), ("b", 1), ("c", 0)]);
        assert!(close(ndcg(&["a", "b", "c"], &grades, 10), 1.0));
        assert_eq!(ndcg(&["c", "x"], &grades, 10), 0.0);
        assert_eq!(ndcg(&[], &grades, 10), 0.0);
        assert_eq!(ndcg(&["a"], &judged(&[]), 10), 0.0);
    }

    #[test]
    fn gains_are_linear_and_discounted_by_the_logarithm_of_the_rank() {
        // by hand: (1 + 2 / log2 3) / (2 + 1 / log2 3)
        let grades = judged(&[("a", 2), ("b", 1)]);
        let expected = (1.0 + 2.0 / 3f64.log2()) / (2.0 + 1.0 / 3f64.log2());
        assert!(close(ndcg(&["b", "a"], &grades, 10), expected));
        // below the cut nothing counts, and the ideal ends there, too
        assert!(close(ndcg(&["a", "b"], &grades, 1), 1.0));
        assert!(close(ndcg(&["b", "a"], &grades, 1), 0.5));
    }

    #[test]
    fn recall_counts_relevant_ones_alone() {
        let grades = judged(&[("a", 1), ("b", 1), ("c", 3), ("d", 1), ("e", 0)]);
        assert!(close(recall(&["e", "a", "c", "x"], &grades, 4), 0.5));
        assert!(close(recall(&["e", "a", "c", "x"], &grades, 2), 0.25));
        assert_eq!(recall(&["a"], &judged(&[("a", 0)]), 5), 0.0);
    }

    #[test]
    fn the_first_relevant_one_makes_the_reciprocal_rank() {
        let grades = judged(&[("a", 1), ("b", 1)]);
        assert!(close(reciprocal_rank(&["x", "y", "a", "b"], &grades, 10), 1.0 / 3.0));
        assert_eq!(reciprocal_rank(&["x", "y", "a"], &grades, 2), 0.0);
    }

    #[test]
    fn questions_without_a_relevant_document_do_not_count() {
        let (one, none) = (judged(&[("a", 1)]), judged(&[("a", 0)]));
        let ranking = ["a"];
        let quality = Quality::of([(&ranking[..], &one), (&ranking[..], &none)]);
        assert_eq!(quality.ndcg, 1.0);
        assert_eq!(quality.recall_50, 1.0);
        assert_eq!(Quality::of::<&str>([]), Quality::default());
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(times);
        assert!(close(latency.p50_ms, 50.0) && close(latency.p95_ms, 95.0));
        assert!(close(latency.p99_ms, 99.0));
        assert_eq!(Latency::of(vec![Duration::from_millis(7)]).p99_ms, 7.0);
        assert_eq!(Latency::of(Vec::new()), Latency::default());
    }

    proptest! {
        #[test]
        fn everything_stays_between_nothing_and_one(
            ranking in proptest::collection::vec(0u8..40, 0..30),
            grades in proptest::collection::hash_map(0u8..40, 0u32..4, 0..20),
            k in 1usize..60,
        ) {
            let mut ranking = ranking;
            ranking.sort_unstable();
            ranking.dedup();
            for value in [
                ndcg(&ranking, &grades, k),
                recall(&ranking, &grades, k),
                reciprocal_rank(&ranking, &grades, k),
            ] {
                prop_assert!((0.0..=1.0 + 1e-9).contains(&value), "{value}");
            }
        }
    }
}
