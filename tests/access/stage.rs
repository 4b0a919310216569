//! Who asks, and what there is to ask about: made anew whenever a call has used it up.

use crate::fixture::{Caller, Org, Server};
use std::collections::BTreeMap;
use switchy_server::auth::{OrgRole, Scope};

/// What exists for one caller, by kind; everything has an id of its own.
pub struct Stage {
    /// Which one it is: ids follow from it.
    n: i64,
    /// In the name of everything that has one.
    pub tag: String,
    pub org: String,
    pub org_slug: String,
    pub caller: String,
    /// The token of an invitation; empty when the case needs none.
    pub token: String,
}

impl Stage {
    /// The id of what the SQL calls so.
    pub fn id(&self, kind: &str) -> String {
        format!("c{kind:0<14}{:010}", self.n)
    }

    /// The UUID of a session.
    pub fn uuid(&self, session: &str) -> String {
        let number = match session {
            "own" => 1,
            "ownprivate" => 2,
            "theirs" => 3,
            "hidden" => 4,
            _ => 5,
        };
        format!("00000000-0000-4000-8000-{number}{:011}", self.n)
    }

    /// The slug of the Space.
    pub fn slug(&self) -> String {
        format!("s{}", self.n)
    }

    /// A text that no other stage has.
    pub fn fresh(&self, what: &str) -> String {
        format!("{what}{}", self.n)
    }

    /// What of the stage occurs in an answer, by name.
    pub fn seen_in(&self, text: &str) -> Vec<String> {
        let sessions = ["own", "ownprivate", "theirs", "hidden"];
        let mut marks = vec![("space".to_owned(), self.id("space"))];
        for s in sessions {
            marks.push((s.to_owned(), self.id(&format!("s{s}"))));
            marks.push((s.to_owned(), self.uuid(s)));
        }
        for author in ["own", "their"] {
            for level in ["private", "space", "org"] {
                let name = format!("{author}-{}", level.to_uppercase());
                marks.push((name, self.id(&format!("n{author}{level}"))));
            }
        }
        for (name, kind) in [
            ("own-key", "kown"),
            ("their-key", "ktheirs"),
            ("acting-key", "kacts"),
            ("guests-acting-key", "kguests"),
            ("invitation", "invitation"),
            ("mcp-server", "mcp"),
            ("guest", "uguest"),
            ("owner", "uowner"),
        ] {
            marks.push((name.to_owned(), self.id(kind)));
        }
        let seen = marks.into_iter().filter(|(_, id)| text.contains(id.as_str()));
        let mut names: Vec<String> = seen.map(|(name, _)| name).collect();
        names.dedup();
        names
    }
}

/// One place at the table: a caller with a role in the organization and a role in the Space.
pub struct Seat<'a> {
    server: &'a Server,
    sql: tokio_postgres::Client,
    org: &'a Org,
    /// An organization that the caller is not in.
    elsewhere: &'a Org,
    pub org_role: OrgRole,
    pub space_role: &'static str,
    caller: Caller,
    /// The owner of the other things of the stage.
    pub host: String,
    keys: BTreeMap<String, Caller>,
    people: usize,
    next: i64,
    pub stage: Stage,
}

impl<'a> Seat<'a> {
    pub async fn take(
        server: &'a Server,
        (org, elsewhere): (&'a Org, &'a Org),
        number: usize,
        (org_role, space_role): (OrgRole, &'static str),
    ) -> Seat<'a> {
        let tag = format!("seat{number}");
        let host = server.member(org, &format!("{tag}host"), OrgRole::Member).await;
        let caller = server.member(org, &format!("{tag}p0"), org_role).await;
        // the seats' numbers do not meet
        let next = i64::try_from(number).expect("few") * 1_000_000;
        let stage = Stage {
            n: next,
            tag,
            org: org.id.to_string(),
            org_slug: org.slug.clone(),
            caller: caller.user_id.to_string(),
            token: String::new(),
        };
        let host = host.user_id.to_string();
        let mut seat = Seat {
            server,
            sql: server.sql().await,
            org,
            elsewhere,
            org_role,
            space_role,
            caller,
            host,
            keys: BTreeMap::new(),
            people: 1,
            next,
            stage,
        };
        seat.set().await;
        seat
    }

    /// Clears what is left of the stage and sets another one.
    pub async fn set(&mut self) {
        let Stage { org, tag, .. } = &self.stage;
        let member = "SELECT FROM members WHERE org_id = $1 AND user_id = $2";
        let there = self.sql.query_opt(member, &[org, &self.stage.caller]).await.expect("asked");
        let (before, caller) = (self.stage.n, self.stage.caller.clone());
        let clear = "CALL clear_stage($1, $2, $3, $4, $5)";
        self.sql.execute(clear, &[&before, org, &caller, &self.host, tag]).await.expect("cleared");
        if there.is_none() {
            // he has left: somebody like him takes the seat
            let name = format!("{tag}p{}", self.people);
            self.people += 1;
            self.caller = self.server.member(self.org, &name, self.org_role).await;
            self.keys.clear();
            self.stage.caller = self.caller.user_id.to_string();
        }
        self.next += 1;
        self.stage.n = self.next;
        let Stage { org, tag, caller, .. } = &self.stage;
        let set = "CALL set_stage($1, $2, $3, $4, $5, $6)";
        self.sql
            .execute(set, &[&self.next, org, caller, &self.host, &self.space_role, tag])
            .await
            .expect("set");
    }

    /// An invitation into another organization, for the caller or for somebody else.
    pub async fn invite(&mut self, target: &str) {
        let gone = "DELETE FROM members WHERE org_id = $1 AND user_id = $2";
        let there = self.elsewhere.id.to_string();
        self.sql.execute(gone, &[&there, &self.stage.caller]).await.expect("dismissed");
        let over = "DELETE FROM invitations WHERE org_id = $1 AND email LIKE $2 || '%'";
        self.sql.execute(over, &[&there, &self.stage.tag]).await.expect("over");
        let email = match target {
            "own" => self.caller.email.clone(),
            _ => format!("{}x@stage.test", self.stage.tag),
        };
        let body = serde_json::json!({ "email": email, "role": "MEMBER" });
        let made = self.elsewhere.owner.post(&format!("/org/{there}/invitations"), body).await;
        let token = made.data(201)["invitation"]["token"].take();
        self.stage.token = token.as_str().expect("a token").to_owned();
    }

    /// The caller with a key for these scopes alone.
    pub async fn with(&mut self, scopes: &[&str]) -> Caller {
        let name = scopes.join(" ");
        if !self.keys.contains_key(&name) {
            let key = self.server.key_for(&self.caller, scopes).await;
            self.keys.insert(name.clone(), key);
        }
        self.keys[&name].clone()
    }

    /// The caller with a key for everything but this scope.
    pub async fn without(&mut self, scope: Option<Scope>) -> Caller {
        let others: Vec<&str> =
            Scope::ALL.iter().filter(|s| Some(**s) != scope).map(|s| s.as_str()).collect();
        self.with(&others).await
    }
}
