//! Who may do what: every operation and every tool, really asked by every role in the organization
//! and every role in the Space, with the scope that it needs, without it and with `*`, by a stranger
//! and by somebody of another organization.
//!
//! The answers are kept in `tests/golden/access.tsv`, to be read in diffs. After a change that is
//! meant: `EXPECTORATE=overwrite cargo test --test e2e access::`.

mod cases;
pub mod stage;

use crate::authentication::SCOPES;
use crate::fixture::mcp::MCP_SCOPES;
use crate::fixture::operations::{Operation, operations};
use crate::fixture::stripe::Stripe;
use crate::fixture::{Caller, Options, Org, Server, embedders, record};
use cases::{Case, For, ToolCase, cases, tool_cases};
use futures::StreamExt;
use serde_json::{Value, json};
use stage::{Seat, Stage};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use switchy_server::auth::{OrgRole, Scope};
use switchy_server::mcp::client::Outbound;

const GOLDEN: &str = "tests/golden/access.tsv";

pub const ORG_ROLES: [OrgRole; 3] = [OrgRole::Owner, OrgRole::Admin, OrgRole::Member];
pub const SPACE_ROLES: [&str; 5] = ["OWNER", "EDITOR", "MEMBER", "VIEWER", "none"];

/// In place of a role: a request without a key, and one of another organization's OWNER.
const NO_KEY: &str = "no key";
const OTHER_ORG: &str = "other";

/// What leaves everything in place that another case is about.
const HARMLESS: [&str; 13] = [
    "message_search",
    "message_send",
    "reaction_add",
    "reaction_remove",
    "saved_session_transcript_append",
    "billing_checkout",
    "billing_portal",
    "billing_topup",
    "mcp_server_test",
    "key_create",
    "memory_search",
    "memory_create",
    "memory_batch",
];

/// Answers of which it matters what is in them.
const LISTS: [&str; 18] = [
    "delegation_list",
    "message_search",
    "space_list",
    "space_member_list",
    "space_mcp_list",
    "session_list",
    "memory_list",
    "memory_search",
    "saved_session_list",
    "member_list",
    "invitation_list",
    "key_list",
    "mcp_server_list",
    "me",
    "search_memory",
    "list_spaces",
    "list_sessions",
    "prompts/get",
];

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    operation: String,
    target: String,
    org_role: String,
    space_role: String,
    /// With the scope that it needs, without it, and with `*`.
    outcomes: [String; 3],
}

impl Line {
    fn print(&self, to: &mut String) {
        let Line { operation, target, org_role, space_role, outcomes: [with, without, star] } =
            self;
        let _ = writeln!(
            to,
            "{operation}\t{target}\t{org_role}\t{space_role}\t{with}\t{without}\t{star}"
        );
    }

    fn parse(line: &str) -> Line {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let [operation, target, org_role, space_role, with, without, star] =
            <[String; 7]>::try_from(columns).unwrap_or_else(|_| panic!("seven columns: {line}"));
        Line { operation, target, org_role, space_role, outcomes: [with, without, star] }
    }
}

const HEADER: &str =
    "operation\ttarget\torg role\tSpace role\twith its scope\twithout it\twith `*`\n";

/// Who is asked about, and what else a case needs.
pub struct World {
    pub server: Server,
    pub org: Org,
    pub elsewhere: Org,
}

impl World {
    pub async fn new() -> World {
        let stripe = tokio::task::spawn_blocking(Stripe::start).await.expect("Stripe");
        let outbound =
            Outbound { allowed: "127.0.0.1:1".parse().expect("a host"), ..Outbound::default() };
        let server = Server::with(Options {
            embedder: embedders::none(),
            billing: stripe.options(),
            outbound,
            pool_size: 16,
            ..Options::default()
        })
        .await;
        let (org, elsewhere) = (server.org("acme").await, server.org("globex").await);
        // so that there is somebody for the portal to be about
        for org in [&org, &elsewhere] {
            let topup = json!({ "pack": "small" });
            org.owner.post("/billing/topup", topup).await.data(200);
        }
        server.sql().await.batch_execute(include_str!("stage.sql")).await.expect("a stage");
        // it plays Stripe for as long as the process lives
        std::mem::forget(stripe);
        World { server, org, elsewhere }
    }

    /// Every line, sorted.
    pub async fn ask_everything(&self) -> Vec<Line> {
        let (cases, tools) = (cases(), tool_cases());
        let roles = ORG_ROLES.iter().flat_map(|o| SPACE_ROLES.iter().map(|s| (*o, *s)));
        let seats: Vec<_> = roles.enumerate().collect();
        let of_seats = futures::stream::iter(seats)
            .map(|(number, roles)| self.ask_as(number, roles, &cases, &tools))
            .buffer_unordered(4)
            .collect::<Vec<_>>()
            .await;
        let mut lines: Vec<Line> = of_seats.into_iter().flatten().collect();
        lines.extend(self.ask_from_outside(&cases, &tools).await);
        lines.sort();
        lines
    }

    async fn ask_as(
        &self,
        number: usize,
        roles: (OrgRole, &'static str),
        cases: &[Case],
        tools: &[ToolCase],
    ) -> Vec<Line> {
        let orgs = (&self.org, &self.elsewhere);
        let mut seat = Seat::take(&self.server, orgs, number, roles).await;
        let operations = by_id();
        let mut lines = Vec::new();
        for case in cases {
            let mut outcomes = [const { String::new() }; 3];
            for (column, outcome) in outcomes.iter_mut().enumerate() {
                if case.operation == "invitation_accept" {
                    seat.invite(&case.target).await;
                }
                let caller = match (column, needed(case)) {
                    (0, needed) => seat.with(&needed).await,
                    (1, needed) => {
                        let last = needed.last().and_then(|name| named(name));
                        seat.without(last).await
                    }
                    _ => seat.with(&["*"]).await,
                };
                let operation = &operations[case.operation];
                let answer = ask(&caller, operation, case, &seat.stage).await;
                let writes = operation.method != http::Method::GET;
                if answer.ok && writes && !HARMLESS.contains(&case.operation) {
                    seat.set().await;
                }
                *outcome = answer.outcome;
            }
            lines.push(line(case.operation, &case.target, &seat, outcomes));
        }
        for case in tools {
            let mut outcomes = [const { String::new() }; 3];
            for (column, outcome) in outcomes.iter_mut().enumerate() {
                let caller = match column {
                    0 => seat.with(&[case.scope, "act_on_behalf"]).await,
                    1 => seat.without(named(case.scope)).await,
                    _ => seat.with(&["*"]).await,
                };
                let actor = match case.acting {
                    For::Nobody => None,
                    For::Oneself => Some(seat.stage.caller.as_str()),
                    For::Another => Some(seat.host.as_str()),
                };
                *outcome = call(&caller, actor, case, &seat.stage).await.outcome;
            }
            lines.push(line(case.tool, &case.target, &seat, outcomes));
        }
        lines
    }

    /// What those are told who have no key, or one for another organization.
    async fn ask_from_outside(&self, cases: &[Case], tools: &[ToolCase]) -> Vec<Line> {
        let orgs = (&self.org, &self.elsewhere);
        let roles = (OrgRole::Owner, "OWNER");
        let number = ORG_ROLES.len() * SPACE_ROLES.len();
        let mut seat = Seat::take(&self.server, orgs, number, roles).await;
        let nobody = self.server.nobody();
        let operations = by_id();
        let all: Vec<&str> =
            ["*", "messages:agent", "act_on_behalf"].into_iter().chain(MCP_SCOPES).collect();
        let other = self.server.key_for(&self.elsewhere.owner, &all).await;
        let mut lines = Vec::new();
        let mut add = |operation: &str, target: &str, who: &str, outcome: String| {
            lines.push(Line {
                operation: operation.to_owned(),
                target: target.to_owned(),
                org_role: who.to_owned(),
                space_role: "-".to_owned(),
                outcomes: [outcome, "-".to_owned(), "-".to_owned()],
            });
        };
        for case in cases {
            if case.operation == "invitation_accept" {
                seat.invite(&case.target).await;
            }
            for (who, caller) in [(NO_KEY, &nobody), (OTHER_ORG, &other)] {
                let operation = &operations[case.operation];
                let answer = ask(caller, operation, case, &seat.stage).await;
                let inside = seat.stage.seen_in(&answer.text);
                assert_eq!(inside, [""; 0], "{} tells {who}: {}", case.operation, answer.text);
                add(case.operation, &case.target, who, answer.outcome);
            }
        }
        for case in tools {
            for (who, caller) in [(NO_KEY, &nobody), (OTHER_ORG, &other)] {
                let actor = match case.acting {
                    For::Nobody => None,
                    For::Oneself => Some(caller.user_id.as_str()),
                    For::Another => Some(seat.host.as_str()),
                };
                let answer = call(caller, actor, case, &seat.stage).await;
                assert!(answer.text.find(&seat.stage.id("space")).is_none(), "{}", answer.text);
                add(case.tool, &case.target, who, answer.outcome);
            }
        }
        lines
    }
}

fn line(operation: &str, target: &str, seat: &Seat<'_>, outcomes: [String; 3]) -> Line {
    Line {
        operation: operation.to_owned(),
        target: target.to_owned(),
        org_role: seat.org_role.as_str().to_owned(),
        space_role: seat.space_role.to_owned(),
        outcomes,
    }
}

fn by_id() -> BTreeMap<String, Operation> {
    operations().into_iter().map(|o| (o.id.clone(), o)).collect()
}

fn named(scope: &str) -> Option<Scope> {
    Scope::ALL.iter().copied().find(|s| s.as_str() == scope)
}

/// The scopes that a case needs.
fn needed(case: &Case) -> Vec<&'static str> {
    let (_, scope) = SCOPES
        .iter()
        .find(|(id, _)| *id == case.operation)
        .unwrap_or_else(|| panic!("{} is not in SCOPES", case.operation));
    let agent = case.target.ends_with("as an agent").then_some(Scope::MessagesAgent);
    // whoever opens something to a key must reach it
    let opened = match case.operation {
        "delegation_allow" => &switchy_server::store::delegations::OPENED[..],
        _ => &[],
    };
    opened.iter().chain(scope).copied().chain(agent).map(Scope::as_str).collect()
}

struct Told {
    ok: bool,
    outcome: String,
    text: String,
}

async fn ask(caller: &Caller, operation: &Operation, case: &Case, stage: &Stage) -> Told {
    let asked = (case.ask)(stage);
    let path = asked.path.split('?').next().unwrap_or_default();
    assert!(operation.is_at(path), "{path} is not a path of {}", operation.id);
    let mut request = caller.request(operation.method.clone(), &asked.path);
    if let Some(body) = &asked.body {
        request = request.json(body);
    }
    told(request, case.operation, stage).await
}

async fn call(caller: &Caller, actor: Option<&str>, case: &ToolCase, stage: &Stage) -> Told {
    let url = format!("{}/mcp/rpc", caller.url.trim_end_matches("/api"));
    let params = (case.params)(stage);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": case.method, "params": params });
    let mut request = caller.http.post(url).json(&body);
    if let Some(key) = &caller.key {
        request = request.bearer_auth(key);
    }
    if let Some(actor) = actor {
        request = request.header("X-Switchy-Actor-User-Id", actor);
    }
    told(request, case.tool, stage).await
}

/// Status, code, and what of the stage is in a list.
async fn told(request: reqwest::RequestBuilder, operation: &str, stage: &Stage) -> Told {
    let (client, request) = request.build_split();
    let request = request.expect("a request");
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.expect("an answer");
    let status = response.status();
    record::answered(&method, &path, status.as_u16());
    let streams = response.headers().get("content-type").is_some_and(|t| t == "text/event-stream");
    let text = match streams {
        true => String::new(), // it would not end
        false => response.text().await.expect("a body"),
    };
    let mut outcome = status.as_u16().to_string();
    if !status.is_success() {
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let codes = [&body["error"]["data"]["code"], &body["error"]["code"], &body["type"]];
        let code = codes.into_iter().find_map(Value::as_str).unwrap_or("?");
        outcome = format!("{outcome} {code}");
    } else if LISTS.contains(&operation) {
        let seen = stage.seen_in(&text);
        outcome = match seen.is_empty() {
            true => format!("{outcome} nothing"),
            false => format!("{outcome} {}", seen.join(" ")),
        };
    }
    Told { ok: status.is_success(), outcome, text }
}

fn printed(lines: &[Line]) -> String {
    let mut text = HEADER.to_owned();
    lines.iter().for_each(|line| line.print(&mut text));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_every_role_as_the_golden_file_says() {
    let world = World::new().await;
    let lines = world.ask_everything().await;
    expectorate::assert_contents(GOLDEN, &printed(&lines));
}

/// The lines that are kept.
pub fn golden() -> Vec<Line> {
    let text = std::fs::read_to_string(GOLDEN).expect("the golden file");
    let lines = text.strip_prefix(HEADER).expect("the header").lines();
    lines.map(Line::parse).collect()
}

/// Lists that name nothing: whoever has a key may ask, and is told of what is his.
const OF_ONES_OWN: [&str; 20] = [
    "delegation_list",
    "me",
    "space_list",
    "space_create",
    "memory_list",
    "memory_search",
    "memory_create",
    "memory_batch",
    "credit_balance",
    "billing_checkout",
    "billing_portal",
    "billing_topup",
    "key_list",
    "key_create",
    "mcp_server_list",
    "mcp_server_create",
    "search_memory",
    "add_memory",
    "list_spaces",
    "prompts/get",
];

/// Nobody is too lowly for these: any key will do.
const FOR_ANY_KEY: [&str; 1] = ["me"];

#[test]
fn every_operation_and_tool_is_refused_to_whom_it_must_be() {
    let lines = golden();
    let operations = operations().into_iter().filter(|o| !o.public).map(|o| o.id);
    let mut wanted: BTreeSet<String> = operations.collect();
    let document = switchy_server::mcp::server::document::document().to_string();
    let tools = lines.iter().map(|l| l.operation.clone()).filter(|name| !wanted.contains(name));
    let tools: BTreeSet<String> = tools.collect();
    // every tool of the document has its lines, and whatever else has lines is a method of MCP
    let methods = ["resources/read", "prompts/get"].map(str::to_owned);
    for tool in tools.iter().filter(|name| !methods.contains(name)) {
        assert!(document.contains(&format!("\"{tool}\"")), "{tool} is no operation and no tool");
    }
    wanted.extend(tools_of_the_document());
    wanted.extend(methods);
    let mut missing = Vec::new();
    for operation in &wanted {
        let of = |who: &str| {
            lines
                .iter()
                .filter(|l| l.operation == *operation && l.org_role == who)
                .collect::<Vec<_>>()
        };
        let strangers = of(NO_KEY);
        if strangers.is_empty() || strangers.iter().any(|l| !l.outcomes[0].starts_with("401 ")) {
            missing.push(format!("{operation}: asked without a key"));
        }
        let others = of(OTHER_ORG);
        let refused = |outcome: &str| {
            let own = OF_ONES_OWN.contains(&operation.as_str());
            outcome.starts_with("403 ")
                || outcome.starts_with("404 ")
                // asked for his own, and told of nothing else
                || (own && (outcome.len() == 3 || outcome.ends_with(" nothing")))
        };
        if others.is_empty() || others.iter().any(|l| !refused(&l.outcomes[0])) {
            missing.push(format!("{operation}: asked by somebody of another organization"));
        }
        let members: Vec<&Line> =
            lines.iter().filter(|l| l.operation == *operation && l.space_role != "-").collect();
        let cases = members.iter().map(|l| (&l.org_role, &l.space_role)).collect::<BTreeSet<_>>();
        if cases.len() != ORG_ROLES.len() * SPACE_ROLES.len() {
            missing.push(format!("{operation}: asked by every role"));
        }
        let lacking = members.iter().all(|l| l.outcomes[1].starts_with("403 "));
        if !lacking && !FOR_ANY_KEY.contains(&operation.as_str()) {
            missing.push(format!("{operation}: asked without its scope"));
        }
        if !members.iter().any(|l| l.outcomes[0].starts_with('2')) {
            missing.push(format!("{operation}: asked by somebody who may"));
        }
    }
    assert!(missing.is_empty(), "no line of {GOLDEN} shows it:\n{}", missing.join("\n"));
}

/// The names of all tools.
fn tools_of_the_document() -> BTreeSet<String> {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        if let Some(name) = value["properties"]["name"]["const"].as_str() {
            found.insert(name.to_owned());
        }
        if let Some(name) = value["properties"]["name"]["enum"][0].as_str() {
            found.insert(name.to_owned());
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|v| walk(v, found)),
            Value::Array(elements) => elements.iter().for_each(|v| walk(v, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(&switchy_server::mcp::server::document::document(), &mut found);
    assert!(found.len() >= 7, "{found:?}");
    found
}
