//! Starting, stopping, crashing.

use super::{is_gone, send, stop, wait_until, wait_until_gone};
use crate::fixture::binary::{Ended, Home, Process, Serving};
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_saves_a_key_and_the_second_keeps_all_that_there_is() {
    let home = Home::new();
    let first = Serving::start(&mut home.serve());
    let key = home.key();
    let owner = first.caller(&key);
    let me = owner.get("/me").await.data(200);
    assert_eq!(me["organization"]["slug"], "my-team");
    assert_eq!(me["user"]["email"], "owner@localhost");
    assert_eq!(me["role"], "OWNER");
    owner.note(json!({ "content": "Deploys are on Tuesdays.", "visibility": "ORG" })).await;
    let postgres = home.postgres_pid();
    let url = first.url.clone();

    let first = stop(first, Signal::SIGTERM);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    assert!(is_gone(postgres));
    let file = home.config_dir().join("config.toml").display().to_string();
    for said in
        ["my-team", "owner@localhost", &url, "not shown", "does not expire", "`local`", &file]
    {
        assert!(first.stdout.contains(said), "{said}: {}", first.stdout);
    }
    // what is piped ends up in logs
    assert!(!first.stdout.contains(&key), "{}", first.stdout);
    for command in [" whoami\n", " memory add '", " memory search '"] {
        assert_eq!(first.stdout.matches(command).count(), 1, "{command}: {}", first.stdout);
    }
    assert!(!first.stderr.contains(&key), "a key in the log");

    let profile = home.config_dir().join("config.toml");
    let mode = std::fs::metadata(&profile).expect("the profile").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let profiles = home.profiles();
    assert!(profiles.contains(&url), "{profiles}");

    let second = Serving::start(&mut home.serve());
    let notes = second.caller(&key).get("/memory").await.data(200);
    assert_eq!(notes["memories"][0]["content"], "Deploys are on Tuesdays.");
    let second = stop(second, Signal::SIGTERM);
    assert_eq!(second.ok(), "");
    assert_eq!(home.profiles(), profiles);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_is_refused_while_the_first_goes_on() {
    let home = Home::new();
    let first = Serving::start(&mut home.serve());
    let second = Ended::of(&mut home.serve());
    let sentence = second.sentence();
    assert!(sentence.contains("the data of Ada is in use"), "{sentence}");
    assert!(sentence.contains(&first.process.pid().to_string()), "{sentence}");
    assert_eq!(second.stdout, "");
    first.caller(&home.key()).get("/me").await.data(200);

    // Ctrl-C
    let postgres = home.postgres_pid();
    assert_eq!(stop(first, Signal::SIGINT).status.code(), Some(0));
    assert!(is_gone(postgres));
}

#[test]
fn a_signal_during_the_start_ends_it_cleanly() {
    let home = Home::new();
    // with the model: loading it takes longer than the signal
    let mut command = home.server(["serve", "--bind=127.0.0.1:0", "--log-format=json"]);
    let mut starting = Process::start(&mut command);
    starting.logged("database");
    let postgres = home.postgres_pid();
    send(&starting, Signal::SIGTERM);
    let ended = starting.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(is_gone(postgres));
}

#[test]
fn a_first_start_that_fails_makes_no_key_and_the_next_one_does() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let failed = Ended::of(home.serve().env("SWITCHY_BIND", &address));
    let sentence = failed.sentence();
    assert!(sentence.contains(&address) && sentence.contains("--bind"), "{sentence}");
    assert_eq!(failed.stdout, "");
    assert!(!home.config_dir().exists());

    drop(taken);
    let serving = Serving::start(&mut home.serve());
    let key = home.key();
    assert!(key.starts_with("sk_live_"));
    assert!(stop(serving, Signal::SIGTERM).ok().contains("API key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_no_acknowledged_note_and_leaves_no_postgres() {
    const WRITERS: usize = 4;
    const NOTES: usize = 20;
    const ENOUGH: usize = 40;
    let home = Home::new();
    let unlimited = || {
        let mut command = home.serve();
        command.env("SWITCHY_WRITES_PER_MINUTE", "0").env("SWITCHY_READS_PER_MINUTE", "0");
        command
    };
    let serving = Serving::start(&mut unlimited());
    let owner = serving.caller(&home.key());
    let postgres = home.postgres_pid();
    let server = Pid::from_raw(serving.process.pid());
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers = (0..WRITERS).map(|writer| {
        let (owner, acknowledged) = (owner.clone(), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            for number in 0..NOTES {
                let content = format!("note {number} of writer {writer}");
                let body = json!({ "content": content, "visibility": "ORG" });
                let sent = owner.request(Method::POST, "/memory").json(&body).send().await;
                // the server is dead, or died while it answered
                let Ok(answer) = sent else { return };
                assert_eq!(answer.status(), 201);
                let mut acknowledged = acknowledged.lock().expect("a list");
                acknowledged.push(content);
                if acknowledged.len() == ENOUGH {
                    kill(server, Signal::SIGKILL).expect("it runs");
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    assert_eq!(serving.process.wait().status.code(), None, "killed");
    let acknowledged = acknowledged.lock().expect("a list").clone();
    assert!(acknowledged.len() >= ENOUGH, "{}", acknowledged.len());

    // at once: PostgreSQL may still be on its way out
    let again = Serving::start(&mut unlimited());
    assert!(is_gone(postgres));
    let notes = again.caller(&home.key()).get("/memory?limit=100").await.data(200);
    let notes: Vec<_> = notes["memories"].as_array().expect("notes").iter().collect();
    for content in &acknowledged {
        assert!(notes.iter().any(|note| note["content"] == **content), "{content} is lost");
    }

    let postgres = home.postgres_pid();
    send(&again.process, Signal::SIGKILL);
    drop(again.process.wait());
    wait_until_gone(postgres);
}

#[test]
fn a_postgres_that_dies_ends_the_server_with_a_sentence() {
    let home = Home::new();
    let serving = Serving::start(&mut home.serve());
    kill(Pid::from_raw(home.postgres_pid()), Signal::SIGKILL).expect("it runs");
    let ended = serving.process.wait();
    let sentence = ended.sentence();
    assert!(sentence.contains("PostgreSQL ended by itself"), "{sentence}");
    assert!(sentence.contains("postgres.log"), "{sentence}");
}

#[test]
fn a_profile_that_is_in_use_stays_current_and_the_commands_name_the_new_one() {
    let home = Home::new();
    std::fs::create_dir(home.config_dir()).expect("a folder");
    let theirs = "current = \"work\"\n\n[profiles.work]\nurl = \"https://work.test/api\"\n";
    std::fs::write(home.config_dir().join("config.toml"), theirs).expect("written");
    let printed = stop(Serving::start(&mut home.serve()), Signal::SIGTERM).ok();
    assert_eq!(printed.matches(" --profile local ").count(), 3, "{printed}");
    let profiles = home.profiles();
    assert!(profiles.contains("current = \"work\""), "{profiles}");
    assert!(profiles.contains("https://work.test/api"), "{profiles}");
}

#[test]
fn a_first_start_whose_output_nobody_reads_serves_all_the_same() {
    let home = Home::new();
    let mut command = home.serve();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    command.stdout(writer).stderr(Stdio::null());
    let mut server = command.spawn().expect("it starts");
    // written before anything is printed
    let profile = home.config_dir().join("config.toml");
    wait_until("the profile is written", || profile.exists());
    let pid = Pid::from_raw(server.id().try_into().expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    assert_eq!(server.wait().expect("an end").code(), Some(0));
    assert!(home.key().starts_with("sk_live_"));
}
