//! The sentences of a note that show why it was found.
//!
//! Where to look is known already: the passage that is nearest to the question. Inside it, the
//! sentences that share words with the question are shown, rare words counting for more; where none
//! does, the meaning alone was near, and the passage's beginning stands for it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Most sentences that are shown of a note.
pub const MAX_HIGHLIGHTS: usize = 3;
/// Longest of them, in characters: of a longer sentence the part around the words is shown.
pub const MAX_LENGTH: usize = 300;
/// A sentence is shown beside the best one when it is worth at least this share of it.
const WORTH: f64 = 0.5;
/// Words agree when their beginnings do, in so many characters at least: `deploys`, `deployed`.
const STEM: usize = 4;
/// Longest ending that may differ.
const ENDING: usize = 3;

/// A part of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Highlight {
    /// What it says.
    pub text: String,
    /// Where it begins, in Unicode scalar values from the note's beginning.
    pub start: usize,
    /// Where it ends, exclusive.
    pub end: usize,
}

/// What the question's words are, for looking at several notes.
pub(super) struct Words(Vec<String>);

/// The words of a text with their places, in bytes. A character of a script without spaces between
/// words is one by itself.
fn words(text: &str) -> impl Iterator<Item = (Range<usize>, String)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        let from = rest.find(char::is_alphanumeric)? + at;
        let mut end = text.len();
        for (i, c) in text[from..].char_indices() {
            if !c.is_alphanumeric() && c != '_' || (i > 0 && is_ideograph(c)) {
                end = from + i;
                break;
            }
            if is_ideograph(c) {
                end = from + i + c.len_utf8();
                break;
            }
        }
        at = end;
        Some((from..end, text[from..end].to_lowercase()))
    })
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// Whether two words in lower case are forms of one.
fn agree(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    // most words differ from the beginning on, and a question of 20 asks this for every word shown
    if a.as_bytes().first() != b.as_bytes().first() {
        return false;
    }
    let common = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let longer = a.chars().count().max(b.chars().count());
    common >= STEM && longer - common <= ENDING && a.chars().all(char::is_alphabetic)
}

/// The sentences of `text[range]`, without the white space around them.
fn sentences(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let part = &text[range.clone()];
    let mut found = Vec::new();
    let mut start = 0;
    let mut push = |from: usize, to: usize| {
        let piece = &part[from..to];
        let trimmed = piece.trim_start();
        let from = from + piece.len() - trimmed.len();
        let to = from + trimmed.trim_end().len();
        if from < to {
            found.push(range.start + from..range.start + to);
        }
    };
    let mut chars = part.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let after = i + c.len_utf8();
        let ends = match c {
            '\n' | '\r' | '。' | '！' | '？' => true,
            '.' | '!' | '?' | '…' => chars.peek().is_none_or(|(_, next)| next.is_whitespace()),
            _ => false,
        };
        if ends {
            push(start, after);
            start = after;
        }
    }
    push(start, part.len());
    found
}

/// The nearest place at or below `at` that is between two characters.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A sentence, how much it shares with the question, and the first place where it does.
struct Scored {
    range: Range<usize>,
    worth: f64,
    first: Option<usize>,
}

impl Words {
    /// Of this question.
    pub(super) fn of(question: &str) -> Self {
        let mut seen = HashSet::new();
        Words(words(question).map(|(_, w)| w).filter(|w| seen.insert(w.clone())).collect())
    }

    /// The best sentences of `content`, in its order, from the passage that is nearest to the
    /// question (in bytes) or, without one, from anywhere. None only of a blank note.
    pub(super) fn highlight(&self, content: &str, passage: Option<Range<usize>>) -> Vec<Highlight> {
        let whole = 0..content.len();
        let near = passage.map_or(whole.clone(), |p| {
            let start = boundary(content, p.start);
            start..boundary(content, p.end).max(start)
        });
        let mut scored = self.score(content, near.clone());
        if near != whole && scored.iter().all(|s| s.worth == 0.0) {
            // found by a word elsewhere, or by its meaning alone
            let elsewhere = self.score(content, whole);
            if elsewhere.iter().any(|s| s.worth > 0.0) {
                scored = elsewhere;
            }
        }
        let best = scored.iter().map(|s| s.worth).fold(0.0, f64::max);
        let mut shown: Vec<Scored> = match best > 0.0 {
            true => scored.into_iter().filter(|s| s.worth >= WORTH * best).collect(),
            false => scored.into_iter().take(1).collect(),
        };
        // stable: of equally good ones the first
        shown.sort_by(|a, b| b.worth.total_cmp(&a.worth));
        shown.truncate(MAX_HIGHLIGHTS);
        shown.sort_by_key(|s| s.range.start);
        shown.into_iter().map(|s| cut(content, &s)).collect()
    }

    fn score(&self, content: &str, near: Range<usize>) -> Vec<Scored> {
        let sentences = sentences(content, near);
        // which of the question's words are in which sentence
        let mut held: Vec<HashMap<usize, usize>> = Vec::with_capacity(sentences.len());
        let mut holders = vec![0u32; self.0.len()];
        for range in &sentences {
            let mut here = HashMap::new();
            for (place, word) in words(&content[range.clone()]) {
                let asked = self.0.iter().position(|asked| agree(asked, &word));
                if let Some(asked) = asked {
                    here.entry(asked).or_insert(range.start + place.start);
                }
            }
            here.keys().for_each(|asked| holders[*asked] += 1);
            held.push(here);
        }
        let count = sentences.len() as f64;
        sentences
            .into_iter()
            .zip(held)
            .map(|(range, here)| Scored {
                // longer words say more, and so do words that few sentences have
                worth: here
                    .keys()
                    .map(|asked| {
                        let length = self.0[*asked].chars().count().min(12) as f64;
                        length * (1.0 + count / f64::from(holders[*asked])).ln()
                    })
                    .sum(),
                first: here.into_values().min(),
                range,
            })
            .collect()
    }
}

/// The sentence, or of a long one the part around the first word that matters.
fn cut(content: &str, sentence: &Scored) -> Highlight {
    let mut range = sentence.range.clone();
    if content[range.clone()].chars().count() > MAX_LENGTH {
        let first = sentence.first.unwrap_or(range.start);
        // a third before it, at a space where there is one
        let before: usize = content[range.start..first]
            .chars()
            .rev()
            .take(MAX_LENGTH / 3)
            .map(char::len_utf8)
            .sum();
        let mut start = first - before;
        if start > range.start {
            let space = content[start..first].find(char::is_whitespace);
            start = space.map_or(start, |at| start + at);
            start += content[start..first].len() - content[start..first].trim_start().len();
        }
        let length: usize =
            content[start..range.end].chars().take(MAX_LENGTH).map(char::len_utf8).sum();
        let mut end = start + length;
        if end < range.end
            && let Some(at) = content[start..end].rfind(char::is_whitespace)
            && start + at > first
        {
            end = start + content[start..start + at].trim_end().len();
        }
        range = start..end;
    }
    let start = content[..range.start].chars().count();
    let text = content[range].to_owned();
    Highlight { start, end: start + text.chars().count(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(question: &str, content: &str) -> Vec<String> {
        let found = Words::of(question).highlight(content, None);
        found.into_iter().map(|h| h.text).collect()
    }

    #[test]
    fn the_sentence_that_answers_is_shown() {
        let note = "The kitchen is cleaned every evening. Staging deploys happen on Tuesdays.\n\
                    Parking is free on weekends.";
        assert_eq!(
            shown("when do we deploy to staging?", note),
            ["Staging deploys happen on Tuesdays."]
        );
        assert_eq!(shown("parking", note), ["Parking is free on weekends."]);
        assert_eq!(shown("is", note).len(), 2);
    }

    #[test]
    fn without_a_common_word_the_beginning_of_the_passage_stands_for_it() {
        let note = "First things first. Then the rest. And the end.";
        assert_eq!(shown("zebra", note), ["First things first."]);
        let second = note.find("Then").expect("there");
        let found = Words::of("zebra").highlight(note, Some(second..note.len()));
        assert_eq!(found, [Highlight { text: "Then the rest.".into(), start: 20, end: 34 }]);
    }

    #[test]
    fn the_nearest_passage_goes_before_words_elsewhere() {
        let note = "Deploys were slow in May. Nothing else happened. Deploys are on Tuesdays.";
        let near = note.rfind("Deploys").expect("there")..note.len();
        let found = Words::of("deploys").highlight(note, Some(near));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text, "Deploys are on Tuesdays.");
        let found = Words::of("May").highlight(note, Some(26..48));
        assert_eq!(found[0].text, "Deploys were slow in May.");
    }

    #[test]
    fn offsets_count_characters() {
        let note = "Ünïcödé 🦀 first. 数据库备份每天凌晨三点运行。Ende.";
        let found = Words::of("凌晨三点").highlight(note, None);
        assert_eq!(found[0].text, "数据库备份每天凌晨三点运行。");
        let characters: Vec<char> = note.chars().collect();
        let again: String = characters[found[0].start..found[0].end].iter().collect();
        assert_eq!(again, found[0].text);
    }

    #[test]
    fn a_long_sentence_is_cut_around_the_word() {
        let note = format!("{} needle {}", "hay ".repeat(400), "straw ".repeat(400));
        let found = shown("needle", &note);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("needle"), "{found:?}");
        assert!(found[0].chars().count() <= MAX_LENGTH);
        assert!(found[0].starts_with("hay ") && found[0].ends_with("straw"), "{found:?}");
    }

    proptest! {
        #[test]
        fn whatever_the_note_offsets_are_right_and_nothing_panics(
            question in "\\PC{0,40}", content in "(\\PC|[ .\n🦀é备]){0,300}",
            start in 0usize..400, length in 0usize..400,
        ) {
            let characters: Vec<char> = content.chars().collect();
            for passage in [None, Some(start..start + length)] {
                let found = Words::of(&question).highlight(&content, passage);
                prop_assert!(found.len() <= MAX_HIGHLIGHTS);
                for h in found {
                    prop_assert!(h.start < h.end && h.end - h.start <= MAX_LENGTH);
                    let text: String = characters[h.start..h.end].iter().collect();
                    prop_assert_eq!(text, h.text);
                }
            }
        }
    }
}
