//! Where files are kept when nobody says otherwise.

use std::path::{Path, PathBuf};

use directories::ProjectDirs;

use super::error::RuntimeError;

/// The application's name in folder names.
pub const APP_NAME: &str = "switchy";

/// Root's data folder on Linux: root's home is closed to the account that runs PostgreSQL.
const ROOT_DATA_DIR: &str = "/var/lib/switchy";

/// Root's cache folder on Linux, for the same reason outside root's home.
const ROOT_CACHE_DIR: &str = "/var/cache/switchy";

/// The two folders the embedded runtime uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What must not be lost: PostgreSQL's data, its log, the server's lock.
    pub data_dir: PathBuf,
    /// What can be fetched again: programs and models, shared by every data folder.
    pub cache_dir: PathBuf,
}

impl Layout {
    /// The given folders, and the platform's default for each that is not given (or is empty).
    ///
    /// Defaults: on Linux `$XDG_DATA_HOME/switchy` and `$XDG_CACHE_HOME/switchy`, as root
    /// `/var/lib/switchy` and `/var/cache/switchy`; on macOS the account's `Library` folder.
    ///
    /// # Errors
    /// [`RuntimeError::NoHome`] when a default is needed and the account has no home folder.
    pub fn resolve(
        data_dir: Option<PathBuf>,
        cache_dir: Option<PathBuf>,
    ) -> Result<Self, RuntimeError> {
        let root = cfg!(target_os = "linux") && nix::unistd::geteuid().is_root();
        let home = ProjectDirs::from("", "", APP_NAME);
        let home = home.as_ref().map(|dirs| (dirs.data_local_dir(), dirs.cache_dir()));
        Self::choose(data_dir, cache_dir, root, home)
    }

    fn choose(
        data_dir: Option<PathBuf>,
        cache_dir: Option<PathBuf>,
        root: bool,
        home: Option<(&Path, &Path)>,
    ) -> Result<Self, RuntimeError> {
        let defaults = match (root, home) {
            (true, _) => Some((Path::new(ROOT_DATA_DIR), Path::new(ROOT_CACHE_DIR))),
            (false, home) => home,
        };
        let given = |dir: Option<PathBuf>| dir.filter(|dir| !dir.as_os_str().is_empty());
        let or_default = |dir: Option<PathBuf>, default: Option<&Path>| {
            given(dir).or(default.map(Path::to_owned)).ok_or(RuntimeError::NoHome)
        };
        Ok(Self {
            data_dir: or_default(data_dir, defaults.map(|d| d.0))?,
            cache_dir: or_default(cache_dir, defaults.map(|d| d.1))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Option<(&'static Path, &'static Path)> {
        Some((Path::new("/home/ada/data"), Path::new("/home/ada/cache")))
    }

    #[test]
    fn an_ordinary_account_keeps_files_in_its_home() {
        let layout = Layout::choose(None, None, false, home()).unwrap();
        assert_eq!(layout.data_dir, Path::new("/home/ada/data"));
        assert_eq!(layout.cache_dir, Path::new("/home/ada/cache"));
    }

    #[test]
    fn root_keeps_files_outside_its_home() {
        let layout = Layout::choose(None, None, true, home()).unwrap();
        assert_eq!(layout.data_dir, Path::new("/var/lib/switchy"));
        assert_eq!(layout.cache_dir, Path::new("/var/cache/switchy"));
    }

    #[test]
    fn a_given_folder_wins_and_an_empty_one_counts_as_not_given() {
        let layout =
            Layout::choose(Some("/srv/x".into()), Some(PathBuf::new()), false, home()).unwrap();
        assert_eq!(layout.data_dir, Path::new("/srv/x"));
        assert_eq!(layout.cache_dir, Path::new("/home/ada/cache"));
    }

    #[test]
    fn without_a_home_both_folders_must_be_given() {
        let missing = Layout::choose(Some("/srv/x".into()), None, false, None);
        assert!(matches!(missing, Err(RuntimeError::NoHome)));
        assert!(Layout::choose(Some("/a".into()), Some("/b".into()), false, None).is_ok());
    }
}
