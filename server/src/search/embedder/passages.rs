//! How a long note is cut into passages that the model can read whole.
//!
//! The model reads a fixed number of word pieces and ignores the rest, so a longer text is cut
//! into overlapping passages, each with its own vector. Cuts prefer the end of a paragraph, then of
//! a line, a sentence, a word.

use std::ops::Range;

/// The most passages a note is cut into.
///
/// At MiniLM's limits this covers 16,256 word pieces. A note of 10,000 characters has about 2,500
/// of them in English and up to 10,000 in Chinese or emoji; only scripts that the tokenizer takes
/// apart below the character (Hangul: up to three pieces a syllable) can have more, and then the
/// end of the note is left to the lexical search. A run of more than 100 characters without a space
/// is a single unknown piece to this tokenizer: there is nothing in it to cut.
pub const MAX_PASSAGES: usize = 64;

/// Sizes in word pieces, without the two special ones that every sequence begins and ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// The most a model reads: a text (or what remains of one) of this size is not cut.
    pub(super) readable: usize,
    /// The size of a passage of a text that has to be cut. Below `readable`, because the first word
    /// of a passage can be tokenized differently from its middle, and because focused vectors
    /// match better.
    pub(super) passage: usize,
    /// How much of a passage is repeated at the beginning of the next one.
    pub(super) overlap: usize,
}

impl Limits {
    /// The limits for all-MiniLM-L6-v2, trained on sequences of 256 word pieces.
    pub(super) const MINILM: Self = Self { readable: 254, passage: 200, overlap: 32 };

    /// The fewest word pieces that a model must read for passages to make sense.
    const FEWEST: usize = 32;

    /// The limits for a model that reads `readable` word pieces, in [`Limits::MINILM`]'s
    /// proportions; `None` when that is too few.
    pub(super) fn for_reading(readable: usize) -> Option<Self> {
        let share = |of: usize| of * readable / Self::MINILM.readable;
        (readable >= Self::FEWEST).then(|| Self {
            readable,
            passage: share(Self::MINILM.passage),
            overlap: share(Self::MINILM.overlap),
        })
    }
}

/// How good a place is to cut at, from worst to best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Boundary {
    Piece,
    Word,
    Sentence,
    Line,
    Paragraph,
}

/// Cuts `text` into at least one and at most [`MAX_PASSAGES`] byte ranges on character boundaries.
///
/// `pieces` are the byte ranges of the text's word pieces, in order. Together the passages hold
/// every piece, unless there are more than `MAX_PASSAGES * limits.readable`.
pub(super) fn cut(text: &str, pieces: &[(usize, usize)], limits: Limits) -> Vec<Range<usize>> {
    if pieces.len() <= limits.readable {
        let whole = 0..text.len();
        return vec![whole];
    }
    let text = Tokenized { text, pieces };
    // A quarter of the passage to look for a good end in; the overlap may shrink by half for a good
    // beginning. Where that needs too many passages, fixed sizes; then fixed sizes without overlap.
    let careful = Plan {
        shortest: limits.passage - limits.passage / 4,
        longest: limits.passage,
        overlap: limits.overlap / 2..limits.overlap,
    };
    let fixed = Plan {
        shortest: limits.passage,
        longest: limits.passage,
        overlap: limits.overlap..limits.overlap,
    };
    let disjoint = Plan { shortest: limits.readable, longest: limits.readable, overlap: 0..0 };
    let mut cuts = Vec::new();
    for plan in [careful, fixed, disjoint] {
        cuts = text.cut(&plan, limits.readable);
        if cuts.len() <= MAX_PASSAGES {
            break;
        }
    }
    cuts.truncate(MAX_PASSAGES);
    cuts.into_iter().map(|pieces| text.range(pieces)).collect()
}

/// How to walk through a text, in word pieces.
struct Plan {
    shortest: usize,
    longest: usize,
    overlap: Range<usize>,
}

/// A text and the byte ranges of its word pieces.
struct Tokenized<'a> {
    text: &'a str,
    pieces: &'a [(usize, usize)],
}

impl Tokenized<'_> {
    /// The passages as ranges of pieces.
    fn cut(&self, plan: &Plan, readable: usize) -> Vec<Range<usize>> {
        let count = self.pieces.len();
        let mut passages = Vec::new();
        let (mut start, mut covered) = (0, 0);
        // What remains is not cut when it can be read whole: no stub at the end.
        while count - start > readable {
            let (earliest, latest) = (start + plan.shortest, start + plan.longest);
            let possible = |at: &usize| self.boundary(*at).is_some();
            let end = self
                .best(earliest..latest, Tie::Last)
                .or_else(|| (covered + 1..earliest).rev().find(possible))
                .or_else(|| (latest + 1..count).find(possible));
            let Some(end) = end else { break };
            passages.push(start..end);
            covered = end;
            start = self
                .best(
                    end.saturating_sub(plan.overlap.end)..end - plan.overlap.start.min(end),
                    Tie::First,
                )
                .filter(|&next| next > start)
                .unwrap_or(end);
        }
        passages.push(start..count);
        passages
    }

    /// The best place to cut in front of a piece of `range`, both ends included.
    fn best(&self, range: Range<usize>, tie: Tie) -> Option<usize> {
        let mut best: Option<(Boundary, usize)> = None;
        for at in range.start..=range.end {
            let Some(boundary) = self.boundary(at) else { continue };
            let better = best.is_none_or(|(so_far, _)| match tie {
                Tie::First => boundary > so_far,
                Tie::Last => boundary >= so_far,
            });
            if better {
                best = Some((boundary, at));
            }
        }
        best.map(|(_, at)| at)
    }

    /// What a cut in front of piece `at` would separate; `None` where there can be no cut: at the
    /// ends of the text, inside a character, between pieces that share one.
    fn boundary(&self, at: usize) -> Option<Boundary> {
        if at == 0 || at >= self.pieces.len() {
            return None;
        }
        let (before, after) = (self.pieces[at - 1].1, self.pieces[at].0);
        if before > after || self.pieces[at - 1].0 >= after {
            return None;
        }
        let (head, gap) = (self.text.get(..before)?, self.text.get(before..after)?);
        Some(match gap.matches('\n').count() {
            0 if ends_sentence(head, gap) => Boundary::Sentence,
            0 if gap.is_empty() => Boundary::Piece,
            0 => Boundary::Word,
            1 => Boundary::Line,
            _ => Boundary::Paragraph,
        })
    }

    /// The bytes of some pieces, with what stands between them and the next piece (characters that
    /// the tokenizer drops), without the white space around.
    fn range(&self, pieces: Range<usize>) -> Range<usize> {
        let edge = |at: usize| match at {
            0 => 0,
            at => self.pieces.get(at).map_or(self.text.len(), |piece| piece.0),
        };
        let (start, end) = (edge(pieces.start), edge(pieces.end));
        // Pieces begin on character boundaries wherever a cut was allowed.
        let Some(passage) = self.text.get(start..end) else { return start..end };
        let leading = passage.len() - passage.trim_start().len();
        start + leading..start + passage.trim_end().len().max(leading)
    }
}

/// Which of several equally good places to take.
#[derive(Clone, Copy)]
enum Tie {
    First,
    Last,
}

/// Whether `head`, followed by `gap`, ends with a sentence, perhaps inside quotes or brackets.
fn ends_sentence(head: &str, gap: &str) -> bool {
    const CLOSING: [char; 10] = ['"', '\'', '”', '’', ')', ']', '»', '」', '』', '）'];
    match head.trim_end_matches(CLOSING).chars().next_back() {
        Some('.' | '!' | '?' | '…') => !gap.is_empty(),
        Some('。' | '！' | '？' | '｡' | '।' | '؟') => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Limits = Limits { readable: 25, passage: 20, overlap: 4 };

    /// One piece a word and one a punctuation mark, as BERT's pre-tokenizer cuts.
    fn words(text: &str) -> Vec<(usize, usize)> {
        let mut pieces: Vec<(usize, usize)> = Vec::new();
        let mut in_word = false;
        for (at, c) in text.char_indices() {
            let end = at + c.len_utf8();
            match pieces.last_mut() {
                Some(last) if c.is_alphanumeric() && in_word => last.1 = end,
                _ if !c.is_whitespace() && !c.is_control() => pieces.push((at, end)),
                _ => {}
            }
            in_word = c.is_alphanumeric();
        }
        pieces
    }

    /// `times` pieces a character, as byte-level and decomposing tokenizers cut.
    fn characters(text: &str, times: usize) -> Vec<(usize, usize)> {
        text.char_indices()
            .filter(|(_, c)| !c.is_whitespace())
            .flat_map(|(at, c)| std::iter::repeat_n((at, at + c.len_utf8()), times))
            .collect()
    }

    /// One passage, all of the text.
    fn whole(text: &str) -> Vec<Range<usize>> {
        let range = 0..text.len();
        vec![range]
    }

    fn pieces_in(pieces: &[(usize, usize)], passage: &Range<usize>) -> usize {
        pieces.iter().filter(|(from, to)| passage.start <= *from && *to <= passage.end).count()
    }

    /// The rules that hold for every text.
    fn check(text: &str, pieces: &[(usize, usize)], limits: Limits) -> Vec<Range<usize>> {
        let passages = cut(text, pieces, limits);
        assert!((1..=MAX_PASSAGES).contains(&passages.len()), "{} passages", passages.len());
        for passage in &passages {
            assert!(text.get(passage.clone()).is_some(), "{passage:?} splits a character");
        }
        for pair in passages.windows(2) {
            assert!(pair[0].start < pair[1].start, "{pair:?} out of order");
            assert!(pair[0].end < pair[1].end, "{pair:?} adds nothing");
        }
        for piece in pieces {
            assert!(
                passages.iter().any(|p| p.start <= piece.0 && piece.1 <= p.end),
                "{piece:?} is in no passage",
            );
        }
        for passage in &passages {
            assert!(pieces_in(pieces, passage) <= limits.readable, "{passage:?} is too long");
        }
        passages
    }

    fn assert_overlap(passages: &[Range<usize>], pieces: &[(usize, usize)], limits: Limits) {
        for pair in passages.windows(2) {
            let shared = pieces_in(pieces, &(pair[1].start..pair[0].end));
            assert!(
                (limits.overlap / 2..=limits.overlap).contains(&shared),
                "{shared} pieces shared by {pair:?}",
            );
        }
    }

    #[test]
    fn limits_scale_with_what_a_model_reads() {
        assert_eq!(Limits::for_reading(254), Some(Limits::MINILM));
        assert_eq!(
            Limits::for_reading(127),
            Some(Limits { readable: 127, passage: 100, overlap: 16 })
        );
        assert_eq!(Limits::for_reading(31), None);
    }

    #[test]
    fn empty_and_blank_texts_are_one_passage() {
        for text in ["", " ", "\n\n\t "] {
            assert_eq!(cut(text, &[], SMALL), whole(text));
        }
    }

    #[test]
    fn a_text_the_model_can_read_whole_is_one_passage() {
        let text = format!(" {} ", ["word"; 25].join(" "));
        assert_eq!(cut(&text, &words(&text), SMALL), whole(&text));
    }

    #[test]
    fn one_piece_more_makes_two_overlapping_passages() {
        let text = ["word"; 26].join(" ");
        let passages = check(&text, &words(&text), SMALL);
        assert_eq!(passages.len(), 2);
        assert_overlap(&passages, &words(&text), SMALL);
    }

    #[test]
    fn cuts_prefer_paragraphs_to_lines_to_sentences_to_words() {
        // Four candidates for the first cut, which has to fall after 15 to 20 pieces.
        let start = ["w"; 14].join(" ");
        let rest = ["r"; 30].join(" ");
        for (text, end) in [
            (format!("{start} p\n\nl\ns. w {rest}"), "p"),
            (format!("{start} a l\ns. w {rest}"), "l"),
            (format!("{start} a “s.” w {rest}"), "”"),
            (format!("{start} a。b {rest}"), "。"),
            (format!("{start} 3.1 {rest}"), "r"),
        ] {
            let passages = check(&text, &words(&text), SMALL);
            assert!(text[passages[0].clone()].ends_with(end), "{:?}", &text[passages[0].clone()]);
        }
    }

    #[test]
    fn passages_have_no_white_space_around() {
        let text = ["one two three. \n\n "; 40].concat();
        for passage in check(&text, &words(&text), SMALL) {
            assert_eq!(text[passage.clone()].trim(), &text[passage]);
        }
    }

    #[test]
    fn ten_thousand_characters_of_any_script_are_covered() {
        let scripts = [
            ("The quick brown fox jumps over the lazy dog. ", 1),
            ("敏捷的棕色狐狸跳过懒狗。", 1),
            ("🦊👩‍👩‍👧‍👦", 1),
            ("x", 1),
            ("\u{e9}e\u{301} ", 2),
            ("a\n\n", 1),
        ];
        for (sample, times) in scripts {
            let text: String = sample.chars().cycle().take(10_000).collect();
            let pieces = characters(&text, times);
            check(&text, &pieces, Limits::MINILM);
        }
        let chinese = "汉".repeat(10_000);
        let pieces = characters(&chinese, 1);
        assert_overlap(&check(&chinese, &pieces, Limits::MINILM), &pieces, Limits::MINILM);
    }

    #[test]
    fn more_than_the_most_passages_drops_the_end() {
        let hangul = "뷁".repeat(10_000);
        let passages = cut(&hangul, &characters(&hangul, 3), Limits::MINILM);
        assert_eq!(passages.len(), MAX_PASSAGES);
        assert!(passages[MAX_PASSAGES - 1].end < hangul.len());
    }

    #[test]
    fn pieces_that_share_a_character_are_never_parted() {
        let text = "뷁".repeat(400);
        check(&text, &characters(&text, 3), SMALL);
        // A single character of more pieces than a passage holds: nowhere to cut.
        assert_eq!(cut("뷁", &characters("뷁", 90), SMALL), whole("뷁"));
    }

    proptest! {
        #[test]
        fn any_text_cut_at_words_is_covered_in_order(text in "(\\PC|[ \n.a-z]){0,1200}") {
            let pieces = words(&text);
            check(&text, &pieces, SMALL);
        }

        #[test]
        fn any_text_cut_at_characters_is_covered_in_order(
            text in "(\\PC|[ \n.a-z]){0,400}",
            times in 1_usize..4,
        ) {
            let pieces = characters(&text, times);
            check(&text, &pieces, SMALL);
        }

        #[test]
        // At most 1,500 pieces: below what MAX_PASSAGES of SMALL can hold.
        fn neighbours_overlap(count in 26_usize..750, sentence in 1_usize..40) {
            let text: String = (1..=count)
                .map(|n| if n % sentence == 0 { "word.\n" } else { "word " })
                .collect();
            let pieces = words(&text);
            let passages = check(&text, &pieces, SMALL);
            if passages.len() < MAX_PASSAGES / 2 {
                assert_overlap(&passages, &pieces, SMALL);
            }
        }

        #[test]
        fn nonsense_offsets_never_panic(
            text in "\\PC{0,80}",
            pieces in prop::collection::vec((0_usize..200, 0_usize..200), 0..120),
        ) {
            let passages = cut(&text, &pieces, SMALL);
            prop_assert!(!passages.is_empty());
        }
    }
}
