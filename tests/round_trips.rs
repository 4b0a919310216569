//! How often a request goes to PostgreSQL and back: a regression is to show here, not in a bill.

use crate::fixture::logs::Logs;
use crate::fixture::mcp::Mcp;
use crate::fixture::{Answer, Options, Server};
use serde_json::json;
use switchy_server::auth::OrgRole;

/// `round_trips` of the newest request to a path.
fn newest(logs: &Logs, method: &str, path: &str) -> u32 {
    let wanted = [format!(" method={method} "), format!(" path={path} ")];
    let lines = logs.lines();
    let line = lines.iter().rev().find(|l| wanted.iter().all(|w| format!("{l} ").contains(w)));
    let line = line.unwrap_or_else(|| panic!("no line for {method} {path}: {lines:#?}"));
    let count = line.split(" round_trips=").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no count: {line}"))
}

#[tokio::test]
async fn a_request_makes_no_more_round_trips_than_it_needs() {
    let (log, logs) = Logs::new();
    // one connection, so that every statement is prepared after the first request
    let options = Options { log, pool_size: 1, ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    let space_path = format!("/projects/{}", space["id"].as_str().expect("an id"));
    let made = org.owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session =
        format!("/spaces/team/sessions/{}", made["session"]["id"].as_str().expect("an id"));
    let private =
        json!({ "content": "Staging deploys happen on Tuesdays.", "visibility": "PRIVATE" });
    let search = json!({ "query": "when do deploys happen?" });
    let saved = "/v1/org/acme/ws/team/sessions";
    let id = uuid::Uuid::new_v4();
    let one = format!("{saved}/{id}");
    let transcript = format!("{one}/transcript");
    let save = json!({ "id": id, "model": "m" });
    let mut at_first = 0;
    let turn = json!({ "role": "user", "content": "x" });
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let members = format!("/org/{}/members", org.id);
    let member = format!("{members}/{}", eve.user_id);
    let invitations = format!("/org/{}/invitations", org.id);
    let space_members = format!("{space_path}/members");
    let space_member = format!("{space_members}/{}", eve.user_id);
    let integration = json!({
        "displayName": "x", "mentionSlug": "x", "endpointUrl": "https://1.1.1.1/",
        "authType": "BEARER", "secret": "abc"
    });
    let (mut note_path, mut key_path) = (String::new(), String::new());
    let messages = format!("{session}/messages");
    let mut newest_reactions = String::new();
    for round in 0..3 {
        org.owner.get(&members).await.data(200);
        org.owner.patch(&member, json!({ "role": "ADMIN" })).await.data(200);
        let email = format!("grace{round}@example.com");
        let invite = json!({ "email": email, "role": "MEMBER" });
        org.owner.post(&invitations, invite).await.data(201);
        org.owner.get(&invitations).await.data(200);
        let made = org.owner.post("/mcp/servers", integration.clone()).await.data(201);
        let made = made["server"]["id"].as_str().expect("an id").to_owned();
        org.owner.get("/mcp/servers").await.data(200);
        assert_eq!(org.owner.put(&format!("/spaces/team/mcps/{made}")).await.status, 204);
        org.owner.get("/spaces/team/mcps").await.data(200);
        assert_eq!(org.owner.delete(&format!("/mcp/servers/{made}")).await.status, 204);
        let first = json!({ "id": uuid::Uuid::new_v4(), "model": "m" });
        org.owner.post(saved, first).await.bare();
        // looked for, made with its participant, and read
        at_first = newest(&logs, "POST", &format!("/api{saved}"));
        org.owner.post(saved, save.clone()).await.bare();
        org.owner.get(saved).await.bare();
        org.owner.get(&format!("{saved}/facets")).await.bare();
        org.owner.get(&one).await.bare();
        org.owner.patch(&one, json!({ "title": "y" })).await.bare();
        org.owner.post(&transcript, json!({ "messages": [turn] })).await.bare();
        org.owner.get(&transcript).await.bare();
        org.owner.get("/projects").await.data(200);
        org.owner.get(&space_path).await.data(200);
        org.owner.get("/spaces/team/sessions").await.data(200);
        org.owner.get(&session).await.data(200);
        org.owner.get(&messages).await.data(200);
        let said = org.owner.post(&messages, json!({ "body": "x" })).await.data(201);
        let said = said["message"]["id"].as_str().expect("an id").to_owned();
        let found = json!({ "query": "x" });
        org.owner.post("/spaces/team/messages/search", found).await.data(200);
        let before = format!("{messages}?before={said}");
        org.owner.get(&before).await.data(200);
        newest_reactions = format!("/spaces/team/messages/{said}/reactions");
        org.owner.post(&newest_reactions, json!({ "emoji": "👍" })).await.data(201);
        org.owner.get("/memory").await.data(200);
        org.owner.get("/me").await.data(200);
        org.owner.note(private.clone()).await;
        org.owner.post("/memory/search", search.clone()).await.data(200);
        let note = org.owner.note(private.clone()).await;
        note_path = format!("/memory/{}", note["id"].as_str().expect("an id"));
        org.owner.get(&note_path).await.data(200);
        org.owner.patch(&note_path, json!({ "content": "On Mondays." })).await.data(200);
        let batch = json!({ "memories": vec![private.clone(); 3] });
        org.owner.post("/memory/batch", batch).await.data(201);
        org.owner.patch(&space_path, json!({ "name": "Team" })).await.data(200);
        org.owner.get(&space_members).await.data(200);
        org.owner
            .post(&space_members, json!({ "userId": eve.user_id, "role": "VIEWER" }))
            .await
            .data(201);
        org.owner.patch(&space_member, json!({ "role": "MEMBER" })).await.data(200);
        assert_eq!(org.owner.delete(&space_member).await.status, 204);
        org.owner.get("/keys").await.data(200);
        let key = json!({ "name": "x", "scopes": ["*"] });
        let key = org.owner.post("/keys", key).await.data(201)["key"].take();
        key_path = format!("/keys/{}", key["id"].as_str().expect("an id"));
        let rotate = org.owner.request(http::Method::POST, &format!("{key_path}/rotate"));
        Answer::of(rotate).await.data(200);
        assert_eq!(org.owner.delete(&key_path).await.status, 204);
    }
    assert_eq!(at_first, 7, "the first save of a session");
    // Who calls; the work, with whose first statement BEGIN and the caller travel; COMMIT, which
    // nobody waits for who has only read. Reads without a body ask who calls with the first
    // statement, too.
    for (method, path, most) in [
        ("GET", "/projects", 1),
        ("GET", &*space_path, 1),
        ("GET", "/spaces/team/sessions", 2),
        ("GET", &*session, 2),
        ("GET", &*messages, 3),
        ("POST", &*messages, 5),
        // the Space; places; messages
        ("POST", "/spaces/team/messages/search", 4),
        ("POST", &*newest_reactions, 6),
        ("GET", "/memory", 1),
        ("GET", "/me", 2),
        ("GET", "/mcp/servers", 1),
        // how many there are, the secret, the server
        ("POST", "/mcp/servers", 5),
        ("GET", "/spaces/team/mcps", 2),
        ("POST", "/memory", 3),
        // the organization and its Space in one
        ("GET", saved, 2),
        ("GET", &*format!("{saved}/facets"), 2),
        ("GET", &*one, 2),
        ("GET", &*transcript, 3),
        // again: changed, and read
        ("POST", saved, 5),
        ("PATCH", &*one, 6),
        // what is there, the lock, the ids, the messages, and both read back
        ("POST", &*transcript, 9),
        ("GET", &*members, 2),
        // lock and roles, change
        ("PATCH", &*member, 4),
        ("GET", &*invitations, 2),
        // lock and roles, room, invitation with its letter
        ("POST", &*invitations, 5),
        // words, how many vectors, vectors, similarities, notes
        ("POST", "/memory/search", 6),
        ("GET", &*note_path, 1),
        // the note, locked; the note and its vectors
        ("PATCH", &*note_path, 4),
        ("POST", "/memory/batch", 3),
        // the role; the change
        ("PATCH", &*space_path, 4),
        ("GET", &*space_members, 2),
        // the Space; its members, locked; the change
        ("POST", &*space_members, 5),
        ("PATCH", &*space_member, 5),
        ("DELETE", &*space_member, 5),
        ("GET", "/keys", 1),
        // the caller's keys, locked; the key
        ("POST", "/keys", 4),
        // the key; the one that is used; the change
        ("POST", &*format!("{key_path}/rotate"), 5),
        ("DELETE", &*key_path, 4),
    ] {
        assert_eq!(newest(&logs, method, &format!("/api{path}")), most, "{method} {path}");
    }

    // the same over MCP; who the call is for is one more
    let mcp = Mcp::all(&server, &org.owner).await;
    let for_owner = mcp.acting_for(&org.owner);
    let found = json!({ "query": "when do deploys happen?" });
    let written = json!({ "content": "Staging deploys happen on Tuesdays.", "visibility": "ORG" });
    let of_session = json!({ "sessionId": made["session"]["id"] });
    let said = json!({ "sessionId": made["session"]["id"], "content": "hello" });
    for (mcp, tool, arguments, most) in [
        (&mcp, "search_memory", found.clone(), 5),
        (&for_owner, "search_memory", found, 7),
        (&mcp, "add_memory", written, 3),
        (&mcp, "list_spaces", json!({}), 2),
        (&mcp, "get_space", json!({ "slug": "team" }), 3),
        (&mcp, "list_sessions", json!({ "spaceSlug": "team" }), 3),
        // session, its Space, how many messages, messages
        (&mcp, "get_session_transcript", of_session, 5),
        // who it is for, session, its Space, a lock, the message
        (&for_owner, "post_message", said, 7),
    ] {
        for _ in 0..3 {
            mcp.tool(tool, arguments.clone()).await;
        }
        assert_eq!(newest(&logs, "POST", "/mcp/rpc"), most, "{tool}");
    }
    mcp.rpc("tools/list", json!({})).await.result();
    assert_eq!(newest(&logs, "POST", "/mcp/rpc"), 1, "tools/list");
}

/// What a pooled connection keeps prepared that contains `text`.
async fn prepared(server: &Server, text: &str) -> i64 {
    use diesel_async::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let mut connection = server.store.connection().await.expect("a connection");
    let sql = "SELECT count(*) AS count FROM pg_prepared_statements WHERE statement LIKE $1";
    let found: Count = diesel::sql_query(sql)
        .bind::<diesel::sql_types::Text, _>(format!("%{text}%"))
        .get_result(&mut connection)
        .await
        .expect("counted");
    found.count
}

#[tokio::test]
async fn raw_sql_is_prepared_once_a_connection() {
    let server = Server::with(Options { pool_size: 1, ..Options::default() }).await;
    let owner = server.org("acme").await.owner;
    for i in 0..3 {
        owner.note(json!({ "content": format!("Note {i}."), "visibility": "ORG" })).await;
        owner.post("/memory/search", json!({ "query": format!("note {i}") })).await.data(200);
    }
    assert_eq!(prepared(&server, "FROM authenticate(").await, 1);
    assert_eq!(prepared(&server, "FROM lexical_candidates(").await, 1);
}
