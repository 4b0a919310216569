//! Failures that every operation has in common: each one of the published document is asked.

use crate::fixture::operations::{Operation, operations};
use crate::fixture::{Answer, Caller, Options, Server, embedders, stripe};
use serde_json::json;
use std::time::Duration;
use switchy_server::limits::Limits;

/// Larger than any body that is read, in bytes.
const TOO_LARGE: usize = 1024 * 1024 + 1;

fn options() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

/// Those that need a key.
fn private() -> impl Iterator<Item = Operation> {
    operations().into_iter().filter(|operation| !operation.public)
}

/// A request that `operation` can read, about things that are not there.
fn readable(caller: &Caller, operation: &Operation) -> reqwest::RequestBuilder {
    let path = operation.path(caller.org_id.as_str());
    with_body(caller.request(operation.method.clone(), &path), operation)
}

/// The request, with what `operation` can read.
fn with_body(request: reqwest::RequestBuilder, operation: &Operation) -> reqwest::RequestBuilder {
    if operation.id == "billing_topup" {
        return request.json(&json!({ "pack": "small" })); // one of two fields, which no schema says
    }
    if operation.id == "saved_session_transcript_append" {
        // neither is required, but one of the two is: content, or calls of tools
        return request.json(&json!({ "messages": [{ "role": "user", "content": "x" }] }));
    }
    if operation.id == "mcp_server_create" {
        // an address, since a name is looked up before anything else
        return request.json(&json!({
            "displayName": "x", "mentionSlug": "x", "endpointUrl": "https://1.1.1.1/",
            "authType": "NONE"
        }));
    }
    match &operation.body {
        Some(body) => request.json(body),
        None => request,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_counted_against_a_limit() {
    let limits = Limits { reads: 1, writes: 1, failures: 0 };
    let server = Server::with(Options { limits, ..options() }).await;
    let owner = server.org("acme").await.owner;
    for operation in private() {
        let caller = server.key_for(&owner, &["*"]).await;
        let first = Answer::of(readable(&caller, &operation)).await;
        assert_ne!(first.status, 429, "{}", operation.id);
        let second = Answer::of(readable(&caller, &operation)).await;
        second.fails(429, "RATE_LIMIT");
        assert!(second.header("retry-after").is_some(), "{}", operation.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_503_while_no_connection_is_free() {
    let server = Server::with(Options {
        pool_size: 1,
        pool_timeout: Duration::from_millis(300),
        ..options()
    })
    .await;
    let owner = server.org("acme").await.owner;
    let only_connection = server.store.begin_system().await.expect("a transaction");
    for operation in private() {
        let answer = Answer::of(readable(&owner, &operation)).await;
        answer.fails(503, "INTERNAL_ERROR");
        assert!(answer.header("retry-after").is_some(), "{}", operation.id);
    }
    only_connection.commit().await.expect("committed");
    owner.get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_500_in_the_envelope_when_the_database_refuses() {
    // what is not set up is refused before the database is asked
    let billing = stripe::unreachable();
    let server = Server::with(Options { billing, ..options() }).await;
    let owner = server.org("acme").await.owner;
    // authentication goes on, by a function of its own; everything after it does not
    let revoke = "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM switchy_app; \
                  REVOKE SELECT (id) ON api_keys FROM switchy_app; \
                  REVOKE EXECUTE ON FUNCTION lock_members, accept_invitation, literal_memories \
                  FROM switchy_app";
    server.sql().await.batch_execute(revoke).await.expect("revoked");
    for operation in private() {
        let mut request = readable(&owner, &operation);
        if operation.idempotent {
            // what no schema says of a body is asked only after the key was looked up
            request = request.header("Idempotency-Key", &operation.id);
        }
        let answer = Answer::of(request).await;
        answer.fails(500, "INTERNAL_ERROR");
        assert!(!answer.text.contains("permission"), "{}: {}", operation.id, answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_must_be_json_of_at_most_one_mebibyte() {
    let server = Server::with(options()).await;
    let owner = server.org("acme").await.owner;
    for operation in private().filter(|o| o.body.is_some()) {
        let path = operation.path(owner.org_id.as_str());
        let request = || owner.request(operation.method.clone(), &path);
        let text = request().header("Content-Type", "text/plain").body("{}");
        Answer::of(text).await.fails(415, "VALIDATION_ERROR");
        let large = json!({ "x": "x".repeat(TOO_LARGE) });
        Answer::of(request().json(&large)).await.fails(413, "VALIDATION_ERROR");
        let broken = request().header("Content-Type", "application/json").body("{\"x\":");
        Answer::of(broken).await.fails(400, "VALIDATION_ERROR");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_idempotency_key_stands_for_one_body() {
    let server = Server::with(options()).await;
    let owner = server.org("acme").await.owner;
    for operation in private().filter(|o| o.idempotent && o.body.is_some()) {
        let path = operation.path(owner.org_id.as_str());
        let first = owner.post_once(&path, &operation.id, json!({ "a": 1 })).await;
        assert!(first.status.as_u16() < 500, "{}: {}", operation.id, first.text);
        let second = owner.post_once(&path, &operation.id, json!({ "a": 2 })).await;
        second.fails(409, "CONFLICT");
    }
}

/// Those of the Save Session dialect.
fn of_save_session() -> impl Iterator<Item = Operation> {
    private().filter(|operation| operation.template.starts_with("/v1/org/"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_on_saved_sessions_tells_old_clients_to_upgrade() {
    let min_client_version = Some(semver::Version::new(1, 4, 0));
    let server = Server::with(Options { min_client_version, ..options() }).await;
    let owner = server.org("acme").await.owner;
    let mut asked = 0;
    for operation in of_save_session() {
        let with = async |version: &str| {
            let request = readable(&owner, &operation).header("X-Client-Version", version);
            Answer::of(request).await
        };
        let old = with("1.3.9").await;
        old.refused(426, "upgrade_required");
        assert_eq!(old.header("upgrade"), Some("switchy-client/1.4.0"), "{}", operation.id);
        assert_eq!(old.header("connection"), Some("upgrade"), "{}", operation.id);
        assert!(old.text.contains("1.4.0"), "{}", old.text);
        for malformed in ["1.4", "newest", ""] {
            with(malformed).await.refused(400, "invalid_request");
        }
        for accepted in ["1.4.0", "2.0.0-rc.1"] {
            assert_ne!(with(accepted).await.status, 426, "{}", operation.id);
        }
        assert_ne!(Answer::of(readable(&owner, &operation)).await.status, 426);
        // a stranger learns nothing, and the other dialect does not ask
        let stranger = readable(&server.nobody(), &operation).header("X-Client-Version", "0.0.1");
        Answer::of(stranger).await.refused(401, "authentication_failed");
        asked += 1;
    }
    assert_eq!(asked, 9);
    let request = owner.request(http::Method::GET, "/me").header("X-Client-Version", "0.0.1");
    Answer::of(request).await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_on_saved_sessions_is_for_the_organization_of_the_key() {
    let server = Server::with(options()).await;
    let owner = server.org("acme").await.owner;
    let other = server.org("globex").await.owner;
    other.space("Team").await;
    for operation in of_save_session() {
        for org in ["globex", "nowhere", "ACME", "%20"] {
            let path = operation.path("").replace("/org/acme/", &format!("/org/{org}/"));
            let path = path.replace("/ws/nope/", "/ws/team/");
            let request = with_body(owner.request(operation.method.clone(), &path), &operation);
            Answer::of(request).await.refused(403, "forbidden");
        }
        // of one's own organization, a workspace that is not there
        Answer::of(readable(&owner, &operation)).await.refused(404, "not_found");
    }
}
