//! What requests with an `Idempotency-Key` were answered (contract A5).

use super::rights::Right;
use super::statements::Keep;
use super::{Store, Tx};
use crate::error::Result;
use diesel::QueryableByName;
use diesel::sql_types::{Array, Binary, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Which request.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The header's value.
    pub key: &'a str,
    /// SHA-256 of the body.
    pub digest: &'a [u8; 32],
}

/// An answer, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, byte for byte.
    pub body: String,
    /// The `Location` header.
    pub location: Option<String>,
}

/// A stored answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The answer.
    pub answer: Answer,
    /// The rights that it takes to be shown it again.
    pub rights: Vec<Right>,
}

/// What is known of a request.
#[derive(Debug, PartialEq)]
pub enum Claim {
    /// It is the first; nobody else can claim it until this transaction ends.
    Claimed,
    /// It was answered before.
    Replay(Stored),
    /// The key was used for another body.
    Mismatch,
    /// The first is still running.
    Running,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<SmallInt>)]
    status: Option<i16>,
    #[diesel(sql_type = Nullable<Text>)]
    body: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    location: Option<String>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    rights: Option<Vec<String>>,
}

/// Claims the key for this transaction, or tells what stands in the way.
pub async fn claim(tx: &mut Tx, key: Key<'_>) -> Result<Claim> {
    let key_id = tx.caller().key_id.clone();
    let now = tx.now();
    let row: Row = diesel::sql_query("SELECT * FROM claim_idempotency($1, $2, $3, $4, $5, $6)")
        .bind::<Text, _>(key_id)
        .bind::<Text, _>(key.method)
        .bind::<Text, _>(key.path)
        .bind::<Text, _>(key.key)
        .bind::<Binary, _>(key.digest.as_slice())
        .bind::<Nullable<Timestamptz>, _>(now)
        .kept()
        .get_result(tx.connection())
        .await?;
    Ok(match (row.outcome.as_str(), row.status, row.body) {
        ("replay", Some(status), Some(body)) => {
            let rights = row.rights.unwrap_or_default();
            Claim::Replay(Stored {
                answer: Answer { status: status.unsigned_abs(), body, location: row.location },
                rights: rights.iter().map(|text| Right::parse(text)).collect::<Result<_>>()?,
            })
        }
        ("mismatch", ..) => Claim::Mismatch,
        ("running", ..) => Claim::Running,
        _ => Claim::Claimed,
    })
}

/// Records the answer, in the transaction that did the work.
pub async fn record(tx: &mut Tx, key: Key<'_>, stored: &Stored) -> Result<()> {
    let Stored { answer, rights } = stored;
    let (key_id, org_id) = (tx.caller().key_id.clone(), tx.caller().org_id.clone());
    let now = tx.now();
    diesel::sql_query(
        "INSERT INTO idempotency_keys (key_id, method, path, idempotency_key, org_id, \
         request_digest, status, body, location, created_at, rights) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, clock_timestamp()), $11)",
    )
    .bind::<Text, _>(key_id)
    .bind::<Text, _>(key.method)
    .bind::<Text, _>(key.path)
    .bind::<Text, _>(key.key)
    .bind::<Text, _>(org_id)
    .bind::<Binary, _>(key.digest.as_slice())
    .bind::<SmallInt, _>(i16::try_from(answer.status).unwrap_or(500))
    .bind::<Text, _>(&answer.body)
    .bind::<Nullable<Text>, _>(answer.location.as_deref())
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Array<Text>, _>(rights.iter().map(Right::stored).collect::<Vec<_>>())
    .kept()
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets answers older than 24 hours and limits that nobody has touched for as long; returns how
/// many rows went.
pub async fn expire(store: &Store) -> Result<usize> {
    let mut tx = store.begin_system().await?;
    let now = tx.now();
    let mut gone = 0;
    for sql in [
        "DELETE FROM idempotency_keys \
         WHERE created_at <= coalesce($1, clock_timestamp()) - interval '24 hours'",
        "DELETE FROM rate_limits \
         WHERE touched_at <= coalesce($1, clock_timestamp()) - interval '24 hours'",
    ] {
        gone += diesel::sql_query(sql)
            .bind::<Nullable<Timestamptz>, _>(now)
            .kept()
            .execute(tx.connection())
            .await?;
    }
    tx.commit().await?;
    Ok(gone)
}
