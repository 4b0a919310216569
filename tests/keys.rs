//! Keys: `/keys`.

use crate::fixture::shape::{assert_cuid, assert_timestamp, each, fields, id, issues};
use crate::fixture::{Answer, Caller, Options, Org, Server, embedders, until_somebody_waits};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use switchy_server::auth::{OrgRole, Scope};
use switchy_server::clock::{Clock, ManualClock};

fn options() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

async fn acme() -> (Server, Org) {
    let server = Server::with(options()).await;
    let org = server.org("acme").await;
    (server, org)
}

/// A server whose clock the test moves, and what it shows.
async fn at_will() -> (Server, Org, ManualClock, DateTime<Utc>) {
    let now = DateTime::from_timestamp(1_767_225_600, 0).expect("a moment");
    let clock = ManualClock::starting_at(now);
    let server = Server::with(Options { clock: Clock::Manual(clock.clone()), ..options() }).await;
    let org = server.org("acme").await;
    (server, org, clock, now)
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

async fn mint(caller: &Caller, body: Value) -> Value {
    caller.post("/keys", body).await.data(201)["key"].take()
}

/// The same user with the key of an answer.
fn with(caller: &Caller, minted: &Value) -> Caller {
    let secret = minted["secret"].as_str().expect("a secret");
    Caller { key: Some(secret.to_owned()), ..caller.clone() }
}

/// The id of the key that a caller uses.
async fn id_of(server: &Server, caller: &Caller) -> String {
    let sql = "SELECT id FROM api_keys WHERE prefix = $1 AND user_id = $2";
    let prefix = &caller.key.as_deref().expect("a key")[..12];
    let user = caller.user_id.as_str();
    server.sql().await.query_one(sql, &[&prefix, &user]).await.expect("one key").get(0)
}

async fn rotate(caller: &Caller, id: &str) -> Answer {
    Answer::of(caller.request(Method::POST, &format!("/keys/{id}/rotate"))).await
}

async fn works(caller: &Caller) -> bool {
    caller.get("/me").await.status == 200
}

#[tokio::test]
async fn a_minted_key_shows_its_secret_once_and_works() {
    let (_server, org) = acme().await;
    let body = json!({ "name": "  Deploy bot ", "scopes": ["memory:read", "keys:read"] });
    let answer = org.owner.post("/keys", body).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("location"), Some("/api/keys"));
    let data = answer.data(201);
    assert_eq!(fields(&data), ["key"]);
    let key = &data["key"];
    let known =
        ["createdAt", "expiresAt", "id", "lastUsedAt", "name", "prefix", "scopes", "userId"];
    assert_eq!(fields(key), [&known[..6], &["scopes", "secret", "userId"]].concat());
    assert_cuid(&key["id"]);
    assert_timestamp(&key["createdAt"]);
    assert_eq!(key["name"], "Deploy bot");
    assert_eq!(key["scopes"], json!(["memory:read", "keys:read"]));
    assert_eq!(key["userId"], org.owner.user_id.as_str());
    assert_eq!((&key["lastUsedAt"], &key["expiresAt"]), (&Value::Null, &Value::Null));
    let secret = key["secret"].as_str().expect("a secret");
    assert_eq!((secret.len(), &secret[..8]), (57, "sk_live_"));
    assert_eq!(key["prefix"], &secret[..12]);

    let bot = with(&org.owner, key);
    let me = bot.get("/me").await.data(200);
    assert_eq!(me["user"]["id"], org.owner.user_id.as_str());
    assert_eq!(me["scopes"], key["scopes"]);
    bot.post("/projects", json!({ "name": "x" })).await.fails(403, "FORBIDDEN");
    let list = bot.get("/keys").await;
    assert!(!list.text.contains(&secret[12..]), "{}", list.text);
    let list = list.data(200);
    assert_eq!(fields(&list), ["keys", "total"]);
    assert_eq!(fields(&list["keys"][0]), known);
    assert_eq!(list["keys"][0]["id"], key["id"], "newest first");
    assert_timestamp(&list["keys"][0]["lastUsedAt"]);
}

#[tokio::test]
async fn owners_and_admins_mint_and_list_for_themselves() {
    let (server, org) = acme().await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    let member = server.member(&org, "eve", OrgRole::Member).await;
    let body = json!({ "name": "x", "scopes": ["*"] });
    for caller in [&org.owner, &admin] {
        let made = mint(caller, body.clone()).await;
        assert_eq!(made["userId"], caller.user_id.as_str());
        let me = with(caller, &made).get("/me").await.data(200);
        assert_eq!(me["user"]["email"], caller.email);
    }
    member.post("/keys", body).await.fails(403, "FORBIDDEN");
    let own = member.get("/keys").await.data(200);
    assert_eq!(each(&own["keys"], "userId"), [member.user_id.as_str()], "a MEMBER's own alone");
    server.org("other").await;
    for caller in [&org.owner, &admin] {
        // everybody's, the member's included, and no other organization's
        let list = caller.get("/keys").await.data(200);
        let mut users: Vec<_> = each(&list["keys"], "userId").into_iter().collect();
        users.sort_unstable();
        let mut expected =
            [&org.owner, &org.owner, &admin, &admin, &member].map(|caller| caller.user_id.as_str());
        expected.sort_unstable();
        assert_eq!(users, expected);
    }
}

#[tokio::test]
async fn every_violation_is_listed() {
    let (server, org) = acme().await;
    let all: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).chain(["*"]).collect();
    for (body, paths) in [
        (json!({}), vec!["name", "scopes"]),
        (json!({ "name": null, "scopes": null }), vec!["name", "scopes"]),
        (json!({ "name": " ", "scopes": [] }), vec!["name", "scopes"]),
        (json!({ "name": "é".repeat(101), "scopes": ["*"] }), vec!["name"]),
        (json!({ "name": "a\0", "scopes": ["*"] }), vec!["name"]),
        (json!({ "name": "x", "scopes": "*" }), vec!["scopes"]),
        (
            json!({ "name": "x", "scopes": ["memory:read", "memory:reed", "", "Memory:read"] }),
            vec!["scopes.1", "scopes.2", "scopes.3"],
        ),
        (json!({ "name": "x", "scopes": ["*", "keys:read", "*"] }), vec!["scopes.2"]),
        (json!({ "name": "x", "scopes": [["*"], 1] }), vec!["scopes.0", "scopes.1"]),
        (
            json!({ "name": "", "scopes": ["?"], "expiresAt": "soon" }),
            vec!["expiresAt", "name", "scopes.0"],
        ),
        (json!({ "name": "x", "scopes": ["*"], "expiresAt": 7 }), vec!["expiresAt"]),
        (
            json!({ "name": "x", "scopes": ["*"], "expiresAt": "2026-13-01T00:00:00Z" }),
            vec!["expiresAt"],
        ),
    ] {
        assert_eq!(issues(&org.owner.post("/keys", body.clone()).await), paths, "{body}");
    }
    let one_more = [all.clone(), vec!["*"]].concat();
    let too_many = json!({ "name": "x", "scopes": one_more });
    let found = issues(&org.owner.post("/keys", too_many).await);
    assert!(found.contains(&"scopes".to_owned()), "{found:?}");
    let count = "SELECT count(*) FROM api_keys";
    let count: i64 = server.sql().await.query_one(count, &[]).await.expect("counted").get(0);
    assert_eq!(count, 1, "nothing was minted");
    mint(&org.owner, json!({ "name": "é".repeat(100), "scopes": all })).await;
}

#[tokio::test]
async fn a_key_hands_on_no_more_than_it_has() {
    let (server, org) = acme().await;
    // the star hands on everything: else nobody could mint a key for MCP
    for scope in Scope::ALL.iter().map(|scope| scope.as_str()).chain(["*"]) {
        mint(&org.owner, json!({ "name": scope, "scopes": [scope] })).await;
    }
    let some = server.key_for(&org.owner, &["keys:write", "memory:read", "mcp:memory:read"]).await;
    let made = json!({ "name": "x", "scopes": ["mcp:memory:read", "keys:write"] });
    let made = with(&org.owner, &mint(&some, made).await);
    for (caller, scopes, lacking) in [
        (&some, json!(["memory:read", "memory:write"]), "memory:write"),
        (&some, json!(["*"]), "*"),
        (&some, json!(["act_on_behalf"]), "act_on_behalf"),
        (&made, json!(["memory:read"]), "memory:read"),
    ] {
        let refused = caller.post("/keys", json!({ "name": "x", "scopes": scopes })).await;
        let error = refused.fails(403, "FORBIDDEN");
        assert!(error["message"].as_str().is_some_and(|m| m.ends_with(lacking)), "{error}");
    }
}

#[tokio::test]
async fn a_key_expires_in_the_future_and_not_after_the_one_that_minted_it() {
    let (_server, org, clock, now) = at_will().await;
    let body = |at: DateTime<Utc>| json!({ "name": "x", "scopes": ["*"], "expiresAt": text(at) });
    for at in [now, now - TimeDelta::days(1), now + TimeDelta::days(3_650) + TimeDelta::seconds(1)]
    {
        assert_eq!(issues(&org.owner.post("/keys", body(at)).await), ["expiresAt"], "{at}");
    }
    mint(&org.owner, body(now + TimeDelta::days(3_650))).await;
    let hour = now + TimeDelta::hours(1);
    // an offset is a way to write the same moment
    let offset = json!({ "name": "x", "scopes": ["*"], "expiresAt": "2026-01-01T03:00:00+02:00" });
    let minted = mint(&org.owner, offset).await;
    assert_eq!(minted["expiresAt"], text(hour));
    let brief = with(&org.owner, &minted);

    let later = brief.post("/keys", body(hour + TimeDelta::milliseconds(1))).await;
    assert_eq!(issues(&later), ["expiresAt"]);
    assert!(later.text.contains(&text(hour)), "says until when: {}", later.text);
    assert_eq!(mint(&brief, body(hour)).await["expiresAt"], text(hour));
    let sooner = now + TimeDelta::minutes(1);
    assert_eq!(mint(&brief, body(sooner)).await["expiresAt"], text(sooner));
    let child = mint(&brief, json!({ "name": "x", "scopes": ["*"] })).await;
    assert_eq!(child["expiresAt"], text(hour), "as the one that minted it");

    clock.advance(TimeDelta::hours(1) - TimeDelta::milliseconds(1));
    assert!(works(&brief).await);
    clock.advance(TimeDelta::milliseconds(1));
    for gone in [&brief, &with(&org.owner, &child)] {
        gone.get("/me").await.fails(401, "AUTH_ERROR");
    }
    // still listed, so that one can see why it does not work any more
    let list = org.owner.get("/keys").await.data(200);
    assert!(each(&list["keys"], "id").contains(&id(&minted)));
}

#[tokio::test]
async fn a_replay_does_not_show_the_secret_again() {
    let (server, org) = acme().await;
    let body = json!({ "name": "x", "scopes": ["*"] });
    let first = org.owner.post_once("/keys", "once", body.clone()).await;
    let minted = first.data(201)["key"].take();
    let again = org.owner.post_once("/keys", "once", body).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.header("location"), Some("/api/keys"));
    let replayed = again.data(201)["key"].take();
    let mut expected = minted.clone();
    expected["secret"] = Value::Null;
    assert_eq!(replayed, expected);
    assert!(works(&with(&org.owner, &minted)).await);

    let path = format!("/keys/{}/rotate", id(&minted));
    let rotate = || {
        let request = org.owner.request(Method::POST, &path);
        Answer::of(request.header("Idempotency-Key", "twice"))
    };
    let rotated = rotate().await.data(200)["key"].take();
    let again = rotate().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.data(200)["key"]["secret"], Value::Null);
    assert!(works(&with(&org.owner, &rotated)).await);
    // a refusal is kept, too: the other body is another request
    org.owner
        .post_once("/keys", "once", json!({ "name": "y", "scopes": ["*"] }))
        .await
        .fails(409, "CONFLICT");
    let kept = "SELECT count(*) FROM idempotency_keys WHERE body ~ 'sk_live_[0-9A-Za-z]{5}'";
    let kept: i64 = server.sql().await.query_one(kept, &[]).await.expect("counted").get(0);
    assert_eq!(kept, 0, "no secret is kept");
}

#[tokio::test]
async fn who_revokes_and_who_rotates_a_key() {
    let (server, org) = acme().await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    let (member, other) = (
        server.member(&org, "eve", OrgRole::Member).await,
        server.member(&org, "bob", OrgRole::Member).await,
    );
    let stranger = server.org("other").await.owner;
    for (user, name) in [(&org.owner, "owner"), (&admin, "admin"), (&member, "member")] {
        for (caller, manages) in
            [(&org.owner, true), (&admin, true), (&member, false), (&other, false)]
        {
            let what = format!("{} on a key of {name}", caller.email);
            let own = caller.user_id == user.user_id;
            let key = server.key_for(user, &["memory:read"]).await;
            let key_id = id_of(&server, &key).await;
            let rotated = rotate(caller, &key_id).await;
            // an ADMIN with the secret of an OWNER's key would be an OWNER
            let expected = match (own, manages) {
                (true, _) => 200,
                (false, true) => 403,
                (false, false) => 404,
            };
            assert_eq!(rotated.status, expected, "{what}: {}", rotated.text);
            assert_eq!(works(&key).await, !own, "{what}: the old secret");
            let key = match own {
                true => with(user, &rotated.data(200)["key"]),
                false => key,
            };
            assert!(works(&key).await, "{what}");
            let path = format!("/keys/{key_id}");
            let revoked = caller.delete(&path).await;
            let expected = if own || manages { 204 } else { 404 };
            assert_eq!(revoked.status, expected, "{what}: {}", revoked.text);
            assert_eq!(works(&key).await, expected == 404, "{what}: at once");
            if expected == 204 {
                // once more is no error, and what is revoked stays so
                assert_eq!(caller.delete(&path).await.status, 204, "{what}");
                rotate(user, &key_id).await.fails(404, "NOT_FOUND");
                let list = org.owner.get("/keys").await.data(200);
                assert!(!each(&list["keys"], "id").contains(&&*key_id), "{what}");
            }
            stranger.delete(&path).await.fails(404, "NOT_FOUND");
            rotate(&stranger, &key_id).await.fails(404, "NOT_FOUND");
        }
    }
    for nothing in ["nonsense", &*("c".to_owned() + &"0".repeat(24)), "sk_live_x"] {
        org.owner.delete(&format!("/keys/{nothing}")).await.fails(404, "NOT_FOUND");
        rotate(&org.owner, nothing).await.fails(404, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_key_revokes_and_rotates_itself() {
    let (server, org) = acme().await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let key = server.key_for(&eve, &["keys:write"]).await;
    let key_id = id_of(&server, &key).await;
    let answer = rotate(&key, &key_id).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let rotated = answer.data(200)["key"].take();
    assert_eq!(rotated["id"], key_id);
    assert_eq!(rotated["scopes"], json!(["keys:write"]));
    key.get("/me").await.fails(401, "AUTH_ERROR");
    let fresh = with(&eve, &rotated);
    assert_eq!(rotated["prefix"], fresh.key.as_deref().expect("a key")[..12]);
    assert_eq!(fresh.delete(&format!("/keys/{key_id}")).await.status, 204);
    fresh.get("/me").await.fails(401, "AUTH_ERROR");
    fresh.delete(&format!("/keys/{key_id}")).await.fails(401, "AUTH_ERROR");
    assert!(works(&eve).await, "the user's other key");
}

#[tokio::test]
async fn a_key_gets_at_no_more_by_rotating_another() {
    let (server, org, clock, now) = at_will().await;
    let everything = id_of(&server, &org.owner).await;
    let weak = server.key_for(&org.owner, &["keys:write", "memory:read"]).await;
    let refused = rotate(&weak, &everything).await;
    assert!(refused.fails(403, "FORBIDDEN")["message"].as_str().is_some_and(|m| m.ends_with('*')));
    let like = server.key_for(&org.owner, &["memory:read"]).await;
    rotate(&weak, &id_of(&server, &like).await).await.data(200);

    let body = |at: DateTime<Utc>| json!({ "name": "x", "scopes": ["*"], "expiresAt": text(at) });
    let brief = mint(&org.owner, body(now + TimeDelta::hours(1))).await;
    let brief_key = with(&org.owner, &brief);
    rotate(&brief_key, &everything).await.fails(403, "FORBIDDEN");
    let lasting = mint(&org.owner, body(now + TimeDelta::hours(2))).await;
    rotate(&brief_key, id(&lasting)).await.fails(403, "FORBIDDEN");
    let brother = mint(&org.owner, body(now + TimeDelta::hours(1))).await;
    rotate(&brief_key, id(&brother)).await.data(200);
    // rotating itself, it lasts as long as before
    let rotated = rotate(&brief_key, id(&brief)).await.data(200)["key"].take();
    assert_eq!(rotated["expiresAt"], brief["expiresAt"]);
    clock.advance(TimeDelta::hours(1));
    // what has expired is not brought back
    rotate(&org.owner, id(&brief)).await.fails(409, "CONFLICT");
    assert_eq!(org.owner.delete(&format!("/keys/{}", id(&brief))).await.status, 204);
    assert!(works(&org.owner).await);
}

#[tokio::test]
async fn a_user_has_at_most_a_hundred_live_keys() {
    let (server, org, clock, now) = at_will().await;
    let admin = server.member(&org, "ada", OrgRole::Admin).await;
    // besides the one that he uses
    let rows = "INSERT INTO api_keys (id, org_id, user_id, name, prefix, digest, scopes, created_at) \
                SELECT 'c' || lpad(i::text, 24, '0'), $1, $2, 'x', 'x', sha256(i::text::bytea), \
                '{}', '2026-01-01Z' FROM generate_series(1, 98) i";
    let (org_id, user) = (org.id.as_str(), admin.user_id.as_str());
    server.sql().await.execute(rows, &[&org_id, &user]).await.expect("made");
    let body = json!({ "name": "x", "scopes": ["*"] });
    let brief = json!({
        "name": "x", "scopes": ["*"], "expiresAt": text(now + TimeDelta::hours(1)),
    });
    // at the same moment: one place is left
    let attempts = (0..5).map(|_| admin.post("/keys", brief.clone()));
    let mut statuses: Vec<_> =
        join_all(attempts).await.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409]);
    // others have their own
    mint(&org.owner, body.clone()).await;
    // neither revoked nor expired ones count
    clock.advance(TimeDelta::hours(1));
    let last = mint(&admin, body.clone()).await;
    admin.post("/keys", body.clone()).await.fails(409, "CONFLICT");
    assert_eq!(admin.delete(&format!("/keys/{}", id(&last))).await.status, 204);
    mint(&admin, body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rotations_at_the_same_moment_one_secret_is_left() {
    let (server, org) = acme().await;
    let key = server.key_for(&org.owner, &["*"]).await;
    let key_id = id_of(&server, &key).await;
    for _ in 0..5 {
        let answers = join_all((0..4).map(|_| rotate(&org.owner, &key_id))).await;
        let mut alive = 0;
        for answer in answers {
            let fresh = with(&org.owner, &answer.data(200)["key"]);
            alive += u32::from(works(&fresh).await);
        }
        assert_eq!(alive, 1);
        assert!(!works(&key).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_does_not_bring_back_what_is_revoked_meanwhile() {
    let (server, org) = acme().await;
    let key = server.key_for(&org.owner, &["*"]).await;
    let key_id = id_of(&server, &key).await;
    let (mut sql, watch) = (server.sql().await, server.sql().await);
    let revoke = sql.transaction().await.expect("a transaction");
    revoke
        .execute("UPDATE api_keys SET revoked_at = now() WHERE id = $1", &[&key_id])
        .await
        .expect("revoked");
    let late = tokio::spawn({
        let (owner, key_id) = (org.owner.clone(), key_id.clone());
        async move { rotate(&owner, &key_id).await }
    });
    until_somebody_waits(&watch).await;
    revoke.commit().await.expect("committed");
    late.await.expect("an answer").fails(409, "CONFLICT");
    assert!(!works(&key).await);
}
