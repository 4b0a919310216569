//! Tokens of invitations (contract B5): unguessable, good for one person and one time.
//!
//! A token is made from a random nonce under the server's secret, so that whoever sends it later
//! can make it once more, and the database need not hold it. What is stored for good is a digest.

use super::KeySecret;
use super::key::base62;
use rand::TryRngCore;
use secrecy::{ExposeSecret, SecretString};

/// What every token begins with.
pub const PREFIX: &str = "inv_";
/// 32 bytes in base 62.
const DIGITS: usize = 43;
/// Characters of a whole token.
pub const TOKEN_LENGTH: usize = PREFIX.len() + DIGITS;

/// Separates the two uses of the server's secret from each other and from every other.
const MAKE: &[u8] = b"switchy invitation token v1";
const DIGEST: &[u8] = b"switchy invitation digest v1";

/// What a token is made from: 32 random bytes.
pub type Nonce = [u8; 32];

/// The text is not a token that this software ever made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the token of an invitation")]
pub struct NotAToken;

/// A token in clear: shown to the inviter and mailed to the invitee, never stored, never logged.
#[derive(Clone)]
pub struct InvitationToken(SecretString);

impl std::fmt::Debug for InvitationToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InvitationToken(…)")
    }
}

/// A new nonce from the operating system's randomness.
pub fn nonce() -> Result<Nonce, rand::rand_core::OsError> {
    let mut nonce = [0u8; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut nonce)?;
    Ok(nonce)
}

impl InvitationToken {
    /// The token that belongs to `nonce`: always the same under one secret.
    pub fn of(secret: &KeySecret, nonce: &Nonce) -> Self {
        let digits = base62(&secret.mac(MAKE, nonce), DIGITS);
        InvitationToken(format!("{PREFIX}{digits}").into())
    }

    /// Checks the form, which costs no look-up.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAToken)?;
        if digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(InvitationToken(text.to_owned().into()))
        } else {
            Err(NotAToken)
        }
    }

    /// The token itself: for the answer and the letter that show it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is stored of it.
    pub fn digest(&self, secret: &KeySecret) -> [u8; 32] {
        secret.mac(DIGEST, self.expose().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_follows_from_secret_and_nonce_and_from_nothing_less() {
        let (a, b) = (KeySecret::derive(b"a"), KeySecret::derive(b"b"));
        let (one, other) = (nonce().expect("randomness"), nonce().expect("randomness"));
        let token = InvitationToken::of(&a, &one);
        assert_eq!(token.expose(), InvitationToken::of(&a, &one).expose());
        assert_ne!(token.expose(), InvitationToken::of(&b, &one).expose());
        assert_ne!(token.expose(), InvitationToken::of(&a, &other).expose());
        assert_ne!(token.digest(&a), token.digest(&b));
        assert_eq!((token.expose().len(), TOKEN_LENGTH), (47, 47));
        let parsed = InvitationToken::parse(token.expose()).expect("parses");
        assert_eq!(parsed.digest(&a), token.digest(&a));
    }

    #[test]
    fn debug_output_does_not_contain_the_token() {
        let secret = KeySecret::derive(b"a");
        let token = InvitationToken::of(&secret, &nonce().expect("randomness"));
        assert_eq!(format!("{token:?}"), "InvitationToken(…)");
    }

    /// Letters are mailed and digests are stored: another release must make the same of them.
    #[test]
    fn a_token_and_its_digest_are_what_earlier_releases_made_of_the_same_nonce() {
        let secret = KeySecret::derive(b"operator's secret");
        let token = InvitationToken::of(&secret, &[7; 32]);
        assert_eq!(token.expose(), "inv_4hsG12ebzt3JRk8V2KUlXjjFZ1i8y5C2KQIXypXOuvc");
        let digest: String = token.digest(&secret).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(digest, "57e9a1b8ed6628f8300255132b22f4eb55c7c34efbf496049d3dc177a2318930");
    }

    proptest! {
        #[test]
        fn only_the_prefix_and_43_letters_and_digits_parse(
            prefix in prop_oneof![4 => Just("inv_"), 1 => Just(""), 1 => Just("INV_"), 1 => Just("inv")],
            digits in prop_oneof!["[0-9A-Za-z]{42,44}", "[0-9A-Za-z_]{43}", ".{41,43}"],
        ) {
            let formed = prefix == "inv_"
                && digits.chars().count() == 43
                && digits.chars().all(|c| c.is_ascii_alphanumeric());
            let parsed = InvitationToken::parse(&format!("{prefix}{digits}"));
            prop_assert_eq!(parsed.is_ok(), formed);
            if let Ok(token) = parsed {
                prop_assert_eq!(token.expose(), format!("{prefix}{digits}"));
            }
        }

        #[test]
        fn nothing_else_parses_or_panics(text in ".{0,60}") {
            prop_assert!(InvitationToken::parse(&text).is_err());
        }
    }
}
