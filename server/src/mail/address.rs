//! What an e-mail address looks like.

use lettre::Address;

/// Longest e-mail address, in characters (RFC 5321).
pub const MAX_ADDRESS: usize = 254;

/// Whether this can be an e-mail address; whether it is one, only sending to it would tell.
///
/// Stricter than RFC 5321 on purpose: no quoted local parts, in which spaces and line ends could
/// hide. A domain needs no dot: `owner@localhost` is one.
pub fn is_address(text: &str) -> bool {
    let plain = |c: char| !(c.is_whitespace() || c.is_control() || "\"\\(),:;<>".contains(c));
    text.chars().count() <= MAX_ADDRESS
        && text.len() <= MAX_ADDRESS
        && text.matches('@').count() == 1
        && text.chars().all(plain)
        && text.parse::<Address>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_told_from_what_is_none() {
        for address in [
            "ada@example.com",
            "Ada.Lovelace+switchy@sub.example.co.uk",
            "owner@localhost",
            "o'brien@example.com",
            "ü@example.com",
            "ada@exämple.com",
        ] {
            assert!(is_address(address), "{address}");
        }
        let long = format!("{}@example.com", "a".repeat(243));
        for text in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@@example.com",
            "ada@b@example.com",
            "ada @example.com",
            "ada@exam ple.com",
            "ada@example.com\r\nRCPT TO:<eve@example.com>",
            "\"a\\r\\nb\"@example.com",
            "\"ada lovelace\"@example.com",
            "Ada <ada@example.com>",
            "ada@example.com,eve@example.com",
            "ada@-example.com",
            "ada@example..com",
            ".ada@example.com",
            "ada\u{0}@example.com",
            "ada\u{2028}@example.com",
            &long,
        ] {
            assert!(!is_address(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_address_ends_a_line_or_is_in_brackets(text in "\\PC{0,20}@\\PC{0,20}|.{0,40}") {
            if is_address(&text) {
                prop_assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace()));
                prop_assert!(!text.contains(['<', '>', '"', ',']));
            }
        }
    }
}
