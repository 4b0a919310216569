//! A server that stops, whoever is connected.

use super::{options, start};
use crate::fixture::stream::Stream;
use crate::fixture::until_somebody_waits;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn streams_silence_and_half_a_request_keep_no_server_from_stopping() {
    let (server, owner) = start(options()).await;
    owner.space("Team").await;
    let made = owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session = format!("/spaces/team/sessions/{}", made["session"]["id"].as_str().expect("id"));
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(Stream::open(&owner, &format!("{session}/events"), None).await);
    }
    let silent = TcpStream::connect(server.address()).await.expect("a connection");
    let mut half = TcpStream::connect(server.address()).await.expect("a connection");
    half.write_all(b"GET /api/health HTTP/1.1\r\nHo").await.expect("sent");

    // a request that runs is answered all the same
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let lock = sql.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE spaces IN SHARE MODE").await.expect("locked");
    let running = tokio::spawn({
        let owner = owner.clone();
        async move { owner.post("/projects", json!({ "name": "Late" })).await }
    });
    until_somebody_waits(&watch).await;
    let address = server.address();
    let begun = Instant::now();
    let stopping = tokio::spawn(server.stop(DEADLINE));
    for stream in &mut streams {
        assert_eq!(stream.end().await, "shutdown");
    }
    // nobody new is let in
    while TcpStream::connect(address).await.is_ok() {
        assert!(begun.elapsed() < DEADLINE, "still listening");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lock.rollback().await.expect("unlocked");
    running.await.expect("an answer").data(201);
    assert!(stopping.await.expect("stopped"), "everything ended in time");
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    drop((silent, half));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_left_behind_at_the_deadline() {
    let (server, owner) = start(options()).await;
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let lock = sql.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE spaces IN SHARE MODE").await.expect("locked");
    let running = tokio::spawn(async move {
        let request = owner.request(http::Method::POST, "/projects").json(&json!({ "name": "x" }));
        request.send().await.is_err()
    });
    until_somebody_waits(&watch).await;
    let begun = Instant::now();
    assert!(!server.stop(Duration::from_millis(500)).await);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(running.await.expect("a task"), "its connection is closed");
    lock.rollback().await.expect("unlocked");
}
