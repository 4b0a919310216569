//! Every tool has a quota of its own, and the REST API keeps its limits (contract A6, B9).

use super::{SERVER_ERROR, session, start_with};
use crate::fixture::mcp::Mcp;
use crate::fixture::{Options, embedders};
use chrono::{DateTime, TimeDelta};
use futures::future::join_all;
use serde_json::{Value, json};
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::limits::Limits;
use switchy_server::mcp::server::Quotas;

fn clock() -> ManualClock {
    ManualClock::starting_at(DateTime::from_timestamp(1_767_225_600, 0).expect("a moment"))
}

fn options(clock: &ManualClock, quotas: Quotas) -> Options {
    Options {
        embedder: embedders::none(),
        clock: Clock::Manual(clock.clone()),
        mcp_quotas: quotas,
        limits: Limits { reads: 2, writes: 10, failures: 3 },
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_call_is_counted_by_itself() {
    let clock = clock();
    let quotas =
        Quotas { search: 3, list: 2, transcript: 4, add_memory: 1, post_message: 2, other: 5 };
    let (_server, org, mcp) = start_with(options(&clock, quotas)).await;
    org.owner.space("Team").await;
    let session = session(&org.owner, "team", "Upgrade").await;
    let mcp = mcp.acting_for(&org.owner);
    let tool = |name: &str, arguments: Value| {
        ("tools/call", json!({ "name": name, "arguments": arguments }))
    };
    for (calls, cap) in [
        (
            vec![
                tool("search_memory", json!({ "query": "x" })),
                // the same search by another name
                ("prompts/get", json!({ "name": "recall", "arguments": { "query": "x" } })),
            ],
            3,
        ),
        (vec![tool("add_memory", json!({ "content": "x", "visibility": "ORG" }))], 1),
        (vec![tool("list_spaces", json!({}))], 2),
        (vec![tool("get_space", json!({ "slug": "team" }))], 2),
        (vec![tool("list_sessions", json!({ "spaceSlug": "team" }))], 2),
        (vec![tool("get_session_transcript", json!({ "sessionId": session }))], 4),
        (vec![tool("post_message", json!({ "sessionId": session, "content": "x" }))], 2),
        (
            vec![
                ("resources/list", json!({})),
                ("resources/read", json!({ "uri": "switchy://spaces/team" })),
            ],
            2,
        ),
        (
            vec![
                ("tools/list", json!({})),
                ("ping", json!({})),
                ("prompts/list", json!({})),
                // what cannot be served is counted, too
                ("no/such/method", json!({})),
                tool("no_such_tool", json!({})),
            ],
            5,
        ),
    ] {
        for i in 0..cap {
            let (method, params) = &calls[i % calls.len()];
            let answer = mcp.rpc(method, params.clone()).await;
            assert_ne!(answer.status, 429, "{method} {params}: {}", answer.text);
            assert_eq!(answer.header("ratelimit-limit"), Some(&*cap.to_string()), "{method}");
            assert_eq!(answer.header("ratelimit-remaining"), Some(&*(cap - i - 1).to_string()));
        }
        for (method, params) in &calls {
            let answer = mcp.rpc(method, params.clone()).await;
            let error = answer.refuses(429, SERVER_ERROR, "RATE_LIMIT");
            assert_eq!(error["data"]["cap"], cap, "{method}");
            assert_eq!(error["data"]["kind"], "minute");
            assert_eq!(error["data"]["retryAfterMs"], 60_000);
            assert_eq!(answer.header("retry-after"), Some("60"));
            assert_eq!(answer.body["id"], 1);
        }
    }
    clock.advance(TimeDelta::seconds(60));
    mcp.tool("search_memory", json!({ "query": "x" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_requests_do_not_touch_each_others_limits() {
    let clock = clock();
    let quotas = Quotas { list: 2, ..Quotas::default() };
    let (server, org, _) = start_with(options(&clock, quotas)).await;
    let both = server.key_for(&org.owner, &["*", "mcp:spaces:read"]).await;
    let mcp = Mcp::of(&both);
    for _ in 0..2 {
        mcp.tool("list_spaces", json!({})).await;
    }
    mcp.call("list_spaces", json!({})).await.refuses(429, SERVER_ERROR, "RATE_LIMIT");
    for _ in 0..2 {
        both.get("/projects").await.data(200);
    }
    both.get("/projects").await.fails(429, "RATE_LIMIT");
    mcp.rpc("ping", json!({})).await.result();
    // another key of the same user has places of its own
    let another = Mcp::of(&server.key_for(&org.owner, &["mcp:spaces:read"]).await);
    another.tool("list_spaces", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_one_database_count_together() {
    let clock = clock();
    let quotas = Quotas { list: 5, ..Quotas::default() };
    let (server, _org, mcp) = start_with(options(&clock, quotas)).await;
    let second = server.beside(options(&clock, quotas)).await;
    let there = mcp.at(&second.url);
    let calls = (0..16).map(|i| {
        let mcp = if i % 2 == 0 { mcp.clone() } else { there.clone() };
        async move { mcp.call("list_spaces", json!({})).await.status.as_u16() }
    });
    let mut statuses = join_all(calls).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200; 5], vec![429; 11]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_costs_what_its_messages_cost() {
    let clock = clock();
    let quotas = Quotas { list: 2, ..Quotas::default() };
    let (_server, _org, mcp) = start_with(options(&clock, quotas)).await;
    let call = |id: u32| {
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": "list_spaces", "arguments": {} } })
    };
    let answer = mcp.send(&json!([call(1), call(2), call(3)])).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body[1]["result"].is_object());
    assert_eq!(answer.body[2]["error"]["data"]["code"], "RATE_LIMIT");
    mcp.call("list_spaces", json!({})).await.refuses(429, SERVER_ERROR, "RATE_LIMIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_key_is_limited_as_everywhere() {
    let clock = clock();
    let (server, _org, mcp) = start_with(options(&clock, Quotas::default())).await;
    let nobody = Mcp::of(&server.nobody());
    for _ in 0..3 {
        nobody.rpc("ping", json!({})).await.refuses(401, SERVER_ERROR, "AUTH_ERROR");
    }
    let answer = nobody.rpc("ping", json!({})).await;
    let error = answer.refuses(429, SERVER_ERROR, "RATE_LIMIT");
    assert_eq!(error["data"]["cap"], 3);
    mcp.rpc("ping", json!({})).await.result();
}
