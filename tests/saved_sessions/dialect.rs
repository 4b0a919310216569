//! What holds for every route of the dialect: its envelope, its keys.

use super::*;
use crate::fixture::logs::Logs;
use http::Method;
use std::time::Duration;

#[tokio::test]
async fn a_key_is_sent_as_a_bearer_token_or_in_a_header_of_its_own() {
    let (server, org, _) = team().await;
    let nobody = server.nobody();
    let key = org.owner.key.as_deref().expect("a key");
    let get = |path: &str| nobody.request(Method::GET, path);
    let basic = "Basic dXNlcjpwYXNz";
    for request in [
        get(SESSIONS).header("X-API-Key", key),
        get(SESSIONS).header("x-api-key", format!(" {key} ")),
        get(SESSIONS).bearer_auth(key),
        get(SESSIONS).bearer_auth(key).header("X-API-Key", "foreign"),
        // a proxy's own
        get(SESSIONS).header("Authorization", basic).header("X-API-Key", key),
    ] {
        Answer::of(request).await.bare();
    }
    for request in [
        get(SESSIONS),
        get(SESSIONS).header("X-API-Key", ""),
        get(SESSIONS).header("X-API-Key", &key[..key.len() - 1]),
        get(SESSIONS).header("X-API-Key", format!("Bearer {key}")),
        get(SESSIONS).header("Authorization", basic),
        get(SESSIONS).query(&[("api_key", key)]),
        get(SESSIONS)
            .header("X-API-Key", switchy_server::auth::ApiKey::generate().expect("a key").expose()),
    ] {
        let answer = Answer::of(request).await;
        answer.refused(401, "authentication_failed");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.text.contains(key), "{}", answer.text);
    }
    // of this dialect alone
    for path in ["/me", "/spaces/team/sessions"] {
        Answer::of(get(path).header("X-API-Key", key)).await.fails(401, "AUTH_ERROR");
    }
}

#[tokio::test]
async fn what_no_route_takes_is_refused_in_the_canonical_envelope() {
    let (_server, org, _) = team().await;
    let made = shared(&org.owner, json!({})).await;
    for path in [
        "/v1/org/acme",
        "/v1/org/acme/ws/team",
        &format!("{}/freeze", path(&made)),
        "/v1/org/acme/ws/team/sessions/a/b/c",
    ] {
        org.owner.get(path).await.refused(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::PUT, SESSIONS.to_owned(), "GET, HEAD, POST"),
        (Method::DELETE, path(&made), "GET, HEAD, PATCH"),
        (Method::GET, format!("{}/archive", path(&made)), "POST"),
    ] {
        let answer = Answer::of(org.owner.request(method, &path)).await;
        answer.refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
    org.owner.get("/v1/org").await.fails(404, "NOT_FOUND");
    org.owner.get("/v1/sessions").await.fails(404, "NOT_FOUND");
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_a_bad_request() {
    let (_server, org, _) = team().await;
    let post = |body: &'static str| {
        let request = org.owner.request(Method::POST, SESSIONS);
        request.header("Content-Type", "application/json").body(body)
    };
    for body in ["", "{", "[]", "7", "null", "\"x\"", "{\"id\":1e999}"] {
        Answer::of(post(body)).await.refused(400, "invalid_request");
    }
    for key in ["", "a b", &"x".repeat(256)] {
        let request = post("{}").header("Idempotency-Key", key);
        Answer::of(request).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let (_server, org, _) = team().await;
    let answer = Answer::of(org.owner.request(Method::HEAD, SESSIONS)).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
}

#[tokio::test]
async fn both_dialects_count_against_the_same_limits() {
    let limits = switchy_server::limits::Limits { reads: 3, writes: 2, failures: 0 };
    let (server, org, _) = team_with(Options { limits, ..Options::default() }).await;
    let caller = server.key_for(&org.owner, &["*"]).await;
    let answer = caller.get(SESSIONS).await;
    assert_eq!(answer.header("ratelimit-remaining"), Some("2"));
    caller.get("/me").await.data(200);
    caller.get(&format!("{SESSIONS}/facets")).await.bare();
    let refused = caller.get(SESSIONS).await;
    refused.refused(429, "rate_limited");
    assert!(refused.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok_and(|s| s >= 1)));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    caller.get("/me").await.fails(429, "RATE_LIMIT");
    save(&caller, &session(json!({}))).await;
    caller.post("/projects", json!({ "name": "X" })).await.data(201);
    caller.post(SESSIONS, session(json!({}))).await.refused(429, "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_its_deadline_is_unavailable_and_leaves_nothing() {
    let options = Options { request_deadline: Duration::from_millis(300), ..Options::default() };
    let (server, org, _) = team_with(options).await;
    let sql = server.sql().await;
    sql.batch_execute("BEGIN; LOCK TABLE session_participants").await.expect("locked");
    let answer = org.owner.post(SESSIONS, session(json!({}))).await;
    answer.refused(503, "service_unavailable");
    assert!(answer.header("retry-after").is_some());
    sql.batch_execute("COMMIT").await.expect("unlocked");
    assert_eq!(org.owner.get(SESSIONS).await.bare()["total"], 0);
}

#[tokio::test]
async fn the_log_has_a_line_and_neither_key_nor_content() {
    let (log, logs) = Logs::new();
    let (_server, org, _) = team_with(Options { log, ..Options::default() }).await;
    let key = org.owner.key.as_deref().expect("a key");
    let body = session(json!({ "title": "a very secret title" }));
    let request = org.owner.http.post(format!("{}{SESSIONS}", org.owner.url));
    let made = Answer::of(request.header("X-API-Key", key).json(&body)).await.bare();
    append(&org.owner, &made, json!([{ "role": "user", "content": "very secret words" }])).await;
    let lines = logs.lines().join("\n");
    assert!(lines.contains("operation=saved_session_save"), "{lines}");
    assert!(lines.contains("operation=saved_session_transcript_append"), "{lines}");
    assert!(!lines.contains("secret") && !lines.contains(key), "{lines}");
}
