//! The CLI's profiles, as far as the server writes one: at its very first start.

use std::io::Write;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// What the first profile is called.
const NAME: &str = "local";

/// A profile cannot be saved.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct ProfileError {
    path: String,
    cause: String,
}

/// The CLI's folder: `SWITCHY_CONFIG_DIR`, or the platform's for settings.
pub fn default_folder() -> Option<PathBuf> {
    match std::env::var_os("SWITCHY_CONFIG_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => Some(dir.into()),
        None => directories::ProjectDirs::from("", "", switchy_runtime::APP_NAME)
            .map(|dirs| dirs.config_dir().to_owned()),
    }
}

/// A profile that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its name.
    pub name: String,
    /// Whether the CLI uses it unless told otherwise.
    pub is_current: bool,
}

/// Adds a profile for this server, readable by its owner alone, and makes it the current one unless
/// there is a current one already. A profile that exists is never overwritten: its key would be
/// lost.
pub fn save(folder: &Path, url: &str, api_key: &str) -> Result<Saved, ProfileError> {
    let file = folder.join("config.toml");
    let failed = |cause: &dyn std::fmt::Display| ProfileError {
        path: file.display().to_string(),
        cause: cause.to_string(),
    };
    let mut config: Table = match std::fs::read_to_string(&file) {
        Ok(text) => text.parse().map_err(|e: toml::de::Error| failed(&e))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Table::new(),
        Err(e) => return Err(failed(&e)),
    };
    let profiles = config
        .entry("profiles")
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .ok_or_else(|| failed(&"`profiles` is not a table"))?;
    let mut name = NAME.to_owned();
    let mut next = 2;
    while profiles.contains_key(&name) {
        name = format!("{NAME}-{next}");
        next += 1;
    }
    let mut profile = Table::new();
    profile.insert("url".into(), url.into());
    profile.insert("api_key".into(), api_key.into());
    profiles.insert(name.clone(), Value::Table(profile));
    let current = config.entry("current").or_insert_with(|| name.clone().into());
    let is_current = current.as_str() == Some(&name);
    write_private(folder, &file, &config.to_string()).map_err(|e| failed(&e))?;
    Ok(Saved { name, is_current })
}

/// Writes beside the file and renames: a reader sees the old one or the new one.
fn write_private(folder: &Path, file: &Path, text: &str) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    // created with mode 0600
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist(file).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_profile_is_current_private_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = folder.path().join("config");
        let saved = |name: &str, is_current| Saved { name: name.into(), is_current };
        let first = save(&dir, "http://a/api", "sk_live_a").expect("saved");
        assert_eq!(first, saved("local", true));
        let second = save(&dir, "http://b/api", "sk_live_b").expect("saved");
        assert_eq!(second, saved("local-2", false));
        let text = std::fs::read_to_string(dir.join("config.toml")).expect("file");
        let config: Table = text.parse().expect("toml");
        assert_eq!(config["current"].as_str(), Some("local"));
        assert_eq!(config["profiles"]["local"]["api_key"].as_str(), Some("sk_live_a"));
        assert_eq!(config["profiles"]["local-2"]["url"].as_str(), Some("http://b/api"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| {
                std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777
            };
            assert_eq!(mode(&dir.join("config.toml")), 0o600);
            assert_eq!(mode(&dir), 0o700);
        }
    }

    #[test]
    fn a_broken_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "not toml = = =").expect("written");
        assert!(save(folder.path(), "http://a/api", "sk_live_a").is_err());
        assert_eq!(std::fs::read_to_string(&file).expect("file"), "not toml = = =");
    }
}
