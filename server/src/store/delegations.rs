//! Delegations: a member lets somebody else's key, which acts for them, reach what is theirs alone
//! (contract E7).

use super::Tx;
use super::ids::{KeyId, UserId};
use super::statements::Keep;
use super::visibility::DELEGATION_SQL;
use crate::auth::Scope;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// The scopes that a delegation opens. A key cannot open to another one what it cannot reach itself.
pub const OPENED: [Scope; 5] = [
    Scope::MemoryRead,
    Scope::MemoryWrite,
    Scope::SessionsRead,
    Scope::MessagesRead,
    Scope::MessagesWrite,
];

/// A delegation, with what the caller may know of the key.
#[derive(Clone, Debug, QueryableByName)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Delegation {
    #[diesel(sql_type = Text)]
    pub key_id: KeyId,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub prefix: String,
    #[diesel(sql_type = Text)]
    pub key_user_id: UserId,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

/// The delegations that the caller has given to keys that still work, newest first.
pub async fn list(tx: &mut Tx) -> Result<Vec<Delegation>> {
    let (caller, now) = (tx.caller().clone(), tx.now());
    // Raw SQL: a function of ours tells of keys that are not the caller's
    Ok(diesel::sql_query(format!(
        "SELECT key_id, k.name, k.prefix, key_user_id, created_at \
         FROM delegations, key_that_acts(key_id, $3) k \
         WHERE {DELEGATION_SQL} ORDER BY created_at DESC, key_id DESC"
    ))
    .bind::<Text, _>(&caller.org_id)
    .bind::<Text, _>(&caller.user_id)
    .bind::<Nullable<Timestamptz>, _>(now)
    .kept()
    .load(tx.connection())
    .await?)
}

/// Lets a key reach what is the caller's alone. Once more changes nothing. 403 with a key that
/// cannot reach that itself; 404 unless the other one is a live key of the organization that may act
/// for others; 409 when it is the caller's own, which needs no consent.
pub async fn allow(tx: &mut Tx, key: &KeyId) -> Result<Delegation> {
    if let Some(lacking) = OPENED.into_iter().find(|scope| !tx.caller().scopes.allow(*scope)) {
        require_key(tx, key).await?;
        tx.caller().require(lacking)?;
    }
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        prefix: String,
        #[diesel(sql_type = Text)]
        key_user_id: UserId,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        created_at: Option<DateTime<Utc>>,
    }
    let (caller, now) = (tx.caller().clone(), tx.now());
    // Raw SQL: as above, and two steps in one statement
    let rows: Vec<Row> = diesel::sql_query(format!(
        "WITH key AS (SELECT * FROM key_that_acts($3, $4)), made AS (
             INSERT INTO delegations (org_id, user_id, key_id, key_user_id, created_at)
             SELECT $1, $2, $3, key.user_id, coalesce($4, clock_timestamp()) FROM key
             WHERE key.user_id <> $2
             ON CONFLICT DO NOTHING
             RETURNING created_at
         )
         SELECT name, prefix, user_id AS key_user_id, coalesce((SELECT created_at FROM made),
             (SELECT created_at FROM delegations WHERE {DELEGATION_SQL} AND key_id = $3))
             AS created_at
         FROM key"
    ))
    .bind::<Text, _>(&caller.org_id)
    .bind::<Text, _>(&caller.user_id)
    .bind::<Text, _>(key)
    .bind::<Nullable<Timestamptz>, _>(now)
    .kept()
    .load(tx.connection())
    .await?;
    let row =
        rows.into_iter().next().ok_or_else(|| Error::not_found("key that acts for others"))?;
    if row.key_user_id == caller.user_id {
        return Err(Error::conflict("this key is your own: it acts for you without a delegation"));
    }
    let created_at = row.created_at.ok_or_else(|| {
        Error::conflict("the delegation was given or ended at this moment: try again")
    })?;
    let Row { name, prefix, key_user_id, .. } = row;
    Ok(Delegation { key_id: key.clone(), name, prefix, key_user_id, created_at })
}

/// Ends a delegation of the caller's, from the next request on. Once more is no error. 404 when
/// there is none, and no key that there could be one for.
pub async fn end(tx: &mut Tx, key: &KeyId) -> Result<()> {
    let caller = tx.caller().clone();
    let ended = diesel::sql_query(format!(
        "DELETE FROM delegations WHERE {DELEGATION_SQL} AND key_id = $3"
    ))
    .bind::<Text, _>(&caller.org_id)
    .bind::<Text, _>(&caller.user_id)
    .bind::<Text, _>(key)
    .kept()
    .execute(tx.connection())
    .await?;
    if ended > 0 { Ok(()) } else { require_key(tx, key).await }
}

/// 404 unless there is such a key: live, of the organization, and one that may act for others.
async fn require_key(tx: &mut Tx, key: &KeyId) -> Result<()> {
    let now = tx.now();
    let there = diesel::sql_query("SELECT FROM key_that_acts($1, $2)")
        .bind::<Text, _>(key)
        .bind::<Nullable<Timestamptz>, _>(now)
        .kept()
        .execute(tx.connection())
        .await?;
    if there == 0 { Err(Error::not_found("key that acts for others")) } else { Ok(()) }
}
