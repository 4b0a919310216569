//! Results end at 50 KB, and say so.

use super::{session, start};
use crate::fixture::mcp::Mcp;
use serde_json::{Value, json};

const LIMIT: usize = 50 * 1024;

/// A tool's result: structured, the same as text, neither larger than allowed.
async fn limited(mcp: &Mcp, tool: &str, arguments: Value) -> Value {
    let answer = mcp.call(tool, arguments).await;
    let text = answer.body["result"]["content"][0]["text"].as_str().expect("a text").to_owned();
    assert!(text.len() <= LIMIT, "{tool}: {} bytes", text.len());
    let structured = answer.structured();
    assert!(structured.to_string().len() <= LIMIT, "{tool}");
    structured
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_leaves_the_worst_matches_out_and_says_how_many() {
    let (_server, org, mcp) = start().await;
    let filler = "zebra ".repeat(1_600);
    let notes: Vec<_> = (0..20)
        .map(|i| json!({ "content": format!("note {i}: {filler}"), "visibility": "ORG" }))
        .collect();
    org.owner.post("/memory/batch", json!({ "memories": notes })).await.data(201);
    let all = limited(&mcp, "search_memory", json!({ "query": "zebra", "limit": 20 })).await;
    let shown = all["memories"].as_array().expect("memories").len();
    assert_eq!(shown, 5, "as many as fit");
    assert_eq!(all["truncated"], true);
    let notice = all["notice"].as_str().expect("a notice");
    assert!(notice.starts_with("15 left out: results are limited to 50 KB"), "{notice}");
    let few = limited(&mcp, "search_memory", json!({ "query": "zebra", "limit": 4 })).await;
    assert_eq!((&few["truncated"], &few["notice"]), (&json!(false), &Value::Null));
    // the prompt is a result, too
    let recall = json!({ "name": "recall", "arguments": { "query": "zebra" } });
    let prompt = mcp.result("prompts/get", recall).await;
    assert_eq!(prompt["messages"].as_array().map(Vec::len), Some(1 + 5));
    let said = prompt["messages"][0]["content"]["text"].as_str().expect("a text");
    assert!(said.contains("5 left out"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_note_that_is_too_long_is_cut() {
    let (_server, _org, mcp) = start().await;
    // six bytes of JSON for each of these
    let content = format!("bells {}", "\u{7}".repeat(9_000));
    let written = json!({ "content": content, "visibility": "ORG" });
    let written = limited(&mcp, "add_memory", written).await;
    assert_eq!(written["truncated"], true);
    let shown = written["memory"]["content"].as_str().expect("content");
    assert!(shown.ends_with('…') && content.starts_with(shown.trim_end_matches('…')));
    assert!(shown.len() > 8_000, "not more than needed: {}", shown.len());
    let found = limited(&mcp, "search_memory", json!({ "query": "bells" })).await;
    assert_eq!(found["notice"], "the text is cut: results are limited to 50 KB");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_leaves_out_comes_on_the_next() {
    let (_server, org, mcp) = start().await;
    org.owner.space("Team").await;
    let id = session(&org.owner, "team", "Long").await;
    for i in 0..12 {
        let body = format!("{i} {}", "ä".repeat(4_000));
        let path = format!("/spaces/team/sessions/{id}/messages");
        org.owner.post(&path, json!({ "body": body })).await.data(201);
    }
    let (mut seen, mut pages, mut before) = (Vec::new(), 0, Value::Null);
    loop {
        let page = json!({ "sessionId": id, "limit": 100, "before": before });
        let page = limited(&mcp, "get_session_transcript", page).await;
        pages += 1;
        for message in page["messages"].as_array().expect("messages") {
            let number = message["content"].as_str().and_then(|c| c.split(' ').next());
            seen.push(number.expect("a number").to_owned());
        }
        before = page["nextBefore"].clone();
        assert_eq!(page["truncated"], !before.is_null());
        if before.is_null() {
            break;
        }
    }
    assert_eq!((pages, seen), (2, (0..12).rev().map(|i| i.to_string()).collect()));

    for i in 0..30 {
        let space = json!({ "name": format!("Space {i}"), "description": "ä".repeat(1_000) });
        org.owner.post("/projects", space).await.data(201);
    }
    let first = limited(&mcp, "list_spaces", json!({ "limit": 100 })).await;
    let shown = first["spaces"].as_array().expect("spaces").len();
    assert!(shown < 31 && first["truncated"] == true);
    let rest = json!({ "limit": 100, "cursor": first["nextCursor"] });
    let rest = limited(&mcp, "list_spaces", rest).await;
    assert_eq!(shown + rest["spaces"].as_array().expect("spaces").len(), 31);
}
