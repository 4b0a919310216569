//! What strangers can make the server hold.

use super::PATIENCE;
use crate::fixture::binary::{Home, Serving};
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Connections that the server takes.
const MOST: usize = 300;
/// What each of them sends of a head that never ends, in bytes: nearly as much as is read of one.
const SENT: usize = 60 * 1024;
/// What the server may need for it, in KiB: twice as much, since buffers grow by doubling, and some
/// for itself.
const MAY_GROW: u64 = MOST as u64 * 2 * 64 + 16 * 1024;

/// Memory that is in use, in KiB.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn heads_that_never_end_take_little_memory_and_leave_the_server_well() {
    let home = Home::new();
    let mut command = home.serve();
    command.env("SWITCHY_MAX_CONNECTIONS", MOST.to_string());
    let serving = Serving::start(&mut command);
    let pid = serving.process.pid();
    let owner = serving.caller(&home.key());
    owner.get("/me").await.data(200);
    let before = resident(pid);
    let address = url::Url::parse(&serving.url).expect("a URL");
    let address = format!("127.0.0.1:{}", address.port().expect("a port"));
    let head = format!("GET /api/health?{} ", "x".repeat(SENT));
    let mut strangers = Vec::new();
    let mut most = before;
    for number in 0..MOST * 3 {
        let mut stranger = TcpStream::connect(&address).await.expect("a connection");
        // those beyond the limit are not read
        let _ = stranger.write_all(head.as_bytes()).await;
        strangers.push(stranger);
        if number.is_multiple_of(50) {
            most = most.max(resident(pid));
        }
    }
    most = most.max(resident(pid));
    let grown = most - before;
    println!("{} connections: {before} KiB before, {grown} KiB more", strangers.len());
    assert!(grown < MAY_GROW, "{grown} KiB");

    drop(strangers);
    let begun = Instant::now();
    // at first, there may be no room yet
    while !owner
        .http
        .get(format!("{}/me", owner.url))
        .bearer_auth(home.key())
        .send()
        .await
        .is_ok_and(|answer| answer.status() == 200)
    {
        assert!(begun.elapsed() < PATIENCE, "not served again");
    }
}
