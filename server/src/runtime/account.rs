//! Which account PostgreSQL runs as.
//!
//! PostgreSQL refuses to run as root. A server started by root therefore runs it as an account
//! that every system has and that owns little, and gives it the folders it has to write.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, User, geteuid};

use super::error::{IoContext, RuntimeError};

/// Accounts to run PostgreSQL as when the server runs as root, best first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Search permission for everybody.
const MAY_ENTER: u32 = 0o011;

/// The account that owns PostgreSQL's files and runs its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// The one that runs this program.
    Current,
    /// Another one, because this program runs as root.
    Unprivileged {
        /// For messages.
        name: String,
        /// User id.
        uid: Uid,
        /// Primary group id.
        gid: Gid,
    },
}

impl Account {
    /// The account for this process.
    ///
    /// # Errors
    /// [`RuntimeError::NoAccount`] when root finds no unprivileged account.
    pub(super) fn choose() -> Result<Self, RuntimeError> {
        if !geteuid().is_root() {
            return Ok(Self::Current);
        }
        UNPRIVILEGED
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self::Unprivileged { name: user.name, uid: user.uid, gid: user.gid })
            .ok_or(RuntimeError::NoAccount)
    }

    /// Makes `command` run as this account.
    pub(super) fn run(&self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        if let Self::Unprivileged { uid, gid, .. } = self {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
    }

    /// The user id of this account.
    pub(super) fn uid(&self) -> Uid {
        match self {
            Self::Current => geteuid(),
            Self::Unprivileged { uid, .. } => *uid,
        }
    }

    /// Gives a folder that this program made to the account, closed to everybody else.
    pub(super) fn own(&self, folder: &Path) -> Result<(), RuntimeError> {
        if let Self::Unprivileged { uid, gid, .. } = self {
            std::os::unix::fs::lchown(folder, Some(uid.as_raw()), Some(gid.as_raw()))
                .on("change the owner of", folder)?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .on("change the permissions of", folder)
    }

    /// Lets the account pass through a folder of root's, without letting it list the folder.
    pub(super) fn admit(&self, folder: &Path) -> Result<(), RuntimeError> {
        let Self::Unprivileged { .. } = self else { return Ok(()) };
        let metadata = fs::metadata(folder).on("look at", folder)?;
        let mode = metadata.mode() & 0o7777;
        if metadata.uid() == geteuid().as_raw() && mode & MAY_ENTER != MAY_ENTER {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode | MAY_ENTER))
                .on("change the permissions of", folder)?;
        }
        Ok(())
    }

    /// Checks that the account can enter `folder` and everything above it.
    ///
    /// # Errors
    /// [`RuntimeError::NotReachable`] with the first folder it may not enter.
    pub(super) fn check_reachable(&self, folder: &Path) -> Result<(), RuntimeError> {
        let Self::Unprivileged { name, uid, gid } = self else { return Ok(()) };
        let mut ancestors: Vec<&Path> = folder.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors.into_iter().filter(|a| !a.as_os_str().is_empty()) {
            let metadata = fs::metadata(ancestor).on("look at", ancestor)?;
            let may_enter = if metadata.uid() == uid.as_raw() {
                0o100
            } else if metadata.gid() == gid.as_raw() {
                0o010
            } else {
                0o001
            };
            if metadata.mode() & may_enter == 0 {
                return Err(RuntimeError::NotReachable {
                    account: name.clone(),
                    folder: ancestor.to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger() -> Account {
        // An id that owns nothing, so that only the permissions for others count.
        Account::Unprivileged {
            name: "stranger".into(),
            uid: Uid::from_raw(4_000_000),
            gid: Gid::from_raw(4_000_000),
        }
    }

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("closed/inner");
        fs::create_dir_all(&inner).unwrap();
        let open = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        open(outer.path(), 0o755);
        open(&outer.path().join("closed"), 0o700);
        let error = stranger().check_reachable(&inner).unwrap_err();
        let closed = outer.path().join("closed");
        assert!(
            matches!(&error, RuntimeError::NotReachable { folder, .. } if *folder == closed),
            "{error}"
        );

        stranger().admit(&closed).unwrap();
        stranger().check_reachable(&inner).unwrap();
        assert_eq!(fs::metadata(&closed).unwrap().mode() & 0o777, 0o711);
    }
}
