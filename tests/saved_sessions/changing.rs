//! Viewing, updating, sharing, archiving.

use super::*;
use crate::fixture::until_somebody_waits;

#[tokio::test]
async fn a_session_is_found_by_its_id_or_by_any_beginning_that_no_other_shares() {
    let (_server, org, _) = team().await;
    let ids = [
        "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90",
        "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b91",
        "3f2c0000-5a77-4d0e-9c1b-2f8e6a4d7b91",
    ];
    for id in ids {
        save(&org.owner, &session(json!({ "id": id }))).await;
    }
    let find = |text: &str| org.owner.request(http::Method::GET, &format!("{SESSIONS}/{text}"));
    for (text, id) in [
        (ids[0], ids[0]),
        (&ids[0].to_uppercase(), ids[0]),
        (&ids[1].replace('-', ""), ids[1]),
        ("3f2c", ids[2]),
        ("3F2C", ids[2]),
        ("3f2c0000-5", ids[2]),
        ("3f2c00005", ids[2]),
    ] {
        assert_eq!(Answer::of(find(text)).await.bare()["id"], id, "{text}");
    }
    for text in ["3", "3f2b", "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b9"] {
        let ambiguous = Answer::of(find(text)).await;
        ambiguous.refused(404, "not_found");
        assert!(ambiguous.text.contains("more of the id"), "{}", ambiguous.text);
    }
    for text in ["4", "3f2d", &uuid(), "zzz", "-", "3f2b-8c1e", "%00", "3f2c%20", &"a".repeat(99)] {
        Answer::of(find(text)).await.refused(404, "not_found");
    }
    // what is somebody else's private session does not stand in the way
    let mut hidden = session(json!({ "id": "77777777-5a77-4d0e-9c1b-2f8e6a4d7b90" }));
    save(&org.owner, &hidden).await;
    hidden["id"] = json!("77777777-5a77-4d0e-9c1b-2f8e6a4d7b91");
    let (server, org, space) = team().await;
    let eve = admitted(&server, &org, &space, "eve", "MEMBER").await;
    save(&org.owner, &session(json!({ "id": "77777777-5a77-4d0e-9c1b-2f8e6a4d7b90" }))).await;
    save(&eve, &hidden).await;
    assert_eq!(eve.get(&format!("{SESSIONS}/7777")).await.bare()["id"], hidden["id"]);
}

#[tokio::test]
async fn an_update_changes_what_is_given_and_nothing_else() {
    let (_server, org, _) = team().await;
    let made = save(
        &org.owner,
        &session(
            json!({ "title": "A", "agent": "a", "message_count": 1, "labels": { "k": ["v"] } }),
        ),
    )
    .await;
    let path = path(&made);
    for nothing in [json!({}), json!({ "title": null, "labels": null }), json!({ "title": " " })] {
        assert_eq!(org.owner.patch(&path, nothing.clone()).await.bare(), made, "{nothing}");
    }
    let mut expected = made.clone();
    for (field, value) in [
        ("title", json!("B")),
        ("agent", json!("b")),
        ("model", json!("gpt-5")),
        ("message_count", json!(9)),
        ("labels", json!({ "other": ["x", "y"] })),
    ] {
        let changed = org.owner.patch(&path, json!({ field: value })).await.bare();
        assert!(changed["updated_at"].as_str() > expected["updated_at"].as_str(), "{field}");
        expected[field] = value;
        expected["updated_at"] = changed["updated_at"].clone();
        assert_eq!(changed, expected);
    }
    let bad = json!({ "title": 7, "model": " ", "message_count": -1, "labels": { "K": ["v"] } });
    assert_eq!(
        places(&org.owner.patch(&path, bad).await),
        ["body.labels.K", "body.message_count", "body.model", "body.title"]
    );
    assert_eq!(org.owner.get(&path).await.bare(), expected);
}

#[tokio::test]
async fn the_creator_and_the_spaces_owner_and_editor_may_change_a_session() {
    let (server, org, space) = team().await;
    let author = admitted(&server, &org, &space, "author", "MEMBER").await;
    let editor = admitted(&server, &org, &space, "editor", "EDITOR").await;
    let member = admitted(&server, &org, &space, "member", "MEMBER").await;
    let viewer = admitted(&server, &org, &space, "viewer", "VIEWER").await;
    let made = shared(&author, json!({})).await;
    let path = path(&made);
    let messages = json!({ "messages": [{ "role": "user", "content": "x" }] });
    for who in [&author, &editor, &org.owner] {
        who.patch(&path, json!({ "title": "x" })).await.bare();
        who.post(&format!("{path}/transcript"), messages.clone()).await.bare();
        who.post(&format!("{path}/archive"), json!({})).await.bare();
        who.post(&format!("{path}/unarchive"), json!({})).await.bare();
    }
    for who in [&member, &viewer] {
        who.get(&path).await.bare();
        who.get(&format!("{path}/transcript")).await.bare();
        who.patch(&path, json!({ "title": "y" })).await.refused(403, "forbidden");
        who.post(&format!("{path}/transcript"), messages.clone()).await.refused(403, "forbidden");
        who.post(&format!("{path}/archive"), json!({})).await.refused(403, "forbidden");
        who.post(&format!("{path}/unarchive"), json!({})).await.refused(403, "forbidden");
    }
    // a creator who may only read now changes nothing
    server.admit(space["id"].as_str().expect("an id"), &author, "VIEWER").await;
    author.patch(&path, json!({ "title": "y" })).await.refused(403, "forbidden");
    let seen = viewer.get(&path).await.bare();
    assert_eq!((&seen["title"], &seen["archived_at"]), (&json!("x"), &Value::Null));
}

#[tokio::test]
async fn a_session_is_shared_by_its_creator_for_good() {
    let (server, org, space) = team().await;
    let author = admitted(&server, &org, &space, "author", "MEMBER").await;
    let made = save(&author, &session(json!({}))).await;
    let path = path(&made);
    let set = |visibility: &str| json!({ "visibility": visibility });
    assert_eq!(author.patch(&path, set("private")).await.bare(), made);
    org.owner.get(&path).await.refused(404, "not_found");
    org.owner.patch(&path, set("workspace")).await.refused(404, "not_found");
    let after = author.patch(&path, set("workspace")).await.bare();
    assert_eq!(after["visibility"], "workspace");
    assert_eq!(org.owner.get(&path).await.bare()["visibility"], "workspace");
    assert_eq!(org.owner.patch(&path, set("workspace")).await.bare(), after);
    for who in [&author, &org.owner] {
        who.patch(&path, set("private")).await.refused(403, "forbidden");
        // nothing of such an update is carried out
        let both = json!({ "visibility": "private", "title": "x" });
        who.patch(&path, both).await.refused(403, "forbidden");
    }
    assert_eq!(author.get(&path).await.bare(), after);
    assert_eq!(places(&author.patch(&path, set("ORG")).await), ["body.visibility"]);
}

#[tokio::test]
async fn the_other_dialect_shares_by_the_same_rules() {
    let (server, org, space) = team().await;
    let author = admitted(&server, &org, &space, "author", "MEMBER").await;
    let saved = save(&author, &session(json!({}))).await;
    let list = author.get("/spaces/team/sessions").await.data(200);
    let native =
        format!("/spaces/team/sessions/{}", list["sessions"][0]["id"].as_str().expect("id"));
    let set = |visibility: &str| json!({ "visibility": visibility });
    org.owner.patch(&native, set("workspace")).await.fails(404, "NOT_FOUND");
    let same = author.patch(&native, set("private")).await.data(200);
    assert_eq!(same["session"]["visibility"], "private");
    let data = author.patch(&native, set("workspace")).await.data(200);
    assert_eq!(data["session"]["visibility"], "workspace");
    for who in [&author, &org.owner] {
        who.patch(&native, set("private")).await.fails(403, "FORBIDDEN");
    }
    author.patch(&native, set("ORG")).await.fails(400, "VALIDATION_ERROR");
    assert_eq!(org.owner.get(&path(&saved)).await.bare()["visibility"], "workspace");
}

#[tokio::test]
async fn archiving_and_bringing_back_repeat_without_effect() {
    let (_server, org, _) = team().await;
    let made = shared(&org.owner, json!({})).await;
    let (archive, unarchive) =
        (format!("{}/archive", path(&made)), format!("{}/unarchive", path(&made)));
    assert_eq!(org.owner.post(&unarchive, json!({})).await.bare(), made);
    let archived = org.owner.post(&archive, json!({})).await.bare();
    assert!(archived["archived_at"].is_string());
    assert_eq!(org.owner.post(&archive, json!({})).await.bare(), archived);
    assert_eq!(org.owner.get(SESSIONS).await.bare()["total"], 0);
    assert_eq!(org.owner.get("/spaces/team/sessions").await.data(200)["sessions"], json!([]));
    assert_eq!(org.owner.get(&path(&made)).await.bare(), archived);
    // without a body, too
    let bare = Answer::of(org.owner.request(http::Method::POST, &unarchive)).await.bare();
    assert_eq!(bare, made);
    assert_eq!(org.owner.get(SESSIONS).await.bare()["total"], 1);
    // and what the other dialect archived comes back here
    let native = org.owner.get("/spaces/team/sessions").await.data(200)["sessions"][0].take();
    let native = format!("/spaces/team/sessions/{}", native["id"].as_str().expect("an id"));
    org.owner.delete(&native).await;
    assert!(org.owner.get(&path(&made)).await.bare()["archived_at"].is_string());
    assert_eq!(org.owner.post(&unarchive, json!({})).await.bare(), made);
    for missing in [uuid(), "nothing".into()] {
        for verb in ["archive", "unarchive"] {
            let path = format!("{SESSIONS}/{missing}/{verb}");
            org.owner.post(&path, json!({})).await.refused(404, "not_found");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_without_a_body_is_answered_once_for_an_idempotency_key() {
    let (server, org, _) = team().await;
    let made = shared(&org.owner, json!({})).await;
    let sql = server.sql().await;
    for verb in ["archive", "unarchive"] {
        let path = format!("{}/{verb}", path(&made));
        let (owner, key) = (org.owner.clone(), format!("k-{verb}"));
        // the first one waits for the row
        sql.batch_execute("BEGIN; SELECT FROM sessions FOR UPDATE").await.expect("locked");
        let first = {
            let (owner, path, key) = (owner.clone(), path.clone(), key.clone());
            tokio::spawn(async move { owner.post_once(&path, &key, json!({})).await })
        };
        until_somebody_waits(&sql).await;
        let second = owner.post_once(&path, &key, json!({})).await;
        second.refused(409, "already_exists");
        assert_eq!(second.header("retry-after"), Some("1"));
        sql.batch_execute("COMMIT").await.expect("unlocked");
        let first = first.await.expect("answered");
        let third = owner.post_once(&path, &key, json!({})).await;
        assert_eq!(third.header("idempotency-replayed"), Some("true"));
        assert_eq!(first.bare(), third.bare());
        let bad = owner.post_once(&path, "a b", json!({})).await;
        bad.refused(400, "invalid_request");
    }
}
