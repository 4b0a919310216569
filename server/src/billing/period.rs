//! Months of credits, counted from an anchor.

use chrono::{DateTime, Datelike, Months, Utc};

/// The `n`th month after `anchor`: on the same day, or on the last one of a month that is shorter.
pub fn month(anchor: DateTime<Utc>, n: u32) -> DateTime<Utc> {
    anchor.checked_add_months(Months::new(n)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The number of the month, counted from `anchor`, that `at` lies in; 0 for what was before.
pub fn number(anchor: DateTime<Utc>, at: DateTime<Utc>) -> u32 {
    let months =
        (at.year() - anchor.year()) * 12 + at.month().cast_signed() - anchor.month().cast_signed();
    let candidate = u32::try_from(months).unwrap_or(0);
    // the day of the month, or its time, is yet to come
    if candidate > 0 && month(anchor, candidate) > at { candidate - 1 } else { candidate }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a moment")
    }

    #[test]
    fn the_end_of_a_month_comes_back_after_february() {
        let anchor = at("2026-01-31T10:00:00Z");
        let days: Vec<_> = (0..5).map(|n| month(anchor, n).format("%m-%d").to_string()).collect();
        assert_eq!(days, ["01-31", "02-28", "03-31", "04-30", "05-31"]);
        assert_eq!(number(anchor, at("2026-02-28T09:59:59Z")), 0);
        assert_eq!(number(anchor, at("2026-02-28T10:00:00Z")), 1);
        assert_eq!(number(anchor, at("2028-02-29T10:00:00Z")), 25);
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_the_month_of_its_number(
            anchor in 1_577_836_800i64..1_893_456_000,
            later in 0i64..400_000_000,
        ) {
            let anchor = DateTime::from_timestamp(anchor, 0).expect("a moment");
            let at = anchor + chrono::TimeDelta::seconds(later);
            let n = number(anchor, at);
            prop_assert!(month(anchor, n) <= at);
            prop_assert!(at < month(anchor, n + 1));
        }
    }
}
