//! Spaces.

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use progenitor_client::Error as Failure;

use crate::{
    Client, Error, Request,
    envelope::ErrorEnvelope,
    generated,
    request::{idempotency_key, sealed::Run},
    types,
};

/// How many Spaces a stream asks for at once, unless told otherwise: the most that the API gives.
const STREAM_PAGE: u32 = 100;

/// The Spaces of the key's user: [`Client::spaces`].
#[derive(Clone, Copy, Debug)]
pub struct Spaces<'a> {
    pub(crate) client: &'a Client,
}

impl Spaces<'_> {
    /// The Spaces that the caller is a member of, newest change first.
    ///
    /// ```
    /// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (_server, client) = doc_server::client().await?;
    /// use futures::TryStreamExt;
    ///
    /// let first = client.spaces().list().limit(10).await?;
    /// println!("{} of {}", first.projects.len(), first.total);
    ///
    /// let all: Vec<_> = client.spaces().list().stream().try_collect().await?;
    /// assert_eq!(all.len(), first.total as usize);
    /// # Ok(())
    /// # }
    /// ```
    pub fn list(&self) -> Request<SpaceList> {
        self.client.request(SpaceList::default())
    }

    /// Makes a Space; the caller becomes its OWNER.
    pub fn create(&self, name: impl Into<String>) -> Request<SpaceCreate> {
        let body = types::SpaceCreate { name: name.into(), description: None, tags: None };
        self.client.request(SpaceCreate { body, idempotency_key: None })
    }

    /// One Space, by its id.
    pub fn view(&self, id: impl Into<String>) -> Request<SpaceView> {
        self.client.request(SpaceView { id: id.into() })
    }

    /// Changes a Space; what is not set stays. Its slug never changes.
    ///
    /// ```
    /// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (_server, client) = doc_server::client().await?;
    /// let space = client.spaces().create("Platform team").await?;
    /// client.spaces().update(&space.id).description("Everything that runs").await?;
    /// client.spaces().archive(space.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn update(&self, id: impl Into<String>) -> Request<SpaceUpdate> {
        let body =
            types::SpaceUpdate { name: None, description: None, tags: None, default_model: None };
        self.client.request(SpaceUpdate { id: id.into(), body })
    }

    /// Archives a Space: nobody sees it any more, nor its sessions and notes, and its slug stays
    /// taken.
    pub fn archive(&self, id: impl Into<String>) -> Request<SpaceArchive> {
        self.client.request(SpaceArchive { id: id.into() })
    }
}

/// `GET /projects`: see [`Spaces::list`].
#[derive(Clone, Debug, Default)]
pub struct SpaceList {
    page: Option<u32>,
    limit: Option<u32>,
}

impl Request<SpaceList> {
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

    /// Every Space from this page on, page after page.
    ///
    /// A Space that changes meanwhile moves to the first page, and may so be given twice.
    pub fn stream(self) -> BoxStream<'static, Result<types::Space, Error>> {
        let limit = self.operation.limit.unwrap_or(STREAM_PAGE);
        let first = self.operation.page.unwrap_or(1);
        let request = self.limit(limit);
        stream::try_unfold(Some(first), move |page| {
            let request = request.clone();
            async move {
                let Some(page) = page else { return Ok(None) };
                let answer = request.page(page).await?;
                let more = u64::from(page) * u64::from(limit) < u64::from(answer.total)
                    && !answer.projects.is_empty();
                let items = stream::iter(answer.projects.into_iter().map(Ok));
                Ok::<_, Error>(Some((items, more.then_some(page + 1))))
            }
        })
        .try_flatten()
        .boxed()
    }
}

impl Run for SpaceList {
    type Data = types::SpacePage;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let mut request = api.space_list();
        if let Some(page) = self.page {
            request = request.page(page);
        }
        if let Some(limit) = self.limit {
            request = request.limit(limit);
        }
        Ok(request.send().await?.into_inner().data)
    }
}

/// `POST /projects`: see [`Spaces::create`].
#[derive(Clone, Debug)]
pub struct SpaceCreate {
    body: types::SpaceCreate,
    idempotency_key: Option<String>,
}

impl Request<SpaceCreate> {
    /// What the Space is for: at most 1,000 characters.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.operation.body.description = Some(description.into());
        self
    }

    /// Words to find it by: at most 20, of 1 to 50 characters each.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.operation.body.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for SpaceCreate {
    type Data = types::Space;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let answer = api.space_create().idempotency_key(key).body(self.body).send().await?;
        Ok(answer.into_inner().data.project)
    }
}

/// `GET /projects/{projectId}`: see [`Spaces::view`].
#[derive(Clone, Debug)]
pub struct SpaceView {
    id: String,
}

impl Run for SpaceView {
    type Data = types::Space;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.space_view().project_id(self.id).send().await?.into_inner().data.project)
    }
}

/// `PATCH /projects/{projectId}`: see [`Spaces::update`].
#[derive(Clone, Debug)]
pub struct SpaceUpdate {
    id: String,
    body: types::SpaceUpdate,
}

impl Request<SpaceUpdate> {
    /// The new name: 1 to 100 characters.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.operation.body.name = Some(name.into());
        self
    }

    /// What it is for now: at most 1,000 characters; an empty text clears it.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.operation.body.description = Some(description.into());
        self
    }

    /// All of its tags from now on: at most 20, of 1 to 50 characters each; none clear them.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.operation.body.tags = Some(tags.into_iter().map(Into::into).collect());
        self
    }

    /// The model that new sessions use unless they name one; an empty text clears it.
    pub fn default_model(mut self, model: impl Into<String>) -> Self {
        self.operation.body.default_model = Some(model.into());
        self
    }
}

impl Run for SpaceUpdate {
    type Data = types::Space;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.space_update().project_id(self.id).body(self.body);
        Ok(request.send().await?.into_inner().data.project)
    }
}

/// `DELETE /projects/{projectId}`: see [`Spaces::archive`].
#[derive(Clone, Debug)]
pub struct SpaceArchive {
    id: String,
}

impl Run for SpaceArchive {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.space_archive().project_id(self.id).send().await?;
        Ok(())
    }
}
