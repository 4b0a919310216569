//! Writing notes together with what they are found by: one way for all of them.

use super::{Embedded, Memory, MemoryChange, NewMemory, VOCABULARY_BOUND, Visibility, view};
use crate::error::{Error, Result};
use crate::store::ids::{MemoryId, SpaceId, UserId};
use crate::store::schema::memories;
use crate::store::statements::Keep;
use crate::store::{Tx, spaces, visibility};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use pgvector::SparseVector;
use switchy_types::vectors::Sparse;

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
pub(in crate::store) fn sparsevec(sparse: &Sparse) -> SparseVector {
    let terms = sparse
        .terms()
        .iter()
        .filter_map(|(id, weight)| Some((i32::try_from(*id).ok()?, *weight)))
        .filter(|(id, _)| *id < VOCABULARY_BOUND)
        .collect::<std::collections::BTreeMap<i32, f32>>();
    SparseVector::from_map(terms.iter(), VOCABULARY_BOUND)
}

/// What some notes are found by, as columns to bind. One server has one model, so all of them were
/// made by the same.
#[derive(Default)]
pub(super) struct Columns {
    pub model_id: String,
    /// Of each passage: which note it is of, from 1.
    pub places: Vec<i32>,
    pub numbers: Vec<i16>,
    pub starts: Vec<i32>,
    pub ends: Vec<i32>,
    pub vectors: Vec<String>,
    pub sparse_model_id: Option<String>,
    /// Of each expansion: which note it is of, from 1.
    pub expanded: Vec<i32>,
    pub terms: Vec<SparseVector>,
}

impl Columns {
    pub(super) fn of(notes: &[Option<&Embedded<'_>>]) -> Self {
        let offset = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let mut columns = Columns::default();
        for (place, embedded) in (1..).zip(notes) {
            let Some(embedded) = embedded else { continue };
            embedded.model_id.clone_into(&mut columns.model_id);
            for (number, passage) in (0..).zip(&embedded.note.passages) {
                columns.places.push(place);
                columns.numbers.push(number);
                columns.starts.push(offset(passage.start));
                columns.ends.push(offset(passage.end));
                columns.vectors.push(literal(passage.dense.as_slice()));
            }
            if let (Some(model), Some(sparse)) = (embedded.sparse_model_id, &embedded.note.sparse) {
                columns.sparse_model_id = Some(model.to_owned());
                columns.expanded.push(place);
                columns.terms.push(sparsevec(sparse));
            }
        }
        columns
    }
}

/// 404 and 403 for those outside of the Space, 403 for its VIEWERs.
async fn require_writer(tx: &mut Tx, space: &SpaceId) -> Result<()> {
    let (_, role) = spaces::view(tx, space).await?;
    if role.may_write() {
        return Ok(());
    }
    Err(Error::forbidden("a VIEWER of this Space cannot write notes in it"))
}

/// Writes a note and what it is found by. Without `embedded`, or with vectors of models that the
/// database is not searched with, it is found by its words alone, until [`embed`](super::embed)
/// catches up: it waits for that in the backlog, which has room for so many of an author's notes.
pub async fn create(
    tx: &mut Tx,
    new: &NewMemory,
    embedded: Option<&Embedded<'_>>,
) -> Result<Memory> {
    let written = create_all(tx, std::slice::from_ref(new), &[embedded]).await?;
    written.into_iter().next().ok_or_else(|| Error::internal("the note that was written is gone"))
}

/// Writes notes and what each is found by, in one round trip, all or none. They are one microsecond
/// apart, so that lists have them in this order.
pub async fn create_all(
    tx: &mut Tx,
    new: &[NewMemory],
    embedded: &[Option<&Embedded<'_>>],
) -> Result<Vec<Memory>> {
    let mut spaces: Vec<&SpaceId> = new.iter().filter_map(|n| n.space_id.as_ref()).collect();
    spaces.sort_unstable();
    spaces.dedup();
    for space in spaces {
        require_writer(tx, space).await?;
    }
    let caller = tx.caller().clone();
    let now = tx.now();
    let ids: Vec<MemoryId> = new.iter().map(|_| MemoryId::generate()).collect();
    // PostgreSQL has no arrays of arrays of different lengths
    let tags = new
        .iter()
        .map(|n| serde_json::to_string(&n.tags))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::internal)?;
    let columns = Columns::of(embedded);

    #[derive(QueryableByName)]
    struct Written {
        #[diesel(sql_type = Array<Timestamptz>)]
        created_at: Vec<DateTime<Utc>>,
        #[diesel(sql_type = Nullable<Text>)]
        written_by_user_id: Option<UserId>,
    }
    // Raw SQL: three tables in one statement, and vectors in arrays
    let Written { created_at, written_by_user_id } = diesel::sql_query(
        "WITH moment AS (
             SELECT coalesce($9, clock_timestamp()) AS at
         ), input AS (
             SELECT n.*, m.at + (n.place - 1) * interval '1 microsecond' AS at
             FROM moment m, unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                 $8::text[]) WITH ORDINALITY
                 AS n(id, visibility, space_id, content, tags, source_url, place)
         ), notes AS (
             INSERT INTO memories (id, org_id, space_id, author_user_id, visibility, content, tags,
                 source_url, created_at, updated_at)
             SELECT n.id, $1, n.space_id, $2, n.visibility, n.content,
                 ARRAY(SELECT jsonb_array_elements_text(n.tags::jsonb)), n.source_url, n.at, n.at
             FROM input n
             RETURNING created_at, written_by_user_id
         ), embeddings AS (
             INSERT INTO memory_embeddings (memory_id, model_id, passage, org_id, space_id,
                 author_user_id, visibility, starts_at, ends_at, embedding)
             SELECT n.id, $10, p.number, $1, n.space_id, $2, n.visibility, p.starts_at, p.ends_at,
                 p.vector::halfvec
             FROM unnest($11, $12, $13, $14, $15) AS p(place, number, starts_at, ends_at, vector)
             JOIN input n ON n.place = p.place
             WHERE is_active_model($10)
         ), expansions AS (
             INSERT INTO memory_expansions (memory_id, org_id, model_id, terms)
             SELECT n.id, $1, $16, e.terms
             FROM unnest($17, $18) AS e(place, terms) JOIN input n ON n.place = e.place
             WHERE is_active_sparse_model($16)
         ), waiting AS (
             INSERT INTO memory_backlog (memory_id, org_id, author_user_id)
             SELECT n.id, $1, $2 FROM input n
             WHERE (n.place <> ALL ($11) OR NOT is_active_model($10))
                 AND EXISTS (SELECT FROM search_models)
         )
         SELECT array_agg(created_at ORDER BY created_at) AS created_at,
             max(written_by_user_id) AS written_by_user_id FROM notes",
    )
    .bind::<Text, _>(&caller.org_id)
    .bind::<Text, _>(&caller.user_id)
    .bind::<Array<Text>, _>(&ids)
    .bind::<Array<Text>, _>(new.iter().map(|n| n.visibility.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(new.iter().map(|n| n.space_id.as_ref()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(new.iter().map(|n| n.content.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(tags)
    .bind::<Array<Nullable<Text>>, _>(
        new.iter().map(|n| n.source_url.as_deref()).collect::<Vec<_>>(),
    )
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Text, _>(columns.model_id)
    .bind::<Array<Integer>, _>(columns.places)
    .bind::<Array<SmallInt>, _>(columns.numbers)
    .bind::<Array<Integer>, _>(columns.starts)
    .bind::<Array<Integer>, _>(columns.ends)
    .bind::<Array<Text>, _>(columns.vectors)
    .bind::<Nullable<Text>, _>(columns.sparse_model_id)
    .bind::<Array<Integer>, _>(columns.expanded)
    .bind::<Array<pgvector::sql_types::SparseVector>, _>(columns.terms)
    .kept()
    .get_result(tx.connection())
    .await?;
    Ok(ids
        .into_iter()
        .zip(new)
        .zip(created_at)
        .map(|((id, new), created_at)| Memory {
            id,
            org_id: caller.org_id.clone(),
            space_id: new.space_id.clone(),
            author_user_id: caller.user_id.clone(),
            visibility: new.visibility.as_str().to_owned(),
            content: new.content.clone(),
            tags: new.tags.clone(),
            source_url: new.source_url.clone(),
            created_at,
            updated_at: created_at,
            written_by_user_id: written_by_user_id.clone(),
        })
        .collect())
}

/// The caller's own note, which nobody else changes until the end of the transaction. 404 when he
/// cannot see it, 403 when it is somebody else's.
async fn lock_own(tx: &mut Tx, id: &MemoryId) -> Result<Memory> {
    let caller = tx.caller().clone();
    let own: Option<Memory> = memories::table
        .filter(visibility::memory(&caller))
        .filter(memories::id.eq(id))
        .filter(memories::author_user_id.eq(&caller.user_id))
        .select(Memory::as_select())
        .for_no_key_update()
        .first(tx.connection())
        .await
        .optional()?;
    match own {
        Some(note) => Ok(note),
        None => {
            view(tx, id).await?;
            Err(Error::forbidden("only a note's author may change it"))
        }
    }
}

/// Who is to see a note, and where, after a change; 400 when that makes no sense.
fn audience(note: &Memory, change: &MemoryChange) -> Result<(Visibility, Option<SpaceId>)> {
    let visibility = match change.visibility {
        Some(visibility) => visibility,
        None => Visibility::stored(&note.visibility)?,
    };
    match (visibility, change.space_id.clone().or_else(|| note.space_id.clone())) {
        (Visibility::Space, None) => Err(Error::invalid(
            ["spaceId"],
            "required",
            "is required when visibility becomes SPACE",
        )),
        (Visibility::Space, space) => Ok((visibility, space)),
        (Visibility::Private | Visibility::Org, _) if change.space_id.is_some() => Err(
            Error::invalid(["spaceId"], "not_allowed", "is only allowed when visibility is SPACE"),
        ),
        (Visibility::Private | Visibility::Org, _) => Ok((visibility, None)),
    }
}

/// Changes a note: its author may, as long as he may write where it is then. `embedded` belongs to
/// the new content and takes the place of what was there, of whatever models that was; without it,
/// or with vectors of models that the database is not searched with, a note with new content is
/// found by its words alone, until [`embed`](super::embed) catches up. Without a change, nothing is
/// touched.
pub async fn update(
    tx: &mut Tx,
    id: &MemoryId,
    change: &MemoryChange,
    embedded: Option<&Embedded<'_>>,
) -> Result<Memory> {
    let mut note = lock_own(tx, id).await?;
    if change.is_empty() {
        return Ok(note);
    }
    let (visibility, space_id) = audience(&note, change)?;
    if let Some(space) = &space_id {
        require_writer(tx, space).await?;
    }
    // what has not changed keeps its vectors
    let content = change.content.as_ref().filter(|content| **content != note.content);
    let columns = Columns::of(&[embedded.filter(|_| content.is_some())]);
    let (caller, now) = (tx.caller().clone(), tx.now());

    #[derive(QueryableByName)]
    struct Changed {
        #[diesel(sql_type = Timestamptz)]
        updated_at: DateTime<Utc>,
    }
    let replace = content.is_some();
    note.visibility = visibility.as_str().to_owned();
    note.space_id = space_id;
    note.content = content.cloned().unwrap_or(note.content);
    note.tags = change.tags.clone().unwrap_or(note.tags);
    note.source_url = change.source_url.clone().unwrap_or(note.source_url);
    // Raw SQL: as in `create_all`. The old rows go before the new ones come, which the sub-selects
    // over `gone` and `forgotten` see to.
    let changed: Option<Changed> = diesel::sql_query(
        "WITH gone AS (
             DELETE FROM memory_embeddings WHERE memory_id = $1 AND $9 RETURNING 1
         ), forgotten AS (
             DELETE FROM memory_expansions WHERE memory_id = $1 AND $9 RETURNING 1
         ), note AS (
             UPDATE memories SET visibility = $4, space_id = $5, content = $6, tags = $7,
                 source_url = $8, updated_at = coalesce($10, clock_timestamp())
             WHERE id = $1 AND org_id = $2 AND author_user_id = $3
             RETURNING id, updated_at
         ), embeddings AS (
             INSERT INTO memory_embeddings (memory_id, model_id, passage, org_id, space_id,
                 author_user_id, visibility, starts_at, ends_at, embedding)
             SELECT $1, $11, p.number, $2, $5, $3, $4, p.starts_at, p.ends_at, p.vector::halfvec
             FROM unnest($12, $13, $14, $15) AS p(number, starts_at, ends_at, vector)
             WHERE (SELECT count(*) FROM gone) >= 0 AND is_active_model($11)
         ), expansions AS (
             INSERT INTO memory_expansions (memory_id, org_id, model_id, terms)
             SELECT $1, $2, $16, e.terms FROM unnest($17) AS e(terms)
             WHERE (SELECT count(*) FROM forgotten) >= 0 AND is_active_sparse_model($16)
         ), waiting AS (
             INSERT INTO memory_backlog (memory_id, org_id, author_user_id)
             SELECT n.id, $2, $3 FROM note n
             WHERE $9 AND (cardinality($12) = 0 OR NOT is_active_model($11))
                 AND EXISTS (SELECT FROM search_models)
             ON CONFLICT DO NOTHING
         )
         SELECT updated_at FROM note",
    )
    .bind::<Text, _>(id)
    .bind::<Text, _>(&caller.org_id)
    .bind::<Text, _>(&caller.user_id)
    .bind::<Text, _>(&note.visibility)
    .bind::<Nullable<Text>, _>(&note.space_id)
    .bind::<Text, _>(&note.content)
    .bind::<Array<Text>, _>(&note.tags)
    .bind::<Nullable<Text>, _>(&note.source_url)
    .bind::<Bool, _>(replace)
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Text, _>(columns.model_id)
    .bind::<Array<SmallInt>, _>(columns.numbers)
    .bind::<Array<Integer>, _>(columns.starts)
    .bind::<Array<Integer>, _>(columns.ends)
    .bind::<Array<Text>, _>(columns.vectors)
    .bind::<Nullable<Text>, _>(columns.sparse_model_id)
    .bind::<Array<pgvector::sql_types::SparseVector>, _>(columns.terms)
    .kept()
    .get_result(tx.connection())
    .await
    .optional()?;
    note.updated_at = changed.ok_or_else(|| Error::not_found("memory"))?.updated_at;
    Ok(note)
}
