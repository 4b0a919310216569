//! Keys of labels, and the filter that names a label.

/// Longest key of a label, in characters.
pub const MAX_LABEL_KEY: usize = 63;

/// What a key looks like.
pub const LABEL_KEY_PATTERN: &str = "^[a-z][a-z0-9_.-]{0,62}$";

/// Whether this is a key that a label can have: lowercase letters and digits, and after the first
/// letter also `_`, `.` and `-`.
pub fn is_label_key(key: &str) -> bool {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    key.len() <= MAX_LABEL_KEY
        && key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.bytes().all(allowed)
}

/// The two sides of `key:value`; the value may hold colons of its own.
pub fn label(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(key, value)| is_label_key(key) && !value.is_empty())
}
