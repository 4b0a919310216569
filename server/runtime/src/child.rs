//! Child processes that do not outlive this program, even when it is killed.
//!
//! On Linux the kernel does it: a child can ask for a signal at its parent's death. Elsewhere a
//! shell watches a pipe whose other end this program holds, and signals the child when the pipe
//! breaks. This is the one module of the library that needs `unsafe`.

use std::io;
use std::process::{Child, Command};

#[cfg(not(target_os = "linux"))]
use self::watchdog::Watchdog;

/// A child process that is told to stop when this program dies.
///
/// On Linux "dies" means that the *thread* that spawned it ends: keep that thread for as long as
/// the child shall live.
pub(super) struct BoundChild {
    process: Child,
    #[cfg(not(target_os = "linux"))]
    _watchdog: Watchdog,
}

impl BoundChild {
    /// Spawns `command`; at this program's death the child gets SIGINT.
    #[cfg(target_os = "linux")]
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        die_with_parent(command);
        Ok(Self { process: command.spawn()? })
    }

    /// Spawns `command`; at this program's death the child gets SIGINT.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut process = command.spawn()?;
        match Watchdog::start(process.id()) {
            Ok(watchdog) => Ok(Self { process, _watchdog: watchdog }),
            Err(error) => {
                // An unwatched child must not stay behind; that it may be gone already is fine.
                drop(process.kill());
                drop(process.wait());
                Err(error)
            }
        }
    }

    /// The process.
    pub(super) fn process(&mut self) -> &mut Child {
        &mut self.process
    }
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    use nix::errno::Errno;
    use nix::sys::{prctl::set_pdeathsig, signal::Signal};
    use nix::unistd::{getpid, getppid};

    let parent = getpid();
    let ask_kernel = move || {
        // After the change of account, which would cancel the request.
        set_pdeathsig(Signal::SIGINT)?;
        // The parent may have died before the request was made.
        if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    #[expect(unsafe_code, reason = "only std's pre_exec runs code between fork and exec")]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; the closure makes
    // the plain system calls prctl and getppid, and allocates nothing (an error from a number
    // does not allocate).
    unsafe {
        command.pre_exec(ask_kernel);
    }
}

#[cfg(any(test, not(target_os = "linux")))]
mod watchdog {
    use std::io::{self, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    /// `read` fails at the end of the pipe, which is this program's death; a line means all is
    /// well and the child has been stopped.
    const SCRIPT: &str = r#"read -r line || kill -INT "$1""#;

    /// A shell that sends SIGINT to a process when this program dies.
    pub(super) struct Watchdog {
        shell: Child,
    }

    impl Watchdog {
        /// Watches over `pid`.
        pub(super) fn start(pid: u32) -> io::Result<Self> {
            let shell = Command::new("/bin/sh")
                .args(["-c", SCRIPT, "sh", &pid.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // Out of reach of a Ctrl-C that is meant for this program.
                .process_group(0)
                .spawn()?;
            Ok(Self { shell })
        }

        /// What happens when this program dies: the pipe breaks.
        #[cfg(test)]
        pub(super) fn abandon(mut self) {
            drop(self.shell.stdin.take());
            drop(self.shell.wait());
        }
    }

    impl Drop for Watchdog {
        fn drop(&mut self) {
            if let Some(mut pipe) = self.shell.stdin.take() {
                // Should the shell be gone, there is nothing left to call off.
                drop(pipe.write_all(b"stopped\n"));
            }
            drop(self.shell.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    use std::time::Duration;

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sleep");
        command.arg("60").stdin(Stdio::null());
        command
    }

    const SIGINT: i32 = 2;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_child_is_interrupted_when_its_thread_ends() {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(BoundChild::spawn(&mut sleeper()).unwrap()).unwrap());
        let mut child = receive.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(child.process().wait().unwrap().signal(), Some(SIGINT));
    }

    #[test]
    fn the_watchdog_interrupts_the_child_when_the_pipe_breaks() {
        let mut child = sleeper().spawn().unwrap();
        watchdog::Watchdog::start(child.id()).unwrap().abandon();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGINT));
    }

    #[test]
    fn the_watchdog_leaves_the_child_alone_when_it_is_called_off() {
        let mut child = sleeper().spawn().unwrap();
        drop(watchdog::Watchdog::start(child.id()).unwrap());
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
