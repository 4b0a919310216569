//! Cursors: places in a list, in a form that clients can only hand back.

use crate::error::{Error, Result};
use crate::store::Position;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use std::fmt::Display;
use std::str::FromStr;

/// Longest cursor, in characters.
pub const MAX_CURSOR: usize = 100;

/// What is said of a cursor that is none of ours.
pub const FOREIGN: &str = "must be the `nextCursor` of the page before";

/// As a client gets it.
pub fn encode<Id: Display>(position: &Position<Id>) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{}", position.at.timestamp_micros(), position.id))
}

/// What a client hands back; 400 when it is none of ours.
pub fn decode<Id: FromStr>(cursor: &str) -> Result<Position<Id>> {
    let position = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (at, id) = text.split_once('.')?;
        let at = DateTime::from_timestamp_micros(at.parse().ok()?)?;
        Some(Position { at, id: id.parse().ok()? })
    };
    position().ok_or_else(|| Error::invalid(["cursor"], "invalid", FOREIGN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ids::SpaceId;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let at = DateTime::from_timestamp_micros(1_776_602_096_789_123).expect("a moment");
        let position = Position { at, id: SpaceId::generate() };
        let cursor = encode(&position);
        assert!(cursor.len() <= MAX_CURSOR);
        assert_eq!(decode::<SpaceId>(&cursor).expect("decoded"), position);
        let wrong =
            ["", "x", "MTIz", "MTIzLmFiYw", &URL_SAFE_NO_PAD.encode("9223372036854775807.c")];
        for wrong in wrong {
            assert!(decode::<SpaceId>(wrong).is_err(), "{wrong}");
        }
    }
}
