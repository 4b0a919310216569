//! Spaces and who is in them.

use super::ids::{OrgId, SpaceId, UserId};
use super::schema::{space_members, spaces};
use super::statements::Keep;
use super::{Position, Tx, visibility};
use crate::auth::{OrgRole, SpaceRole};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;

/// A Space, as it is stored.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = spaces)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Space {
    pub id: SpaceId,
    pub org_id: OrgId,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub tags: Vec<String>,
    pub default_model: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a new Space is made of.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct NewSpace {
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub tags: Vec<String>,
}

/// What is to change; `None` stays as it is, `Some(None)` is cleared.
#[derive(Clone, Debug, Default, AsChangeset)]
#[diesel(table_name = spaces)]
#[expect(missing_docs, reason = "as above")]
pub struct SpaceChange {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub tags: Option<Vec<String>>,
    pub default_model: Option<Option<String>>,
}

impl SpaceChange {
    fn is_empty(&self) -> bool {
        let SpaceChange { name, description, tags, default_model } = self;
        name.is_none() && description.is_none() && tags.is_none() && default_model.is_none()
    }
}

/// The caller's time, or the database's.
macro_rules! at {
    ($now:expr) => {
        sql::<Timestamptz>("coalesce(")
            .bind::<Nullable<Timestamptz>, _>($now)
            .sql(", clock_timestamp())")
    };
}

/// One page of the Spaces that the caller is a member of, most recently updated first, and how
/// many there are.
pub async fn list(tx: &mut Tx, page: i64, limit: i64) -> Result<(Vec<Space>, i64)> {
    let caller = tx.caller().clone();
    let rows: Vec<(Space, i64)> = spaces::table
        .filter(visibility::space(&caller))
        .order((spaces::updated_at.desc(), spaces::id.desc()))
        .limit(limit)
        .offset((page - 1) * limit)
        .select((Space::as_select(), sql::<BigInt>("count(*) OVER ()")))
        .kept()
        .load(tx.connection())
        .await?;
    let total = match rows.as_slice() {
        [(_, total), ..] => *total,
        [] if page == 1 => 0,
        // past the end: the window has counted nothing
        [] => {
            spaces::table
                .filter(visibility::space(&caller))
                .count()
                .get_result(tx.connection())
                .await?
        }
    };
    Ok((rows.into_iter().map(|(space, _)| space).collect(), total))
}

/// The Spaces that the caller is a member of, most recently updated first, from `after` on.
pub async fn list_after(
    tx: &mut Tx,
    after: Option<&Position<SpaceId>>,
    limit: i64,
) -> Result<Vec<Space>> {
    let caller = tx.caller().clone();
    let mut query = spaces::table
        .filter(visibility::space(&caller))
        .order((spaces::updated_at.desc(), spaces::id.desc()))
        .limit(limit)
        .select(Space::as_select())
        .into_boxed();
    if let Some(Position { at, id }) = after {
        query = query
            .filter(spaces::updated_at.lt(at).or(spaces::updated_at.eq(at).and(spaces::id.lt(id))));
    }
    Ok(query.load(tx.connection()).await?)
}

/// How a Space is named.
enum Name<'a> {
    Id(&'a SpaceId),
    Slug(&'a str),
}

/// A live Space of the caller's organization, and the caller's role in it, if any.
async fn find(tx: &mut Tx, name: Name<'_>) -> Result<Option<(Space, Option<String>)>> {
    let caller = tx.caller().clone();
    let mut query = spaces::table
        .filter(spaces::org_id.eq(caller.org_id.as_str()))
        .filter(spaces::archived_at.is_null())
        .select((
            Space::as_select(),
            space_members::table
                .filter(space_members::space_id.eq(spaces::id))
                .filter(space_members::user_id.eq(caller.user_id.as_str()))
                .select(space_members::role)
                .single_value(),
        ))
        .into_boxed();
    query = match name {
        Name::Id(id) => query.filter(spaces::id.eq(id)),
        Name::Slug(slug) => query.filter(spaces::slug.eq(slug)),
    };
    Ok(query.first(tx.connection()).await.optional()?)
}

/// 404 outside of the organization, 403 for those who are not members (contract A4).
pub(super) fn admit(found: Option<(Space, Option<String>)>) -> Result<(Space, SpaceRole)> {
    match found {
        None => Err(Error::not_found("Space")),
        Some((_, None)) => Err(Error::forbidden("you are not a member of this Space")),
        Some((space, Some(role))) => Ok((space, role.parse()?)),
    }
}

/// A Space by id, and the caller's role in it.
pub async fn view(tx: &mut Tx, id: &SpaceId) -> Result<(Space, SpaceRole)> {
    admit(find(tx, Name::Id(id)).await?)
}

/// A Space by slug, and the caller's role in it.
pub async fn view_by_slug(tx: &mut Tx, slug: &str) -> Result<(Space, SpaceRole)> {
    admit(find(tx, Name::Slug(slug)).await?)
}

/// A live Space of the caller's organization by slug, and the caller's role in it, if he has one:
/// for what an OWNER or ADMIN of the organization may do in Spaces that he is not in.
pub async fn find_by_slug(tx: &mut Tx, slug: &str) -> Result<(Space, Option<SpaceRole>)> {
    let found = find(tx, Name::Slug(slug)).await?;
    let (space, role) = found.ok_or_else(|| Error::not_found("Space"))?;
    Ok((space, role.as_deref().map(str::parse).transpose()?))
}

/// Makes a Space, whose OWNER the caller becomes. 409 when the slug is taken, also by a Space that
/// the caller cannot see.
pub async fn create(tx: &mut Tx, new: &NewSpace) -> Result<Space> {
    let caller = tx.caller().clone();
    let now = tx.now();
    let space: Option<Space> = diesel::insert_into(spaces::table)
        .values((
            spaces::id.eq(SpaceId::generate()),
            spaces::org_id.eq(caller.org_id.as_str()),
            spaces::slug.eq(&new.slug),
            spaces::name.eq(&new.name),
            spaces::description.eq(&new.description),
            spaces::tags.eq(&new.tags),
            spaces::created_by_user_id.eq(caller.user_id.as_str()),
            spaces::created_at.eq(at!(now)),
            spaces::updated_at.eq(at!(now)),
        ))
        .on_conflict((spaces::org_id, spaces::slug))
        .do_nothing()
        .returning(Space::as_returning())
        .kept()
        .get_result(tx.connection())
        .await
        .optional()?;
    let Some(space) = space else {
        return Err(Error::conflict(format!(
            "a Space with the slug `{}` exists already in this organization",
            new.slug
        )));
    };
    add_member(tx, &space.id, &caller.user_id, SpaceRole::Owner).await?;
    Ok(space)
}

/// Changes a Space: its OWNER and EDITOR may. Without a change, nothing is touched; the slug never
/// changes.
pub async fn update(tx: &mut Tx, id: &SpaceId, change: &SpaceChange) -> Result<Space> {
    let (space, role) = view(tx, id).await?;
    let forbidden = || Error::forbidden("only an OWNER or EDITOR of this Space may change it");
    if !role.may_edit() {
        return Err(forbidden());
    }
    if change.is_empty() {
        return Ok(space);
    }
    let (caller, now) = (tx.caller().clone(), tx.now());
    diesel::update(spaces::table)
        .filter(visibility::space(&caller))
        .filter(spaces::id.eq(id))
        .set((change, spaces::updated_at.eq(at!(now))))
        .returning(Space::as_returning())
        .kept()
        .get_result(tx.connection())
        .await
        .optional()?
        // his role was taken from him in this moment
        .ok_or_else(forbidden)
}

/// Archives a Space, and with it what belongs to it: nobody sees it any more, and its slug stays
/// taken. Its OWNER may, and the organization's OWNER, even from outside. Once more is a 404.
pub async fn archive(tx: &mut Tx, id: &SpaceId) -> Result<()> {
    let (_, role) = find(tx, Name::Id(id)).await?.ok_or_else(|| Error::not_found("Space"))?;
    let role: Option<SpaceRole> = role.as_deref().map(str::parse).transpose()?;
    let caller = tx.caller().clone();
    if role != Some(SpaceRole::Owner) && caller.role != OrgRole::Owner {
        return Err(Error::forbidden(
            "only an OWNER of this Space, or of the organization, may archive it",
        ));
    }
    let now = tx.now();
    let archived = diesel::update(spaces::table)
        .filter(spaces::org_id.eq(caller.org_id.as_str()))
        .filter(spaces::archived_at.is_null())
        .filter(spaces::id.eq(id))
        .set((spaces::archived_at.eq(at!(now).nullable()), spaces::updated_at.eq(at!(now))))
        .kept()
        .execute(tx.connection())
        .await?;
    // somebody else was faster
    if archived == 0 { Err(Error::not_found("Space")) } else { Ok(()) }
}

/// Puts a member of the organization into a Space.
pub async fn add_member(
    tx: &mut Tx,
    space: &SpaceId,
    user: &UserId,
    role: SpaceRole,
) -> Result<()> {
    let org = tx.caller().org_id.clone();
    diesel::insert_into(space_members::table)
        .values((
            space_members::org_id.eq(org),
            space_members::space_id.eq(space),
            space_members::user_id.eq(user),
            space_members::role.eq(role.as_str()),
        ))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The first `limit` Spaces that the caller is in, by name, with the role in each.
pub async fn memberships(tx: &mut Tx, limit: u32) -> Result<Vec<(Space, SpaceRole)>> {
    let caller = tx.caller().clone();
    let rows: Vec<(Space, Option<String>)> = spaces::table
        .filter(visibility::space(&caller))
        .order((spaces::name, spaces::id))
        .limit(limit.into())
        .select((
            Space::as_select(),
            space_members::table
                .filter(space_members::space_id.eq(spaces::id))
                .filter(space_members::user_id.eq(caller.user_id.as_str()))
                .select(space_members::role)
                .single_value(),
        ))
        .load(tx.connection())
        .await?;
    rows.into_iter()
        .filter_map(|(space, role)| role.map(|role| Ok((space, role.parse()?))))
        .collect()
}
