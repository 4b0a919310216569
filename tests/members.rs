//! Members of an organization (contract A8, B5): who sees them, who promotes, who removes, and what
//! follows when somebody leaves.

use crate::fixture::shape::{assert_timestamp, each, fields, id, issues};
use crate::fixture::{Answer, Caller, Options, Org, Server, embedders};
use crate::isolation::as_app;
use futures::future::join;
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

/// Often enough for two requests to meet in every order.
const ROUNDS: usize = 25;

async fn server() -> Server {
    Server::with(Options { embedder: embedders::none(), ..Options::default() }).await
}

fn list_path(org: &Org) -> String {
    format!("/org/{}/members", org.id)
}

fn path(org: &Org, user: &Caller) -> String {
    format!("{}/{}", list_path(org), user.user_id)
}

async fn give(by: &Caller, org: &Org, user: &Caller, role: &str) -> Answer {
    by.patch(&path(org, user), json!({ "role": role })).await
}

/// The roles of the organization's members, by address, in the order of the list.
async fn roles(by: &Caller, org: &Org) -> Vec<(String, String)> {
    let list = by.get(&list_path(org)).await.data(200)["members"].take();
    let (emails, roles) = (each(&list, "email"), each(&list, "role"));
    let name = |email: &&str| email.split('@').next().expect("a name").to_owned();
    emails.iter().map(name).zip(roles.iter().map(|r| (*r).to_owned())).collect()
}

async fn owners(server: &Server, org: &Org) -> i64 {
    let sql = "SELECT count(*) FROM members WHERE org_id = $1 AND role = 'OWNER'";
    server.sql().await.query_one(sql, &[&org.id.as_str()]).await.expect("counted").get(0)
}

/// Puts somebody back as an OWNER, whatever he is now; returns him with a key that works.
async fn crowned(server: &Server, user: &Caller) -> Caller {
    let sql = "INSERT INTO members (org_id, user_id, role) VALUES ($1, $2, 'OWNER') \
               ON CONFLICT (org_id, user_id) DO UPDATE SET role = 'OWNER'";
    let (org_id, user_id) = (user.org_id.as_str(), user.user_id.as_str());
    server.sql().await.execute(sql, &[&org_id, &user_id]).await.expect("crowned");
    server.key_for(user, &["*"]).await
}

#[tokio::test]
async fn every_member_sees_all_members_by_role_and_name() {
    let server = server().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let zoe = server.member(&acme, "zoe", OrgRole::Admin).await;
    let eve = server.member(&acme, "eve", OrgRole::Member).await;
    let bob = server.member(&acme, "bob", OrgRole::Member).await;
    let name = "UPDATE users SET name = 'Ünal' WHERE id = $1";
    server.sql().await.execute(name, &[&bob.user_id.as_str()]).await.expect("named");
    let named = |name: &str, role: &str| (name.to_owned(), role.to_owned());
    let all = [
        named("owner", "OWNER"),
        named("zoe", "ADMIN"),
        named("eve", "MEMBER"),
        named("bob", "MEMBER"),
    ];
    for caller in [&acme.owner, &zoe, &eve] {
        assert_eq!(roles(caller, &acme).await, all, "{}", caller.email);
    }
    let list = eve.get(&list_path(&acme)).await.data(200)["members"].take();
    let last = &list[3];
    assert_eq!(fields(last), ["email", "joinedAt", "name", "organizationId", "role", "userId"]);
    assert_eq!(last["userId"], bob.user_id.as_str());
    assert_eq!(last["organizationId"], acme.id.as_str());
    assert_eq!(last["name"], "Ünal");
    assert_eq!(list[2]["name"], Value::Null);
    assert_timestamp(&last["joinedAt"]);

    other.owner.get(&list_path(&acme)).await.fails(403, "FORBIDDEN");
    assert_eq!(roles(&other.owner, &other).await.len(), 1);
}

#[tokio::test]
async fn an_organization_is_named_by_the_id_that_the_key_is_for() {
    let server = server().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let eve = server.member(&acme, "eve", OrgRole::Member).await;
    let nobody = format!("c{}", "0".repeat(24));
    // an organization that does not exist is not told from one that does
    for (org, status, code) in [
        (other.id.as_str(), 403, "FORBIDDEN"),
        (&*nobody, 403, "FORBIDDEN"),
        ("acme", 404, "NOT_FOUND"),
        ("C00000000000000000000000A", 404, "NOT_FOUND"),
        ("%20", 404, "NOT_FOUND"),
    ] {
        let caller = &acme.owner;
        let user = eve.user_id.as_str();
        caller.get(&format!("/org/{org}/members")).await.fails(status, code);
        let member = format!("/org/{org}/members/{user}");
        caller.patch(&member, json!({ "role": "ADMIN" })).await.fails(status, code);
        caller.delete(&member).await.fails(status, code);
    }
    let there = server.member(&other, "mallory", OrgRole::Member).await;
    for user in [there.user_id.as_str(), &*nobody, "x", "eve@acme.test", "%00"] {
        let member = format!("{}/{user}", list_path(&acme));
        acme.owner.patch(&member, json!({ "role": "ADMIN" })).await.fails(404, "NOT_FOUND");
        acme.owner.delete(&member).await.fails(404, "NOT_FOUND");
    }
    assert_eq!(roles(&eve, &acme).await.len(), 2);
    assert_eq!(roles(&there, &other).await.len(), 2);
}

#[tokio::test]
async fn an_owner_alone_changes_roles() {
    let server = server().await;
    let org = server.org("acme").await;
    let ada = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    for caller in [&ada, &eve] {
        for target in [&org.owner, &ada, &eve] {
            for role in ["OWNER", "ADMIN", "MEMBER"] {
                give(caller, &org, target, role).await.fails(403, "FORBIDDEN");
            }
        }
    }
    for role in ["ADMIN", "OWNER", "MEMBER", "MEMBER"] {
        let member = give(&org.owner, &org, &eve, role).await.data(200)["member"].take();
        assert_eq!((&member["role"], &member["userId"]), (&json!(role), &json!(eve.user_id)));
        assert_eq!(eve.get("/me").await.data(200)["role"], role);
    }
    for (body, path) in [
        (json!({}), "role"),
        (json!({ "role": null }), "role"),
        (json!({ "role": "owner" }), "role"),
        (json!({ "role": "VIEWER" }), "role"),
        (json!({ "role": 1 }), "role"),
    ] {
        let refused = org.owner.patch(&self::path(&org, &eve), body.clone()).await;
        assert_eq!(issues(&refused), [path], "{body}");
    }
}

#[tokio::test]
async fn a_role_is_that_of_the_next_request_whatever_the_scopes_of_the_key() {
    let server = server().await;
    let org = server.org("acme").await;
    let ada = server.member(&org, "ada", OrgRole::Owner).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    give(&ada, &org, &eve, "ADMIN").await.data(200);
    give(&org.owner, &org, &ada, "MEMBER").await.data(200);
    assert_eq!(ada.get("/me").await.data(200)["scopes"], json!(["*"]));
    give(&ada, &org, &eve, "MEMBER").await.fails(403, "FORBIDDEN");
    ada.delete(&path(&org, &eve)).await.fails(403, "FORBIDDEN");
    // and the other way round
    give(&org.owner, &org, &eve, "OWNER").await.data(200);
    give(&eve, &org, &org.owner, "MEMBER").await.data(200);
}

#[tokio::test]
async fn the_only_owner_is_neither_demoted_nor_removed_nor_leaves() {
    let server = server().await;
    let org = server.org("acme").await;
    let ada = server.member(&org, "ada", OrgRole::Admin).await;
    for role in ["ADMIN", "MEMBER"] {
        give(&org.owner, &org, &org.owner, role).await.fails(409, "CONFLICT");
    }
    org.owner.delete(&path(&org, &org.owner)).await.fails(409, "CONFLICT");
    give(&org.owner, &org, &org.owner, "OWNER").await.data(200);

    give(&org.owner, &org, &ada, "OWNER").await.data(200);
    assert_eq!(org.owner.delete(&path(&org, &org.owner)).await.status, 204);
    give(&ada, &org, &ada, "ADMIN").await.fails(409, "CONFLICT");
    assert_eq!(owners(&server, &org).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_who_demote_each_other_at_once_leave_one() {
    let server = server().await;
    let org = server.org("acme").await;
    let (mut ada, mut bob) = (org.owner.clone(), server.member(&org, "bob", OrgRole::Owner).await);
    for round in 0..ROUNDS {
        let (one, other) =
            join(give(&ada, &org, &bob, "MEMBER"), give(&bob, &org, &ada, "ADMIN")).await;
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403], "round {round}");
        assert_eq!(owners(&server, &org).await, 1, "round {round}");
        (ada, bob) = (crowned(&server, &ada).await, crowned(&server, &bob).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_owners_who_leave_at_once_one_stays() {
    let server = server().await;
    let org = server.org("acme").await;
    let (mut ada, mut bob) = (org.owner.clone(), server.member(&org, "bob", OrgRole::Owner).await);
    for round in 0..ROUNDS {
        let (to_ada, to_bob) = (path(&org, &ada), path(&org, &bob));
        // both leave; one leaves while the other removes him; both demote themselves
        let (one, other) = match round % 3 {
            0 => join(ada.delete(&to_ada), bob.delete(&to_bob)).await,
            1 => join(ada.delete(&to_bob), bob.delete(&to_ada)).await,
            _ => join(give(&ada, &org, &ada, "MEMBER"), bob.delete(&to_bob)).await,
        };
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        let done = statuses[0];
        assert!((200..300).contains(&done), "round {round}: {statuses:?}");
        // the slower one has met the conflict, is no member any more, or not even has a key
        assert!([401, 403, 409].contains(&statuses[1]), "round {round}: {statuses:?}");
        assert_eq!(owners(&server, &org).await, 1, "round {round}");
        (ada, bob) = (crowned(&server, &ada).await, crowned(&server, &bob).await);
    }
}

#[tokio::test]
async fn owners_remove_anybody_admins_no_owner_and_everybody_himself() {
    let server = server().await;
    let org = server.org("acme").await;
    let (owner, admin, member) = (OrgRole::Owner, OrgRole::Admin, OrgRole::Member);
    for (number, (caller, target, status)) in [
        (owner, owner, 204),
        (owner, admin, 204),
        (owner, member, 204),
        (admin, owner, 403),
        (admin, admin, 204),
        (admin, member, 204),
        (member, owner, 403),
        (member, admin, 403),
        (member, member, 403),
    ]
    .into_iter()
    .enumerate()
    {
        let caller = server.member(&org, &format!("caller{number}"), caller).await;
        let target = server.member(&org, &format!("target{number}"), target).await;
        let answer = caller.delete(&path(&org, &target)).await;
        assert_eq!(answer.status, status, "{} {}", caller.email, answer.text);
        assert_eq!(target.get("/me").await.status, if status == 204 { 401 } else { 200 });
        // himself, always
        assert_eq!(caller.delete(&path(&org, &caller)).await.status, 204, "{}", caller.email);
        caller.get("/me").await.fails(401, "AUTH_ERROR");
    }
}

#[tokio::test]
async fn who_is_removed_leaves_nothing_open_and_takes_nothing_away() {
    let server = server().await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let second = server.key_for(&eve, &["memory:read"]).await;
    let elsewhere = server.org("other").await;
    let abroad = {
        let mut tx = server.store.begin_system().await.expect("a transaction");
        let role = OrgRole::Member;
        switchy_server::store::accounts::add_member(&mut tx, &elsewhere.id, &eve.user_id, role)
            .await
            .expect("joined");
        tx.commit().await.expect("committed");
        let there = Caller { org_id: elsewhere.id.clone(), ..eve.clone() };
        server.key_for(&there, &["*"]).await
    };
    let team = org.owner.space("Team").await;
    server.admit(id(&team), &eve, "EDITOR").await;
    let session = json!({ "name": "Plan", "participantUserIds": [eve.user_id] });
    let session =
        org.owner.post("/spaces/team/sessions", session).await.data(201)["session"].take();
    for (content, visibility, space) in [
        ("eve's own secret", "PRIVATE", Value::Null),
        ("for the team", "SPACE", team["id"].clone()),
        ("for everybody", "ORG", Value::Null),
    ] {
        let note = json!({ "content": content, "visibility": visibility, "spaceId": space });
        eve.note(note).await;
    }
    let notes = async |caller: &Caller| {
        let list = caller.get("/memory").await.data(200)["memories"].take();
        let mut list: Vec<String> = each(&list, "content").into_iter().map(str::to_owned).collect();
        list.sort_unstable();
        list
    };

    assert_eq!(org.owner.delete(&path(&org, &eve)).await.status, 204);
    org.owner.delete(&path(&org, &eve)).await.fails(404, "NOT_FOUND");
    for key in [&eve, &second] {
        key.get("/memory").await.fails(401, "AUTH_ERROR");
    }
    abroad.get("/me").await.data(200);
    let sql = server.sql().await;
    let user = eve.user_id.as_str();
    for (what, query, left) in [
        ("Spaces", "SELECT count(*) FROM space_members WHERE user_id = $1", 0),
        ("sessions", "SELECT count(*) FROM session_participants WHERE user_id = $1", 0),
        (
            "keys of the organization",
            "SELECT count(*) FROM api_keys k JOIN orgs o ON o.id = k.org_id \
             WHERE k.user_id = $1 AND o.slug = 'acme' AND k.revoked_at IS NULL",
            0,
        ),
        (
            "keys of the other one",
            "SELECT count(*) FROM api_keys k JOIN orgs o ON o.id = k.org_id \
             WHERE k.user_id = $1 AND o.slug = 'other' AND k.revoked_at IS NULL",
            1,
        ),
    ] {
        let count: i64 = sql.query_one(query, &[&user]).await.expect("counted").get(0);
        assert_eq!(count, left, "{what}");
    }
    let seen = org.owner.get(&format!("/spaces/team/sessions/{}", id(&session))).await;
    let seen = seen.data(200)["session"]["participantUserIds"].take();
    assert_eq!(seen, json!([org.owner.user_id]));
    assert_eq!(notes(&org.owner).await, ["for everybody", "for the team"]);

    // back again: what was private was only asleep, and old keys stay dead
    let back = crowned(&server, &eve).await;
    for key in [&eve, &second] {
        key.get("/memory").await.fails(401, "AUTH_ERROR");
    }
    assert_eq!(notes(&back).await, ["eve's own secret", "for everybody"]);
    assert_eq!(back.get("/me").await.data(200)["spaces"], json!([]));
}

#[tokio::test]
async fn a_space_without_its_only_owner_goes_to_whoever_edited_it_longest() {
    let server = server().await;
    let org = server.org("acme").await;
    let admin = server.member(&org, "admin", OrgRole::Admin).await;
    let mut people = Vec::new();
    for name in ["a", "b", "c", "d"] {
        people.push(server.member(&org, name, OrgRole::Member).await);
    }
    let [a, b, c, d] = people.as_slice() else { panic!("four people") };
    let leaver = server.member(&org, "leaver", OrgRole::Member).await;
    let mut spaces = Vec::new();
    // in the order in which they join; who owns it then
    for (number, (members, heirs)) in [
        (vec![(a, "MEMBER"), (b, "VIEWER"), (c, "EDITOR"), (d, "EDITOR")], vec![c]),
        (vec![(b, "VIEWER"), (d, "MEMBER"), (a, "MEMBER")], vec![d]),
        (vec![(a, "EDITOR"), (b, "OWNER")], vec![b]),
        (vec![(a, "VIEWER")], vec![]),
        (vec![], vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let space = leaver.space(&format!("Space {number}")).await;
        for (person, role) in members {
            server.admit(id(&space), person, role).await;
        }
        spaces.push((space, heirs));
    }
    // somebody else's, in which the leaver has no say
    let team = org.owner.space("Team").await;
    server.admit(id(&team), &leaver, "EDITOR").await;
    server.admit(id(&team), a, "EDITOR").await;
    spaces.push((team, vec![&org.owner]));

    assert_eq!(leaver.delete(&path(&org, &leaver)).await.status, 204);
    let sql = server.sql().await;
    let query = "SELECT user_id FROM space_members WHERE space_id = $1 AND role = 'OWNER'";
    for (space, heirs) in &spaces {
        let rows = sql.query(query, &[&id(space)]).await.expect("read");
        let found: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        let expected: Vec<&str> = heirs.iter().map(|heir| heir.user_id.as_str()).collect();
        assert_eq!(found, expected, "{}", space["name"]);
    }
    // nobody got to see what he did not see before
    for space in [&spaces[3].0, &spaces[4].0] {
        for caller in [&org.owner, &admin] {
            let path = format!("/projects/{}", id(space));
            caller.get(&path).await.fails(403, "FORBIDDEN");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_space_whose_two_owners_leave_at_once_is_handed_over_all_the_same() {
    let server = server().await;
    let org = server.org("acme").await;
    let heir = server.member(&org, "heir", OrgRole::Member).await;
    let sql = server.sql().await;
    for round in 0..ROUNDS {
        let one = server.member(&org, &format!("one{round}"), OrgRole::Member).await;
        let other = server.member(&org, &format!("other{round}"), OrgRole::Member).await;
        let space = one.space(&format!("Space {round}")).await;
        server.admit(id(&space), &other, "OWNER").await;
        server.admit(id(&space), &heir, "EDITOR").await;
        let (to_one, to_other) = (path(&org, &one), path(&org, &other));
        let (a, b) = join(one.delete(&to_one), other.delete(&to_other)).await;
        assert_eq!((a.status.as_u16(), b.status.as_u16()), (204, 204), "round {round}");
        let query = "SELECT role FROM space_members WHERE space_id = $1";
        let rows = sql.query(query, &[&id(&space)]).await.expect("read");
        let roles: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(roles, ["OWNER"], "round {round}");
    }
}

#[tokio::test]
async fn an_organization_can_be_deleted_with_everybody_in_it() {
    let server = server().await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    eve.space("Hers").await;
    let delete = "DELETE FROM orgs WHERE id = $1";
    server.sql().await.execute(delete, &[&org.id.as_str()]).await.expect("deleted");
    eve.get("/me").await.fails(401, "AUTH_ERROR");
    let left = "SELECT count(*) FROM members";
    assert_eq!(server.sql().await.query_one(left, &[]).await.expect("counted").get::<_, i64>(0), 0);
}

#[tokio::test]
async fn row_level_security_alone_keeps_people_from_promoting_themselves() {
    let server = server().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let ada = server.member(&acme, "ada", OrgRole::Admin).await;
    let eve = server.member(&acme, "eve", OrgRole::Member).await;
    let bob = server.member(&acme, "bob", OrgRole::Member).await;
    let there = other.owner.user_id.as_str();
    let promote = "UPDATE members SET role = 'OWNER' WHERE user_id = $1";
    let dismiss = "DELETE FROM members WHERE user_id = $1";
    for caller in [&eve, &ada] {
        let app = as_app(&server, Some(caller)).await;
        for target in [&eve, &ada, &bob, &acme.owner, &other.owner] {
            let target = target.user_id.as_str();
            assert_eq!(app.execute(promote, &[&target]).await.expect("nothing"), 0);
        }
        for target in [acme.owner.user_id.as_str(), there] {
            assert_eq!(app.execute(dismiss, &[&target]).await.expect("nothing"), 0);
        }
    }
    let as_eve = as_app(&server, Some(&eve)).await;
    for target in [bob.user_id.as_str(), ada.user_id.as_str()] {
        assert_eq!(as_eve.execute(dismiss, &[&target]).await.expect("nothing"), 0);
    }
    let as_owner = as_app(&server, Some(&acme.owner)).await;
    for sql in [promote, dismiss] {
        assert_eq!(as_owner.execute(sql, &[&there]).await.expect("nothing"), 0);
    }
    let join = "INSERT INTO members (org_id, user_id, role) VALUES ($1, $2, 'MEMBER')";
    let (org, user) = (other.id.as_str(), acme.owner.user_id.as_str());
    as_owner.execute(join, &[&org, &user]).await.expect_err("joined");
    // what the policies allow: an OWNER promotes, an ADMIN dismisses, everybody goes
    let bob_id = bob.user_id.as_str();
    assert_eq!(as_owner.execute(promote, &[&bob_id]).await.expect("promoted"), 1);
    let as_admin = as_app(&server, Some(&ada)).await;
    let eve_id = eve.user_id.as_str();
    assert_eq!(as_admin.execute(dismiss, &[&eve_id]).await.expect("dismissed"), 1);
    let as_bob = as_app(&server, Some(&bob)).await;
    assert_eq!(as_bob.execute(dismiss, &[&bob_id]).await.expect("gone"), 1);
    eve.get("/me").await.fails(401, "AUTH_ERROR");
}
