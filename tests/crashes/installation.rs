//! The real server with its PostgreSQL, as something that can be killed.

use crate::fixture::Caller;
use crate::fixture::binary::{Ended, Home, PATIENCE, POLL, Process, Serving, caller};
use crate::fixture::cluster::cluster;
use crate::fixture::stripe::{KEY, SECRET};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use switchy_runtime::{EmbeddedPostgres, PostgresOptions};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Victim {
    Server,
    Postgres,
    Both,
}

/// Where the data is.
pub enum Storage {
    /// In the server's own PostgreSQL: one does not outlive the other.
    Embedded,
    /// In a PostgreSQL that the server does not run; `None` while it is dead.
    Separate(Option<EmbeddedPostgres>),
}

impl Storage {
    pub fn separate() -> Storage {
        Storage::Separate(None)
    }
}

pub struct Installation {
    home: Home,
    storage: Storage,
    server: Option<Process>,
    address: String,
}

fn program() -> &'static Path {
    cluster().installed.postgres.as_deref().expect("PostgreSQL was asked for")
}

/// An address that is free now. Nobody else binds it meanwhile: ports are given in turn.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

fn slay(pid: i32) {
    // it may be on its way out already
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

impl Installation {
    pub fn new(storage: Storage) -> Installation {
        Installation { home: Home::new(), storage, server: None, address: free_address() }
    }

    /// Starts everything for the first time; returns the first organization's OWNER.
    pub async fn set_up(&mut self) -> Caller {
        self.start_postgres();
        let mut command = self.command(true);
        let serving = Serving::start(&mut command);
        let key = match &self.storage {
            Storage::Embedded => self.home.key(),
            Storage::Separate(_) => {
                let mut admin = self.home.server([
                    "admin",
                    "bootstrap",
                    "--org=my-team",
                    "--email=owner@localhost",
                    "--output=json",
                ]);
                let made: Value = Ended::of(admin.env("DATABASE_URL", self.database())).json();
                made["apiKey"].as_str().expect("a key").to_owned()
            }
        };
        let owner = caller(&serving.url, &key);
        self.server = Some(serving.process);
        owner
    }

    fn data_dir(&self) -> PathBuf {
        match self.storage {
            Storage::Embedded => self.home.data_dir(),
            Storage::Separate(_) => self.home.folder().join("separate"),
        }
    }

    fn start_postgres(&mut self) {
        let folder = self.data_dir();
        if let Storage::Separate(postgres) = &mut self.storage {
            let options = PostgresOptions::default();
            let started = EmbeddedPostgres::start(program(), &folder, &options);
            *postgres = Some(started.expect("PostgreSQL starts again"));
        }
    }

    /// The URL of the database, while it runs.
    pub fn database(&self) -> String {
        match &self.storage {
            Storage::Separate(postgres) => postgres.as_ref().expect("it runs").url(),
            Storage::Embedded => {
                let options = PostgresOptions::default();
                let attached =
                    EmbeddedPostgres::attach_or_start(program(), &self.data_dir(), &options);
                let attached = attached.expect("it runs");
                assert!(!attached.is_owner(), "the server runs it");
                attached.url()
            }
        }
    }

    fn command(&self, with_model: bool) -> Command {
        let arguments: &[&str] = if with_model { &["serve"] } else { &["serve", "--lexical-only"] };
        let mut command = self.home.server(arguments);
        command
            .env("SWITCHY_BIND", &self.address)
            .env("SWITCHY_LOG_FORMAT", "json")
            .env("SWITCHY_EMBED_THREADS", "1")
            .env("SWITCHY_READS_PER_MINUTE", "0")
            .env("SWITCHY_WRITES_PER_MINUTE", "0")
            .env("SWITCHY_FAILURES_PER_MINUTE", "0")
            .env("SWITCHY_KEY_CONCURRENCY", "0")
            .env("SWITCHY_ORG_CONCURRENCY", "0")
            .env("SWITCHY_STRIPE_SECRET_KEY", KEY)
            .env("SWITCHY_STRIPE_WEBHOOK_SECRET", SECRET)
            .env("SWITCHY_STRIPE_API_URL", "http://127.0.0.1:1");
        if let Storage::Separate(_) = self.storage {
            command.env_remove("SWITCHY_DATA_DIR").env("DATABASE_URL", self.database());
        }
        command
    }

    fn postgres_pid(&self) -> Option<i32> {
        match &self.storage {
            Storage::Embedded => {
                let file = self.data_dir().join("postgres/postmaster.pid");
                let text = std::fs::read_to_string(file).ok()?;
                text.lines().next()?.trim().parse().ok()
            }
            Storage::Separate(postgres) => postgres.as_ref()?.pid().map(|pid| pid as i32),
        }
    }

    /// Kills, and waits until what is killed is dead.
    pub fn kill(&mut self, victim: Victim) {
        if victim != Victim::Server
            && let Some(pid) = self.postgres_pid()
        {
            slay(pid);
            if let Storage::Separate(postgres) = &mut self.storage {
                drop(postgres.take());
            }
        }
        let ends = match self.storage {
            // without its PostgreSQL, the server ends by itself
            Storage::Embedded => true,
            Storage::Separate(_) => victim != Victim::Postgres,
        };
        if ends && let Some(server) = self.server.take() {
            if victim != Victim::Postgres {
                slay(server.pid());
            }
            let ended = server.wait();
            assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        }
    }

    /// Starts again what is dead.
    pub fn recover(&mut self, with_model: bool) {
        if matches!(self.storage, Storage::Separate(None)) {
            self.start_postgres();
        }
        if self.server.is_none() {
            self.server = Some(Process::start(&mut self.command(with_model)));
        }
    }

    /// Waits until a request that needs the database is answered.
    pub async fn until_ready(&mut self, somebody: &Caller) {
        let begun = Instant::now();
        loop {
            let request = somebody.request(http::Method::GET, "/me").send().await;
            if request.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            let server = self.server.as_mut().expect("started");
            if !server.runs() {
                let ended = self.server.take().expect("started").wait();
                panic!("the server ended: {}", ended.everything());
            }
            assert!(begun.elapsed() < PATIENCE, "it does not come back");
            tokio::time::sleep(POLL).await;
        }
    }
}
