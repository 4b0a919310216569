//! Sessions as the Save Session dialect sees them: the same rows as native sessions, by UUID.

mod listing;
mod saving;

pub use listing::{
    Archived, FACETED_LABELS, FACETED_SESSIONS, FacetRow, Filter, MAX_FACET_VALUES, MAX_FACETS,
    SEARCHED_SESSIONS, SortBy, facets, list,
};
pub use saving::{RESERVED_LABELS, Save, SavedChange, save, set_archived, update};
pub(super) use saving::{changeable, check_promotion};

use super::ids::{SessionId, UserId};
use super::schema::{orgs, space_members, spaces};
use super::session_kinds::{Labels, SessionOrigin, SessionVisibility};
use super::spaces::{Space, admit};
use super::statements::Keep;
use super::usage::{USAGE_SQL, Usage};
use super::{Tx, visibility};
use crate::auth::SpaceRole;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Longest preview, in characters.
pub const MAX_PREVIEW: usize = 200;

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

/// The creator of each of the sessions, as long as that one is a member.
const CREATOR_SQL: &str = "\
     LEFT JOIN (members JOIN users creator ON creator.id = members.user_id) \
     ON members.org_id = sessions.org_id AND members.user_id = sessions.created_by_user_id";

/// Sessions of the Space `$3` that the caller can see, each with its creator as long as that one is
/// a member.
fn visible() -> String {
    format!(
        "FROM sessions {CREATOR_SQL} WHERE {} AND sessions.space_id = $3",
        visibility::SESSION_SQL
    )
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
        .kept()
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
