//! Search over transcripts: by words, with what stands around each message taken into account.

use super::highlight::{Highlight, Words};
use super::pieces;
use crate::error::Result;
use crate::store::ids::SpaceId;
use crate::store::message_search::{self as store, Filter, Place, Turn};
use crate::store::messages::Message;
use crate::store::{SEARCH_TIMEOUT, Tx};

/// Candidates: several may be of one exchange, which is shown once.
const CANDIDATES: i32 = 300;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct MessageQuestion<'a> {
    /// The question, or words.
    pub text: &'a str,
    /// Where it may have been said.
    pub space: &'a SpaceId,
    /// Which messages are looked at.
    pub filter: &'a Filter,
    /// At most so many hits.
    pub limit: usize,
    /// Hits of a lower score are left out, `0..=1`.
    pub min_score: f64,
    /// So many turns before and after each hit are shown with it.
    pub turns: u32,
}

/// A message that was found, with what stands around it.
#[derive(Clone, Debug)]
pub struct MessageHit {
    /// What its session is called.
    pub session_name: Option<String>,
    /// The message.
    pub message: Message,
    /// How well it fits, `0..=1`, relative to the best.
    pub score: f64,
    /// The sentences that say why, in the message's order.
    pub highlights: Vec<Highlight>,
    /// What was said right before it, in that order.
    pub before: Vec<Message>,
    /// What was said right after it, in that order.
    pub after: Vec<Message>,
}

/// The best messages for the question among those that the transaction's caller can see. What is
/// shown around a better hit is no hit of its own.
pub async fn search(tx: &mut Tx, question: &MessageQuestion<'_>) -> Result<Vec<MessageHit>> {
    let MessageQuestion { text, space, filter, .. } = *question;
    tx.at_most(SEARCH_TIMEOUT);
    let mut places = store::lexical(tx, text, space, filter, CANDIDATES).await?;
    if places.is_empty() {
        let pieces = pieces(text);
        if !pieces.is_empty() {
            places = store::literal(tx, &pieces, space, filter, CANDIDATES).await?;
        }
    }
    let best = places.iter().map(|place| place.score).fold(0.0, f64::max);
    let score = |place: &Place| if best > 0.0 { (place.score / best).clamp(0.0, 1.0) } else { 1.0 };
    places.retain(|place| score(place) >= question.min_score);
    let turns = i64::from(question.turns);
    let shown = folded(&places, turns, question.limit);
    if shown.is_empty() {
        return Ok(Vec::new());
    }
    let said = store::around(tx, &shown, turns).await?;
    let words = Words::of(text);
    Ok(shown
        .into_iter()
        .filter_map(|place| {
            let near = |turn: &&Turn| {
                turn.message.session_id == place.session_id && (turn.seq - place.seq).abs() <= turns
            };
            // gone from the caller's sight since its words were found: no hit
            let hit = said.iter().filter(near).find(|turn| turn.seq == place.seq)?;
            let some = |wanted: fn(i64, i64) -> bool| {
                let turns = said.iter().filter(near).filter(|t| wanted(t.seq, place.seq));
                turns.map(|turn| turn.message.clone()).collect()
            };
            Some(MessageHit {
                session_name: hit.session_name.clone(),
                highlights: words.highlight(&hit.message.body, None),
                message: hit.message.clone(),
                score: score(place),
                before: some(|seq, hit| seq < hit),
                after: some(|seq, hit| seq > hit),
            })
        })
        .collect())
}

/// The first `limit` places of which none is within so many turns of an earlier one.
fn folded(places: &[Place], turns: i64, limit: usize) -> Vec<&Place> {
    let mut kept: Vec<&Place> = Vec::new();
    for place in places {
        if kept.len() == limit {
            break;
        }
        let shown = kept
            .iter()
            .any(|k| k.session_id == place.session_id && (k.seq - place.seq).abs() <= turns);
        if !shown {
            kept.push(place);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ids::{MessageId, SessionId};

    #[test]
    fn what_is_shown_around_a_better_hit_is_no_hit() {
        let (here, there) = (SessionId::generate(), SessionId::generate());
        let place = |session: &SessionId, seq| Place {
            message_id: MessageId::generate(),
            session_id: session.clone(),
            seq,
            score: 1.0,
        };
        let places =
            [place(&here, 5), place(&here, 6), place(&there, 6), place(&here, 3), place(&here, 7)];
        let kept = |turns, limit| -> Vec<i64> {
            folded(&places, turns, limit).into_iter().map(|p| p.seq).collect()
        };
        assert_eq!(kept(0, 10), [5, 6, 6, 3, 7]);
        assert_eq!(kept(1, 10), [5, 6, 3, 7]);
        assert_eq!(kept(2, 10), [5, 6]);
        assert_eq!(kept(1, 2), [5, 6]);
    }
}
