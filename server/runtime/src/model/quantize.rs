//! Eight-bit weights: a row of floats becomes a row of integers and one scale.
//!
//! The scheme is symmetric: zero stays zero exactly, so no zero point is stored, and the range is
//! `-127..=127`, so that a weight and its negative lose the same. A row of a BERT `Linear` layer is
//! one output, so one scale a row is what inference libraries call per-channel quantisation.

/// The largest magnitude an eight-bit weight takes.
const LIMIT: f32 = 127.0;

/// A matrix of eight-bit weights with one scale a row: `value ≈ integer * scale`, off by half a
/// scale at the most.
#[derive(Debug, PartialEq)]
pub(super) struct QuantizedMatrix {
    columns: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
}

impl QuantizedMatrix {
    /// Quantises a matrix of `columns` columns, given row by row; all `values` are finite.
    pub(super) fn from_rows(columns: usize, values: impl Iterator<Item = f32>) -> Self {
        let mut matrix = Self { columns, values: Vec::new(), scales: Vec::new() };
        let mut row = Vec::with_capacity(columns);
        for value in values {
            row.push(value);
            if row.len() == columns {
                matrix.push_row(&row);
                row.clear();
            }
        }
        matrix
    }

    fn push_row(&mut self, row: &[f32]) {
        let scale = scale_of(row);
        self.values.extend(row.iter().map(|value| quantize(*value, scale)));
        self.scales.push(scale);
    }

    /// The same rows, at most `rows` at a time.
    pub(super) fn chunks(&self, rows: usize) -> impl Iterator<Item = Self> {
        let Self { columns, values, scales } = self;
        let columns = *columns;
        values.chunks(rows * columns).zip(scales.chunks(rows)).map(move |(values, scales)| Self {
            columns,
            values: values.to_vec(),
            scales: scales.to_vec(),
        })
    }

    /// The number of rows, and of scales.
    pub(super) fn rows(&self) -> usize {
        self.scales.len()
    }

    /// The length of a row.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// The integers, row by row.
    pub(super) fn values(&self) -> &[i8] {
        &self.values
    }

    /// The integers, column by column: the matrix transposed.
    pub(super) fn transposed_values(&self) -> Vec<i8> {
        let mut transposed = Vec::with_capacity(self.values.len());
        for column in 0..self.columns {
            transposed.extend(self.values.iter().skip(column).step_by(self.columns));
        }
        transposed
    }

    /// The scale of each row.
    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
    }
}

fn scale_of(row: &[f32]) -> f32 {
    let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / LIMIT;
    // A scale so small that it has lost digits would turn noise into full-size weights; such a row
    // is all zeros for any practical purpose, and any scale stands for zeros.
    if scale < f32::MIN_POSITIVE { 1.0 } else { scale }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of an i8 just before")]
fn quantize(value: f32, scale: f32) -> i8 {
    // Ties to even, the rounding of every tensor library, has no bias away from zero.
    (value / scale).round_ties_even().clamp(-LIMIT, LIMIT) as i8
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_comes_back_within_half_a_scale(
            row in vec(-1e6_f32..1e6, 1..64),
            exponent in -30_i32..30,
        ) {
            let row: Vec<f32> = row.iter().map(|value| value * 2.0_f32.powi(exponent)).collect();
            let matrix = QuantizedMatrix::from_rows(row.len(), row.iter().copied());
            let scale = f64::from(matrix.scales()[0]);
            for (value, integer) in row.iter().zip(matrix.values()) {
                let error = (f64::from(*value) - f64::from(*integer) * scale).abs();
                // Half a scale, and a little for the division's own rounding.
                prop_assert!(error <= scale * 0.500_02, "{value} came back off by {error}");
            }
        }

        #[test]
        fn negating_a_row_negates_its_integers(row in vec(-10.0_f32..10.0, 1..64)) {
            let matrix = QuantizedMatrix::from_rows(row.len(), row.iter().copied());
            let negated = QuantizedMatrix::from_rows(row.len(), row.iter().map(|value| -value));
            prop_assert_eq!(matrix.scales(), negated.scales());
            let integers: Vec<i8> = negated.values().iter().map(|value| -value).collect();
            prop_assert_eq!(matrix.values(), &integers[..]);
        }
    }

    #[test]
    fn each_row_has_its_own_scale_and_reaches_the_limit() {
        let matrix = QuantizedMatrix::from_rows(2, [1.0, -2.0, 50.0, 127.0].into_iter());
        assert_eq!(matrix.rows(), 2);
        assert_eq!(matrix.scales(), [2.0 / 127.0, 1.0]);
        assert_eq!(matrix.values(), [64, -127, 50, 127]);
    }

    #[test]
    fn zeros_and_values_too_small_for_a_scale_become_zeros() {
        let tiny = f32::MIN_POSITIVE / 2.0;
        let matrix = QuantizedMatrix::from_rows(2, [0.0, -0.0, tiny, -tiny].into_iter());
        assert_eq!(matrix.scales(), [1.0, 1.0]);
        assert_eq!(matrix.values(), [0, 0, 0, 0]);
    }

    #[test]
    fn chunks_are_whole_rows_in_order_and_the_last_one_what_remains() {
        let matrix = QuantizedMatrix::from_rows(2, (1..=10_u8).map(f32::from));
        let chunks: Vec<_> = matrix.chunks(2).collect();
        assert_eq!(chunks.iter().map(QuantizedMatrix::rows).collect::<Vec<_>>(), [2, 2, 1]);
        let values: Vec<i8> = chunks.iter().flat_map(|chunk| chunk.values().to_vec()).collect();
        assert_eq!(values, matrix.values());
        let scales: Vec<f32> = chunks.iter().flat_map(|chunk| chunk.scales().to_vec()).collect();
        assert_eq!(scales, matrix.scales());
        assert!(chunks.iter().all(|chunk| chunk.columns() == 2));
    }

    #[test]
    fn transposing_lists_the_columns() {
        let matrix = QuantizedMatrix::from_rows(3, [1.0, 2.0, 127.0, 4.0, 5.0, 127.0].into_iter());
        assert_eq!(matrix.transposed_values(), [1, 4, 2, 5, 127, 127]);
    }
}
