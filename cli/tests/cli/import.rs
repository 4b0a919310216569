//! `memory import`.

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer,
    matchers::{body_partial_json, method, path},
};

use crate::{Done, User, failure, me, note, serve, server, success};

/// A server with these notes of the user.
async fn server_with(notes: &[Value]) -> MockServer {
    let server = server().await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    let page = json!({ "memories": notes, "total": notes.len() });
    serve(&server, "GET", "/memory", success(200, &page)).await;
    server
}

async fn accept(server: &MockServer) {
    serve(server, "POST", "/memory", success(201, &json!({ "memory": note("x") }))).await;
}

async fn import(server: &MockServer, lines: &str) -> Done {
    User::of(server).run_with_input(&["memory", "import", "-"], lines).await
}

/// The bodies and idempotency keys of what was written.
async fn written(server: &MockServer) -> Vec<(Value, String)> {
    let requests = server.received_requests().await.expect("recorded");
    let writes = requests.iter().filter(|request| request.method == "POST");
    writes
        .map(|write| {
            let key = write.headers["idempotency-key"].to_str().expect("ASCII");
            (write.body_json().expect("JSON"), key.to_string())
        })
        .collect()
}

#[tokio::test]
async fn what_is_there_already_is_not_written_again() {
    let server = server_with(&[note("a")]).await;
    accept(&server).await;
    let lines = "{\"content\":\"a\"}\n{\"content\":\"a\",\"visibility\":\"ORG\"}\n";
    let done = import(&server, lines).await.ok();
    assert_eq!(done.stdout, "1 created, 1 skipped, 0 failed\n");
    let written = written(&server).await;
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].0, json!({ "content": "a", "visibility": "ORG" }));
}

#[tokio::test]
async fn two_runs_send_the_same_idempotency_keys_and_two_lines_different_ones() {
    let server = server_with(&[]).await;
    accept(&server).await;
    let lines = "{\"content\":\"a\"}\n\n{\"content\":\"a\"}\n{\"content\":\"b\"}\n";
    import(&server, lines).await.ok();
    import(&server, lines).await.ok();
    let keys: Vec<_> = written(&server).await.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 6);
    assert_eq!(keys[..3], keys[3..]);
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
}

#[tokio::test]
async fn the_rate_limit_is_waited_out() {
    let server = server_with(&[]).await;
    let busy = failure(429, "RATE_LIMIT", &json!({})).insert_header("retry-after", "0");
    let post = || Mock::given(method("POST")).and(path("/api/memory"));
    post().respond_with(busy).up_to_n_times(5).mount(&server).await;
    accept(&server).await;
    let done = import(&server, "{\"content\":\"a\"}\n").await.ok();
    assert_eq!(done.stdout, "1 created, 0 skipped, 0 failed\n");
    assert!(done.stderr.contains("rate limit: going on in 0 s"), "{}", done.stderr);
    let keys: Vec<_> = written(&server).await.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 6);
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test]
async fn a_bad_line_is_named_and_the_others_are_written() {
    let server = server_with(&[]).await;
    let errors = json!({ "errors": [
        { "path": ["content"], "code": "too_small", "message": "must not be empty" }
    ] });
    Mock::given(method("POST"))
        .and(body_partial_json(json!({ "content": "" })))
        .respond_with(failure(400, "VALIDATION_ERROR", &errors))
        .mount(&server)
        .await;
    accept(&server).await;
    let lines = "nonsense\n\n{\"content\":\"\"}\n{\"content\":\"a\"}\n";
    let user = User::of(&server);
    let done = user.run_with_input(&["memory", "import", "-", "-o", "json"], lines).await;
    assert_eq!(done.exit, 7);
    let summary = done.json();
    assert_eq!((&summary["created"], &summary["failed"]), (&json!(1), &json!(2)));
    assert_eq!(summary["failures"][1]["line"], 3);
    assert!(done.stderr.contains("line 1: not a note: "), "{}", done.stderr);
    assert!(
        done.stderr.contains("line 3: it was VALIDATION_ERROR\n  content: must not be empty\n")
    );
}

#[tokio::test]
async fn a_key_that_is_revoked_meanwhile_ends_the_import_and_the_rest_is_counted() {
    let server = server_with(&[]).await;
    serve(&server, "POST", "/memory", failure(401, "AUTH_ERROR", &json!({}))).await;
    let done = import(&server, "{\"content\":\"a\"}\n{\"content\":\"b\"}\n").await;
    assert_eq!(done.exit, 3);
    let summary = "0 created, 0 skipped, 0 failed, 2 left: run the import again\n";
    assert_eq!(done.stdout, summary);
    assert_eq!(written(&server).await.len(), 1);
}
