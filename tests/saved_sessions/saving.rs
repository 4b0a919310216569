//! Saving: a session is made once, and changed by whoever made it ever after.

use super::*;
use crate::fixture::shape::{assert_timestamp, fields};

#[tokio::test]
async fn a_saved_session_has_exactly_these_fields() {
    let (_server, org, _) = team().await;
    let body = session(json!({}));
    let made = save(&org.owner, &body).await;
    assert_eq!(
        fields(&made),
        [
            "agent",
            "archived_at",
            "created_at",
            "created_by",
            "id",
            "labels",
            "last_message_at",
            "message_count",
            "model",
            "origin",
            "preview_text",
            "title",
            "updated_at",
            "usage",
            "user_id",
            "visibility"
        ]
    );
    assert_eq!(made["id"], body["id"]);
    assert_eq!(made["model"], "claude-sonnet-4-5");
    assert_eq!(made["message_count"], 0);
    assert_eq!(made["visibility"], "private");
    assert_eq!(made["origin"], "user");
    assert_eq!(made["labels"], json!({}));
    for field in ["agent", "title", "last_message_at", "archived_at", "preview_text"] {
        assert_eq!(made[field], Value::Null, "{field}");
    }
    assert_timestamp(&made["created_at"]);
    assert_eq!(made["created_at"], made["updated_at"]);
    assert_eq!(made["user_id"], org.owner.user_id.as_str());
    assert_eq!(
        made["created_by"],
        json!({
            "id": org.owner.user_id.as_str(), "email": "owner@acme.test", "username": "owner",
            "full_name": null,
        })
    );
    assert_eq!(
        made["usage"],
        json!({
            "total_input_tokens": 0, "total_output_tokens": 0,
            "total_cache_read_input_tokens": 0, "total_cache_creation_input_tokens": 0,
            "total_tool_call_count": 0, "total_cost_usd": 0.0,
            "last_generation_input_tokens": null, "compaction_count": 0,
            "current_message_count": 0, "total_message_count": 0,
        })
    );
    assert_eq!(org.owner.get(&path(&made)).await.bare(), made);
    let list = org.owner.get(SESSIONS).await.bare();
    assert_eq!(list["sessions"], json!([made]));
}

#[tokio::test]
async fn everything_that_is_given_is_kept() {
    let (_server, org, _) = team().await;
    let made = save(
        &org.owner,
        &session(json!({
            "model": " gpt-5 ", "agent": "release-bot", "title": " Upgrade ", "message_count": 12,
            "origin": "worker", "visibility": "workspace", "project_id": uuid(),
            "labels": { "env": ["prod", "eu", "prod"], "none": [], "worker": ["w-1"] },
        })),
    )
    .await;
    assert_eq!(made["model"], "gpt-5");
    assert_eq!(made["agent"], "release-bot");
    assert_eq!(made["title"], "Upgrade");
    assert_eq!(made["message_count"], 12);
    assert_eq!(made["origin"], "worker");
    assert_eq!(made["visibility"], "workspace");
    assert_eq!(made["labels"], json!({ "env": ["prod", "eu"], "worker": ["w-1"] }));
}

#[tokio::test]
async fn the_creator_is_left_out_when_he_is_no_member_any_more_and_named_otherwise() {
    let (server, org, space) = team().await;
    let eve = admitted(&server, &org, &space, "eve", "MEMBER").await;
    let sql = server.sql().await;
    let name = "UPDATE users SET name = 'Eve Moneypenny' WHERE email = 'eve@acme.test'";
    sql.batch_execute(name).await.expect("named");
    let made = shared(&eve, json!({})).await;
    assert_eq!(made["created_by"]["full_name"], "Eve Moneypenny");
    sql.batch_execute(
        "DELETE FROM members m USING users u WHERE m.user_id = u.id AND u.email LIKE 'eve@%'",
    )
    .await
    .expect("left");
    let seen = org.owner.get(&path(&made)).await.bare();
    assert!(seen.get("created_by").is_none(), "{seen}");
    assert_eq!(seen["user_id"], eve.user_id.as_str());
    let facets = org.owner.get(&format!("{SESSIONS}/facets")).await.bare();
    let user =
        json!([{ "value": eve.user_id.as_str(), "count": 1, "email": null, "username": null }]);
    assert_eq!(facets["users"], user);
}

#[tokio::test]
async fn saving_again_changes_what_is_given_and_never_visibility_and_origin() {
    let (_server, org, _) = team().await;
    let body = session(json!({
        "title": "First", "agent": "a", "message_count": 3, "labels": { "env": ["dev"] },
    }));
    let first = save(&org.owner, &body).await;
    let again = json!({
        "id": body["id"], "model": "gpt-5", "visibility": "workspace", "origin": "eval",
        "title": null, "labels": null,
    });
    let second = save(&org.owner, &again).await;
    assert_eq!(second["model"], "gpt-5");
    for kept in ["title", "agent", "message_count", "labels", "visibility", "origin", "created_at"]
    {
        assert_eq!(second[kept], first[kept], "{kept}");
    }
    assert!(second["updated_at"].as_str() > first["updated_at"].as_str());
    let third = json!({
        "id": body["id"], "model": "gpt-5", "title": "Third", "agent": "b", "message_count": 2,
        "labels": { "team": ["core"] },
    });
    let third = save(&org.owner, &third).await;
    assert_eq!(third["title"], "Third");
    assert_eq!(third["agent"], "b");
    assert_eq!(third["message_count"], 2, "what the client said last");
    assert_eq!(third["labels"], json!({ "team": ["core"] }));
    assert_eq!(org.owner.get(SESSIONS).await.bare()["total"], 1);
}

#[tokio::test]
async fn reserved_labels_are_kept_unless_a_save_names_them() {
    let (_server, org, _) = team().await;
    let body = session(json!({ "labels": {
        "capability": ["triage"], "capability_version": ["1"], "worker": ["w"], "env": ["dev"],
    } }));
    save(&org.owner, &body).await;
    let mut again = body.clone();
    again["labels"] = json!({ "team": ["core"], "worker": ["w2"] });
    let saved = save(&org.owner, &again).await;
    let expected = json!({
        "capability": ["triage"], "capability_version": ["1"], "team": ["core"], "worker": ["w2"],
    });
    assert_eq!(saved["labels"], expected);
    // an update keeps them whatever it says
    let change = json!({ "labels": { "worker": ["w3"], "x": ["y"] } });
    let changed = org.owner.patch(&path(&saved), change).await.bare();
    let expected = json!({
        "capability": ["triage"], "capability_version": ["1"], "worker": ["w2"], "x": ["y"],
    });
    assert_eq!(changed["labels"], expected);
    let cleared = org.owner.patch(&path(&saved), json!({ "labels": {} })).await.bare();
    let expected =
        json!({ "capability": ["triage"], "capability_version": ["1"], "worker": ["w2"] });
    assert_eq!(cleared["labels"], expected);
}

#[tokio::test]
async fn an_id_that_somebody_else_or_another_workspace_has_is_a_conflict_without_details() {
    let (server, org, space) = team().await;
    let eve = admitted(&server, &org, &space, "eve", "OWNER").await;
    let private = session(json!({ "title": "the plan" }));
    save(&org.owner, &private).await;
    let public = session(json!({ "visibility": "workspace", "title": "the plan" }));
    save(&org.owner, &public).await;
    let mut said = Vec::new();
    for body in [&private, &public] {
        let answer = eve.post(SESSIONS, body.clone()).await;
        answer.refused(409, "already_exists");
        said.push(answer.text);
    }
    // another workspace, of the same creator
    org.owner.space("Other").await;
    let elsewhere = "/v1/org/acme/ws/other/sessions";
    let answer = org.owner.post(elsewhere, private.clone()).await;
    answer.refused(409, "already_exists");
    said.push(answer.text);
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");
    assert!(!said[0].contains("plan") && !said[0].contains("owner"), "{}", said[0]);
    assert_eq!(org.owner.get(elsewhere).await.bare()["total"], 0);
    assert_eq!(eve.get(SESSIONS).await.bare()["total"], 1);

    // organizations do not share ids
    let globex = server.org("globex").await.owner;
    globex.space("Team").await;
    let theirs = "/v1/org/globex/ws/team/sessions";
    let mut same_id = private.clone();
    same_id["title"] = json!("ours");
    assert_eq!(globex.post(theirs, same_id).await.bare()["title"], "ours");
    let mine = org.owner.get(&path(&private)).await.bare();
    assert_eq!(mine["title"], "the plan");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_first_saves_at_once_one_makes_the_session_and_all_succeed() {
    let options = Options { pool_size: 20, ..Options::default() };
    let (server, org, _) = team_with(options).await;
    let body = session(json!({ "visibility": "workspace" }));
    let all = (0..20).map(|i| {
        let (owner, mut body) = (org.owner.clone(), body.clone());
        body["message_count"] = json!(i);
        tokio::spawn(async move { owner.post(SESSIONS, body).await })
    });
    for answer in futures::future::join_all(all).await {
        let saved = answer.expect("answered").bare();
        assert_eq!(saved["id"], body["id"]);
        assert_eq!(saved["visibility"], "workspace");
    }
    let list = org.owner.get(SESSIONS).await.bare();
    assert_eq!(list["total"], 1);
    let count =
        "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM session_participants)";
    let row = server.sql().await.query_one(count, &[]).await.expect("counted");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_first_saves_by_several_users_at_once_one_user_wins() {
    let options = Options { pool_size: 20, ..Options::default() };
    let (server, org, space) = team_with(options).await;
    let eve = admitted(&server, &org, &space, "eve", "MEMBER").await;
    let body = session(json!({}));
    let all = (0..20).map(|i| {
        let caller = if i % 2 == 0 { org.owner.clone() } else { eve.clone() };
        let body = body.clone();
        tokio::spawn(async move { (i % 2, caller.post(SESSIONS, body).await) })
    });
    let mut outcomes = std::collections::BTreeMap::new();
    for outcome in futures::future::join_all(all).await {
        let (who, answer) = outcome.expect("answered");
        let other = outcomes.insert(who, answer.status.as_u16());
        assert!(other.is_none_or(|status| status == answer.status.as_u16()), "{}", answer.text);
        if answer.status != 200 {
            answer.refused(409, "already_exists");
        }
    }
    let mut statuses: Vec<u16> = outcomes.into_values().collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

#[tokio::test]
async fn a_native_session_is_the_same_session_by_its_external_id() {
    let (_server, org, _) = team().await;
    let made = org.owner.post("/spaces/team/sessions", json!({ "name": "Native" })).await;
    let native = made.data(201)["session"].take();
    let external = native["externalId"].as_str().expect("an id");
    let seen = org.owner.get(&format!("{SESSIONS}/{external}")).await.bare();
    assert_eq!(seen["title"], "Native");
    assert_eq!(seen["model"], Value::Null);
    assert_eq!(seen["visibility"], "workspace");
    let saved = save(
        &org.owner,
        &json!({ "id": external, "model": "gpt-5", "agent": "bot", "labels": { "env": ["x"] } }),
    )
    .await;
    assert_eq!(saved["title"], "Native");
    let path = format!("/spaces/team/sessions/{}", native["id"].as_str().expect("an id"));
    let native = org.owner.get(&path).await.data(200)["session"].take();
    assert_eq!(native["model"], "gpt-5");
    assert_eq!(native["defaultAgent"], "bot");
    assert_eq!(native["labels"], json!({ "env": ["x"] }));
}

#[tokio::test]
async fn a_saved_session_is_a_session_of_the_space() {
    let (_server, org, space) = team().await;
    let saved = shared(&org.owner, json!({ "agent": "bot", "origin": "worker" })).await;
    let list = org.owner.get("/spaces/team/sessions").await.data(200);
    let native = &list["sessions"][0];
    assert_eq!(native["externalId"], saved["id"]);
    assert_eq!(native["title"], "Untitled session");
    assert_eq!(native["spaceId"], space["id"]);
    assert_eq!(native["defaultAgent"], "bot");
    assert_eq!(native["model"], "claude-sonnet-4-5");
    assert_eq!(native["origin"], "worker");
    assert_eq!(native["visibility"], "workspace");
    assert_eq!(native["labels"], json!({}));
    assert_eq!(native["participantUserIds"], json!([org.owner.user_id.as_str()]));
    assert_eq!(native["createdAt"], saved["created_at"]);
}

#[tokio::test]
async fn who_may_save_is_said_by_organization_space_and_role() {
    let (server, org, space) = team().await;
    let viewer = admitted(&server, &org, &space, "viewer", "VIEWER").await;
    let member = admitted(&server, &org, &space, "member", "MEMBER").await;
    let outsider = server.member(&org, "outsider", OrgRole::Admin).await;
    let stranger = server.org("globex").await.owner;
    stranger.space("Team").await;
    let body = session(json!({}));
    for who in [&viewer, &outsider, &stranger] {
        who.post(SESSIONS, body.clone()).await.refused(403, "forbidden");
    }
    let nowhere = "/v1/org/acme/ws/nowhere/sessions";
    for who in [&org.owner, &viewer, &outsider] {
        who.post(nowhere, body.clone()).await.refused(404, "not_found");
    }
    for slug in ["TEAM", "te%20am", "%00", "x".repeat(300).as_str()] {
        let path = format!("/v1/org/acme/ws/{slug}/sessions");
        org.owner.post(&path, body.clone()).await.refused(404, "not_found");
    }
    stranger.post(nowhere, body.clone()).await.refused(403, "forbidden");
    save(&member, &body).await;
    // a VIEWER reads
    assert_eq!(viewer.get(SESSIONS).await.bare()["total"], 0);
    // an archived Space is none
    let archive = "UPDATE spaces SET archived_at = now() WHERE slug = 'team'";
    server.sql().await.batch_execute(archive).await.expect("archived");
    member.post(SESSIONS, body.clone()).await.refused(404, "not_found");
    member.get(&path(&body)).await.refused(404, "not_found");
}

#[tokio::test]
async fn an_archived_session_is_saved_and_stays_archived() {
    let (_server, org, _) = team().await;
    let body = session(json!({}));
    let made = save(&org.owner, &body).await;
    let archived = org.owner.post(&format!("{}/archive", path(&made)), json!({})).await.bare();
    let mut again = body.clone();
    again["title"] = json!("Later");
    let saved = save(&org.owner, &again).await;
    assert_eq!(saved["archived_at"], archived["archived_at"]);
    assert_eq!(saved["title"], "Later");
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_session_is_told_at_once() {
    let (_server, org, _) = team().await;
    let post = |body: Value| org.owner.post(SESSIONS, body);
    assert_eq!(places(&post(json!({})).await), ["body.id", "body.model"]);
    assert_eq!(
        places(&post(json!({ "id": null, "model": null })).await),
        ["body.id", "body.model"]
    );
    let many: serde_json::Map<String, Value> =
        (0..33).map(|i| (format!("k{i}"), json!(["v"]))).collect();
    let long = |n: usize| "x".repeat(n);
    for (body, expected) in [
        (json!({ "id": "7" }), &["body.id"][..]),
        (json!({ "id": "00000000-0000-0000-0000-000000000000" }), &["body.id"]),
        (json!({ "model": " " }), &["body.model"]),
        (json!({ "model": long(256) }), &["body.model"]),
        (json!({ "agent": long(256) }), &["body.agent"]),
        (json!({ "title": long(256) }), &["body.title"]),
        (json!({ "title": 7, "agent": [] }), &["body.agent", "body.title"]),
        (json!({ "title": "a\u{0}b" }), &["body.title"]),
        (json!({ "message_count": -1 }), &["body.message_count"]),
        (json!({ "message_count": 10_000_001 }), &["body.message_count"]),
        (json!({ "message_count": "1" }), &["body.message_count"]),
        (json!({ "message_count": 1e30 }), &["body.message_count"]),
        (json!({ "origin": "robot", "visibility": "ORG" }), &["body.origin", "body.visibility"]),
        (json!({ "labels": [] }), &["body.labels"]),
        (json!({ "labels": { "env": "prod" } }), &["body.labels.env"]),
        (
            json!({ "labels": { "env": [1, "ok", null] } }),
            &["body.labels.env.0", "body.labels.env.2"],
        ),
        (json!({ "labels": { "Env": ["x"] } }), &["body.labels.Env"]),
        (json!({ "labels": { "": ["x"], "1a": ["x"] } }), &["body.labels.", "body.labels.1a"]),
        (json!({ "labels": { "a\u{0}": ["x"] } }), &["body.labels.a\u{0}"]),
        (json!({ "labels": { long(64): ["x"] } }), &[&format!("body.labels.{}", long(64))]),
        (
            json!({ "labels": { "env": ["", long(257)] } }),
            &["body.labels.env.0", "body.labels.env.1"],
        ),
        (json!({ "labels": { "env": vec!["x"; 17] } }), &["body.labels.env"]),
        (json!({ "labels": many }), &["body.labels"]),
    ] {
        assert_eq!(places(&post(session(body.clone())).await), expected, "{body}");
    }
    assert_eq!(org.owner.get(SESSIONS).await.bare()["total"], 0);
    let most: serde_json::Map<String, Value> =
        (0..32).map(|i| (format!("k{i}"), json!([long(256)]))).collect();
    let fits = session(json!({
        "model": long(255), "agent": long(255), "title": "\u{1f980}".repeat(255),
        "message_count": 10_000_000, "labels": most,
    }));
    assert_eq!(save(&org.owner, &fits).await["labels"], json!(most));
}

#[tokio::test]
async fn the_same_idempotency_key_is_answered_once() {
    let (_server, org, _) = team().await;
    let body = session(json!({ "title": "First" }));
    let first = org.owner.post_once(SESSIONS, "k", body.clone()).await;
    let again = org.owner.post_once(SESSIONS, "k", body.clone()).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.text, again.text);
    let mut other = body.clone();
    other["title"] = json!("Second");
    org.owner.post_once(SESSIONS, "k", other).await.refused(409, "already_exists");
    // failures that would repeat themselves are kept too, in the same words
    let bad = org.owner.post_once(SESSIONS, "bad", json!({})).await;
    assert_eq!(places(&bad), ["body.id", "body.model"]);
    let again = org.owner.post_once(SESSIONS, "bad", json!({})).await;
    assert_eq!((again.status, &again.text), (bad.status, &bad.text));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
}
