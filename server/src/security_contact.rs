//! Whom to tell of a hole in this server (RFC 9116).

use crate::mail::is_address;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use std::str::FromStr;
use url::Url;

/// Where the page is, on every server that has a contact.
pub const PATH: &str = "/.well-known/security.txt";

/// How long the page may be believed: it is made anew for everybody who asks.
const VALID: TimeDelta = TimeDelta::days(90);

/// How a contact can be reached.
const SCHEMES: [&str; 3] = ["https", "mailto", "tel"];

/// Whom to tell of a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityContact(Url);

impl FromStr for SecurityContact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let url = match is_address(text) {
            true => Url::parse(&format!("mailto:{text}")),
            false => Url::parse(text),
        };
        url.ok().filter(|url| SCHEMES.contains(&url.scheme())).map(SecurityContact).ok_or_else(
            || {
                "expected an e-mail address, or a URL that begins with https:, mailto: or tel:"
                    .into()
            },
        )
    }
}

impl SecurityContact {
    /// The page. `here` is where it is read; only what came over HTTPS can be told from a copy.
    pub fn page(&self, here: &str, now: DateTime<Utc>) -> String {
        let expires = (now + VALID).to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut page = format!("Contact: {}\nExpires: {expires}\n", self.0);
        if here.starts_with("https://") {
            page.push_str(&format!("Canonical: {here}\n"));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_an_address_or_a_url() {
        for (text, contact) in [
            (" security@example.com ", "mailto:security@example.com"),
            ("mailto:a@example.com", "mailto:a@example.com"),
            ("https://example.com/report a\n", "https://example.com/report%20a"),
            ("tel:+1-201-555-0123", "tel:+1-201-555-0123"),
        ] {
            let page = text.parse::<SecurityContact>().expect(text).page("", DateTime::UNIX_EPOCH);
            assert_eq!(page, format!("Contact: {contact}\nExpires: 1970-04-01T00:00:00Z\n"));
        }
        for text in ["", "security", "http://example.com", "javascript:alert(1)", "a b@c"] {
            text.parse::<SecurityContact>().expect_err(text);
        }
    }

    #[test]
    fn only_a_page_over_https_says_where_it_belongs() {
        let contact: SecurityContact = "a@example.com".parse().expect("a contact");
        let page = |here: &str| contact.page(here, DateTime::UNIX_EPOCH);
        assert!(!page("http://a.example/x").contains("Canonical"));
        assert!(page("https://a.example/x").ends_with("Canonical: https://a.example/x\n"));
    }
}
