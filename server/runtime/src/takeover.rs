//! Files of PostgreSQL that another account owned: an earlier start ran it as that one.
//!
//! Whatever runs as the former owner may still have its hands in these folders. So nothing is done by
//! path, where a link could lead elsewhere, but on handles of what was found there; and nothing is
//! given away that was not the former owner's, or that has a second name outside.

use std::path::Path;
use std::time::Duration;

use super::account::Account;
use super::error::RuntimeError;

/// How long the former owner's PostgreSQL may take to end. Its server is gone: we have its lock.
const WAIT: Duration = Duration::from_secs(15);

/// How often it is looked for.
const POLL: Duration = Duration::from_millis(100);

/// Gives `folder`, and what is in it, to the account when a former one owns it; returns the former
/// one's name. `holder` is the PostgreSQL that may still run there.
///
/// # Errors
/// [`RuntimeError::TakeOver`].
pub(super) fn take_over(
    folder: &Path,
    holder: Option<u32>,
    account: &Account,
) -> Result<Option<&'static str>, RuntimeError> {
    let owner = match owner(folder) {
        Some(owner) => owner,
        None => return Ok(None),
    };
    let Some((name, former)) = account.former().into_iter().find(|(_, uid)| *uid == owner) else {
        return Ok(None);
    };
    let failed =
        |reason: String| RuntimeError::TakeOver { folder: folder.to_owned(), from: name, reason };
    if let Some(pid) = holder {
        let process = format!("/proc/{pid}");
        let begun = std::time::Instant::now();
        while self::owner(Path::new(&process)) == Some(former) {
            if begun.elapsed() > WAIT {
                return Err(failed(format!("its PostgreSQL, process {pid}, still runs")));
            }
            std::thread::sleep(POLL);
        }
    }
    give(folder, former, account).map_err(failed)?;
    Ok(Some(name))
}

/// The owner of a folder; `None` for what is no folder or not there.
fn owner(folder: &Path) -> Option<nix::unistd::Uid> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
    Some(nix::unistd::Uid::from_raw(metadata.uid()))
}

#[cfg(target_os = "linux")]
fn give(folder: &Path, former: nix::unistd::Uid, account: &Account) -> Result<(), String> {
    use std::ffi::OsStr;
    use std::os::fd::{AsFd, AsRawFd};

    use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
    use nix::sys::stat::{Mode, SFlag, fstat};
    use nix::unistd::{Gid, Uid, fchownat};

    fn walk(
        parent: impl AsFd,
        name: &OsStr,
        former: Uid,
        (uid, gid): (Uid, Gid),
    ) -> Result<(), String> {
        let failed = |error: nix::Error| format!("{}: {error}", name.display());
        // A handle of the thing itself, be it a link or a pipe: opening it so does nothing to it.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = openat(parent, name, flags, Mode::empty()).map_err(failed)?;
        let found = fstat(&handle).map_err(failed)?;
        if found.st_uid != former.as_raw() {
            return Ok(());
        }
        let kind = found.st_mode & SFlag::S_IFMT.bits();
        if kind == SFlag::S_IFREG.bits() && found.st_nlink > 1 {
            return Err(format!("{} has another name elsewhere", name.display()));
        }
        // A folder before what is in it: its former owner cannot enter it any more.
        fchownat(&handle, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH).map_err(failed)?;
        if kind == SFlag::S_IFDIR.bits() {
            let itself = format!("/proc/self/fd/{}", handle.as_raw_fd());
            for entry in
                std::fs::read_dir(itself).map_err(|e| format!("{}: {e}", name.display()))?
            {
                let entry = entry.map_err(|e| format!("{}: {e}", name.display()))?;
                walk(&handle, &entry.file_name(), former, (uid, gid))?;
            }
        }
        Ok(())
    }

    let Account::Unprivileged { uid, gid, .. } = account else { return Ok(()) };
    walk(AT_FDCWD, folder.as_os_str(), former, (*uid, *gid))
}

/// Elsewhere there are no handles of links; the error says what to do.
#[cfg(not(target_os = "linux"))]
fn give(_: &Path, _: nix::unistd::Uid, _: &Account) -> Result<(), String> {
    Err("this system has no safe way to do it".into())
}
