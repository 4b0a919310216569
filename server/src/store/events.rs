//! What happened in a session, in the order in which it did, for those who may know.

use super::ids::{MessageId, SessionId, UserId};
use super::messages::{self as store_messages, Message};
use super::schema::{messages, session_events, sessions, space_members, spaces};
use super::sessions::{self as store_sessions, Session};
use super::spaces::Space;
use super::{Store, Tx, visibility};
use crate::auth::{Scope, Scopes};
use crate::error::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;

/// How long events are kept, and so for how long a stream can be resumed.
pub const RETENTION: TimeDelta = TimeDelta::hours(24);

/// Most events that are removed by one statement.
const PRUNE_BATCH: i32 = 10_000;

/// Where events are read.
#[derive(Clone, Debug)]
pub struct Place {
    /// The Space.
    pub space: Space,
    /// The session in it.
    pub session: SessionId,
}

/// An event with its number, 1 for the first of its session. No number is left out.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number.
    pub seq: i64,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// Somebody posted.
    Posted(Box<Message>),
    /// Somebody reacted, or took it back.
    Reacted {
        /// Whether the reaction is there now.
        added: bool,
        /// To which message.
        message: MessageId,
        /// How.
        emoji: String,
        /// Who.
        user: UserId,
        /// How many have reacted so.
        count: i64,
    },
    /// The session was changed; this is how it is now.
    Changed(Box<Session>),
    /// The session was archived; this is how it is now.
    Archived(Box<Session>),
    /// Something that a newer server writes.
    Unknown,
}

/// Why a caller may not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The key is revoked, rotated or expired, or its user has left the organization.
    Key,
    /// The caller is not in the Space any more.
    Membership,
    /// The Space is archived.
    Space,
    /// The session is not visible to the caller any more.
    Session,
}

/// What a caller may know of a place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything, up to the event with this number.
    Upto(i64),
    /// Nothing more.
    Lost(Lost),
}

diesel::define_sql_function! {
    /// The scopes of the caller's own key, while it may be used.
    fn scopes_of_live_key(digest: Binary, now: Nullable<Timestamptz>) -> Nullable<Array<Text>>;
}

/// Looks again whether the caller, with the key of this digest, may read the events of a place.
pub async fn access(tx: &mut Tx, digest: &[u8; 32], place: &Place) -> Result<Access> {
    let caller = tx.caller().clone();
    let now = tx.now();
    let live = spaces::table
        .filter(spaces::org_id.eq(&caller.org_id))
        .filter(spaces::id.eq(&place.space.id))
        .filter(spaces::archived_at.is_null());
    let member = space_members::table
        .filter(space_members::org_id.eq(&caller.org_id))
        .filter(space_members::space_id.eq(&place.space.id))
        .filter(space_members::user_id.eq(&caller.user_id));
    let newest = sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::space_id.eq(&place.space.id))
        .filter(sessions::id.eq(&place.session))
        .select(sessions::last_event_seq)
        .single_value();
    let (scopes, live, member, newest): (Option<Vec<String>>, bool, bool, Option<i64>) =
        diesel::select((
            scopes_of_live_key(digest.as_slice(), now),
            exists(live),
            exists(member),
            newest,
        ))
        .get_result(tx.connection())
        .await?;
    let key = scopes.is_some_and(|names| Scopes::stored(names).allow(Scope::MessagesRead));
    Ok(match newest {
        _ if !key => Access::Lost(Lost::Key),
        _ if !live => Access::Lost(Lost::Space),
        _ if !member => Access::Lost(Lost::Membership),
        None => Access::Lost(Lost::Session),
        Some(newest) => Access::Upto(newest),
    })
}

/// What a reaction's event holds.
#[derive(serde::Deserialize)]
struct Reaction {
    emoji: String,
    user_id: UserId,
    count: i64,
}

type Row = (i64, String, Option<MessageId>, serde_json::Value, Option<Message>);

/// The events after the one with this number, oldest first, at most so many.
pub async fn after(tx: &mut Tx, place: &Place, seq: i64, limit: i64) -> Result<Vec<Event>> {
    let caller = tx.caller().clone();
    let rows: Vec<Row> = session_events::table
        .left_join(
            messages::table.on(messages::org_id
                .eq(session_events::org_id)
                .and(messages::session_id.eq(session_events::session_id))
                .and(messages::id.nullable().eq(session_events::message_id))),
        )
        .filter(visibility::session_event(&caller))
        .filter(session_events::session_id.eq(&place.session))
        .filter(session_events::seq.gt(seq))
        .order(session_events::seq)
        .limit(limit)
        .select((
            session_events::seq,
            session_events::kind,
            session_events::message_id,
            session_events::payload,
            store_messages::columns().nullable(),
        ))
        .load(tx.connection())
        .await?;
    // a session is told of as it is now: what it was meanwhile is of no use to anybody
    let session = match rows.iter().any(|(_, kind, ..)| kind.starts_with("session.")) {
        true => Some(store_sessions::view(tx, &place.space, &place.session).await?),
        false => None,
    };
    rows.into_iter().map(|row| event(row, session.as_ref())).collect()
}

fn event((seq, kind, id, payload, message): Row, session: Option<&Session>) -> Result<Event> {
    let what = match (kind.as_str(), id, message, session) {
        ("message.created", _, Some(message), _) => What::Posted(Box::new(message)),
        ("reaction.added" | "reaction.removed", Some(message), ..) => {
            let Reaction { emoji, user_id, count } =
                serde_json::from_value(payload).map_err(Error::internal)?;
            What::Reacted { added: kind == "reaction.added", message, emoji, user: user_id, count }
        }
        ("session.updated", _, _, Some(session)) => What::Changed(Box::new(session.clone())),
        ("session.archived", _, _, Some(session)) => What::Archived(Box::new(session.clone())),
        _ => What::Unknown,
    };
    Ok(Event { seq, what })
}

/// Forgets events older than [`RETENTION`]; returns how many rows went.
pub async fn prune(store: &Store) -> Result<usize> {
    let mut gone = 0;
    loop {
        let mut tx = store.begin_system().await?;
        let now: Option<DateTime<Utc>> = tx.now();
        // Raw SQL on purpose: maintenance, which no caller's predicate applies to. Several servers
        // share the work: what one of them has locked, the others leave to it.
        let batch = diesel::sql_query(
            "DELETE FROM session_events e USING (
                 SELECT org_id, session_id, seq FROM session_events
                 WHERE created_at <= coalesce($1, clock_timestamp()) - make_interval(secs => $2)
                 ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED) old
             WHERE (e.org_id, e.session_id, e.seq) = (old.org_id, old.session_id, old.seq)",
        )
        .bind::<Nullable<Timestamptz>, _>(now)
        .bind::<BigInt, _>(RETENTION.num_seconds())
        .bind::<Integer, _>(PRUNE_BATCH)
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        gone += batch;
        if batch < usize::try_from(PRUNE_BATCH).unwrap_or(usize::MAX) {
            return Ok(gone);
        }
    }
}
