//! The outbox of invitations: letters that were written down with the invitation, to be sent by
//! whichever server comes first.

use super::Store;
use super::ids::InvitationId;
use crate::auth::invitation::Nonce;
use crate::error::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Double, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// A letter that is to be sent now.
#[derive(QueryableByName)]
#[expect(missing_docs, reason = "what a letter is made of")]
pub struct Due {
    #[diesel(sql_type = Text)]
    pub invitation_id: InvitationId,
    #[diesel(sql_type = Text)]
    pub email: String,
    #[diesel(sql_type = Text)]
    pub role: String,
    #[diesel(sql_type = Timestamptz)]
    pub expires_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub org_name: String,
    #[diesel(sql_type = Text)]
    pub inviter_email: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub inviter_name: Option<String>,
    /// Which attempt this is, from 1.
    #[diesel(sql_type = SmallInt)]
    pub attempt: i16,
    #[diesel(sql_type = Binary)]
    nonce: Vec<u8>,
}

impl Due {
    /// What the token is made from.
    pub fn nonce(&self) -> Result<Nonce> {
        self.nonce.as_slice().try_into().map_err(Error::internal)
    }
}

fn seconds(time: TimeDelta) -> f64 {
    time.as_seconds_f64()
}

/// Takes the letter that has been due longest, if there is one; nobody else gets it for as long as
/// `lease`. Letters of invitations that are over are dropped.
pub async fn claim(store: &Store, lease: TimeDelta) -> Result<Option<Due>> {
    let mut tx = store.begin_system().await?;
    let now = tx.now();
    let due = diesel::sql_query(
        "WITH t AS (SELECT coalesce($1, clock_timestamp()) AS now), \
         over AS ( \
             UPDATE invitation_mails m SET nonce = NULL, next_attempt_at = NULL \
             FROM invitations i, t \
             WHERE i.id = m.invitation_id AND m.next_attempt_at <= t.now \
                 AND (i.status <> 'PENDING' OR i.expires_at <= t.now)), \
         due AS ( \
             SELECT m.invitation_id FROM t, invitation_mails m \
             JOIN invitations i ON i.id = m.invitation_id \
             WHERE m.next_attempt_at <= t.now AND i.status = 'PENDING' AND i.expires_at > t.now \
             ORDER BY m.next_attempt_at, m.invitation_id LIMIT 1 FOR UPDATE OF m SKIP LOCKED) \
         UPDATE invitation_mails m \
         SET attempts = m.attempts + 1, next_attempt_at = t.now + make_interval(secs => $2) \
         FROM t, due, invitations i, orgs o, users u \
         WHERE m.invitation_id = due.invitation_id AND i.id = due.invitation_id \
             AND o.id = i.org_id AND u.id = i.invited_by_user_id \
         RETURNING m.invitation_id, i.email, i.role, i.expires_at, o.name AS org_name, \
             u.email AS inviter_email, u.name AS inviter_name, m.attempts AS attempt, m.nonce",
    )
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Double, _>(seconds(lease))
    .get_result(tx.connection())
    .await
    .optional()?;
    tx.commit().await?;
    Ok(due)
}

/// The letter is on its way.
pub async fn sent(store: &Store, letter: &Due) -> Result<()> {
    let mut tx = store.begin_system().await?;
    let now = tx.now();
    diesel::sql_query(
        "UPDATE invitation_mails SET sent_at = coalesce($2, clock_timestamp()), nonce = NULL, \
             next_attempt_at = NULL, last_error = NULL \
         WHERE invitation_id = $1",
    )
    .bind::<Text, _>(&letter.invitation_id)
    .bind::<Nullable<Timestamptz>, _>(now)
    .execute(tx.connection())
    .await?;
    tx.commit().await
}

/// The letter could not be sent. `again`: after which time to try once more, `None` for never.
/// Nothing happens when another server has taken it meanwhile.
pub async fn failed(
    store: &Store,
    letter: &Due,
    error: &str,
    again: Option<TimeDelta>,
) -> Result<()> {
    let mut tx = store.begin_system().await?;
    let now = tx.now();
    diesel::sql_query(
        // an invitation that has ended meanwhile has no nonce any more, and gets no next attempt
        "UPDATE invitation_mails SET last_error = $3, \
             next_attempt_at = CASE WHEN nonce IS NOT NULL \
                 THEN coalesce($4, clock_timestamp()) + make_interval(secs => $5) END, \
             nonce = CASE WHEN $5 IS NOT NULL THEN nonce END \
         WHERE invitation_id = $1 AND attempts = $2 AND sent_at IS NULL",
    )
    .bind::<Text, _>(&letter.invitation_id)
    .bind::<SmallInt, _>(letter.attempt)
    .bind::<Text, _>(error)
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Nullable<Double>, _>(again.map(seconds))
    .execute(tx.connection())
    .await?;
    tx.commit().await
}
