//! The official SDK's client, in both of its manners: with the handshake, and with the newest
//! version. It validates every result against the tool's schema.

use super::{each, session, start};
use crate::fixture::python::run;
use serde_json::{Value, json};

/// Lists everything and calls every tool, as `python3 mcp_client.py` does it.
fn through_the_sdk(url: &str, mode: &str, wanted: &Value) -> Value {
    let said = run("mcp_client", &[url, mode], &wanted.to_string());
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_lists_and_calls_every_tool() {
    let (server, org, mcp) = start().await;
    org.owner.space("Team").await;
    let session = session(&org.owner, "team", "Upgrade").await;
    let scopes = [&crate::fixture::mcp::MCP_SCOPES[..], &["act_on_behalf"]].concat();
    let key = server.key_for(&org.owner, &scopes).await.key.expect("a key");
    for (mode, version) in
        [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")]
    {
        let note = format!("Tea is at four ({mode}).");
        let wanted = json!({
            "headers": {
                "Authorization": format!("Bearer {key}"),
                "X-Switchy-Actor-User-Id": org.owner.user_id,
            },
            "calls": [
                ["add_memory", { "content": note, "visibility": "PRIVATE" }, { "idempotencyKey": mode }],
                ["add_memory", { "content": note, "visibility": "PRIVATE" }, { "idempotencyKey": mode }],
                ["search_memory", { "query": format!("tea {mode}"), "limit": 1 }, null],
                ["list_spaces", {}, null],
                ["get_space", { "slug": "team" }, null],
                ["list_sessions", { "spaceSlug": "team" }, null],
                ["post_message", { "sessionId": session, "content": mode }, null],
                ["get_session_transcript", { "sessionId": session, "limit": 1 }, null],
                ["get_space", { "slug": "none" }, null],
                ["search_memory", { "query": "" }, null],
            ],
            "resources": ["switchy://spaces/team", "switchy://spaces/none"],
            "prompts": [["recall", { "query": "tea" }]],
        });
        let url = mcp.url();
        let said = tokio::task::spawn_blocking(move || through_the_sdk(&url, mode, &wanted));
        let said = said.await.expect("it ran");
        assert_eq!(said["version"], version, "{mode}");
        assert_eq!(said["tools"].as_array().map(Vec::len), Some(7), "{mode}");
        assert_eq!(each(&said["prompts"], "name"), ["recall"]);
        assert_eq!(said["templates"].as_array().map(Vec::len), Some(2));
        let calls = said["calls"].as_array().expect("calls");
        let structured = |i: usize| &calls[i]["structuredContent"];
        for (i, call) in calls[..8].iter().enumerate() {
            assert!(call["structuredContent"].is_object(), "{mode}: {i}: {call}");
        }
        assert_eq!(structured(0)["memory"]["content"], *note);
        assert_eq!(structured(1)["memory"]["id"], structured(0)["memory"]["id"], "repeated");
        assert_eq!(structured(2)["memories"][0]["content"], *note, "{mode}");
        assert_eq!(each(&structured(3)["spaces"], "slug"), ["team"]);
        assert_eq!(structured(4)["space"]["role"], "OWNER");
        assert_eq!(each(&structured(5)["sessions"], "title"), ["Upgrade"]);
        assert_eq!(structured(6)["message"]["content"], mode);
        assert_eq!(each(&structured(7)["messages"], "content"), [mode]);
        assert_eq!(calls[8]["error"]["message"], "no such Space", "{mode}");
        assert_eq!(calls[8]["error"]["data"]["code"], "NOT_FOUND", "{mode}");
        assert_eq!(calls[9]["error"]["code"], -32_602, "{mode}");
        assert!(said["read"][0]["contents"][0]["text"].is_string(), "{mode}");
        assert!(said["read"][1]["error"].is_object(), "{mode}");
        assert!(said["prompted"][0]["messages"].as_array().is_some_and(|m| m.len() > 1), "{mode}");
    }
}
