//! Nobody ever sees what is not theirs to see.
//!
//! A [`World`] knows who is where and who wrote what, and computes from the rules of the contract
//! (A4, A8, B4, D2) what everybody sees; the server's answers must be exactly that. Two layers see
//! to it, the queries' predicate and row-level security, and each must hold without the other.

use crate::fixture::shape::each;
use crate::fixture::{Caller, Options, Org, Server, embedders};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use switchy_server::auth::OrgRole;

/// A word that every note contains.
const EVERYWHERE: &str = "zulu";
/// What notes are compared with: nothing, where the notes themselves say whose they are, or a vector,
/// where their vectors do.
const NO_REFERENCE: &str = "NULL, NULL";
const A_VECTOR: &str = "array_fill(0.05::real, ARRAY[384])::vector::halfvec, \
    (SELECT model_id FROM memory_embeddings LIMIT 1)";

struct Person {
    caller: Caller,
    org: usize,
    role: OrgRole,
}

struct Space {
    id: String,
    slug: String,
    org: usize,
    archived: bool,
    /// Role by person.
    members: BTreeMap<usize, &'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sight {
    Private,
    Space(usize),
    Org,
}

struct Note {
    id: String,
    org: usize,
    author: usize,
    sight: Sight,
}

struct Session {
    id: String,
    space: usize,
    creator: usize,
    private: bool,
    archived: bool,
}

/// Everything there is, in the order in which it was made.
#[derive(Default)]
struct World {
    orgs: Vec<Org>,
    people: Vec<Person>,
    spaces: Vec<Space>,
    notes: Vec<Note>,
    sessions: Vec<Session>,
}

/// What the rules say.
impl World {
    fn is_in(&self, person: usize, space: usize) -> bool {
        let space = &self.spaces[space];
        !space.archived && space.members.contains_key(&person)
    }

    fn sees_note(&self, person: usize, note: &Note) -> bool {
        match note.sight {
            Sight::Private => person == note.author,
            Sight::Space(space) => self.is_in(person, space),
            Sight::Org => self.people[person].org == note.org,
        }
    }

    fn deletes_note(&self, person: usize, note: &Note) -> bool {
        let beyond_author = match note.sight {
            Sight::Private => false,
            Sight::Space(space) => {
                matches!(self.spaces[space].members.get(&person), Some(&("OWNER" | "EDITOR")))
            }
            Sight::Org => self.people[person].role != OrgRole::Member,
        };
        self.sees_note(person, note) && (person == note.author || beyond_author)
    }

    fn sees_session(&self, person: usize, session: &Session) -> bool {
        self.is_in(person, session.space) && (!session.private || session.creator == person)
    }

    /// Ids of the notes that a person sees, newest first.
    fn notes_of(&self, person: usize) -> Vec<&str> {
        let seen = self.notes.iter().rev().filter(|n| self.sees_note(person, n));
        seen.map(|n| n.id.as_str()).collect()
    }

    /// Ids of the live sessions of a Space that a person sees, newest first.
    fn sessions_of(&self, person: usize, space: usize) -> Vec<&str> {
        let there = self.sessions.iter().rev().filter(|s| s.space == space && !s.archived);
        there.filter(|s| self.sees_session(person, s)).map(|s| s.id.as_str()).collect()
    }

    /// 200, 403 in the own organization, 404 elsewhere.
    fn space_status(&self, person: usize, space: usize) -> u16 {
        let there = &self.spaces[space];
        if there.org != self.people[person].org || there.archived {
            404
        } else if there.members.contains_key(&person) {
            200
        } else {
            403
        }
    }
}

/// Making it so.
impl World {
    async fn person(&mut self, server: &Server, org: usize, role: OrgRole) -> usize {
        let name = format!("p{}", self.people.len());
        let caller = server.member(&self.orgs[org], &name, role).await;
        self.people.push(Person { caller, org, role });
        self.people.len() - 1
    }

    /// An organization; its OWNER is a person of the world.
    async fn org(&mut self, server: &Server, slug: &str) -> usize {
        let org = server.org(slug).await;
        let (caller, number) = (org.owner.clone(), self.orgs.len());
        self.orgs.push(org);
        self.people.push(Person { caller, org: number, role: OrgRole::Owner });
        number
    }

    /// A Space, in which everybody of its organization is an EDITOR, so that all may write. Who is
    /// in it in the end, [`World::settle`] decides.
    async fn space(&mut self, server: &Server, creator: usize) -> usize {
        let made = self.people[creator].caller.space(&format!("Space {}", self.spaces.len())).await;
        let org = self.people[creator].org;
        let text = |field: &str| made[field].as_str().expect("a text").to_owned();
        let (id, slug) = (text("id"), text("slug"));
        let all = "INSERT INTO space_members (org_id, space_id, user_id, role) \
                   SELECT org_id, $2, user_id, 'EDITOR' FROM members WHERE org_id = $1 \
                   ON CONFLICT DO NOTHING";
        let org_id = self.orgs[org].id.as_str();
        server.sql().await.execute(all, &[&org_id, &id]).await.expect("admitted");
        self.spaces.push(Space { id, slug, org, archived: false, members: BTreeMap::new() });
        self.spaces.len() - 1
    }

    /// Gives every Space the members that it is to have.
    async fn settle(&self, server: &Server) {
        let sql = server.sql().await;
        for space in &self.spaces {
            // who stays does not leave: that would take him out of the sessions
            let kept = space.members.keys().map(|p| self.people[*p].caller.user_id.as_str());
            let kept: Vec<&str> = kept.collect();
            let gone = "DELETE FROM space_members WHERE space_id = $1 AND user_id <> ALL ($2)";
            sql.execute(gone, &[&space.id, &kept]).await.expect("dismissed");
            for (person, role) in &space.members {
                let insert = "INSERT INTO space_members (org_id, space_id, user_id, role) \
                              VALUES ($1, $2, $3, $4) \
                              ON CONFLICT (space_id, user_id) DO UPDATE SET role = excluded.role";
                let user = self.people[*person].caller.user_id.as_str();
                let org = self.orgs[space.org].id.as_str();
                sql.execute(insert, &[&org, &space.id, &user, role]).await.expect("admitted");
            }
            let archive = "UPDATE spaces SET archived_at = CASE WHEN $2 THEN now() END \
                           WHERE id = $1";
            sql.execute(archive, &[&space.id, &space.archived]).await.expect("archived");
        }
    }

    async fn note(&mut self, author: usize, sight: Sight) {
        let (visibility, space) = match sight {
            Sight::Private => ("PRIVATE", Value::Null),
            Sight::Space(space) => ("SPACE", json!(self.spaces[space].id)),
            Sight::Org => ("ORG", Value::Null),
        };
        let content = format!("{EVERYWHERE} note {} of {author}", self.notes.len());
        let body = json!({ "content": content, "visibility": visibility, "spaceId": space });
        let made = self.people[author].caller.note(body).await;
        let (id, org) = (made["id"].as_str().expect("an id").to_owned(), self.people[author].org);
        self.notes.push(Note { id, org, author, sight });
    }

    async fn session(
        &mut self,
        server: &Server,
        creator: usize,
        space: usize,
        private: bool,
        archived: bool,
    ) {
        let path = format!("/spaces/{}/sessions", self.spaces[space].slug);
        let body = json!({ "name": format!("session {}", self.sessions.len()) });
        let made = self.people[creator].caller.post(&path, body).await.data(201);
        let id = made["session"]["id"].as_str().expect("an id").to_owned();
        let body = json!({ "body": format!("{EVERYWHERE} message of {creator}") });
        self.people[creator].caller.post(&format!("{path}/{id}/messages"), body).await.data(201);
        let sql = "UPDATE sessions SET visibility = CASE WHEN $2 THEN 'private' ELSE 'workspace' END, \
                   archived_at = CASE WHEN $3 THEN now() END WHERE id = $1";
        server.sql().await.execute(sql, &[&id, &private, &archived]).await.expect("set");
        self.sessions.push(Session { id, space, creator, private, archived });
    }
}

/// Asking.
impl World {
    /// Lists and searches of one person.
    async fn check_lists(&self, url: &str, person: usize) {
        let caller = self.people[person].caller.at(url);
        let who = &caller.email;
        let expected = self.notes_of(person);
        let page = caller.get("/memory?limit=100").await.data(200);
        assert_eq!(each(&page["memories"], "id"), expected, "{who} lists");
        assert_eq!(page["total"], expected.len(), "{who} lists");
        let page = caller.get("/memory?limit=1").await.data(200);
        assert_eq!(page["total"], expected.len(), "{who} counts");

        let expected: BTreeSet<&str> = expected.into_iter().collect();
        // by words, and by a piece of one (a way of its own)
        for query in [EVERYWHERE, "ulu"] {
            let found = search(&caller, json!({ "query": query, "limit": 100 })).await;
            assert_eq!(
                found.iter().map(String::as_str).collect::<BTreeSet<_>>(),
                expected,
                "{who} searches {query}"
            );
        }

        let page = caller.get("/projects?limit=100").await.data(200);
        let spaces: BTreeSet<&str> = each(&page["projects"], "id").into_iter().collect();
        let mine = (0..self.spaces.len()).filter(|s| self.is_in(person, *s));
        let mine: BTreeSet<&str> = mine.map(|s| self.spaces[s].id.as_str()).collect();
        assert_eq!(page["total"], mine.len(), "{who}");
        assert_eq!(spaces, mine, "{who}");

        for (number, space) in self.spaces.iter().enumerate() {
            let status = self.space_status(person, number);
            let what = format!("{who} in {}", space.slug);
            let listed = caller.get(&format!("/spaces/{}/sessions", space.slug)).await;
            assert_eq!(listed.status, status, "{what}: {}", listed.text);
            let notes = caller.get(&format!("/memory?limit=100&spaceId={}", space.id)).await;
            assert_eq!(notes.status, status, "{what}: {}", notes.text);
            let body = json!({ "query": EVERYWHERE, "limit": 100, "spaceId": space.id });
            let found = caller.post("/memory/search", body).await;
            assert_eq!(found.status, status, "{what}: {}", found.text);
            let path = format!("/spaces/{}/messages/search", space.slug);
            for query in [EVERYWHERE, "ulu"] {
                let said = caller.post(&path, json!({ "query": query, "limit": 100 })).await;
                assert_eq!(said.status, status, "{what}: {}", said.text);
                if status == 200 {
                    let seen = self.sessions.iter().filter(|s| s.space == number);
                    let seen = seen.filter(|s| self.sees_session(person, s));
                    let seen: BTreeSet<String> = seen.map(|s| s.id.clone()).collect();
                    let said = said.data(200)["results"].take();
                    let hits = said.as_array().expect("results").iter();
                    let found: BTreeSet<String> = hits
                        .map(|hit| hit["message"]["sessionId"].as_str().expect("an id").to_owned())
                        .collect();
                    assert_eq!(found, seen, "{what} searches {query}");
                }
            }
            if status == 200 {
                let sessions = listed.data(200)["sessions"].take();
                assert_eq!(each(&sessions, "id"), self.sessions_of(person, number), "{what}");
                let there = self.notes.iter().rev().filter(|n| n.sight == Sight::Space(number));
                let there: Vec<&str> = there.map(|n| n.id.as_str()).collect();
                assert_eq!(each(&notes.data(200)["memories"], "id"), there, "{what}");
                let found = ids(&found.data(200)["results"]);
                let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
                assert_eq!(found, there.into_iter().collect(), "{what}");
            }
        }
    }

    /// Everything that is addressed by id, without changing anything.
    async fn check_ids(&self, url: &str, person: usize) {
        let caller = self.people[person].caller.at(url);
        let who = &caller.email;
        for (number, space) in self.spaces.iter().enumerate() {
            let status = self.space_status(person, number);
            let answer = caller.get(&format!("/projects/{}", space.id)).await;
            assert_eq!(answer.status, status, "{who} in {}: {}", space.slug, answer.text);
            let answer = caller.get(&format!("/projects/{}/members", space.id)).await;
            assert_eq!(answer.status, status, "{who} in {}: {}", space.slug, answer.text);
            if status == 200 {
                let listed = answer.data(200);
                let listed: BTreeSet<&str> =
                    each(&listed["members"], "userId").into_iter().collect();
                let there = space.members.keys();
                let there = there.map(|p| self.people[*p].caller.user_id.as_str());
                assert_eq!(listed, there.collect(), "{who} in {}", space.slug);
            }
            for session in &self.sessions {
                let path = format!("/spaces/{}/sessions/{}", space.slug, session.id);
                let here = session.space == number && self.sees_session(person, session);
                let status = if status == 200 && !here { 404 } else { status };
                let answer = caller.get(&path).await;
                assert_eq!(answer.status, status, "{who}: {path}: {}", answer.text);
            }
        }
        for note in &self.notes {
            let before = caller.get(&format!("/memory?before={}", note.id)).await;
            let status = if self.sees_note(person, note) { 200 } else { 404 };
            assert_eq!(before.status, status, "{who}: {}", before.text);
            let path = format!("/memory/{}", note.id);
            let viewed = caller.get(&path).await;
            assert_eq!(viewed.status, status, "{who}: {}", viewed.text);
            if person != note.author {
                let status = if status == 200 { 403 } else { 404 };
                let answer = caller.patch(&path, json!({ "visibility": "ORG" })).await;
                assert_eq!(answer.status, status, "{who}: {}", answer.text);
            }
            if !self.deletes_note(person, note) {
                let status = if self.sees_note(person, note) { 403 } else { 404 };
                let answer = caller.delete(&format!("/memory/{}", note.id)).await;
                assert_eq!(answer.status, status, "{who}: {}", answer.text);
            }
        }
    }

    async fn check(&self, url: &str) {
        for person in 0..self.people.len() {
            self.check_lists(url, person).await;
            self.check_ids(url, person).await;
        }
    }
}

fn ids(results: &Value) -> Vec<String> {
    let hits = results.as_array().expect("results").iter();
    hits.map(|hit| hit["memory"]["id"].as_str().expect("an id").to_owned()).collect()
}

async fn search(caller: &Caller, body: Value) -> Vec<String> {
    ids(&caller.post("/memory/search", body).await.data(200)["results"])
}

fn without_model() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

/// Two organizations; in the first every role in the organization meets every role in a Space.
async fn world(server: &Server) -> World {
    let mut world = World::default();
    let acme = world.org(server, "acme").await;
    let other = world.org(server, "other").await;
    for role in [OrgRole::Admin, OrgRole::Member, OrgRole::Member, OrgRole::Member] {
        world.person(server, acme, role).await;
    }
    let stranger = world.person(server, other, OrgRole::Member).await;
    let (owner, theirs) = (0, 1);
    let (admin, ada, bob, eve) = (2, 3, 4, 5);
    let team = world.space(server, ada).await;
    let board = world.space(server, owner).await;
    let closed = world.space(server, ada).await;
    let elsewhere = world.space(server, theirs).await;
    for person in [owner, theirs, admin, ada, bob, eve, stranger] {
        world.note(person, Sight::Private).await;
        world.note(person, Sight::Org).await;
        for space in [team, board, closed, elsewhere] {
            if world.spaces[space].org == world.people[person].org {
                world.note(person, Sight::Space(space)).await;
            }
        }
    }
    for space in [team, closed] {
        for (creator, private, archived) in [
            (ada, true, false),
            (bob, true, false),
            (bob, false, false),
            (eve, false, true),
            (eve, true, true),
        ] {
            world.session(server, creator, space, private, archived).await;
        }
    }
    world.session(server, theirs, elsewhere, false, false).await;
    world.session(server, stranger, elsewhere, true, false).await;
    world.spaces[team].members = [(ada, "OWNER"), (bob, "MEMBER"), (eve, "VIEWER")].into();
    world.spaces[board].members = [(owner, "OWNER"), (admin, "EDITOR")].into();
    world.spaces[closed].members = [(ada, "OWNER"), (bob, "EDITOR"), (owner, "VIEWER")].into();
    world.spaces[closed].archived = true;
    world.spaces[elsewhere].members = [(theirs, "OWNER"), (stranger, "MEMBER")].into();
    world.settle(server).await;
    world
}

#[tokio::test]
async fn everybody_sees_exactly_what_the_rules_say_before_and_after_memberships_change() {
    let server = Server::start().await;
    let mut world = world(&server).await;
    world.check(&server.url).await;
    let bare = server.beside(without_model()).await;
    world.check(&bare.url).await;

    // dismissed: gone with the next request; admitted: there with it
    let (owner, admin, ada, bob) = (0, 2, 3, 4);
    let (team, board, closed) = (0, 1, 2);
    server.dismiss(&world.spaces[team].id, &world.people[bob].caller).await;
    world.spaces[team].members.remove(&bob);
    world.check(&server.url).await;
    server.admit(&world.spaces[team].id, &world.people[admin].caller, "VIEWER").await;
    world.spaces[team].members.insert(admin, "VIEWER");
    server.admit(&world.spaces[board].id, &world.people[bob].caller, "OWNER").await;
    world.spaces[board].members.insert(bob, "OWNER");
    world.check(&server.url).await;

    // archived, and back
    world.spaces[team].archived = true;
    world.spaces[closed].archived = false;
    world.settle(&server).await;
    world.check(&server.url).await;

    // who is not in the organization any more is not heard; what he wrote for others stays
    let sql = "DELETE FROM members WHERE user_id = $1";
    let gone = world.people[ada].caller.clone();
    server.sql().await.execute(sql, &[&gone.user_id.as_str()]).await.expect("removed");
    for path in ["/memory", "/projects", "/me", &format!("/projects/{}", world.spaces[closed].id)] {
        gone.get(path).await.fails(401, "AUTH_ERROR");
    }
    let body = json!({ "content": "x", "visibility": "ORG" });
    gone.post("/memory", body).await.fails(401, "AUTH_ERROR");
    for space in &mut world.spaces {
        space.members.remove(&ada);
    }
    for person in (0..world.people.len()).filter(|p| *p != ada) {
        world.check_lists(&server.url, person).await;
        world.check_ids(&server.url, person).await;
    }

    // whoever may delete a note can
    while let Some(note) = world.notes.pop() {
        let Some(person) =
            (0..world.people.len()).rev().find(|p| *p != ada && world.deletes_note(*p, &note))
        else {
            continue;
        };
        let path = format!("/memory/{}", note.id);
        assert_eq!(world.people[person].caller.delete(&path).await.status, 204);
        world.people[owner].caller.delete(&path).await.fails(404, "NOT_FOUND");
    }
}

/// Tables with rows of tenants.
const TABLES: [&str; 17] = [
    "messages",
    "message_reactions",
    "session_events",
    "orgs",
    "users",
    "members",
    "spaces",
    "space_members",
    "sessions",
    "session_participants",
    "api_keys",
    "idempotency_keys",
    "invitations",
    "invitation_mails",
    "memories",
    "memory_embeddings",
    "memory_expansions",
];

#[tokio::test]
async fn the_predicates_hold_without_row_level_security() {
    let server = Server::start().await;
    let world = world(&server).await;
    let sql = server.sql().await;
    for table in TABLES {
        let off =
            format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY");
        sql.batch_execute(&off).await.expect("off");
    }
    // it is off indeed
    let app = server.sql().await;
    app.batch_execute("SET ROLE switchy_app").await.expect("the role");
    let all: i64 = app.query_one("SELECT count(*) FROM memories", &[]).await.expect("read").get(0);
    assert_eq!(all, i64::try_from(world.notes.len()).expect("few"));
    world.check(&server.url).await;
    let bare = server.beside(without_model()).await;
    world.check(&bare.url).await;
}

/// A connection with the rights of a request, of a person or of nobody.
pub(crate) async fn as_app(server: &Server, caller: Option<&Caller>) -> tokio_postgres::Client {
    let client = server.sql().await;
    client.batch_execute("SET ROLE switchy_app").await.expect("the role");
    if let Some(caller) = caller {
        let set = "SELECT set_config('switchy.org_id', $1, false), \
                   set_config('switchy.user_id', $2, false)";
        let (org, user) = (caller.org_id.as_str(), caller.user_id.as_str());
        client.execute(set, &[&org, &user]).await.expect("set");
    }
    client
}

async fn column(client: &tokio_postgres::Client, sql: &str) -> BTreeSet<String> {
    let rows = client.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

fn set<'a>(ids: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn row_level_security_holds_without_the_predicates() {
    let server = Server::start().await;
    let world = world(&server).await;
    for person in &world.people {
        // an answer that is kept for replay is as private as what it tells
        let body = json!({ "content": "kept", "visibility": "ORG" });
        person.caller.post_once("/memory", "once", body).await.data(201);
    }
    let kept = column(&server.sql().await, "SELECT id FROM memories WHERE content = 'kept'").await;
    for (number, person) in world.people.iter().enumerate() {
        let app = as_app(&server, Some(&person.caller)).await;
        let who = &person.caller.email;
        let org = person.caller.org_id.as_str();

        let seen = set(world.notes_of(number));
        for (table, column_name) in [
            ("memories", "id"),
            ("memory_embeddings", "memory_id"),
            ("memory_expansions", "memory_id"),
        ] {
            let shown = column(&app, &format!("SELECT {column_name} FROM {table}")).await;
            assert_eq!(&shown - &kept, seen, "{who} in {table}");
        }
        for query in [EVERYWHERE, "note", "zulu notes of the 3"] {
            let sql = format!(
                "SELECT memory_id FROM lexical_candidates('{query}', 1000, 64, 1000, NULL, \
                 NULL, NULL, NULL, NULL, NULL)"
            );
            assert_eq!(column(&app, &sql).await, seen, "{who}: {query}");
        }

        // asked for every note there is, by id
        let all: Vec<_> = world.notes.iter().map(|n| format!("'{}'", n.id)).collect();
        for reference in [NO_REFERENCE, A_VECTOR] {
            let sql = format!(
                "SELECT memory_id FROM note_similarities(ARRAY[{}], {reference}, NULL, NULL, true)",
                all.join(", ")
            );
            assert_eq!(column(&app, &sql).await, seen, "{who}: similarities to {reference}");
        }

        for (place, space) in world.spaces.iter().enumerate() {
            let there = world.sessions.iter().filter(|s| s.space == place);
            let there = set(there.filter(|s| world.sees_session(number, s)).map(|s| s.id.as_str()));
            for call in [
                format!("lexical_messages('zulu', 1000, 64, 1000, '{}', ", space.id),
                format!("literal_messages('{{ulu}}', 1000, '{}', ", space.id),
            ] {
                let sql = format!("SELECT session_id FROM {call} NULL, NULL, NULL, NULL, NULL)");
                assert_eq!(column(&app, &sql).await, there, "{who} in {}: {call}", space.slug);
            }
        }

        let sessions = world.sessions.iter().filter(|s| world.sees_session(number, s));
        let sessions = set(sessions.map(|s| s.id.as_str()));
        assert_eq!(column(&app, "SELECT id FROM sessions").await, sessions, "{who}");
        let shown = column(&app, "SELECT session_id FROM session_participants").await;
        assert_eq!(shown, sessions, "{who}");

        // these end at the organization: 403 must be told from 404
        let spaces = world.spaces.iter().filter(|s| s.org == person.org);
        let spaces = set(spaces.map(|s| s.id.as_str()));
        assert_eq!(column(&app, "SELECT id FROM spaces").await, spaces, "{who}");
        let shown = column(&app, "SELECT space_id FROM space_members").await;
        assert_eq!(shown, spaces, "{who}");
        let people = world.people.iter().filter(|p| p.org == person.org);
        let people = set(people.map(|p| p.caller.user_id.as_str()));
        assert_eq!(column(&app, "SELECT id FROM users").await, people, "{who}");
        assert_eq!(column(&app, "SELECT user_id FROM members").await, people, "{who}");
        assert_eq!(column(&app, "SELECT id FROM orgs").await, set([org]), "{who}");
        assert_eq!(column(&app, "SELECT org_id FROM api_keys").await, set([org]), "{who}");
        // a MEMBER knows of his own keys alone
        let users = match person.role {
            OrgRole::Member => set([person.caller.user_id.as_str()]),
            OrgRole::Owner | OrgRole::Admin => {
                let people = world.people.iter().filter(|p| p.org == person.org);
                set(people.map(|p| p.caller.user_id.as_str()))
            }
        };
        assert_eq!(column(&app, "SELECT user_id FROM api_keys").await, users, "{who}");

        let answers = app.query("SELECT body FROM idempotency_keys", &[]).await.expect("read");
        assert_eq!(answers.len(), 1, "{who} sees his own answers alone");
        assert!(answers[0].get::<_, &str>(0).contains(person.caller.user_id.as_str()), "{who}");
    }
}

#[tokio::test]
async fn a_transaction_that_forgot_its_caller_sees_nothing() {
    let server = Server::start().await;
    let world = world(&server).await;
    world.people[0].caller.post_once("/projects", "once", json!({ "name": "X" })).await.data(201);
    let nobody = as_app(&server, None).await;
    let half = as_app(&server, None).await;
    let org = world.orgs[0].id.as_str();
    half.execute("SELECT set_config('switchy.org_id', $1, false)", &[&org]).await.expect("set");
    for table in TABLES {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = nobody.query_one(&sql, &[]).await.expect("read").get(0);
        assert_eq!(count, 0, "{table}");
    }
    for (client, expected) in [(&nobody, 0_usize), (&half, 5)] {
        let sql = "SELECT count(*) FROM lexical_candidates('zulu', 1000, 64, 1000, NULL, NULL, \
                   NULL, NULL, NULL, NULL)";
        let count: i64 = client.query_one(sql, &[]).await.expect("read").get(0);
        assert_eq!(count, expected as i64, "of the organization nothing but its ORG notes");
        let ids: Vec<&str> = world.notes.iter().map(|n| n.id.as_str()).collect();
        for reference in [NO_REFERENCE, A_VECTOR] {
            let sql = format!("SELECT * FROM note_similarities($1, {reference}, NULL, NULL, true)");
            assert_eq!(client.query(&sql, &[&ids]).await.expect("read").len(), expected);
        }
    }
}

#[tokio::test]
async fn the_app_role_reads_no_secrets_and_changes_no_accounts() {
    let server = Server::with(without_model()).await;
    let org = server.org("acme").await;
    let app = as_app(&server, Some(&org.owner)).await;
    for sql in [
        "SELECT * FROM server_secrets",
        "SELECT * FROM rate_limits",
        "SELECT digest FROM api_keys",
        "SELECT * FROM api_keys",
        "DELETE FROM api_keys",
        "UPDATE api_keys SET scopes = '{act_on_behalf}'",
        "UPDATE members SET user_id = 'x'",
        "UPDATE members SET org_id = 'x'",
        "INSERT INTO members (org_id, user_id, role) VALUES ('x', 'x', 'OWNER')",
        "SELECT digest FROM invitations",
        "UPDATE invitations SET role = 'ADMIN'",
        "UPDATE invitations SET expires_at = 'infinity'",
        "UPDATE invitations SET email = 'x'",
        "DELETE FROM invitations",
        "SELECT nonce FROM invitation_mails",
        "UPDATE invitation_mails SET next_attempt_at = now()",
        "DELETE FROM invitation_mails",
        "UPDATE api_keys SET digest = 'x'",
        "UPDATE api_keys SET user_id = 'x'",
        "UPDATE api_keys SET expires_at = NULL",
        "UPDATE spaces SET slug = 'x'",
        "UPDATE spaces SET created_by_user_id = 'x'",
        "UPDATE space_members SET user_id = 'x'",
        "UPDATE space_members SET space_id = 'x'",
        "UPDATE users SET email = 'x'",
        "UPDATE orgs SET slug = 'x'",
        "DELETE FROM spaces",
        "DELETE FROM sessions",
        "UPDATE sessions SET created_by_user_id = 'x'",
        "UPDATE sessions SET space_id = 'x'",
        "DELETE FROM session_participants",
        "UPDATE session_participants SET user_id = 'x'",
        "UPDATE idempotency_keys SET body = 'x'",
        "UPDATE rate_limits SET hits = '{}'",
        "CREATE TABLE x ()",
        "ALTER TABLE memories DISABLE ROW LEVEL SECURITY",
        "DROP POLICY caller ON memories",
        "CREATE FUNCTION caller_org() RETURNS text LANGUAGE sql RETURN 'x'",
    ] {
        let code = app.batch_execute(sql).await.expect_err(sql).code().cloned();
        let denied = tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE;
        assert_eq!(code, Some(denied), "{sql}");
    }
}

#[tokio::test]
async fn the_app_role_writes_nothing_that_its_caller_may_not() {
    let server = Server::start().await;
    let world = world(&server).await;
    let owner = server.sql().await;
    let fingerprint = async || -> String {
        let sql = "SELECT md5(string_agg(t, '|' ORDER BY t)) FROM (
            SELECT m.id || m.content || m.visibility || coalesce(m.space_id, '') AS t FROM memories m
            UNION ALL SELECT memory_id || visibility || passage FROM memory_embeddings
            UNION ALL SELECT memory_id FROM memory_expansions
            UNION ALL SELECT id || coalesce(title, '') || visibility FROM sessions
            UNION ALL SELECT session_id || user_id FROM session_participants
            UNION ALL SELECT id || name FROM spaces
            UNION ALL SELECT space_id || user_id || role FROM space_members) rows";
        owner.query_one(sql, &[]).await.expect("read").get(0)
    };
    let before = fingerprint().await;
    let (admin, ada, eve) = (2, 3, 5);
    let (team, board, elsewhere) = (&world.spaces[0], &world.spaces[1], &world.spaces[3]);
    let me = world.people[eve].caller.user_id.as_str();
    let (acme, other) = (world.orgs[0].id.as_str(), world.orgs[1].id.as_str());
    let (ada, admin) =
        (world.people[ada].caller.user_id.as_str(), world.people[admin].caller.user_id.as_str());
    let app = as_app(&server, Some(&world.people[eve].caller)).await;

    let unseen = world.notes.iter().filter(|n| !world.sees_note(eve, n));
    for note in unseen {
        for sql in [
            "UPDATE memories SET content = 'x' WHERE id = $1",
            "UPDATE memories SET visibility = 'ORG', space_id = NULL WHERE id = $1",
            "DELETE FROM memories WHERE id = $1",
            "UPDATE memory_embeddings SET visibility = 'ORG' WHERE memory_id = $1",
            "DELETE FROM memory_embeddings WHERE memory_id = $1",
            "DELETE FROM memory_expansions WHERE memory_id = $1",
            "UPDATE memory_expansions SET model_id = 'x' WHERE memory_id = $1",
        ] {
            assert_eq!(app.execute(sql, &[&note.id]).await.expect(sql), 0, "{sql}");
        }
    }
    for session in world.sessions.iter().filter(|s| !world.sees_session(eve, s)) {
        let sql = "UPDATE sessions SET title = 'x' WHERE id = $1";
        assert_eq!(app.execute(sql, &[&session.id]).await.expect(sql), 0, "{sql}");
        let join =
            "INSERT INTO session_participants (org_id, session_id, user_id) VALUES ($1, $2, $3)";
        app.execute(join, &[&acme, &session.id, &me]).await.expect_err("joined");
    }
    // Spaces that he sees, as existing, and is not in; and one that he is in without a say
    for (space, sql) in [
        (board, "UPDATE spaces SET name = 'x' WHERE id = $1"),
        (elsewhere, "UPDATE spaces SET name = 'x' WHERE id = $1"),
        (board, "UPDATE space_members SET role = 'VIEWER' WHERE space_id = $1"),
        (board, "DELETE FROM space_members WHERE space_id = $1"),
        (elsewhere, "DELETE FROM space_members WHERE space_id = $1"),
        (team, "UPDATE space_members SET role = 'OWNER' WHERE space_id = $1"),
    ] {
        assert_eq!(app.execute(sql, &[&space.id]).await.expect(sql), 0, "{sql} {}", space.slug);
    }
    let gone = "DELETE FROM space_members WHERE space_id = $1 AND user_id = $2";
    assert_eq!(app.execute(gone, &[&team.id, &ada]).await.expect(gone), 0);

    let member = "INSERT INTO space_members (org_id, space_id, user_id, role) \
                  VALUES ($1, $2, $3, 'VIEWER')";
    let note = "INSERT INTO memories (id, org_id, author_user_id, visibility, space_id, content) \
                VALUES ('c9', $1, $2, $3, $4, 'x')";
    let session = "INSERT INTO sessions (id, org_id, space_id, created_by_user_id) \
                   VALUES ('c9', $1, $2, $3)";
    let space = "INSERT INTO spaces (id, org_id, slug, name, created_by_user_id) \
                 VALUES ('c9', $1, 'c9', 'c9', $2)";
    let (board, elsewhere, team) = (board.id.as_str(), elsewhere.id.as_str(), team.id.as_str());
    let none: Option<&str> = None;
    for refused in [
        app.execute(member, &[&acme, &board, &me]).await,
        app.execute(member, &[&other, &elsewhere, &me]).await,
        app.execute(member, &[&acme, &team, &admin]).await,
        app.execute(note, &[&other, &me, &"ORG", &none]).await,
        app.execute(note, &[&acme, &ada, &"PRIVATE", &none]).await,
        app.execute(note, &[&acme, &ada, &"ORG", &none]).await,
        app.execute(note, &[&acme, &me, &"SPACE", &Some(board)]).await,
        app.execute(note, &[&other, &me, &"SPACE", &Some(elsewhere)]).await,
        app.execute(session, &[&acme, &board, &me]).await,
        app.execute(session, &[&other, &elsewhere, &me]).await,
        app.execute(session, &[&acme, &team, &ada]).await,
        app.execute(space, &[&other, &me]).await,
        app.execute(space, &[&acme, &ada]).await,
    ] {
        let denied = tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE;
        assert_eq!(refused.expect_err("written").code(), Some(&denied));
    }
    // the own note cannot be moved to where it would be another's
    let mine = &world.notes.iter().find(|n| n.author == eve).expect("one").id;
    for (sql, value) in [
        ("UPDATE memories SET org_id = $2 WHERE id = $1", other),
        ("UPDATE memories SET author_user_id = $2 WHERE id = $1 AND visibility = 'PRIVATE'", ada),
        ("UPDATE memories SET visibility = 'SPACE', space_id = $2 WHERE id = $1", board),
    ] {
        app.execute(sql, &[&mine, &value]).await.expect_err(sql);
    }
    assert_eq!(fingerprint().await, before);
}

#[tokio::test]
async fn the_app_role_changes_no_note_but_the_callers_own() {
    let server = Server::start().await;
    let world = world(&server).await;
    let denied = |refused: Result<u64, tokio_postgres::Error>, what: &str| {
        let denied = tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE;
        assert_eq!(refused.expect_err(what).code(), Some(&denied), "{what}");
    };
    for (number, person) in world.people.iter().enumerate() {
        let app = as_app(&server, Some(&person.caller)).await;
        app.batch_execute("BEGIN").await.expect("begun");
        let who = &person.caller.email;
        for note in &world.notes {
            // what he sees, he may still not change: nothing that this undoes may have been done
            app.batch_execute("SAVEPOINT before").await.expect("saved");
            let own = world.sees_note(number, note) && note.author == number;
            let viewer = match note.sight {
                Sight::Space(space) => world.spaces[space].members.get(&number) == Some(&"VIEWER"),
                _ => false,
            };
            for (sql, may) in [
                ("DELETE FROM memory_expansions WHERE memory_id = $1", own),
                ("UPDATE memory_embeddings SET starts_at = 0 WHERE memory_id = $1", own),
                ("DELETE FROM memory_embeddings WHERE memory_id = $1", own),
                ("DELETE FROM memories WHERE id = $1", world.deletes_note(number, note)),
            ] {
                let rows = app.execute(sql, &[&note.id]).await.expect(sql);
                assert_eq!(rows > 0, may, "{who}: {sql}: {:?} of {}", note.sight, note.author);
                app.batch_execute("ROLLBACK TO SAVEPOINT before").await.expect("undone");
            }
            let sql = "UPDATE memories SET content = 'x' WHERE id = $1";
            let rows = app.execute(sql, &[&note.id]).await;
            match (own, viewer) {
                // nor may he write where he only reads, not even what is his
                (true, true) => denied(rows, who),
                _ => assert_eq!(rows.expect(sql), u64::from(own), "{who}: {:?}", note.sight),
            }
            app.batch_execute("ROLLBACK TO SAVEPOINT before").await.expect("undone");
        }
    }
    // a VIEWER writes no note in his Space
    let (eve, team) = (&world.people[5].caller, world.spaces[0].id.as_str());
    let app = as_app(&server, Some(eve)).await;
    let note = "INSERT INTO memories (id, org_id, author_user_id, visibility, space_id, content) \
                VALUES ('c9', $1, $2, 'SPACE', $3, 'x')";
    let (org, me) = (eve.org_id.as_str(), eve.user_id.as_str());
    denied(app.execute(note, &[&org, &me, &team]).await, "inserted");
    let mine = world.notes.iter().find(|n| n.author == 5 && n.sight == Sight::Private);
    let there = "UPDATE memories SET visibility = 'SPACE', space_id = $2 WHERE id = $1";
    denied(app.execute(there, &[&mine.expect("one").id, &team]).await, "moved");
    let vectors = "INSERT INTO memory_embeddings (memory_id, model_id, passage, org_id, \
                   author_user_id, visibility, space_id, starts_at, ends_at, embedding) \
                   SELECT memory_id, 'x', passage, org_id, $1, 'SPACE', $2, 0, 0, embedding \
                   FROM memory_embeddings WHERE author_user_id = $1 LIMIT 1";
    denied(app.execute(vectors, &[&me, &team]).await, "embedded");
    // nor does he change the Space; who edits it does
    let rename = "UPDATE spaces SET name = 'x' WHERE id = $1";
    assert_eq!(app.execute(rename, &[&team]).await.expect(rename), 0);
    let ada = as_app(&server, Some(&world.people[3].caller)).await;
    assert_eq!(ada.execute(rename, &[&team]).await.expect(rename), 1);
    // whoever leaves is out of the sessions, by whatever way he left
    let gone = "DELETE FROM space_members WHERE space_id = $1 AND user_id = $2";
    assert_eq!(app.execute(gone, &[&team, &me]).await.expect(gone), 1);
    let left = "SELECT count(*) FROM session_participants p JOIN sessions s ON s.id = p.session_id \
                WHERE s.space_id = $1 AND p.user_id = $2";
    let left = server.sql().await.query_one(left, &[&team, &me]).await.expect("counted");
    assert_eq!(left.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn the_app_role_mints_for_its_caller_and_revokes_what_he_may() {
    let server = Server::with(without_model()).await;
    let world = world(&server).await;
    let acme: Vec<&Person> = world.people.iter().filter(|p| p.org == 0).collect();
    for caller in &acme {
        let app = as_app(&server, Some(&caller.caller)).await;
        let who = &caller.caller.email;
        let manages = caller.role != OrgRole::Member;
        app.batch_execute("BEGIN; SAVEPOINT before").await.expect("begun");
        for person in &world.people {
            let own = person.caller.user_id == caller.caller.user_id;
            let (org, user) = (person.caller.org_id.as_str(), person.caller.user_id.as_str());
            let mint = "INSERT INTO api_keys (id, org_id, user_id, name, prefix, digest, scopes) \
                        VALUES ('c9', $1, $2, 'x', 'x', 'x', '{*}')";
            let minted = app.execute(mint, &[&org, &user]).await;
            assert_eq!(minted.is_ok(), own && manages, "{who} for {}", person.caller.email);
            app.batch_execute("ROLLBACK TO SAVEPOINT before").await.expect("undone");
            // another secret for his own keys alone, whatever his role
            let rotate = "SELECT bool_or(rotate_key(id, 'x', 'x', NULL)) FROM api_keys \
                          WHERE user_id = $1";
            let rotated = app.query_one(rotate, &[&user]).await.expect(rotate);
            let rotated: Option<bool> = rotated.get(0);
            assert_eq!(rotated.unwrap_or(false), own, "{who} of {}", person.caller.email);
            app.batch_execute("ROLLBACK TO SAVEPOINT before").await.expect("undone");
            let revoke = "UPDATE api_keys SET revoked_at = now() WHERE user_id = $1";
            let revoked = app.execute(revoke, &[&user]).await.expect(revoke);
            let may = own || (manages && person.org == 0);
            assert_eq!(revoked > 0, may, "{who} of {}", person.caller.email);
            // for good
            let back = "UPDATE api_keys SET revoked_at = NULL WHERE user_id = $1";
            assert_eq!(app.execute(back, &[&user]).await.expect(back), 0, "{who}");
            app.batch_execute("ROLLBACK TO SAVEPOINT before").await.expect("undone");
        }
    }
    // knowing an id is not enough
    let eve = as_app(&server, Some(&world.people[5].caller)).await;
    let ids = server.sql().await.query("SELECT id, user_id FROM api_keys", &[]).await.expect("ids");
    for row in ids {
        let own = row.get::<_, &str>(1) == world.people[5].caller.user_id.as_str();
        let rotate = "SELECT rotate_key($1, sha256($1::text::bytea), 'x', NULL)";
        let rotated = eve.query_one(rotate, &[&row.get::<_, &str>(0)]).await.expect(rotate);
        assert_eq!(rotated.get::<_, bool>(0), own);
    }
}

/// What a random world is made of: numbers that are taken modulo what there is.
#[derive(Clone, Debug)]
struct Plan {
    people: Vec<(bool, u8)>,
    spaces: Vec<u8>,
    members: Vec<(u8, u8, u8)>,
    archived: Vec<u8>,
    notes: Vec<(u8, u8, u8)>,
    sessions: Vec<(u8, u8, bool, bool)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        proptest::collection::vec(any::<(bool, u8)>(), 1..4),
        proptest::collection::vec(any::<u8>(), 1..4),
        proptest::collection::vec(any::<(u8, u8, u8)>(), 0..8),
        proptest::collection::vec(any::<u8>(), 0..2),
        proptest::collection::vec(any::<(u8, u8, u8)>(), 0..10),
        proptest::collection::vec(any::<(u8, u8, bool, bool)>(), 0..5),
    )
        .prop_map(|(people, spaces, members, archived, notes, sessions)| Plan {
            people,
            spaces,
            members,
            archived,
            notes,
            sessions,
        })
}

/// The `n`th of those that fulfil `which`, counted round.
fn pick(n: u8, count: usize, which: impl Fn(usize) -> bool) -> Option<usize> {
    let fit: Vec<usize> = (0..count).filter(|i| which(*i)).collect();
    (!fit.is_empty()).then(|| fit[usize::from(n) % fit.len()])
}

async fn random_world(server: &Server, case: u32, plan: &Plan) -> World {
    let mut world = World::default();
    for name in ["a", "b"] {
        world.org(server, &format!("{name}{case}")).await;
    }
    for (second, role) in &plan.people {
        let role = [OrgRole::Owner, OrgRole::Admin, OrgRole::Member][usize::from(*role) % 3];
        world.person(server, usize::from(*second), role).await;
    }
    let people = world.people.len();
    for creator in &plan.spaces {
        world.space(server, usize::from(*creator) % people).await;
    }
    let spaces = world.spaces.len();
    for (author, kind, space) in &plan.notes {
        let author = usize::from(*author) % people;
        let org = world.people[author].org;
        let sight = match kind % 4 {
            0 => Sight::Private,
            1 => Sight::Org,
            _ => match pick(*space, spaces, |s| world.spaces[s].org == org) {
                Some(space) => Sight::Space(space),
                None => Sight::Private,
            },
        };
        world.note(author, sight).await;
    }
    for (creator, space, private, archived) in &plan.sessions {
        let space = usize::from(*space) % spaces;
        let org = world.spaces[space].org;
        let creator = pick(*creator, people, |p| world.people[p].org == org).expect("its OWNER");
        world.session(server, creator, space, *private, *archived).await;
    }
    for (person, space, role) in &plan.members {
        let space = usize::from(*space) % spaces;
        let org = world.spaces[space].org;
        let person = pick(*person, people, |p| world.people[p].org == org).expect("its OWNER");
        let role = ["OWNER", "EDITOR", "MEMBER", "VIEWER"][usize::from(*role) % 4];
        world.spaces[space].members.insert(person, role);
    }
    for space in &plan.archived {
        world.spaces[usize::from(*space) % spaces].archived = true;
    }
    world.settle(server).await;
    world
}

#[test]
fn in_any_world_lists_and_searches_are_what_the_rules_say() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::with(without_model()));
    // one database for all: the worlds before are yet another set of strangers
    let case = std::cell::Cell::new(0);
    let config =
        Config { cases: 30, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&plan(), |plan| {
        case.set(case.get() + 1);
        runtime.block_on(async {
            let world = random_world(&server, case.get(), &plan).await;
            for person in 0..world.people.len() {
                world.check_lists(&server.url, person).await;
            }
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
