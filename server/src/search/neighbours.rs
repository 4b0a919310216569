//! What candidates say about each other: notes that say alike answer the same questions.

use super::embedder::Dense;

/// So many of the candidates that are nearest to one have a say in how near it is to the question.
const NEIGHBOURS: usize = 6;
/// A neighbour's say is its similarity to this power, where a candidate's own is 1: what is only
/// half as near has a sixteenth.
const SHARPNESS: i32 = 4;

/// How near candidates are to each other.
pub(super) struct Neighbours {
    /// Cosine similarities, row by row; 0 where one of the two has no vector.
    similarities: Vec<f32>,
    known: Vec<bool>,
}

impl Neighbours {
    /// Among candidates with these vectors.
    pub(super) fn among(vectors: &[Option<&Dense>]) -> Self {
        let count = vectors.len();
        let mut similarities = vec![0.0; count * count];
        for (i, a) in vectors.iter().enumerate() {
            let Some(a) = a else { continue };
            // with itself, too: of two equal vectors neither is to be nearer to a third than the other
            for (j, b) in vectors.iter().enumerate().skip(i) {
                let Some(b) = b else { continue };
                let cosine = a.dot(b);
                similarities[i * count + j] = cosine;
                similarities[j * count + i] = cosine;
            }
        }
        Self { similarities, known: vectors.iter().map(Option::is_some).collect() }
    }

    /// How near others are to the `i`th; `None` without its vector.
    fn to(&self, i: usize) -> Option<&[f32]> {
        let count = self.known.len();
        self.known[i].then(|| &self.similarities[i * count..(i + 1) * count])
    }

    /// Each value averaged with those of the candidate's nearest neighbours that have one, the
    /// nearer the more; a candidate without a value gets none.
    pub(super) fn smoothed(&self, values: &[Option<f64>]) -> Vec<Option<f64>> {
        let smooth = |(i, value): (usize, &Option<f64>)| {
            let own = (*value)?;
            let Some(similarities) = self.to(i) else { return Some(own) };
            let mut others: Vec<(f32, f64)> = similarities
                .iter()
                .zip(values)
                .enumerate()
                .filter(|(j, (similarity, _))| *j != i && **similarity > 0.0)
                .filter_map(|(_, (similarity, value))| Some((*similarity, (*value)?)))
                .collect();
            if others.len() > NEIGHBOURS {
                others.select_nth_unstable_by(NEIGHBOURS, |(a, _), (b, _)| b.total_cmp(a));
                others.truncate(NEIGHBOURS);
            }
            let (weights, sum) = others.iter().fold((1.0, own), |(weights, sum), (near, value)| {
                let weight = f64::from(near.min(1.0).powi(SHARPNESS));
                (weights + weight, sum + weight * value)
            });
            Some(sum / weights)
        };
        values.iter().enumerate().map(smooth).collect()
    }

    /// How near each is to those of `best`, on average; `None` where that is unknown.
    pub(super) fn near(&self, best: &[usize]) -> Vec<Option<f64>> {
        let best: Vec<usize> = best.iter().copied().filter(|i| self.known[*i]).collect();
        let average = |i| {
            let similarities = self.to(i).filter(|_| !best.is_empty())?;
            let sum: f64 = best.iter().map(|j| f64::from(similarities[*j])).sum();
            Some(sum / best.len() as f64)
        };
        (0..self.known.len()).map(average).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::embedder::DIMENSIONS;
    use proptest::prelude::*;

    /// A direction between the first two axes, in degrees.
    fn at(degrees: f32) -> Dense {
        let mut components = vec![0.0; DIMENSIONS];
        (components[1], components[0]) = degrees.to_radians().sin_cos();
        Dense::normalised(components).expect("a direction")
    }

    #[test]
    fn a_candidate_among_good_ones_gains_and_a_stray_one_keeps_what_it_has() {
        let vectors = [at(0.0), at(5.0), at(10.0), at(100.0)];
        let vectors: Vec<_> = vectors.iter().map(Some).collect();
        let smoothed =
            Neighbours::among(&vectors).smoothed(&[Some(1.0), Some(0.2), Some(1.0), Some(0.6)]);
        assert!(smoothed[1].expect("a value") > 0.7, "{smoothed:?}");
        assert_eq!(smoothed[3], Some(0.6), "nobody is near to it");
    }

    #[test]
    fn of_two_that_differ_each_keeps_its_place() {
        let vectors = [at(0.0), at(70.0)];
        let vectors: Vec<_> = vectors.iter().map(Some).collect();
        let smoothed = Neighbours::among(&vectors).smoothed(&[Some(1.0), Some(0.0)]);
        assert!(smoothed[0] > Some(0.98) && smoothed[1] < Some(0.02), "{smoothed:?}");
    }

    #[test]
    fn only_the_nearest_have_a_say() {
        let mut vectors = vec![at(0.0)];
        vectors.extend((0..NEIGHBOURS).map(|_| at(1.0)));
        vectors.extend((0..50).map(|_| at(20.0)));
        let mut values = vec![Some(1.0); 1 + NEIGHBOURS];
        values.extend(vec![Some(0.0); 50]);
        let vectors: Vec<_> = vectors.iter().map(Some).collect();
        assert_eq!(Neighbours::among(&vectors).smoothed(&values)[0], Some(1.0));
    }

    #[test]
    fn without_vectors_nothing_is_said() {
        let neighbours = Neighbours::among(&[None, None]);
        assert_eq!(neighbours.smoothed(&[Some(0.3), None]), [Some(0.3), None]);
        assert_eq!(neighbours.near(&[0]), [None, None]);
    }

    #[test]
    fn who_is_near_to_the_best_is_known_of_those_with_vectors() {
        let vectors = [at(0.0), at(60.0), at(90.0)];
        let neighbours =
            Neighbours::among(&[Some(&vectors[0]), Some(&vectors[1]), None, Some(&vectors[2])]);
        let near = neighbours.near(&[0, 2]);
        let expected = [Some(1.0), Some(0.5), None, Some(0.0)];
        for (near, expected) in near.iter().zip(expected) {
            assert_eq!(near.is_some(), expected.is_some());
            let difference = near.unwrap_or_default() - expected.unwrap_or_default();
            assert!(difference.abs() < 1e-6, "{near:?} instead of {expected:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_smoothed_stays_between_the_least_and_the_greatest(
            angles in proptest::collection::vec(0.0f32..360.0, 1..40),
            values in proptest::collection::vec(proptest::option::of(0.0f64..1.0), 40)
        ) {
            let vectors: Vec<Dense> = angles.iter().map(|a| at(*a)).collect();
            let vectors: Vec<_> = vectors.iter().map(Some).collect();
            let values = &values[..vectors.len()];
            let smoothed = Neighbours::among(&vectors).smoothed(values);
            let known = values.iter().flatten();
            let least = known.clone().copied().fold(1.0, f64::min);
            let greatest = known.copied().fold(0.0, f64::max);
            for (smoothed, value) in smoothed.iter().zip(values) {
                prop_assert_eq!(smoothed.is_some(), value.is_some());
                if let Some(smoothed) = smoothed {
                    prop_assert!((least - 1e-9..=greatest + 1e-9).contains(smoothed));
                }
            }
        }
    }
}
