//! How failures are told, to people and to programs.

use serde_json::json;

use crate::{ID, User, failure, serve, server};

#[tokio::test]
async fn each_kind_of_failure_has_its_exit_code() {
    let patient = &json!({ "retryAfter": 3600 });
    for (status, code, exit) in [
        (400, "VALIDATION_ERROR", 7),
        (401, "AUTH_ERROR", 3),
        (403, "FORBIDDEN", 4),
        (404, "NOT_FOUND", 5),
        (409, "CONFLICT", 6),
        (413, "VALIDATION_ERROR", 7),
        (429, "RATE_LIMIT", 8),
        (500, "INTERNAL_ERROR", 1),
        (503, "INTERNAL_ERROR", 9),
        (418, "TEAPOT", 1),
    ] {
        let server = server().await;
        let refusal = failure(status, code, patient).insert_header("retry-after", "3600");
        serve(&server, "GET", &format!("/projects/{ID}"), refusal).await;
        let done = User::of(&server).run(&["space", "view", ID]).await;
        assert_eq!(done.exit, exit, "{status}: {}", done.stderr);
        assert!(done.stdout.is_empty(), "{status}");
        assert!(done.stderr.starts_with(&format!("error: it was {code}\n")), "{}", done.stderr);
        assert!(done.stderr.contains("request id: r-2\n"), "{}", done.stderr);
    }
}

#[tokio::test]
async fn a_server_out_of_reach_is_exit_code_9() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let user = User::new().with("SWITCHY_URL", &url).with("SWITCHY_API_KEY", crate::KEY);
    let done = user.run(&["whoami"]).await;
    assert_eq!(done.exit, 9);
    assert!(done.stderr.contains(&format!("cannot connect to {url}")), "{}", done.stderr);
}

#[tokio::test]
async fn everything_that_is_wrong_is_listed() {
    let server = server().await;
    let errors = json!({ "errors": [
        { "path": ["name"], "code": "required", "message": "is required" },
        { "path": ["tags", 3], "code": "too_long", "message": "must be at most 50 characters" }
    ] });
    serve(&server, "POST", "/projects", failure(400, "VALIDATION_ERROR", &errors)).await;
    let done = User::of(&server).run(&["space", "create", ""]).await;
    let lines = "\n  name: is required\n  tags[3]: must be at most 50 characters\n";
    assert!(done.stderr.contains(lines), "{}", done.stderr);
}

#[tokio::test]
async fn a_missing_key_leads_to_login() {
    let server = server().await;
    serve(&server, "GET", "/me", failure(401, "AUTH_ERROR", &json!({}))).await;
    let done = User::of(&server).run(&["whoami"]).await;
    assert!(done.stderr.contains("hint: `switchy login`"), "{}", done.stderr);
}

#[tokio::test]
async fn what_cannot_be_deleted_does_not_keep_the_rest() {
    let server = server().await;
    serve(&server, "DELETE", "/memory/a", failure(404, "NOT_FOUND", &json!({}))).await;
    serve(&server, "DELETE", "/memory/b", wiremock::ResponseTemplate::new(204)).await;
    let done = User::of(&server).run(&["memory", "delete", "--yes", "a", "b"]).await;
    assert_eq!(done.exit, 5);
    assert_eq!(done.stdout, "deleted b\n");
    assert!(done.stderr.starts_with("error: a: it was NOT_FOUND"), "{}", done.stderr);
}
