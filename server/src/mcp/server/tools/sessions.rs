//! `list_sessions`.

use super::spaces::space_by_slug;
use crate::api::spaces::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::error::Result;
use crate::http::Timestamp;
use crate::http::{Check, Issues};
use crate::mcp::server::cursor::{self, MAX_CURSOR};
use crate::mcp::server::paging::{Paged, page, rows_for};
use crate::mcp::server::truncation::{Cut, Truncation};
use crate::mcp::server::turn::{Call, end};
use crate::store::Position;
use crate::store::ids::{SessionId, SpaceId, UserId};
use crate::store::sessions as store;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

/// A conversation.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The session's id: what the other tools take.
    id: SessionId,
    /// The Space that it belongs to.
    space_id: SpaceId,
    /// Its title.
    title: String,
    /// What it is about.
    description: Option<String>,
    /// The agent or model that answers by default.
    default_agent: Option<String>,
    /// Who takes part, by user id.
    participant_user_ids: Vec<UserId>,
    /// Who made it.
    created_by_user_id: UserId,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
    /// When it was archived; null while it is live.
    archived_at: Option<Timestamp>,
}

impl From<store::Session> for SessionView {
    fn from(session: store::Session) -> Self {
        SessionView {
            id: session.id,
            space_id: session.space_id,
            title: session.title.unwrap_or_else(|| store::UNTITLED.to_owned()),
            description: session.description,
            default_agent: session.default_agent,
            participant_user_ids: session.participant_user_ids,
            created_by_user_id: session.created_by_user_id,
            created_at: session.created_at.into(),
            updated_at: session.updated_at.into(),
            archived_at: session.archived_at.map(Timestamp::from),
        }
    }
}

impl Cut for SessionView {
    fn text(&mut self) -> &mut String {
        self.description.get_or_insert_default()
    }
}

/// Which sessions.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListSessions {
    /// The slug of their Space.
    #[schemars(length(min = 1, max = 100))]
    space_slug: String,
    /// Archived ones, too.
    #[serde(default)]
    include_archived: bool,
    /// At most so many.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// The `nextCursor` of the page before.
    #[schemars(length(max = 100))]
    cursor: Option<String>,
}

impl Check for ListSessions {
    fn check(&self, issues: &mut Issues) {
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
        issues.length("cursor", self.cursor.as_deref().unwrap_or_default(), 0..=MAX_CURSOR);
    }
}

/// Some sessions.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPage {
    /// Most recently updated first.
    sessions: Vec<SessionView>,
    /// Where the next page begins; null on the last one.
    next_cursor: Option<String>,
    /// What was left out.
    #[serde(flatten)]
    truncation: Truncation,
}

/// A page of the sessions of a Space.
pub async fn list_sessions(call: &Call<'_>, given: ListSessions) -> Result<SessionPage> {
    let wanted = store::Page {
        archived: given.include_archived,
        after: given.cursor.as_deref().map(cursor::decode).transpose()?,
        limit: rows_for(given.limit),
    };
    let mut tx = call.begin().await?;
    let outcome = async {
        let (space, _) = space_by_slug(&mut tx, &given.space_slug).await?;
        store::list_page(&mut tx, &space, &wanted).await
    }
    .await;
    let sessions = end(tx, outcome)?;
    let place = |s: &store::Session| Position { at: s.updated_at, id: s.id.clone() };
    let Paged { views, next_cursor, truncation } =
        page(sessions, given.limit, place, SessionView::from)?;
    Ok(SessionPage { sessions: views, next_cursor, truncation })
}
