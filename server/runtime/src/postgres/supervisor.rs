//! The thread that starts PostgreSQL, watches it and stops it.
//!
//! One thread does it all, and lives as long as the process does: the kernel ties the child to the
//! thread that spawned it, and a process id is only safe to signal by whoever reaps it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::PostgresExit;
use super::cluster;
use super::log::Log;
use super::ready::Probe;
use crate::account::Account;
use crate::child::BoundChild;
use crate::error::{IoContext, RuntimeError};

/// How often a starting PostgreSQL is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(10);

/// How often a running PostgreSQL is looked after; how late its death can be noticed.
const WATCH_POLL: Duration = Duration::from_millis(100);

/// How often a stopping PostgreSQL is looked after.
const STOP_POLL: Duration = Duration::from_millis(5);

/// How long the PostgreSQL of a server that was killed may take to leave the data folder.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long to wait before trying again whether it has left.
const TAKEOVER_POLL: Duration = Duration::from_millis(100);

/// How long a stop may take that rolls back, writes everything and leaves nothing to recover.
const FAST_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a stop may take that leaves the rest to recovery.
const IMMEDIATE_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is run, and how.
pub(super) struct Program {
    /// The executable.
    pub(super) path: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// The cluster it runs on.
    pub(super) cluster: PathBuf,
    /// Who runs it.
    pub(super) account: Account,
    /// Where it answers.
    pub(super) socket_folder: PathBuf,
    /// Where it writes.
    pub(super) log: Log,
    /// How long it may take until it answers.
    pub(super) start_timeout: Duration,
}

/// A running PostgreSQL. Dropping it stops PostgreSQL.
#[derive(Debug)]
pub(super) struct Supervisor {
    pid: u32,
    /// Dropping the sender is the request to stop.
    keep_running: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<(), RuntimeError>>>,
    exit: watch::Receiver<Option<PostgresExit>>,
}

impl Supervisor {
    /// Starts the program and waits until it accepts connections.
    pub(super) fn start(program: Program) -> Result<Self, RuntimeError> {
        program.log.rotate()?;
        let (keep_running, stop) = mpsc::channel();
        let (started, start) = mpsc::sync_channel(1);
        let (exited, exit) = watch::channel(None);
        let folder = program.socket_folder.clone();
        let thread = thread::Builder::new()
            .name("postgres".into())
            .spawn(move || supervise(&program, &started, &stop, &exited))
            .on("start a thread for", &folder)?;
        match start.recv() {
            Ok(Ok(pid)) => {
                Ok(Self { pid, keep_running: Some(keep_running), thread: Some(thread), exit })
            }
            Ok(Err(error)) => {
                drop(thread.join());
                Err(error)
            }
            Err(_) => Err(RuntimeError::SupervisorLost),
        }
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended by itself, if it has.
    pub(super) fn exit(&self) -> Option<PostgresExit> {
        self.exit.borrow().clone()
    }

    /// Waits until it ends by itself.
    pub(super) async fn exited(&self) -> PostgresExit {
        let mut exit = self.exit.clone();
        let found = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        match found {
            Some(exit) => exit,
            // The thread is gone because PostgreSQL was stopped on request.
            None => std::future::pending().await,
        }
    }

    /// Stops it and waits for it.
    pub(super) fn stop(mut self) -> Result<(), RuntimeError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), RuntimeError> {
        drop(self.keep_running.take());
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or(Err(RuntimeError::SupervisorLost)),
            None => Ok(()),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // A caller who wants to know calls `stop`.
        drop(self.finish());
    }
}

/// The thread's work, from the first attempt to start until the process is gone.
fn supervise(
    program: &Program,
    started: &SyncSender<Result<u32, RuntimeError>>,
    stop: &Receiver<()>,
    exited: &watch::Sender<Option<PostgresExit>>,
) -> Result<(), RuntimeError> {
    let (mut child, log_start) = match program.launch() {
        Ok(running) => running,
        Err(error) => {
            // The receiver waits for this; it cannot be gone.
            drop(started.send(Err(error)));
            return Ok(());
        }
    };
    if started.send(Ok(child.process().id())).is_err() {
        return end(&mut child);
    }
    loop {
        match stop.recv_timeout(WATCH_POLL) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return end(&mut child),
        }
        if let Some(status) = status(&mut child)? {
            let log = program.log.path().to_owned();
            let reason = program.log.reason_since(log_start, child.process().id());
            exited.send_replace(Some(PostgresExit { status, reason, log }));
            return Ok(());
        }
    }
}

/// Why one attempt to start came to nothing.
enum Attempt {
    /// It ended by itself.
    Ended { reason: String },
    /// Anything else.
    Failed(RuntimeError),
}

impl Program {
    /// Starts until PostgreSQL answers, again as long as its predecessor is in the way.
    ///
    /// Also gives the size the log had before.
    fn launch(&self) -> Result<(BoundChild, u64), RuntimeError> {
        let begun = Instant::now();
        loop {
            let log_start = self.log.end();
            match self.attempt(log_start) {
                Ok(child) => return Ok((child, log_start)),
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Ended { reason })
                    if predecessor_in_the_way(&reason) && begun.elapsed() < TAKEOVER_TIMEOUT =>
                {
                    thread::sleep(TAKEOVER_POLL);
                }
                Err(Attempt::Ended { reason }) => {
                    let log = self.log.path().to_owned();
                    return Err(RuntimeError::PostgresFailed { reason, log });
                }
            }
        }
    }

    fn attempt(&self, log_start: u64) -> Result<BoundChild, Attempt> {
        let mut child = self.spawn().map_err(Attempt::Failed)?;
        let ready = self.wait_until_ready(&mut child, log_start);
        if matches!(ready, Err(Attempt::Failed(_))) {
            // The failure to start is the one to report.
            drop(end(&mut child));
        }
        ready.map(|()| child)
    }

    fn spawn(&self) -> Result<BoundChild, RuntimeError> {
        let output = self.log.open()?;
        let errors = output.try_clone().on("open", self.log.path())?;
        let mut command = cluster::command(&self.path, &self.account);
        command
            .args(&self.arguments)
            .stdout(output)
            .stderr(errors)
            // A Ctrl-C goes to the terminal's process group: it is for the server, which stops
            // PostgreSQL only when its last request is done.
            .process_group(0);
        BoundChild::spawn(&mut command)
            .map_err(|source| RuntimeError::Spawn { program: self.path.clone(), source })
    }

    fn wait_until_ready(&self, child: &mut BoundChild, log_start: u64) -> Result<(), Attempt> {
        let mut probe = Probe::new(&self.socket_folder)
            .on("connect to", &self.socket_folder)
            .map_err(Attempt::Failed)?;
        let begun = Instant::now();
        loop {
            let answer = probe.ensure_database();
            // A predecessor on its way out still answers at the same address.
            if answer.is_ok() && cluster::holder(&self.cluster) == Some(child.process().id()) {
                return Ok(());
            }
            if status(child).map_err(Attempt::Failed)?.is_some() {
                let reason = self.log.reason_since(log_start, child.process().id());
                return Err(Attempt::Ended { reason });
            }
            if begun.elapsed() > self.start_timeout {
                return Err(Attempt::Failed(RuntimeError::PostgresSilent {
                    waited: begun.elapsed(),
                    reason: match answer {
                        Ok(()) => "another PostgreSQL answers in its place".into(),
                        Err(error) => error.to_string(),
                    },
                    log: self.log.path().to_owned(),
                }));
            }
            thread::sleep(READY_POLL);
        }
    }
}

/// Whether PostgreSQL refused to start because another one is still on the same folder.
///
/// We hold the data folder's lock, so it belongs to a server that was killed, and is about to end.
fn predecessor_in_the_way(reason: &str) -> bool {
    (reason.contains("lock file") && reason.contains("already exists"))
        || reason.contains("pre-existing shared memory block")
}

/// Stops the process: politely, then at once, then by force.
fn end(child: &mut BoundChild) -> Result<(), RuntimeError> {
    let begun = Instant::now();
    let pid = child.process().id();
    let requests = [(Signal::SIGINT, FAST_STOP_TIMEOUT), (Signal::SIGQUIT, IMMEDIATE_STOP_TIMEOUT)];
    for (signal, timeout) in requests {
        if status(child)?.is_some() {
            return Ok(());
        }
        // Not reaped yet, so the id is still the child's, and the signal arrives.
        let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
        let asked = Instant::now();
        while asked.elapsed() < timeout {
            if status(child)?.is_some() {
                return Ok(());
            }
            thread::sleep(STOP_POLL);
        }
    }
    let killed: io::Result<ExitStatus> =
        child.process().kill().and_then(|()| child.process().wait());
    killed.map_err(|_| RuntimeError::SupervisorLost)?;
    Err(RuntimeError::StopTimeout { pid, waited: begun.elapsed() })
}

fn status(child: &mut BoundChild) -> Result<Option<ExitStatus>, RuntimeError> {
    child.process().try_wait().map_err(|_| RuntimeError::SupervisorLost)
}
