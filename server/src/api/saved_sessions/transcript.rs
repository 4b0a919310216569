//! The transcript of a saved session: what its agent brings along, and all that was said.

use super::SavedSessionPath;
use super::shapes::{Place, SessionResponse};
use crate::api::messages::{MAX_COST_USD, MAX_TOKENS};
use crate::api::{Call, Ctx, Kept};
use crate::auth::Scope;
use crate::error::Result;
use crate::http::{
    Bare200, BareAnswer, Check, IdempotencyKey, Issues, Params, Reply, Timestamp, Unread,
};
use crate::store::ids::UserId;
use crate::store::messages::Usage;
use crate::store::rights::Right;
use crate::store::session_kinds::TranscriptRole;
use crate::store::transcripts as store;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Most messages of one request.
const MAX_MESSAGES: usize = 200;
/// Longest content of a message, in characters.
const MAX_CONTENT: usize = 100_000;
/// Most calls of tools that one message makes.
const MAX_TOOL_CALLS: usize = 100;
/// Largest calls of one message together, in bytes of JSON.
const MAX_TOOL_CALLS_BYTES: usize = 100 * 1024;
/// Longest id of such a call, in characters.
const MAX_TOOL_CALL_ID: usize = 256;
/// Largest metadata of a message, in bytes of JSON.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Messages on a page, unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;
/// Most messages on a page.
const MAX_LIMIT: u32 = 100;
/// Largest number of a page.
const MAX_PAGE: u32 = 1_000_000;

/// What generating a message took.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct TranscriptUsage {
    /// Tokens read that were in no cache; 0 unless given.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000_000i64))]
    input_tokens: i64,
    /// Tokens written; 0 unless given.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000_000i64))]
    output_tokens: i64,
    /// Tokens read from a provider's cache; 0 unless given.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000_000i64))]
    cache_read_input_tokens: i64,
    /// Tokens written to a provider's cache; 0 unless given.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000_000i64))]
    cache_creation_input_tokens: i64,
    /// US dollars; absent or `null` where no rate is known.
    #[schemars(range(min = 0.0, max = 1_000_000.0))]
    cost_usd: Option<f64>,
}

impl From<Usage> for TranscriptUsage {
    fn from(usage: Usage) -> Self {
        TranscriptUsage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_input_tokens: usage.cache_read_input_tokens,
            cache_creation_input_tokens: usage.cache_creation_input_tokens,
            cost_usd: usage.cost_usd,
        }
    }
}

/// A message to append.
#[derive(Deserialize, JsonSchema)]
struct TranscriptMessageRequest {
    /// The message's UUID, made by the client: appending it again appends nothing. A new one
    /// unless given.
    id: Option<Uuid>,
    /// Who speaks.
    role: TranscriptRole,
    /// What is said: up to 100,000 characters. May be absent or empty where an assistant only calls
    /// tools.
    #[schemars(length(max = 100_000))]
    content: Option<String>,
    /// The message that this one continues: one of the session, or an earlier one of this request.
    parent_id: Option<Uuid>,
    /// The calls of tools that an assistant's message makes, as its provider shapes them: up to
    /// 100, and 100 KiB.
    #[schemars(length(max = 100))]
    tool_calls: Option<Vec<Map<String, Value>>>,
    /// The call that a tool's message answers.
    #[schemars(length(min = 1, max = 256))]
    tool_call_id: Option<String>,
    /// Anything that the client wants to keep with it, up to 16 KiB.
    metadata: Option<Map<String, Value>>,
    /// What generating it took; of an assistant's messages alone.
    usage: Option<TranscriptUsage>,
}

/// Messages to append, in their order.
#[derive(Deserialize, JsonSchema)]
pub(super) struct TranscriptAppendRequest {
    /// 1 to 200 messages.
    #[schemars(length(min = 1, max = 200))]
    messages: Vec<TranscriptMessageRequest>,
}

/// How much an object takes when it is written.
fn json_bytes(object: &Map<String, Value>) -> usize {
    Value::Object(object.clone()).to_string().len()
}

fn check_usage(issues: &mut Issues, usage: &TranscriptUsage) {
    issues.range("input_tokens", usage.input_tokens, 0..=MAX_TOKENS);
    issues.range("output_tokens", usage.output_tokens, 0..=MAX_TOKENS);
    issues.range("cache_read_input_tokens", usage.cache_read_input_tokens, 0..=MAX_TOKENS);
    issues.range("cache_creation_input_tokens", usage.cache_creation_input_tokens, 0..=MAX_TOKENS);
    if usage.cost_usd.is_some_and(|cost| !(0.0..=MAX_COST_USD).contains(&cost)) {
        issues.add("cost_usd", "out_of_range", format!("must be between 0 and {MAX_COST_USD}"));
    }
}

impl Check for TranscriptMessageRequest {
    fn check(&self, issues: &mut Issues) {
        let is_assistant = self.role == TranscriptRole::Assistant;
        let calls = self.tool_calls.as_deref().unwrap_or_default();
        let content = self.content.as_deref().unwrap_or_default();
        let no_calls = calls.is_empty() && !issues.is_unreadable("tool_calls");
        if content.is_empty() && no_calls {
            issues.add("content", "required", "must not be empty, unless tools are called");
        }
        issues.length("content", content, 0..=MAX_CONTENT);
        if !calls.is_empty() && !is_assistant {
            issues.add("tool_calls", "not_allowed", "goes with the role `assistant` alone");
        }
        issues.count("tool_calls", calls.len(), MAX_TOOL_CALLS);
        if calls.iter().map(json_bytes).sum::<usize>() > MAX_TOOL_CALLS_BYTES {
            issues.add("tool_calls", "too_long", "must be at most 100 KiB of JSON");
        }
        if let Some(id) = &self.tool_call_id {
            if self.role != TranscriptRole::Tool {
                issues.add("tool_call_id", "not_allowed", "goes with the role `tool` alone");
            }
            issues.length("tool_call_id", id, 1..=MAX_TOOL_CALL_ID);
        }
        if self.metadata.as_ref().map_or(0, json_bytes) > MAX_METADATA_BYTES {
            issues.add("metadata", "too_long", "must be at most 16 KiB of JSON");
        }
        if let Some(usage) = &self.usage {
            if !is_assistant {
                issues.add("usage", "not_allowed", "goes with the role `assistant` alone");
            }
            issues.within("usage", |issues| check_usage(issues, usage));
        }
    }
}

impl Check for TranscriptAppendRequest {
    fn check(&self, issues: &mut Issues) {
        if self.messages.is_empty() {
            issues.add("messages", "too_short", "must not be empty");
        }
        issues.count("messages", self.messages.len(), MAX_MESSAGES);
        issues.within("messages", |issues| {
            for (i, message) in self.messages.iter().enumerate().take(MAX_MESSAGES) {
                issues.within(i, |issues| message.check(issues));
            }
        });
    }
}

impl From<TranscriptMessageRequest> for store::Entry {
    fn from(request: TranscriptMessageRequest) -> Self {
        let calls = request.tool_calls.filter(|calls| !calls.is_empty());
        // `Check` has seen that there are few
        let tool_call_count = calls.as_ref().map_or(0, |calls| calls.len() as i32);
        store::Entry {
            id: request.id.unwrap_or_else(Uuid::new_v4),
            role: request.role,
            content: request.content.unwrap_or_default(),
            parent: request.parent_id,
            tool_calls: calls.map(|calls| calls.into_iter().map(Value::Object).collect()),
            tool_call_id: request.tool_call_id,
            metadata: request.metadata.map(Value::Object),
            usage: request.usage.map(|usage| Usage {
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
                cache_read_input_tokens: usage.cache_read_input_tokens,
                cache_creation_input_tokens: usage.cache_creation_input_tokens,
                tool_call_count,
                cost_usd: usage.cost_usd,
            }),
        }
    }
}

/// A message of a transcript.
#[derive(Serialize, JsonSchema)]
struct TranscriptMessage {
    /// The message's UUID.
    id: Uuid,
    /// Who speaks.
    role: TranscriptRole,
    /// What is said.
    content: String,
    /// The message that this one continues; of a reply in a native thread, the one that began it.
    parent_id: Option<Uuid>,
    /// The calls of tools that it makes.
    tool_calls: Option<Value>,
    /// The call that it answers.
    tool_call_id: Option<String>,
    /// What the client keeps with it.
    metadata: Option<Value>,
    /// What generating it took; `null` where nobody said.
    usage: Option<TranscriptUsage>,
    /// The agent that speaks; of an assistant's messages alone.
    agent: Option<String>,
    /// The model that it used.
    model: Option<String>,
    /// Who appended or posted it.
    user_id: Option<UserId>,
    /// When it was stored. No two messages of a session have the same time.
    created_at: Timestamp,
}

impl From<store::TranscriptMessage> for TranscriptMessage {
    fn from(message: store::TranscriptMessage) -> Self {
        TranscriptMessage {
            role: message.role(),
            usage: message.usage().map(TranscriptUsage::from),
            id: message.id,
            content: message.content,
            parent_id: message.parent,
            tool_calls: message.tool_calls,
            tool_call_id: message.tool_call_id,
            metadata: message.metadata,
            agent: message.agent,
            model: message.model,
            user_id: message.author_user_id,
            created_at: message.created_at.into(),
        }
    }
}

/// What was appended.
#[derive(Serialize, JsonSchema)]
pub(super) struct TranscriptAppendResponse {
    /// The messages of the request, in its order, as they are stored.
    messages: Vec<TranscriptMessage>,
    /// How many of them are new; the others were there already.
    appended: u32,
    /// The session with them.
    session: SessionResponse,
}

/// A page of a transcript.
#[derive(Serialize, JsonSchema)]
pub(super) struct TranscriptResponse {
    /// The messages of this page, oldest first.
    messages: Vec<TranscriptMessage>,
    /// Messages on all pages.
    total: i64,
    /// The number of this page, from 1.
    page: u32,
    /// The most messages that a page has.
    limit: u32,
    /// Pages that there are.
    total_pages: i64,
    /// Whether a page follows.
    has_next: bool,
    /// Whether a page comes before.
    has_previous: bool,
}

/// Which page of a transcript.
#[derive(Deserialize, JsonSchema)]
pub(super) struct TranscriptParams {
    /// The number of the page, from 1.
    #[schemars(range(min = 1, max = 1_000_000))]
    page: Option<u32>,
    /// Messages on a page, 1 to 100; 50 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

impl TranscriptParams {
    fn page(&self) -> u32 {
        self.page.unwrap_or(1)
    }

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_LIMIT)
    }
}

impl Check for TranscriptParams {
    fn check(&self, issues: &mut Issues) {
        issues.range("page", self.page().into(), 1..=MAX_PAGE.into());
        issues.range("limit", self.limit().into(), 1..=MAX_LIMIT.into());
    }
}

/// Append to a transcript
///
/// Messages are appended in their order, all of them or none. One whose `id` the session has already
/// is left out when it says the same, and a 409 when it says something else: so the same turns can
/// be sent again whenever an answer got lost. `usage` counts into the session's. The session's
/// creator may, and the Space's OWNER and EDITOR; an archived session takes none.
#[endpoint { method = POST, path = "/api/v1/org/{org}/ws/{workspace}/sessions/{session_id}/transcript", tags = ["Saved sessions"], operation_id = "saved_session_transcript_append" }]
pub(in crate::api) async fn saved_session_transcript_append(
    ctx: Ctx,
    path: Path<SavedSessionPath>,
    key: IdempotencyKey,
    body: Unread<TranscriptAppendRequest>,
) -> BareAnswer<Bare200<TranscriptAppendResponse>> {
    let mut call = Call::writing(&ctx, Scope::MessagesWrite).await?;
    let body = call.body(body).await?;
    call.create(key, body, async |tx, body| {
        let entries: Vec<_> = body.messages.into_iter().map(store::Entry::from).collect();
        let (place, wanted) = path.into_inner().enter(tx).await?;
        let appended = store::append(tx, &place, wanted, &entries).await?;
        let right = Right::Change(place.0.id.clone(), appended.session.id.clone());
        let data = TranscriptAppendResponse {
            messages: appended.messages.into_iter().map(TranscriptMessage::from).collect(),
            appended: u32::try_from(appended.appended).unwrap_or(u32::MAX),
            session: appended.session.into(),
        };
        Kept::new(&data, right)
    })
    .await
}

/// Read a transcript
///
/// Everything that was said in the session, oldest first, page by page: what was appended here, and
/// what was posted to it otherwise.
#[endpoint { method = GET, path = "/api/v1/org/{org}/ws/{workspace}/sessions/{session_id}/transcript", tags = ["Saved sessions"], operation_id = "saved_session_transcript" }]
pub(in crate::api) async fn saved_session_transcript(
    ctx: Ctx,
    path: Path<SavedSessionPath>,
    params: Params<TranscriptParams>,
) -> BareAnswer<Bare200<TranscriptResponse>> {
    let mut call = Call::reading(&ctx, Scope::MessagesRead);
    let path = path.into_inner();
    let params = call.valid(params.into_inner()).await?;
    let (page, limit) = (params.page(), params.limit());
    let (messages, total) = call
        .read(async |tx| {
            let ((space, _), wanted) = path.enter(tx).await?;
            store::list(tx, &space, wanted, (page.into(), limit.into())).await
        })
        .await?;
    let Place { total_pages, has_next, has_previous } = Place::of(total, page, limit);
    let messages = messages.into_iter().map(TranscriptMessage::from).collect();
    Reply::bare(TranscriptResponse {
        messages,
        total,
        page,
        limit,
        total_pages,
        has_next,
        has_previous,
    })
}
