//! Finding out whether PostgreSQL accepts connections, and making sure of the database.

use std::path::Path;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, Error, NoTls};

use super::{DATABASE, USER, socket};

/// The database that every cluster has, to connect to before ours exists.
const MAINTENANCE_DATABASE: &str = "postgres";

/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks one PostgreSQL whether it is ready; runs its own event loop, on a thread without one.
pub(super) struct Probe {
    runtime: Runtime,
    config: Config,
}

impl Probe {
    /// For the PostgreSQL whose socket is in `folder`.
    pub(super) fn new(folder: &Path) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut config = Config::new();
        config
            .host_path(folder)
            .port(socket::PORT)
            .user(USER)
            .application_name("switchy-supervisor")
            .connect_timeout(CONNECT_TIMEOUT);
        Ok(Self { runtime, config })
    }

    /// Connects once and creates the server's database when it is missing.
    pub(super) fn ensure_database(&mut self) -> Result<(), Error> {
        self.config.dbname(MAINTENANCE_DATABASE);
        self.with_client(async |client| {
            let exists = "SELECT 1 FROM pg_database WHERE datname = $1";
            if client.query_opt(exists, &[&DATABASE]).await?.is_none() {
                client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
            }
            Ok(())
        })
    }

    /// Connects once to the server's database.
    fn answers(&mut self) -> Result<(), Error> {
        self.config.dbname(DATABASE);
        self.with_client(async |client| client.batch_execute("SELECT 1").await)
    }

    fn with_client(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.runtime.block_on(async {
            let (client, connection) = self.config.connect(NoTls).await?;
            let connection = tokio::spawn(connection);
            let result = work(&client).await;
            // The connection ends when its client is gone; until then the server counts it.
            drop(client);
            drop(connection.await);
            result
        })
    }
}

/// Whether the PostgreSQL with its socket in `folder` serves the database; from any thread.
pub(super) fn answers(folder: &Path) -> bool {
    // A thread that already drives an event loop cannot drive a second one.
    thread::scope(|scope| {
        scope
            .spawn(|| Probe::new(folder).is_ok_and(|mut probe| probe.answers().is_ok()))
            .join()
            .unwrap_or(false)
    })
}
