//! What a refused request costs.

use crate::fixture::mcp::Mcp;
use crate::fixture::{Answer, Options, Server, embedders};
use chrono::{DateTime, TimeDelta};
use futures::future::join_all;
use http::Method;
use serde_json::json;
use std::collections::BTreeMap;
use switchy_server::auth::ApiKey;
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::limits::Limits;
use switchy_server::mcp::server::Quotas;

/// Every version of every row of the database, with the locks that are kept in them: whatever is
/// written, or locked in a way that is, changes it.
async fn rows(server: &Server) -> BTreeMap<String, String> {
    let sql = server.sql().await;
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
    let mut all = BTreeMap::new();
    for table in sql.query(tables, &[]).await.expect("read") {
        let table: String = table.get(0);
        let versions = format!(
            "SELECT coalesce(string_agg(concat_ws(' ', t.ctid, t.xmin, t.xmax, t::text), E'\n' \
             ORDER BY t.ctid), '') FROM {table} t"
        );
        all.insert(table, sql.query_one(&versions, &[]).await.expect("read").get(0));
    }
    all
}

/// A server on which a key has one read, one write and one MCP call of each kind in a minute, and an
/// address one failure.
async fn start() -> (Server, ManualClock) {
    let clock =
        ManualClock::starting_at(DateTime::from_timestamp(1_767_225_600, 0).expect("a moment"));
    let server = Server::with(Options {
        limits: Limits { reads: 1, writes: 1, failures: 1 },
        mcp_quotas: "search=1,list=1,transcript=1,add_memory=1,post_message=1,other=1"
            .parse::<Quotas>()
            .expect("quotas"),
        clock: Clock::Manual(clock.clone()),
        embedder: embedders::none(),
        ..Options::default()
    })
    .await;
    (server, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_writes_nothing() {
    let (server, clock) = start().await;
    let owner = server.org("acme").await.owner;
    let mcp = Mcp::all(&server, &owner).await;
    let unknown = ApiKey::generate().expect("a key");
    let with = async |key: &str| {
        Answer::of(server.nobody().request(Method::GET, "/me").bearer_auth(key)).await
    };
    // what is allowed is spent
    owner.get("/me").await.data(200);
    owner.post("/memory", json!({ "content": "x", "visibility": "ORG" })).await.data(201);
    mcp.rpc("tools/list", json!({})).await.result();
    mcp.tool("list_spaces", json!({})).await;
    server.nobody().get("/me").await.fails(401, "AUTH_ERROR");
    clock.advance(TimeDelta::milliseconds(59_999));
    // so long ago that a request which is let through would mark the key as used
    let used = "UPDATE api_keys SET last_used_at = last_used_at - interval '1 hour'";
    server.sql().await.execute(used, &[]).await.expect("set");

    let before = rows(&server).await;
    for round in 0..5 {
        owner.get("/me").await.fails(429, "RATE_LIMIT");
        owner.get("/projects?limit=0").await.fails(429, "RATE_LIMIT");
        owner.post("/memory", json!([])).await.fails(429, "RATE_LIMIT");
        let key = format!("once-{round}");
        owner.post_once("/projects", &key, json!({ "name": "x" })).await.fails(429, "RATE_LIMIT");
        assert_eq!(mcp.rpc("tools/list", json!({})).await.status, 429);
        let call = json!({ "name": "list_spaces", "arguments": {} });
        assert_eq!(mcp.rpc("tools/call", call).await.status, 429);
        server.nobody().get("/me").await.fails(429, "RATE_LIMIT");
        with("sk_live_nonsense").await.fails(429, "RATE_LIMIT");
        with(unknown.expose()).await.fails(429, "RATE_LIMIT");
    }
    let raced = (0..20).map(|_| owner.get("/me"));
    assert!(join_all(raced).await.iter().all(|answer| answer.status == 429));
    assert_eq!(rows(&server).await, before);

    // and none of them has put off when the next one is allowed
    clock.advance(TimeDelta::milliseconds(1));
    owner.get("/me").await.data(200);
    assert_ne!(rows(&server).await, before, "what is allowed is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_requests_that_race_for_the_last_place_one_writes() {
    let (server, _clock) = start().await;
    let second = server
        .beside(Options {
            limits: Limits { reads: 1, writes: 1, failures: 1 },
            clock: Clock::Manual(ManualClock::starting_at(
                DateTime::from_timestamp(1_767_225_600, 0).expect("a moment"),
            )),
            embedder: embedders::none(),
            ..Options::default()
        })
        .await;
    let owner = server.org("acme").await.owner;
    let there = owner.at(&second.url);
    let raced = (0..30).map(|i| if i % 2 == 0 { owner.get("/me") } else { there.get("/me") });
    let answers = join_all(raced).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 429).count(), 29);
    // the row is as it was made: nobody has written, or locked, a later version of it
    let versions = "SELECT count(*), bool_and(xmax = 0 AND cardinality(hits) = 1) FROM rate_limits";
    let row = server.sql().await.query_one(versions, &[]).await.expect("read");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_is_over_is_refused_without_a_write() {
    let options = || Options { embedder: embedders::none(), ..Options::default() };
    let server = Server::with(options()).await;
    let org = server.org("acme").await;
    let grace = server.org("elsewhere").await.owner;
    let place = format!("/org/{}/invitations", org.id);
    let invite = json!({ "email": grace.email, "role": "MEMBER" });
    let made = org.owner.post(&place, invite).await.data(201)["invitation"].take();
    let token = made["token"].as_str().expect("a token");
    let accept = async |token: &str| {
        Answer::of(grace.request(Method::POST, &format!("/invitations/{token}/accept"))).await
    };
    let one = format!("{place}/{}", made["id"].as_str().expect("an id"));
    assert_eq!(org.owner.delete(&one).await.status, 204);
    // marks the key as used
    accept(token).await.fails(409, "CONFLICT");
    let before = rows(&server).await;
    for _ in 0..5 {
        accept(token).await.fails(409, "CONFLICT");
        accept(&format!("inv_{}", "a".repeat(43))).await.fails(404, "NOT_FOUND");
        accept("nonsense").await.fails(404, "NOT_FOUND");
    }
    assert_eq!(rows(&server).await, before);
}
