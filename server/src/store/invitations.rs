//! Invitations into an organization (contract B5).

use super::ids::{InvitationId, OrgId, UserId};
use super::members::{self, Member};
use super::pages::{Listed, Paging, unknown_place};
use super::schema::{invitation_mails, invitations};
use super::statements::Keep;
use super::{Store, Tx, visibility};
use crate::auth::OrgRole;
use crate::auth::invitation::Nonce;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Most invitations of one organization that wait to be accepted at the same time.
pub const MAX_PENDING: i64 = 200;
/// In how many hours letters are counted.
pub const LETTER_HOURS: i32 = 24;
/// Letters to one address from one organization in [`LETTER_HOURS`]: whoever revokes an invitation and
/// makes another hands that one over.
pub const LETTERS: i32 = 1;
/// The same, where somebody has accepted an invitation of that organization under the address, and so
/// has agreed to hear from it.
pub const LETTERS_TO_KNOWN: i32 = 3;
/// Letters to one address from all organizations together in [`LETTER_HOURS`].
pub const LETTERS_FROM_ALL: i32 = 3;
/// Letters of one organization in [`LETTER_HOURS`], whomever to: no more than can be pending at once.
pub const LETTERS_OF_ORG: i32 = 200;
/// How long an invitation can be accepted, in days.
pub const LIFETIME_DAYS: u32 = 7;

/// An invitation; its token is nowhere.
#[derive(Clone, Debug, Queryable, QueryableByName)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Invitation {
    #[diesel(sql_type = Text)]
    pub id: InvitationId,
    #[diesel(sql_type = Text)]
    pub org_id: OrgId,
    #[diesel(sql_type = Text)]
    pub email: String,
    #[diesel(sql_type = Text)]
    pub role: String,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Text)]
    pub invited_by_user_id: UserId,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
    /// What has become of the letter.
    #[diesel(sql_type = Text)]
    pub delivery: String,
}

/// Whom to invite, as what.
#[derive(Clone, Debug)]
pub struct NewInvitation {
    /// The address, trimmed.
    pub email: String,
    /// ADMIN or MEMBER.
    pub role: OrgRole,
    /// What is kept of the token.
    pub digest: [u8; 32],
    /// What the letter makes the token from; `None` when none is to be sent.
    pub nonce: Option<Nonce>,
}

/// 403 for those who have no business with invitations.
fn manages(role: OrgRole) -> Result<()> {
    match role {
        OrgRole::Owner | OrgRole::Admin => Ok(()),
        OrgRole::Member => Err(Error::forbidden("only an OWNER or ADMIN manages invitations")),
    }
}

/// SQL for what has become of a letter: there is none, it was held back, it is to be sent, it was
/// sent, or nothing more is tried.
const DELIVERY: &str = "CASE WHEN m.invitation_id IS NULL THEN 'NONE' \
    WHEN m.held THEN 'HELD' \
    WHEN m.sent_at IS NOT NULL THEN 'SENT' \
    WHEN m.next_attempt_at IS NOT NULL THEN 'QUEUED' ELSE 'FAILED' END";

/// The invitations of the caller's organization that can still be accepted, newest first. 403
/// unless the caller is an OWNER or ADMIN; 404 when `before` names none, which may be one that is
/// over.
pub async fn list(tx: &mut Tx, paging: &Paging<InvitationId>) -> Result<Listed<Invitation>> {
    let caller = tx.caller().clone();
    manages(caller.role)?;
    let now = tx.now();
    let matching = || {
        invitations::table
            .filter(visibility::invitation(&caller))
            .filter(invitations::status.eq("PENDING"))
            .filter(
                sql::<Bool>("expires_at > coalesce(")
                    .bind::<Nullable<Timestamptz>, _>(now)
                    .sql(", clock_timestamp())"),
            )
    };
    let m = diesel::alias!(invitation_mails as m);
    let letter = m
        .field(invitation_mails::invitation_id)
        .eq(invitations::id)
        .and(m.field(invitation_mails::org_id).eq(invitations::org_id));
    let mut page = matching()
        .left_join(m.on(letter))
        .order((invitations::created_at.desc(), invitations::id.desc()))
        .limit(paging.rows())
        .select((
            invitations::id,
            invitations::org_id,
            invitations::email,
            invitations::role,
            invitations::status,
            invitations::invited_by_user_id,
            invitations::created_at,
            invitations::expires_at,
            sql::<Text>(DELIVERY),
        ))
        .into_boxed();
    if let Some(before) = &paging.before {
        let at: DateTime<Utc> = invitations::table
            .filter(visibility::invitation(&caller))
            .filter(invitations::id.eq(before))
            .select(invitations::created_at)
            .first(tx.connection())
            .await
            .optional()?
            .ok_or_else(|| unknown_place("invitation"))?;
        page = page.filter(invitations::created_at.le(at)).filter(
            invitations::created_at
                .lt(at)
                .or(invitations::created_at.eq(at).and(invitations::id.lt(before))),
        );
    }
    let rows: Vec<Invitation> = page.kept().load(tx.connection()).await?;
    let total = match paging.whole(rows.len()) {
        Some(total) => total,
        None => matching().count().kept().get_result(tx.connection()).await?,
    };
    Ok(Listed { rows, total })
}

#[derive(QueryableByName)]
struct Room {
    #[diesel(sql_type = Bool)]
    is_member: bool,
    #[diesel(sql_type = BigInt)]
    pending: i64,
    /// Whether the address may be sent a letter now; `None` when none is to be sent.
    #[diesel(sql_type = Nullable<Bool>)]
    may_mail: Option<bool>,
}

/// Invites somebody, and puts the letter into the outbox, unless the address or the organization has
/// had its letters: see [`LETTERS`] and those after it.
///
/// 403 unless the caller is an OWNER or ADMIN; 409 when the address is a member's, or is invited
/// already, or [`MAX_PENDING`] are.
pub async fn create(tx: &mut Tx, new: &NewInvitation) -> Result<Invitation> {
    let caller = tx.caller().clone();
    manages(caller.role)?;
    let now = tx.now();
    let locked = members::lock(tx, &caller.user_id).await?;
    manages(locked.caller)?;
    // Raw SQL: four questions in one round trip. Those whose time is over make room first; what
    // this statement changes its own SELECTs do not see, hence the second look at the time.
    let room: Room = diesel::sql_query(
        "WITH t AS (SELECT coalesce($3, clock_timestamp()) AS now), \
         expired AS ( \
             UPDATE invitations i SET status = 'EXPIRED', ended_at = t.now FROM t \
             WHERE i.org_id = $1 AND i.status = 'PENDING' AND i.expires_at <= t.now) \
         SELECT EXISTS (SELECT FROM members m JOIN users u ON u.id = m.user_id \
                 WHERE m.org_id = $1 AND lower(u.email) = lower($2)) AS is_member, \
             (SELECT count(*) FROM invitations i WHERE i.org_id = $1 AND i.status = 'PENDING' \
                 AND i.expires_at > t.now) AS pending, \
             CASE WHEN $4 THEN may_mail($2, $5, $6, $7, $8, $9, $3) END AS may_mail \
         FROM t",
    )
    .bind::<Text, _>(&caller.org_id)
    .bind::<Text, _>(&new.email)
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Bool, _>(new.nonce.is_some())
    .bind::<Integer, _>(LETTERS)
    .bind::<Integer, _>(LETTERS_TO_KNOWN)
    .bind::<Integer, _>(LETTERS_FROM_ALL)
    .bind::<Integer, _>(LETTERS_OF_ORG)
    .bind::<Integer, _>(LETTER_HOURS)
    .kept()
    .get_result(tx.connection())
    .await?;
    let held = room.may_mail == Some(false);
    if room.is_member {
        return Err(Error::conflict("somebody with this address is a member already"));
    }
    // Raw SQL: Diesel cannot name an index over an expression as the conflict's target, nor write
    // two tables at once
    let invitation: Option<Invitation> = diesel::sql_query(format!(
        "WITH t AS (SELECT coalesce($8, clock_timestamp()) AS now), \
         i AS (INSERT INTO invitations \
                 (id, org_id, email, role, digest, invited_by_user_id, created_at, expires_at) \
             SELECT $1, $2, $3, $4, $5, $6, t.now, t.now + interval '{LIFETIME_DAYS} days' \
             FROM t WHERE $9 < {MAX_PENDING} \
             ON CONFLICT (org_id, lower(email)) WHERE status = 'PENDING' DO NOTHING \
             RETURNING id, org_id, email, role, status, invited_by_user_id, created_at, \
                 expires_at), \
         m AS (INSERT INTO invitation_mails (invitation_id, org_id, nonce, next_attempt_at, held) \
             SELECT i.id, i.org_id, $7, CASE WHEN NOT $10 THEN i.created_at END, $10 FROM i \
             WHERE $10 OR $7 IS NOT NULL \
             RETURNING invitation_id, sent_at, next_attempt_at, held) \
         SELECT i.*, {DELIVERY} AS delivery FROM i LEFT JOIN m ON m.invitation_id = i.id",
    ))
    .bind::<Text, _>(InvitationId::generate())
    .bind::<Text, _>(&caller.org_id)
    .bind::<Text, _>(&new.email)
    .bind::<Text, _>(new.role.as_str())
    .bind::<Binary, _>(new.digest.as_slice())
    .bind::<Text, _>(&caller.user_id)
    .bind::<Nullable<Binary>, _>(new.nonce.as_ref().filter(|_| !held).map(<[u8; 32]>::as_slice))
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<BigInt, _>(room.pending)
    .bind::<Bool, _>(held)
    .get_result(tx.connection())
    .await
    .optional()?;
    invitation.ok_or_else(|| match room.pending {
        n if n < MAX_PENDING => {
            Error::conflict("this address is invited already; revoke that invitation first")
        }
        _ => Error::conflict(format!(
            "{MAX_PENDING} invitations are pending, which is the most; revoke some first"
        )),
    })
}

/// Ends an invitation before its time. 403 unless the caller is an OWNER or ADMIN, 404 when there
/// is no such invitation, 409 when it was accepted. Once more is no error.
pub async fn revoke(tx: &mut Tx, id: &InvitationId) -> Result<()> {
    let caller = tx.caller().clone();
    manages(caller.role)?;
    let now = tx.now();
    let status: Option<String> = invitations::table
        .filter(visibility::invitation(&caller))
        .filter(invitations::id.eq(id))
        .select(invitations::status)
        .first(tx.connection())
        .await
        .optional()?;
    match status.as_deref() {
        None => return Err(Error::not_found("invitation")),
        Some("PENDING") => {}
        Some("ACCEPTED") => return Err(accepted()),
        Some(_) => return Ok(()),
    }
    let revoked = diesel::update(invitations::table)
        .filter(visibility::invitation(&caller))
        .filter(invitations::id.eq(id))
        .filter(invitations::status.eq("PENDING"))
        .set((
            invitations::status.eq("REVOKED"),
            invitations::ended_at.eq(sql::<Nullable<Timestamptz>>("coalesce(")
                .bind::<Nullable<Timestamptz>, _>(now)
                .sql(", clock_timestamp())")),
        ))
        .kept()
        .execute(tx.connection())
        .await?;
    if revoked == 1 {
        return Ok(());
    }
    // somebody was faster
    let status: String = invitations::table
        .filter(visibility::invitation(&caller))
        .filter(invitations::id.eq(id))
        .select(invitations::status)
        .first(tx.connection())
        .await?;
    if status == "ACCEPTED" { Err(accepted()) } else { Ok(()) }
}

fn accepted() -> Error {
    Error::conflict("this invitation was accepted; remove the member instead")
}

#[derive(QueryableByName)]
struct Accepted {
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Text>)]
    org_id: Option<OrgId>,
    #[diesel(sql_type = Nullable<Text>)]
    user_id: Option<UserId>,
    #[diesel(sql_type = Nullable<Text>)]
    role: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    email: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    joined_at: Option<DateTime<Utc>>,
}

/// Makes the caller's user a member of the organization that the invitation leads into, whichever
/// it is.
///
/// 404 when there is no such invitation, 403 when it is for another address, 409 when it was
/// accepted, revoked or has expired, or the user is a member already.
pub async fn accept(tx: &mut Tx, digest: &[u8; 32]) -> Result<Member> {
    let now = tx.now();
    let row: Accepted = diesel::sql_query("SELECT * FROM accept_invitation($1, $2)")
        .bind::<Binary, _>(digest.as_slice())
        .bind::<Nullable<Timestamptz>, _>(now)
        .kept()
        .get_result(tx.connection())
        .await?;
    match row {
        Accepted {
            org_id: Some(org_id),
            user_id: Some(user_id),
            role: Some(role),
            email: Some(email),
            name,
            joined_at: Some(joined_at),
            ..
        } => Ok(Member { user_id, org_id, role, email, name, joined_at }),
        Accepted { outcome, .. } => Err(match outcome.as_str() {
            "absent" => Error::not_found("invitation"),
            "another" => Error::forbidden(
                "this invitation is for another address; use a key of the user who was invited",
            ),
            "member" => Error::conflict("you are a member of this organization already"),
            "ACCEPTED" => Error::conflict("this invitation was accepted already"),
            "REVOKED" => Error::conflict("this invitation was revoked; ask for a new one"),
            "EXPIRED" => Error::conflict("this invitation has expired; ask for a new one"),
            other => Error::internal(format!("accept_invitation answered {other}")),
        }),
    }
}

/// Marks the invitations whose time is over; returns how many.
pub async fn expire(store: &Store) -> Result<usize> {
    let mut tx = store.begin_system().await?;
    let now = tx.now();
    let expired = diesel::sql_query(
        // what somebody else is at will be looked at again; waiting could become a deadlock
        "UPDATE invitations SET status = 'EXPIRED', ended_at = coalesce($1, clock_timestamp()) \
         WHERE id IN (SELECT id FROM invitations \
             WHERE status = 'PENDING' AND expires_at <= coalesce($1, clock_timestamp()) \
             FOR UPDATE SKIP LOCKED)",
    )
    .bind::<Nullable<Timestamptz>, _>(now)
    .execute(tx.connection())
    .await?;
    tx.commit().await?;
    Ok(expired)
}
