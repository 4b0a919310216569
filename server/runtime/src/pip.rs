//! Fetching the pinned wheels with the machine's pip.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::child::BoundChild;
use super::error::{IoContext, RuntimeError};
use super::platform::Platform;
use super::progress::Progress;
use super::requirements::{Requirement, hex};

/// The Python version whose wheels are pinned. Nothing of them is run, so it need not be the
/// version of the Python that fetches them.
const WHEEL_PYTHON: &str = "3.11";

/// The binary interface of [`WHEEL_PYTHON`].
const WHEEL_ABI: &str = "cp311";

/// How often the size of the download is looked at.
const POLL: Duration = Duration::from_millis(100);

/// The longest part of pip's message that goes into an error.
const REASON_MAX_CHARS: usize = 300;

/// How much of pip's messages is kept; what counts stands at their end.
const MESSAGES_MAX_BYTES: usize = 64 * 1024;

/// Buffer for reading a wheel to check it.
const READ_BUFFER_BYTES: usize = 1 << 20;

/// Fetches `requirements` into the new folder `work/wheels` and checks their checksums.
///
/// Everything pip writes stays within `work`, which the caller removes. `total` is the expected
/// number of bytes. Returns one path for each requirement, in their order.
pub(super) fn download(
    python: &Path,
    platform: Platform,
    requirements: &[Requirement],
    work: &Path,
    total: u64,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>, RuntimeError> {
    let wheels = work.join("wheels");
    // pip writes here first: counted for progress, and removed with the rest if pip is killed.
    let unfinished = work.join("unfinished");
    for folder in [&wheels, &unfinished] {
        fs::create_dir(folder).on("create", folder)?;
    }
    let file = work.join("requirements.txt");
    let lines: String = requirements.iter().map(|r| r.line() + "\n").collect();
    fs::write(&file, lines).on("write", &file)?;

    let mut command = pip(python, platform, &file, &wheels);
    command
        // `-m` looks in the current folder first: let it be one where nobody left a module.
        .current_dir(&unfinished)
        .env("TMPDIR", &unfinished)
        // Started by root, Python would write into the system's own folders.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let (status, messages) = run(&mut command, python, || {
        let done = size_of(&wheels) + size_of(&unfinished);
        progress.bytes(done.min(total), Some(total));
    })?;
    if !status.success() {
        return Err(failure(python, &messages, work));
    }
    requirements.iter().map(|requirement| checked(requirement, &wheels)).collect()
}

fn pip(python: &Path, platform: Platform, requirements: &Path, wheels: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color"])
        // Kept once, in our own cache folder, not a second time in pip's.
        .args(["--no-cache-dir", "download", "--quiet", "--no-deps", "--only-binary=:all:"])
        .args(["--implementation", "cp", "--python-version", WHEEL_PYTHON, "--abi", WHEEL_ABI]);
    for tag in platform.pip_tags() {
        command.args(["--platform", tag]);
    }
    command.arg("--require-hashes").arg("-r").arg(requirements).arg("-d").arg(wheels);
    command
}

/// Runs pip to its end, and gives what it wrote to standard error.
fn run(
    command: &mut Command,
    python: &Path,
    mut meanwhile: impl FnMut(),
) -> Result<(ExitStatus, String), RuntimeError> {
    let mut child = BoundChild::spawn(command).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RuntimeError::NoPython { python: python.display().to_string() },
        _ => RuntimeError::Spawn { program: python.to_owned(), source },
    })?;
    let pipe = child.process().stderr.take();
    thread::scope(|scope| {
        // Into memory: a full disk is among what has to be reported.
        let messages = scope.spawn(|| pipe.map(read_end).unwrap_or_default());
        let status = loop {
            match child.process().try_wait().on("wait for", python)? {
                Some(status) => break status,
                None => meanwhile(),
            }
            thread::sleep(POLL);
        };
        Ok((status, messages.join().unwrap_or_default()))
    })
}

/// Reads to the end and keeps the last [`MESSAGES_MAX_BYTES`].
fn read_end(mut from: impl Read) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..n]);
        let excess = kept.len().saturating_sub(MESSAGES_MAX_BYTES);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Turns pip's messages into the error that says what to do.
fn failure(python: &Path, text: &str, work: &Path) -> RuntimeError {
    if text.contains("No module named pip") {
        return RuntimeError::NoPip { python: python.display().to_string() };
    }
    if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
        return RuntimeError::DiskFull { path: work.to_owned() };
    }
    if text.contains("DO NOT MATCH THE HASHES") {
        // pip lists the package under the announcement, followed by what it expected.
        let package = text
            .lines()
            .filter_map(|line| line.trim().split_once("==").or(line.trim().split_once(" from ")))
            .map(|(name, _)| name.to_owned())
            .next();
        return RuntimeError::Checksum {
            what: package.map_or("a downloaded package".into(), |p| format!("the package {p}")),
        };
    }
    RuntimeError::Download {
        reason: broken_connection(text).unwrap_or_else(|| last_useful_line(text)),
    }
}

/// What broke the connection, if pip warned of that: the error it ends with then is only that it
/// found no package.
fn broken_connection(text: &str) -> Option<String> {
    let warning = text.lines().rfind(|line| line.contains("connection broken by"))?;
    let (cause, _) = warning.rsplit_once("': /")?;
    let cause = cause.rsplit(": ").next()?;
    let cause = cause.strip_suffix("\")").or(cause.strip_suffix("')")).unwrap_or(cause);
    Some(format!("no connection to the package index: {cause}"))
}

/// The last line that reports an error, or the last line, or that there was none.
fn last_useful_line(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines()
        .rfind(|line| line.starts_with("ERROR:"))
        .or_else(|| lines().next_back())
        .unwrap_or("it gave no reason");
    let line = line.strip_prefix("ERROR:").unwrap_or(line).trim().trim_end_matches('.');
    line.chars().take(REASON_MAX_CHARS).collect()
}

/// The wheel of a requirement, if its checksum is a pinned one.
///
/// pip has checked it already, unless its configuration or a wrapper around it did something else.
fn checked(requirement: &Requirement, wheels: &Path) -> Result<PathBuf, RuntimeError> {
    let prefix = requirement.file_prefix();
    let path = fs::read_dir(wheels)
        .on("read", wheels)?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .ok_or_else(|| RuntimeError::Download {
            reason: format!("it ended without {}", requirement.name),
        })?;
    let found = sha256(&path).on("read", &path)?;
    if requirement.hashes.iter().any(|pinned| *pinned == found) {
        Ok(path)
    } else {
        Err(RuntimeError::Checksum { what: format!("the package {}", requirement.name) })
    }
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The size of all files below a folder. Files come and go meanwhile, so errors count as nothing.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reported_error_is_the_reason() {
        let text = "WARNING: Retrying\nERROR: no route to host.\n\n[notice] a new pip exists\n";
        assert_eq!(last_useful_line(text), "no route to host");
        assert_eq!(last_useful_line("Segmentation fault\n"), "Segmentation fault");
        assert_eq!(last_useful_line(""), "it gave no reason");
    }

    #[test]
    fn a_broken_connection_is_named_rather_than_the_missing_package() {
        let text = "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by \
                    'NewConnectionError(\"HTTPSConnection(host='index', port=443): Failed to \
                    establish a new connection: [Errno 111] Connection refused\")': /simple/x/\n\
                    ERROR: No matching distribution found for x==1\n";
        assert_eq!(
            broken_connection(text).unwrap(),
            "no connection to the package index: [Errno 111] Connection refused"
        );
        assert_eq!(broken_connection("ERROR: No matching distribution found for x==1"), None);
    }
}
