//! Key to caller, and the count against a limit, in one round trip.

use super::Store;
use super::ids::{KeyId, OrgId, UserId};
use super::statements::Keep;
use crate::auth::{Caller, OrgRole, PrivateNotes, Scopes};
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::result::{OptionalExtension, QueryResult};
use diesel::sql_types::{Array, Binary, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What one request is counted against.
#[derive(Clone)]
pub struct Attempt {
    /// The key's digest; `None` when its form or checksum is already wrong.
    pub digest: Option<[u8; 32]>,
    /// The peer's address.
    pub address: String,
    /// `read`, `write`, or a quota of its own.
    pub bucket: &'static str,
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

impl Outcome {
    /// Whose key it is; `None`: nobody's.
    pub fn caller(&self) -> Result<Option<Caller>> {
        let (Some(key_id), Some(user_id), Some(org_id), Some(role), Some(scopes)) = (
            self.key_id.clone(),
            self.user_id.clone(),
            self.org_id.clone(),
            self.role.as_deref(),
            self.scopes.clone(),
        ) else {
            return Ok(None);
        };
        Ok(Some(Caller {
            key_id,
            user_id,
            org_id,
            role: role.parse()?,
            scopes: Scopes::stored(scopes),
            private_notes: PrivateNotes::Open,
            on_behalf: false,
        }))
    }
}

/// Looks the key up and counts the request.
pub async fn authenticate(store: &Store, attempt: &Attempt) -> Result<Outcome> {
    let connection = store.connection().await?;
    Ok(ask(&connection, attempt, store.clock().for_database()).await?)
}

/// The same on a connection at hand, at the time `now` (`None`: the database's own).
pub(super) async fn ask(
    mut connection: &AsyncPgConnection,
    attempt: &Attempt,
    now: Option<DateTime<Utc>>,
) -> QueryResult<Outcome> {
    // Raw SQL: a function of ours, which does both in one round trip
    let statement = diesel::sql_query("SELECT * FROM authenticate($1, $2, $3, $4, $5, $6)")
        .bind::<Nullable<Binary>, _>(attempt.digest.as_ref().map(|d| d.as_slice()))
        .bind::<Text, _>(&attempt.address)
        .bind::<Text, _>(attempt.bucket)
        .bind::<Integer, _>(i32::try_from(attempt.limit).unwrap_or(i32::MAX))
        .bind::<Integer, _>(i32::try_from(attempt.failure_limit).unwrap_or(i32::MAX))
        .bind::<Nullable<Timestamptz>, _>(now);
    statement.kept().get_result(&mut connection).await
}

/// Prepares what [`ask`] sends, so that what follows it cannot overtake it. Counts nothing.
pub(super) async fn prepare(connection: &AsyncPgConnection) -> QueryResult<()> {
    let nobody = Attempt {
        digest: None,
        address: String::new(),
        bucket: "read",
        limit: 0,
        failure_limit: 0,
    };
    ask(connection, &nobody, None).await.map(drop)
}

/// A member for whom a key may act.
pub struct Actor {
    /// The member's role in the organization.
    pub role: OrgRole,
    /// Whether what is theirs alone is open to the key: it is their own, or they have consented.
    pub consents: bool,
}

/// `actor`, if the key may act for them; `None` when they are not a member of its organization, or
/// of a higher role than the key's user.
pub async fn actor_of_key(store: &Store, key: &KeyId, actor: &UserId) -> Result<Option<Actor>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        role: String,
        #[diesel(sql_type = Bool)]
        consents: bool,
    }
    let mut connection = store.connection().await?;
    // Raw SQL: a function of ours, which no transaction has to be begun for
    let statement = diesel::sql_query("SELECT * FROM actor_of_key($1, $2)")
        .bind::<Text, _>(key)
        .bind::<Text, _>(actor);
    let row: Option<Row> = statement.kept().get_result(&mut connection).await.optional()?;
    row.map(|row| Ok(Actor { role: row.role.parse()?, consents: row.consents })).transpose()
}
