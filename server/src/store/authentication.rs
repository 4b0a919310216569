//! Key to caller, and the count against a limit, in one round trip.

use super::Store;
use super::ids::{KeyId, OrgId, UserId};
use super::statements::Keep;
use crate::auth::OrgRole;
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, Binary, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// What one request is counted against.
pub struct Attempt<'a> {
    /// The key's digest; `None` when its form or checksum is already wrong.
    pub digest: Option<&'a [u8; 32]>,
    /// The peer's address.
    pub address: &'a str,
    /// `read`, `write`, or a quota of its own.
    pub bucket: &'a str,
    /// Requests a minute; 0 means unlimited.
    pub limit: u32,
    /// Failed attempts a minute from one address; 0 means unlimited.
    pub failure_limit: u32,
}

/// What the database found.
#[derive(QueryableByName)]
pub struct Outcome {
    /// `None`: no such key (any more).
    #[diesel(sql_type = Nullable<Text>)]
    pub key_id: Option<KeyId>,
    /// The key's user.
    #[diesel(sql_type = Nullable<Text>)]
    pub user_id: Option<UserId>,
    /// The key's organization.
    #[diesel(sql_type = Nullable<Text>)]
    pub org_id: Option<OrgId>,
    /// The user's role there.
    #[diesel(sql_type = Nullable<Text>)]
    pub role: Option<String>,
    /// The key's scopes.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub scopes: Option<Vec<String>>,
    /// Whether the limit lets the request through.
    #[diesel(sql_type = Bool)]
    pub allowed: bool,
    /// Requests left; `None` when unlimited.
    #[diesel(sql_type = Nullable<Integer>)]
    pub remaining: Option<i32>,
    /// When the next place is free.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub reset_at: Option<DateTime<Utc>>,
    /// The database's time.
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
}

/// Looks the key up and counts the request.
pub async fn authenticate(store: &Store, attempt: &Attempt<'_>) -> Result<Outcome> {
    let mut connection = store.connection().await?;
    // Raw SQL: a function of ours, which does both in one round trip
    let statement = diesel::sql_query("SELECT * FROM authenticate($1, $2, $3, $4, $5, $6)")
        .bind::<Nullable<Binary>, _>(attempt.digest.map(|d| d.as_slice()))
        .bind::<Text, _>(attempt.address)
        .bind::<Text, _>(attempt.bucket)
        .bind::<Integer, _>(i32::try_from(attempt.limit).unwrap_or(i32::MAX))
        .bind::<Integer, _>(i32::try_from(attempt.failure_limit).unwrap_or(i32::MAX))
        .bind::<Nullable<Timestamptz>, _>(store.clock().for_database());
    Ok(statement.kept().get_result(&mut connection).await?)
}

/// The role of `actor` in the organization of the key, or `None` when he is not a member of it.
pub async fn role_of_actor(store: &Store, key: &KeyId, actor: &UserId) -> Result<Option<OrgRole>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Text>)]
        role: Option<String>,
    }
    let mut connection = store.connection().await?;
    // Raw SQL: a function of ours, which no transaction has to be begun for
    let statement = diesel::sql_query("SELECT role_of_actor($1, $2) AS role")
        .bind::<Text, _>(key)
        .bind::<Text, _>(actor);
    let row: Row = statement.kept().get_result(&mut connection).await?;
    row.role.as_deref().map(str::parse).transpose()
}
