//! The key that encrypts tenants' secrets, in a file beside the embedded database: whoever copies
//! the database alone can read none of them.

use super::data_dir::create;
use super::error::{IoContext, RuntimeError};
use rand::TryRngCore;
use secrecy::SecretBox;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// The file's name, in the data folder.
const KEY_FILE: &str = "vault.key";

/// Bytes of the key.
const KEY_BYTES: usize = 32;

/// The key of a data folder: 32 random bytes, made when there is none yet, readable by nobody else.
///
/// # Errors
/// [`RuntimeError::VaultKey`] when the file holds something else; otherwise what the file system
/// says.
pub fn vault_key(data_dir: &Path) -> Result<SecretBox<[u8]>, RuntimeError> {
    let data_dir = create(data_dir)?;
    let path = data_dir.join(KEY_FILE);
    if !path.try_exists().on("find", &path)? {
        make(&data_dir, &path)?;
    }
    let key = fs::read(&path).on("read", &path)?;
    if key.len() != KEY_BYTES {
        return Err(RuntimeError::VaultKey { path });
    }
    Ok(SecretBox::new(key.into_boxed_slice()))
}

/// A whole file appears, or none; where another process was faster, its file stays.
fn make(data_dir: &Path, path: &Path) -> Result<(), RuntimeError> {
    let mut key = [0u8; KEY_BYTES];
    rand::rngs::OsRng
        .try_fill_bytes(&mut key)
        .map_err(std::io::Error::other)
        .on("find randomness for", path)?;
    // temporary files are their owner's alone from the beginning
    let mut file = tempfile::NamedTempFile::new_in(data_dir).on("create", path)?;
    file.write_all(&key).and_then(|()| file.as_file().sync_all()).on("write", path)?;
    match file.persist_noclobber(path) {
        Ok(_) => File::open(data_dir).and_then(|folder| folder.sync_all()).on("write", data_dir),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(RuntimeError::io("create", path, error.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let key = vault_key(&data).unwrap();
        assert_eq!(key.expose_secret().len(), KEY_BYTES);
        assert_eq!(vault_key(&data).unwrap().expose_secret(), key.expose_secret());
        let mode = fs::metadata(data.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn of_many_that_make_it_at_once_all_have_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| vault_key(dir.path()).unwrap().expose_secret().to_vec()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_file_that_holds_no_key_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEY_FILE), "short").unwrap();
        let error = vault_key(dir.path()).unwrap_err();
        assert!(error.to_string().contains(KEY_FILE), "{error}");
        assert_eq!(fs::read(dir.path().join(KEY_FILE)).unwrap(), b"short");
    }
}
