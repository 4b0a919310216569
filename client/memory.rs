//! Notes.

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use progenitor_client::Error as Failure;

use crate::{
    Client, Error, Request,
    envelope::ErrorEnvelope,
    generated,
    request::{idempotency_key, sealed::Run},
    types::{self, Visibility},
};

/// How many notes a stream asks for at once, unless told otherwise: the most that the API gives.
const STREAM_PAGE: u32 = 100;

/// The notes that the key's user can see: [`Client::memory`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// use switchy::types::Visibility;
///
/// let note = client
///     .memory()
///     .create("Staging deploys happen on Tuesdays.", Visibility::Org)
///     .tags(["deploys"])
///     .await?;
/// let found = client.memory().search("when do we deploy?").limit(5).await?;
/// for hit in found.results {
///     println!("{:.2} {}", hit.score, hit.memory.content);
/// }
/// client.memory().delete(note.id).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    pub(crate) client: &'a Client,
}

impl Memory<'_> {
    /// The notes that the caller can see, newest first.
    pub fn list(&self) -> Request<MemoryList> {
        self.client.request(MemoryList::default())
    }

    /// Writes a note of 1 to 10,000 characters. `SPACE` needs [`space`](Request::space) too.
    pub fn create(
        &self,
        content: impl Into<String>,
        visibility: Visibility,
    ) -> Request<MemoryCreate> {
        let body = types::MemoryCreate {
            content: content.into(),
            visibility,
            space_id: None,
            tags: None,
            source_url: None,
        };
        self.client.request(MemoryCreate { body, idempotency_key: None })
    }

    /// One note, by its id.
    pub fn view(&self, id: impl Into<String>) -> Request<MemoryView> {
        self.client.request(MemoryView { id: id.into() })
    }

    /// Changes a note of one's own; what is not set stays.
    ///
    /// ```
    /// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (_server, client) = doc_server::client().await?;
    /// # let id = "cmo5w1c2t8zq4k7n3x9b6d0fh";
    /// use switchy::types::Visibility;
    ///
    /// client.memory().update(id).visibility(Visibility::Org).tags(["deploys"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn update(&self, id: impl Into<String>) -> Request<MemoryUpdate> {
        let body = types::MemoryUpdate {
            content: None,
            tags: None,
            source_url: None,
            visibility: None,
            space_id: None,
        };
        self.client.request(MemoryUpdate { id: id.into(), body })
    }

    /// Writes 1 to 100 notes, all or none, which counts as one write. What comes back is in the
    /// order given; what is wrong with one is at `memories[3].content`.
    ///
    /// ```
    /// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (_server, client) = doc_server::client().await?;
    /// use switchy::types::{MemoryCreate, Visibility};
    ///
    /// let note = |content: &str| MemoryCreate {
    ///     content: content.into(),
    ///     visibility: Visibility::Private,
    ///     space_id: None,
    ///     tags: None,
    ///     source_url: None,
    /// };
    /// let written = client.memory().create_batch([note("Buy milk."), note("Call Grace.")]).await?;
    /// # assert!(!written.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn create_batch(
        &self,
        notes: impl IntoIterator<Item = types::MemoryCreate>,
    ) -> Request<MemoryBatch> {
        let body = types::MemoryBatch { memories: notes.into_iter().collect() };
        self.client.request(MemoryBatch { body, idempotency_key: None })
    }

    /// Deletes a note for good.
    pub fn delete(&self, id: impl Into<String>) -> Request<MemoryDelete> {
        self.client.request(MemoryDelete { id: id.into() })
    }

    /// Finds notes by their meaning; a question will do.
    pub fn search(&self, query: impl Into<String>) -> Request<MemorySearch> {
        self.client.request(MemorySearch { query: query.into(), ..MemorySearch::default() })
    }
}

/// `GET /memory`: see [`Memory::list`].
#[derive(Clone, Debug, Default)]
pub struct MemoryList {
    visibility: Option<Visibility>,
    space_id: Option<String>,
    tag: Option<String>,
    author_user_id: Option<String>,
    before: Option<String>,
    limit: Option<u32>,
}

impl Request<MemoryList> {
    /// Only notes of this visibility.
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.operation.visibility = Some(visibility);
        self
    }

    /// Only the `SPACE` notes of the Space with this id.
    pub fn space(mut self, id: impl Into<String>) -> Self {
        self.operation.space_id = Some(id.into());
        self
    }

    /// Only notes with this tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.operation.tag = Some(tag.into());
        self
    }

    /// Only notes by the user with this id.
    pub fn author(mut self, user_id: impl Into<String>) -> Self {
        self.operation.author_user_id = Some(user_id.into());
        self
    }

    /// Only notes older than the one with this id.
    pub fn before(mut self, id: impl Into<String>) -> Self {
        self.operation.before = Some(id.into());
        self
    }

    /// Maximum number of notes to return, 1 to 100; 20 if not set.
    pub fn limit(mut self, limit: u32) -> Self {
        self.operation.limit = Some(limit);
        self
    }

    /// Every note that matches, newest first, page after page of `limit` notes.
    pub fn stream(self) -> BoxStream<'static, Result<types::Memory, Error>> {
        let limit = self.operation.limit.unwrap_or(STREAM_PAGE);
        stream::try_unfold(Some(self.limit(limit)), move |request| async move {
            let Some(request) = request else { return Ok(None) };
            let answer = request.clone().await?;
            // A page that is not full is the last one.
            let full = answer.memories.len() >= limit as usize;
            let last = answer.memories.last().filter(|_| full).map(|note| note.id.clone());
            let items = stream::iter(answer.memories.into_iter().map(Ok));
            Ok::<_, Error>(Some((items, last.map(|id| request.before(id)))))
        })
        .try_flatten()
        .boxed()
    }
}

impl Run for MemoryList {
    type Data = types::MemoryPage;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let mut request = api.memory_list();
        if let Some(visibility) = self.visibility {
            request = request.visibility(visibility);
        }
        if let Some(space_id) = self.space_id {
            request = request.space_id(space_id);
        }
        if let Some(tag) = self.tag {
            request = request.tag(tag);
        }
        if let Some(author) = self.author_user_id {
            request = request.author_user_id(author);
        }
        if let Some(before) = self.before {
            request = request.before(before);
        }
        if let Some(limit) = self.limit {
            request = request.limit(limit);
        }
        Ok(request.send().await?.into_inner().data)
    }
}

/// `POST /memory`: see [`Memory::create`].
#[derive(Clone, Debug)]
pub struct MemoryCreate {
    body: types::MemoryCreate,
    idempotency_key: Option<String>,
}

impl Request<MemoryCreate> {
    /// The id of the Space that the note belongs to: with `SPACE`, and only there.
    pub fn space(mut self, id: impl Into<String>) -> Self {
        self.operation.body.space_id = Some(id.into());
        self
    }

    /// Words to find it by: at most 20, of 1 to 50 characters each.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.operation.body.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Where it comes from: an http or https URL.
    pub fn source_url(mut self, url: impl Into<String>) -> Self {
        self.operation.body.source_url = Some(url.into());
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for MemoryCreate {
    type Data = types::Memory;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let answer = api.memory_create().idempotency_key(key).body(self.body).send().await?;
        Ok(answer.into_inner().data.memory)
    }
}

/// `GET /memory/{memoryId}`: see [`Memory::view`].
#[derive(Clone, Debug)]
pub struct MemoryView {
    id: String,
}

impl Run for MemoryView {
    type Data = types::Memory;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.memory_view().memory_id(self.id).send().await?.into_inner().data.memory)
    }
}

/// `PATCH /memory/{memoryId}`: see [`Memory::update`].
#[derive(Clone, Debug)]
pub struct MemoryUpdate {
    id: String,
    body: types::MemoryUpdate,
}

impl Request<MemoryUpdate> {
    /// What it says now: 1 to 10,000 characters.
    pub fn content(mut self, content: impl Into<String>) -> Self {
        self.operation.body.content = Some(content.into());
        self
    }

    /// All of its tags from now on: at most 20, of 1 to 50 characters each; none clear them.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.operation.body.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Where it comes from: an http or https URL; an empty text clears it.
    pub fn source_url(mut self, url: impl Into<String>) -> Self {
        self.operation.body.source_url = Some(url.into());
        self
    }

    /// Who sees it from now on; `SPACE` needs [`space`](Request::space) too.
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.operation.body.visibility = Some(visibility);
        self
    }

    /// The id of the Space that it belongs to from now on.
    pub fn space(mut self, id: impl Into<String>) -> Self {
        self.operation.body.space_id = Some(id.into());
        self
    }
}

impl Run for MemoryUpdate {
    type Data = types::Memory;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.memory_update().memory_id(self.id).body(self.body);
        Ok(request.send().await?.into_inner().data.memory)
    }
}

/// `POST /memory/batch`: see [`Memory::create_batch`].
#[derive(Clone, Debug)]
pub struct MemoryBatch {
    body: types::MemoryBatch,
    idempotency_key: Option<String>,
}

impl Request<MemoryBatch> {
    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for MemoryBatch {
    type Data = Vec<types::Memory>;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let answer = api.memory_batch().idempotency_key(key).body(self.body).send().await?;
        Ok(answer.into_inner().data.memories)
    }
}

/// `DELETE /memory/{memoryId}`: see [`Memory::delete`].
#[derive(Clone, Debug)]
pub struct MemoryDelete {
    id: String,
}

impl Run for MemoryDelete {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.memory_delete().memory_id(self.id).send().await?;
        Ok(())
    }
}

/// `POST /memory/search`: see [`Memory::search`].
#[derive(Clone, Debug, Default)]
pub struct MemorySearch {
    query: String,
    space_id: Option<String>,
    visibility: Option<Visibility>,
    author_user_id: Option<String>,
    tags: Option<Vec<String>>,
    created_after: Option<DateTime<Utc>>,
    created_before: Option<DateTime<Utc>>,
    min_score: Option<f64>,
    limit: Option<u32>,
}

impl Request<MemorySearch> {
    /// Only among the `SPACE` notes of the Space with this id.
    pub fn space(mut self, id: impl Into<String>) -> Self {
        self.operation.space_id = Some(id.into());
        self
    }

    /// Only among notes of this visibility.
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.operation.visibility = Some(visibility);
        self
    }

    /// Only among notes by the user with this id.
    pub fn author(mut self, user_id: impl Into<String>) -> Self {
        self.operation.author_user_id = Some(user_id.into());
        self
    }

    /// Only among notes that have all of these tags: at most 20, of 1 to 50 characters each.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.operation.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Only among notes written then or later.
    pub fn created_after(mut self, at: DateTime<Utc>) -> Self {
        self.operation.created_after = Some(at);
        self
    }

    /// Only among notes written earlier.
    pub fn created_before(mut self, at: DateTime<Utc>) -> Self {
        self.operation.created_before = Some(at);
        self
    }

    /// Leaves out what fits worse than this, 0 to 1.
    pub fn min_score(mut self, score: f64) -> Self {
        self.operation.min_score = Some(score);
        self
    }

    /// At most so many results, 1 to 100; 20 unless set.
    pub fn limit(mut self, limit: u32) -> Self {
        self.operation.limit = Some(limit);
        self
    }
}

impl Run for MemorySearch {
    type Data = types::MemoryResults;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let mut body = types::MemorySearch::builder()
            .query(self.query)
            .space_id(self.space_id)
            .visibility(self.visibility)
            .author_user_id(self.author_user_id)
            .tags(self.tags)
            .created_after(self.created_after)
            .created_before(self.created_before)
            .min_score(self.min_score);
        if let Some(limit) = self.limit {
            body = body.limit(limit);
        }
        Ok(api.memory_search().body(body).send().await?.into_inner().data)
    }
}
