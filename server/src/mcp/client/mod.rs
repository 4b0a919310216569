//! The client for MCP servers of tenants: official protocol library, our own transport.

mod credential;
mod error;
mod transport;

pub use credential::{Credential, MAX_SECRET};
pub use error::{McpFailureCode, UpstreamError};
pub use transport::{MAX_REQUEST, MAX_RESPONSE};

use super::guard::{
    AllowedHosts, CheckedResolver, Guard, Resolver, SystemResolver, Trust, UrlError,
};
use crate::error::{Error, Result as ServerResult};
use rmcp::model::{
    ClientConfig, Implementation, PaginatedRequestParams, ProtocolVersion, ServerPeerInfo, Tool,
};
use rmcp::service::{ClientInitializeError, RunningService, ServiceError, serve_client};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::NeverRetry;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, model::ErrorData};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use transport::{Http, Transport};
use url::Url;

/// How long everything may take that is asked of an MCP server at once, connecting included.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Most tools of one server.
pub const MAX_TOOLS: usize = 1_000;
/// Most pages in which a server may list them.
const MAX_PAGES: usize = 50;
/// Most MCP servers that this process talks to at a time.
const MAX_EXCHANGES: usize = 64;
/// How long an idle connection is kept. Short: its address was looked at when it was made.
const IDLE: Duration = Duration::from_secs(5);

/// How to reach MCP servers.
#[derive(Clone)]
pub struct Outbound {
    /// The operator's list of internal servers.
    pub allowed: AllowedHosts,
    /// Looks names up.
    pub resolver: Arc<dyn Resolver>,
    /// See [`DEADLINE`].
    pub deadline: Duration,
}

impl Default for Outbound {
    fn default() -> Self {
        Outbound {
            allowed: AllowedHosts::default(),
            resolver: Arc::new(SystemResolver),
            deadline: DEADLINE,
        }
    }
}

/// HTTP cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("requests to integrations cannot be set up: {0}")]
pub struct SetupError(String);

/// Makes connections to MCP servers. Cheap to clone: clones share connections and limits.
#[derive(Clone)]
pub struct Upstreams {
    http: Http,
    places: Arc<Semaphore>,
}

/// Certificates as this machine trusts them. Without any, no certificate is valid.
fn tls() -> Result<rustls::ClientConfig, SetupError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| SetupError(e.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn http_client(outbound: &Outbound, trust: Trust) -> Result<reqwest::Client, SetupError> {
    let resolver = CheckedResolver::new(Arc::clone(&outbound.resolver), trust);
    reqwest::Client::builder()
        .user_agent(concat!("switchy/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls()?)
        .dns_resolver(Arc::new(resolver))
        .https_only(trust == Trust::Tenant)
        .redirect(reqwest::redirect::Policy::none())
        // a proxy would resolve and connect in our place
        .no_proxy()
        .referer(false)
        // what is not unpacked cannot be a bomb
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .http1_only()
        .connect_timeout(outbound.deadline)
        .pool_idle_timeout(IDLE)
        .build()
        .map_err(|e| SetupError(e.to_string()))
}

impl Upstreams {
    /// As `outbound` says.
    pub fn new(outbound: Outbound) -> Result<Self, SetupError> {
        let http = Http {
            tenants: http_client(&outbound, Trust::Tenant)?,
            operators: http_client(&outbound, Trust::Operator)?,
            deadline: outbound.deadline,
            guard: Guard::new(outbound.allowed, outbound.resolver),
        };
        Ok(Upstreams { http, places: Arc::new(Semaphore::new(MAX_EXCHANGES)) })
    }

    /// Longest time for whatever is asked of a server at once.
    pub fn deadline(&self) -> Duration {
        self.http.deadline
    }

    /// What is wrong with a URL, its name looked up now; see [`Guard::check`].
    pub async fn check_url(&self, url: &Url) -> Result<(), Vec<UrlError>> {
        match tokio::time::timeout(self.http.deadline, self.http.guard.check(url)).await {
            Ok(checked) => checked.map(drop),
            Err(_) => Err(vec![UrlError::Unresolvable]),
        }
    }

    /// A place among those that talk: 503 when there is none.
    pub fn place(&self) -> ServerResult<tokio::sync::OwnedSemaphorePermit> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Error::unavailable("too many integrations are being called at the moment"))
    }

    /// Connects to a server and introduces ourselves (`initialize`).
    pub async fn connect(
        &self,
        url: Url,
        credential: Credential,
    ) -> Result<Upstream, UpstreamError> {
        let transport = Transport::new(self.http.clone(), url, credential);
        let mut config = StreamableHttpClientTransportConfig::with_uri("")
            .max_sse_event_size(MAX_RESPONSE)
            .max_concurrent_requests(1)
            .reinit_on_expired_session(false);
        config.retry_config = Arc::new(NeverRetry::default());
        let worker = StreamableHttpClientTransport::with_client(transport.clone(), config);
        let us = Implementation::new("switchy", env!("CARGO_PKG_VERSION"));
        let client = ClientConfig::new(Default::default(), us)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE);
        let serving = serve_client(client, worker);
        let service = within(&transport, self.http.deadline, serving, |error| match error {
            ClientInitializeError::JsonRpcError(error) => rejected("initialize", error),
            _ => UpstreamError::protocol("it did not answer initialize as it should"),
        })
        .await?;
        Ok(Upstream { service, transport, deadline: self.http.deadline })
    }
}

/// The error of a JSON-RPC answer: its number, and nothing that the other side wrote.
fn rejected(method: &str, error: &ErrorData) -> UpstreamError {
    UpstreamError::protocol(&format!("it answered {method} with error {}", error.code.0))
}

/// Runs `work` until it ends, a request fails, or the time is up.
async fn within<T, E>(
    transport: &Transport,
    deadline: Duration,
    work: impl Future<Output = Result<T, E>>,
    describe: impl Fn(&E) -> UpstreamError,
) -> Result<T, UpstreamError> {
    let done = async {
        tokio::select! {
            biased;
            done = work => done.map_err(|e| transport.failure().unwrap_or_else(|| describe(&e))),
            failure = transport.failed() => Err(failure),
        }
    };
    tokio::time::timeout(deadline, done)
        .await
        .unwrap_or_else(|_| Err(UpstreamError::timed_out(deadline)))
}

/// A connection to an MCP server. Dropped, its session is ended.
pub struct Upstream {
    service: RunningService<RoleClient, ClientConfig>,
    transport: Transport,
    deadline: Duration,
}

impl Upstream {
    /// What the server said of itself.
    pub fn server(&self) -> Option<Arc<ServerPeerInfo>> {
        self.service.peer_info()
    }

    /// Its tools, at most [`MAX_TOOLS`]; `None` when it says that it has none to list.
    pub async fn list_tools(&self) -> Result<Option<Vec<Tool>>, UpstreamError> {
        if self.server().is_none_or(|server| server.capabilities.tools.is_none()) {
            return Ok(None);
        }
        within(&self.transport, self.deadline, self.all_tools(), Clone::clone).await.map(Some)
    }

    async fn all_tools(&self) -> Result<Vec<Tool>, UpstreamError> {
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let params = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self.service.list_tools(Some(params)).await.map_err(|e| match &e {
                ServiceError::McpError(error) => rejected("tools/list", error),
                _ => UpstreamError::protocol("it did not answer tools/list as it should"),
            })?;
            tools.extend(page.tools);
            cursor = page.next_cursor;
            if cursor.is_none() && tools.len() <= MAX_TOOLS {
                return Ok(tools);
            }
            if tools.len() > MAX_TOOLS {
                break;
            }
        }
        Err(UpstreamError::protocol(&format!("it lists more than {MAX_TOOLS} tools")))
    }
}
