//! The profiles in `config.toml`.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, DirBuilder},
    io::{self, Write},
    path::{Path, PathBuf},
};

use directories::ProjectDirs;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Where the folder of the configuration is told.
const CONFIG_DIR: &str = "SWITCHY_CONFIG_DIR";

/// The file in that folder.
const CONFIG_FILE: &str = "config.toml";

/// All that is saved. The server writes the same format when it is first started.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Config {
    /// The name of the profile to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(default)]
    pub profiles: BTreeMap<String, Profile>,
}

/// A server, and a key for it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Profile {
    /// Of the API, its path included.
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose")]
    pub api_key: Option<SecretString>,
}

/// Keys are written into this one file, which nobody else can read.
fn expose<S: serde::Serializer>(key: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    key.as_ref().map(ExposeSecret::expose_secret).serialize(to)
}

/// Where the configuration is.
///
/// # Errors
///
/// When neither `SWITCHY_CONFIG_DIR` nor a home directory is known.
pub fn path() -> Result<PathBuf, Failure> {
    let told = env::var_os(CONFIG_DIR).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = told.or_else(|| {
        ProjectDirs::from("", "", "switchy").map(|folders| folders.config_dir().to_path_buf())
    });
    let unknown = || {
        Failure::usage("there is no home directory to keep the configuration in")
            .hint(format!("set {CONFIG_DIR} to a folder"))
    };
    Ok(folder.ok_or_else(unknown)?.join(CONFIG_FILE))
}

impl Config {
    /// What is saved; nothing when there is no file yet.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or understood. The message never quotes the file.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(Failure::file("read", path, cause)),
        };
        // The error's own display shows the line that it is about, which may hold a key.
        toml::from_str(&text).map_err(|cause| Failure::file("understand", path, cause.message()))
    }

    /// Replaces the file as a whole, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or written to.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let failed = |cause: &dyn std::fmt::Display| Failure::file("write", path, cause);
        let folder = path.parent().unwrap_or(Path::new("."));
        private_folder(folder).map_err(|cause| failed(&cause))?;
        let text = toml::to_string(self).map_err(|cause| failed(&cause))?;
        // A temporary file is private from the start, and moving it changes all or nothing.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|cause| failed(&cause))?;
        file.write_all(text.as_bytes()).map_err(|cause| failed(&cause))?;
        file.as_file().sync_all().map_err(|cause| failed(&cause))?;
        file.persist(path).map_err(|cause| failed(&cause))?;
        Ok(())
    }

    /// The names that there are, for messages.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.profiles.keys().map(String::as_str).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder)
}
