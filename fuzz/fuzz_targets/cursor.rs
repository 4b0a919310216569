//! Cursors: what is read is written the same way again, and what was written is read.
#![no_main]

#[allow(dead_code)]
#[path = "../../server/src/mcp/server/cursor.rs"]
mod cursor;

/// What the parser names of the server.
mod error {
    pub struct Error;
    pub type Result<T> = std::result::Result<T, Error>;
    impl Error {
        pub fn invalid<const N: usize>(_: [&str; N], _: &str, _: &str) -> Error {
            Error
        }
    }
}

#[path = "../../server/src/store/position.rs"]
mod position;

mod store {
    pub use crate::position::Position;
}

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(position) = cursor::decode::<String>(text) else { return };
    let again = cursor::decode::<String>(&cursor::encode(&position));
    assert!(again.is_ok_and(|again| again == position));
});
