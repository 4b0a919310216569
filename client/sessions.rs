//! Sessions of a Space.

use progenitor_client::Error as Failure;

use crate::{
    Client, Request,
    envelope::ErrorEnvelope,
    generated,
    pages::{Part, paged},
    request::{idempotency_key, sealed::Run},
    types,
};

/// The sessions of one Space: [`Client::sessions`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// let sessions = client.sessions("platform-team");
/// let session = sessions.create("Postgres upgrade").description("14 to 18").await?;
/// let session = sessions.update(&session.id).title("Postgres 18").await?;
/// sessions.archive(&session.id).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sessions<'a> {
    pub(crate) client: &'a Client,
    pub(crate) slug: &'a str,
}

impl Sessions<'_> {
    /// The live sessions, newest change first.
    pub fn list(&self) -> Request<SessionList> {
        self.client.request(SessionList {
            slug: self.slug.into(),
            include_eval: None,
            part: Part::default(),
        })
    }

    /// Makes a session; its `title` will be this name.
    pub fn create(&self, name: impl Into<String>) -> Request<SessionCreate> {
        let body = types::SessionCreate {
            name: name.into(),
            description: None,
            default_agent: None,
            participant_user_ids: None,
        };
        self.client.request(SessionCreate { slug: self.slug.into(), body, idempotency_key: None })
    }

    /// One session; archived ones too.
    pub fn view(&self, id: impl Into<String>) -> Request<SessionView> {
        self.client.request(SessionView { slug: self.slug.into(), id: id.into() })
    }

    /// Changes a session; what is not set stays.
    pub fn update(&self, id: impl Into<String>) -> Request<SessionUpdate> {
        let body = types::SessionUpdate { title: None, model: None, visibility: None };
        self.client.request(SessionUpdate { slug: self.slug.into(), id: id.into(), body })
    }

    /// Archives a session: it can still be read, but is listed no more. Repeating it is no error.
    pub fn archive(&self, id: impl Into<String>) -> Request<SessionArchive> {
        self.client.request(SessionArchive { slug: self.slug.into(), id: id.into() })
    }
}

/// `GET /spaces/{slug}/sessions`: see [`Sessions::list`].
#[derive(Clone, Debug)]
pub struct SessionList {
    slug: String,
    include_eval: Option<bool>,
    part: Part,
}

impl Request<SessionList> {
    /// Sessions of evaluation runs too.
    pub fn include_eval(mut self) -> Self {
        self.operation.include_eval = Some(true);
        self
    }
}

paged!(SessionList, types::Session, sessions, id as "id", |list, api| {
    let mut request = api.session_list().slug(list.slug);
    if let Some(include) = list.include_eval {
        request = request.include_eval(include);
    }
    request
});

/// `POST /spaces/{slug}/sessions`: see [`Sessions::create`].
#[derive(Clone, Debug)]
pub struct SessionCreate {
    slug: String,
    body: types::SessionCreate,
    idempotency_key: Option<String>,
}

impl Request<SessionCreate> {
    /// What it is about: at most 1,000 characters.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.operation.body.description = Some(description.into());
        self
    }

    /// The slug of the agent or model that answers by default.
    pub fn default_agent(mut self, slug: impl Into<String>) -> Self {
        self.operation.body.default_agent = Some(slug.into());
        self
    }

    /// Who takes part besides the caller, by user id: members of the Space.
    pub fn participants<T: Into<String>>(mut self, ids: impl IntoIterator<Item = T>) -> Self {
        let ids = ids.into_iter().map(Into::into).collect();
        self.operation.body.participant_user_ids = Some(ids);
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for SessionCreate {
    type Data = types::Session;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.session_create().slug(self.slug).idempotency_key(key).body(self.body);
        Ok(request.send().await?.into_inner().data.session)
    }
}

/// `GET /spaces/{slug}/sessions/{sessionId}`: see [`Sessions::view`].
#[derive(Clone, Debug)]
pub struct SessionView {
    slug: String,
    id: String,
}

impl Run for SessionView {
    type Data = types::Session;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let answer = api.session_view().slug(self.slug).session_id(self.id).send().await?;
        Ok(answer.into_inner().data.session)
    }
}

/// `PATCH /spaces/{slug}/sessions/{sessionId}`: see [`Sessions::update`].
#[derive(Clone, Debug)]
pub struct SessionUpdate {
    slug: String,
    id: String,
    body: types::SessionUpdate,
}

impl Request<SessionUpdate> {
    /// The new title: 1 to 255 characters.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.operation.body.title = Some(title.into());
        self
    }

    /// Lets the members of the Space see a private session, for good. Its creator alone may.
    pub fn share(mut self) -> Self {
        self.operation.body.visibility = Some(types::SessionVisibility::Workspace);
        self
    }

    /// The new default model.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.operation.body.model = Some(model.into());
        self
    }
}

impl Run for SessionUpdate {
    type Data = types::Session;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.session_update().slug(self.slug).session_id(self.id).body(self.body);
        Ok(request.send().await?.into_inner().data.session)
    }
}

/// `DELETE /spaces/{slug}/sessions/{sessionId}`: see [`Sessions::archive`].
#[derive(Clone, Debug)]
pub struct SessionArchive {
    slug: String,
    id: String,
}

impl Run for SessionArchive {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.session_archive().slug(self.slug).session_id(self.id).send().await?;
        Ok(())
    }
}
