//! PostgreSQL's own folder within the data folder, created on the first start.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::USER;
use crate::account::{Account, own_name};
use crate::child::BoundChild;
use crate::error::{IoContext, RuntimeError};

/// The folder's name.
const FOLDER: &str = "postgres";

/// Its name until `initdb` has finished.
const UNFINISHED_FOLDER: &str = ".postgres.unfinished";

/// The file in which PostgreSQL notes the major version of the folder.
const VERSION_FILE: &str = "PG_VERSION";

/// The file in which a running PostgreSQL notes its process id, on the first line.
const PID_FILE: &str = "postmaster.pid";

/// The files that say who may connect, and as whom, within the cluster's folder.
pub(super) const HBA_FILE: &str = "pg_hba.conf";

/// Which account may be which user, beside it.
pub(super) const IDENT_FILE: &str = "pg_ident.conf";

/// The rules: over the socket, whom the kernel says to be an account of the map; nobody else, and
/// nobody over a network.
const HBA: &str = "\
# switchy-server writes this file at every start.
local all all peer map=switchy
local replication all peer map=switchy
";

/// The major version that is installed.
const MAJOR_VERSION: &str = "18";

/// Settings for a new cluster. They go into its `postgresql.conf`, where its owner may change them.
/// The buffers hold the index over some 200,000 vectors; what is not used takes no memory.
const SETTINGS: [&str; 2] = ["shared_buffers=512MB", "max_connections=200"];

/// Character classes for full-text search, best first: not every system has the first.
const CTYPES: [&str; 2] = ["C.UTF-8", "C"];

/// The path given to child processes, which otherwise get an empty environment: neither `PG*`
/// variables nor the server's secrets are theirs to see.
const PATH: &str = "/usr/bin:/bin";

/// The longest reason that goes into an error.
const REASON_MAX_CHARS: usize = 300;

/// Where the cluster is.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

/// Gives the cluster's folder, after creating it with `initdb` if there is none.
///
/// # Errors
/// [`RuntimeError::DataVersion`] for a folder of another major version, [`RuntimeError::InitDb`].
pub(super) fn ensure(
    install_dir: &Path,
    data_dir: &Path,
    account: &Account,
) -> Result<PathBuf, RuntimeError> {
    let folder = folder(data_dir);
    match fs::read_to_string(folder.join(VERSION_FILE)) {
        Ok(found) if found.trim() == MAJOR_VERSION => return Ok(folder),
        Ok(found) => {
            let found = found.trim().to_owned();
            return Err(RuntimeError::DataVersion { folder, found, expected: MAJOR_VERSION });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(RuntimeError::io("read", &folder, error)),
    }
    let unfinished = data_dir.join(UNFINISHED_FOLDER);
    remove(&unfinished)?;
    let result = initdb(install_dir, &unfinished, account)
        .and_then(|()| fs::rename(&unfinished, &folder).on("create", &folder));
    if result.is_err() {
        // The first failure is the one to report; the next start removes what is left.
        drop(remove(&unfinished));
    }
    result.map(|()| folder)
}

/// Lets only the account that this program runs as connect, whatever the cluster said before: not
/// even the one that PostgreSQL runs as, which others may share.
///
/// No password: whoever could read one from our files could connect as well, and an address without
/// a secret in it can be shown and logged.
pub(super) fn guard(folder: &Path, data_dir: &Path, account: &Account) -> Result<(), RuntimeError> {
    // Quoted, so that a name is nothing but a name.
    let name = own_name()?.replace('"', "\"\"");
    let map =
        format!("# switchy-server writes this file at every start.\nswitchy \"{name}\" all\n");
    for (file, text) in [(HBA_FILE, HBA), (IDENT_FILE, &map)] {
        let path = folder.join(file);
        // The folder is PostgreSQL's own: made beside it, put there whole, never written through what
        // is there already.
        let mut new = tempfile::Builder::new()
            .prefix(".access-")
            .tempfile_in(data_dir)
            .on("create", &path)?;
        new.write_all(text.as_bytes()).on("write", &path)?;
        if let Account::Unprivileged { uid, gid, .. } = account {
            std::os::unix::fs::fchown(new.as_file(), Some(uid.as_raw()), Some(gid.as_raw()))
                .on("change the owner of", &path)?;
        }
        new.persist(&path).map_err(|error| RuntimeError::io("create", &path, error.error))?;
    }
    Ok(())
}

/// The process that runs, or ran, on the cluster, as it notes itself.
pub(super) fn holder(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join(PID_FILE)).ok()?.lines().next()?.trim().parse().ok()
}

/// The command `program`, as the account, in a neutral folder, with an empty environment.
pub(super) fn command(program: &Path, account: &Account) -> Command {
    let mut command = Command::new(program);
    // The account may not be allowed into the folder this program was started from.
    command.current_dir("/").env_clear().env("PATH", PATH).env("LANG", "C").stdin(Stdio::null());
    account.run(&mut command);
    command
}

fn initdb(install_dir: &Path, folder: &Path, account: &Account) -> Result<(), RuntimeError> {
    let mut reason = String::new();
    for ctype in CTYPES {
        remove(folder)?;
        DirBuilder::new().mode(0o700).create(folder).on("create", folder)?;
        account.own(folder)?;
        let output = run_initdb(install_dir, folder, account, ctype)?;
        if output.status.success() {
            return Ok(());
        }
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        if messages.contains("No space left on device") {
            return Err(RuntimeError::DiskFull { path: folder.to_owned() });
        }
        reason = why(&messages);
        if !messages.contains("locale") {
            break;
        }
    }
    Err(RuntimeError::InitDb { folder: folder.to_owned(), reason })
}

fn run_initdb(
    install_dir: &Path,
    folder: &Path,
    account: &Account,
    ctype: &str,
) -> Result<Output, RuntimeError> {
    let program = install_dir.join("bin/initdb");
    let mut initdb = command(&program, account);
    initdb
        .arg("-D")
        .arg(folder)
        .args(["-U", USER, "--encoding=UTF8", "--data-checksums", "--no-instructions"])
        // Until the rules of `guard` take their place.
        .args(["--auth-local=peer", "--auth-host=reject"])
        // Sorting that is the same on every system and stays so when the system is upgraded,
        // which would otherwise silently spoil indexes on text.
        .args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"])
        .arg(format!("--lc-ctype={ctype}"))
        .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let spawn = |source| RuntimeError::Spawn { program: program.clone(), source };
    let mut child = BoundChild::spawn(&mut initdb).map_err(spawn)?;
    let mut stderr = Vec::new();
    if let Some(mut pipe) = child.process().stderr.take() {
        io::Read::read_to_end(&mut pipe, &mut stderr).on("read the messages of", &program)?;
    }
    let status = child.process().wait().on("wait for", &program)?;
    Ok(Output { status, stdout: Vec::new(), stderr })
}

/// The first line of the messages that reports an error, or the last line.
fn why(messages: &str) -> String {
    let lines = || messages.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines()
        .find(|line| ["error:", "FATAL:", "PANIC:"].iter().any(|mark| line.contains(mark)))
        .or_else(|| lines().next_back())
        .unwrap_or("it gave no reason");
    line.chars().take(REASON_MAX_CHARS).collect()
}

fn remove(folder: &Path) -> Result<(), RuntimeError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RuntimeError::io("remove", folder, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_another_major_version_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(VERSION_FILE), "17\n").unwrap();
        let error = ensure(Path::new("/nowhere"), dir.path(), &Account::Current).unwrap_err();
        assert!(matches!(&error, RuntimeError::DataVersion { found, .. } if found == "17"));
        assert!(folder.join(VERSION_FILE).exists());
    }

    #[test]
    fn a_failed_creation_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // What an interrupted start left.
        fs::create_dir(dir.path().join(UNFINISHED_FOLDER)).unwrap();
        let error = ensure(Path::new("/nowhere"), dir.path(), &Account::Current).unwrap_err();
        assert!(matches!(error, RuntimeError::Spawn { .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
