//! Vectors for notes that were written without.

use super::write::Columns;
use super::{Embedded, MemoryId};
use crate::error::Result;
use crate::store::Store;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Integer, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// A note that still has no vectors of the model.
#[derive(Debug, diesel::QueryableByName)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Unembedded {
    #[diesel(sql_type = Text)]
    pub id: MemoryId,
    #[diesel(sql_type = Text)]
    pub content: String,
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

/// Gives a note its vectors, unless it was changed or deleted meanwhile.
pub async fn embed(store: &Store, note: &Unembedded, embedded: &Embedded<'_>) -> Result<()> {
    let columns = Columns::of(&[Some(embedded)]);
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
         ), served AS (
             DELETE FROM memory_backlog b USING note n WHERE b.memory_id = n.id
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
    .bind::<Nullable<pgvector::sql_types::SparseVector>, _>(columns.terms.into_iter().next())
    .execute(tx.connection())
    .await?;
    tx.commit().await
}
