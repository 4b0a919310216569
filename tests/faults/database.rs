//! A database that dies, hangs, and comes back.

use super::{Answer, asks_to_wait, options, until_served};
use crate::fixture::cluster::cluster;
use crate::fixture::stream::Stream;
use crate::fixture::{Options, Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::SecretString;
use serde_json::json;
use std::time::{Duration, Instant};
use switchy_runtime::{EmbeddedPostgres, PostgresOptions};
use switchy_server::store::migrations;
use tempfile::TempDir;

/// How soon a request must be answered while there is no database.
const SOON: Duration = Duration::from_secs(10);

/// A PostgreSQL of one test, which may be killed.
pub(super) struct Own {
    folder: TempDir,
    postgres: Option<EmbeddedPostgres>,
}

impl Own {
    pub(super) fn start() -> Own {
        cluster();
        let mut builder = tempfile::Builder::new();
        builder.prefix("switchy-own-");
        // started by root, PostgreSQL runs as an account that must get through
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
        let mut own = Own { folder: builder.tempdir().expect("a folder"), postgres: None };
        own.start_again();
        own
    }

    pub(super) fn start_again(&mut self) {
        let program = cluster().installed.postgres.as_deref().expect("PostgreSQL");
        let folder = self.folder.path().join("data");
        let options = PostgresOptions::default();
        let started = std::thread::scope(|scope| {
            let start = || EmbeddedPostgres::start(program, &folder, &options);
            scope.spawn(start).join().expect("no panic")
        });
        self.postgres = Some(started.expect("PostgreSQL"));
    }

    fn running(&self) -> &EmbeddedPostgres {
        self.postgres.as_ref().expect("it runs")
    }

    pub(super) async fn server(&self, options: Options) -> Server {
        let url = SecretString::from(self.running().url());
        migrations::run(&url).await.expect("migrated");
        Server::on(url, options).await
    }

    pub(super) fn pid(&self) -> i32 {
        self.running().pid().and_then(|pid| pid.try_into().ok()).expect("a process id")
    }

    fn kill(&mut self) {
        let all = self.processes();
        kill(Pid::from_raw(self.pid()), Signal::SIGKILL).expect("it runs");
        drop(self.postgres.take());
        // the others answer until they have noticed
        while all.iter().any(|pid| kill(*pid, None).is_ok()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All processes of it: the first, and those that it has started.
    fn processes(&self) -> Vec<Pid> {
        let own = self.pid();
        let parent = |pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<i32>().ok()
        };
        let all = std::fs::read_dir("/proc").expect("/proc").flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        all.filter(|pid| *pid == own || parent(*pid) == Some(own)).map(Pid::from_raw).collect()
    }

    fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            // one of them may have ended meanwhile
            let _ = kill(pid, signal);
        }
    }
}

/// A request that has to do without the database.
async fn refused_soon(asked: impl Future<Output = Answer>) {
    let begun = Instant::now();
    asks_to_wait(&asked.await);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_dies_is_503_and_one_that_comes_back_is_used_without_a_restart() {
    let mut own = Own::start();
    let server = own.server(Options { pool_timeout: Duration::from_secs(1), ..options() }).await;
    let owner = server.org("acme").await.owner;
    owner.space("Team").await;
    let made = owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session = format!("/spaces/team/sessions/{}", made["session"]["id"].as_str().expect("id"));
    let mut stream = Stream::open(&owner, &format!("{session}/events"), None).await;
    for round in 0..3 {
        own.kill();
        for _ in 0..5 {
            refused_soon(owner.get("/me")).await;
            refused_soon(owner.post("/projects", json!({ "name": "Platform" }))).await;
        }
        refused_soon(owner.get("/ready")).await;
        owner.get("/health").await.data(200);

        own.start_again();
        until_served(&owner).await;
        owner.get("/ready").await.data(200);
        // who followed a session all the while goes on to
        let body = json!({ "body": format!("round {round}") });
        owner.post(&format!("{session}/messages"), body.clone()).await.data(201);
        let told = stream.event().await;
        assert_eq!(told.data["message"]["body"], body["body"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_database_that_hangs_is_503_at_the_deadline_and_is_used_when_it_goes_on() {
    let own = Own::start();
    let server = own
        .server(Options {
            pool_timeout: Duration::from_secs(1),
            request_deadline: Duration::from_secs(2),
            pool_size: 2,
            ..options()
        })
        .await;
    let owner = server.org("acme").await.owner;
    for _ in 0..2 {
        owner.get("/me").await.data(200);
        own.signal(Signal::SIGSTOP);
        let asked = (0..8).map(|_| refused_soon(owner.get("/me")));
        futures::future::join_all(asked).await;
        owner.get("/health").await.data(200);
        own.signal(Signal::SIGCONT);
        until_served(&owner).await;
    }
}
