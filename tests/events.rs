//! Live events: `/spaces/{slug}/sessions/{sessionId}/events`.

use crate::fixture::logs::Logs;
use crate::fixture::shape::{fields, id, issues};
use crate::fixture::stream::{Stream, refused};
use crate::fixture::{Answer, Caller, Options, Org, Server, embedders};
use chrono::{DateTime, TimeDelta};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use switchy_server::auth::OrgRole;
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::events::EventsConfig;
use switchy_server::limits::Limits;

/// So seldom that nothing in a test can come from a heartbeat.
const NEVER: Duration = Duration::from_secs(3600);
/// So often that a test need not wait for one.
const OFTEN: Duration = Duration::from_millis(50);

fn beating(heartbeat: Duration) -> Options {
    let events = EventsConfig { heartbeat, ..EventsConfig::default() };
    Options { embedder: embedders::none(), events, ..Options::default() }
}

/// An organization with a Space `team` and a session in it, both made by the OWNER.
struct Team {
    server: Server,
    org: Org,
    space: Value,
    session: Value,
}

impl Team {
    async fn start() -> Team {
        Team::with(beating(NEVER)).await
    }

    async fn with(options: Options) -> Team {
        let server = Server::with(options).await;
        let org = server.org("acme").await;
        let space = org.owner.space("Team").await;
        let body = json!({ "name": "Upgrade" });
        let session = org.owner.post("/spaces/team/sessions", body).await.data(201);
        listens(&server).await;
        Team { server, org, space, session: session["session"].clone() }
    }

    fn owner(&self) -> &Caller {
        &self.org.owner
    }

    fn path(&self) -> String {
        format!("/spaces/team/sessions/{}", id(&self.session))
    }

    fn events(&self) -> String {
        format!("{}/events", self.path())
    }

    async fn open(&self) -> Stream {
        Stream::open(self.owner(), &self.events(), None).await
    }

    async fn say(&self, caller: &Caller, body: &str) -> Value {
        let path = format!("{}/messages", self.path());
        caller.post(&path, json!({ "body": body })).await.data(201)["message"].take()
    }

    async fn sql(&self, sql: &str) {
        self.server.sql().await.batch_execute(sql).await.expect(sql);
    }
}

/// Waits until every server on the database listens.
async fn listens(server: &Server) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND query = 'SET ROLE switchy_app; LISTEN switchy_events' AND state = 'idle'";
    let sql = server.sql().await;
    loop {
        let listeners: i64 = sql.query_one(count, &[]).await.expect("counted").get(0);
        if listeners > 0 {
            return listeners;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn everything_that_happens_comes_in_order_with_its_number() {
    let team = Team::start().await;
    let bob = team.server.member(&team.org, "bob", OrgRole::Member).await;
    team.server.admit(id(&team.space), &bob, "VIEWER").await;
    team.say(team.owner(), "before anybody listened").await;

    let mut streams = [team.open().await, Stream::open(&bob, &team.events(), None).await];
    for stream in &streams {
        let header = |name: &str| stream.headers.get(name).and_then(|v| v.to_str().ok());
        assert_eq!(header("content-type"), Some("text/event-stream"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("x-accel-buffering"), Some("no"));
        assert!(header("x-request-id").is_some());
        assert_eq!((stream.opening.id, stream.opening.retry), (Some(1), Some(2_000)));
        assert!(stream.opening.comment.is_some());
    }
    let owner = team.owner();
    let message = team.say(owner, "line one\nline two").await;
    let reactions = format!("/spaces/team/messages/{}/reactions", id(&message));
    for _ in 0..2 {
        owner.post(&reactions, json!({ "emoji": "❤" })).await.data(201);
    }
    for _ in 0..2 {
        let answer = owner.delete(&format!("{reactions}/%E2%9D%A4")).await;
        assert_eq!(answer.status, 204);
    }
    let change = json!({ "title": "Upgrade to 18" });
    let changed = owner.patch(&team.path(), change.clone()).await.data(200)["session"].take();
    owner.patch(&team.path(), change).await.data(200); // changes nothing that anybody sees
    for _ in 0..2 {
        owner.delete(&team.path()).await;
    }

    for stream in &mut streams {
        let event = stream.event().await;
        assert_eq!((event.id, event.event.as_str()), (Some(2), "message.created"));
        assert_eq!(event.data, json!({ "message": message }));
        for (number, kind, count) in [(3, "reaction.added", 1), (4, "reaction.removed", 0)] {
            let event = stream.event().await;
            assert_eq!((event.id, event.event.as_str()), (Some(number), kind), "once each");
            let expected = json!({
                "messageId": message["id"], "emoji": "❤️", "userId": owner.user_id.as_str(),
                "count": count,
            });
            assert_eq!(event.data, expected);
        }
        let event = stream.event().await;
        assert_eq!((event.id, event.event.as_str()), (Some(5), "session.updated"));
        assert_eq!(fields(&event.data), ["session"]);
        assert_eq!(event.data["session"]["title"], changed["title"]);
        assert_eq!(fields(&event.data["session"]), fields(&changed));
        let event = stream.event().await;
        assert_eq!((event.id, event.event.as_str()), (Some(6), "session.archived"));
        assert!(event.data["session"]["archivedAt"].is_string());
    }
}

#[tokio::test]
async fn what_happens_on_one_server_is_told_on_all() {
    let team = Team::start().await;
    let beside = team.server.beside(beating(NEVER)).await;
    while listens(&team.server).await < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let there = team.owner().at(&beside.url);
    let mut streams = [team.open().await, Stream::open(&there, &team.events(), None).await];
    for (number, caller) in [(1, team.owner()), (2, &there)] {
        let message = team.say(caller, "hello").await;
        for stream in &mut streams {
            let event = stream.event().await;
            assert_eq!(event.id, Some(number));
            assert_eq!(event.data["message"], message);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_told_twice_by_who_resumes_while_others_post() {
    const WRITERS: i64 = 4;
    const EACH: i64 = 15;
    let team = Team::start().await;
    let beside = team.server.beside(beating(NEVER)).await;
    let urls = [team.server.url.clone(), beside.url.clone()];
    let writers = (0..WRITERS).map(|n| {
        let caller = team.owner().at(&urls[usize::try_from(n % 2).expect("0 or 1")]);
        let path = format!("{}/messages", team.path());
        tokio::spawn(async move {
            for i in 0..EACH {
                let body = json!({ "body": format!("{n} {i}") });
                caller.post(&path, body).await.data(201);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    // one who hangs up all the time, and begins at either server; and one who stays
    let resuming = async {
        let mut seen = Vec::new();
        while i64::try_from(seen.len()).expect("few") < WRITERS * EACH {
            let last = i64::try_from(seen.len()).expect("few");
            let caller = team.owner().at(&urls[seen.len() % 2]);
            let mut stream = Stream::open(&caller, &team.events(), Some(last)).await;
            assert_eq!(stream.opening.id, Some(last));
            for _ in 0..=(last % 5) {
                let event = stream.event().await;
                seen.push(event.id.expect("a number"));
                if i64::try_from(seen.len()).expect("few") == WRITERS * EACH {
                    break;
                }
            }
        }
        seen
    };
    let staying = async {
        let mut stream = Stream::open(team.owner(), &team.events(), Some(0)).await;
        let (mut seen, mut said) = (Vec::new(), BTreeSet::new());
        for _ in 0..WRITERS * EACH {
            let event = stream.event().await;
            seen.push(event.id.expect("a number"));
            said.insert(event.data["message"]["body"].as_str().expect("a text").to_owned());
        }
        assert_eq!(said.len(), seen.len());
        seen
    };
    let (resumed, stayed) = tokio::join!(resuming, staying);
    let all: Vec<i64> = (1..=WRITERS * EACH).collect();
    assert_eq!(resumed, all);
    assert_eq!(stayed, all);
    for writer in writers {
        writer.await.expect("written");
    }
}

#[tokio::test]
async fn a_stream_resumes_by_header_or_parameter_and_the_header_wins() {
    let team = Team::start().await;
    for i in 1..=3 {
        team.say(team.owner(), &format!("m{i}")).await;
    }
    let get = |path: String| team.owner().request(Method::GET, &path);
    for (query, header, first) in
        [("?lastEventId=1", None, 2), ("", Some("2"), 3), ("?lastEventId=0", Some("1"), 2)]
    {
        let mut request = get(format!("{}{query}", team.events()));
        if let Some(header) = header {
            request = request.header("Last-Event-ID", header);
        }
        assert_eq!(Stream::of(request).await.event().await.id, Some(first), "{query} {header:?}");
    }
    // empty is absent: from now on
    let mut stream = Stream::of(get(format!("{}?lastEventId=", team.events()))).await;
    assert_eq!(stream.opening.id, Some(3));
    team.say(team.owner(), "m4").await;
    assert_eq!(stream.event().await.id, Some(4));

    for bad in ["x", "-1", "1.0", "+1", " ", "9223372036854775808", "١"] {
        let request = get(team.events()).query(&[("lastEventId", bad)]);
        assert_eq!(issues(&Answer::of(request).await), ["query.lastEventId"], "{bad}");
    }
    for bad in ["x", "-1", "1, 2", "99999999999999999999"] {
        let request = get(team.events()).header("Last-Event-ID", bad);
        assert_eq!(issues(&Answer::of(request).await), ["headers.Last-Event-ID"], "{bad}");
    }
    let twice = get(team.events()).header("Last-Event-ID", "1").header("Last-Event-ID", "2");
    assert_eq!(issues(&Answer::of(twice).await), ["headers.Last-Event-ID"]);
}

#[tokio::test]
async fn who_was_away_for_too_long_is_told_to_read_the_list_again() {
    let team = Team::start().await;
    for i in 1..=3 {
        team.say(team.owner(), &format!("m{i}")).await;
    }
    team.sql("UPDATE session_events SET created_at = now() - interval '24 hours' WHERE seq < 3")
        .await;
    // a server that starts removes what is too old
    let _beside = team.server.beside(beating(NEVER)).await;
    let sql = team.server.sql().await;
    let left = async || -> i64 {
        let count = "SELECT count(*) FROM session_events";
        sql.query_one(count, &[]).await.expect("counted").get(0)
    };
    while left().await != 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // what is kept can be resumed
    let mut stream = Stream::open(team.owner(), &team.events(), Some(2)).await;
    assert_eq!(stream.event().await.id, Some(3));
    // numbers that were never given: of another session, or from before a backup was restored
    for after in [0, 1, 77, i64::MAX] {
        let mut stream = Stream::open(team.owner(), &team.events(), Some(after)).await;
        let reset = stream.event().await;
        assert_eq!((reset.event.as_str(), reset.id), ("reset", Some(3)), "{after}");
        assert_eq!(fields(&reset.data), ["message"]);
    }
    // everything is gone, and goes on
    team.sql("DELETE FROM session_events").await;
    let mut stream = Stream::open(team.owner(), &team.events(), Some(2)).await;
    assert_eq!(stream.event().await.event, "reset");
    team.say(team.owner(), "m4").await;
    let event = stream.event().await;
    assert_eq!((event.event.as_str(), event.id), ("message.created", Some(4)));
}

#[tokio::test]
async fn a_stream_ends_at_once_when_its_caller_may_not_read_on() {
    let team = Team::start().await;
    let newest = "(SELECT id FROM api_keys ORDER BY created_at DESC, id DESC LIMIT 1)";
    let session = id(&team.session);
    let space = id(&team.space);
    for (change, reason, back) in [
        (
            format!("UPDATE api_keys SET revoked_at = now() WHERE id = {newest}"),
            "key_invalid",
            String::new(),
        ),
        // another secret under the same id
        (
            format!("UPDATE api_keys SET digest = '\\x00' WHERE id = {newest}"),
            "key_invalid",
            format!("DELETE FROM api_keys WHERE id = {newest}"),
        ),
        (
            format!("UPDATE api_keys SET scopes = '{{memory:read}}' WHERE id = {newest}"),
            "key_invalid",
            String::new(),
        ),
        (format!("DELETE FROM api_keys WHERE id = {newest}"), "key_invalid", String::new()),
        ("DELETE FROM members WHERE user_id = $USER".into(), "key_invalid", String::new()),
        ("DELETE FROM space_members WHERE user_id = $USER".into(), "not_a_member", String::new()),
        (
            format!("UPDATE spaces SET archived_at = now() WHERE id = '{space}'"),
            "space_archived",
            format!("UPDATE spaces SET archived_at = NULL WHERE id = '{space}'"),
        ),
        (
            format!("UPDATE sessions SET visibility = 'private' WHERE id = '{session}'"),
            "session_hidden",
            format!("UPDATE sessions SET visibility = 'workspace' WHERE id = '{session}'"),
        ),
    ] {
        let name = format!("p{}", uuid());
        let person = team.server.member(&team.org, &name, OrgRole::Member).await;
        team.server.admit(space, &person, "EDITOR").await;
        let mut stream = Stream::open(&person, &team.events(), None).await;
        let said = team.say(team.owner(), "still here").await;
        let event = loop {
            let event = stream.event().await;
            if event.event == "message.created" {
                break event;
            }
        };
        assert_eq!(event.data["message"], said);
        team.sql(&change.replace("$USER", &format!("'{}'", person.user_id))).await;
        assert_eq!(stream.end().await, reason, "{change}");
        // nothing that comes later is for him, and he is told so
        let again = refused(&person, &team.events()).await;
        assert!([401, 403, 404].contains(&again.status.as_u16()), "{change}: {}", again.text);
        if !back.is_empty() {
            team.sql(&back).await;
        }
    }
}

/// Something that no other has.
fn uuid() -> String {
    switchy_server::store::ids::UserId::generate().to_string()
}

#[tokio::test]
async fn nothing_is_told_that_was_said_after_the_caller_lost_sight_of_it() {
    let team = Team::start().await;
    let eve = team.server.member(&team.org, "eve", OrgRole::Member).await;
    team.server.admit(id(&team.space), &eve, "MEMBER").await;
    let mut stream = Stream::open(&eve, &team.events(), None).await;
    // both in one transaction: there is no moment in between
    let owner = team.owner();
    let sql = format!(
        "BEGIN; DELETE FROM space_members WHERE user_id = '{}';
         INSERT INTO messages (id, org_id, session_id, author_type, author_user_id, body)
         VALUES ('c9', '{}', '{}', 'USER', '{}', 'she is gone'); COMMIT",
        eve.user_id,
        owner.org_id,
        id(&team.session),
        owner.user_id
    );
    team.sql(&sql).await;
    assert_eq!(stream.end().await, "not_a_member");
}

#[tokio::test]
async fn a_key_that_expires_ends_its_streams_at_the_next_heartbeat() {
    let start = DateTime::from_timestamp(1_767_225_600, 0).expect("a moment");
    let clock = ManualClock::starting_at(start);
    let options = Options { clock: Clock::Manual(clock.clone()), ..beating(OFTEN) };
    let team = Team::with(options).await;
    team.sql("UPDATE api_keys SET expires_at = '2026-01-01 00:00:10Z'").await;
    let mut stream = team.open().await;
    clock.advance(TimeDelta::milliseconds(9_999));
    let beat = stream.block().await.expect("a heartbeat");
    assert_eq!((beat.event.as_str(), beat.comment.as_deref()), ("", Some("heartbeat")));
    clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(stream.end().await, "key_invalid");
}

#[tokio::test]
async fn a_heartbeat_makes_up_for_a_word_that_was_missed() {
    let team = Team::with(beating(OFTEN)).await;
    let mut stream = team.open().await;
    for _ in 0..3 {
        let beat = stream.block().await.expect("a heartbeat");
        assert_eq!(beat.comment.as_deref(), Some("heartbeat"));
    }
    // nobody is told of this one
    team.sql("ALTER TABLE messages DISABLE TRIGGER tell").await;
    let message = team.say(team.owner(), "psst").await;
    let sql = format!(
        "UPDATE sessions SET last_event_seq = 1 WHERE id = '{session}';
         INSERT INTO session_events (org_id, session_id, seq, type, message_id, created_at)
         SELECT org_id, id, 1, 'message.created', '{message}', now() FROM sessions
         WHERE id = '{session}'",
        session = id(&team.session),
        message = id(&message)
    );
    team.sql(&format!("BEGIN; {sql}; COMMIT")).await;
    assert_eq!(stream.event().await.data["message"], message);
}

#[tokio::test]
async fn a_server_that_lost_its_ear_listens_again_and_catches_up() {
    let (log, logs) = Logs::new();
    let team = Team::with(Options { log, ..beating(NEVER) }).await;
    let mut stream = team.open().await;
    for round in 1..=3 {
        let deafen = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                      WHERE datname = current_database() AND query LIKE '%LISTEN switchy_events'";
        team.sql(deafen).await;
        let message = team.say(team.owner(), "can you hear me?").await;
        let event = stream.event().await;
        assert_eq!((event.id, &event.data["message"]), (Some(round), &message));
        listens(&team.server).await;
    }
    let lines = logs.lines();
    assert!(lines.iter().any(|l| l.starts_with("WARN live events are late")), "{lines:#?}");
}

#[tokio::test]
async fn a_key_has_ten_streams_and_whoever_hangs_up_makes_room() {
    let team = Team::start().await;
    let eve = team.server.member(&team.org, "eve", OrgRole::Member).await;
    team.server.admit(id(&team.space), &eve, "VIEWER").await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(team.open().await);
    }
    let refusal = refused(team.owner(), &team.events()).await;
    refusal.fails(409, "CONFLICT");
    assert_eq!(refusal.header("retry-after"), None, "waiting alone does not help");
    // others have their own
    drop(Stream::open(&eve, &team.events(), None).await);
    open.pop();
    // that he has gone shows a moment later
    let begun = Instant::now();
    while refused_or_open(team.owner(), &team.events()).await == 409 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the place is not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn refused_or_open(caller: &Caller, path: &str) -> u16 {
    let response = caller.request(Method::GET, path).send().await.expect("an answer");
    response.status().as_u16()
}

#[tokio::test]
async fn a_server_has_so_many_places_and_says_when_there_is_none() {
    let events = EventsConfig { heartbeat: NEVER, streams_per_key: 10, streams: 2 };
    let team = Team::with(Options { events, ..beating(NEVER) }).await;
    let _open = [team.open().await, team.open().await];
    let refusal = refused(team.owner(), &team.events()).await;
    refusal.fails(503, "INTERNAL_ERROR");
    assert!(refusal.header("retry-after").is_some());
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_does_not_wait_for_its_streams() {
    let team = Team::start().await;
    let mut streams = [team.open().await, team.open().await];
    let begun = Instant::now();
    let stopping = team.server.stop(Duration::from_secs(30));
    let ends = async {
        let mut reasons = Vec::new();
        for stream in &mut streams {
            reasons.push(stream.end().await);
        }
        reasons
    };
    let (in_time, reasons) = tokio::join!(stopping, ends);
    assert_eq!(reasons, ["shutdown", "shutdown"]);
    assert!(in_time);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_no_server_from_stopping() {
    let team = Team::start().await;
    let _silent = team.open().await;
    // more than sockets and buffers on the way hold
    let sql = format!(
        "INSERT INTO messages (id, org_id, session_id, author_type, author_user_id, body)
         SELECT 'c' || n, org_id, id, 'USER', created_by_user_id, repeat('x', 1000000)
         FROM sessions, generate_series(1, 40) n WHERE id = '{}'",
        id(&team.session)
    );
    team.sql(&sql).await;
    let begun = Instant::now();
    team.server.stop(Duration::from_secs(5)).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn idle_streams_hold_no_connection_to_the_database() {
    let options = Options { pool_size: 1, pool_timeout: Duration::from_secs(5), ..beating(NEVER) };
    let team = Team::with(options).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(team.open().await);
    }
    let message = team.say(team.owner(), "there is one for everybody").await;
    for stream in &mut streams {
        assert_eq!(stream.event().await.data["message"], message);
    }
    team.owner().get("/me").await.data(200);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_in_the_envelope() {
    let team = Team::start().await;
    let path = team.events();
    refused(&team.server.nobody(), &path).await.fails(401, "AUTH_ERROR");
    let narrow = team.server.key_for(team.owner(), &["sessions:read", "messages:write"]).await;
    refused(&narrow, &path).await.fails(403, "FORBIDDEN");
    let outsider = team.server.member(&team.org, "eve", OrgRole::Owner).await;
    refused(&outsider, &path).await.fails(403, "FORBIDDEN");
    let stranger = team.server.org("other").await.owner;
    refused(&stranger, &path).await.fails(404, "NOT_FOUND");
    for path in [
        format!("/spaces/team/sessions/c{:024}/events", 0),
        "/spaces/team/sessions/nonsense/events".into(),
        format!("/spaces/nowhere/sessions/{}/events", id(&team.session)),
    ] {
        refused(team.owner(), &path).await.fails(404, "NOT_FOUND");
    }
    let answer = team.owner().post(&path, json!({})).await;
    answer.fails(405, "NOT_FOUND");
}

#[tokio::test]
async fn a_stream_is_one_read_is_not_compressed_and_head_does_not_wait_for_it() {
    let limits = Limits { reads: 3, writes: 0, failures: 0 };
    let (log, logs) = Logs::new();
    let team = Team::with(Options { limits, log, ..beating(NEVER) }).await;
    let request =
        team.owner().request(Method::GET, &team.events()).header("Accept-Encoding", "gzip");
    let mut stream = Stream::of(request).await;
    assert_eq!(stream.headers.get("content-encoding"), None);
    assert_eq!(stream.headers["ratelimit-remaining"], "2");
    for i in 1..=5 {
        team.say(team.owner(), "events cost nothing").await;
        assert_eq!(stream.event().await.id, Some(i));
    }
    let head = Answer::of(team.owner().request(Method::HEAD, &team.events())).await;
    assert_eq!((head.status.as_u16(), &*head.text), (200, ""));
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("ratelimit-remaining"), Some("1"));
    team.owner().get("/me").await.data(200);
    refused(team.owner(), &team.events()).await.fails(429, "RATE_LIMIT");
    let lines = logs.lines();
    let line = lines.iter().find(|l| l.contains("operation=session_events")).expect("a line");
    assert!(line.contains("status=200"), "{line}");
}

#[tokio::test]
async fn what_a_newer_server_writes_is_passed_over() {
    let team = Team::start().await;
    let mut stream = team.open().await;
    let sql = format!(
        "SELECT record_session_event(org_id, id, 'session.painted', NULL, '{{}}', now()) \
         FROM sessions WHERE id = '{}'",
        id(&team.session)
    );
    team.sql(&sql).await;
    let message = team.say(team.owner(), "x").await;
    let event = stream.event().await;
    assert_eq!((event.id, &event.data["message"]), (Some(2), &message));
}
