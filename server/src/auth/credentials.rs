//! The key in a request's headers.

use super::ApiKey;
use crate::error::{Error, Result};
use http::{HeaderMap, header};

const FOREIGN: &str = "this is not an API key: it is mistyped, truncated or foreign";

/// The key that a request carries; why there is none otherwise. `second` is another header that may
/// carry it: a bearer token goes before it, a proxy's own kind of `Authorization` does not.
pub fn presented_key(headers: &HeaderMap, second: Option<&str>) -> Result<ApiKey> {
    let bearer = bearer(headers);
    let second = second.filter(|_| bearer.is_err()).and_then(|name| headers.get(name));
    match second.map(|value| value.to_str().unwrap_or_default()) {
        Some(key) => ApiKey::parse(key.trim()).map_err(|_| Error::Unauthenticated(FOREIGN.into())),
        None => bearer,
    }
}

/// The key in `Authorization`.
fn bearer(headers: &HeaderMap) -> Result<ApiKey> {
    let refused = |message: &'static str| Error::Unauthenticated(message.into());
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| refused("send an API key as `Authorization: Bearer sk_live_…`"))?;
    let text = value.to_str().unwrap_or_default();
    let (scheme, key) = text.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused("the Authorization header must read `Bearer sk_live_…`"));
    }
    ApiKey::parse(key.trim()).map_err(|_| refused(FOREIGN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn key() -> ApiKey {
        ApiKey::generate().expect("randomness")
    }

    fn headers(list: &[(&'static str, String)]) -> HeaderMap {
        let value = |text: &String| HeaderValue::from_bytes(text.as_bytes()).expect("a value");
        list.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
    }

    fn refused(result: Result<ApiKey>) -> String {
        match result {
            Err(Error::Unauthenticated(message)) => message.into_owned(),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn a_key_is_a_bearer_token_and_who_sends_another_is_told_what_is_wrong() {
        let key = key();
        let key = key.expose();
        for text in [format!("Bearer {key}"), format!("bEARER   {key} ")] {
            let headers = headers(&[("authorization", text)]);
            assert_eq!(bearer(&headers).expect("a key").expose(), key);
        }
        assert!(refused(bearer(&HeaderMap::new())).starts_with("send an API key"));
        for text in [key.to_owned(), "Bearer".to_owned(), format!("Basic {key}"), "ü".to_owned()] {
            let headers = headers(&[("authorization", text)]);
            assert!(refused(bearer(&headers)).contains("must read `Bearer"), "{headers:?}");
        }
        for text in [format!("Bearer {key}0"), "Bearer ".to_owned(), format!("Bearer {key} {key}")]
        {
            assert_eq!(refused(bearer(&headers(&[("authorization", text)]))), FOREIGN);
        }
    }

    #[test]
    fn a_bearer_token_goes_before_a_second_header() {
        let (first, second) = (key(), key());
        let bearer = ("authorization", format!("Bearer {}", first.expose()));
        let basic = ("authorization", "Basic cHJveHk6cHJveHk=".to_owned());
        let other = ("x-api-key", format!(" {} ", second.expose()));
        let wrong = ("x-api-key", "sk_live_x".to_owned());
        let presented = |header, list: &[(&'static str, String)]| {
            presented_key(&headers(list), header)
                .map(|key| key.expose().to_owned())
                .map_err(|error| error.to_string())
        };
        for header in [None, Some("x-api-key")] {
            let with_both = presented(header, &[bearer.clone(), other.clone()]);
            assert_eq!(with_both.as_deref(), Ok(first.expose()), "{header:?}");
            let without = presented(header, &[]);
            assert!(without.is_err_and(|message| message.starts_with("send an API key")));
            for list in [vec![other.clone()], vec![basic.clone(), other.clone()]] {
                let second_alone = presented(header, &list);
                if header.is_some() {
                    assert_eq!(second_alone.as_deref(), Ok(second.expose()));
                } else {
                    assert!(second_alone.is_err_and(|message| message != FOREIGN), "{header:?}");
                }
            }
        }
        let foreign = presented(Some("x-api-key"), &[wrong]);
        assert_eq!(foreign, Err(FOREIGN.to_owned()));
    }
}
