//! Sessions (contract B2): conversations in a Space.

use super::pages::{check_rows, most_rows, total};
use super::spaces::MAX_SLUG;
use super::{Call, Ctx, Kept};
use crate::auth::{Scope, SpaceRole};
use crate::error::{Error, Result};
use crate::http::{
    Answer, Check, Created, IdempotencyKey, Issues, NoContent, Ok200, Params, Reply, Timestamp,
    Unread,
};
use crate::store::ids::{SessionId, SpaceId, UserId};
use crate::store::rights::Right;
use crate::store::session_kinds::{Labels, SessionOrigin, SessionVisibility};
use crate::store::usage::Usage;
use crate::store::{Paging, sessions as store, spaces};
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use schemars::schema::{InstanceType, Schema, SchemaObject, StringValidation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Longest title, in characters.
pub const MAX_TITLE: usize = 255;
/// Longest description, in characters.
pub const MAX_DESCRIPTION: usize = 1_000;
/// Longest name of a model, in characters.
pub const MAX_MODEL: usize = 100;
/// Most participants that a request may name.
pub const MAX_PARTICIPANTS: usize = 100;

/// What can be mentioned in a session, and so can be its default (contract B3).
pub const AGENTS: [&str; 12] = [
    "ai",
    "claude",
    "sonnet",
    "opus",
    "haiku",
    "gpt-5",
    "gpt-4o",
    "gpt-4o-mini",
    "gemini",
    "gemini-pro",
    "github",
    "notion",
];

/// Agents that are models: what `model` may name for `defaultAgent` to follow it.
const MODELS: [&str; 9] =
    ["claude", "sonnet", "opus", "haiku", "gpt-5", "gpt-4o", "gpt-4o-mini", "gemini", "gemini-pro"];

/// A conversation.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    /// The session's id.
    id: SessionId,
    /// The Space that it belongs to.
    space_id: SpaceId,
    /// Its title; a new session is given it as `name`.
    #[schemars(example = "example_title")]
    title: String,
    /// What it is about.
    description: Option<String>,
    /// The agent or model that answers unless a message mentions another.
    default_agent: Option<String>,
    /// The session's default model.
    model: Option<String>,
    /// Who takes part, by user id; the one who made it always does.
    participant_user_ids: Vec<UserId>,
    /// Who made it.
    created_by_user_id: UserId,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Option<Timestamp>,
    /// When it was archived; `null` while it is live.
    archived_at: Option<Timestamp>,
    /// The same session's id in the Save Session dialect.
    external_id: Uuid,
    /// Who sees it.
    visibility: SessionVisibility,
    /// What kind of work it comes from.
    origin: SessionOrigin,
    /// Values by key, as whoever saved the session gave them.
    labels: Labels,
    /// What its generations took.
    usage: SessionUsage,
}

/// What the generations of a session took; derived from its messages whenever it is read. Without
/// data everything is 0.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SessionUsage {
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
    /// Messages of the session.
    message_count: i64,
}

impl From<Usage> for SessionUsage {
    fn from(usage: Usage) -> Self {
        SessionUsage {
            total_input_tokens: usage.input_tokens,
            total_output_tokens: usage.output_tokens,
            total_cache_read_input_tokens: usage.cache_read_input_tokens,
            total_cache_creation_input_tokens: usage.cache_creation_input_tokens,
            total_tool_call_count: usage.tool_call_count,
            total_cost_usd: usage.cost_usd,
            last_generation_input_tokens: usage.last_generation_input_tokens,
            message_count: usage.message_count,
        }
    }
}

fn example_title() -> &'static str {
    "Postgres upgrade"
}

impl From<store::Session> for Session {
    fn from(session: store::Session) -> Self {
        Session {
            usage: session.usage.into(),
            external_id: session.external_id,
            visibility: session.visibility,
            origin: session.origin,
            labels: session.labels,
            id: session.id,
            space_id: session.space_id,
            title: session.title.unwrap_or_else(|| store::UNTITLED.to_owned()),
            description: session.description,
            default_agent: session.default_agent,
            model: session.model,
            participant_user_ids: session.participant_user_ids,
            created_by_user_id: session.created_by_user_id,
            created_at: session.created_at.into(),
            updated_at: Some(session.updated_at.into()),
            archived_at: session.archived_at.map(Timestamp::from),
        }
    }
}

/// One session.
#[derive(Serialize, JsonSchema)]
struct SessionData {
    /// The session.
    session: Session,
}

/// The sessions of a Space.
#[derive(Serialize, JsonSchema)]
struct SessionList {
    /// Live sessions, most recently updated first.
    sessions: Vec<Session>,
    /// How many there are in all.
    total: u32,
}

/// What a list of sessions is to hold.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SessionListParams {
    /// Also sessions of evaluation runs.
    include_eval: Option<bool>,
    /// Only what comes after the session with this id, in the list's order: the last one of the page
    /// before.
    before: Option<SessionId>,
    /// At most so many.
    #[serde(default = "most_rows")]
    #[schemars(range(min = 1, max = 1_000))]
    limit: u32,
}

impl Check for SessionListParams {
    fn check(&self, issues: &mut Issues) {
        check_rows(issues, self.limit);
    }
}

/// A Space by slug.
#[derive(Deserialize, JsonSchema)]
struct SpacePath {
    /// The Space's slug.
    #[schemars(length(min = 1, max = 100), example = "example_slug")]
    slug: String,
}

/// A session of a Space.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionPath {
    /// The Space's slug.
    #[schemars(length(min = 1, max = 100), example = "example_slug")]
    slug: String,
    /// The session's id.
    #[schemars(with = "SessionId")]
    session_id: String,
}

fn example_slug() -> &'static str {
    "platform-team"
}

/// A new session.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SessionCreate {
    /// Its title.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"\S"), example = "example_title")]
    name: String,
    /// What it is about.
    #[schemars(length(max = 1_000))]
    description: Option<String>,
    /// Who takes part besides the caller, by user id: members of the Space.
    #[schemars(length(max = 100))]
    participant_user_ids: Option<Vec<UserId>>,
    /// The slug of the agent or model that answers by default, for example `claude` or `ai`.
    #[schemars(with = "Option<AgentName>", example = "example_agent")]
    default_agent: Option<String>,
}

/// Documents one of [`AGENTS`], as a pattern: an enumeration would be a type of its own in clients,
/// and a newer server may have more of them.
struct AgentName;

impl JsonSchema for AgentName {
    fn is_referenceable() -> bool {
        false
    }
    fn schema_name() -> String {
        "AgentName".into()
    }
    fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> Schema {
        let string = StringValidation {
            pattern: Some(format!("^({})$", AGENTS.join("|"))),
            ..Default::default()
        };
        SchemaObject {
            instance_type: Some(InstanceType::String.into()),
            string: Some(Box::new(string)),
            ..Default::default()
        }
        .into()
    }
}

fn example_agent() -> &'static str {
    "claude"
}

impl Check for SessionCreate {
    fn check(&self, issues: &mut Issues) {
        issues.length("name", self.name.trim(), 1..=MAX_TITLE);
        issues.length(
            "description",
            self.description.as_deref().unwrap_or_default(),
            0..=MAX_DESCRIPTION,
        );
        let participants = self.participant_user_ids.as_deref().unwrap_or_default();
        issues.count("participantUserIds", participants.len(), MAX_PARTICIPANTS);
        if let Some(agent) = &self.default_agent
            && !AGENTS.contains(&agent.as_str())
        {
            issues.add(
                "defaultAgent",
                "unknown_agent",
                format!("must be one of {}", AGENTS.join(", ")),
            );
        }
    }
}

impl From<SessionCreate> for store::NewSession {
    fn from(new: SessionCreate) -> Self {
        store::NewSession {
            title: new.name.trim().to_owned(),
            description: new.description,
            model: new.default_agent.clone().filter(|agent| MODELS.contains(&agent.as_str())),
            default_agent: new.default_agent,
            participant_user_ids: new.participant_user_ids.unwrap_or_default(),
        }
    }
}

/// `new` with the Space's default model where it names none; `defaultAgent` follows as it does when
/// the model is updated.
fn with_default_model(mut new: store::NewSession, space: &spaces::Space) -> store::NewSession {
    new.model = new.model.or_else(|| space.default_model.clone());
    let mentionable = |model: &String| MODELS.contains(&model.as_str());
    new.default_agent = new.default_agent.or_else(|| new.model.clone().filter(mentionable));
    new
}

/// What to change; what is absent stays.
#[derive(Deserialize, JsonSchema)]
struct SessionUpdate {
    /// The new title.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"\S"), example = "example_title")]
    title: Option<String>,
    /// The new default model. `defaultAgent` follows when it names one that can be mentioned.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"\S"), example = "example_agent")]
    model: Option<String>,
    /// `workspace` shares a private session with the members of the Space, for good; its creator
    /// alone may.
    visibility: Option<SessionVisibility>,
}

impl Check for SessionUpdate {
    fn check(&self, issues: &mut Issues) {
        if let Some(title) = &self.title {
            issues.length("title", title.trim(), 1..=MAX_TITLE);
        }
        if let Some(model) = &self.model {
            issues.length("model", model.trim(), 1..=MAX_MODEL);
        }
    }
}

impl From<SessionUpdate> for store::Change {
    fn from(change: SessionUpdate) -> Self {
        let model = change.model.map(|model| model.trim().to_owned());
        store::Change {
            title: change.title.map(|title| title.trim().to_owned()),
            default_agent: model.clone().filter(|model| MODELS.contains(&model.as_str())),
            model,
            visibility: change.visibility,
        }
    }
}

/// A slug that no Space can have is that of no Space.
pub(super) fn checked_slug(slug: String) -> Result<String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=MAX_SLUG).contains(&slug.len()) && slug.bytes().all(allowed) {
        Ok(slug)
    } else {
        Err(Error::not_found("Space"))
    }
}

impl SessionPath {
    pub(super) fn parse(self) -> Result<(String, SessionId)> {
        let slug = checked_slug(self.slug)?;
        Ok((slug, self.session_id.parse().map_err(|_| Error::not_found("session"))?))
    }
}

/// List sessions
///
/// The live sessions of the Space, most recently updated first. Archived ones are left out, and so
/// are evaluation runs unless `includeEval` asks for them; both can still be viewed by id.
///
/// All of them, up to 1,000; `before` pages through more. Sessions with much to them make a page
/// shorter: an answer has about 4 MiB at most.
#[endpoint { method = GET, path = "/api/spaces/{slug}/sessions", tags = ["Sessions"], operation_id = "session_list" }]
pub(super) async fn session_list(
    ctx: Ctx,
    path: Path<SpacePath>,
    params: Params<SessionListParams>,
) -> Answer<Ok200<SessionList>> {
    let mut call = Call::reading(&ctx, Scope::SessionsRead);
    let slug = call.valid(checked_slug(path.into_inner().slug)).await?;
    let SessionListParams { include_eval, before, limit } = call.valid(params.into_inner()).await?;
    let workloads = match include_eval {
        Some(true) => store::Workloads::Shown,
        _ => store::Workloads::Hidden,
    };
    let paging = Paging { before, limit };
    let listed = call
        .read(async |tx| {
            let (space, _) = spaces::view_by_slug(tx, &slug).await?;
            store::list(tx, &space, workloads, &paging).await
        })
        .await?;
    Reply::ok(SessionList {
        sessions: listed.rows.into_iter().map(Session::from).collect(),
        total: total(listed.total),
    })
}

/// Create a session
///
/// Members of the Space may, except its VIEWERs. Participants must be members of the Space.
#[endpoint { method = POST, path = "/api/spaces/{slug}/sessions", tags = ["Sessions"], operation_id = "session_create" }]
pub(super) async fn session_create(
    ctx: Ctx,
    path: Path<SpacePath>,
    key: IdempotencyKey,
    body: Unread<SessionCreate>,
) -> Answer<Created<SessionData>> {
    let mut call = Call::writing(&ctx, Scope::SessionsWrite).await?;
    let body = call.body(body).await?;
    call.create(key, body, async |tx, body| {
        let new = body.into();
        let slug = checked_slug(path.into_inner().slug)?;
        let space = spaces::view_by_slug(tx, &slug).await?;
        let new = with_default_model(new, &space.0);
        let session = store::create(tx, &space, &new).await?;
        let location = format!("{}/spaces/{slug}/sessions/{}", super::PREFIX, session.id);
        let right = Right::Session(space.0.id, session.id.clone(), SpaceRole::Member);
        let data = SessionData { session: session.into() };
        Ok(Kept::new(&data, right)?.at(location))
    })
    .await
}

/// View a session
///
/// By id, archived or not.
#[endpoint { method = GET, path = "/api/spaces/{slug}/sessions/{sessionId}", tags = ["Sessions"], operation_id = "session_view" }]
pub(super) async fn session_view(ctx: Ctx, path: Path<SessionPath>) -> Answer<Ok200<SessionData>> {
    let mut call = Call::reading(&ctx, Scope::SessionsRead);
    let (slug, id) = call.valid(path.into_inner().parse()).await?;
    let session = call
        .read(async |tx| {
            let (space, _) = spaces::view_by_slug(tx, &slug).await?;
            store::view(tx, &space, &id).await
        })
        .await?;
    Reply::ok(SessionData { session: session.into() })
}

/// Update a session
///
/// Its creator may, and the Space's OWNER and EDITOR. Without a change nothing happens.
#[endpoint { method = PATCH, path = "/api/spaces/{slug}/sessions/{sessionId}", tags = ["Sessions"], operation_id = "session_update" }]
pub(super) async fn session_update(
    ctx: Ctx,
    path: Path<SessionPath>,
    body: Unread<SessionUpdate>,
) -> Answer<Ok200<SessionData>> {
    let mut call = Call::writing(&ctx, Scope::SessionsWrite).await?;
    let body = call.body(body).await?;
    let (slug, id) = path.into_inner().parse()?;
    let change = body.into_inner()?.into();
    let session = call
        .write(async |tx| {
            let space = spaces::view_by_slug(tx, &slug).await?;
            store::update(tx, &space, &id, &change).await
        })
        .await?;
    Reply::ok(SessionData { session: session.into() })
}

/// Archive a session
///
/// It leaves the list and takes no more messages; it stays readable, and its messages remain for
/// audit. Its creator may, and the Space's OWNER and EDITOR. Once more is no error.
#[endpoint { method = DELETE, path = "/api/spaces/{slug}/sessions/{sessionId}", tags = ["Sessions"], operation_id = "session_archive" }]
pub(super) async fn session_archive(ctx: Ctx, path: Path<SessionPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::SessionsWrite).await?;
    let (slug, id) = path.into_inner().parse()?;
    call.write(async |tx| {
        let space = spaces::view_by_slug(tx, &slug).await?;
        store::archive(tx, &space, &id).await
    })
    .await?;
    Reply::no_content()
}
