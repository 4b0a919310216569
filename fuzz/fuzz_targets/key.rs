//! API keys: what is taken for a key is one, digests like itself alone, and is not shown.
#![no_main]

#[allow(dead_code, missing_docs)]
#[path = "../../server/src/auth/key.rs"]
mod key;

use key::{ApiKey, KEY_LENGTH, KeySecret, PREFIX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(parsed) = ApiKey::parse(text) else { return };
    assert_eq!(parsed.expose(), text);
    assert!(text.len() == KEY_LENGTH && text.starts_with(PREFIX));
    assert!(!format!("{parsed:?}").contains(text));
    let secret = KeySecret::derive(b"fuzz");
    assert_eq!(secret.digest(&parsed), secret.digest(&parsed));
});
