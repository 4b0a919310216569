//! One note: `GET` and `PATCH /memory/{memoryId}`.

use crate::fixture::embedders::Obedient;
use crate::fixture::shape::{id, issues};
use crate::fixture::{Caller, Options, Org, Server, embedders, until_somebody_waits};
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use switchy_server::auth::OrgRole;

async fn acme() -> (Server, Org) {
    let options = Options { embedder: embedders::none(), ..Options::default() };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    (server, org)
}

/// A server whose model does as it is told.
async fn with_model() -> (Server, Org, Arc<Obedient>) {
    let model = Arc::new(Obedient::default());
    let server = Server::with(Options { embedder: model.clone(), ..Options::default() }).await;
    let org = server.org("acme").await;
    (server, org, model)
}

fn at(note: &Value) -> String {
    format!("/memory/{}", id(note))
}

async fn update(caller: &Caller, note: &Value, body: Value) -> Value {
    caller.patch(&at(note), body).await.data(200)["memory"].take()
}

fn vector(text: &str) -> String {
    let numbers: Vec<_> =
        Obedient::vector(text).as_slice().iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// What a note is found by: visibility, Space, and whether it is what its content says, passage by
/// passage; and whether the expansion is there.
async fn found_by(server: &Server, note: &str) -> (Vec<(String, Option<String>, bool)>, bool) {
    let sql = server.sql().await;
    let content: String = sql
        .query_one("SELECT content FROM memories WHERE id = $1", &[&note])
        .await
        .expect("a note")
        .get(0);
    let rows = "SELECT visibility, space_id, starts_at, ends_at, embedding::text \
                FROM memory_embeddings WHERE memory_id = $1 ORDER BY passage";
    let mut passages = Vec::new();
    for row in sql.query(rows, &[&note]).await.expect("passages") {
        let (start, end): (i32, i32) = (row.get(2), row.get(3));
        let range = usize::try_from(start).expect("start")..usize::try_from(end).expect("end");
        let same = "SELECT ($1::text::halfvec <=> $2::text::halfvec) < 0.001";
        let (stored, expected) =
            (row.get::<_, String>(4), content.get(range).map(vector).unwrap_or_default());
        let right = match expected.as_str() {
            "" => false,
            _ => sql.query_one(same, &[&stored, &expected]).await.expect("compared").get(0),
        };
        passages.push((row.get(0), row.get(1), right));
    }
    // the expansion of this model is the length of the text
    let terms = "SELECT terms::text FROM memory_expansions WHERE memory_id = $1";
    let terms = sql.query_opt(terms, &[&note]).await.expect("terms");
    let expanded = terms.is_some_and(|row| {
        // a sparse vector counts from 1
        row.get::<_, String>(0).starts_with(&format!("{{{}:", content.len() + 1))
    });
    (passages, expanded)
}

#[tokio::test]
async fn whoever_sees_a_note_views_it_and_the_author_alone_changes_it() {
    let (server, org) = acme().await;
    let space = org.owner.space("Team").await;
    let author = server.member(&org, "author", OrgRole::Member).await;
    server.admit(id(&space), &author, "MEMBER").await;
    let stranger = server.org("other").await.owner;
    let mut callers = Vec::new();
    for org_role in [OrgRole::Owner, OrgRole::Admin, OrgRole::Member] {
        for role in ["OWNER", "EDITOR", "MEMBER", "VIEWER", ""] {
            let name = format!("{org_role}-{role}").to_lowercase();
            let caller = server.member(&org, &name, org_role).await;
            if !role.is_empty() {
                server.admit(id(&space), &caller, role).await;
            }
            callers.push((caller, role));
        }
    }
    for visibility in ["PRIVATE", "SPACE", "ORG"] {
        let space_id = if visibility == "SPACE" { space["id"].clone() } else { Value::Null };
        let body = json!({ "content": visibility, "visibility": visibility, "spaceId": space_id });
        let note = author.note(body).await;
        assert_eq!(author.get(&at(&note)).await.data(200), json!({ "memory": note }));
        for (caller, role) in &callers {
            let sees = match visibility {
                "PRIVATE" => false,
                "SPACE" => !role.is_empty(),
                _ => true,
            };
            let viewed = caller.get(&at(&note)).await;
            if sees {
                assert_eq!(viewed.data(200), json!({ "memory": note }));
            } else {
                viewed.fails(404, "NOT_FOUND");
            }
            for body in [json!({}), json!({ "content": "theirs" }), json!({ "tags": [] })] {
                let answer = caller.patch(&at(&note), body).await;
                match sees {
                    true => answer.fails(403, "FORBIDDEN"),
                    false => answer.fails(404, "NOT_FOUND"),
                };
            }
        }
        stranger.get(&at(&note)).await.fails(404, "NOT_FOUND");
        stranger.patch(&at(&note), json!({})).await.fails(404, "NOT_FOUND");
        assert_eq!(author.get(&at(&note)).await.data(200)["memory"], note, "as it was");
        update(&author, &note, json!({ "content": "mine" })).await;
    }
    let unknown = "c".to_owned() + &"0".repeat(24);
    for id in ["nonsense", "c", "%20", &unknown] {
        org.owner.get(&format!("/memory/{id}")).await.fails(404, "NOT_FOUND");
        org.owner.patch(&format!("/memory/{id}"), json!({})).await.fails(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn what_is_given_changes_and_the_rest_stays() {
    let (server, org) = acme().await;
    let note = org
        .owner
        .note(json!({
            "content": "old", "visibility": "PRIVATE", "tags": ["a"],
            "sourceUrl": "https://a.example/",
        }))
        .await;
    let mut expected = note.clone();
    for (body, field, value) in [
        (json!({ "content": "  new\n" }), "content", json!("  new\n")),
        (json!({ "tags": [" b ", "c", "b"] }), "tags", json!(["b", "c"])),
        (json!({ "tags": [] }), "tags", json!([])),
        (json!({ "sourceUrl": "https://b.example/" }), "sourceUrl", json!("https://b.example/")),
        // cleared: null would mean absent
        (json!({ "sourceUrl": "" }), "sourceUrl", Value::Null),
        (json!({ "visibility": "ORG" }), "visibility", json!("ORG")),
    ] {
        let changed = update(&org.owner, &note, body.clone()).await;
        expected[field] = value;
        expected["updatedAt"] = changed["updatedAt"].clone();
        assert_eq!(changed, expected, "{body}");
        assert_eq!(org.owner.get(&at(&note)).await.data(200)["memory"], expected);
    }
    let sql = server.sql().await;
    let row = "SELECT updated_at > created_at, xmin::text FROM memories";
    let before = sql.query_one(row, &[]).await.expect("a row");
    assert!(before.get::<_, bool>(0));
    for body in [
        json!({}),
        json!({ "content": null, "tags": null, "sourceUrl": null, "visibility": null,
            "spaceId": null }),
        json!({ "authorUserId": "me", "id": "x" }),
    ] {
        assert_eq!(update(&org.owner, &note, body).await, expected);
    }
    let after = sql.query_one(row, &[]).await.expect("a row");
    assert_eq!(before.get::<_, String>(1), after.get::<_, String>(1), "nothing was written");
    // its new words find it, its old ones do not
    assert_eq!(org.owner.search("new").await, ["  new\n"]);
    assert_eq!(org.owner.search("old").await, [""; 0]);
}

#[tokio::test]
async fn every_violation_is_listed() {
    let (_server, org) = acme().await;
    let note = org.owner.note(json!({ "content": "x", "visibility": "PRIVATE" })).await;
    let nowhere = "c".to_owned() + &"0".repeat(24);
    for (body, paths) in [
        (json!({ "content": "" }), vec!["content"]),
        (json!({ "content": " \n" }), vec!["content"]),
        (json!({ "content": "a\0" }), vec!["content"]),
        (json!({ "visibility": "SPACE" }), vec!["spaceId"]),
        (json!({ "spaceId": nowhere }), vec!["spaceId"]),
        (json!({ "visibility": "ORG", "spaceId": nowhere }), vec!["spaceId"]),
        (
            json!({
                "content": "🦀".repeat(10_001), "tags": ["", "x".repeat(51)], "sourceUrl": "ftp://x",
                "visibility": "ORG", "spaceId": nowhere,
            }),
            vec!["content", "sourceUrl", "spaceId", "tags.0", "tags.1"],
        ),
        (
            json!({ "content": 1, "tags": 2, "sourceUrl": " ", "visibility": "?", "spaceId": "x" }),
            vec!["content", "sourceUrl", "spaceId", "tags", "visibility"],
        ),
    ] {
        assert_eq!(issues(&org.owner.patch(&at(&note), body.clone()).await), paths, "{body}");
    }
    assert_eq!(org.owner.get(&at(&note)).await.data(200)["memory"], note);
}

#[tokio::test]
async fn a_note_goes_where_its_author_may_write() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let mut spaces = Vec::new();
    for role in ["MEMBER", "EDITOR", "VIEWER", ""] {
        let space = org.owner.space(&format!("Space {role}")).await;
        if !role.is_empty() {
            server.admit(id(&space), &eve, role).await;
        }
        spaces.push(space["id"].as_str().expect("an id").to_owned());
    }
    let [member, editor, viewer, outside] = &spaces[..] else { panic!("four") };
    let elsewhere = server.org("other").await.owner.space("Theirs").await;
    let note = eve.note(json!({ "content": "x", "visibility": "PRIVATE" })).await;
    let to = |space: &str| json!({ "visibility": "SPACE", "spaceId": space });
    eve.patch(&at(&note), to(viewer)).await.fails(403, "FORBIDDEN");
    eve.patch(&at(&note), to(outside)).await.fails(403, "FORBIDDEN");
    eve.patch(&at(&note), to(id(&elsewhere))).await.fails(404, "NOT_FOUND");
    let placed = |note: &Value| (note["visibility"].clone(), note["spaceId"].clone());
    assert_eq!(placed(&update(&eve, &note, to(member)).await), (json!("SPACE"), json!(member)));
    // a SPACE note goes to another Space by that alone, and stays one when told so
    let moved = update(&eve, &note, json!({ "spaceId": editor })).await;
    assert_eq!(placed(&moved), (json!("SPACE"), json!(editor)));
    let same = update(&eve, &note, json!({ "visibility": "SPACE" })).await;
    assert_eq!(placed(&same), (json!("SPACE"), json!(editor)));
    eve.patch(&at(&note), json!({ "spaceId": viewer })).await.fails(403, "FORBIDDEN");
    eve.patch(&at(&note), json!({ "spaceId": outside })).await.fails(403, "FORBIDDEN");
    // who is a VIEWER now writes there no more, but takes back what is his
    server.admit(editor, &eve, "VIEWER").await;
    eve.patch(&at(&note), json!({ "content": "y" })).await.fails(403, "FORBIDDEN");
    let back = update(&eve, &note, json!({ "visibility": "PRIVATE", "content": "y" })).await;
    assert_eq!(placed(&back), (json!("PRIVATE"), Value::Null));
    org.owner.get(&at(&note)).await.fails(404, "NOT_FOUND");
    let everybodys = update(&eve, &note, json!({ "visibility": "ORG" })).await;
    assert_eq!(placed(&everybodys), (json!("ORG"), Value::Null));
    assert_eq!(org.owner.get(&at(&note)).await.data(200)["memory"], everybodys);
    // out of the Space, the author sees the note no more himself
    update(&eve, &note, to(member)).await;
    server.dismiss(member, &eve).await;
    eve.patch(&at(&note), json!({ "visibility": "PRIVATE" })).await.fails(404, "NOT_FOUND");
}

#[tokio::test]
async fn what_a_note_is_found_by_follows_its_content_and_its_visibility() {
    let (server, org, _) = with_model().await;
    let space = org.owner.space("Team").await;
    let note = org.owner.note(json!({ "content": "a|b|c", "visibility": "PRIVATE" })).await;
    let note_id = id(&note);
    let private = ("PRIVATE".to_owned(), None, true);
    assert_eq!(found_by(&server, note_id).await, (vec![private.clone(); 3], true));
    // fewer passages than before, and more
    for (content, count) in [("d|e", 2), ("f|g|h|i", 4), ("j", 1)] {
        update(&org.owner, &note, json!({ "content": content })).await;
        assert_eq!(found_by(&server, note_id).await, (vec![private.clone(); count], true));
    }
    // both at once, and each alone
    let there = ("SPACE".to_owned(), Some(id(&space).to_owned()), true);
    let body = json!({ "content": "k|l", "visibility": "SPACE", "spaceId": space["id"] });
    update(&org.owner, &note, body).await;
    assert_eq!(found_by(&server, note_id).await, (vec![there; 2], true));
    update(&org.owner, &note, json!({ "visibility": "ORG", "tags": ["x"] })).await;
    let everybodys = ("ORG".to_owned(), None, true);
    assert_eq!(found_by(&server, note_id).await, (vec![everybodys; 2], true));
}

#[tokio::test]
async fn a_search_finds_what_a_note_says_now() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let lock = "The release captain holds the lock.";
    let note = org.owner.note(json!({ "content": lock, "visibility": "ORG" })).await;
    org.owner.note(json!({ "content": "Lunch is at noon.", "visibility": "ORG" })).await;
    assert_eq!(org.owner.search("who may deploy?").await[0], lock);
    let kitchen = "The kitchen is cleaned on Fridays.";
    update(&org.owner, &note, json!({ "content": kitchen })).await;
    assert_eq!(org.owner.search("when is the coffee machine wiped?").await[0], kitchen);
    // out of the others' sight at once
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    assert!(eve.search("tidy").await.contains(&kitchen.to_owned()));
    update(&org.owner, &note, json!({ "visibility": "PRIVATE" })).await;
    assert!(!eve.search("tidy").await.contains(&kitchen.to_owned()));
}

#[tokio::test]
async fn while_the_model_is_away_a_changed_note_has_no_stale_vectors_and_gets_new_ones_later() {
    let (server, org, model) = with_model().await;
    let note = org.owner.note(json!({ "content": "old|text", "visibility": "PRIVATE" })).await;
    model.away.store(true, Ordering::SeqCst);
    // what does not change keeps what it has
    update(&org.owner, &note, json!({ "content": "old|text", "tags": ["a"] })).await;
    let private = ("PRIVATE".to_owned(), None, true);
    assert_eq!(found_by(&server, id(&note)).await, (vec![private.clone(); 2], true));
    update(&org.owner, &note, json!({ "content": "new" })).await;
    assert_eq!(found_by(&server, id(&note)).await, (vec![], false));
    assert_eq!(org.owner.search("new").await, ["new"]);
    model.away.store(false, Ordering::SeqCst);
    // any later note without vectors wakes the one that catches up, and so does a restart
    let deadline = Instant::now() + Duration::from_secs(60);
    let other = server.beside(Options { embedder: model.clone(), ..Options::default() }).await;
    while found_by(&server, id(&note)).await != (vec![private.clone()], true) {
        assert!(Instant::now() < deadline, "nobody caught up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    other.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_full_queue_is_503_and_changes_nothing() {
    let (server, org, model) = with_model().await;
    let note = org.owner.note(json!({ "content": "x", "visibility": "PRIVATE" })).await;
    model.full.store(true, Ordering::SeqCst);
    let busy = org.owner.patch(&at(&note), json!({ "content": "y" })).await;
    busy.fails(503, "INTERNAL_ERROR");
    assert!(busy.header("retry-after").is_some());
    // nothing is embedded for what does not change the content
    update(&org.owner, &note, json!({ "tags": ["a"] })).await;
    assert_eq!(org.owner.get(&at(&note)).await.data(200)["memory"]["content"], "x");
    assert_eq!(found_by(&server, id(&note)).await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_at_the_same_moment_the_last_one_holds_as_a_whole() {
    let (server, org, _) = with_model().await;
    let space = org.owner.space("Team").await;
    let note = org.owner.note(json!({ "content": "x", "visibility": "PRIVATE" })).await;
    for round in 0..8 {
        let bodies = [
            json!({ "content": format!("a{round}|b|c|d"), "tags": ["one"] }),
            json!({ "content": format!("e{round}"), "sourceUrl": "https://a.example/" }),
            json!({ "content": format!("f{round}|g") }),
            json!({ "visibility": "SPACE", "spaceId": space["id"] }),
            json!({ "visibility": "ORG" }),
            json!({ "tags": [format!("t{round}")] }),
        ];
        let path = at(&note);
        let answers = join_all(bodies.map(|body| org.owner.patch(&path, body))).await;
        assert!(answers.iter().all(|a| a.status == 200), "{answers:?}");
        let now = org.owner.get(&path).await.data(200)["memory"].take();
        let content = now["content"].as_str().expect("content");
        let passage = (
            now["visibility"].as_str().expect("visibility").to_owned(),
            now["spaceId"].as_str().map(str::to_owned),
            true,
        );
        let expected = vec![passage; content.split('|').count()];
        assert_eq!(found_by(&server, id(&note)).await, (expected, true), "{now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_is_deleted_meanwhile_is_not_found() {
    let (server, org, _) = with_model().await;
    let note = org.owner.note(json!({ "content": "x", "visibility": "ORG" })).await;
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let delete = sql.transaction().await.expect("a transaction");
    delete.execute("DELETE FROM memories", &[]).await.expect("deleted");
    let late = tokio::spawn({
        let (owner, path) = (org.owner.clone(), at(&note));
        async move { owner.patch(&path, json!({ "content": "y" })).await }
    });
    until_somebody_waits(&watch).await;
    delete.commit().await.expect("committed");
    late.await.expect("an answer").fails(404, "NOT_FOUND");
    let left = "SELECT (SELECT count(*) FROM memory_embeddings) \
                + (SELECT count(*) FROM memory_expansions)";
    assert_eq!(watch.query_one(left, &[]).await.expect("counted").get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_catches_up_never_gives_a_note_the_vectors_of_its_old_content() {
    let (server, org, model) = with_model().await;
    model.away.store(true, Ordering::SeqCst);
    let note = org.owner.note(json!({ "content": "old", "visibility": "PRIVATE" })).await;
    model.away.store(false, Ordering::SeqCst);
    let old = switchy_server::store::memory::Unembedded {
        id: id(&note).parse().expect("an id"),
        content: "old".into(),
        updated_at: chrono::DateTime::UNIX_EPOCH,
    };
    let search = switchy_server::search::Search::new(
        model.clone(),
        slog::Logger::root(slog::Discard, slog::o!()),
    );
    let owner = switchy_server::search::embedder::Owner::background();
    let vectors = search.embed_note("old", &owner).await.expect("embedded").expect("vectors");
    update(&org.owner, &note, json!({ "content": "new" })).await;
    let embedded = vectors.embedded();
    switchy_server::store::memory::embed(&server.store, &old, &embedded).await.expect("done");
    let private = ("PRIVATE".to_owned(), None, true);
    assert_eq!(found_by(&server, id(&note)).await, (vec![private], true));
}
