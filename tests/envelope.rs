//! Every class of answer that the server makes, over a bare connection: status, code, headers, and
//! the one envelope; and the few answers that are made before any code of ours runs.

use crate::fixture::{Caller, Options, Server, embedders};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer that is certain to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest body that the server reads.
const MAX_BODY: usize = 1024 * 1024;
const JSON: &str = "Content-Type: application/json";

/// An answer, byte for byte.
struct Raw {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Raw {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// What every answer of ours has, good or bad. Returns the envelope.
    #[track_caller]
    fn envelope(&self, status: u16) -> Value {
        let envelope = self.json();
        assert_eq!(self.status, status, "{envelope}");
        assert_eq!(envelope["success"], status < 400, "{envelope}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{envelope}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{envelope}");
        assert_eq!(
            self.header("x-request-id"),
            envelope["metadata"]["requestId"].as_str(),
            "{envelope}"
        );
        let timestamp = envelope["metadata"]["timestamp"].as_str().expect("a timestamp");
        assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
        let mut members: Vec<&str> =
            envelope.as_object().expect("an object").keys().map(String::as_str).collect();
        members.sort_unstable();
        let expected = if status < 400 {
            ["data", "metadata", "success"]
        } else {
            ["error", "metadata", "success"]
        };
        assert_eq!(members, expected);
        envelope
    }

    /// A failure with this status and code. Returns `error`.
    #[track_caller]
    fn fails(&self, status: u16, code: &str) -> Value {
        let error = self.envelope(status)["error"].take();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "{error}");
        assert!(error["details"].is_object(), "{error}");
        error
    }

    /// A 400 that names exactly these fields, in any order.
    #[track_caller]
    fn names(&self, paths: Value) {
        let error = self.fails(400, "VALIDATION_ERROR");
        let errors = error["details"]["errors"].as_array().expect("details.errors");
        let mut found: Vec<String> = errors.iter().map(|e| e["path"].to_string()).collect();
        let mut wanted: Vec<String> =
            paths.as_array().expect("paths").iter().map(Value::to_string).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{error}");
        for issue in errors {
            assert!(issue["code"].as_str().is_some_and(|c| !c.is_empty()), "{issue}");
            assert!(issue["message"].as_str().is_some_and(|m| !m.is_empty()), "{issue}");
        }
    }
}

/// Sends `bytes` on a connection of their own and reads until the server closes it.
async fn exchange(server: &Server, bytes: &[u8]) -> Raw {
    let mut connection = TcpStream::connect(server.address()).await.expect("a connection");
    // a server that has seen enough may answer and close before it has read everything
    let _ = connection.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await;
    // likewise: what it did not read makes the close a reset
    let _ = read.expect("the server answers and closes");
    parse(&answer)
}

fn parse(answer: &[u8]) -> Raw {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Raw { status: status.expect("a status"), headers, body: answer[end + 4..].to_vec() }
}

fn head(method: &str, target: &str, headers: &[&str]) -> Vec<u8> {
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: switchy.test\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn authorization(caller: &Caller) -> String {
    format!("Authorization: Bearer {}", caller.key.as_deref().expect("a key"))
}

/// A request without a body.
async fn ask(server: &Server, caller: &Caller, method: &str, target: &str) -> Raw {
    exchange(server, &head(method, target, &[&authorization(caller)])).await
}

/// A JSON body, whatever it is.
async fn send(server: &Server, caller: &Caller, method: &str, target: &str, body: &[u8]) -> Raw {
    send_as(server, caller, method, target, &[JSON], body).await
}

async fn send_as(
    server: &Server,
    caller: &Caller,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &[u8],
) -> Raw {
    let (key, length) = (authorization(caller), format!("Content-Length: {}", body.len()));
    let mut all = vec![key.as_str(), length.as_str()];
    all.extend_from_slice(headers);
    let mut request = head(method, target, &all);
    request.extend_from_slice(body);
    exchange(server, &request).await
}

/// A server without a model, and somebody to ask it.
async fn start() -> (Server, Caller) {
    start_with(Options::default()).await
}

async fn start_with(options: Options) -> (Server, Caller) {
    let server = Server::with(Options { embedder: embedders::none(), ..options }).await;
    let owner = server.org("acme").await.owner;
    (server, owner)
}

/// The server still does what it is there for.
async fn goes_on(server: &Server, caller: &Caller) {
    ask(server, caller, "GET", "/api/me").await.envelope(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_has_data_and_metadata() {
    let (server, owner) = start().await;
    let answer = ask(&server, &owner, "GET", "/api/projects").await;
    assert!(answer.envelope(200)["data"].is_object());
    let answer = send(&server, &owner, "POST", "/api/projects", br#"{"name":"Platform"}"#).await;
    let envelope = answer.envelope(201);
    let id = envelope["data"]["project"]["id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), Some(format!("/api/projects/{id}").as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_204_has_no_body_but_a_request_id() {
    let (server, owner) = start().await;
    let note = owner.note(json!({ "content": "gone soon", "visibility": "ORG" })).await;
    let path = format!("/api/memory/{}", note["id"].as_str().expect("an id"));
    let answer = ask(&server, &owner, "DELETE", &path).await;
    assert_eq!(answer.status, 204);
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("content-type"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("x-request-id").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_route_is_404() {
    let (server, owner) = start().await;
    for target in
        ["/", "/api", "/api/nope", "/nope", "/api/projects/x/y/z", "*", "/api/pro%20jects"]
    {
        ask(&server, &owner, "GET", target).await.fails(404, "NOT_FOUND");
        // a key makes no difference
        ask_nobody(&server, "GET", target).await.fails(404, "NOT_FOUND");
    }
}

async fn ask_nobody(server: &Server, method: &str, target: &str) -> Raw {
    exchange(server, &head(method, target, &[])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_is_405_and_told_which_ones_there_are() {
    let (server, owner) = start().await;
    for (method, target, allow) in [
        ("PATCH", "/api/projects", "GET, HEAD, POST"),
        ("DELETE", "/api/me", "GET, HEAD"),
        ("PUT", "/api/projects/cmwrb765dyilgw7qrns9ban7u", "DELETE, GET, HEAD, PATCH"),
        // no note has such an id
        ("GET", "/api/memory/search", "POST"),
        ("DELETE", "/api/memory/search", "POST"),
        ("OPTIONS", "/api/memory/batch", "POST"),
        ("HEAD", "/api/projects/cmwrb765dyilgw7qrns9ban7u/members/x", "DELETE, PATCH"),
        ("OPTIONS", "/api/projects", "GET, HEAD, POST"),
        ("TRACE", "/api/projects", "GET, HEAD, POST"),
        ("CONNECT", "/api/projects", "GET, HEAD, POST"),
        ("QUERY", "/api/projects", "GET, HEAD, POST"),
        ("PROPFIND", "/api/projects", "GET, HEAD, POST"),
        ("LINK", "/api/projects", "GET, HEAD, POST"),
        ("FOO", "/api/projects", "GET, HEAD, POST"),
    ] {
        let answer = ask(&server, &owner, method, target).await;
        if method == "HEAD" {
            assert_eq!((answer.status, answer.body.len()), (405, 0));
        } else {
            answer.fails(405, "NOT_FOUND");
        }
        assert_eq!(answer.header("allow"), Some(allow), "{method} {target}");
    }
    ask(&server, &owner, "OPTIONS", "/api/nope").await.fails(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_without_the_body() {
    let (server, owner) = start().await;
    for target in [
        "/api/projects",
        "/api/me",
        "/api/health",
        "/api/openapi.json",
        "/api/nope",
        "/api/projects?limit=0",
        "/api/projects/cmwrb765dyilgw7qrns9ban7u",
    ] {
        let get = ask(&server, &owner, "GET", target).await;
        let head = ask(&server, &owner, "HEAD", target).await;
        assert_eq!(head.status, get.status, "{target}");
        assert!(head.body.is_empty(), "{target}");
        let comparable = |raw: &Raw| {
            let mut headers: Vec<_> = raw
                .headers
                .iter()
                .filter(|(name, _)| name != "date" && name != "x-request-id")
                .cloned()
                .collect();
            headers.sort();
            headers
        };
        if get.status == 404 && target == "/api/nope" {
            // its message names the method, which is a letter longer
            assert_eq!(head.header("content-type"), get.header("content-type"));
        } else {
            assert_eq!(comparable(&head), comparable(&get), "{target}");
        }
        assert!(head.header("x-request-id").is_some());
        assert!(head.header("content-length").is_some_and(|l| l != "0"), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_segments_of_a_path_make_no_difference() {
    let (server, owner) = start().await;
    for target in ["/api/projects/", "/api//projects", "//api/projects//"] {
        ask(&server, &owner, "GET", target).await.envelope(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_path_is_400_or_404() {
    let (server, owner) = start().await;
    for target in [
        "/api/%zz",
        "/api/%",
        "/api/%2e%2e/x",
        "/api/projects/%00",
        "/api/projects/a%2fb",
        "/api/projects/%2e%2e",
        "/api/projects/'%20OR%201=1",
        "/api/spaces/%00/sessions",
        "/api/spaces/%E2%80%AE/sessions",
    ] {
        ask(&server, &owner, "GET", target).await.fails(404, "NOT_FOUND");
    }
    ask(&server, &owner, "DELETE", "/api/memory/%00").await.fails(404, "NOT_FOUND");
    for target in ["/api/../x", "/api/./projects", "/api/projects/%FF"] {
        ask(&server, &owner, "GET", target).await.fails(400, "VALIDATION_ERROR");
    }
    // long enough to be a burden, too short for the HTTP layer to refuse: not repeated in full
    let long = format!("/api/{}", "a".repeat(60_000));
    let answer = ask(&server, &owner, "GET", &long).await;
    answer.fails(404, "NOT_FOUND");
    assert!(answer.body.len() < 1_000, "{} bytes", answer.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_json_object_is_400() {
    let (server, owner) = start().await;
    for body in [
        &b""[..],
        b"{\"name\":",
        b"{'name':'x'}",
        b"{\"name\":\"x\"} trailing",
        b"[]",
        b"null",
        b"\"x\"",
        b"1",
        b"\xef\xbb\xbf{\"name\":\"x\"}",
        b"{\"name\":\"\xff\xfe\"}",
        b"{\"name\":\"\\ud800\"}",
        b"\0",
    ] {
        for target in ["/api/projects", "/api/memory", "/api/memory/search"] {
            let error =
                send(&server, &owner, "POST", target, body).await.fails(400, "VALIDATION_ERROR");
            assert!(error["message"].as_str().is_some_and(|m| m.contains("body")), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deeply_nested_body_is_400_not_a_crash() {
    let (server, owner) = start().await;
    for depth in [200, 10_000, 400_000] {
        let body = format!("{{\"name\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        send(&server, &owner, "POST", "/api/projects", body.as_bytes())
            .await
            .fails(400, "VALIDATION_ERROR");
        let body = format!("{{\"name\":{}", "{\"a\":".repeat(depth / 5));
        send(&server, &owner, "POST", "/api/projects", body.as_bytes())
            .await
            .fails(400, "VALIDATION_ERROR");
    }
    goes_on(&server, &owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_violation_is_named_with_its_path() {
    let (server, owner) = start().await;
    let post = async |target: &str, body: Value| {
        send(&server, &owner, "POST", target, body.to_string().as_bytes()).await
    };
    post("/api/projects", json!({})).await.names(json!([["name"]]));
    post("/api/projects", json!({ "name": null })).await.names(json!([["name"]]));
    post("/api/memory", json!({})).await.names(json!([["content"], ["visibility"]]));
    // types
    post("/api/projects", json!({ "name": 1, "description": [], "tags": "x" }))
        .await
        .names(json!([["name"], ["description"], ["tags"]]));
    post("/api/memory", json!({ "content": 1, "visibility": "NOPE", "tags": [1, "ok", {}] }))
        .await
        .names(json!([["content"], ["visibility"], ["tags", 0], ["tags", 2]]));
    // missing beside wrong
    post("/api/memory", json!({ "tags": 1 })).await.names(json!([
        ["content"],
        ["visibility"],
        ["tags"]
    ]));
    // values, several in one list
    post(
        "/api/memory",
        json!({ "content": " ", "visibility": "SPACE", "tags": ["", "ok", "x".repeat(51)],
            "sourceUrl": "ftp://x" }),
    )
    .await
    .names(json!([["content"], ["spaceId"], ["tags", 0], ["tags", 2], ["sourceUrl"]]));
    // a value beside a type of an optional field
    post("/api/projects", json!({ "name": "", "description": 1 }))
        .await
        .names(json!([["name"], ["description"]]));
    post("/api/memory/search", json!({ "query": "", "limit": 0 }))
        .await
        .names(json!([["query"], ["limit"]]));
    post("/api/memory/search", json!({ "query": "x", "limit": 101, "spaceId": "nope" }))
        .await
        .names(json!([["limit"], ["spaceId"]]));
    post("/api/memory/search", json!({ "query": "x", "limit": -1 }))
        .await
        .names(json!([["limit"]]));
    post("/api/memory/search", json!({ "query": "x", "limit": 1.5 }))
        .await
        .names(json!([["limit"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_ignored_and_null_means_absent() {
    let (server, owner) = start().await;
    let body = br#"{"name":"Platform","description":null,"tags":null,"colour":"red"}"#;
    let envelope = send(&server, &owner, "POST", "/api/projects", body).await.envelope(201);
    assert_eq!(envelope["data"]["project"]["description"], Value::Null);
    assert_eq!(envelope["data"]["project"]["tags"], json!([]));
    assert!(envelope["data"]["project"].get("colour").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_number_is_one_however_it_is_written() {
    let (server, owner) = start().await;
    for (limit, is_whole) in [("5", true), ("5.0", true), ("0.5e1", true), ("5.5", false)] {
        let body = format!(r#"{{"query":"x","limit":{limit}}}"#);
        let answer = send(&server, &owner, "POST", "/api/memory/search", body.as_bytes()).await;
        if is_whole {
            answer.envelope(200);
        } else {
            answer.names(json!([["limit"]]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_type_is_415() {
    let (server, owner) = start().await;
    let body = br#"{"name":"Platform"}"#;
    for headers in [
        &[][..],
        &["Content-Type: text/plain"],
        &["Content-Type: application/x-www-form-urlencoded"],
        &["Content-Type: application/jsonx"],
        &["Content-Type:"],
        &["Content-Type: \u{ff}"],
    ] {
        send_as(&server, &owner, "POST", "/api/projects", headers, body)
            .await
            .fails(415, "VALIDATION_ERROR");
    }
    let accepted = ["Content-Type: Application/JSON ; charset=utf-8"];
    send_as(&server, &owner, "POST", "/api/projects", &accepted, body).await.envelope(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_one_mebibyte_is_413_and_one_of_exactly_that_is_read() {
    let (server, owner) = start().await;
    let padded = |length: usize| {
        let body = r#"{"name":"Platform"}"#;
        format!("{body}{}", " ".repeat(length - body.len())).into_bytes()
    };
    let target = "/api/projects";
    send(&server, &owner, "POST", target, &padded(MAX_BODY + 1))
        .await
        .fails(413, "VALIDATION_ERROR");
    send(&server, &owner, "POST", target, &padded(8 * MAX_BODY))
        .await
        .fails(413, "VALIDATION_ERROR");
    for extra in [1, 7 * MAX_BODY] {
        let mut chunked =
            head("POST", target, &[&authorization(&owner), JSON, "Transfer-Encoding: chunked"]);
        for chunk in padded(MAX_BODY + extra).chunks(50_000) {
            chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        exchange(&server, &chunked).await.fails(413, "VALIDATION_ERROR");
    }
    send(&server, &owner, "POST", target, &padded(MAX_BODY)).await.envelope(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_or_is_badly_chunked_is_400() {
    let (server, owner) = start().await;
    let chunked = [&authorization(&owner), JSON, "Transfer-Encoding: chunked"];
    let mut request = head("POST", "/api/projects", &chunked);
    request.extend_from_slice(b"zz\r\n");
    exchange(&server, &request).await.fails(400, "VALIDATION_ERROR");

    let mut request =
        head("POST", "/api/projects", &[&authorization(&owner), JSON, "Content-Length: 100"]);
    request.extend_from_slice(b"{\"name\":");
    let mut connection = TcpStream::connect(server.address()).await.expect("a connection");
    connection.write_all(&request).await.expect("sent");
    connection.shutdown().await.expect("half closed");
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer))
        .await
        .expect("closed")
        .expect("read");
    // the HTTP layer may also give up without a word
    if !answer.is_empty() {
        parse(&answer).fails(400, "VALIDATION_ERROR");
    }
    assert!(
        owner.get("/projects").await.data(200)["projects"].as_array().is_some_and(Vec::is_empty)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_query_is_400_and_named_below_query() {
    let (server, owner) = start().await;
    for (query, paths) in [
        ("limit=0", json!([["query", "limit"]])),
        ("limit=101", json!([["query", "limit"]])),
        ("limit=x", json!([["query", "limit"]])),
        ("limit=-1", json!([["query", "limit"]])),
        ("limit=1.5", json!([["query", "limit"]])),
        ("page=0", json!([["query", "page"]])),
        ("page=1000001", json!([["query", "page"]])),
        ("page=99999999999999999999", json!([["query", "page"]])),
        ("page=0&limit=101", json!([["query", "page"], ["query", "limit"]])),
        ("page=x&limit=y", json!([["query", "page"], ["query", "limit"]])),
        ("page=x&limit=0", json!([["query", "page"], ["query", "limit"]])),
        ("limit=%00", json!([["query", "limit"]])),
        ("limit=", json!([["query", "limit"]])),
        ("limit&page=0", json!([["query", "limit"], ["query", "page"]])),
        ("limit=%zz", json!([["query", "limit"]])),
        ("limit=%FF", json!([["query", "limit"]])),
    ] {
        ask(&server, &owner, "GET", &format!("/api/projects?{query}")).await.names(paths);
    }
    for (query, paths) in [
        ("visibility=nope", json!([["query", "visibility"]])),
        ("spaceId=1&before=2", json!([["query", "spaceId"], ["query", "before"]])),
        ("tag=a%00b", json!([["query", "tag"]])),
    ] {
        ask(&server, &owner, "GET", &format!("/api/memory?{query}")).await.names(paths);
    }
    // twice is not once
    ask(&server, &owner, "GET", "/api/projects?limit=1&limit=2")
        .await
        .fails(400, "VALIDATION_ERROR");
    // unknown parameters are as good as none
    for query in ["", "colour=", "colour=red", "limit=100&page=1000000", "%FF=%FF&=&&"] {
        ask(&server, &owner, "GET", &format!("/api/projects?{query}")).await.envelope(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_is_refused_wherever_it_comes() {
    let (server, owner) = start().await;
    let nul = "a\0b";
    for (target, body, paths) in [
        ("/api/projects", json!({ "name": nul }), json!([["name"]])),
        (
            "/api/projects",
            json!({ "name": "x", "description": nul, "tags": ["ok", nul] }),
            json!([["description"], ["tags", 1]]),
        ),
        ("/api/memory", json!({ "content": nul, "visibility": "ORG" }), json!([["content"]])),
        ("/api/memory/search", json!({ "query": nul }), json!([["query"]])),
    ] {
        send(&server, &owner, "POST", target, body.to_string().as_bytes()).await.names(paths);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_beyond_ascii_in_headers_are_no_500() {
    let (server, owner) = start().await;
    let raw = |header: &[u8]| {
        let mut request = head("GET", "/api/me", &[&authorization(&owner)]);
        request.truncate(request.len() - 2);
        request.extend_from_slice(header);
        request.extend_from_slice(b"\r\n\r\n");
        request
    };
    exchange(&server, &raw(b"X-Anything: \xff\xfe")).await.envelope(200);
    exchange(&server, &raw(b"X-Request-Id: \xff\xfe")).await.envelope(200);
    let mut request = head("GET", "/api/me", &[]);
    request.truncate(request.len() - 2);
    request.extend_from_slice(b"Authorization: Bearer \xff\xfe\r\n\r\n");
    exchange(&server, &request).await.fails(401, "AUTH_ERROR");
    let bad = ["Content-Type: application/json", "Idempotency-Key: \u{ff}"];
    send_as(&server, &owner, "POST", "/api/projects", &bad, br#"{"name":"x"}"#)
        .await
        .names(json!([["headers", "Idempotency-Key"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_own_request_id_is_kept_when_it_is_well_formed() {
    let (server, owner) = start().await;
    let with = async |id: &str| {
        let headers = [authorization(&owner), format!("X-Request-Id: {id}")];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        exchange(&server, &head("GET", "/api/me", &headers)).await
    };
    for id in ["a", "trace-1.2_3", &"x".repeat(64)] {
        let answer = with(id).await;
        assert_eq!(answer.envelope(200)["metadata"]["requestId"], id);
    }
    for id in ["", "a b", "a/b", "ü", "\"x\"", &"x".repeat(65)] {
        with(id).await.envelope(200);
    }
    // failures tell it too
    let own = ["X-Request-Id: mine"];
    let answer = exchange(&server, &head("GET", "/api/me", &own)).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["metadata"]["requestId"], "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_says_which_scheme_is_wanted() {
    let (server, _) = start().await;
    let answer = ask_nobody(&server, "GET", "/api/me").await;
    answer.fails(401, "AUTH_ERROR");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_its_deadline_is_503_and_may_be_repeated() {
    let options = Options {
        embedder: std::sync::Arc::new(embedders::Stuck),
        request_deadline: Duration::from_millis(300),
        ..Options::default()
    };
    let server = Server::with(options).await;
    let owner = server.org("acme").await.owner;
    for (target, body) in [
        ("/api/memory", json!({ "content": "x", "visibility": "ORG" })),
        ("/api/memory/search", json!({ "query": "x" })),
    ] {
        let answer = send(&server, &owner, "POST", target, body.to_string().as_bytes()).await;
        answer.fails(503, "INTERNAL_ERROR");
        assert!(
            answer.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s > 0))
        );
    }
    goes_on(&server, &owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_503_at_the_deadline() {
    let (server, owner) =
        start_with(Options { request_deadline: Duration::from_millis(300), ..Options::default() })
            .await;
    let unfinished =
        head("POST", "/api/projects", &[&authorization(&owner), JSON, "Content-Length: 100"]);
    exchange(&server, &unfinished).await.fails(503, "INTERNAL_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_inside_a_transaction_leaves_nothing() {
    let (server, owner) = start_with(Options {
        request_deadline: Duration::from_millis(500),
        pool_size: 1,
        ..Options::default()
    })
    .await;
    let mut sql = server.sql().await;
    let lock = sql.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE memories IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let body = br#"{"content":"x","visibility":"ORG"}"#;
    send(&server, &owner, "POST", "/api/memory", body).await.fails(503, "INTERNAL_ERROR");
    lock.rollback().await.expect("unlocked");
    goes_on(&server, &owner).await;
    // whoever still writes is waited for
    let settled = sql.transaction().await.expect("a transaction");
    settled.batch_execute("LOCK TABLE memories IN SHARE MODE").await.expect("nobody writes");
    settled.rollback().await.expect("unlocked");
    assert_eq!(owner.get("/memory").await.data(200)["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_500_with_a_request_id_and_the_server_goes_on() {
    let options =
        Options { embedder: std::sync::Arc::new(embedders::Panicking), ..Options::default() };
    let server = Server::with(options).await;
    let owner = server.org("acme").await.owner;
    for _ in 0..3 {
        let answer = send(&server, &owner, "POST", "/api/memory/search", br#"{"query":"x"}"#).await;
        let error = answer.fails(500, "INTERNAL_ERROR");
        // what happened is for the log alone
        assert!(!error.to_string().contains("panic"), "{error}");
    }
    goes_on(&server, &owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_embedder_is_503_with_retry_after() {
    let options = Options { embedder: std::sync::Arc::new(embedders::Full), ..Options::default() };
    let server = Server::with(options).await;
    let owner = server.org("acme").await.owner;
    for (target, body) in [
        ("/api/memory", &br#"{"content":"x","visibility":"ORG"}"#[..]),
        ("/api/memory/search", br#"{"query":"x"}"#),
    ] {
        let answer = send(&server, &owner, "POST", target, body).await;
        answer.fails(503, "INTERNAL_ERROR");
        assert!(
            answer.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s > 0))
        );
    }
    assert_eq!(owner.get("/memory").await.data(200)["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_is_503_with_retry_after() {
    let (server, owner) = start_with(Options {
        pool_size: 1,
        pool_timeout: Duration::from_millis(200),
        ..Options::default()
    })
    .await;
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let lock = sql.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE memories IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let hung = tokio::spawn({
        let owner = owner.clone();
        async move { owner.note(json!({ "content": "x", "visibility": "ORG" })).await }
    });
    crate::fixture::until_somebody_waits(&watch).await;
    for (method, target) in [("GET", "/api/me"), ("GET", "/api/ready"), ("POST", "/api/projects")] {
        let answer = send(&server, &owner, method, target, br#"{"name":"x"}"#).await;
        answer.fails(503, "INTERNAL_ERROR");
        assert!(
            answer.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s > 0))
        );
    }
    // liveness asks nothing of the database
    ask(&server, &owner, "GET", "/api/health").await.envelope(200);
    lock.rollback().await.expect("unlocked");
    hung.await.expect("the first request is answered");
    goes_on(&server, &owner).await;
}

/// The list in docs/http.md: what the HTTP layer answers before our code is reached. The server
/// survives all of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_without_the_envelope_is_refused_all_the_same() {
    let (server, owner) = start().await;
    let key = authorization(&owner);
    // not HTTP, or more of it than the HTTP layer takes
    let big_header = format!("X-Big: {}", "a".repeat(600_000));
    let many = (0..150).map(|i| format!("X-{i}: a\r\n")).collect::<String>();
    let long = format!("/api/{}", "a".repeat(70_000));
    for (request, status) in [
        (b"GARBAGE\r\n\r\n".to_vec(), 400),
        (b"GET /api/health HTTP/3.0\r\n\r\n".to_vec(), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        (head("GET", "/api/health", &["Bad Header: x"]), 400),
        (
            head("POST", "/api/projects", &[&key, JSON, "Content-Length: 1", "Content-Length: 2"]),
            400,
        ),
        (head("POST", "/api/projects", &[&key, JSON, "Content-Length: x"]), 400),
        (head("GET", "/api/health", &[&big_header]), 431),
        (head("GET", "/api/health", &[many.trim_end()]), 431),
        (head("GET", &long, &[]), 431),
    ] {
        let answer = exchange(&server, &request).await;
        assert_eq!(
            answer.status,
            status,
            "{}",
            String::from_utf8_lossy(&request[..20.min(request.len())])
        );
        assert!(answer.body.is_empty());
    }
    // a large header is none of our business below that
    let header = format!("X-Big: {}", "a".repeat(60_000));
    exchange(&server, &head("GET", "/api/health", &[&header])).await.envelope(200);
    goes_on(&server, &owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_leaves_nothing_half_done() {
    let (server, owner) = start().await;
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let lock = sql.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE spaces IN SHARE MODE").await.expect("locked");
    let body = br#"{"name":"Platform"}"#;
    let length = format!("Content-Length: {}", body.len());
    let mut request = head("POST", "/api/projects", &[&authorization(&owner), JSON, &length]);
    request.extend_from_slice(body);
    let mut connection = TcpStream::connect(server.address()).await.expect("a connection");
    connection.write_all(&request).await.expect("sent");
    crate::fixture::until_somebody_waits(&watch).await;
    drop(connection);
    lock.rollback().await.expect("unlocked");
    assert!(server.stop(PATIENCE).await, "what runs ends before the server does");
    let made = "SELECT count(*) FROM spaces s JOIN space_members m ON m.space_id = s.id";
    assert_eq!(watch.query_one(made, &[]).await.expect("counted").get::<_, i64>(0), 1);
}
