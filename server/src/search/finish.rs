//! From the ranking to the answer, when the database is done: the cross-encoder, the limit, and the
//! sentences that are shown.

use super::cross_encoder::{CROSS_ENCODED, order};
use super::highlight::Words;
use super::{Found, Hit, Pipeline, Search};
use crate::store::search::Candidate;

/// What a search has read, best first by its fused scores; [`Search::finish`] makes the answer of
/// it. There may be more than were asked for, of which the cross-encoder can bring some forward.
#[derive(Debug)]
pub struct Ranked {
    pub(super) candidates: Vec<(Candidate, f64)>,
    pub(super) limit: usize,
    pub(super) pipeline: Pipeline,
    pub(super) degraded: bool,
}

impl Search {
    /// The answer to `text`, which `ranked` was found for. To be called when the transaction has
    /// ended: a cross-encoder takes longer than everything else together, and a connection of the
    /// pool is not to wait for it.
    pub async fn finish(&self, ranked: Ranked, text: &str) -> Found {
        let Ranked { mut candidates, limit, pipeline, degraded } = ranked;
        let wanted = Words::of(text);
        let mut fell_back = false;
        if let Some(cross) = self.cross.as_ref().filter(|_| pipeline.cross_encodes())
            && candidates.len() > 1
        {
            let best = candidates.iter().take(CROSS_ENCODED);
            let texts = best.map(|(candidate, _)| order::text(candidate, &wanted)).collect();
            match cross.score(text, texts, &self.log).await {
                Some(relevance) => candidates = order::reorder(candidates, &relevance),
                None => fell_back = true,
            }
        }
        candidates.truncate(limit);
        let hits = candidates
            .into_iter()
            .map(|(candidate, score)| Hit {
                highlights: wanted.highlight(&candidate.memory.content, candidate.passage),
                memory: candidate.memory,
                score,
            })
            .collect();
        Found { hits, degraded, fell_back }
    }
}
