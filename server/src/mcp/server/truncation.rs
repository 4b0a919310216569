//! Results end at 50 KB, and say so: a model's context is dear, and clients cut without a word.

use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Largest result of a tool, in bytes of JSON; the same holds for its text.
pub const MAX_RESULT_BYTES: usize = 50 * 1024;

/// Kept free for the note of the truncation, and for a cursor.
const RESERVE: usize = 512;

/// What was left out, if anything.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Truncation {
    /// Something was left out to keep the result below 50 KB; `notice` says what.
    pub truncated: bool,
    /// What was left out, and how to get it.
    pub notice: Option<String>,
}

/// An element of a result, with a text that can be cut.
pub trait Cut: Serialize {
    /// The longest text of it.
    fn text(&mut self) -> &mut String;
}

fn size(value: &impl Serialize) -> Result<usize> {
    Ok(serde_json::to_vec(value).map_err(Error::internal)?.len())
}

/// As many of `items` as fit beside `rest` (the size of everything else, in bytes), at least one,
/// whose text is cut if it must be. `more` says how to get what was left out.
pub fn fit<T: Cut>(mut items: Vec<T>, rest: usize, more: &str) -> Result<(Vec<T>, Truncation)> {
    let room = MAX_RESULT_BYTES.saturating_sub(rest + RESERVE);
    let mut used = 0;
    let mut fitting = 0;
    for item in &items {
        used += size(item)? + 1;
        if used > room {
            break;
        }
        fitting += 1;
    }
    let left_out = items.len().saturating_sub(fitting.max(1));
    items.truncate(fitting.max(1));
    let cut = match items.as_mut_slice() {
        [only] if fitting == 0 => shorten(only, room)?,
        _ => false,
    };
    let notice = match (left_out, cut) {
        (0, false) => return Ok((items, Truncation::default())),
        (0, true) => "the text is cut: results are limited to 50 KB".to_owned(),
        (n, false) => format!("{n} left out: results are limited to 50 KB; {more}"),
        (n, true) => {
            format!("{n} left out and the text is cut: results are limited to 50 KB; {more}")
        }
    };
    Ok((items, Truncation { truncated: true, notice: Some(notice) }))
}

/// The same for a single thing.
pub fn fit_one<T: Cut>(item: T) -> Result<(T, Truncation)> {
    let mut item = item;
    let cut = shorten(&mut item, MAX_RESULT_BYTES - RESERVE)?;
    let notice = cut.then(|| "the text is cut: results are limited to 50 KB".to_owned());
    Ok((item, Truncation { truncated: cut, notice }))
}

/// Cuts the item's text until it fits.
fn shorten(item: &mut impl Cut, room: usize) -> Result<bool> {
    let mut cut = false;
    loop {
        let over = size(item)?.saturating_sub(room);
        let text = item.text();
        if over == 0 || text.is_empty() {
            return Ok(cut);
        }
        if cut {
            text.pop(); // the ellipsis of the round before
        }
        // a character takes at most six bytes for each of its own when it is escaped
        let gone = (over / 6 + '…'.len_utf8()).min(text.len());
        text.truncate(text.floor_char_boundary(text.len() - gone));
        if !text.is_empty() {
            text.push('…');
        }
        cut = true;
    }
}

/// The size of `value`, when there is nothing to cut in it.
pub fn size_of(value: &Value) -> usize {
    value.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq, Serialize)]
    struct Item(String);

    impl Cut for Item {
        fn text(&mut self) -> &mut String {
            &mut self.0
        }
    }

    proptest! {
        #[test]
        fn what_is_left_fits_and_is_told(
            items in prop::collection::vec("(\\PC|\n|\u{1}|😀){0,400}", 0..40),
            times in 1usize..60,
        ) {
            let items: Vec<Item> = items.into_iter().map(|t| Item(t.repeat(times))).collect();
            let all = items.clone();
            let (kept, truncation) = fit(items, 2, "ask for less").expect("fitted");
            prop_assert!(size(&kept).expect("a size") + RESERVE <= MAX_RESULT_BYTES + 1);
            prop_assert_eq!(truncation.truncated, kept != all);
            prop_assert_eq!(truncation.notice.is_some(), truncation.truncated);
            prop_assert_eq!(kept.is_empty(), all.is_empty());
        }

        #[test]
        fn a_single_text_is_cut_to_fit(text in "(\\PC|\u{1}|\"){0,2000}", times in 1usize..40) {
            let whole = Item(text.repeat(times));
            let (item, truncation) = fit_one(whole.clone()).expect("fitted");
            prop_assert!(size(&item).expect("a size") <= MAX_RESULT_BYTES - RESERVE);
            prop_assert_eq!(truncation.truncated, item != whole);
            prop_assert!(whole.0.starts_with(item.0.trim_end_matches('…')) || !truncation.truncated);
        }
    }
}
