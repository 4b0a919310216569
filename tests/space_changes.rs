//! Changing and archiving Spaces: `PATCH` and `DELETE /projects/{projectId}`.

use crate::fixture::shape::{each, id, issues};
use crate::fixture::{Caller, Options, Org, Server, embedders};
use futures::future::join_all;
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

async fn acme() -> (Server, Org) {
    let options = Options { embedder: embedders::none(), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    (server, org)
}

fn at(space: &Value) -> String {
    format!("/projects/{}", id(space))
}

async fn update(caller: &Caller, space: &Value, body: Value) -> Value {
    caller.patch(&at(space), body).await.data(200)["project"].take()
}

#[tokio::test]
async fn what_is_given_changes_and_the_rest_stays() {
    let (_server, org) = acme().await;
    let space = org
        .owner
        .post("/projects", json!({ "name": "Team", "description": "d", "tags": ["a"] }))
        .await
        .data(201)["project"]
        .take();
    let mut expected = space.clone();
    for (body, field, value) in [
        (json!({ "name": "  Platform  " }), "name", json!("Platform")),
        (json!({ "description": "What for" }), "description", json!("What for")),
        (json!({ "tags": [" x ", "y", "x"] }), "tags", json!(["x", "y"])),
        (json!({ "defaultModel": " claude " }), "defaultModel", json!("claude")),
        // cleared: null would mean absent
        (json!({ "description": "" }), "description", Value::Null),
        (json!({ "tags": [] }), "tags", json!([])),
        (json!({ "defaultModel": "" }), "defaultModel", Value::Null),
    ] {
        let changed = update(&org.owner, &space, body.clone()).await;
        expected[field] = value;
        expected["updatedAt"] = changed["updatedAt"].clone();
        assert_eq!(changed, expected, "{body}");
        assert_eq!(org.owner.get(&at(&space)).await.data(200)["project"], expected);
    }
    assert_eq!(expected["slug"], "team", "the slug never changes");
    assert_eq!(org.owner.get("/spaces/team/sessions").await.status, 200);
    // a name that no slug could be made from is fine: there is one
    assert_eq!(update(&org.owner, &space, json!({ "name": "!?" })).await["name"], "!?");
}

#[tokio::test]
async fn without_a_change_nothing_happens() {
    let (server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let row = "SELECT xmin::text FROM spaces";
    let sql = server.sql().await;
    let before: String = sql.query_one(row, &[]).await.expect("row").get(0);
    for body in [
        json!({}),
        json!({ "name": null, "description": null, "tags": null, "defaultModel": null }),
        json!({ "slug": "mine", "id": "mine", "archivedAt": "now" }),
    ] {
        assert_eq!(update(&org.owner, &space, body).await, space);
    }
    let after: String = sql.query_one(row, &[]).await.expect("row").get(0);
    assert_eq!(before, after, "nothing was written");
    update(&org.owner, &space, json!({ "name": "Team" })).await;
    let newer = "SELECT updated_at > created_at FROM spaces";
    assert!(sql.query_one(newer, &[]).await.expect("row").get::<_, bool>(0));
}

#[tokio::test]
async fn every_violation_is_listed() {
    let (_server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let long = "é".repeat(1_001);
    for (body, paths) in [
        (json!({ "name": "" }), vec!["name"]),
        (json!({ "name": " \n" }), vec!["name"]),
        (
            json!({ "name": long, "description": long, "tags": ["", long], "defaultModel": long }),
            vec!["defaultModel", "description", "name", "tags.0", "tags.1"],
        ),
        (
            json!({ "name": 1, "description": long, "tags": [2], "defaultModel": "a\0" }),
            vec!["defaultModel", "description", "name", "tags.0"],
        ),
    ] {
        assert_eq!(issues(&org.owner.patch(&at(&space), body.clone()).await), paths, "{body}");
    }
    assert_eq!(org.owner.get(&at(&space)).await.data(200)["project"], space);
    let most = json!({ "name": "é".repeat(100), "defaultModel": "é".repeat(100) });
    update(&org.owner, &space, most).await;
}

#[tokio::test]
async fn who_changes_and_who_archives_a_space() {
    let (server, org) = acme().await;
    let stranger = server.org("other").await.owner;
    for org_role in [OrgRole::Owner, OrgRole::Admin, OrgRole::Member] {
        for role in ["OWNER", "EDITOR", "MEMBER", "VIEWER", ""] {
            let what = format!("{org_role} {role}").to_lowercase();
            let space = org.owner.space(&what).await;
            let caller = server.member(&org, &what.replace(' ', "-"), org_role).await;
            if !role.is_empty() {
                server.admit(id(&space), &caller, role).await;
            }
            let changes = ["OWNER", "EDITOR"].contains(&role);
            for body in [json!({}), json!({ "name": "New" })] {
                let answer = caller.patch(&at(&space), body).await;
                assert_eq!(answer.status, if changes { 200 } else { 403 }, "{what}");
            }
            let archives = role == "OWNER" || org_role == OrgRole::Owner;
            let answer = caller.delete(&at(&space)).await;
            assert_eq!(answer.status, if archives { 204 } else { 403 }, "{what}");
            assert_eq!(answer.text.is_empty(), archives, "{what}");
            // once more: it is gone, for whoever it was
            let left = if archives { 404 } else { 200 };
            assert_eq!(org.owner.get(&at(&space)).await.status, left, "{what}");
            if archives {
                caller.delete(&at(&space)).await.fails(404, "NOT_FOUND");
                caller.patch(&at(&space), json!({ "name": "x" })).await.fails(404, "NOT_FOUND");
            }
            for nowhere in [&at(&space), "/projects/nonsense"] {
                stranger.patch(nowhere, json!({ "name": "x" })).await.fails(404, "NOT_FOUND");
                stranger.delete(nowhere).await.fails(404, "NOT_FOUND");
            }
        }
    }
}

#[tokio::test]
async fn what_belongs_to_an_archived_space_is_out_of_sight_and_its_slug_stays_taken() {
    let (server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let other = org.owner.space("Other").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    server.admit(id(&space), &eve, "EDITOR").await;
    let made = eve.post("/spaces/team/sessions", json!({ "name": "x" })).await.data(201);
    let session = format!("/spaces/team/sessions/{}", id(&made["session"]));
    let body = json!({ "content": "zulu", "visibility": "SPACE", "spaceId": space["id"] });
    let note = format!("/memory/{}", id(&eve.note(body).await));
    assert_eq!(org.owner.delete(&at(&space)).await.status, 204);
    for caller in [&org.owner, &eve] {
        assert_eq!(caller.search("zulu").await, [""; 0]);
        assert_eq!(caller.get("/memory").await.data(200)["total"], 0);
        for path in [
            &*at(&space),
            &*session,
            &*note,
            "/spaces/team/sessions",
            &format!("/memory?spaceId={}", id(&space)),
            &format!("{}/members", at(&space)),
        ] {
            caller.get(path).await.fails(404, "NOT_FOUND");
        }
        caller.patch(&note, json!({ "content": "y" })).await.fails(404, "NOT_FOUND");
        caller.delete(&note).await.fails(404, "NOT_FOUND");
        assert!(!caller.get("/me").await.text.contains(id(&space)));
    }
    let page = org.owner.get("/projects").await.data(200);
    assert_eq!(each(&page["projects"], "id"), [id(&other)]);
    org.owner.post("/projects", json!({ "name": "Team" })).await.fails(409, "CONFLICT");
}

#[tokio::test]
async fn a_new_session_has_the_default_model_of_its_space() {
    let (_server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let create = async |body: Value| {
        org.owner.post("/spaces/team/sessions", body).await.data(201)["session"].take()
    };
    update(&org.owner, &space, json!({ "defaultModel": "opus" })).await;
    for (body, model, agent) in [
        (json!({ "name": "a" }), "opus", "opus"),
        (json!({ "name": "b", "defaultAgent": "ai" }), "opus", "ai"),
        (json!({ "name": "c", "defaultAgent": "gemini" }), "gemini", "gemini"),
    ] {
        let session = create(body.clone()).await;
        assert_eq!((&session["model"], &session["defaultAgent"]), (&json!(model), &json!(agent)));
    }
    // one that cannot be mentioned is a model all the same
    update(&org.owner, &space, json!({ "defaultModel": "house/7b" })).await;
    let session = create(json!({ "name": "d" })).await;
    assert_eq!(session["model"], "house/7b");
    assert_eq!(session["defaultAgent"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_different_fields_at_the_same_moment_are_both_kept() {
    let (_server, org) = acme().await;
    let space = org.owner.space("Team").await;
    for round in 0..5 {
        let bodies = [
            json!({ "name": format!("Team {round}") }),
            json!({ "description": format!("d {round}") }),
            json!({ "tags": [format!("t {round}")] }),
            json!({ "defaultModel": format!("m {round}") }),
        ];
        join_all(bodies.map(|body| update(&org.owner, &space, body))).await;
        let now = org.owner.get(&at(&space)).await.data(200)["project"].take();
        assert_eq!(now["name"], format!("Team {round}"));
        assert_eq!(now["description"], format!("d {round}"));
        assert_eq!(now["tags"], json!([format!("t {round}")]));
        assert_eq!(now["defaultModel"], format!("m {round}"));
    }
}
