//! Overload, slow peers, and what the server stands on going away: it says so, holds on to little,
//! and goes on by itself when it is over. (That nothing is lost when it is killed: `crashes`.)

mod connections;
mod contention;
mod database;
mod disk;
mod memory;
mod shutdown;

use crate::fixture::{Answer, Caller, Options, Server, embedders};
use std::time::{Duration, Instant};

/// How long anything may take; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// Without a model.
fn options() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

/// Fails the test unless this asks to come back later.
#[track_caller]
fn asks_to_wait(answer: &Answer) {
    answer.fails(503, "INTERNAL_ERROR");
    let seconds = answer.header("retry-after").and_then(|s| s.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{:?}", answer.headers);
}

/// Waits until the caller is served again.
async fn until_served(caller: &Caller) {
    let begun = Instant::now();
    loop {
        let answer = caller.get("/me").await;
        if answer.status == 200 {
            return;
        }
        asks_to_wait(&answer);
        assert!(begun.elapsed() < PATIENCE, "not served again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A server, and somebody to ask it.
async fn start(options: Options) -> (Server, Caller) {
    let server = Server::with(options).await;
    let owner = server.org("acme").await.owner;
    (server, owner)
}
