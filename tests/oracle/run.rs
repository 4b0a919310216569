//! One run: a world of two organizations, and what is asked and answered in it.

use crate::fixture::{Answer, Caller, Server};
use crate::model::{Heresy, Key, Me, Model, Org, Ruling, User};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use switchy_server::auth::OrgRole;
use switchy_server::store::accounts;
use switchy_server::store::ids::{OrgId, UserId};

/// What all runs have done.
#[derive(Default)]
pub struct Tally {
    pub runs: AtomicU64,
    pub steps: AtomicU64,
    pub requests: AtomicU64,
    /// One for each thing that an answer shows, or rightly does not show.
    pub sights: AtomicU64,
    /// One for each thing that was done, or rightly refused.
    pub deeds: AtomicU64,
    next: AtomicU64,
}

impl Tally {
    pub fn checks(&self) -> u64 {
        self.sights.load(Ordering::Relaxed) + self.deeds.load(Ordering::Relaxed)
    }
}

/// What the server said that it should not have, or not said that it should.
pub type Verdict<T = ()> = Result<T, String>;

/// Everybody there is; the first is OWNER of the first organization, the second of the second.
pub const USERS: usize = 6;

pub struct Run<'a> {
    pub server: &'a Server,
    tally: &'a Tally,
    /// For what no answer tells.
    pub sql: &'a tokio_postgres::Client,
    pub model: Model,
    /// What was asked and answered, for whoever has to understand a failure.
    pub log: Vec<String>,
    number: u64,
    made: u64,
}

impl<'a> Run<'a> {
    /// `roles` says who is in which organization, as what.
    pub async fn begin(
        server: &'a Server,
        tally: &'a Tally,
        (sql, http): (&'a tokio_postgres::Client, &reqwest::Client),
        heresy: Option<Heresy>,
        roles: &[u8],
    ) -> Run<'a> {
        tally.runs.fetch_add(1, Ordering::Relaxed);
        let number = tally.next.fetch_add(1, Ordering::Relaxed);
        let model = Model { heresy, ..Model::default() };
        let mut run = Run { server, tally, sql, model, log: Vec::new(), number, made: 0 };
        let mut tx = server.store.begin_system().await.expect("a transaction");
        for letter in ["a", "b"] {
            let slug = format!("{letter}{number}");
            let org = accounts::create_org(&mut tx, &slug, &slug).await.expect("an organization");
            let (id, members) = (org.id.to_string(), std::collections::BTreeMap::new());
            run.model.orgs.push(Org { id, slug, members });
        }
        for user in 0..USERS {
            let email = format!("u{user}@run{number}.test");
            let made = accounts::user_with_email(&mut tx, &email).await.expect("a user");
            run.model.users.push(User { id: made.id.to_string(), email });
        }
        for (org, roles) in roles.chunks(USERS).enumerate() {
            for (user, role) in roles.iter().enumerate() {
                let role = match role % 6 {
                    _ if user == org => OrgRole::Owner,
                    0 => OrgRole::Owner,
                    1 | 2 => OrgRole::Admin,
                    3 | 4 => OrgRole::Member,
                    _ => continue,
                };
                let (org_id, user_id) = (run.org_id(org), run.user_id(user));
                accounts::add_member(&mut tx, &org_id, &user_id, role).await.expect("a member");
                run.model.orgs[org].members.insert(user, role);
            }
        }
        tx.commit().await.expect("committed");
        for org in 0..2 {
            let members: Vec<usize> = run.model.orgs[org].members.keys().copied().collect();
            for user in members {
                run.mint(http, user, org).await;
            }
        }
        run
    }

    fn org_id(&self, org: usize) -> OrgId {
        self.model.orgs[org].id.parse().expect("an id")
    }

    fn user_id(&self, user: usize) -> UserId {
        self.model.users[user].id.parse().expect("an id")
    }

    /// A key for everything, over REST, over MCP and for others.
    pub async fn mint(&mut self, http: &reqwest::Client, user: usize, org: usize) {
        let bare = Caller {
            key: None,
            org_id: self.org_id(org),
            user_id: self.user_id(user),
            email: self.model.users[user].email.clone(),
            url: self.server.url.clone(),
            http: http.clone(),
        };
        let scopes = [&crate::fixture::mcp::MCP_SCOPES[..], &["*", "act_on_behalf"]].concat();
        let caller = self.server.key_for(&bare, &scopes).await;
        let find = "SELECT id FROM api_keys WHERE user_id = $1 AND org_id = $2 \
                    ORDER BY created_at DESC LIMIT 1";
        let row = self.sql.query_one(find, &[&bare.user_id.as_str(), &bare.org_id.as_str()]).await;
        let id = row.expect("the key").get(0);
        self.model.keys.push(Key { id, user, org, caller, dead: false });
    }

    /// A text that no other run has.
    pub fn fresh(&mut self) -> String {
        self.made += 1;
        format!("n{}x{}", self.number, self.made)
    }

    /// A UUID that no other run has.
    pub fn uuid(&mut self) -> String {
        self.made += 1;
        format!("00000000-0000-4000-8{:03}-{:012}", self.made, self.number + 1)
    }

    pub fn me(&self, key: usize) -> Me {
        let Key { user, org, .. } = self.model.keys[key];
        Me { user, org, private: true, consents: true }
    }

    fn name(&self, key: usize) -> String {
        let me = self.me(key);
        let role = match self.model.orgs[me.org].members.get(&me.user) {
            Some(role) => role.as_str(),
            None => "nobody",
        };
        format!("u{} ({role} of {})", me.user, ["a", "b"][me.org])
    }

    async fn sent(&mut self, key: usize, what: String, request: reqwest::RequestBuilder) -> Answer {
        self.tally.requests.fetch_add(1, Ordering::Relaxed);
        let answer = Answer::of(request).await;
        let mut text = answer.text.clone();
        if text.len() > 300 {
            text = text.chars().take(300).collect();
        }
        self.log.push(format!("{}: {what} -> {} {text}", self.name(key), answer.status.as_u16()));
        answer
    }

    /// A request to the REST API or in the Save Session dialect.
    pub async fn ask(
        &mut self,
        key: usize,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let what = match &body {
            Some(body) => format!("{method} {path} {body}"),
            None => format!("{method} {path}"),
        };
        let mut request = self.model.keys[key].caller.request(method, path);
        if let Some(body) = &body {
            request = request.json(body);
        }
        self.sent(key, what, request).await
    }

    pub async fn get(&mut self, key: usize, path: &str) -> Answer {
        self.ask(key, Method::GET, path, None).await
    }

    /// A call to the MCP server.
    pub async fn mcp(
        &mut self,
        key: usize,
        actor: Option<usize>,
        method: &str,
        params: Value,
    ) -> Answer {
        let caller = &self.model.keys[key].caller;
        let url = format!("{}/mcp/rpc", caller.url.trim_end_matches("/api"));
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut request = caller.http.post(url).json(&body);
        if let Some(key) = &caller.key {
            request = request.bearer_auth(key);
        }
        if let Some(actor) = actor {
            request = request.header("X-Switchy-Actor-User-Id", &self.model.users[actor].id);
        }
        let what = format!("MCP {method} {params} for {actor:?}");
        self.sent(key, what, request).await
    }

    /// What a tool answers.
    pub async fn tool(
        &mut self,
        key: usize,
        actor: Option<usize>,
        name: &str,
        arguments: Value,
    ) -> Answer {
        self.mcp(key, actor, "tools/call", json!({ "name": name, "arguments": arguments })).await
    }

    /// One check: was it done, or refused, as ruled? `done` is the status of success. Says whether
    /// it was done.
    pub fn ruled<T>(
        &self,
        key: usize,
        done: u16,
        ruling: Ruling<T>,
        answer: &Answer,
    ) -> Verdict<Option<T>> {
        self.tally.deeds.fetch_add(1, Ordering::Relaxed);
        let ruling = if self.model.lives(key) { ruling } else { Err(401) };
        let expected = match &ruling {
            Ok(_) => done,
            Err(status) => *status,
        };
        if answer.status.as_u16() == expected {
            return Ok(ruling.ok());
        }
        let kind = match (answer.status.is_success(), ruling.is_ok()) {
            (true, false) => "ALLOWED WHAT IS FORBIDDEN",
            (false, true) => "REFUSED WHAT IS ALLOWED",
            _ => "another refusal",
        };
        Err(format!("{kind}: expected {expected}, got {}", answer.status))
    }

    /// A check for each of `all`: is it among those shown exactly when it should be? Anything else
    /// that is shown is a leak.
    pub fn shows(
        &self,
        what: &str,
        shown: &BTreeSet<String>,
        should: &BTreeSet<String>,
        all: usize,
    ) -> Verdict {
        self.tally.sights.fetch_add(all as u64, Ordering::Relaxed);
        if shown == should {
            return Ok(());
        }
        let leaked: Vec<_> = shown.difference(should).collect();
        let hidden: Vec<_> = should.difference(shown).collect();
        Err(format!("{what}: LEAKED {leaked:?}, WRONGLY HIDDEN {hidden:?}"))
    }

    pub fn stepped(&self) {
        self.tally.steps.fetch_add(1, Ordering::Relaxed);
    }

    pub fn http(&self) -> reqwest::Client {
        self.model.keys[0].caller.http.clone()
    }
}

/// One field of every element of a list.
pub fn each(list: &Value, field: &str) -> BTreeSet<String> {
    let elements = list.as_array().into_iter().flatten();
    elements.map(|e| e[field].as_str().unwrap_or("?").to_owned()).collect()
}
