//! `/spaces/{slug}/mcps`: which integrations a Space uses.

use super::*;
use crate::fixture::shape::{each, fields, id};
use http::Method;
use switchy_server::auth::OrgRole;

/// An organization with a Space `team` and an integration.
async fn team() -> (Server, Org, Value, Value) {
    let (server, org) = start().await;
    let space = org.owner.space("Team").await;
    let made = register(&org.owner, body("deploys", ENDPOINT)).await;
    (server, org, space, made)
}

fn binding(made: &Value) -> String {
    format!("/spaces/team/mcps/{}", id(made))
}

/// Which integrations the Space uses, by mention.
async fn used(caller: &Caller) -> Vec<String> {
    let data = caller.get("/spaces/team/mcps").await.data(200);
    let servers = data["servers"].as_array().expect("a list").iter();
    let bound = servers.filter(|s| s["bound"].as_bool().expect("a boolean"));
    bound.map(|s| s["mentionSlug"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn a_space_uses_what_is_bound_to_it_and_binding_twice_is_no_error() {
    let (_server, org, _, made) = team().await;
    let other = register(&org.owner, body("other", ENDPOINT)).await;
    let data = org.owner.get("/spaces/team/mcps").await.data(200);
    assert_eq!(each(&data["servers"], "mentionSlug"), ["deploys", "other"]);
    let mut expected = fields(&made);
    expected.insert(1, "bound");
    assert_eq!(fields(&data["servers"][0]), expected);
    assert_eq!(used(&org.owner).await, Vec::<String>::new());
    for _ in 0..2 {
        let answer = org.owner.put(&binding(&made)).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
        assert_eq!(used(&org.owner).await, ["deploys"]);
    }
    assert_eq!(org.owner.put(&binding(&other)).await.status, 204);
    for _ in 0..2 {
        assert_eq!(org.owner.delete(&binding(&made)).await.status, 204);
        assert_eq!(used(&org.owner).await, ["other"]);
    }
    // another Space has its own
    org.owner.space("Second").await;
    let second = org.owner.get("/spaces/second/mcps").await.data(200);
    assert!(second["servers"].as_array().expect("a list").iter().all(|s| s["bound"] == false));
}

#[tokio::test]
async fn owner_and_editor_of_the_space_bind_and_so_do_owner_and_admin_of_the_organization() {
    let (server, org, space, made) = team().await;
    let path = binding(&made);
    for (name, org_role, space_role, may) in [
        ("space-owner", OrgRole::Member, Some("OWNER"), true),
        ("editor", OrgRole::Member, Some("EDITOR"), true),
        ("member", OrgRole::Member, Some("MEMBER"), false),
        ("viewer", OrgRole::Member, Some("VIEWER"), false),
        ("outsider", OrgRole::Member, None, false),
        ("admin", OrgRole::Admin, None, true),
        ("admin-viewer", OrgRole::Admin, Some("VIEWER"), true),
        ("second-owner", OrgRole::Owner, None, true),
    ] {
        let caller = server.member(&org, name, org_role).await;
        if let Some(role) = space_role {
            server.admit(id(&space), &caller, role).await;
        }
        for method in [Method::PUT, Method::DELETE] {
            let before = used(&org.owner).await;
            let answer = crate::fixture::Answer::of(caller.request(method.clone(), &path)).await;
            if may {
                assert_eq!(answer.status, 204, "{name} {method}: {}", answer.text);
                assert_eq!(used(&org.owner).await.is_empty(), method == Method::DELETE, "{name}");
            } else {
                answer.fails(403, "FORBIDDEN");
                assert_eq!(used(&org.owner).await, before, "{name}");
            }
        }
        // reading is for those who are in the Space
        let answer = caller.get("/spaces/team/mcps").await;
        match space_role {
            Some(_) => drop(answer.data(200)),
            None => drop(answer.fails(403, "FORBIDDEN").clone()),
        }
    }
}

#[tokio::test]
async fn what_is_not_there_or_elsewhere_is_404() {
    let (server, org, space, made) = team().await;
    let other = server.org("other").await;
    other.owner.space("Theirs").await;
    let theirs = register(&other.owner, body("theirs", ENDPOINT)).await;
    let own = id(&made);
    for path in [
        binding(&theirs),
        "/spaces/team/mcps/nonsense".to_owned(),
        "/spaces/team/mcps/cmwrb765dyilgw7qrns9ban7u".to_owned(),
        format!("/spaces/theirs/mcps/{own}"),
        format!("/spaces/nope/mcps/{own}"),
        format!("/spaces/No%20Slug/mcps/{own}"),
    ] {
        org.owner.put(&path).await.fails(404, "NOT_FOUND");
        org.owner.delete(&path).await.fails(404, "NOT_FOUND");
    }
    for path in ["/spaces/theirs/mcps", "/spaces/nope/mcps", "/spaces/No%20Slug/mcps"] {
        org.owner.get(path).await.fails(404, "NOT_FOUND");
    }
    let archive = "UPDATE spaces SET archived_at = now() WHERE id = $1";
    server.sql().await.execute(archive, &[&id(&space)]).await.expect("archived");
    org.owner.put(&binding(&made)).await.fails(404, "NOT_FOUND");
    org.owner.get("/spaces/team/mcps").await.fails(404, "NOT_FOUND");
    assert_eq!(rows(&server, "space_mcp_servers").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_and_removing_at_once_leaves_nothing_behind() {
    let (server, org, ..) = team().await;
    for round in 0..5 {
        let made = register(&org.owner, body(&format!("m{round}"), ENDPOINT)).await;
        let bound = binding(&made);
        let gone = path(&made);
        let (bind, remove) = tokio::join!(org.owner.put(&bound), org.owner.delete(&gone));
        assert_eq!(remove.status, 204, "{}", remove.text);
        assert!(matches!(bind.status.as_u16(), 204 | 404), "{}", bind.text);
    }
    assert_eq!(rows(&server, "space_mcp_servers").await, 0);
}
