//! Writers that leave no room for others in the embedding queue, and store without end.

use crate::fixture::binary::{Ended, Home};
use crate::fixture::embedders::{Noting, Obedient};
use crate::fixture::logs::Logs;
use crate::fixture::mcp::Mcp;
use crate::fixture::{Caller, Options, Org, Server, embedders};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use switchy_server::auth::OrgRole;
use switchy_server::search::embedder::{Owner, Urgency, default_threads};
use switchy_server::store::models;
use switchy_server::store::quotas::{self, Change, Quotas};
use tokio::task::JoinSet;

/// No quota at all.
const NONE: Quotas =
    Quotas { spaces: 0, member_spaces: 0, sessions: 0, notes: 0, bytes: 0, waiting: 0 };

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn batch(count: usize) -> Value {
    let note = |n| json!({ "content": format!("note {n}"), "visibility": "ORG" });
    json!({ "memories": (0..count).map(note).collect::<Vec<_>>() })
}

fn private(content: &str) -> Value {
    json!({ "content": content, "visibility": "PRIVATE" })
}

fn owner(caller: &Caller, urgency: Urgency) -> Owner {
    Owner::new(caller.org_id.as_str(), caller.user_id.as_str(), urgency)
}

async fn number(server: &Server, sql: &str) -> i64 {
    server.sql().await.query_one(sql, &[]).await.expect("a number").get(0)
}

async fn until(server: &Server, condition: &str) {
    let deadline = Instant::now() + PATIENCE;
    let sql = server.sql().await;
    let asked = format!("SELECT EXISTS ({condition})");
    while !sql.query_one(&asked, &[]).await.expect("asked").get::<_, bool>(0) {
        assert!(Instant::now() < deadline, "it did not come to this: {condition}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A server that embeds what waits, with these quotas, and an organization.
async fn with(quotas: Quotas) -> (Server, Org, Arc<Obedient>) {
    let model = Arc::new(Obedient::default());
    let options = Options { embedder: model.clone(), quotas: Some(quotas), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    until(&server, "SELECT FROM search_models WHERE embedding_at IS NOT NULL").await;
    (server, org, model)
}

/// A server without a model, with these quotas, and an organization.
async fn storing(quotas: Quotas) -> (Server, Org) {
    let options =
        Options { embedder: embedders::none(), quotas: Some(quotas), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    (server, org)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_write_is_embedded_before_a_colleagues_batches() {
    let model = Arc::new(Noting::default());
    let options = Options { embedder: model.clone(), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    // each batch has two notes in the queue; before, all of them came first
    let threads = default_threads();
    let long = json!({ "content": "The release train leaves. ".repeat(60), "visibility": "ORG" });
    let mut attack = JoinSet::new();
    for _ in 0..4 * threads.min(8) {
        let (eve, batch) = (eve.clone(), json!({ "memories": vec![long.clone(); 3] }));
        attack.spawn(async move { eve.post("/memory/batch", batch).await.status });
    }
    let done = || model.done.lock().expect("no writer panics").clone();
    let deadline = Instant::now() + PATIENCE;
    while done().is_empty() {
        assert!(Instant::now() < deadline, "no batch is embedded");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = done().len();
    org.owner.note(private("Short.")).await;
    let after = done();
    let mine = owner(&org.owner, Urgency::Single);
    let place = after.iter().position(|done| *done == mine).expect("it was embedded");
    // a step for each thread, and those notes that end by it
    assert!(place - before <= threads + 2, "{} notes came first", place - before);
    for status in attack.join_all().await {
        assert!(status == 201 || status == 503, "{status}");
    }
}

#[tokio::test]
async fn every_way_of_writing_tells_the_model_for_whom_it_works() {
    let (server, org, model) = with(NONE).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let note = eve.note(private("x")).await;
    let path = format!("/memory/{}", note["id"].as_str().expect("an id"));
    eve.patch(&path, json!({ "content": "y" })).await.data(200);
    let mcp = Mcp::all(&server, &org.owner).await;
    mcp.tool("add_memory", json!({ "content": "x", "visibility": "ORG" })).await;
    eve.post("/memory/batch", batch(2)).await.data(201);
    let hers = |urgency| owner(&eve, urgency);
    let (single, many) = (hers(Urgency::Single), hers(Urgency::Batch));
    let theirs = owner(&org.owner, Urgency::Single);
    let told = model.owners.lock().expect("no writer panics").clone();
    assert_eq!(told, [single.clone(), single, theirs, many.clone(), many]);
}

#[tokio::test]
async fn what_waits_is_embedded_in_turns_by_organization_and_author() {
    let (server, org) = storing(NONE).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let other = server.org("globex").await;
    let mut waiting = Vec::new();
    for (caller, content) in
        [(&eve, "e1"), (&eve, "e2"), (&eve, "e3"), (&org.owner, "o1"), (&other.owner, "g1")]
    {
        let note = caller.note(private(content)).await;
        let id = note["id"].as_str().expect("an id").to_owned();
        waiting.push((id, caller.org_id.to_string(), caller.user_id.to_string()));
    }
    let sql = server.sql().await;
    for (id, org, author) in &waiting {
        let insert = "INSERT INTO memory_backlog (memory_id, org_id, author_user_id) \
                      VALUES ($1, $2, $3)";
        sql.batch_execute("SET ROLE switchy_system").await.expect("the role");
        sql.execute(insert, &[id, org, author]).await.expect("waits");
    }
    let turns: Vec<_> = models::waiting(&server.store, 10)
        .await
        .expect("read")
        .into_iter()
        .map(|note| note.content)
        .collect();
    let place = |content: &str| turns.iter().position(|c| c == content).expect("it waits");
    assert_eq!(turns.len(), 5);
    assert!(place("g1") < 2, "the other organization has its first turn: {turns:?}");
    assert!(place("o1") < 3, "the colleague has theirs before the second of the first: {turns:?}");
    assert_eq!([place("e2"), place("e3")], [3, 4], "{turns:?}");
    // a small look sees the same beginning
    let first = models::waiting(&server.store, 2).await.expect("read");
    assert_eq!(first.iter().map(|note| &note.content).collect::<Vec<_>>(), [&turns[0], &turns[1]]);
}

#[tokio::test]
async fn whoever_has_too_much_waiting_gets_429_and_others_do_not() {
    let (server, org, model) = with(Quotas { waiting: 5, ..NONE }).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let other = server.org("globex").await;
    model.away.store(true, Ordering::SeqCst);
    eve.post("/memory/batch", batch(3)).await.data(201);
    let refused = eve.post("/memory/batch", batch(3)).await;
    let error = refused.fails(429, "RATE_LIMIT");
    let message = error["message"].as_str().expect("a sentence");
    assert!(message.contains("3 of your notes wait") && message.contains("at most 5"), "{message}");
    assert!(error["details"]["retryAfter"].as_i64().is_some_and(|seconds| seconds > 0), "{error}");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(number(&server, "SELECT count(*) FROM memories").await, 3);
    // whoever does not wait is not even embedded
    model.full.store(true, Ordering::SeqCst);
    eve.post("/memory/batch", batch(1)).await.fails(429, "RATE_LIMIT");
    model.full.store(false, Ordering::SeqCst);
    // neither a single note that would only wait, over REST and over MCP
    eve.note(private("fourth")).await;
    let mcp = Mcp::all(&server, &eve).await;
    mcp.tool("add_memory", json!({ "content": "fifth", "visibility": "ORG" })).await;
    eve.post("/memory", private("sixth")).await.fails(429, "RATE_LIMIT");
    let sixth = json!({ "content": "sixth", "visibility": "ORG" });
    mcp.call("add_memory", sixth).await.refuses(429, -32000, "RATE_LIMIT");
    // it is the author's, and nobody else's
    org.owner.post("/memory/batch", batch(5)).await.data(201);
    other.owner.post("/memory/batch", batch(5)).await.data(201);
    // and what does not wait is written: the model is back
    model.away.store(false, Ordering::SeqCst);
    eve.note(private("embedded at once")).await;
    until(&server, "SELECT WHERE NOT EXISTS (SELECT FROM memory_backlog)").await;
    assert_eq!(number(&server, "SELECT count(*) FROM memory_embeddings").await, 16);
}

#[tokio::test]
async fn new_content_that_cannot_be_embedded_now_waits_as_well() {
    let (server, org, model) = with(Quotas { waiting: 1, ..NONE }).await;
    let (first, second) = (org.owner.note(private("a")).await, org.owner.note(private("b")).await);
    model.away.store(true, Ordering::SeqCst);
    let path = |note: &Value| format!("/memory/{}", note["id"].as_str().expect("an id"));
    for content in ["c", "d"] {
        org.owner.patch(&path(&first), json!({ "content": content })).await.data(200);
    }
    let change = json!({ "content": "e" });
    org.owner.patch(&path(&second), change).await.fails(429, "RATE_LIMIT");
    org.owner.patch(&path(&second), json!({ "tags": ["x"] })).await.data(200);
    assert_eq!(number(&server, "SELECT count(*) FROM memory_backlog").await, 1);
    // whatever goes waits no more
    assert_eq!(org.owner.delete(&path(&first)).await.status, 204);
    org.owner.patch(&path(&second), json!({ "content": "e" })).await.data(200);
}

#[tokio::test]
async fn where_no_server_embeds_nobody_is_told_to_wait() {
    let (server, org, model) = with(Quotas { waiting: 1, ..NONE }).await;
    model.away.store(true, Ordering::SeqCst);
    org.owner.note(private("a")).await;
    org.owner.post("/memory", private("b")).await.fails(429, "RATE_LIMIT");
    let sql = server.sql().await;
    let deadline = Instant::now() + PATIENCE;
    let mut written = 1;
    while written < 4 {
        // a look that began before there was anything to embed may still say that all is well
        let long_ago = "SET ROLE switchy_system; \
                        UPDATE search_models SET embedding_at = now() - interval '1 day'";
        sql.batch_execute(long_ago).await.expect("long ago");
        let answer = org.owner.post("/memory", private("more")).await;
        assert!(answer.status == 201 || Instant::now() < deadline, "{}", answer.text);
        written += usize::from(answer.status == 201);
    }
}

#[tokio::test]
async fn an_organization_has_so_many_notes_and_no_more() {
    let (server, org) = storing(Quotas { notes: 3, ..NONE }).await;
    let other = server.org("globex").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    org.owner.post("/memory/batch", batch(2)).await.data(201);
    let refused = eve.post("/memory/batch", batch(2)).await;
    let message = refused.fails(409, "CONFLICT")["message"].to_string();
    assert!(message.contains("quota of 3 notes") && message.contains("operator"), "{message}");
    assert!(refused.header("retry-after").is_none());
    let third = eve.note(private("third")).await;
    eve.post("/memory", private("fourth")).await.fails(409, "CONFLICT");
    let mcp = Mcp::all(&server, &eve).await;
    let fourth = json!({ "content": "fourth", "visibility": "ORG" });
    mcp.call("add_memory", fourth).await.refuses(409, -32000, "CONFLICT");
    assert_eq!(number(&server, "SELECT count(*) FROM memories").await, 3);
    other.owner.post("/memory/batch", batch(3)).await.data(201);
    // what can be changed is no answer to keep
    eve.post_once("/memory", "once", private("fourth")).await.fails(409, "CONFLICT");
    let path = format!("/memory/{}", third["id"].as_str().expect("an id"));
    assert_eq!(eve.delete(&path).await.status, 204);
    eve.post_once("/memory", "once", private("fourth")).await.data(201);
    // and the operator gives more, to this one
    let mut tx = server.store.begin_system().await.expect("a transaction");
    let more = Change { notes: Some(4), ..Change::default() };
    quotas::change(&mut tx, &org.id, &more).await.expect("given");
    tx.commit().await.expect("committed");
    eve.note(private("fifth")).await;
    eve.post("/memory", private("sixth")).await.fails(409, "CONFLICT");
    other.owner.post("/memory", private("fourth")).await.fails(409, "CONFLICT");
}

#[tokio::test]
async fn notes_and_messages_have_so_many_bytes_together() {
    let (_server, org) = storing(Quotas { bytes: 1_000, ..NONE }).await;
    org.owner.space("Team").await;
    let made = org.owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session = made["session"]["id"].as_str().expect("an id");
    let messages = format!("/spaces/team/sessions/{session}/messages");
    let note = org.owner.note(private(&"ü".repeat(200))).await;
    org.owner.post(&messages, json!({ "body": "x".repeat(500) })).await.data(201);
    let refused = org.owner.post(&messages, json!({ "body": "x".repeat(101) })).await;
    let message = refused.fails(409, "CONFLICT")["message"].to_string();
    assert!(message.contains("quota of 1000 bytes of notes and messages"), "{message}");
    org.owner.post("/memory", private(&"x".repeat(101))).await.fails(409, "CONFLICT");
    let path = format!("/memory/{}", note["id"].as_str().expect("an id"));
    let content = |length| json!({ "content": "x".repeat(length) });
    org.owner.patch(&path, content(501)).await.fails(409, "CONFLICT");
    org.owner.patch(&path, content(100)).await.data(200);
    org.owner.post(&messages, json!({ "body": "x".repeat(400) })).await.data(201);
    // a transcript is made of messages, with what they call
    let saved = "/v1/org/acme/ws/team/sessions";
    let id = uuid::Uuid::new_v4();
    org.owner.post(saved, json!({ "id": id, "model": "m" })).await.bare();
    let turn = json!({ "role": "user", "content": "x" });
    let transcript = format!("{saved}/{id}/transcript");
    let refused = org.owner.post(&transcript, json!({ "messages": [turn] })).await;
    refused.refused(429, "rate_limited");
}

#[tokio::test]
async fn an_organization_has_so_many_spaces_and_sessions() {
    let quotas = Quotas { spaces: 4, member_spaces: 2, sessions: 2, ..NONE };
    let (server, org) = storing(quotas).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let first = eve.space("One").await;
    eve.space("Two").await;
    let space = |name: &str| json!({ "name": name });
    // archiving makes no room, or one could go on for ever
    let path = format!("/projects/{}", first["id"].as_str().expect("an id"));
    assert_eq!(eve.delete(&path).await.status, 204);
    let message =
        eve.post("/projects", space("Three")).await.fails(409, "CONFLICT")["message"].to_string();
    assert!(message.contains("a MEMBER may make 2 Spaces"), "{message}");
    org.owner.space("Three").await;
    org.owner.space("Four").await;
    let message =
        org.owner.post("/projects", space("Five")).await.fails(409, "CONFLICT")["message"]
            .to_string();
    assert!(message.contains("quota of 4 Spaces"), "{message}");
    server.org("globex").await.owner.space("One").await;

    org.owner.post("/spaces/three/sessions", json!({ "name": "x" })).await.data(201);
    let saved = "/v1/org/acme/ws/three/sessions";
    let save = |id: uuid::Uuid| json!({ "id": id, "model": "m" });
    let second = uuid::Uuid::new_v4();
    org.owner.post(saved, save(second)).await.bare();
    org.owner.post(saved, save(second)).await.bare();
    org.owner.post(saved, save(uuid::Uuid::new_v4())).await.refused(429, "rate_limited");
    let third = org.owner.post("/spaces/three/sessions", json!({ "name": "y" })).await;
    let message = third.fails(409, "CONFLICT")["message"].to_string();
    assert!(message.contains("quota of 2 sessions"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_makes_no_writer_wait_and_misses_nothing() {
    let (server, org) = storing(Quotas { notes: 1_000, ..NONE }).await;
    org.owner.note(private("x")).await;
    // a writer that does not end, and holds what it has counted
    let mut open = server.sql().await;
    let slow = open.transaction().await.expect("begun");
    let insert = "INSERT INTO memories (id, org_id, author_user_id, visibility, content) \
                  VALUES ('slow', $1, $2, 'ORG', 'abc')";
    slow.batch_execute("SET LOCAL ROLE switchy_system").await.expect("the role");
    let (id, author) = (org.id.to_string(), org.owner.user_id.to_string());
    slow.execute(insert, &[&id, &author]).await.expect("written");
    let mut writers = JoinSet::new();
    for n in 0..20 {
        let owner = org.owner.clone();
        writers.spawn(async move { owner.note(private(&format!("note {n}"))).await });
    }
    tokio::time::timeout(PATIENCE, writers.join_all()).await.expect("nobody waits");
    slow.commit().await.expect("committed");
    let note = org.owner.note(private("gone")).await;
    let path = format!("/memory/{}", note["id"].as_str().expect("an id"));
    assert_eq!(org.owner.delete(&path).await.status, 204);
    let right = "SELECT count(*) FROM (SELECT sum(notes) AS notes, sum(bytes) AS bytes \
                     FROM org_usage) u, \
                 (SELECT count(*) AS notes, sum(octet_length(content)) AS bytes FROM memories) m \
                 WHERE (u.notes, u.bytes) = (m.notes, m.bytes) AND m.notes = 22";
    assert_eq!(number(&server, right).await, 1);
    // no more parts than writers at one moment
    assert!(number(&server, "SELECT count(*) FROM org_usage").await <= 9);
    server.sql().await.execute("DELETE FROM orgs WHERE id = $1", &[&id]).await.expect("gone");
    assert_eq!(number(&server, "SELECT count(*) FROM org_usage").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_the_log_say_who_fills_the_server() {
    let (server, org, model) = with(Quotas { waiting: 120, notes: 125, ..NONE }).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    model.away.store(true, Ordering::SeqCst);
    eve.post("/memory/batch", batch(100)).await.data(201);
    let author = eve.user_id.to_string();

    let home = Home::new();
    let url = server.database.expose_secret();
    let doctor = || Ended::of(home.server(["doctor", "--lexical-only"]).env("DATABASE_URL", url));
    let said = doctor().ok();
    assert!(said.contains(&format!("100 by {author} of acme")), "{said}");
    assert!(said.contains("acme: 100 of 125 notes"), "{said}");
    assert!(said.contains("acme: 100 of 120 waiting"), "{said}");
    assert!(!said.contains("note 1"), "{said}");

    let (log, logs) = Logs::new();
    let options = Options { log, embedder: embedders::none(), ..Options::default() };
    let _second = server.beside(options).await;
    let deadline = Instant::now() + PATIENCE;
    let told = |line: &str| {
        let waits = line.contains("notes wait to be embedded") && line.contains(&author);
        let nearly = line.contains("nearly reached a quota") && line.contains("quota=notes");
        [waits, nearly]
    };
    let mut seen = [false; 2];
    while seen != [true; 2] {
        assert!(Instant::now() < deadline, "{:#?}", logs.lines());
        for line in logs.lines() {
            let [waits, nearly] = told(&line);
            seen = [seen[0] || waits, seen[1] || nearly];
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // a quota that is reached is something to do
    let owner = &org.owner;
    model.away.store(false, Ordering::SeqCst);
    owner.post("/memory/batch", batch(25)).await.data(201);
    let full = doctor();
    assert_eq!(full.sentence(), "1 part is not well");
    assert!(full.stdout.contains("acme: 125 of 125 notes"), "{}", full.stdout);
    assert!(full.stdout.contains("admin org quota"), "{}", full.stdout);
}
