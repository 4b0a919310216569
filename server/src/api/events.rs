//! Live events of a session, as server-sent events (contract B2).

use super::messages::Message;
use super::sessions::{Session, SessionPath};
use super::{Call, Ctx};
use crate::auth::Scope;
use crate::error::{Error, Result};
use crate::events::{Ending, Follower, Render, follow};
use crate::http::reply::EventStream;
use crate::http::sse::{self, Block, LastEventId};
use crate::http::{Answer, Reply};
use crate::store::events::{self as store, Access, Event, Lost, Place, What};
use crate::store::ids::{MessageId, UserId};
use crate::store::spaces;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// How long clients wait before they connect again.
const RECONNECT: Duration = Duration::from_secs(2);

/// A message, told of.
#[derive(Serialize, JsonSchema)]
struct MessageEvent {
    /// The message.
    message: Message,
}

/// A reaction that was added or taken back.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ReactionEvent {
    /// To which message.
    message_id: MessageId,
    /// How.
    emoji: String,
    /// Who.
    user_id: UserId,
    /// How many have reacted so now.
    count: i64,
}

/// A session, told of as it is now.
#[derive(Serialize, JsonSchema)]
struct SessionChangedEvent {
    /// The session.
    session: Session,
}

/// Why a stream does not continue where it was.
#[derive(Serialize, JsonSchema)]
struct ResetEvent {
    /// For a person.
    message: String,
}

/// Why a stream ended.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum EndReason {
    /// The key is revoked, rotated or expired, or its user has left the organization.
    KeyInvalid,
    /// The caller is not in the Space any more.
    NotAMember,
    /// The Space is archived.
    SpaceArchived,
    /// The session is not visible to the caller any more.
    SessionHidden,
    /// The server stops: connect again.
    Shutdown,
    /// The server cannot read events now: connect again later.
    Unavailable,
}

/// The last event of a stream.
#[derive(Serialize, JsonSchema)]
struct EndEvent {
    /// Why it ended.
    reason: EndReason,
    /// The same for a person.
    message: String,
}

/// An event: `event` is its type and `data` its JSON. Types that are not listed here may come with
/// a later version, and are to be ignored.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", content = "data")]
enum SessionEvent {
    /// Somebody posted.
    #[serde(rename = "message.created")]
    MessageCreated(MessageEvent),
    /// Somebody reacted to a message.
    #[serde(rename = "reaction.added")]
    ReactionAdded(ReactionEvent),
    /// Somebody took a reaction back.
    #[serde(rename = "reaction.removed")]
    ReactionRemoved(ReactionEvent),
    /// The session was changed: its title or model, for example.
    #[serde(rename = "session.updated")]
    SessionUpdated(SessionChangedEvent),
    /// The session was archived: there will be no more messages.
    #[serde(rename = "session.archived")]
    SessionArchived(SessionChangedEvent),
    /// Events were missed that are not kept any more: read the list again.
    #[serde(rename = "reset")]
    Reset(ResetEvent),
    /// The stream ends here.
    #[serde(rename = "end")]
    End(EndEvent),
}

impl SessionEvent {
    fn block(&self, id: Option<i64>) -> Result<Block> {
        match self {
            SessionEvent::MessageCreated(data) => Block::event(id, "message.created", data),
            SessionEvent::ReactionAdded(data) => Block::event(id, "reaction.added", data),
            SessionEvent::ReactionRemoved(data) => Block::event(id, "reaction.removed", data),
            SessionEvent::SessionUpdated(data) => Block::event(id, "session.updated", data),
            SessionEvent::SessionArchived(data) => Block::event(id, "session.archived", data),
            SessionEvent::Reset(data) => Block::event(id, "reset", data),
            SessionEvent::End(data) => Block::event(id, "end", data),
        }
    }
}

fn shown(what: &What) -> Option<SessionEvent> {
    Some(match what {
        What::Posted(message) => {
            SessionEvent::MessageCreated(MessageEvent { message: (**message).clone().into() })
        }
        What::Reacted { added, message, emoji, user, count } => {
            let event = ReactionEvent {
                message_id: message.clone(),
                emoji: emoji.clone(),
                user_id: user.clone(),
                count: *count,
            };
            match added {
                true => SessionEvent::ReactionAdded(event),
                false => SessionEvent::ReactionRemoved(event),
            }
        }
        What::Changed(session) => SessionEvent::SessionUpdated(SessionChangedEvent {
            session: (**session).clone().into(),
        }),
        What::Archived(session) => SessionEvent::SessionArchived(SessionChangedEvent {
            session: (**session).clone().into(),
        }),
        What::Unknown => return None,
    })
}

/// Reason and sentence of an ending.
fn told(ending: Ending) -> (EndReason, &'static str) {
    match ending {
        Ending::Lost(Lost::Key) => {
            (EndReason::KeyInvalid, "the API key may not be used for this any more")
        }
        Ending::Lost(Lost::Membership) => {
            (EndReason::NotAMember, "you are not a member of this Space any more")
        }
        Ending::Lost(Lost::Space) => (EndReason::SpaceArchived, "the Space was archived"),
        Ending::Lost(Lost::Session) => {
            (EndReason::SessionHidden, "the session is not visible to you any more")
        }
        Ending::Stopping => (EndReason::Shutdown, "the server is stopping: connect again"),
        Ending::Outage | Ending::Gone | Ending::Stalled | Ending::Broken => {
            (EndReason::Unavailable, "events cannot be read at the moment: connect again later")
        }
    }
}

struct AsBlocks;

impl Render for AsBlocks {
    fn event(&self, event: &Event) -> Result<Option<Block>> {
        shown(&event.what).map(|shown| shown.block(Some(event.seq))).transpose()
    }

    fn reset(&self, seq: i64) -> Result<Block> {
        let message = "some events are not kept any more: read the messages again".to_owned();
        SessionEvent::Reset(ResetEvent { message }).block(Some(seq))
    }

    fn ending(&self, ending: Ending) -> Result<Block> {
        let (reason, message) = told(ending);
        SessionEvent::End(EndEvent { reason, message: message.to_owned() }).block(None)
    }
}

/// Follow a session
///
/// Server-sent events, from now on, or after the event that `Last-Event-ID` names: messages,
/// reactions and changes of the session, in the order in which they happened, each with an `id` to
/// resume after. The opening carries the `id` of the moment, as a line without an event: who
/// connects first and lists the messages then has missed nothing.
///
/// Events are kept for 24 hours. When those after `Last-Event-ID` are gone, the stream begins with
/// the event `reset`: read the list again. Every 15 seconds without an event there is a comment;
/// whether the caller may still read on is looked at before every event. When not, or when the
/// server stops, the last event is `end` with a reason.
///
/// Opening a stream counts as one read. A key may have 10 open on one server, the 11th is a 409;
/// 503 when the server has no place for more.
#[endpoint { method = GET, path = "/api/spaces/{slug}/sessions/{sessionId}/events", tags = ["Messages"], operation_id = "session_events" }]
pub(super) async fn session_events(
    ctx: Ctx,
    path: Path<SessionPath>,
    last_seen: LastEventId,
) -> Answer<EventStream<SessionEvent>> {
    let mut call = Call::reading(&ctx, Scope::MessagesRead);
    let last_seen = call.valid(last_seen.into_inner()).await?;
    let (slug, session) = call.valid(path.into_inner().parse()).await?;
    let digest = call.call().await?.key_digest();
    let app = call.app();
    let (place, newest) = call
        .read(async |tx| {
            let (space, _) = spaces::view_by_slug(tx, &slug).await?;
            let place = Place { space, session: session.clone() };
            match store::access(tx, &digest, &place).await? {
                Access::Upto(newest) => Ok((place, newest)),
                Access::Lost(Lost::Session) => Err(Error::not_found("session")),
                // lost between this request's first statement and this one
                Access::Lost(Lost::Key) => {
                    Err(Error::Unauthenticated("this API key may not be used any more".into()))
                }
                Access::Lost(Lost::Space) => Err(Error::not_found("Space")),
                Access::Lost(Lost::Membership) => {
                    Err(Error::forbidden("you are not a member of this Space"))
                }
            }
        })
        .await?;
    let caller = call.call().await?.caller().clone();
    let topics = vec![
        format!("session:{}", place.session),
        format!("space:{}", place.space.id),
        format!("user:{}", caller.user_id),
        format!("key:{}", caller.key_id),
    ];
    let subscription = app.events.subscribe(&caller.key_id, topics)?;
    let (writer, blocks) = sse::stream();
    let seen = last_seen.unwrap_or(newest);
    // the channel has room for this one
    let _ = writer.write(Block::opening(RECONNECT, seen)).await;
    let follower = Follower { store: app.store.clone(), caller, digest, place, seen };
    tokio::spawn(follow(follower, subscription, writer, AsBlocks, app.log.clone()));
    Reply::stream(blocks)
}
