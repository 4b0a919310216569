//! PostgreSQL's log file.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::error::{IoContext, RuntimeError};

/// The log's name within the data folder.
const FILE: &str = "postgres.log";

/// The name of the one older log that is kept.
const OLDER_FILE: &str = "postgres.log.1";

/// A log larger than this is put aside at the next start.
const ROTATE_BYTES: u64 = 10 * 1024 * 1024;

/// How much of the log's end is searched for the reason of a failure.
const TAIL_BYTES: u64 = 64 * 1024;

/// The longest reason that goes into an error.
const REASON_MAX_CHARS: usize = 300;

/// Severities that end PostgreSQL or keep it from starting, as they stand in the log.
const FATAL: [&str; 2] = ["FATAL:", "PANIC:"];

/// The setting that begins every line with time and process id.
pub(super) const LINE_PREFIX: &str = "%m [%p] ";

/// A log file of the data folder.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    older: PathBuf,
}

impl Log {
    /// The log in this data folder.
    pub(super) fn in_folder(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE), older: data_dir.join(OLDER_FILE) }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a large log aside; to be called while nobody writes.
    pub(super) fn rotate(&self) -> Result<(), RuntimeError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > ROTATE_BYTES => {
                fs::rename(&self.path, &self.older).on("rename", &self.path)
            }
            _ => Ok(()),
        }
    }

    /// Opens it for PostgreSQL to append to, readable by its owner only.
    pub(super) fn open(&self) -> Result<File, RuntimeError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            // Opened with this program's rights, which may be root's.
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&self.path)
            .on("open", &self.path)
    }

    /// Its size now: what is written later begins there.
    pub(super) fn end(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Why the PostgreSQL of this process id ended, from what was written from `start` on.
    pub(super) fn reason_since(&self, start: u64, pid: u32) -> String {
        reason(&self.tail(start).unwrap_or_default(), pid)
    }

    fn tail(&self, start: u64) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The last fatal message of the process itself; else of one of its children, such as the one that
/// recovers data; else the last line.
///
/// Lines of others are among them: of a predecessor that still shuts down, and of every connection
/// that was turned away.
fn reason(text: &str, pid: u32) -> String {
    let own = format!("[{pid}] ");
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let fatal = |line: &str| {
        let found = FATAL.iter().find_map(|severity| line.split_once(severity));
        found.map(|(_, message)| message.trim().to_owned())
    };
    let reason = lines()
        .filter(|line| line.contains(&own))
        .filter_map(fatal)
        .next_back()
        .or_else(|| lines().filter_map(fatal).rfind(|message| !of_a_connection(message)))
        .or_else(|| lines().next_back().map(str::to_owned))
        .unwrap_or_else(|| "it wrote no message".into());
    reason.chars().take(REASON_MAX_CHARS).collect()
}

/// Whether a message tells a client that it cannot connect now, or no longer.
fn of_a_connection(message: &str) -> bool {
    message.starts_with("the database system is ") || message.starts_with("terminating connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fatal_message_of_the_process_itself_is_the_reason() {
        let text = "2026-01-01 [7] LOG:  shutting down\n\
                    2026-01-01 [8] FATAL:  lock file \"postmaster.pid\" already exists\n\
                    2026-01-01 [8] HINT:  Is another postmaster running?\n\
                    2026-01-01 [9] FATAL:  the database system is shutting down\n";
        assert_eq!(reason(text, 8), "lock file \"postmaster.pid\" already exists");
    }

    #[test]
    fn a_child_that_could_not_recover_is_the_reason() {
        let text = "2026-01-01 [9] PANIC:  could not locate a valid checkpoint record\n\
                    2026-01-01 [10] FATAL:  the database system is starting up\n\
                    2026-01-01 [8] LOG:  shutting down because of startup process failure\n";
        assert_eq!(reason(text, 8), "could not locate a valid checkpoint record");
    }

    #[test]
    fn without_a_fatal_message_the_last_line_is_the_reason() {
        assert_eq!(reason("cannot execute\n\n", 8), "cannot execute");
        assert_eq!(reason("", 8), "it wrote no message");
    }

    #[test]
    fn a_large_log_is_put_aside_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::in_folder(dir.path());
        log.open().unwrap().set_len(ROTATE_BYTES).unwrap();
        log.rotate().unwrap();
        assert_eq!(log.end(), ROTATE_BYTES);
        log.open().unwrap().set_len(ROTATE_BYTES + 1).unwrap();
        log.rotate().unwrap();
        assert_eq!(log.end(), 0);
        assert!(log.older.exists());
    }
}
