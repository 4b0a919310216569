//! Switchy as an MCP server (contract B9), over raw JSON-RPC and through the official SDK's client.

mod clients;
mod failures;
mod idempotency;
mod protocol;
mod quotas;
mod results;
mod sight;
mod tools;

use crate::fixture::mcp::Mcp;
use crate::fixture::{Caller, Options, Org, Server, embedders};
use serde_json::{Value, json};

/// What a server's own failures are called.
const SERVER_ERROR: i64 = -32_000;
const INVALID_PARAMS: i64 = -32_602;
const INVALID_REQUEST: i64 = -32_600;

/// A server without a model, an organization, and its owner's client for everything.
async fn start() -> (Server, Org, Mcp) {
    start_with(Options { embedder: embedders::none(), ..Options::default() }).await
}

async fn start_with(options: Options) -> (Server, Org, Mcp) {
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let mcp = Mcp::all(&server, &org.owner).await;
    (server, org, mcp)
}

/// Makes a session in a Space and returns its id.
async fn session(caller: &Caller, slug: &str, name: &str) -> String {
    let path = format!("/spaces/{slug}/sessions");
    let data = caller.post(&path, json!({ "name": name })).await.data(201);
    data["session"]["id"].as_str().expect("an id").to_owned()
}

/// A field of every element.
fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    let elements = list.as_array().expect("a list").iter();
    elements.map(|element| element[field].as_str().expect(field)).collect()
}
