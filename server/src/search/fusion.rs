//! From several scores of different scales to one.
//!
//! Each part is brought to `0..=1` over the candidates (min-max), and the parts are averaged.
//! Fusing scores beats fusing ranks: on conversational notes, reciprocal rank fusion loses to BM25
//! alone.

use super::neighbours::Neighbours;

/// What is known of one candidate; `None` where an arm did not find it or has nothing to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// BM25, or the share of the query's pieces that occur.
    pub words: Option<f64>,
    /// Cosine similarity of the nearest passage.
    pub cosine: Option<f64>,
    /// Inner product of the expansions.
    pub expansion: Option<f64>,
}

/// What vectors weigh: a note's own, and what those of its neighbours add. These weights are better
/// than the same for each part on seven collections as different as there were; see
/// docs/performance.md.
const VECTORS: f64 = 4.0;
/// What expansions weigh. They speak of the same as words, of what these come to.
const EXPANSIONS: f64 = 2.0;
/// What words weigh beside expansions, and without any.
const WORDS: [f64; 2] = [1.0, 2.0];
/// What it weighs to be near to the best notes.
const NEAR_THE_BEST: f64 = 1.0;
/// So many are the best.
const BEST: usize = 3;

/// The share of a query's inner product with itself that a note must reach to count in full. Where
/// no note comes near the query, the best of them is still a poor one: scaled up to 1, a stray
/// common word would outvote the vectors.
const FULL_EXPANSION: f64 = 0.7;

/// Differences below this are none.
const EPSILON: f64 = 1e-9;

/// Min-max over the candidates that have a value; when nobody differs, having a positive value is
/// worth 1. What is worth 1 is at least `full`.
fn normalised(
    values: impl Iterator<Item = Option<f64>> + Clone,
    full: f64,
) -> Option<Vec<Option<f64>>> {
    let values = values.map(|value| value.filter(|v| v.is_finite()));
    let known = values.clone().flatten();
    let highest = known.clone().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return None; // this part has nothing to say about anybody
    }
    let lowest = known.fold(f64::INFINITY, f64::min);
    let highest = highest.max(full);
    let scale = |value: f64| {
        if highest - lowest < EPSILON {
            if value > 0.0 { 1.0 } else { 0.0 }
        } else {
            ((value - lowest) / (highest - lowest)).clamp(0.0, 1.0)
        }
    };
    Some(values.map(|value| value.map(scale)).collect())
}

/// A part of the score: what it weighs, and its value for each candidate; `None` where it says
/// nothing about anybody.
type Part = (f64, Option<Vec<Option<f64>>>);

/// The average of what is known of the `i`th candidate.
fn average(parts: &[Part], i: usize) -> f64 {
    let known = parts.iter().filter_map(|(weight, part)| Some((*weight, part.as_ref()?[i]?)));
    let (weights, sum) =
        known.fold((0.0, 0.0), |(w, s), (weight, value)| (w + weight, s + weight * value));
    if weights == 0.0 { 0.0 } else { sum / weights }
}

/// One score a candidate, `0..=1`, in the candidates' order. `query_expansion` is the inner product
/// of the query's expansion with itself, 0 without one; `neighbours` are the candidates'.
///
/// A note without any of the words gets nothing for them. A note without vectors or without an
/// expansion has not been given them yet, which says nothing about it: what is known decides.
pub fn fuse(candidates: &[Parts], query_expansion: f64, neighbours: &Neighbours) -> Vec<f64> {
    let none = f64::NEG_INFINITY;
    let said = candidates.iter().any(|c| c.words.is_some_and(f64::is_finite));
    let words = |c: &Parts| c.words.filter(|v| v.is_finite()).or(said.then_some(0.0));
    let words = normalised(candidates.iter().map(words), none);
    let cosines = normalised(candidates.iter().map(|c| c.cosine), none);
    let expansions =
        normalised(candidates.iter().map(|c| c.expansion), FULL_EXPANSION * query_expansion);
    let mut parts = vec![
        (WORDS[usize::from(expansions.is_none())], words),
        (VECTORS, cosines.map(|cosines| neighbours.smoothed(&cosines))),
        (EXPANSIONS, expansions),
    ];
    let count = candidates.len();
    let so_far: Vec<f64> = (0..count).map(|i| average(&parts, i)).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| so_far[*b].total_cmp(&so_far[*a]));
    order.truncate(BEST);
    parts.push((NEAR_THE_BEST, normalised(neighbours.near(&order).into_iter(), none)));
    // sums of the same numbers in another order must neither leave the range nor decide between two
    (0..count)
        .map(|i| (average(&parts, i) / EPSILON).round() * EPSILON)
        .map(|s| s.min(1.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::embedder::{DIMENSIONS, Dense};
    use proptest::prelude::*;

    /// Of candidates that are strangers to each other.
    fn fuse(candidates: &[Parts], query_expansion: f64) -> Vec<f64> {
        super::fuse(candidates, query_expansion, &Neighbours::among(&vec![None; candidates.len()]))
    }

    /// A vector along one axis and so much along the next.
    fn along(axis: usize, next: f32) -> Dense {
        let mut components = vec![0.0; DIMENSIONS];
        components[axis] = 1.0;
        components[axis + 1] = next;
        Dense::normalised(components).expect("a direction")
    }

    #[test]
    fn of_two_alike_the_one_among_good_notes_comes_first() {
        let vectors = [along(0, 0.0), along(0, 0.0), along(0, 0.4), along(3, 0.0), along(6, 0.0)];
        let vectors: Vec<_> = vectors.iter().map(Some).collect();
        let cosines = [0.9, 0.9, 0.5, 0.5, 0.1];
        let parts = cosines.map(|c| Parts { words: None, cosine: Some(c), expansion: None });
        let scores = super::fuse(&parts, 0.0, &Neighbours::among(&vectors));
        assert_eq!(scores[0], scores[1]);
        assert!(scores[0] > scores[2], "{scores:?}");
        assert!(scores[2] > scores[3] && scores[3] > scores[4], "{scores:?}");
    }

    #[test]
    fn what_both_arms_like_beats_what_one_likes() {
        let scores = fuse(
            &[
                Parts { words: Some(8.0), cosine: Some(0.7), expansion: None },
                Parts { words: Some(8.0), cosine: Some(0.1), expansion: None },
                Parts { words: None, cosine: Some(0.7), expansion: None },
                Parts { words: None, cosine: Some(0.1), expansion: None },
            ],
            0.0,
        );
        for (score, expected) in scores.iter().zip([1.0, 1.0 / 3.0, 2.0 / 3.0, 0.0]) {
            assert!((score - expected).abs() < EPSILON, "{scores:?}");
        }
    }

    #[test]
    fn words_alone_are_enough_and_a_single_hit_is_a_full_one() {
        assert_eq!(fuse(&[Parts { words: Some(0.3), ..Parts::default() }], 0.0), [1.0]);
        assert_eq!(fuse(&[], 0.0), Vec::<f64>::new());
    }

    #[test]
    fn who_has_no_vectors_yet_is_judged_by_words() {
        let scores = fuse(
            &[
                Parts { words: Some(5.0), cosine: None, expansion: None },
                Parts { words: None, cosine: Some(0.6), expansion: Some(4.0) },
                Parts { words: Some(1.0), cosine: Some(0.4), expansion: Some(1.0) },
            ],
            20.0,
        );
        assert_eq!(scores[0], 1.0);
        assert!(scores[0] > scores[1] && scores[1] > scores[2], "{scores:?}");
    }

    #[test]
    fn a_poor_expansion_does_not_outvote_the_vectors() {
        let scores = fuse(
            &[
                Parts { words: None, cosine: Some(0.5), expansion: Some(0.0) },
                Parts { words: None, cosine: Some(0.3), expansion: Some(0.8) },
                Parts { words: None, cosine: Some(0.1), expansion: Some(0.0) },
            ],
            20.0,
        );
        assert!(scores[0] > scores[1], "{scores:?}");
    }

    fn part() -> impl Strategy<Value = Option<f64>> {
        prop_oneof![
            Just(None),
            Just(Some(f64::NAN)),
            (-1e6f64..1e6).prop_map(Some),
            (-1.0f64..1.0).prop_map(Some),
        ]
    }

    proptest! {
        #[test]
        fn scores_stay_within_bounds(
            raw in proptest::collection::vec((part(), part(), part()), 0..50)
        ) {
            let parts: Vec<Parts> = raw
                .into_iter()
                .map(|(words, cosine, expansion)| Parts { words, cosine, expansion })
                .collect();
            let scores = fuse(&parts, 1.0);
            prop_assert_eq!(scores.len(), parts.len());
            prop_assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)));
        }

        #[test]
        fn more_of_one_part_never_lowers_the_rank(
            low in 0.0f64..1.0, more in 0.001f64..1.0, cosine in -1.0f64..1.0
        ) {
            let scores = fuse(&[
                Parts { words: Some(low), cosine: Some(cosine), expansion: None },
                Parts { words: Some(low + more), cosine: Some(cosine), expansion: None },
            ], 0.0);
            prop_assert!(scores[1] >= scores[0]);
        }
    }
}
