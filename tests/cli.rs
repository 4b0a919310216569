//! The command line against the real server.

use crate::fixture::binary::{Ended, Home};
use crate::fixture::{Caller, Options, Server};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use switchy_server::auth::OrgRole;
use switchy_server::limits::Limits;

/// `switchy ARGUMENTS` as this caller.
fn switchy(home: &Home, server: &Server, caller: &Caller, arguments: &[&str]) -> Command {
    let mut command = home.cli(arguments);
    command
        .env("SWITCHY_URL", &server.url)
        .env("SWITCHY_API_KEY", caller.key.as_deref().unwrap_or_default());
    command
}

/// Runs it off this thread: the server of the test lives on it.
async fn run(mut command: Command) -> Ended {
    tokio::task::spawn_blocking(move || Ended::of(&mut command)).await.expect("it ran")
}

fn notes_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/notes.jsonl")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_the_command_line() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let home = Home::new();
    let on = |arguments: &[&str]| run(switchy(&home, &server, &org.owner, arguments));

    assert!(on(&["whoami"]).await.ok().contains("owner@acme.test"));
    let space = on(&["space", "create", "Platform team", "-o", "json"]).await.json();
    assert_eq!(space["project"]["slug"], "platform-team");
    on(&["session", "create", "Upgrade", "--space", "platform-team"]).await.ok();
    let sessions = on(&["session", "list", "--space", "platform-team", "-o", "json"]).await.json();
    let session = sessions["sessions"][0]["id"].as_str().expect("id").to_owned();
    let renamed = ["session", "update", &session, "--space", "platform-team", "--title", "New"];
    on(&renamed).await.ok();
    on(&["session", "archive", &session, "--space", "platform-team"]).await.ok();
    let viewed = ["session", "view", &session, "--space", "platform-team", "-o", "json"];
    let viewed = on(&viewed).await.json();
    assert_eq!(viewed["session"]["title"], "New");
    assert!(viewed["session"]["archivedAt"].is_string());

    let note =
        ["memory", "add", "The lock is with Grace.", "--space", "platform-team", "-o", "json"];
    let note = on(&note).await.json();
    let id = note["memory"]["id"].as_str().expect("id").to_owned();
    assert_eq!(note["memory"]["visibility"], "SPACE");
    assert!(on(&["memory", "search", "who holds the lock?"]).await.ok().contains("Grace"));
    on(&["memory", "delete", &id, "--yes"]).await.ok();
    let missing = on(&["memory", "delete", &id, "--yes"]).await;
    assert_eq!(missing.status.code(), Some(5), "{}", missing.stderr);
    assert!(missing.stderr.contains("request id"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_and_its_people_with_the_command_line() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let home = Home::new();
    let on = |arguments: &[&str]| run(switchy(&home, &server, &org.owner, arguments));
    on(&["space", "create", "Platform team"]).await.ok();
    on(&["space", "update", "platform-team", "--name", "Platform", "--model", "opus"]).await.ok();
    let user = eve.user_id.as_str();
    on(&["space", "member", "add", "platform-team", user, "--role", "viewer"]).await.ok();
    on(&["space", "member", "role", "platform-team", "eve@acme.test", "editor"]).await.ok();
    let members = on(&["space", "member", "list", "platform-team"]).await.ok();
    assert!(members.contains("eve@acme.test") && members.contains("EDITOR"), "{members}");
    let last = on(&["space", "member", "remove", "platform-team", "me", "--yes"]).await;
    assert_eq!(last.status.code(), Some(6), "{}", last.stderr);

    let note = ["memory", "add", "The lock is with Grace.", "-o", "json"];
    let note = on(&note).await.json();
    let id = note["memory"]["id"].as_str().expect("id").to_owned();
    on(&["memory", "update", &id, "--space", "platform-team", "--tag", "locks"]).await.ok();
    let hers = switchy(&home, &server, &eve, &["memory", "view", &id]);
    let hers = run(hers).await.ok();
    assert!(hers.contains("SPACE  platform-team") && hers.contains("#locks"), "{hers}");
    on(&["space", "archive", "platform-team", "--yes"]).await.ok();
    assert_eq!(on(&["memory", "view", &id]).await.status.code(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_with_the_command_line() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let home = Home::new();
    let on = |arguments: &[&str]| run(switchy(&home, &server, &org.owner, arguments));
    let create = ["key", "create", "bot", "--scope", "memory:read", "--expires-in", "1"];
    let minted = on(&[&create[..], &["-o", "json"]].concat()).await.json();
    let id = minted["key"]["id"].as_str().expect("id").to_owned();
    let bot = |minted: &Value| {
        let secret = minted["key"]["secret"].as_str().expect("a secret");
        Caller { key: Some(secret.to_owned()), ..org.owner.clone() }
    };
    bot(&minted).get("/memory").await.data(200);
    let rotated = on(&["key", "rotate", &id, "--yes", "-o", "json"]).await.json();
    bot(&minted).get("/memory").await.fails(401, "AUTH_ERROR");
    bot(&rotated).get("/memory").await.data(200);
    assert!(on(&["key", "list"]).await.ok().contains(&id));
    on(&["key", "revoke", &id, "--yes"]).await.ok();
    bot(&rotated).get("/memory").await.fails(401, "AUTH_ERROR");
    assert!(!on(&["key", "list"]).await.ok().contains(&id));
    let unknown = on(&["key", "create", "x", "--scope", "memory:reed"]).await;
    assert_eq!(unknown.status.code(), Some(7), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("scopes[0]"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_many_lines_takes_few_writes_and_names_the_bad_ones() {
    let server = Server::with(Options {
        limits: Limits { reads: 0, writes: 3, failures: 0 },
        ..Options::default()
    })
    .await;
    let org = server.org("acme").await;
    let home = Home::new();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    for i in 0..150 {
        let content = if i == 7 { String::new() } else { format!("note {i}") };
        writeln!(file, "{{\"content\": \"{content}\"}}").expect("written");
    }
    let path = file.path().display().to_string();
    // 100 of which one is bad, the 99 others, and 50: three writes
    let ended = run(switchy(&home, &server, &org.owner, &["memory", "import", &path])).await;
    assert_eq!(ended.status.code(), Some(7), "{}", ended.stderr);
    assert!(ended.stderr.contains("line 8: not accepted\n  content: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("rate limit"), "{}", ended.stderr);
    assert_eq!(total(&org.owner).await, 149);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_the_kind_of_failure() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let space = org.owner.space("Secret").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let home = Home::new();
    let nobody = server.nobody();
    let id = space["id"].as_str().expect("id");
    for (caller, arguments, code) in [
        (&nobody, &["whoami"][..], 3),
        (&eve, &["space", "view", id][..], 4),
        (&org.owner, &["space", "view", "cmo5w1c2t8zq4k7n3x9b6d0fh"][..], 5),
        (&org.owner, &["space", "create", "secret"][..], 6),
        (&org.owner, &["space", "create", "!!!"][..], 7),
    ] {
        let ended = run(switchy(&home, &server, caller, arguments)).await;
        assert_eq!(ended.status.code(), Some(code), "{arguments:?} {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    }
    let mut unreachable = switchy(&home, &server, &org.owner, &["whoami"]);
    unreachable.env("SWITCHY_URL", "http://127.0.0.1:1/api");
    assert_eq!(run(unreachable).await.status.code(), Some(9));
}

async fn total(caller: &Caller) -> Value {
    caller.get("/memory").await.data(200)["total"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_safe_to_run_twice() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let home = Home::new();
    let file = notes_file().display().to_string();
    let import = ["memory", "import", &file, "--visibility", "ORG"];
    run(switchy(&home, &server, &org.owner, &import)).await.ok();
    assert_eq!(total(&org.owner).await, 60);
    run(switchy(&home, &server, &org.owner, &import)).await.ok();
    assert_eq!(total(&org.owner).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_the_limit_and_goes_on() {
    let server = Server::with(Options {
        limits: Limits { reads: 0, writes: 2, failures: 0 },
        ..Options::default()
    })
    .await;
    let org = server.org("acme").await;
    let home = Home::new();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    for i in 0..2 {
        writeln!(file, "{{\"content\": \"note {i}\"}}").expect("written");
    }
    // both places were taken most of a minute ago, and are free again in two seconds
    let sql = server.sql().await;
    let key: String = sql.query_one("SELECT id FROM api_keys", &[]).await.expect("key").get(0);
    sql.execute(
        "INSERT INTO rate_limits (subject, bucket, hits) VALUES ('key:' || $1::text, 'write', \
         ARRAY[now() - interval '58 s', now() - interval '58 s'])",
        &[&key],
    )
    .await
    .expect("hits");
    let path = file.path().display().to_string();
    run(switchy(&home, &server, &org.owner, &["memory", "import", &path])).await.ok();
    assert_eq!(total(&org.owner).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_is_named_and_the_others_are_written() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let home = Home::new();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "{{\"content\": \"good\"}}\n{{\"content\": \"\"}}\n{{\"content\": \"fine\"}}")
        .expect("written");
    let path = file.path().display().to_string();
    let ended = run(switchy(&home, &server, &org.owner, &["memory", "import", &path])).await;
    assert_ne!(ended.status.code(), Some(0));
    assert!(ended.stderr.contains("line 2"), "{}", ended.stderr);
    assert_eq!(total(&org.owner).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_login_saved_is_used_and_its_key_can_be_printed() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let home = Home::new();
    let key = org.owner.key.clone().expect("a key");
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), &key).expect("written");
    let mut login = home.cli(["login", "--key-stdin", "--url", &server.url]);
    login.stdin(std::fs::File::open(secret.path()).expect("the file"));
    let ended = run(login).await;
    assert!(!ended.everything().contains(&key), "the key was echoed");
    ended.ok();
    assert!(run(home.cli(["whoami"])).await.ok().contains("owner@acme.test"));
    assert_eq!(run(home.cli(["profile", "key"])).await.ok().trim(), key);
}

/// `switchy ARGUMENTS` as this caller, with something on standard input.
async fn run_with_input(
    home: &Home,
    server: &Server,
    caller: &Caller,
    arguments: &[&str],
    input: &str,
) -> Ended {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(input.as_bytes()).expect("written");
    std::io::Seek::rewind(&mut file).expect("rewound");
    let mut command = switchy(home, server, caller, arguments);
    command.stdin(file);
    run(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_invited_promoted_and_removed() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let grace = server.org("elsewhere").await.owner;
    let home = Home::new();
    let on = |arguments: &[&str]| run(switchy(&home, &server, &org.owner, arguments));

    assert!(on(&["invite", "list"]).await.ok().contains("nobody is invited"));
    let said = on(&["invite", "create", &grace.email, "--role", "ADMIN"]).await;
    assert!(said.stderr.contains("hand over"), "{}", said.stderr);
    let said = said.ok();
    let command = said.lines().find(|l| l.contains("invite accept")).expect("a command").trim();
    assert!(command.starts_with(&format!("switchy --url {} invite", server.url)), "{command}");
    let token = command.split(' ').next_back().expect("a token").to_owned();
    let listed = on(&["invite", "list"]).await.ok();
    assert!(listed.contains(&grace.email) && listed.contains("ADMIN"), "{listed}");
    assert!(!listed.contains("inv_"), "{listed}");
    let again = on(&["invite", "create", &grace.email]).await;
    assert_eq!(again.status.code(), Some(6), "{}", again.stderr);

    // the whole URL, through standard input
    let url = format!("{}/invitations/{token}/accept\n", server.url);
    let accept = ["invite", "accept", "-"];
    let wrong = run_with_input(&home, &server, &org.owner, &accept, &url).await;
    assert_eq!(wrong.status.code(), Some(4), "{}", wrong.stderr);
    let joined = run_with_input(&home, &server, &grace, &accept, &url).await;
    assert!(joined.ok().contains(&format!("ADMIN of the organization {}", org.id)));
    let spent = run(switchy(&home, &server, &grace, &["invite", "accept", &token])).await;
    assert_eq!(spent.status.code(), Some(6), "{}", spent.stderr);

    on(&["member", "role", &grace.email.to_uppercase(), "member"]).await.ok();
    let members = on(&["member", "list", "-o", "json"]).await.json();
    assert_eq!(members["members"][1]["email"], grace.email.as_str());
    assert_eq!(members["members"][1]["role"], "MEMBER");
    assert!(on(&["member", "list"]).await.ok().contains(&grace.email));
    let only = on(&["member", "leave", "--yes"]).await;
    assert_eq!(only.status.code(), Some(6), "{}", only.stderr);
    on(&["member", "remove", grace.user_id.as_str()]).await.ok();
    let gone = on(&["member", "remove", &grace.email, "--yes"]).await;
    assert_eq!(gone.status.code(), Some(5), "{}", gone.stderr);

    let made = on(&["invite", "create", "heidi@example.com", "-o", "json"]).await.json();
    assert_eq!(made["invitation"]["role"], "MEMBER");
    on(&["invite", "revoke", "Heidi@example.com"]).await.ok();
    on(&["invite", "revoke", made["invitation"]["id"].as_str().expect("an id")]).await.ok();
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    run(switchy(&home, &server, &eve, &["member", "leave", "--yes"])).await.ok();
    let after = run(switchy(&home, &server, &eve, &["whoami"])).await;
    assert_eq!(after.status.code(), Some(3), "{}", after.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_with_the_command_line() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let home = Home::new();
    let on = |arguments: &[&str]| run(switchy(&home, &server, &org.owner, arguments));
    on(&["space", "create", "Team"]).await.ok();
    let made = on(&["session", "create", "Upgrade", "--space", "team", "-o", "json"]).await.json();
    let session = made["session"]["id"].as_str().expect("id").to_owned();
    let place = ["--space", "team", "--session", &*session];
    let message = |first: &[&str], rest: &[&str]| {
        let arguments = [&["message"], first, &place, rest].concat();
        switchy(&home, &server, &org.owner, &arguments)
    };

    let sent = run(message(&["send", "Shall we?"], &["-o", "json"])).await.json();
    let root = sent["message"]["id"].as_str().expect("id").to_owned();
    let mut piped = message(&["send", "-"], &["--parent", &root]);
    let text = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(text.path(), "Yes,\nwe shall.\n").expect("written");
    piped.stdin(std::fs::File::open(text.path()).expect("the file"));
    assert!(run(piped).await.ok().starts_with("sent c"));
    for _ in 0..2 {
        assert_eq!(on(&["message", "react", "--space", "team", &root, "👍"]).await.ok(), "👍 1\n");
    }
    let listed = run(message(&["list"], &[])).await.ok();
    assert!(listed.contains("we shall.") && listed.contains("Shall we?"), "{listed}");
    assert!(listed.contains("1 reply") && listed.contains("👍 1"), "{listed}");
    let all = run(message(&["list", "--all"], &["-o", "json"])).await.json();
    assert_eq!((&all["total"], &all["replyCount"][&root]), (&2.into(), &1.into()));
    let older = run(message(&["list", "--limit", "1"], &["-o", "json"])).await.json();
    let newest = older["messages"][0]["id"].as_str().expect("id").to_owned();
    let older = run(message(&["list", "--before", &newest], &["-o", "json"])).await.json();
    assert_eq!(older["messages"][0]["id"], root);
    on(&["message", "unreact", "--space", "team", &root, "👍"]).await.ok();
    let search = ["message", "search", "--space", "team", "--context", "1", "shall"];
    let shown = on(&search).await.ok();
    assert!(shown.contains("found") && shown.contains("Shall we?"), "{shown}");
    let raw = on(&[&search[..], &["-o", "json"]].concat()).await.json();
    assert_eq!(raw["results"].as_array().expect("results").len(), 1);
    assert_eq!(
        on(&["message", "search", "--space", "team", "xylophone"]).await.ok(),
        "nothing was found\n"
    );
    let agent = run(message(&["send", "x", "--agent", "claude"], &[])).await;
    assert_eq!(agent.status.code(), Some(4), "{}", agent.stderr);

    // watching: what was said last, what is said now, and Ctrl-C
    let mut watch = message(&["watch", "--last", "1"], &["-o", "json"]);
    watch.stdout(std::process::Stdio::piped());
    let mut watch = watch.spawn().expect("started");
    let mut lines = std::io::BufReader::new(watch.stdout.take().expect("a pipe"));
    let line = async |lines: &mut std::io::BufReader<std::process::ChildStdout>| -> Value {
        let mut line = String::new();
        tokio::task::block_in_place(|| std::io::BufRead::read_line(lines, &mut line))
            .expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    let last = line(&mut lines).await;
    assert_eq!(last["data"]["message"]["body"], "Yes,\nwe shall.");
    run(message(&["send", "Now?"], &[])).await.ok();
    let now = line(&mut lines).await;
    assert_eq!(
        (&now["event"], &now["data"]["message"]["body"]),
        (&"message.created".into(), &"Now?".into())
    );
    let pid = nix::unistd::Pid::from_raw(watch.id().try_into().expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("signalled");
    let status = tokio::task::block_in_place(|| watch.wait()).expect("ended");
    assert_eq!(status.code(), Some(0));

    // watching for people, until one may not
    let outsider = server.member(&org, "eve", OrgRole::Member).await;
    let arguments = [&["message", "watch"][..], &place].concat();
    let ended = run(switchy(&home, &server, &outsider, &arguments)).await;
    assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
}
