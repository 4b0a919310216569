//! API keys: minted, listed, rotated and revoked by those whose they are.

use super::ids::{KeyId, OrgId, UserId};
use super::pages::{Listed, Paging, unknown_place};
use super::schema::api_keys;
use super::statements::Keep;
use super::{Tx, visibility};
use crate::auth::{ApiKey, KeySecret, OrgRole, Scopes};
use crate::error::{Error, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use diesel::QueryableByName;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Most keys of one user in one organization that are neither revoked nor expired.
pub const MAX_LIVE_KEYS: i64 = 100;

/// A key, as it is stored: without the secret, which is stored nowhere, and without its digest.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = api_keys)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Key {
    pub id: KeyId,
    pub org_id: OrgId,
    pub user_id: UserId,
    pub name: String,
    pub prefix: String,
    pub scopes: Vec<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}

/// What a new key is made of. It is the caller's.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct NewKey {
    pub name: String,
    pub scopes: Scopes,
    pub expires_at: Option<DateTime<Utc>>,
}

/// The caller's time, or the database's.
macro_rules! at {
    ($now:expr) => {
        sql::<Timestamptz>("coalesce(")
            .bind::<Nullable<Timestamptz>, _>($now)
            .sql(", clock_timestamp())")
    };
}

/// The caller's own keys are locked against minting.
#[derive(QueryableByName)]
struct Own {
    #[diesel(sql_type = BigInt)]
    live: i64,
    /// When the key that is used expires.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expires_at: Option<DateTime<Utc>>,
}

fn require_manager(tx: &Tx) -> Result<()> {
    if matches!(tx.caller().role, OrgRole::Owner | OrgRole::Admin) {
        return Ok(());
    }
    Err(Error::forbidden("only an OWNER or ADMIN of the organization mints keys"))
}

/// 403 unless the caller's key has all that `scopes` allow.
fn require_held(tx: &Tx, scopes: &[String]) -> Result<()> {
    let lacking = tx.caller().scopes.lacking(scopes);
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Error::forbidden(format!(
        "this key cannot hand on what it does not have: {}",
        lacking.join(", ")
    )))
}

/// Every key that the caller may know of and that is not revoked, newest first; expired ones
/// included. 404 when `before` names no key, which may be a revoked one.
pub async fn list(tx: &mut Tx, paging: &Paging<KeyId>) -> Result<Listed<Key>> {
    let caller = tx.caller().clone();
    let matching =
        || api_keys::table.filter(visibility::key(&caller)).filter(api_keys::revoked_at.is_null());
    let mut page = matching()
        .order((api_keys::created_at.desc(), api_keys::id.desc()))
        .limit(paging.rows())
        .select(Key::as_select())
        .into_boxed();
    if let Some(before) = &paging.before {
        let (at, id): (DateTime<Utc>, KeyId) = api_keys::table
            .filter(visibility::key(&caller))
            .filter(api_keys::id.eq(before))
            .select((api_keys::created_at, api_keys::id))
            .first(tx.connection())
            .await
            .optional()?
            .ok_or_else(|| unknown_place("key"))?;
        page = page.filter(api_keys::created_at.le(at)).filter(
            api_keys::created_at.lt(at).or(api_keys::created_at.eq(at).and(api_keys::id.lt(id))),
        );
    }
    let rows: Vec<Key> = page.load(tx.connection()).await?;
    let total = match paging.whole(rows.len()) {
        Some(total) => total,
        None => matching().count().get_result(tx.connection()).await?,
    };
    Ok(Listed { rows, total })
}

/// Mints a key that acts as the caller; the secret is shown once and stored nowhere. 403 for all
/// but OWNERs and ADMINs, and for more than the key that is used may do; 400 when it would outlive
/// that key; 409 when the caller has [`MAX_LIVE_KEYS`] already.
pub async fn create(tx: &mut Tx, secret: &KeySecret, new: &NewKey) -> Result<(Key, ApiKey)> {
    require_manager(tx)?;
    require_held(tx, new.scopes.names())?;
    let (caller, now) = (tx.caller().clone(), tx.now());
    // Raw SQL: a function of ours, which locks and then looks
    let own: Own = diesel::sql_query("SELECT * FROM lock_keys($1, $2)")
        .bind::<Text, _>(&caller.key_id)
        .bind::<Nullable<Timestamptz>, _>(now)
        .kept()
        .get_result(tx.connection())
        .await?;
    if own.live >= MAX_LIVE_KEYS {
        return Err(Error::conflict(format!(
            "you have {MAX_LIVE_KEYS} keys already, which is the most: revoke one first"
        )));
    }
    let expires_at = match (new.expires_at, own.expires_at) {
        (Some(asked), Some(last)) if asked > last => {
            return Err(Error::invalid(
                ["expiresAt"],
                "too_late",
                format!(
                    "must not be after {}, when the key that mints it expires",
                    last.to_rfc3339_opts(SecondsFormat::Millis, true)
                ),
            ));
        }
        (asked, last) => asked.or(last),
    };
    let minted = ApiKey::generate().map_err(Error::internal)?;
    let key = diesel::insert_into(api_keys::table)
        .values((
            api_keys::id.eq(KeyId::generate()),
            api_keys::org_id.eq(&caller.org_id),
            api_keys::user_id.eq(&caller.user_id),
            api_keys::name.eq(&new.name),
            api_keys::prefix.eq(minted.display_prefix()),
            api_keys::digest.eq(secret.digest(&minted).as_slice()),
            api_keys::scopes.eq(new.scopes.names()),
            api_keys::created_at.eq(at!(now)),
            api_keys::expires_at.eq(expires_at),
        ))
        .returning(Key::as_returning())
        .kept()
        .get_result(tx.connection())
        .await?;
    Ok((key, minted))
}

/// A key that the caller may know of; 404 otherwise.
async fn view(tx: &mut Tx, id: &KeyId) -> Result<Key> {
    let caller = tx.caller().clone();
    api_keys::table
        .filter(visibility::key(&caller))
        .filter(api_keys::id.eq(id))
        .select(Key::as_select())
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("key"))
}

/// Revokes a key at once: its user may, and the organization's OWNERs and ADMINs. Once more is no
/// error.
pub async fn revoke(tx: &mut Tx, id: &KeyId) -> Result<()> {
    if view(tx, id).await?.revoked_at.is_some() {
        return Ok(());
    }
    let (caller, now) = (tx.caller().clone(), tx.now());
    diesel::update(api_keys::table)
        .filter(visibility::key(&caller))
        .filter(api_keys::id.eq(id))
        .filter(api_keys::revoked_at.is_null())
        .set(api_keys::revoked_at.eq(at!(now).nullable()))
        .kept()
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Gives a key another secret, which is shown once and stored nowhere; the old one is dead at once.
///
/// Only the key's own user may, since whoever has the secret acts as him; and only with a key that
/// may do as much, for as long. 404 when the key is revoked or out of sight, 403 when it is
/// somebody else's or can do more, 409 when it has expired.
pub async fn rotate(tx: &mut Tx, secret: &KeySecret, id: &KeyId) -> Result<(Key, ApiKey)> {
    let key = view(tx, id).await?;
    let caller = tx.caller().clone();
    if key.revoked_at.is_some() {
        return Err(Error::not_found("key"));
    }
    if key.user_id != caller.user_id {
        return Err(Error::forbidden(
            "a key acts as its user, so nobody else may have its new secret; you can revoke it",
        ));
    }
    if key.id != caller.key_id {
        require_held(tx, &key.scopes)?;
        let used = view(tx, &caller.key_id).await?;
        let outlives = |last| key.expires_at.is_none_or(|at| at > last);
        if used.expires_at.is_some_and(outlives) {
            return Err(Error::forbidden(
                "this key expires before the one that is to be rotated: use one that lasts as long",
            ));
        }
    }
    let now = tx.now();
    let fresh = ApiKey::generate().map_err(Error::internal)?;

    #[derive(QueryableByName)]
    struct Rotated {
        #[diesel(sql_type = Bool)]
        done: bool,
    }
    // Raw SQL: a function of ours, since no grant lets the app role write over a digest
    let Rotated { done } = diesel::sql_query("SELECT rotate_key($1, $2, $3, $4) AS done")
        .bind::<Text, _>(id)
        .bind::<Binary, _>(secret.digest(&fresh).as_slice())
        .bind::<Text, _>(fresh.display_prefix())
        .bind::<Nullable<Timestamptz>, _>(now)
        .kept()
        .get_result(tx.connection())
        .await?;
    if !done {
        return Err(Error::conflict("this key has expired or was just revoked: mint a new one"));
    }
    Ok((Key { prefix: fresh.display_prefix().to_owned(), ..key }, fresh))
}
