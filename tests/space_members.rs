//! Who is in a Space: `/projects/{projectId}/members`.

use crate::fixture::shape::{assert_timestamp, each, fields, id, issues};
use crate::fixture::{Caller, Options, Org, Server, embedders, until_somebody_waits};
use futures::future::join_all;
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

/// A Space `team` of acme, whose OWNER the organization's OWNER is.
struct Team {
    server: Server,
    org: Org,
    space: Value,
}

impl Team {
    async fn new() -> Team {
        let options = Options { embedder: embedders::none(), ..Options::default() };
        let server = Server::with(options).await;
        let org = server.org("acme").await;
        let space = org.owner.space("Team").await;
        Team { server, org, space }
    }

    fn owner(&self) -> &Caller {
        &self.org.owner
    }

    fn path(&self) -> String {
        format!("/projects/{}/members", id(&self.space))
    }

    fn of(&self, caller: &Caller) -> String {
        format!("{}/{}", self.path(), caller.user_id)
    }

    /// A MEMBER of the organization, outside of the Space.
    async fn person(&self, name: &str) -> Caller {
        self.server.member(&self.org, name, OrgRole::Member).await
    }

    /// The same, in the Space.
    async fn member(&self, name: &str, role: &str) -> Caller {
        let caller = self.person(name).await;
        self.server.admit(id(&self.space), &caller, role).await;
        caller
    }

    async fn roles(&self) -> Vec<(String, String)> {
        let sql = "SELECT u.email, m.role FROM space_members m JOIN users u ON u.id = m.user_id \
                   ORDER BY m.joined_at, m.user_id";
        let rows = self.server.sql().await.query(sql, &[]).await.expect("read");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

fn joins(caller: &Caller, role: &str) -> Value {
    json!({ "userId": caller.user_id, "role": role })
}

#[tokio::test]
async fn a_member_has_exactly_these_fields() {
    let team = Team::new().await;
    let eve = team.person("eve").await;
    let sql = "UPDATE users SET name = 'Eve' WHERE id = $1";
    let user = eve.user_id.as_str();
    team.server.sql().await.execute(sql, &[&user]).await.expect("named");
    let answer = team.owner().post(&team.path(), joins(&eve, "MEMBER")).await;
    assert_eq!(answer.header("location"), Some(&*format!("/api{}", team.of(&eve))));
    let data = answer.data(201);
    assert_eq!(fields(&data), ["member"]);
    let member = &data["member"];
    assert_eq!(fields(member), ["email", "joinedAt", "name", "role", "userId"]);
    assert_timestamp(&member["joinedAt"]);
    assert_eq!(member["userId"], user);
    assert_eq!((&member["email"], &member["name"]), (&json!("eve@acme.test"), &json!("Eve")));
    assert_eq!(member["role"], "MEMBER");
    // and she is in
    assert_eq!(eve.get("/projects").await.data(200)["projects"], json!([team.space]));

    let changed = team.owner().patch(&team.of(&eve), json!({ "role": "EDITOR" })).await.data(200);
    let mut expected = member.clone();
    expected["role"] = json!("EDITOR");
    assert_eq!(changed, json!({ "member": expected }));
    let list = eve.get(&team.path()).await.data(200);
    assert_eq!(fields(&list), ["members", "total"]);
    assert_eq!(each(&list["members"], "role"), ["OWNER", "EDITOR"]);
    assert_eq!(list["members"][1], expected);
    assert_eq!(list["members"][0]["name"], Value::Null);
}

#[tokio::test]
async fn members_read_and_owners_write_whatever_their_role_in_the_organization() {
    let team = Team::new().await;
    let stranger = team.server.org("other").await.owner;
    for org_role in [OrgRole::Owner, OrgRole::Admin, OrgRole::Member] {
        for role in ["OWNER", "EDITOR", "MEMBER", "VIEWER", ""] {
            let what = format!("{org_role}-{role}").to_lowercase();
            let caller = team.server.member(&team.org, &what, org_role).await;
            if !role.is_empty() {
                team.server.admit(id(&team.space), &caller, role).await;
            }
            let read = caller.get(&team.path()).await;
            assert_eq!(read.status, if role.is_empty() { 403 } else { 200 }, "{what}");
            let guest = team.person(&format!("guest-{what}")).await;
            let writes = role == "OWNER";
            let add = caller.post(&team.path(), joins(&guest, "VIEWER")).await;
            assert_eq!(add.status, if writes { 201 } else { 403 }, "{what}: {}", add.text);
            team.server.admit(id(&team.space), &guest, "VIEWER").await;
            let update = caller.patch(&team.of(&guest), json!({ "role": "MEMBER" })).await;
            assert_eq!(update.status, if writes { 200 } else { 403 }, "{what}: {}", update.text);
            let remove = caller.delete(&team.of(&guest)).await;
            assert_eq!(remove.status, if writes { 204 } else { 403 }, "{what}: {}", remove.text);
            // everybody may leave
            let leave = caller.delete(&team.of(&caller)).await;
            assert_eq!(leave.status, if role.is_empty() { 403 } else { 204 }, "{what}");
        }
    }
    for path in [team.path(), "/projects/nonsense/members".into()] {
        stranger.get(&path).await.fails(404, "NOT_FOUND");
        let user = json!({ "userId": stranger.user_id, "role": "OWNER" });
        stranger.post(&path, user).await.fails(404, "NOT_FOUND");
        let member = format!("{path}/{}", team.owner().user_id);
        stranger.patch(&member, json!({ "role": "VIEWER" })).await.fails(404, "NOT_FOUND");
        stranger.delete(&member).await.fails(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn who_is_to_come_must_be_in_the_organization_and_not_in_the_space() {
    let team = Team::new().await;
    let add = async |body: Value| team.owner().post(&team.path(), body).await;
    let stranger = team.server.org("other").await.owner;
    let unknown = "c".to_owned() + &"0".repeat(24);
    for user in [stranger.user_id.as_str(), &unknown] {
        assert_eq!(issues(&add(json!({ "userId": user, "role": "MEMBER" })).await), ["userId"]);
    }
    for (body, paths) in [
        (json!({}), vec!["role", "userId"]),
        (json!({ "userId": null, "role": null }), vec!["role", "userId"]),
        (json!({ "userId": "nonsense", "role": "KING" }), vec!["role", "userId"]),
        (json!({ "userId": unknown, "role": "owner" }), vec!["role"]),
    ] {
        assert_eq!(issues(&add(body.clone()).await), paths, "{body}");
    }
    let eve = team.person("eve").await;
    add(joins(&eve, "VIEWER")).await.data(201);
    // also with another role: that is a change, which has a route of its own
    add(joins(&eve, "EDITOR")).await.fails(409, "CONFLICT");
    add(joins(team.owner(), "OWNER")).await.fails(409, "CONFLICT");
    assert_eq!(team.roles().await.len(), 2);
    assert_eq!(
        issues(&team.owner().patch(&team.of(&eve), json!({ "role": "KING" })).await),
        ["role"]
    );
    assert_eq!(issues(&team.owner().patch(&team.of(&eve), json!({})).await), ["role"]);
}

#[tokio::test]
async fn adding_is_idempotent_under_a_key() {
    let team = Team::new().await;
    let eve = team.person("eve").await;
    let first = team.owner().post_once(&team.path(), "once", joins(&eve, "MEMBER")).await;
    let again = team.owner().post_once(&team.path(), "once", joins(&eve, "MEMBER")).await;
    assert_eq!((again.status.as_u16(), &again.text), (201, &first.text));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    // a refusal that would repeat itself is kept, too
    let body = json!({ "userId": "c".to_owned() + &"0".repeat(24), "role": "MEMBER" });
    for _ in 0..2 {
        let refused = team.owner().post_once(&team.path(), "twice", body.clone()).await;
        assert_eq!(issues(&refused), ["userId"]);
    }
}

#[tokio::test]
async fn a_user_who_is_not_in_the_space_is_not_found() {
    let team = Team::new().await;
    let outside = team.person("outside").await;
    let stranger = team.server.org("other").await.owner;
    let unknown = "c".to_owned() + &"0".repeat(24);
    for user in [outside.user_id.as_str(), stranger.user_id.as_str(), &unknown, "nonsense", "%20"] {
        let path = format!("{}/{user}", team.path());
        team.owner().patch(&path, json!({ "role": "MEMBER" })).await.fails(404, "NOT_FOUND");
        team.owner().delete(&path).await.fails(404, "NOT_FOUND");
    }
    let eve = team.member("eve", "MEMBER").await;
    assert_eq!(eve.delete(&team.of(&eve)).await.status, 204);
    // now outside
    eve.delete(&team.of(&eve)).await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn a_space_keeps_an_owner() {
    let team = Team::new().await;
    let eve = team.member("eve", "EDITOR").await;
    let owner = team.owner();
    let stay = async || {
        owner.delete(&team.of(owner)).await.fails(409, "CONFLICT");
        for role in ["EDITOR", "MEMBER", "VIEWER"] {
            owner.patch(&team.of(owner), json!({ "role": role })).await.fails(409, "CONFLICT");
        }
        owner.patch(&team.of(owner), json!({ "role": "OWNER" })).await.data(200);
    };
    stay().await;
    owner.patch(&team.of(&eve), json!({ "role": "OWNER" })).await.data(200);
    // each may now dismiss the other, or himself
    eve.patch(&team.of(owner), json!({ "role": "VIEWER" })).await.data(200);
    owner.patch(&team.of(&eve), json!({ "role": "VIEWER" })).await.fails(403, "FORBIDDEN");
    eve.delete(&team.of(&eve)).await.fails(409, "CONFLICT");
    eve.patch(&team.of(owner), json!({ "role": "OWNER" })).await.data(200);
    assert_eq!(eve.delete(&team.of(&eve)).await.status, 204);
    stay().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_owners_who_leave_at_the_same_moment_one_stays() {
    let team = Team::new().await;
    for round in 0..6 {
        let mut owners = vec![team.owner().clone()];
        for i in 0..3 {
            owners.push(team.member(&format!("o{round}-{i}"), "OWNER").await);
        }
        let attempts = owners.iter().enumerate().map(|(i, owner)| {
            let path = team.of(owner);
            async move {
                match i % 2 {
                    0 => owner.delete(&path).await,
                    _ => owner.patch(&path, json!({ "role": "MEMBER" })).await,
                }
            }
        });
        let answers = join_all(attempts).await;
        let refused: Vec<_> = answers.iter().filter(|a| a.status == 409).collect();
        assert_eq!(refused.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|a| [200, 204, 409].contains(&a.status.as_u16())));
        let left = team.roles().await;
        assert_eq!(left.iter().filter(|(_, role)| role == "OWNER").count(), 1, "{left:?}");
        // the organization's OWNER, and nobody else, for the next round
        for owner in &owners[1..] {
            team.server.dismiss(id(&team.space), owner).await;
        }
        team.server.admit(id(&team.space), team.owner(), "OWNER").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_is_demoted_while_he_asks_is_refused() {
    let team = Team::new().await;
    let (eve, guest) = (team.member("eve", "OWNER").await, team.person("guest").await);
    let (mut sql, watch) = (team.server.sql().await, team.server.sql().await);
    let lock = sql.transaction().await.expect("a transaction");
    let space = id(&team.space);
    lock.execute("SELECT FROM spaces WHERE id = $1 FOR NO KEY UPDATE", &[&space])
        .await
        .expect("locked");
    let late = tokio::spawn({
        let (eve, path, body) = (eve.clone(), team.path(), joins(&guest, "OWNER"));
        async move { eve.post(&path, body).await }
    });
    until_somebody_waits(&watch).await;
    let user = eve.user_id.as_str();
    lock.execute("UPDATE space_members SET role = 'EDITOR' WHERE user_id = $1", &[&user])
        .await
        .expect("demoted");
    lock.commit().await.expect("committed");
    late.await.expect("an answer").fails(403, "FORBIDDEN");
    assert_eq!(team.roles().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_added_twice_at_the_same_moment_is_added_once() {
    let team = Team::new().await;
    let eve = team.person("eve").await;
    let path = team.path();
    let attempts = (0..6).map(|_| team.owner().post(&path, joins(&eve, "MEMBER")));
    let answers = join_all(attempts).await;
    let mut statuses: Vec<u16> = answers.iter().map(|a| a.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn who_leaves_takes_part_in_no_session_and_what_he_wrote_stays() {
    let team = Team::new().await;
    let eve = team.member("eve", "MEMBER").await;
    let other = team.owner().space("Other").await;
    team.server.admit(id(&other), &eve, "MEMBER").await;
    let participants = json!({ "name": "x", "participantUserIds": [eve.user_id] });
    let mut sessions = Vec::new();
    for slug in ["team", "other"] {
        let path = format!("/spaces/{slug}/sessions");
        let made = team.owner().post(&path, participants.clone()).await.data(201);
        sessions.push(format!("{path}/{}", id(&made["session"])));
    }
    let hers = eve.post("/spaces/team/sessions", json!({ "name": "hers" })).await.data(201);
    let body = json!({ "content": "x", "visibility": "SPACE", "spaceId": team.space["id"] });
    let note = eve.note(body).await;
    assert_eq!(team.owner().delete(&team.of(&eve)).await.status, 204);

    let taking_part = async |path: &str| {
        let session = team.owner().get(path).await.data(200)["session"].take();
        session["participantUserIds"].as_array().expect("a list").len()
    };
    assert_eq!(taking_part(&sessions[0]).await, 1, "not in this Space");
    assert_eq!(taking_part(&sessions[1]).await, 2, "still in the other");
    let hers = format!("/spaces/team/sessions/{}", id(&hers["session"]));
    assert_eq!(taking_part(&hers).await, 0);
    let session = team.owner().get(&hers).await.data(200)["session"].take();
    assert_eq!(session["createdByUserId"], eve.user_id.as_str());
    let path = format!("/memory/{}", id(&note));
    assert_eq!(team.owner().get(&path).await.data(200)["memory"], note);
    eve.get(&path).await.fails(404, "NOT_FOUND");
    eve.get("/spaces/team/sessions").await.fails(403, "FORBIDDEN");
    // come back, she sees her note again and is in no session
    team.owner().post(&team.path(), joins(&eve, "MEMBER")).await.data(201);
    assert_eq!(eve.get(&path).await.data(200)["memory"], note);
    assert_eq!(taking_part(&sessions[0]).await, 1);
}
