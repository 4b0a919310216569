//! `get_session_transcript` and `post_message`.

use super::Tool;
use super::sessions::SessionView;
use crate::api::mentions::mentions;
use crate::api::messages::{MAX_BODY, MAX_LIMIT};
use crate::auth::SpaceRole;
use crate::error::{Error, Result};
use crate::http::Timestamp;
use crate::http::{Check, Issues};
use crate::mcp::server::error::CallError;
use crate::mcp::server::once;
use crate::mcp::server::truncation::{self, Cut, Truncation};
use crate::mcp::server::turn::{Call, end};
use crate::store::ids::{MessageId, SessionId, UserId};
use crate::store::messages::{self as store, Filter, NewMessage};
use crate::store::rights::Right;
use crate::store::{Tx, sessions, spaces};
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Messages when the call does not say how many.
const DEFAULT_MESSAGES: u32 = 50;

fn default_messages() -> u32 {
    DEFAULT_MESSAGES
}

/// A session that the caller can see, and his role in its Space. What is no id is that of none.
async fn session_by_id(
    tx: &mut Tx,
    id: &str,
) -> Result<(sessions::Session, (spaces::Space, SpaceRole))> {
    let id: SessionId = id.parse().map_err(|_| Error::not_found("session"))?;
    sessions::find(tx, &id).await
}

/// Something said in a session.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The message's id.
    id: MessageId,
    /// The session that it was said in.
    session_id: SessionId,
    /// Who speaks: `USER`, `AGENT` or `SYSTEM`.
    author_type: String,
    /// Whose message it is; of an agent's, the user on whose behalf it was posted.
    author_user_id: Option<UserId>,
    /// The member in whose name somebody else's key wrote it: its author. `null` when the author's
    /// own key did.
    on_behalf_of: Option<UserId>,
    /// The user whose key wrote it on the author's behalf; `null` when the author's own did.
    written_by_user_id: Option<UserId>,
    /// The agent that speaks, if it is one.
    author_agent: Option<String>,
    /// What it says.
    content: String,
    /// The message that began the thread, if it is a reply.
    parent_message_id: Option<MessageId>,
    /// Who is mentioned in it.
    mentions: Vec<String>,
    /// When it was said.
    created_at: Timestamp,
}

impl From<store::Message> for Said {
    fn from(message: store::Message) -> Self {
        Said {
            author_type: message.author_type().as_str().to_owned(),
            id: message.id,
            session_id: message.session_id,
            on_behalf_of: message.written_by_user_id.as_ref().and(message.author_user_id.clone()),
            written_by_user_id: message.written_by_user_id,
            author_user_id: message.author_user_id,
            author_agent: message.author_agent,
            content: message.body,
            parent_message_id: message.parent_message_id,
            mentions: message.mentions,
            created_at: message.created_at.into(),
        }
    }
}

impl Cut for Said {
    fn text(&mut self) -> &mut String {
        &mut self.content
    }
}

/// Which messages.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GetSessionTranscript {
    /// The session's id.
    #[schemars(length(min = 1))]
    session_id: String,
    /// At most so many.
    #[serde(default = "default_messages")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
    /// Only messages older than this one: `nextBefore` of the page before.
    before: Option<MessageId>,
}

impl Check for GetSessionTranscript {
    fn check(&self, issues: &mut Issues) {
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
    }
}

/// Some messages of a session.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transcript {
    /// The session.
    session: SessionView,
    /// Newest first, replies among them.
    messages: Vec<Said>,
    /// `before` of the next, older page; null on the last one.
    next_before: Option<MessageId>,
    /// How many messages the session has in all.
    total: i64,
    /// What was left out.
    #[serde(flatten)]
    truncation: Truncation,
}

/// A page of what was said, archived sessions included.
pub async fn get_session_transcript(
    call: &Call<'_>,
    given: GetSessionTranscript,
) -> Result<Transcript> {
    // one more, to know whether there are more
    let filter = Filter { before: given.before, limit: i64::from(given.limit) + 1 };
    let mut tx = call.begin().await?;
    let outcome = async {
        let (session, (space, _)) = session_by_id(&mut tx, &given.session_id).await?;
        let page = store::list(&mut tx, &space, &session.id, &filter).await?;
        Ok((session, page))
    }
    .await;
    let (session, (rows, total)) = end(tx, outcome)?;
    let limit = usize::try_from(given.limit).unwrap_or(usize::MAX);
    let there = rows.len();
    let messages = rows.into_iter().take(limit).map(|row| Said::from(row.message)).collect();
    let session = SessionView::from(session);
    let shown = serde_json::to_value(&session).map_err(Error::internal)?;
    let (messages, truncation) =
        truncation::fit(messages, truncation::size_of(&shown), "`nextBefore` goes on from here")?;
    let next_before =
        messages.last().filter(|_| there > messages.len()).map(|message| message.id.clone());
    Ok(Transcript { session, messages, next_before, total, truncation })
}

/// A new message.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostMessage {
    /// The session's id.
    #[schemars(length(min = 1))]
    session_id: String,
    /// What it says. Blanks at its ends are not kept.
    #[schemars(length(min = 1, max = 10_000))]
    content: String,
}

impl Check for PostMessage {
    fn check(&self, issues: &mut Issues) {
        issues.length("content", self.content.trim(), 1..=MAX_BODY);
    }
}

/// The message that was posted.
#[derive(Serialize, JsonSchema)]
pub struct PostedMessage {
    /// The message.
    message: Said,
    /// What was left out.
    #[serde(flatten)]
    truncation: Truncation,
}

/// Posts a message in the name of whom the call is made for.
pub async fn post_message(
    call: &Call<'_>,
    given: JsonObject,
    key: Option<String>,
) -> Result<Value, CallError> {
    call.require_actor("posting a message needs the header X-Switchy-Actor-User-Id")?;
    let claimed = once::claimed(call, Tool::PostMessage, &given, key);
    let message: PostMessage = super::arguments(given)?;
    once::create(call, claimed, async |tx| {
        let (session, space) = session_by_id(tx, &message.session_id).await?;
        let body = message.content.trim().to_owned();
        let new = NewMessage {
            mentions: mentions(&body),
            body,
            parent: None,
            agent: None,
            model: None,
            usage: None,
        };
        let said = store::send(tx, &space, &session.id, &new).await?;
        let (message, truncation) = truncation::fit_one(Said::from(said))?;
        let right = Right::Session(space.0.id, session.id, SpaceRole::Member);
        Ok((PostedMessage { message, truncation }, right))
    })
    .await
}
