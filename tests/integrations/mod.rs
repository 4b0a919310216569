//! Integrations: MCP servers of the organization, what is called and what never is.

mod binary;
mod bindings;
mod connection;
mod guard;
mod health;
mod isolation;
mod register;

use crate::fixture::python::Peer;
use crate::fixture::{Caller, Options, Org, Server, embedders};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};
use switchy_server::mcp::client::Outbound;
use switchy_server::mcp::guard::Resolver;

/// An address on the Internet, to which nothing is ever sent.
const PUBLIC: &str = "1.1.1.1";

/// What a registration names that no test connects to.
const ENDPOINT: &str = "https://mcp.example.com/mcp";

/// The port of the MCP server that all tests share.
fn upstream() -> u16 {
    static PEER: OnceLock<Peer> = OnceLock::new();
    PEER.get_or_init(|| Peer::start("mcp_server", &[])).port
}

/// `path` of that server.
fn at(path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", upstream())
}

/// A resolver that answers what it was told: one answer after the other, the last one for ever.
struct Names(Mutex<VecDeque<Vec<IpAddr>>>);

impl Names {
    fn answering(answers: &[&[&str]]) -> Arc<Names> {
        let parse = |text: &&str| text.parse().expect("an address");
        let answers = answers.iter().map(|all| all.iter().map(parse).collect());
        Arc::new(Names(Mutex::new(answers.collect())))
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().expect("no panic");
        let answer = match answers.len() {
            1 => answers.front().cloned(),
            _ => answers.pop_front(),
        };
        answer
            .filter(|addresses| !addresses.is_empty())
            .ok_or_else(|| io::Error::other(format!("{name} is unknown")))
    }
}

/// A server that knows every name, and may call these hosts of this machine.
fn options(allowed: &str) -> Options {
    options_with(allowed, Names::answering(&[&[PUBLIC]]))
}

fn options_with(allowed: &str, resolver: Arc<dyn Resolver>) -> Options {
    let allowed = allowed.parse().expect("hosts");
    let outbound = Outbound { allowed, resolver, ..Outbound::default() };
    Options { embedder: embedders::none(), outbound, ..Options::default() }
}

/// A server that may call the shared MCP server, and an organization.
async fn start() -> (Server, Org) {
    let server = Server::with(options(&format!("127.0.0.1:{}", upstream()))).await;
    let org = server.org("acme").await;
    (server, org)
}

/// Lets no background check of this database's servers come due: for tests that count who connects.
async fn without_background_checks(server: &Server) {
    let never_due = "
        CREATE FUNCTION never_due() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.next_check_at := 'infinity'; RETURN NEW; END $$;
        CREATE TRIGGER never_due BEFORE INSERT ON mcp_servers
            FOR EACH ROW EXECUTE FUNCTION never_due()";
    server.sql().await.batch_execute(never_due).await.expect("a trigger");
}

/// What registers an integration without a secret.
fn body(mention: &str, endpoint: &str) -> Value {
    json!({
        "displayName": mention, "mentionSlug": mention, "endpointUrl": endpoint,
        "authType": "NONE"
    })
}

/// Registers an integration and returns it.
async fn register(caller: &Caller, body: Value) -> Value {
    caller.post("/mcp/servers", body).await.data(201)["server"].take()
}

fn path(server: &Value) -> String {
    format!("/mcp/servers/{}", crate::fixture::shape::id(server))
}

/// Tests its connection and returns what was found.
async fn test(caller: &Caller, server: &Value) -> Value {
    caller.post_empty(&format!("{}/test-connection", path(server))).await.data(200)
}

/// The integration, as it is listed.
async fn listed(caller: &Caller, server: &Value) -> Value {
    let mut data = caller.get("/mcp/servers").await.data(200);
    let servers = data["servers"].as_array_mut().expect("a list");
    servers.iter_mut().find(|s| s["id"] == server["id"]).expect("it is listed").take()
}

/// How many rows a table has.
async fn rows(server: &Server, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    server.sql().await.query_one(&count, &[]).await.expect("counted").get(0)
}
