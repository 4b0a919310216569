//! `_meta.idempotencyKey` makes the two writing tools safe to repeat (contract A5, B9).

use super::{INVALID_PARAMS, SERVER_ERROR, session, start, start_with};
use crate::fixture::{Options, embedders};
use chrono::{DateTime, TimeDelta};
use futures::future::join_all;
use serde_json::json;
use switchy_server::auth::OrgRole;
use switchy_server::clock::{Clock, ManualClock};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_does_nothing_twice() {
    let (_server, org, mcp) = start().await;
    org.owner.space("Team").await;
    let id = session(&org.owner, "team", "Upgrade").await;
    let mcp = mcp.acting_for(&org.owner);
    for (tool, arguments) in [
        ("add_memory", json!({ "content": "Tea is at four.", "visibility": "PRIVATE" })),
        ("post_message", json!({ "sessionId": id, "content": "hello" })),
    ] {
        let first = mcp.call_once(tool, "k-1", arguments.clone()).await;
        assert_eq!(first.header("idempotency-replayed"), None);
        let again = mcp.call_once(tool, "k-1", arguments.clone()).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{tool}");
        assert_eq!(again.body, first.body, "{tool}");
        // with its own id, though
        let call = json!({ "jsonrpc": "2.0", "id": "other", "method": "tools/call", "params": {
            "name": tool, "arguments": arguments, "_meta": { "idempotencyKey": "k-1" } } });
        let third = mcp.send(&call).await;
        assert_eq!(third.body["id"], "other");
        assert_eq!(third.body["result"], first.body["result"]);
    }
    let memories = org.owner.get("/memory").await.data(200);
    assert_eq!(memories["total"], 1);
    let messages = org.owner.get(&format!("/spaces/team/sessions/{id}/messages")).await.data(200);
    assert_eq!(messages["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_one_call_of_one_tool_for_one_member() {
    let (server, org, mcp) = start().await;
    let ada = server.member(&org, "ada", OrgRole::Member).await;
    let note = |content: &str| json!({ "content": content, "visibility": "ORG" });
    mcp.call_once("add_memory", "k", note("one")).await.structured();
    let answer = mcp.call_once("add_memory", "k", note("two")).await;
    answer.refuses(409, SERVER_ERROR, "CONFLICT");
    let answer = mcp.acting_for(&ada).call_once("add_memory", "k", note("one")).await;
    answer.refuses(409, SERVER_ERROR, "CONFLICT");
    // fields in another order are the same call
    let turned = json!({ "visibility": "ORG", "content": "one" });
    let again = mcp.call_once("add_memory", "k", turned).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    // the REST API's keys are others
    let rest = server.key_for(&org.owner, &["*"]).await;
    rest.post_once("/memory", "k", note("three")).await.data(201);
    for wrong in [json!(""), json!(7), json!("ä"), json!("a b"), json!("x".repeat(256))] {
        let params = json!({ "name": "add_memory", "arguments": note("x"),
            "_meta": { "idempotencyKey": wrong } });
        let answer = mcp.rpc("tools/call", params).await;
        let error = answer.refuses(400, INVALID_PARAMS, "VALIDATION_ERROR");
        assert_eq!(error["data"]["errors"][0]["path"], json!(["_meta", "idempotencyKey"]));
    }
    assert_eq!(org.owner.get("/memory").await.data(200)["total"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_would_come_again_is_kept_and_undone() {
    let (_server, org, mcp) = start().await;
    let nowhere = json!({ "content": "x", "visibility": "SPACE", "spaceSlug": "team" });
    let first = mcp.call_once("add_memory", "k", nowhere.clone()).await;
    first.refuses(404, SERVER_ERROR, "NOT_FOUND");
    // also after it would have worked
    org.owner.space("Team").await;
    let again = mcp.call_once("add_memory", "k", nowhere.clone()).await;
    again.refuses(404, SERVER_ERROR, "NOT_FOUND");
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    mcp.call_once("add_memory", "k-2", nowhere).await.structured();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_writes() {
    let (_server, org, mcp) = start().await;
    let note = json!({ "content": "Tea is at four.", "visibility": "ORG" });
    let calls = (0..12).map(|_| mcp.call_once("add_memory", "k", note.clone()));
    let answers = join_all(calls).await;
    let mut written = std::collections::BTreeSet::new();
    for answer in &answers {
        if answer.status == 200 {
            let memory = &answer.body["result"]["structuredContent"]["memory"];
            written.insert(memory["id"].as_str().expect("an id").to_owned());
        } else {
            // the first one is still running
            let error = answer.refuses(409, SERVER_ERROR, "CONFLICT");
            assert_eq!(error["data"]["retryAfterMs"], 1_000);
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    assert_eq!(written.len(), 1);
    assert_eq!(org.owner.get("/memory").await.data(200)["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_a_key_is_new() {
    let clock =
        ManualClock::starting_at(DateTime::from_timestamp(1_767_225_600, 0).expect("a moment"));
    let options = Options {
        embedder: embedders::none(),
        clock: Clock::Manual(clock.clone()),
        ..Options::default()
    };
    let (_server, org, mcp) = start_with(options).await;
    let note = json!({ "content": "Tea is at four.", "visibility": "ORG" });
    mcp.call_once("add_memory", "k", note.clone()).await.structured();
    clock.advance(TimeDelta::hours(24));
    mcp.call_once("add_memory", "k", note).await.structured();
    assert_eq!(org.owner.get("/memory").await.data(200)["total"], 2);
}
