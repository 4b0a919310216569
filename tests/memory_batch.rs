//! Many notes at once: `POST /memory/batch`.

use crate::fixture::embedders::Obedient;
use crate::fixture::shape::{each, fields, id, issues};
use crate::fixture::{Caller, Options, Org, Server, embedders};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use switchy_server::auth::OrgRole;
use switchy_server::limits::Limits;

fn options() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

async fn acme() -> (Server, Org) {
    let server = Server::with(options()).await;
    let org = server.org("acme").await;
    (server, org)
}

/// Notes of this visibility.
fn batch(count: usize, visibility: &str) -> Value {
    let note = |i| json!({ "content": format!("note {i}"), "visibility": visibility });
    json!({ "memories": (0..count).map(note).collect::<Vec<_>>() })
}

async fn write(caller: &Caller, body: Value) -> Value {
    let data = caller.post("/memory/batch", body).await.data(201);
    assert_eq!(fields(&data), ["memories"]);
    data["memories"].clone()
}

async fn total(caller: &Caller) -> Value {
    caller.get("/memory").await.data(200)["total"].take()
}

async fn count(server: &Server, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {what}");
    server.sql().await.query_one(&sql, &[]).await.expect("counted").get(0)
}

#[tokio::test]
async fn what_comes_back_is_what_was_given_in_its_order() {
    let (_server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let given = json!([
        { "content": "a", "visibility": "PRIVATE" },
        { "content": "b\n\"'\\", "visibility": "SPACE", "spaceId": space["id"],
          "tags": [" x ", "\"y\"", "x", "{z,}"], "sourceUrl": "https://a.example/?q='" },
        { "content": "c", "visibility": "ORG", "spaceId": null, "tags": null, "sourceUrl": null },
        { "content": "a", "visibility": "PRIVATE", "tags": [], "authorUserId": "me" },
    ]);
    let written = write(&org.owner, json!({ "memories": given })).await;
    assert_eq!(each(&written, "content"), ["a", "b\n\"'\\", "c", "a"]);
    assert_eq!(each(&written, "visibility"), ["PRIVATE", "SPACE", "ORG", "PRIVATE"]);
    assert_eq!(written[1]["spaceId"], space["id"]);
    assert_eq!(written[1]["tags"], json!(["x", "\"y\"", "{z,}"]));
    assert_eq!(written[1]["sourceUrl"], "https://a.example/?q='");
    assert_eq!(written[2]["tags"], json!([]));
    assert!(each(&written, "authorUserId").iter().all(|a| *a == org.owner.user_id.as_str()));
    for note in written.as_array().expect("notes") {
        let path = format!("/memory/{}", id(note));
        assert_eq!(org.owner.get(&path).await.data(200)["memory"], *note);
    }
    // lists have them as if they had been written one after the other
    let page = org.owner.get("/memory").await.data(200);
    let mut newest_first = written.as_array().expect("notes").clone();
    newest_first.reverse();
    assert_eq!(page["memories"], Value::Array(newest_first));
}

#[tokio::test]
async fn a_batch_has_one_to_a_hundred_notes_and_is_one_write() {
    let server =
        Server::with(Options { limits: Limits { reads: 0, writes: 2, failures: 0 }, ..options() })
            .await;
    let org = server.org("acme").await;
    let written = write(&org.owner, batch(100, "ORG")).await;
    assert_eq!(written.as_array().map(Vec::len), Some(100));
    assert_eq!(total(&org.owner).await, 100);
    write(&org.owner, batch(1, "PRIVATE")).await;
    org.owner.post("/memory/batch", batch(1, "ORG")).await.fails(429, "RATE_LIMIT");
    assert_eq!(total(&org.owner).await, 101);
}

#[tokio::test]
async fn violations_name_the_note_and_nothing_is_written() {
    let (server, org) = acme().await;
    let nowhere = "c".to_owned() + &"0".repeat(24);
    let fine = json!({ "content": "x", "visibility": "ORG" });
    let mut two_bad = batch(30, "ORG");
    two_bad["memories"][3]["content"] = json!("");
    two_bad["memories"][29]["tags"] = json!(["ok", ""]);
    for (body, paths) in [
        (json!({}), vec!["memories"]),
        (json!({ "memories": null }), vec!["memories"]),
        (json!({ "memories": [] }), vec!["memories"]),
        (json!({ "memories": {} }), vec!["memories"]),
        (batch(101, "ORG"), vec!["memories"]),
        (two_bad, vec!["memories.29.tags.1", "memories.3.content"]),
        (
            json!({ "memories": [fine, { "content": "x", "visibility": "SPACE" },
                { "content": "x", "visibility": "ORG", "spaceId": nowhere, "sourceUrl": "no" }] }),
            vec!["memories.1.spaceId", "memories.2.sourceUrl", "memories.2.spaceId"],
        ),
        // what cannot be read is listed together with what is wrong with the others, and the rest
        (
            json!({ "memories": [
                { "content": 5, "visibility": "ORG", "sourceUrl": "no" },
                { "visibility": "ORG", "tags": [""] },
                fine,
                7,
                { "content": "", "visibility": "?", "tags": [1] },
                { "content": null, "visibility": "ORG" },
                { "content": "a\0", "visibility": "SPACE" },
            ] }),
            vec![
                "memories.0.content",
                "memories.0.sourceUrl",
                "memories.1.content",
                "memories.1.tags.0",
                "memories.3",
                "memories.4.content",
                "memories.4.tags.0",
                "memories.4.visibility",
                "memories.5.content",
                "memories.6.content",
                "memories.6.spaceId",
            ],
        ),
    ] {
        assert_eq!(issues(&org.owner.post("/memory/batch", body.clone()).await), paths, "{body}");
    }
    // of very many, a hundred are listed
    let bad = json!({ "content": "", "visibility": "?", "sourceUrl": "no" });
    let body = json!({ "memories": vec![bad; 100] });
    assert_eq!(issues(&org.owner.post("/memory/batch", body).await).len(), 100);
    assert_eq!(count(&server, "memories").await, 0);
}

#[tokio::test]
async fn one_note_that_may_not_be_written_stops_them_all() {
    let (server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let elsewhere = server.org("other").await.owner.space("Theirs").await;
    let mut body = batch(5, "ORG");
    body["memories"][3] = json!({ "content": "x", "visibility": "SPACE", "spaceId": space["id"] });
    eve.post("/memory/batch", body.clone()).await.fails(403, "FORBIDDEN");
    server.admit(id(&space), &eve, "VIEWER").await;
    eve.post("/memory/batch", body.clone()).await.fails(403, "FORBIDDEN");
    server.admit(id(&space), &eve, "MEMBER").await;
    body["memories"][4] =
        json!({ "content": "x", "visibility": "SPACE", "spaceId": elsewhere["id"] });
    eve.post("/memory/batch", body.clone()).await.fails(404, "NOT_FOUND");
    assert_eq!(count(&server, "memories").await, 0);
    body["memories"][4] = json!({ "content": "x", "visibility": "PRIVATE" });
    assert_eq!(write(&eve, body).await.as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn a_batch_is_written_once_under_a_key() {
    let (server, org) = acme().await;
    let first = org.owner.post_once("/memory/batch", "once", batch(7, "ORG")).await;
    let again = org.owner.post_once("/memory/batch", "once", batch(7, "ORG")).await;
    assert_eq!((first.status.as_u16(), &first.text), (201, &again.text));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    org.owner.post_once("/memory/batch", "once", batch(8, "ORG")).await.fails(409, "CONFLICT");
    assert_eq!(count(&server, "memories").await, 7);
    // a key stands for a path, too
    let single = json!({ "content": "x", "visibility": "ORG" });
    org.owner.post_once("/memory", "once", single).await.data(201);
}

#[tokio::test]
async fn each_note_of_a_batch_has_its_own_vectors_and_is_found_by_its_meaning() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let contents = [
        "Staging deploys happen on Tuesdays.",
        "Customers may return anything within thirty days.",
        "The kitchen is cleaned every evening.",
    ];
    let notes = contents.map(|c| json!({ "content": c, "visibility": "ORG" }));
    write(&org.owner, json!({ "memories": notes })).await;
    for (query, place) in
        [("how do I get my money back?", 1), ("who wipes the counters?", 2), ("releases", 0)]
    {
        assert_eq!(org.owner.search(query).await[0], contents[place], "{query}");
    }
    let lacking = "memories m WHERE NOT EXISTS (SELECT FROM memory_embeddings e \
                   JOIN memory_expansions x USING (memory_id) WHERE e.memory_id = m.id)";
    assert_eq!(count(&server, lacking).await, 0);
}

async fn with_model(model: Obedient, deadline: Duration) -> (Server, Org, Arc<Obedient>) {
    let model = Arc::new(model);
    let server = Server::with(Options {
        embedder: model.clone(),
        request_deadline: deadline,
        ..Options::default()
    })
    .await;
    let org = server.org("acme").await;
    (server, org, model)
}

#[tokio::test]
async fn a_batch_leaves_room_for_others_and_a_full_queue_writes_nothing() {
    let model = Obedient { takes: Duration::from_millis(2), ..Obedient::default() };
    let (server, org, model) = with_model(model, Duration::from_secs(30)).await;
    write(&org.owner, batch(100, "ORG")).await;
    assert_eq!(model.most_at_once.load(Ordering::SeqCst), 2);
    assert_eq!(count(&server, "memory_embeddings").await, 100);
    let right = "memory_embeddings e JOIN memories m ON m.id = e.memory_id \
                 WHERE e.ends_at = octet_length(m.content)";
    assert_eq!(count(&server, right).await, 100);
    model.full.store(true, Ordering::SeqCst);
    let busy = org.owner.post("/memory/batch", batch(3, "ORG")).await;
    busy.fails(503, "INTERNAL_ERROR");
    assert!(busy.header("retry-after").is_some());
    assert_eq!(count(&server, "memories").await, 100);
}

#[tokio::test]
async fn what_cannot_be_embedded_before_the_deadline_is_written_all_the_same() {
    // two at a time, so that it would take four seconds
    let model = Obedient { takes: Duration::from_millis(80), ..Obedient::default() };
    let (server, org, _) = with_model(model, Duration::from_secs(3)).await;
    write(&org.owner, batch(100, "ORG")).await;
    assert_eq!(count(&server, "memories").await, 100);
    assert_eq!(org.owner.search("99").await[0], "note 99");
    // and is caught up with
    let deadline = Instant::now() + Duration::from_secs(60);
    while count(&server, "memory_embeddings").await < 100 {
        assert!(Instant::now() < deadline, "nobody caught up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn while_the_model_is_away_notes_are_written_without_vectors() {
    let (server, org, model) = with_model(Obedient::default(), Duration::from_secs(30)).await;
    model.away.store(true, Ordering::SeqCst);
    write(&org.owner, batch(3, "ORG")).await;
    assert_eq!(count(&server, "memory_embeddings").await, 0);
    assert_eq!(org.owner.search("note 1").await[0], "note 1");
    model.away.store(false, Ordering::SeqCst);
}

#[tokio::test]
async fn the_largest_notes_fit_as_far_as_the_body_does() {
    let (_server, org) = acme().await;
    let note = |length| json!({ "content": "x".repeat(length), "visibility": "PRIVATE" });
    let most: Vec<_> = (0..100).map(|_| note(10_000)).collect();
    write(&org.owner, json!({ "memories": most })).await;
    let more: Vec<_> = (0..100).map(|_| note(10_500)).collect();
    let refused = org.owner.post("/memory/batch", json!({ "memories": more })).await;
    refused.fails(413, "VALIDATION_ERROR");
    assert_eq!(total(&org.owner).await, 100);
}
