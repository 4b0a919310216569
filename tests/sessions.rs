//! Sessions: `/spaces/{slug}/sessions`.

use crate::fixture::shape::{assert_cuid, assert_timestamp, each, fields, id, issues};
use crate::fixture::{Caller, Options, Org, Server, embedders};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

/// Of the Space that every test has.
const SESSIONS: &str = "/spaces/team/sessions";

/// An organization with a Space `team`, which its OWNER made.
async fn team() -> (Server, Org, Value) {
    let options = Options { embedder: embedders::none(), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    (server, org, space)
}

/// A member of the organization, in the Space with a role.
async fn admitted(server: &Server, org: &Org, space: &Value, name: &str, role: &str) -> Caller {
    let caller = server.member(org, name, OrgRole::Member).await;
    server.admit(id(space), &caller, role).await;
    caller
}

async fn session(caller: &Caller, name: &str) -> Value {
    caller.post(SESSIONS, json!({ "name": name })).await.data(201)["session"].take()
}

fn path(session: &Value) -> String {
    format!("{SESSIONS}/{}", id(session))
}

#[tokio::test]
async fn a_session_has_exactly_these_fields_and_null_where_nothing_is_known() {
    let (_server, org, space) = team().await;
    let answer = org.owner.post(SESSIONS, json!({ "name": " Upgrade " })).await;
    let location = answer.header("location").expect("a Location").to_owned();
    let data = answer.data(201);
    assert_eq!(fields(&data), ["session"]);
    let made = &data["session"];
    assert_eq!(
        fields(made),
        [
            "archivedAt",
            "createdAt",
            "createdByUserId",
            "defaultAgent",
            "description",
            "externalId",
            "id",
            "labels",
            "model",
            "origin",
            "participantUserIds",
            "spaceId",
            "title",
            "updatedAt",
            "usage",
            "visibility"
        ]
    );
    assert_eq!(location, format!("/api{}", path(made)));
    assert_cuid(&made["id"]);
    assert_timestamp(&made["createdAt"]);
    assert_eq!(made["createdAt"], made["updatedAt"]);
    assert_eq!(made["title"], "Upgrade", "created with a name, read as a title");
    assert_eq!(made["spaceId"], space["id"]);
    assert_eq!(made["createdByUserId"], org.owner.user_id.as_str());
    assert_eq!(made["participantUserIds"], json!([org.owner.user_id.as_str()]));
    assert_eq!(made["visibility"], "workspace", "native sessions are born shared");
    assert_eq!(made["origin"], "user");
    assert_eq!(made["labels"], json!({}));
    assert_eq!(
        made["usage"],
        json!({
            "totalInputTokens": 0, "totalOutputTokens": 0, "totalCacheReadInputTokens": 0,
            "totalCacheCreationInputTokens": 0, "totalToolCallCount": 0, "totalCostUsd": 0.0,
            "lastGenerationInputTokens": null, "messageCount": 0,
        })
    );
    for field in ["archivedAt", "defaultAgent", "description", "model"] {
        assert_eq!(made[field], Value::Null, "{field}");
    }
    assert_eq!(org.owner.get(&path(made)).await.data(200), data);
    let list = org.owner.get(SESSIONS).await.data(200);
    assert_eq!(list, json!({ "sessions": [made], "total": 1 }));
}

#[tokio::test]
async fn participants_are_members_of_the_space_and_the_caller_always_is_one() {
    let (server, org, space) = team().await;
    let eve = admitted(&server, &org, &space, "eve", "VIEWER").await;
    let bob = server.member(&org, "bob", OrgRole::Admin).await; // not in the Space
    let stranger = server.org("other").await.owner;
    let (me, eve, bob, stranger) =
        (org.owner.user_id.as_str(), eve.user_id.as_str(), bob.user_id.as_str(), stranger.user_id);
    let create =
        |ids: Value| org.owner.post(SESSIONS, json!({ "name": "x", "participantUserIds": ids }));
    for given in [json!([eve]), json!([eve, me, eve]), json!([me, eve])] {
        let made = create(given.clone()).await.data(201)["session"].take();
        let mut both = [me, eve];
        both.sort_unstable();
        assert_eq!(made["participantUserIds"], json!(both), "{given}");
        assert_eq!(org.owner.get(&path(&made)).await.data(200)["session"], made);
    }
    assert_eq!(create(json!([])).await.data(201)["session"]["participantUserIds"], json!([me]));

    // who is not in the Space, in another organization, or nobody: all named, and all alike
    let unknown = "c".to_owned() + &"0".repeat(24);
    let refused = create(json!([bob, eve, stranger.as_str(), unknown])).await;
    assert_eq!(
        issues(&refused),
        ["participantUserIds.0", "participantUserIds.2", "participantUserIds.3"]
    );
    let found = refused.body["error"]["details"]["errors"].as_array().expect("errors").clone();
    assert!(found.iter().all(|i| i["message"] == found[0]["message"]), "{}", refused.text);
    assert_eq!(issues(&create(json!(["eve"])).await), ["participantUserIds.0"]);
    assert_eq!(issues(&create(json!([eve, 7])).await), ["participantUserIds.1"]);
    assert_eq!(issues(&create(json!(eve)).await), ["participantUserIds"]);
    assert_eq!(issues(&create(json!(vec![eve; 101])).await), ["participantUserIds"]);
    create(json!(vec![eve; 100])).await.data(201);
}

#[tokio::test]
async fn the_default_agent_is_one_that_can_be_mentioned_and_the_model_mirrors_it() {
    let (_server, org, _) = team().await;
    for (agent, model) in [
        ("claude", json!("claude")),
        ("gpt-4o-mini", json!("gpt-4o-mini")),
        ("ai", Value::Null),
        ("github", Value::Null),
        ("notion", Value::Null),
    ] {
        let body = json!({ "name": "x", "defaultAgent": agent });
        let made = org.owner.post(SESSIONS, body).await.data(201)["session"].take();
        assert_eq!((&made["defaultAgent"], &made["model"]), (&json!(agent), &model), "{agent}");
        assert_eq!(org.owner.get(&path(&made)).await.data(200)["session"], made);
    }
    for agent in ["nobody", "", "Claude", " claude"] {
        let body = json!({ "name": "x", "defaultAgent": agent });
        assert_eq!(issues(&org.owner.post(SESSIONS, body).await), ["defaultAgent"], "{agent}");
    }

    let made = session(&org.owner, "x").await;
    let at = path(&made);
    let update = |model: &'static str| org.owner.patch(&at, json!({ "model": model }));
    for (model, agent) in [
        ("claude", json!("claude")),
        // no model's slug: the agent stays
        ("anthropic/claude-opus-4.5", json!("claude")),
        ("ai", json!("claude")),
        (" gemini ", json!("gemini")),
    ] {
        let now = update(model).await.data(200)["session"].take();
        assert_eq!(
            (&now["model"], &now["defaultAgent"]),
            (&json!(model.trim()), &agent),
            "{model}"
        );
        assert_eq!(org.owner.get(&path(&made)).await.data(200)["session"], now);
    }
}

#[tokio::test]
async fn null_means_absent_and_unknown_fields_are_ignored() {
    let (_server, org, _) = team().await;
    let body = json!({
        "name": "x", "description": null, "participantUserIds": null, "defaultAgent": null,
        "visibility": "private", "archivedAt": "2026-01-01T00:00:00.000Z", "title": "y",
    });
    let made = org.owner.post(SESSIONS, body).await.data(201)["session"].take();
    assert_eq!((&made["title"], &made["archivedAt"]), (&json!("x"), &Value::Null));
    let nothing = json!({ "title": null, "model": null, "description": "z", "spaceId": 1 });
    assert_eq!(org.owner.patch(&path(&made), nothing).await.data(200)["session"], made);
}

#[tokio::test]
async fn each_field_has_its_limit_and_every_violation_is_listed() {
    let (_server, org, _) = team().await;
    let create = |body: Value| org.owner.post(SESSIONS, body);
    let most = json!({ "name": "é".repeat(255), "description": "🦀".repeat(1_000) });
    let made = create(most.clone()).await.data(201)["session"].take();
    assert_eq!((&made["title"], &made["description"]), (&most["name"], &most["description"]));
    for (body, paths) in [
        (json!({}), vec!["name"]),
        (json!({ "name": " " }), vec!["name"]),
        (json!({ "name": "é".repeat(256) }), vec!["name"]),
        (json!({ "name": "x", "description": "🦀".repeat(1_001) }), vec!["description"]),
        (
            json!({
                "name": "", "description": "x".repeat(1_001), "defaultAgent": "x",
                "participantUserIds": vec![org.owner.user_id.as_str(); 101],
            }),
            vec!["defaultAgent", "description", "name", "participantUserIds"],
        ),
        (json!({ "name": 1, "defaultAgent": "x" }), vec!["defaultAgent", "name"]),
    ] {
        assert_eq!(issues(&create(body.clone()).await), paths, "{body}");
    }

    let at = path(&made);
    let update = |body: Value| org.owner.patch(&at, body);
    let most = json!({ "title": "ü".repeat(255), "model": "m".repeat(100) });
    let now = update(most.clone()).await.data(200)["session"].take();
    assert_eq!((&now["title"], &now["model"]), (&most["title"], &most["model"]));
    for (body, paths) in [
        (json!({ "title": "" }), vec!["title"]),
        (json!({ "title": "ü".repeat(256) }), vec!["title"]),
        (json!({ "model": " " }), vec!["model"]),
        (json!({ "title": "", "model": "m".repeat(101) }), vec!["model", "title"]),
        (json!({ "title": 1, "model": [] }), vec!["model", "title"]),
    ] {
        assert_eq!(issues(&update(body.clone()).await), paths, "{body}");
    }
    assert_eq!(org.owner.get(&path(&made)).await.data(200)["session"], now);
}

#[tokio::test]
async fn the_list_is_whole_and_most_recently_updated_first() {
    let (_server, org, _) = team().await;
    let mut made = Vec::new();
    for i in 0..25 {
        made.push(session(&org.owner, &format!("s{i}")).await);
    }
    org.owner.patch(&path(&made[3]), json!({ "title": "touched" })).await.data(200);
    let list = org.owner.get(SESSIONS).await.data(200);
    let titles = each(&list["sessions"], "title");
    assert_eq!(titles.len(), 25);
    assert_eq!(titles[..3], ["touched", "s24", "s23"]);
    // what is no parameter is ignored
    assert_eq!(org.owner.get(&format!("{SESSIONS}?offset=0&page=x")).await.data(200), list);
    assert_eq!(issues(&org.owner.get(&format!("{SESSIONS}?limit=0")).await), ["query.limit"]);
}

#[tokio::test]
async fn archiving_hides_from_the_list_stays_readable_and_may_be_repeated() {
    let (_server, org, _) = team().await;
    let (kept, gone) = (session(&org.owner, "kept").await, session(&org.owner, "gone").await);
    for _ in 0..2 {
        let answer = org.owner.delete(&path(&gone)).await;
        assert_eq!((answer.status.as_u16(), &*answer.text), (204, ""));
        let list = org.owner.get(SESSIONS).await.data(200);
        assert_eq!(list["sessions"], json!([kept]));
    }
    let read = org.owner.get(&path(&gone)).await.data(200)["session"].take();
    assert_timestamp(&read["archivedAt"]);
    let mut live = read.clone();
    live["archivedAt"] = Value::Null;
    assert_eq!(live, gone, "nothing else has changed");
    org.owner.delete(&path(&gone)).await;
    assert_eq!(
        org.owner.get(&path(&gone)).await.data(200)["session"],
        read,
        "still the first time"
    );
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let (_server, org, _) = team().await;
    let body = json!({ "name": "old", "description": "d", "defaultAgent": "claude" });
    let made = org.owner.post(SESSIONS, body).await.data(201)["session"].take();
    for body in [json!({}), json!({ "title": null }), json!({ "unknown": true })] {
        let same = org.owner.patch(&path(&made), body.clone()).await.data(200);
        assert_eq!(same["session"], made, "{body}: nothing happens, updatedAt included");
    }
    let now = org.owner.patch(&path(&made), json!({ "title": " new " })).await.data(200)["session"]
        .take();
    assert!(now["updatedAt"].as_str() >= made["updatedAt"].as_str());
    let mut expected = made.clone();
    expected["title"] = json!("new");
    expected["updatedAt"] = now["updatedAt"].clone();
    assert_eq!(now, expected);
    assert_eq!(org.owner.get(&path(&made)).await.data(200)["session"], now);
}

#[tokio::test]
async fn the_creator_and_the_spaces_owner_and_editor_update_and_archive() {
    let (server, org, space) = team().await;
    let editor = admitted(&server, &org, &space, "editor", "EDITOR").await;
    let author = admitted(&server, &org, &space, "author", "MEMBER").await;
    let member = admitted(&server, &org, &space, "member", "MEMBER").await;
    let viewer = admitted(&server, &org, &space, "viewer", "VIEWER").await;
    let admin = server.member(&org, "admin", OrgRole::Admin).await; // not in the Space
    let made = session(&author, "theirs").await;

    for who in [&org.owner, &editor, &author, &member, &viewer] {
        assert_eq!(who.get(&path(&made)).await.data(200)["session"], made, "all may read");
    }
    for (who, allowed) in
        [(&org.owner, true), (&editor, true), (&author, true), (&member, false), (&viewer, false)]
    {
        let answer = who.patch(&path(&made), json!({ "title": who.email })).await;
        let title = who.get(&path(&made)).await.data(200)["session"]["title"].take();
        if allowed {
            answer.data(200);
            assert_eq!(title, who.email);
        } else {
            answer.fails(403, "FORBIDDEN");
            assert_eq!(title, author.email, "refused, so unchanged");
            who.delete(&path(&made)).await.fails(403, "FORBIDDEN");
        }
        // an empty change is a change that one may or may not make
        let status = if allowed { 200 } else { 403 };
        assert_eq!(who.patch(&path(&made), json!({})).await.status, status, "{}", who.email);
    }
    for answer in [
        admin.get(SESSIONS).await,
        admin.get(&path(&made)).await,
        admin.patch(&path(&made), json!({ "title": "x" })).await,
        admin.delete(&path(&made)).await,
        admin.post(SESSIONS, json!({ "name": "x" })).await,
    ] {
        answer.fails(403, "FORBIDDEN");
    }
    for who in [&org.owner, &editor, &author] {
        let made = session(&author, "to archive").await;
        assert_eq!(who.delete(&path(&made)).await.status, 204, "{}", who.email);
        assert_eq!(who.delete(&path(&made)).await.status, 204, "{}", who.email);
        member.delete(&path(&made)).await.fails(403, "FORBIDDEN");
    }
    // an author who may only view by now
    server.admit(id(&space), &author, "VIEWER").await;
    author.patch(&path(&made), json!({ "title": "x" })).await.fails(403, "FORBIDDEN");
    author.delete(&path(&made)).await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn viewers_read_and_do_not_write() {
    let (server, org, space) = team().await;
    let viewer = admitted(&server, &org, &space, "viewer", "VIEWER").await;
    let made = session(&org.owner, "x").await;
    assert_eq!(viewer.get(SESSIONS).await.data(200)["sessions"], json!([made]));
    viewer.post(SESSIONS, json!({ "name": "x" })).await.fails(403, "FORBIDDEN");
    assert_eq!(org.owner.get(SESSIONS).await.data(200)["sessions"], json!([made]));
    for role in ["OWNER", "EDITOR", "MEMBER"] {
        server.admit(id(&space), &viewer, role).await;
        session(&viewer, role).await;
    }
}

#[tokio::test]
async fn a_session_is_found_under_its_own_space_alone() {
    let (server, org, _) = team().await;
    org.owner.space("Elsewhere").await;
    let other = server.org("other").await;
    other.owner.space("Team").await; // the same slug
    let made = session(&org.owner, "x").await;
    let theirs = session(&other.owner, "theirs").await;
    let unknown = "c".to_owned() + &"0".repeat(24);
    for path in [
        format!("/spaces/elsewhere/sessions/{}", id(&made)),
        path(&theirs),
        format!("{SESSIONS}/{unknown}"),
        format!("{SESSIONS}/nonsense"),
        format!("{SESSIONS}/{}", id(&made).to_uppercase()),
        format!("/spaces/nowhere/sessions/{}", id(&made)),
        format!("/spaces/TEAM/sessions/{}", id(&made)),
        format!("/spaces/te%20am/sessions/{}", id(&made)),
        format!("/spaces/{}/sessions/{}", id(&made), id(&made)),
    ] {
        org.owner.get(&path).await.fails(404, "NOT_FOUND");
        org.owner.patch(&path, json!({ "title": "y" })).await.fails(404, "NOT_FOUND");
        org.owner.delete(&path).await.fails(404, "NOT_FOUND");
    }
    for slug in ["nowhere", "TEAM", "-", "%00", "%E2%80%A6", &"x".repeat(200)] {
        let path = format!("/spaces/{slug}/sessions");
        org.owner.get(&path).await.fails(404, "NOT_FOUND");
        org.owner.post(&path, json!({ "name": "x" })).await.fails(404, "NOT_FOUND");
    }
    assert_eq!(org.owner.get(&path(&made)).await.data(200)["session"], made);
    let untouched = other.owner.get(SESSIONS).await.data(200);
    assert_eq!(untouched["sessions"], json!([theirs]));
}

#[tokio::test]
async fn a_private_session_is_its_creators_alone_whatever_the_others_roles() {
    let (server, org, space) = team().await;
    let author = admitted(&server, &org, &space, "author", "MEMBER").await;
    let editor = admitted(&server, &org, &space, "editor", "EDITOR").await;
    let shared = session(&author, "shared").await;
    let mut secret = session(&author, "secret").await;
    let sql = "UPDATE sessions SET visibility = 'private' WHERE id = $1";
    server.sql().await.execute(sql, &[&id(&secret)]).await.expect("made private");
    secret["visibility"] = json!("private");
    for who in [&org.owner, &editor] {
        assert_eq!(who.get(SESSIONS).await.data(200)["sessions"], json!([shared]));
        who.get(&path(&secret)).await.fails(404, "NOT_FOUND");
        who.patch(&path(&secret), json!({ "title": "x" })).await.fails(404, "NOT_FOUND");
        who.delete(&path(&secret)).await.fails(404, "NOT_FOUND");
    }
    assert_eq!(author.get(SESSIONS).await.data(200)["sessions"], json!([secret, shared]));
    assert_eq!(author.get(&path(&secret)).await.data(200)["session"], secret);
    author.patch(&path(&secret), json!({ "title": "mine" })).await.data(200);
    // and gone for the creator, too, when he is out of the Space
    server.dismiss(id(&space), &author).await;
    author.get(&path(&secret)).await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn evaluation_runs_stay_out_of_the_list_and_untitled_sessions_have_a_title() {
    let (server, org, _) = team().await;
    let (eval, bare) = (session(&org.owner, "eval").await, session(&org.owner, "bare").await);
    let sql = server.sql().await;
    sql.execute("UPDATE sessions SET origin = 'eval' WHERE id = $1", &[&id(&eval)])
        .await
        .expect("set");
    sql.execute("UPDATE sessions SET title = NULL WHERE id = $1", &[&id(&bare)])
        .await
        .expect("set");
    let list = org.owner.get(SESSIONS).await.data(200);
    assert_eq!(each(&list["sessions"], "title"), ["Untitled session"]);
    org.owner.get(&path(&eval)).await.data(200);
}

#[tokio::test]
async fn an_archived_space_takes_its_sessions_with_it() {
    let (server, org, space) = team().await;
    let made = session(&org.owner, "x").await;
    let sql = "UPDATE spaces SET archived_at = now() WHERE id = $1";
    server.sql().await.execute(sql, &[&id(&space)]).await.expect("archived");
    for answer in [
        org.owner.get(SESSIONS).await,
        org.owner.get(&path(&made)).await,
        org.owner.patch(&path(&made), json!({ "title": "y" })).await,
        org.owner.delete(&path(&made)).await,
        org.owner.post(SESSIONS, json!({ "name": "y" })).await,
    ] {
        answer.fails(404, "NOT_FOUND");
    }
}
