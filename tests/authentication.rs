//! Who may call at all: keys, their checksum, their life and their scopes. Every operation of the
//! published document is asked, so that none can be forgotten.

use crate::fixture::operations::operations;
use crate::fixture::{Answer, Caller, Options, Server, embedders};
use chrono::{DateTime, TimeDelta};
use http::Method;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use switchy_server::auth::{ApiKey, OrgRole, Scope};
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::logging::Cleaned;
use switchy_server::search::embedder::Embedder;

/// What a key must be allowed to do for each operation; `None`: any key will do.
pub(crate) const SCOPES: &[(&str, Option<Scope>)] = &[
    ("invitation_accept", Some(Scope::OrgWrite)),
    ("invitation_create", Some(Scope::OrgWrite)),
    ("invitation_list", Some(Scope::OrgRead)),
    ("invitation_revoke", Some(Scope::OrgWrite)),
    ("billing_checkout", Some(Scope::BillingWrite)),
    ("billing_portal", Some(Scope::BillingWrite)),
    ("billing_topup", Some(Scope::BillingWrite)),
    ("credit_balance", Some(Scope::BillingRead)),
    ("mcp_server_create", Some(Scope::McpServersWrite)),
    ("mcp_server_delete", Some(Scope::McpServersWrite)),
    ("mcp_server_list", Some(Scope::McpServersRead)),
    ("mcp_server_test", Some(Scope::McpServersWrite)),
    ("space_mcp_bind", Some(Scope::McpServersWrite)),
    ("space_mcp_list", Some(Scope::McpServersRead)),
    ("space_mcp_unbind", Some(Scope::McpServersWrite)),
    ("member_list", Some(Scope::OrgRead)),
    ("member_remove", Some(Scope::OrgWrite)),
    ("member_update", Some(Scope::OrgWrite)),
    ("delegation_allow", Some(Scope::KeysWrite)),
    ("delegation_end", Some(Scope::KeysWrite)),
    ("delegation_list", Some(Scope::KeysRead)),
    ("key_create", Some(Scope::KeysWrite)),
    ("key_list", Some(Scope::KeysRead)),
    ("key_revoke", Some(Scope::KeysWrite)),
    ("key_rotate", Some(Scope::KeysWrite)),
    ("me", None),
    ("memory_batch", Some(Scope::MemoryWrite)),
    ("memory_create", Some(Scope::MemoryWrite)),
    ("memory_delete", Some(Scope::MemoryWrite)),
    ("memory_list", Some(Scope::MemoryRead)),
    ("memory_search", Some(Scope::MemoryRead)),
    ("saved_session_archive", Some(Scope::SessionsWrite)),
    ("saved_session_facets", Some(Scope::SessionsRead)),
    ("saved_session_list", Some(Scope::SessionsRead)),
    ("saved_session_save", Some(Scope::SessionsWrite)),
    ("saved_session_transcript", Some(Scope::MessagesRead)),
    ("saved_session_transcript_append", Some(Scope::MessagesWrite)),
    ("saved_session_unarchive", Some(Scope::SessionsWrite)),
    ("saved_session_update", Some(Scope::SessionsWrite)),
    ("saved_session_view", Some(Scope::SessionsRead)),
    ("message_list", Some(Scope::MessagesRead)),
    ("message_search", Some(Scope::MessagesRead)),
    ("message_send", Some(Scope::MessagesWrite)),
    ("reaction_add", Some(Scope::MessagesWrite)),
    ("reaction_remove", Some(Scope::MessagesWrite)),
    ("memory_update", Some(Scope::MemoryWrite)),
    ("memory_view", Some(Scope::MemoryRead)),
    ("session_archive", Some(Scope::SessionsWrite)),
    ("session_create", Some(Scope::SessionsWrite)),
    ("session_events", Some(Scope::MessagesRead)),
    ("session_list", Some(Scope::SessionsRead)),
    ("session_update", Some(Scope::SessionsWrite)),
    ("session_view", Some(Scope::SessionsRead)),
    ("space_archive", Some(Scope::SpacesWrite)),
    ("space_create", Some(Scope::SpacesWrite)),
    ("space_list", Some(Scope::SpacesRead)),
    ("space_member_add", Some(Scope::SpacesWrite)),
    ("space_member_list", Some(Scope::SpacesRead)),
    ("space_member_remove", Some(Scope::SpacesWrite)),
    ("space_member_update", Some(Scope::SpacesWrite)),
    ("space_update", Some(Scope::SpacesWrite)),
    ("space_view", Some(Scope::SpacesRead)),
];

async fn start() -> (Server, Caller) {
    let server = Server::with(Options { embedder: embedders::none(), ..Options::default() }).await;
    let owner = server.org("acme").await.owner;
    (server, owner)
}

/// `GET /me` with this `Authorization` header.
async fn authorized_as(server: &Server, header: &str) -> Answer {
    let request = server.nobody().request(Method::GET, "/me");
    Answer::of(request.header("Authorization", header)).await
}

fn key_of(caller: &Caller) -> &str {
    caller.key.as_deref().expect("a key")
}

#[test]
fn every_operation_of_the_document_is_in_the_table_and_no_other() {
    let documented: BTreeSet<String> =
        operations().into_iter().filter(|o| !o.public).map(|o| o.id).collect();
    let listed: BTreeSet<String> = SCOPES.iter().map(|(id, _)| (*id).to_owned()).collect();
    assert_eq!(documented, listed, "add the operation and its scope to SCOPES");
    let public: BTreeSet<String> =
        operations().into_iter().filter(|o| o.public).map(|o| o.id).collect();
    let expected = ["health", "mcp_openapi", "openapi", "ready", "stripe_webhook"];
    assert_eq!(public, expected.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_answers_a_stranger_whatever_the_body() {
    let (server, _) = start().await;
    let stranger = server.nobody();
    let unknown = ApiKey::generate().expect("a key");
    for operation in operations() {
        let request = || {
            stranger.request(operation.method.clone(), &operation.path(stranger.org_id.as_str()))
        };
        if operation.id == "stripe_webhook" {
            continue; // proves itself by a signature: see the tests of billing
        }
        if operation.public {
            assert_eq!(Answer::of(request()).await.status, 200, "{}", operation.id);
            continue;
        }
        let json =
            |body: &'static str| request().header("Content-Type", "application/json").body(body);
        for request in [
            request(),
            json("{}"),
            json("{\"name\":"),
            json("[]"),
            request().body("\u{0}"),
            request().header("Idempotency-Key", "a b"),
            request().query(&[("limit", "x")]),
            json("{}").bearer_auth(unknown.expose()),
        ] {
            let answer = Answer::of(request).await;
            answer.fails(401, "AUTH_ERROR");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{}", operation.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_the_scope_is_forbidden_whatever_the_body() {
    let (server, owner) = start().await;
    let table: BTreeMap<&str, Option<Scope>> = SCOPES.iter().copied().collect();
    for operation in operations().iter().filter(|o| !o.public) {
        let wanted = table[operation.id.as_str()];
        let all_others: Vec<&str> = Scope::ALL
            .iter()
            .filter(|scope| Some(**scope) != wanted)
            .map(|scope| scope.as_str())
            .collect();
        let ask = async |caller: &Caller, body: &'static str| {
            let request =
                caller.request(operation.method.clone(), &operation.path(owner.org_id.as_str()));
            Answer::of(request.header("Content-Type", "application/json").body(body)).await
        };
        let Some(wanted) = wanted else {
            let nothing = server.key_for(&owner, &[]).await;
            assert_eq!(ask(&nothing, "").await.status, 200, "{}", operation.id);
            continue;
        };
        let others = server.key_for(&owner, &all_others).await;
        for body in ["", "{}", "{\"name\":"] {
            let refused = ask(&others, body).await;
            refused.fails(403, "FORBIDDEN");
            // says what is missing
            assert!(refused.text.contains(wanted.as_str()), "{}", refused.text);
        }
        let exactly = server.key_for(&owner, &[wanted.as_str()]).await;
        for caller in [&exactly, &owner] {
            let answer = ask(caller, "{}").await;
            assert!(![401, 403, 405, 500].contains(&answer.status.as_u16()), "{}", answer.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_a_bearer_token() {
    let (server, owner) = start().await;
    let key = key_of(&owner);
    for header in [format!("Bearer {key}"), format!("bearer {key}"), format!("BEARER   {key}")] {
        authorized_as(&server, &header).await.data(200);
    }
    for header in [
        key.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {key}"),
        format!("Bearer {key} {key}"),
        format!("Bearer \"{key}\""),
        format!("Bearer,{key}"),
    ] {
        authorized_as(&server, &header).await.fails(401, "AUTH_ERROR");
    }
    // nowhere but in that header
    let elsewhere = server.nobody().request(Method::GET, "/me").query(&[("api_key", key)]);
    Answer::of(elsewhere).await.fails(401, "AUTH_ERROR");
    let elsewhere = server.nobody().request(Method::GET, "/me").header("X-Api-Key", key);
    Answer::of(elsewhere).await.fails(401, "AUTH_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_or_unknown_key_is_401() {
    let (server, owner) = start().await;
    let key = key_of(&owner);
    let last = if key.ends_with('0') { '1' } else { '0' };
    let unknown = ApiKey::generate().expect("a key");
    for bad in [
        format!("{}{last}", &key[..key.len() - 1]),
        key[..key.len() - 1].to_owned(),
        format!("{key}0"),
        key.replacen("sk_live_", "sk_test_", 1),
        key.replacen("sk_live_", "", 1),
        key.to_lowercase(),
        "sk_live_".to_owned(),
        "x".repeat(10_000),
        unknown.expose().to_owned(),
    ] {
        authorized_as(&server, &format!("Bearer {bad}")).await.fails(401, "AUTH_ERROR");
    }
    owner.get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_or_expired_key_is_401_at_once_and_no_other_key_with_it() {
    let (server, owner) = start().await;
    let sql = server.sql().await;
    for change in ["revoked_at = now()", "expires_at = now() - interval '1 second'"] {
        let doomed = server.key_for(&owner, &["*"]).await;
        doomed.get("/me").await.data(200);
        let newest = "(SELECT id FROM api_keys ORDER BY created_at DESC LIMIT 1)";
        let sentence = format!("UPDATE api_keys SET {change} WHERE id = {newest}");
        sql.batch_execute(&sentence).await.expect("changed");
        doomed.get("/me").await.fails(401, "AUTH_ERROR");
        doomed.post("/projects", json!({ "name": "x" })).await.fails(401, "AUTH_ERROR");
        owner.get("/me").await.data(200);
    }
    let lasting = server.key_for(&owner, &["*"]).await;
    sql.batch_execute("UPDATE api_keys SET expires_at = now() + interval '1 hour'")
        .await
        .expect("changed");
    lasting.get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_expires_to_the_moment() {
    let start = DateTime::from_timestamp(1_767_225_600, 0).expect("a moment");
    let clock = ManualClock::starting_at(start);
    let server = Server::with(Options {
        clock: Clock::Manual(clock.clone()),
        embedder: embedders::none(),
        ..Options::default()
    })
    .await;
    let owner = server.org("acme").await.owner;
    let expiry = "UPDATE api_keys SET expires_at = '2026-01-01 00:00:10Z'";
    server.sql().await.batch_execute(expiry).await.expect("changed");
    clock.advance(TimeDelta::milliseconds(9_999));
    owner.get("/me").await.data(200);
    clock.advance(TimeDelta::milliseconds(1));
    owner.get("/me").await.fails(401, "AUTH_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_the_organization_has_no_key_any_more() {
    let (server, _) = start().await;
    let org = server.org("globex").await;
    let eve = server.member(&org, "eve", OrgRole::Admin).await;
    eve.get("/me").await.data(200);
    let leave = "DELETE FROM members WHERE user_id = $1";
    server.sql().await.execute(leave, &[&eve.user_id.to_string()]).await.expect("left");
    eve.get("/me").await.fails(401, "AUTH_ERROR");
    eve.post("/memory", json!({ "content": "x", "visibility": "ORG" }))
        .await
        .fails(401, "AUTH_ERROR");
    org.owner.get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_the_role_that_its_user_has_now() {
    let (server, _) = start().await;
    let org = server.org("globex").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    assert_eq!(eve.get("/me").await.data(200)["role"], "MEMBER");
    let promote = "UPDATE members SET role = 'ADMIN' WHERE user_id = $1";
    server.sql().await.execute(promote, &[&eve.user_id.to_string()]).await.expect("promoted");
    assert_eq!(eve.get("/me").await.data(200)["role"], "ADMIN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_organization_finds_nothing_of_another() {
    let (server, acme) = start().await;
    let globex = server.org("globex").await.owner;
    let space = acme.space("Platform").await;
    let space_id = space["id"].as_str().expect("an id");
    let session = acme.post("/spaces/platform/sessions", json!({ "name": "Upgrade" })).await;
    let session = session.data(201)["session"]["id"].as_str().expect("an id").to_owned();
    let note = acme.note(json!({ "content": "the lock", "visibility": "ORG" })).await;
    let note = note["id"].as_str().expect("an id");
    acme.note(json!({ "content": "the lock too", "visibility": "SPACE", "spaceId": space_id }))
        .await;

    globex.get(&format!("/projects/{space_id}")).await.fails(404, "NOT_FOUND");
    globex.get("/spaces/platform/sessions").await.fails(404, "NOT_FOUND");
    let path = format!("/spaces/platform/sessions/{session}");
    globex.get(&path).await.fails(404, "NOT_FOUND");
    globex.patch(&path, json!({ "title": "Mine" })).await.fails(404, "NOT_FOUND");
    globex.delete(&path).await.fails(404, "NOT_FOUND");
    globex
        .post("/spaces/platform/sessions", json!({ "name": "Intruder" }))
        .await
        .fails(404, "NOT_FOUND");
    globex.delete(&format!("/memory/{note}")).await.fails(404, "NOT_FOUND");
    globex
        .post("/memory", json!({ "content": "x", "visibility": "SPACE", "spaceId": space_id }))
        .await
        .fails(404, "NOT_FOUND");
    globex
        .post("/memory/search", json!({ "query": "lock", "spaceId": space_id }))
        .await
        .fails(404, "NOT_FOUND");
    assert_eq!(globex.get("/projects").await.data(200)["total"], 0);
    assert_eq!(globex.get("/memory").await.data(200)["total"], 0);
    assert_eq!(globex.search("lock").await, Vec::<String>::new());
    // slugs are an organization's own: the same one is not taken, and leads elsewhere
    let theirs = globex.space("Platform").await;
    assert_eq!(theirs["slug"], "platform");
    globex.get(&path).await.fails(404, "NOT_FOUND");
    acme.get(&path).await.data(200);
    assert_eq!(acme.get("/memory").await.data(200)["total"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_two_organizations_is_in_the_one_whose_key_is_used() {
    let (server, acme) = start().await;
    let globex = server.org("globex").await;
    acme.space("Ours").await;
    let join = "INSERT INTO members (org_id, user_id, role) VALUES ($1, $2, 'MEMBER')";
    let (org, user) = (globex.id.to_string(), acme.user_id.to_string());
    server.sql().await.execute(join, &[&org, &user]).await.expect("joined");
    let mut there = acme.clone();
    there.org_id = globex.id.clone();
    let there = server.key_for(&there, &["*"]).await;
    let me = there.get("/me").await.data(200);
    assert_eq!(me["organization"]["slug"], "globex");
    assert_eq!(me["role"], "MEMBER");
    assert_eq!(me["spaces"], json!([]));
    assert_eq!(me["user"], acme.get("/me").await.data(200)["user"]);
    assert_eq!(there.get("/projects").await.data(200)["total"], 0);
    assert_eq!(acme.get("/projects").await.data(200)["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_of_a_key_is_written_at_most_once_a_minute() {
    let start = DateTime::from_timestamp(1_767_225_600, 0).expect("a moment");
    let clock = ManualClock::starting_at(start);
    let server = Server::with(Options {
        clock: Clock::Manual(clock.clone()),
        embedder: embedders::none(),
        ..Options::default()
    })
    .await;
    let owner = server.org("acme").await.owner;
    let sql = server.sql().await;
    // seconds since the test began, and the row's version
    let last = async || -> (Option<f64>, String) {
        let query = "SELECT extract(epoch FROM last_used_at - '2026-01-01Z')::float8, xmin::text \
                     FROM api_keys";
        let row = sql.query_one(query, &[]).await.expect("a key");
        (row.get(0), row.get(1))
    };
    assert_eq!(last().await.0, None);
    owner.get("/me").await.data(200);
    let first = last().await;
    assert_eq!(first.0, Some(0.0));
    for _ in 0..3 {
        clock.advance(TimeDelta::seconds(20));
        owner.get("/me").await.data(200);
        assert_eq!(last().await, first, "not written again");
    }
    clock.advance(TimeDelta::seconds(1));
    owner.get("/me").await.data(200);
    assert_eq!(last().await.0, Some(61.0));
}

/// Keeps every line, down to the finest level, with all its fields.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<String>>);

struct Fields<'a>(&'a mut String);

impl slog::Serializer for Fields<'_> {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        Ok(write!(self.0, " {key}={value}")?)
    }
}

impl slog::Drain for Collector {
    type Ok = ();
    type Err = slog::Never;
    fn log(
        &self,
        record: &slog::Record<'_>,
        values: &slog::OwnedKVList,
    ) -> Result<(), slog::Never> {
        use slog::KV as _;
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = write!(text, "{} {}", record.level(), record.msg());
        let _ = record.kv().serialize(record, &mut Fields(&mut text));
        let _ = values.serialize(record, &mut Fields(&mut text));
        text.push('\n');
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_ever_logged() {
    let collector = Collector::default();
    let log = slog::Logger::root(slog::Fuse(Cleaned(collector.clone())), slog::o!());
    let embedder: Arc<dyn Embedder> = Arc::new(embedders::Panicking);
    let server = Server::with(Options { log, embedder, ..Options::default() }).await;
    let owner = server.org("acme").await.owner;
    let limited = server.key_for(&owner, &["memory:read"]).await;
    let unknown = ApiKey::generate().expect("a key");
    let mistyped = format!("{}x", &key_of(&owner)[..56]);

    let mut keys = vec![mistyped, unknown.expose().to_owned()];
    keys.extend([&owner, &limited].map(|caller| key_of(caller).to_owned()));
    for key in &keys {
        let bearer =
            |method: Method, path: &str| server.nobody().request(method, path).bearer_auth(key);
        for request in [
            bearer(Method::GET, "/me"),
            bearer(Method::GET, "/nope"),
            bearer(Method::PUT, "/me"),
            bearer(Method::POST, "/projects").json(&json!({ "name": key })),
            bearer(Method::POST, "/projects").json(&json!({ "name": [key] })),
            bearer(Method::POST, "/projects").header("Idempotency-Key", format!("a {key}")),
            // a panic
            bearer(Method::POST, "/memory/search").json(&json!({ "query": key })),
            // where no key belongs
            bearer(Method::GET, "/me").query(&[("api_key", key)]),
            bearer(Method::GET, &format!("/keys/{key}")),
            bearer(Method::GET, &format!("/projects/{key}")),
            bearer(Method::GET, &format!("/spaces/{key}/sessions")),
            server.nobody().request(Method::GET, "/me").header("Authorization", key),
            server.nobody().request(Method::GET, "/me").header("X-Request-Id", key),
        ] {
            Answer::of(request).await;
        }
    }
    server.stop(std::time::Duration::from_secs(30)).await;
    let text = collector.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for status in [200, 401, 403, 404, 405, 500] {
        assert!(text.contains(&format!("status={status}")), "{status} was logged: {text}");
    }
    for key in &keys {
        assert!(!text.contains(&key[..20]), "{}: {text}", &key[..20]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_never_repeats_the_key() {
    let (server, owner) = start().await;
    let key = key_of(&owner);
    for answer in [
        owner.get("/me").await,
        authorized_as(&server, key).await,
        authorized_as(&server, &format!("Bearer {key}x")).await,
    ] {
        assert!(!answer.text.contains(key), "{}", answer.text);
        assert!(!answer.headers.values().any(|v| v.to_str().is_ok_and(|v| v.contains(key))));
    }
    // and the database does not hold it either
    let held = "SELECT count(*) FROM api_keys k WHERE position($1 in k::text) > 0";
    let row = server.sql().await.query_one(held, &[&&key[12..]]).await.expect("counted");
    assert_eq!(row.get::<_, i64>(0), 0);
}
