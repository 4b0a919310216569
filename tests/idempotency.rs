//! `Idempotency-Key` (contract A5): the first request wins, and everybody after it is told what it
//! was told; whatever dies in between, an effect happens once or not at all.

use crate::fixture::{Answer, Caller, Options, Server, embedders, until_somebody_waits};
use chrono::{DateTime, TimeDelta};
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::limits::Limits;

fn options() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

async fn start() -> (Server, Caller) {
    let server = Server::with(options()).await;
    let owner = server.org("acme").await.owner;
    (server, owner)
}

/// A server whose clock the test moves.
async fn start_at_will(limits: Limits) -> (Server, Caller, ManualClock) {
    let start = DateTime::from_timestamp(1_767_225_600, 0).expect("a moment");
    let clock = ManualClock::starting_at(start);
    let server =
        Server::with(Options { clock: Clock::Manual(clock.clone()), limits, ..options() }).await;
    let owner = server.org("acme").await.owner;
    (server, owner, clock)
}

fn note() -> Value {
    json!({ "content": "the release captain holds the lock", "visibility": "ORG" })
}

async fn notes(caller: &Caller) -> u64 {
    caller.get("/memory").await.data(200)["total"].as_u64().expect("a total")
}

async fn rows(server: &Server, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    server.sql().await.query_one(&count, &[]).await.expect("counted").get(0)
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// The same answer as `first`, and marked as a replay.
#[track_caller]
fn replays(answer: &Answer, first: &Answer) {
    assert!(!is_replay(first), "the first answer is not a replay");
    assert!(is_replay(answer), "{} {}", answer.status, answer.text);
    assert_eq!(answer.status, first.status);
    assert_eq!(answer.text, first.text, "byte for byte");
    assert_eq!(answer.header("location"), first.header("location"));
    assert_eq!(answer.header("content-type"), first.header("content-type"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_post_is_answered_as_the_first_and_done_once() {
    let (server, owner) = start().await;
    owner.space("Platform").await;
    for (path, body, table) in [
        ("/projects", json!({ "name": "Research" }), "spaces"),
        ("/spaces/platform/sessions", json!({ "name": "Upgrade" }), "sessions"),
        ("/memory", note(), "memories"),
    ] {
        let before = rows(&server, table).await;
        let first = owner.post_once(path, "once", body.clone()).await;
        assert_eq!(first.status, 201, "{}", first.text);
        assert!(first.header("location").is_some());
        for _ in 0..2 {
            replays(&owner.post_once(path, "once", body.clone()).await, &first);
        }
        assert_eq!(rows(&server, table).await, before + 1, "{path}");
    }
    // without a key, or with another one, it is another request
    owner.post("/memory", note()).await.data(201);
    let other = owner.post_once("/memory", "twice", note()).await;
    assert!(!is_replay(&other));
    assert_eq!(notes(&owner).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_under_the_same_key_is_409_and_does_nothing() {
    let (_server, owner) = start().await;
    let first = owner.post_once("/memory", "once", note()).await;
    let other = json!({ "content": "something else", "visibility": "ORG" });
    let refused = owner.post_once("/memory", "once", other).await;
    refused.fails(409, "CONFLICT");
    assert!(!is_replay(&refused));
    assert_eq!(refused.header("retry-after"), None, "waiting does not help");
    assert_eq!(notes(&owner).await, 1);
    replays(&owner.post_once("/memory", "once", note()).await, &first);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_first_is_running_the_others_are_told_to_wait() {
    let (server, owner) = start().await;
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let lock = sql.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE memories IN EXCLUSIVE MODE").await.expect("locked");
    let first = tokio::spawn({
        let owner = owner.clone();
        async move { owner.post_once("/memory", "once", note()).await }
    });
    until_somebody_waits(&watch).await;
    for body in [note(), json!({ "content": "other", "visibility": "ORG" })] {
        let early = owner.post_once("/memory", "once", body).await;
        early.fails(409, "CONFLICT");
        assert_eq!(early.header("retry-after"), Some("1"));
    }
    lock.rollback().await.expect("unlocked");
    let first = first.await.expect("an answer");
    assert_eq!(first.status, 201);
    replays(&owner.post_once("/memory", "once", note()).await, &first);
    assert_eq!(notes(&owner).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_for_twenty_four_hours() {
    let unlimited = Limits { reads: 0, writes: 0, failures: 0 };
    let (server, owner, clock) = start_at_will(unlimited).await;
    let first = owner.post_once("/memory", "once", note()).await;
    clock.advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    replays(&owner.post_once("/memory", "once", note()).await, &first);
    // a replay does not prolong it
    clock.advance(TimeDelta::seconds(1));
    let later = owner.post_once("/memory", "once", note()).await;
    assert_eq!(later.status, 201);
    assert!(!is_replay(&later));
    assert_eq!(notes(&owner).await, 2);
    replays(&owner.post_once("/memory", "once", note()).await, &later);

    assert_eq!(rows(&server, "idempotency_keys").await, 1);
    clock.advance(TimeDelta::hours(24));
    switchy_server::store::idempotency::expire(&server.store).await.expect("expired");
    assert_eq!(rows(&server, "idempotency_keys").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_api_key_or_path_has_keys_of_its_own() {
    let (server, owner) = start().await;
    owner.post_once("/memory", "once", note()).await.data(201);
    // the same user's other key; another member; another organization
    let org = server.org("globex").await;
    for caller in [server.key_for(&owner, &["*"]).await, org.owner] {
        let answer = caller.post_once("/memory", "once", note()).await;
        assert!(!is_replay(&answer));
        answer.data(201);
    }
    // another path, even with the same body
    let body = json!({ "name": "Platform", "content": "x", "visibility": "ORG" });
    let space = owner.post_once("/projects", "once", body.clone()).await;
    assert!(!is_replay(&space));
    space.data(201);
    let session = owner.post_once("/spaces/platform/sessions", "once", body).await;
    assert!(!is_replay(&session));
    let session = session.data(201)["session"].take();
    // methods that are idempotent by themselves ignore the header
    let path = format!("/spaces/platform/sessions/{}", session["id"].as_str().expect("an id"));
    for title in ["One", "Two"] {
        let request = owner.request(Method::PATCH, &path).header("Idempotency-Key", "once");
        let answer = Answer::of(request.json(&json!({ "title": title }))).await;
        assert!(!is_replay(&answer));
        assert_eq!(answer.data(200)["session"]["title"], title);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_is_part_of_what_a_key_stands_for() {
    let (server, owner) = start().await;
    owner.post_once("/memory", "once", note()).await.data(201);
    let claim = "SELECT c.outcome FROM idempotency_keys i, \
                 LATERAL claim_idempotency(i.key_id, $1, i.path, i.idempotency_key, \
                 i.request_digest, NULL) c";
    let sql = server.sql().await;
    for (method, outcome) in [("POST", "replay"), ("PUT", "claimed")] {
        let row = sql.query_one(claim, &[&method]).await.expect("claimed");
        assert_eq!(row.get::<_, String>(0), outcome);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_would_repeat_itself_is_replayed() {
    let (server, owner) = start().await;
    let org = server.org("globex").await;
    let outsider = server.member(&org, "eve", switchy_server::auth::OrgRole::Member).await;
    let space = org.owner.space("Platform").await;
    owner.space("Platform").await;
    let name = json!({ "name": "Upgrade" });

    // 400: fields, and JSON that is none
    let first = owner.post_once("/projects", "fields", json!({})).await;
    first.fails(400, "VALIDATION_ERROR");
    replays(&owner.post_once("/projects", "fields", json!({})).await, &first);
    let broken = async || {
        let request = owner.request(Method::POST, "/projects").header("Idempotency-Key", "broken");
        Answer::of(request.header("Content-Type", "application/json").body("{\"name\":")).await
    };
    let first = broken().await;
    first.fails(400, "VALIDATION_ERROR");
    replays(&broken().await, &first);
    // the key is spent: the corrected body needs another
    owner.post_once("/projects", "fields", json!({ "name": "x" })).await.fails(409, "CONFLICT");

    // 404, even when it would be found by now
    let first = owner.post_once("/spaces/research/sessions", "absent", name.clone()).await;
    first.fails(404, "NOT_FOUND");
    owner.space("Research").await;
    replays(&owner.post_once("/spaces/research/sessions", "absent", name.clone()).await, &first);

    // 403, even when it would be allowed by now
    let first = outsider.post_once("/spaces/platform/sessions", "outside", name.clone()).await;
    first.fails(403, "FORBIDDEN");
    server.admit(space["id"].as_str().expect("an id"), &outsider, "EDITOR").await;
    replays(
        &outsider.post_once("/spaces/platform/sessions", "outside", name.clone()).await,
        &first,
    );
    outsider.post_once("/spaces/platform/sessions", "inside", name).await.data(201);

    // 409: the slug is taken
    let taken = json!({ "name": "Platform" });
    let first = owner.post_once("/projects", "taken", taken.clone()).await;
    first.fails(409, "CONFLICT");
    replays(&owner.post_once("/projects", "taken", taken).await, &first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_attempt_may_repair_is_not_replayed() {
    let (server, owner) = start().await;
    let sql = server.sql().await;

    // 401
    sql.batch_execute("UPDATE api_keys SET revoked_at = now()").await.expect("revoked");
    owner.post_once("/memory", "auth", note()).await.fails(401, "AUTH_ERROR");
    sql.batch_execute("UPDATE api_keys SET revoked_at = NULL").await.expect("restored");
    let answer = owner.post_once("/memory", "auth", note()).await;
    assert!(!is_replay(&answer));
    answer.data(201);

    // 415: the body was not read
    let request = owner.request(Method::POST, "/memory").header("Idempotency-Key", "type");
    Answer::of(request.body(note().to_string())).await.fails(415, "VALIDATION_ERROR");
    owner.post_once("/memory", "type", note()).await.data(201);

    // 413, likewise
    let request = owner.request(Method::POST, "/memory").header("Idempotency-Key", "size");
    let request = request.header("Content-Type", "application/json");
    let large = Answer::of(request.body(" ".repeat(1024 * 1024 + 1))).await;
    large.fails(413, "VALIDATION_ERROR");
    owner.post_once("/memory", "size", note()).await.data(201);

    // 500, in the middle of the work
    sql.batch_execute(
        "CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql \
         AS $$ BEGIN RAISE EXCEPTION 'boom'; END $$; \
         CREATE TRIGGER boom AFTER INSERT ON memories FOR EACH ROW EXECUTE FUNCTION boom()",
    )
    .await
    .expect("a trigger");
    let before = notes(&owner).await;
    for _ in 0..2 {
        let answer = owner.post_once("/memory", "defect", note()).await;
        answer.fails(500, "INTERNAL_ERROR");
        assert!(!is_replay(&answer));
        assert!(!answer.text.contains("boom"), "{}", answer.text);
    }
    sql.batch_execute("DROP TRIGGER boom ON memories").await.expect("dropped");
    owner.post_once("/memory", "defect", note()).await.data(201);
    assert_eq!(notes(&owner).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_limit_is_not_replayed_and_a_replay_costs_one_write() {
    let limits = Limits { reads: 0, writes: 3, failures: 0 };
    let (_server, owner, clock) = start_at_will(limits).await;
    let first = owner.post_once("/memory", "once", note()).await;
    assert_eq!(first.header("ratelimit-remaining"), Some("2"));
    let again = owner.post_once("/memory", "once", note()).await;
    replays(&again, &first);
    assert_eq!(again.header("ratelimit-remaining"), Some("1"));
    replays(&owner.post_once("/memory", "once", note()).await, &first);
    let refused = owner.post_once("/memory", "once", note()).await;
    refused.fails(429, "RATE_LIMIT");
    assert!(!is_replay(&refused));
    owner.post_once("/memory", "new", note()).await.fails(429, "RATE_LIMIT");
    clock.advance(TimeDelta::seconds(60));
    let new = owner.post_once("/memory", "new", note()).await;
    assert!(!is_replay(&new));
    new.data(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_requests_on_two_servers_one_has_the_effect() {
    let (server, owner) = start().await;
    let second = server.beside(options()).await;
    let there = owner.at(&second.url);
    for round in 0..5 {
        let key = format!("race-{round}");
        let answers = join_all((0..12).map(|i| {
            let (caller, key) = (if i % 2 == 0 { &owner } else { &there }, key.as_str());
            async move { caller.post_once("/memory", key, note()).await }
        }))
        .await;
        let (done, waiting): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 201);
        assert_eq!(done.iter().filter(|a| !is_replay(a)).count(), 1);
        assert!(done.iter().all(|a| a.text == done[0].text));
        for answer in waiting {
            answer.fails(409, "CONFLICT");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        assert_eq!(notes(&owner).await, round + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_dies_leaves_neither_effect_nor_claim() {
    let (server, owner) = start().await;
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let lock = sql.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE memories IN EXCLUSIVE MODE").await.expect("locked");
    let dying = tokio::spawn({
        let owner = owner.clone();
        async move { owner.post_once("/memory", "once", note()).await }
    });
    until_somebody_waits(&watch).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
    watch.query(kill, &[]).await.expect("killed");
    let died = dying.await.expect("an answer");
    died.fails(503, "INTERNAL_ERROR");
    assert!(died.header("retry-after").is_some());
    lock.rollback().await.expect("unlocked");
    assert_eq!(rows(&server, "memories").await, 0);
    assert_eq!(rows(&server, "idempotency_keys").await, 0);
    let answer = owner.post_once("/memory", "once", note()).await;
    assert!(!is_replay(&answer));
    answer.data(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_its_deadline_can_be_repeated() {
    let deadline = Duration::from_millis(500);
    let server = Server::with(Options { request_deadline: deadline, ..options() }).await;
    let owner = server.org("acme").await.owner;
    let mut sql = server.sql().await;
    let lock = sql.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE memories IN EXCLUSIVE MODE").await.expect("locked");
    owner.post_once("/memory", "once", note()).await.fails(503, "INTERNAL_ERROR");
    lock.rollback().await.expect("unlocked");
    // whoever still writes is waited for
    let settled = sql.transaction().await.expect("a transaction");
    settled.batch_execute("LOCK TABLE memories IN SHARE MODE").await.expect("nobody writes");
    settled.rollback().await.expect("unlocked");
    assert_eq!(rows(&server, "memories").await, 0);
    let answer = owner.post_once("/memory", "once", note()).await;
    assert!(!is_replay(&answer));
    answer.data(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_1_to_255_visible_ascii_characters_sent_once() {
    let (server, owner) = start().await;
    for bad in ["", "a b", "a\tb", "\u{fc}", &"x".repeat(256)] {
        let refused = owner.post_once("/memory", bad, note()).await;
        let error = refused.fails(400, "VALIDATION_ERROR");
        assert_eq!(error["details"]["errors"][0]["path"], json!(["headers", "Idempotency-Key"]));
    }
    let request = owner.request(Method::POST, "/memory").header("Idempotency-Key", "a");
    let twice = Answer::of(request.header("Idempotency-Key", "a").json(&note())).await;
    twice.fails(400, "VALIDATION_ERROR");
    assert_eq!(rows(&server, "memories").await, 0);
    for good in ["!", "~", "\"quoted\"", &"x".repeat(255)] {
        let first = owner.post_once("/memory", good, note()).await;
        assert_eq!(first.status, 201, "{good}");
        replays(&owner.post_once("/memory", good, note()).await, &first);
    }
}
