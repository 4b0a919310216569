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

/// So many lines, each with the content `note N`.
fn many(count: usize) -> String {
    (0..count).map(|i| format!("{{\"content\":\"note {i}\"}}\n")).collect()
}

async fn accept_batches(server: &MockServer) {
    let written = success(201, &json!({ "memories": [note("x")] }));
    serve(server, "POST", "/memory/batch", written).await;
}

/// The contents of each batch, or of a note that was written alone.
async fn contents(server: &MockServer) -> Vec<Vec<String>> {
    let text = |note: &Value| note["content"].as_str().expect("content").to_string();
    written(server)
        .await
        .iter()
        .map(|(body, _)| match body["memories"].as_array() {
            Some(notes) => notes.iter().map(text).collect(),
            None => vec![text(body)],
        })
        .collect()
}

#[tokio::test]
async fn many_lines_are_written_a_hundred_at_a_time_under_the_same_keys_in_every_run() {
    let server = server_with(&[note("note 1"), note("note 230")]).await;
    accept_batches(&server).await;
    for _ in 0..2 {
        let done = import(&server, &many(252)).await.ok();
        assert_eq!(done.stdout, "250 created, 2 skipped, 0 failed\n");
    }
    let contents = contents(&server).await;
    assert_eq!(contents.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50, 100, 100, 50]);
    assert_eq!(contents[0][..2], ["note 0", "note 2"]);
    assert_eq!(contents[..3], contents[3..]);
    let keys: Vec<_> = written(&server).await.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys[..3], keys[3..]);
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    // what a note is, is what it would be alone
    let (first, _) = written(&server).await.swap_remove(0);
    assert_eq!(first["memories"][0], json!({ "content": "note 0", "visibility": "PRIVATE" }));
}

#[tokio::test]
async fn a_batch_is_no_larger_than_what_a_server_reads() {
    let server = server_with(&[]).await;
    accept_batches(&server).await;
    let line = format!("{{\"content\":\"{}\"}}\n", "ü".repeat(10_000));
    import(&server, &line.repeat(120)).await.ok();
    let requests = server.received_requests().await.expect("recorded");
    let sizes: Vec<_> =
        requests.iter().filter(|r| r.method == "POST").map(|r| r.body.len()).collect();
    assert!(sizes.len() >= 3 && sizes.iter().all(|size| *size < 1024 * 1024), "{sizes:?}");
}

#[tokio::test]
async fn the_bad_lines_of_a_batch_are_named_and_the_others_are_written() {
    let server = server_with(&[]).await;
    let errors = json!({ "errors": [
        { "path": ["memories", 2, "content"], "code": "x", "message": "must not be empty" },
        { "path": ["memories", 9, "tags", 0], "code": "x", "message": "is too long" },
        { "path": ["memories", 9, "sourceUrl"], "code": "x", "message": "must be a URL" },
    ] });
    Mock::given(method("POST"))
        .and(path("/api/memory/batch"))
        .respond_with(failure(400, "VALIDATION_ERROR", &errors))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    accept_batches(&server).await;
    let user = User::of(&server);
    let lines = format!("{}nonsense\n", many(12));
    let done = user.run_with_input(&["memory", "import", "-", "-o", "json"], &lines).await;
    assert_eq!(done.exit, 7);
    let summary = done.json();
    assert_eq!((&summary["created"], &summary["failed"]), (&json!(10), &json!(3)));
    let failed: Vec<_> = (0..3).map(|i| summary["failures"][i]["line"].clone()).collect();
    assert_eq!(failed, [3, 10, 13]);
    assert!(done.stderr.contains("line 3: not accepted\n  content: must not be empty\n"));
    assert!(
        done.stderr.contains(
            "line 10: not accepted\n  tags[0]: is too long\n  sourceUrl: must be a URL\n"
        ),
        "{}",
        done.stderr
    );
    let contents = contents(&server).await;
    assert_eq!(contents.iter().map(Vec::len).collect::<Vec<_>>(), [12, 10]);
    assert!(!contents[1].contains(&"note 2".to_string()));
    let keys: Vec<_> = written(&server).await.into_iter().map(|(_, key)| key).collect();
    assert_ne!(keys[0], keys[1], "other notes are another request");
}

#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_is_written_line_by_line() {
    for (status, code) in [(403, "FORBIDDEN"), (404, "NOT_FOUND"), (405, "NOT_FOUND")] {
        let server = server_with(&[]).await;
        serve(&server, "POST", "/memory/batch", failure(status, code, &json!({}))).await;
        Mock::given(method("POST"))
            .and(body_partial_json(json!({ "content": "note 4" })))
            .respond_with(failure(403, "FORBIDDEN", &json!({})))
            .mount(&server)
            .await;
        accept(&server).await;
        let done = import(&server, &many(110)).await;
        assert_eq!(done.exit, 4, "{}", done.stderr);
        assert_eq!(done.stdout, "109 created, 0 skipped, 1 failed\n");
        assert!(done.stderr.contains("line 5: it was FORBIDDEN"), "{}", done.stderr);
        let batches = contents(&server).await.iter().filter(|notes| notes.len() > 1).count();
        // a server that knows no batches is not asked again
        assert_eq!(batches, if status == 405 { 1 } else { 2 }, "{status}");
        let keys: Vec<_> = written(&server).await.into_iter().map(|(_, key)| key).collect();
        assert_eq!(keys.iter().filter(|key| key.starts_with("import-batch-")).count(), batches);
    }
}

#[tokio::test]
async fn a_batch_waits_for_the_rate_limit_and_ends_with_a_revoked_key() {
    let server = server_with(&[]).await;
    let busy = failure(429, "RATE_LIMIT", &json!({})).insert_header("retry-after", "0");
    Mock::given(path("/api/memory/batch")).respond_with(busy).up_to_n_times(2).mount(&server).await;
    let written_once = success(201, &json!({ "memories": [note("x")] }));
    Mock::given(path("/api/memory/batch"))
        .respond_with(written_once)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    serve(&server, "POST", "/memory/batch", failure(401, "AUTH_ERROR", &json!({}))).await;
    let done = import(&server, &many(150)).await;
    assert_eq!(done.exit, 3);
    let summary = "100 created, 0 skipped, 0 failed, 50 left: run the import again\n";
    assert_eq!(done.stdout, summary);
    assert!(done.stderr.contains("line 101: it was AUTH_ERROR"), "{}", done.stderr);
    let keys: Vec<_> = written(&server).await.into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 4);
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3]);
}
