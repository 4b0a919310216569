//! Flags, environment variables, and what the log looks like.

use super::{send, stop, wait_until};
use crate::fixture::Answer;
use crate::fixture::binary::{Ended, Home, Process, Serving};
use crate::fixture::cluster::cluster;
use crate::fixture::cross_encoders::minilm;
use nix::sys::signal::Signal;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// `serve` on an empty database of the test cluster, which starts faster than one's own.
async fn serve_elsewhere(home: &Home) -> Command {
    let mut command = home.serve();
    command.env_remove("SWITCHY_DATA_DIR");
    command.env("DATABASE_URL", cluster().empty_database().await.expose_secret());
    command
}

#[test]
fn help_names_every_setting_and_no_secret() {
    let home = Home::new();
    let mut command = home.server(["serve", "--help"]);
    command.env("DATABASE_URL", "postgres://hunter2@h/d").env("SWITCHY_SECRET_KEY", "hunter2");
    let help = Ended::of(&mut command).ok();
    let settings = [
        ("--bind", "SWITCHY_BIND"),
        ("--public-url", "SWITCHY_PUBLIC_URL"),
        ("--tls-cert", "SWITCHY_TLS_CERT"),
        ("--tls-key", "SWITCHY_TLS_KEY"),
        ("--data-dir", "SWITCHY_DATA_DIR"),
        ("--cache-dir", "SWITCHY_CACHE_DIR"),
        ("--database-url", "DATABASE_URL"),
        ("--secret-key", "SWITCHY_SECRET_KEY"),
        ("--model-dir", "SWITCHY_MODEL_DIR"),
        ("--ort-dylib-path", "ORT_DYLIB_PATH"),
        ("--lexical-only", "SWITCHY_LEXICAL_ONLY"),
        ("--cross-encoder-dir", "SWITCHY_CROSS_ENCODER_DIR"),
        ("--cross-encoder-deadline-ms", "SWITCHY_CROSS_ENCODER_DEADLINE_MS"),
        ("--reads-per-minute", "SWITCHY_READS_PER_MINUTE"),
        ("--writes-per-minute", "SWITCHY_WRITES_PER_MINUTE"),
        ("--key-concurrency", "SWITCHY_KEY_CONCURRENCY"),
        ("--org-concurrency", "SWITCHY_ORG_CONCURRENCY"),
        ("--mcp-allow-hosts", "SWITCHY_MCP_ALLOW_HOSTS"),
        ("--log", "SWITCHY_LOG"),
        ("--log-format", "SWITCHY_LOG_FORMAT"),
    ];
    for (flag, variable) in settings {
        assert!(help.contains(flag), "{flag}");
        assert!(help.contains(&format!("[env: {variable}")), "{variable}");
    }
    assert!(!help.contains("hunter2"), "{help}");
}

#[test]
fn a_value_that_cannot_be_is_refused_with_its_name() {
    let home = Home::new();
    let wrong = [
        ("SWITCHY_BIND", "localhost", "--bind"),
        ("SWITCHY_PUBLIC_URL", "not a url", "--public-url"),
        ("SWITCHY_READS_PER_MINUTE", "abc", "--reads-per-minute"),
        ("SWITCHY_WRITES_PER_MINUTE", "-1", "--writes-per-minute"),
        ("SWITCHY_KEY_CONCURRENCY", "many", "--key-concurrency"),
        ("SWITCHY_POOL_SIZE", "0", "--pool-size"),
        ("SWITCHY_REQUEST_DEADLINE", "0", "--request-deadline"),
        ("SWITCHY_SHUTDOWN_DEADLINE", "1h", "--shutdown-deadline"),
        ("SWITCHY_LOG", "loud", "--log"),
        ("SWITCHY_LOG_FORMAT", "xml", "--log-format"),
        ("SWITCHY_EMBED_THREADS", "0", "--embed-threads"),
        ("SWITCHY_CROSS_ENCODER_DEADLINE_MS", "9", "--cross-encoder-deadline-ms"),
        ("SWITCHY_CROSS_ENCODER_DEADLINE_MS", "5001", "--cross-encoder-deadline-ms"),
    ];
    for (variable, value, flag) in wrong {
        let ended = Ended::of(home.serve().env(variable, value));
        assert!(ended.usage().contains(flag), "{ended:?}");
        assert!(ended.usage().contains(value), "{ended:?}");
    }
    for (one, other) in [("--tls-cert", "--tls-key"), ("--tls-key", "--tls-cert")] {
        let ended = Ended::of(&mut home.server(["serve", one, "x.pem"]));
        assert!(ended.usage().contains(other), "{ended:?}");
    }
    assert!(!home.data_dir().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_counts_as_not_set() {
    let home = Home::new();
    let database = cluster().empty_database().await;
    let variables = [
        "SWITCHY_DATA_DIR",
        "SWITCHY_PUBLIC_URL",
        "SWITCHY_TLS_CERT",
        "SWITCHY_TLS_KEY",
        "SWITCHY_SECRET_KEY",
        "SWITCHY_MODEL_DIR",
        "ORT_DYLIB_PATH",
        "SWITCHY_READS_PER_MINUTE",
        "SWITCHY_LEXICAL_ONLY",
        "SWITCHY_CROSS_ENCODER_DIR",
        "SWITCHY_CROSS_ENCODER_DEADLINE_MS",
        "SWITCHY_MCP_ALLOW_HOSTS",
        "SWITCHY_LOG",
    ];
    let start = |empty: bool| {
        let mut command = home.serve();
        command.env_remove("SWITCHY_DATA_DIR").env("DATABASE_URL", database.expose_secret());
        if empty {
            command.envs(variables.map(|name| (name, "")));
        }
        Serving::start(&mut command)
    };
    stop(start(true), Signal::SIGTERM).ok();
    // an empty secret would have been another one
    stop(start(false), Signal::SIGTERM).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn lexical_only_needs_no_model_and_search_says_so() {
    let home = Home::new();
    let mut command = home.serve();
    command.env("SWITCHY_MODEL_DIR", "/nowhere");
    let serving = Serving::start(&mut command);
    let owner = serving.caller(&home.key());
    assert_eq!(owner.get("/ready").await.data(200)["semanticSearch"], false);
    owner.note(json!({ "content": "Deploys are on Tuesdays.", "visibility": "ORG" })).await;
    let found = owner.post("/memory/search", json!({ "query": "deploys" })).await.data(200);
    assert_eq!(found["degraded"], true);
    assert_eq!(found["results"][0]["memory"]["content"], "Deploys are on Tuesdays.");
    stop(serving, Signal::SIGTERM).ok();
}

/// The same with a model: a flag on the command line would win over what a test sets.
fn with_model(command: &Command) -> Command {
    let mut with_model = Command::new(command.get_program());
    with_model.args(["serve", "--bind=127.0.0.1:0"]).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => with_model.env(name, value),
            None => with_model.env_remove(name),
        };
    }
    with_model
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_there_is_named_with_the_way_out() {
    let home = Home::new();
    let mut command = serve_elsewhere(&home).await;
    command.env("SWITCHY_MODEL_DIR", "/nowhere").env("SWITCHY_LEXICAL_ONLY", "false");
    let ended = Ended::of(&mut with_model(&command));
    let sentence = ended.sentence();
    assert!(sentence.contains("/nowhere") && sentence.contains("--lexical-only"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cross_encoder_that_cannot_be_used_is_named_with_the_way_out() {
    let home = Home::new();
    let mut command = serve_elsewhere(&home).await;
    // an embedding model is none
    for (folder, says) in
        [(PathBuf::from("/nowhere"), "model.onnx"), (minilm(), "choose a cross-encoder")]
    {
        command.env("SWITCHY_CROSS_ENCODER_DIR", &folder);
        let ended = Ended::of(&mut with_model(&command));
        let sentence = ended.sentence();
        assert!(sentence.contains(&folder.display().to_string()), "{sentence}");
        assert!(sentence.contains(says) && sentence.contains("or start without it"), "{sentence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_come_from_the_settings() {
    let home = Home::new();
    let mut command = home.serve();
    command.env("SWITCHY_READS_PER_MINUTE", "3").env("SWITCHY_WRITES_PER_MINUTE", "0");
    let serving = Serving::start(&mut command);
    let owner = serving.caller(&home.key());
    for _ in 0..3 {
        owner.get("/me").await.data(200);
    }
    owner.get("/me").await.fails(429, "RATE_LIMIT");
    for number in 0..25 {
        let note = json!({ "content": format!("note {number}"), "visibility": "ORG" });
        owner.note(note).await;
    }
    stop(serving, Signal::SIGTERM).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_url_is_what_people_are_told() {
    let home = Home::new();
    let mut command = home.serve();
    command.env("SWITCHY_PUBLIC_URL", "https://switchy.example.org/team/");
    let serving = Serving::start(&mut command);
    assert_eq!(serving.url, "https://switchy.example.org/team/api");
    assert!(home.profiles().contains(&serving.url));
    let url = serving.url.clone();
    assert!(stop(serving, Signal::SIGTERM).ok().contains(&url));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_and_its_key_make_it_https() {
    let home = Home::new();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).expect("made");
    let other = generate_simple_self_signed(["other".to_owned()]).expect("made");
    let file = |name: &str, text: &str| {
        let file = home.folder().join(name);
        std::fs::write(&file, text).expect("written");
        file
    };
    let certificate = file("cert.pem", &cert.pem());
    let key = file("key.pem", &signing_key.serialize_pem());
    let mut command = serve_elsewhere(&home).await;
    command.env("SWITCHY_TLS_CERT", &certificate).env("SWITCHY_TLS_KEY", &key);
    let serving = Serving::start(&mut command);
    assert!(serving.url.starts_with("https://127.0.0.1:"), "{}", serving.url);
    let trusted = reqwest::Certificate::from_pem(cert.pem().as_bytes()).expect("PEM");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build();
    let health = client.expect("a client").get(format!("{}/health", serving.url));
    assert_eq!(Answer::of(health).await.data(200)["status"], "ok");
    stop(serving, Signal::SIGTERM).ok();

    let nonsense = file("nonsense.pem", "no PEM at all");
    let other_key = file("other.pem", &other.signing_key.serialize_pem());
    let missing = home.folder().join("missing.pem");
    let wrong = [
        (&missing, &key, "missing.pem"),
        (&certificate, &missing, "missing.pem"),
        (&nonsense, &key, "nonsense.pem"),
        (&certificate, &nonsense, "nonsense.pem"),
        (&key, &key, "key.pem"),
        (&certificate, &certificate, "cert.pem"),
        (&certificate, &other_key, "other.pem"),
    ];
    for (certificate, key, named) in wrong {
        command.env("SWITCHY_TLS_CERT", certificate).env("SWITCHY_TLS_KEY", key);
        let ended = Ended::of(&mut command);
        assert!(ended.sentence().contains(named), "{ended:?}");
        assert!(ended.sentence().contains("TLS"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = Ended::of(serve_elsewhere(&home).await.env("SWITCHY_BIND", &address));
    let sentence = ended.sentence();
    assert!(sentence.contains(&format!("cannot listen on {address}")), "{sentence}");
    assert!(sentence.contains("in use") && sentence.contains("--bind"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_json_lines_with_one_a_request_and_no_key() {
    let home = Home::new();
    let serving = Serving::start(&mut home.serve());
    let key = home.key();
    let answer = serving.caller(&key).get("/me").await;
    let request = answer.body["metadata"]["requestId"].clone();
    let ended = stop(serving, Signal::SIGTERM);
    let line = |text: &str| -> Value { serde_json::from_str(text).expect(text) };
    let lines: Vec<_> = ended.stderr.lines().map(line).collect();
    for line in &lines {
        for part in ["ts", "level", "msg"] {
            assert!(line[part].is_string(), "{line}");
        }
    }
    let of_request = |line: &&Value| line.to_string().contains(&request.to_string());
    assert_eq!(lines.iter().filter(of_request).count(), 1, "{}", ended.stderr);
    assert!(!ended.stderr.contains(&key), "a key in the log");
    assert_eq!(lines.last().expect("a line")["msg"], "stopped");
}

#[test]
fn at_level_error_a_server_that_is_well_says_nothing() {
    let home = Home::new();
    let process = Process::start(home.serve().env("SWITCHY_LOG", "error"));
    // written once it listens
    let profile = home.config_dir().join("config.toml");
    wait_until("the profile is written", || profile.exists());
    send(&process, Signal::SIGTERM);
    let ended = process.wait();
    assert_eq!(ended.stderr, "");
    ended.ok();
}

/// What a command writes to a terminal as its standard error.
fn on_a_terminal(command: &mut Command) -> String {
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
    command.env("TERM", "xterm-256color").env_remove("CI").stdout(Stdio::null());
    let status = command.stderr(terminal.slave).status().expect("it runs");
    assert!(!status.success());
    // the command keeps the terminal open
    command.stderr(Stdio::null());
    reading.join().expect("the screen")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_color_means_no_escape_codes() {
    let home = Home::new();
    // fails after the first lines of the log
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = serve_elsewhere(&home).await;
    command.env("SWITCHY_LOG_FORMAT", "terminal").env("SWITCHY_BIND", &address);
    let plain = on_a_terminal(command.env("NO_COLOR", "1"));
    assert!(plain.contains("database") && plain.contains("error: "), "{plain}");
    assert!(!plain.contains('\x1b'), "{plain:?}");

    let mut wrong = home.server(["serve", "--nonsense"]);
    let coloured = on_a_terminal(wrong.env_remove("NO_COLOR"));
    assert!(coloured.contains('\x1b'), "this terminal shows colours: {coloured:?}");
    let plain = on_a_terminal(wrong.env("NO_COLOR", "1"));
    assert!(!plain.contains('\x1b'), "{plain:?}");
}
