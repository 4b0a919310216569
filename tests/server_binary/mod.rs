//! The program `switchy-server`, as an operator meets it.

mod admin;
mod commands;
mod database_tls;
mod database_url;
mod eval;
mod lifecycle;
mod settings;
mod setup;

use crate::fixture::binary::{Ended, PATIENCE, POLL, Process, Serving};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Instant;

/// Sends a signal.
fn send(process: &Process, signal: Signal) {
    kill(Pid::from_raw(process.pid()), signal).expect("it runs");
}

/// Stops a server as an operator does.
fn stop(serving: Serving, signal: Signal) -> Ended {
    send(&serving.process, signal);
    serving.process.wait()
}

/// Whether a process is no more.
fn is_gone(pid: i32) -> bool {
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return true;
    }
    // ended, but not collected: in a container, process 1 may be no init
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|fields| fields.trim_start().starts_with('Z'))
}

/// Waits until a process is no more.
#[track_caller]
fn wait_until_gone(pid: i32) {
    wait_until("the process ends", || is_gone(pid));
}

/// Waits for what tells nobody.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(POLL);
    }
}
