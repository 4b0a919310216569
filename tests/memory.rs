//! Memory: `/memory`. Searching has a file of its own.

use crate::fixture::shape::{assert_cuid, assert_timestamp, each, fields, id, issues};
use crate::fixture::{Caller, Options, Org, Server, embedders};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

async fn acme() -> (Server, Org) {
    let options = Options { embedder: embedders::none(), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    (server, org)
}

/// A member of the organization, in the Space with a role unless that is empty.
async fn member(
    server: &Server,
    org: &Org,
    space: &Value,
    org_role: OrgRole,
    role: &str,
) -> Caller {
    let name = format!("{org_role}-{role}").to_lowercase();
    let caller = server.member(org, &name, org_role).await;
    if !role.is_empty() {
        server.admit(id(space), &caller, role).await;
    }
    caller
}

async fn private(caller: &Caller, content: &str) -> Value {
    caller.note(json!({ "content": content, "visibility": "PRIVATE" })).await
}

/// The contents that the list shows, in its order.
async fn listed(caller: &Caller, query: &str) -> Vec<String> {
    let page = caller.get(&format!("/memory?{query}")).await.data(200);
    each(&page["memories"], "content").into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_note_has_exactly_these_fields_and_null_where_nothing_is_known() {
    let (_server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let body = json!({ "content": "  The lock\n is held.  ", "visibility": "PRIVATE" });
    let answer = org.owner.post("/memory", body).await;
    let location = answer.header("location").expect("a Location").to_owned();
    let data = answer.data(201);
    assert_eq!(fields(&data), ["memory"]);
    let bare = &data["memory"];
    assert_eq!(
        fields(bare),
        [
            "authorUserId",
            "content",
            "createdAt",
            "id",
            "onBehalfOf",
            "organizationId",
            "sourceUrl",
            "spaceId",
            "tags",
            "updatedAt",
            "visibility",
            "writtenByUserId"
        ]
    );
    assert_eq!(location, format!("/api/memory/{}", id(bare)));
    assert_cuid(&bare["id"]);
    assert_timestamp(&bare["createdAt"]);
    assert_eq!(bare["createdAt"], bare["updatedAt"]);
    assert_eq!(bare["content"], "  The lock\n is held.  ", "as it was given");
    assert_eq!(bare["organizationId"], org.id.as_str());
    assert_eq!(bare["authorUserId"], org.owner.user_id.as_str());
    assert_eq!((&bare["spaceId"], &bare["sourceUrl"]), (&Value::Null, &Value::Null));
    assert_eq!((&bare["visibility"], &bare["tags"]), (&json!("PRIVATE"), &json!([])));

    let full = org
        .owner
        .note(json!({
            "content": "full", "visibility": "SPACE", "spaceId": space["id"],
            "tags": [" a ", "b", "a"], "sourceUrl": "https://wiki.example.com/a?b=c#d",
        }))
        .await;
    assert_eq!((&full["visibility"], &full["spaceId"]), (&json!("SPACE"), &space["id"]));
    assert_eq!(full["tags"], json!(["a", "b"]));
    assert_eq!(full["sourceUrl"], "https://wiki.example.com/a?b=c#d");
    let page = org.owner.get("/memory").await.data(200);
    assert_eq!(page, json!({ "memories": [full, bare], "total": 2 }));
}

#[tokio::test]
async fn null_means_absent_unknown_fields_are_ignored_and_duplicates_are_welcome() {
    let (_server, org) = acme().await;
    let body = json!({
        "content": "x", "visibility": "ORG", "spaceId": null, "tags": null, "sourceUrl": null,
        "authorUserId": "me", "embedding": [1, 2],
    });
    let (a, b) = (org.owner.note(body.clone()).await, org.owner.note(body).await);
    assert_ne!(a["id"], b["id"]);
    assert_eq!(a["authorUserId"], org.owner.user_id.as_str());
    assert_eq!(listed(&org.owner, "").await, ["x", "x"]);
}

#[tokio::test]
async fn each_field_has_its_limit_in_characters_and_every_violation_is_listed() {
    let (_server, org) = acme().await;
    let create = |body: Value| org.owner.post("/memory", body);
    let tags: Vec<String> = (0..20).map(|i| format!("{}{}", "ü".repeat(48), 10 + i)).collect();
    let url = format!("https://example.com/{}", "x".repeat(2_028));
    let most = json!({
        "content": "🦀".repeat(10_000), "visibility": "ORG", "tags": tags, "sourceUrl": url,
    });
    let made = create(most.clone()).await.data(201)["memory"].take();
    for field in ["content", "tags", "sourceUrl"] {
        assert_eq!(made[field], most[field], "{field}");
    }
    let with = |field: &str, value: Value| {
        let mut body = json!({ "content": "x", "visibility": "PRIVATE" });
        body[field] = value;
        body
    };
    let mut more = tags.clone();
    more.push("one more".into());
    for (body, paths) in [
        (json!({}), vec!["content", "visibility"]),
        (json!({ "content": null, "visibility": null }), vec!["content", "visibility"]),
        (with("content", json!("")), vec!["content"]),
        (with("content", json!(" \u{2003}\n")), vec!["content"]),
        (with("content", json!("🦀".repeat(10_001))), vec!["content"]),
        (with("content", json!("a\0b")), vec!["content"]),
        (with("content", json!(["x"])), vec!["content"]),
        (with("tags", json!(more)), vec!["tags"]),
        (with("tags", json!(["x".repeat(51)])), vec!["tags.0"]),
        (with("sourceUrl", json!(format!("{url}x"))), vec!["sourceUrl"]),
        (with("visibility", json!("SECRET")), vec!["visibility"]),
        (with("visibility", json!("private")), vec!["visibility"]),
        (with("visibility", json!("SPACE")), vec!["spaceId"]),
        (with("spaceId", json!("nonsense")), vec!["spaceId"]),
        (with("spaceId", json!("c".to_owned() + &"0".repeat(24))), vec!["spaceId"]),
        (
            json!({
                "content": "", "visibility": "SPACE", "tags": ["", "ok", "x".repeat(51)],
                "sourceUrl": "no",
            }),
            vec!["content", "sourceUrl", "spaceId", "tags.0", "tags.2"],
        ),
        (
            json!({ "content": "", "visibility": "?", "tags": [""], "sourceUrl": "no" }),
            vec!["content", "sourceUrl", "tags.0", "visibility"],
        ),
        (
            json!({ "tags": [1], "sourceUrl": 2 }),
            vec!["content", "sourceUrl", "tags.0", "visibility"],
        ),
    ] {
        assert_eq!(issues(&create(body.clone()).await), paths, "{body}");
    }
    let mut org_note = with("visibility", json!("ORG"));
    org_note["spaceId"] = json!("c".to_owned() + &"0".repeat(24));
    assert_eq!(issues(&create(org_note).await), ["spaceId"]);
    assert_eq!(listed(&org.owner, "").await.len(), 1, "nothing that was refused is there");
}

#[tokio::test]
async fn a_source_is_an_http_or_https_url() {
    let (_server, org) = acme().await;
    let create = |url: &str| {
        org.owner.post("/memory", json!({ "content": "x", "visibility": "ORG", "sourceUrl": url }))
    };
    for url in [
        "http://example.com",
        "https://user@example.com:8443/p?q=1#f",
        "HTTPS://EXAMPLE.COM/",
        "https://[::1]/",
        "https://müller.example/ä",
    ] {
        assert_eq!(create(url).await.data(201)["memory"]["sourceUrl"], url, "as it was given");
    }
    for url in [
        "",
        " ",
        "example.com",
        "/path",
        "ftp://example.com",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "http://",
        "https:///",
        "mailto:a@b.c",
        "http://exa mple.com",
    ] {
        assert_eq!(issues(&create(url).await), ["sourceUrl"], "{url:?}");
    }
}

#[tokio::test]
async fn who_may_write_a_note_for_whom() {
    let (server, org) = acme().await;
    let space = org.owner.space("Team").await;
    for org_role in [OrgRole::Owner, OrgRole::Admin, OrgRole::Member] {
        for role in ["OWNER", "EDITOR", "MEMBER", "VIEWER", ""] {
            let caller = member(&server, &org, &space, org_role, role).await;
            for (visibility, space_id, status) in [
                ("PRIVATE", Value::Null, 201),
                ("ORG", Value::Null, 201),
                (
                    "SPACE",
                    space["id"].clone(),
                    if ["VIEWER", ""].contains(&role) { 403 } else { 201 },
                ),
            ] {
                let body = json!({
                    "content": "x", "visibility": visibility, "spaceId": space_id,
                });
                let answer = caller.post("/memory", body).await;
                assert_eq!(
                    answer.status, status,
                    "{org_role} {role} {visibility}: {}",
                    answer.text
                );
                if status == 403 {
                    answer.fails(403, "FORBIDDEN");
                }
            }
        }
    }
    let others = server.org("other").await.owner.space("Theirs").await;
    let unknown = json!("c".to_owned() + &"0".repeat(24));
    for space_id in [&others["id"], &unknown] {
        let body = json!({ "content": "x", "visibility": "SPACE", "spaceId": space_id });
        org.owner.post("/memory", body).await.fails(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn who_sees_and_who_deletes_a_note_of_each_visibility() {
    let (server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let author = member(&server, &org, &space, OrgRole::Member, "MEMBER").await;
    let mut callers = Vec::new();
    for org_role in [OrgRole::Owner, OrgRole::Admin, OrgRole::Member] {
        for role in ["OWNER", "EDITOR", "MEMBER", "VIEWER", ""] {
            if (org_role, role) != (OrgRole::Member, "MEMBER") {
                let caller = member(&server, &org, &space, org_role, role).await;
                callers.push((caller, org_role, role));
            }
        }
    }
    let other_org = server.org("other").await.owner;
    for visibility in ["PRIVATE", "SPACE", "ORG"] {
        let space_id = if visibility == "SPACE" { space["id"].clone() } else { Value::Null };
        let body = json!({ "content": visibility, "visibility": visibility, "spaceId": space_id });
        let mut note = author.note(body.clone()).await;
        for (caller, org_role, role) in &callers {
            let what = format!("{visibility} by {org_role} {role}");
            let sees = match visibility {
                "PRIVATE" => false,
                "SPACE" => !role.is_empty(),
                _ => true,
            };
            let deletes = match visibility {
                "PRIVATE" => false,
                "SPACE" => ["OWNER", "EDITOR"].contains(role),
                _ => *org_role != OrgRole::Member,
            };
            let page = caller.get("/memory").await.data(200);
            let shown = if sees { json!([note]) } else { json!([]) };
            assert_eq!(page["memories"], shown, "{what}");
            let answer = caller.delete(&format!("/memory/{}", id(&note))).await;
            match (sees, deletes) {
                (false, _) => drop(answer.fails(404, "NOT_FOUND")),
                (true, false) => drop(answer.fails(403, "FORBIDDEN")),
                (true, true) => {
                    assert_eq!((answer.status.as_u16(), &*answer.text), (204, ""), "{what}");
                    assert_eq!(listed(caller, "").await, [""; 0], "{what}");
                    note = author.note(body.clone()).await;
                }
            }
        }
        let path = format!("/memory/{}", id(&note));
        other_org.delete(&path).await.fails(404, "NOT_FOUND");
        assert_eq!(author.get("/memory").await.data(200)["memories"], json!([note]));
        assert_eq!(author.delete(&path).await.status, 204);
        author.delete(&path).await.fails(404, "NOT_FOUND");
        assert_eq!(author.get("/memory").await.data(200)["total"], 0);
    }
}

#[tokio::test]
async fn deleting_is_for_good() {
    let (server, org) = acme().await;
    let note = private(&org.owner, "gone").await;
    org.owner.delete(&format!("/memory/{}", id(&note))).await;
    let sql = "SELECT (SELECT count(*) FROM memories) + (SELECT count(*) FROM memory_embeddings) \
               + (SELECT count(*) FROM memory_expansions)";
    let left: i64 = server.sql().await.query_one(sql, &[]).await.expect("counted").get(0);
    assert_eq!(left, 0);
    for id in ["nonsense", "c", "%20", &("c".to_owned() + &"0".repeat(24))] {
        org.owner.delete(&format!("/memory/{id}")).await.fails(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn an_author_keeps_his_right_to_delete_as_long_as_he_sees_the_note() {
    let (server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let author = member(&server, &org, &space, OrgRole::Member, "MEMBER").await;
    let body = json!({ "content": "x", "visibility": "SPACE", "spaceId": space["id"] });
    let (a, b) = (author.note(body.clone()).await, author.note(body).await);
    server.admit(id(&space), &author, "VIEWER").await;
    assert_eq!(author.delete(&format!("/memory/{}", id(&a))).await.status, 204);
    server.dismiss(id(&space), &author).await;
    author.delete(&format!("/memory/{}", id(&b))).await.fails(404, "NOT_FOUND");
    assert_eq!(org.owner.delete(&format!("/memory/{}", id(&b))).await.status, 204);
}

#[tokio::test]
async fn the_list_is_newest_first_and_filters_combine() {
    let (server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let eve = member(&server, &org, &space, OrgRole::Member, "MEMBER").await;
    let note = async |caller: &Caller, content: &str, visibility: &str, tags: &[&str]| {
        let space_id = if visibility == "SPACE" { space["id"].clone() } else { Value::Null };
        let body = json!({
            "content": content, "visibility": visibility, "spaceId": space_id, "tags": tags,
        });
        caller.note(body).await
    };
    note(&org.owner, "1 org", "ORG", &["a", "b"]).await;
    note(&org.owner, "2 private", "PRIVATE", &["a"]).await;
    note(&eve, "3 space", "SPACE", &["a"]).await;
    note(&eve, "4 hers", "PRIVATE", &["a"]).await;
    note(&eve, "5 org", "ORG", &[]).await;
    let (me, her, space_id) = (&org.owner.user_id, &eve.user_id, id(&space));
    for (query, expected) in [
        (String::new(), vec!["5 org", "3 space", "2 private", "1 org"]),
        ("visibility=ORG".into(), vec!["5 org", "1 org"]),
        ("visibility=PRIVATE".into(), vec!["2 private"]),
        ("visibility=SPACE".into(), vec!["3 space"]),
        (format!("spaceId={space_id}"), vec!["3 space"]),
        (format!("spaceId={space_id}&visibility=ORG"), vec![]),
        ("tag=a".into(), vec!["3 space", "2 private", "1 org"]),
        ("tag=b".into(), vec!["1 org"]),
        ("tag=A".into(), vec![]),
        (format!("authorUserId={her}"), vec!["5 org", "3 space"]),
        (format!("authorUserId={me}&tag=a&visibility=ORG"), vec!["1 org"]),
        ("limit=2".into(), vec!["5 org", "3 space"]),
    ] {
        assert_eq!(listed(&org.owner, &query).await, expected, "{query}");
    }
    for (query, total) in [("limit=1", 4), ("limit=100", 4), ("limit=1&tag=a", 3), ("tag=zzz", 0)] {
        let page = org.owner.get(&format!("/memory?{query}")).await.data(200);
        assert_eq!(page["total"], total, "{query}");
    }
    for (query, field) in [
        ("visibility=SECRET", "visibility"),
        ("visibility=org", "visibility"),
        ("limit=0", "limit"),
        ("limit=", "limit"),
        ("tag=", "tag"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("spaceId=nonsense", "spaceId"),
        ("authorUserId=nonsense", "authorUserId"),
        ("before=nonsense", "before"),
        ("tag=%00", "tag"),
    ] {
        let found = issues(&org.owner.get(&format!("/memory?{query}")).await);
        assert_eq!(found, [format!("query.{field}")], "{query}");
    }
    let tag = "ü".repeat(51);
    assert_eq!(issues(&org.owner.get(&format!("/memory?tag={tag}")).await), ["query.tag"]);

    let bob = server.member(&org, "bob", OrgRole::Admin).await;
    bob.get(&format!("/memory?spaceId={space_id}")).await.fails(403, "FORBIDDEN");
    let stranger = server.org("other").await.owner;
    stranger.get(&format!("/memory?spaceId={space_id}")).await.fails(404, "NOT_FOUND");
    assert_eq!(listed(&stranger, &format!("authorUserId={me}")).await, [""; 0]);
}

#[tokio::test]
async fn before_pages_through_everything_while_others_write() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    for i in 0..7 {
        let body = json!({ "content": format!("note {i}"), "visibility": "ORG" });
        org.owner.note(body).await;
    }
    // two notes of the same moment are told apart by their ids
    let sql = "UPDATE memories SET created_at = now() - interval '1 hour'";
    server.sql().await.execute(sql, &[]).await.expect("set");
    let rows = "SELECT content FROM memories ORDER BY id DESC";
    let rows = server.sql().await.query(rows, &[]).await.expect("read");
    let expected: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(expected.len(), 7);

    let (mut seen, mut before) = (Vec::new(), String::new());
    for round in 0.. {
        let page = eve.get(&format!("/memory?limit=2{before}")).await.data(200);
        if round == 0 {
            assert_eq!(page["total"], 7);
        }
        let notes = page["memories"].as_array().expect("notes").clone();
        let Some(last) = notes.last() else { break };
        before = format!("&before={}", id(last));
        seen.extend(each(&page["memories"], "content").into_iter().map(str::to_owned));
        org.owner.note(json!({ "content": format!("late {round}"), "visibility": "ORG" })).await;
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn before_names_a_note_that_the_caller_can_see() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let hers = private(&eve, "hers").await;
    private(&org.owner, "mine").await;
    let theirs = private(&server.org("other").await.owner, "theirs").await;
    let unknown = "c".to_owned() + &"0".repeat(24);
    for before in [id(&hers), id(&theirs), &unknown] {
        org.owner.get(&format!("/memory?before={before}")).await.fails(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_key_gets_as_far_as_its_scopes() {
    let (server, org) = acme().await;
    let (reads, writes) = (
        server.key_for(&org.owner, &["memory:read"]).await,
        server.key_for(&org.owner, &["memory:write"]).await,
    );
    let note = private(&writes, "x").await;
    let path = format!("/memory/{}", id(&note));
    assert_eq!(listed(&reads, "").await, ["x"]);
    assert_eq!(reads.search("x").await, ["x"]);
    for answer in [
        reads.post("/memory", json!({ "content": "y", "visibility": "ORG" })).await,
        reads.delete(&path).await,
        writes.get("/memory").await,
        writes.post("/memory/search", json!({ "query": "x" })).await,
        reads.get("/projects").await,
    ] {
        answer.fails(403, "FORBIDDEN");
    }
    assert_eq!(writes.delete(&path).await.status, 204);
}
