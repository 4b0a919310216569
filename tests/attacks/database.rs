//! Who may reach the embedded database.

use crate::fixture::binary::{Ended, Home, PATIENCE, Serving};
use crate::fixture::cluster::{cluster, connect};
use crate::fixture::machine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use switchy_runtime::{EmbeddedPostgres, PostgresOptions, RuntimeError};

/// The account of whatever has none.
const NOBODY: &str = "nobody";

fn program(name: &str) -> PathBuf {
    let installed = cluster().installed.postgres.as_deref().expect("PostgreSQL was asked for");
    installed.join("bin").join(name)
}

fn start(data_dir: &Path) -> EmbeddedPostgres {
    let program = cluster().installed.postgres.as_deref().expect("PostgreSQL was asked for");
    let settings = vec![("fsync".to_owned(), "off".to_owned())];
    let options = PostgresOptions { settings, ..PostgresOptions::default() };
    let begun = Instant::now();
    loop {
        match EmbeddedPostgres::start(program, data_dir, &options) {
            // what another test is about to run has the lock until it runs
            Err(RuntimeError::DataDirInUse { .. }) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            started => return started.expect("PostgreSQL starts"),
        }
    }
}

fn user(name: &str) -> User {
    User::from_name(name).expect("accounts").unwrap_or_else(|| panic!("no account {name}"))
}

fn open(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}

/// `psql` as this account, or as the one of this process: what a query shows, or why not.
fn psql(socket_folder: &Path, account: Option<&User>, query: &str) -> Result<String, String> {
    let mut command = Command::new(program("psql"));
    command
        .args(["-X", "-q", "-A", "-t", "-U", "switchy", "-d", "switchy", "-c", query, "-h"])
        .arg(socket_folder)
        .env("PGPASSWORD", "guessed")
        .current_dir("/")
        .stdin(Stdio::null());
    if let Some(account) = account {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    let output = command.output().expect("psql runs");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Gives everything below a folder to an account.
fn give(path: &Path, account: &User) {
    lchown(path, Some(account.uid.as_raw()), Some(account.gid.as_raw())).expect("given");
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).expect("a folder") {
            give(&entry.expect("an entry").path(), account);
        }
    }
}

/// Paths below a folder that belong to an account.
fn of(path: &Path, account: &User) -> Vec<PathBuf> {
    let metadata = std::fs::symlink_metadata(path).expect("there");
    let mut found = Vec::new();
    if metadata.uid() == account.uid.as_raw() {
        found.push(path.to_owned());
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder") {
            found.extend(of(&entry.expect("an entry").path(), account));
        }
    }
    found
}

#[test]
fn only_the_account_that_runs_the_server_gets_in() {
    let home = Home::new();
    let postgres = start(&home.data_dir());
    let run = home.data_dir().join("run");
    assert_eq!(psql(&run, None, "SELECT current_user").expect("we get in"), "switchy");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(&run), 0o700);
    assert_eq!(mode(&run.join(".s.PGSQL.5432")), 0o700);
    if !machine::is_root("become another account") {
        return;
    }
    let owner = std::fs::metadata(home.data_dir().join("postgres")).expect("there").uid();
    let owner = User::from_uid(owner.into()).expect("accounts").expect("a name");
    assert!(owner.name == "switchy" || owner.name == "postgres", "{owner:?}");
    let nobody = user(NOBODY);
    let shut = psql(&run, Some(&nobody), "SELECT 1").expect_err("the folder is closed");
    assert!(shut.contains("Permission denied"), "{shut}");
    // PostgreSQL's own account can enter; and were all doors open, others could, too
    open(&home.data_dir(), 0o777);
    open(&run, 0o777);
    open(&run.join(".s.PGSQL.5432"), 0o777);
    for account in [&owner, &nobody, &user("daemon")] {
        let shut = psql(&run, Some(account), "SELECT 1").expect_err("no right to it");
        assert!(shut.contains("Peer authentication failed"), "{}: {shut}", account.name);
    }
    assert_eq!(psql(&run, None, "SELECT 1").expect("we get in"), "1");
    postgres.stop().expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_data_folder_says_opens_it_to_nobody() {
    let home = Home::new();
    let data_dir = home.data_dir();
    let start = || {
        let data_dir = data_dir.clone();
        tokio::task::spawn_blocking(move || start(&data_dir))
    };
    let postgres = start().await.expect("started");
    let sql = connect(&postgres.url()).await;
    let elsewhere = home.folder().join("open.conf");
    std::fs::write(&elsewhere, "local all all trust\nhost all all all trust\n").expect("written");
    open(&elsewhere, 0o644);
    for setting in [
        "listen_addresses = '*'".to_owned(),
        "unix_socket_permissions = 511".to_owned(),
        format!("hba_file = '{}'", elsewhere.display()),
    ] {
        sql.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.expect("set");
    }
    drop(sql);
    tokio::task::spawn_blocking(move || postgres.stop()).await.expect("ended").expect("stopped");
    // as an earlier start left it
    let hba = data_dir.join("postgres/pg_hba.conf");
    std::fs::write(&hba, "local all all trust\nhost all all all trust\n").expect("written");

    let postgres = start().await.expect("started");
    let sql = connect(&postgres.url()).await;
    let rules = "SELECT string_agg(concat_ws(' ', type, auth_method, options), ', ') \
         FROM pg_hba_file_rules";
    let rules: String = sql.query_one(rules, &[]).await.expect("rules").get(0);
    assert_eq!(rules, "local peer {map=switchy}, local peer {map=switchy}");
    assert!(!std::fs::read_to_string(&hba).expect("rules").contains("trust"));
    for (setting, value) in [("listen_addresses", ""), ("unix_socket_permissions", "0700")] {
        let shown: String =
            sql.query_one(&format!("SHOW {setting}"), &[]).await.expect("shown").get(0);
        assert_eq!(shown, value, "{setting}");
    }
    #[cfg(target_os = "linux")]
    assert_eq!(network_sockets(postgres.pid().expect("it runs")), [""; 0]);
    drop(sql);
    tokio::task::spawn_blocking(move || postgres.stop()).await.expect("ended").expect("stopped");
}

/// The open files of a process that are sockets of a network.
#[cfg(target_os = "linux")]
fn network_sockets(pid: u32) -> Vec<String> {
    let tables = ["tcp", "tcp6", "udp", "udp6"].map(|table| {
        std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default()
    });
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its open files");
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let links: Vec<String> = links.map(|link| link.display().to_string()).collect();
    assert!(links.iter().any(|link| link.starts_with("socket:")), "its own socket: {links:?}");
    let inodes = links.iter().filter_map(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
    let in_table = |inode: &&str| {
        tables.iter().flat_map(|table| table.split_whitespace()).any(|word| word == *inode)
    };
    inodes.filter(in_table).map(str::to_owned).collect()
}

/// The files that an earlier start left, which ran PostgreSQL as `nobody` and trusted whoever came.
#[test]
fn files_of_nobody_are_taken_over_and_nothing_else_is() {
    if !machine::is_root("give files to another account") {
        return;
    }
    let home = Home::new();
    let (nobody, postgres) = (user(NOBODY), home.data_dir().join("postgres"));
    start(&home.data_dir()).stop().expect("stopped");
    let own = std::fs::metadata(&postgres).expect("there").uid();
    give(&postgres, &nobody);
    give(&home.data_dir().join("run"), &nobody);
    std::fs::write(postgres.join("pg_hba.conf"), "local all all trust\n").expect("written");
    // a link that somebody put there leads to what is root's
    let roots = home.folder().join("roots");
    std::fs::write(&roots, "root's").expect("written");
    std::os::unix::fs::symlink(&roots, postgres.join("link")).expect("a link");
    lchown(postgres.join("link"), Some(nobody.uid.as_raw()), None).expect("given");

    let again = start(&home.data_dir());
    assert_eq!(again.taken_over_from(), Some(NOBODY));
    assert_eq!(of(&home.data_dir(), &nobody), [""; 0].map(PathBuf::from));
    assert_eq!(std::fs::symlink_metadata(postgres.join("link")).expect("there").uid(), own);
    assert_eq!(std::fs::metadata(&roots).expect("there").uid(), 0);
    let shut = psql(&home.data_dir().join("run"), Some(&nobody), "SELECT 1");
    shut.expect_err("nobody gets in");
    again.stop().expect("stopped");
    let again = start(&home.data_dir());
    assert_eq!(again.taken_over_from(), None);
    again.stop().expect("stopped");

    // a second name of the file is outside: who owns it could be owner of anything
    give(&postgres, &nobody);
    let secret = home.folder().join("secret");
    std::fs::write(&secret, "nobody's").expect("written");
    lchown(&secret, Some(nobody.uid.as_raw()), None).expect("given");
    std::fs::hard_link(&secret, postgres.join("name")).expect("a second name");
    let ended = Ended::of(&mut home.serve());
    let sentence = ended.sentence();
    assert!(sentence.contains("'nobody'") && sentence.contains("chown -R"), "{sentence}");
    assert_eq!(std::fs::metadata(&secret).expect("there").uid(), nobody.uid.as_raw());
}

/// A copy of the machine's accounts without those that PostgreSQL could run as.
struct Accounts {
    home: Home,
}

impl Accounts {
    /// `None` where they cannot be put in the place of the machine's own.
    fn new(more: &str) -> Option<Accounts> {
        let needed: [&[&str]; 2] =
            [&["unshare", "--mount", "mount", "--bind", "/etc", "/etc"], &["useradd", "--help"]];
        if !machine::is_root("make an account") || !needed.into_iter().all(machine::works) {
            return None;
        }
        let home = Home::new();
        let etc = home.folder().join("etc");
        let copied = Command::new("cp").arg("-a").arg("/etc").arg(&etc).status();
        assert!(copied.expect("cp runs").success());
        for file in ["passwd", "group", "shadow", "gshadow"] {
            let Ok(text) = std::fs::read_to_string(etc.join(file)) else { continue };
            let mut text: String = text
                .lines()
                .filter(|line| !line.starts_with("postgres:") && !line.starts_with("switchy:"))
                .map(|line| format!("{line}\n"))
                .collect();
            if file == "group" {
                text.push_str(more);
            }
            std::fs::write(etc.join(file), text).expect("written");
        }
        Some(Accounts { home })
    }

    /// The command, among these accounts.
    fn among(&self, inner: &Command) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", r#"mount --bind "$0" /etc && exec "$@""#])
            .arg(self.home.folder().join("etc"))
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(self.home.folder())
            .stdin(Stdio::null());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

#[test]
fn root_makes_an_account_where_there_is_none() {
    let Some(accounts) = Accounts::new("") else { return };
    let home = &accounts.home;
    let setup = Ended::of(&mut accounts.among(&home.server(["setup"])));
    assert!(setup.stderr.contains("Making the account 'switchy'"), "{setup:?}");
    setup.ok();
    let passwd = std::fs::read_to_string(home.folder().join("etc/passwd")).expect("accounts");
    let line = passwd.lines().find(|line| line.starts_with("switchy:")).expect("the account");
    assert!(line.ends_with("/nologin"), "{line}");
    let uid: u32 = line.split(':').nth(2).and_then(|id| id.parse().ok()).expect("a user id");

    let serving = Serving::start(&mut accounts.among(&home.serve()));
    let postgres = home.postgres_pid();
    let owner = |path: &Path| std::fs::metadata(path).expect("there").uid();
    assert_eq!(owner(Path::new(&format!("/proc/{postgres}"))), uid);
    assert_eq!(owner(&home.data_dir().join("postgres")), uid);
    kill(Pid::from_raw(serving.process.pid()), Signal::SIGTERM).expect("it runs");
    let ended = serving.process.wait();
    assert!(!ended.stderr.contains("Making the account"), "{}", ended.stderr);
    ended.ok();
}

#[test]
fn where_no_account_can_be_made_a_sentence_says_how() {
    // useradd does not take a group that is there already
    let Some(accounts) = Accounts::new("switchy:x:987654:\n") else { return };
    let ended = Ended::of(&mut accounts.among(&accounts.home.serve()));
    let sentence = ended.sentence();
    for part in ["refuses to run as root", "group switchy exists", "`useradd --system"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    assert!(!accounts.home.data_dir().exists());
}
