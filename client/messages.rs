//! Messages of a session.

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use progenitor_client::Error as Failure;

use crate::{
    Client, Error, Events, Request,
    envelope::ErrorEnvelope,
    generated,
    request::{idempotency_key, sealed::Run},
    types,
};

/// How many messages a stream asks for at once, unless told otherwise: the most that the API gives.
const STREAM_PAGE: u32 = 100;

/// The messages of one session: [`Client::messages`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// # let session_id = "cmo5w1c2t8zq4k7n3x9b6d0fh";
/// let messages = client.messages("platform-team", session_id);
/// let message = messages.send("Shall we go to Postgres 18?").await?;
/// messages.send("Yes.").parent(&message.id).await?;
/// messages.react(&message.id, "👍").await?;
/// for message in messages.list().limit(10).await?.messages {
///     println!("{}", message.body);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a> {
    pub(crate) client: &'a Client,
    pub(crate) slug: &'a str,
    pub(crate) session_id: &'a str,
}

impl Messages<'_> {
    /// What was said, newest first; replies are among the rest.
    pub fn list(&self) -> Request<MessageList> {
        self.client.request(MessageList {
            slug: self.slug.into(),
            session_id: self.session_id.into(),
            before: None,
            limit: None,
        })
    }

    /// Posts a message of 1 to 10,000 characters.
    pub fn send(&self, body: impl Into<String>) -> Request<MessageSend> {
        let body = types::MessageCreate {
            body: body.into(),
            parent_message_id: None,
            author_agent: None,
            model: None,
            usage: None,
        };
        self.client.request(MessageSend {
            slug: self.slug.into(),
            session_id: self.session_id.into(),
            body,
            idempotency_key: None,
        })
    }

    /// Reacts to a message with one of 👍 👎 😄 🎉 😕 ❤️ 🚀 👀. Repeating it is no error.
    pub fn react(
        &self,
        message_id: impl Into<String>,
        emoji: impl Into<String>,
    ) -> Request<ReactionAdd> {
        self.client.request(ReactionAdd {
            slug: self.slug.into(),
            message_id: message_id.into(),
            body: types::ReactionCreate { emoji: emoji.into() },
            idempotency_key: None,
        })
    }

    /// Takes one's reaction back. Repeating it is no error.
    pub fn unreact(
        &self,
        message_id: impl Into<String>,
        emoji: impl Into<String>,
    ) -> Request<ReactionRemove> {
        self.client.request(ReactionRemove {
            slug: self.slug.into(),
            message_id: message_id.into(),
            emoji: emoji.into(),
        })
    }

    /// What happens from now on: messages, reactions, changes of the session.
    ///
    /// ```
    /// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (_server, client) = doc_server::client().await?;
    /// # let session_id = "cmo5w1c2t8zq4k7n3x9b6d0fh";
    /// use futures::TryStreamExt;
    /// use switchy::EventKind;
    ///
    /// let mut events = client.messages("platform-team", session_id).events().stream();
    /// while let Some(event) = events.try_next().await? {
    ///     if let EventKind::MessageCreated(message) = event.kind {
    ///         println!("{}", message.body);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        Events::new(self.client.clone(), self.slug.into(), self.session_id.into())
    }
}

/// `POST /spaces/{slug}/messages/search`: see [`Client::search_messages`].
#[derive(Clone, Debug, Default)]
pub struct MessageSearch {
    slug: String,
    query: String,
    session_id: Option<String>,
    author_user_id: Option<String>,
    author_agent: Option<String>,
    created_after: Option<DateTime<Utc>>,
    created_before: Option<DateTime<Utc>>,
    min_score: Option<f64>,
    context: Option<u32>,
    limit: Option<u32>,
}

impl MessageSearch {
    pub(crate) fn new(slug: String, query: String) -> Self {
        MessageSearch { slug, query, ..MessageSearch::default() }
    }
}

impl Request<MessageSearch> {
    /// Only what was said in the session with this id.
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.operation.session_id = Some(id.into());
        self
    }

    /// Only messages of the user with this id, those of agents on his behalf included.
    pub fn author(mut self, user_id: impl Into<String>) -> Self {
        self.operation.author_user_id = Some(user_id.into());
        self
    }

    /// Only messages of this agent.
    pub fn agent(mut self, slug: impl Into<String>) -> Self {
        self.operation.author_agent = Some(slug.into());
        self
    }

    /// Only what was said then or later.
    pub fn created_after(mut self, at: DateTime<Utc>) -> Self {
        self.operation.created_after = Some(at);
        self
    }

    /// Only what was said earlier.
    pub fn created_before(mut self, at: DateTime<Utc>) -> Self {
        self.operation.created_before = Some(at);
        self
    }

    /// Leaves out what fits worse than this, 0 to 1.
    pub fn min_score(mut self, score: f64) -> Self {
        self.operation.min_score = Some(score);
        self
    }

    /// So many messages before and after each hit come with it, 0 to 5; 1 unless set.
    pub fn context(mut self, turns: u32) -> Self {
        self.operation.context = Some(turns);
        self
    }

    /// At most so many results, 1 to 100; 20 unless set.
    pub fn limit(mut self, limit: u32) -> Self {
        self.operation.limit = Some(limit);
        self
    }
}

impl Run for MessageSearch {
    type Data = Vec<types::MessageMatch>;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let mut body = types::MessageSearch::builder()
            .query(self.query)
            .session_id(self.session_id)
            .author_user_id(self.author_user_id)
            .author_agent(self.author_agent)
            .created_after(self.created_after)
            .created_before(self.created_before)
            .min_score(self.min_score);
        if let Some(turns) = self.context {
            body = body.context(turns);
        }
        if let Some(limit) = self.limit {
            body = body.limit(limit);
        }
        let request = api.message_search().slug(self.slug).body(body);
        Ok(request.send().await?.into_inner().data.results)
    }
}

/// `GET /spaces/{slug}/sessions/{sessionId}/messages`: see [`Messages::list`].
#[derive(Clone, Debug)]
pub struct MessageList {
    slug: String,
    session_id: String,
    before: Option<String>,
    limit: Option<u32>,
}

impl Request<MessageList> {
    /// Only messages older than the one with this id.
    pub fn before(mut self, id: impl Into<String>) -> Self {
        self.operation.before = Some(id.into());
        self
    }

    /// At most so many messages, 1 to 100; 50 unless set.
    pub fn limit(mut self, limit: u32) -> Self {
        self.operation.limit = Some(limit);
        self
    }

    /// Every message, newest first, page after page of `limit` messages.
    pub fn stream(self) -> BoxStream<'static, Result<types::Message, Error>> {
        let limit = self.operation.limit.unwrap_or(STREAM_PAGE);
        stream::try_unfold(Some(self.limit(limit)), move |request| async move {
            let Some(request) = request else { return Ok(None) };
            let answer = request.clone().await?;
            // A page that is not full is the last one.
            let full = answer.messages.len() >= limit as usize;
            let last = answer.messages.last().filter(|_| full).map(|message| message.id.clone());
            let items = stream::iter(answer.messages.into_iter().map(Ok));
            Ok::<_, Error>(Some((items, last.map(|id| request.before(id)))))
        })
        .try_flatten()
        .boxed()
    }
}

impl Run for MessageList {
    type Data = types::MessagePage;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let mut request = api.message_list().slug(self.slug).session_id(self.session_id);
        if let Some(before) = self.before {
            request = request.before(before);
        }
        if let Some(limit) = self.limit {
            request = request.limit(limit);
        }
        Ok(request.send().await?.into_inner().data)
    }
}

/// `POST /spaces/{slug}/sessions/{sessionId}/messages`: see [`Messages::send`].
#[derive(Clone, Debug)]
pub struct MessageSend {
    slug: String,
    session_id: String,
    body: types::MessageCreate,
    idempotency_key: Option<String>,
}

impl Request<MessageSend> {
    /// Replies to the message with this id.
    pub fn parent(mut self, message_id: impl Into<String>) -> Self {
        self.operation.body.parent_message_id = Some(message_id.into());
        self
    }

    /// Posts as this agent, for which the key needs the scope `messages:agent`.
    pub fn agent(mut self, slug: impl Into<String>) -> Self {
        self.operation.body.author_agent = Some(slug.into());
        self
    }

    /// The model that the agent used.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.operation.body.model = Some(model.into());
        self
    }

    /// What it took the agent.
    pub fn usage(mut self, usage: types::MessageUsageCreate) -> Self {
        self.operation.body.usage = Some(usage);
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for MessageSend {
    type Data = types::Message;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.message_send().slug(self.slug).session_id(self.session_id);
        let answer = request.idempotency_key(key).body(self.body).send().await?;
        Ok(answer.into_inner().data.message)
    }
}

/// `POST /spaces/{slug}/messages/{messageId}/reactions`: see [`Messages::react`].
#[derive(Clone, Debug)]
pub struct ReactionAdd {
    slug: String,
    message_id: String,
    body: types::ReactionCreate,
    idempotency_key: Option<String>,
}

impl Request<ReactionAdd> {
    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for ReactionAdd {
    type Data = types::Reaction;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.reaction_add().slug(self.slug).message_id(self.message_id);
        let answer = request.idempotency_key(key).body(self.body).send().await?;
        Ok(answer.into_inner().data.reaction)
    }
}

/// `DELETE /spaces/{slug}/messages/{messageId}/reactions/{emoji}`: see [`Messages::unreact`].
#[derive(Clone, Debug)]
pub struct ReactionRemove {
    slug: String,
    message_id: String,
    emoji: String,
}

impl Run for ReactionRemove {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.reaction_remove().slug(self.slug).message_id(self.message_id);
        request.emoji(self.emoji).send().await?;
        Ok(())
    }
}
