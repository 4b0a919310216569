//! Which models the database is searched with, and the change from one to another.

use super::connection::open;
use super::ids::MemoryId;
use super::memory::Unembedded;
use super::{ConnectError, Store};
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use switchy_types::vectors::NoteEmbedding;

/// Any number: whoever changes the model holds it.
const CHANGE_LOCK: i64 = 0x5245_454d_4244;

/// A note that lacks vectors of the models `$1` (sentences) and `$2` (expansions, if not NULL).
const LACKS: &str = "(NOT EXISTS (SELECT FROM memory_embeddings e
         WHERE e.memory_id = m.id AND e.model_id = $1)
     OR ($2 IS NOT NULL AND NOT EXISTS (SELECT FROM memory_expansions x
         WHERE x.memory_id = m.id AND x.model_id = $2)))";

/// The models that vectors come from.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Models {
    /// Of the sentence vectors.
    #[diesel(sql_type = Text)]
    pub model_id: String,
    /// Of the expansions; `None` without a reranker.
    #[diesel(sql_type = Nullable<Text>)]
    pub sparse_model_id: Option<String>,
}

impl Models {
    /// Whether these are all vectors that a note needs.
    pub fn is_complete(&self, note: &NoteEmbedding) -> bool {
        !note.passages.is_empty() && (self.sparse_model_id.is_none() || note.sparse.is_some())
    }
}

/// The models that are searched with; `None` until a server with a model has started.
pub async fn active(store: &Store) -> Result<Option<Models>> {
    let mut connection = store.connection().await?;
    // Raw SQL, here and below: maintenance of what is nobody's, which no predicate applies to
    Ok(diesel::sql_query("SELECT model_id, sparse_model_id FROM search_models")
        .get_result(&mut connection)
        .await
        .optional()?)
}

/// Makes `own` the models that are searched with, unless there are some; returns those that are.
pub async fn claim(store: &Store, own: &Models) -> Result<Models> {
    let mut tx = store.begin_system().await?;
    diesel::sql_query(
        "INSERT INTO search_models (model_id, sparse_model_id) VALUES ($1, $2)
         ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(&own.model_id)
    .bind::<Nullable<Text>, _>(&own.sparse_model_id)
    .execute(tx.connection())
    .await?;
    let active = diesel::sql_query("SELECT model_id, sparse_model_id FROM search_models")
        .get_result(tx.connection())
        .await?;
    tx.commit().await?;
    Ok(active)
}

/// From now on `new` are searched with.
pub async fn activate(store: &Store, new: &Models) -> Result<()> {
    let mut tx = store.begin_system().await?;
    diesel::sql_query(
        "INSERT INTO search_models (model_id, sparse_model_id) VALUES ($1, $2)
         ON CONFLICT (is_active) DO UPDATE SET model_id = excluded.model_id,
             sparse_model_id = excluded.sparse_model_id, activated_at = now()",
    )
    .bind::<Text, _>(&new.model_id)
    .bind::<Nullable<Text>, _>(&new.sparse_model_id)
    .execute(tx.connection())
    .await?;
    tx.commit().await
}

/// How many notes there are, and how many of them lack vectors of the models.
pub async fn progress(store: &Store, models: &Models) -> Result<(i64, i64)> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        notes: i64,
        #[diesel(sql_type = BigInt)]
        lacking: i64,
    }
    let mut tx = store.begin_system().await?;
    let row: Row = diesel::sql_query(format!(
        "SELECT count(*) AS notes, count(*) FILTER (WHERE {LACKS}) AS lacking FROM memories m"
    ))
    .bind::<Text, _>(&models.model_id)
    .bind::<Nullable<Text>, _>(&models.sparse_model_id)
    .get_result(tx.connection())
    .await?;
    tx.commit().await?;
    Ok((row.notes, row.lacking))
}

/// Notes that a model cannot embed, whatever is tried, as they were then: once changed, they are
/// worth another try.
#[derive(Clone, Debug, Default)]
pub struct Hopeless {
    ids: Vec<MemoryId>,
    updated_at: Vec<DateTime<Utc>>,
}

impl Hopeless {
    /// One more.
    pub fn push(&mut self, note: Unembedded) {
        self.ids.push(note.id);
        self.updated_at.push(note.updated_at);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Up to `limit` notes, of any organization, that lack vectors of the models: by id, behind `after`,
/// `except` some.
pub async fn lacking(
    store: &Store,
    models: &Models,
    after: Option<&MemoryId>,
    except: &Hopeless,
    limit: i32,
) -> Result<Vec<Unembedded>> {
    let mut tx = store.begin_system().await?;
    let rows = diesel::sql_query(format!(
        "SELECT m.id, m.content, m.updated_at FROM memories m
         WHERE m.id > coalesce($3, '') AND {LACKS} AND NOT EXISTS (
             SELECT FROM unnest($4, $5) AS h(id, updated_at)
             WHERE h.id = m.id AND h.updated_at = m.updated_at)
         ORDER BY m.id LIMIT $6"
    ))
    .bind::<Text, _>(&models.model_id)
    .bind::<Nullable<Text>, _>(&models.sparse_model_id)
    .bind::<Nullable<Text>, _>(after)
    .bind::<Array<Text>, _>(&except.ids)
    .bind::<Array<Timestamptz>, _>(&except.updated_at)
    .bind::<Integer, _>(limit)
    .load(tx.connection())
    .await?;
    tx.commit().await?;
    Ok(rows)
}

/// Up to `limit` notes that were written without vectors and wait for them. Organizations take turns,
/// and authors within each: whoever has many waiting keeps nobody else waiting, on whatever server
/// each was written. The oldest of an author come first.
pub async fn waiting(store: &Store, limit: i32) -> Result<Vec<Unembedded>> {
    let mut tx = store.begin_system().await?;
    let rows = diesel::sql_query(
        "SELECT m.id, m.content, m.updated_at
         FROM (
             SELECT o.memory_id, o.org_id, row_number() OVER (
                     PARTITION BY o.org_id ORDER BY o.turn, o.author_user_id) AS turn
             FROM (
                 SELECT b.memory_id, b.org_id, b.author_user_id, row_number() OVER (
                         PARTITION BY b.org_id, b.author_user_id ORDER BY b.since, b.memory_id)
                     AS turn
                 FROM memory_backlog b
             ) o
             WHERE o.turn <= $1
         ) w JOIN memories m ON m.id = w.memory_id
         ORDER BY w.turn, w.org_id LIMIT $1",
    )
    .bind::<Integer, _>(limit)
    .load(tx.connection())
    .await?;
    tx.commit().await?;
    Ok(rows)
}

/// A note waits no longer: no model can embed it as it is.
pub async fn give_up(store: &Store, note: &MemoryId) -> Result<()> {
    let mut tx = store.begin_system().await?;
    diesel::sql_query("DELETE FROM memory_backlog WHERE memory_id = $1")
        .bind::<Text, _>(note)
        .execute(tx.connection())
        .await?;
    tx.commit().await
}

/// A server embeds what waits for the active model, or has nothing to embed.
pub async fn keeps_up(store: &Store) -> Result<()> {
    let mut tx = store.begin_system().await?;
    diesel::sql_query("UPDATE search_models SET embedding_at = clock_timestamp()")
        .execute(tx.connection())
        .await?;
    tx.commit().await
}

/// Removes up to `limit` vectors of models that are not searched with; returns how many.
pub async fn remove_others(store: &Store, limit: i64) -> Result<usize> {
    let mut tx = store.begin_system().await?;
    let mut removed = 0;
    for (table, column) in
        [("memory_embeddings", "model_id"), ("memory_expansions", "sparse_model_id")]
    {
        removed += diesel::sql_query(format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT t.ctid FROM {table} t
                 WHERE t.model_id IS DISTINCT FROM (SELECT s.{column} FROM search_models s)
                     AND EXISTS (SELECT FROM search_models) LIMIT $1))"
        ))
        .bind::<BigInt, _>(limit)
        .execute(tx.connection())
        .await?;
    }
    tx.commit().await?;
    Ok(removed)
}

/// The right to change the model, which one process has at a time. Dropping it gives it back.
pub struct Change {
    _connection: AsyncPgConnection,
}

impl Change {
    /// `None` when somebody else is at it.
    pub async fn begin(url: &SecretString) -> std::result::Result<Option<Change>, ConnectError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Bool)]
            taken: bool,
        }
        let mut connection = open(url.expose_secret()).await?;
        // a session lock: it ends with the connection, however this process ends
        let sql = format!("SELECT pg_try_advisory_lock({CHANGE_LOCK}) AS taken");
        let row: Row = diesel::sql_query(sql)
            .get_result(&mut connection)
            .await
            .map_err(|e| ConnectError::Refused(e.to_string()))?;
        Ok(row.taken.then_some(Change { _connection: connection }))
    }
}
