//! `/mcp/servers`: list, register, remove.

use super::*;
use crate::fixture::logs::Logs;
use crate::fixture::shape::{assert_cuid, assert_timestamp, each, fields, issues};
use switchy_server::auth::OrgRole;

#[tokio::test]
async fn an_integration_has_exactly_these_fields_and_never_its_secret() {
    let (server, org) = start().await;
    let new = json!({
        "displayName": " Deploy tools ", "mentionSlug": "deploys", "endpointUrl": ENDPOINT,
        "authType": "BEARER", "secret": "s3cret-token"
    });
    let answer = org.owner.post("/mcp/servers", new).await;
    assert!(!answer.text.contains("s3cret"), "{}", answer.text);
    let data = answer.data(201);
    assert_eq!(fields(&data), ["server"]);
    let made = &data["server"];
    let expected = [
        "authType",
        "createdAt",
        "displayName",
        "endpointUrl",
        "health",
        "id",
        "lastCheckedAt",
        "mentionSlug",
        "organizationId",
    ];
    assert_eq!(fields(made), expected);
    assert_cuid(&made["id"]);
    assert_timestamp(&made["createdAt"]);
    assert_eq!(made["organizationId"], org.id.as_str());
    assert_eq!(made["displayName"], "Deploy tools");
    assert_eq!(made["mentionSlug"], "deploys");
    assert_eq!(made["endpointUrl"], ENDPOINT);
    assert_eq!(made["authType"], "BEARER");
    assert_eq!(made["health"], "UNKNOWN");
    assert_eq!(made["lastCheckedAt"], Value::Null);

    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let list = eve.get("/mcp/servers").await;
    assert!(!list.text.contains("s3cret"), "{}", list.text);
    let mut list = list.data(200);
    // the server looks at what is due when it starts, and may have come to this one meanwhile
    for changing in ["health", "lastCheckedAt"] {
        list["servers"][0][changing] = made[changing].clone();
    }
    assert_eq!(list, json!({ "servers": [made], "total": 1 }));
}

#[tokio::test]
async fn integrations_are_listed_by_name() {
    let (_server, org) = start().await;
    for (name, mention) in [("B", "x"), ("A", "y"), ("C", "z")] {
        let mut new = body(mention, ENDPOINT);
        new["displayName"] = name.into();
        register(&org.owner, new).await;
    }
    let data = org.owner.get("/mcp/servers").await.data(200);
    assert_eq!(each(&data["servers"], "displayName"), ["A", "B", "C"]);
}

#[tokio::test]
async fn every_violation_is_listed() {
    let (server, org) = start().await;
    let answer = org.owner.post("/mcp/servers", json!({})).await;
    assert_eq!(issues(&answer), ["authType", "displayName", "endpointUrl", "mentionSlug"]);
    let answer = org
        .owner
        .post(
            "/mcp/servers",
            json!({
                "displayName": " ", "mentionSlug": "Not A Slug", "authType": "API_KEY",
                "endpointUrl": "ftp://user@mcp.example.com/#x", "secret": "Host:evil"
            }),
        )
        .await;
    let mut expected = vec!["displayName", "mentionSlug", "secret"];
    expected.splice(1..1, ["endpointUrl"; 3]);
    assert_eq!(issues(&answer), expected);
    assert!(!answer.text.contains("evil"), "{}", answer.text);
    assert_eq!(rows(&server, "mcp_servers").await, 0);
    assert_eq!(rows(&server, "vault_secrets").await, 0);
}

#[tokio::test]
async fn each_field_has_its_limits() {
    let (_server, org) = start().await;
    let set = |field: &str, value: Value| {
        let mut new = body("deploys", ENDPOINT);
        new[field] = value;
        new
    };
    let with_secret = |kind: &str, secret: Value| {
        let mut new = set("authType", kind.into());
        new["secret"] = secret;
        new
    };
    for (field, new) in [
        ("displayName", set("displayName", "x".repeat(101).into())),
        ("displayName", set("displayName", "a\u{7}b".into())),
        ("displayName", set("displayName", 7.into())),
        ("mentionSlug", set("mentionSlug", "".into())),
        ("mentionSlug", set("mentionSlug", "-a".into())),
        ("mentionSlug", set("mentionSlug", "Deploys".into())),
        ("mentionSlug", set("mentionSlug", "a".repeat(51).into())),
        ("endpointUrl", set("endpointUrl", "".into())),
        ("endpointUrl", set("endpointUrl", "mcp.example.com".into())),
        ("endpointUrl", set("endpointUrl", format!("{ENDPOINT}/{}", "x".repeat(2048)).into())),
        ("authType", set("authType", "OAUTH".into())),
        ("authType", set("authType", "bearer".into())),
        ("secret", with_secret("BEARER", Value::Null)),
        ("secret", with_secret("API_KEY", Value::Null)),
        ("secret", with_secret("NONE", "abc".into())),
        ("secret", with_secret("BEARER", "".into())),
        ("secret", with_secret("BEARER", "a b".into())),
        ("secret", with_secret("BEARER", "ä".into())),
        ("secret", with_secret("BEARER", "x".repeat(4097).into())),
        ("secret", with_secret("BEARER", 123_456.into())),
        ("secret", with_secret("BEARER", json!({ "a": 123_456 }))),
        ("secret", with_secret("API_KEY", "no-colon".into())),
        ("secret", with_secret("API_KEY", "X-Key:a\r\nHost:b".into())),
        ("secret", with_secret("API_KEY", "Content-Length:5".into())),
    ] {
        let answer = org.owner.post("/mcp/servers", new.clone()).await;
        assert_eq!(issues(&answer), [field], "{new}");
        assert!(!answer.text.contains("123456"), "{}", answer.text);
    }
    let longest = json!({
        "displayName": "ä".repeat(100), "mentionSlug": "a".repeat(50),
        "endpointUrl": format!("{ENDPOINT}/{}", "x".repeat(2048 - ENDPOINT.len() - 1)),
        "authType": "API_KEY", "secret": format!("X-Api-Key:{}", "x".repeat(4096 - 10)),
    });
    register(&org.owner, longest).await;
    // an explicit null is absent
    let mut new = body("other", ENDPOINT);
    new["secret"] = Value::Null;
    register(&org.owner, new).await;
}

#[tokio::test]
async fn a_mention_is_taken_once_in_an_organization_and_never_a_built_in_agents() {
    let (server, org) = start().await;
    register(&org.owner, body("deploys", ENDPOINT)).await;
    org.owner.post("/mcp/servers", body("deploys", ENDPOINT)).await.fails(409, "CONFLICT");
    for agent in ["claude", "ai", "github", "notion", "gpt-4o", "gemini-pro"] {
        org.owner.post("/mcp/servers", body(agent, ENDPOINT)).await.fails(409, "CONFLICT");
    }
    let other = server.org("other").await;
    register(&other.owner, body("deploys", ENDPOINT)).await;
    assert_eq!(rows(&server, "mcp_servers").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_registrations_of_one_mention_one_wins_and_no_secret_is_left_over() {
    let (server, org) = start().await;
    let beside = server.beside(options("")).await;
    let mut new = body("deploys", ENDPOINT);
    new["authType"] = "BEARER".into();
    new["secret"] = "abc".into();
    let callers = [org.owner.clone(), org.owner.at(&beside.url)];
    let posts = (0..8).map(|i| callers[i % 2].post("/mcp/servers", new.clone()));
    let answers = futures::future::join_all(posts).await;
    let won = answers.iter().filter(|a| a.status == 201).count();
    assert_eq!(won, 1);
    for lost in answers.iter().filter(|a| a.status != 201) {
        lost.fails(409, "CONFLICT");
    }
    assert_eq!(rows(&server, "mcp_servers").await, 1);
    assert_eq!(rows(&server, "vault_secrets").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_has_at_most_fifty_also_under_a_race() {
    let (server, org) = start().await;
    let fill = "INSERT INTO mcp_servers (id, org_id, display_name, mention_slug, endpoint_url, \
                auth_type) SELECT 'c' || lpad(n::text, 24, '0'), $1, 'x', 'm' || n, \
                'https://mcp.example.com/', 'NONE' FROM generate_series(1, 49) n";
    server.sql().await.execute(fill, &[&org.id.as_str()]).await.expect("filled");
    let bodies: Vec<Value> = (0..6).map(|i| body(&format!("r{i}"), ENDPOINT)).collect();
    let posts = bodies.into_iter().map(|body| org.owner.post("/mcp/servers", body));
    let answers = futures::future::join_all(posts).await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    for refused in answers.iter().filter(|a| a.status != 201) {
        refused.fails(409, "CONFLICT");
    }
    assert_eq!(rows(&server, "mcp_servers").await, 50);
    // another organization's are its own
    register(&server.org("other").await.owner, body("deploys", ENDPOINT)).await;
}

#[tokio::test]
async fn owner_and_admin_register_test_and_remove_and_members_do_not() {
    let (server, org) = start().await;
    let ada = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let made = register(&ada, body("deploys", &at("/mcp"))).await;
    eve.post("/mcp/servers", body("other", ENDPOINT)).await.fails(403, "FORBIDDEN");
    // whether the endpoint would do is not for everybody to find out
    eve.post("/mcp/servers", body("other", "https://10.0.0.1/")).await.fails(403, "FORBIDDEN");
    eve.delete(&path(&made)).await.fails(403, "FORBIDDEN");
    let tested = format!("{}/test-connection", path(&made));
    eve.post_empty(&tested).await.fails(403, "FORBIDDEN");
    ada.post_empty(&tested).await.data(200);
    assert_eq!(ada.delete(&path(&made)).await.status, 204);
}

#[tokio::test]
async fn what_is_removed_is_gone_with_its_secret_and_its_bindings() {
    let (server, org) = start().await;
    let space = org.owner.space("Team").await;
    let slug = space["slug"].as_str().expect("a slug");
    let mut new = body("deploys", ENDPOINT);
    new["authType"] = "BEARER".into();
    new["secret"] = "abc".into();
    let made = register(&org.owner, new).await;
    let kept = register(&org.owner, body("kept", ENDPOINT)).await;
    for one in [&made, &kept] {
        let bound = format!("/spaces/{slug}/mcps/{}", one["id"].as_str().expect("id"));
        assert_eq!(org.owner.put(&bound).await.status, 204);
    }
    assert_eq!(rows(&server, "vault_secrets").await, 1);
    assert_eq!(org.owner.delete(&path(&made)).await.status, 204);
    assert_eq!(rows(&server, "vault_secrets").await, 0);
    assert_eq!(rows(&server, "space_mcp_servers").await, 1);
    let data = org.owner.get("/mcp/servers").await.data(200);
    assert_eq!(each(&data["servers"], "mentionSlug"), ["kept"]);
    org.owner.delete(&path(&made)).await.fails(404, "NOT_FOUND");
    org.owner.delete("/mcp/servers/nonsense").await.fails(404, "NOT_FOUND");
    org.owner.post_empty(&format!("{}/test-connection", path(&made))).await.fails(404, "NOT_FOUND");
    // its mention is free again
    register(&org.owner, body("deploys", ENDPOINT)).await;
}

#[tokio::test]
async fn a_repeated_registration_is_answered_as_the_first_whatever_the_name_leads_to_by_now() {
    let names = Names::answering(&[&[PUBLIC], &["10.0.0.1"]]);
    let server = Server::with(options_with("", names)).await;
    let org = server.org("acme").await;
    let mut new = body("deploys", ENDPOINT);
    new["authType"] = "BEARER".into();
    new["secret"] = "s3cret-token".into();
    let first = org.owner.post_once("/mcp/servers", "once", new.clone()).await;
    let second = org.owner.post_once("/mcp/servers", "once", new.clone()).await;
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.text, second.text);
    assert_eq!(first.status, 201);
    assert_eq!(rows(&server, "mcp_servers").await, 1);
    let kept = "SELECT count(*) FROM idempotency_keys i WHERE position('s3cret' in i::text) > 0";
    let row = server.sql().await.query_one(kept, &[]).await.expect("counted");
    assert_eq!(row.get::<_, i64>(0), 0);
    // a refusal that would repeat itself is kept, too
    let refused = org.owner.post_once("/mcp/servers", "twice", body("other", ENDPOINT)).await;
    assert_eq!(issues(&refused), ["endpointUrl"]);
    let again = org.owner.post_once("/mcp/servers", "twice", body("other", ENDPOINT)).await;
    assert_eq!(again.text, refused.text);
}

#[tokio::test]
async fn no_secret_is_stored_or_logged_in_clear() {
    let (log, logs) = Logs::new();
    let options = Options { log, ..options(&format!("127.0.0.1:{}", upstream())) };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    let secret = "s3cret-that-nobody-sees";
    for (mention, kind, secret) in
        [("a", "BEARER", secret.to_owned()), ("b", "API_KEY", format!("X-Api-Key:{secret}"))]
    {
        let mut new = body(mention, &at("/status/500"));
        new["authType"] = kind.into();
        new["secret"] = secret.into();
        let made = register(&org.owner, new.clone()).await;
        let found = test(&org.owner, &made).await;
        assert!(!found.to_string().contains(secret_part()), "{found}");
        let again = org.owner.post("/mcp/servers", new).await;
        assert!(!again.fails(409, "CONFLICT").to_string().contains(secret_part()));
    }
    let sql = server.sql().await;
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";
    for table in sql.query(tables, &[]).await.expect("tables") {
        let table: String = table.get(0);
        let found = format!(
            "SELECT count(*) FROM {table} t WHERE position($1 in t::text) > 0 \
             OR position(encode($1::text::bytea, 'hex') in t::text) > 0"
        );
        let row = sql.query_one(&found, &[&secret_part()]).await.expect("counted");
        assert_eq!(row.get::<_, i64>(0), 0, "{table}");
    }
    let lines = logs.lines().join("\n");
    assert!(lines.contains("test-connection") && !lines.contains(secret_part()), "{lines}");
}

fn secret_part() -> &'static str {
    "nobody-sees"
}
