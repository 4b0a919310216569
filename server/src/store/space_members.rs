//! Who is in a Space, with which role.

use super::ids::{SpaceId, UserId};
use super::pages::{Listed, Paging, unknown_place};
use super::schema::{space_members, users};
use super::statements::Keep;
use super::{Tx, spaces, visibility};
use crate::auth::SpaceRole;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as Refused};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// A member of a Space, as he is stored.
#[derive(Clone, Debug, Queryable, QueryableByName)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct SpaceMember {
    #[diesel(sql_type = Text)]
    pub user_id: UserId,
    #[diesel(sql_type = Text)]
    pub role: String,
    #[diesel(sql_type = Text)]
    pub email: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub joined_at: DateTime<Utc>,
}

/// Who may do what, with the Space's members locked.
#[derive(QueryableByName)]
struct Standing {
    #[diesel(sql_type = Nullable<Text>)]
    caller_role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    user_role: Option<String>,
    #[diesel(sql_type = BigInt)]
    owners: i64,
}

impl Standing {
    /// 403 unless the caller is an OWNER of the Space.
    fn require_owner(&self) -> Result<()> {
        if self.caller_role.as_deref() == Some(SpaceRole::Owner.as_str()) {
            return Ok(());
        }
        Err(Error::forbidden("only an OWNER of this Space may change who is in it"))
    }

    /// The role of the one whom it is about; 404 when he is not in the Space.
    fn user_role(&self) -> Result<SpaceRole> {
        self.user_role.as_deref().ok_or_else(|| Error::not_found("member of this Space"))?.parse()
    }

    /// 409 if without this OWNER there were none.
    fn require_another_owner(&self, role: SpaceRole) -> Result<()> {
        if role == SpaceRole::Owner && self.owners <= 1 {
            return Err(Error::conflict(
                "this is the Space's last OWNER: make somebody else one first, or archive the Space",
            ));
        }
        Ok(())
    }
}

/// 404 and 403 for those outside of the Space; its members stay as they are until the end of the
/// transaction for everybody else.
async fn lock(tx: &mut Tx, space: &SpaceId, user: &UserId) -> Result<Standing> {
    spaces::view(tx, space).await?;
    // Raw SQL: a function of ours, which locks and then looks
    Ok(diesel::sql_query("SELECT * FROM lock_space_members($1, $2)")
        .bind::<Text, _>(space)
        .bind::<Text, _>(user)
        .kept()
        .get_result(tx.connection())
        .await?)
}

/// The members of a Space, in the order in which they joined. 404 and 403 for those outside; 404 when
/// `before` is not in the Space.
pub async fn list(
    tx: &mut Tx,
    space: &SpaceId,
    paging: &Paging<UserId>,
) -> Result<Listed<SpaceMember>> {
    spaces::view(tx, space).await?;
    let caller = tx.caller().clone();
    let matching = || {
        space_members::table
            .filter(visibility::space_member(&caller))
            .filter(space_members::space_id.eq(space))
    };
    let mut page = matching()
        .inner_join(users::table)
        .order((space_members::joined_at, space_members::user_id))
        .limit(paging.rows())
        .select((
            space_members::user_id,
            space_members::role,
            users::email,
            users::name,
            space_members::joined_at,
        ))
        .into_boxed();
    if let Some(before) = &paging.before {
        let at: DateTime<Utc> = matching()
            .filter(space_members::user_id.eq(before))
            .select(space_members::joined_at)
            .first(tx.connection())
            .await
            .optional()?
            .ok_or_else(|| unknown_place("member of this Space"))?;
        page = page.filter(space_members::joined_at.ge(at)).filter(
            space_members::joined_at
                .gt(at)
                .or(space_members::joined_at.eq(at).and(space_members::user_id.gt(before))),
        );
    }
    let rows: Vec<SpaceMember> = page.load(tx.connection()).await?;
    let total = match paging.whole(rows.len()) {
        Some(total) => total,
        None => matching().count().get_result(tx.connection()).await?,
    };
    Ok(Listed { rows, total })
}

fn not_in_the_organization() -> Error {
    Error::invalid(["userId"], "not_a_member", "must be a member of the organization")
}

/// Puts a member of the organization into a Space: its OWNER may. 400 when the user is not in the
/// organization, 409 when he is in the Space already.
pub async fn add(
    tx: &mut Tx,
    space: &SpaceId,
    user: &UserId,
    role: SpaceRole,
) -> Result<SpaceMember> {
    lock(tx, space, user).await?.require_owner()?;
    let org = tx.caller().org_id.clone();
    let now = tx.now();

    #[derive(QueryableByName)]
    struct Candidate {
        #[diesel(sql_type = Text)]
        email: String,
        #[diesel(sql_type = Nullable<Text>)]
        name: Option<String>,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        joined_at: Option<DateTime<Utc>>,
    }
    // Raw SQL: who he is and whether he came in, in one round trip
    let outcome: Result<Option<Candidate>, Refused> = diesel::sql_query(
        "WITH candidate AS (
             SELECT m.org_id, m.user_id, u.email, u.name
             FROM members m JOIN users u ON u.id = m.user_id
             WHERE m.org_id = $1 AND m.user_id = $3
         ), admitted AS (
             INSERT INTO space_members (org_id, space_id, user_id, role, joined_at)
             SELECT c.org_id, $2, c.user_id, $4, coalesce($5, clock_timestamp()) FROM candidate c
             ON CONFLICT (space_id, user_id) DO NOTHING
             RETURNING user_id, joined_at
         )
         SELECT c.email, c.name, a.joined_at FROM candidate c LEFT JOIN admitted a USING (user_id)",
    )
    .bind::<Text, _>(&org)
    .bind::<Text, _>(space)
    .bind::<Text, _>(user)
    .bind::<Text, _>(role.as_str())
    .bind::<Nullable<Timestamptz>, _>(now)
    .kept()
    .get_result(tx.connection())
    .await
    .optional();
    match outcome {
        Ok(Some(Candidate { email, name, joined_at: Some(joined_at) })) => Ok(SpaceMember {
            user_id: user.clone(),
            role: role.as_str().to_owned(),
            email,
            name,
            joined_at,
        }),
        Ok(Some(_)) => Err(Error::conflict("this user is in the Space already")),
        Ok(None) => Err(not_in_the_organization()),
        // he left the organization in this moment
        Err(Refused::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)) => {
            Err(not_in_the_organization())
        }
        Err(other) => Err(other.into()),
    }
}

/// Gives a member of a Space another role: its OWNER may. 404 when he is not in it, 409 when he is
/// its last OWNER.
pub async fn update(
    tx: &mut Tx,
    space: &SpaceId,
    user: &UserId,
    role: SpaceRole,
) -> Result<SpaceMember> {
    let standing = lock(tx, space, user).await?;
    standing.require_owner()?;
    let before = standing.user_role()?;
    if role != SpaceRole::Owner {
        standing.require_another_owner(before)?;
    }
    let org = tx.caller().org_id.clone();
    // Raw SQL: Diesel cannot join what it updates
    diesel::sql_query(
        "UPDATE space_members m SET role = $4 FROM users u
         WHERE m.org_id = $1 AND m.space_id = $2 AND m.user_id = $3 AND u.id = m.user_id
         RETURNING m.user_id, m.role, u.email, u.name, m.joined_at",
    )
    .bind::<Text, _>(&org)
    .bind::<Text, _>(space)
    .bind::<Text, _>(user)
    .bind::<Text, _>(role.as_str())
    .kept()
    .get_result(tx.connection())
    .await
    .optional()?
    .ok_or_else(|| Error::not_found("member of this Space"))
}

/// Takes a member out of a Space: its OWNER may, and everybody himself. He takes part in its
/// sessions no more; what he wrote stays. 404 when he is not in it, 409 when he is its last OWNER.
pub async fn remove(tx: &mut Tx, space: &SpaceId, user: &UserId) -> Result<()> {
    let standing = lock(tx, space, user).await?;
    if *user != tx.caller().user_id {
        standing.require_owner()?;
    }
    standing.require_another_owner(standing.user_role()?)?;
    let caller = tx.caller().clone();
    diesel::delete(space_members::table)
        .filter(visibility::space_member(&caller))
        .filter(space_members::space_id.eq(space))
        .filter(space_members::user_id.eq(user))
        .execute(tx.connection())
        .await?;
    Ok(())
}
