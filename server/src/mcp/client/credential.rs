//! How a server is shown that we may call it.

use crate::store::mcp_servers::McpAuthType;
use http::{HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

/// Longest secret, in characters.
pub const MAX_SECRET: usize = 4_096;

/// A header that goes with every request. Its value is never shown.
#[derive(Clone)]
pub struct Credential(Option<(HeaderName, HeaderValue)>);

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Headers that belong to HTTP or to MCP, beside those that begin with one of [`RESERVED`].
const TAKEN: [&str; 14] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// See [`TAKEN`].
const RESERVED: [&str; 4] = ["content-", "mcp-", "proxy-", "sec-"];

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn value(text: &str) -> Result<HeaderValue, &'static str> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "must be visible ASCII characters")?;
    value.set_sensitive(true);
    Ok(value)
}

impl Credential {
    /// None.
    pub fn none() -> Self {
        Credential(None)
    }

    /// From a secret as it was registered; otherwise what is wrong with it, without the secret:
    /// the words complete a sentence that begins with its name.
    pub fn parse(kind: McpAuthType, secret: &SecretString) -> Result<Self, &'static str> {
        let secret = secret.expose_secret();
        match kind {
            McpAuthType::None => Ok(Self::none()),
            McpAuthType::Bearer => {
                if !is_visible(secret) {
                    return Err("must be visible ASCII characters, without blanks");
                }
                Ok(Credential(Some((header::AUTHORIZATION, value(&format!("Bearer {secret}"))?))))
            }
            McpAuthType::ApiKey => {
                let (name, key) =
                    secret.split_once(':').ok_or("must have the form HeaderName:value")?;
                // as in HTTP, blanks around the value are not part of it
                let key = key.trim_matches([' ', '\t']);
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| "must begin with the name of a header, followed by a colon")?;
                let taken = TAKEN.contains(&name.as_str())
                    || RESERVED.iter().any(|prefix| name.as_str().starts_with(prefix));
                if taken {
                    return Err(
                        "names a header that is not for keys; for Authorization, use BEARER",
                    );
                }
                if !is_visible(key) {
                    return Err("must have visible ASCII characters after the colon");
                }
                Ok(Credential(Some((name, value(key)?))))
            }
        }
    }

    /// The header, if there is one.
    pub fn header(&self) -> Option<(&HeaderName, &HeaderValue)> {
        self.0.as_ref().map(|(name, value)| (name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: McpAuthType, secret: &str) -> Result<String, &'static str> {
        let credential = Credential::parse(kind, &secret.into())?;
        let (name, value) = credential.header().expect("a header");
        assert!(value.is_sensitive());
        assert!(!format!("{credential:?}{value:?}").contains(secret));
        Ok(format!("{name}: {}", value.to_str().expect("text")))
    }

    #[test]
    fn a_secret_becomes_the_header_that_its_type_says() {
        assert_eq!(parse(McpAuthType::Bearer, "abc"), Ok("authorization: Bearer abc".into()));
        assert_eq!(parse(McpAuthType::ApiKey, "X-Api-Key:abc"), Ok("x-api-key: abc".into()));
        assert_eq!(parse(McpAuthType::ApiKey, "X-Api-Key: a:b "), Ok("x-api-key: a:b".into()));
        let none = Credential::parse(McpAuthType::None, &"".into()).expect("none");
        assert!(none.header().is_none());
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for secret in ["", "a b", "a\nb", "ä", "a\u{0}", "a\r\nX-Other: 1", " a"] {
            assert!(parse(McpAuthType::Bearer, secret).is_err(), "{secret:?}");
        }
        for secret in [
            "",
            "abc",
            ":abc",
            "X-Api-Key:",
            "X-Api-Key: ",
            "X Api Key:abc",
            "X-Api-Key :abc",
            "X-Äpi:abc",
            "X-Api-Key:a b",
            "X-Api-Key:a\r\nHost: evil",
            "X-Api-Key:ä",
            "Host:a",
            "HOST:a",
            "Content-Length:0",
            "content-type:a",
            "Transfer-Encoding:chunked",
            "Connection:close",
            "Proxy-Authorization:a",
            "Authorization:a",
            "Mcp-Session-Id:a",
            "Upgrade:a",
            "TE:a",
            "Cookie:a=b",
        ] {
            assert!(parse(McpAuthType::ApiKey, secret).is_err(), "{secret:?}");
        }
    }
}
