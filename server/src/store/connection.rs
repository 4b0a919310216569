//! The pool, and how a connection of it begins its life.

use super::authentication::{self, Attempt};
use super::tls::{self, TlsMode};
use super::tx::{SystemTx, Tx};
use crate::auth::Caller;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::round_trips;
use bb8::PooledConnection;
use diesel::connection::InstrumentationEvent;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, PoolableConnection, RecyclingMethod,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures::FutureExt;
use std::sync::Arc;
use std::time::Duration;

/// The role that requests run as: row-level security applies to it.
pub const APP_ROLE: &str = "switchy_app";
/// The role of maintenance, which sees every row.
pub const SYSTEM_ROLE: &str = "switchy_system";

/// How long a connection may wait for PostgreSQL to accept it.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the pool needs to know.
#[derive(Clone)]
pub struct StoreConfig {
    /// A PostgreSQL URL, with `sslmode` and `sslrootcert` as libpq has them.
    pub url: secrecy::SecretString,
    /// Most connections of this server.
    pub pool_size: u32,
    /// Longest wait for a free connection before a request is answered 503.
    pub checkout_timeout: Duration,
    /// Longest time that a statement may run.
    pub statement_timeout: Duration,
    /// Where the time comes from.
    pub clock: Clock,
}

/// The database cannot be used; the sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `DATABASE_URL` is no URL of PostgreSQL.
    #[error("DATABASE_URL is not usable: {0}")]
    Url(String),
    /// Certificates or TLS mode.
    #[error("TLS to PostgreSQL is not possible: {0}")]
    Tls(String),
    /// Nobody answers, or refuses us.
    #[error("cannot connect to PostgreSQL: {0}; check DATABASE_URL and that the server runs")]
    Refused(String),
    /// Too old, or without what we need.
    #[error("{0}")]
    Unsuitable(String),
}

/// A connection out of the pool.
pub type Pooled = PooledConnection<'static, AsyncDieselConnectionManager<AsyncPgConnection>>;

/// PostgreSQL, as every request reaches it.
#[derive(Clone)]
pub struct Store {
    pool: Pool<AsyncPgConnection>,
    clock: Clock,
    /// Longest time that a statement may run.
    statement_timeout: Duration,
    /// For what needs a connection of its own.
    url: secrecy::SecretString,
}

/// With the whole chain of causes: the first one alone says little.
pub(super) fn refused(e: tokio_postgres::Error) -> ConnectError {
    let mut cause = e.to_string();
    let mut source = std::error::Error::source(&e);
    while let Some(s) = source {
        cause = format!("{cause}: {s}");
        source = s.source();
    }
    ConnectError::Refused(cause)
}

/// Opens one connection, in plain or over TLS as its URL says.
pub(super) async fn open(url: &str) -> Result<AsyncPgConnection, ConnectError> {
    let (config, mode) = tls::parse(url)?;
    let opened = async {
        let connection = match mode {
            TlsMode::Off => {
                let (client, connection) =
                    config.connect(tokio_postgres::NoTls).await.map_err(refused)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
            TlsMode::On(connector) => {
                let (client, connection) = config.connect(*connector).await.map_err(refused)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
        };
        connection.map_err(|e| ConnectError::Refused(e.to_string()))
    };
    let mut connection = tokio::time::timeout(CONNECT_TIMEOUT, opened)
        .await
        .unwrap_or_else(|_| Err(ConnectError::Refused("no answer within 10 seconds".into())))?;
    // A server that is too old for this is refused with a sentence of its own: see `requirements`.
    let _ = connection.batch_execute(ENGLISH).await;
    Ok(connection)
}

/// Asks for messages in English, by which failures are told apart (see `error.rs`). Only a superuser
/// may, or a role that was granted it; `requirements` checks whether it is needed.
const ENGLISH: &str = "SELECT set_config('lc_messages', 'C', false) \
                       WHERE has_parameter_privilege('lc_messages', 'SET')";

/// A connection that serves requests: it can do nothing that the app role may not.
async fn open_for_requests(url: &str, setup: &str) -> ConnectionResult<AsyncPgConnection> {
    let mut connection =
        open(url).await.map_err(|e| ConnectionError::BadConnection(e.to_string()))?;
    connection.batch_execute(setup).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    // Without it, each first use would only take longer; who cannot use the database at all is told
    // by what is asked next.
    let _ = authentication::prepare(&connection).await;
    connection.set_instrumentation(|event: InstrumentationEvent<'_>| {
        // a statement that is not cached yet is prepared in a round trip of its own
        if let InstrumentationEvent::StartQuery { .. } | InstrumentationEvent::CacheQuery { .. } =
            event
        {
            round_trips::count();
        }
    });
    Ok(connection)
}

impl Store {
    /// A pool on a database that is migrated and suitable (see [`super::migrations`],
    /// [`super::requirements`]).
    pub async fn connect(config: &StoreConfig) -> Result<Self, ConnectError> {
        use secrecy::ExposeSecret;
        tls::parse(config.url.expose_secret())?;
        let setup: Arc<str> = format!(
            "SET ROLE {APP_ROLE}; SET statement_timeout = {}; \
             SET idle_in_transaction_session_timeout = {}",
            config.statement_timeout.as_millis(),
            config.statement_timeout.as_millis() * 2,
        )
        .into();
        let mut manager = ManagerConfig::default();
        // a look at the socket instead of a round trip before every request
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |url| {
            let (url, setup) = (url.to_owned(), Arc::clone(&setup));
            async move { open_for_requests(&url, &setup).await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(
            config.url.expose_secret().to_owned(),
            manager,
        );
        let pool = Pool::builder()
            .max_size(config.pool_size)
            .connection_timeout(config.checkout_timeout)
            .test_on_check_out(false)
            // the one that was used last: its backend has everything at hand
            .queue_strategy(bb8::QueueStrategy::Lifo)
            .build_unchecked(manager);
        Ok(Store {
            pool,
            clock: config.clock.clone(),
            statement_timeout: config.statement_timeout,
            url: config.url.clone(),
        })
    }

    /// Where the database is; may hold a password.
    pub(super) fn url(&self) -> &secrecy::SecretString {
        &self.url
    }

    /// Where this store takes the time from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A live connection: 503 when none becomes free in time.
    pub async fn connection(&self) -> Result<Pooled> {
        loop {
            let mut connection = self.pool.get_owned().await.map_err(|e| match e {
                bb8::RunError::TimedOut => {
                    Error::unavailable("the server is overloaded: no database connection is free")
                }
                bb8::RunError::User(PoolError::ConnectionError(_) | PoolError::QueryError(_)) => {
                    Error::unavailable("the database is not reachable at the moment")
                }
            })?;
            // connections that died while idle: dropping one removes it from the pool
            if !connection.is_broken() {
                return Ok(connection);
            }
        }
    }

    /// Proves that requests can be served: pool, role and schema. 503 otherwise.
    pub async fn ping(&self) -> Result<()> {
        use diesel_async::RunQueryDsl;
        let mut connection = self.connection().await?;
        // Raw SQL: a statement that touches no row and needs the newest migration's function
        diesel::sql_query("SELECT literal_memories('{}', 0, NULL, NULL, NULL, NULL, NULL, NULL)")
            .execute(&mut connection)
            .await
            .map_err(|_| Error::unavailable("the database is not ready: run its migrations"))?;
        Ok(())
    }

    /// A transaction of `caller`: what begins it and tells row-level security who calls is sent
    /// ahead of the first statement.
    pub async fn begin(&self, caller: &Caller) -> Result<Tx> {
        let (clock, longest) = (self.clock.clone(), self.statement_timeout);
        Ok(Tx::begin(self.connection().await?, caller.clone(), clock, longest))
    }

    /// The same for a caller who is assumed but not verified yet, and only to read. The database
    /// verifies the caller together with the first statement: if it is another, the statement fails,
    /// and [`Tx::take_authentication`] says who it is.
    pub async fn begin_speculative(&self, caller: &Caller, attempt: &Attempt) -> Result<Tx> {
        let connection = self.connection().await?;
        let (clock, longest) = (self.clock.clone(), self.statement_timeout);
        Ok(Tx::speculative(connection, caller.clone(), clock, longest, attempt.clone()))
    }

    /// A transaction of the server itself, for maintenance: no policy applies.
    pub async fn begin_system(&self) -> Result<SystemTx> {
        Ok(SystemTx::begin(self.connection().await?, self.clock.clone()))
    }
}
