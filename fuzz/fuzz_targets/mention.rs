//! Mentions: what is found is a slug that was written, each once, and never more than there may be.
#![no_main]

#[path = "../../server/src/api/mentions.rs"]
mod mentions;

use libfuzzer_sys::fuzz_target;
use mentions::{MAX_AGENT_SLUG, MAX_MENTIONS, is_slug, mentions};

fuzz_target!(|text: &str| {
    let found = mentions(text);
    assert!(found.len() <= MAX_MENTIONS);
    for (i, slug) in found.iter().enumerate() {
        assert!(is_slug(slug) && slug.len() <= MAX_AGENT_SLUG);
        assert!(!found[..i].contains(slug), "twice");
        assert!(text.to_ascii_lowercase().contains(&format!("@{slug}")));
    }
});
