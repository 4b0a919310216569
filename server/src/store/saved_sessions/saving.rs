//! Saving sessions, changing what was saved, and archiving it.

use super::{SavedSession, Wanted, view};
use crate::auth::SpaceRole;
use crate::error::{Error, Result};
use crate::store::ids::{SessionId, UserId};
use crate::store::schema::{session_participants, sessions};
use crate::store::session_kinds::{Labels, SessionOrigin, SessionVisibility};
use crate::store::spaces::Space;
use crate::store::statements::Keep;
use crate::store::{Tx, visibility};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Keys that say which program a session belongs to: a replacement of the labels keeps them.
pub const RESERVED_LABELS: [&str; 3] = ["capability", "capability_version", "worker"];

/// What a client says of a session when it saves it. `None` is what it did not say.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are documented where the API takes them")]
pub struct Save {
    pub external_id: Uuid,
    pub model: String,
    pub agent: Option<String>,
    pub title: Option<String>,
    pub message_count: Option<i32>,
    pub labels: Option<Labels>,
    /// Heeded when the session is new.
    pub origin: SessionOrigin,
    /// Heeded when the session is new.
    pub visibility: SessionVisibility,
}

/// What is to change; `None` stays as it is.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "as above")]
pub struct SavedChange {
    pub agent: Option<String>,
    pub model: Option<String>,
    pub title: Option<String>,
    pub message_count: Option<i32>,
    pub labels: Option<Labels>,
    pub visibility: Option<SessionVisibility>,
}

/// The caller's time, or the database's.
macro_rules! at {
    ($now:expr) => {
        sql::<Timestamptz>("coalesce(")
            .bind::<Nullable<Timestamptz>, _>($now)
            .sql(", clock_timestamp())")
    };
}

/// The reserved ones among the labels that a session has.
const KEPT_LABELS_SQL: &str = "(SELECT coalesce(jsonb_object_agg(l.key, l.value), '{}') \
     FROM jsonb_each(sessions.labels) l WHERE l.key = ANY (";

/// Saves a session: makes it, or changes what the caller saved in this Space before (contract D3).
/// 409 when its id is somebody else's, or of another Space.
pub async fn save(tx: &mut Tx, place: &(Space, SpaceRole), save: &Save) -> Result<SavedSession> {
    let (space, role) = place;
    if !role.may_write() {
        return Err(Error::forbidden("a VIEWER of this Space cannot save sessions in it"));
    }
    // Sessions are saved again and again, so this comes first. Of two first ones at the same
    // moment, the unique index lets one in; the other waits for it, and changes what it made.
    if !resave(tx, space, save).await? && !insert(tx, space, save).await? {
        let lost_the_race = resave(tx, space, save).await?;
        if !lost_the_race {
            return Err(Error::conflict("a session with this id exists already"));
        }
    }
    view(tx, space, Wanted::exactly(save.external_id)).await
}

/// Changes what the caller has saved before; whether there was such a session.
async fn resave(tx: &mut Tx, space: &Space, save: &Save) -> Result<bool> {
    let (caller, now) = (tx.caller().clone(), tx.now());
    let own = sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::external_id.eq(save.external_id))
        .filter(sessions::space_id.eq(&space.id))
        .filter(sessions::created_by_user_id.eq(&caller.user_id));
    let changed = diesel::update(own)
        .set((
            sessions::model.eq(&save.model),
            sessions::message_count.eq(sql::<Integer>("coalesce(")
                .bind::<Nullable<Integer>, _>(save.message_count)
                .sql(", sessions.message_count)")),
            sessions::title.eq(sql::<Nullable<Text>>("coalesce(")
                .bind::<Nullable<Text>, _>(&save.title)
                .sql(", sessions.title)")),
            sessions::default_agent.eq(sql::<Nullable<Text>>("coalesce(")
                .bind::<Nullable<Text>, _>(&save.agent)
                .sql(", sessions.default_agent)")),
            // the writer itself may change the reserved ones, by naming them
            sessions::labels.eq(sql::<Jsonb>("coalesce(")
                .sql(KEPT_LABELS_SQL)
                .bind::<Array<Text>, _>(RESERVED_LABELS.as_slice())
                .sql(")) || ")
                .bind::<Nullable<Jsonb>, _>(save.labels.clone())
                .sql(", sessions.labels)")),
            sessions::updated_at.eq(at!(now)),
        ))
        .kept()
        .execute(tx.connection())
        .await?;
    Ok(changed > 0)
}

/// Makes the session, unless its id is taken; whether it was free.
async fn insert(tx: &mut Tx, space: &Space, save: &Save) -> Result<bool> {
    let (caller, now, id) = (tx.caller().clone(), tx.now(), SessionId::generate());
    let inserted = diesel::insert_into(sessions::table)
        .values((
            sessions::id.eq(&id),
            sessions::external_id.eq(save.external_id),
            sessions::org_id.eq(&caller.org_id),
            sessions::space_id.eq(&space.id),
            sessions::title.eq(&save.title),
            sessions::default_agent.eq(&save.agent),
            sessions::model.eq(&save.model),
            sessions::created_by_user_id.eq(&caller.user_id),
            sessions::visibility.eq(save.visibility),
            sessions::origin.eq(save.origin),
            sessions::labels.eq(save.labels.clone().unwrap_or_default()),
            sessions::message_count.eq(save.message_count.unwrap_or_default()),
            sessions::created_at.eq(at!(now)),
            sessions::updated_at.eq(at!(now)),
        ))
        .on_conflict((sessions::org_id, sessions::external_id))
        .do_nothing()
        .kept()
        .execute(tx.connection())
        .await?;
    if inserted == 0 {
        return Ok(false);
    }
    diesel::insert_into(session_participants::table)
        .values((
            session_participants::org_id.eq(&caller.org_id),
            session_participants::session_id.eq(&id),
            session_participants::user_id.eq(&caller.user_id),
        ))
        .execute(tx.connection())
        .await?;
    Ok(true)
}

/// Only the session's creator, and the Space's OWNER and EDITOR, may change it.
pub(in crate::store) async fn changeable(
    tx: &mut Tx,
    (space, role): &(Space, SpaceRole),
    wanted: Wanted,
) -> Result<SavedSession> {
    let session = view(tx, space, wanted).await?;
    let own = session.created_by_user_id == tx.caller().user_id && role.may_write();
    if own || role.may_edit() {
        return Ok(session);
    }
    Err(Error::forbidden(
        "only the session's creator and the Space's OWNER or EDITOR may change it",
    ))
}

/// Changes a session; without a change, nothing is touched. 403 for who may not, and for what was
/// shared and is to be private again.
pub async fn update(
    tx: &mut Tx,
    place: &(Space, SpaceRole),
    wanted: Wanted,
    change: &SavedChange,
) -> Result<SavedSession> {
    let session = changeable(tx, place, wanted).await?;
    if let Some(visibility) = change.visibility {
        check_promotion(tx, session.visibility, &session.created_by_user_id, visibility)?;
    }
    let visibility = change.visibility.filter(|wanted| *wanted != session.visibility);
    let nothing = change.agent.is_none()
        && change.model.is_none()
        && change.title.is_none()
        && change.message_count.is_none()
        && change.labels.is_none()
        && visibility.is_none();
    if nothing {
        return Ok(session);
    }
    let (caller, now) = (tx.caller().clone(), tx.now());
    let mut labels = change.labels.clone();
    if let Some(labels) = &mut labels {
        labels.0.retain(|key, _| !RESERVED_LABELS.contains(&key.as_str()));
    }
    diesel::update(sessions::table)
        .filter(visibility::session(&caller))
        .filter(sessions::id.eq(&session.id))
        .set((
            change.agent.as_ref().map(|agent| sessions::default_agent.eq(agent)),
            change.model.as_ref().map(|model| sessions::model.eq(model)),
            change.title.as_ref().map(|title| sessions::title.eq(title)),
            change.message_count.map(|count| sessions::message_count.eq(count)),
            visibility.map(|visibility| sessions::visibility.eq(visibility)),
            labels.map(|labels| {
                sessions::labels.eq(sql::<Jsonb>(KEPT_LABELS_SQL)
                    .bind::<Array<Text>, _>(RESERVED_LABELS.as_slice())
                    .sql(")) || ")
                    .bind::<Jsonb, _>(labels))
            }),
            sessions::updated_at.eq(at!(now)),
        ))
        .kept()
        .execute(tx.connection())
        .await?;
    view(tx, &place.0, Wanted::exactly(session.external_id)).await
}

/// Visibility changes one way only, and by the creator alone (contract D2).
pub(in crate::store) fn check_promotion(
    tx: &Tx,
    before: SessionVisibility,
    creator: &UserId,
    wanted: SessionVisibility,
) -> Result<()> {
    use SessionVisibility::{Private, Workspace};
    match (before, wanted) {
        (Private, Private) | (Workspace, Workspace) => Ok(()),
        (Private, Workspace) if *creator == tx.caller().user_id => Ok(()),
        (Private, Workspace) => {
            Err(Error::forbidden("only its creator may share a private session"))
        }
        (Workspace, Private) => {
            Err(Error::forbidden("what was shared with the workspace cannot be private again"))
        }
    }
}

/// Archives a session or brings it back; once more is no error.
pub async fn set_archived(
    tx: &mut Tx,
    place: &(Space, SpaceRole),
    wanted: Wanted,
    archived: bool,
) -> Result<SavedSession> {
    let mut session = changeable(tx, place, wanted).await?;
    if session.archived_at.is_some() == archived {
        return Ok(session);
    }
    let (caller, now) = (tx.caller().clone(), tx.now());
    let row = sessions::table.filter(visibility::session(&caller)).filter(
        sessions::id.eq(session.id.clone()).and(sessions::archived_at.is_null().eq(archived)),
    );
    let changed: Option<Option<DateTime<Utc>>> = diesel::update(row)
        .set(
            sessions::archived_at.eq(sql::<Nullable<Timestamptz>>("CASE WHEN ")
                .bind::<diesel::sql_types::Bool, _>(archived)
                .sql(" THEN coalesce(")
                .bind::<Nullable<Timestamptz>, _>(now)
                .sql(", clock_timestamp()) END")),
        )
        .returning(sessions::archived_at)
        .kept()
        .get_result(tx.connection())
        .await
        .optional()?;
    match changed {
        Some(at) => session.archived_at = at,
        // somebody else was faster
        None => return changeable(tx, place, wanted).await,
    }
    Ok(session)
}
