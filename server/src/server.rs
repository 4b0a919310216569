//! The HTTP server: the API behind the gateway, and the tasks that run beside it.

use crate::api::{self, App, MAX_BODY_BYTES, PublicUrl};
use crate::billing::{Billing, BillingOptions};
use crate::error::Result as AppResult;
use crate::events::{self, EventsConfig, Hub};
use crate::http::connections::{ConnectionLimits, Connections};
use crate::http::gateway::{Gateway, GatewayConfig};
use crate::mail::{MailSender, Mailer};
use crate::mcp;
use crate::search::{Search, statistics};
use crate::store::{Store, events as stored_events, idempotency, invitations, quotas};
use slog::Logger;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How often expired idempotency keys and idle limits are removed.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);

/// How often the log tells who fills the backlog and the quotas.
const FILLING_INTERVAL: Duration = Duration::from_secs(600);

/// From how many waiting notes on the log tells of them: fewer are embedded in a moment.
const BACKLOG_TOLD_FROM: i64 = 100;

/// Most authors and quotas that the log tells of at a time.
const MOST_TOLD: i64 = 10;

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address and port; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Certificate chain and private key, both PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Longest time that a request may take.
    pub request_deadline: Duration,
    /// What connections may cost.
    pub connections: ConnectionLimits,
    /// Where the log goes.
    pub log: Logger,
}

/// The server cannot start; the sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The API's own description; a defect.
    #[error("the API cannot be served: {0}")]
    Api(String),
    /// Address in use, no permission, bad certificate.
    #[error("cannot listen on {bind}: {cause}; choose another address with --bind")]
    Listen {
        /// The address.
        bind: SocketAddr,
        /// Why not.
        cause: String,
    },
    /// The certificate or the key.
    #[error(
        "cannot use the TLS certificate or key: {0}; both must be PEM files that belong together"
    )]
    Tls(String),
}

/// A server that is running. Dropped, it stops at once.
pub struct Running {
    gateway: Arc<Gateway<App>>,
    events: Arc<Hub>,
    connections: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    tasks: Vec<JoinHandle<()>>,
    address: SocketAddr,
}

/// Starts serving: first what can fail, then what goes on beside it.
pub async fn start(app: App, config: &ServerConfig) -> Result<Running, StartError> {
    let tls = match &config.tls {
        Some((cert, key)) => Some(TlsAcceptor::from(Arc::new(read_tls(cert, key)?))),
        None => None,
    };
    let listener = TcpListener::bind(config.bind).await;
    let refused =
        |cause: std::io::Error| StartError::Listen { bind: config.bind, cause: cause.to_string() };
    let listener = listener.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let parts = api::descriptions().map_err(|e| StartError::Api(e.to_string()))?;
    let gateway_config = GatewayConfig {
        deadline: config.request_deadline,
        max_body: MAX_BODY_BYTES,
        first_bytes: config.connections.first_bytes,
        all_bodies: config.connections.all_bodies,
        all_answers: config.connections.all_answers,
        log: config.log.clone(),
    };
    let (background, events) = (app.clone(), Arc::clone(&app.events));
    let gateway = Gateway::mount(parts, app, gateway_config).await;
    let gateway = Arc::new(gateway.map_err(|e| StartError::Api(e.to_string()))?);
    let scheme = if tls.is_some() { "https" } else { "http" };
    background.public_url.or(&format!("{scheme}://{}", reachable(address)));
    let connections = Connections {
        listener,
        tls,
        limits: config.connections,
        respond: {
            let gateway = Arc::clone(&gateway);
            Arc::new(move |request, remote| Box::pin(Arc::clone(&gateway).respond(request, remote)))
        },
        log: config.log.clone(),
    };
    let tasks = tasks(background, &config.log);
    let (stop, stopped) = oneshot::channel();
    let connections = tokio::spawn(connections.serve(stopped));
    Ok(Running { gateway, events, connections, stop, tasks, address })
}

/// What goes on beside the requests.
fn tasks(app: App, log: &Logger) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![
        tokio::spawn(app.search.backfill().clone().run(
            app.store.clone(),
            app.search.clone(),
            log.clone(),
        )),
        tokio::spawn(expire(app.store.clone(), log.clone())),
        tokio::spawn(tell_who_fills(app.store.clone(), log.clone())),
        tokio::spawn(statistics::keep(app.store.clone(), app.search.clone(), log.clone())),
        tokio::spawn(events::listen(app.store.clone(), Arc::clone(&app.events), log.clone())),
        tokio::spawn(app.billing.clone().run(app.store.clone())),
        tokio::spawn(mcp::health::keep_checking(
            app.store.clone(),
            app.upstreams.clone(),
            app.vault.clone(),
            log.clone(),
        )),
    ];
    if let Some(mailer) = app.mailer.clone() {
        tasks.push(tokio::spawn(app.mail_sender.clone().run(
            app.store.clone(),
            mailer,
            Arc::clone(&app.key_secret),
            app.public_url.clone(),
            log.clone(),
        )));
    }
    tasks
}

/// Reads certificate and key here: Dropshot's own words for a bad file do not name it, and a key
/// that does not fit makes it panic.
fn read_tls(cert: &Path, key: &Path) -> Result<rustls::ServerConfig, StartError> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let named = |path: &Path, cause: &dyn std::fmt::Display| {
        StartError::Tls(format!("{}: {cause}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| named(cert, &e))?;
    if certificates.is_empty() {
        return Err(named(cert, &"no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| named(key, &e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(certificates, private))
        .map_err(|e| StartError::Tls(format!("{}, {}: {e}", cert.display(), key.display())))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn expire(store: Store, log: Logger) {
    loop {
        if let Err(error) = idempotency::expire(&store).await {
            slog::warn!(log, "expired rows could not be removed"; "error" => error.chain());
        }
        if let Err(error) = invitations::expire(&store).await {
            slog::warn!(log, "invitations could not be expired"; "error" => error.chain());
        }
        if let Err(error) = stored_events::prune(&store).await {
            slog::warn!(log, "old events could not be removed"; "error" => error.chain());
        }
        tokio::time::sleep(EXPIRY_INTERVAL).await;
    }
}

/// Tells the operator who fills the backlog and the quotas, by their ids.
async fn tell_who_fills(store: Store, log: Logger) {
    loop {
        let told = async {
            for waiting in quotas::backlog(&store, MOST_TOLD).await? {
                if waiting.of >= BACKLOG_TOLD_FROM {
                    slog::warn!(log, "notes wait to be embedded"; "organization" => waiting.slug,
                        "author" => waiting.author_user_id, "notes" => waiting.notes,
                        "oldest_s" => waiting.seconds, "of" => waiting.of);
                }
            }
            for used in quotas::nearly_reached(&store, MOST_TOLD).await? {
                slog::warn!(log, "an organization has nearly reached a quota: `switchy-server admin \
                    org quota` shows and changes it"; "organization" => used.slug,
                    "quota" => used.quota, "used" => used.used, "most" => used.most);
            }
            Ok::<(), crate::error::Error>(())
        };
        if let Err(error) = told.await {
            slog::warn!(log, "it could not be told who fills the backlog and the quotas";
                "error" => error.chain());
        }
        tokio::time::sleep(FILLING_INTERVAL).await;
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking requests and lets the running ones end, for at most `deadline`. Returns whether
    /// they did.
    pub async fn stop(mut self, deadline: Duration) -> bool {
        for task in &self.tasks {
            task.abort();
        }
        // streams would go on for ever
        self.events.stop();
        let (stop, _) = oneshot::channel();
        // when nobody takes this, nothing is served any more
        let _ = std::mem::replace(&mut self.stop, stop).send(());
        let ended = async {
            let _ = (&mut self.connections).await;
            // whoever hung up left his request behind
            self.gateway.ended().await;
        };
        tokio::time::timeout(deadline, ended).await.is_ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.connections.abort();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// An address that connects to what listens at `address`: what listens everywhere is reached here.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What an [`App`] is made of.
pub struct AppParts {
    /// PostgreSQL.
    pub store: Store,
    /// The model.
    pub embedder: Arc<dyn crate::search::embedder::Embedder>,
    /// What puts the best notes of a search in order; `None`: fusion alone does.
    pub cross_encoding: Option<crate::search::cross_encoder::CrossEncoding>,
    /// Under which keys are digested.
    pub key_secret: crate::auth::KeySecret,
    /// Requests a minute.
    pub limits: crate::limits::Limits,
    /// Requests at once.
    pub concurrency: crate::limits::Concurrency,
    /// Calls of the MCP server a minute.
    pub mcp_quotas: mcp::server::Quotas,
    /// The oldest client of the Save Session dialect that is served; `None`: every one.
    pub min_client_version: Option<semver::Version>,
    /// Where people reach the server; where it listens otherwise.
    pub public_url: Option<url::Url>,
    /// Whom to tell of a hole; `None`: there is no page that says so.
    pub security_contact: Option<crate::security_contact::SecurityContact>,
    /// The mail server; `None`: nothing is mailed.
    pub mailer: Option<Mailer>,
    /// How live events are served.
    pub events: EventsConfig,
    /// Plans, credits and Stripe.
    pub billing: BillingOptions,
    /// The secrets of integrations.
    pub vault: crate::store::vault::Vault,
    /// How integrations are called.
    pub upstreams: mcp::client::Upstreams,
    /// Where the log goes.
    pub log: Logger,
}

/// An [`App`] of these. Fails where the system's TLS cannot be used for requests of ours.
pub fn app(parts: AppParts) -> AppResult<App> {
    let billing = Arc::new(Billing::new(parts.billing, parts.log.clone())?);
    Ok(App {
        store: parts.store,
        search: Search::new(parts.embedder, parts.log.clone())
            .with_cross_encoding(parts.cross_encoding),
        key_secret: Arc::new(parts.key_secret),
        key_cache: Arc::new(crate::limits::KeyCache::default()),
        mailer: parts.mailer,
        mail_sender: MailSender::default(),
        limits: parts.limits,
        seats: Arc::new(crate::limits::Seats::new(parts.concurrency)),
        mcp_quotas: parts.mcp_quotas,
        min_client_version: parts.min_client_version,
        public_url: parts.public_url.as_ref().map(PublicUrl::given).unwrap_or_default(),
        security_contact: parts.security_contact,
        events: Hub::new(parts.events),
        billing,
        vault: parts.vault,
        upstreams: parts.upstreams,
        log: parts.log,
    })
}
