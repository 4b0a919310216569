//! Live events of a session.

use std::{fmt, time::Duration};

use futures::{StreamExt, stream, stream::BoxStream};
use http::{StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::{
    Client, Error, ErrorCode,
    call::Call,
    error::Parts,
    retry::{MAX_WAIT, retry_after},
    sse::{Dispatched, Parser},
    types,
};

/// What a stream of events is announced as.
const MEDIA_TYPE: &str = "text/event-stream";

/// The header that says what to resume after.
const LAST_EVENT_ID: &str = "last-event-id";

/// After so long without anything, a connection is given up: the server sends something every 15
/// seconds.
pub const MAX_SILENCE: Duration = Duration::from_secs(60);

/// How often in a row a connection is tried again before the error is returned.
pub const MAX_RECONNECTS: u32 = 8;

/// The wait before connecting again, unless the server says another; it doubles with every try.
const RECONNECT_WAIT: Duration = Duration::from_secs(2);

/// The longest wait before connecting again, unless the server asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Something that happened in a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What to resume after: see [`Events::after`]. The end of a stream has none of its own.
    pub id: Option<String>,
    /// Its type, as the server calls it: `message.created`.
    pub name: String,
    /// What happened.
    pub kind: EventKind,
    /// What the server sent, with everything that this version does not know.
    pub data: Value,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// Somebody posted.
    MessageCreated(Box<types::Message>),
    /// Somebody reacted.
    ReactionAdded(types::ReactionEvent),
    /// Somebody took a reaction back.
    ReactionRemoved(types::ReactionEvent),
    /// The session was changed, and is now like this.
    SessionUpdated(Box<types::Session>),
    /// The session was archived: there will be no more messages.
    SessionArchived(Box<types::Session>),
    /// Events were missed that the server does not keep any more: read the list again.
    Reset,
    /// The stream is over, and why: it will not come back by connecting again.
    End(types::EndReason),
    /// A type that this version does not know.
    Other,
}

/// The events of a session: [`Messages::events`](crate::Messages::events).
///
/// A connection that breaks is made again, up to [`MAX_RECONNECTS`] times in a row with growing
/// waits, and goes on after the last event that came: nothing is lost and nothing comes twice.
#[must_use = "nothing is sent before an event is asked for"]
pub struct Events {
    client: Client,
    slug: String,
    session_id: String,
    last_id: Option<String>,
    connection: Option<Connection>,
    /// Whether there ever was a connection: the first one is not tried for long.
    began: bool,
    failures: u32,
    retry: Duration,
    over: bool,
}

struct Connection {
    response: reqwest::Response,
    parser: Parser,
    ready: std::collections::VecDeque<Dispatched>,
    chunks: u32,
}

/// Why there is no connection.
enum Trouble {
    /// It may come back; after that long, if the server said so.
    Passing(Error, Option<Duration>),
    /// It will not.
    Lasting(Error),
}

impl Events {
    pub(crate) fn new(client: Client, slug: String, session_id: String) -> Self {
        Self {
            client,
            slug,
            session_id,
            last_id: None,
            connection: None,
            began: false,
            failures: 0,
            retry: RECONNECT_WAIT,
            over: false,
        }
    }

    /// Begins after the event with this id, instead of now.
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.last_id = Some(id.into());
        self
    }

    /// What to resume after: the id of the last event that came.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Connects, if there is no connection. Whoever lists the messages after this has missed
    /// nothing; without it, the first [`Events::next`] connects.
    ///
    /// # Errors
    ///
    /// When the server refuses, or cannot be reached.
    pub async fn connect(&mut self) -> Result<(), Error> {
        while self.connection.is_none() {
            match self.open().await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.began = true;
                }
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(error, asked)) => self.pause(error, asked).await?,
            }
        }
        Ok(())
    }

    /// The next event; `None` after [`EventKind::End`]. May be cancelled at any time.
    ///
    /// # Errors
    ///
    /// When the server refuses, or cannot be reached for too long. The next call tries again.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        while !self.over {
            self.connect().await?;
            let Some(connection) = &mut self.connection else { continue };
            if let Some(dispatched) = connection.ready.pop_front() {
                self.last_id = dispatched.id.clone();
                let event = event(dispatched)?;
                if let EventKind::End(reason) = &event.kind {
                    self.connection = None;
                    if passes(reason) {
                        let error = broken(&format!("the server ended the stream ({reason})"));
                        self.pause(error, None).await?;
                        continue;
                    }
                    self.over = true;
                } else {
                    self.failures = 0;
                }
                return Ok(Some(event));
            }
            if let Err(error) = connection.read(&self.client).await {
                self.lost();
                self.pause(error, None).await?;
                continue;
            }
            self.retry = connection.parser.retry().unwrap_or(self.retry);
            // the opening says nothing about how long it will last; whatever follows does
            if connection.chunks > 1 {
                self.failures = 0;
            }
            if connection.ready.is_empty() {
                self.last_id = connection.parser.last_id().map(Into::into).or(self.last_id.take());
            }
        }
        Ok(None)
    }

    /// The events as a stream. It ends after [`EventKind::End`], and after an error.
    pub fn stream(self) -> BoxStream<'static, Result<Event, Error>> {
        stream::unfold(Some(self), |events| async move {
            let mut events = events?;
            match events.next().await {
                Ok(Some(event)) => Some((Ok(event), Some(events))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    fn lost(&mut self) {
        self.connection = None;
    }

    /// Waits before the next try; the error when there is to be none.
    async fn pause(&mut self, error: Error, asked: Option<Duration>) -> Result<(), Error> {
        let settings = self.client.settings();
        let tries = if self.began { MAX_RECONNECTS } else { settings.max_retries };
        let wait = self.retry.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST_WAIT);
        let wait = asked.map_or(wait, |asked| asked.max(wait));
        if self.failures >= tries || wait > MAX_WAIT {
            self.failures = 0;
            return Err(error);
        }
        self.failures += 1;
        (settings.sleep)(wait).await;
        Ok(())
    }

    fn url(&self) -> Result<Url, Error> {
        let unusable =
            |message: String| Error::from(Parts::new(ErrorCode::InvalidRequest, message));
        let mut url = Url::parse(self.client.base_url())
            .map_err(|cause| unusable(format!("the base URL cannot be used: {cause}")))?;
        let segments = ["spaces", &self.slug, "sessions", &self.session_id, "events"];
        match url.path_segments_mut() {
            Ok(mut path) => drop(path.pop_if_empty().extend(segments)),
            Err(()) => return Err(unusable("the base URL cannot have a path".into())),
        }
        Ok(url)
    }

    /// One try to connect.
    async fn open(&self) -> Result<Connection, Trouble> {
        let (call, _) = self.client.call();
        let settings = self.client.settings();
        let url = self.url().map_err(Trouble::Lasting)?;
        let mut request = self.client.http().get(url).header(header::ACCEPT, MEDIA_TYPE);
        if let Some(authorization) = &settings.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        if let Some(id) = &self.last_id {
            request = request.header(LAST_EVENT_ID, id);
        }
        let answer = tokio::time::timeout(settings.timeout, request.send()).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(cause)) if self.began => {
                return Err(Trouble::Passing(call.transport(cause), None));
            }
            Ok(Err(cause)) => return Err(Trouble::Lasting(call.transport(cause))),
            Err(_elapsed) => {
                let seconds = settings.timeout.as_secs_f32();
                let message = format!("the server did not answer within {seconds} s");
                let error = Parts::new(ErrorCode::Timeout, message).into();
                return Err(match self.began {
                    true => Trouble::Passing(error, None),
                    false => Trouble::Lasting(error),
                });
            }
        };
        self.accepted(&call, response).await
    }

    async fn accepted(
        &self,
        call: &Call,
        response: reqwest::Response,
    ) -> Result<Connection, Trouble> {
        let status = response.status();
        let announced = response.headers().get(header::CONTENT_TYPE);
        let events = announced
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with(MEDIA_TYPE));
        if status == StatusCode::OK && events {
            let parser = Parser::after(self.last_id.clone());
            return Ok(Connection { response, parser, ready: Default::default(), chunks: 0 });
        }
        let asked = retry_after(response.headers());
        let error = match tokio::time::timeout(call.settings.timeout, call.keep(response)).await {
            Ok(Ok(_)) => call.unexpected(),
            Ok(Err(cause)) => call.transport(cause),
            Err(_elapsed) => broken("the server did not finish its answer"),
        };
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS => Trouble::Passing(error, asked.or(Some(MAX_WAIT))),
            StatusCode::SERVICE_UNAVAILABLE => Trouble::Passing(error, asked),
            // a proxy whose server is being replaced
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT if self.began => {
                Trouble::Passing(error, asked)
            }
            _ => Trouble::Lasting(error),
        })
    }
}

impl Connection {
    /// Waits for more; an error when there will be none.
    async fn read(&mut self, client: &Client) -> Result<(), Error> {
        match tokio::time::timeout(MAX_SILENCE, self.response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                self.chunks = self.chunks.saturating_add(1);
                match self.parser.feed(&bytes) {
                    Ok(found) => {
                        self.ready.extend(found);
                        Ok(())
                    }
                    Err(_too_long) => Err(broken("the server sent an event without an end")),
                }
            }
            Ok(Ok(None)) => Err(broken("the server closed the stream")),
            Ok(Err(cause)) => Err(client.call().0.transport(cause)),
            Err(_elapsed) => Err(broken("the server fell silent")),
        }
    }
}

fn broken(message: &str) -> Error {
    Parts::new(ErrorCode::Transport, message).into()
}

/// Whether another server, or the same one later, would go on.
fn passes(reason: &types::EndReason) -> bool {
    matches!(reason, types::EndReason::Shutdown | types::EndReason::Unavailable)
}

fn event(dispatched: Dispatched) -> Result<Event, Error> {
    let Dispatched { event: name, data, id } = dispatched;
    let malformed = |cause: serde_json::Error| {
        let message = format!("the event `{name}` is not one of the Switchy API");
        let mut parts = Parts::new(ErrorCode::MalformedResponse, message);
        parts.source = Some(cause.into());
        Error::from(parts)
    };
    let data: Value = serde_json::from_str(&data).map_err(malformed)?;
    fn part<T: DeserializeOwned>(data: &Value, name: &str) -> serde_json::Result<T> {
        T::deserialize(data.get(name).unwrap_or(&Value::Null))
    }
    let kind = match name.as_str() {
        "message.created" => part(&data, "message").map(EventKind::MessageCreated),
        "reaction.added" => serde_json::from_value(data.clone()).map(EventKind::ReactionAdded),
        "reaction.removed" => serde_json::from_value(data.clone()).map(EventKind::ReactionRemoved),
        "session.updated" => part(&data, "session").map(EventKind::SessionUpdated),
        "session.archived" => part(&data, "session").map(EventKind::SessionArchived),
        "reset" => Ok(EventKind::Reset),
        "end" => part(&data, "reason").map(EventKind::End),
        _ => Ok(EventKind::Other),
    };
    Ok(Event { kind: kind.map_err(malformed)?, id, data, name })
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("slug", &self.slug)
            .field("session_id", &self.session_id)
            .field("last_event_id", &self.last_id)
            .finish_non_exhaustive()
    }
}
