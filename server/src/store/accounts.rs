//! Organizations, users, members and keys: what the operator's commands make, and `GET /me` shows.

use super::ids::{KeyId, OrgId, UserId};
use super::keys::Key;
use super::schema::{api_keys, members, orgs, users};
use super::{SystemTx, Tx, visibility};
use crate::auth::{ApiKey, KeySecret, OrgRole, Scopes};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::dsl::{exists, select, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;

/// An organization.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = orgs)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Org {
    pub id: OrgId,
    pub slug: String,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// A person.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = users)]
#[expect(missing_docs, reason = "as above")]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The caller's own organization, user and key.
pub async fn me(tx: &mut Tx) -> Result<(Org, User, Key)> {
    let caller = tx.caller().clone();
    Ok(members::table
        .inner_join(orgs::table)
        .inner_join(users::table)
        .inner_join(api_keys::table.on(api_keys::id.eq(&caller.key_id)))
        .filter(members::org_id.eq(&caller.org_id))
        .filter(members::user_id.eq(&caller.user_id))
        .filter(visibility::key(&caller))
        .select((Org::as_select(), User::as_select(), Key::as_select()))
        .first(tx.connection())
        .await?)
}

/// Whether there is no organization yet.
pub async fn is_empty(tx: &mut SystemTx) -> Result<bool> {
    let any: bool =
        select(exists(orgs::table.select(orgs::id))).get_result(tx.connection()).await?;
    Ok(!any)
}

/// Makes an organization. 409 when its slug is taken.
pub async fn create_org(tx: &mut SystemTx, slug: &str, name: &str) -> Result<Org> {
    diesel::insert_into(orgs::table)
        .values((orgs::id.eq(OrgId::generate()), orgs::slug.eq(slug), orgs::name.eq(name)))
        .on_conflict(orgs::slug)
        .do_nothing()
        .returning(Org::as_returning())
        .get_result(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| {
            Error::conflict(format!("an organization with the slug `{slug}` exists already"))
        })
}

/// Removes an organization with everything that belongs to it.
pub async fn delete_org(tx: &mut SystemTx, org: &OrgId) -> Result<()> {
    diesel::delete(orgs::table.filter(orgs::id.eq(org))).execute(tx.connection()).await?;
    Ok(())
}

/// Removes a user of whom nothing is left.
pub async fn delete_user(tx: &mut SystemTx, user: &UserId) -> Result<()> {
    diesel::delete(users::table.filter(users::id.eq(user))).execute(tx.connection()).await?;
    Ok(())
}

/// An organization by slug; 404 when there is none.
pub async fn org_by_slug(tx: &mut SystemTx, slug: &str) -> Result<Org> {
    orgs::table
        .filter(orgs::slug.eq(slug))
        .select(Org::as_select())
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::NotFound(format!("no organization has the slug `{slug}`").into()))
}

/// The user with this address (case does not tell addresses apart), made if there is none.
pub async fn user_with_email(tx: &mut SystemTx, email: &str) -> Result<User> {
    // Raw SQL: Diesel cannot name an index over an expression as the conflict's target
    diesel::sql_query(
        "INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (lower(email)) DO NOTHING",
    )
    .bind::<Text, _>(UserId::generate())
    .bind::<Text, _>(email)
    .execute(tx.connection())
    .await?;
    find_user(tx, email).await
}

/// The user with this address; 404 when there is none.
pub async fn find_user(tx: &mut SystemTx, email: &str) -> Result<User> {
    users::table
        .filter(sql::<Bool>("lower(users.email) = lower(").bind::<Text, _>(email).sql(")"))
        .select(User::as_select())
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::NotFound(format!("no user has the address {email}").into()))
}

/// Makes a user a member. 409 when he is one.
pub async fn add_member(
    tx: &mut SystemTx,
    org: &OrgId,
    user: &UserId,
    role: OrgRole,
) -> Result<()> {
    let added = diesel::insert_into(members::table)
        .values((
            members::org_id.eq(org),
            members::user_id.eq(user),
            members::role.eq(role.as_str()),
        ))
        .on_conflict_do_nothing()
        .execute(tx.connection())
        .await?;
    if added == 0 {
        return Err(Error::conflict("this user is a member of the organization already"));
    }
    Ok(())
}

/// The role of a member; 404 when the user is none.
pub async fn role_of(tx: &mut SystemTx, org: &OrgId, user: &UserId) -> Result<OrgRole> {
    let role: Option<String> = members::table
        .filter(members::org_id.eq(org))
        .filter(members::user_id.eq(user))
        .select(members::role)
        .first(tx.connection())
        .await
        .optional()?;
    role.ok_or_else(|| Error::NotFound("this user is not a member of the organization".into()))?
        .parse()
}

/// Mints a key; what is returned is shown once and stored nowhere.
pub async fn mint_key(
    tx: &mut SystemTx,
    secret: &KeySecret,
    (org, user): (&OrgId, &UserId),
    name: &str,
    scopes: &Scopes,
) -> Result<ApiKey> {
    let key = ApiKey::generate().map_err(Error::internal)?;
    diesel::insert_into(api_keys::table)
        .values((
            api_keys::id.eq(KeyId::generate()),
            api_keys::org_id.eq(org),
            api_keys::user_id.eq(user),
            api_keys::name.eq(name),
            api_keys::prefix.eq(key.display_prefix()),
            api_keys::digest.eq(secret.digest(&key).as_slice()),
            api_keys::scopes.eq(scopes.names()),
        ))
        .execute(tx.connection())
        .await?;
    Ok(key)
}
