//! `session save`, `share`, `facets` and `transcript`.

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path, path_regex},
};

use crate::{Done, ID, NOW, User, me, serve, server, success};

const UUID: &str = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";
const SESSIONS: &str = "/api/v1/org/engines/ws/platform-team/sessions";

fn saved() -> Value {
    json!({
        "id": UUID, "model": "m", "title": "Upgrade", "message_count": 2, "visibility": "private",
        "origin": "user", "labels": { "env": ["a", "b"] }, "user_id": ID, "created_at": NOW,
        "updated_at": NOW, "usage": {
            "total_input_tokens": 7, "total_output_tokens": 8,
            "total_cache_read_input_tokens": 0, "total_cache_creation_input_tokens": 0,
            "total_tool_call_count": 0, "total_cost_usd": null, "compaction_count": 0,
            "current_message_count": 2, "total_message_count": 2,
        },
    })
}

fn bare(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

async fn engines() -> MockServer {
    let server = server().await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    for (verb, place) in [("POST", "$"), ("GET", "/[^/]+$"), ("PATCH", "/[^/]+$")] {
        let mock = Mock::given(method(verb)).and(path_regex(format!("^{SESSIONS}{place}")));
        mock.respond_with(bare(&saved())).with_priority(9).mount(&server).await;
    }
    server
}

/// The bodies of the requests with this method whose path ends so.
async fn sent(server: &MockServer, verb: &str, end: &str) -> Vec<Value> {
    let requests = server.received_requests().await.expect("recorded");
    let wanted =
        requests.iter().filter(|r| r.method.as_str() == verb && r.url.path().ends_with(end));
    wanted.map(|request| request.body_json().expect("JSON")).collect()
}

async fn save(server: &MockServer, arguments: &[&str], input: &str) -> Done {
    let all = [&["session", "save", "--space", "platform-team"][..], arguments].concat();
    User::of(server).run_with_input(&all, input).await
}

#[tokio::test]
async fn a_session_is_saved_from_options_or_from_a_file_or_both() {
    let server = engines().await;
    let done = save(&server, &["--model", "m", "--label", "env:a", "--label", "env:b:c"], "").await;
    assert!(done.ok().stdout.contains("env:a env:b"));
    let file = json!({ "id": UUID, "model": "old", "title": "T", "labels": { "x": ["y"] } });
    let from = ["--from", "-", "--model", "new", "--message-count", "3", "--shared"];
    save(&server, &from, &file.to_string()).await.ok();
    let sent = sent(&server, "POST", "/sessions").await;
    assert_eq!(sent[0]["labels"], json!({ "env": ["a", "b:c"] }));
    assert_eq!(sent[0]["id"].as_str().map(str::len), Some(36), "a new UUID");
    let expected = json!({
        "id": UUID, "model": "new", "title": "T", "message_count": 3, "visibility": "workspace",
        "labels": { "x": ["y"] },
    });
    assert_eq!(sent[1], expected);
    let raw = save(&server, &["--model", "m", "--output", "json"], "").await.ok().json();
    assert_eq!(raw, saved());
}

#[tokio::test]
async fn what_is_no_session_is_not_sent() {
    let server = engines().await;
    for (arguments, input) in [
        (&["--title", "x"][..], ""),
        (&["--model", "m", "--label", "env"], ""),
        (&["--model", "m", "--id", "7"], ""),
        (&["--from", "-"], "{}"),
        (&["--from", "-"], "[]"),
        (&["--from", "-"], "{"),
        (&["--from", "no-such-file.json"], ""),
    ] {
        assert_eq!(save(&server, arguments, input).await.exit, 2, "{arguments:?}");
    }
    assert_eq!(sent(&server, "POST", "/sessions").await, Vec::<Value>::new());
}

#[tokio::test]
async fn sessions_are_shared_by_name() {
    let server = engines().await;
    let user = User::of(&server);
    let share = ["session", "share", "--space", "platform-team", "3f2b", UUID];
    let done = user.run(&share).await.ok();
    assert_eq!(done.stdout.lines().count(), 2);
    let sent = sent(&server, "PATCH", "").await;
    assert_eq!(sent, vec![json!({ "visibility": "workspace" }); 2]);
}

#[tokio::test]
async fn facets_are_a_table() {
    let server = engines().await;
    let one = |value: &str| json!([{ "value": value, "count": 3 }]);
    let facets = json!({
        "agents": one("bot"), "models": one("m"), "labels": { "env": one("a") },
        "users": [{ "value": ID, "count": 3, "email": "ada@example.com", "username": "ada" }],
    });
    let mock = Mock::given(method("GET")).and(path(format!("{SESSIONS}/facets")));
    mock.respond_with(bare(&facets)).mount(&server).await;
    let user = User::of(&server);
    let facets = ["session", "facets", "--space", "platform-team", "--label", "env:a", "--evals"];
    let done = user.run(&facets).await.ok();
    for row in ["agent      bot", "label env  a", "ada@example.com"] {
        assert!(done.stdout.contains(row), "{row} is not in\n{}", done.stdout);
    }
    let requests = server.received_requests().await.expect("recorded");
    let query = requests.last().and_then(|r| r.url.query().map(str::to_owned));
    assert_eq!(query.as_deref(), Some("include_workload_sessions=true&label=env%3Aa"));
}

const APPEND: [&str; 7] =
    ["session", "transcript", "append", "--space", "platform-team", "3f2b", "-"];

/// Accepts what is appended, all of it new.
async fn accept_turns(server: &MockServer) {
    let mock = Mock::given(method("POST")).and(path(format!("{SESSIONS}/{UUID}/transcript")));
    let answer = |request: &Request| {
        let body: Value = request.body_json().expect("JSON");
        let count = body["messages"].as_array().map(Vec::len);
        bare(&json!({ "messages": [], "appended": count, "session": saved() }))
    };
    mock.respond_with(answer).mount(server).await;
}

#[tokio::test]
async fn turns_are_appended_in_batches_under_ids_that_stay_the_same() {
    let server = engines().await;
    accept_turns(&server).await;
    let mut turns: String =
        (0..149).map(|_| "{\"role\":\"user\",\"content\":\"ok\"}\n\n".to_owned()).collect();
    turns += "{\"id\":\"3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b91\",\"role\":\"assistant\",\
              \"content\":\"x\",\"usage\":{\"output_tokens\":5},\"more\":1}";
    for _ in 0..2 {
        let done = User::of(&server).run_with_input(&APPEND, &turns).await.ok();
        assert_eq!(done.stdout, "150 appended, 0 were there already\n");
    }
    let sent = sent(&server, "POST", "/transcript").await;
    let ids: Vec<Vec<&Value>> = sent
        .iter()
        .map(|body| body["messages"].as_array().expect("a list").iter().map(|m| &m["id"]).collect())
        .collect();
    assert_eq!(ids.iter().map(Vec::len).collect::<Vec<_>>(), [100, 50, 100, 50]);
    assert_eq!((&ids[0], &ids[1]), (&ids[2], &ids[3]), "the same in every run");
    let distinct: std::collections::BTreeSet<String> =
        ids[..2].iter().flatten().map(|id| id.to_string()).collect();
    assert_eq!(distinct.len(), 150);
    assert_eq!(sent[1]["messages"][49]["usage"]["output_tokens"], 5);
}

#[tokio::test]
async fn one_line_that_is_no_message_keeps_all_back() {
    let server = engines().await;
    accept_turns(&server).await;
    let turns = "{\"role\":\"user\",\"content\":\"ok\"}\nnonsense\n{\"content\":\"x\"}\n";
    let done = User::of(&server).run_with_input(&APPEND, turns).await;
    assert_eq!(done.exit, 7, "{}", done.stderr);
    assert!(done.stderr.contains("line 2: not a message"), "{}", done.stderr);
    assert!(done.stderr.contains("line 3: not a message"), "{}", done.stderr);
    assert_eq!(sent(&server, "POST", "/transcript").await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_the_server_does_not_accept_is_named_by_its_line() {
    let server = engines().await;
    let refusal = json!({ "code": 422, "detail": "no", "type": "validation_error", "errors": [
        { "loc": ["body", "messages", 1, "usage"], "msg": "is not allowed", "type": "not_allowed" },
    ] });
    let mock = Mock::given(method("POST")).and(path(format!("{SESSIONS}/{UUID}/transcript")));
    mock.respond_with(ResponseTemplate::new(422).set_body_json(refusal)).mount(&server).await;
    let turns = "{\"role\":\"user\",\"content\":\"a\"}\n\n{\"role\":\"user\",\"content\":\"b\"}\n";
    let done = User::of(&server).run_with_input(&APPEND, turns).await;
    assert_eq!(done.exit, 7);
    assert!(done.stderr.contains("line 3: usage: is not allowed"), "{}", done.stderr);
    assert!(done.stderr.contains("2 left"), "{}", done.stderr);
}

#[tokio::test]
async fn a_transcript_is_shown_with_what_it_took_and_without_control_characters() {
    let server = engines().await;
    let message = |content: &str| {
        json!({
            "id": UUID, "role": "assistant", "agent": "bot", "content": content,
            "created_at": NOW, "tool_calls": [{ "function": { "name": "ls" } }],
            "usage": {
                "input_tokens": 7, "output_tokens": 8, "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 0, "cost_usd": 0.5,
            },
        })
    };
    let page = json!({
        "messages": [message("one\u{1b}[31m")], "total": 2, "page": 1, "limit": 1,
        "total_pages": 2, "has_next": true, "has_previous": false,
    });
    let mock = Mock::given(method("GET")).and(path(format!("{SESSIONS}/3f2b/transcript")));
    mock.respond_with(bare(&page)).mount(&server).await;
    let user = User::of(&server);
    let show = ["session", "transcript", "show", "--space", "platform-team", "3f2b"];
    let done = user.run(&show).await.ok();
    for shown in ["assistant  bot", "7 in, 8 out, $0.5", "calls ls", "one\u{fffd}[31m"] {
        assert!(done.stdout.contains(shown), "{shown} is not in\n{}", done.stdout);
    }
    assert!(done.stderr.contains("page 1 of 2"), "{}", done.stderr);
    let raw = user.run(&[&show[..], &["--output", "json"]].concat()).await.ok().json();
    assert_eq!(raw, page);
}
