//! Requests that stand in each other's way.

use super::{asks_to_wait, options, start};
use crate::fixture::{Options, until_somebody_waits};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use switchy_server::auth::OrgRole;

fn id(of: &Value) -> &str {
    of["id"].as_str().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_gives_in_to_a_deadlock_is_503_and_leaves_nothing() {
    let (server, owner) = start(options()).await;
    owner.space("Team").await;
    let made = owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session = id(&made["session"]).to_owned();
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let tx = sql.transaction().await.expect("a transaction");
    tx.batch_execute("LOCK TABLE session_events IN EXCLUSIVE MODE").await.expect("locked");
    let path = format!("/spaces/team/sessions/{session}/messages");
    let posting = tokio::spawn({
        let (owner, path) = (owner.clone(), path.clone());
        async move { owner.post(&path, json!({ "body": "x" })).await }
    });
    // it has the session, and waits for its events; now the session is waited for
    until_somebody_waits(&watch).await;
    let taking = "UPDATE sessions SET title = 'taken' WHERE id = $1";
    // whoever has waited for longest gives in
    tx.execute(taking, &[&session]).await.expect("the request gave in");
    tx.rollback().await.expect("undone");
    asks_to_wait(&posting.await.expect("an answer"));
    assert_eq!(owner.get(&path).await.data(200)["messages"], json!([]));
    owner.post(&path, json!({ "body": "x" })).await.data(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_who_leaves_while_a_session_begins_is_409_that_passes() {
    let server = crate::fixture::Server::with(options()).await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    server.admit(id(&space), &eve, "MEMBER").await;
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let tx = sql.transaction().await.expect("a transaction");
    let user = eve.user_id.to_string();
    let leaving = "DELETE FROM members WHERE user_id = $1";
    assert_eq!(tx.execute(leaving, &[&user]).await.expect("she leaves"), 1);
    let body = json!({ "name": "x", "participantUserIds": [user] });
    let beginning = tokio::spawn({
        let (owner, body) = (org.owner.clone(), body.clone());
        async move { owner.post("/spaces/team/sessions", body).await }
    });
    until_somebody_waits(&watch).await;
    tx.commit().await.expect("she has left");
    let answer = beginning.await.expect("an answer");
    answer.fails(409, "CONFLICT");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(org.owner.get("/spaces/team/sessions").await.data(200)["sessions"], json!([]));
    // the same again finds her gone
    org.owner.post("/spaces/team/sessions", body).await.fails(400, "VALIDATION_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_of_the_embedder_is_503_until_there_is_room() {
    let embedder = Arc::new(crate::fixture::embedders::Obedient::default());
    let (_server, owner) =
        start(Options { embedder: embedder.clone(), ..Options::default() }).await;
    let note = json!({ "content": "x", "visibility": "ORG" });
    embedder.full.store(true, Ordering::SeqCst);
    asks_to_wait(&owner.post("/memory", note.clone()).await);
    asks_to_wait(&owner.post("/memory/search", json!({ "query": "x" })).await);
    owner.get("/memory").await.data(200);
    embedder.full.store(false, Ordering::SeqCst);
    owner.note(note).await;
    assert_eq!(owner.search("x").await, ["x"]);
}
