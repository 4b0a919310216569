//! `X-Client-Version`: clients that are too old are told so (contract D4).

use crate::error::{Error, Result};
use http::HeaderMap;
use semver::Version;

/// 426 when the client says that it is older than `minimum`, 400 when what it says is no version. A
/// client that says nothing is served.
pub fn check_client_version(headers: &HeaderMap, minimum: Option<&Version>) -> Result<()> {
    let mut values = headers.get_all("x-client-version").iter();
    let Some(value) = values.next() else { return Ok(()) };
    let version = value.to_str().ok().and_then(|text| Version::parse(text.trim()).ok());
    match (version, values.next(), minimum) {
        (Some(version), None, Some(minimum)) if version < *minimum => {
            Err(Error::UpgradeRequired { minimum: minimum.clone() })
        }
        (Some(_), None, _) => Ok(()),
        _ => Err(Error::Malformed(
            "the X-Client-Version header must be sent once, as a version like 1.4.0".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(versions: &[&str], minimum: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        for version in versions {
            headers.append("x-client-version", version.parse().expect("a header"));
        }
        let minimum = minimum.map(|version| version.parse().expect("a version"));
        match check_client_version(&headers, minimum.as_ref()) {
            Ok(()) => 200,
            Err(error) => {
                crate::http::failure::row(&error).status(crate::http::Dialect::SaveSession).as_u16()
            }
        }
    }

    #[test]
    fn only_who_says_that_he_is_too_old_is_sent_away() {
        for (versions, minimum, expected) in [
            (&[][..], Some("1.4.0"), 200),
            (&["1.4.0"], Some("1.4.0"), 200),
            (&["1.10.0"], Some("1.9.0"), 200),
            (&["1.3.9"], Some("1.4.0"), 426),
            (&["1.4.0-rc.1"], Some("1.4.0"), 426),
            (&["0.0.1"], None, 200),
            (&["1.4"], None, 400),
            (&["newest"], Some("1.4.0"), 400),
            (&[""], Some("1.4.0"), 400),
            (&["1.4.0", "1.4.0"], Some("1.4.0"), 400),
        ] {
            assert_eq!(outcome(versions, minimum), expected, "{versions:?} {minimum:?}");
        }
    }
}
