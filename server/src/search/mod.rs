//! Search over the team's memory: words and vectors, fused and reranked; and the embedding of what
//! is written.

mod backfill;
pub mod embedder;
mod fusion;

pub use backfill::Backfill;

use crate::error::{Error, Result};
use crate::store::Tx;
use crate::store::ids::{MemoryId, SpaceId};
use crate::store::memory::{Embedded, Memory};
use crate::store::search::{self as store, Reference};
use embedder::{EmbedError, Embedder, NoteEmbedding, QueryEmbedding};
use futures::{StreamExt, stream};
use slog::Logger;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout_at;

/// Candidates that each arm (words, vectors) contributes.
pub const CANDIDATES: i32 = 100;
/// How many notes of one batch are embedded at the same time.
pub const BATCH_CONCURRENCY: usize = 2;
/// Most pieces of a query that are looked for literally.
const MAX_PIECES: usize = 8;

/// A note that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The note.
    pub memory: Memory,
    /// How well it fits, `0..=1`, relative to the other hits.
    pub score: f64,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Best first; equal scores in a fixed order (newest first, then by id).
    pub hits: Vec<Hit>,
    /// The model was not available: found by words alone.
    pub degraded: bool,
}

/// The search engine of one server.
#[derive(Clone)]
pub struct Search {
    embedder: Arc<dyn Embedder>,
    backfill: Backfill,
    log: Logger,
}

/// A note's vectors, and whose they are.
pub struct NoteVectors {
    embedding: NoteEmbedding,
    model_id: String,
    sparse_model_id: Option<String>,
}

impl NoteVectors {
    /// As the store takes them.
    pub fn embedded(&self) -> Embedded<'_> {
        Embedded {
            note: &self.embedding,
            model_id: &self.model_id,
            sparse_model_id: self.sparse_model_id.as_deref(),
        }
    }
}

fn overloaded() -> Error {
    Error::unavailable("the server is overloaded: too many texts are waiting to be embedded")
}

impl Search {
    /// With this embedder.
    pub fn new(embedder: Arc<dyn Embedder>, log: Logger) -> Self {
        Search { embedder, backfill: Backfill::default(), log }
    }

    /// Whether there is a model.
    pub fn is_ready(&self) -> bool {
        self.embedder.is_available()
    }

    /// The embedder.
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    /// What catches up with notes that were written without vectors.
    pub fn backfill(&self) -> &Backfill {
        &self.backfill
    }

    /// A note's vectors; `None` when there is no model, and the note is to be found by its words
    /// until there is one. 503 when too many texts wait already.
    pub async fn embed_note(&self, content: &str) -> Result<Option<NoteVectors>> {
        match self.embedder.embed_note(content).await {
            Ok(embedding) => Ok(Some(NoteVectors {
                embedding,
                model_id: self.embedder.model_id().to_owned(),
                sparse_model_id: self.embedder.sparse_model_id().map(str::to_owned),
            })),
            Err(EmbedError::Overloaded) => Err(overloaded()),
            Err(error) => {
                slog::warn!(self.log, "a note was written without vectors"; "error" => %error);
                self.backfill.wake();
                Ok(None)
            }
        }
    }

    /// The vectors of many notes, in their order, each as [`Search::embed_note`] has it. A few at a
    /// time, so that others are embedded meanwhile. Those that are not done by `until` get none:
    /// they are to be found by their words, until the backfill catches up. 503 when too many texts
    /// wait already.
    pub async fn embed_notes(
        &self,
        contents: Vec<&str>,
        until: Instant,
    ) -> Result<Vec<Option<NoteVectors>>> {
        let mut done = Vec::with_capacity(contents.len());
        let count = contents.len();
        if self.is_ready() {
            // nothing is done before it is asked for
            let waiting: Vec<_> = contents.into_iter().map(|c| self.embed_note(c)).collect();
            let mut embeddings = stream::iter(waiting).buffered(BATCH_CONCURRENCY);
            while let Ok(Some(next)) = timeout_at(until.into(), embeddings.next()).await {
                done.push(next?);
            }
        }
        if done.len() < count {
            slog::warn!(self.log, "notes were written without vectors";
                "count" => count - done.len());
        }
        done.resize_with(count, || None);
        Ok(done)
    }

    /// A query's vectors; `None` when there is no model. 503 when too many texts wait already.
    pub async fn embed_query(&self, query: &str) -> Result<Option<QueryEmbedding>> {
        match self.embedder.embed_query(query).await {
            Ok(embedding) => Ok(Some(embedding)),
            Err(EmbedError::Overloaded) => Err(overloaded()),
            Err(error) => {
                slog::warn!(self.log, "a search was answered by words alone"; "error" => %error);
                Ok(None)
            }
        }
    }

    /// The `limit` best notes for `query` among those that the transaction's caller can see.
    pub async fn search(
        &self,
        tx: &mut Tx,
        query: &str,
        embedding: Option<&QueryEmbedding>,
        space: Option<&SpaceId>,
        limit: usize,
    ) -> Result<Found> {
        let mut by_words = store::lexical(tx, query, space, CANDIDATES).await?;
        if by_words.is_empty() {
            let pieces = pieces(query);
            if !pieces.is_empty() {
                by_words = store::substring(tx, &pieces, space, CANDIDATES.into()).await?;
            }
        }
        let model_id = self.embedder.model_id();
        let by_vector = match embedding {
            Some(e) => store::nearest(tx, &e.dense, model_id, space, CANDIDATES.into()).await?,
            None => Vec::new(),
        };
        let words: HashMap<MemoryId, f64> = by_words.iter().cloned().collect();
        let mut ids: Vec<MemoryId> = by_words.into_iter().map(|(id, _)| id).collect();
        ids.extend(by_vector.into_iter().filter(|id| !words.contains_key(id)));
        if ids.is_empty() {
            return Ok(Found { hits: Vec::new(), degraded: embedding.is_none() });
        }
        let reference = embedding.map(|e| Reference {
            dense: &e.dense,
            model_id,
            sparse: e.sparse.as_ref().zip(self.embedder.sparse_model_id()),
        });
        let candidates = store::notes(tx, &ids, reference.as_ref()).await?;
        let sparse = embedding.and_then(|e| e.sparse.as_ref());
        let query_expansion = sparse.map_or(0.0, |s| f64::from(s.dot(s)));
        let parts = candidates
            .iter()
            .map(|c| fusion::Parts {
                words: words.get(&c.memory.id).copied(),
                cosine: c.cosine,
                expansion: c.expansion,
            })
            .collect::<Vec<_>>();
        let mut hits = candidates
            .into_iter()
            .zip(fusion::fuse(&parts, query_expansion))
            .map(|(candidate, score)| Hit { memory: candidate.memory, score })
            .collect::<Vec<_>>();
        hits.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| b.memory.created_at.cmp(&a.memory.created_at))
                .then_with(|| b.memory.id.cmp(&a.memory.id))
        });
        hits.truncate(limit);
        Ok(Found { hits, degraded: embedding.is_none() })
    }
}

/// What to look for literally: the query's pieces between white space, in lower case.
fn pieces(query: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for piece in query.split_whitespace().map(str::to_lowercase) {
        if pieces.len() == MAX_PIECES {
            break;
        }
        if !pieces.contains(&piece) {
            pieces.push(piece);
        }
    }
    pieces
}
