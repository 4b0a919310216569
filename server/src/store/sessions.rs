//! Conversation sessions.

use super::ids::{SessionId, SpaceId, UserId};
use super::members::left_meanwhile;
use super::pages::{Listed, Paging, unknown_place};
use super::saved_sessions::check_promotion;
use super::schema::{session_participants, sessions, space_members};
use super::session_kinds::{Labels, SessionOrigin, SessionVisibility};
use super::spaces::Space;
use super::statements::Keep;
use super::usage::{USAGE_SQL, Usage};
use super::{LIST_TIMEOUT, Position, Tx, spaces, visibility};
use crate::auth::SpaceRole;
use crate::error::{Error, Issue, Result};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Most bytes of one answer to [`list`]: what the sessions' own texts take, and [`ROW_BYTES`] for
/// each. A page ends early where there would be more.
pub const MAX_PAGE_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes that a session takes besides its texts: ids, times, usage, some participants.
pub const ROW_BYTES: u32 = 1_024;

/// What a session without a title is called.
pub const UNTITLED: &str = "Untitled session";

/// A session, as it is stored.
#[derive(Clone, Debug, Queryable)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Session {
    pub id: SessionId,
    pub space_id: SpaceId,
    pub title: Option<String>,
    pub description: Option<String>,
    pub default_agent: Option<String>,
    pub model: Option<String>,
    pub created_by_user_id: UserId,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub archived_at: Option<DateTime<Utc>>,
    pub participant_user_ids: Vec<UserId>,
    pub external_id: Uuid,
    pub visibility: SessionVisibility,
    pub origin: SessionOrigin,
    pub labels: Labels,
    pub usage: Usage,
}

/// What a new session is made of.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct NewSession {
    pub title: String,
    pub description: Option<String>,
    pub default_agent: Option<String>,
    pub model: Option<String>,
    pub participant_user_ids: Vec<UserId>,
}

/// What is to change; `None` stays as it is.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "as above")]
pub struct Change {
    pub title: Option<String>,
    pub model: Option<String>,
    pub default_agent: Option<String>,
    pub visibility: Option<SessionVisibility>,
}

type Columns = (
    sessions::id,
    sessions::space_id,
    sessions::title,
    sessions::description,
    sessions::default_agent,
    sessions::model,
    sessions::created_by_user_id,
    sessions::created_at,
    sessions::updated_at,
    sessions::archived_at,
    diesel::expression::SqlLiteral<Array<Text>>,
    sessions::external_id,
    sessions::visibility,
    sessions::origin,
    diesel::expression::SqlLiteral<Jsonb>,
    diesel::expression::SqlLiteral<Jsonb>,
);

fn columns() -> Columns {
    columns_with("sessions.labels")
}

/// The same, with this SQL for the labels, which may be larger than everything else.
fn columns_with(labels: &str) -> Columns {
    (
        sessions::id,
        sessions::space_id,
        sessions::title,
        sessions::description,
        sessions::default_agent,
        sessions::model,
        sessions::created_by_user_id,
        sessions::created_at,
        sessions::updated_at,
        sessions::archived_at,
        // Raw SQL: Diesel has no ARRAY constructor over a sub-select
        sql("ARRAY(SELECT p.user_id FROM session_participants p \
             WHERE p.session_id = sessions.id ORDER BY p.user_id)"),
        sessions::external_id,
        sessions::visibility,
        sessions::origin,
        sql(labels),
        sql(USAGE_SQL),
    )
}

/// The caller's time, or the database's.
macro_rules! at {
    ($now:expr) => {
        sql::<Timestamptz>("coalesce(")
            .bind::<Nullable<Timestamptz>, _>($now)
            .sql(", clock_timestamp())")
    };
}

/// Origins whose sessions a list leaves out unless it is asked for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workloads {
    /// Evaluation runs stay out.
    Hidden,
    /// Everything is listed.
    Shown,
}

/// The live sessions of a Space that the caller can see, most recently updated first, as many as
/// [`MAX_PAGE_BYTES`] allow. 404 when `before` names none that the caller can see in this Space; an
/// archived one will do, since it has kept its place.
pub async fn list(
    tx: &mut Tx,
    space: &Space,
    workloads: Workloads,
    paging: &Paging<SessionId>,
) -> Result<Listed<Session>> {
    tx.at_most(LIST_TIMEOUT);
    let caller = tx.caller().clone();
    let hidden: &[SessionOrigin] = match workloads {
        Workloads::Hidden => &[SessionOrigin::Eval],
        Workloads::Shown => &[],
    };
    let matching = || {
        sessions::table
            .filter(visibility::session(&caller))
            .filter(sessions::space_id.eq(&space.id))
            .filter(sessions::archived_at.is_null())
            .filter(sessions::origin.ne_all(hidden))
    };
    // Raw SQL: a running sum, which is computed only as far as the page goes. What does not fit any
    // more is not read: its labels are replaced.
    let fits = format!(
        "(sum(sessions.bytes + {ROW_BYTES}) OVER (ORDER BY sessions.updated_at DESC, \
         sessions.id DESC ROWS UNBOUNDED PRECEDING) <= {MAX_PAGE_BYTES})"
    );
    let labels = format!("CASE WHEN {fits} THEN sessions.labels ELSE '{{}}' END");
    let mut page = matching()
        .order((sessions::updated_at.desc(), sessions::id.desc()))
        .limit(paging.rows())
        .select((columns_with(&labels), sql::<Bool>(&fits)))
        .into_boxed();
    if let Some(before) = &paging.before {
        let (at, id): (DateTime<Utc>, SessionId) = sessions::table
            .filter(visibility::session(&caller))
            .filter(sessions::space_id.eq(&space.id))
            .filter(sessions::id.eq(before))
            .select((sessions::updated_at, sessions::id))
            .first(tx.connection())
            .await
            .optional()?
            .ok_or_else(|| unknown_place("session"))?;
        page = page.filter(sessions::updated_at.le(at)).filter(
            sessions::updated_at.lt(at).or(sessions::updated_at.eq(at).and(sessions::id.lt(id))),
        );
    }
    let found: Vec<(Session, bool)> = page.kept().load(tx.connection()).await?;
    let whole = paging.whole(found.len()).filter(|_| found.iter().all(|(_, fits)| *fits));
    // the first one always fits: its labels are the largest thing about it, and far smaller
    let rows = found.into_iter().take_while(|(_, fits)| *fits).map(|(session, _)| session);
    let rows = rows.collect();
    let total = match whole {
        Some(total) => total,
        None => matching().count().get_result(tx.connection()).await?,
    };
    Ok(Listed { rows, total })
}

/// Which sessions of a Space to list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Archived ones, too.
    pub archived: bool,
    /// Only what comes after this one.
    pub after: Option<Position<SessionId>>,
    /// At most so many.
    pub limit: i64,
}

/// Sessions of a Space that the caller can see, most recently updated first, without their labels.
/// Evaluation runs stay out.
pub async fn list_page(tx: &mut Tx, space: &Space, page: &Page) -> Result<Vec<Session>> {
    tx.at_most(LIST_TIMEOUT);
    let caller = tx.caller().clone();
    let mut query = sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::space_id.eq(&space.id))
        .filter(sessions::origin.ne("eval"))
        .order((sessions::updated_at.desc(), sessions::id.desc()))
        .limit(page.limit)
        .select(columns_with("'{}'::jsonb"))
        .into_boxed();
    if !page.archived {
        query = query.filter(sessions::archived_at.is_null());
    }
    if let Some(Position { at, id }) = &page.after {
        // the first condition is one for the index: the scan begins there
        query = query.filter(sessions::updated_at.le(at)).filter(
            sessions::updated_at.lt(at).or(sessions::updated_at.eq(at).and(sessions::id.lt(id))),
        );
    }
    Ok(query.kept().load(tx.connection()).await?)
}

/// One session by its id alone, archived or not, and the caller's role in its Space.
pub async fn find(tx: &mut Tx, id: &SessionId) -> Result<(Session, (Space, SpaceRole))> {
    let caller = tx.caller().clone();
    let session: Session = sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::id.eq(id))
        .select(columns())
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("session"))?;
    let space = spaces::view(tx, &session.space_id).await?;
    Ok((session, space))
}

/// One session of a Space, archived or not.
pub async fn view(tx: &mut Tx, space: &Space, id: &SessionId) -> Result<Session> {
    let caller = tx.caller().clone();
    sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::space_id.eq(&space.id))
        .filter(sessions::id.eq(id))
        .select(columns())
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("session"))
}

/// Makes a session. Its participants must be members of the Space (400 otherwise); the caller
/// always is one.
pub async fn create(
    tx: &mut Tx,
    (space, role): &(Space, SpaceRole),
    new: &NewSession,
) -> Result<Session> {
    if !role.may_write() {
        return Err(Error::forbidden("a VIEWER of this Space cannot start sessions in it"));
    }
    let caller = tx.caller().clone();
    let mut participants = new.participant_user_ids.clone();
    if !participants.is_empty() {
        let members: Vec<UserId> = space_members::table
            .filter(space_members::org_id.eq(&caller.org_id))
            .filter(space_members::space_id.eq(&space.id))
            .filter(space_members::user_id.eq_any(&participants))
            .select(space_members::user_id)
            .load(tx.connection())
            .await?;
        let strangers = participants
            .iter()
            .enumerate()
            .filter(|(_, user)| !members.contains(user))
            .map(|(i, _)| Issue {
                path: vec!["participantUserIds".into(), i.into()],
                code: "not_a_member",
                message: "must be a member of the Space".into(),
            })
            .collect::<Vec<_>>();
        if !strangers.is_empty() {
            return Err(Error::Invalid(strangers));
        }
    }
    participants.push(caller.user_id.clone());
    participants.sort();
    participants.dedup();

    let now = tx.now();
    let id = SessionId::generate();
    let (created_at, updated_at, external_id): (DateTime<Utc>, DateTime<Utc>, Uuid) =
        diesel::insert_into(sessions::table)
            .values((
                sessions::id.eq(&id),
                sessions::org_id.eq(&caller.org_id),
                sessions::space_id.eq(&space.id),
                sessions::title.eq(&new.title),
                sessions::description.eq(&new.description),
                sessions::default_agent.eq(&new.default_agent),
                sessions::model.eq(&new.model),
                sessions::created_by_user_id.eq(&caller.user_id),
                sessions::created_at.eq(at!(now)),
                sessions::updated_at.eq(at!(now)),
            ))
            .returning((sessions::created_at, sessions::updated_at, sessions::external_id))
            .kept()
            .get_result(tx.connection())
            .await
            .map_err(left_meanwhile)?;
    let rows = participants
        .iter()
        .map(|user| {
            (
                session_participants::org_id.eq(&caller.org_id),
                session_participants::session_id.eq(&id),
                session_participants::user_id.eq(user),
            )
        })
        .collect::<Vec<_>>();
    diesel::insert_into(session_participants::table)
        .values(&rows)
        .execute(tx.connection())
        .await
        .map_err(left_meanwhile)?;
    Ok(Session {
        id,
        space_id: space.id.clone(),
        title: Some(new.title.clone()),
        description: new.description.clone(),
        default_agent: new.default_agent.clone(),
        model: new.model.clone(),
        created_by_user_id: caller.user_id,
        created_at,
        updated_at,
        archived_at: None,
        participant_user_ids: participants,
        external_id,
        visibility: SessionVisibility::Workspace,
        origin: SessionOrigin::User,
        labels: Labels::default(),
        usage: Usage::NONE,
    })
}

/// Only the session's creator, and the Space's OWNER and EDITOR, may change it.
async fn changeable(
    tx: &mut Tx,
    (space, role): &(Space, SpaceRole),
    id: &SessionId,
) -> Result<Session> {
    let session = view(tx, space, id).await?;
    let own = session.created_by_user_id == tx.caller().user_id && role.may_write();
    if own || role.may_edit() {
        return Ok(session);
    }
    Err(Error::forbidden(
        "only the session's creator and the Space's OWNER or EDITOR may change it",
    ))
}

/// Changes a session; without a change, nothing is touched.
pub async fn update(
    tx: &mut Tx,
    space: &(Space, SpaceRole),
    id: &SessionId,
    change: &Change,
) -> Result<Session> {
    let mut session = changeable(tx, space, id).await?;
    if let Some(wanted) = change.visibility {
        check_promotion(tx, session.visibility, &session.created_by_user_id, wanted)?;
    }
    let visibility = change.visibility.filter(|wanted| *wanted != session.visibility);
    if change.title.is_none() && change.model.is_none() && visibility.is_none() {
        return Ok(session);
    }
    let now = tx.now();
    session.title = change.title.clone().or(session.title);
    session.model = change.model.clone().or(session.model);
    session.visibility = visibility.unwrap_or(session.visibility);
    session.default_agent = change.default_agent.clone().or(session.default_agent);
    let caller = tx.caller().clone();
    session.updated_at = diesel::update(sessions::table)
        .filter(visibility::session(&caller))
        .filter(sessions::id.eq(id))
        .set((
            sessions::title.eq(&session.title),
            sessions::model.eq(&session.model),
            sessions::visibility.eq(session.visibility),
            sessions::default_agent.eq(&session.default_agent),
            sessions::updated_at.eq(at!(now)),
        ))
        .returning(sessions::updated_at)
        .kept()
        .get_result(tx.connection())
        .await?;
    Ok(session)
}

/// Archives a session: it leaves the list and takes no more messages, and stays readable. Once
/// more is no error.
pub async fn archive(tx: &mut Tx, space: &(Space, SpaceRole), id: &SessionId) -> Result<()> {
    let session = changeable(tx, space, id).await?;
    if session.archived_at.is_some() {
        return Ok(());
    }
    let now = tx.now();
    let caller = tx.caller().clone();
    diesel::update(sessions::table)
        .filter(visibility::session(&caller))
        .filter(sessions::id.eq(id))
        .filter(sessions::archived_at.is_null())
        .set(sessions::archived_at.eq(at!(now).nullable()))
        .kept()
        .execute(tx.connection())
        .await?;
    Ok(())
}
