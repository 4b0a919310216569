//! Search over what was said in a Space.

use super::memory::{MAX_QUERY, check_period};
use super::mentions::{MAX_AGENT_SLUG, is_slug};
use super::messages::Message;
use super::sessions::checked_slug;
use super::spaces::{MAX_LIMIT, default_limit};
use super::{Call, Ctx};
use crate::auth::Scope;
use crate::error::Result;
use crate::http::{Answer, Check, Issues, Ok200, Reply, Timestamp, Unread};
use crate::search::Highlight;
use crate::search::messages::{MessageHit, MessageQuestion, search};
use crate::store::ids::{SessionId, UserId};
use crate::store::message_search::Filter;
use crate::store::spaces;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most turns shown on either side of a hit.
pub const MAX_TURNS: u32 = 5;

/// The Space whose transcripts are searched.
#[derive(Deserialize, JsonSchema)]
struct MessageSearchPath {
    /// The Space's slug.
    #[schemars(length(min = 1, max = 100), example = "example_slug")]
    slug: String,
}

fn example_slug() -> &'static str {
    "platform-team"
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessageSearch {
    /// A question, or words.
    #[schemars(length(min = 1, max = 10_000), regex(pattern = r"\S"), example = "example_query")]
    query: String,
    /// Only what was said in this session.
    session_id: Option<SessionId>,
    /// Only this user's messages, those of agents on his behalf included.
    author_user_id: Option<UserId>,
    /// Only this agent's messages.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9][a-z0-9_-]*$"))]
    #[schemars(example = "example_agent")]
    author_agent: Option<String>,
    /// Only what was said at this moment or later.
    created_after: Option<Timestamp>,
    /// Only what was said before this moment.
    created_before: Option<Timestamp>,
    /// Leaves out what fits worse than this.
    #[schemars(range(min = 0.0, max = 1.0))]
    min_score: Option<f64>,
    /// So many messages before and after each hit are shown with it, and are no hits of their own.
    #[serde(default = "default_turns")]
    #[schemars(range(min = 0, max = 5))]
    context: u32,
    /// At most so many results.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

fn example_query() -> &'static str {
    "what did we decide about Postgres 18?"
}

fn example_agent() -> &'static str {
    "claude"
}

fn default_turns() -> u32 {
    1
}

impl Check for MessageSearch {
    fn check(&self, issues: &mut Issues) {
        issues.length("query", self.query.trim(), 1..=MAX_QUERY);
        issues.range("limit", self.limit.into(), 1..=MAX_LIMIT.into());
        issues.range("context", self.context.into(), 0..=MAX_TURNS.into());
        if self.author_agent.as_ref().is_some_and(|agent| !is_slug(agent)) {
            let message = format!(
                "must be lowercase letters, digits, dashes and underscores, at most \
                 {MAX_AGENT_SLUG}, and begin with a letter or digit"
            );
            issues.add("authorAgent", "invalid_slug", message);
        }
        check_period(issues, self.created_after, self.created_before);
        if self.min_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            issues.add("minScore", "out_of_range", "must be between 0 and 1");
        }
    }
}

/// A sentence of a message that shows why it was found.
#[derive(Serialize, JsonSchema)]
struct MessageHighlight {
    /// What it says.
    text: String,
    /// Where it begins in `body`, in characters (Unicode scalar values).
    start: u32,
    /// Where it ends, exclusive.
    end: u32,
}

impl From<Highlight> for MessageHighlight {
    fn from(highlight: Highlight) -> Self {
        let offset = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        MessageHighlight {
            start: offset(highlight.start),
            end: offset(highlight.end),
            text: highlight.text,
        }
    }
}

/// A message that was found, with what stands around it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessageMatch {
    /// The message.
    message: Message,
    /// What its session is called.
    session_name: Option<String>,
    /// How well it fits, relative to the best result.
    #[schemars(range(min = 0.0, max = 1.0))]
    score: f64,
    /// The sentences that show why, in the message's order.
    #[schemars(length(max = 3))]
    highlights: Vec<MessageHighlight>,
    /// What was said right before it, in that order.
    #[schemars(length(max = 5))]
    before: Vec<Message>,
    /// What was said right after it, in that order.
    #[schemars(length(max = 5))]
    after: Vec<Message>,
}

impl From<MessageHit> for MessageMatch {
    fn from(hit: MessageHit) -> Self {
        MessageMatch {
            message: hit.message.into(),
            session_name: hit.session_name,
            score: hit.score,
            highlights: hit.highlights.into_iter().map(Into::into).collect(),
            before: hit.before.into_iter().map(Into::into).collect(),
            after: hit.after.into_iter().map(Into::into).collect(),
        }
    }
}

/// What was found.
#[derive(Serialize, JsonSchema)]
struct MessageResults {
    /// Best first.
    results: Vec<MessageMatch>,
}

/// Search messages
///
/// By words, among what was said in the Space's sessions, archived or not, as far as the caller can
/// see them, best first. What was said up to two turns away counts towards a message. Counts as a
/// read. Messages that do not pass the filters are not looked at; `minScore` looks at the result.
#[endpoint { method = POST, path = "/api/spaces/{slug}/messages/search", tags = ["Messages"], operation_id = "message_search" }]
pub(super) async fn message_search(
    ctx: Ctx,
    path: Path<MessageSearchPath>,
    body: Unread<MessageSearch>,
) -> Answer<Ok200<MessageResults>> {
    let mut call = Call::reading(&ctx, Scope::MessagesRead);
    let body = call.body(body).await?;
    let wanted = body.into_inner()?;
    let slug = checked_slug(path.into_inner().slug)?;
    let filter = Filter {
        session_id: wanted.session_id,
        author_user_id: wanted.author_user_id,
        author_agent: wanted.author_agent,
        created_after: wanted.created_after.map(|at| at.0),
        created_before: wanted.created_before.map(|at| at.0),
    };
    let hits = call
        .read(async |tx| {
            let (space, _) = spaces::view_by_slug(tx, &slug).await?;
            let question = MessageQuestion {
                text: wanted.query.trim(),
                space: &space.id,
                filter: &filter,
                limit: usize::try_from(wanted.limit).unwrap_or(usize::MAX),
                min_score: wanted.min_score.unwrap_or(0.0),
                turns: wanted.context,
            };
            search(tx, &question).await
        })
        .await?;
    Reply::ok(MessageResults { results: hits.into_iter().map(Into::into).collect() })
}
