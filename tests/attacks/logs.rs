//! What gets into a log, and a log that nobody reads.

use crate::fixture::binary::{Ended, Home, PATIENCE, POLL, Process, caller};
use crate::fixture::cluster::cluster;
use crate::fixture::logs::Logs;
use crate::fixture::{Answer, Options, Server, embedders};
use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole key of nobody's, as one would be pasted to a wrong place.
const KEY: &str = "sk_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";

/// Says one thing to a terminal, and another to a program that reads line by line.
const FORGED: &str = "x\u{1b}[2J\u{9b}31m\nINFO request status=200\u{202e}\u{2028}y";

/// Requests whose lines are more than a pipe (64 KiB) and the queue (4,096) hold.
const FLOOD: usize = 6_000;

/// Of them, how many are sent at once.
const FLOOD_AT_ONCE: usize = 16;

/// Whether a line is only what can be seen.
fn is_plain(line: &str) -> bool {
    !line.chars().any(|c| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c))
}

/// Every character percent-encoded, so often.
fn encoded(text: &str, times: usize) -> String {
    let once = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    (0..times).fold(text.to_owned(), |text, _| once(&text))
}

/// `serve` on a database of the test cluster, which starts faster than one's own.
async fn serve(home: &Home) -> Command {
    let mut command = home.serve();
    command.env_remove("SWITCHY_DATA_DIR");
    command.env("DATABASE_URL", cluster().empty_database().await.expose_secret());
    command
}

/// Sends what no HTTP client would, and waits for the first line of the answer.
async fn raw(address: &str, request: &str) -> String {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    connection.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 12];
    connection.read_exact(&mut answer).await.expect("an answer");
    String::from_utf8(answer).expect("ASCII")
}

/// Everything that strangers and members choose, full of what has no place in a log.
async fn attack(url: &str, key: &str) {
    let address = url.trim_start_matches("http://").trim_end_matches("/api").to_owned();
    let (owner, nobody) = (caller(url, key), caller(url, KEY));
    let rpc = format!("http://{address}/mcp/rpc");
    for somebody in [&nobody, &owner] {
        for method in [KEY, FORGED, &format!("{FORGED}{KEY}"), &encoded(KEY, 2)] {
            for params in [json!({}), json!({ "name": method, "arguments": { method: method } })] {
                for method in [method, "tools/call", "prompts/get", "resources/read"] {
                    let body =
                        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
                    for body in [body.clone(), json!([body, body])] {
                        let key = somebody.key.as_deref().expect("a key");
                        let request = somebody.http.post(&rpc).bearer_auth(key).json(&body);
                        Answer::of(request).await;
                    }
                }
            }
        }
        // in paths, as often encoded as one likes, and in the names and values of bodies
        for text in [KEY, FORGED] {
            for times in 0..4 {
                let path = format!("/memory/{}", encoded(text, times).replace(['\n', ' '], "%0a"));
                Answer::of(somebody.request(Method::GET, &path)).await;
            }
            let bodies = [
                json!({ "content": "x", "visibility": text }),
                json!({ "content": { text: text }, "visibility": "ORG" }),
                json!({ "content": "x", "visibility": "ORG", "tags": [{ text: text }] }),
                json!({ "content": "x", "visibility": "ORG", "spaceId": text }),
            ];
            for body in bodies {
                Answer::of(somebody.request(Method::POST, "/memory").json(&body)).await;
            }
            let broken = format!("{{\"content\": {text}}}");
            let request = somebody.request(Method::POST, "/memory").body(broken);
            Answer::of(request.header("Content-Type", "application/json")).await;
        }
    }
    raw(&address, &format!("{KEY} /{KEY} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    raw(&address, &format!("GET /a\u{9b}31m{KEY} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_repeats_keys_escapes_or_bodies_in_either_format() {
    for format in ["terminal", "json"] {
        let home = Home::new();
        let mut command = serve(&home).await;
        command.env("SWITCHY_WRITES_PER_MINUTE", "0").env("SWITCHY_READS_PER_MINUTE", "0");
        command.env("SWITCHY_FAILURES_PER_MINUTE", "0").env("SWITCHY_LOG_FORMAT", format);
        command.env("SWITCHY_MCP_QUOTAS", "other=0");
        let key = bootstrap(&home, &command);
        let address = free_address();
        command.env("SWITCHY_BIND", &address);
        let process = Process::start(&mut command);
        let url = format!("http://{address}/api");
        until_it_answers(&url).await;
        attack(&url, &key).await;
        kill(Pid::from_raw(process.pid()), Signal::SIGTERM).expect("it runs");
        let log = process.wait().stderr;

        assert!(log.contains("unknown method") && log.contains("sk_live_0123…"), "{log}");
        let lines: Vec<_> = log.lines().collect();
        assert!(lines.len() > 100, "{log}");
        for line in lines {
            assert!(is_plain(line), "{line:?}");
            assert!(!line.contains(&KEY[12..]) && !line.contains(&KEY[20..40]), "{line}");
            assert!(!line.contains("INFO request status=200"), "a forged line: {line}");
            assert!(line.len() < 6_000, "{line}");
            // no part of a key hides behind an encoding
            assert!(!line.contains("%73%6B") && !line.contains("%2573"), "{line}");
            if format == "json" {
                serde_json::from_str::<Value>(line).expect("one object a line");
            }
        }
    }
}

/// An organization in the database of `serve`, and its OWNER's key.
fn bootstrap(home: &Home, serve: &Command) -> String {
    let database = serve.get_envs().find(|(name, _)| *name == "DATABASE_URL");
    let database = database.and_then(|(_, value)| value).expect("a URL");
    let mut admin = home.server(["admin", "bootstrap", "--org=a", "--email=a@a.test"]);
    admin.arg("--output=json").env_remove("SWITCHY_DATA_DIR").env("DATABASE_URL", database);
    Ended::of(&mut admin).json()["apiKey"].as_str().expect("a key").to_owned()
}

/// An address that is free now. Nobody else binds it meanwhile: ports are given in turn.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

async fn until_it_answers(url: &str) {
    let begun = Instant::now();
    while reqwest::get(format!("{url}/health")).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not answer");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_body_says_is_not_quoted_to_the_log() {
    let (log, logs) = Logs::new();
    let options = Options { embedder: embedders::none(), log, ..Options::default() };
    let server = Server::with(options).await;
    let owner = server.org("acme").await.owner;
    let secret = "correcthorsebattery";
    let mut quoted = 0;
    for body in [
        json!({ "content": { "x": secret }, "visibility": "ORG" }),
        json!({ "content": "x", "visibility": secret }),
        json!({ "content": "x", "visibility": "ORG", "tags": { secret: 1 } }),
        json!({ "content": "x", "visibility": "ORG", "tags": [[secret]] }),
        json!({ "content": "x\u{0}", "visibility": "ORG", secret: "\u{0}" }),
    ] {
        let answer = owner.post("/memory", body).await;
        answer.fails(400, "VALIDATION_ERROR");
        quoted += usize::from(answer.text.contains(secret));
    }
    assert!(quoted > 1, "the caller is told");
    let entry = |content: &str| json!({ "messages": [{ "id": secret, "role": "user", "content": content }] });
    owner.post("/projects", json!({ "name": "Team" })).await.data(201);
    let base = "/v1/org/acme/ws/team/sessions";
    let session = json!({ "id": "018f3a2e-7c4b-7d1e-9a2b-3c4d5e6f7a8b", "agent": "a" });
    owner.post(base, session).await;
    let transcript = format!("{base}/018f3a2e-7c4b-7d1e-9a2b-3c4d5e6f7a8b/transcript");
    owner.post(&transcript, entry("one")).await;
    owner.post(&transcript, entry("another")).await;
    let again = json!({ "name": secret });
    owner.post("/projects", again.clone()).await.data(201);
    owner.post("/projects", again).await.fails(409, "CONFLICT");
    let lines = logs.lines();
    assert!(lines.iter().any(|l| l.contains("the request is not valid: ")), "{lines:#?}");
    for line in lines {
        assert!(!line.contains(secret), "{line}");
    }
}

/// A server whose standard error goes to a pipe that nobody reads.
struct Unread {
    child: Child,
    pipe: Option<ChildStderr>,
    url: String,
    key: String,
}

impl Unread {
    async fn start(home: &Home, format: &str) -> Unread {
        let mut command = serve(home).await;
        let key = bootstrap(home, &command);
        let address = free_address();
        command.env("SWITCHY_BIND", &address).env("SWITCHY_LOG_FORMAT", format);
        command.env("SWITCHY_READS_PER_MINUTE", "0").env("SWITCHY_FAILURES_PER_MINUTE", "0");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let pipe = child.stderr.take();
        let url = format!("http://{address}/api");
        until_it_answers(&url).await;
        Unread { child, pipe, url, key }
    }

    /// Sends so many requests that their lines are more than pipe and queue hold together. Each
    /// costs nothing but its line.
    async fn flood(&self) {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let client = client.build().expect("HTTP");
        let many = (0..FLOOD_AT_ONCE).map(|_| {
            let (client, url) = (client.clone(), format!("{}/health", self.url));
            tokio::spawn(async move {
                for _ in 0..FLOOD / FLOOD_AT_ONCE {
                    let answer = client.get(&url).send().await.expect("answered");
                    assert_eq!(answer.status(), 200);
                }
            })
        });
        for one in many.collect::<Vec<_>>() {
            one.await.expect("no panic");
        }
    }

    fn ask_to_end(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
    }

    async fn ends(&mut self) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "the end waits for a reader");
            tokio::time::sleep(POLL).await;
        };
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // it may have ended
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_neither_requests_nor_the_end() {
    let home = Home::new();
    let mut server = Unread::start(&home, "json").await;
    server.flood().await;
    let owner = caller(&server.url, &server.key);
    for _ in 0..20 {
        owner.get("/me").await.data(200);
    }
    server.ask_to_end();
    server.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_comes_back_is_told_how_many_lines_are_missing() {
    let home = Home::new();
    let mut server = Unread::start(&home, "json").await;
    server.flood().await;
    let pipe = BufReader::new(server.pipe.take().expect("a pipe"));
    let (read, lines) = channel();
    let reading = std::thread::spawn(move || {
        for line in pipe.lines() {
            // nobody takes them any more when the test has failed
            let _ = read.send(line.expect("UTF-8"));
        }
    });
    // when there is room again, new lines come through
    let mut log = Vec::new();
    let owner = caller(&server.url, &server.key);
    let begun = Instant::now();
    while !log.iter().any(|line: &String| line.contains("caught-up")) {
        owner.get("/caught-up").await.fails(404, "NOT_FOUND");
        log.extend(lines.try_iter());
        assert!(begun.elapsed() < PATIENCE, "no new line comes through");
    }
    server.ask_to_end();
    server.ends().await;
    reading.join().expect("the log");
    log.extend(lines.try_iter());
    let log = log.join("\n");
    let told = log.lines().find(|line| line.contains("were dropped")).expect("it is told");
    let told: Value = serde_json::from_str(told).expect("JSON");
    let written = log.lines().filter(|line| line.contains("\"operation\":\"health\"")).count();
    let missing = told["lines"].as_u64().expect("a number");
    assert!(missing > 100 && written < FLOOD, "{missing} {written}");
    assert!(log.lines().last().is_some_and(|line| line.contains("\"stopped\"")), "the last line");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_reader_is_gone_stops_nothing() {
    let home = Home::new();
    for format in ["terminal", "json"] {
        let mut server = Unread::start(&home, format).await;
        drop(server.pipe.take());
        let owner = caller(&server.url, &server.key);
        for _ in 0..20 {
            owner.get("/me").await.data(200);
            owner.get("/nowhere").await.fails(404, "NOT_FOUND");
        }
        server.ask_to_end();
        server.ends().await;
    }
}
