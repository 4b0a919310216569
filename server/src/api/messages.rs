//! Messages of a session (contract B3, E3).
//!
//! Nothing answers by itself here: mentions are recorded with the message, and agents are programs
//! that follow a session's events and post their answers with the scope `messages:agent`.

use super::mentions::{MAX_AGENT_SLUG, is_slug, mentions};
use super::sessions::{MAX_MODEL, SessionPath};
use super::{Call, Ctx, Kept};
use crate::auth::{Scope, SpaceRole};
use crate::error::Result;
use crate::http::{
    Answer, Check, Created, IdempotencyKey, Issues, Ok200, Params, Reply, Timestamp, Unread,
};
use crate::store::ids::{MessageId, SessionId, UserId};
use crate::store::rights::Right;
use crate::store::{messages as store, spaces};
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest message, in characters; blanks at its ends do not count and are not kept.
pub const MAX_BODY: usize = 10_000;
/// Most messages of a page.
pub const MAX_LIMIT: u32 = 100;
/// Most tokens that one message may have taken, of each kind.
pub const MAX_TOKENS: i64 = 1_000_000_000_000;
/// Most tool calls that one message may have taken.
pub const MAX_TOOL_CALLS: i64 = 1_000_000;
/// Most US dollars that one message may have cost.
pub const MAX_COST_USD: f64 = 1_000_000.0;

/// Who speaks.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AuthorType {
    /// A person.
    User,
    /// An agent, on behalf of a person.
    Agent,
    /// The server itself.
    System,
}

impl From<store::AuthorType> for AuthorType {
    fn from(author: store::AuthorType) -> Self {
        match author {
            store::AuthorType::User => AuthorType::User,
            store::AuthorType::Agent => AuthorType::Agent,
            store::AuthorType::System => AuthorType::System,
        }
    }
}

/// What it took to generate a message.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageUsage {
    /// Tokens read that were in no cache.
    input_tokens: i64,
    /// Tokens written.
    output_tokens: i64,
    /// Tokens read from a cache.
    cache_read_input_tokens: i64,
    /// Tokens put into a cache.
    cache_creation_input_tokens: i64,
    /// Calls of tools.
    tool_call_count: i32,
    /// US dollars; `null` where no rate is known.
    cost_usd: Option<f64>,
}

impl From<store::Usage> for MessageUsage {
    fn from(usage: store::Usage) -> Self {
        MessageUsage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_input_tokens: usage.cache_read_input_tokens,
            cache_creation_input_tokens: usage.cache_creation_input_tokens,
            tool_call_count: usage.tool_call_count,
            cost_usd: usage.cost_usd,
        }
    }
}

/// Something said in a session.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    /// The message's id.
    id: MessageId,
    /// The session that it was said in.
    session_id: SessionId,
    /// Who speaks.
    author_type: AuthorType,
    /// Whose message it is; of an `AGENT`'s, the user on whose behalf it was posted.
    author_user_id: Option<UserId>,
    /// The member in whose name somebody else's key wrote it: its author. `null` when the author's
    /// own key did.
    on_behalf_of: Option<UserId>,
    /// The user whose key wrote it on the author's behalf; `null` when the author's own did.
    written_by_user_id: Option<UserId>,
    /// The agent that speaks; only of an `AGENT`'s.
    author_agent: Option<String>,
    /// What it says.
    #[schemars(example = "example_body")]
    body: String,
    /// The message that began the thread; only of a reply.
    parent_message_id: Option<MessageId>,
    /// The slugs that its body mentions (`@claude`), in lower case, each once: at most 50.
    #[schemars(length(max = 50))]
    mentions: Vec<String>,
    /// The model that generated it; only of an `AGENT`'s.
    model: Option<String>,
    /// What generating it took; only of an `AGENT`'s.
    usage: Option<MessageUsage>,
    /// When it was said. No two messages of a session have the same time.
    created_at: Timestamp,
}

fn example_body() -> &'static str {
    "@claude what would break if we went to Postgres 18?"
}

impl From<store::Message> for Message {
    fn from(message: store::Message) -> Self {
        Message {
            author_type: message.author_type().into(),
            usage: message.usage().map(MessageUsage::from),
            id: message.id,
            session_id: message.session_id,
            on_behalf_of: message.written_by_user_id.as_ref().and(message.author_user_id.clone()),
            written_by_user_id: message.written_by_user_id,
            author_user_id: message.author_user_id,
            author_agent: message.author_agent,
            body: message.body,
            parent_message_id: message.parent_message_id,
            mentions: message.mentions,
            model: message.model,
            created_at: message.created_at.into(),
        }
    }
}

/// One message.
#[derive(Serialize, JsonSchema)]
struct MessageData {
    /// The message.
    message: Message,
}

/// Some messages of a session.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessagePage {
    /// Newest first, replies among them.
    messages: Vec<Message>,
    /// How many messages reply to each of these, by its id.
    reply_count: BTreeMap<MessageId, i64>,
    /// How many have reacted to each of these, by its id and the emoji; messages without reactions
    /// are left out.
    reactions: BTreeMap<MessageId, BTreeMap<String, i64>>,
    /// How many messages the session has in all.
    total: i64,
}

/// Which messages.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessageFilter {
    /// Only messages older than this one: the id of the last message of the page before. Pages do
    /// not shift while others post.
    before: Option<MessageId>,
    /// At most so many.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

fn default_limit() -> u32 {
    50
}

impl Check for MessageFilter {
    fn check(&self, issues: &mut Issues) {
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
    }
}

impl From<MessageFilter> for store::Filter {
    fn from(filter: MessageFilter) -> Self {
        store::Filter { before: filter.before, limit: filter.limit.into() }
    }
}

/// What it took to generate a new message; what is absent is 0.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessageUsageCreate {
    /// Tokens read that were in no cache.
    #[schemars(range(min = 0, max = 1_000_000_000_000i64))]
    input_tokens: Option<i64>,
    /// Tokens written.
    #[schemars(range(min = 0, max = 1_000_000_000_000i64))]
    output_tokens: Option<i64>,
    /// Tokens read from a cache.
    #[schemars(range(min = 0, max = 1_000_000_000_000i64))]
    cache_read_input_tokens: Option<i64>,
    /// Tokens put into a cache.
    #[schemars(range(min = 0, max = 1_000_000_000_000i64))]
    cache_creation_input_tokens: Option<i64>,
    /// Calls of tools.
    #[schemars(range(min = 0, max = 1_000_000))]
    tool_call_count: Option<i32>,
    /// US dollars; absent where no rate is known.
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    cost_usd: Option<f64>,
}

impl Check for MessageUsageCreate {
    fn check(&self, issues: &mut Issues) {
        for (field, tokens) in [
            ("inputTokens", self.input_tokens),
            ("outputTokens", self.output_tokens),
            ("cacheReadInputTokens", self.cache_read_input_tokens),
            ("cacheCreationInputTokens", self.cache_creation_input_tokens),
        ] {
            issues.range(field, tokens.unwrap_or_default(), 0..=MAX_TOKENS);
        }
        let calls = self.tool_call_count.unwrap_or_default();
        issues.range("toolCallCount", calls.into(), 0..=MAX_TOOL_CALLS);
        if self.cost_usd.is_some_and(|cost| !(0.0..=MAX_COST_USD).contains(&cost)) {
            let message = format!("must be between 0 and {MAX_COST_USD}");
            issues.add("costUsd", "out_of_range", message);
        }
    }
}

impl From<MessageUsageCreate> for store::Usage {
    fn from(usage: MessageUsageCreate) -> Self {
        store::Usage {
            input_tokens: usage.input_tokens.unwrap_or_default(),
            output_tokens: usage.output_tokens.unwrap_or_default(),
            cache_read_input_tokens: usage.cache_read_input_tokens.unwrap_or_default(),
            cache_creation_input_tokens: usage.cache_creation_input_tokens.unwrap_or_default(),
            tool_call_count: usage.tool_call_count.unwrap_or_default(),
            cost_usd: usage.cost_usd,
        }
    }
}

/// A new message.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessageCreate {
    /// What it says. Blanks at its ends are not kept.
    #[schemars(length(min = 1, max = 10_000), regex(pattern = r"\S"), example = "example_body")]
    body: String,
    /// The message of this session that it replies to. A reply to a reply joins the same thread.
    parent_message_id: Option<MessageId>,
    /// Posts as this agent, on behalf of the key's user. The key needs the scope `messages:agent`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9][a-z0-9_-]*$"))]
    #[schemars(example = "example_agent")]
    author_agent: Option<String>,
    /// The model that generated it; only with `authorAgent`.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"\S"), example = "example_agent")]
    model: Option<String>,
    /// What generating it took; only with `authorAgent`.
    usage: Option<MessageUsageCreate>,
}

fn example_agent() -> &'static str {
    "claude"
}

impl Check for MessageCreate {
    fn check(&self, issues: &mut Issues) {
        issues.length("body", self.body.trim(), 1..=MAX_BODY);
        if let Some(agent) = &self.author_agent
            && !is_slug(agent)
        {
            let message = format!(
                "must be lowercase letters, digits, dashes and underscores, at most \
                 {MAX_AGENT_SLUG}, and begin with a letter or digit"
            );
            issues.add("authorAgent", "invalid_slug", message);
        }
        if let Some(model) = &self.model {
            issues.length("model", model.trim(), 1..=MAX_MODEL);
        }
        if let Some(usage) = &self.usage {
            issues.within("usage", |issues| usage.check(issues));
        }
        if self.author_agent.is_none() {
            for (field, given) in [("model", self.model.is_some()), ("usage", self.usage.is_some())]
            {
                if given {
                    issues.add(field, "not_allowed", "is only allowed with authorAgent");
                }
            }
        }
    }
}

impl From<MessageCreate> for store::NewMessage {
    fn from(new: MessageCreate) -> Self {
        let body = new.body.trim().to_owned();
        store::NewMessage {
            mentions: mentions(&body),
            body,
            parent: new.parent_message_id,
            agent: new.author_agent,
            model: new.model.map(|model| model.trim().to_owned()),
            usage: new.usage.map(store::Usage::from),
        }
    }
}

/// The reactions of a stored message: an object of counts by emoji.
fn counts(reactions: Option<serde_json::Value>) -> BTreeMap<String, i64> {
    let reactions = match reactions {
        Some(serde_json::Value::Object(reactions)) => reactions,
        _ => return BTreeMap::new(),
    };
    reactions
        .into_iter()
        .filter_map(|(emoji, count)| count.as_i64().map(|count| (emoji, count)))
        .collect()
}

/// List messages
///
/// What was said in the session, archived or not, newest first; replies are among the rest.
/// `before` pages through it.
#[endpoint { method = GET, path = "/api/spaces/{slug}/sessions/{sessionId}/messages", tags = ["Messages"], operation_id = "message_list" }]
pub(super) async fn message_list(
    ctx: Ctx,
    path: Path<SessionPath>,
    query: Params<MessageFilter>,
) -> Answer<Ok200<MessagePage>> {
    let mut call = Call::reading(&ctx, Scope::MessagesRead);
    let filter = call.valid(query.into_inner()).await?.into();
    let (slug, session) = call.valid(path.into_inner().parse()).await?;
    let (rows, total) = call
        .read(async |tx| {
            let (space, _) = spaces::view_by_slug(tx, &slug).await?;
            store::list(tx, &space, &session, &filter).await
        })
        .await?;
    let mut page = MessagePage {
        messages: Vec::with_capacity(rows.len()),
        reply_count: BTreeMap::new(),
        reactions: BTreeMap::new(),
        total,
    };
    for row in rows {
        let id = row.message.id.clone();
        page.reply_count.insert(id.clone(), row.replies);
        let reactions = counts(row.reactions);
        if !reactions.is_empty() {
            page.reactions.insert(id, reactions);
        }
        page.messages.push(row.message.into());
    }
    Reply::ok(page)
}

/// Post a message
///
/// Members of the Space may, except its VIEWERs; whoever posts takes part in the session from then
/// on. An archived session takes no more messages: 409. Mentions in the body (`@claude`) are
/// recorded; agents answer by posting with `authorAgent`, for which the key needs the scope
/// `messages:agent`, which `*` does not include.
#[endpoint { method = POST, path = "/api/spaces/{slug}/sessions/{sessionId}/messages", tags = ["Messages"], operation_id = "message_send" }]
pub(super) async fn message_send(
    ctx: Ctx,
    path: Path<SessionPath>,
    key: IdempotencyKey,
    body: Unread<MessageCreate>,
) -> Answer<Created<MessageData>> {
    let mut call = Call::writing(&ctx, Scope::MessagesWrite).await?;
    let body = call.body(body).await?;
    call.create(key, body, async |tx, body| {
        let new: store::NewMessage = body.into();
        if new.agent.is_some() {
            call.caller().require(Scope::MessagesAgent)?;
        }
        let (slug, session) = path.into_inner().parse()?;
        let space = spaces::view_by_slug(tx, &slug).await?;
        let message = store::send(tx, &space, &session, &new).await?;
        // there is no route to a single message: this leads to the list that it is in
        let location = format!("{}/spaces/{slug}/sessions/{session}/messages", super::PREFIX);
        let right = Right::Session(space.0.id, session, SpaceRole::Member);
        let data = MessageData { message: message.into() };
        Ok(Kept::new(&data, right)?.at(location))
    })
    .await
}
