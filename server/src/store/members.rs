//! Members of an organization (contract A8, B5): roles, and leaving.

use super::Tx;
use super::ids::{OrgId, UserId};
use super::pages::{Listed, Paging, unknown_place};
use super::schema::{members, users};
use super::statements::Keep;
use super::visibility;
use crate::auth::OrgRole;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::DatabaseErrorKind;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Somebody's membership, with what the organization may know of the person.
#[derive(Clone, Debug, Queryable, QueryableByName)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Member {
    #[diesel(sql_type = Text)]
    pub user_id: UserId,
    #[diesel(sql_type = Text)]
    pub org_id: OrgId,
    #[diesel(sql_type = Text)]
    pub role: String,
    #[diesel(sql_type = Text)]
    pub email: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub name: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    pub joined_at: DateTime<Utc>,
}

/// What a row that names a member fails with: whoever it names was in the organization a moment ago.
pub(super) fn left_meanwhile(error: diesel::result::Error) -> Error {
    match error {
        diesel::result::Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => {
            Error::Conflict {
                message: "memberships were changed at the same moment; try again".into(),
                retry_after: Some(1),
            }
        }
        error => error.into(),
    }
}

/// SQL for a member's place in the list: by role, then by name or address.
const RANK: &str = "array_position(ARRAY['OWNER', 'ADMIN', 'MEMBER'], members.role)";
/// See [`RANK`].
const NAME: &str = "lower(coalesce(users.name, users.email))";

/// The members of the caller's organization: OWNERs first, then ADMINs, then by name, or address
/// where there is none. 404 when `before` is not a member.
pub async fn list(tx: &mut Tx, paging: &Paging<UserId>) -> Result<Listed<Member>> {
    let caller = tx.caller().clone();
    let mut page = members::table
        .inner_join(users::table)
        .filter(visibility::member(&caller))
        .order((sql::<Integer>(RANK), sql::<Text>(NAME), members::user_id))
        .limit(paging.rows())
        .select((
            members::user_id,
            members::org_id,
            members::role,
            users::email,
            users::name,
            members::joined_at,
        ))
        .into_boxed();
    if let Some(before) = &paging.before {
        let (rank, name): (i32, String) = members::table
            .inner_join(users::table)
            .filter(visibility::member(&caller))
            .filter(members::user_id.eq(before))
            .select((sql::<Integer>(RANK), sql::<Text>(NAME)))
            .kept()
            .get_result(tx.connection())
            .await
            .optional()?
            .ok_or_else(|| unknown_place("member"))?;
        page = page.filter(
            sql::<Bool>(&format!("({RANK}, {NAME}, members.user_id) > ("))
                .bind::<Integer, _>(rank)
                .sql(", ")
                .bind::<Text, _>(name)
                .sql(", ")
                .bind::<Text, _>(before)
                .sql(")"),
        );
    }
    let rows: Vec<Member> = page.kept().load(tx.connection()).await?;
    let total = match paging.whole(rows.len()) {
        Some(total) => total,
        None => {
            members::table
                .filter(visibility::member(&caller))
                .count()
                .get_result(tx.connection())
                .await?
        }
    };
    Ok(Listed { rows, total })
}

/// Who the caller and the other one are while nobody else can change it.
pub(super) struct Locked {
    /// The caller's role now, which may be another than when his key was looked up.
    pub caller: OrgRole,
    /// The other's; `None` when he is not a member.
    pub other: Option<OrgRole>,
    owners: i64,
}

#[derive(QueryableByName)]
struct LockedRow {
    #[diesel(sql_type = Nullable<Text>)]
    caller_role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    user_role: Option<String>,
    #[diesel(sql_type = BigInt)]
    owners: i64,
}

/// Until the end of the transaction, nobody else changes who is in the caller's organization, with
/// which role, or invited. 403 when the caller himself is a member no more.
pub(super) async fn lock(tx: &mut Tx, other: &UserId) -> Result<Locked> {
    let row: LockedRow = diesel::sql_query("SELECT * FROM lock_members($1)")
        .bind::<Text, _>(other)
        .kept()
        .get_result(tx.connection())
        .await?;
    let caller = row
        .caller_role
        .ok_or_else(|| Error::forbidden("you are not a member of this organization any more"))?
        .parse()?;
    let other = row.user_role.map(|role| role.parse()).transpose()?;
    Ok(Locked { caller, other, owners: row.owners })
}

impl Locked {
    /// The other's role; 404 when he is not a member, 409 when he is the only OWNER and is to be
    /// one no longer.
    fn losing(&self, owner_stays: bool) -> Result<OrgRole> {
        let role = self.other.ok_or_else(|| Error::not_found("member"))?;
        if role == OrgRole::Owner && self.owners == 1 && !owner_stays {
            return Err(Error::conflict(
                "this is the organization's only OWNER; make somebody else an OWNER first",
            ));
        }
        Ok(role)
    }
}

/// Gives a member of the caller's organization another role, from his next request on.
///
/// 403 unless the caller is an OWNER, 404 when there is no such member, 409 for the only OWNER.
pub async fn change_role(tx: &mut Tx, user: &UserId, role: OrgRole) -> Result<Member> {
    let locked = lock(tx, user).await?;
    if locked.caller != OrgRole::Owner {
        return Err(Error::forbidden("only an OWNER changes roles"));
    }
    locked.losing(role == OrgRole::Owner)?;
    let org = tx.caller().org_id.clone();
    // Raw SQL: Diesel cannot return columns of another table than the changed one
    diesel::sql_query(
        "UPDATE members m SET role = $3 FROM users u \
         WHERE m.org_id = $1 AND m.user_id = $2 AND u.id = m.user_id \
         RETURNING m.user_id, m.org_id, m.role, u.email, u.name, m.joined_at",
    )
    .bind::<Text, _>(org)
    .bind::<Text, _>(user)
    .bind::<Text, _>(role.as_str())
    .kept()
    .get_result(tx.connection())
    .await
    .optional()?
    .ok_or_else(|| Error::not_found("member"))
}

/// Takes a member out of the caller's organization, with everything that follows from it (see the
/// trigger `leave_org`): his keys, his places in Spaces and sessions.
///
/// 403 unless the caller is an OWNER, or an ADMIN and the member is no OWNER, or it is himself; 404
/// when there is no such member, 409 for the only OWNER.
pub async fn remove(tx: &mut Tx, user: &UserId) -> Result<()> {
    let locked = lock(tx, user).await?;
    let caller = tx.caller().clone();
    if *user != caller.user_id {
        match (locked.caller, locked.other) {
            (OrgRole::Owner, _)
            | (OrgRole::Admin, None | Some(OrgRole::Admin | OrgRole::Member)) => {}
            (OrgRole::Admin, Some(OrgRole::Owner)) => {
                return Err(Error::forbidden("only an OWNER removes an OWNER"));
            }
            (OrgRole::Member, _) => {
                return Err(Error::forbidden("only an OWNER or ADMIN removes others"));
            }
        }
    }
    locked.losing(false)?;
    let removed = diesel::delete(
        members::table.filter(visibility::member(&caller)).filter(members::user_id.eq(user)),
    )
    .execute(tx.connection())
    .await?;
    if removed == 0 { Err(Error::not_found("member")) } else { Ok(()) }
}
