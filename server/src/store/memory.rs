//! Notes of the team's memory.

use super::ids::{MemoryId, OrgId, SpaceId, UserId};
use super::schema::memories;
use super::{Store, Tx, spaces, visibility};
use crate::auth::{OrgRole, SpaceRole};
use crate::error::{Error, Result};
use crate::search::embedder::{NoteEmbedding, Sparse};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use pgvector::SparseVector;

/// Ids of a reranker's vocabulary are below this.
pub const VOCABULARY_BOUND: i32 = 1 << 20;

/// Who sees a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Its author.
    Private,
    /// The members of its Space.
    Space,
    /// Everybody in the organization.
    Org,
}

impl Visibility {
    /// As the contract and the database spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Visibility::Private => "PRIVATE",
            Visibility::Space => "SPACE",
            Visibility::Org => "ORG",
        }
    }

    fn stored(text: &str) -> Result<Self> {
        match text {
            "PRIVATE" => Ok(Visibility::Private),
            "SPACE" => Ok(Visibility::Space),
            "ORG" => Ok(Visibility::Org),
            other => Err(Error::internal(format!("the database holds visibility {other}"))),
        }
    }
}

/// A note, as it is stored.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = memories)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Memory {
    pub id: MemoryId,
    pub org_id: OrgId,
    pub space_id: Option<SpaceId>,
    pub author_user_id: UserId,
    pub visibility: String,
    pub content: String,
    pub tags: Vec<String>,
    pub source_url: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a new note is made of. `space_id` goes with [`Visibility::Space`], and only with it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct NewMemory {
    pub visibility: Visibility,
    pub space_id: Option<SpaceId>,
    pub content: String,
    pub tags: Vec<String>,
    pub source_url: Option<String>,
}

/// What a note is found by, and by which models that was computed.
pub struct Embedded<'a> {
    /// The note's vectors.
    pub note: &'a NoteEmbedding,
    /// Of the passages' vectors.
    pub model_id: &'a str,
    /// Of the expansion.
    pub sparse_model_id: Option<&'a str>,
}

/// Which notes to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this visibility.
    pub visibility: Option<Visibility>,
    /// Only this Space's.
    pub space_id: Option<SpaceId>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only by this author.
    pub author_user_id: Option<UserId>,
    /// Only older than this note.
    pub before: Option<MemoryId>,
    /// At most so many.
    pub limit: i64,
}

/// A vector as PostgreSQL reads it.
fn literal(components: &[f32]) -> String {
    let mut text = String::with_capacity(components.len() * 10 + 2);
    text.push('[');
    for (i, x) in components.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(&x.to_string());
    }
    text.push(']');
    text
}

/// Term weights as a `sparsevec`.
pub(super) fn sparsevec(sparse: &Sparse) -> SparseVector {
    let terms = sparse
        .terms()
        .iter()
        .filter_map(|(id, weight)| Some((i32::try_from(*id).ok()?, *weight)))
        .filter(|(id, _)| *id < VOCABULARY_BOUND)
        .collect::<std::collections::BTreeMap<i32, f32>>();
    SparseVector::from_map(terms.iter(), VOCABULARY_BOUND)
}

/// The passages and the expansion of a note, as columns to bind.
struct Columns {
    starts: Vec<i32>,
    ends: Vec<i32>,
    vectors: Vec<String>,
    numbers: Vec<i16>,
    terms: Option<SparseVector>,
}

impl Columns {
    fn of(embedded: Option<&Embedded<'_>>) -> Self {
        let passages = embedded.map(|e| e.note.passages.as_slice()).unwrap_or_default();
        let offset = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Columns {
            starts: passages.iter().map(|p| offset(p.start)).collect(),
            ends: passages.iter().map(|p| offset(p.end)).collect(),
            vectors: passages.iter().map(|p| literal(p.dense.as_slice())).collect(),
            numbers: (0..).take(passages.len()).collect(),
            terms: embedded.and_then(|e| e.note.sparse.as_ref()).map(sparsevec),
        }
    }
}

/// Writes a note and what it is found by, in one round trip. Without `embedded`, or with vectors of
/// models that the database is not searched with, it is found by its words alone, until [`embed`]
/// catches up.
pub async fn create(
    tx: &mut Tx,
    new: &NewMemory,
    embedded: Option<&Embedded<'_>>,
) -> Result<Memory> {
    if let Some(space) = &new.space_id {
        let (_, role) = spaces::view(tx, space).await?;
        if !role.may_write() {
            return Err(Error::forbidden("a VIEWER of this Space cannot write notes in it"));
        }
    }
    let caller = tx.caller().clone();
    let id = MemoryId::generate();
    let columns = Columns::of(embedded);
    let now = tx.now();

    #[derive(diesel::QueryableByName)]
    struct Written {
        #[diesel(sql_type = Timestamptz)]
        created_at: DateTime<Utc>,
    }
    // Raw SQL: three tables in one statement, and vectors in arrays
    let Written { created_at } = diesel::sql_query(
        "WITH note AS (
             INSERT INTO memories (id, org_id, space_id, author_user_id, visibility, content, tags,
                 source_url, created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, t.now, t.now
             FROM (SELECT coalesce($9, clock_timestamp()) AS now) t
             RETURNING created_at
         ), embeddings AS (
             INSERT INTO memory_embeddings (memory_id, model_id, passage, org_id, space_id,
                 author_user_id, visibility, starts_at, ends_at, embedding)
             SELECT $1, $10, p.number, $2, $3, $4, $5, p.starts_at, p.ends_at, p.vector::halfvec
             FROM unnest($11, $12, $13, $14) AS p(number, starts_at, ends_at, vector)
             WHERE is_active_model($10)
         ), expansion AS (
             INSERT INTO memory_expansions (memory_id, org_id, model_id, terms)
             SELECT $1, $2, $15, $16 WHERE $15 IS NOT NULL AND $16 IS NOT NULL
                 AND is_active_sparse_model($15)
         )
         SELECT created_at FROM note",
    )
    .bind::<Text, _>(&id)
    .bind::<Text, _>(&caller.org_id)
    .bind::<Nullable<Text>, _>(&new.space_id)
    .bind::<Text, _>(&caller.user_id)
    .bind::<Text, _>(new.visibility.as_str())
    .bind::<Text, _>(&new.content)
    .bind::<Array<Text>, _>(&new.tags)
    .bind::<Nullable<Text>, _>(&new.source_url)
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Text, _>(embedded.map_or("", |e| e.model_id))
    .bind::<Array<SmallInt>, _>(columns.numbers)
    .bind::<Array<Integer>, _>(columns.starts)
    .bind::<Array<Integer>, _>(columns.ends)
    .bind::<Array<Text>, _>(columns.vectors)
    .bind::<Nullable<Text>, _>(embedded.and_then(|e| e.sparse_model_id))
    .bind::<Nullable<pgvector::sql_types::SparseVector>, _>(columns.terms)
    .get_result(tx.connection())
    .await?;
    Ok(Memory {
        id,
        org_id: caller.org_id,
        space_id: new.space_id.clone(),
        author_user_id: caller.user_id,
        visibility: new.visibility.as_str().to_owned(),
        content: new.content.clone(),
        tags: new.tags.clone(),
        source_url: new.source_url.clone(),
        created_at,
        updated_at: created_at,
    })
}

/// Notes that the caller can see, newest first, and how many match the filter in all.
pub async fn list(tx: &mut Tx, filter: &Filter) -> Result<(Vec<Memory>, i64)> {
    if let Some(space) = &filter.space_id {
        spaces::view(tx, space).await?;
    }
    let caller = tx.caller().clone();
    let older_than: Option<(DateTime<Utc>, MemoryId)> = match &filter.before {
        None => None,
        Some(before) => Some(
            memories::table
                .filter(visibility::memory(&caller))
                .filter(memories::id.eq(before))
                .select((memories::created_at, memories::id))
                .first(tx.connection())
                .await
                .optional()?
                .ok_or_else(|| Error::not_found("memory: `before` names none that you can see"))?,
        ),
    };
    let matching = || {
        let mut query = memories::table.filter(visibility::memory(&caller)).into_boxed();
        if let Some(visibility) = filter.visibility {
            query = query.filter(memories::visibility.eq(visibility.as_str()));
        }
        if let Some(space) = &filter.space_id {
            query = query.filter(memories::space_id.eq(space));
        }
        if let Some(tag) = &filter.tag {
            query = query.filter(memories::tags.contains(vec![tag.as_str()]));
        }
        if let Some(author) = &filter.author_user_id {
            query = query.filter(memories::author_user_id.eq(author));
        }
        query
    };
    let mut page = matching();
    if let Some((at, id)) = &older_than {
        page = page.filter(
            memories::created_at.lt(at).or(memories::created_at.eq(at).and(memories::id.lt(id))),
        );
    }
    let rows: Vec<Memory> = page
        .order((memories::created_at.desc(), memories::id.desc()))
        .limit(filter.limit)
        .select(Memory::as_select())
        .load(tx.connection())
        .await?;
    let shown = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let total = if older_than.is_none() && shown < filter.limit {
        shown
    } else {
        matching().count().get_result(tx.connection()).await?
    };
    Ok((rows, total))
}

/// Deletes a note for good: its author may, for SPACE also that Space's OWNER and EDITOR, for ORG
/// the organization's OWNER and ADMIN (contract E3).
pub async fn delete(tx: &mut Tx, id: &MemoryId) -> Result<()> {
    let caller = tx.caller().clone();
    let note: Memory = memories::table
        .filter(visibility::memory(&caller))
        .filter(memories::id.eq(id))
        .select(Memory::as_select())
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("memory"))?;
    let may = note.author_user_id == caller.user_id
        || match (Visibility::stored(&note.visibility)?, &note.space_id) {
            (Visibility::Space, Some(space)) => {
                let (_, role) = spaces::view(tx, space).await?;
                matches!(role, SpaceRole::Owner | SpaceRole::Editor)
            }
            (Visibility::Org, _) => matches!(caller.role, OrgRole::Owner | OrgRole::Admin),
            _ => false,
        };
    if !may {
        return Err(Error::forbidden(
            "only a note's author, and those who run its Space or organization, may delete it",
        ));
    }
    let gone = diesel::delete(memories::table)
        .filter(visibility::memory(&caller))
        .filter(memories::id.eq(id))
        .execute(tx.connection())
        .await?;
    // somebody else was faster
    if gone == 0 { Err(Error::not_found("memory")) } else { Ok(()) }
}

/// A note that still has no vectors of the model.
#[derive(Debug, diesel::QueryableByName)]
#[expect(missing_docs, reason = "as above")]
pub struct Unembedded {
    #[diesel(sql_type = Text)]
    pub id: MemoryId,
    #[diesel(sql_type = Text)]
    pub content: String,
}

/// Gives a note its vectors, unless it was changed or deleted meanwhile.
pub async fn embed(store: &Store, note: &Unembedded, embedded: &Embedded<'_>) -> Result<()> {
    let columns = Columns::of(Some(embedded));
    let mut tx = store.begin_system().await?;
    diesel::sql_query(
        "WITH note AS (
             SELECT id, org_id, space_id, author_user_id, visibility FROM memories
             WHERE id = $1 AND content = $2 FOR UPDATE
         ), embeddings AS (
             INSERT INTO memory_embeddings (memory_id, model_id, passage, org_id, space_id,
                 author_user_id, visibility, starts_at, ends_at, embedding)
             SELECT n.id, $3, p.number, n.org_id, n.space_id, n.author_user_id, n.visibility,
                 p.starts_at, p.ends_at, p.vector::halfvec
             FROM note n, unnest($4, $5, $6, $7) AS p(number, starts_at, ends_at, vector)
             ON CONFLICT DO NOTHING
         )
         INSERT INTO memory_expansions (memory_id, org_id, model_id, terms)
         SELECT n.id, n.org_id, $8, $9 FROM note n WHERE $8 IS NOT NULL AND $9 IS NOT NULL
         ON CONFLICT (memory_id, model_id) DO UPDATE SET terms = excluded.terms",
    )
    .bind::<Text, _>(&note.id)
    .bind::<Text, _>(&note.content)
    .bind::<Text, _>(embedded.model_id)
    .bind::<Array<SmallInt>, _>(columns.numbers)
    .bind::<Array<Integer>, _>(columns.starts)
    .bind::<Array<Integer>, _>(columns.ends)
    .bind::<Array<Text>, _>(columns.vectors)
    .bind::<Nullable<Text>, _>(embedded.sparse_model_id)
    .bind::<Nullable<pgvector::sql_types::SparseVector>, _>(columns.terms)
    .execute(tx.connection())
    .await?;
    tx.commit().await
}
