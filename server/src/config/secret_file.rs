//! Secrets in files: what is on a command line or in an environment, other programs can read.

use secrecy::SecretString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest secret in a file, in bytes.
pub const MAX_SECRET: u64 = 64 * 1024;

/// A secret that was read from a file, once.
#[derive(Clone, Debug)]
pub struct SecretFile {
    /// Where it was.
    pub path: PathBuf,
    /// The file's text, without the end of its last line.
    pub secret: SecretString,
    /// Whether everybody on this machine can read the file.
    pub open_to_all: bool,
}

impl SecretFile {
    /// Reads it; the sentence says what is wrong with the file.
    pub fn read(path: &str) -> Result<Self, String> {
        let unreadable = |cause: std::io::Error| format!("the file cannot be read: {cause}");
        let file = File::open(path).map_err(unreadable)?;
        let open_to_all = is_open_to_all(&file).map_err(unreadable)?;
        let mut text = String::new();
        let read = file.take(MAX_SECRET + 1).read_to_string(&mut text);
        let length = read.map_err(unreadable)?;
        if u64::try_from(length).is_ok_and(|length| length > MAX_SECRET) {
            return Err(format!("the file has more than {MAX_SECRET} bytes: it holds no secret"));
        }
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err("the file is empty: write the secret into it".into());
        }
        Ok(SecretFile { path: Path::new(path).into(), secret: line.into(), open_to_all })
    }
}

#[cfg(unix)]
fn is_open_to_all(file: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_open_to_all(_: &File) -> std::io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn file(text: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    fn read(text: impl AsRef<[u8]>) -> Result<SecretFile, String> {
        SecretFile::read(file(text).path().to_str().expect("UTF-8"))
    }

    #[test]
    fn a_secret_is_the_file_without_the_end_of_its_last_line() {
        for (text, secret) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a b ", " a b ")]
        {
            assert_eq!(read(text).expect("a secret").secret.expose_secret(), secret);
        }
    }

    #[test]
    fn a_file_without_a_secret_is_refused_and_not_quoted() {
        let long = "x".repeat(65_537);
        for (bytes, says) in [
            (&b""[..], "empty"),
            (b"\n", "empty"),
            (b"hunter2\xff", "UTF-8"),
            (long.as_bytes(), "more than"),
        ] {
            let refused = read(bytes).expect_err("refused");
            assert!(refused.contains(says) && !refused.contains("hunter2"), "{refused}");
        }
        assert!(SecretFile::read("/nowhere/secret").expect_err("refused").contains("cannot be"));
        assert!(SecretFile::read("/").expect_err("refused").contains("cannot be"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_everybody_can_read_is_noticed() {
        use std::os::unix::fs::PermissionsExt;
        let file = file("a");
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), mode).expect("changed");
            let read = SecretFile::read(file.path().to_str().expect("UTF-8")).expect("a secret");
            assert_eq!(read.open_to_all, open);
        }
    }
}
