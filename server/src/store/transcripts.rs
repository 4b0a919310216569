//! Transcripts: messages of a session as the agents that wrote them bring them along, and all of its
//! messages as those read them back.

use super::ids::{MessageId, OrgId, SessionId, UserId};
use super::messages::{Usage, lock_live};
use super::saved_sessions::{SavedSession, Wanted, changeable, view};
use super::schema::messages;
use super::session_kinds::TranscriptRole;
use super::spaces::Space;
use super::statements::Keep;
use super::{LIST_TIMEOUT, Tx, visibility};
use crate::auth::SpaceRole;
use crate::error::{Error, Issue, Result};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Double, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What a message's author is called where neither the session's agent nor its model is known.
const NAMELESS_AGENT: &str = "assistant";

/// A message to append.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct Entry {
    pub id: Uuid,
    pub role: TranscriptRole,
    pub content: String,
    /// The message that it continues: one of the session, or an earlier one of the same request.
    pub parent: Option<Uuid>,
    pub tool_calls: Option<Value>,
    pub tool_call_id: Option<String>,
    pub metadata: Option<Value>,
    pub usage: Option<Usage>,
}

/// A message of a transcript, as it is stored.
#[derive(Clone, Debug, Queryable)]
#[expect(missing_docs, reason = "as above")]
pub struct TranscriptMessage {
    pub id: Uuid,
    role: Option<TranscriptRole>,
    author_type: String,
    pub author_user_id: Option<UserId>,
    pub agent: Option<String>,
    pub model: Option<String>,
    pub content: String,
    pub parent: Option<Uuid>,
    pub tool_calls: Option<Value>,
    pub tool_call_id: Option<String>,
    pub metadata: Option<Value>,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cache_read_input_tokens: Option<i64>,
    cache_creation_input_tokens: Option<i64>,
    cost_usd: Option<f64>,
    pub created_at: DateTime<Utc>,
}

impl TranscriptMessage {
    /// Who speaks; of a native message, its author says it.
    pub fn role(&self) -> TranscriptRole {
        self.role.unwrap_or(match self.author_type.as_str() {
            "AGENT" => TranscriptRole::Assistant,
            "SYSTEM" => TranscriptRole::System,
            _ => TranscriptRole::User,
        })
    }

    /// What it took to generate, its calls of tools aside; `None` where nobody said.
    pub fn usage(&self) -> Option<Usage> {
        Some(Usage {
            input_tokens: self.input_tokens?,
            output_tokens: self.output_tokens?,
            cache_read_input_tokens: self.cache_read_input_tokens?,
            cache_creation_input_tokens: self.cache_creation_input_tokens?,
            tool_call_count: 0,
            cost_usd: self.cost_usd,
        })
    }
}

type Columns = (
    messages::external_id,
    messages::role,
    messages::author_type,
    messages::author_user_id,
    messages::author_agent,
    messages::model,
    messages::body,
    diesel::expression::SqlLiteral<Nullable<SqlUuid>>,
    messages::tool_calls,
    messages::tool_call_id,
    messages::metadata,
    messages::input_tokens,
    messages::output_tokens,
    messages::cache_read_input_tokens,
    messages::cache_creation_input_tokens,
    diesel::expression::SqlLiteral<Nullable<Double>>,
    messages::created_at,
);

fn columns() -> Columns {
    (
        messages::external_id,
        messages::role,
        messages::author_type,
        messages::author_user_id,
        messages::author_agent,
        messages::model,
        messages::body,
        // Raw SQL: Diesel would want an alias for the same table; the thread of a native message
        // is the nearest thing to what it continues
        sql("(SELECT before.external_id FROM messages before \
             WHERE before.org_id = messages.org_id AND before.session_id = messages.session_id \
             AND before.id = coalesce(messages.follows_message_id, messages.parent_message_id))"),
        messages::tool_calls,
        messages::tool_call_id,
        messages::metadata,
        messages::input_tokens,
        messages::output_tokens,
        messages::cache_read_input_tokens,
        messages::cache_creation_input_tokens,
        sql("messages.cost_usd::float8"),
        messages::created_at,
    )
}

/// One page of a session's messages, oldest first, and how many it has.
pub async fn list(
    tx: &mut Tx,
    space: &Space,
    wanted: Wanted,
    (page, limit): (i64, i64),
) -> Result<(Vec<TranscriptMessage>, i64)> {
    tx.at_most(LIST_TIMEOUT);
    let session = view(tx, space, wanted).await?;
    let caller = tx.caller().clone();
    // numbers have no gaps, so pages need not be counted off
    let before = (page - 1).saturating_mul(limit);
    let rows = messages::table
        .filter(visibility::message(&caller))
        .filter(messages::session_id.eq(&session.id))
        .filter(messages::seq.gt(before))
        .filter(messages::seq.le(before.saturating_add(limit)))
        .order(messages::seq)
        .select(columns())
        .load(tx.connection())
        .await?;
    Ok((rows, session.usage.message_count))
}

/// What an append came to.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The messages of the request, in its order.
    pub messages: Vec<TranscriptMessage>,
    /// How many of them are new.
    pub appended: usize,
    /// The session with them.
    pub session: SavedSession,
}

/// What is known of a message that is there already.
struct Known {
    id: MessageId,
    role: TranscriptRole,
    content: String,
}

/// Appends messages, those that are there already left out. 409 when one of these says something
/// else now, or when the session is archived; 422 when a message continues one that is not there.
pub async fn append(
    tx: &mut Tx,
    place: &(Space, SpaceRole),
    wanted: Wanted,
    entries: &[Entry],
) -> Result<Appended> {
    let session = changeable(tx, place, wanted).await?;
    // from here on nobody else appends: what is looked up stays true
    lock_live(tx, &place.0, &session.id).await?;
    let mut known = known(tx, &session.id, entries).await?;
    let (mut rows, mut issues) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for (i, entry) in entries.iter().enumerate() {
        let mut wrong = |field: &'static str, code, message: &str| {
            let path = vec!["messages".into(), i.into(), field.into()];
            issues.push(Issue { path, code, message: message.into() });
        };
        if !seen.insert(entry.id) {
            wrong("id", "duplicate", "must be given only once");
            continue;
        }
        let parent = entry.parent.map(|parent| known.get(&parent).map(|known| known.id.clone()));
        if parent == Some(None) {
            wrong(
                "parent_id",
                "not_found",
                "must be the id of a message of this session, or of an earlier one of this request",
            );
            continue;
        }
        match known.get(&entry.id) {
            Some(there) if there.role == entry.role && there.content == entry.content => {}
            Some(_) => {
                return Err(Error::conflict(format!(
                    "the message {} is there already, and says something else",
                    entry.id
                )));
            }
            None => {
                let id = MessageId::generate();
                rows.push(row(&session, entry, &id, parent.flatten()));
                let Entry { role, content, .. } = entry.clone();
                known.insert(entry.id, Known { id, role, content });
            }
        }
    }
    if !issues.is_empty() {
        return Err(Error::Invalid(issues));
    }
    let appended = rows.len();
    if appended > 0 {
        insert(tx, &session.id, rows).await?;
    }
    let messages = read(tx, &session.id, entries).await?;
    let session = if appended > 0 {
        let id = session.external_id;
        view(tx, &place.0, Wanted::exactly(id)).await?
    } else {
        session
    };
    Ok(Appended { messages, appended, session })
}

/// Those messages of the session that the entries name.
async fn known(
    tx: &mut Tx,
    session: &SessionId,
    entries: &[Entry],
) -> Result<HashMap<Uuid, Known>> {
    let caller = tx.caller().clone();
    let named: Vec<Uuid> = entries.iter().flat_map(|e| [Some(e.id), e.parent]).flatten().collect();
    let rows: Vec<(MessageId, TranscriptMessage)> = messages::table
        .filter(visibility::message(&caller))
        .filter(messages::session_id.eq(session))
        .filter(messages::external_id.eq_any(named))
        .select((messages::id, columns()))
        .load(tx.connection())
        .await?;
    let known = rows.into_iter().map(|(id, message)| {
        let role = message.role();
        (message.id, Known { id, role, content: message.content })
    });
    Ok(known.collect())
}

/// A message as [`insert`] takes it.
fn row(session: &SavedSession, entry: &Entry, id: &MessageId, follows: Option<MessageId>) -> Value {
    let author_type = match entry.role {
        TranscriptRole::User => "USER",
        TranscriptRole::Assistant => "AGENT",
        TranscriptRole::System | TranscriptRole::Tool => "SYSTEM",
    };
    let is_agent = entry.role == TranscriptRole::Assistant;
    let agent = session.default_agent.as_deref().or(session.model.as_deref());
    json!({
        "id": id,
        "external_id": entry.id,
        "author_type": author_type,
        "author_agent": is_agent.then(|| agent.unwrap_or(NAMELESS_AGENT)),
        "model": session.model.as_deref().filter(|_| is_agent),
        "role": entry.role,
        "body": entry.content,
        "follows_message_id": follows,
        "tool_calls": entry.tool_calls,
        "tool_call_id": entry.tool_call_id,
        "metadata": entry.metadata,
        "input_tokens": entry.usage.map(|u| u.input_tokens),
        "output_tokens": entry.usage.map(|u| u.output_tokens),
        "cache_read_input_tokens": entry.usage.map(|u| u.cache_read_input_tokens),
        "cache_creation_input_tokens": entry.usage.map(|u| u.cache_creation_input_tokens),
        "tool_call_count": entry.usage.map(|u| u.tool_call_count),
        "cost_usd": entry.usage.and_then(|u| u.cost_usd),
    })
}

/// Inserts messages in their order.
async fn insert(tx: &mut Tx, session: &SessionId, rows: Vec<Value>) -> Result<()> {
    let caller = tx.caller().clone();
    let expected = i32::try_from(rows.len()).map_err(Error::internal)?;

    #[derive(QueryableByName)]
    struct Written {
        #[diesel(sql_type = Integer)]
        written: i32,
    }
    // Raw SQL: many rows of one parameter, in two tables. Numbers and times come from a trigger, in
    // the order in which rows arrive. A json null is no SQL NULL, hence the ->> and nullif.
    let Written { written } = diesel::sql_query(
        "WITH message AS (
             INSERT INTO messages (id, org_id, session_id, external_id, author_type,
                 author_user_id, author_agent, model, role, body, follows_message_id, tool_calls,
                 tool_call_id, metadata, input_tokens, output_tokens, cache_read_input_tokens,
                 cache_creation_input_tokens, tool_call_count, cost_usd, created_at)
             SELECT m ->> 'id', $1, $2, (m ->> 'external_id')::uuid, m ->> 'author_type',
                 $3, m ->> 'author_agent', m ->> 'model', m ->> 'role', m ->> 'body',
                 m ->> 'follows_message_id', nullif(m -> 'tool_calls', 'null'),
                 m ->> 'tool_call_id', nullif(m -> 'metadata', 'null'),
                 (m ->> 'input_tokens')::bigint, (m ->> 'output_tokens')::bigint,
                 (m ->> 'cache_read_input_tokens')::bigint,
                 (m ->> 'cache_creation_input_tokens')::bigint,
                 (m ->> 'tool_call_count')::integer, (m ->> 'cost_usd')::numeric, $5
             FROM jsonb_array_elements($4) WITH ORDINALITY AS all_of_them (m, n) ORDER BY n
             RETURNING id
         ), participant AS (
             INSERT INTO session_participants (org_id, session_id, user_id) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING
         )
         SELECT count(*)::integer AS written FROM message",
    )
    .bind::<Text, OrgId>(caller.org_id)
    .bind::<Text, _>(session)
    .bind::<Text, UserId>(caller.user_id)
    .bind::<Jsonb, _>(Value::Array(rows))
    .bind::<Nullable<Timestamptz>, _>(tx.now())
    .kept()
    .get_result(tx.connection())
    .await?;
    if written == expected {
        Ok(())
    } else {
        Err(Error::internal(format!("{written} messages of {expected} were written")))
    }
}

/// The messages that the entries name, in their order.
async fn read(
    tx: &mut Tx,
    session: &SessionId,
    entries: &[Entry],
) -> Result<Vec<TranscriptMessage>> {
    let caller = tx.caller().clone();
    let rows: Vec<TranscriptMessage> = messages::table
        .filter(visibility::message(&caller))
        .filter(messages::session_id.eq(session))
        .filter(messages::external_id.eq_any(entries.iter().map(|entry| entry.id)))
        .select(columns())
        .load(tx.connection())
        .await?;
    let mut by_id: HashMap<Uuid, TranscriptMessage> =
        rows.into_iter().map(|message| (message.id, message)).collect();
    Ok(entries.iter().filter_map(|entry| by_id.remove(&entry.id)).collect())
}
