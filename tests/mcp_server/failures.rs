//! What goes wrong is told in JSON-RPC, and mirrored in the HTTP status (contract B9).

use super::{INVALID_PARAMS, INVALID_REQUEST, SERVER_ERROR, start, start_with};
use crate::fixture::logs::Logs;
use crate::fixture::mcp::Mcp;
use crate::fixture::{Answer, Options, embedders};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn list_tools() -> Value {
    json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/list" })
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_key_nothing_is_told() {
    let (server, org, mcp) = start().await;
    let nobody = Mcp::of(&server.nobody());
    let revoked = Mcp::of(&server.key_for(&org.owner, &["*"]).await);
    let sql = "UPDATE api_keys SET revoked_at = now() WHERE scopes = '{*}'";
    server.sql().await.execute(sql, &[]).await.expect("revoked");
    for mcp in [&nobody, &revoked, &nobody.with("Authorization", "Bearer sk_live_wrong")] {
        let answer = mcp.send(&list_tools()).await;
        answer.refuses(401, SERVER_ERROR, "AUTH_ERROR");
        // the message is not read, so its id is not known
        assert_eq!(answer.body["id"], Value::Null);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    // nor what is wrong with a body
    let request = nobody.request().header("content-type", "application/json").body("{");
    Answer::of(request).await.refuses(401, SERVER_ERROR, "AUTH_ERROR");
    nobody.send(&json!([list_tools()])).await.refuses(401, SERVER_ERROR, "AUTH_ERROR");
    nobody.send(&json!([])).await.refuses(401, SERVER_ERROR, "AUTH_ERROR");
    mcp.send(&list_tools()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_under_its_id() {
    let (_server, _org, mcp) = start().await;
    let raw =
        |body: &str| mcp.request().header("content-type", "application/json").body(body.to_owned());
    for body in ["{", "", "\u{feff}{}", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}x"] {
        let answer = Answer::of(raw(body)).await;
        answer.refuses(400, -32_700, "VALIDATION_ERROR");
        assert_eq!(answer.body["id"], Value::Null);
    }
    for (body, id) in [
        (json!("ping"), json!(null)),
        (json!({ "id": 3, "method": "ping" }), json!(3)),
        (json!({ "jsonrpc": "2.0", "id": 3 }), json!(3)),
        (json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }), json!(null)),
        (json!({ "jsonrpc": "2.0", "id": 3, "method": "ping", "params": 4 }), json!(3)),
    ] {
        let answer = mcp.send(&body).await;
        answer.refuses(400, INVALID_REQUEST, "VALIDATION_ERROR");
        assert_eq!(answer.body["id"], id, "{body}");
    }
    let plain = mcp.request().header("content-type", "text/plain").body(list_tools().to_string());
    Answer::of(plain).await.refuses(415, INVALID_REQUEST, "VALIDATION_ERROR");
    let large = json!({ "jsonrpc": "2.0", "id": 1, "method": "x".repeat(1024 * 1024) });
    mcp.send(&large).await.refuses(413, INVALID_REQUEST, "VALIDATION_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_tools_and_prompts_are_told_apart() {
    let (_server, _org, mcp) = start().await;
    for method in ["tools/lists", "", "tools", "resources/subscribe", "logging/setLevel"] {
        let answer = mcp.rpc(method, json!({ "uri": "switchy://spaces/x", "level": "info" })).await;
        if method.is_empty() {
            answer.refuses(400, INVALID_REQUEST, "VALIDATION_ERROR");
            continue;
        }
        answer.refuses(404, -32_601, "NOT_FOUND");
    }
    mcp.call("drop_tables", json!({})).await.refuses(400, INVALID_PARAMS, "VALIDATION_ERROR");
    for params in [json!({}), json!({ "name": 7 }), json!({ "name": "get_space", "arguments": [] })]
    {
        let answer = mcp.rpc("tools/call", params).await;
        answer.refuses(400, INVALID_PARAMS, "VALIDATION_ERROR");
    }
    let prompt = json!({ "name": "forget", "arguments": {} });
    mcp.rpc("prompts/get", prompt).await.refuses(400, INVALID_PARAMS, "VALIDATION_ERROR");
}

/// Paths of everything that was wrong.
fn paths(error: &Value) -> Vec<String> {
    let errors = error["data"]["errors"].as_array().expect("errors").iter();
    errors.map(|e| format!("{}:{}", e["path"], e["code"].as_str().expect("a code"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_with_arguments_is_told_at_once() {
    let (_server, _org, mcp) = start().await;
    for (tool, arguments, wrong) in [
        ("search_memory", json!({}), &["[\"query\"]:required"][..]),
        (
            "search_memory",
            json!({ "query": "  ", "limit": 0, "spaceSlug": 7 }),
            &["[\"spaceSlug\"]:invalid", "[\"query\"]:too_short", "[\"limit\"]:out_of_range"],
        ),
        ("search_memory", json!({ "query": "a\u{0}b" }), &["[\"query\"]:invalid_character"]),
        (
            "add_memory",
            json!({ "content": "x".repeat(10_001), "visibility": "SPACE", "sourceUrl": "ftp://x" }),
            &["[\"content\"]:too_long", "[\"spaceSlug\"]:required", "[\"sourceUrl\"]:invalid_url"],
        ),
        (
            "add_memory",
            json!({ "content": "x", "visibility": "ORG", "spaceSlug": "team" }),
            &["[\"spaceSlug\"]:not_allowed"],
        ),
        (
            "add_memory",
            json!({ "content": "x", "visibility": "ALL" }),
            &["[\"visibility\"]:invalid"],
        ),
        ("list_spaces", json!({ "limit": 101 }), &["[\"limit\"]:out_of_range"]),
        ("list_spaces", json!({ "cursor": "x" }), &["[\"cursor\"]:invalid"]),
        ("list_spaces", json!({ "cursor": "x".repeat(101) }), &["[\"cursor\"]:too_long"]),
        ("get_space", json!({}), &["[\"slug\"]:required"]),
        (
            "list_sessions",
            json!({ "limit": -1 }),
            &["[\"limit\"]:invalid", "[\"spaceSlug\"]:required"],
        ),
        (
            "get_session_transcript",
            json!({ "sessionId": "x", "limit": 0, "before": "y" }),
            &["[\"before\"]:invalid", "[\"limit\"]:out_of_range"],
        ),
    ] {
        let answer = mcp.call(tool, arguments).await;
        let error = answer.refuses(400, INVALID_PARAMS, "VALIDATION_ERROR");
        let mut found = paths(error);
        found.sort();
        let mut wrong: Vec<_> = wrong.iter().map(|w| (*w).to_owned()).collect();
        wrong.sort();
        assert_eq!(found, wrong, "{tool}");
    }
    // explicit nothing is nothing, and what is not known is ignored
    let arguments = json!({ "limit": null, "cursor": null, "colour": "red" });
    assert_eq!(mcp.tool("list_spaces", arguments).await["spaces"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_is_a_500_whose_id_the_log_knows() {
    let (log, logs) = Logs::new();
    let embedder = Arc::new(embedders::Panicking);
    let (_server, _org, mcp) = start_with(Options { embedder, log, ..Options::default() }).await;
    let answer = mcp.call("search_memory", json!({ "query": "anything" })).await;
    let error = answer.refuses(500, -32_603, "INTERNAL_ERROR");
    assert_eq!(answer.body["id"], 1);
    let id = error["data"]["requestId"].as_str().expect("an id");
    assert!(!answer.text.contains("panics"), "{}", answer.text);
    let lines = logs.lines();
    let line = lines.iter().find(|line| line.contains(id)).expect("a line");
    assert!(
        line.starts_with("ERROR") && line.contains("the embedder of this test panics"),
        "{line}"
    );
    assert!(line.contains("call=tools/call search_memory"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_at_its_deadline() {
    let options = Options {
        embedder: Arc::new(embedders::Stuck),
        request_deadline: Duration::from_millis(300),
        ..Options::default()
    };
    let (_server, _org, mcp) = start_with(options).await;
    let answer = mcp.call("search_memory", json!({ "query": "anything" })).await;
    let error = answer.refuses(503, SERVER_ERROR, "INTERNAL_ERROR");
    assert_eq!(error["data"]["retryAfterMs"], 2_000);
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(answer.body["id"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_server_says_when_to_come_back() {
    let embedder = Arc::new(embedders::Full);
    let (_server, _org, mcp) = start_with(Options { embedder, ..Options::default() }).await;
    for (tool, arguments) in [
        ("search_memory", json!({ "query": "anything" })),
        ("add_memory", json!({ "content": "anything", "visibility": "ORG" })),
    ] {
        let answer = mcp.call(tool, arguments).await;
        let error = answer.refuses(503, SERVER_ERROR, "INTERNAL_ERROR");
        assert_eq!(error["data"]["retryAfterMs"], 2_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_was_called_and_for_whom() {
    let (log, logs) = Logs::new();
    let options = Options { embedder: embedders::none(), log, ..Options::default() };
    let (_server, org, mcp) = start_with(options).await;
    mcp.acting_for(&org.owner).tool("list_spaces", json!({})).await;
    mcp.call("get_space", json!({ "slug": "none" })).await.refuses(404, SERVER_ERROR, "NOT_FOUND");
    let lines = logs.lines();
    let line = |call: &str| {
        let found = lines.iter().find(|l| l.contains(&format!(" call=tools/call {call}")));
        found.unwrap_or_else(|| panic!("{lines:#?}")).clone()
    };
    let listed = line("list_spaces");
    assert!(listed.contains(&format!(" actor={}", org.owner.user_id)), "{listed}");
    assert!(listed.contains(" operation=mcp_rpc") && listed.contains(" key_id=c"), "{listed}");
    let viewed = line("get_space");
    assert!(viewed.contains(" status=404") && viewed.contains("error=no such Space"), "{viewed}");
    assert!(!viewed.contains(" actor="), "{viewed}");
}
