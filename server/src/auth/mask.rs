//! Keeps keys and tokens out of the log.

use super::{invitation, key};
use std::borrow::Cow;

/// How secrets begin, and how many characters of one may be shown.
const SECRETS: [(&str, usize); 2] =
    [(key::PREFIX, key::DISPLAY_LENGTH), (invitation::PREFIX, invitation::PREFIX.len())];

fn holds_secret(text: &str) -> bool {
    SECRETS.iter().any(|(prefix, _)| text.contains(prefix))
}

/// `text` without its percent-encoding, when that hides a secret. Nothing stays in it that would
/// break a line of the log.
fn unhidden(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    // the pairs of a query are not told apart here: `=` and `&` are characters as others
    let escaped = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let decoded: String = form_urlencoded::parse(escaped.as_bytes())
        .flat_map(|(name, _)| name.chars().collect::<Vec<_>>())
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    holds_secret(&decoded).then_some(decoded)
}

/// `text` for the log: of whatever looks like a key or the token of an invitation, also a
/// percent-encoded one, only what may be shown stays.
pub fn masked(text: &str) -> Cow<'_, str> {
    let mut out = match unhidden(text) {
        Some(decoded) => decoded,
        None if holds_secret(text) => text.to_owned(),
        None => return Cow::Borrowed(text),
    };
    for (prefix, shown) in SECRETS {
        out = masked_after(&out, prefix, shown - prefix.len());
    }
    Cow::Owned(out)
}

fn masked_after(text: &str, prefix: &str, shown: usize) -> String {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        let (secret, rest) = part.split_at(end);
        out.push_str(prefix);
        out.push_str(&secret[..secret.len().min(shown)]);
        out.push('…');
        out.push_str(rest);
    }
    out
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
            ("/x/%69nv_A%62c?a=b&c=%0A", "/x/inv_…?a=b&c=\u{fffd}"),
            ("/sk%5Flive%5Fabcdefg", "/sk_live_abcd…"),
            // as it came, where there is nothing to hide
            ("/x/%C3%BC%0A+", "/x/%C3%BC%0A+"),
            ("100 %", "100 %"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_token_survives_wherever_it_is_and_however_encoded(
            before in "[a-z/%+&=]{0,6}", after in "[/%+&=?]{0,3}",
            encode in proptest::collection::vec(any::<bool>(), 47),
        ) {
            let secret = KeySecret::derive(b"a");
            let token = InvitationToken::of(&secret, &[7; 32]);
            let hidden: String = token
                .expose()
                .bytes()
                .zip(encode)
                .map(|(b, encode)| if encode { format!("%{b:02x}") } else { char::from(b).into() })
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
