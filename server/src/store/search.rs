//! Candidates of a search, and the notes behind them.
//!
//! Both arms yield ids and scores only; [`notes`] then reads the rows under the caller's predicate
//! and under the policy, so that no retrieval code can show what is not the caller's.

use super::ids::{MemoryId, SpaceId, UserId};
use super::memory::{Memory, Visibility, sparsevec};
use super::schema::{memories, memory_embeddings};
use super::statements::Keep;
use super::{Store, Tx, visibility};
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use half::slice::HalfFloatSliceExt;
use pgvector::HalfVector;
use pgvector::sql_types::{HalfVector as HalfVectorType, SparseVector as SparseVectorType};
use std::ops::Range;
use switchy_types::vectors::{Dense, Sparse};

/// Below so many visible passages every one is compared; above, the HNSW index is walked. Measured
/// at 100,000 notes: the exact scan takes 6 ms over 1,440 rows, 18 ms over 10,000, and has nothing
/// to miss. The index is no faster while a tenth of all passages can be seen (it walks past the
/// others), and loses recall below that; where half can be seen, it is five times as fast.
pub const EXACT_BELOW: i64 = 20_000;
/// Comparing takes time with the `v` passages that can be seen, walking the index with the `n / v`
/// that it passes for each of them: they meet where `v² = n` times this. With 100,000 of 1,000,000
/// to be seen, the index took 8 to 15 ms and comparing 125 to 140. So the index is walked from the
/// greater of [`EXACT_BELOW`] and `sqrt(n * BREAK_EVEN)` on.
pub const BREAK_EVEN: f64 = 1_000.0;
/// Times as many passages are compared where the walk along the index has found too little; of more,
/// what it has found is all.
const EXACT_AT_MOST: i64 = 5;
/// Where every other passage can be seen, the walk passes little else and misses nothing: then the
/// index is walked from so many on. As many are compared in the same two milliseconds.
pub const WALKED_FROM: i64 = 3_000;
/// Most distinct words of a query that the lexical arm looks for.
pub const MAX_QUERY_TERMS: i32 = 64;
/// Notes that the common words of a query may bring together. What the rare ones may bring, and how
/// much of the index is read, are multiples of it, all in `lexical_candidates`: they are counted over
/// everything that the caller sees, so that no question costs more for how the notes are spread.
pub const LEXICAL_BUDGET: i64 = 500;
/// Buckets of so many notes are measured now and then instead of counted for every search.
pub const MEASURED_FROM: i64 = 200;
/// Words of a measured bucket that so many of its notes have are known to be common.
pub const LISTED_FROM: i64 = 20;
/// Notes that stand for all of a larger bucket when its words are counted.
const SAMPLE: i64 = 20_000;
/// `hnsw.ef_search`: how many neighbours the index keeps in view. 200 instead of 100 costs about
/// a millisecond, and finds more where little of what is near can be seen.
const EF_SEARCH: u32 = 200;
/// Passages fetched for each note wanted, since a long note has several.
const PASSAGES_PER_NOTE: i64 = 2;

/// Which notes a search looks at, among those that the caller can see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only this Space's.
    pub space_id: Option<SpaceId>,
    /// Only of this visibility.
    pub visibility: Option<Visibility>,
    /// Only by this author.
    pub author_user_id: Option<UserId>,
    /// Only those that have all of these; none: any.
    pub tags: Vec<String>,
    /// Only those written then or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Only those written earlier.
    pub created_before: Option<DateTime<Utc>>,
}

impl Filter {
    /// Whether it asks for what the vectors' table does not know.
    fn needs_notes(&self) -> bool {
        !self.tags.is_empty() || self.created_after.is_some() || self.created_before.is_some()
    }

    /// As SQL takes the tags: `NULL` for any.
    fn tags(&self) -> Option<&[String]> {
        (!self.tags.is_empty()).then_some(&*self.tags)
    }
}

/// Notes that pass the filter, as far as their own table knows.
macro_rules! passing {
    ($query:expr, $filter:expr) => {{
        let mut query = $query;
        let filter: &Filter = $filter;
        if let Some(space) = &filter.space_id {
            query = query.filter(memories::space_id.eq(space));
        }
        if let Some(visibility) = filter.visibility {
            query = query.filter(memories::visibility.eq(visibility.as_str()));
        }
        if let Some(author) = &filter.author_user_id {
            query = query.filter(memories::author_user_id.eq(author));
        }
        if !filter.tags.is_empty() {
            query = query.filter(memories::tags.contains(&filter.tags));
        }
        if let Some(at) = filter.created_after {
            query = query.filter(memories::created_at.ge(at));
        }
        if let Some(at) = filter.created_before {
            query = query.filter(memories::created_at.lt(at));
        }
        query
    }};
}

/// Passages that pass the filter, as far as their table knows.
macro_rules! passing_passages {
    ($query:expr, $filter:expr) => {{
        let mut query = $query;
        let filter: &Filter = $filter;
        if let Some(space) = &filter.space_id {
            query = query.filter(memory_embeddings::space_id.eq(space));
        }
        if let Some(visibility) = filter.visibility {
            query = query.filter(memory_embeddings::visibility.eq(visibility.as_str()));
        }
        if let Some(author) = &filter.author_user_id {
            query = query.filter(memory_embeddings::author_user_id.eq(author));
        }
        query
    }};
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
    let rows: Vec<Scored> = diesel::sql_query(
        "SELECT memory_id, score FROM lexical_candidates($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind::<Text, _>(query)
    .bind::<Integer, _>(limit)
    .bind::<Integer, _>(MAX_QUERY_TERMS)
    .bind::<BigInt, _>(LEXICAL_BUDGET)
    .bind::<Nullable<Text>, _>(&filter.space_id)
    .bind::<Nullable<Text>, _>(filter.visibility.map(Visibility::as_str))
    .bind::<Nullable<Text>, _>(&filter.author_user_id)
    .bind::<Nullable<Array<Text>>, _>(filter.tags())
    .bind::<Nullable<Timestamptz>, _>(filter.created_after)
    .bind::<Nullable<Timestamptz>, _>(filter.created_before)
    .kept()
    .load(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.memory_id, row.score)).collect())
}

/// Counts the notes and the common words of the large buckets anew, where they have changed.
pub async fn refresh_statistics(store: &Store) -> Result<()> {
    #[derive(diesel::QueryableByName)]
    struct More {
        #[diesel(sql_type = Bool)]
        more: bool,
    }
    // Raw SQL: functions of maintenance, which no caller's predicate applies to
    let mut tx = store.begin_system().await?;
    diesel::sql_query("SELECT count_memories($1)")
        .bind::<BigInt, _>(MEASURED_FROM)
        .kept()
        .execute(tx.connection())
        .await?;
    tx.commit().await?;
    loop {
        let mut tx = store.begin_system().await?;
        let More { more } = diesel::sql_query("SELECT count_common_words($1, $2) AS more")
            .bind::<BigInt, _>(LISTED_FROM)
            .bind::<BigInt, _>(SAMPLE)
            .kept()
            .get_result(tx.connection())
            .await?;
        tx.commit().await?;
        if !more {
            return Ok(());
        }
    }
}

/// From how many visible passages on the index is faster, by the passages there are now.
pub async fn exact_below(store: &Store) -> Result<i64> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Double)]
        passages: f64,
    }
    let mut tx = store.begin_system().await?;
    // Raw SQL: PostgreSQL's own estimate, -1 while it has none
    let Row { passages } = diesel::sql_query(
        "SELECT greatest(c.reltuples, 0)::double precision AS passages FROM pg_class c \
         WHERE c.oid = 'memory_embeddings'::regclass",
    )
    .kept()
    .get_result(tx.connection())
    .await?;
    tx.commit().await?;
    let below = EXACT_BELOW.max((passages * BREAK_EVEN).sqrt() as i64);
    if passages < 1.0 {
        return Ok(below);
    }
    Ok(below.min(WALKED_FROM.max((passages / 2.0) as i64)))
}

/// Notes that contain the pieces of the query literally, by how many of them: for scripts without
/// spaces, emoji, and words that the dictionary throws away. The newest notes are looked through, up to
/// so much text as the function says.
pub async fn substring(
    tx: &mut Tx,
    pieces: &[String],
    filter: &Filter,
    limit: i32,
) -> Result<Vec<(MemoryId, f64)>> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        memory_id: MemoryId,
        #[diesel(sql_type = BigInt)]
        pieces: i64,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT memory_id, pieces FROM literal_memories($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind::<Array<Text>, _>(pieces)
    .bind::<Integer, _>(limit)
    .bind::<Nullable<Text>, _>(&filter.space_id)
    .bind::<Nullable<Text>, _>(filter.visibility.map(Visibility::as_str))
    .bind::<Nullable<Text>, _>(&filter.author_user_id)
    .bind::<Nullable<Array<Text>>, _>(filter.tags())
    .bind::<Nullable<Timestamptz>, _>(filter.created_after)
    .bind::<Nullable<Timestamptz>, _>(filter.created_before)
    .kept()
    .load(tx.connection())
    .await?;
    let of = pieces.len().max(1) as f64;
    Ok(rows.into_iter().map(|row| (row.memory_id, row.pieces as f64 / of)).collect())
}

/// How the nearest passages were looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Every one that may be was compared.
    Exact,
    /// Along the HNSW index.
    Index,
}

/// The notes whose passages are nearest to the query's vector, nearest first, and how they were
/// found; `None` when the database is searched with another model. Fewer than `exact_below` (see
/// [`EXACT_BELOW`]) are all compared.
pub async fn nearest(
    tx: &mut Tx,
    query: &Dense,
    model_id: &str,
    filter: &Filter,
    limit: i64,
    exact_below: i64,
) -> Result<Option<(Vec<MemoryId>, Scan)>> {
    let among = match filter.needs_notes() {
        true => Some(filtered(tx, filter, exact_below).await?),
        false => None,
    };
    let most = if among.is_some() { 0 } else { exact_below };
    let Some(visible) = visible_passages(tx, model_id, filter, most).await? else {
        return Ok(None);
    };
    let few = match &among {
        Some(ids) => i64::try_from(ids.len()).is_ok_and(|n| n < exact_below),
        None => visible < exact_below,
    };
    let nearest = Nearest { query, model_id, filter, limit };
    if few {
        let found = nearest.passages(tx, Scan::Exact, among.as_deref()).await?;
        return Ok(Some((distinct(found, limit), Scan::Exact)));
    }
    // The planner must not choose: it took the index where the exact scan was a hundred times
    // faster. Nor must it plan anew: there is one way to go, and looking for it takes as long as a
    // quarter of the walk. `strict_order` keeps walking until enough rows pass the filter.
    tx.connection().ahead_of_next(&format!(
        "SET LOCAL hnsw.iterative_scan = strict_order; SET LOCAL hnsw.ef_search = {EF_SEARCH}; \
         SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
         SET LOCAL enable_sort = off; SET LOCAL plan_cache_mode = force_generic_plan"
    ));
    let found = nearest.passages(tx, Scan::Index, None).await?;
    tx.connection().ahead_of_next(
        "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; \
         SET LOCAL enable_sort = on; SET LOCAL plan_cache_mode = auto",
    );
    let wanted = usize::try_from(limit * PASSAGES_PER_NOTE).unwrap_or(usize::MAX);
    if found.len() >= wanted {
        return Ok(Some((distinct(found, limit), Scan::Index)));
    }
    // the walk gave up early: look at everything instead, unless that is too much for one question
    let most = exact_below.saturating_mul(EXACT_AT_MOST);
    if visible_passages(tx, model_id, filter, most).await?.is_none_or(|visible| visible >= most) {
        return Ok(Some((distinct(found, limit), Scan::Index)));
    }
    let found = nearest.passages(tx, Scan::Exact, None).await?;
    Ok(Some((distinct(found, limit), Scan::Exact)))
}

/// Up to `most` notes that pass a filter which only the notes know.
async fn filtered(tx: &mut Tx, filter: &Filter, most: i64) -> Result<Vec<MemoryId>> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        id: MemoryId,
    }
    let rows: Vec<Row> =
        diesel::sql_query("SELECT id FROM filtered_memories($1, $2, $3, $4, $5, $6, $7) AS id")
            .bind::<Integer, _>(i32::try_from(most).unwrap_or(i32::MAX))
            .bind::<Nullable<Text>, _>(&filter.space_id)
            .bind::<Nullable<Text>, _>(filter.visibility.map(Visibility::as_str))
            .bind::<Nullable<Text>, _>(&filter.author_user_id)
            .bind::<Nullable<Array<Text>>, _>(filter.tags())
            .bind::<Nullable<Timestamptz>, _>(filter.created_after)
            .bind::<Nullable<Timestamptz>, _>(filter.created_before)
            .kept()
            .load(tx.connection())
            .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// How many passages the caller can see, `most` for that many or more; `None` when the database is
/// searched with another model. Of large buckets the number of notes is known; only where that does
/// not decide are the passages counted.
async fn visible_passages(
    tx: &mut Tx,
    model_id: &str,
    filter: &Filter,
    most: i64,
) -> Result<Option<i64>> {
    let caller = tx.caller().clone();
    let seen = memory_embeddings::table
        .filter(visibility::embedding(&caller))
        .filter(memory_embeddings::model_id.eq(model_id))
        .select(memory_embeddings::model_id)
        .limit(most)
        .into_boxed();
    let counted = Counted {
        seen: passing_passages!(seen, filter),
        model_id,
        space_id: filter.space_id.as_ref(),
        visibility: filter.visibility.map(Visibility::as_str),
        // authors have no buckets
        whole_buckets: filter.author_user_id.is_none(),
        most,
    };
    Ok(counted.get_result::<Option<i64>>(tx.connection()).await?)
}

/// `SELECT CASE WHEN the model is searched with THEN least(most, what is known or counted) END`,
/// which Diesel has no word for.
struct Counted<'a, Q> {
    seen: Q,
    model_id: &'a str,
    space_id: Option<&'a SpaceId>,
    visibility: Option<&'static str>,
    whole_buckets: bool,
    most: i64,
}

impl<Q> diesel::query_builder::QueryId for Counted<'_, Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q> diesel::query_builder::QueryFragment<diesel::pg::Pg> for Counted<'_, Q>
where
    Q: diesel::query_builder::QueryFragment<diesel::pg::Pg>,
{
    fn walk_ast<'b>(
        &'b self,
        mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
    ) -> QueryResult<()> {
        out.push_sql("SELECT CASE WHEN is_active_model(");
        out.push_bind_param::<Text, _>(self.model_id)?;
        out.push_sql(") THEN CASE WHEN ");
        out.push_bind_param::<Bool, _>(&self.whole_buckets)?;
        out.push_sql(" AND measured_notes(");
        out.push_bind_param::<Nullable<Text>, _>(&self.space_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.visibility)?;
        out.push_sql(") >= ");
        out.push_bind_param::<BigInt, _>(&self.most)?;
        out.push_sql(" THEN ");
        out.push_bind_param::<BigInt, _>(&self.most)?;
        out.push_sql(" ELSE (SELECT count(*) FROM (");
        self.seen.walk_ast(out.reborrow())?;
        out.push_sql(") seen) END END");
        Ok(())
    }
}

impl<Q> diesel::query_builder::Query for Counted<'_, Q> {
    type SqlType = Nullable<BigInt>;
}

/// What is to be near to what.
struct Nearest<'a> {
    query: &'a Dense,
    model_id: &'a str,
    filter: &'a Filter,
    limit: i64,
}

impl Nearest<'_> {
    /// The notes of the nearest passages; with `among` those that pass the filter are known.
    async fn passages(
        &self,
        tx: &mut Tx,
        scan: Scan,
        among: Option<&[MemoryId]>,
    ) -> Result<Vec<MemoryId>> {
        let caller = tx.caller().clone();
        let vector = HalfVector::from_f32_slice(self.query.as_slice());
        // `+ 0` hides the order from the index
        let (before, after) = match scan {
            Scan::Exact => ("(memory_embeddings.embedding <=> ", ") + 0"),
            Scan::Index => ("memory_embeddings.embedding <=> ", ""),
        };
        let distance = sql::<Double>(before).bind::<HalfVectorType, _>(vector).sql(after);
        let nearest = memory_embeddings::table
            .filter(visibility::embedding(&caller))
            .filter(memory_embeddings::model_id.eq(self.model_id))
            .order(distance)
            .limit(self.limit * PASSAGES_PER_NOTE)
            .select(memory_embeddings::memory_id)
            .into_boxed();
        let mut nearest = passing_passages!(nearest, self.filter);
        match among {
            Some(ids) => nearest = nearest.filter(memory_embeddings::memory_id.eq_any(ids)),
            None if self.filter.needs_notes() => {
                let notes = memories::table
                    .filter(visibility::memory(&caller))
                    .select(memories::id)
                    .into_boxed();
                let notes = passing!(notes, self.filter);
                nearest = nearest.filter(memory_embeddings::memory_id.eq_any(notes));
            }
            None => {}
        }
        // one text for each set of filters
        Ok(nearest.kept().load(tx.connection()).await?)
    }
}

fn distinct(passages: Vec<MemoryId>, limit: i64) -> Vec<MemoryId> {
    let mut seen = std::collections::HashSet::new();
    let mut notes = passages;
    notes.retain(|id| seen.insert(id.clone()));
    notes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    notes
}

/// What ranks a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Similarity {
    /// The note.
    pub memory_id: MemoryId,
    /// Cosine similarity of its nearest passage, `-1..=1`; `None` without vectors.
    pub cosine: Option<f64>,
    /// Inner product with the query's expansion; `None` without one.
    pub expansion: Option<f64>,
    /// Where the nearest passage is, in bytes of the note's UTF-8.
    pub passage: Option<Range<usize>>,
    /// The nearest passage's vector.
    pub vector: Option<Dense>,
}

/// A candidate that has been read.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The note.
    pub memory: Memory,
    /// Where the nearest passage is, in bytes of the note's UTF-8.
    pub passage: Option<Range<usize>>,
}

/// What candidates are compared with.
pub struct Reference<'a> {
    /// The query's vector.
    pub dense: &'a Dense,
    /// Its model.
    pub model_id: &'a str,
    /// The query's expansion and its model.
    pub sparse: Option<(&'a Sparse, &'a str)>,
    /// Whether the candidates' own vectors are wanted.
    pub vectors: bool,
}

/// A vector as the database keeps it.
fn dense(vector: &HalfVector) -> Option<Dense> {
    let mut components = vec![0.0; vector.as_slice().len()];
    vector.as_slice().convert_to_f32_slice(&mut components);
    Dense::normalised(components)
}

/// How near those of `ids` are that the caller can see; in no order.
pub async fn similarities(
    tx: &mut Tx,
    ids: &[MemoryId],
    reference: Option<&Reference<'_>>,
) -> Result<Vec<Similarity>> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        memory_id: MemoryId,
        #[diesel(sql_type = Nullable<Double>)]
        cosine: Option<f64>,
        #[diesel(sql_type = Nullable<Integer>)]
        starts_at: Option<i32>,
        #[diesel(sql_type = Nullable<Integer>)]
        ends_at: Option<i32>,
        #[diesel(sql_type = Nullable<HalfVectorType>)]
        vector: Option<HalfVector>,
        #[diesel(sql_type = Nullable<Double>)]
        expansion: Option<f64>,
    }
    let sparse = reference.and_then(|r| r.sparse);
    let rows: Vec<Row> =
        diesel::sql_query("SELECT * FROM note_similarities($1, $2, $3, $4, $5, $6)")
            .bind::<Array<Text>, _>(ids)
            .bind::<Nullable<HalfVectorType>, _>(
                reference.map(|r| HalfVector::from_f32_slice(r.dense.as_slice())),
            )
            .bind::<Nullable<Text>, _>(reference.map(|r| r.model_id))
            .bind::<Nullable<SparseVectorType>, _>(sparse.map(|(s, _)| sparsevec(s)))
            .bind::<Nullable<Text>, _>(sparse.map(|(_, model)| model))
            .bind::<Bool, _>(reference.is_some_and(|r| r.vectors))
            .kept()
            .load(tx.connection())
            .await?;
    let offset = |at: Option<i32>| at.and_then(|at| usize::try_from(at).ok());
    Ok(rows
        .into_iter()
        .map(|row| Similarity {
            memory_id: row.memory_id,
            cosine: row.cosine,
            expansion: row.expansion,
            passage: offset(row.starts_at).zip(offset(row.ends_at)).map(|(from, to)| from..to),
            vector: row.vector.and_then(|vector| dense(&vector)),
        })
        .collect())
}

/// Those of `ids` that the caller can see; in no order.
pub async fn notes(tx: &mut Tx, ids: &[MemoryId]) -> Result<Vec<Memory>> {
    let caller = tx.caller().clone();
    Ok(memories::table
        .filter(visibility::memory(&caller))
        .filter(memories::id.eq_any(ids))
        .select(Memory::as_select())
        .load(tx.connection())
        .await?)
}
