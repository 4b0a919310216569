//! Reads are sent to the database for whoever the key belonged to when it was used last, together
//! with the question whose it is. Nobody may notice.

use crate::fixture::{Answer, Caller, Options, Org, Server, embedders};
use serde_json::json;
use switchy_server::auth::OrgRole;
use switchy_server::limits::Limits;

/// A server, an organization, and a member of it whose key has been used a few times.
async fn start(reads: u32) -> (Server, Org, Caller) {
    let limits = Limits { reads, writes: 0, failures: 0 };
    let options = Options { limits, embedder: embedders::none(), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    for _ in 0..2 {
        eve.get("/me").await.data(200);
    }
    (server, org, eve)
}

/// Changes the keys and members of `caller` behind the server's back, as another server would.
async fn change(server: &Server, table: &str, what: &str, caller: &Caller) {
    let sentence = format!("UPDATE {table} SET {what} WHERE user_id = '{}'", caller.user_id);
    server.sql().await.batch_execute(&sentence).await.expect("changed");
}

fn rest(answer: &Answer) -> u32 {
    answer.header("ratelimit-remaining").and_then(|v| v.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_becomes_another_s_reads_what_the_other_may_and_nothing_else() {
    let (server, org, eve) = start(0).await;
    let space = eve.space("Hers").await;
    let path = format!("/projects/{}", space["id"].as_str().expect("an id"));
    let private = json!({ "content": "Hers alone.", "visibility": "PRIVATE" });
    let note = eve.note(private).await;
    let note = format!("/memory/{}", note["id"].as_str().expect("an id"));
    let session = eve.post("/spaces/hers/sessions", json!({ "name": "x" })).await.data(201);
    let session =
        format!("/spaces/hers/sessions/{}", session["session"]["id"].as_str().expect("an id"));
    let messages = format!("{session}/messages");
    let all = [&*path, &*note, &*session, &*messages, "/memory", "/projects", "/me"];
    for path in all {
        eve.get(path).await.data(200);
    }
    let what = format!("user_id = '{}'", org.owner.user_id);
    change(&server, "api_keys", &what, &eve).await;
    for (at, status) in [(&path, 403), (&note, 404), (&session, 403), (&messages, 403)] {
        // from here on he is known; so is somebody else, before the next one
        assert_eq!(eve.get(at).await.status, status, "{at}");
        let answer = eve.get(at).await;
        assert_eq!(answer.status, status, "{at}");
    }
    assert_eq!(eve.get("/memory").await.data(200)["memories"], json!([]));
    assert_eq!(eve.get("/projects").await.data(200)["projects"], json!([]));
    assert_eq!(eve.get("/me").await.data(200)["user"]["id"], json!(org.owner.user_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_read_after_a_change_is_answered_for_the_new_caller() {
    for path in ["/memory", "/projects"] {
        let (server, org, eve) = start(0).await;
        eve.space("Hers").await;
        eve.note(json!({ "content": "Hers alone.", "visibility": "PRIVATE" })).await;
        let what = format!("user_id = '{}'", org.owner.user_id);
        change(&server, "api_keys", &what, &eve).await;
        let found = eve.get(path).await.data(200);
        let list = if path == "/memory" { "memories" } else { "projects" };
        assert_eq!((&found[list], &found["total"]), (&json!([]), &json!(0)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_that_of_now() {
    let (server, _, eve) = start(0).await;
    for role in ["ADMIN", "MEMBER"] {
        change(&server, "members", &format!("role = '{role}'"), &eve).await;
        for _ in 0..2 {
            assert_eq!(eve.get("/me").await.data(200)["role"], role);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_taken_away_is_gone_and_one_that_is_given_is_there() {
    let (server, _, eve) = start(0).await;
    for (scope, status) in [("memory:read", 200), ("spaces:read", 403), ("memory:read", 200)] {
        change(&server, "api_keys", &format!("scopes = '{{{scope}}}'"), &eve).await;
        for _ in 0..2 {
            assert_eq!(eve.get("/memory").await.status, status, "{scope}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_counts_once_whatever_was_believed() {
    let (server, _, eve) = start(1_000).await;
    let mut before = rest(&eve.get("/me").await);
    let mut one_less = async |path: &str, status: u16| {
        let answer = eve.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        let now = rest(&answer);
        assert_eq!(now, before - 1, "{path}");
        before = now;
    };
    one_less("/projects", 200).await;
    // what is not valid
    one_less("/projects?page=0", 400).await;
    one_less("/projects/x", 404).await;
    // a caller who was believed to be another
    change(&server, "members", "role = 'ADMIN'", &eve).await;
    one_less("/projects", 200).await;
    change(&server, "api_keys", "scopes = '{spaces:read}'", &eve).await;
    one_less("/memory", 403).await;
    one_less("/projects", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_limit_and_a_revoked_key_show_nothing_of_what_was_read() {
    // two have been made
    let (server, _, eve) = start(3).await;
    eve.get("/projects").await.data(200);
    for _ in 0..2 {
        let answer = eve.get("/projects").await;
        assert_eq!(answer.fails(429, "RATE_LIMIT").get("projects"), None);
    }
    let (revoked, _, mallory) = start(0).await;
    change(&revoked, "api_keys", "revoked_at = now()", &mallory).await;
    for _ in 0..2 {
        mallory.get("/me").await.fails(401, "AUTH_ERROR");
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_learn_what_is_valid() {
    let (server, _, _) = start(0).await;
    for path in ["/projects?page=0", "/projects/x", "/memory/x", "/spaces/X/sessions", "/me"] {
        server.nobody().get(path).await.fails(401, "AUTH_ERROR");
    }
}
