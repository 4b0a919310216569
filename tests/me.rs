//! `GET /me`: the key's user, organization, role, scopes and Spaces.

use crate::fixture::shape::{fields, id};
use crate::fixture::{Options, Server, embedders};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

async fn server() -> Server {
    Server::with(Options { embedder: embedders::none(), ..Options::default() }).await
}

#[tokio::test]
async fn me_has_exactly_these_fields() {
    let server = server().await;
    let org = server.org("acme").await;
    let space = org.owner.space("Platform team").await;
    let me = org.owner.get("/me").await.data(200);
    assert_eq!(fields(&me), ["key", "organization", "role", "scopes", "spaces", "user"]);
    let sql = "SELECT id FROM api_keys WHERE user_id = $1";
    let user = org.owner.user_id.as_str();
    let key: String = server.sql().await.query_one(sql, &[&user]).await.expect("one").get(0);
    assert_eq!(
        me,
        json!({
            "key": {
                "id": key, "name": "test", "prefix": &org.owner.key.as_deref().expect("a key")[..12],
                "expiresAt": Value::Null,
            },
            "user": {
                "id": org.owner.user_id.as_str(), "email": "owner@acme.test", "name": Value::Null,
            },
            "organization": { "id": org.id.as_str(), "slug": "acme", "name": "acme" },
            "role": "OWNER",
            "scopes": ["*"],
            "spaces": [{
                "id": id(&space), "slug": "platform-team", "name": "Platform team", "role": "OWNER",
            }],
        })
    );
}

#[tokio::test]
async fn me_tells_the_roles_of_now_and_the_scopes_of_this_key() {
    let server = server().await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let (zoo, arc) = (org.owner.space("Zoo").await, org.owner.space("Arc").await);
    let hidden = org.owner.space("Hidden").await;
    assert_eq!(eve.get("/me").await.data(200)["spaces"], json!([]));
    server.admit(id(&zoo), &eve, "VIEWER").await;
    server.admit(id(&arc), &eve, "EDITOR").await;

    let narrow = server.key_for(&eve, &["memory:read"]).await;
    let me = narrow.get("/me").await.data(200);
    assert_eq!((&me["role"], &me["scopes"]), (&json!("MEMBER"), &json!(["memory:read"])));
    let named = |me: &Value| -> Vec<(String, String)> {
        let spaces = me["spaces"].as_array().expect("spaces").iter();
        spaces.map(|s| (s["name"].to_string(), s["role"].to_string())).collect()
    };
    let pair = |name: &str, role: &str| (format!("{name:?}"), format!("{role:?}"));
    assert_eq!(named(&me), [pair("Arc", "EDITOR"), pair("Zoo", "VIEWER")], "by name");
    assert!(!me.to_string().contains(id(&hidden)));

    let sql = server.sql().await;
    let user = eve.user_id.as_str();
    sql.execute("UPDATE members SET role = 'ADMIN' WHERE user_id = $1", &[&user])
        .await
        .expect("set");
    sql.execute("UPDATE spaces SET archived_at = now() WHERE id = $1", &[&id(&arc)])
        .await
        .expect("archived");
    server.admit(id(&zoo), &eve, "OWNER").await;
    let me = narrow.get("/me").await.data(200);
    assert_eq!(me["role"], "ADMIN");
    assert_eq!(named(&me), [pair("Zoo", "OWNER")]);
}

#[tokio::test]
async fn one_person_in_two_organizations_is_told_apart_by_the_key() {
    let server = server().await;
    let (acme, other) = (server.org("acme").await, server.org("other").await);
    let eve = server.member(&acme, "eve", OrgRole::Member).await;
    acme.owner.space("Acme's").await;
    // the same user, a member of the other organization as well
    let (org, user) = (other.id.as_str(), eve.user_id.as_str());
    let sql = "INSERT INTO members (org_id, user_id, role) VALUES ($1, $2, 'ADMIN')";
    server.sql().await.execute(sql, &[&org, &user]).await.expect("joined");
    let mut there = eve.clone();
    there.org_id = other.id.clone();
    let there = server.key_for(&there, &["*"]).await;
    eve.space("Mine here").await;
    there.space("Mine there").await;
    let (here, there) = (eve.get("/me").await.data(200), there.get("/me").await.data(200));
    assert_eq!(here["user"], there["user"]);
    assert_eq!((&here["role"], &there["role"]), (&json!("MEMBER"), &json!("ADMIN")));
    assert_eq!(here["organization"]["slug"], "acme");
    assert_eq!(there["organization"]["slug"], "other");
    assert_eq!(here["spaces"][0]["name"], "Mine here");
    assert_eq!(there["spaces"][0]["name"], "Mine there");
    assert_eq!((here["spaces"].as_array().map(Vec::len)), Some(1));
}
