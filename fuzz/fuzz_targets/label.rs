//! The filter `key:value` for labels: what is read is what was written, and its key may be one.
#![no_main]

#[path = "../../server/src/api/saved_sessions/label.rs"]
mod label;

use label::{MAX_LABEL_KEY, is_label_key, label};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match label(text) {
        Some((key, value)) => {
            assert_eq!(format!("{key}:{value}"), text);
            assert!(is_label_key(key) && key.len() <= MAX_LABEL_KEY && !value.is_empty());
        }
        None => assert!(
            !text.split_once(':').is_some_and(|(key, value)| is_label_key(key) && !value.is_empty())
        ),
    }
});
