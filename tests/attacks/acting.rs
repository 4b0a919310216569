//! Acting for others, and what a key's user may see and do with it.

use crate::fixture::cluster::connect_to;
use crate::fixture::mcp::{MCP_SCOPES, Mcp};
use crate::fixture::shape::{each, fields, id};
use crate::fixture::{Answer, Caller, Options, Org, Server, embedders};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

const SERVER_ERROR: i64 = -32_000;

async fn acme() -> (Server, Org) {
    let server = Server::with(Options { embedder: embedders::none(), ..Options::default() }).await;
    let org = server.org("acme").await;
    (server, org)
}

/// The id of the key that a caller uses.
async fn id_of(server: &Server, caller: &Caller) -> String {
    let sql = "SELECT id FROM api_keys WHERE prefix = $1 AND user_id = $2";
    let prefix = &caller.key.as_deref().expect("a key")[..12];
    let user = caller.user_id.as_str();
    server.sql().await.query_one(sql, &[&prefix, &user]).await.expect("one key").get(0)
}

/// A key of the caller's that acts for others, with its id.
async fn acting_key(server: &Server, caller: &Caller) -> (Mcp, String) {
    let scopes = [&MCP_SCOPES[..], &["act_on_behalf"]].concat();
    let key = server.key_for(caller, &scopes).await;
    let id = id_of(server, &key).await;
    (Mcp::of(&key), id)
}

fn private(content: &str) -> Value {
    json!({ "content": content, "visibility": "PRIVATE" })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_reads_nobodys_private_notes_unasked() {
    let (server, org) = acme().await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let note = eve.note(private("Eve keeps a wombat.")).await;
    let (mcp, key) = acting_key(&server, &admin).await;
    let acting = mcp.acting_for(&eve);
    let uri = json!({ "uri": format!("switchy://memory/{}", id(&note)) });
    let recall = json!({ "name": "recall", "arguments": { "query": "wombat" } });

    let closed = async || {
        assert!(acting.search("wombat").await.is_empty());
        let answer = acting.rpc("resources/read", uri.clone()).await;
        answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
        assert_eq!(acting.result("resources/list", json!({})).await["resources"], json!([]));
        let prompt = acting.result("prompts/get", recall.clone()).await;
        assert!(!prompt.to_string().contains("keeps"));
        let answer = acting.call("add_memory", private("planted")).await;
        answer.refuses(403, SERVER_ERROR, "ACTOR_FORBIDDEN");
    };
    closed().await;
    // nobody consents in her place: neither the ADMIN, nor another member for themselves
    let path = format!("/me/delegations/{key}");
    admin.put(&path).await.fails(409, "CONFLICT");
    org.owner.put(&path).await.data(200);
    closed().await;

    // she consents, to this key alone
    let given = eve.put(&path).await.data(200);
    assert_eq!(given["delegation"]["keyId"], key.as_str());
    assert_eq!(given["delegation"]["keyUserId"], admin.user_id.as_str());
    assert_eq!(acting.search("wombat").await, ["Eve keeps a wombat."]);
    acting.rpc("resources/read", uri.clone()).await.result();
    let written = acting.tool("add_memory", private("For Eve alone.")).await;
    assert_eq!(written["memory"]["onBehalfOf"], eve.user_id.as_str());
    let (other, _) = acting_key(&server, &admin).await;
    assert!(other.acting_for(&eve).search("wombat").await.is_empty());

    // and ends it, from the next request on
    assert_eq!(eve.delete(&path).await.status, 204);
    closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_sessions_are_as_closed_as_private_notes() {
    let (server, org) = acme().await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let space = org.owner.space("Team").await;
    server.admit(id(&space), &admin, "OWNER").await;
    server.admit(id(&space), &eve, "MEMBER").await;
    let uuid = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";
    let saved = json!({ "id": uuid, "model": "m", "visibility": "private" });
    eve.post("/v1/org/acme/ws/team/sessions", saved).await.bare();
    let sql = "SELECT id FROM sessions WHERE external_id = $1::text::uuid";
    let session: String = server.sql().await.query_one(sql, &[&uuid]).await.expect("it").get(0);
    let (mcp, key) = acting_key(&server, &admin).await;
    let acting = mcp.acting_for(&eve);
    let read = json!({ "sessionId": session });
    let said = json!({ "sessionId": session, "content": "x" });
    let listed = json!({ "spaceSlug": "team" });
    for (tool, arguments) in [("get_session_transcript", &read), ("post_message", &said)] {
        let answer = acting.call(tool, arguments.clone()).await;
        answer.refuses(404, SERVER_ERROR, "NOT_FOUND");
    }
    assert_eq!(acting.tool("list_sessions", listed.clone()).await["sessions"], json!([]));
    eve.put(&format!("/me/delegations/{key}")).await.data(200);
    acting.tool("get_session_transcript", read).await;
    acting.tool("post_message", said).await;
    let shown = acting.tool("list_sessions", listed).await;
    assert_eq!(each(&shown["sessions"], "id"), [&*session]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_acts_for_somebody_of_a_higher_role() {
    let (server, org) = acme().await;
    let owner = server.member(&org, "olga", OrgRole::Owner).await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    let peer = server.member(&org, "abe", OrgRole::Admin).await;
    let member = server.member(&org, "eve", OrgRole::Member).await;
    let fellow = server.member(&org, "mia", OrgRole::Member).await;
    let elsewhere = server.org("other").await.owner;
    let note = json!({ "content": "Written.", "visibility": "ORG" });
    let mut sentences = std::collections::BTreeSet::new();
    for (holder, actor, may) in [
        (&org.owner, &owner, true),
        (&org.owner, &admin, true),
        (&org.owner, &member, true),
        (&admin, &org.owner, false),
        (&admin, &peer, true),
        (&admin, &member, true),
        (&member, &org.owner, false),
        (&member, &admin, false),
        (&member, &fellow, false),
        (&member, &member, true),
        (&admin, &elsewhere, false),
    ] {
        let (mcp, key) = acting_key(&server, holder).await;
        // not even with consent
        if holder.user_id != actor.user_id {
            let given = actor.put(&format!("/me/delegations/{key}")).await;
            assert_eq!(given.status == 200, actor.org_id == holder.org_id);
        }
        let acting = mcp.acting_for(actor);
        for (tool, arguments) in [
            ("add_memory", note.clone()),
            ("search_memory", json!({ "query": "x" })),
            ("list_spaces", json!({})),
        ] {
            let answer = acting.call(tool, arguments).await;
            if may {
                answer.structured();
            } else {
                let error = answer.refuses(403, SERVER_ERROR, "ACTOR_FORBIDDEN");
                sentences.insert(error["message"].as_str().expect("a sentence").to_owned());
            }
        }
    }
    assert_eq!(sentences.len(), 1, "it tells who is a member, and as what: {sentences:?}");
    // what a key may is decided anew each time
    let (mcp, _) = acting_key(&server, &org.owner).await;
    let search = json!({ "query": "x" });
    mcp.acting_for(&owner).tool("search_memory", search.clone()).await;
    let path = format!("/org/{}/members/{}", org.id, org.owner.user_id);
    owner.patch(&path, json!({ "role": "ADMIN" })).await.data(200);
    let answer = mcp.acting_for(&owner).call("search_memory", search).await;
    answer.refuses(403, SERVER_ERROR, "ACTOR_FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegation_is_for_a_live_key_that_acts() {
    let (server, org) = acme().await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let elsewhere = server.org("other").await.owner;
    let of = |key: &str| format!("/me/delegations/{key}");
    let (_, foreign) = acting_key(&server, &elsewhere).await;
    let (_, revoked) = acting_key(&server, &admin).await;
    assert_eq!(admin.delete(&format!("/keys/{revoked}")).await.status, 204);
    let dull = id_of(&server, &admin).await;
    for key in [foreign.as_str(), &revoked, &dull, "cmwrb765dyilgw7qrns9ban7u", "nonsense"] {
        eve.put(&of(key)).await.fails(404, "NOT_FOUND");
        eve.delete(&of(key)).await.fails(404, "NOT_FOUND");
    }
    let (mcp, key) = acting_key(&server, &admin).await;
    // what the asking key cannot reach itself, it opens to nobody
    let narrow = server.key_for(&eve, &["keys:read", "keys:write"]).await;
    narrow.put(&of(&key)).await.fails(403, "FORBIDDEN");
    let first = eve.put(&of(&key)).await.data(200);
    assert_eq!(
        fields(&first["delegation"]),
        ["createdAt", "keyId", "keyName", "keyPrefix", "keyUserId"]
    );
    assert_eq!(eve.put(&of(&key)).await.data(200), first, "once more changes nothing");
    let listed = eve.get("/me/delegations").await.data(200);
    assert_eq!(listed["delegations"], json!([first["delegation"]]));
    assert_eq!(admin.get("/me/delegations").await.data(200)["delegations"], json!([]));

    // a new secret is not another key
    eve.note(private("Eve keeps a wombat.")).await;
    assert_eq!(mcp.acting_for(&eve).search("wombat").await.len(), 1);
    let rotated = admin.post_empty(&format!("/keys/{key}/rotate")).await.data(200);
    let secret = rotated["key"]["secret"].as_str().expect("a secret").to_owned();
    let mcp = Mcp::of(&Caller { key: Some(secret), ..admin.clone() });
    assert_eq!(mcp.acting_for(&eve).search("wombat").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegation_ends_with_its_key_and_its_people() {
    let (server, org) = acme().await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    eve.note(private("Eve keeps a wombat.")).await;
    let rows = async || -> i64 {
        let sql = "SELECT count(*) FROM delegations";
        server.sql().await.query_one(sql, &[]).await.expect("counted").get(0)
    };
    let (mcp, key) = acting_key(&server, &admin).await;
    let path = format!("/me/delegations/{key}");
    eve.put(&path).await.data(200);

    // whoever leaves and comes back has consented to nothing
    let sql = server.sql().await;
    let (org_id, user) = (org.id.as_str(), eve.user_id.as_str());
    let gone = "DELETE FROM members WHERE org_id = $1 AND user_id = $2";
    sql.execute(gone, &[&org_id, &user]).await.expect("gone");
    assert_eq!(rows().await, 0);
    let back = "INSERT INTO members (org_id, user_id, role) VALUES ($1, $2, 'MEMBER')";
    sql.execute(back, &[&org_id, &user]).await.expect("back");
    assert!(mcp.acting_for(&eve).search("wombat").await.is_empty());
    let eve = server.key_for(&eve, &["*"]).await;

    // neither has anybody for the key of somebody who left
    eve.put(&path).await.data(200);
    let removed = org.owner.delete(&format!("/org/{org_id}/members/{}", admin.user_id)).await;
    assert_eq!(removed.status, 204);
    assert_eq!(rows().await, 0);
    eve.put(&path).await.fails(404, "NOT_FOUND");

    let (_, key) = acting_key(&server, &org.owner).await;
    eve.put(&format!("/me/delegations/{key}")).await.data(200);
    assert_eq!(org.owner.delete(&format!("/keys/{key}")).await.status, 204);
    assert_eq!(eve.get("/me/delegations").await.data(200)["delegations"], json!([]));
    // what is over can be tidied up
    assert_eq!(eve.delete(&format!("/me/delegations/{key}")).await.status, 204);
    eve.delete(&format!("/me/delegations/{key}")).await.fails(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_ask_for_consent_without_the_queries() {
    let (server, org) = acme().await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let space = org.owner.space("Team").await;
    server.admit(id(&space), &eve, "MEMBER").await;
    let note = eve.note(private("wombat")).await;
    let saved = json!({
        "id": "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90", "model": "m", "visibility": "private"
    });
    eve.post("/v1/org/acme/ws/team/sessions", saved).await.bare();
    let (_, key) = acting_key(&server, &admin).await;
    let app = connect_to(&server.database).await;
    app.batch_execute(&format!(
        "SET ROLE switchy_app; SET switchy.org_id = '{}'; SET switchy.user_id = '{}'; \
         SET switchy.acting_key = '{key}'",
        eve.org_id, eve.user_id
    ))
    .await
    .expect("set");
    let looks = [
        "SELECT id FROM memories",
        "SELECT memory_id FROM lexical_candidates('wombat', 1000, 64, 1000, NULL, NULL, NULL, \
         NULL, NULL, NULL)",
        "SELECT id FROM sessions",
    ];
    for look in looks {
        assert_eq!(app.query(look, &[]).await.expect(look).len(), 0, "{look}");
    }
    let touch = "UPDATE memories SET content = 'x' WHERE id = $1";
    assert_eq!(app.execute(touch, &[&id(&note)]).await.expect("nothing to see"), 0);
    // the key does not consent to itself
    let consent = "INSERT INTO delegations (org_id, user_id, key_id, key_user_id) \
                   VALUES ($1, $2, $3, $4)";
    let (org_id, user, holder) = (org.id.as_str(), eve.user_id.as_str(), admin.user_id.as_str());
    let refused =
        app.execute(consent, &[&org_id, &user, &key, &holder]).await.expect_err("stopped");
    assert!(refused.as_db_error().is_some_and(|e| e.message().contains("row-level security")));
    // whose key it is, nobody can deny
    let forged = "INSERT INTO memories (id, org_id, author_user_id, visibility, content, \
                  written_by_user_id) VALUES ('cmo5w1c2t8zq4k7n3x9b6d0fh', $1, $2, 'ORG', 'x', $2) \
                  RETURNING written_by_user_id";
    let row = app.query_one(forged, &[&org_id, &user]).await.expect("written");
    assert_eq!(row.get::<_, &str>(0), holder);

    eve.put(&format!("/me/delegations/{key}")).await.data(200);
    for look in looks {
        assert!(!app.query(look, &[]).await.expect(look).is_empty(), "{look}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_writes_for_another_says_so_everywhere() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let space = org.owner.space("Team").await;
    server.admit(id(&space), &eve, "MEMBER").await;
    let sessions = "/spaces/team/sessions";
    let made = org.owner.post(sessions, json!({ "name": "x" })).await.data(201);
    let session = id(&made["session"]).to_owned();
    let messages = format!("{sessions}/{session}/messages");
    let (mcp, _) = acting_key(&server, &org.owner).await;
    let (eves, owners) = (eve.user_id.as_str(), org.owner.user_id.as_str());
    let shows = |shown: &Value| {
        assert_eq!(shown["authorUserId"], eves, "{shown}");
        assert_eq!(shown["onBehalfOf"], eves, "{shown}");
        assert_eq!(shown["writtenByUserId"], owners, "{shown}");
    };
    let own = |shown: &Value| {
        assert_eq!(shown["onBehalfOf"], Value::Null, "{shown}");
        assert_eq!(shown["writtenByUserId"], Value::Null, "{shown}");
        assert!(shown.as_object().is_some_and(|o| o.contains_key("onBehalfOf")));
    };
    let said = json!({ "sessionId": session, "content": "hello" });
    let note = json!({ "content": "wombat", "visibility": "ORG" });
    let acting = mcp.acting_for(&eve);
    shows(&acting.tool("post_message", said.clone()).await["message"]);
    let written = acting.tool("add_memory", note.clone()).await;
    shows(&written["memory"]);
    let read = acting.tool("get_session_transcript", json!({ "sessionId": session })).await;
    shows(&read["messages"][0]);
    let uri = json!({ "uri": format!("switchy://memory/{}", id(&written["memory"])) });
    shows(&acting.result("resources/read", uri).await["contents"][0]["_meta"]);
    shows(&acting.tool("search_memory", json!({ "query": "wombat" })).await["memories"][0]);
    for caller in [&org.owner, &eve] {
        shows(&caller.get(&messages).await.data(200)["messages"][0]);
        shows(&caller.get("/memory").await.data(200)["memories"][0]);
        let path = format!("/memory/{}", id(&written["memory"]));
        shows(&caller.get(&path).await.data(200)["memory"]);
        let found = caller.post("/memory/search", json!({ "query": "wombat" })).await.data(200);
        shows(&found["results"][0]["memory"]);
    }
    // it stays true when the author changes the note
    let path = format!("/memory/{}", id(&written["memory"]));
    shows(&eve.patch(&path, json!({ "tags": ["x"] })).await.data(200)["memory"]);
    // for oneself, it is one's own
    let (eves_mcp, _) = acting_key(&server, &eve).await;
    let acting = eves_mcp.acting_for(&eve);
    own(&acting.tool("post_message", said).await["message"]);
    own(&acting.tool("add_memory", note).await["memory"]);
    own(&eve.note(json!({ "content": "y", "visibility": "ORG" })).await);
    own(&eve.post(&messages, json!({ "body": "y" })).await.data(201)["message"]);
}

/// A repeated request is refused like a new one, now that the first one would be.
#[track_caller]
fn forgets(answer: &Answer, status: u16, code: &str) {
    answer.fails(status, code);
    assert_eq!(answer.header("idempotency-replayed"), None, "{}", answer.text);
}

#[track_caller]
fn replays(answer: &Answer, first: &Answer) {
    assert_eq!(answer.header("idempotency-replayed"), Some("true"), "{}", answer.text);
    assert_eq!(answer.text, first.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_a_space_is_shown_no_kept_answer_about_it() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let guest = server.member(&org, "gus", OrgRole::Member).await;
    let space = org.owner.space("Team").await;
    let space = id(&space).to_owned();
    server.admit(&space, &eve, "OWNER").await;
    let sessions = "/spaces/team/sessions";
    let made = org.owner.post(sessions, json!({ "name": "x" })).await.data(201);
    let messages = format!("{sessions}/{}/messages", id(&made["session"]));
    let said = org.owner.post(&messages, json!({ "body": "hush" })).await.data(201);
    let reactions = format!("/spaces/team/messages/{}/reactions", id(&said["message"]));
    let note = json!({ "content": "x", "visibility": "SPACE", "spaceId": space });
    let mine = json!({ "content": "x", "visibility": "PRIVATE" });
    let saved = "/v1/org/acme/ws/team/sessions";
    let uuid = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";
    let turn = json!({ "messages": [{ "role": "user", "content": "x" }] });
    let requests = [
        (sessions.to_owned(), json!({ "name": "Upgrade" })),
        (messages, json!({ "body": "secret" })),
        (reactions, json!({ "emoji": "👍" })),
        ("/memory".to_owned(), note.clone()),
        ("/memory/batch".to_owned(), json!({ "memories": [mine, note] })),
        (saved.to_owned(), json!({ "id": uuid, "model": "m" })),
        (format!("{saved}/{uuid}/transcript"), turn),
        (format!("{saved}/{uuid}/archive"), Value::Null),
        (
            format!("/projects/{space}/members"),
            json!({ "userId": guest.user_id.as_str(), "role": "VIEWER" }),
        ),
    ];
    let ask = async |path: &str, body: &Value| match body {
        Value::Null => {
            let request = eve.request(http::Method::POST, path).header("Idempotency-Key", "k");
            Answer::of(request).await
        }
        body => eve.post_once(path, "k", body.clone()).await,
    };
    let mut first = Vec::new();
    for (path, body) in &requests {
        let answer = ask(path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        replays(&ask(path, body).await, &answer);
        first.push(answer);
    }
    server.dismiss(&space, &eve).await;
    for (path, body) in &requests {
        forgets(&ask(path, body).await, 403, "FORBIDDEN");
    }
    // who may only read is refused what only writers may
    server.admit(&space, &eve, "VIEWER").await;
    for (path, body) in &requests {
        forgets(&ask(path, body).await, 403, "FORBIDDEN");
    }
    server.admit(&space, &eve, "OWNER").await;
    for ((path, body), answer) in requests.iter().zip(&first) {
        replays(&ask(path, body).await, answer);
    }
    assert_eq!(org.owner.delete(&format!("/projects/{space}")).await.status, 204);
    for (path, body) in &requests {
        forgets(&ask(path, body).await, 404, "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_answer_about_a_space_goes_with_its_maker() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let body = json!({ "name": "Team", "description": "secret" });
    let first = eve.post_once("/projects", "k", body.clone()).await;
    let space = first.body["data"]["project"]["id"].as_str().expect("an id").to_owned();
    server.admit(&space, &org.owner, "OWNER").await;
    // what may still be seen is still shown
    server.admit(&space, &eve, "VIEWER").await;
    replays(&eve.post_once("/projects", "k", body.clone()).await, &first);
    server.dismiss(&space, &eve).await;
    forgets(&eve.post_once("/projects", "k", body).await, 403, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_admin_no_more_is_shown_no_kept_answer_of_one() {
    let (server, org) = acme().await;
    let ada = server.member(&org, "ada", OrgRole::Admin).await;
    let requests = [
        ("/keys".to_owned(), json!({ "name": "bot", "scopes": ["memory:read"] })),
        (
            format!("/org/{}/invitations", org.id),
            json!({ "email": "x@acme.test", "role": "MEMBER" }),
        ),
    ];
    let mut first = Vec::new();
    for (path, body) in &requests {
        let answer = ada.post_once(path, "k", body.clone()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        first.push(answer);
        let again = ada.post_once(path, "k", body.clone()).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    let path = format!("/org/{}/members/{}", org.id, ada.user_id);
    org.owner.patch(&path, json!({ "role": "MEMBER" })).await.data(200);
    for (path, body) in &requests {
        forgets(&ada.post_once(path, "k", body.clone()).await, 403, "FORBIDDEN");
    }
    org.owner.patch(&path, json!({ "role": "ADMIN" })).await.data(200);
    for (path, body) in &requests {
        let again = ada.post_once(path, "k", body.clone()).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_an_organization_is_not_shown_that_they_joined() {
    let (server, org) = acme().await;
    let other = server.org("other").await;
    let eve = server.member(&other, "eve", OrgRole::Member).await;
    let body = json!({ "email": eve.email, "role": "MEMBER" });
    let made = org.owner.post(&format!("/org/{}/invitations", org.id), body).await.data(201);
    let token = made["invitation"]["token"].as_str().expect("a token");
    let path = format!("/invitations/{token}/accept");
    let accept = async || {
        let request = eve.request(http::Method::POST, &path).header("Idempotency-Key", "k");
        Answer::of(request).await
    };
    let first = accept().await;
    assert_eq!(first.status, 200, "{}", first.text);
    replays(&accept().await, &first);
    let gone = org.owner.delete(&format!("/org/{}/members/{}", org.id, eve.user_id)).await;
    assert_eq!(gone.status, 204);
    forgets(&accept().await, 403, "FORBIDDEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_result_of_a_tool_takes_the_same_rights() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let space = org.owner.space("Team").await;
    let space = id(&space).to_owned();
    server.admit(&space, &eve, "MEMBER").await;
    let uuid = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";
    let saved = json!({ "id": uuid, "model": "m", "visibility": "private" });
    eve.post("/v1/org/acme/ws/team/sessions", saved).await.bare();
    let sql = "SELECT id FROM sessions WHERE external_id = $1::text::uuid";
    let session: String = server.sql().await.query_one(sql, &[&uuid]).await.expect("it").get(0);
    let (mcp, key) = acting_key(&server, &org.owner).await;
    let acting = mcp.acting_for(&eve);
    let consent = format!("/me/delegations/{key}");
    eve.put(&consent).await.data(200);
    let of_space = json!({ "content": "x", "visibility": "SPACE", "spaceSlug": "team" });
    let said = json!({ "sessionId": session, "content": "hush" });
    let calls = [
        ("add_memory", of_space, None, "NOT_FOUND"),
        ("post_message", said, Some("NOT_FOUND"), "NOT_FOUND"),
        ("add_memory", private("x"), Some("ACTOR_FORBIDDEN"), ""),
    ];
    let ask =
        async |n: usize| acting.call_once(calls[n].0, &n.to_string(), calls[n].1.clone()).await;
    for n in 0..calls.len() {
        ask(n).await.structured();
        assert_eq!(ask(n).await.header("idempotency-replayed"), Some("true"));
    }
    // without her consent
    assert_eq!(eve.delete(&consent).await.status, 204);
    for (n, (_, _, code, _)) in calls.iter().enumerate() {
        let answer = ask(n).await;
        match code {
            None => drop(answer.structured()),
            Some(code) => {
                let status = if *code == "NOT_FOUND" { 404 } else { 403 };
                answer.refuses(status, SERVER_ERROR, code);
            }
        }
    }
    // without her membership
    eve.put(&consent).await.data(200);
    server.dismiss(&space, &eve).await;
    for (n, (_, _, _, code)) in calls.iter().enumerate() {
        let answer = ask(n).await;
        match *code {
            "" => drop(answer.structured()),
            code => drop(answer.refuses(404, SERVER_ERROR, code)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_lists_rotates_and_revokes_their_own_keys() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let mia = server.member(&org, "mia", OrgRole::Member).await;
    let spare = server.key_for(&eve, &["memory:read"]).await;
    let (eves, spares) = (id_of(&server, &eve).await, id_of(&server, &spare).await);
    let (mias, owners) = (id_of(&server, &mia).await, id_of(&server, &org.owner).await);
    let listed = eve.get("/keys").await.data(200);
    assert_eq!(each(&listed["keys"], "id"), [&*spares, &*eves], "newest first, and no other's");
    // the key that is used says which it is
    let me = spare.get("/me").await.data(200);
    assert_eq!(me["key"]["id"], spares.as_str());
    assert_eq!(me["key"]["name"], listed["keys"][0]["name"]);
    assert_eq!(me["key"]["prefix"], listed["keys"][0]["prefix"]);
    assert_eq!(me["key"]["expiresAt"], Value::Null);
    for other in [&mias, &owners] {
        eve.delete(&format!("/keys/{other}")).await.fails(404, "NOT_FOUND");
        eve.post_empty(&format!("/keys/{other}/rotate")).await.fails(404, "NOT_FOUND");
    }
    let rotated = eve.post_empty(&format!("/keys/{spares}/rotate")).await.data(200);
    spare.get("/me").await.fails(401, "AUTH_ERROR");
    let secret = rotated["key"]["secret"].as_str().expect("a secret").to_owned();
    let fresh = Caller { key: Some(secret), ..eve.clone() };
    assert_eq!(fresh.get("/me").await.data(200)["key"]["id"], spares.as_str());
    assert_eq!(eve.delete(&format!("/keys/{spares}")).await.status, 204);
    fresh.get("/me").await.fails(401, "AUTH_ERROR");
    assert_eq!(each(&eve.get("/keys").await.data(200)["keys"], "id"), [&*eves]);
}
