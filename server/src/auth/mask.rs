//! Keeps keys and tokens out of the log.

use super::{invitation, key};
use std::borrow::Cow;

/// How a kind of secret is known.
struct Kind {
    /// How it begins, in any case.
    prefix: &'static str,
    /// Characters after the prefix that may be shown.
    shown: usize,
    /// Fewer characters after the prefix are a word, and no secret.
    least: usize,
}

/// The prefix is enough to know one of these; `least` is 0.
const fn known_by(prefix: &'static str, shown: usize) -> Kind {
    Kind { prefix, shown, least: 0 }
}

/// Secrets that name themselves.
const KINDS: [Kind; 8] = [
    known_by(key::PREFIX, key::DISPLAY_LENGTH - key::PREFIX.len()),
    known_by(invitation::PREFIX, 0),
    // Stripe's; those for live accounts begin as keys do
    known_by("sk_test_", 0),
    known_by("rk_live_", 0),
    known_by("rk_test_", 0),
    known_by("whsec_", 0),
    // keys of earlier products; parts of programs are called so, too
    Kind { prefix: "switchy_", shown: 4, least: 20 },
    Kind { prefix: "bearer ", shown: 0, least: 16 },
];

/// Whether a secret may go on with this: a part that is still percent-encoded belongs to it.
fn goes_on(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'%')
}

/// Where the next secret begins, of which kind it is, and how many bytes follow its prefix.
fn next_secret(text: &str, from: usize) -> Option<(usize, &'static Kind, usize)> {
    let bytes = text.as_bytes();
    (from..bytes.len()).find_map(|at| {
        KINDS.iter().find_map(|kind| {
            let end = at + kind.prefix.len();
            let begins = bytes.get(at..end)?.eq_ignore_ascii_case(kind.prefix.as_bytes());
            let rest = bytes.get(end..).filter(|_| begins)?;
            let length = rest.iter().position(|b| !goes_on(*b)).unwrap_or(rest.len());
            (length >= kind.least).then_some((at, kind, length))
        })
    })
}

/// `text` with the beginnings of secrets alone, if there are any.
fn without_secrets(text: &str) -> Option<String> {
    let mut found = next_secret(text, 0)?;
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    loop {
        let (at, kind, length) = found;
        let secret = at + kind.prefix.len();
        // all of this is ASCII, so nothing is cut in the middle of a character
        out.push_str(&text[done..secret + length.min(kind.shown)]);
        done = secret + length;
        if !text[done..].starts_with('…') {
            out.push('…');
        }
        match next_secret(text, done) {
            Some(next) => found = next,
            None => break,
        }
    }
    out.push_str(&text[done..]);
    Some(out)
}

/// `text` without user and password in its URLs, if there are any.
fn without_users(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, authority) = rest.split_at(at + 3);
        out.push_str(before);
        let ends =
            |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '`' | '<' | '>');
        let end = authority.find(ends).unwrap_or(authority.len());
        match authority[..end].rfind('@') {
            Some(user) => {
                out.push('…');
                rest = &authority[user..];
            }
            None => rest = authority,
        }
    }
    out.push_str(rest);
    (out != text).then_some(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// `text` without its percent-encoding, however often it was encoded; `None` when it is not.
fn decoded(text: &str) -> Option<String> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        out.push(byte);
        // what comes out of one may be a part of the next: %2570 is %70 is p
        while let [.., b'%', high, low] = out[..]
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            out.truncate(out.len() - 3);
            out.push(high * 16 + low);
        }
    }
    (out.len() < text.len()).then(|| String::from_utf8_lossy(&out).into_owned())
}

/// `text` without anything secret in it, if there is something.
fn cleared(text: &str) -> Option<String> {
    let cleared = without_secrets(text);
    let users = without_users(cleared.as_deref().unwrap_or(text));
    users.or(cleared)
}

/// `text` for the log: of whatever looks like a key, a token or a password, also a percent-encoded
/// one, only what may be shown stays. What is masked already stays as it is.
pub fn masked(text: &str) -> Cow<'_, str> {
    let plain = cleared(text);
    // as it came, where its encoding hides nothing
    let hidden = decoded(plain.as_deref().unwrap_or(text)).and_then(|text| cleared(&text));
    match hidden.or(plain) {
        Some(cleared) => Cow::Owned(cleared),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{ApiKey, InvitationToken, KeySecret};
    use proptest::prelude::*;

    #[test]
    fn a_masked_text_shows_no_more_of_a_key_than_the_display_prefix() {
        let key = ApiKey::generate().expect("randomness");
        let text = format!("/a/{0}/{0}?x=sk_live_ab ü", key.expose());
        let shown = key.display_prefix();
        assert_eq!(masked(&text), format!("/a/{shown}…/{shown}…?x=sk_live_ab… ü"));
    }

    #[test]
    fn a_text_without_a_secret_stays_as_it_is_and_is_not_copied() {
        for text in ["/a/b", "", "/a%20b/%", "/sk_liv/inv"] {
            assert!(matches!(masked(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_masked_text_shows_nothing_of_a_token() {
        let secret = KeySecret::derive(b"a");
        let token = InvitationToken::of(&secret, &[7; 32]);
        let path = format!("/api/invitations/{}/accept", token.expose());
        assert_eq!(masked(&path), "/api/invitations/inv_…/accept");
    }

    #[test]
    fn percent_encoding_hides_nothing() {
        for (text, shown) in [
            ("/x/inv%5FAbc/y", "/x/inv_…/y"),
            ("/x/%69nv_A%62c?a=b&c=%0A", "/x/inv_…?a=b&c=\n"),
            ("/sk%5Flive%5Fabcdefg", "/sk_live_abcd…"),
            // as often as you like
            ("/sk%255Flive%255fabcdefg", "/sk_live_abcd…"),
            ("/x/%2525252569nv_Abc", "/x/inv_…"),
            // as it came, where there is nothing to hide
            ("/x/%C3%BC%0A+", "/x/%C3%BC%0A+"),
            ("100 %", "100 %"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn secrets_of_every_kind_are_masked_and_words_are_not() {
        for (text, shown) in [
            ("SK_LIVE_abcdefg", "SK_LIVE_abcd…"),
            ("sk_live_abc%64efgh/x", "sk_live_abc%…/x"),
            ("sk_test_abc rk_live_x,whsec_y", "sk_test_… rk_live_…,whsec_…"),
            ("switchy_0123456789abcdefghijkl", "switchy_0123…"),
            ("permission denied for role switchy_app", "permission denied for role switchy_app"),
            ("Authorization: Bearer 0123456789abcdef", "Authorization: Bearer …"),
            ("Bearer is what it wants", "Bearer is what it wants"),
            ("at postgres://ada:a:b@c@h/d and http://h/@", "at postgres://…@h/d and http://h/@"),
            ("smtps%3A%2F%2Fada%3Asecret%40h", "smtps://…@h"),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(shown), shown, "twice is once");
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_token_survives_wherever_it_is_and_however_encoded(
            before in "[a-z/%+&=]{0,6}", after in "[/%+&=?]{0,3}",
            encode in proptest::collection::vec(0..4usize, 47),
        ) {
            let secret = KeySecret::derive(b"a");
            let token = InvitationToken::of(&secret, &[7; 32]);
            let hidden: String = token
                .expose()
                .bytes()
                .zip(encode)
                .map(|(b, times)| match times {
                    0 => char::from(b).into(),
                    times => format!("%{}{b:02x}", "25".repeat(times - 1)),
                })
                .collect();
            let text = format!("{before}{hidden}{after}");
            let shown = masked(&text);
            for part in token.expose().as_bytes()[4..].windows(6) {
                let part = std::str::from_utf8(part).expect("ASCII");
                prop_assert!(!shown.contains(part), "{} of {}", part, shown);
            }
        }
    }
}
