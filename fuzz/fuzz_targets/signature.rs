//! Stripe's signatures: no header is accepted that does not hold the one that fits, and the one
//! that fits is, whatever stands beside it.
#![no_main]

#[path = "../../server/src/billing/stripe/signature.rs"]
mod signature;

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use sha2::Sha256;
use signature::{Signature, SignatureError};

const SECRET: &str = "whsec_fuzz";
const NOW: i64 = 1_800_000_000;

fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(format!("{NOW}.").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn verify(
    header: &str,
    body: &[u8],
    secret: &SecretString,
    now: DateTime<Utc>,
) -> Result<(), SignatureError> {
    Signature::parse(Some(header))?.verify(body, secret, now)
}

fuzz_target!(|input: (&str, &[u8])| {
    let (header, body) = input;
    let secret = SecretString::from(SECRET);
    let now = DateTime::from_timestamp(NOW, 0).expect("a moment");
    let good = sign(body);
    if verify(header, body, &secret, now).is_ok() {
        assert!(header.to_ascii_lowercase().contains(&good), "forged");
    }
    assert!(verify(&format!("t={NOW},v1={good}"), body, &secret, now).is_ok());
    // of another body, of another time
    let other = sign(&[body, b"x"].concat());
    assert!(verify(&format!("t={NOW},v1={other}"), body, &secret, now).is_err());
    assert!(verify(&format!("t={},v1={good}", NOW - 1), body, &secret, now).is_err());
});
