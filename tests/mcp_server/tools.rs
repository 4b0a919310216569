//! What each tool does, and that it is what the REST API does.

use super::{SERVER_ERROR, each, session, start, start_with};
use crate::fixture::Options;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_note_written_here_is_found_there_and_the_other_way_round() {
    let (_server, org, mcp) = start_with(Options::default()).await;
    let space = org.owner.space("Platform team").await;
    let written = mcp
        .tool(
            "add_memory",
            json!({
                "content": "Staging deploys happen on Tuesdays.",
                "visibility": "SPACE",
                "spaceSlug": "platform-team",
                "sourceUrl": "https://wiki.example.com/deploys",
            }),
        )
        .await;
    let note = &written["memory"];
    assert_eq!(note["spaceId"], space["id"]);
    assert_eq!(note["authorUserId"], org.owner.user_id.as_str());
    assert_eq!(note["visibility"], "SPACE");
    assert_eq!(written["truncated"], false);
    let path = format!("/memory/{}", note["id"].as_str().expect("an id"));
    let viewed = org.owner.get(&path).await.data(200);
    for field in ["content", "spaceId", "visibility", "sourceUrl", "tags", "createdAt"] {
        assert_eq!(viewed["memory"][field], note[field], "{field}");
    }

    let rest = json!({ "content": "The release captain holds the lock.", "visibility": "ORG" });
    org.owner.note(rest).await;
    // by its meaning, no word of it
    let question = "when can I ship to the test environment?";
    assert_eq!(mcp.search(question).await[0], "Staging deploys happen on Tuesdays.");
    assert_eq!(mcp.search(question).await, org.owner.search(question).await);
    let there = json!({ "query": question, "spaceSlug": "platform-team", "limit": 1 });
    let found = mcp.tool("search_memory", there).await;
    assert_eq!(each(&found["memories"], "content"), ["Staging deploys happen on Tuesdays."]);
    assert_eq!(found["degraded"], false);
    assert!(found["memories"][0]["score"].as_f64().is_some_and(|s| (0.0..=1.0).contains(&s)));
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_are_paged_by_a_cursor() {
    let (_server, org, mcp) = start().await;
    for i in 0..5 {
        org.owner.space(&format!("Space {i}")).await;
    }
    let all = mcp.tool("list_spaces", json!({})).await;
    let slugs = ["space-4", "space-3", "space-2", "space-1", "space-0"];
    assert_eq!(each(&all["spaces"], "slug"), slugs);
    assert_eq!(all["nextCursor"], Value::Null);
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    for expected in [2, 2, 1] {
        let page = mcp.tool("list_spaces", json!({ "limit": 2, "cursor": cursor })).await;
        let page_slugs = each(&page["spaces"], "slug");
        assert_eq!(page_slugs.len(), expected);
        seen.extend(page_slugs.into_iter().map(str::to_owned));
        cursor = page["nextCursor"].clone();
        // one that comes meanwhile moves nothing
        org.owner.space(&format!("Late {}", seen.len())).await;
    }
    assert_eq!(cursor, Value::Null);
    assert_eq!(seen, slugs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_comes_with_its_recent_sessions() {
    let (_server, org, mcp) = start().await;
    let space = org.owner.space("Team").await;
    for i in 0..12 {
        session(&org.owner, "team", &format!("Session {i}")).await;
    }
    let got = mcp.tool("get_space", json!({ "slug": "team" })).await;
    assert_eq!(got["space"]["id"], space["id"]);
    assert_eq!(got["space"]["role"], "OWNER");
    let titles = each(&got["recentSessions"], "title");
    assert_eq!((titles.len(), titles[0], titles[9]), (10, "Session 11", "Session 2"));
    for slug in ["other", "Team", "", "a b", &"x".repeat(200)] {
        let answer = mcp.call("get_space", json!({ "slug": slug })).await;
        answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_archived_ones_on_demand() {
    let (_server, org, mcp) = start().await;
    org.owner.space("Team").await;
    let mut ids = Vec::new();
    for i in 0..4 {
        ids.push(session(&org.owner, "team", &format!("Session {i}")).await);
    }
    let gone = org.owner.delete(&format!("/spaces/team/sessions/{}", ids[1])).await;
    assert_eq!(gone.status, 204);
    let live = mcp.tool("list_sessions", json!({ "spaceSlug": "team" })).await;
    assert_eq!(each(&live["sessions"], "id"), [&*ids[3], &*ids[2], &*ids[0]]);
    let both = json!({ "spaceSlug": "team", "includeArchived": true });
    let both = mcp.tool("list_sessions", both).await;
    let archived = both["sessions"].as_array().expect("sessions").iter();
    let archived: Vec<_> = archived.filter(|s| !s["archivedAt"].is_null()).collect();
    assert_eq!(archived.len(), 1);
    assert_eq!(archived[0]["id"], *ids[1]);
    let first = mcp.tool("list_sessions", json!({ "spaceSlug": "team", "limit": 2 })).await;
    let next = json!({ "spaceSlug": "team", "limit": 2, "cursor": first["nextCursor"] });
    let second = mcp.tool("list_sessions", next).await;
    assert_eq!(each(&second["sessions"], "id"), [&*ids[0]]);
    assert_eq!(second["nextCursor"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_is_paged_backwards() {
    let (_server, org, mcp) = start().await;
    org.owner.space("Team").await;
    let id = session(&org.owner, "team", "Upgrade").await;
    for i in 0..5 {
        let body = json!({ "body": format!("message {i}") });
        org.owner.post(&format!("/spaces/team/sessions/{id}/messages"), body).await.data(201);
    }
    let newest = json!({ "sessionId": id, "limit": 3 });
    let newest = mcp.tool("get_session_transcript", newest).await;
    assert_eq!(each(&newest["messages"], "content"), ["message 4", "message 3", "message 2"]);
    assert_eq!((&newest["total"], &newest["session"]["title"]), (&json!(5), &json!("Upgrade")));
    let older = json!({ "sessionId": id, "limit": 3, "before": newest["nextBefore"] });
    let older = mcp.tool("get_session_transcript", older).await;
    assert_eq!(each(&older["messages"], "content"), ["message 1", "message 0"]);
    assert_eq!(older["nextBefore"], Value::Null);
    // archived is still readable
    org.owner.delete(&format!("/spaces/team/sessions/{id}")).await;
    let all = mcp.tool("get_session_transcript", json!({ "sessionId": id })).await;
    assert_eq!(all["messages"].as_array().map(Vec::len), Some(5));
    for session in ["x", "cmo5w1c2t8zq4k7n3x9b6d0fh"] {
        let answer = mcp.call("get_session_transcript", json!({ "sessionId": session })).await;
        answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
    }
    let strange = json!({ "sessionId": id, "before": "cmo5w1c2t8zq4k7n3x9b6d0fh" });
    let answer = mcp.call("get_session_transcript", strange).await;
    answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_posted_in_the_name_of_whom_it_is_for() {
    let (server, org, mcp) = start().await;
    let space = org.owner.space("Team").await;
    let eve = server.member(&org, "eve", switchy_server::auth::OrgRole::Member).await;
    server.admit(space["id"].as_str().expect("an id"), &eve, "MEMBER").await;
    let id = session(&org.owner, "team", "Upgrade").await;
    let said = json!({ "sessionId": id, "content": "  @claude what would break?  " });
    let posted = mcp.acting_for(&eve).tool("post_message", said).await;
    assert_eq!(posted["message"]["content"], "@claude what would break?");
    assert_eq!(posted["message"]["authorUserId"], eve.user_id.as_str());
    assert_eq!(posted["message"]["authorType"], "USER");
    assert_eq!(posted["message"]["mentions"], json!(["claude"]));
    let path = format!("/spaces/team/sessions/{id}/messages");
    let listed = eve.get(&path).await.data(200);
    assert_eq!(listed["messages"][0]["id"], posted["message"]["id"]);
    assert_eq!(listed["messages"][0]["body"], "@claude what would break?");

    let for_owner = mcp.acting_for(&org.owner);
    let blank = json!({ "sessionId": id, "content": "   " });
    for_owner.call("post_message", blank).await.refuses(400, -32_602, "VALIDATION_ERROR");
    let nowhere = json!({ "sessionId": "cmo5w1c2t8zq4k7n3x9b6d0fh", "content": "x" });
    for_owner.call("post_message", nowhere).await.refuses(404, SERVER_ERROR, "NOT_FOUND");
    org.owner.delete(&format!("/spaces/team/sessions/{id}")).await;
    let late = json!({ "sessionId": id, "content": "too late" });
    for_owner.call("post_message", late).await.refuses(409, SERVER_ERROR, "CONFLICT");
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_and_spaces_are_resources_too() {
    let (_server, org, mcp) = start().await;
    org.owner.space("Team").await;
    session(&org.owner, "team", "Upgrade").await;
    let note = org
        .owner
        .note(json!({ "content": "Tea is at four.\nIn the kitchen.",
        "visibility": "ORG", "tags": ["tea"] }))
        .await;
    let listed = mcp.result("resources/list", json!({})).await;
    let uri = format!("switchy://memory/{}", note["id"].as_str().expect("an id"));
    assert_eq!(each(&listed["resources"], "uri"), ["switchy://spaces/team", &*uri]);
    assert_eq!(each(&listed["resources"], "title"), ["Team", "Tea is at four.…"]);
    let templates = mcp.result("resources/templates/list", json!({})).await;
    assert_eq!(
        each(&templates["resourceTemplates"], "uriTemplate"),
        ["switchy://memory/{id}", "switchy://spaces/{slug}"]
    );
    let read = mcp.result("resources/read", json!({ "uri": uri })).await;
    let contents = &read["contents"][0];
    assert_eq!(contents["text"], "Tea is at four.\nIn the kitchen.");
    assert_eq!((&contents["uri"], &contents["mimeType"]), (&json!(uri), &json!("text/plain")));
    assert_eq!(contents["_meta"]["tags"], json!(["tea"]));
    let read = mcp.result("resources/read", json!({ "uri": "switchy://spaces/team" })).await;
    let text = read["contents"][0]["text"].as_str().expect("a text");
    let space: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(
        (&space["space"]["name"], each(&space["recentSessions"], "title")),
        (&json!("Team"), vec!["Upgrade"])
    );
    for uri in [
        "switchy://memory/cmo5w1c2t8zq4k7n3x9b6d0fh",
        "switchy://memory/x",
        "switchy://spaces/none",
        "switchy://spaces/../team",
        "switchy://sessions/x",
        "file:///etc/passwd",
        "",
    ] {
        let answer = mcp.rpc("resources/read", json!({ "uri": uri })).await;
        answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_paged_to_the_last_note() {
    let (_server, org, mcp) = start().await;
    org.owner.space("Team").await;
    let notes: Vec<_> =
        (0..60).map(|i| json!({ "content": format!("note {i}"), "visibility": "ORG" })).collect();
    org.owner.post("/memory/batch", json!({ "memories": notes })).await.data(201);
    let first = mcp.result("resources/list", json!({})).await;
    assert_eq!(first["resources"].as_array().map(Vec::len), Some(51));
    let cursor = first["nextCursor"].clone();
    let second = mcp.result("resources/list", json!({ "cursor": cursor })).await;
    assert_eq!(second["resources"].as_array().map(Vec::len), Some(10));
    assert!(second.get("nextCursor").is_none(), "{second}");
    let answer = mcp.rpc("resources/list", json!({ "cursor": "x" })).await;
    answer.refuses(400, -32_602, "VALIDATION_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prompt_brings_the_notes_that_fit() {
    let (_server, org, mcp) = start().await;
    let note = org.owner.note(json!({ "content": "Tea is at four.", "visibility": "ORG" })).await;
    org.owner.note(json!({ "content": "Coffee is at ten.", "visibility": "ORG" })).await;
    let listed = mcp.result("prompts/list", json!({})).await;
    assert_eq!(each(&listed["prompts"], "name"), ["recall"]);
    assert_eq!(listed["prompts"][0]["arguments"][0]["required"], true);
    let asked = json!({ "name": "recall", "arguments": { "query": "when is tea?" } });
    let prompt = mcp.result("prompts/get", asked).await;
    let messages = prompt["messages"].as_array().expect("messages");
    assert_eq!(messages.len(), 2);
    let text = messages[0]["content"]["text"].as_str().expect("a text");
    assert!(text.starts_with("when is tea?"), "{text}");
    let resource = &messages[1]["content"]["resource"];
    assert_eq!(resource["text"], "Tea is at four.");
    let uri = format!("switchy://memory/{}", note["id"].as_str().expect("an id"));
    assert_eq!(resource["uri"], uri);
    let nothing = json!({ "name": "recall", "arguments": { "query": "wombats" } });
    let prompt = mcp.result("prompts/get", nothing).await;
    assert_eq!(prompt["messages"].as_array().map(Vec::len), Some(1));
    let empty = json!({ "name": "recall", "arguments": {} });
    mcp.rpc("prompts/get", empty).await.refuses(400, -32_602, "VALIDATION_ERROR");
}
