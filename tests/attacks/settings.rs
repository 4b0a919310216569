//! Secrets and settings that give themselves away.

use crate::fixture::binary::{Ended, Home, PATIENCE, POLL, Serving};
use crate::fixture::cluster::cluster;
use crate::fixture::{Answer, Options, Server, embedders};
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::ExposeSecret;
use serde_json::json;
use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;
use switchy_server::http::connections::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A secret as it should be.
const LONG: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";

/// The settings that are secrets: variable, flag, a value that can be.
const SECRETS: [(&str, &str, &str); 5] = [
    ("DATABASE_URL", "--database-url", "postgres://ada:hunter2@127.0.0.1:1/switchy"),
    ("SWITCHY_SECRET_KEY", "--secret-key", LONG),
    ("SWITCHY_SMTP_URL", "--smtp-url", "smtp://ada:hunter2@mail.example.com"),
    ("SWITCHY_STRIPE_SECRET_KEY", "--stripe-secret-key", "sk_test_hunter2"),
    ("SWITCHY_STRIPE_WEBHOOK_SECRET", "--stripe-webhook-secret", "whsec_hunter2"),
];

fn file(home: &Home, name: &str, text: &str, mode: u32) -> PathBuf {
    let file = home.folder().join(name);
    std::fs::write(&file, text).expect("written");
    std::fs::set_permissions(&file, Permissions::from_mode(mode)).expect("changed");
    file
}

/// `serve` on an empty database of the test cluster, which only a file names.
async fn serve(home: &Home) -> Command {
    let url = cluster().empty_database().await;
    let mut command = home.serve();
    command.env_remove("SWITCHY_DATA_DIR");
    let file = file(home, "database", &format!("{}\n", url.expose_secret()), 0o600);
    command.env("DATABASE_URL_FILE", file);
    command
}

fn stop(serving: Serving) -> Ended {
    kill(Pid::from_raw(serving.process.pid()), Signal::SIGTERM).expect("it runs");
    serving.process.wait()
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_from_files_and_are_seen_by_nobody() {
    let home = Home::new();
    let mut command = serve(&home).await;
    for (variable, _, value) in &SECRETS[1..] {
        // one that everybody reads, another by flag, the others by variable
        let mode = if *variable == "SWITCHY_SMTP_URL" { 0o644 } else { 0o600 };
        let file = file(&home, variable, &format!("{value}\r\n"), mode);
        match *variable {
            "SWITCHY_STRIPE_SECRET_KEY" => command.arg("--stripe-secret-key-file").arg(file),
            _ => command.env(format!("{variable}_FILE"), file),
        };
    }
    command.env("SWITCHY_PUBLIC_URL", "https://switchy.example");
    let serving = Serving::start(&mut command);
    for seen in ["cmdline", "environ"] {
        let seen = std::fs::read(format!("/proc/{}/{seen}", serving.process.pid())).expect("seen");
        assert!(!String::from_utf8_lossy(&seen).contains("hunter2"));
    }
    let ended = stop(serving);
    assert!(!ended.everything().contains("hunter2"), "{ended:?}");
    let warned: Vec<_> = ended.stderr.lines().filter(|l| l.contains("everybody")).collect();
    assert!(matches!(warned[..], [line] if line.contains("SWITCHY_SMTP_URL")), "{ended:?}");

    // the same secret, told in another way: without the end of the line it is the same
    command.env_remove("SWITCHY_SECRET_KEY_FILE").env("SWITCHY_SECRET_KEY", LONG);
    stop(Serving::start(&mut command)).ok();
    command.env("SWITCHY_SECRET_KEY", format!("{LONG}\n"));
    let other = Ended::of(&mut command);
    assert!(other.sentence().contains("another SWITCHY_SECRET_KEY"), "{other:?}");
}

#[test]
fn a_file_that_holds_no_secret_is_refused_with_its_flag() {
    let home = Home::new();
    let empty = file(&home, "empty", "\n", 0o600);
    let whole = file(&home, "whole", LONG, 0o600);
    for (variable, flag, value) in SECRETS {
        for (file, says) in [("/nowhere", "cannot be read"), (&empty.to_string_lossy(), "empty")] {
            let ended = Ended::of(home.serve().env(format!("{variable}_FILE"), file));
            let said = ended.usage();
            assert!(said.contains(&format!("{flag}-file")) && said.contains(says), "{said}");
        }
        let mut both = home.serve();
        both.env(format!("{variable}_FILE"), &whole).env(variable, value);
        let ended = Ended::of(&mut both);
        assert!(ended.usage().contains("cannot be used with"), "{ended:?}");
        assert!(!ended.everything().contains("hunter2"), "{ended:?}");
    }
    assert!(!home.data_dir().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_for_secrets_are_hidden_and_warned_of() {
    let home = Home::new();
    for command in ["serve", "migrate", "doctor", "reembed", "setup"] {
        let help = Ended::of(&mut home.server([command, "--help"])).ok();
        // however its lines are broken
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for (variable, flag, _) in SECRETS {
            assert!(!help.contains(&format!("{flag} ")), "{command}: {help}");
            let has = help.contains(&format!("{flag}-file"));
            assert_eq!(has, help.contains(&format!("[env: {variable}_FILE")), "{help}");
            assert!(has || command != "serve", "{help}");
        }
    }
    let mut command = serve(&home).await;
    command.args(["--secret-key", LONG]);
    let ended = stop(Serving::start(&mut command));
    let warned = ended.stderr.lines().find(|line| line.contains("the arguments of a process"));
    assert!(warned.is_some_and(|line| line.contains("--secret-key")), "{ended:?}");
    assert!(!ended.everything().contains("hunter2"), "{ended:?}");
    let mut command = home.server(["migrate", "--database-url", SECRETS[0].2]);
    let ended = Ended::of(&mut command);
    assert!(ended.stderr.contains("warning: --database-url: "), "{ended:?}");
    assert!(!ended.everything().contains("hunter2"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_can_be_guessed_is_refused_before_anything() {
    let home = Home::new();
    let short = "s".repeat(31);
    let kept = file(&home, "short", &format!("{short}\n"), 0o600);
    for command in [
        home.serve(),
        home.server(["admin", "bootstrap", "--org=a", "--email=a@a.test"]),
        home.server(["migrate"]),
    ] {
        for (variable, value) in
            [("SWITCHY_SECRET_KEY", short.as_ref()), ("SWITCHY_SECRET_KEY_FILE", kept.as_os_str())]
        {
            let mut with = Command::new(command.get_program());
            with.args(command.get_args());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => with.env(name, value),
                    None => with.env_remove(name),
                };
            }
            let ended = Ended::of(with.env(variable, value));
            let said = ended.sentence();
            assert!(said.contains("31 characters") && said.contains("openssl rand"), "{said}");
            assert!(!ended.everything().contains(&short), "{ended:?}");
        }
    }
    assert!(!home.data_dir().exists());
    let mut enough = serve(&home).await;
    stop(Serving::start(enough.env("SWITCHY_SECRET_KEY", "s".repeat(32)))).ok();
}

#[test]
fn the_owners_key_is_printed_on_terminals_alone() {
    // to a pipe, see `server_binary::lifecycle`
    let home = Home::new();
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut screen = File::from(terminal.master);
    let reading = std::thread::spawn(move || {
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        // a terminal that nobody writes to any more is an error on some systems
        while let Ok(n @ 1..) = screen.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..n]);
        }
        String::from_utf8(seen).expect("UTF-8")
    });
    let mut command = home.serve();
    command.stdout(terminal.slave).stderr(Stdio::piped());
    let mut server = command.spawn().expect("it starts");
    // the command keeps the terminal open
    drop(command);
    let mut log = server.stderr.take().expect("a pipe");
    let logging = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).expect("UTF-8");
        text
    });
    let begun = Instant::now();
    while !home.config_dir().join("config.toml").exists() {
        assert!(begun.elapsed() < PATIENCE, "no profile");
        std::thread::sleep(POLL);
    }
    kill(Pid::from_raw(server.id().try_into().expect("an id")), Signal::SIGTERM).expect("it runs");
    assert_eq!(server.wait().expect("an end").code(), Some(0));
    let (screen, log) = (reading.join().expect("a screen"), logging.join().expect("a log"));
    assert_eq!(screen.matches(&home.key()).count(), 1, "{screen}");
    assert!(screen.contains("shown this once"), "{screen}");
    assert!(!log.contains(&home.key()), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_nobody_would_take_stop_the_start() {
    let home = Home::new();
    let mut command = serve(&home).await;
    command.env("SWITCHY_SMTP_URL", "smtp://mail.example.com");
    for url in [
        None,
        Some("http://127.0.0.1:3000"),
        Some("https://[2001:db8::1]"),
        Some("http://localhost:3000"),
    ] {
        match url {
            Some(url) => command.env("SWITCHY_PUBLIC_URL", url),
            None => command.env_remove("SWITCHY_PUBLIC_URL"),
        };
        let ended = Ended::of(&mut command);
        let said = ended.sentence();
        assert!(
            said.contains("SWITCHY_MAIL_FROM") && said.contains("SWITCHY_PUBLIC_URL"),
            "{said}"
        );
    }
    for (variable, value) in [
        ("SWITCHY_PUBLIC_URL", "https://switchy.example"),
        ("SWITCHY_MAIL_FROM", "noreply@switchy.example"),
    ] {
        let mut command = serve(&home).await;
        command.env("SWITCHY_SMTP_URL", "smtp://mail.example.com");
        stop(Serving::start(command.env(variable, value))).ok();
    }
}

fn without_model() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_taken_for_something_else() {
    let connections = ConnectionLimits { most: 3, ..ConnectionLimits::default() };
    let server = Server::with(Options { connections, ..without_model() }).await;
    let owner = server.org("acme").await.owner;
    let nobody = server.nobody();
    for answer in [
        owner.get("/me").await,
        owner.get("/nowhere").await,
        owner.get("/openapi.json").await,
        owner.post("/memory", json!({})).await,
        owner.get("/v1/org/acme/ws/none/sessions").await,
        nobody.get("/me").await,
        Answer::of(owner.request(Method::DELETE, "/me")).await,
        Answer::of(owner.http.post(server.url.replace("/api", "/mcp/rpc")).body("{")).await,
    ] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{}", answer.text);
    }
    // also what is told to a connection too many
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(TcpStream::connect(server.address()).await.expect("a connection"));
    }
    let mut last = held.pop().expect("one");
    last.write_all(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut said = String::new();
    last.read_to_string(&mut said).await.expect("an answer");
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("nosniff"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_whom_to_tell_of_a_hole_where_somebody_is_set() {
    let contact = Some("security@example.com".parse().expect("a contact"));
    let public_url = Some("https://switchy.example".parse().expect("a URL"));
    let server =
        Server::with(Options { security_contact: contact, public_url, ..without_model() }).await;
    let page = |server: &Server| {
        let url = server.url.replace("/api", "/.well-known/security.txt");
        Answer::of(server.nobody().http.get(url))
    };
    let told = page(&server).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.header("content-type"), Some("text/plain; charset=utf-8"));
    let lines: Vec<_> = told.text.lines().collect();
    assert_eq!(lines[0], "Contact: mailto:security@example.com");
    let expires = lines[1].strip_prefix("Expires: ").expect("when it is old");
    let days = (chrono::DateTime::parse_from_rfc3339(expires).expect("a time").to_utc()
        - chrono::Utc::now())
    .num_days();
    assert!((1..365).contains(&days), "{days}");
    assert_eq!(lines[2], "Canonical: https://switchy.example/.well-known/security.txt");
    assert_eq!(lines.len(), 3);
    let silent = Server::with(without_model()).await;
    page(&silent).await.fails(404, "NOT_FOUND");

    let home = Home::new();
    let wrong = Ended::of(home.serve().env("SWITCHY_SECURITY_CONTACT", "http://example.com"));
    assert!(wrong.usage().contains("--security-contact"), "{wrong:?}");
}
