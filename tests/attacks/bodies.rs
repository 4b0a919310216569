//! Bodies that cost more than their bytes.

use super::{Peer, bearer};
use crate::fixture::operations::operations;
use crate::fixture::{Options, Server, embedders};
use http::Method;
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;
use switchy_server::http::connections::ConnectionLimits;
use switchy_server::limits::{Concurrency, Limits};

fn without_model() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

fn announced(bytes: usize) -> Vec<String> {
    vec!["Content-Type: application/json".to_owned(), format!("Content-Length: {bytes}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_before_the_body_is_sent() {
    let server = Server::with(without_model()).await;
    let org = server.org("acme").await;
    let wrong = bearer("sk_live_0000000000000000000000000000000000000000000000000");
    let revoked = server.key_for(&org.owner, &["*"]).await.key.expect("a key");
    let sql = server.sql().await;
    let last = "UPDATE api_keys SET revoked_at = now() \
                WHERE id = (SELECT id FROM api_keys ORDER BY created_at DESC, id LIMIT 1)";
    assert_eq!(sql.execute(last, &[]).await.expect("revoked"), 1);
    org.owner.get("/me").await.data(200);
    let of_document = operations().into_iter().filter(|o| o.body.is_some() && !o.public);
    let mut asked: Vec<(Method, String)> = of_document
        .map(|o| (o.method.clone(), format!("/api{}", o.path(org.id.as_str()))))
        .collect();
    asked.push((Method::POST, "/mcp/rpc".to_owned()));
    assert!(asked.len() > 20, "{asked:?}");
    for (method, path) in asked {
        for key in [None, Some(wrong.clone()), Some(bearer(&revoked))] {
            let mut lines = announced(1_000_000);
            lines.extend(key);
            let mut stranger = Peer::connect(server.address()).await;
            stranger.ask(&format!("{method} {path}"), &lines).await;
            // nothing of the body is ever sent
            assert_eq!(stranger.status().await, 401, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_limit_is_told_before_the_body_is_sent() {
    let limits = Limits { reads: 0, writes: 1, failures: 0 };
    let server = Server::with(Options { limits, ..without_model() }).await;
    let owner = server.org("acme").await.owner;
    owner.space("One").await;
    let mut lines = announced(1_000_000);
    lines.push(bearer(owner.key.as_deref().expect("a key")));
    let mut peer = Peer::connect(server.address()).await;
    peer.ask("POST /api/memory", &lines).await;
    assert_eq!(peer.status().await, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_event_is_refused_before_it_is_sent() {
    let billing = crate::fixture::stripe::unreachable();
    let server = Server::with(Options { billing, ..without_model() }).await;
    let mut stranger = Peer::connect(server.address()).await;
    stranger.ask("POST /api/webhooks/stripe", &announced(200_000)).await;
    assert_eq!(stranger.status().await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_any_is_refused_by_its_length() {
    let server = Server::with(without_model()).await;
    let owner = server.org("acme").await.owner;
    let mut lines = announced(2_000_000);
    lines.push(bearer(owner.key.as_deref().expect("a key")));
    let mut peer = Peer::connect(server.address()).await;
    peer.ask("POST /api/memory", &lines).await;
    assert_eq!(peer.status().await, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_still_sending_gets_its_refusal() {
    let server = Server::with(without_model()).await;
    server.org("acme").await;
    let body = json!({ "content": "x".repeat(900_000), "visibility": "ORG" });
    for _ in 0..20 {
        server.nobody().post("/memory", body.clone()).await.fails(401, "AUTH_ERROR");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_come_keep_nobody_from_being_served() {
    let concurrency = Concurrency { key: 2, org: 4 };
    let server = Server::with(Options { concurrency, ..without_model() }).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let mut slow = Vec::new();
    for key in [&eve, &server.key_for(&eve, &["*"]).await] {
        for _ in 0..4 {
            let mut lines = announced(1_000_000);
            lines.push(bearer(key.key.as_deref().expect("a key")));
            let mut peer = Peer::connect(server.address()).await;
            peer.ask("POST /api/memory", &lines).await;
            peer.send(b"{").await;
            slow.push(peer);
        }
    }
    for n in 0..10 {
        org.owner.space(&format!("Space {n}")).await;
        org.owner.get("/me").await.data(200);
    }
}

/// A million bytes of it.
fn repeated(element: &str, before: &str, after: &str) -> String {
    let count = (1_000_000 - before.len() - after.len()) / (element.len() + 1);
    format!("{before}{}{after}", vec![element; count].join(","))
}

/// Bodies of a million bytes that are much more once they are read.
fn hostile() -> Vec<(&'static str, String)> {
    let long_name = "n".repeat(500_000);
    vec![
        ("/memory/batch", repeated("{}", r#"{"memories":["#, "]}")),
        ("/memory/batch", repeated("[]", r#"{"memories":["#, "]}")),
        ("/memory/batch", repeated(r#"{"visibility":0}"#, r#"{"memories":["#, "]}")),
        ("/memory/batch", repeated(r#"{"tags":[{},{}]}"#, r#"{"memories":["#, "]}")),
        ("/memory", repeated("0", r#"{"tags":["#, "]}")),
        ("/memory", repeated(r#""""#, r#"{"content":"x","visibility":"ORG","tags":["#, "]}")),
        ("/memory", repeated(r#"{"a":{}}"#, r#"{"unknown":["#, "]}")),
        ("/projects", repeated("{}", r#"{"name":["#, "]}")),
        ("/keys", repeated("0", r#"{"name":"x","scopes":["#, "]}")),
        ("/projects", format!(r#"{{"name":{{"{long_name}":[0,0]}}}}"#)),
    ]
}

/// The most memory that the process had since it was last asked, in KiB.
#[cfg(target_os = "linux")]
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    let peak = line.trim().trim_end_matches(" kB").parse().expect("a number");
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("begun anew");
    peak
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn no_body_takes_more_than_64_mb_to_be_refused() {
    use crate::fixture::binary::{Home, Serving};
    const MOST: u64 = 64 * 1024;
    let home = Home::new();
    let mut command = home.serve();
    command.env("SWITCHY_WRITES_PER_MINUTE", "0");
    let serving = Serving::start(&mut command);
    let pid = serving.process.pid();
    let owner = serving.caller(&home.key());
    owner.space("Team").await;
    let session = json!({ "id": "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90", "model": "m" });
    let org = owner.get("/me").await.data(200)["organization"]["slug"].take();
    let sessions = format!("/v1/org/{}/ws/team/sessions", org.as_str().expect("a slug"));
    owner.post(&sessions, session).await.bare();
    let transcript = format!("{sessions}/3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90/transcript");
    let of_messages = |element| repeated(element, r#"{"messages":["#, "]}");
    let mut bodies = hostile();
    bodies.push((&transcript, of_messages("{}")));
    bodies.push((&transcript, of_messages(r#"{"role":"user","metadata":{"a":[{},{}]}}"#)));
    peak(pid);
    for (path, body) in bodies {
        let before = peak(pid);
        let request = owner.request(Method::POST, path);
        let request = request.header("Content-Type", "application/json").body(body.clone());
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let told = answer.bytes().await.expect("its body").len();
        let grown = peak(pid).saturating_sub(before);
        let which = body.chars().take(60).collect::<String>();
        println!("{path} {which}: {status}, {grown} KiB, told {told} bytes");
        assert!([400, 409, 422].contains(&status), "{path} {which}: {status}");
        assert!(grown < MOST, "{path} {which}: {grown} KiB");
        assert!(told < 256 * 1024, "{path} {which}: {told} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_too_many_messages_is_refused_as_one() {
    let server = Server::with(without_model()).await;
    let owner = server.org("acme").await.owner;
    let key = owner.key.clone().expect("a key");
    let url = server.url.replace("/api", "/mcp/rpc");
    let body = repeated("{}", "[", "]").replace("{}", "1");
    for body in [body, vec!["{}"; 21].join(",").replacen("{}", "[{}", 1) + "]"] {
        let request = owner.http.post(&url).bearer_auth(&key).body(body);
        let answer = request.header("Content-Type", "application/json").send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 400);
        let told: Value = answer.json().await.expect("JSON");
        assert_eq!(told["error"]["code"], -32_600, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_given_twice_is_refused() {
    let server = Server::with(without_model()).await;
    let owner = server.org("acme").await.owner;
    for body in [
        r#"{"content":"for all","visibility":"ORG","visibility":"PRIVATE"}"#,
        r#"{"content":"a","visibility":"ORG","x":{"y":1,"y":1}}"#,
    ] {
        let request = owner.request(Method::POST, "/memory");
        let request = request.header("Content-Type", "application/json").body(body);
        let answer = crate::fixture::Answer::of(request).await;
        let error = answer.fails(400, "VALIDATION_ERROR");
        assert!(error["message"].as_str().expect("text").contains("twice"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_says_who_asks_is_sent_once() {
    let server = Server::with(without_model()).await;
    let owner = server.org("acme").await.owner;
    let own = bearer(owner.key.as_deref().expect("a key"));
    for lines in [vec![own.clone(), own.clone()], vec![own.clone(), "Host: other".to_owned()]] {
        let mut peer = Peer::connect(server.address()).await;
        peer.ask("GET /api/me", &lines).await;
        assert_eq!(peer.status().await, 400, "{lines:?}");
    }
    let mut peer = Peer::connect(server.address()).await;
    peer.ask("GET /api/me", &[own]).await;
    assert_eq!(peer.status().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_parameters_than_any_query_has_are_refused() {
    let server = Server::with(without_model()).await;
    let owner = server.org("acme").await.owner;
    let query = vec!["limit=x"; 8_000].join("&");
    owner.get(&format!("/memory?{query}")).await.fails(400, "VALIDATION_ERROR");
    server.nobody().get(&format!("/memory?{query}")).await.fails(401, "AUTH_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_bytes_of_one_key_leave_room_for_others() {
    const ALL: usize = 8 * 1024 * 1024;
    let connections = ConnectionLimits { all_bodies: ALL, ..ConnectionLimits::default() };
    let server = Server::with(Options { connections, ..without_model() }).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let mut lines = vec![bearer(eve.key.as_deref().expect("a key"))];
    lines.push("Content-Type: application/json".to_owned());
    lines.push("Transfer-Encoding: chunked".to_owned());
    // 16,000 chunks of one byte each, of bodies that do not end
    let chunks = "1\r\nx\r\n".repeat(8_000);
    let mut peers = Vec::new();
    for _ in 0..2 {
        let mut peer = Peer::connect(server.address()).await;
        peer.ask("POST /api/memory", &lines).await;
        peer.send(chunks.as_bytes()).await;
        peers.push(peer);
    }
    let note = json!({ "content": "x".repeat(9_000), "visibility": "ORG" });
    for _ in 0..20 {
        org.owner.post("/memory", note.clone()).await.data(201);
        eve.post("/memory", note.clone()).await.data(201);
    }
}
