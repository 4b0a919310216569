//! Which account PostgreSQL runs as.
//!
//! PostgreSQL refuses to run as root. A server started by root therefore runs it as an account that
//! nothing else runs as, made when it is missing, and gives it the folders it has to write. Whatever
//! runs as the same account could read the data and take the database over, so `nobody`, which every
//! system runs many things as, is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, geteuid};

use super::error::{IoContext, RuntimeError};
use super::progress::Progress;

/// The account that is made when there is none.
const OWN: &str = "switchy";

/// Accounts to run PostgreSQL as when the server runs as root, best first.
const UNPRIVILEGED: [&str; 2] = [OWN, "postgres"];

/// The account of whatever has none of its own.
pub(super) const SHARED: &str = "nobody";

/// How an account is made. It has a group of its own, whatever the system's default is.
pub(super) const USERADD: [&str; 7] = [
    "useradd",
    "--system",
    "--user-group",
    "--no-create-home",
    "--shell",
    "/usr/sbin/nologin",
    OWN,
];

/// Where the programs are that manage accounts.
const ADMIN_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

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
    /// [`RuntimeError::NoAccount`] when root finds no account for it,
    /// [`RuntimeError::SharedAccount`] when this program runs as `nobody`.
    pub(super) fn choose() -> Result<Self, RuntimeError> {
        let uid = geteuid();
        if !uid.is_root() {
            return Self::current(uid, uid_of(SHARED));
        }
        UNPRIVILEGED
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Self::Unprivileged { name: user.name, uid: user.uid, gid: user.gid })
            .ok_or_else(|| RuntimeError::NoAccount { reason: "none was made yet".into() })
    }

    fn current(uid: Uid, shared: Option<Uid>) -> Result<Self, RuntimeError> {
        if Some(uid) == shared { Err(RuntimeError::SharedAccount) } else { Ok(Self::Current) }
    }

    /// The same; as root on Linux, the account is made when there is none.
    ///
    /// # Errors
    /// As [`choose`](Self::choose), with the reason why the account could not be made.
    pub(super) fn ensure(progress: &dyn Progress) -> Result<Self, RuntimeError> {
        let chosen = Self::choose();
        if !cfg!(target_os = "linux") || !matches!(chosen, Err(RuntimeError::NoAccount { .. })) {
            return chosen;
        }
        progress.step(&format!("Making the account '{OWN}', which PostgreSQL runs as"));
        let made = make();
        progress.done();
        // Another process may have been faster: what counts is that the account is there.
        Self::choose().map_err(|error| match made {
            Err(reason) => RuntimeError::NoAccount { reason },
            Ok(()) => error,
        })
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

    /// The accounts besides this one that earlier starts may have run PostgreSQL as.
    pub(super) fn former(&self) -> Vec<(&'static str, Uid)> {
        match self {
            Self::Current => Vec::new(),
            Self::Unprivileged { uid: own, .. } => UNPRIVILEGED
                .into_iter()
                .chain([SHARED])
                .filter_map(|name| Some((name, uid_of(name)?)))
                .filter(|(_, uid)| uid != own)
                .collect(),
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

/// The name of the account that this program runs as, by which PostgreSQL knows who connects.
///
/// # Errors
/// [`RuntimeError::NamelessAccount`] when the system knows no name for it.
pub(super) fn own_name() -> Result<String, RuntimeError> {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten();
    user.map(|user| user.name).ok_or(RuntimeError::NamelessAccount { uid: uid.as_raw() })
}

fn uid_of(name: &str) -> Option<Uid> {
    User::from_name(name).ok().flatten().map(|user| user.uid)
}

/// Makes the account, or says why not.
fn make() -> Result<(), String> {
    let [program, arguments @ ..] = USERADD;
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", ADMIN_PATH)
        .env("LANG", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    let last = messages.lines().map(str::trim).rfind(|line| !line.is_empty());
    Err(last.map_or_else(|| format!("{program}: {}", output.status), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_that_everything_shares_is_refused() {
        let (own, shared) = (Uid::from_raw(1_000), Uid::from_raw(65_534));
        assert_eq!(Account::current(own, Some(shared)).unwrap(), Account::Current);
        assert_eq!(Account::current(own, None).unwrap(), Account::Current);
        let error = Account::current(shared, Some(shared)).unwrap_err();
        assert!(error.to_string().contains("'nobody'"), "{error}");
        assert!(!UNPRIVILEGED.contains(&SHARED));
    }

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
