//! Saved sessions: the same sessions as agents and workers keep them.

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use progenitor_client::Error as Failure;
use uuid::Uuid;

use crate::{
    Client, Error, Request,
    envelope::ErrorEnvelope,
    generated,
    request::{idempotency_key, sealed::Run},
    types,
};

/// How many sessions or messages a stream asks for at once, unless told otherwise.
const STREAM_PAGE: u32 = 100;

/// The saved sessions of one workspace: [`Client::saved_sessions`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// use switchy::{Uuid, types::{TranscriptMessageRequest, TranscriptRole}};
///
/// let sessions = client.saved_sessions("engines", "platform-team");
/// let saved = sessions
///     .save(Uuid::new_v4(), "claude-sonnet-4-5")
///     .title("Postgres upgrade")
///     .label("env", ["staging"])
///     .await?;
///
/// let turn = TranscriptMessageRequest::builder()
///     .role(TranscriptRole::User)
///     .content(Some("What would break with Postgres 18?".to_string()));
/// sessions.append(saved.id, [turn.try_into()?]).await?;
///
/// sessions.update(saved.id).share().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SavedSessions<'a> {
    pub(crate) client: &'a Client,
    pub(crate) org: &'a str,
    pub(crate) workspace: &'a str,
}

/// The slugs of an organization and of a workspace in it.
#[derive(Clone, Debug)]
struct Place {
    org: String,
    workspace: String,
}

impl SavedSessions<'_> {
    fn place(&self) -> Place {
        Place { org: self.org.into(), workspace: self.workspace.into() }
    }

    /// The sessions that the caller can see, newest change first.
    pub fn list(&self) -> Request<SavedSessionList> {
        self.client.request(SavedSessionList {
            place: self.place(),
            filters: Filters::default(),
            sort_by: None,
            sort_dir: None,
            page: None,
            limit: None,
        })
    }

    /// How many sessions have which label, agent, model and user.
    pub fn facets(&self) -> Request<SavedSessionFacets> {
        let operation = SavedSessionFacets { place: self.place(), filters: Filters::default() };
        self.client.request(operation)
    }

    /// Saves a session under an id of the caller's choice: makes it, or changes what the same user
    /// saved there before.
    pub fn save(&self, id: Uuid, model: impl Into<String>) -> Request<SavedSessionSave> {
        self.save_as(types::SessionCreateRequest {
            id,
            model: model.into(),
            agent: None,
            title: None,
            message_count: None,
            origin: None,
            visibility: None,
            labels: None,
        })
    }

    /// As [`SavedSessions::save`], with everything at once.
    pub fn save_as(&self, body: types::SessionCreateRequest) -> Request<SavedSessionSave> {
        let operation = SavedSessionSave { place: self.place(), body, idempotency_key: None };
        self.client.request(operation)
    }

    /// One session; archived ones too. The beginning of an id will do, if no other begins so.
    pub fn view(&self, id: impl Into<String>) -> Request<SavedSessionView> {
        self.client.request(SavedSessionView { place: self.place(), id: id.into() })
    }

    /// Changes a session; what is not set stays.
    pub fn update(&self, id: impl Into<String>) -> Request<SavedSessionUpdate> {
        let body = types::SessionUpdateRequest {
            agent: None,
            model: None,
            title: None,
            message_count: None,
            labels: None,
            visibility: None,
        };
        self.client.request(SavedSessionUpdate { place: self.place(), id: id.into(), body })
    }

    /// Archives a session: it can still be read, but is listed no more. Repeating it is no error.
    pub fn archive(&self, id: impl Into<String>) -> Request<SavedSessionArchive> {
        let operation =
            SavedSessionArchive { place: self.place(), id: id.into(), idempotency_key: None };
        self.client.request(operation)
    }

    /// Brings an archived session back. Repeating it is no error.
    pub fn unarchive(&self, id: impl Into<String>) -> Request<SavedSessionUnarchive> {
        let operation =
            SavedSessionUnarchive { place: self.place(), id: id.into(), idempotency_key: None };
        self.client.request(operation)
    }

    /// Appends messages to a session's transcript, 1 to 200 at once, all of them or none. Those
    /// with an id that is there already are left out.
    pub fn append(
        &self,
        id: impl Into<String>,
        messages: impl IntoIterator<Item = types::TranscriptMessageRequest>,
    ) -> Request<TranscriptAppend> {
        let messages = messages.into_iter().collect();
        self.client.request(TranscriptAppend {
            place: self.place(),
            id: id.into(),
            body: types::TranscriptAppendRequest { messages },
            idempotency_key: None,
        })
    }

    /// Everything that was said in a session, oldest first.
    pub fn transcript(&self, id: impl Into<String>) -> Request<Transcript> {
        let operation = Transcript { place: self.place(), id: id.into(), page: None, limit: None };
        self.client.request(operation)
    }
}

/// Which sessions a list or the facets are about.
#[derive(Clone, Debug, Default)]
struct Filters {
    users: Vec<String>,
    agents: Vec<String>,
    models: Vec<String>,
    origins: Vec<String>,
    labels: Vec<String>,
    archived: Option<types::ArchivedFilter>,
    search: Option<String>,
    include_workload_sessions: Option<bool>,
}

/// Nothing where nothing was asked: an empty list is no filter.
fn given(values: Vec<String>) -> Option<Vec<String>> {
    Some(values).filter(|values| !values.is_empty())
}

macro_rules! with_filters {
    ($($operation:ident),*) => {$(
        impl Request<$operation> {
            /// Only sessions that this user saved: an id, an e-mail address, or the part of it
            /// before the `@`. Once more for another user: either will do.
            pub fn user(mut self, user: impl Into<String>) -> Self {
                self.operation.filters.users.push(user.into());
                self
            }

            /// Only sessions of this agent. Once more for another one: either will do.
            pub fn agent(mut self, agent: impl Into<String>) -> Self {
                self.operation.filters.agents.push(agent.into());
                self
            }

            /// Only sessions of this model. Once more for another one: either will do.
            pub fn model(mut self, model: impl Into<String>) -> Self {
                self.operation.filters.models.push(model.into());
                self
            }

            /// Only sessions of this origin. Once more for another one: either will do.
            pub fn origin(mut self, origin: types::SessionOrigin) -> Self {
                self.operation.filters.origins.push(origin.to_string());
                self
            }

            /// Only sessions with this label. Of one key any of the values will do; every key must
            /// be met.
            pub fn label(mut self, key: &str, value: &str) -> Self {
                self.operation.filters.labels.push(format!("{key}:{value}"));
                self
            }

            /// Archived sessions too, or alone.
            pub fn archived(mut self, archived: types::ArchivedFilter) -> Self {
                self.operation.filters.archived = Some(archived);
                self
            }

            /// Only sessions in whose title, model, agent, labels or preview all of these words
            /// occur: up to 200 characters.
            pub fn search(mut self, words: impl Into<String>) -> Self {
                self.operation.filters.search = Some(words.into());
                self
            }

            /// Evaluation runs too.
            pub fn include_workload_sessions(mut self) -> Self {
                self.operation.filters.include_workload_sessions = Some(true);
                self
            }
        }
    )*};
}

with_filters!(SavedSessionList, SavedSessionFacets);

/// Puts the filters into a generated request.
macro_rules! filtered {
    ($request:expr, $filters:expr) => {{
        let (mut request, filters) = ($request, $filters);
        if let Some(users) = given(filters.users) {
            request = request.user(users);
        }
        if let Some(agents) = given(filters.agents) {
            request = request.agent(agents);
        }
        if let Some(models) = given(filters.models) {
            request = request.model(models);
        }
        if let Some(origins) = given(filters.origins) {
            request = request.origin(origins);
        }
        if let Some(labels) = given(filters.labels) {
            request = request.label(labels);
        }
        if let Some(archived) = filters.archived {
            request = request.archived(archived);
        }
        if let Some(search) = filters.search {
            request = request.search(search);
        }
        if let Some(include) = filters.include_workload_sessions {
            request = request.include_workload_sessions(include);
        }
        request
    }};
}

/// `GET /v1/org/{org}/ws/{workspace}/sessions`: see [`SavedSessions::list`].
#[derive(Clone, Debug)]
pub struct SavedSessionList {
    place: Place,
    filters: Filters,
    sort_by: Option<types::SessionSort>,
    sort_dir: Option<types::SortDirection>,
    page: Option<u32>,
    limit: Option<u32>,
}

impl Request<SavedSessionList> {
    /// By what the list is sorted; by the last change unless set.
    pub fn sort_by(mut self, by: types::SessionSort) -> Self {
        self.operation.sort_by = Some(by);
        self
    }

    /// In which direction; the newest or largest first unless set.
    pub fn sort_dir(mut self, direction: types::SortDirection) -> Self {
        self.operation.sort_dir = Some(direction);
        self
    }

    /// The number of the page, from 1.
    pub fn page(mut self, page: u32) -> Self {
        self.operation.page = Some(page);
        self
    }

    /// The size of a page, 1 to 100; 20 unless set.
    pub fn limit(mut self, limit: u32) -> Self {
        self.operation.limit = Some(limit);
        self
    }

    /// Every session from this page on, page after page.
    ///
    /// A session that changes meanwhile may move to another page, and be given twice or not at all.
    pub fn stream(self) -> BoxStream<'static, Result<types::SessionResponse, Error>> {
        let first = self.operation.page.unwrap_or(1);
        let limit = self.operation.limit.unwrap_or(STREAM_PAGE);
        let request = self.limit(limit);
        stream::try_unfold(Some(first), move |page| {
            let request = request.clone();
            async move {
                let Some(page) = page else { return Ok(None) };
                let answer = request.page(page).await?;
                let next = answer.has_next.then_some(page + 1);
                Ok::<_, Error>(Some((stream::iter(answer.sessions.into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
        .boxed()
    }
}

impl Run for SavedSessionList {
    type Data = types::SessionListResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.saved_session_list().org(self.place.org);
        let mut request = filtered!(request.workspace(self.place.workspace), self.filters);
        if let Some(by) = self.sort_by {
            request = request.sort_by(by);
        }
        if let Some(direction) = self.sort_dir {
            request = request.sort_dir(direction);
        }
        if let Some(page) = self.page {
            request = request.page(page);
        }
        if let Some(limit) = self.limit {
            request = request.limit(limit);
        }
        Ok(request.send().await?.into_inner())
    }
}

/// `GET /v1/org/{org}/ws/{workspace}/sessions/facets`: see [`SavedSessions::facets`].
#[derive(Clone, Debug)]
pub struct SavedSessionFacets {
    place: Place,
    filters: Filters,
}

impl Run for SavedSessionFacets {
    type Data = types::SessionFacetsResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.saved_session_facets().org(self.place.org);
        let request = filtered!(request.workspace(self.place.workspace), self.filters);
        Ok(request.send().await?.into_inner())
    }
}

/// `POST /v1/org/{org}/ws/{workspace}/sessions`: see [`SavedSessions::save`].
#[derive(Clone, Debug)]
pub struct SavedSessionSave {
    place: Place,
    body: types::SessionCreateRequest,
    idempotency_key: Option<String>,
}

impl Request<SavedSessionSave> {
    /// The agent that was used.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.operation.body.agent = Some(agent.into());
        self
    }

    /// The session's title: at most 255 characters.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.operation.body.title = Some(title.into());
        self
    }

    /// How many messages the session has.
    pub fn message_count(mut self, count: i64) -> Self {
        self.operation.body.message_count = Some(count);
        self
    }

    /// What kind of work it comes from; heeded when the session is new.
    pub fn origin(mut self, origin: types::SessionOrigin) -> Self {
        self.operation.body.origin = Some(origin);
        self
    }

    /// Who sees it; heeded when the session is new. The caller alone unless set.
    pub fn visibility(mut self, visibility: types::SessionVisibility) -> Self {
        self.operation.body.visibility = Some(visibility);
        self
    }

    /// The values of one label; other labels that are set here stay.
    pub fn label<T: Into<String>>(
        mut self,
        key: impl Into<String>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.operation.body.labels.get_or_insert_default().insert(key.into(), values);
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for SavedSessionSave {
    type Data = types::SessionResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.saved_session_save().org(self.place.org);
        let request = request.workspace(self.place.workspace).idempotency_key(key).body(self.body);
        Ok(request.send().await?.into_inner())
    }
}

/// `GET /v1/org/{org}/ws/{workspace}/sessions/{session_id}`: see [`SavedSessions::view`].
#[derive(Clone, Debug)]
pub struct SavedSessionView {
    place: Place,
    id: String,
}

impl Run for SavedSessionView {
    type Data = types::SessionResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.saved_session_view().org(self.place.org);
        let request = request.workspace(self.place.workspace).session_id(self.id);
        Ok(request.send().await?.into_inner())
    }
}

/// `PATCH /v1/org/{org}/ws/{workspace}/sessions/{session_id}`: see [`SavedSessions::update`].
#[derive(Clone, Debug)]
pub struct SavedSessionUpdate {
    place: Place,
    id: String,
    body: types::SessionUpdateRequest,
}

impl Request<SavedSessionUpdate> {
    /// The agent that was used.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.operation.body.agent = Some(agent.into());
        self
    }

    /// The model that was used.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.operation.body.model = Some(model.into());
        self
    }

    /// The new title: at most 255 characters.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.operation.body.title = Some(title.into());
        self
    }

    /// How many messages the session has.
    pub fn message_count(mut self, count: i64) -> Self {
        self.operation.body.message_count = Some(count);
        self
    }

    /// Replaces all labels but the reserved ones (`capability`, `capability_version`, `worker`).
    pub fn labels<K, T>(mut self, labels: impl IntoIterator<Item = (K, Vec<T>)>) -> Self
    where
        K: Into<String>,
        T: Into<String>,
    {
        let labels = labels
            .into_iter()
            .map(|(key, values)| (key.into(), values.into_iter().map(Into::into).collect()));
        self.operation.body.labels = Some(labels.collect());
        self
    }

    /// Lets the members of the workspace see the session, for good. Its creator alone may.
    pub fn share(mut self) -> Self {
        self.operation.body.visibility = Some(types::SessionVisibility::Workspace);
        self
    }
}

impl Run for SavedSessionUpdate {
    type Data = types::SessionResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.saved_session_update().org(self.place.org);
        let request = request.workspace(self.place.workspace).session_id(self.id).body(self.body);
        Ok(request.send().await?.into_inner())
    }
}

/// `POST /v1/org/{org}/ws/{workspace}/sessions/{session_id}/archive`: see
/// [`SavedSessions::archive`].
#[derive(Clone, Debug)]
pub struct SavedSessionArchive {
    place: Place,
    id: String,
    idempotency_key: Option<String>,
}

impl Run for SavedSessionArchive {
    type Data = types::SessionResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.saved_session_archive().org(self.place.org).idempotency_key(key);
        let request = request.workspace(self.place.workspace).session_id(self.id);
        Ok(request.send().await?.into_inner())
    }
}

/// `POST /v1/org/{org}/ws/{workspace}/sessions/{session_id}/unarchive`: see
/// [`SavedSessions::unarchive`].
#[derive(Clone, Debug)]
pub struct SavedSessionUnarchive {
    place: Place,
    id: String,
    idempotency_key: Option<String>,
}

impl Run for SavedSessionUnarchive {
    type Data = types::SessionResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.saved_session_unarchive().org(self.place.org).idempotency_key(key);
        let request = request.workspace(self.place.workspace).session_id(self.id);
        Ok(request.send().await?.into_inner())
    }
}

/// `POST /v1/org/{org}/ws/{workspace}/sessions/{session_id}/transcript`: see
/// [`SavedSessions::append`].
#[derive(Clone, Debug)]
pub struct TranscriptAppend {
    place: Place,
    id: String,
    body: types::TranscriptAppendRequest,
    idempotency_key: Option<String>,
}

macro_rules! with_idempotency_key {
    ($($operation:ident),*) => {$(
        impl Request<$operation> {
            /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call
            /// alone.
            pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
                self.operation.idempotency_key = Some(key.into());
                self
            }
        }
    )*};
}

with_idempotency_key!(SavedSessionArchive, SavedSessionUnarchive, TranscriptAppend);

impl Run for TranscriptAppend {
    type Data = types::TranscriptAppendResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.saved_session_transcript_append().org(self.place.org);
        let request = request.workspace(self.place.workspace).session_id(self.id);
        let request = request.idempotency_key(key).body(self.body);
        Ok(request.send().await?.into_inner())
    }
}

/// `GET /v1/org/{org}/ws/{workspace}/sessions/{session_id}/transcript`: see
/// [`SavedSessions::transcript`].
#[derive(Clone, Debug)]
pub struct Transcript {
    place: Place,
    id: String,
    page: Option<u32>,
    limit: Option<u32>,
}

impl Request<Transcript> {
    /// The number of the page, from 1.
    pub fn page(mut self, page: u32) -> Self {
        self.operation.page = Some(page);
        self
    }

    /// The size of a page, 1 to 100; 50 unless set.
    pub fn limit(mut self, limit: u32) -> Self {
        self.operation.limit = Some(limit);
        self
    }

    /// Every message from this page on, page after page.
    pub fn stream(self) -> BoxStream<'static, Result<types::TranscriptMessage, Error>> {
        let first = self.operation.page.unwrap_or(1);
        let limit = self.operation.limit.unwrap_or(STREAM_PAGE);
        let request = self.limit(limit);
        stream::try_unfold(Some(first), move |page| {
            let request = request.clone();
            async move {
                let Some(page) = page else { return Ok(None) };
                let answer = request.page(page).await?;
                let next = answer.has_next.then_some(page + 1);
                Ok::<_, Error>(Some((stream::iter(answer.messages.into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
        .boxed()
    }
}

impl Run for Transcript {
    type Data = types::TranscriptResponse;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.saved_session_transcript().org(self.place.org);
        let mut request = request.workspace(self.place.workspace).session_id(self.id);
        if let Some(page) = self.page {
            request = request.page(page);
        }
        if let Some(limit) = self.limit {
            request = request.limit(limit);
        }
        Ok(request.send().await?.into_inner())
    }
}
