//! PostgreSQL as a part of the server: started, watched and stopped with it.
//!
//! The data lies in `postgres/` within the server's data folder, the log beside it in
//! `postgres.log`. There is no TCP port: connections come over a Unix socket in a folder that only
//! the account that PostgreSQL runs as can enter, and PostgreSQL lets in nobody but the account that
//! this program runs as, which the kernel tells it. So there is no password.

mod cluster;
mod log;
mod ready;
mod socket;
mod supervisor;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use self::log::Log;
use self::supervisor::{Program, Supervisor};
use super::account::Account;
use super::data_dir::{DataDirLock, lock_data_dir};
use super::error::RuntimeError;
use super::takeover::take_over;

/// The database the server uses, created when missing.
const DATABASE: &str = "switchy";

/// The owner of the cluster.
const USER: &str = "switchy";

/// How long PostgreSQL may take to accept connections; recovery after a crash can need it.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a command waits for the server that holds the data folder to finish starting.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a server that is still starting is asked again when attaching to it.
const ATTACH_POLL: Duration = Duration::from_millis(50);

/// How PostgreSQL is started.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Settings on top of the built-in ones, such as `("fsync", "off")` in a test.
    pub settings: Vec<(String, String)>,
    /// How long to wait until it accepts connections.
    pub start_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { settings: Vec::new(), start_timeout: START_TIMEOUT }
    }
}

/// How PostgreSQL ended when nobody had asked it to.
#[derive(Debug, Clone)]
pub struct PostgresExit {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// The last line of the log that says why.
    pub reason: String,
    /// The log file.
    pub log: PathBuf,
}

impl fmt::Display for PostgresExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, reason, log } = self;
        write!(f, "PostgreSQL ended by itself ({status}: {reason}); its log is {}", log.display())
    }
}

/// A running PostgreSQL on a data folder, this process's own or another's.
///
/// Dropping the owner's handle stops PostgreSQL and waits for it; [`stop`](Self::stop) does the
/// same and reports what went wrong.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    socket_folder: PathBuf,
    taken_over_from: Option<&'static str>,
    // Before the lock: fields are dropped in order, and the lock must outlive the process.
    supervisor: Option<Supervisor>,
    _lock: Option<DataDirLock>,
}

impl EmbeddedPostgres {
    /// Starts the PostgreSQL of `install_dir` (which holds `bin/`) on `data_dir`, creating both
    /// folder and database when missing, and waits until it accepts connections.
    ///
    /// A PostgreSQL that a killed server left behind is waited for, some seconds long.
    ///
    /// # Errors
    /// [`RuntimeError::DataDirInUse`] when another process has the data folder;
    /// [`RuntimeError::PostgresFailed`] with the reason from its log; and the others of
    /// [`RuntimeError`] that concern accounts, folders and `initdb`.
    pub fn start(
        install_dir: &Path,
        data_dir: &Path,
        options: &PostgresOptions,
    ) -> Result<Self, RuntimeError> {
        Self::start_locked(install_dir, lock_data_dir(data_dir)?, options)
    }

    /// Uses the PostgreSQL that another process runs on `data_dir`, or starts it.
    ///
    /// For commands that must work beside a running server as well as without one.
    ///
    /// # Errors
    /// As [`start`](Self::start), but [`RuntimeError::AttachTimeout`] instead of
    /// [`RuntimeError::DataDirInUse`].
    pub fn attach_or_start(
        install_dir: &Path,
        data_dir: &Path,
        options: &PostgresOptions,
    ) -> Result<Self, RuntimeError> {
        let begun = Instant::now();
        loop {
            let (data_dir, pid) = match lock_data_dir(data_dir) {
                Ok(lock) => return Self::start_locked(install_dir, lock, options),
                Err(RuntimeError::DataDirInUse { data_dir, pid }) => (data_dir, pid),
                Err(error) => return Err(error),
            };
            let account = Account::choose()?;
            let socket_folder = socket::folder(&data_dir);
            if socket::is_private(&socket_folder, &account) && ready::answers(&socket_folder) {
                let (supervisor, _lock) = (None, None);
                return Ok(Self { socket_folder, taken_over_from: None, supervisor, _lock });
            }
            // Its holder is starting, or is stopping: then the lock becomes free.
            if begun.elapsed() > ATTACH_TIMEOUT {
                let waited = begun.elapsed();
                return Err(RuntimeError::AttachTimeout { data_dir, pid, waited });
            }
            thread::sleep(ATTACH_POLL);
        }
    }

    fn start_locked(
        install_dir: &Path,
        lock: DataDirLock,
        options: &PostgresOptions,
    ) -> Result<Self, RuntimeError> {
        let data_dir = lock.data_dir();
        let account = Account::choose()?;
        account.admit(data_dir)?;
        account.check_reachable(data_dir)?;
        account.check_reachable(&install_dir.join("bin"))?;

        let socket_folder = socket::folder(data_dir);
        let cluster = cluster::folder(data_dir);
        let taken_over_from = take_over(&cluster, cluster::holder(&cluster), &account)?;
        take_over(&socket_folder, None, &account)?;
        let cluster = cluster::ensure(install_dir, data_dir, &account)?;
        cluster::guard(&cluster, data_dir, &account)?;
        socket::prepare(&socket_folder, &account)?;
        let program = Program {
            path: install_dir.join("bin/postgres"),
            arguments: arguments(&cluster, &socket_folder, &options.settings),
            cluster,
            account,
            socket_folder: socket_folder.clone(),
            log: Log::in_folder(data_dir),
            start_timeout: options.start_timeout,
        };
        let supervisor = Supervisor::start(program)?;
        Ok(Self { socket_folder, taken_over_from, supervisor: Some(supervisor), _lock: Some(lock) })
    }

    /// The URL of the server's database, for libpq and what understands libpq's URLs.
    ///
    /// It holds no secret: PostgreSQL lets in the account that this program runs as.
    pub fn url(&self) -> String {
        self.url_for(DATABASE)
    }

    /// The URL of another database of the same PostgreSQL.
    pub fn url_for(&self, database: &str) -> String {
        format!(
            "postgresql://{USER}@/{}?host={}",
            percent_encode(database.as_bytes()),
            percent_encode(self.socket_folder.as_os_str().as_bytes())
        )
    }

    /// The account that PostgreSQL ran as before this start gave its files to another one.
    pub fn taken_over_from(&self) -> Option<&'static str> {
        self.taken_over_from
    }

    /// Whether this process runs it, rather than another whose PostgreSQL it only uses.
    pub fn is_owner(&self) -> bool {
        self.supervisor.is_some()
    }

    /// The process id of PostgreSQL's main process, when this process runs it.
    pub fn pid(&self) -> Option<u32> {
        self.supervisor.as_ref().map(Supervisor::pid)
    }

    /// How PostgreSQL ended, if it has, without being asked to. Always `None` when not the owner.
    pub fn try_wait(&self) -> Option<PostgresExit> {
        self.supervisor.as_ref().and_then(Supervisor::exit)
    }

    /// Waits until PostgreSQL ends without being asked to; for ever when not the owner.
    ///
    /// Cancel-safe: a good branch for the `select!` of a server's main loop.
    pub async fn exited(&self) -> PostgresExit {
        match &self.supervisor {
            Some(supervisor) => supervisor.exited().await,
            None => std::future::pending().await,
        }
    }

    /// Stops PostgreSQL and waits for it; does nothing when another process runs it.
    ///
    /// Connections are cut and running transactions rolled back: drain the server first.
    ///
    /// # Errors
    /// [`RuntimeError::StopTimeout`] when it had to be killed.
    pub fn stop(mut self) -> Result<(), RuntimeError> {
        self.supervisor.take().map_or(Ok(()), Supervisor::stop)
    }
}

/// What must hold whatever the configuration in the data folder says; the rest is set there once,
/// by [`cluster`], where its owner can change it.
fn arguments(cluster: &Path, socket_folder: &Path, settings: &[(String, String)]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        vec!["-D".into(), cluster.into(), "-p".into(), socket::PORT.to_string().into()];
    let mut set = |name: &str, value: OsString| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(value);
        arguments.extend(["-c".into(), setting]);
    };
    set("listen_addresses", "".into());
    set("hba_file", cluster.join(cluster::HBA_FILE).into());
    set("ident_file", cluster.join(cluster::IDENT_FILE).into());
    set("unix_socket_directories", socket::setting(socket_folder));
    set("unix_socket_permissions", "0700".into());
    set("logging_collector", "off".into());
    set("log_destination", "stderr".into());
    set("log_line_prefix", log::LINE_PREFIX.into());
    set("log_timezone", "UTC".into());
    set("timezone", "UTC".into());
    // What users write does not belong in a log: no statements, no rows in the details of errors.
    set("log_min_error_statement", "panic".into());
    set("log_error_verbosity", "terse".into());
    for (name, value) in settings {
        set(name, value.into());
    }
    arguments
}

/// Percent-encodes everything but the characters that are safe anywhere in a URL.
fn percent_encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, &byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
