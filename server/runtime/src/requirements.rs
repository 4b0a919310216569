//! The pinned wheels, read from `requirements.txt`.

use sha2::{Digest, Sha256};

/// The requirements file, as pip understands it.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// One pinned wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirement {
    /// The package's name.
    pub(super) name: &'static str,
    /// The exact version.
    pub(super) version: &'static str,
    /// sha256 of each acceptable wheel, lower-case hex.
    pub(super) hashes: Vec<&'static str>,
}

impl Requirement {
    /// The requirement of this name. The names are constants, and a test holds them to the file.
    pub(super) fn named(name: &'static str) -> Self {
        all().into_iter().find(|r| r.name == name).unwrap_or(Self {
            name,
            version: "",
            hashes: Vec::new(),
        })
    }

    /// The line of a requirements file.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{}=={}", self.name, self.version);
        for hash in &self.hashes {
            line += &format!(" --hash=sha256:{hash}");
        }
        line
    }

    /// What the wheel's file name begins with.
    pub(super) fn file_prefix(&self) -> String {
        format!("{}-{}-", self.name.replace('-', "_"), self.version)
    }
}

/// Eight hex digits that change with any of the given texts.
pub(super) fn short_hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    hex(&hasher.finalize()[..4])
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn all() -> Vec<Requirement> {
    let mut found: Vec<Requirement> = Vec::new();
    for word in REQUIREMENTS
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
    {
        if let Some((name, version)) = word.split_once("==") {
            found.push(Requirement { name, version, hashes: Vec::new() });
        } else if let (Some(hash), Some(last)) =
            (word.strip_prefix("--hash=sha256:"), found.last_mut())
        {
            last.hashes.push(hash);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_pinned_by_version_and_checksum() {
        let all = all();
        assert_eq!(all.len(), 4);
        for requirement in all {
            assert!(!requirement.version.is_empty());
            assert!(matches!(requirement.hashes.len(), 1 | 3), "one hash, or one a platform");
            assert!(requirement.hashes.iter().all(|hash| hash.len() == 64));
        }
    }

    #[test]
    fn a_written_line_is_what_pip_reads() {
        let requirement = Requirement { name: "a-b", version: "1.0", hashes: vec!["00", "11"] };
        assert_eq!(requirement.line(), "a-b==1.0 --hash=sha256:00 --hash=sha256:11");
        assert_eq!(requirement.file_prefix(), "a_b-1.0-");
    }
}
