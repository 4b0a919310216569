//! Versions, lifecycle, headers: what a client can rely on before it has called anything.

use super::{INVALID_REQUEST, each, start};
use crate::fixture::mcp::Mcp;
use crate::fixture::{Answer, Caller};
use http::Method;
use serde_json::{Value, json};

const TOOLS: [&str; 7] = [
    "search_memory",
    "add_memory",
    "list_spaces",
    "get_space",
    "list_sessions",
    "get_session_transcript",
    "post_message",
];

fn initialize(version: &str) -> Value {
    json!({
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_without_a_handshake() {
    let (server, org, _) = start().await;
    // any valid key will do, whatever it may be used for
    let mcp = Mcp::of(&server.key_for(&org.owner, &[]).await);
    let listed = mcp.result("tools/list", json!({})).await;
    assert_eq!(each(&listed["tools"], "name"), TOOLS);
    for tool in listed["tools"].as_array().expect("tools") {
        let name = tool["name"].as_str().expect("a name");
        let writes = ["add_memory", "post_message"].contains(&name);
        assert!(tool["description"].as_str().is_some_and(|d| d.len() > 40), "{name}");
        assert_eq!(tool["annotations"]["readOnlyHint"], !writes, "{name}");
        assert_eq!(tool["annotations"]["destructiveHint"], false, "{name}");
        assert_eq!(tool["annotations"]["idempotentHint"], !writes, "{name}");
        assert_eq!(tool["annotations"]["openWorldHint"], false, "{name}");
        for schema in ["inputSchema", "outputSchema"] {
            let schema = &tool[schema];
            assert_eq!(schema["type"], "object", "{name}");
            let text = schema.to_string();
            for foreign in ["$ref", "definitions", "nullable", "uint", "$schema"] {
                assert!(!text.contains(foreign), "{name}: {foreign}: {text}");
            }
            for (property, described) in schema["properties"].as_object().expect("properties") {
                let text = &described["description"];
                assert!(text.as_str().is_some_and(|d| !d.is_empty()), "{name}: {property}");
            }
        }
    }
    let add = &listed["tools"][1]["inputSchema"];
    assert_eq!(add["required"], json!(["content", "visibility"]));
    assert_eq!(add["properties"]["content"]["maxLength"], 10_000);
    let search = &listed["tools"][0]["inputSchema"];
    assert_eq!(search["required"], json!(["query"]));
    assert_eq!(search["properties"]["limit"]["maximum"].as_f64(), Some(100.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshake_settles_on_a_version_that_both_know() {
    let (_server, _org, mcp) = start().await;
    for (asked, settled) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        // has no handshake any more
        ("2026-07-28", "2025-11-25"),
        ("2031-01-01", "2025-11-25"),
    ] {
        let result = mcp.result("initialize", initialize(asked)).await;
        assert_eq!(result["protocolVersion"], settled, "{asked}");
        assert_eq!(result["serverInfo"]["name"], "switchy");
        assert!(result["instructions"].as_str().is_some_and(|i| i.contains("search_memory")));
        for capability in ["tools", "resources", "prompts"] {
            assert!(result["capabilities"][capability].is_object(), "{capability}");
        }
    }
    let told = mcp.with("MCP-Protocol-Version", "2025-06-18");
    assert_eq!(told.rpc("ping", json!({})).await.result(), json!({}));
    let unknown = mcp.with("MCP-Protocol-Version", "1999-01-01").rpc("ping", json!({})).await;
    unknown.refuses(400, INVALID_REQUEST, "VALIDATION_ERROR");
    assert_eq!(unknown.body["id"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_brings_its_metadata_with_every_request() {
    let (_server, org, mcp) = start().await;
    org.owner.note(json!({ "content": "Deploys are on Tuesdays.", "visibility": "ORG" })).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let new = mcp.with("MCP-Protocol-Version", "2026-07-28");
    let listing = new.with("Mcp-Method", "tools/list");
    let listed = listing.result("tools/list", json!({ "_meta": meta })).await;
    assert_eq!(each(&listed["tools"], "name"), TOOLS);
    assert_eq!(listed["cacheScope"], "private");

    let discovering = new.with("Mcp-Method", "server/discover");
    let discovered = discovering.result("server/discover", json!({ "_meta": meta })).await;
    let versions = discovered["supportedVersions"].as_array().expect("versions");
    assert!(versions.contains(&json!("2026-07-28")), "{discovered}");

    let params = json!({
        "name": "search_memory", "arguments": { "query": "deploys" }, "_meta": meta,
    });
    let calling = new.with("Mcp-Method", "tools/call").with("Mcp-Name", "search_memory");
    let found = calling.rpc("tools/call", params.clone()).await.structured();
    assert_eq!(each(&found["memories"], "content"), ["Deploys are on Tuesdays."]);

    // what the headers say must be what the body says
    for wrong in [
        new.clone(),
        new.with("Mcp-Method", "tools/list").with("Mcp-Name", "search_memory"),
        new.with("Mcp-Method", "tools/call").with("Mcp-Name", "add_memory"),
    ] {
        let answer = wrong.rpc("tools/call", params.clone()).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.body["error"]["code"], -32_020, "{}", answer.text);
    }
    // `ping` went with the handshake
    let answer = new.with("Mcp-Method", "ping").rpc("ping", json!({ "_meta": meta })).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (404, &json!(-32_601)));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_posts_are_answered() {
    let (_server, org, mcp) = start().await;
    let elsewhere = Caller { url: mcp.url().replace("/mcp/rpc", ""), ..org.owner.clone() };
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let answer = Answer::of(elsewhere.request(method.clone(), "/mcp/rpc")).await;
        answer.refuses(405, -32_000, "NOT_FOUND");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
        assert_eq!(answer.body["id"], Value::Null);
    }
    // what is beside it speaks the other dialect
    Answer::of(elsewhere.request(Method::GET, "/mcp/other")).await.fails(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_taken_without_a_word() {
    let (_server, _org, mcp) = start().await;
    for method in ["notifications/initialized", "notifications/cancelled", "notifications/x"] {
        let answer = mcp.send(&json!({ "jsonrpc": "2.0", "method": method })).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (202, ""), "{method}");
    }
    // an answer to nothing that was asked
    let answer = mcp.send(&json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).await;
    answer.refuses(400, INVALID_REQUEST, "VALIDATION_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_client_accepts_it_gets_json() {
    let (_server, _org, mcp) = start().await;
    let ping = json!({ "jsonrpc": "2.0", "id": "a", "method": "ping" });
    for accept in ["application/json, text/event-stream", "*/*", "application/json", "text/html"] {
        let answer = mcp.with("Accept", accept).send(&ping).await;
        assert_eq!(answer.status, 200, "{accept}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.body, json!({ "jsonrpc": "2.0", "id": "a", "result": {} }));
    }
    // and no session to take care of
    let answer = mcp.with("Mcp-Session-Id", "of another server").send(&ping).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("mcp-session-id"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_come_in_one_version_only() {
    let (_server, _org, mcp) = start().await;
    let request = |id: u32, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method });
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let batch =
        json!([request(1, "ping"), note, request(2, "nothing"), 7, request(3, "tools/list")]);
    for mcp in [mcp.clone(), mcp.with("MCP-Protocol-Version", "2025-03-26")] {
        let answer = mcp.send(&batch).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answers = answer.body.as_array().expect("answers");
        assert_eq!(answers.len(), 4, "{}", answer.text);
        assert_eq!(answers[0], json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
        assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(2), &json!(-32_601)));
        assert_eq!(
            (&answers[2]["id"], &answers[2]["error"]["code"]),
            (&json!(null), &json!(-32_600))
        );
        assert_eq!(each(&answers[3]["result"]["tools"], "name"), TOOLS);
        let silent = mcp.send(&json!([note, note])).await;
        assert_eq!((silent.status.as_u16(), silent.text.as_str()), (202, ""));
    }
    for version in ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let answer = mcp.with("MCP-Protocol-Version", version).send(&batch).await;
        answer.refuses(400, INVALID_REQUEST, "VALIDATION_ERROR");
    }
    let many: Vec<_> = (0..21).map(|id| request(id, "ping")).collect();
    let greeting = json!([{ "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": initialize("2025-03-26") }, request(2, "ping")]);
    for refused in [json!([]), json!(many), greeting] {
        mcp.send(&refused).await.refuses(400, INVALID_REQUEST, "VALIDATION_ERROR");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_tells_what_the_server_tells() {
    let (server, _org, mcp) = start().await;
    let answer = server.nobody().get("/mcp/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["openapi"], "3.1.0");
    let schemas = &answer.body["components"]["schemas"];
    let listed = mcp.result("tools/list", json!({})).await;
    for tool in listed["tools"].as_array().expect("tools") {
        let name: String = tool["name"]
            .as_str()
            .expect("a name")
            .split('_')
            .map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]))
            .collect();
        for (schema, told) in [("Arguments", "inputSchema"), ("Result", "outputSchema")] {
            let documented = &schemas[format!("{name}{schema}")]["properties"];
            assert_eq!(documented, &tool[told]["properties"], "{name}");
        }
    }
}
