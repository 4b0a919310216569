//! Spaces: `/projects`.

use crate::fixture::shape::{assert_cuid, assert_timestamp, each, fields, id, issues};
use crate::fixture::{Options, Server, embedders};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

/// A server without a model: these rules need none.
async fn server() -> Server {
    Server::with(Options { embedder: embedders::none(), ..Options::default() }).await
}

#[tokio::test]
async fn the_creator_is_in_the_space_and_others_are_not() {
    let server = server().await;
    let org = server.org("acme").await;
    let space = org.owner.space("Platform team").await;
    assert_eq!(space["slug"], "platform-team");
    let eve = server.member(&org, "eve", OrgRole::Admin).await;
    let path = format!("/projects/{}", id(&space));
    assert_eq!(org.owner.get(&path).await.data(200)["project"], space);
    eve.get(&path).await.fails(403, "FORBIDDEN");
    let page = eve.get("/projects").await.data(200);
    assert_eq!((&page["projects"], &page["total"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn a_space_has_exactly_these_fields_and_null_where_nothing_is_known() {
    let server = server().await;
    let org = server.org("acme").await;
    let answer = org.owner.post("/projects", json!({ "name": "  Bare  " })).await;
    let location = answer.header("location").expect("a Location").to_owned();
    let data = answer.data(201);
    assert_eq!(fields(&data), ["project"]);
    let bare = &data["project"];
    assert_eq!(
        fields(bare),
        [
            "createdAt",
            "defaultModel",
            "description",
            "id",
            "name",
            "organizationId",
            "slug",
            "tags",
            "updatedAt"
        ]
    );
    assert_eq!(location, format!("/api/projects/{}", id(bare)));
    assert_cuid(&bare["id"]);
    assert_timestamp(&bare["createdAt"]);
    assert_eq!(bare["createdAt"], bare["updatedAt"]);
    assert_eq!(bare["organizationId"], org.id.as_str());
    assert_eq!((&bare["name"], &bare["slug"]), (&json!("Bare"), &json!("bare")));
    assert_eq!((&bare["description"], &bare["defaultModel"]), (&Value::Null, &Value::Null));
    assert_eq!(bare["tags"], json!([]));

    let body = json!({ "name": "Full", "description": "What for", "tags": [" a ", "b", "a"] });
    let full = org.owner.post("/projects", body).await.data(201)["project"].take();
    assert_eq!(full["description"], "What for");
    assert_eq!(full["tags"], json!(["a", "b"]), "trimmed, each once");

    let page = org.owner.get("/projects").await.data(200);
    assert_eq!(fields(&page), ["limit", "page", "projects", "total"]);
    assert_eq!(page["projects"], json!([full, bare]));
}

#[tokio::test]
async fn the_slug_comes_from_the_name() {
    let server = server().await;
    let org = server.org("acme").await;
    for (name, slug) in [
        ("Platform team", "platform-team"),
        ("  Über-Größe & Co. ", "uber-grosse-co"),
        ("a--b__c", "a-b-c"),
        ("東京 office", "dong-jing-office"),
        ("2026", "2026"),
        ("UPPER", "upper"),
    ] {
        assert_eq!(org.owner.space(name).await["slug"], slug, "{name}");
    }
    for name in ["---", "!?", "…"] {
        let refused = org.owner.post("/projects", json!({ "name": name })).await;
        assert_eq!(issues(&refused), ["name"], "{name}");
    }
}

#[tokio::test]
async fn a_slug_is_taken_once_in_an_organization_also_by_a_space_out_of_sight() {
    let server = server().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let eve = server.member(&acme, "eve", OrgRole::Member).await;
    let taken = acme.owner.space("Platform team").await;
    for caller in [&acme.owner, &eve] {
        let refused = caller.post("/projects", json!({ "name": "platform TEAM" })).await;
        refused.fails(409, "CONFLICT");
        assert!(!refused.text.contains(id(&taken)), "{}", refused.text);
    }
    // the slug stays taken when the Space is archived
    let sql = "UPDATE spaces SET archived_at = now()";
    server.sql().await.execute(sql, &[]).await.expect("archived");
    eve.post("/projects", json!({ "name": "Platform team" })).await.fails(409, "CONFLICT");
    // a refused one leaves nothing behind, and another organization has slugs of its own
    assert_eq!(eve.get("/projects").await.data(200)["total"], 0);
    assert_eq!(other.owner.space("Platform team").await["slug"], "platform-team");
}

#[tokio::test]
async fn of_those_who_want_a_slug_at_the_same_moment_one_gets_it() {
    let server = server().await;
    let org = server.org("acme").await;
    let attempts = (0..8).map(|_| org.owner.post("/projects", json!({ "name": "Race" })));
    let answers = futures::future::join_all(attempts).await;
    let mut statuses: Vec<u16> = answers.iter().map(|a| a.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(org.owner.get("/projects").await.data(200)["total"], 1);
}

#[tokio::test]
async fn any_member_of_the_organization_creates_spaces_and_becomes_their_owner() {
    let server = server().await;
    let org = server.org("acme").await;
    for (name, role) in [("ada", OrgRole::Admin), ("eve", OrgRole::Member)] {
        let caller = server.member(&org, name, role).await;
        caller.space(name).await;
        assert_eq!(caller.get("/me").await.data(200)["spaces"][0]["role"], "OWNER");
    }
}

#[tokio::test]
async fn null_means_absent_and_unknown_fields_are_ignored() {
    let server = server().await;
    let org = server.org("acme").await;
    let body = json!({
        "name": "Nulls", "description": null, "tags": null, "slug": "mine", "id": "mine",
        "organizationId": "mine", "createdAt": "1970-01-01T00:00:00.000Z", "x": { "y": [null] },
    });
    let space = org.owner.post("/projects", body).await.data(201)["project"].take();
    assert_eq!((&space["slug"], &space["description"]), (&json!("nulls"), &Value::Null));
    assert_eq!(space["organizationId"], org.id.as_str());
    assert_eq!(issues(&org.owner.post("/projects", json!({ "name": null })).await), ["name"]);
    assert_eq!(org.owner.get("/projects?y=&x=1").await.data(200)["total"], 1);
}

#[tokio::test]
async fn each_field_has_its_limit_in_characters() {
    let server = server().await;
    let org = server.org("acme").await;
    let tags = |n: usize, length: usize| -> Vec<String> {
        (0..n).map(|i| format!("{}{}", "ü".repeat(length - 2), 10 + i)).collect()
    };
    let create = |body: Value| org.owner.post("/projects", body);

    let name = "é".repeat(100);
    let most = json!({ "name": name, "description": "🦀".repeat(1_000), "tags": tags(20, 50) });
    let space = create(most.clone()).await.data(201)["project"].take();
    for field in ["name", "description", "tags"] {
        assert_eq!(space[field], most[field]);
    }
    assert!(space["slug"].as_str().is_some_and(|s| s.len() <= 100));

    for (body, paths) in [
        (json!({}), vec!["name"]),
        (json!({ "name": "" }), vec!["name"]),
        (json!({ "name": " \t\n " }), vec!["name"]),
        (json!({ "name": "é".repeat(101) }), vec!["name"]),
        (json!({ "name": 7 }), vec!["name"]),
        (json!({ "name": "x", "description": "🦀".repeat(1_001) }), vec!["description"]),
        (json!({ "name": "x", "tags": tags(21, 50) }), vec!["tags"]),
        (json!({ "name": "x", "tags": ["ok", tags(1, 51)[0]] }), vec!["tags.1"]),
        (json!({ "name": "x", "tags": ["", " "] }), vec!["tags.0", "tags.1"]),
        (json!({ "name": "x", "tags": "ok" }), vec!["tags"]),
        (json!({ "name": "x", "tags": ["ok", 3] }), vec!["tags.1"]),
        (json!({ "name": "x", "tags": ["ok", null] }), vec!["tags.1"]),
        (json!({ "name": "nul\0", "tags": ["\0"] }), vec!["name", "tags.0"]),
    ] {
        let refused = create(body.clone()).await;
        assert_eq!(issues(&refused), paths, "{body}");
    }
    assert_eq!(org.owner.get("/projects").await.data(200)["total"], 1);
}

#[tokio::test]
async fn every_violation_is_listed_and_not_the_first_alone() {
    let server = server().await;
    let org = server.org("acme").await;
    let long = "x".repeat(1_001);
    for (body, paths) in [
        (
            json!({ "name": long, "description": long, "tags": ["", long] }),
            vec!["description", "name", "tags.0", "tags.1"],
        ),
        (json!({ "description": long, "tags": [long] }), vec!["description", "name", "tags.0"]),
        (json!({ "name": 1, "description": 2, "tags": 3 }), vec!["description", "name", "tags"]),
        (json!({ "name": 1, "description": long }), vec!["description", "name"]),
        (json!({ "name": "", "description": 2 }), vec!["description", "name"]),
        (json!({ "name": "x", "tags": [1, "ok", {}] }), vec!["tags.0", "tags.2"]),
    ] {
        assert_eq!(issues(&org.owner.post("/projects", body.clone()).await), paths, "{body}");
    }
    for (query, paths) in [
        ("page=0&limit=0", vec!["query.limit", "query.page"]),
        ("page=x&limit=y", vec!["query.limit", "query.page"]),
        ("page=&limit=", vec!["query.limit", "query.page"]),
        ("page=x&limit=101", vec!["query.limit", "query.page"]),
    ] {
        assert_eq!(issues(&org.owner.get(&format!("/projects?{query}")).await), paths, "{query}");
    }
}

#[tokio::test]
async fn pages_are_disjoint_and_complete_and_empty_past_the_end() {
    let server = server().await;
    let org = server.org("acme").await;
    let mut made = Vec::new();
    for i in 0..5 {
        made.push(id(&org.owner.space(&format!("Space {i}")).await).to_owned());
    }
    made.reverse();
    let mut seen = Vec::new();
    for (page, expected) in [(1, 2), (2, 2), (3, 1), (4, 0), (1_000_000, 0)] {
        let data = org.owner.get(&format!("/projects?limit=2&page={page}")).await.data(200);
        let ids = each(&data["projects"], "id");
        assert_eq!(ids.len(), expected, "page {page}");
        assert_eq!(data["total"], 5, "page {page}");
        assert_eq!((&data["page"], &data["limit"]), (&json!(page), &json!(2)));
        seen.extend(ids.into_iter().map(str::to_owned));
    }
    assert_eq!(seen, made, "most recently updated first");
    assert_eq!(org.owner.get("/projects").await.data(200)["limit"], 20, "the default");
    assert_eq!(org.owner.get("/projects?limit=100").await.data(200)["total"], 5);
    for query in [
        "page=0",
        "page=-1",
        "page=1000001",
        "page=99999999999999999999",
        "page=1.5",
        "limit=0",
        "limit=101",
        "limit=ten",
        "limit=-1",
    ] {
        let field = query.split('=').next().expect("a name");
        let found = issues(&org.owner.get(&format!("/projects?{query}")).await);
        assert_eq!(found, [format!("query.{field}")], "{query}");
    }
}

#[tokio::test]
async fn spaces_are_sorted_by_their_last_update() {
    let server = server().await;
    let org = server.org("acme").await;
    let (first, second) = (org.owner.space("First").await, org.owner.space("Second").await);
    let listed = async || -> Vec<String> {
        let page = org.owner.get("/projects").await.data(200);
        each(&page["projects"], "slug").into_iter().map(str::to_owned).collect()
    };
    assert_eq!(listed().await, ["second", "first"]);
    let sql = "UPDATE spaces SET updated_at = updated_at + interval '1 hour' WHERE id = $1";
    server.sql().await.execute(sql, &[&id(&first)]).await.expect("updated");
    assert_eq!(listed().await, ["first", "second"]);
    // the same moment: by id, so that pages stay disjoint
    let sql = "UPDATE spaces SET updated_at = now()";
    server.sql().await.execute(sql, &[]).await.expect("updated");
    let mut ids = [id(&first), id(&second)];
    ids.sort_unstable();
    let page = org.owner.get("/projects").await.data(200);
    assert_eq!(each(&page["projects"], "id"), [ids[1], ids[0]]);
}

#[tokio::test]
async fn an_id_that_is_none_or_another_organizations_is_not_found() {
    let server = server().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let theirs = other.owner.space("Theirs").await;
    let unknown = "c".to_owned() + &"0".repeat(24);
    for space in [
        id(&theirs),
        &*unknown,
        "c",
        "theirs",
        "C00000000000000000000000A",
        "%20",
        "1",
        "..%2F",
        "c0000000000000000000000000000",
        "%27%20OR%201%3D1--",
    ] {
        let answer = acme.owner.get(&format!("/projects/{space}")).await;
        answer.fails(404, "NOT_FOUND");
        assert!(!answer.text.contains("Theirs"), "{}", answer.text);
    }
    // what is absent and what is another organization's are the same to the letter
    let (a, b) = (format!("/projects/{}", id(&theirs)), format!("/projects/{unknown}"));
    assert_eq!(acme.owner.get(&a).await.body["error"], acme.owner.get(&b).await.body["error"]);
}

#[tokio::test]
async fn every_role_in_a_space_sees_it_and_an_archived_one_nobody() {
    let server = server().await;
    let org = server.org("acme").await;
    let space = org.owner.space("Team").await;
    let path = format!("/projects/{}", id(&space));
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    for role in ["OWNER", "EDITOR", "MEMBER", "VIEWER"] {
        server.admit(id(&space), &eve, role).await;
        assert_eq!(eve.get(&path).await.data(200)["project"], space, "{role}");
        assert_eq!(eve.get("/projects").await.data(200)["projects"], json!([space]), "{role}");
    }
    let sql = "UPDATE spaces SET archived_at = now()";
    server.sql().await.execute(sql, &[]).await.expect("archived");
    for caller in [&org.owner, &eve] {
        caller.get(&path).await.fails(404, "NOT_FOUND");
        assert_eq!(caller.get("/projects").await.data(200)["total"], 0);
    }
}
