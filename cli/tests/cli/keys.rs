//! `key`.

use serde_json::{Value, json};
use wiremock::{
    Mock,
    matchers::{header, method, path, query_param, query_param_is_missing},
};

use crate::{ID, KEY, NOW, User, failure, me, serve, server, success};

const FRESH: &str = "sk_live_FRESHFRESHFRESHFRESHFRESHFRESHFRESHFRESHFRESHFRES";

fn key(secret: Option<&str>) -> Value {
    let mut key = json!({
        "id": ID, "name": "Deploy bot", "prefix": "sk_live_0123", "scopes": ["memory:read", "*"],
        "userId": ID, "createdAt": NOW, "lastUsedAt": null, "expiresAt": NOW,
    });
    if let Some(secret) = secret {
        key["secret"] = json!(secret);
    }
    key
}

#[tokio::test]
async fn a_minted_key_is_printed_once_for_people_and_for_programs() {
    let server = server().await;
    let minted = json!({ "key": key(Some(FRESH)) });
    serve(&server, "POST", "/keys", success(201, &minted)).await;
    let create = ["key", "create", "Deploy bot", "--scope", "memory:read", "--scope", "*"];
    let done = User::of(&server).run(&create).await.ok();
    assert_eq!(done.stdout.matches(FRESH).count(), 1, "{}", done.stdout);
    assert!(done.stderr.contains("once"), "{}", done.stderr);
    let json = [&create[..], &["--expires-in", "30", "-o", "json"]].concat();
    let done = User::of(&server).run(&json).await.ok();
    assert_eq!(done.json(), minted);
    assert!(done.stderr.is_empty(), "{}", done.stderr);

    let requests = server.received_requests().await.expect("recorded");
    let body = |i: usize| requests[i].body_json::<Value>().expect("JSON");
    assert_eq!(body(0), json!({ "name": "Deploy bot", "scopes": ["memory:read", "*"] }));
    let expiry = body(1)["expiresAt"].as_str().map(chrono::DateTime::parse_from_rfc3339);
    let days =
        (expiry.expect("given").expect("a moment").to_utc() - chrono::Utc::now()).num_hours();
    assert!((30 * 24 - 1..=30 * 24).contains(&days), "{days}");
    let wrong = User::of(&server).run(&["key", "create", "x"]).await;
    assert_eq!(wrong.exit, 2, "a scope must be named");
}

#[tokio::test]
async fn the_list_is_a_table() {
    let server = server().await;
    let keys = json!({ "keys": [key(None)] });
    serve(&server, "GET", "/keys", success(200, &keys)).await;
    let done = User::of(&server).run(&["key", "list"]).await.ok();
    let row = done.stdout.lines().nth(1).expect("a row");
    for part in [ID, "Deploy bot", "sk_live_0123…", "memory:read *", "never", "2026-04-19"] {
        assert!(row.contains(part), "{part}: {row}");
    }
    let done = User::of(&server).run(&["key", "list", "-o", "json"]).await.ok();
    assert_eq!(done.json(), keys);
}

#[tokio::test]
async fn a_list_is_followed_to_its_end_unless_a_part_is_asked_for() {
    let server = server().await;
    let page = |ids: &[&str]| {
        let keys: Vec<Value> = ids
            .iter()
            .map(|id| {
                let mut key = key(None);
                key["id"] = json!(id);
                key
            })
            .collect();
        success(200, &json!({ "keys": keys, "total": 5 }))
    };
    let serve_page = async |query: &[(&str, &str)], without: &[&str], ids: &[&str]| {
        let mut mock = Mock::given(method("GET")).and(path("/api/keys"));
        for (name, value) in query {
            mock = mock.and(query_param(*name, *value));
        }
        for name in without {
            mock = mock.and(query_param_is_missing(*name));
        }
        mock.respond_with(page(ids)).mount(&server).await;
    };
    serve_page(&[], &["before", "limit"], &["k1", "k2"]).await;
    serve_page(&[("before", "k2")], &["limit"], &["k3"]).await;
    serve_page(&[("before", "k3")], &["limit"], &["k4", "k5"]).await;
    serve_page(&[("before", "k1"), ("limit", "2")], &[], &["k2", "k3"]).await;
    let ids = async |arguments: &[&str]| {
        let done = User::of(&server).run(&[arguments, &["-o", "json"]].concat()).await.ok();
        let keys = done.json()["keys"].as_array().expect("keys").clone();
        let ids: Vec<String> =
            keys.iter().map(|key| key["id"].as_str().expect("an id").to_owned()).collect();
        let table = User::of(&server).run(arguments).await.ok();
        assert_eq!(table.stdout.lines().count(), ids.len() + 1, "{}", table.stdout);
        ids
    };
    assert_eq!(ids(&["key", "list"]).await, ["k1", "k2", "k3", "k4", "k5"]);
    let part = ["key", "list", "--limit", "2", "--before", "k1"];
    assert_eq!(ids(&part).await, ["k2", "k3"]);
}

#[tokio::test]
async fn keys_that_cannot_be_revoked_are_named_and_the_others_are_revoked() {
    let server = server().await;
    serve(&server, "DELETE", "/keys/a", failure(404, "NOT_FOUND", &json!({}))).await;
    serve(&server, "DELETE", "/keys/b", success(204, &json!(null))).await;
    let done = User::of(&server).run(&["key", "revoke", "--yes", "a", "b"]).await;
    assert_eq!(done.exit, 5);
    assert_eq!(done.stdout, "revoked b\n");
    assert!(done.stderr.starts_with("error: a: "), "{}", done.stderr);
}

#[tokio::test]
async fn a_profile_whose_key_is_rotated_has_the_new_one() {
    for (own, json) in [(true, false), (true, true), (false, false)] {
        let server = server().await;
        let minted = json!({ "key": key(Some(FRESH)) });
        serve(&server, "POST", &format!("/keys/{ID}/rotate"), success(200, &minted)).await;
        if !own {
            serve(&server, "GET", "/me", success(200, &me())).await;
        }
        Mock::given(method("GET"))
            .and(path("/api/me"))
            .and(header("authorization", format!("Bearer {KEY}")))
            .respond_with(failure(401, "AUTH_ERROR", &json!({})))
            .mount(&server)
            .await;
        let user = User::new();
        user.write_config(&format!(
            "current = \"p\"\n[profiles.p]\nurl = \"{}/api\"\napi_key = \"{KEY}\"\n",
            server.uri()
        ));
        let mut arguments = vec!["key", "rotate", ID, "--yes"];
        if json {
            arguments.extend(["-o", "json"]);
        }
        let done = user.run(&arguments).await.ok();
        assert_eq!(done.stdout.matches(FRESH).count(), 1, "{}", done.stdout);
        let saved = std::fs::read_to_string(user.config()).expect("config");
        assert_eq!(saved.contains(FRESH), own, "{saved}");
        assert_eq!(saved.contains(KEY), !own, "{saved}");
        assert!(!done.stderr.contains(FRESH), "{}", done.stderr);
    }
}

#[tokio::test]
async fn a_delegation_is_allowed_listed_and_ended() {
    let server = server().await;
    let delegation = json!({
        "keyId": ID, "keyName": "Chat bot", "keyPrefix": "sk_live_0123", "keyUserId": ID,
        "createdAt": NOW,
    });
    let one = json!({ "delegation": delegation });
    let all = json!({ "delegations": [delegation] });
    let route = format!("/me/delegations/{ID}");
    serve(&server, "GET", "/me/delegations", success(200, &all)).await;
    serve(&server, "PUT", &route, success(200, &one)).await;
    serve(&server, "DELETE", &route, wiremock::ResponseTemplate::new(204)).await;
    let user = User::of(&server);
    let allow = ["delegation", "allow", "--yes", ID];
    for command in [&allow[..], &["delegation", "list"]] {
        let done = user.run(command).await.ok();
        let row = done.stdout.lines().nth(1).expect("a row");
        for part in [ID, "Chat bot", "sk_live_0123…", "2026-04-19"] {
            assert!(row.contains(part), "{part}: {row}");
        }
    }
    let json = [&allow[..], &["-o", "json"]].concat();
    assert_eq!(user.run(&json).await.ok().json(), one);
    assert_eq!(user.run(&["delegation", "list", "-o", "json"]).await.ok().json(), all);
    let done = user.run(&["delegation", "end", ID]).await.ok();
    assert!(done.stdout.contains("closed"), "{}", done.stdout);
    // nobody opens anything without being asked
    let asked = user.run(&["delegation", "allow", ID]).await;
    assert_ne!(asked.exit, 0);
    let puts = server.received_requests().await.expect("recorded");
    assert_eq!(puts.iter().filter(|r| r.method.as_str() == "PUT").count(), 2);
}
