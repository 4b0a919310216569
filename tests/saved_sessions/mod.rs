//! Saved sessions: `/v1/org/{org}/ws/{workspace}/sessions`.

mod changing;
mod dialect;
mod listing;
mod privacy;
mod saving;
mod transcripts;

use crate::fixture::{Answer, Caller, Options, Org, Server, embedders};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

/// Of the workspace that every test has.
const SESSIONS: &str = "/v1/org/acme/ws/team/sessions";

/// An organization `acme` with a Space `team`, which its OWNER made.
async fn team() -> (Server, Org, Value) {
    team_with(Options::default()).await
}

async fn team_with(options: Options) -> (Server, Org, Value) {
    let server = Server::with(Options { embedder: embedders::none(), ..options }).await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    (server, org, space)
}

/// A member of the organization, in the Space with a role.
async fn admitted(server: &Server, org: &Org, space: &Value, name: &str, role: &str) -> Caller {
    let caller = server.member(org, name, OrgRole::Member).await;
    server.admit(space["id"].as_str().expect("an id"), &caller, role).await;
    caller
}

/// A new UUID.
fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What is sent to save a session: a new id and a model, and `more`.
fn session(more: Value) -> Value {
    let mut body = json!({ "id": uuid(), "model": "claude-sonnet-4-5" });
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    body
}

/// Saves a session, which must succeed.
async fn save(caller: &Caller, body: &Value) -> Value {
    caller.post(SESSIONS, body.clone()).await.bare()
}

/// Saves a new session that the workspace sees.
async fn shared(caller: &Caller, more: Value) -> Value {
    let mut body = session(more);
    body["visibility"] = json!("workspace");
    save(caller, &body).await
}

fn path(session: &Value) -> String {
    format!("{SESSIONS}/{}", session["id"].as_str().expect("an id"))
}

/// Appends messages, which must succeed.
async fn append(caller: &Caller, session: &Value, messages: Value) -> Value {
    let path = format!("{}/transcript", path(session));
    caller.post(&path, json!({ "messages": messages })).await.bare()
}

/// Where a 422 found something, as `body.labels.env.0` or `query.limit`, in the order of the
/// alphabet.
#[track_caller]
fn places(answer: &Answer) -> Vec<String> {
    let error = answer.refused(422, "validation_error");
    let mut places: Vec<String> = error["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|issue| {
            assert!(issue["msg"].as_str().is_some_and(|m| !m.is_empty()), "{issue}");
            assert!(issue["type"].as_str().is_some_and(|t| !t.is_empty()), "{issue}");
            let steps = issue["loc"].as_array().expect("loc").iter();
            let steps = steps.map(|s| s.as_str().map_or_else(|| s.to_string(), str::to_owned));
            steps.collect::<Vec<_>>().join(".")
        })
        .collect();
    places.sort_unstable();
    places
}
