//! Candidates of a search, and the notes behind them.
//!
//! Both arms yield ids and scores only; [`notes`] then reads the rows under the caller's predicate
//! and under the policy, so that no retrieval code can show what is not the caller's.

use super::ids::{MemoryId, SpaceId};
use super::memory::{Memory, sparsevec};
use super::schema::{memories, memory_embeddings};
use super::{Tx, visibility};
use crate::error::Result;
use crate::search::embedder::{Dense, Sparse};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Double, Integer, Nullable, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use pgvector::HalfVector;
use pgvector::sql_types::{HalfVector as HalfVectorType, SparseVector as SparseVectorType};

/// Below so many visible passages every one is compared; above, the HNSW index is walked. Measured
/// at 100,000 notes: the exact scan takes 6 ms over 1,440 rows, 18 ms over 10,000, and has nothing
/// to miss; the index loses recall below a few thousand.
pub const EXACT_BELOW: i64 = 10_000;
/// Most distinct words of a query that the lexical arm looks for.
pub const MAX_QUERY_TERMS: i32 = 64;
/// `hnsw.ef_search`: how many neighbours the index keeps in view.
const EF_SEARCH: u32 = 100;
/// Passages fetched for each note wanted, since a long note has several.
const PASSAGES_PER_NOTE: i64 = 2;

/// Which notes a search looks at, among those that the caller can see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only this Space's.
    pub space_id: Option<SpaceId>,
}

#[derive(diesel::QueryableByName)]
struct Scored {
    #[diesel(sql_type = Text)]
    memory_id: MemoryId,
    #[diesel(sql_type = Double)]
    score: f64,
}

/// The best notes by BM25 of the query's words, any of which may occur.
pub async fn lexical(
    tx: &mut Tx,
    query: &str,
    filter: &Filter,
    limit: i32,
) -> Result<Vec<(MemoryId, f64)>> {
    let rows: Vec<Scored> =
        diesel::sql_query("SELECT memory_id, score FROM lexical_candidates($1, $2, $3, $4)")
            .bind::<Text, _>(query)
            .bind::<Nullable<Text>, _>(&filter.space_id)
            .bind::<Integer, _>(limit)
            .bind::<Integer, _>(MAX_QUERY_TERMS)
            .load(tx.connection())
            .await?;
    Ok(rows.into_iter().map(|row| (row.memory_id, row.score)).collect())
}

/// Notes that contain the pieces of the query literally, by how many of them: for scripts without
/// spaces, emoji, and words that the dictionary throws away.
pub async fn substring(
    tx: &mut Tx,
    pieces: &[String],
    filter: &Filter,
    limit: i64,
) -> Result<Vec<(MemoryId, f64)>> {
    let caller = tx.caller().clone();
    let found = || {
        // Words that the dictionary throws away are looked for only when there is nothing else:
        // `our` is in every `colour`. A word it does not know (of another script, or no word at
        // all) leaves no lexeme either, hence the look at its bytes.
        sql::<BigInt>(
            "(SELECT count(*) FROM unnest((SELECT coalesce(array_agg(p) FILTER (WHERE NOT (\
             p ~ '[a-z]' AND octet_length(p) = length(p) AND to_tsvector('english', p) = '')), \
             array_agg(p)) FROM unnest(",
        )
        .bind::<Array<Text>, _>(pieces.to_vec())
        .sql(") p)) piece WHERE position(piece IN lower(memories.content)) > 0)")
    };
    let mut query = memories::table
        .filter(visibility::memory(&caller))
        .filter(found().gt(0))
        .order((found().desc(), memories::created_at.desc(), memories::id.desc()))
        .limit(limit)
        .select((memories::id, found()))
        .into_boxed();
    if let Some(space) = &filter.space_id {
        query = query.filter(memories::space_id.eq(space));
    }
    let rows: Vec<(MemoryId, i64)> = query.load(tx.connection()).await?;
    let of = pieces.len().max(1) as f64;
    Ok(rows.into_iter().map(|(id, n)| (id, n as f64 / of)).collect())
}

/// The notes whose passages are nearest to the query's vector, nearest first.
pub async fn nearest(
    tx: &mut Tx,
    query: &Dense,
    model_id: &str,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<MemoryId>> {
    let visible = visible_passages(tx, model_id, filter, EXACT_BELOW).await?;
    if visible >= EXACT_BELOW {
        // The planner must not choose: it took the index where the exact scan was a hundred times
        // faster. `strict_order` keeps walking until enough rows pass the filter.
        tx.connection()
            .batch_execute(&format!(
                "SET LOCAL hnsw.iterative_scan = strict_order; \
                 SET LOCAL hnsw.ef_search = {EF_SEARCH}; SET LOCAL enable_seqscan = off; \
                 SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
            ))
            .await?;
        let found = ordered(tx, query, model_id, filter, limit, Scan::Index).await?;
        tx.connection()
            .batch_execute(
                "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; \
                 SET LOCAL enable_sort = on",
            )
            .await?;
        let wanted = usize::try_from(limit * PASSAGES_PER_NOTE).unwrap_or(usize::MAX);
        if found.len() >= wanted {
            return Ok(distinct(found, limit));
        }
        // the walk gave up early: look at everything instead
    }
    Ok(distinct(ordered(tx, query, model_id, filter, limit, Scan::Exact).await?, limit))
}

/// How many passages the caller can see, counted up to `most`.
async fn visible_passages(tx: &mut Tx, model_id: &str, filter: &Filter, most: i64) -> Result<i64> {
    let caller = tx.caller().clone();
    let mut seen = memory_embeddings::table
        .filter(visibility::embedding(&caller))
        .filter(memory_embeddings::model_id.eq(model_id))
        .select(memory_embeddings::passage)
        .limit(most)
        .into_boxed();
    if let Some(space) = &filter.space_id {
        seen = seen.filter(memory_embeddings::space_id.eq(space));
    }
    Ok(Counted(seen).get_result::<i64>(tx.connection()).await?)
}

/// `SELECT count(*) FROM (…)`, which Diesel has no word for.
#[derive(diesel::query_builder::QueryId)]
struct Counted<Q>(Q);

impl<Q> diesel::query_builder::QueryFragment<diesel::pg::Pg> for Counted<Q>
where
    Q: diesel::query_builder::QueryFragment<diesel::pg::Pg>,
{
    fn walk_ast<'b>(
        &'b self,
        mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
    ) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        out.push_sql("SELECT count(*) FROM (");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(") counted");
        Ok(())
    }
}

impl<Q> diesel::query_builder::Query for Counted<Q> {
    type SqlType = BigInt;
}

#[derive(Clone, Copy)]
enum Scan {
    /// Every visible passage.
    Exact,
    /// Along the HNSW index.
    Index,
}

async fn ordered(
    tx: &mut Tx,
    query: &Dense,
    model_id: &str,
    filter: &Filter,
    limit: i64,
    scan: Scan,
) -> Result<Vec<MemoryId>> {
    let caller = tx.caller().clone();
    let vector = HalfVector::from_f32_slice(query.as_slice());
    // `+ 0` hides the order from the index
    let (before, after) = match scan {
        Scan::Exact => ("(memory_embeddings.embedding <=> ", ") + 0"),
        Scan::Index => ("memory_embeddings.embedding <=> ", ""),
    };
    let distance = sql::<Double>(before).bind::<HalfVectorType, _>(vector).sql(after);
    let mut nearest = memory_embeddings::table
        .filter(visibility::embedding(&caller))
        .filter(memory_embeddings::model_id.eq(model_id))
        .order(distance)
        .limit(limit * PASSAGES_PER_NOTE)
        .select(memory_embeddings::memory_id)
        .into_boxed();
    if let Some(space) = &filter.space_id {
        nearest = nearest.filter(memory_embeddings::space_id.eq(space));
    }
    Ok(nearest.load(tx.connection()).await?)
}

fn distinct(passages: Vec<MemoryId>, limit: i64) -> Vec<MemoryId> {
    let mut seen = std::collections::HashSet::new();
    let mut notes = passages;
    notes.retain(|id| seen.insert(id.clone()));
    notes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    notes
}

/// A candidate with everything that ranks it.
#[derive(Clone, Debug, Queryable)]
pub struct Candidate {
    /// The note.
    pub memory: Memory,
    /// Cosine similarity of its nearest passage, `-1..=1`; `None` without vectors.
    pub cosine: Option<f64>,
    /// Inner product with the query's expansion; `None` without one.
    pub expansion: Option<f64>,
}

/// What candidates are compared with.
pub struct Reference<'a> {
    /// The query's vector.
    pub dense: &'a Dense,
    /// Its model.
    pub model_id: &'a str,
    /// The query's expansion and its model.
    pub sparse: Option<(&'a Sparse, &'a str)>,
}

/// The rows of `ids` that the caller can see, with their similarities.
pub async fn notes(
    tx: &mut Tx,
    ids: &[MemoryId],
    reference: Option<&Reference<'_>>,
) -> Result<Vec<Candidate>> {
    let caller = tx.caller().clone();
    let vector = reference.map(|r| HalfVector::from_f32_slice(r.dense.as_slice()));
    let sparse = reference.and_then(|r| r.sparse);
    let rows: Vec<(Memory, Option<f64>, Option<f64>)> = memories::table
        .filter(visibility::memory(&caller))
        .filter(memories::id.eq_any(ids))
        .select((
            Memory::as_select(),
            sql::<Nullable<Double>>("(SELECT max(1 - (e.embedding <=> ")
                .bind::<Nullable<HalfVectorType>, _>(vector)
                .sql(
                    ")) FROM memory_embeddings e WHERE e.memory_id = memories.id AND e.model_id = ",
                )
                .bind::<Nullable<Text>, _>(reference.map(|r| r.model_id))
                .sql(")"),
            sql::<Nullable<Double>>("(SELECT -(x.terms <#> ")
                .bind::<Nullable<SparseVectorType>, _>(sparse.map(|(s, _)| sparsevec(s)))
                .sql(") FROM memory_expansions x WHERE x.memory_id = memories.id AND x.model_id = ")
                .bind::<Nullable<Text>, _>(sparse.map(|(_, model)| model))
                .sql(")"),
        ))
        .load(tx.connection())
        .await?;
    Ok(rows
        .into_iter()
        .map(|(memory, cosine, expansion)| Candidate { memory, cosine, expansion })
        .collect())
}
