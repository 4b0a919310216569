//! What a file of turns means: one message a line.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use switchy::{Uuid, types::TranscriptMessageRequest};

use crate::{
    commands::import::lines::numbered,
    failure::{Exit, Failure},
    output::printable,
};

/// The most messages that one request carries.
const BATCH: usize = 100;

/// The most bytes of messages that one request carries: the server reads 1 MiB.
const BATCH_BYTES: usize = 768 * 1024;

/// A message, and where it is in the file.
#[derive(Debug)]
pub struct Turn {
    pub line: usize,
    pub message: TranscriptMessageRequest,
    /// How much of a request it takes.
    bytes: usize,
}

/// The turns of a file, in their order. Since that order matters, one line that is no message
/// keeps all of them back; every such line is named.
///
/// # Errors
///
/// When a line is not a message.
pub fn read(text: &str) -> Result<Vec<Turn>, Failure> {
    let (mut turns, mut wrong) = (Vec::new(), 0);
    for (line, text) in numbered(text) {
        match serde_json::from_str(text) {
            Ok(message) => turns.push(Turn { line, message, bytes: text.len() }),
            Err(cause) => {
                let cause = cause.to_string();
                let cause = cause.split(" at line ").next().unwrap_or(&cause);
                eprintln!("line {line}: not a message: {}", printable(cause));
                wrong += 1;
            }
        }
    }
    match wrong {
        0 => Ok(turns),
        _ => Err(Failure::new(Exit::Invalid, format!("{wrong} lines are no messages"))
            .hint("nothing was appended; a line is like {\"role\": \"user\", \"content\": \"…\"}")),
    }
}

/// Every turn with an id. One that has none gets one that depends on the session, what it says, and
/// how often that was said before in the file: the same turn is not appended twice, whenever and
/// however often the file is.
pub fn identified(mut turns: Vec<Turn>, session: Uuid) -> Vec<Turn> {
    let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
    for turn in &mut turns {
        if turn.message.id.is_none() {
            let said = serde_json::to_vec(&turn.message).unwrap_or_default();
            let before = seen.entry(said.clone()).or_insert(0);
            let mut hash = Sha256::new();
            hash.update(session.as_bytes());
            hash.update(before.to_be_bytes());
            hash.update(&said);
            *before += 1;
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&hash.finalize()[..16]);
            // the bits that say of a UUID what it is: version 8, its author's own way
            bytes[6] = (bytes[6] & 0x0f) | 0x80;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            turn.message.id = Some(Uuid::from_bytes(bytes));
        }
    }
    turns
}

/// As many turns at once as a request carries.
pub fn batches(turns: &[Turn]) -> Vec<&[Turn]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (i, turn) in turns.iter().enumerate() {
        if i > start && (i - start == BATCH || bytes + turn.bytes > BATCH_BYTES) {
            batches.push(&turns[start..i]);
            (start, bytes) = (i, 0);
        }
        bytes += turn.bytes;
    }
    if start < turns.len() {
        batches.push(&turns[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";

    fn ids(text: &str, session: &str) -> Vec<Uuid> {
        let session = session.parse().expect("a UUID");
        let turns = identified(read(text).expect("turns"), session);
        turns.into_iter().filter_map(|turn| turn.message.id).collect()
    }

    #[test]
    fn a_turn_has_the_same_id_whenever_the_file_is_read() {
        let text = "{\"role\":\"user\",\"content\":\"ok\"}\n\n{\"role\":\"user\",\"content\":\"ok\"}\n\
                    {\"role\":\"user\",\"content\":\"no\"}\n";
        let first = ids(text, SESSION);
        assert_eq!(first, ids(text, SESSION));
        let mut all = [first, ids(text, "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b91")].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
        let own = format!("{{\"id\":\"{SESSION}\",\"role\":\"user\",\"content\":\"x\"}}");
        assert_eq!(
            ids(&own, SESSION).iter().map(ToString::to_string).collect::<Vec<_>>(),
            [SESSION]
        );
    }

    #[test]
    fn a_batch_is_neither_too_many_nor_too_large() {
        let turn = |bytes| Turn {
            line: 1,
            message: serde_json::from_str("{\"role\":\"user\",\"content\":\"x\"}").expect("one"),
            bytes,
        };
        let sizes =
            |turns: Vec<Turn>| batches(&turns).iter().map(|batch| batch.len()).collect::<Vec<_>>();
        assert_eq!(sizes(Vec::new()), [0; 0]);
        assert_eq!(sizes((0..250).map(|_| turn(10)).collect()), [100, 100, 50]);
        let large = BATCH_BYTES / 2;
        assert_eq!(sizes(vec![turn(large), turn(large), turn(1), turn(2 * large + 9)]), [2, 1, 1]);
    }

    #[test]
    fn one_line_that_is_no_message_keeps_all_of_them_back() {
        assert!(read("{\"role\":\"user\",\"content\":\"x\"}\nnonsense\n{}").is_err());
        assert_eq!(read("\n").expect("none").len(), 0);
    }
}
