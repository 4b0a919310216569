//! The client and how it is made.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    Billing, Delegations, Invitations, Keys, Members, Memory, Messages, Request, SavedSessions,
    Sessions, SpaceMembers, Spaces,
    call::{Call, Settings, Sleep},
    generated,
    invitations::InvitationAccept,
    messages::MessageSearch,
    retry::DEFAULT_MAX_RETRIES,
    system::{Health, McpOpenApi, Me, OpenApi, Ready},
};
use crate::{McpServers, SpaceMcps};

/// Where the hosted service answers.
pub const DEFAULT_BASE_URL: &str = "https://switchy.build/api";

/// How long a try may take, unless the builder says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one server, with one API key. Cheap to clone: clones share their connections.
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = doc_server::start().await;
/// # let (base_url, key) = (server.uri() + "/api", "sk_live_example");
/// let client = switchy::Client::new(base_url, key)?;
/// let me = client.me().await?;
/// println!("{} of {}", me.user.email, me.organization.name);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    base_url: Arc<str>,
    http: reqwest::Client,
    settings: Arc<Settings>,
}

impl Client {
    /// A client of the server whose API is at `base_url` (`https://switchy.example/api`).
    ///
    /// # Errors
    ///
    /// When the URL or the key cannot be used; nothing is sent yet.
    pub fn new(
        base_url: impl Into<String>,
        api_key: impl Into<SecretString>,
    ) -> Result<Self, BuildError> {
        Self::builder().base_url(base_url).api_key(api_key).build()
    }

    /// A client with other settings than the usual ones.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            base_url: DEFAULT_BASE_URL.to_string(),
            api_key: None,
            timeout: DEFAULT_TIMEOUT,
            max_retries: DEFAULT_MAX_RETRIES,
            http: None,
            sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
        }
    }

    /// Where the API is, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The Spaces of the key's user.
    pub fn spaces(&self) -> Spaces<'_> {
        Spaces { client: self }
    }

    /// Who is in the Space with this id.
    pub fn space_members<'a>(&'a self, space_id: &'a str) -> SpaceMembers<'a> {
        SpaceMembers { client: self, space: space_id }
    }

    /// The API keys of the organization.
    pub fn keys(&self) -> Keys<'_> {
        Keys { client: self }
    }

    /// The keys of others that may reach what is the caller's alone.
    pub fn delegations(&self) -> Delegations<'_> {
        Delegations { client: self }
    }

    /// The sessions of the Space with this slug.
    pub fn sessions<'a>(&'a self, slug: &'a str) -> Sessions<'a> {
        Sessions { client: self, slug }
    }

    /// The saved sessions of a workspace: the sessions of the Space with this slug, in the
    /// organization with that one, which must be the key's.
    pub fn saved_sessions<'a>(&'a self, org: &'a str, workspace: &'a str) -> SavedSessions<'a> {
        SavedSessions { client: self, org, workspace }
    }

    /// The messages of the session with this id, in the Space with this slug.
    pub fn messages<'a>(&'a self, slug: &'a str, session_id: &'a str) -> Messages<'a> {
        Messages { client: self, slug, session_id }
    }

    /// Finds what was said in the sessions of the Space with this slug, by its words.
    ///
    /// ```
    /// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (_server, client) = doc_server::client().await?;
    /// for hit in client.search_messages("platform-team", "Postgres 18").limit(5).await? {
    ///     println!("{:.2} {}", hit.score, hit.message.body);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn search_messages(
        &self,
        slug: impl Into<String>,
        query: impl Into<String>,
    ) -> Request<MessageSearch> {
        self.request(MessageSearch::new(slug.into(), query.into()))
    }

    /// The notes that the key's user can see.
    pub fn memory(&self) -> Memory<'_> {
        Memory { client: self }
    }

    /// The integrations (MCP servers) of the organization.
    pub fn mcp_servers(&self) -> McpServers<'_> {
        McpServers { client: self }
    }

    /// The integrations of the Space with this slug.
    pub fn space_mcps<'a>(&'a self, slug: &'a str) -> SpaceMcps<'a> {
        SpaceMcps { client: self, slug }
    }

    /// The members of the organization with this id: the key's own, [`Client::me`] tells it.
    pub fn members<'a>(&'a self, org_id: &'a str) -> Members<'a> {
        Members { client: self, org_id }
    }

    /// The invitations into the organization with this id: the key's own.
    pub fn invitations<'a>(&'a self, org_id: &'a str) -> Invitations<'a> {
        Invitations { client: self, org_id }
    }

    /// Joins the organization that the invitation with this token leads into, whichever the key is
    /// for. The key's user must be the one who was invited.
    pub fn accept_invitation(&self, token: impl Into<SecretString>) -> Request<InvitationAccept> {
        self.request(InvitationAccept { token: token.into(), idempotency_key: None })
    }

    /// Plan and credits of the key's organization.
    pub fn billing(&self) -> Billing<'_> {
        Billing { client: self }
    }

    /// The user, organization, role, scopes and Spaces of the key.
    pub fn me(&self) -> Request<Me> {
        self.request(Me(()))
    }

    /// Whether the server's process is alive. Needs no key.
    pub fn health(&self) -> Request<Health> {
        self.request(Health(()))
    }

    /// Whether the server can serve requests: status 503 until then. Needs no key.
    pub fn ready(&self) -> Request<Ready> {
        self.request(Ready(()))
    }

    /// The server's OpenAPI 3.1 document. Needs no key.
    pub fn openapi(&self) -> Request<OpenApi> {
        self.request(OpenApi(()))
    }

    /// The OpenAPI 3.1 document of the server's MCP endpoint. Needs no key.
    pub fn mcp_openapi(&self) -> Request<McpOpenApi> {
        self.request(McpOpenApi(()))
    }

    pub(crate) fn request<O>(&self, operation: O) -> Request<O> {
        Request { client: self.clone(), operation }
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The generated client for one call.
    pub(crate) fn call(&self) -> (Call, generated::Client) {
        let call = Call::new(Arc::clone(&self.settings));
        let api =
            generated::Client::new_with_client(&self.base_url, self.http.clone(), call.clone());
        (call, api)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.base_url)
            .field("timeout", &self.settings.timeout)
            .field("max_retries", &self.settings.max_retries)
            .finish_non_exhaustive()
    }
}

/// Makes a [`Client`].
#[must_use]
pub struct ClientBuilder {
    base_url: String,
    api_key: Option<SecretString>,
    timeout: Duration,
    max_retries: u32,
    http: Option<reqwest::Client>,
    sleep: Sleep,
}

impl ClientBuilder {
    /// Where the API is, `/api` included. [`DEFAULT_BASE_URL`] otherwise.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// The API key, `sk_live_…`. Without one, only [`Client::health`], [`Client::ready`] and
    /// [`Client::openapi`] are answered.
    pub fn api_key(mut self, key: impl Into<SecretString>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// How long one try may take. [`DEFAULT_TIMEOUT`] otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a request is sent again after 429 and 503; 0 for never.
    /// [`DEFAULT_MAX_RETRIES`](crate::DEFAULT_MAX_RETRIES) otherwise.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sends requests with this HTTP client: your own proxy, certificates or pool.
    ///
    /// Let it follow no redirects: the API has none.
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.http = Some(client);
        self
    }

    /// Waits between tries with this, instead of Tokio's timer: to tell the user, or to test.
    pub fn sleep_with<F, Fut>(mut self, sleep: F) -> Self
    where
        F: Fn(Duration) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.sleep = Arc::new(move |time| Box::pin(sleep(time)));
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// When the URL is not an absolute `http` or `https` one without user, query and fragment;
    /// when the key contains what a header cannot; when the system's TLS set-up is unusable.
    pub fn build(self) -> Result<Client, BuildError> {
        let base_url = base_url(&self.base_url)?;
        let authorization = self.api_key.as_ref().map(authorization).transpose()?;
        let http = match self.http {
            Some(http) => http,
            // The API never redirects, and whoever does must not be handed a request.
            None => reqwest::Client::builder()
                .user_agent(concat!("switchy-rust/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(|cause| BuildError(format!("cannot set up HTTP: {cause}")))?,
        };
        let settings = Settings {
            key: self.api_key,
            authorization,
            timeout: self.timeout,
            max_retries: self.max_retries,
            sleep: self.sleep,
        };
        Ok(Client { base_url: base_url.into(), http, settings: Arc::new(settings) })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

fn base_url(given: &str) -> Result<String, BuildError> {
    let unusable = |why: &str| BuildError(format!("the base URL {why}"));
    let url = Url::parse(given.trim())
        .map_err(|cause| unusable(&format!("must be one like {DEFAULT_BASE_URL}: {cause}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unusable("must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unusable("must not contain a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(unusable("must end with its path, without `?` and `#`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_string())
}

fn authorization(key: &SecretString) -> Result<HeaderValue, BuildError> {
    let key = key.expose_secret();
    let visible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
        .ok()
        .filter(|_| visible)
        .ok_or_else(|| BuildError("the API key must be one word of ASCII characters".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why a [`Client`] cannot be made. Never contains the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError(String);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BuildError {}
