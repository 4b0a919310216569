//! Reactions to messages: one of each emoji, person and message.

use super::ids::{MessageId, SessionId};
use super::schema::{message_reactions, messages, sessions};
use super::spaces::Space;
use super::statements::Keep;
use super::{Tx, visibility};
use crate::auth::SpaceRole;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Timestamptz};
use diesel_async::RunQueryDsl;

/// The session of a message, locked until the transaction ends. 403 for VIEWERs, 404 when the
/// caller cannot see the message in this Space, 409 when the session is archived.
async fn lock_session_of(
    tx: &mut Tx,
    (space, role): &(Space, SpaceRole),
    message: &MessageId,
) -> Result<SessionId> {
    if !role.may_write() {
        return Err(Error::forbidden("a VIEWER of this Space cannot react in it"));
    }
    let caller = tx.caller().clone();
    let of_message = messages::table.filter(messages::id.eq(message)).select(messages::session_id);
    let (session, archived): (SessionId, Option<DateTime<Utc>>) = sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::space_id.eq(&space.id))
        .filter(sessions::id.eq_any(of_message))
        // Raw SQL: a function of ours, since to lock a row takes the right to change it
        .select((sessions::id, sql::<Nullable<Timestamptz>>("lock_session(sessions.id)")))
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("message"))?;
    match archived {
        None => Ok(session),
        Some(_) => Err(Error::conflict("this session is archived: its reactions are final")),
    }
}

/// Adds the caller's reaction, unless it is there already; returns how many have reacted so.
pub async fn add(
    tx: &mut Tx,
    space: &(Space, SpaceRole),
    message: &MessageId,
    emoji: &str,
) -> Result<i64> {
    let session = lock_session_of(tx, space, message).await?;
    let caller = tx.caller().clone();
    let now = tx.now();
    diesel::insert_into(message_reactions::table)
        .values((
            message_reactions::org_id.eq(&caller.org_id),
            message_reactions::session_id.eq(&session),
            message_reactions::message_id.eq(message),
            message_reactions::user_id.eq(&caller.user_id),
            message_reactions::emoji.eq(emoji),
            message_reactions::created_at.eq(sql::<Timestamptz>("coalesce(")
                .bind::<Nullable<Timestamptz>, _>(now)
                .sql(", clock_timestamp())")),
        ))
        .on_conflict_do_nothing()
        .kept()
        .execute(tx.connection())
        .await?;
    Ok(message_reactions::table
        .filter(visibility::reaction(&caller))
        .filter(message_reactions::message_id.eq(message))
        .filter(message_reactions::emoji.eq(emoji))
        .count()
        .get_result(tx.connection())
        .await?)
}

/// Takes the caller's reaction back, if it is there.
pub async fn remove(
    tx: &mut Tx,
    space: &(Space, SpaceRole),
    message: &MessageId,
    emoji: &str,
) -> Result<()> {
    lock_session_of(tx, space, message).await?;
    let caller = tx.caller().clone();
    diesel::delete(message_reactions::table)
        .filter(visibility::reaction(&caller))
        .filter(message_reactions::message_id.eq(message))
        .filter(message_reactions::user_id.eq(&caller.user_id))
        .filter(message_reactions::emoji.eq(emoji))
        .execute(tx.connection())
        .await?;
    Ok(())
}
