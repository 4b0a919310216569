//! What the client promises, against a server that misbehaves as told.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::TryStreamExt;
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request as Received, ResponseTemplate,
    matchers::{header, method, path, query_param},
};

use crate::{
    Client, ErrorCode, EventKind, PathStep,
    types::{self, Visibility},
};

const KEY: &str = "sk_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";
const ID: &str = "cmo5w1c2t8zq4k7n3x9b6d0fh";
const NOW: &str = "2026-04-19T12:34:56.789Z";

/// A client whose waits are written down instead of waited for.
fn client(server: &MockServer) -> (Client, Arc<Mutex<Vec<Duration>>>) {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&waits);
    let client = Client::builder()
        .base_url(format!("{}/api", server.uri()))
        .api_key(KEY)
        .sleep_with(move |time| {
            seen.lock().expect("no panic").push(time);
            async {}
        })
        .build()
        .expect("settings are fine");
    (client, waits)
}

fn success(data: Value) -> Value {
    json!({ "success": true, "data": data, "metadata": { "timestamp": NOW, "requestId": "r-1" } })
}

fn failure(status: u16, code: &str, details: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "success": false,
        "error": { "code": code, "message": format!("it was {code}"), "details": details },
        "metadata": { "timestamp": NOW, "requestId": "r-2" }
    }))
}

fn note(id: &str) -> Value {
    json!({
        "id": id, "organizationId": ID, "authorUserId": ID, "visibility": "PRIVATE",
        "content": "remember", "tags": [], "createdAt": NOW, "spaceId": null
    })
}

fn space(name: &str) -> Value {
    json!({
        "id": ID, "slug": name, "name": name, "organizationId": ID, "tags": [], "createdAt": NOW
    })
}

async fn answer(server: &MockServer, verb: &str, response: ResponseTemplate, times: u64) {
    let mock = Mock::given(method(verb)).respond_with(response);
    mock.up_to_n_times(times).mount(server).await;
}

fn idempotency_keys(received: &[Received]) -> Vec<String> {
    received
        .iter()
        .map(|request| request.headers["idempotency-key"].to_str().expect("ASCII").to_string())
        .collect()
}

#[tokio::test]
async fn sends_the_key_and_returns_the_data_itself() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(format!("/api/projects/{ID}")))
        .and(header("authorization", format!("Bearer {KEY}")))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(success(json!({ "project": space("a") }))),
        )
        .mount(&server)
        .await;
    let (client, _) = client(&server);
    assert_eq!(client.spaces().view(ID).await.expect("found").name, "a");
}

#[tokio::test]
async fn a_post_keeps_its_idempotency_key_through_all_tries_and_each_call_has_its_own() {
    let server = MockServer::start().await;
    let busy = failure(429, "RATE_LIMIT", json!({})).insert_header("retry-after", "7");
    answer(&server, "POST", busy, 2).await;
    let written = success(json!({ "memory": note(ID) }));
    answer(&server, "POST", ResponseTemplate::new(201).set_body_json(written), 9).await;

    let (client, waits) = client(&server);
    client.memory().create("remember", Visibility::Private).await.expect("third time lucky");
    client.memory().create("remember", Visibility::Private).await.expect("written");

    assert_eq!(*waits.lock().expect("no panic"), [Duration::from_secs(7); 2]);
    let keys = idempotency_keys(&server.received_requests().await.expect("recorded"));
    assert_eq!(keys.len(), 4);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0], keys[2]);
    assert_ne!(keys[0], keys[3]);
    assert_eq!(keys[0].len(), 36, "a UUID");
}

#[tokio::test]
async fn an_idempotency_key_of_ones_own_is_sent_as_it_is() {
    let server = MockServer::start().await;
    let written = success(json!({ "project": space("a") }));
    answer(&server, "POST", ResponseTemplate::new(201).set_body_json(written), 1).await;
    let (client, _) = client(&server);
    client.spaces().create("a").idempotency_key("mine").await.expect("written");
    assert_eq!(idempotency_keys(&server.received_requests().await.expect("recorded")), ["mine"]);
}

#[tokio::test]
async fn gives_up_after_two_retries() {
    let server = MockServer::start().await;
    answer(&server, "GET", failure(503, "INTERNAL_ERROR", json!({})), 9).await;
    let (client, waits) = client(&server);
    let error = client.me().await.expect_err("always busy");
    assert_eq!(error.code(), &ErrorCode::Internal);
    assert_eq!(error.status().map(|status| status.as_u16()), Some(503));
    assert_eq!(waits.lock().expect("no panic").len(), 2);
    assert_eq!(server.received_requests().await.expect("recorded").len(), 3);
}

#[tokio::test]
async fn a_wait_of_more_than_a_minute_is_an_error_at_once() {
    let server = MockServer::start().await;
    let busy = failure(429, "RATE_LIMIT", json!({ "limit": 20, "retryAfter": 61 }));
    answer(&server, "GET", busy.insert_header("retry-after", "61"), 9).await;
    let (client, waits) = client(&server);
    let error = client.me().await.expect_err("too long");
    assert_eq!(error.code(), &ErrorCode::RateLimit);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(61)));
    assert!(waits.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn an_error_says_what_is_wrong_where_and_in_which_request() {
    let server = MockServer::start().await;
    let errors = json!([
        { "path": ["name"], "code": "required", "message": "is required" },
        { "path": ["tags", 3], "code": "too_long", "message": "must be at most 50 characters" }
    ]);
    answer(&server, "POST", failure(400, "VALIDATION_ERROR", json!({ "errors": errors })), 1).await;
    let (client, _) = client(&server);
    let error = client.spaces().create("").await.expect_err("refused");
    assert_eq!(error.code(), &ErrorCode::Validation);
    assert_eq!(error.request_id(), Some("r-2"));
    assert_eq!(error.field_errors()[1].path[1], PathStep::Index(3));
    let shown: Vec<_> = error.field_errors().iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["name: is required", "tags[3]: must be at most 50 characters"]);
}

#[tokio::test]
async fn every_code_has_its_variant_and_an_unknown_one_is_kept() {
    let known = [
        (400, "VALIDATION_ERROR", ErrorCode::Validation),
        (401, "AUTH_ERROR", ErrorCode::Auth),
        (403, "FORBIDDEN", ErrorCode::Forbidden),
        (404, "NOT_FOUND", ErrorCode::NotFound),
        (409, "CONFLICT", ErrorCode::Conflict),
        (500, "INTERNAL_ERROR", ErrorCode::Internal),
        (418, "TEAPOT", ErrorCode::Other("TEAPOT".into())),
    ];
    for (status, code, expected) in known {
        let server = MockServer::start().await;
        answer(&server, "GET", failure(status, code, json!({ "more": 1 })), 1).await;
        let (client, _) = client(&server);
        let error = client.me().await.expect_err("refused");
        assert_eq!(error.code(), &expected);
        assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
        assert_eq!(server.received_requests().await.expect("recorded").len(), 1, "tried once");
    }
}

#[tokio::test]
async fn an_answer_of_something_else_is_malformed_and_keeps_its_status() {
    for (status, body) in [(200, "<html>"), (502, "<html>"), (302, ""), (200, r#"{"data":{}}"#)] {
        let server = MockServer::start().await;
        let page = ResponseTemplate::new(status).set_body_string(body);
        answer(&server, "GET", page.insert_header("x-request-id", "r-3"), 1).await;
        let (client, _) = client(&server);
        let error = client.me().await.expect_err("not the API");
        assert_eq!(error.code(), &ErrorCode::MalformedResponse, "{status} {body}");
        assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
        assert_eq!(error.request_id(), Some("r-3"));
    }
}

#[tokio::test]
async fn no_connection_and_no_answer_are_told_apart() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/api", free.local_addr().expect("bound"));
    drop(free);
    let error = Client::new(url, KEY).expect("fine").me().await.expect_err("nobody there");
    assert_eq!(error.code(), &ErrorCode::Transport);
    assert_eq!(error.status(), None);

    let server = MockServer::start().await;
    let late = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    answer(&server, "GET", late, 1).await;
    let client = Client::builder().base_url(server.uri()).timeout(Duration::from_millis(50));
    let error = client.build().expect("fine").health().await.expect_err("too late");
    assert_eq!(error.code(), &ErrorCode::Timeout);
}

#[tokio::test]
async fn the_key_is_in_no_message_even_when_the_server_repeats_it() {
    let server = MockServer::start().await;
    let echo = ResponseTemplate::new(401).set_body_json(json!({
        "error": { "code": "AUTH_ERROR", "message": format!("no such key: {KEY}") }
    }));
    answer(&server, "GET", echo, 1).await;
    let (client, _) = client(&server);
    let error = client.me().await.expect_err("refused");
    assert_eq!(error.to_string(), "no such key: [API key]");
    assert!(!format!("{error:?} {client:?}").contains(KEY));

    let error =
        Client::new("http://127.0.0.1:3000/api", format!("{KEY}\n")).expect_err("two lines");
    assert!(!format!("{error} {error:?}").contains(KEY));
}

#[tokio::test]
async fn what_a_newer_server_adds_is_tolerated_and_raw_keeps_it() {
    let server = MockServer::start().await;
    let mut newer = note(ID);
    newer["visibility"] = json!("GALAXY");
    newer["mood"] = json!("bright");
    let page = success(json!({ "memories": [newer], "total": 1, "next": null }));
    answer(&server, "GET", ResponseTemplate::new(200).set_body_json(page), 2).await;
    let (client, _) = client(&server);
    let list = client.memory().list().await.expect("tolerated");
    assert_eq!(list.memories[0].visibility, Visibility::Other("GALAXY".into()));
    let raw = client.memory().list().raw().await.expect("tolerated");
    assert_eq!(raw, json!({ "memories": [newer], "total": 1, "next": null }));
}

#[tokio::test]
async fn a_stream_of_notes_asks_for_what_is_older_than_the_last() {
    let server = MockServer::start().await;
    let page = |ids: &[&str]| {
        let notes: Vec<_> = ids.iter().map(|id| note(id)).collect();
        ResponseTemplate::new(200).set_body_json(success(json!({ "memories": notes, "total": 3 })))
    };
    Mock::given(query_param("before", "b")).respond_with(page(&["c"])).mount(&server).await;
    let first = Mock::given(query_param("limit", "2")).respond_with(page(&["a", "b"]));
    first.with_priority(9).mount(&server).await;
    let (client, _) = client(&server);
    let notes: Vec<_> =
        client.memory().list().limit(2).stream().try_collect().await.expect("two pages");
    let ids: Vec<_> = notes.iter().map(|note| note.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(server.received_requests().await.expect("recorded").len(), 2);
}

#[tokio::test]
async fn a_stream_of_spaces_ends_with_the_total() {
    let server = MockServer::start().await;
    for number in ["1", "2", "3"] {
        let page = success(json!({
            "projects": [space(number)], "page": number.parse::<u32>().ok(), "limit": 1, "total": 2
        }));
        Mock::given(query_param("page", number))
            .respond_with(ResponseTemplate::new(200).set_body_json(page))
            .mount(&server)
            .await;
    }
    let (client, _) = client(&server);
    let spaces: Vec<_> =
        client.spaces().list().limit(1).stream().try_collect().await.expect("two pages");
    let names: BTreeSet<_> = spaces.iter().map(|space| space.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["1", "2"]));
    assert_eq!(server.received_requests().await.expect("recorded").len(), 2);
}

#[test]
fn refuses_base_urls_that_cannot_be_meant() {
    for url in [
        "switchy.example/api",
        "ftp://switchy.example/api",
        "https://ada:secret@switchy.example/api",
        "https://switchy.example/api?x=1",
        "",
    ] {
        assert!(Client::new(url, KEY).is_err(), "{url}");
    }
    let client = Client::new("https://switchy.example/api/", KEY).expect("fine");
    assert_eq!(client.base_url(), "https://switchy.example/api");
}

/// A session as the Save Session dialect shows it, and something that this client does not know.
fn saved(id: &str) -> Value {
    json!({
        "id": id, "model": "m", "message_count": 0, "visibility": "private", "origin": "robot",
        "labels": { "env": ["a"] }, "user_id": ID, "created_at": NOW, "updated_at": NOW,
        "usage": {
            "total_input_tokens": 0, "total_output_tokens": 0,
            "total_cache_read_input_tokens": 0, "total_cache_creation_input_tokens": 0,
            "total_tool_call_count": 0, "total_cost_usd": null, "compaction_count": 0,
            "current_message_count": 0, "total_message_count": 0,
        },
        "frozen_at": null,
    })
}

const UUID: &str = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";

#[tokio::test]
async fn the_errors_of_both_dialects_are_the_same_errors() {
    for (status, kind, code) in [
        (400, "invalid_request", ErrorCode::Validation),
        (401, "authentication_failed", ErrorCode::Auth),
        (403, "forbidden", ErrorCode::Forbidden),
        (404, "not_found", ErrorCode::NotFound),
        (405, "method_not_allowed", ErrorCode::NotFound),
        (409, "already_exists", ErrorCode::Conflict),
        (413, "payload_too_large", ErrorCode::Validation),
        (415, "unsupported_media_type", ErrorCode::Validation),
        (426, "upgrade_required", ErrorCode::UpgradeRequired),
        (429, "rate_limited", ErrorCode::RateLimit),
        (500, "internal_error", ErrorCode::Internal),
        (502, "bad_gateway", ErrorCode::Internal),
        (503, "service_unavailable", ErrorCode::Internal),
        (504, "gateway_timeout", ErrorCode::Internal),
        (418, "teapot", ErrorCode::Other("TEAPOT".into())),
    ] {
        let server = MockServer::start().await;
        let body = json!({ "code": status, "detail": "so it is", "type": kind });
        let refusal = ResponseTemplate::new(status).set_body_json(body);
        let refusal =
            refusal.insert_header("x-request-id", "r-3").insert_header("retry-after", "9");
        answer(&server, "GET", refusal, 9).await;
        let (client, _) = client(&server);
        let error = client.saved_sessions("a", "b").view(UUID).await.expect_err("refused");
        assert_eq!(error.code(), &code, "{status}");
        assert_eq!(error.status().map(|s| s.as_u16()), Some(status));
        assert_eq!(error.to_string(), "so it is");
        assert_eq!(error.request_id(), Some("r-3"));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(9)));
        assert!(error.field_errors().is_empty());
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_saved_session_is_told_as_with_everything_else() {
    let server = MockServer::start().await;
    let body = json!({ "code": 422, "detail": "two things", "type": "validation_error", "errors": [
        { "loc": ["body", "labels", "env", 3], "msg": "is too long", "type": "too_long" },
        { "loc": ["query", "limit"], "msg": "is too large", "type": "out_of_range" },
    ] });
    answer(&server, "POST", ResponseTemplate::new(422).set_body_json(body), 9).await;
    let (client, _) = client(&server);
    let id = UUID.parse().expect("a UUID");
    let error = client.saved_sessions("a", "b").save(id, "m").await.expect_err("refused");
    assert_eq!(error.code(), &ErrorCode::Validation);
    let told: Vec<String> = error.field_errors().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["labels.env[3]: is too long", "query.limit: is too large"]);
    assert_eq!(error.field_errors()[0].code, "too_long");
}

#[tokio::test]
async fn saved_sessions_come_bare_and_the_client_says_how_new_it_is() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/api/v1/org/engines/ws/team/sessions"))
        .and(header("x-client-version", env!("CARGO_PKG_VERSION")))
        .and(header("authorization", format!("Bearer {KEY}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(saved(UUID)))
        .mount(&server)
        .await;
    let (client, _) = client(&server);
    let sessions = client.saved_sessions("engines", "team");
    let save = || {
        let id = UUID.parse().expect("a UUID");
        sessions.save(id, "m").title("T").label("env", ["a", "b"]).label("team", ["core"])
    };
    let session = save().await.expect("saved");
    assert_eq!(session.id.to_string(), UUID);
    assert_eq!(session.origin.as_str(), "robot", "of a newer server");
    assert_eq!(save().raw().await.expect("saved"), saved(UUID));
    let received = server.received_requests().await.expect("recorded");
    let sent: Value = received[0].body_json().expect("JSON");
    let expected = json!({
        "id": UUID, "model": "m", "title": "T",
        "labels": { "env": ["a", "b"], "team": ["core"] },
    });
    assert_eq!(sent, expected);
    assert_eq!(idempotency_keys(&received).len(), 2);
}

#[tokio::test]
async fn a_list_of_saved_sessions_repeats_its_filters_on_every_page() {
    let server = MockServer::start().await;
    let page = |number: u32, next: bool| {
        json!({
            "sessions": [saved(UUID)], "total": 2, "page": number, "limit": 1, "total_pages": 2,
            "has_next": next, "has_previous": !next,
        })
    };
    for (number, next) in [(1, true), (2, false)] {
        Mock::given(method("GET"))
            .and(path("/api/v1/org/engines/ws/team/sessions"))
            .and(query_param("page", number.to_string()))
            .respond_with(ResponseTemplate::new(200).set_body_json(page(number, next)))
            .mount(&server)
            .await;
    }
    let (client, _) = client(&server);
    let list = client.saved_sessions("engines", "team").list().label("env", "a").label("env", "b");
    let all: Vec<_> = list.limit(1).stream().try_collect().await.expect("two pages");
    assert_eq!(all.len(), 2);
    let received = server.received_requests().await.expect("recorded");
    for request in &received {
        let labels = request.url.query_pairs().filter(|(name, _)| name == "label");
        let labels: Vec<_> = labels.map(|(_, value)| value.into_owned()).collect();
        assert_eq!(labels, ["env:a", "env:b"]);
    }
    assert_eq!(received.len(), 2);
}

fn message(id: &str) -> Value {
    json!({
        "id": id, "sessionId": ID, "authorType": "USER", "authorUserId": ID, "body": "hello",
        "mentions": [], "createdAt": NOW
    })
}

fn posted(number: u32) -> String {
    let data = json!({ "message": message(&number.to_string()) });
    format!("id: {number}\nevent: message.created\ndata: {data}\n\n")
}

fn ended(reason: &str) -> String {
    format!("event: end\ndata: {}\n\n", json!({ "reason": reason, "message": "over" }))
}

fn stream_of(blocks: &str) -> ResponseTemplate {
    stream_after(1, blocks)
}

/// A server begins with the number after which it goes on.
fn stream_after(number: u32, blocks: &str) -> ResponseTemplate {
    let body = format!("retry: 1000\nid: {number}\n: connected\n\n{blocks}");
    ResponseTemplate::new(200).set_body_raw(body, "text/event-stream")
}

#[tokio::test]
async fn events_go_on_after_the_last_one_when_the_connection_breaks() {
    let server = MockServer::start().await;
    let route = format!("/api/spaces/team/sessions/{ID}/events");
    let at = || Mock::given(method("GET")).and(path(&route));
    let key = format!("Bearer {KEY}");
    at().and(header("last-event-id", "3"))
        .respond_with(stream_after(3, &ended("shutdown")))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    at().and(header("last-event-id", "3"))
        .respond_with(stream_after(3, &(posted(4) + &ended("not_a_member"))))
        .mount(&server)
        .await;
    at().and(header("authorization", key))
        .respond_with(stream_of(&(posted(2) + &posted(3) + "id: 4\nevent: message.created\n")))
        .with_priority(9)
        .mount(&server)
        .await;
    let (client, waits) = client(&server);
    let events: Vec<_> =
        client.messages("team", ID).events().stream().try_collect().await.expect("to the end");
    let ids: Vec<_> = events.iter().filter_map(|event| event.id.as_deref()).collect();
    assert_eq!(ids, ["2", "3", "4", "4"], "none twice, none lost");
    assert_eq!(events[2].kind, EventKind::MessageCreated(Box::new(from(message("4")))));
    assert_eq!(events[3].kind, EventKind::End(types::EndReason::NotAMember));
    assert_eq!(server.received_requests().await.expect("recorded").len(), 3);
    let second = Duration::from_secs(1);
    assert_eq!(*waits.lock().expect("no panic"), [second, second * 2], "as the server asks");
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a resource")
}

#[tokio::test]
async fn events_are_not_waited_for_without_an_end() {
    let server = MockServer::start().await;
    answer(&server, "GET", stream_of(&posted(2)), 1).await;
    answer(&server, "GET", failure(503, "INTERNAL_ERROR", json!({})), 99).await;
    let (client, waits) = client(&server);
    let mut events = client.messages("team", ID).events();
    let first = events.next().await.expect("an event").expect("an event");
    assert_eq!(first.id.as_deref(), Some("2"));
    let error = events.next().await.expect_err("always busy");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(503));
    let seconds: Vec<_> = waits.lock().expect("no panic").iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(events.last_event_id(), Some("2"), "who tries again resumes");
}

#[tokio::test]
async fn events_that_may_not_be_followed_are_an_error_at_once() {
    for (status, code) in [(401, ErrorCode::Auth), (404, ErrorCode::NotFound)] {
        let server = MockServer::start().await;
        answer(&server, "GET", failure(status, code.as_str(), json!({})), 9).await;
        let (client, waits) = client(&server);
        let error = client.messages("team", ID).events().connect().await.expect_err("refused");
        assert_eq!(error.code(), &code);
        assert_eq!(error.request_id(), Some("r-2"));
        assert!(waits.lock().expect("no panic").is_empty());
    }
    let server = MockServer::start().await;
    let page = ResponseTemplate::new(200).set_body_string("<html>");
    answer(&server, "GET", page, 9).await;
    let (client, _) = client(&server);
    let error = client.messages("team", ID).events().connect().await.expect_err("not the API");
    assert_eq!(error.code(), &ErrorCode::MalformedResponse);

    let nobody = Client::new("http://127.0.0.1:1/api", KEY).expect("a client");
    let error = nobody.messages("team", ID).events().connect().await.expect_err("nobody there");
    assert_eq!(error.code(), &ErrorCode::Transport, "the first connection is tried once");
}

#[tokio::test]
async fn events_of_a_newer_server_are_kept_and_what_is_no_event_is_named() {
    let server = MockServer::start().await;
    let blocks = "id: 2\nevent: session.painted\ndata: {\"colour\": \"red\"}\n\n\
                  id: 9\nevent: reset\ndata: {\"message\": \"read again\"}\n\n\
                  id: 10\nevent: message.created\ndata: {\"message\": 7}\n\n";
    answer(&server, "GET", stream_of(blocks), 1).await;
    let (client, _) = client(&server);
    let mut events = client.messages("team", ID).events();
    let newer = events.next().await.expect("an event").expect("an event");
    assert_eq!((newer.name.as_str(), &newer.kind), ("session.painted", &EventKind::Other));
    assert_eq!(newer.data["colour"], "red");
    let reset = events.next().await.expect("an event").expect("an event");
    assert_eq!((reset.kind, reset.id.as_deref()), (EventKind::Reset, Some("9")));
    let error = events.next().await.expect_err("no message");
    assert_eq!(error.code(), &ErrorCode::MalformedResponse);
}
