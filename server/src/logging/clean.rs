//! Makes a text safe to read: in a terminal, in a file, and for whoever may see it.

use crate::auth::masked;

/// Longest text of a line, in characters; more is cut off.
pub const MAX_VALUE: usize = 1_000;

/// How much of a text is looked at, in bytes: what is longer is cut before it is cleaned.
const MAX_READ: usize = 4 * MAX_VALUE;

/// Whether a character does something instead of being seen: it drives a terminal, ends a line,
/// turns the direction of what follows, or hides.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// `text` for a log: without secrets, with visible escapes for what cannot be seen or would do
/// something, and not longer than [`MAX_VALUE`].
pub fn clean(text: &str) -> String {
    let read = &text[..text.floor_char_boundary(MAX_READ)];
    let masked = masked(read);
    let mut out = String::with_capacity(masked.len().min(MAX_VALUE));
    let mut length = 0;
    for c in masked.chars() {
        if length >= MAX_VALUE {
            break;
        }
        let before = out.len();
        match c {
            '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            c if acts(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        // an escape is ASCII, anything else is one character
        length += if acts(c) { out.len() - before } else { 1 };
    }
    if length >= MAX_VALUE || read.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_acts_is_shown_and_what_can_be_seen_stays() {
        for (text, shown) in [
            ("Grüße, 世界 👋", "Grüße, 世界 👋"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{1b}[31mred\u{7f}\u{9b}2J", "\\u{1b}[31mred\\u{7f}\\u{9b}2J"),
            ("user\u{202e}nimda\u{2069}", "user\\u{202e}nimda\\u{2069}"),
            ("a\u{2028}b\u{200b}c\u{feff}", "a\\u{2028}b\\u{200b}c\\u{feff}"),
            ("sk_live_abcdefgh\n", "sk_live_abcd…\\n"),
            ("/sk%255Flive%255Fabcdefgh%250A", "/sk_live_abcd…\\n"),
        ] {
            assert_eq!(clean(text), shown);
        }
    }

    #[test]
    fn a_text_has_a_longest_length_and_shows_that_it_was_cut() {
        let shown = clean(&"ü".repeat(100_000));
        assert_eq!(shown, format!("{}…", "ü".repeat(MAX_VALUE)));
        assert!(clean(&"\u{1b}".repeat(100_000)).len() < MAX_VALUE + 20);
    }

    proptest! {
        #[test]
        fn nothing_acts_in_a_text_that_was_cleaned(text in ".{0,80}", c in any::<char>()) {
            let shown = clean(&format!("{text}{c}{text}"));
            prop_assert!(!shown.chars().any(acts), "{shown:?}");
        }
    }
}
