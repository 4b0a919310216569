//! The real PostgreSQL, installed into the machine's own cache.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::*;
use crate::{InstallOptions, Layout, Parts, Silent, install_with};

/// Tells a copy of this test program to hold the data folder named in it.
const HOLD_VARIABLE: &str = "SWITCHY_TEST_HOLD_DATA_DIR";

/// How long something may take that takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

fn install_dir() -> PathBuf {
    let cache = std::env::var_os("SWITCHY_CACHE_DIR").map(PathBuf::from);
    let layout = Layout::resolve(None, cache).unwrap();
    let parts = Parts { postgres: true, inference: false };
    let installed =
        install_with(&layout.cache_dir, parts, &InstallOptions::default(), &Silent).unwrap();
    installed.postgres.unwrap()
}

/// Nothing of a test has to survive a power cut.
fn options() -> PostgresOptions {
    PostgresOptions { settings: vec![("fsync".into(), "off".into())], ..Default::default() }
}

/// A data folder below a folder that any account may enter.
fn data_dir(name: &str) -> (TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let data_dir = dir.path().join(name);
    (dir, data_dir)
}

fn start(data_dir: &Path) -> Result<EmbeddedPostgres, RuntimeError> {
    EmbeddedPostgres::start(&install_dir(), data_dir, &options())
}

/// Runs one statement and gives the first column of its first row as text.
fn query(url: &str, sql: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.simple_query(sql).await.unwrap().into_iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    })
}

#[test]
fn data_outlives_a_restart_in_a_folder_with_an_awkward_name() {
    let (_dir, data_dir) = data_dir("it's, \"my\" data %");
    let postgres = start(&data_dir).unwrap();
    assert!(postgres.is_owner());
    let url = postgres.url();
    assert_eq!(query(&url, "SELECT current_database()").unwrap(), "switchy");
    assert_eq!(query(&url, "SHOW listen_addresses").unwrap(), "", "no TCP listener");
    assert_eq!(query(&url, "SHOW data_checksums").unwrap(), "on");
    assert_eq!(query(&url, "SELECT lower('ÀÉ')").unwrap(), "àé");
    query(&url, "CREATE EXTENSION vector");
    assert_eq!(query(&url, "SELECT '[1,2]'::vector <-> '[1,4]'").unwrap(), "2");
    query(&url, "CREATE TABLE note AS SELECT 'kept' AS body");
    query(&url, "CREATE DATABASE \"other one\"");
    let other = postgres.url_for("other one");
    assert_eq!(query(&other, "SELECT current_database()").unwrap(), "other one");
    postgres.stop().unwrap();

    let postgres = start(&data_dir).unwrap();
    assert_eq!(query(&postgres.url(), "SELECT body FROM note").unwrap(), "kept");
}

#[test]
fn a_path_too_long_for_a_socket_works() {
    let (_dir, data_dir) = data_dir(&"d".repeat(120));
    let postgres = start(&data_dir).unwrap();
    assert!(!postgres.socket_folder.starts_with(&data_dir));
    assert_eq!(query(&postgres.url(), "SELECT 1").unwrap(), "1");
    let socket_folder = postgres.socket_folder.clone();
    postgres.stop().unwrap();
    fs::remove_dir_all(socket_folder).unwrap();
}

#[test]
fn a_setting_it_refuses_is_the_reason_given() {
    let (_dir, data_dir) = data_dir("data");
    let options = PostgresOptions {
        settings: vec![("max_connections".into(), "none".into())],
        ..Default::default()
    };
    let error = EmbeddedPostgres::start(&install_dir(), &data_dir, &options).unwrap_err();
    assert!(matches!(error, RuntimeError::PostgresFailed { .. }), "{error}");
    assert!(error.to_string().contains("max_connections"), "{error}");
}

#[test]
fn its_own_death_is_noticed() {
    let (_dir, data_dir) = data_dir("data");
    let postgres = start(&data_dir).unwrap();
    assert!(postgres.try_wait().is_none());
    let pid = postgres.pid().unwrap();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let exit = runtime.block_on(postgres.exited());
    assert!(exit.to_string().contains("signal: 9"), "{exit}");
    assert!(postgres.try_wait().is_some());
    postgres.stop().unwrap();
}

/// What follows a server that is killed, as another process sees it.
#[test]
fn another_process_can_attach_but_not_start_and_takes_over_when_the_owner_is_killed() {
    let (_dir, data_dir) = data_dir("data");
    let mut holder = Holder::spawn(&data_dir);
    let error = start(&data_dir).unwrap_err();
    assert!(matches!(error, RuntimeError::DataDirInUse { .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {}", holder.process.id())), "{error}");

    let attached =
        EmbeddedPostgres::attach_or_start(&install_dir(), &data_dir, &options()).unwrap();
    assert!(!attached.is_owner());
    query(&attached.url(), "CREATE TABLE note AS SELECT 'kept' AS body");
    attached.stop().unwrap();

    holder.process.kill().unwrap();
    // The lock is free when its holder is reaped; its PostgreSQL may still be stopping.
    holder.process.wait().unwrap();
    let owner = EmbeddedPostgres::attach_or_start(&install_dir(), &data_dir, &options()).unwrap();
    assert!(owner.is_owner());
    assert_ne!(owner.pid(), Some(holder.postgres), "a new one, not the predecessor");
    assert_eq!(query(&owner.url(), "SELECT body FROM note").unwrap(), "kept");
    // It has given up the folder, and ends once its last own clean-up is done.
    let predecessor = Pid::from_raw(holder.postgres.cast_signed());
    let begun = Instant::now();
    while kill(predecessor, None).is_ok() {
        assert!(begun.elapsed() < DEADLINE, "the predecessor stops with its server");
        thread::yield_now();
    }
}

#[test]
fn a_start_after_both_were_killed_recovers() {
    let (_dir, data_dir) = data_dir("data");
    let mut holder = Holder::spawn(&data_dir);
    kill(Pid::from_raw(holder.postgres.cast_signed()), Signal::SIGKILL).unwrap();
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    let postgres = start(&data_dir).unwrap();
    assert_eq!(query(&postgres.url(), "SELECT 1").unwrap(), "1");
}

/// Another process that owns a data folder: a copy of this test program.
struct Holder {
    process: Child,
    postgres: u32,
}

impl Holder {
    fn spawn(data_dir: &Path) -> Self {
        let (_, path) = module_path!().split_once("::").unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([&format!("{path}::hold"), "--exact", "--nocapture"])
            .env(HOLD_VARIABLE, data_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let postgres = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .find_map(|line| line.unwrap().split_once("holding ")?.1.trim().parse().ok())
            .expect("the holder starts");
        Self { process, postgres }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have been killed by its test already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Not a rule: the other process of the tests above. Does nothing unless it is told to.
#[test]
fn hold() {
    let Some(data_dir) = std::env::var_os(HOLD_VARIABLE) else { return };
    let postgres = start(Path::new(&data_dir)).unwrap();
    println!("holding {}", postgres.pid().unwrap());
    // Until the test that waits outside kills this process, or ends itself.
    drop(std::io::stdin().lines().next());
}
