//! Search over the team's memory: words and vectors, fused and reranked; and the embedding of what
//! is written.
//!
//! [`Search::embed_query`] comes before the transaction, [`Search::search`] reads in it, and
//! [`Search::finish`] makes the answer after it.

mod backfill;
mod cache;
mod candidates;
pub mod cross_encoder;
pub mod embedder;
mod finish;
mod fusion;
mod highlight;
pub mod messages;
mod neighbours;
mod panic_guard;
mod pipeline;
pub mod reembed;
pub mod statistics;
mod waiting;

pub use backfill::Backfill;
pub use finish::Ranked;
pub use highlight::{Highlight, MAX_HIGHLIGHTS};
pub use pipeline::Pipeline;

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::store::ids::{MemoryId, OrgId};
use crate::store::memory::{Embedded, Memory};
use crate::store::models::{self, Models};
use crate::store::search::{self as store, Candidate, EXACT_BELOW, Filter, Reference};
use crate::store::{SEARCH_TIMEOUT, Store, Tx};
use cache::QueryCache;
use candidates::{Candidates, Placed};
use cross_encoder::{CROSS_ENCODED, CrossEncoding};
use embedder::{EmbedError, Embedder, NoteEmbedding, Owner, QueryEmbedding, Urgency};
use futures::{StreamExt, stream};
use slog::Logger;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;
use tokio::time::timeout_at;
use waiting::Refused;

/// Candidates of each arm (words, vectors) that are ranked together. Who asks for more hits gets the
/// next ones after these, so that the limit changes no order.
pub const CANDIDATES: usize = 60;
/// Candidates of each arm when more than [`CANDIDATES`] hits are asked for, and those that the words
/// are asked for in any case: with few rare words, common ones bring more.
const MORE_CANDIDATES: usize = 100;
/// How many notes of one batch are embedded at the same time.
pub const BATCH_CONCURRENCY: usize = 2;
/// Most pieces of a query that are looked for literally.
const MAX_PIECES: usize = 8;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The question, or words.
    pub text: &'a str,
    /// Which notes are looked at.
    pub filter: &'a Filter,
    /// At most so many hits.
    pub limit: usize,
    /// Hits of a lower score are left out, `0..=1`.
    pub min_score: f64,
    /// How far it goes.
    pub pipeline: Pipeline,
}

/// A note that was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The note.
    pub memory: Memory,
    /// How well it fits, `0..=1`, relative to the other hits.
    pub score: f64,
    /// The sentences that say why, in the note's order.
    pub highlights: Vec<Highlight>,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Best first; equal scores in a fixed order (newest first, then by id).
    pub hits: Vec<Hit>,
    /// The model was not available: found by words alone.
    pub degraded: bool,
    /// There is a cross-encoder, and it did not answer in time: this is the fused order.
    pub fell_back: bool,
}

/// The search engine of one server.
#[derive(Clone)]
pub struct Search {
    embedder: Arc<dyn Embedder>,
    queries: Arc<QueryCache>,
    cross: Option<CrossEncoding>,
    backfill: Backfill,
    refused: Arc<Refused>,
    /// Whether the database was searched with this server's model when somebody looked last.
    is_active: Arc<AtomicBool>,
    /// Whether its notes are expanded by this server's model, as far as is known.
    expands: Arc<AtomicBool>,
    /// Fewer visible passages are all compared.
    exact_below: Arc<AtomicI64>,
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

/// For whom the embedder works when it embeds a caller's note.
pub fn owner(caller: &Caller, urgency: Urgency) -> Owner {
    Owner::new(caller.org_id.as_str(), caller.user_id.as_str(), urgency)
}

fn overloaded() -> Error {
    Error::unavailable("the server is overloaded: too many texts are waiting to be embedded")
}

impl Search {
    /// With this embedder.
    pub fn new(embedder: Arc<dyn Embedder>, log: Logger) -> Self {
        let queries = Arc::new(QueryCache::new(cache::CAPACITY));
        let is_active = Arc::new(AtomicBool::new(true));
        let exact_below = Arc::new(AtomicI64::new(EXACT_BELOW));
        let backfill = Backfill::default();
        let expands = Arc::new(AtomicBool::new(true));
        let refused = Arc::default();
        Search {
            embedder,
            queries,
            cross: None,
            backfill,
            refused,
            is_active,
            expands,
            exact_below,
            log,
        }
    }

    /// The same, the best notes put in order by this cross-encoder, if there is one.
    pub fn with_cross_encoding(self, cross: Option<CrossEncoding>) -> Self {
        Search { cross, ..self }
    }

    /// The same, embedding every question anew.
    pub fn without_query_cache(self) -> Self {
        Search { queries: Arc::new(QueryCache::new(0)), ..self }
    }

    /// Whether there is a model, and the database is searched with it.
    pub async fn is_ready(&self, store: &Store) -> Result<bool> {
        if !self.embedder.is_available() {
            return Ok(false);
        }
        let active = models::active(store).await?;
        Ok(active.is_none_or(|active| self.compare(&active)))
    }

    /// Whether these are this server's models; says so in the log when that changes.
    fn compare(&self, active: &Models) -> bool {
        let own = self.embedder.model_id();
        let same = active.model_id == own;
        self.note_active(same);
        if same {
            self.note_expanding(active.sparse_model_id.as_deref());
        }
        same
    }

    /// Remembers whether the database is searched with this server's model.
    fn note_active(&self, active: bool) {
        let before = self.is_active.swap(active, Ordering::Relaxed);
        if before && !active {
            slog::error!(self.log, "the database is searched with another model than this server's: \
                searching by words alone; start the server with that model's folder in \
                SWITCHY_MODEL_DIR, or change the database's by `switchy-server reembed`";
                "own" => self.embedder.model_id());
        } else if active && !before {
            slog::info!(self.log, "the database is searched with this server's model again");
        }
    }

    /// Remembers whether the database's notes are expanded by this server's model.
    fn note_expanding(&self, active: Option<&str>) {
        let own = self.embedder.sparse_model_id();
        let before = self.expands.swap(active == own, Ordering::Relaxed);
        if before && active != own {
            slog::warn!(self.log, "the database's notes are expanded by another model than this \
                server's: searching without expansions; `switchy-server reembed` expands them anew";
                "own" => own, "database" => active);
        }
    }

    /// Remembers from how many visible passages on the index is faster.
    fn note_exact_below(&self, passages: i64) {
        self.exact_below.store(passages, Ordering::Relaxed);
    }

    /// The embedder.
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    /// The cross-encoder, if there is one.
    pub fn cross_encoding(&self) -> Option<&CrossEncoding> {
        self.cross.as_ref()
    }

    /// What catches up with notes that were written without vectors.
    pub fn backfill(&self) -> &Backfill {
        &self.backfill
    }

    /// 429 for whoever was told a moment ago that too many of their notes wait to be embedded.
    pub fn check_backlog(&self, caller: &Caller) -> Result<()> {
        self.refused.check(caller)
    }

    /// Remembers for [`Search::check_backlog`] that the caller is told so now.
    pub fn note_backlog(&self, caller: &Caller, error: &Error) {
        self.refused.note(caller, error);
    }

    /// A note's vectors, when it is its owner's turn; `None` when there is no model, and the note is
    /// to be found by its words until there is one. 503 when too many texts wait already.
    pub async fn embed_note(&self, content: &str, owner: &Owner) -> Result<Option<NoteVectors>> {
        match self.embedder.embed_note(content, owner).await {
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
        owner: &Owner,
        until: Instant,
    ) -> Result<Vec<Option<NoteVectors>>> {
        let mut done = Vec::with_capacity(contents.len());
        let count = contents.len();
        if self.embedder.is_available() {
            // nothing is done before it is asked for
            let waiting: Vec<_> = contents.into_iter().map(|c| self.embed_note(c, owner)).collect();
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

    /// The vectors of a query of somebody of this organization; `None` when there is no model. 503
    /// when too many texts wait already.
    pub async fn embed_query(
        &self,
        org: &OrgId,
        query: &str,
    ) -> Result<Option<Arc<QueryEmbedding>>> {
        if let Some(embedding) = self.queries.get(org, query) {
            return Ok(Some(embedding));
        }
        match self.embedder.embed_query(query).await {
            Ok(embedding) => {
                let embedding = Arc::new(embedding);
                self.queries.put(org, query, Arc::clone(&embedding));
                Ok(Some(embedding))
            }
            Err(EmbedError::Overloaded) => Err(overloaded()),
            Err(error) => {
                slog::warn!(self.log, "a search was answered by words alone"; "error" => %error);
                Ok(None)
            }
        }
    }

    /// The best notes for the question among those that the transaction's caller can see; to be
    /// given to [`Search::finish`].
    pub async fn search(
        &self,
        tx: &mut Tx,
        question: &Question<'_>,
        embedding: Option<&QueryEmbedding>,
    ) -> Result<Ranked> {
        let Question { text, filter, limit, min_score, pipeline } = *question;
        tx.at_most(SEARCH_TIMEOUT);
        let wanted = match limit {
            ..=CANDIDATES => CANDIDATES,
            _ => limit.max(MORE_CANDIDATES),
        };
        let embedding = embedding.filter(|_| pipeline.vectors());
        let mut by_words = match pipeline.words() {
            true => self.by_words(tx, text, filter, wanted.max(MORE_CANDIDATES)).await?,
            false => Vec::new(),
        };
        by_words.truncate(wanted);
        let model_id = self.embedder.model_id();
        let nearest = match embedding {
            Some(e) => {
                let exact_below = self.exact_below.load(Ordering::Relaxed);
                let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
                store::nearest(tx, &e.dense, model_id, filter, limit, exact_below).await?
            }
            None => None,
        };
        if embedding.is_some() {
            self.note_active(nearest.is_some());
        }
        // vectors of a model that the database is not searched with say nothing
        let embedding = embedding.filter(|_| nearest.is_some());
        let degraded = pipeline.vectors() && embedding.is_none();
        let by_vector = nearest.map(|(notes, _)| notes).unwrap_or_default();
        let candidates = Candidates::new(by_words, by_vector);
        let ids = candidates.ids();
        if ids.is_empty() {
            return Ok(Ranked { candidates: Vec::new(), limit, pipeline, degraded });
        }
        let sparse = embedding.and_then(|e| e.sparse.as_ref()).filter(|_| pipeline.reranks());
        let reference = embedding.map(|e| Reference {
            dense: &e.dense,
            model_id,
            sparse: sparse.zip(self.embedder.sparse_model_id()),
            vectors: pipeline.reranks(),
        });
        let near = store::similarities(tx, &ids, reference.as_ref()).await?;
        let query_expansion = sparse.map_or(0.0, |s| f64::from(s.dot(s)));
        let mut ranked = candidates.rank(near, query_expansion);
        ranked.retain(|placed| placed.score >= min_score);
        let may_come_forward = match &self.cross {
            Some(_) if pipeline.cross_encodes() => CROSS_ENCODED,
            _ => 0,
        };
        // and what is equal to the last of them: the notes tell which is the newest
        let most = limit.max(may_come_forward);
        if let Some(last) = ranked.get(most.saturating_sub(1)).cloned() {
            ranked.truncate(ranked.partition_point(|placed| placed.order(&last).is_le()));
        }
        let ids: Vec<MemoryId> = ranked.iter().map(|p| p.near.memory_id.clone()).collect();
        let notes = store::notes(tx, &ids).await?;
        let mut notes: HashMap<MemoryId, Memory> =
            notes.into_iter().map(|memory| (memory.id.clone(), memory)).collect();
        let mut read: Vec<(Placed, Memory)> = ranked
            .into_iter()
            .filter_map(|placed| notes.remove(&placed.near.memory_id).map(|note| (placed, note)))
            .collect();
        read.sort_by(|(a, a_note), (b, b_note)| {
            a.order(b)
                .then_with(|| b_note.created_at.cmp(&a_note.created_at))
                .then_with(|| b_note.id.cmp(&a_note.id))
        });
        read.truncate(most);
        let candidates = read
            .into_iter()
            .map(|(Placed { near, score, .. }, memory)| {
                (Candidate { memory, passage: near.passage }, score)
            })
            .collect();
        Ok(Ranked { candidates, limit, pipeline, degraded })
    }

    /// Candidates by their words; literally, where the dictionary knows none of them.
    async fn by_words(
        &self,
        tx: &mut Tx,
        text: &str,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<(MemoryId, f64)>> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let found = store::lexical(tx, text, filter, limit).await?;
        let pieces = if found.is_empty() { pieces(text) } else { Vec::new() };
        if pieces.is_empty() {
            return Ok(found);
        }
        store::substring(tx, &pieces, filter, limit).await
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
