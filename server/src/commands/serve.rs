//! `serve`: from nothing to a server that answers, and back.

use super::{CommandError, SECRET_IN_ARGUMENTS, admin, progress, say};
use crate::auth::KeySecret;
use crate::bootstrap::{self, Access, Database, PoolConfig};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::connections::ConnectionLimits;
use crate::limits::{Concurrency, Limits};
use crate::logging;
use crate::mail::{MailError, Mailer};
use crate::mcp::client::{Outbound, Upstreams};
use crate::profile::{self, Saved};
use crate::search::cross_encoder::CrossEncoding;
use crate::search::embedder::Embedder;
use crate::server::{self, AppParts, Running, ServerConfig, reachable};
use crate::store::vault::Vault;
use crate::store::{Store, accounts, quotas};
use slog::{Logger, info, warn};
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use url::Host;

/// Who owns an organization that nobody asked for.
const FIRST_ORG: &str = "My team";
/// The address of that OWNER.
const FIRST_EMAIL: &str = "owner@localhost";
/// Files that are open besides connections: libraries, logs, what calls others.
const OTHER_FILES: u64 = 500;
/// Advice for a key that was printed, and that no profile holds.
const LOG_IN: &str = "run: switchy login";
/// Advice where the key was neither printed nor saved.
const MAKE_ANOTHER: &str =
    "make another one: switchy-server admin key create --org my-team --email owner@localhost";

/// `secret_flags` are the flags with which secrets were given.
pub(super) async fn run(config: Config, secret_flags: &[String]) -> Result<(), CommandError> {
    let (log, _guard) = logging::logger(&config.log)?;
    logging::log_panics(log.clone());
    for file in config.open_files() {
        warn!(log, "everybody on this machine can read the file of a secret: chmod 600 it";
            "file" => %file.display());
    }
    for flag in secret_flags {
        warn!(log, "{}", SECRET_IN_ARGUMENTS; "flag" => flag.as_str());
    }
    // from here on, a signal ends the start or the serving, and always what runs below
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stop);

    let database = tokio::select! {
        database = Database::open(&config.storage, Access::Exclusive, progress()) => database?,
        () = &mut stop => return Ok(()),
    };
    if let Some(former) = database.taken_over_from() {
        warn!(log, "the database was taken over from another account: whatever ran as that one \
            could change it before"; "account" => former);
    }
    let outcome = serve(&config, &database, &log, stop.as_mut()).await;
    let stopped = database.stop().await;
    outcome?;
    stopped?;
    info!(log, "stopped");
    Ok(())
}

async fn serve(
    config: &Config,
    database: &Database,
    log: &Logger,
    mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Result<(), CommandError> {
    let mailer = mailer(config)?;
    allow_connections(config, log);
    let starting = async {
        let pool = PoolConfig {
            size: config.pool_size,
            timeout: config.pool_timeout,
            statement_timeout: config.request_deadline,
        };
        let (store, versions) = database.store(pool, Clock::Database).await?;
        info!(log, "database"; "postgres" => versions.postgres, "pgvector" => versions.pgvector,
            "embedded" => database.is_embedded());
        quotas::set_defaults(&store, &config.quotas.quotas()).await?;
        let secret = bootstrap::key_secret(&store, &config.storage).await?;
        let cross_encoding = cross_encoding(config, log).await?;
        let embedder = bootstrap::embedder(&config.storage, &config.model, progress()).await?;
        info!(log, "model"; "id" => embedder.model_id());
        let vault = bootstrap::vault(&store, &config.storage, log).await?;
        let running =
            listen(config, &store, (secret, vault), (embedder, cross_encoding), mailer, log)
                .await?;
        first_run(config, database, &store, &running).await?;
        Ok::<_, CommandError>(running)
    };
    let running = tokio::select! {
        running = starting => running?,
        () = &mut stop => return Ok(()),
        exit = database.exited() => return Err(CommandError(exit.to_string())),
    };
    info!(log, "listening"; "url" => base_url(config, running.address()));
    let failure = tokio::select! {
        () = &mut stop => None,
        exit = database.exited() => Some(CommandError(exit.to_string())),
    };
    info!(log, "stopping"; "deadline_s" => config.shutdown_deadline.as_secs());
    if !running.stop(config.shutdown_deadline).await {
        warn!(log, "some requests did not end within the deadline");
    }
    failure.map_or(Ok(()), Err)
}

async fn listen(
    config: &Config,
    store: &Store,
    (secret, vault): (KeySecret, Vault),
    (embedder, cross_encoding): (Arc<dyn Embedder>, Option<CrossEncoding>),
    mailer: Option<Mailer>,
    log: &Logger,
) -> Result<Running, CommandError> {
    let limits = Limits {
        reads: config.reads_per_minute,
        writes: config.writes_per_minute,
        failures: config.failures_per_minute,
    };
    let app = server::app(AppParts {
        store: store.clone(),
        embedder,
        cross_encoding,
        key_secret: secret,
        limits,
        concurrency: Concurrency { key: config.key_concurrency, org: config.org_concurrency },
        mcp_quotas: config.mcp_quotas,
        public_url: config.public_url.clone(),
        security_contact: config.security_contact.clone(),
        min_client_version: config.min_client_version.clone(),
        mailer,
        events: crate::events::EventsConfig::default(),
        billing: config.billing.options(),
        vault,
        upstreams: Upstreams::new(Outbound {
            allowed: config.mcp_allow_hosts.clone(),
            ..Outbound::default()
        })?,
        log: log.clone(),
    })?;
    let server = ServerConfig {
        bind: config.bind,
        tls: config.tls_cert.clone().zip(config.tls_key.clone()),
        request_deadline: config.request_deadline,
        connections: ConnectionLimits {
            most: usize::try_from(config.max_connections).unwrap_or(usize::MAX),
            ..ConnectionLimits::default()
        },
        log: log.clone(),
    };
    Ok(server::start(app, &server).await?)
}

/// The cross-encoder, if the operator has one. It must not use up the time that a request has.
async fn cross_encoding(
    config: &Config,
    log: &Logger,
) -> Result<Option<CrossEncoding>, CommandError> {
    let (storage, model) = (&config.storage, &config.model);
    let loaded =
        bootstrap::cross_encoding(storage, model, &config.cross_encoder, progress()).await?;
    Ok(loaded.map(|mut cross| {
        cross.deadline = cross.deadline.min(config.request_deadline / 2);
        info!(log, "cross-encoder"; "id" => cross.encoder.model_id(),
            "deadline_ms" => u64::try_from(cross.deadline.as_millis()).unwrap_or(u64::MAX));
        cross
    }))
}

/// Every connection is an open file, of which a process may have 1,024 on many systems until it asks
/// for as many as it may have.
fn allow_connections(config: &Config, log: &Logger) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let wanted = u64::from(config.max_connections) + u64::from(config.pool_size) + OTHER_FILES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let allowed = wanted.min(hard).max(soft);
    let raised = soft >= allowed || setrlimit(Resource::RLIMIT_NOFILE, allowed, hard).is_ok();
    if !raised || allowed < wanted {
        warn!(log, "the system allows fewer open files than there may be connections: raise the \
            limit (ulimit -n), or lower --max-connections"; "allowed" => allowed, "wanted" => wanted);
    }
}

/// The mail server, if the operator has one.
fn mailer(config: &Config) -> Result<Option<Mailer>, MailError> {
    let Some(url) = config.mail.smtp_url() else { return Ok(None) };
    let mailer = Mailer::new(&url, config.mail.mail_from.as_deref())?;
    mailer.check_sender(match &config.public_url {
        Some(url) => url.host(),
        None => Some(match config.bind.ip() {
            IpAddr::V4(ip) => Host::Ipv4(ip),
            IpAddr::V6(ip) => Host::Ipv6(ip),
        }),
    })?;
    Ok(Some(mailer))
}

/// Where people reach the API.
fn base_url(config: &Config, address: SocketAddr) -> String {
    if let Some(public) = &config.public_url {
        return format!("{}/api", public.as_str().trim_end_matches('/'));
    }
    let scheme = if config.tls_cert.is_some() { "https" } else { "http" };
    format!("{scheme}://{}/api", reachable(address))
}

/// On an empty embedded database: an organization, its OWNER, a key, and what to do with it.
async fn first_run(
    config: &Config,
    database: &Database,
    store: &Store,
    running: &Running,
) -> Result<(), CommandError> {
    if !database.is_embedded() {
        return Ok(());
    }
    let mut tx = store.begin_system().await?;
    let empty = accounts::is_empty(&mut tx).await?;
    tx.commit().await?;
    if !empty {
        return Ok(());
    }
    let secret = bootstrap::key_secret(store, &config.storage).await?;
    let made = admin::bootstrap(store, &secret, FIRST_ORG, FIRST_EMAIL).await?;
    let url = base_url(config, running.address());
    // what is piped goes to a file or a log, where a key has no place
    let shown = std::io::stdout().is_terminal();
    let no_profile = if shown { LOG_IN } else { MAKE_ANOTHER };
    let saved = profile::default_folder()
        .map(|folder| (profile::save(&folder, &url, &made.api_key), folder));
    let (saved, profile) = match saved {
        Some((Ok(Saved { name, is_current }), folder)) => {
            let file = folder.join("config.toml");
            let said = format!(
                "The key is saved for the CLI as profile `{name}` in {}, which only you can read.",
                file.display()
            );
            (said, if is_current { String::new() } else { format!(" --profile {name}") })
        }
        Some((Err(error), _)) => (
            format!("The key could not be saved for the CLI ({error}); {no_profile}"),
            String::new(),
        ),
        None => (
            format!("The key could not be saved for the CLI (no home folder); {no_profile}"),
            String::new(),
        ),
    };
    let (key, once) = match shown {
        true => (made.api_key.as_str(), "The key is shown this once. "),
        false => ("not shown, since this is no terminal", ""),
    };
    let switchy = format!("cargo run --release -q -p switchy-cli --{profile}");
    say(&format!(
        "
Switchy is ready at {url}

  organization  {organization}
  owner         {owner}
  API key       {key}

{once}{expiry}
{saved}

Try, in another terminal:

  {switchy} whoami
  {switchy} memory add 'Staging deploys happen on Tuesdays.' --visibility ORG
  {switchy} memory search 'when do we deploy?'

",
        organization = made.organization_slug,
        owner = made.email,
        expiry = admin::NO_EXPIRY,
    ))
}
