//! Whether a webhook comes from Stripe: `Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX…]`, each an
//! HMAC-SHA-256 of `SECONDS.BODY` under the endpoint's secret.

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// How far a signature's time may be from ours, in seconds, either way.
pub const TOLERANCE_SECONDS: i64 = 300;
/// Most signatures in a header: one for each secret that is valid while secrets are changed.
const MAX_SIGNATURES: usize = 16;

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No header, or not of that form.
    #[error("must read `t=SECONDS,v1=HEX`")]
    Malformed,
    /// Made with another secret, or for another body.
    #[error("does not fit this body under the secret of this endpoint")]
    Wrong,
    /// Made too long ago, or ahead of time.
    #[error("is more than 300 seconds from this server's time")]
    Expired,
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

/// A signature's header, taken apart.
pub struct Signature<'a> {
    /// Seconds since 1970, as they are written: they are signed as well.
    time: &'a str,
    seconds: i64,
    /// In hex; one for each secret that is valid.
    signatures: Vec<&'a str>,
}

impl<'a> Signature<'a> {
    /// Reads the header; a body that comes without a readable one need not be looked at.
    pub fn parse(header: Option<&'a str>) -> Result<Self, SignatureError> {
        let mut time = None;
        let mut signatures = Vec::new();
        for part in header.ok_or(SignatureError::Malformed)?.split(',') {
            let (name, value) = part.trim().split_once('=').ok_or(SignatureError::Malformed)?;
            match name {
                "t" if time.is_none() && value.bytes().all(|b| b.is_ascii_digit()) => {
                    time = Some(value);
                }
                "t" => return Err(SignatureError::Malformed),
                "v1" if signatures.len() < MAX_SIGNATURES => signatures.push(value),
                // other schemes are not for us
                _ => {}
            }
        }
        let time = time.ok_or(SignatureError::Malformed)?;
        let seconds: i64 = time.parse().map_err(|_| SignatureError::Malformed)?;
        if signatures.is_empty() {
            return Err(SignatureError::Malformed);
        }
        Ok(Signature { time, seconds, signatures })
    }

    /// Accepts `body`, or says why not. Compares in constant time.
    pub fn verify(
        &self,
        body: &[u8],
        secret: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(), SignatureError> {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
            .map_err(|_| SignatureError::Wrong)?
            .chain_update(self.time)
            .chain_update(b".")
            .chain_update(body);
        let fits = |hex: &&str| from_hex(hex).is_some_and(|s| mac.clone().verify_slice(&s).is_ok());
        if !self.signatures.iter().any(fits) {
            return Err(SignatureError::Wrong);
        }
        // after the signature: a stranger learns nothing about our clock
        if self.seconds.abs_diff(now.timestamp()) > TOLERANCE_SECONDS.unsigned_abs() {
            return Err(SignatureError::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn secret() -> SecretString {
        "whsec_test".into()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("a moment")
    }

    fn sign(secret: &str, seconds: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(seconds.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
    }

    fn verify(
        header: Option<&str>,
        body: &[u8],
        secret: &SecretString,
        now: DateTime<Utc>,
    ) -> Result<(), SignatureError> {
        Signature::parse(header)?.verify(body, secret, now)
    }

    fn check(header: &str) -> Result<(), SignatureError> {
        verify(Some(header), BODY, &secret(), now())
    }

    #[test]
    fn any_of_several_signatures_will_do() {
        let good = sign("whsec_test", "1800000000", BODY);
        let other = sign("whsec_old", "1800000000", BODY);
        assert_eq!(check(&format!("t=1800000000,v1={good}")), Ok(()));
        assert_eq!(check(&format!("t=1800000000,v1={other},v1={good},v0=x")), Ok(()));
        assert_eq!(check(&format!("v1={good}, t=1800000000")), Ok(()));
        assert_eq!(check(&format!("t=1800000000,v1={other}")), Err(SignatureError::Wrong));
        assert_eq!(check(&format!("t=1800000000,v0={good}")), Err(SignatureError::Malformed));
    }

    #[test]
    fn five_minutes_either_way_and_no_second_more() {
        for (seconds, expected) in [
            ("1799999700", Ok(())),
            ("1800000300", Ok(())),
            ("1799999699", Err(SignatureError::Expired)),
            ("1800000301", Err(SignatureError::Expired)),
        ] {
            let good = sign("whsec_test", seconds, BODY);
            assert_eq!(check(&format!("t={seconds},v1={good}")), expected, "{seconds}");
        }
    }

    #[test]
    fn another_body_or_time_is_refused() {
        let good = sign("whsec_test", "1800000000", BODY);
        let header = format!("t=1800000000,v1={good}");
        let other = verify(Some(&header), b"{}", &secret(), now());
        assert_eq!(other, Err(SignatureError::Wrong));
        assert_eq!(check(&format!("t=1800000001,v1={good}")), Err(SignatureError::Wrong));
        assert_eq!(verify(None, BODY, &secret(), now()), Err(SignatureError::Malformed));
    }

    proptest! {
        #[test]
        fn nothing_else_is_accepted(header in "[tv10=,a-f0-9 ]{0,200}|.{0,100}") {
            prop_assert!(check(&header).is_err());
        }
    }
}
