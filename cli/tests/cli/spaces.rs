//! `space update`, `archive` and `member`; `memory view` and `update`.

use serde_json::{Value, json};
use wiremock::MockServer;

use crate::{ID, NOW, User, me, note, serve, server, success};

const OTHER: &str = "cother0000000000000000000";

fn space() -> Value {
    json!({
        "id": ID, "slug": "platform-team", "name": "Platform", "organizationId": ID, "tags": [],
        "createdAt": NOW
    })
}

fn member(id: &str, email: &str) -> Value {
    json!({ "userId": id, "email": email, "name": null, "role": "EDITOR", "joinedAt": NOW })
}

/// Method, path and body of what was sent, but for `GET /me`.
async fn sent(server: &MockServer) -> Vec<(String, String, Value)> {
    let requests = server.received_requests().await.expect("recorded");
    requests
        .iter()
        .filter(|request| request.url.path() != "/api/me")
        .map(|request| {
            let body = request.body_json().unwrap_or(Value::Null);
            (request.method.to_string(), request.url.path().to_string(), body)
        })
        .collect()
}

#[tokio::test]
async fn what_is_named_of_a_space_is_changed() {
    let server = server().await;
    let route = format!("/projects/{ID}");
    serve(&server, "GET", "/me", success(200, &me())).await;
    serve(&server, "PATCH", &route, success(200, &json!({ "project": space() }))).await;
    let user = User::of(&server);
    let update = ["space", "update", "platform-team", "--name", "Platform", "--tag", "a"];
    assert!(user.run(&update).await.ok().stdout.contains("Platform"));
    let clear = ["space", "update", ID, "--no-tags", "--description", "", "--model", ""];
    user.run(&[&clear[..], &["-o", "json"]].concat()).await.ok();
    let bodies: Vec<_> = sent(&server).await.into_iter().map(|(_, _, body)| body).collect();
    assert_eq!(
        bodies,
        [
            json!({ "name": "Platform", "tags": ["a"] }),
            json!({ "description": "", "tags": [], "defaultModel": "" })
        ]
    );
    for wrong in [&["space", "update", ID][..], &["space", "update", ID, "--tag", "a", "--no-tags"]]
    {
        assert_eq!(user.run(wrong).await.exit, 2, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_space_is_archived_by_slug_and_by_id() {
    let server = server().await;
    serve(&server, "GET", "/me", success(200, &me())).await;
    for id in [ID, OTHER] {
        serve(&server, "DELETE", &format!("/projects/{id}"), success(204, &json!(null))).await;
    }
    // the organization's OWNER archives Spaces that he is not in: ids are believed
    let archive = ["space", "archive", "platform-team", OTHER, "--yes"];
    let done = User::of(&server).run(&archive).await.ok();
    assert_eq!(done.stdout, format!("archived platform-team\narchived {OTHER}\n"));
}

#[tokio::test]
async fn members_are_named_by_id_address_or_me() {
    let server = server().await;
    let members = format!("/projects/{ID}/members");
    serve(&server, "GET", "/me", success(200, &me())).await;
    let list = json!({ "members": [member(ID, "ada@example.com"), member(OTHER, "eve@b.c")] });
    serve(&server, "GET", &members, success(200, &list)).await;
    let one = json!({ "member": member(OTHER, "eve@b.c") });
    serve(&server, "POST", &members, success(201, &one)).await;
    for id in [ID, OTHER] {
        serve(&server, "PATCH", &format!("{members}/{id}"), success(200, &one)).await;
        serve(&server, "DELETE", &format!("{members}/{id}"), success(204, &json!(null))).await;
    }
    let user = User::of(&server);
    let on = async |arguments: &[&str]| {
        user.run(&[&["space", "member"], arguments].concat()).await.ok().stdout
    };
    let listed = on(&["list", "platform-team"]).await;
    assert!(listed.lines().nth(2).is_some_and(|row| row.starts_with("eve@b.c")), "{listed}");
    assert_eq!(
        on(&["add", "platform-team", OTHER, "--role", "editor"]).await,
        "eve@b.c is in the Space as EDITOR\n"
    );
    on(&["role", "platform-team", "EVE@b.c", "viewer"]).await;
    on(&["remove", "platform-team", OTHER, "--yes"]).await;
    assert_eq!(on(&["remove", "platform-team", "me", "-y"]).await, "you have left the Space\n");
    let writes = sent(&server).await.into_iter().filter(|(verb, ..)| verb != "GET");
    let at = |id: &str| format!("/api{members}/{id}");
    assert_eq!(
        writes.collect::<Vec<_>>(),
        [
            ("POST".into(), format!("/api{members}"), json!({ "userId": OTHER, "role": "EDITOR" })),
            ("PATCH".into(), at(OTHER), json!({ "role": "VIEWER" })),
            ("DELETE".into(), at(OTHER), Value::Null),
            ("DELETE".into(), at(ID), Value::Null),
        ]
    );
    let nobody = user.run(&["space", "member", "role", ID, "joe@b.c", "viewer"]).await;
    assert_eq!(nobody.exit, 5, "{}", nobody.stderr);
    let king = user.run(&["space", "member", "add", ID, OTHER, "--role", "king"]).await;
    assert_eq!(king.exit, 2);
    assert_eq!(user.run(&["space", "member", "add", ID, "eve@b.c"]).await.exit, 2);
}

#[tokio::test]
async fn a_note_is_viewed_and_what_is_named_of_it_is_changed() {
    let server = server().await;
    let route = format!("/memory/{ID}");
    serve(&server, "GET", "/me", success(200, &me())).await;
    serve(&server, "GET", &route, success(200, &json!({ "memory": note("x") }))).await;
    serve(&server, "PATCH", &route, success(200, &json!({ "memory": note("x") }))).await;
    let user = User::of(&server);
    let viewed = user.run(&["memory", "view", ID]).await.ok().stdout;
    assert_eq!(viewed, format!("PRIVATE  you  2026-04-19 12:34Z  #deploys  {ID}\n  x\n\n"));
    let viewed = user.run(&["memory", "view", ID, "-o", "json"]).await.ok();
    assert_eq!(viewed.json(), json!({ "memory": note("x") }));
    for (arguments, body) in [
        (
            &["--content", "-", "--tag", "a", "--source-url", ""][..],
            json!({ "content": "two\nlines", "tags": ["a"], "sourceUrl": "" }),
        ),
        (&["--no-tags", "--visibility", "org"], json!({ "tags": [], "visibility": "ORG" })),
        (&["--space", "platform-team"], json!({ "visibility": "SPACE", "spaceId": ID })),
    ] {
        let update = [&["memory", "update", ID], arguments].concat();
        user.run_with_input(&update, "two\nlines\n").await.ok();
        assert_eq!(sent(&server).await.pop().expect("sent").2, body);
    }
    for wrong in [&[][..], &["--visibility", "org", "--space", "a"], &["--visibility", "all"]] {
        let update = [&["memory", "update", ID], wrong].concat();
        assert_eq!(user.run(&update).await.exit, 2, "{wrong:?}");
    }
}
