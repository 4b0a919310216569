//! API keys (contract E4): `sk_live_`, 43 characters of randomness, 6 of checksum.

use hmac::{Hmac, Mac};
use rand::TryRngCore;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

/// What every key begins with.
pub const PREFIX: &str = "sk_live_";
/// 32 random bytes in base 62.
pub const RANDOM_DIGITS: usize = 43;
/// CRC-32 of all that comes before, in base 62.
pub const CHECKSUM_DIGITS: usize = 6;
/// Characters of a whole key.
pub const KEY_LENGTH: usize = PREFIX.len() + RANDOM_DIGITS + CHECKSUM_DIGITS;
/// How much of a key may be shown again: the prefix and four characters.
pub const DISPLAY_LENGTH: usize = PREFIX.len() + 4;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key in clear: shown once, never stored, never logged.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}…)", self.display_prefix())
    }
}

/// The text is not a key that this software ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: mistyped or truncated")]
pub struct NotAKey;

/// Digits of a number, most significant first, padded to `width`.
pub(super) fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![BASE62[0]; width];
    for place in digits.iter_mut().rev() {
        // long division by 62; the remainder is the next digit
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *place = BASE62[remainder as usize];
    }
    digits.into_iter().map(char::from).collect()
}

fn checksum(text: &str) -> String {
    base62(&crc32fast::hash(text.as_bytes()).to_be_bytes(), CHECKSUM_DIGITS)
}

impl ApiKey {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Result<Self, rand::rand_core::OsError> {
        let mut random = [0u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut random)?;
        let body = format!("{PREFIX}{}", base62(&random, RANDOM_DIGITS));
        let checksum = checksum(&body);
        Ok(ApiKey(format!("{body}{checksum}").into()))
    }

    /// Checks form and checksum, which costs no look-up.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let well_formed = text.len() == KEY_LENGTH
            && text.starts_with(PREFIX)
            && text[PREFIX.len()..].bytes().all(|b| b.is_ascii_alphanumeric());
        if !well_formed {
            return Err(NotAKey);
        }
        let (body, sum) = text.split_at(KEY_LENGTH - CHECKSUM_DIGITS);
        if checksum(body) == sum { Ok(ApiKey(text.to_owned().into())) } else { Err(NotAKey) }
    }

    /// The key itself: for the one answer that shows it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What may be shown later, to tell keys apart.
    pub fn display_prefix(&self) -> &str {
        &self.expose()[..DISPLAY_LENGTH]
    }
}

/// The server's secret, under which keys are digested.
pub struct KeySecret(SecretBox<[u8; 32]>);

impl std::fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeySecret(…)")
    }
}

/// Separates this use of the operator's secret from every other.
const DERIVATION: &[u8] = b"switchy api key digest v1";
/// What is digested to tell whether two servers have the same secret.
const CHECK: &[u8] = b"switchy api key secret check v1";

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    mac_of_parts(key, [message])
}

fn mac_of_parts<const N: usize>(key: &[u8], parts: [&[u8]; N]) -> [u8; 32] {
    // HMAC takes a key of any length
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(impossible) => unreachable!("{impossible}"),
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl KeySecret {
    /// From whatever the operator or the database keeps.
    pub fn derive(material: &[u8]) -> Self {
        KeySecret(SecretBox::new(Box::new(mac(material, DERIVATION))))
    }

    /// What is stored of a key.
    pub fn digest(&self, key: &ApiKey) -> [u8; 32] {
        mac(self.0.expose_secret(), key.expose().as_bytes())
    }

    /// A message authenticated for one purpose, which no other purpose begins with. A key's digest
    /// is never one of these: no purpose begins as a key does.
    pub(super) fn mac(&self, purpose: &'static [u8], message: &[u8]) -> [u8; 32] {
        mac_of_parts(self.0.expose_secret(), [purpose, &[0], message])
    }

    /// The same for two equal secrets, and tells nothing of them.
    pub fn fingerprint(&self) -> [u8; 32] {
        mac(self.0.expose_secret(), CHECK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_generated_key_has_the_documented_form_and_parses() {
        let key = ApiKey::generate().expect("randomness");
        assert_eq!(key.expose().len(), 57);
        assert!(key.expose().starts_with("sk_live_"));
        assert_eq!(ApiKey::parse(key.expose()).expect("parses").expose(), key.expose());
    }

    #[test]
    fn debug_output_does_not_contain_the_key() {
        let key = ApiKey::generate().expect("randomness");
        assert!(!format!("{key:?}").contains(&key.expose()[..DISPLAY_LENGTH + 1]));
        assert_eq!(format!("{:?}", KeySecret::derive(b"secret")), "KeySecret(…)");
    }

    #[test]
    fn the_prefix_and_four_characters_may_be_shown_again() {
        let key = ApiKey::generate().expect("randomness");
        assert_eq!(key.display_prefix(), &key.expose()[..12]);
        assert_eq!(format!("{key:?}"), format!("ApiKey({}…)", key.display_prefix()));
    }

    #[test]
    fn no_two_generated_keys_are_alike() {
        let keys: std::collections::BTreeSet<_> = (0..1_000)
            .map(|_| ApiKey::generate().expect("randomness").expose().to_owned())
            .collect();
        assert_eq!(keys.len(), 1_000);
    }

    /// Keys are held by clients and digests by databases: another release must know them again.
    #[test]
    fn form_and_digests_of_a_key_are_what_they_were_in_earlier_releases() {
        let random: [u8; 32] = std::array::from_fn(|i| i as u8);
        let digits = base62(&random, RANDOM_DIGITS);
        assert_eq!(digits, "003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf");
        let body = format!("{PREFIX}{digits}");
        assert_eq!(checksum(&body), "2L6EQX");
        let key = ApiKey::parse(&format!("{body}2L6EQX")).expect("parses");

        let hex = |digest: [u8; 32]| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let secret = KeySecret::derive(b"operator's secret");
        assert_eq!(
            hex(secret.digest(&key)),
            "efe3e548a35125fda651aeb238cc2000c0cc9772456a1c3cfb4e3208134c936a"
        );
        assert_eq!(
            hex(secret.fingerprint()),
            "497c0bce92e2aec6fd1cf77a1a0098c094aec4f37a7a3569912f20c3251152da"
        );
    }

    #[test]
    fn the_digest_depends_on_the_secret() {
        let key = ApiKey::generate().expect("randomness");
        let (a, b) = (KeySecret::derive(b"a"), KeySecret::derive(b"b"));
        assert_ne!(a.digest(&key), b.digest(&key));
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert_eq!(a.digest(&key), KeySecret::derive(b"a").digest(&key));
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_always_noticed(at in 8usize..57, replacement in "[0-9A-Za-z]") {
            let key = ApiKey::generate().expect("randomness");
            let mut text = key.expose().to_owned();
            text.replace_range(at..=at, &replacement);
            prop_assume!(text != key.expose());
            prop_assert!(ApiKey::parse(&text).is_err());
        }

        #[test]
        fn the_digits_say_the_number_most_significant_first(number: u128) {
            // 22 digits hold 128 bits
            let digits = base62(&number.to_be_bytes(), 22);
            let said = digits.bytes().fold(0u128, |said, digit| {
                let value = BASE62.iter().position(|d| *d == digit).expect("a digit");
                said * 62 + value as u128
            });
            prop_assert_eq!(said, number);
        }

        #[test]
        fn a_right_checksum_makes_no_key_of_what_has_not_its_form(
            prefix in prop_oneof![4 => Just("sk_live_"), 1 => Just(""), 1 => Just("sk_test_")],
            digits in prop_oneof!["[0-9A-Za-z]{42,44}", "[0-9A-Za-z_]{43}", ".{0,51}"],
        ) {
            let formed = prefix == "sk_live_"
                && digits.chars().count() == 43
                && digits.chars().all(|c| c.is_ascii_alphanumeric());
            let body = format!("{prefix}{digits}");
            let text = format!("{body}{}", checksum(&body));
            prop_assert_eq!(ApiKey::parse(&text).is_ok(), formed);
        }

        #[test]
        fn nothing_else_parses_or_panics(text in ".{0,80}") {
            prop_assert!(ApiKey::parse(&text).is_err());
        }
    }
}
