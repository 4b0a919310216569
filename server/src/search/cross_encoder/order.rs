//! What a cross-encoder is given of a note, and what its scores do to the ranking.

use crate::search::highlight::Words;
use crate::store::search::Candidate;

/// A note without vectors is read from its beginning up to so many characters; of a longer one the
/// sentences that share words with the question are read.
const READ_WHOLE: usize = 1_000;

/// What is read of a candidate: the passage that is nearest to the question.
pub(crate) fn text(candidate: &Candidate, wanted: &Words) -> String {
    let content = &candidate.memory.content;
    if let Some(passage) = candidate.passage.clone().and_then(|range| content.get(range))
        && !passage.trim().is_empty()
    {
        return passage.to_owned();
    }
    if content.chars().nth(READ_WHOLE).is_none() {
        return content.clone();
    }
    let shown = wanted.highlight(content, None);
    shown.into_iter().map(|h| h.text).collect::<Vec<_>>().join(" ")
}

/// Brings the first of `ranked`, as many as there are numbers in `relevance`, into the order of
/// these, highest first and equal ones as they were. Scores stay where they are and notes move: the
/// best note gets the best score. So they stay sorted and on the scale that `minScore` is compared
/// with, and what was not read stays behind what was.
pub(crate) fn reorder<T>(ranked: Vec<(T, f64)>, relevance: &[f32]) -> Vec<(T, f64)> {
    let (mut notes, scores): (Vec<T>, Vec<f64>) = ranked.into_iter().unzip();
    let behind = notes.split_off(relevance.len().min(notes.len()));
    let mut read: Vec<(T, f32)> = notes.into_iter().zip(relevance.iter().copied()).collect();
    read.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    read.into_iter().map(|(note, _)| note).chain(behind).zip(scores).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ids::{MemoryId, OrgId, UserId};
    use crate::store::memory::Memory;
    use chrono::Utc;
    use proptest::prelude::*;
    use std::ops::Range;

    fn candidate(content: &str, passage: Option<Range<usize>>) -> Candidate {
        let memory = Memory {
            id: MemoryId::generate(),
            org_id: OrgId::generate(),
            space_id: None,
            author_user_id: UserId::generate(),
            visibility: "ORG".into(),
            content: content.into(),
            tags: Vec::new(),
            source_url: None,
            created_at: Utc::now(),
            updated_at: Utc::now(),
            written_by_user_id: None,
        };
        Candidate { memory, passage }
    }

    fn read(content: &str, passage: Option<Range<usize>>, question: &str) -> String {
        text(&candidate(content, passage), &Words::of(question))
    }

    #[test]
    fn the_nearest_passage_is_read_and_not_the_notes_beginning() {
        let content = "Attendance was taken. The alarm code is 4711.";
        assert_eq!(read(content, Some(22..45), "alarm"), "The alarm code is 4711.");
        // a passage of what the note said before: better its beginning than nothing
        assert_eq!(read("Größe", Some(0..3), "alarm"), "Größe");
        assert_eq!(read("Short.", Some(20..30), "alarm"), "Short.");
        assert_eq!(read("Short.", Some(3..3), "alarm"), "Short.");
    }

    #[test]
    fn without_vectors_a_long_note_is_read_where_it_shares_words_with_the_question() {
        assert_eq!(read("Nothing to see.", None, "alarm"), "Nothing to see.");
        let long = format!("{}The alarm code is 4711.", "Nobody objected. ".repeat(200));
        assert_eq!(read(&long, None, "alarm"), "The alarm code is 4711.");
    }

    #[test]
    fn notes_move_and_scores_stay() {
        let ranked = vec![("a", 1.0), ("b", 0.8), ("c", 0.5), ("behind", 0.4)];
        let reordered = reorder(ranked, &[0.1, 0.9, 0.5]);
        assert_eq!(reordered, [("b", 1.0), ("c", 0.8), ("a", 0.5), ("behind", 0.4)]);
        // equal ones as they were
        assert_eq!(reorder(vec![("a", 1.0), ("b", 1.0)], &[2.0, 2.0]), [("a", 1.0), ("b", 1.0)]);
        assert_eq!(reorder(Vec::<((), f64)>::new(), &[]), []);
    }

    proptest! {
        #[test]
        fn it_is_a_permutation_of_the_read_ones_and_scores_stay_sorted(
            mut scores in proptest::collection::vec(0.0f64..=1.0, 0..40),
            relevance in proptest::collection::vec(-20.0f32..20.0, 0..25),
        ) {
            scores.sort_by(|a, b| b.total_cmp(a));
            let ranked: Vec<(usize, f64)> = scores.iter().copied().enumerate().collect();
            let count = relevance.len().min(scores.len());
            let reordered = reorder(ranked.clone(), &relevance);
            let given: Vec<f64> = reordered.iter().map(|(_, score)| *score).collect();
            prop_assert_eq!(&given, &scores);
            let mut places: Vec<usize> = reordered.iter().map(|(place, _)| *place).collect();
            prop_assert!(
                places[..count].is_sorted_by(|a, b| relevance[*a] > relevance[*b]
                    || (relevance[*a] == relevance[*b] && a < b))
            );
            prop_assert_eq!(&reordered[count..], &ranked[count..]);
            places.sort_unstable();
            prop_assert_eq!(places, (0..scores.len()).collect::<Vec<_>>());
        }
    }
}
