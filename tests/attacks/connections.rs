//! Peers that take more than their share of connections and memory.

use super::{Peer, bearer};
use crate::fixture::{Options, Server, embedders};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::json;
use std::time::Duration;
use switchy_server::auth::OrgRole;
use switchy_server::http::connections::ConnectionLimits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

fn limited(connections: ConnectionLimits) -> Options {
    Options { embedder: embedders::none(), connections, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_leaves_a_quarter_to_others() {
    let connections = ConnectionLimits { most: 32, ..ConnectionLimits::default() };
    let server = Server::with(limited(connections)).await;
    let mut greedy = Vec::new();
    for _ in 0..24 {
        let mut peer = Peer::connect(server.address()).await;
        peer.ask("GET /api/health", &[]).await;
        assert_eq!(peer.status().await, 200);
        greedy.push(peer);
    }
    let mut more = Peer::connect(server.address()).await;
    more.ask("GET /api/health", &[]).await;
    assert_eq!(more.status().await, 503);
    let mut other = Peer::connect_from([127, 0, 0, 2], server.address()).await;
    other.ask("GET /api/health", &[]).await;
    assert_eq!(other.status().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_few_are_left_idle_strangers_go_first() {
    let connections = ConnectionLimits {
        most: 16,
        stranger_keep_alive: Duration::from_millis(200),
        ..ConnectionLimits::default()
    };
    let server = Server::with(limited(connections)).await;
    let owner = server.org("acme").await.owner;
    let own = bearer(owner.key.as_deref().expect("a key"));
    let mut known = Peer::connect(server.address()).await;
    known.ask("GET /api/me", std::slice::from_ref(&own)).await;
    assert_eq!(known.status().await, 200);
    let mut strangers = Vec::new();
    for _ in 0..11 {
        let mut peer = Peer::connect(server.address()).await;
        peer.ask("GET /api/health", &[]).await;
        assert_eq!(peer.status().await, 200);
        strangers.push(peer);
    }
    // far sooner than the 75 seconds that they may have otherwise, until half are free again
    let closed: FuturesUnordered<_> = strangers.iter_mut().map(Peer::closed).collect();
    assert_eq!(closed.take(4).count().await, 4);
    known.ask("GET /api/me", &[own]).await;
    assert_eq!(known.status().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_one_key_does_not_read_leave_room_for_others() {
    let connections = ConnectionLimits { all_answers: 16 << 20, ..ConnectionLimits::default() };
    let server = Server::with(limited(connections)).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let notes: Vec<_> = (0..100)
        .map(|n| json!({ "content": format!("{n} {}", "x".repeat(9_000)), "visibility": "ORG" }))
        .collect();
    org.owner.post("/memory/batch", json!({ "memories": notes })).await.data(201);
    // nearly a megabyte each, of two that a key may have
    let mut held = Vec::new();
    let mut unread = async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small one");
        let stream = socket.connect(server.address()).await.expect("a connection");
        let mut peer = Peer(stream);
        peer.ask("GET /api/memory?limit=100", &[bearer(eve.key.as_deref().expect("a key"))]).await;
        held.push(peer);
    };
    let begun = std::time::Instant::now();
    loop {
        unread().await;
        let answer = eve.get("/memory?limit=100").await;
        if answer.status == 503 {
            let error = answer.fails(503, "INTERNAL_ERROR");
            let message = error["message"].as_str().expect("text");
            assert!(message.contains("wait to be read"), "{message}");
            break;
        }
        assert!(answer.status == 200 && begun.elapsed() < super::PATIENCE, "{}", answer.text);
    }
    org.owner.get("/memory?limit=100").await.data(200);
    eve.get("/me").await.data(200);
    drop(held);
    while eve.get("/memory?limit=100").await.status != 200 {
        assert!(begun.elapsed() < super::PATIENCE, "not served again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_nothing_is_disconnected() {
    let connections =
        ConnectionLimits { read_patience: Duration::from_millis(300), ..Default::default() };
    let server = Server::with(limited(connections)).await;
    let owner = server.org("acme").await.owner;
    let notes: Vec<_> = (0..100)
        .map(|n| json!({ "content": format!("{n} {}", "x".repeat(9_000)), "visibility": "ORG" }))
        .collect();
    owner.post("/memory/batch", json!({ "memories": notes })).await.data(201);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small one");
    let mut peer = Peer(socket.connect(server.address()).await.expect("a connection"));
    // more than the system holds for it: eight answers of nearly a megabyte
    for _ in 0..8 {
        peer.ask("GET /api/memory?limit=100", &[bearer(owner.key.as_deref().expect("a key"))])
            .await;
    }
    // nothing is read from the connection; when it is closed, nothing can be written to it
    let begun = std::time::Instant::now();
    while peer.0.write_all(b"\r\n").await.is_ok() {
        assert!(begun.elapsed() < super::PATIENCE, "not disconnected");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ports at which a process listens.
#[cfg(target_os = "linux")]
fn listening(pid: i32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its files");
    let sockets: Vec<String> = files
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(link.to_owned())
        })
        .collect();
    let tables = ["tcp", "tcp6"]
        .map(|name| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    let listens = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"0A")
            && fields.get(9).is_some_and(|i| sockets.iter().any(|s| s == i))
    };
    lines.filter(listens).count()
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn the_server_listens_at_its_own_port_alone() {
    use crate::fixture::binary::{Home, Serving};
    let home = Home::new();
    let serving = Serving::start(&mut home.serve());
    let owner = serving.caller(&home.key());
    owner.get("/me").await.data(200);
    assert_eq!(listening(serving.process.pid()), 1);
}
