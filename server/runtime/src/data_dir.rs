//! The data folder, and the lock that keeps a second server out of it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::error::{IoContext, RuntimeError};

/// The lock's file name. The file stays; what counts is the lock on it.
const LOCK_FILE: &str = "server.lock";

/// The right to use a data folder, until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct DataDirLock {
    /// Holds the lock while it is open.
    _file: File,
    data_dir: PathBuf,
}

impl DataDirLock {
    /// The locked folder, absolute, without symbolic links.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

/// Takes the data folder for this process, and creates it (closed to other accounts) when missing.
///
/// # Errors
/// [`RuntimeError::DataDirInUse`] when another process has it; otherwise what the file system
/// says.
pub fn lock_data_dir(data_dir: &Path) -> Result<DataDirLock, RuntimeError> {
    let data_dir = &create(data_dir)?;
    let path = data_dir.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // It is emptied below: never what somebody else let a link of this name lead to.
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&path)
        .on("open", &path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = holder(&mut file);
            return Err(RuntimeError::DataDirInUse { data_dir: data_dir.clone(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(RuntimeError::io("lock", &path, error)),
    }
    file.set_len(0).on("write", &path)?;
    writeln!(file, "{}", std::process::id()).on("write", &path)?;
    Ok(DataDirLock { _file: file, data_dir: data_dir.clone() })
}

/// Creates the folder when missing and gives its absolute path.
///
/// The path is resolved so that every process derives the same names from it.
pub(super) fn create(data_dir: &Path) -> Result<PathBuf, RuntimeError> {
    if let Some(parent) = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).on("create", parent)?;
    }
    match DirBuilder::new().mode(0o700).create(data_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(RuntimeError::io("create", data_dir, error));
        }
        _ => {}
    }
    fs::canonicalize(data_dir).on("find", data_dir)
}

/// The process id that the holder wrote, if it has got that far.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock_data_dir(dir.path()).unwrap();
        let error = lock_data_dir(dir.path()).unwrap_err();
        assert!(matches!(error, RuntimeError::DataDirInUse { .. }), "{error}");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        lock_data_dir(dir.path()).unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join(LOCK_FILE)).unwrap();
        let error = lock_data_dir(dir.path()).unwrap_err();
        assert!(error.to_string().contains(LOCK_FILE), "{error}");
        assert_eq!(fs::read(&other).unwrap(), b"kept");
    }

    #[test]
    fn a_new_folder_is_closed_to_others_and_an_existing_one_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let fresh = dir.path().join("a b/data");
        lock_data_dir(&fresh).unwrap();
        assert_eq!(mode(&fresh), 0o700);

        let existing = dir.path().join("existing");
        fs::create_dir(&existing).unwrap();
        fs::set_permissions(&existing, fs::Permissions::from_mode(0o751)).unwrap();
        lock_data_dir(&existing).unwrap();
        assert_eq!(mode(&existing), 0o751);
    }
}
