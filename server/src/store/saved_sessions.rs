//! Sessions as the Save Session dialect sees them: the same rows as native sessions, by UUID.

use super::ids::{SessionId, SpaceId, UserId};
use super::schema::{orgs, session_participants, sessions, space_members, spaces};
use super::session_kinds::{Labels, SessionOrigin, SessionVisibility};
use super::spaces::{Space, admit};
use super::usage::{USAGE_SQL, Usage};
use super::{Tx, visibility};
use crate::auth::SpaceRole;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{
    Array, BigInt, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Keys that say which program a session belongs to: a replacement of the labels keeps them.
pub const RESERVED_LABELS: [&str; 3] = ["capability", "capability_version", "worker"];

/// Longest preview, in characters.
pub const MAX_PREVIEW: usize = 200;

/// Most values that a facet lists for one key, the most frequent ones.
pub const MAX_FACET_VALUES: i64 = 100;
/// Most values that an answer lists for all facets together.
pub const MAX_FACETS: i64 = 2_000;

/// A session, as it is stored.
#[derive(Clone, Debug, QueryableByName)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct SavedSession {
    #[diesel(sql_type = Text)]
    pub id: SessionId,
    #[diesel(sql_type = SqlUuid)]
    pub external_id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    pub title: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub default_agent: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub model: Option<String>,
    #[diesel(sql_type = Text)]
    pub visibility: SessionVisibility,
    #[diesel(sql_type = Text)]
    pub origin: SessionOrigin,
    #[diesel(sql_type = Jsonb)]
    pub labels: Labels,
    #[diesel(sql_type = Text)]
    pub created_by_user_id: UserId,
    /// `None` when the creator is no member of the organization any more.
    #[diesel(sql_type = Nullable<Text>)]
    pub creator_email: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub creator_name: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub message_count: i64,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_message_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub archived_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub preview_text: Option<String>,
    #[diesel(sql_type = Jsonb)]
    pub usage: Usage,
    /// How many sessions match, on all pages together.
    #[diesel(sql_type = BigInt)]
    total: i64,
}

/// What a client says of a session when it saves it. `None` is what it did not say.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
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

/// Which sessions; empty lists and `None` leave everything in.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Creators, by id, e-mail address or the part of it before the `@`.
    pub users: Vec<String>,
    /// Agents.
    pub agents: Vec<String>,
    /// Models.
    pub models: Vec<String>,
    /// Origins; never empty.
    pub origins: Vec<SessionOrigin>,
    /// For every key, one of the values.
    pub labels: Labels,
    /// Whether archived ones are left out, alone, or in.
    pub archived: Archived,
    /// Words that must all occur in title, model, agent, labels or preview.
    pub words: Vec<String>,
}

/// Whether archived sessions are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Archived {
    /// Live ones alone.
    #[default]
    Active,
    /// Archived ones alone.
    Archived,
    /// Both.
    Any,
}

/// The order of a list; ties are broken by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the columns")]
pub enum SortBy {
    UpdatedAt,
    LastMessageAt,
    CreatedAt,
    MessageCount,
}

impl SortBy {
    fn column(self) -> &'static str {
        match self {
            SortBy::UpdatedAt => "updated_at",
            SortBy::LastMessageAt => "last_message_at",
            SortBy::CreatedAt => "created_at",
            SortBy::MessageCount => "message_count",
        }
    }
}

/// One value of a facet.
#[derive(Clone, Debug, QueryableByName)]
pub struct FacetRow {
    /// `agent`, `label`, `model` or `user`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The label's key.
    #[diesel(sql_type = Nullable<Text>)]
    pub key: Option<String>,
    /// The value; a user's id.
    #[diesel(sql_type = Text)]
    pub value: String,
    /// A user's address, while he is a member.
    #[diesel(sql_type = Nullable<Text>)]
    pub email: Option<String>,
    /// Sessions with it.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// A session by its UUID or by how that begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    first: Uuid,
    last: Uuid,
}

impl Wanted {
    /// The session with this id.
    pub fn exactly(id: Uuid) -> Self {
        Wanted { first: id, last: id }
    }

    /// From a UUID, or from the beginning of one with its hyphens or without; `None` for anything
    /// else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = Uuid::try_parse(text) {
            return Some(Wanted::exactly(id));
        }
        const HYPHENS: [usize; 4] = [8, 13, 18, 23];
        let misplaced = text.char_indices().any(|(i, c)| c == '-' && !HYPHENS.contains(&i));
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let is_prefix = !misplaced
            && (1..32).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let bound = |fill: &str| {
            let whole = digits.clone() + &fill.repeat(32 - digits.len());
            Uuid::try_parse(&whole).ok()
        };
        if !is_prefix {
            return None;
        }
        Some(Wanted { first: bound("0")?, last: bound("f")? })
    }
}

/// The workspace of a path: the caller's organization by slug (403 for any other), and in it a
/// Space by slug (404 when there is none, 403 when the caller is not in it).
pub async fn workspace(tx: &mut Tx, org: &str, slug: &str) -> Result<(Space, SpaceRole)> {
    let caller = tx.caller().clone();
    // PostgreSQL's text has no NUL, and no slug has one
    let slug = if slug.contains('\0') { "" } else { slug };
    let role = space_members::table
        .filter(space_members::space_id.nullable().eq(spaces::id.nullable()))
        .filter(space_members::user_id.eq(caller.user_id.as_str()))
        .select(space_members::role)
        .single_value();
    let (own, space, role): (String, Option<Space>, Option<String>) = orgs::table
        .left_join(
            spaces::table.on(spaces::org_id
                .eq(orgs::id)
                .and(spaces::slug.eq(slug))
                .and(spaces::archived_at.is_null())),
        )
        .filter(orgs::id.eq(caller.org_id.as_str()))
        .select((orgs::slug, Option::<Space>::as_select(), role))
        .first(tx.connection())
        .await?;
    if own != org {
        return Err(Error::forbidden("this key belongs to another organization"));
    }
    admit(space.map(|space| (space, role)))
}

/// The columns of a session's row.
fn columns() -> String {
    format!(
        "sessions.id, sessions.external_id, sessions.title, sessions.default_agent, \
         sessions.model, sessions.visibility, sessions.origin, sessions.labels, \
         sessions.created_by_user_id, creator.email AS creator_email, \
         creator.name AS creator_name, \
         greatest(sessions.message_count, sessions.last_message_seq) AS message_count, \
         sessions.created_at, sessions.updated_at, sessions.last_message_at, \
         sessions.archived_at, {} AS preview_text",
        preview()
    )
}

/// How the first message of a person begins.
fn preview() -> String {
    format!(
        "(SELECT left(m.body, {MAX_PREVIEW}) FROM messages m WHERE m.org_id = sessions.org_id \
         AND m.session_id = sessions.id AND m.author_type = 'USER' ORDER BY m.seq LIMIT 1)"
    )
}

/// Sessions of the Space `$3` that the caller can see, each with its creator as long as that one is
/// a member.
fn visible() -> String {
    format!(
        "FROM sessions LEFT JOIN (members JOIN users creator ON creator.id = members.user_id) \
         ON members.org_id = sessions.org_id AND members.user_id = sessions.created_by_user_id \
         WHERE {} AND sessions.space_id = $3",
        visibility::SESSION_SQL
    )
}

/// Those of [`visible`] that a [`Filter`] leaves in: its parts are `$4` to `$10`.
const FILTER_SQL: &str = "\
     AND (cardinality($4) = 0 OR sessions.created_by_user_id = ANY ($4) \
        OR lower(creator.email) = ANY ($4) OR split_part(lower(creator.email), '@', 1) = ANY ($4)) \
     AND (cardinality($5) = 0 OR sessions.default_agent = ANY ($5)) \
     AND (cardinality($6) = 0 OR sessions.model = ANY ($6)) \
     AND sessions.origin = ANY ($7) \
     AND NOT EXISTS (SELECT FROM jsonb_each($8) wanted WHERE NOT coalesce(jsonb_exists_any(\
        sessions.labels -> wanted.key, ARRAY(SELECT jsonb_array_elements_text(wanted.value))), \
        false)) \
     AND ($9 = 'any' OR ($9 = 'archived') = (sessions.archived_at IS NOT NULL))";

/// The words of `$10`, each somewhere in what is shown of a session.
fn search_sql() -> String {
    format!(
        "AND (cardinality($10) = 0 OR (SELECT bool_and(position(lower(word) IN lower(text)) > 0) \
         FROM unnest($10) word, concat_ws(E'\\n', sessions.title, sessions.model, \
         sessions.default_agent, {}, (SELECT string_agg(l.key || ':' || v.value, E'\\n') \
         FROM jsonb_each(sessions.labels) l, jsonb_array_elements_text(l.value) v)) text))",
        preview()
    )
}

/// A query whose first ten parameters say who asks, where, and for what.
fn filtered<'a>(
    text: String,
    tx: &Tx,
    space: &SpaceId,
    filter: &Filter,
) -> BoxedSqlQuery<'a, Pg, SqlQuery> {
    let caller = tx.caller();
    let lower = |words: &[String]| words.iter().map(|w| w.to_lowercase()).collect::<Vec<_>>();
    // Raw SQL: lateral sub-selects, set-returning functions, and an order by what was computed
    diesel::sql_query(text)
        .into_boxed::<Pg>()
        .bind::<Text, _>(caller.org_id.clone())
        .bind::<Text, _>(caller.user_id.clone())
        .bind::<Text, _>(space.clone())
        .bind::<Array<Text>, _>(lower(&filter.users))
        .bind::<Array<Text>, _>(filter.agents.clone())
        .bind::<Array<Text>, _>(filter.models.clone())
        .bind::<Array<Text>, _>(filter.origins.clone())
        .bind::<Jsonb, _>(filter.labels.clone())
        .bind::<Text, _>(match filter.archived {
            Archived::Active => "active",
            Archived::Archived => "archived",
            Archived::Any => "any",
        })
        .bind::<Array<Text>, _>(filter.words.clone())
}

/// One page of the sessions of a Space, and how many match in all.
pub async fn list(
    tx: &mut Tx,
    space: &Space,
    filter: &Filter,
    (sort, ascending): (SortBy, bool),
    (page, limit): (i64, i64),
) -> Result<(Vec<SavedSession>, i64)> {
    let (visible, search, columns) = (visible(), search_sql(), columns());
    let direction = if ascending { "ASC" } else { "DESC" };
    let order = format!("{} {direction} NULLS LAST, id {direction}", sort.column());
    // the usage of the page's sessions alone
    let text = format!(
        "SELECT sessions.*, {USAGE_SQL} AS usage FROM (\
         SELECT {columns}, sessions.org_id, count(*) OVER () AS total \
         {visible} {FILTER_SQL} {search} ORDER BY {order} LIMIT $11 OFFSET $12) sessions \
         ORDER BY {order}"
    );
    let rows: Vec<SavedSession> = filtered(text, tx, &space.id, filter)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>((page - 1).saturating_mul(limit))
        .load(tx.connection())
        .await?;
    let total = match rows.as_slice() {
        [row, ..] => row.total,
        [] if page == 1 => 0,
        // past the end: the window has counted nothing
        [] => {
            let text = format!("SELECT count(*) {visible} {FILTER_SQL} {search}");
            let counted: Count =
                filtered(text, tx, &space.id, filter).get_result(tx.connection()).await?;
            counted.count
        }
    };
    Ok((rows, total))
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The values that the matching sessions have, the most frequent ones first.
pub async fn facets(tx: &mut Tx, space: &Space, filter: &Filter) -> Result<Vec<FacetRow>> {
    let (visible, search) = (visible(), search_sql());
    let text = format!(
        "WITH matching AS MATERIALIZED (SELECT sessions.default_agent, sessions.model, \
            sessions.labels, sessions.created_by_user_id, creator.email \
            {visible} {FILTER_SQL} {search}), \
         counted AS (\
            SELECT 'agent' AS kind, NULL AS key, default_agent AS value, NULL AS email, \
                count(*) AS count FROM matching WHERE default_agent IS NOT NULL \
                GROUP BY default_agent \
            UNION ALL SELECT 'model', NULL, model, NULL, count(*) FROM matching \
                WHERE model IS NOT NULL GROUP BY model \
            UNION ALL SELECT 'user', NULL, created_by_user_id, email, count(*) FROM matching \
                GROUP BY created_by_user_id, email \
            UNION ALL SELECT 'label', l.key, v.value, NULL, count(*) FROM matching, \
                jsonb_each(labels) l, jsonb_array_elements_text(l.value) v \
                GROUP BY l.key, v.value), \
         ranked AS (SELECT *, row_number() OVER (\
            PARTITION BY kind, key ORDER BY count DESC, value) AS rank FROM counted) \
         SELECT kind, key, value, email, count FROM ranked WHERE rank <= $11 \
         ORDER BY count DESC, kind, key, value LIMIT $12"
    );
    Ok(filtered(text, tx, &space.id, filter)
        .bind::<BigInt, _>(MAX_FACET_VALUES)
        .bind::<BigInt, _>(MAX_FACETS)
        .load(tx.connection())
        .await?)
}

/// One session of a Space, archived or not. 404 also when several begin so.
pub async fn view(tx: &mut Tx, space: &Space, wanted: Wanted) -> Result<SavedSession> {
    let caller = tx.caller().clone();
    let (visible, columns) = (visible(), columns());
    let text = format!(
        "SELECT {columns}, {USAGE_SQL} AS usage, 1::bigint AS total {visible} \
         AND sessions.external_id BETWEEN $4 AND $5 LIMIT 2"
    );
    // Raw SQL: as above
    let mut rows: Vec<SavedSession> = diesel::sql_query(text)
        .bind::<Text, _>(&caller.org_id)
        .bind::<Text, _>(&caller.user_id)
        .bind::<Text, _>(&space.id)
        .bind::<SqlUuid, _>(wanted.first)
        .bind::<SqlUuid, _>(wanted.last)
        .load(tx.connection())
        .await?;
    match (rows.pop(), rows.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Error::not_found("session")),
        (Some(_), false) => {
            Err(Error::NotFound("the ids of several sessions begin so: give more of the id".into()))
        }
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
pub(super) async fn changeable(
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
        .execute(tx.connection())
        .await?;
    view(tx, &place.0, Wanted::exactly(session.external_id)).await
}

/// Visibility changes one way only, and by the creator alone (contract D2).
pub(super) fn check_promotion(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_wanted_by_its_id_or_by_how_that_begins() {
        let whole = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";
        let id = Uuid::try_parse(whole).expect("a UUID");
        let exact = Some(Wanted { first: id, last: id });
        assert_eq!(Wanted::parse(whole), exact);
        assert_eq!(Wanted::parse(&whole.to_uppercase()), exact);
        assert_eq!(Wanted::parse(&whole.replace('-', "")), exact);
        for end in 1..whole.len() {
            let wanted = Wanted::parse(&whole[..end]).unwrap_or_else(|| panic!("{end}"));
            assert!(wanted.first <= id && id <= wanted.last && wanted.first < wanted.last, "{end}");
        }
        for text in ["", "-", "3f2b8c1e5-a77", "xyz", "3f2b8c1e 5a77", "facets", "3f2b8c1e--5a77"] {
            assert_eq!(Wanted::parse(text), None, "{text}");
        }
    }
}
