//! Rate limits (contract A6, E2): never more than the limit in any 60 seconds, for every key alone,
//! across all servers of one database.

use crate::fixture::{Answer, Caller, Options, Server, embedders};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use http::Method;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::limits::Limits;

/// The window, in milliseconds.
const WINDOW: i64 = 60_000;

fn clock() -> ManualClock {
    ManualClock::starting_at(DateTime::from_timestamp(1_767_225_600, 0).expect("a moment"))
}

fn options(reads: u32, writes: u32, failures: u32, clock: Clock) -> Options {
    let limits = Limits { reads, writes, failures };
    Options { limits, clock, embedder: embedders::none(), ..Options::default() }
}

/// A server with limits, whose clock the test moves; and somebody to ask it.
async fn start(reads: u32, writes: u32) -> (Server, Caller, ManualClock) {
    let clock = clock();
    let server = Server::with(options(reads, writes, 0, Clock::Manual(clock.clone()))).await;
    let owner = server.org("acme").await.owner;
    (server, owner, clock)
}

fn number(answer: &Answer, header: &str) -> u32 {
    answer.header(header).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("no {header}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_slides_and_never_holds_more_than_the_limit() {
    let (_server, owner, clock) = start(3, 0).await;
    // (milliseconds since the start, whether a read is let through then)
    let mut now = 0;
    for (at, allowed) in [
        (0, true),
        (30_000, true),
        (59_000, true),
        (59_000, false),
        (59_999, false),
        // the first one left the window, and only that one
        (60_000, true),
        (60_000, false),
        (89_999, false),
        (90_000, true),
        (90_001, false),
        (118_999, false),
        (119_000, true),
        (119_001, false),
        // after a pause, the limit and no more than that
        (500_000, true),
        (500_000, true),
        (500_000, true),
        (500_000, false),
    ] {
        clock.advance(TimeDelta::milliseconds(at - now));
        now = at;
        let answer = owner.get("/me").await;
        assert_eq!(answer.status, if allowed { 200 } else { 429 }, "at {at} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_does_not_count() {
    let (_server, owner, clock) = start(2, 0).await;
    for _ in 0..2 {
        owner.get("/me").await.data(200);
    }
    clock.advance(TimeDelta::seconds(30));
    for _ in 0..5 {
        owner.get("/me").await.fails(429, "RATE_LIMIT");
    }
    clock.advance(TimeDelta::seconds(30));
    for _ in 0..2 {
        owner.get("/me").await.data(200);
    }
    owner.get("/me").await.fails(429, "RATE_LIMIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_when_to_come_back_and_keeps_its_word() {
    let (_server, owner, clock) = start(2, 0).await;
    owner.get("/me").await.data(200);
    clock.advance(TimeDelta::milliseconds(20_500));
    owner.get("/me").await.data(200);
    let refused = owner.get("/me").await;
    let details = refused.fails(429, "RATE_LIMIT")["details"].clone();
    // the first place is free 60 s after the first request, that is in 39.5 s
    let expected = json!({ "limit": 2, "resetAt": "2026-01-01T00:01:00.000Z", "retryAfter": 40 });
    assert_eq!(details, expected);
    assert_eq!(number(&refused, "retry-after"), 40);
    assert_eq!(number(&refused, "ratelimit-limit"), 2);
    assert_eq!(number(&refused, "ratelimit-remaining"), 0);
    assert_eq!(number(&refused, "ratelimit-reset"), 40);
    // never 0, however short the wait
    clock.advance(TimeDelta::milliseconds(39_499));
    let refused = owner.get("/me").await;
    assert_eq!(refused.fails(429, "RATE_LIMIT")["details"]["retryAfter"], 1);
    assert_eq!(number(&refused, "retry-after"), 1);
    clock.advance(TimeDelta::seconds(1));
    owner.get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_authenticated_answer_tells_what_is_left_of_its_bucket() {
    let (server, owner, clock) = start(6, 5).await;
    let told = |answer: &Answer| {
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|h| number(answer, h))
    };
    let answer = owner.get("/me").await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (200, [6, 5, 60]));
    clock.advance(TimeDelta::seconds(10));
    // failures too: 400, 404, 403
    let answer = owner.get("/projects?limit=0").await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (400, [6, 4, 50]));
    let answer = owner.get("/projects/nope").await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (404, [6, 3, 50]));
    let reader = server.key_for(&owner, &["memory:read"]).await;
    let answer = reader.post("/projects", json!({ "name": "x" })).await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (403, [5, 4, 60]));
    // writes have a bucket of their own
    let answer = owner.post("/projects", json!({ "name": "Platform" })).await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (201, [5, 4, 60]));
    let answer = owner.post("/projects", json!({ "name": "Platform" })).await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (409, [5, 3, 60]));
    let answer = owner.patch("/spaces/platform/sessions/nope", json!({})).await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (404, [5, 2, 60]));
    let answer = owner.delete("/memory/nope").await;
    assert_eq!((answer.status.as_u16(), told(&answer)), (404, [5, 1, 60]));
    // who is not authenticated has no bucket to be told of; nor has a route that nobody has
    for answer in
        [server.nobody().get("/me").await, owner.get("/nope").await, owner.get("/health").await]
    {
        assert_eq!(answer.header("ratelimit-limit"), None, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_are_counted_apart_and_a_search_is_a_read() {
    let (_server, owner, _clock) = start(3, 2).await;
    for name in ["one", "two"] {
        owner.post("/projects", json!({ "name": name })).await.data(201);
    }
    owner.post("/projects", json!({ "name": "three" })).await.fails(429, "RATE_LIMIT");
    owner.delete("/memory/nope").await.fails(429, "RATE_LIMIT");
    owner.patch("/spaces/one/sessions/nope", json!({})).await.fails(429, "RATE_LIMIT");

    let answer = owner.post("/memory/search", json!({ "query": "x" })).await;
    assert_eq!(number(&answer, "ratelimit-limit"), 3);
    assert_eq!(number(&answer, "ratelimit-remaining"), 2);
    answer.data(200);
    // HEAD is a GET
    let head = Answer::of(owner.request(Method::HEAD, "/me")).await;
    assert_eq!((head.status.as_u16(), number(&head, "ratelimit-remaining")), (200, 1));
    owner.get("/me").await.data(200);
    owner.get("/me").await.fails(429, "RATE_LIMIT");
    owner.post("/memory/search", json!({ "query": "x" })).await.fails(429, "RATE_LIMIT");
    let head = Answer::of(owner.request(Method::HEAD, "/me")).await;
    assert_eq!((head.status.as_u16(), number(&head, "retry-after")), (429, 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_costs_what_a_good_one_costs() {
    let (_server, owner, _clock) = start(0, 2).await;
    owner.post("/projects", json!({})).await.fails(400, "VALIDATION_ERROR");
    owner.post("/memory", json!([])).await.fails(400, "VALIDATION_ERROR");
    owner.post("/projects", json!({ "name": "x" })).await.fails(429, "RATE_LIMIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_has_a_limit_of_its_own() {
    let (server, owner, _clock) = start(1, 1).await;
    owner.get("/me").await.data(200);
    owner.get("/me").await.fails(429, "RATE_LIMIT");
    // another key of the same user, and somebody else
    server.key_for(&owner, &["*"]).await.get("/me").await.data(200);
    server.org("globex").await.owner.get("/me").await.data(200);
    owner.get("/me").await.fails(429, "RATE_LIMIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_one_database_share_the_limit() {
    let (server, owner, clock) = start(3, 0).await;
    let second = server.beside(options(3, 0, 0, Clock::Manual(clock.clone()))).await;
    let there = owner.at(&second.url);
    owner.get("/me").await.data(200);
    there.get("/me").await.data(200);
    owner.get("/me").await.data(200);
    there.get("/me").await.fails(429, "RATE_LIMIT");
    owner.get("/me").await.fails(429, "RATE_LIMIT");
    clock.advance(TimeDelta::seconds(60));
    there.get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_requests_exactly_the_limit_is_let_through() {
    // the database's own clock, as in production
    let server = Server::with(options(10, 0, 0, Clock::Database)).await;
    let second = server.beside(options(10, 0, 0, Clock::Database)).await;
    let owner = server.org("acme").await.owner;
    let there = owner.at(&second.url);
    let answers = join_all((0..30).map(|i| {
        let caller = if i % 2 == 0 { &owner } else { &there };
        async move { caller.get("/me").await }
    }))
    .await;
    let through: Vec<&Answer> = answers.iter().filter(|a| a.status == 200).collect();
    assert_eq!(through.len(), 10);
    assert_eq!(answers.iter().filter(|a| a.status == 429).count(), 20);
    // nobody was told the same
    let mut left: Vec<u32> = through.iter().map(|a| number(a, "ratelimit-remaining")).collect();
    left.sort_unstable();
    assert_eq!(left, (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_means_unlimited() {
    let (server, owner, _clock) = start(0, 0).await;
    for _ in 0..70 {
        let answer = owner.get("/me").await;
        assert_eq!(answer.header("ratelimit-limit"), None);
        answer.data(200);
    }
    for _ in 0..25 {
        server.nobody().get("/me").await.fails(401, "AUTH_ERROR");
        owner.delete("/memory/nope").await.fails(404, "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_keeps_failing_is_refused_and_valid_keys_from_there_are_not() {
    let clock = clock();
    let server = Server::with(options(0, 0, 3, Clock::Manual(clock.clone()))).await;
    let owner = server.org("acme").await.owner;
    let with = async |key: &str| {
        Answer::of(server.nobody().request(Method::GET, "/me").bearer_auth(key)).await
    };
    let unknown = switchy_server::auth::ApiKey::generate().expect("a key");
    // no key, a mistyped one, one that does not exist: all the same
    server.nobody().get("/me").await.fails(401, "AUTH_ERROR");
    with("sk_live_nonsense").await.fails(401, "AUTH_ERROR");
    with(unknown.expose()).await.fails(401, "AUTH_ERROR");
    for refused in [
        server.nobody().get("/me").await,
        with("sk_live_nonsense").await,
        with(unknown.expose()).await,
        server.nobody().post("/projects", json!({})).await,
    ] {
        assert_eq!(refused.fails(429, "RATE_LIMIT")["details"]["limit"], 3);
        assert_eq!(number(&refused, "retry-after"), 60);
    }
    owner.get("/me").await.data(200);
    clock.advance(TimeDelta::seconds(60));
    server.nobody().get("/me").await.fails(401, "AUTH_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_above_a_thousand_is_kept_by_two_windows() {
    let (server, owner, _clock) = start(5_000, 0).await;
    let answer = owner.get("/me").await;
    assert_eq!(number(&answer, "ratelimit-limit"), 5_000);
    assert_eq!(number(&answer, "ratelimit-remaining"), 4_999);

    let sql = server.sql().await;
    let let_through = async |limit: i32, second: i32| -> i64 {
        // the function is asked anew for every row, since the subject depends on it
        let burst = "SELECT count(*) FILTER (WHERE c.allowed) FROM generate_series(1, 1300) g, \
                     LATERAL count_request('burst-' || $1::int || left(g::text, 0), 'read', $1, \
                     '2026-01-01Z'::timestamptz + $2::int * interval '1 second') c";
        sql.query_one(burst, &[&limit, &second]).await.expect("counted").get(0)
    };
    for limit in [1_000, 1_001] {
        assert_eq!(let_through(limit, 0).await, i64::from(limit));
        assert_eq!(let_through(limit, 30).await, 0);
    }
    // up to 1,000 the count is exact
    assert_eq!(let_through(1_000, 60).await, 1_000);
    // above, the window before weighs as much as it still overlaps
    assert_eq!(let_through(1_001, 60).await, 0);
    assert_eq!(let_through(1_001, 90).await, 500);
    assert_eq!(let_through(1_001, 240).await, 1_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_nobody_touched_for_a_day_are_forgotten() {
    let (server, owner, clock) = start(5, 5).await;
    owner.get("/me").await.data(200);
    let count = async || -> i64 {
        let sql = server.sql().await;
        sql.query_one("SELECT count(*) FROM rate_limits", &[]).await.expect("counted").get(0)
    };
    clock.advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    switchy_server::store::idempotency::expire(&server.store).await.expect("expired");
    assert_eq!(count().await, 1);
    clock.advance(TimeDelta::seconds(1));
    switchy_server::store::idempotency::expire(&server.store).await.expect("expired");
    assert_eq!(count().await, 0);
}

#[test]
fn no_sixty_seconds_ever_hold_more_than_the_limit_and_none_is_refused_in_vain() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (server, sql) = runtime.block_on(async {
        // the server's own clock must not find these hits expired
        let server = Server::with(options(0, 0, 0, Clock::Manual(clock()))).await;
        let sql = server.sql().await;
        (server, sql)
    });
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    // how long to wait before each request: bursts, and steps around the window's edge
    let wait = prop_oneof![3 => Just(0i64), 3 => 1i64..15_000, 1 => 59_998i64..60_003];
    let plans = (1i32..6, proptest::collection::vec(wait, 1..60));
    let subjects = std::sync::atomic::AtomicU32::new(0);
    let outcome = TestRunner::new(config).run(&plans, |(limit, waits)| {
        let subject = subjects.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let (mut now, mut through) = (0i64, Vec::<i64>::new());
        for wait in waits {
            now += wait;
            let (allowed, remaining) = runtime.block_on(async {
                let count = "SELECT allowed, remaining FROM count_request($1, 'read', $2, \
                             '2026-01-01Z'::timestamptz + $3::bigint * interval '1 millisecond')";
                let row = sql.query_one(count, &[&subject, &limit, &now]).await.expect("counted");
                (row.get::<_, bool>(0), row.get::<_, i32>(1))
            });
            let held = through.iter().filter(|at| **at > now - WINDOW).count();
            prop_assert_eq!(allowed, held < usize::try_from(limit).unwrap_or_default());
            if allowed {
                through.push(now);
            }
            let held = through.iter().filter(|at| **at > now - WINDOW).count();
            prop_assert_eq!(
                usize::try_from(remaining + i32::try_from(held).unwrap_or(0)).ok(),
                usize::try_from(limit).ok()
            );
        }
        Ok(())
    });
    runtime.block_on(async { drop(server) });
    outcome.expect("the rule holds");
}

/// A moment to compare answers with; keeps the constant above honest.
#[test]
fn the_clock_of_these_tests_starts_with_the_year() {
    let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("a moment");
    assert_eq!(Clock::Manual(clock()).now(), start);
}
