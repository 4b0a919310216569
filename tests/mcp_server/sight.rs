//! Who sees what over MCP: what the member sees for whom the call is made, and PRIVATE notes only
//! when the call says who that is.

use super::{SERVER_ERROR, each, session, start, start_with};
use crate::fixture::cluster::connect_to;
use crate::fixture::mcp::{MCP_SCOPES, Mcp};
use crate::fixture::{Caller, Options, Server};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_ask_the_same_question() {
    let (server, org, _) = start_with(Options::default()).await;
    let (ada, eve) = (
        server.member(&org, "ada", OrgRole::Member).await,
        server.member(&org, "eve", OrgRole::Member).await,
    );
    for (who, space, note) in [
        (&ada, "Platform", "Platform deploys to staging on Tuesdays."),
        (&eve, "Design", "Design publishes the style guide on Fridays."),
    ] {
        who.space(space).await;
        let slug = space.to_lowercase();
        let mcp = Mcp::of(&server.key_for(who, &MCP_SCOPES).await);
        let note = json!({ "content": note, "visibility": "SPACE", "spaceSlug": slug });
        mcp.tool("add_memory", note).await;
    }
    org.owner.note(json!({ "content": "Nothing ships on Mondays.", "visibility": "ORG" })).await;
    for who in [&ada, &eve] {
        let private = format!("{} ships on Sundays, quietly.", who.email);
        who.note(json!({ "content": private, "visibility": "PRIVATE" })).await;
    }
    let question = "when do we ship and publish things?";
    let ordered = |mut found: Vec<String>| {
        found.sort();
        found
    };
    let (theirs, hers) = (
        "Platform deploys to staging on Tuesdays.",
        "Design publishes the style guide on Fridays.",
    );
    for (who, own) in [(&ada, theirs), (&eve, hers)] {
        let mcp = Mcp::of(&server.key_for(who, &MCP_SCOPES).await);
        let found = ordered(mcp.search(question).await);
        let mut expected = vec![own.to_owned(), "Nothing ships on Mondays.".to_owned()];
        expected.sort();
        assert_eq!(found, expected, "{}", who.email);
        let spaces = mcp.tool("list_spaces", json!({})).await;
        assert_eq!(spaces["spaces"].as_array().map(Vec::len), Some(1), "{}", who.email);
        // for himself: his own private one, too
        let named = Mcp::all(&server, who).await.acting_for(who);
        let private = format!("{} ships on Sundays, quietly.", who.email);
        expected.push(private);
        expected.sort();
        assert_eq!(ordered(named.search(question).await), expected, "{}", who.email);
        // the same as over REST
        assert_eq!(ordered(who.search(question).await), expected, "{}", who.email);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tool_takes_its_scope_and_the_star_has_none_of_them() {
    let (server, org, _) = start().await;
    org.owner.space("Team").await;
    let session = session(&org.owner, "team", "Upgrade").await;
    let note = org.owner.note(json!({ "content": "Tea is at four.", "visibility": "ORG" })).await;
    let uri = format!("switchy://memory/{}", id(&note));
    let calls = [
        ("mcp:memory:read", "search_memory", json!({ "query": "tea" })),
        ("mcp:memory:write", "add_memory", json!({ "content": "x", "visibility": "ORG" })),
        ("mcp:spaces:read", "list_spaces", json!({})),
        ("mcp:spaces:read", "get_space", json!({ "slug": "team" })),
        ("mcp:sessions:read", "list_sessions", json!({ "spaceSlug": "team" })),
        ("mcp:sessions:read", "get_session_transcript", json!({ "sessionId": session })),
        ("mcp:messages:write", "post_message", json!({ "sessionId": session, "content": "x" })),
    ];
    let others = [
        ("mcp:memory:read", "resources/read", json!({ "uri": uri })),
        ("mcp:spaces:read", "resources/read", json!({ "uri": "switchy://spaces/team" })),
        (
            "mcp:memory:read",
            "prompts/get",
            json!({ "name": "recall", "arguments": { "query": "tea" } }),
        ),
    ];
    let mut seen = std::collections::BTreeMap::new();
    for granted in MCP_SCOPES.iter().copied().chain(["*", "memory:read", "spaces:read"]) {
        let key = server.key_for(&org.owner, &[granted, "act_on_behalf"]).await;
        let mcp = Mcp::of(&key).acting_for(&org.owner);
        let mut allowed = Vec::new();
        for (scope, tool, arguments) in &calls {
            let answer = mcp.call(tool, arguments.clone()).await;
            if *scope == granted {
                answer.structured();
                allowed.push(*tool);
            } else {
                let error = answer.refuses(403, SERVER_ERROR, "SCOPE_MISSING");
                assert_eq!(error["data"]["scope"], *scope);
            }
        }
        for (scope, method, params) in &others {
            let answer = mcp.rpc(method, params.clone()).await;
            if *scope == granted {
                answer.result();
            } else {
                answer.refuses(403, SERVER_ERROR, "SCOPE_MISSING");
            }
        }
        let listed = mcp.result("resources/list", json!({})).await;
        let uris = each(&listed["resources"], "uri");
        assert_eq!(uris.iter().any(|u| u.contains("spaces")), granted == "mcp:spaces:read");
        assert_eq!(uris.iter().any(|u| u.contains("memory")), granted == "mcp:memory:read");
        seen.insert(granted, allowed);
    }
    assert_eq!(seen["*"], Vec::<&str>::new());
    assert_eq!(seen["mcp:memory:read"], ["search_memory"]);
    assert_eq!(seen["mcp:memory:write"], ["add_memory"]);
    assert_eq!(seen["mcp:spaces:read"], ["list_spaces", "get_space"]);
    assert_eq!(seen["mcp:sessions:read"], ["list_sessions", "get_session_transcript"]);
    assert_eq!(seen["mcp:messages:write"], ["post_message"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_decide_as_they_do_over_rest() {
    let (server, org, owners) = start().await;
    let space = org.owner.space("Team").await;
    let session = session(&org.owner, "team", "Upgrade").await;
    let note = json!({ "content": "Tea is at four.", "visibility": "SPACE", "spaceSlug": "team" });
    owners.tool("add_memory", note.clone()).await;
    let said = json!({ "sessionId": session, "content": "x" });
    for (name, role, sees, writes) in [
        ("olga", Some("OWNER"), true, true),
        ("ed", Some("EDITOR"), true, true),
        ("mia", Some("MEMBER"), true, true),
        ("vera", Some("VIEWER"), true, false),
        ("stranger", None, false, false),
    ] {
        let who = server.member(&org, name, OrgRole::Admin).await;
        if let Some(role) = role {
            server.admit(id(&space), &who, role).await;
        }
        let mcp = Mcp::all(&server, &who).await.acting_for(&who);
        let found = !mcp.search("tea").await.is_empty();
        assert_eq!(found, sees, "{name}");
        for (tool, arguments, allowed) in [
            ("search_memory", json!({ "query": "tea", "spaceSlug": "team" }), sees),
            ("get_space", json!({ "slug": "team" }), sees),
            ("list_sessions", json!({ "spaceSlug": "team" }), sees),
            ("get_session_transcript", json!({ "sessionId": session }), sees),
            ("add_memory", note.clone(), writes),
            ("post_message", said.clone(), writes),
        ] {
            let answer = mcp.call(tool, arguments).await;
            if allowed {
                answer.structured();
            } else if sees {
                // the role is too low for a thing that he can see
                answer.refuses(404, SERVER_ERROR, "FORBIDDEN");
            } else {
                // byte for byte what is said of one that does not exist
                let error = answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
                let thing = if tool.contains("transcript") || tool == "post_message" {
                    "no such session"
                } else {
                    "no such Space"
                };
                assert_eq!(error["message"], thing, "{name}: {tool}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_notes_are_closed_to_a_call_that_names_nobody() {
    let (_server, org, mcp) = start().await;
    let note = json!({ "content": "My secret is a wombat.", "visibility": "PRIVATE" });
    mcp.call("add_memory", note.clone()).await.refuses(403, SERVER_ERROR, "ACTOR_REQUIRED");
    // a blank is what a client sends whose variable is not set
    let blank = mcp.with("X-Switchy-Actor-User-Id", " ");
    blank.call("add_memory", note.clone()).await.refuses(403, SERVER_ERROR, "ACTOR_REQUIRED");
    let named = mcp.acting_for(&org.owner);
    let written = named.tool("add_memory", note).await;
    let uri = json!({ "uri": format!("switchy://memory/{}", id(&written["memory"])) });
    for closed in [&mcp, &blank] {
        assert!(closed.search("wombat").await.is_empty());
        closed.rpc("resources/read", uri.clone()).await.refuses(404, SERVER_ERROR, "NOT_FOUND");
        let listed = closed.result("resources/list", json!({})).await;
        assert_eq!(listed["resources"], json!([]));
        let recall = json!({ "name": "recall", "arguments": { "query": "wombat" } });
        let prompt = closed.result("prompts/get", recall).await;
        assert!(!prompt.to_string().contains("secret"));
        let posting = json!({ "sessionId": "x", "content": "x" });
        closed.call("post_message", posting).await.refuses(403, SERVER_ERROR, "ACTOR_REQUIRED");
    }
    assert_eq!(named.search("wombat").await, ["My secret is a wombat."]);
    assert_eq!(org.owner.search("wombat").await, ["My secret is a wombat."]);
    named.rpc("resources/read", uri).await.result();
}

/// A note that everybody may see is found behind any number of private ones: those are not looked
/// at, instead of being thrown away afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn private_notes_do_not_crowd_out_others() {
    for options in [
        Options::default(),
        Options { embedder: crate::fixture::embedders::none(), ..Options::default() },
    ] {
        let (_server, org, mcp) = start_with(options).await;
        let shared = "Wombats are mentioned once, in passing, among other marsupials and birds.";
        org.owner.note(json!({ "content": shared, "visibility": "ORG" })).await;
        for batch in 0..2 {
            let notes: Vec<_> = (0..75)
                .map(|i| {
                    json!({
                        "content": format!("wombat wombat {}", batch * 75 + i),
                        "visibility": "PRIVATE",
                    })
                })
                .collect();
            org.owner.post("/memory/batch", json!({ "memories": notes })).await.data(201);
        }
        assert_eq!(mcp.search("wombat").await, [shared]);
        assert_eq!(mcp.acting_for(&org.owner).search("wombat").await.len(), 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acting_for_somebody_takes_a_scope_a_role_and_a_member() {
    let (server, org, mcp) = start().await;
    let other = server.org("other").await;
    let ada = server.member(&org, "ada", OrgRole::Member).await;
    let secret = json!({ "content": "Ada keeps a wombat.", "visibility": "PRIVATE" });
    ada.note(secret).await;
    let search = json!({ "query": "wombat" });
    // no scope: not even for oneself
    let plain = Mcp::of(&server.key_for(&org.owner, &MCP_SCOPES).await);
    for who in [&org.owner, &ada] {
        let answer = plain.acting_for(who).call("search_memory", search.clone()).await;
        let error = answer.refuses(403, SERVER_ERROR, "SCOPE_MISSING");
        assert_eq!(error["data"]["scope"], "act_on_behalf");
    }
    // no member of this organization, or nobody at all
    for stranger in [other.owner.user_id.as_str(), "cmo5w1c2t8zq4k7n3x9b6d0fh", "ada", "' OR 1"] {
        let acting = mcp.with("X-Switchy-Actor-User-Id", stranger);
        let answer = acting.call("search_memory", search.clone()).await;
        answer.refuses(403, SERVER_ERROR, "ACTOR_FORBIDDEN");
        // what needs only a key does not ask
        acting.rpc("tools/list", json!({})).await.result();
    }
    let twice = mcp.acting_for(&ada).acting_for(&ada);
    twice.call("search_memory", search.clone()).await.refuses(400, -32_602, "VALIDATION_ERROR");
    // an organization's OWNER and ADMIN may, a MEMBER only for themselves; what is the member's alone
    // stays closed (tests/attacks/acting.rs opens it)
    assert!(mcp.acting_for(&ada).search("wombat").await.is_empty());
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let eves = Mcp::all(&server, &eve).await;
    let answer = eves.acting_for(&ada).call("search_memory", search.clone()).await;
    answer.refuses(403, SERVER_ERROR, "ACTOR_FORBIDDEN");
    assert!(eves.acting_for(&eve).search("wombat").await.is_empty());
    // and the rights are those of the member, not of the key's user
    org.owner.space("Owners").await;
    let answer = mcp.acting_for(&ada).call("get_space", json!({ "slug": "owners" })).await;
    answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
    let note = json!({ "content": "Written for Ada.", "visibility": "ORG" });
    let written = mcp.acting_for(&ada).tool("add_memory", note).await;
    assert_eq!(written["memory"]["authorUserId"], ada.user_id.as_str());
    assert_eq!(written["memory"]["onBehalfOf"], ada.user_id.as_str());
    assert_eq!(written["memory"]["writtenByUserId"], org.owner.user_id.as_str());
    // he leaves, and nobody acts for him any more
    let sql = "DELETE FROM members WHERE user_id = $1";
    server.sql().await.execute(sql, &[&ada.user_id.as_str()]).await.expect("gone");
    let answer = mcp.acting_for(&ada).call("search_memory", search).await;
    answer.refuses(403, SERVER_ERROR, "ACTOR_FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_sessions_and_other_organizations_do_not_exist() {
    let (server, org, mcp) = start().await;
    let space = org.owner.space("Team").await;
    let ada = server.member(&org, "ada", OrgRole::Owner).await;
    server.admit(id(&space), &ada, "OWNER").await;
    let private = session(&ada, "team", "Ada alone").await;
    let shared = session(&ada, "team", "For all").await;
    ada.post(&format!("/spaces/team/sessions/{private}/messages"), json!({ "body": "hush" }))
        .await
        .data(201);
    let sql = "UPDATE sessions SET visibility = 'private' WHERE id = $1";
    server.sql().await.execute(sql, &[&private]).await.expect("made private");

    let other = server.org("other").await;
    other.owner.space("Team").await;
    let foreign = session(&other.owner, "team", "Elsewhere").await;
    other.owner.note(json!({ "content": "Foreign tea.", "visibility": "ORG" })).await;

    for mcp in [mcp.clone(), mcp.acting_for(&org.owner)] {
        let listed = json!({ "spaceSlug": "team", "includeArchived": true });
        let listed = mcp.tool("list_sessions", listed).await;
        assert_eq!(each(&listed["sessions"], "id"), [&*shared]);
        let got = mcp.tool("get_space", json!({ "slug": "team" })).await;
        assert_eq!(each(&got["recentSessions"], "id"), [&*shared]);
        for hidden in [&private, &foreign] {
            let answer = mcp.call("get_session_transcript", json!({ "sessionId": hidden })).await;
            answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
        }
        assert!(mcp.search("tea").await.is_empty());
    }
    let posting = json!({ "sessionId": private, "content": "found you" });
    let answer = mcp.acting_for(&org.owner).call("post_message", posting).await;
    answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
    // its creator sees it, and so does whoever acts for them with their consent
    let read = json!({ "sessionId": private });
    let answer = mcp.acting_for(&ada).call("get_session_transcript", read.clone()).await;
    answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
    let sql = "INSERT INTO delegations (org_id, user_id, key_id, key_user_id) \
               SELECT org_id, $1, id, user_id FROM api_keys \
               WHERE user_id = $2 AND 'act_on_behalf' = ANY (scopes)";
    let (giver, holder) = (ada.user_id.as_str(), org.owner.user_id.as_str());
    server.sql().await.execute(sql, &[&giver, &holder]).await.expect("consented");
    let read = mcp.acting_for(&ada).tool("get_session_transcript", read).await;
    assert_eq!(each(&read["messages"], "content"), ["hush"]);
    // an archived Space is gone with everything in it
    org.owner.delete(&format!("/projects/{}", id(&space))).await;
    let answer = mcp.call("get_session_transcript", json!({ "sessionId": shared })).await;
    answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
}

/// A connection as the app role, as a caller whose PRIVATE notes are closed: the second layer.
async fn closed(server: &Server, caller: &Caller) -> tokio_postgres::Client {
    let app = connect_to(&server.database).await;
    app.batch_execute(&format!(
        "SET ROLE switchy_app; SET switchy.org_id = '{}'; SET switchy.user_id = '{}'; \
         SET switchy.private_notes = 'closed'",
        caller.org_id, caller.user_id
    ))
    .await
    .expect("set");
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_close_private_notes_without_the_queries_help() {
    let (server, org, _) = start_with(Options::default()).await;
    let private = json!({ "content": "wombat one", "visibility": "PRIVATE" });
    org.owner.note(private).await;
    let shared = org.owner.note(json!({ "content": "wombat two", "visibility": "ORG" })).await;
    let app = closed(&server, &org.owner).await;
    for sql in [
        "SELECT id FROM memories",
        "SELECT memory_id FROM memory_embeddings",
        "SELECT memory_id FROM memory_expansions",
        "SELECT memory_id FROM lexical_candidates('wombat', 1000, 64, 1000, NULL, NULL, NULL, NULL, NULL, NULL)",
    ] {
        let rows = app.query(sql, &[]).await.expect(sql);
        let ids: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(ids, [id(&shared)], "{sql}");
    }
    let writing = "INSERT INTO memories (id, org_id, author_user_id, visibility, content) \
                   VALUES ('cmo5w1c2t8zq4k7n3x9b6d0fh', $1, $2, 'PRIVATE', 'x')";
    let (org_id, user_id) = (org.owner.org_id.as_str(), org.owner.user_id.as_str());
    let refused = app.execute(writing, &[&org_id, &user_id]).await.expect_err("closed");
    assert!(refused.as_db_error().is_some_and(|e| e.message().contains("row-level security")));
    let deleted = app.execute("DELETE FROM memories WHERE visibility = 'PRIVATE'", &[]).await;
    assert_eq!(deleted.expect("nothing to see"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_answers_show_to_a_member_only_through_the_key_that_acts_for_him() {
    let (server, org, mcp) = start().await;
    let ada = server.member(&org, "ada", OrgRole::Member).await;
    let note = json!({ "content": "For Ada.", "visibility": "ORG" });
    mcp.acting_for(&ada).call_once("add_memory", "once", note).await.structured();
    let sql = "SELECT key_id FROM idempotency_keys";
    let row = server.sql().await.query_one(sql, &[]).await.expect("one");
    let key: String = row.get(0);
    let app = closed(&server, &ada).await;
    assert_eq!(app.query(sql, &[]).await.expect("read").len(), 0);
    app.batch_execute(&format!("SET switchy.acting_key = '{key}'")).await.expect("set");
    assert_eq!(app.query(sql, &[]).await.expect("read").len(), 1);
    let other = server.org("other").await;
    let app = closed(&server, &other.owner).await;
    app.batch_execute(&format!("SET switchy.acting_key = '{key}'")).await.expect("set");
    assert_eq!(app.query(sql, &[]).await.expect("read").len(), 0, "another organization's");
}
