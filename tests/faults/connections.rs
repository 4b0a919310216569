//! Peers that are slow, silent, or too many.

use super::{PATIENCE, asks_to_wait, options, start, until_served};
use crate::fixture::stream::Stream;
use crate::fixture::{Answer, Options, Server, embedders};
use http::Method;
use serde_json::json;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};
use switchy_server::http::connections::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const SHORT: Duration = Duration::from_millis(400);

fn limited(connections: ConnectionLimits) -> Options {
    Options { connections, ..options() }
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address()).await.expect("a connection")
}

/// Waits until the server has closed the connection; what came before that.
async fn closed(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, connection.read_to_end(&mut answer)).await;
    // a reset is a close too
    let _ = read.expect("the server closes it");
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(path: &str) -> Vec<u8> {
    format!("GET /api{path} HTTP/1.1\r\nHost: switchy.test\r\n\r\n").into_bytes()
}

/// Reads one answer whose end is known by its length.
async fn answer(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = async {
        loop {
            let mut buffer = [0; 4096];
            let count = connection.read(&mut buffer).await.expect("an answer");
            assert_ne!(count, 0, "closed");
            answer.extend_from_slice(&buffer[..count]);
            if answer.ends_with(b"}") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer");
    String::from_utf8(answer).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_disconnected_while_others_are_served() {
    let limits = ConnectionLimits { first_request: SHORT, ..ConnectionLimits::default() };
    let (server, owner) = start(limited(limits)).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(connect(&server).await);
    }
    owner.get("/me").await.data(200);
    for connection in &mut silent {
        assert_eq!(closed(connection).await, "");
    }
    owner.get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut_off_however_it_goes_on() {
    let limits = ConnectionLimits { first_request: SHORT, ..ConnectionLimits::default() };
    let (server, owner) = start(limited(limits)).await;
    let mut connection = connect(&server).await;
    let begun = Instant::now();
    let head = request(&format!("/health?{}", "x".repeat(10_000)));
    for byte in head {
        // the connection is closed: there it is
        if connection.write_all(&[byte]).await.is_err() || begun.elapsed() > PATIENCE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begun.elapsed() >= SHORT, "not before its time");
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    owner.get("/me").await.data(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_not_used_any_more_is_closed() {
    let limits = ConnectionLimits { keep_alive: SHORT, ..ConnectionLimits::default() };
    let (server, _) = start(limited(limits)).await;
    let mut connection = connect(&server).await;
    for _ in 0..3 {
        connection.write_all(&request("/health")).await.expect("sent");
        assert!(answer(&mut connection).await.starts_with("HTTP/1.1 200"));
    }
    // half a request does not keep it open
    connection.write_all(b"GET /api/hea").await.expect("sent");
    assert_eq!(closed(&mut connection).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_runs_and_a_stream_that_is_silent_are_not_cut_off() {
    let limits = ConnectionLimits { first_request: SHORT, keep_alive: SHORT, ..Default::default() };
    let deadline = SHORT * 4;
    let (server, owner) = start(Options {
        embedder: Arc::new(embedders::Stuck),
        request_deadline: deadline,
        ..limited(limits)
    })
    .await;
    let begun = Instant::now();
    asks_to_wait(&owner.post("/memory/search", json!({ "query": "x" })).await);
    assert!(begun.elapsed() >= deadline);

    owner.space("Team").await;
    let session = owner.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let path = format!("/spaces/team/sessions/{}", session["session"]["id"].as_str().expect("id"));
    let mut stream = Stream::open(&owner, &format!("{path}/events"), None).await;
    tokio::time::sleep(SHORT * 4).await;
    owner.post(&format!("{path}/messages"), json!({ "body": "still there?" })).await.data(201);
    assert_eq!(stream.event().await.event, "message.created");
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so_and_the_next_is_served_when_there_is_room() {
    const MOST: usize = 5;
    let limits = ConnectionLimits { most: MOST, ..ConnectionLimits::default() };
    let (server, owner) = start(limited(limits)).await;
    let mut held = Vec::new();
    for n in 0..MOST {
        // each from an address of its own: one alone does not get all
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 1, n as u8], 0).into()).expect("an address of this machine");
        let mut connection = socket.connect(server.address()).await.expect("a connection");
        connection.write_all(&request("/health")).await.expect("sent");
        assert!(answer(&mut connection).await.starts_with("HTTP/1.1 200"));
        held.push(connection);
    }
    for _ in 0..20 {
        let answer = owner.get("/me").await;
        asks_to_wait(&answer);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    // a silent one is not waited for
    let mut silent = connect(&server).await;
    assert_eq!(closed(&mut silent).await, "");
    drop(held);
    until_served(&owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_much_together_are_503_until_some_are_gone() {
    const ALL: usize = 512 * 1024;
    /// A key may have an eighth.
    const OWN: usize = ALL / 8;
    let limits = ConnectionLimits { all_bodies: ALL, ..ConnectionLimits::default() };
    let (server, owner) = start(limited(limits)).await;
    let key = owner.key.clone().expect("a key");
    let head = format!(
        "POST /api/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    );
    let slow_one = async || {
        let mut slow = connect(&server).await;
        slow.write_all(head.as_bytes()).await.expect("sent");
        slow.write_all(&vec![b' '; OWN - 8 * 1024]).await.expect("sent");
        slow
    };
    let mut slow = slow_one().await;
    let body = json!({ "content": "x".repeat(9_000), "visibility": "ORG" });
    let begun = Instant::now();
    loop {
        let answer = Answer::of(owner.request(Method::POST, "/memory").json(&body)).await;
        if answer.status == 503 {
            asks_to_wait(&answer);
            break;
        }
        // the server has not read all of it yet
        assert!(answer.status == 201 && begun.elapsed() < PATIENCE, "{}", answer.text);
        // or the slow one came second, and was the one who was refused
        let silent = slow.try_read(&mut [0; 1]);
        if !matches!(&silent, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            slow = slow_one().await;
        }
    }
    // what needs no body goes on, and so does everything when the slow one has gone
    owner.get("/me").await.data(200);
    drop(slow);
    loop {
        let answer = owner.post("/memory", body.clone()).await;
        if answer.status == 201 {
            break;
        }
        asks_to_wait(&answer);
        assert!(begun.elapsed() < PATIENCE, "{}", answer.text);
    }
}
