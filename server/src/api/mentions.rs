//! Who a message mentions: `@claude` (contract B3).

/// Most mentions of a message that are listed; further ones are plain text.
pub const MAX_MENTIONS: usize = 50;

/// Longest slug that can be mentioned or post as an agent, in characters.
pub const MAX_AGENT_SLUG: usize = 64;

/// Whether this may be an agent's slug: lowercase letters and digits, and after the first one also
/// dashes and underscores.
pub fn is_slug(text: &str) -> bool {
    text.len() <= MAX_AGENT_SLUG
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The slugs that a text mentions, in lower case, each once, in the order of their first mention.
///
/// A mention is `@` and a slug, not preceded by a letter, a digit or an underscore (so the domain of
/// an e-mail address is none) and not followed by a letter or a digit beyond ASCII.
pub fn mentions(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (at, _) in text.match_indices('@') {
        if found.len() >= MAX_MENTIONS {
            break;
        }
        if text[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &text[at + 1..];
        let part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let length = rest.bytes().take_while(|b| part(*b)).count();
        if rest[length..].chars().next().is_some_and(is_word) {
            continue;
        }
        let slug = rest[..length].to_ascii_lowercase();
        if is_slug(&slug) && !found.contains(&slug) {
            found.push(slug);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mentions_are_found_where_people_write_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("hello", &[]),
            ("@claude", &["claude"]),
            ("@claude, please ask @github.", &["claude", "github"]),
            ("(@gpt-4o-mini) \u{201c}@ai\u{201d} @GPT-5!", &["gpt-4o-mini", "ai", "gpt-5"]),
            ("line\n@my_agent\t@4u", &["my_agent", "4u"]),
            ("@claude @Claude @CLAUDE", &["claude"]),
            ("thanks!@claude", &["claude"]),
            ("@@claude", &["claude"]),
        ] {
            assert_eq!(mentions(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_mention_is_none() {
        for text in [
            "ada@example.com",
            "ada_@example.com",
            "\u{e9}@claude",
            "@",
            "@ claude",
            "@-claude",
            "@_claude",
            "@claud\u{e9}",
            "@\u{4f60}\u{597d}",
            "claude",
        ] {
            assert_eq!(mentions(text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(mentions(&format!("@{}", "x".repeat(MAX_AGENT_SLUG))).len(), 1);
        assert!(mentions(&format!("@{}", "x".repeat(MAX_AGENT_SLUG + 1))).is_empty());
    }

    #[test]
    fn there_is_an_end_to_mentions() {
        let text: String = (0..200).map(|n| format!("@a{n} ")).collect();
        let found = mentions(&text);
        assert_eq!(found.len(), MAX_MENTIONS);
        assert_eq!(found[MAX_MENTIONS - 1], "a49");
    }

    proptest! {
        #[test]
        fn whatever_is_found_is_a_slug_that_was_written_and_found_once(
            text in "[@a-zA-Z0-9_ .é-]{0,80}|.{0,80}",
        ) {
            let found = mentions(&text);
            let lower = text.to_lowercase();
            for (i, slug) in found.iter().enumerate() {
                prop_assert!(is_slug(slug), "{slug}");
                let written = format!("@{slug}");
                prop_assert!(lower.contains(&written), "{slug}");
                prop_assert!(!found[..i].contains(slug), "{slug} twice");
            }
        }

        #[test]
        fn a_mention_among_blanks_is_always_found(
            before in "[a-z @.]{0,20}", slug in "[a-z0-9][a-z0-9_-]{0,63}", after in "[ .,!?)].{0,20}",
        ) {
            let text = format!("{before} @{slug}{after}");
            prop_assert!(mentions(&text).contains(&slug), "{text}");
        }
    }
}
