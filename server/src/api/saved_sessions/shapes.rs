//! What is answered: snake_case, and no envelope.

use crate::http::Timestamp;
use crate::store::ids::UserId;
use crate::store::saved_sessions::{FacetRow, SavedSession};
use crate::store::session_kinds::{Labels, SessionOrigin, SessionVisibility};
use crate::store::usage::Usage;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What the generations of a session took; derived from its messages whenever it is read. Without
/// data everything is 0.
#[derive(Serialize, JsonSchema)]
pub(super) struct SessionUsageResponse {
    /// Tokens that the models read, caches excluded.
    total_input_tokens: i64,
    /// Tokens that the models wrote.
    total_output_tokens: i64,
    /// Tokens read from a provider's cache.
    total_cache_read_input_tokens: i64,
    /// Tokens written to a provider's cache.
    total_cache_creation_input_tokens: i64,
    /// Calls of tools.
    total_tool_call_count: i64,
    /// US dollars; `null` when the cost of any generation is not known.
    total_cost_usd: Option<f64>,
    /// What the newest generation read; `null` while there is none.
    last_generation_input_tokens: Option<i64>,
    /// How often the transcript was compacted: never, here.
    compaction_count: i64,
    /// Messages that the transcript has now.
    current_message_count: i64,
    /// Messages that it ever had.
    total_message_count: i64,
}

impl From<Usage> for SessionUsageResponse {
    fn from(usage: Usage) -> Self {
        SessionUsageResponse {
            total_input_tokens: usage.input_tokens,
            total_output_tokens: usage.output_tokens,
            total_cache_read_input_tokens: usage.cache_read_input_tokens,
            total_cache_creation_input_tokens: usage.cache_creation_input_tokens,
            total_tool_call_count: usage.tool_call_count,
            total_cost_usd: usage.cost_usd,
            last_generation_input_tokens: usage.last_generation_input_tokens,
            compaction_count: 0,
            current_message_count: usage.message_count,
            total_message_count: usage.message_count,
        }
    }
}

/// Who saved a session, as much as a list shows.
#[derive(Serialize, JsonSchema)]
struct SessionCreatedBy {
    /// The user's id.
    id: UserId,
    /// The e-mail address.
    email: String,
    /// The address up to its `@`.
    username: String,
    /// The name, if there is one.
    full_name: Option<String>,
}

/// The part of an address before the `@`.
fn username(email: &str) -> String {
    email.split('@').next().unwrap_or_default().to_owned()
}

/// A session.
#[derive(Serialize, JsonSchema)]
pub(super) struct SessionResponse {
    /// The session's UUID, which the client chose.
    id: Uuid,
    /// The model that was used.
    model: Option<String>,
    /// The agent that was used.
    agent: Option<String>,
    /// Its title.
    title: Option<String>,
    /// Messages of the session: what the client said last, or the number of stored ones where that
    /// is larger.
    message_count: i64,
    /// Who sees it.
    visibility: SessionVisibility,
    /// What kind of work it comes from.
    origin: SessionOrigin,
    /// Values by key.
    labels: Labels,
    /// Who saved it.
    user_id: UserId,
    /// The same, as much as a list shows; left out when the user is no member any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<SessionCreatedBy>,
    /// When it was first saved.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
    /// When its newest message was stored.
    last_message_at: Option<Timestamp>,
    /// When it was archived; `null` while it is live.
    archived_at: Option<Timestamp>,
    /// How the first message of a person begins: up to 200 characters.
    preview_text: Option<String>,
    /// What its generations took.
    usage: SessionUsageResponse,
}

impl From<SavedSession> for SessionResponse {
    fn from(session: SavedSession) -> Self {
        SessionResponse {
            id: session.external_id,
            model: session.model,
            agent: session.default_agent,
            title: session.title,
            message_count: session.message_count,
            visibility: session.visibility,
            origin: session.origin,
            labels: session.labels,
            created_by: session.creator_email.map(|email| SessionCreatedBy {
                id: session.created_by_user_id.clone(),
                username: username(&email),
                email,
                full_name: session.creator_name,
            }),
            user_id: session.created_by_user_id,
            created_at: session.created_at.into(),
            updated_at: session.updated_at.into(),
            last_message_at: session.last_message_at.map(Timestamp::from),
            archived_at: session.archived_at.map(Timestamp::from),
            preview_text: session.preview_text,
            usage: session.usage.into(),
        }
    }
}

/// Where a page is in the whole.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) total_pages: i64,
    pub(super) has_next: bool,
    pub(super) has_previous: bool,
}

impl Place {
    pub(super) fn of(total: i64, page: u32, limit: u32) -> Self {
        let (page, limit) = (i64::from(page), i64::from(limit).max(1));
        let total_pages = (total + limit - 1) / limit;
        Place { total_pages, has_next: page < total_pages, has_previous: page > 1 }
    }
}

/// A page of sessions.
#[derive(Serialize, JsonSchema)]
pub(super) struct SessionListResponse {
    /// The sessions of this page.
    sessions: Vec<SessionResponse>,
    /// Sessions on all pages.
    total: i64,
    /// The number of this page, from 1.
    page: u32,
    /// The most sessions that a page has.
    limit: u32,
    /// Pages that there are.
    total_pages: i64,
    /// Whether a page follows.
    has_next: bool,
    /// Whether a page comes before.
    has_previous: bool,
}

impl SessionListResponse {
    pub(super) fn of(sessions: Vec<SavedSession>, total: i64, page: u32, limit: u32) -> Self {
        let Place { total_pages, has_next, has_previous } = Place::of(total, page, limit);
        let sessions = sessions.into_iter().map(SessionResponse::from).collect();
        SessionListResponse { sessions, total, page, limit, total_pages, has_next, has_previous }
    }
}

/// A value, and how many sessions have it.
#[derive(Serialize, JsonSchema)]
struct SessionFacet {
    /// The value.
    value: String,
    /// Sessions with it; never 0.
    count: i64,
}

/// A user, and how many sessions he saved.
#[derive(Serialize, JsonSchema)]
struct SessionUserFacet {
    /// The user's id.
    value: String,
    /// The user's sessions; never 0.
    count: i64,
    /// The e-mail address; `null` when the user is no member any more.
    email: Option<String>,
    /// The address up to its `@`.
    username: Option<String>,
}

/// What the matching sessions have, the most frequent values first.
#[derive(Default, Serialize, JsonSchema)]
pub(super) struct SessionFacetsResponse {
    /// Values by the labels' keys.
    labels: BTreeMap<String, Vec<SessionFacet>>,
    /// Agents.
    agents: Vec<SessionFacet>,
    /// Models.
    models: Vec<SessionFacet>,
    /// Who saved them.
    users: Vec<SessionUserFacet>,
}

impl SessionFacetsResponse {
    pub(super) fn of(rows: Vec<FacetRow>) -> Self {
        let mut all = SessionFacetsResponse::default();
        for row in rows {
            let FacetRow { kind, key, value, email, count } = row;
            match (kind.as_str(), key) {
                ("label", Some(key)) => {
                    all.labels.entry(key).or_default().push(SessionFacet { value, count });
                }
                ("agent", _) => all.agents.push(SessionFacet { value, count }),
                ("model", _) => all.models.push(SessionFacet { value, count }),
                _ => {
                    let username = email.as_deref().map(username);
                    all.users.push(SessionUserFacet { value, count, email, username });
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_where_it_is() {
        for (total, page, limit, expected) in [
            (0, 1, 20, (0, false, false)),
            (1, 1, 20, (1, false, false)),
            (20, 1, 20, (1, false, false)),
            (21, 1, 20, (2, true, false)),
            (21, 2, 20, (2, false, true)),
            (21, 9, 20, (2, false, true)),
        ] {
            let Place { total_pages, has_next, has_previous } = Place::of(total, page, limit);
            assert_eq!((total_pages, has_next, has_previous), expected, "{total} {page} {limit}");
        }
    }
}
