//! Messages of a session.

use super::ids::{MessageId, SessionId, UserId};
use super::members::left_meanwhile;
use super::schema::{messages, sessions};
use super::spaces::Space;
use super::statements::Keep;
use super::{LIST_TIMEOUT, Tx, visibility};
use crate::auth::SpaceRole;
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Double, Integer, Json, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorType {
    /// A person.
    User,
    /// An agent, on behalf of a person.
    Agent,
    /// The server.
    System,
}

impl AuthorType {
    /// As the contract and the database spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthorType::User => "USER",
            AuthorType::Agent => "AGENT",
            AuthorType::System => "SYSTEM",
        }
    }
}

/// What a generation took.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Usage {
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_input_tokens: i64,
    pub cache_creation_input_tokens: i64,
    pub tool_call_count: i32,
    pub cost_usd: Option<f64>,
}

/// A message, as it is stored.
#[derive(Clone, Debug, Queryable)]
#[expect(missing_docs, reason = "as above")]
pub struct Message {
    pub id: MessageId,
    pub session_id: SessionId,
    author_type: String,
    pub author_user_id: Option<UserId>,
    pub author_agent: Option<String>,
    pub body: String,
    pub parent_message_id: Option<MessageId>,
    pub mentions: Vec<String>,
    pub model: Option<String>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cache_read_input_tokens: Option<i64>,
    cache_creation_input_tokens: Option<i64>,
    tool_call_count: Option<i32>,
    cost_usd: Option<f64>,
    pub created_at: DateTime<Utc>,
    /// The user whose key wrote it in its author's name; `None`: the author's own.
    pub written_by_user_id: Option<UserId>,
}

impl Message {
    /// Who speaks.
    pub fn author_type(&self) -> AuthorType {
        match self.author_type.as_str() {
            "AGENT" => AuthorType::Agent,
            "SYSTEM" => AuthorType::System,
            _ => AuthorType::User,
        }
    }

    /// What it took to generate; `None` where nobody said.
    pub fn usage(&self) -> Option<Usage> {
        Some(Usage {
            input_tokens: self.input_tokens?,
            output_tokens: self.output_tokens?,
            cache_read_input_tokens: self.cache_read_input_tokens?,
            cache_creation_input_tokens: self.cache_creation_input_tokens?,
            tool_call_count: self.tool_call_count?,
            cost_usd: self.cost_usd,
        })
    }
}

pub(super) type Columns = (
    messages::id,
    messages::session_id,
    messages::author_type,
    messages::author_user_id,
    messages::author_agent,
    messages::body,
    messages::parent_message_id,
    messages::mentions,
    messages::model,
    messages::input_tokens,
    messages::output_tokens,
    messages::cache_read_input_tokens,
    messages::cache_creation_input_tokens,
    messages::tool_call_count,
    SqlLiteral<Nullable<Double>>,
    messages::created_at,
    messages::written_by_user_id,
);

pub(super) fn columns() -> Columns {
    (
        messages::id,
        messages::session_id,
        messages::author_type,
        messages::author_user_id,
        messages::author_agent,
        messages::body,
        messages::parent_message_id,
        messages::mentions,
        messages::model,
        messages::input_tokens,
        messages::output_tokens,
        messages::cache_read_input_tokens,
        messages::cache_creation_input_tokens,
        messages::tool_call_count,
        // Raw SQL: a cast, since JSON's numbers are what the API speaks
        sql("messages.cost_usd::float8"),
        messages::created_at,
        messages::written_by_user_id,
    )
}

/// A message with what others said to it.
#[derive(Clone, Debug, Queryable)]
pub struct Listed {
    /// The message.
    pub message: Message,
    /// How many messages reply to it.
    pub replies: i64,
    /// Emoji with the number of those who reacted so: an object, or nothing.
    pub reactions: Option<serde_json::Value>,
}

/// Which messages to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only older than this message of the same session.
    pub before: Option<MessageId>,
    /// At most so many.
    pub limit: i64,
}

/// What a new message is made of.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// What it says.
    pub body: String,
    /// The message that it replies to.
    pub parent: Option<MessageId>,
    /// Who is mentioned in the body, each once.
    pub mentions: Vec<String>,
    /// The agent that speaks; the caller himself otherwise.
    pub agent: Option<String>,
    /// The model that the agent used.
    pub model: Option<String>,
    /// What that took.
    pub usage: Option<Usage>,
}

/// Messages of a session that the caller can see, archived or not, newest first, and how many it
/// has. 404 when `before` is no message of it.
pub async fn list(
    tx: &mut Tx,
    space: &Space,
    session: &SessionId,
    filter: &Filter,
) -> Result<(Vec<Listed>, i64)> {
    tx.at_most(LIST_TIMEOUT);
    let caller = tx.caller().clone();
    let (total, older_than): (i64, Option<i64>) = sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::space_id.eq(&space.id))
        .filter(sessions::id.eq(session))
        .select((
            sessions::last_message_seq,
            messages::table
                .filter(messages::session_id.eq(sessions::id))
                .filter(messages::id.nullable().eq(&filter.before))
                .select(messages::seq)
                .single_value(),
        ))
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("session"))?;
    let mut page = messages::table
        .filter(visibility::message(&caller))
        .filter(messages::session_id.eq(session))
        .into_boxed();
    match (&filter.before, older_than) {
        (None, _) => {}
        (Some(_), Some(seq)) => page = page.filter(messages::seq.lt(seq)),
        (Some(_), None) => {
            return Err(Error::not_found("message: `before` names none of this session"));
        }
    }
    let rows = page
        .order(messages::seq.desc())
        .limit(filter.limit)
        .select((
            columns(),
            messages::reply_count,
            // Raw SQL: Diesel has no aggregate in a correlated sub-select
            sql::<Nullable<Json>>(
                "(SELECT json_object_agg(e.emoji, e.count) FROM (\
                 SELECT r.emoji, count(*) FROM message_reactions r \
                 WHERE r.message_id = messages.id GROUP BY r.emoji) e)",
            ),
        ))
        .kept()
        .load(tx.connection())
        .await?;
    Ok((rows, total))
}

/// Locks a session until the transaction ends: nobody posts in it or archives it meanwhile. 404
/// when the caller cannot see it, 409 when it is archived.
pub(super) async fn lock_live(tx: &mut Tx, space: &Space, session: &SessionId) -> Result<()> {
    let caller = tx.caller().clone();
    let archived: Option<DateTime<Utc>> = sessions::table
        .filter(visibility::session(&caller))
        .filter(sessions::space_id.eq(&space.id))
        .filter(sessions::id.eq(session))
        // Raw SQL: a function of ours, since to lock a row takes the right to change it
        .select(sql::<Nullable<Timestamptz>>("lock_session(sessions.id)"))
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| Error::not_found("session"))?;
    match archived {
        None => Ok(()),
        Some(_) => Err(Error::conflict("this session is archived: it takes no more messages")),
    }
}

/// The root of a thread: replies to a reply belong to what that one replies to. 400 when `parent`
/// is no message of the session.
async fn root_of(tx: &mut Tx, session: &SessionId, parent: &MessageId) -> Result<MessageId> {
    let caller = tx.caller().clone();
    let found: Option<Option<MessageId>> = messages::table
        .filter(visibility::message(&caller))
        .filter(messages::session_id.eq(session))
        .filter(messages::id.eq(parent))
        .select(messages::parent_message_id)
        .first(tx.connection())
        .await
        .optional()?;
    match found {
        Some(root) => Ok(root.unwrap_or_else(|| parent.clone())),
        None => Err(Error::invalid(
            ["parentMessageId"],
            "not_found",
            "must be the id of a message of this session",
        )),
    }
}

/// Posts a message, in the caller's own name or as an agent on his behalf. He takes part in the
/// session from then on.
pub async fn send(
    tx: &mut Tx,
    (space, role): &(Space, SpaceRole),
    session: &SessionId,
    new: &NewMessage,
) -> Result<Message> {
    if !role.may_write() {
        return Err(Error::forbidden("a VIEWER of this Space cannot post in it"));
    }
    lock_live(tx, space, session).await?;
    let parent = match &new.parent {
        Some(parent) => Some(root_of(tx, session, parent).await?),
        None => None,
    };
    let caller = tx.caller().clone();
    let now = tx.now();
    let id = MessageId::generate();
    let author_type = if new.agent.is_some() { AuthorType::Agent } else { AuthorType::User };
    let usage = new.usage;

    #[derive(diesel::QueryableByName)]
    struct Written {
        #[diesel(sql_type = Timestamptz)]
        created_at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Text>)]
        written_by_user_id: Option<UserId>,
    }
    // Raw SQL: two tables in one statement. Number, time and whose key it was come from triggers.
    let Written { created_at, written_by_user_id } = diesel::sql_query(
        "WITH message AS (
             INSERT INTO messages (id, org_id, session_id, author_type, author_user_id,
                 author_agent, body, parent_message_id, mentions, model, input_tokens,
                 output_tokens, cache_read_input_tokens, cache_creation_input_tokens,
                 tool_call_count, cost_usd, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
                 $16::numeric, $17)
             RETURNING created_at, written_by_user_id
         ), participant AS (
             INSERT INTO session_participants (org_id, session_id, user_id) VALUES ($2, $3, $5)
             ON CONFLICT DO NOTHING
         )
         SELECT created_at, written_by_user_id FROM message",
    )
    .bind::<Text, _>(&id)
    .bind::<Text, _>(&caller.org_id)
    .bind::<Text, _>(session)
    .bind::<Text, _>(author_type.as_str())
    .bind::<Text, _>(&caller.user_id)
    .bind::<Nullable<Text>, _>(&new.agent)
    .bind::<Text, _>(&new.body)
    .bind::<Nullable<Text>, _>(&parent)
    .bind::<Array<Text>, _>(&new.mentions)
    .bind::<Nullable<Text>, _>(&new.model)
    .bind::<Nullable<BigInt>, _>(usage.map(|u| u.input_tokens))
    .bind::<Nullable<BigInt>, _>(usage.map(|u| u.output_tokens))
    .bind::<Nullable<BigInt>, _>(usage.map(|u| u.cache_read_input_tokens))
    .bind::<Nullable<BigInt>, _>(usage.map(|u| u.cache_creation_input_tokens))
    .bind::<Nullable<Integer>, _>(usage.map(|u| u.tool_call_count))
    .bind::<Nullable<Double>, _>(usage.and_then(|u| u.cost_usd))
    .bind::<Nullable<Timestamptz>, _>(now)
    .kept()
    .get_result(tx.connection())
    .await
    .map_err(left_meanwhile)?;
    Ok(Message {
        id,
        session_id: session.clone(),
        author_type: author_type.as_str().to_owned(),
        author_user_id: Some(caller.user_id),
        author_agent: new.agent.clone(),
        body: new.body.clone(),
        parent_message_id: parent,
        mentions: new.mentions.clone(),
        model: new.model.clone(),
        input_tokens: usage.map(|u| u.input_tokens),
        output_tokens: usage.map(|u| u.output_tokens),
        cache_read_input_tokens: usage.map(|u| u.cache_read_input_tokens),
        cache_creation_input_tokens: usage.map(|u| u.cache_creation_input_tokens),
        tool_call_count: usage.map(|u| u.tool_call_count),
        cost_usd: usage.and_then(|u| u.cost_usd),
        created_at,
        written_by_user_id,
    })
}
