//! The folder of PostgreSQL's Unix socket.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::error::RuntimeError;
use crate::requirements::hex;

/// The port, which is only a part of the socket's name: there is no TCP listener.
pub(super) const PORT: u16 = 5432;

/// The longest path of a socket in bytes: the size of `sun_path` without its final zero.
const SOCKET_PATH_MAX_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Where the socket goes when the data folder's path is too long.
///
/// Not the environment's temporary folder: every process must come to the same answer.
const SHORT_BASE: &str = "/tmp";

/// The same when root starts the server on Linux: nobody else can make a folder of that name there
/// first, and so keep the server from starting.
const ROOTS_SHORT_BASE: &str = "/run";

/// Bytes of the data folder's hash in the short folder's name.
const NAME_HASH_BYTES: usize = 8;

/// The socket's folder for a data folder (given as an absolute path): within it if the socket's
/// path is short enough, else a folder with a short name.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    let inside = data_dir.join("run");
    let socket_length = inside.as_os_str().len() + format!("/.s.PGSQL.{PORT}").len();
    // A client takes the folder from a URL, which must be text.
    if socket_length <= SOCKET_PATH_MAX_BYTES && inside.to_str().is_some() {
        return inside;
    }
    let root = cfg!(target_os = "linux") && geteuid().is_root();
    let base = if root { ROOTS_SHORT_BASE } else { SHORT_BASE };
    let hash = Sha256::digest(data_dir.as_os_str().as_bytes());
    Path::new(base).join(format!("switchy-{}", hex(&hash[..NAME_HASH_BYTES])))
}

/// Creates the folder for the account alone, or checks that it is that already.
///
/// # Errors
/// [`RuntimeError::SocketFolder`] when somebody else has made it.
pub(super) fn prepare(folder: &Path, account: &Account) -> Result<(), RuntimeError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return account.own(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(RuntimeError::io("create", folder, error)),
    }
    if is_private(folder, account) {
        return Ok(());
    }
    // An earlier start may have been interrupted before it gave the folder away. Nobody else can
    // put something in the place of a folder that is ours.
    match fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() && metadata.uid() == geteuid().as_raw() => {
            account.own(folder)
        }
        _ => Err(RuntimeError::SocketFolder { folder: folder.to_owned() }),
    }
}

/// Whether the folder belongs to the account and is closed to others.
pub(super) fn is_private(folder: &Path, account: &Account) -> bool {
    let private = |metadata: Metadata| {
        metadata.is_dir()
            && metadata.uid() == account.uid().as_raw()
            && metadata.mode() & 0o077 == 0
    };
    // Not through a symbolic link: in a shared folder anybody can make one.
    fs::symlink_metadata(folder).is_ok_and(private)
}

/// The folder as the value of `unix_socket_directories`, a list: quoted, so that neither comma nor
/// space divides it.
pub(super) fn setting(folder: &Path) -> OsString {
    let mut quoted = vec![b'"'];
    for &byte in OsStr::as_bytes(folder.as_os_str()) {
        if byte == b'"' {
            quoted.push(byte);
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn length(folder: &Path) -> usize {
        folder.join(".s.PGSQL.5432").as_os_str().len()
    }

    #[test]
    fn the_socket_lies_in_the_data_folder_as_long_as_its_path_fits() {
        let suffix = "/run/.s.PGSQL.5432".len();
        let fits = PathBuf::from(format!("/{}", "d".repeat(SOCKET_PATH_MAX_BYTES - suffix - 1)));
        assert_eq!(folder(&fits), fits.join("run"));
        assert_eq!(length(&folder(&fits)), SOCKET_PATH_MAX_BYTES);

        let too_long = PathBuf::from(format!("{}d", fits.display()));
        let short = folder(&too_long);
        let root = cfg!(target_os = "linux") && geteuid().is_root();
        let base = if root { ROOTS_SHORT_BASE } else { SHORT_BASE };
        assert!(short.starts_with(base) && length(&short) < SOCKET_PATH_MAX_BYTES);
        assert_eq!(short, folder(&too_long), "every process must find the same folder");
        assert_ne!(short, folder(&too_long.join("other")));
    }

    #[test]
    fn a_path_that_is_not_text_gets_a_folder_that_is() {
        let dir = Path::new(OsStr::from_bytes(b"/srv/\xff"));
        assert!(folder(dir).to_str().is_some());
    }

    #[test]
    fn a_folder_that_is_not_private_is_made_so_only_if_it_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::Current;
        let own = dir.path().join("own");
        prepare(&own, &account).unwrap();
        fs::set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
        assert!(!is_private(&own, &account));
        prepare(&own, &account).unwrap();
        assert!(is_private(&own, &account));

        let link = dir.path().join("link");
        symlink(&own, &link).unwrap();
        assert!(!is_private(&link, &account));
        let error = prepare(&link, &account).unwrap_err();
        assert!(matches!(error, RuntimeError::SocketFolder { .. }), "{error}");
    }

    #[test]
    fn the_setting_is_quoted() {
        assert_eq!(setting(Path::new(r#"/a b,c"d"#)), r#""/a b,c""d""#);
    }
}
