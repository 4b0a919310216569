//! Vectors, as an embedder returns and the database stores them.

/// The most sparse terms kept of a query.
pub const QUERY_TERMS: usize = 64;

/// The most sparse terms kept of a note, over all its passages.
pub const NOTE_TERMS: usize = 128;

/// The number of components of every dense vector.
pub const DIMENSIONS: usize = 384;

/// A dense vector: `[f32; DIMENSIONS]`, finite and L2-normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense(Box<[f32; DIMENSIONS]>);

impl Dense {
    /// Scales `components` to length one.
    ///
    /// `None` when there are not [`DIMENSIONS`] of them, or when they have no direction (all zero,
    /// infinite or not a number): a cosine distance to such a vector is undefined.
    pub fn normalised(components: Vec<f32>) -> Option<Self> {
        let mut vector: Box<[f32; DIMENSIONS]> = components.into_boxed_slice().try_into().ok()?;
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if !norm.is_normal() {
            return None;
        }
        vector.iter_mut().for_each(|x| *x /= norm);
        Some(Self(vector))
    }

    /// The components.
    pub fn as_slice(&self) -> &[f32] {
        &self.0[..]
    }

    /// The cosine similarity, `-1.0..=1.0`.
    pub fn dot(&self, other: &Self) -> f32 {
        // sums that do not wait for each other: one after the other takes eight times as long
        const LANES: usize = 8;
        let mut sums = [0.0; LANES];
        let (mine, theirs) = (self.0.as_chunks::<LANES>().0, other.0.as_chunks::<LANES>().0);
        const { assert!(DIMENSIONS.is_multiple_of(LANES)) }
        for (a, b) in mine.iter().zip(theirs) {
            for lane in 0..LANES {
                sums[lane] += a[lane] * b[lane];
            }
        }
        sums.iter().sum()
    }
}

/// Term weights over a model's vocabulary: positive, at most one a term, sorted by term id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sparse(Vec<(u32, f32)>);

impl Sparse {
    /// Takes `(vocabulary id, weight)` pairs in any order.
    ///
    /// Of a repeated id the greater weight stays; weights that are not finite and positive go.
    pub fn new(mut terms: Vec<(u32, f32)>) -> Self {
        terms.retain(|(_, weight)| weight.is_finite() && *weight > 0.0);
        terms.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        terms.dedup_by_key(|(id, _)| *id);
        Self(terms)
    }

    /// The `(vocabulary id, weight)` pairs, sorted by id.
    pub fn terms(&self) -> &[(u32, f32)] {
        &self.0
    }

    /// The sum, over the terms both have, of the products of their weights.
    pub fn dot(&self, other: &Self) -> f32 {
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut sum = 0.0;
        while let (Some((a, x)), Some((b, y))) = (mine.peek(), theirs.peek()) {
            match a.cmp(b) {
                std::cmp::Ordering::Less => drop(mine.next()),
                std::cmp::Ordering::Greater => drop(theirs.next()),
                std::cmp::Ordering::Equal => {
                    sum += x * y;
                    mine.next();
                    theirs.next();
                }
            }
        }
        sum
    }

    /// All terms of both, each with the greater of its two weights.
    #[must_use]
    pub fn max(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        Self::new(self.0)
    }

    /// The `count` terms of the greatest weight.
    #[must_use]
    pub fn top(mut self, count: usize) -> Self {
        if self.0.len() > count {
            // Ties by id, so that the same text keeps the same terms.
            self.0.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            self.0.truncate(count);
            self.0.sort_by_key(|(id, _)| *id);
        }
        self
    }
}

/// The vectors of a search query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryEmbedding {
    /// The sentence vector.
    pub dense: Dense,
    /// The query's heaviest terms, at most [`QUERY_TERMS`]; `None` without a SPLADE model.
    pub sparse: Option<Sparse>,
}

/// A part of a note that has its own vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Where it starts in the note: a byte offset on a character boundary.
    pub start: usize,
    /// Where it ends, exclusive: a byte offset on a character boundary.
    pub end: usize,
    /// The passage's sentence vector.
    pub dense: Dense,
}

/// The vectors of a note.
#[derive(Debug, Clone, PartialEq)]
pub struct NoteEmbedding {
    /// At least one passage, in the order of the text; neighbours overlap.
    pub passages: Vec<Passage>,
    /// The heaviest terms over all passages, at most [`NOTE_TERMS`]; `None` without a
    /// SPLADE model.
    pub sparse: Option<Sparse>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_vectors_have_length_one() {
        let vector = Dense::normalised(vec![3.0; DIMENSIONS]).expect("a direction");
        assert!((vector.dot(&vector) - 1.0).abs() < 1e-5);
        assert_eq!(vector.as_slice().len(), DIMENSIONS);
    }

    #[test]
    fn vectors_without_a_direction_or_of_another_size_are_refused() {
        assert_eq!(Dense::normalised(vec![0.0; DIMENSIONS]), None);
        assert_eq!(Dense::normalised(vec![f32::NAN; DIMENSIONS]), None);
        assert_eq!(Dense::normalised(vec![f32::INFINITY; DIMENSIONS]), None);
        assert_eq!(Dense::normalised(vec![1.0; DIMENSIONS + 1]), None);
    }

    #[test]
    fn sparse_terms_are_sorted_unique_and_positive() {
        let sparse =
            Sparse::new(vec![(9, 1.0), (2, 0.5), (9, 2.0), (4, 0.0), (5, -1.0), (6, f32::NAN)]);
        assert_eq!(sparse.terms(), [(2, 0.5), (9, 2.0)]);
    }

    #[test]
    fn the_dot_product_runs_over_shared_terms_only() {
        let a = Sparse::new(vec![(1, 2.0), (3, 1.0), (8, 4.0)]);
        let b = Sparse::new(vec![(3, 5.0), (4, 9.0), (8, 0.5)]);
        assert_eq!(a.dot(&b), 7.0);
        assert_eq!(b.dot(&a), 7.0);
        assert_eq!(a.dot(&Sparse::default()), 0.0);
    }

    #[test]
    fn merging_keeps_the_greater_weight_and_top_the_heaviest_terms() {
        let merged = Sparse::new(vec![(1, 1.0), (2, 3.0)]).max(Sparse::new(vec![
            (1, 2.0),
            (7, 0.1),
            (5, 2.0),
        ]));
        assert_eq!(merged.terms(), [(1, 2.0), (2, 3.0), (5, 2.0), (7, 0.1)]);
        assert_eq!(merged.clone().top(2).terms(), [(1, 2.0), (2, 3.0)]);
        assert_eq!(merged.clone().top(9), merged);
    }
}
