//! What leaves the server without being asked to.
//!
//! Programs are run in a network namespace of their own, in which nothing but their own loopback can
//! be reached, and each of their system calls that names an address or changes a file is looked at:
//! also those of what they start, and those that fail.

use crate::fixture::binary::{Ended, Home, Process, Serving};
use crate::fixture::cluster::{cluster, models};
use crate::fixture::machine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use switchy_server::search::embedder::{LoadOptions, LocalEmbedder, TELEMETRY_OFF};

/// System calls that name an address. A question mark lets a processor be without the call.
const NETWORK: &str = "connect,bind,sendto,sendmsg,sendmmsg";
/// System calls that make, change or remove what a path names.
const FILES: &str = "?open,openat,?openat2,?creat,?mkdir,mkdirat,?mknod,mknodat,?rename,?renameat,\
     renameat2,?unlink,unlinkat,?rmdir,?link,linkat,?symlink,symlinkat,truncate,?chmod,fchmodat,\
     ?chown,?lchown,fchownat";
/// Where questions about names go.
const DNS: &str = "htons(53)";
/// Sockets of the machine that tell the names of accounts.
const ACCOUNTS: [&str; 3] = ["/var/run/nscd/socket", "/run/nscd/socket", "/run/systemd/userdb/"];
/// Paths that are no files: devices, memory that processes share, and what the kernel makes up.
const NO_FILES: [&str; 4] = ["/dev/null", "/dev/tty", "/dev/shm/PostgreSQL.", "/proc/"];

/// A network namespace with nothing but a loopback, and one installation in it.
struct Alone {
    home: Home,
    holder: Child,
    traces: AtomicUsize,
}

impl Alone {
    /// `None` where there are no such namespaces.
    fn new() -> Option<Alone> {
        let needed: [&[&str]; 2] = [
            &["unshare", "--net", "ip", "link", "set", "lo", "up"],
            &["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "true"],
        ];
        if !machine::is_root("make a network namespace") || !needed.into_iter().all(machine::works)
        {
            return None;
        }
        let home = Home::new();
        for folder in ["elsewhere", "temporary", "traces"] {
            std::fs::create_dir(home.folder().join(folder)).expect("a folder");
        }
        let holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut alone = Alone { home, holder: holder.expect("it ran"), traces: 0.into() };
        let mut ready = [0; 6];
        let out = alone.holder.stdout.as_mut().expect("a pipe");
        std::io::Read::read_exact(out, &mut ready).expect("the namespace is there");
        Some(alone)
    }

    /// The command, in the namespace, in folders where nothing is to be left, and its trace.
    fn traced(&self, inner: &Command) -> (Command, PathBuf) {
        let number = self.traces.fetch_add(1, Ordering::Relaxed);
        let trace = self.home.folder().join(format!("traces/{number}"));
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            // the process keeps the place that it has without being traced
            .args(["strace", "-D", "-f", "-q", "-y", "--seccomp-bpf", "-e", "signal=none", "-o"])
            .arg(&trace)
            .arg(format!("--trace={NETWORK},{FILES}"))
            .arg(inner.get_program())
            .args(inner.get_args())
            .stdin(Stdio::null());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .env("HOME", self.elsewhere())
            .env("TMPDIR", self.temporary())
            .current_dir(self.elsewhere());
        for name in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        (command, trace)
    }

    fn elsewhere(&self) -> PathBuf {
        self.home.folder().join("elsewhere")
    }

    fn temporary(&self) -> PathBuf {
        self.home.folder().join("temporary")
    }

    /// What a trace shows that should not be: a line each.
    fn found(&self, trace: &Path) -> BTreeSet<String> {
        let cache = switchy_runtime::Layout::resolve(
            None,
            std::env::var_os("SWITCHY_CACHE_DIR").map(Into::into),
        );
        let ours = [
            self.home.data_dir(),
            self.home.config_dir(),
            cache.expect("folders").cache_dir,
            self.temporary().join("switchy-eval-"),
        ];
        let ours = ours.map(|path| path.to_str().expect("text").to_owned());
        let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
        let text = std::fs::read_to_string(trace).expect("a trace");
        assert!(text.contains("+++ exited with"), "a whole trace: {text}");
        text.lines().filter_map(|line| strange(line, &ours)).collect()
    }

    /// Runs the command to its end: neither it nor what it starts does anything it should not.
    #[track_caller]
    fn run(&self, inner: &Command) -> Ended {
        let (mut command, trace) = self.traced(inner);
        let ended = Ended::of(&mut command);
        self.clean(inner, &trace);
        ended
    }

    #[track_caller]
    fn clean(&self, command: &Command, trace: &Path) {
        let found = self.found(trace);
        assert!(found.is_empty(), "{command:?}: {found:#?}");
        for folder in [self.elsewhere(), self.temporary()] {
            let left = std::fs::read_dir(&folder).expect("the folder");
            let left: Vec<_> = left.map(|entry| entry.expect("an entry").path()).collect();
            assert!(left.is_empty(), "{command:?} left {left:?}");
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // the namespace goes with the last process in it
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What is wrong with a system call, as strace writes it.
fn strange(line: &str, ours: &[&str]) -> Option<String> {
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let (name, arguments) = call.split_once('(')?;
    let wrong = match name {
        name if NETWORK.split(',').any(|known| known == name) => {
            let unix = arguments.split_once("sun_path=").map(|(_, path)| path);
            match unix.and_then(first_text) {
                Some(path) => !within(&path, ours) && !within(&path, &ACCOUNTS),
                None => arguments.contains(DNS) || !addresses(arguments).iter().all(is_loopback),
            }
        }
        "open" | "openat" | "openat2" if !changes(arguments) => false,
        name if FILES.split(',').any(|known| known.trim_start_matches('?') == name) => {
            let path = path(arguments);
            // PostgreSQL works in its own folder, and names files relative to it
            let known = !path.starts_with('/') || within(&path, ours) || within(&path, &NO_FILES);
            // what is above a folder of ours is made when it is missing
            let above = name.starts_with("mkdir") && ours.iter().any(|our| our.starts_with(&path));
            !(known || above) || path.contains("/../")
        }
        _ => false,
    };
    wrong.then(|| call.to_owned())
}

/// Whether the flags of an open make or change a file.
fn changes(arguments: &str) -> bool {
    ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| arguments.contains(flag))
}

fn within(path: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

/// The path that a call names; where its folder is told, absolute.
fn path(arguments: &str) -> String {
    let path = first_text(arguments).unwrap_or_default();
    let folder = arguments.split_once('"').and_then(|(before, _)| before.split_once('<'));
    match folder.and_then(|(_, rest)| rest.rsplit_once('>')) {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path,
    }
}

/// The first text in quotation marks.
fn first_text(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('"')?;
    let mut out = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some(out),
            '\\' => out.extend(characters.next()),
            character => out.push(character),
        }
    }
}

/// The Internet addresses that a call names.
fn addresses(arguments: &str) -> Vec<std::net::IpAddr> {
    let parts =
        arguments.split("inet_addr(").skip(1).chain(arguments.split("inet_pton(AF_INET6,").skip(1));
    parts.filter_map(first_text).map(|text| text.parse().expect("an address")).collect()
}

fn is_loopback(address: &std::net::IpAddr) -> bool {
    address.is_loopback()
}

#[test]
fn no_command_calls_anybody_or_writes_elsewhere() {
    let Some(alone) = Alone::new() else { return };
    let home = &alone.home;
    let team = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/team");
    let server = |arguments: &[&str]| alone.run(&home.server(arguments));
    let cli = |arguments: &[&str]| alone.run(&home.cli(arguments));

    server(&["openapi"]).ok();
    server(&["setup"]).ok();
    server(&["migrate"]).ok();
    server(&["doctor"]).ok();

    let mut serve = home.server(["serve"]);
    serve.env("SWITCHY_BIND", "127.0.0.1:0").env("SWITCHY_LOG_FORMAT", "json");
    let (mut command, trace) = alone.traced(&serve);
    let serving = Serving::start(&mut command);
    for arguments in [
        &["whoami"][..],
        &["profile", "list"],
        &["memory", "add", "Staging deploys happen on Tuesdays.", "--visibility", "ORG"],
        &["memory", "search", "when do we ship?"],
        &["space", "create", "Platform team"],
        &["session", "create", "Upgrade", "--space", "platform-team"],
    ] {
        cli(arguments).ok();
    }
    let grace = ["--org", "my-team", "--email", "grace@example.com", "--role", "MEMBER"];
    server(&[&["admin", "user", "add"], &grace[..]].concat()).ok();
    kill(Pid::from_raw(serving.process.pid()), Signal::SIGTERM).expect("it runs");
    serving.process.wait().ok();
    alone.clean(&serve, &trace);
    // so much was seen
    let seen = std::fs::read_to_string(&trace).expect("a trace");
    for part in ["bind(", "postgresql.conf", "libonnxruntime", "postgres.log"] {
        assert!(seen.contains(part), "{part}: {} lines", seen.lines().count());
    }

    server(&["reembed"]).ok();
    let mut eval = home.server(["eval", "retrieval", "--dataset"]);
    eval.arg(team);
    alone.run(&eval).ok();
}

/// So that finding nothing means something.
#[test]
fn what_calls_somebody_or_writes_elsewhere_is_found() {
    let Some(alone) = Alone::new() else { return };
    let mut command = Command::new("python3");
    command.arg("-c").arg(
        "import os, socket\n\
         open(os.environ['TMPDIR'] + '/left', 'w')\n\
         os.remove(os.environ['TMPDIR'] + '/left')\n\
         for port in 53, 443:\n\
         \x20   try: socket.create_connection(('192.0.2.1', port), 1)\n\
         \x20   except OSError: pass\n\
         try: socket.create_connection(('::1', 53), 1)\n\
         except OSError: pass\n",
    );
    let (mut command, trace) = alone.traced(&command);
    Ended::of(&mut command).ok();
    let found = alone.found(&trace);
    for (call, part) in [
        ("openat", "temporary/left"),
        ("unlink", "temporary/left"),
        ("connect", "htons(53), sin_addr=inet_addr(\"192.0.2.1\""),
        ("connect", "htons(443), sin_addr=inet_addr(\"192.0.2.1\""),
        ("connect", "::1"),
    ] {
        let shown = found.iter().any(|line| line.starts_with(call) && line.contains(part));
        assert!(shown, "{call} {part}: {found:#?}");
    }
}

/// A local user puts a link where ONNX Runtime used to write, and chooses what it overwrites.
#[test]
fn a_link_in_the_temporary_folder_leads_nowhere() {
    let home = Home::new();
    let temporary = home.folder().join("temporary");
    std::fs::create_dir(&temporary).expect("a folder");
    let serving = Serving::start(&mut home.serve());
    drop(serving);
    let key = home.data_dir().join("vault.key");
    let before = std::fs::read(&key).expect("the key");
    std::os::unix::fs::symlink(&key, temporary.join(".ses")).expect("a link");
    let mut serve = home.server(["serve"]);
    serve.env("SWITCHY_BIND", "127.0.0.1:0").env("SWITCHY_LOG_FORMAT", "json");
    // a value that an operator may have set for something else does not change it
    serve.env("TMPDIR", &temporary).env(TELEMETRY_OFF.0, "0");
    let serving = Serving::start(&mut serve);
    kill(Pid::from_raw(serving.process.pid()), Signal::SIGTERM).expect("it runs");
    serving.process.wait().ok();
    assert_eq!(std::fs::read(&key).expect("the key"), before);
}

/// Tells a copy of this test program what to load.
const LOAD: [&str; 2] = ["SWITCHY_TEST_LOAD_MODEL", "SWITCHY_TEST_LOAD_LIBRARY"];

/// Another program that uses the server as a library has to say it itself.
#[test]
fn a_program_that_may_report_gets_no_onnx_runtime() {
    let (model, library) = models(&cluster().installed);
    let (_, path) = module_path!().split_once("::").expect("a module");
    for (value, says) in [
        (None, "set ORT_DISABLE_TELEMETRY=1"),
        (Some("0"), "set ORT_DISABLE_TELEMETRY=1"),
        (Some(TELEMETRY_OFF.1), "it was loaded"),
    ] {
        let program = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(program);
        command
            .args([&format!("{path}::load"), "--exact", "--nocapture"])
            .env(LOAD[0], model)
            .env(LOAD[1], library)
            .env_remove(TELEMETRY_OFF.0)
            .stdin(Stdio::null());
        if let Some(value) = value {
            command.env(TELEMETRY_OFF.0, value);
        }
        let said = Process::start(&mut command).wait().ok();
        assert!(said.contains(says), "{value:?}: {said}");
    }
}

/// Not a rule: the other program of the test above. Does nothing unless it is told to.
#[test]
fn load() {
    let [Some(model), Some(library)] = LOAD.map(std::env::var_os) else { return };
    let (model_dir, onnxruntime) = (model.into(), library.into());
    match LocalEmbedder::load(LoadOptions { model_dir, onnxruntime, threads: 1, queue: 1 }) {
        Ok(_) => println!("it was loaded"),
        Err(error) => println!("{error}"),
    }
}
