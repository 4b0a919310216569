//! Invitations into an organization (contract B5): who makes them, who can take them, how they end,
//! and that nobody ever finds a token.

use crate::fixture::logs::Logs;
use crate::fixture::shape::{assert_cuid, assert_timestamp, each, fields, id, issues};
use crate::fixture::{Answer, Caller, Options, Org, Server, embedders};
use crate::isolation::as_app;
use chrono::{DateTime, TimeDelta};
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;
use switchy_server::clock::{Clock, ManualClock};

fn options() -> Options {
    Options { embedder: embedders::none(), ..Options::default() }
}

async fn start() -> (Server, Org) {
    let server = Server::with(options()).await;
    let org = server.org("acme").await;
    (server, org)
}

/// A server whose clock the test moves.
async fn start_at_will() -> (Server, Org, ManualClock) {
    let start = DateTime::from_timestamp(1_767_225_600, 0).expect("a moment");
    let clock = ManualClock::starting_at(start);
    let server = Server::with(Options { clock: Clock::Manual(clock.clone()), ..options() }).await;
    let org = server.org("acme").await;
    (server, org, clock)
}

fn path(org: &Org) -> String {
    format!("/org/{}/invitations", org.id)
}

fn whom(email: &str) -> Value {
    json!({ "email": email, "role": "MEMBER" })
}

async fn invite(by: &Caller, org: &Org, email: &str, role: &str) -> Value {
    let body = json!({ "email": email, "role": role });
    by.post(&path(org), body).await.data(201)["invitation"].take()
}

fn token(invitation: &Value) -> &str {
    invitation["token"].as_str().expect("a token")
}

async fn accept(by: &Caller, token: &str) -> Answer {
    Answer::of(by.request(Method::POST, &format!("/invitations/{token}/accept"))).await
}

async fn revoke(by: &Caller, org: &Org, id: &str) -> Answer {
    by.delete(&format!("{}/{id}", path(org))).await
}

async fn invited(by: &Caller, org: &Org) -> Vec<String> {
    let list = by.get(&path(org)).await.data(200)["invitations"].take();
    each(&list, "email").into_iter().map(str::to_owned).collect()
}

/// Somebody with a key of another organization.
async fn stranger(server: &Server, name: &str) -> Caller {
    server.org(name).await.owner
}

#[tokio::test]
async fn an_invitation_shows_its_token_once() {
    let (_server, org) = start().await;
    let body = json!({ "email": " Grace@Example.com ", "role": "ADMIN" });
    let made = org.owner.post(&path(&org), body).await;
    let location = made.header("location").expect("a location").to_owned();
    let data = made.data(201);
    assert_eq!(fields(&data), ["invitation"]);
    let invitation = &data["invitation"];
    assert_eq!(
        fields(invitation),
        [
            "acceptUrl",
            "createdAt",
            "delivery",
            "email",
            "expiresAt",
            "id",
            "invitedByUserId",
            "organizationId",
            "role",
            "status",
            "token"
        ]
    );
    assert_cuid(&invitation["id"]);
    assert_timestamp(&invitation["createdAt"]);
    assert_eq!(invitation["email"], "Grace@Example.com");
    assert_eq!(invitation["role"], "ADMIN");
    assert_eq!(
        (&invitation["status"], &invitation["delivery"]),
        (&json!("PENDING"), &json!("NONE"))
    );
    assert_eq!(invitation["organizationId"], org.id.as_str());
    assert_eq!(invitation["invitedByUserId"], org.owner.user_id.as_str());
    assert_eq!(location, format!("/api{}/{}", path(&org), id(invitation)));
    let secret = token(invitation);
    assert!(secret.len() == 47 && secret.starts_with("inv_"), "{secret}");
    let url = format!("{}/invitations/{secret}/accept", org.owner.url);
    assert_eq!(invitation["acceptUrl"], url);
    let moment = |field: &str| {
        DateTime::parse_from_rfc3339(invitation[field].as_str().expect("text")).expect("a moment")
    };
    assert_eq!(moment("expiresAt") - moment("createdAt"), TimeDelta::days(7));

    let list = org.owner.get(&path(&org)).await;
    assert!(!list.text.contains("inv_"), "{}", list.text);
    let mut shown = invitation.clone();
    let object = shown.as_object_mut().expect("an object");
    object.remove("token");
    object.remove("acceptUrl");
    assert_eq!(list.data(200)["invitations"], json!([shown]));
}

#[tokio::test]
async fn a_replayed_answer_lacks_the_token_and_nothing_else() {
    let (server, org) = start().await;
    let body = whom("grace@example.com");
    let first = org.owner.post_once(&path(&org), "once", body.clone()).await;
    let (location, mut told) = (first.header("location").map(str::to_owned), first.data(201));
    let secret = token(&told["invitation"]).to_owned();
    for _ in 0..2 {
        let again = org.owner.post_once(&path(&org), "once", body.clone()).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("location").map(str::to_owned), location);
        assert!(!again.text.contains(&secret) && !again.text.contains("inv_"), "{}", again.text);
        told["invitation"]["token"] = Value::Null;
        told["invitation"]["acceptUrl"] = Value::Null;
        assert_eq!(again.data(201), told);
    }
    assert_eq!(invited(&org.owner, &org).await, ["grace@example.com"]);
    // a failure is kept as any other
    let taken = org.owner.post_once(&path(&org), "twice", body.clone()).await;
    taken.fails(409, "CONFLICT");
    let again = org.owner.post_once(&path(&org), "twice", body).await;
    assert_eq!(again.text, taken.text);
    // and the token still works
    let grace = stranger(&server, "elsewhere").await;
    let rename = "UPDATE users SET email = 'GRACE@example.com' WHERE id = $1";
    server.sql().await.execute(rename, &[&grace.user_id.as_str()]).await.expect("renamed");
    accept(&grace, &secret).await.data(200);
}

#[tokio::test]
async fn no_token_is_anywhere_in_the_database_or_the_log() {
    let (log, logs) = Logs::new();
    let server = Server::with(Options { log, ..options() }).await;
    let org = server.org("acme").await;
    let (grace, mallory) = (stranger(&server, "grace").await, stranger(&server, "mallory").await);
    let invitation = invite(&org.owner, &org, &grace.email, "MEMBER").await;
    let secret = token(&invitation).to_owned();
    let at = |path: &str| path.replace("TOKEN", &secret);
    let hidden: String = secret.bytes().map(|b| format!("%{b:02x}")).collect();
    let post = async |caller: &Caller, path: &str, key: &str| {
        let request = caller.request(Method::POST, path).header("Idempotency-Key", key);
        Answer::of(request).await
    };
    post(&mallory, &at("/invitations/TOKEN/accept"), "a").await.fails(403, "FORBIDDEN");
    post(&grace, &at("/invitations/TOKEN/acept"), "b").await.fails(404, "NOT_FOUND");
    grace.get(&at("/invitations/TOKEN/accept")).await.fails(405, "NOT_FOUND");
    grace.get(&at("/projects?x=TOKEN")).await.data(200);
    post(&server.nobody(), &at("/invitations/TOKEN/accept"), "c").await.fails(401, "AUTH_ERROR");
    post(&grace, &at("/invitations/TOKENx/accept"), "d").await.fails(404, "NOT_FOUND");
    // percent-encoded, it is the same
    post(&grace, &format!("/invitations/{hidden}/accept"), "e").await.data(200);
    let again = post(&grace, &at("/invitations/TOKEN/accept"), "e").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    again.data(200);

    let lines = logs.lines();
    assert!(lines.iter().any(|l| l.contains("/api/invitations/inv_…/accept")), "{lines:#?}");
    let sql = server.sql().await;
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
    let mut dump = String::new();
    for table in sql.query(tables, &[]).await.expect("read") {
        let rows = format!(
            "SELECT coalesce(string_agg(t::text, ' '), '') FROM {} t",
            table.get::<_, &str>(0)
        );
        dump.push_str(sql.query_one(&rows, &[]).await.expect("read").get(0));
    }
    assert!(dump.contains(id(&invitation)));
    for part in [&secret[4..14], &secret[20..30], &secret[37..]] {
        assert!(!dump.contains(part), "the database holds the token");
        for line in &lines {
            assert!(!line.contains(part), "{line}");
        }
    }
}

#[tokio::test]
async fn owners_and_admins_invite_and_nobody_invites_an_owner() {
    let (server, org) = start().await;
    let ada = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    for (number, caller) in [&org.owner, &ada].into_iter().enumerate() {
        for role in ["ADMIN", "MEMBER"] {
            invite(caller, &org, &format!("{role}{number}@example.com"), role).await;
        }
    }
    assert_eq!(invited(&ada, &org).await.len(), 4);
    let one = org.owner.get(&path(&org)).await.data(200)["invitations"][0].take();
    eve.get(&path(&org)).await.fails(403, "FORBIDDEN");
    eve.post(&path(&org), whom("x@example.com")).await.fails(403, "FORBIDDEN");
    revoke(&eve, &org, id(&one)).await.fails(403, "FORBIDDEN");
    for role in [json!("OWNER"), json!("member"), json!(""), json!(1), Value::Null] {
        let body = json!({ "email": "x@example.com", "role": role });
        assert_eq!(issues(&org.owner.post(&path(&org), body).await), ["role"], "{role}");
    }
    // a demoted ADMIN has nothing to do with it any more, with the same key
    let demote = format!("/org/{}/members/{}", org.id, ada.user_id);
    org.owner.patch(&demote, json!({ "role": "MEMBER" })).await.data(200);
    ada.get(&path(&org)).await.fails(403, "FORBIDDEN");
    ada.post(&path(&org), whom("x@example.com")).await.fails(403, "FORBIDDEN");
}

#[tokio::test]
async fn an_address_is_one() {
    let (_server, org) = start().await;
    let place = path(&org);
    let create = |body: Value| org.owner.post(&place, body);
    let long = |n: usize| format!("{}@{}.com", "a".repeat(60), "b.".repeat((n - 65) / 2) + "c");
    create(whom(&long(254))).await.data(201);
    create(whom("grace+switchy@sub.example.co.uk")).await.data(201);
    create(whom("grüße@exämple.com")).await.data(201);
    for email in [
        json!(""),
        json!("  "),
        json!("grace"),
        json!("grace@"),
        json!("grace@a@b"),
        json!("Grace <grace@example.com>"),
        json!("grace@example.com, eve@example.com"),
        json!("grace@example.com\r\nBcc: eve@example.com"),
        json!("\"grace hopper\"@example.com"),
        json!("gr\u{0}ace@example.com"),
        json!("gr\u{7f}ace@example.com"),
        json!(long(256)),
        json!("a".repeat(100_000)),
        json!(7),
        json!(["grace@example.com"]),
        Value::Null,
    ] {
        let refused = create(json!({ "email": email, "role": "MEMBER" })).await;
        assert!(issues(&refused).iter().all(|path| path == "email"), "{}", refused.text);
    }
    assert_eq!(issues(&create(json!({})).await), ["email", "role"]);
    assert_eq!(issues(&create(json!({ "email": "x", "role": "OWNER" })).await), ["email", "role"]);
    assert_eq!(invited(&org.owner, &org).await.len(), 3);
}

#[tokio::test]
async fn one_address_is_invited_once_and_no_member_at_all() {
    let (server, org) = start().await;
    let other = server.org("other").await;
    invite(&org.owner, &org, "grace@example.com", "MEMBER").await;
    for email in ["grace@example.com", "GRACE@Example.COM", " grace@example.com"] {
        org.owner.post(&path(&org), whom(email)).await.fails(409, "CONFLICT");
    }
    server.member(&org, "eve", OrgRole::Member).await;
    for email in ["eve@acme.test", "EVE@ACME.TEST"] {
        org.owner.post(&path(&org), whom(email)).await.fails(409, "CONFLICT");
    }
    // what is so in one organization tells nothing of another
    for email in ["grace@example.com", "eve@acme.test"] {
        other.owner.post(&path(&other), whom(email)).await.data(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_invite_one_address_at_the_same_moment_one_does() {
    let (server, org) = start().await;
    let ada = server.member(&org, "ada", OrgRole::Admin).await;
    for round in 0..5 {
        let attempts = (0..8).map(|i| {
            let by = if i % 2 == 0 { &org.owner } else { &ada };
            let email = format!("{}{round}@example.com", if i < 4 { "Grace" } else { "gracE" });
            let place = path(&org);
            async move { by.post(&place, whom(&email)).await }
        });
        let mut statuses: Vec<u16> =
            join_all(attempts).await.iter().map(|a| a.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409], "round {round}");
    }
    assert_eq!(invited(&org.owner, &org).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_two_hundred_are_pending_whoever_invites_at_the_same_moment() {
    let (server, org, clock) = start_at_will().await;
    let fill = "INSERT INTO invitations (id, org_id, email, role, digest, invited_by_user_id, \
                    created_at, expires_at) \
                SELECT 'c' || lpad(n::text, 24, '0'), $1, n || '@example.com', 'MEMBER', \
                    decode(lpad(n::text, 64, '0'), 'hex'), $2, '2026-01-01Z', '2026-01-08Z' \
                FROM generate_series(1, 197) n";
    let sql = server.sql().await;
    let (org_id, owner) = (org.id.as_str(), org.owner.user_id.as_str());
    sql.execute(fill, &[&org_id, &owner]).await.expect("filled");
    let attempts = (0..8).map(|i| {
        let (place, owner) = (path(&org), &org.owner);
        async move { owner.post(&place, whom(&format!("new{i}@example.com"))).await }
    });
    let mut statuses: Vec<u16> =
        join_all(attempts).await.iter().map(|a| a.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 409, 409, 409, 409, 409]);
    assert_eq!(invited(&org.owner, &org).await.len(), 200);
    let full = org.owner.post(&path(&org), whom("one@example.com")).await;
    assert!(full.fails(409, "CONFLICT")["message"].to_string().contains("200"));
    revoke(&org.owner, &org, &format!("c{}", "0".repeat(23) + "1")).await;
    org.owner.post(&path(&org), whom("one@example.com")).await.data(201);
    // those whose time is over count no more
    org.owner.post(&path(&org), whom("two@example.com")).await.fails(409, "CONFLICT");
    clock.advance(TimeDelta::days(7));
    org.owner.post(&path(&org), whom("two@example.com")).await.data(201);
    assert_eq!(invited(&org.owner, &org).await, ["two@example.com"]);
}

#[tokio::test]
async fn the_invited_joins_with_the_role_from_whichever_organization_he_calls() {
    let (server, org) = start().await;
    let elsewhere = server.org("elsewhere").await;
    for (name, role) in [("grace", "ADMIN"), ("heidi", "MEMBER")] {
        let caller = server.member(&elsewhere, name, OrgRole::Member).await;
        let invitation = invite(&org.owner, &org, &caller.email.to_uppercase(), role).await;
        let data = accept(&caller, token(&invitation)).await.data(200);
        assert_eq!(fields(&data), ["membership"]);
        let membership = &data["membership"];
        assert_eq!(
            fields(membership),
            ["email", "joinedAt", "name", "organizationId", "role", "userId"]
        );
        assert_eq!(membership["organizationId"], org.id.as_str());
        assert_eq!(membership["userId"], caller.user_id.as_str());
        assert_eq!(
            (&membership["role"], &membership["email"]),
            (&json!(role), &json!(caller.email))
        );
        let members = org.owner.get(&format!("/org/{}/members", org.id)).await.data(200);
        assert!(members["members"].as_array().expect("a list").contains(membership));
        // the key is still for the other organization, and another one works here
        assert_eq!(caller.get("/me").await.data(200)["organization"]["slug"], "elsewhere");
        let here = Caller { org_id: org.id.clone(), ..caller };
        let here = server.key_for(&here, &["*"]).await;
        assert_eq!(here.get("/me").await.data(200)["role"], role);
    }
    assert_eq!(invited(&org.owner, &org).await, Vec::<String>::new());
}

#[tokio::test]
async fn nobody_takes_the_invitation_of_another() {
    let (server, org) = start().await;
    let (grace, mallory) = (stranger(&server, "grace").await, stranger(&server, "mallory").await);
    let invitation = invite(&org.owner, &org, &grace.email, "ADMIN").await;
    for caller in [&mallory, &org.owner] {
        accept(caller, token(&invitation)).await.fails(403, "FORBIDDEN");
    }
    accept(&server.nobody(), token(&invitation)).await.fails(401, "AUTH_ERROR");
    // nor learns how it ended
    accept(&grace, token(&invitation)).await.data(200);
    accept(&mallory, token(&invitation)).await.fails(403, "FORBIDDEN");
    for unknown in ["inv_", "x", &*format!("inv_{}", "0".repeat(43)), "inv_%00", id(&invitation)] {
        accept(&grace, unknown).await.fails(404, "NOT_FOUND");
    }
    let request =
        grace.request(Method::POST, &format!("/invitations/{}/accept", token(&invitation)));
    let bad_key = Answer::of(request.header("Idempotency-Key", "a b")).await;
    bad_key.fails(400, "VALIDATION_ERROR");
}

#[tokio::test]
async fn an_invitation_works_once() {
    let (server, org) = start().await;
    let grace = stranger(&server, "grace").await;
    let invitation = invite(&org.owner, &org, &grace.email, "MEMBER").await;
    let place = format!("/invitations/{}/accept", token(&invitation));
    let first = grace.post_once(&place, "once", json!({})).await;
    assert_eq!(first.status, 200, "{}", first.text);
    accept(&grace, token(&invitation)).await.fails(409, "CONFLICT");
    revoke(&org.owner, &org, id(&invitation)).await.fails(409, "CONFLICT");
    let again = Answer::of(
        grace
            .request(Method::POST, &format!("/invitations/{}/accept", token(&invitation)))
            .header("Idempotency-Key", "once"),
    )
    .await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    // not even after he has left
    let here = Caller { org_id: org.id.clone(), ..grace.clone() };
    let here = server.key_for(&here, &["*"]).await;
    let me = format!("/org/{}/members/{}", org.id, grace.user_id);
    assert_eq!(here.delete(&me).await.status, 204);
    accept(&grace, token(&invitation)).await.fails(409, "CONFLICT");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_accept_at_the_same_moment_one_does() {
    let (server, org) = start().await;
    for round in 0..10 {
        let grace = stranger(&server, &format!("grace{round}")).await;
        let second = server.key_for(&grace, &["org:write"]).await;
        let invitation = invite(&org.owner, &org, &grace.email, "MEMBER").await;
        let attempts = [&grace, &second, &grace, &second].map(|by| accept(by, token(&invitation)));
        let mut statuses: Vec<u16> =
            join_all(attempts).await.iter().map(|a| a.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_and_revoking_at_the_same_moment_is_one_or_the_other() {
    let (server, org) = start().await;
    for round in 0..10 {
        let grace = stranger(&server, &format!("grace{round}")).await;
        let invitation = invite(&org.owner, &org, &grace.email, "MEMBER").await;
        let (accepted, revoked) = futures::future::join(
            accept(&grace, token(&invitation)),
            revoke(&org.owner, &org, id(&invitation)),
        )
        .await;
        let member = "SELECT count(*) FROM members WHERE org_id = $1 AND user_id = $2";
        let (org_id, user) = (org.id.as_str(), grace.user_id.as_str());
        let sql = server.sql().await;
        let joined: i64 = sql.query_one(member, &[&org_id, &user]).await.expect("counted").get(0);
        match (accepted.status.as_u16(), revoked.status.as_u16()) {
            (200, 409) => assert_eq!(joined, 1, "round {round}"),
            (409, 204) => assert_eq!(joined, 0, "round {round}"),
            other => panic!("round {round}: {other:?} {} {}", accepted.text, revoked.text),
        }
    }
}

#[tokio::test]
async fn a_member_has_nothing_to_accept() {
    let (server, org) = start().await;
    let grace = stranger(&server, "grace").await;
    let invitation = invite(&org.owner, &org, &grace.email, "ADMIN").await;
    // the operator was faster
    let join = "INSERT INTO members (org_id, user_id, role) VALUES ($1, $2, 'MEMBER')";
    let (org_id, user) = (org.id.as_str(), grace.user_id.as_str());
    server.sql().await.execute(join, &[&org_id, &user]).await.expect("joined");
    accept(&grace, token(&invitation)).await.fails(409, "CONFLICT");
    // removed, he does not come back by what he still has
    let member = format!("/org/{}/members/{}", org.id, grace.user_id);
    assert_eq!(org.owner.delete(&member).await.status, 204);
    accept(&grace, token(&invitation)).await.fails(409, "CONFLICT");
    assert_eq!(invited(&org.owner, &org).await, Vec::<String>::new());
    let anew = invite(&org.owner, &org, &grace.email, "MEMBER").await;
    accept(&grace, token(&anew)).await.data(200);
}

#[tokio::test]
async fn a_revoked_invitation_is_over() {
    let (server, org) = start().await;
    let grace = stranger(&server, "grace").await;
    let invitation = invite(&org.owner, &org, &grace.email, "MEMBER").await;
    assert_eq!(revoke(&org.owner, &org, id(&invitation)).await.status, 204);
    assert_eq!(invited(&org.owner, &org).await, Vec::<String>::new());
    accept(&grace, token(&invitation)).await.fails(409, "CONFLICT");
    assert_eq!(
        revoke(&org.owner, &org, id(&invitation)).await.status,
        204,
        "once more is no error"
    );
    // the address is free for another
    let again = invite(&org.owner, &org, &grace.email, "MEMBER").await;
    accept(&grace, token(&invitation)).await.fails(409, "CONFLICT");
    accept(&grace, token(&again)).await.data(200);
}

#[tokio::test]
async fn an_invitation_lasts_seven_days_to_the_moment() {
    let (server, org, clock) = start_at_will().await;
    let (grace, heidi) = (stranger(&server, "grace").await, stranger(&server, "heidi").await);
    let first = invite(&org.owner, &org, &grace.email, "MEMBER").await;
    let second = invite(&org.owner, &org, &heidi.email, "MEMBER").await;
    clock.advance(TimeDelta::days(7) - TimeDelta::milliseconds(1));
    assert_eq!(invited(&org.owner, &org).await.len(), 2);
    accept(&grace, token(&first)).await.data(200);
    clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(invited(&org.owner, &org).await, Vec::<String>::new());
    accept(&heidi, token(&second)).await.fails(409, "CONFLICT");
    assert_eq!(revoke(&org.owner, &org, id(&second)).await.status, 204);
    // and makes room for another
    let third = invite(&org.owner, &org, &heidi.email, "MEMBER").await;
    accept(&heidi, token(&third)).await.data(200);
}

#[tokio::test]
async fn the_server_marks_what_has_expired() {
    let (server, org, clock) = start_at_will().await;
    invite(&org.owner, &org, "grace@example.com", "MEMBER").await;
    clock.advance(TimeDelta::days(3));
    invite(&org.owner, &org, "heidi@example.com", "MEMBER").await;
    let expire = || switchy_server::store::invitations::expire(&server.store);
    assert_eq!(expire().await.expect("done"), 0);
    clock.advance(TimeDelta::days(4));
    assert_eq!(expire().await.expect("done"), 1);
    assert_eq!(expire().await.expect("done"), 0);
    let sql = "SELECT email FROM invitations WHERE status = 'EXPIRED' AND ended_at IS NOT NULL";
    let rows = server.sql().await.query(sql, &[]).await.expect("read");
    assert_eq!(rows.iter().map(|r| r.get(0)).collect::<Vec<&str>>(), ["grace@example.com"]);
}

#[tokio::test]
async fn an_organization_has_its_own_invitations_only() {
    let (server, org) = start().await;
    let other = server.org("other").await;
    let theirs = invite(&other.owner, &other, "grace@example.com", "MEMBER").await;
    let there = path(&other);
    org.owner.get(&there).await.fails(403, "FORBIDDEN");
    org.owner.post(&there, whom("x@example.com")).await.fails(403, "FORBIDDEN");
    org.owner.delete(&format!("{there}/{}", id(&theirs))).await.fails(403, "FORBIDDEN");
    for unknown in [id(&theirs), "x", "%20", &*format!("c{}", "0".repeat(24))] {
        revoke(&org.owner, &org, unknown).await.fails(404, "NOT_FOUND");
    }
    for nowhere in ["acme", "%00", "x"] {
        let there = format!("/org/{nowhere}/invitations");
        org.owner.get(&there).await.fails(404, "NOT_FOUND");
        org.owner.post(&there, whom("x@example.com")).await.fails(404, "NOT_FOUND");
        org.owner.delete(&format!("{there}/{}", id(&theirs))).await.fails(404, "NOT_FOUND");
    }
    assert_eq!(invited(&org.owner, &org).await, Vec::<String>::new());
    assert_eq!(invited(&other.owner, &other).await, ["grace@example.com"]);
}

#[tokio::test]
async fn row_level_security_alone_shows_and_ends_invitations_for_those_who_manage_them() {
    let (server, org) = start().await;
    let other = server.org("other").await;
    let ada = server.member(&org, "ada", OrgRole::Admin).await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let ours = invite(&org.owner, &org, "grace@example.com", "MEMBER").await;
    let theirs = invite(&other.owner, &other, "grace@example.com", "MEMBER").await;
    let queue = "INSERT INTO invitation_mails (invitation_id, org_id, nonce, next_attempt_at) \
                 SELECT id, org_id, '\\x00', now() + interval '1 day' FROM invitations";
    server.sql().await.execute(queue, &[]).await.expect("queued");
    for (caller, sees) in [
        (&org.owner, vec![id(&ours)]),
        (&ada, vec![id(&ours)]),
        (&eve, vec![]),
        (&other.owner, vec![id(&theirs)]),
    ] {
        let app = as_app(&server, Some(caller)).await;
        for query in ["SELECT id FROM invitations", "SELECT invitation_id FROM invitation_mails"] {
            let rows = app.query(query, &[]).await.expect("read");
            let seen: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(seen, sees, "{} {query}", caller.email);
        }
    }
    let end = "UPDATE invitations SET status = 'REVOKED', ended_at = now() WHERE id = $1";
    let as_eve = as_app(&server, Some(&eve)).await;
    let as_ada = as_app(&server, Some(&ada)).await;
    assert_eq!(as_eve.execute(end, &[&id(&ours)]).await.expect("nothing"), 0);
    assert_eq!(as_ada.execute(end, &[&id(&theirs)]).await.expect("nothing"), 0);
    let insert = "INSERT INTO invitations (id, org_id, email, role, digest, invited_by_user_id, \
                      created_at, expires_at) \
                  VALUES ('c9', $1, 'x@example.com', 'ADMIN', '\\x01', $2, now(), now())";
    let (here, there) = (org.id.as_str(), other.id.as_str());
    let (eve_id, ada_id) = (eve.user_id.as_str(), ada.user_id.as_str());
    for (app, org, user) in
        [(&as_eve, here, eve_id), (&as_ada, there, ada_id), (&as_ada, here, eve_id)]
    {
        app.execute(insert, &[&org, &user]).await.expect_err("invited");
    }
    // nobody accepts, or brings back, by writing it down
    for status in ["ACCEPTED", "PENDING"] {
        let sql = "UPDATE invitations SET status = $2, ended_at = now() WHERE id = $1";
        as_ada.execute(sql, &[&id(&ours), &status]).await.expect_err(status);
    }
    assert_eq!(as_ada.execute(end, &[&id(&ours)]).await.expect("ended"), 1);
    let revive = "UPDATE invitations SET status = 'EXPIRED' WHERE id = $1";
    assert_eq!(as_ada.execute(revive, &[&id(&ours)]).await.expect("nothing"), 0);
    // an ended one is mailed no more, whoever ended it
    let left = "SELECT count(*) FROM invitation_mails WHERE nonce IS NOT NULL";
    let left: i64 = server.sql().await.query_one(left, &[]).await.expect("counted").get(0);
    assert_eq!(left, 1);
}

#[tokio::test]
async fn the_predicates_hold_without_row_level_security() {
    let (server, org) = start().await;
    let other = server.org("other").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let theirs = invite(&other.owner, &other, "grace@example.com", "MEMBER").await;
    let ours = invite(&org.owner, &org, "heidi@example.com", "MEMBER").await;
    let sql = server.sql().await;
    for table in ["orgs", "users", "members", "invitations", "invitation_mails", "api_keys"] {
        let off =
            format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY");
        sql.batch_execute(&off).await.expect("off");
    }
    assert_eq!(invited(&org.owner, &org).await, ["heidi@example.com"]);
    let members = org.owner.get(&format!("/org/{}/members", org.id)).await.data(200);
    assert_eq!(each(&members["members"], "email"), ["owner@acme.test", "eve@acme.test"]);
    revoke(&org.owner, &org, id(&theirs)).await.fails(404, "NOT_FOUND");
    eve.get(&path(&org)).await.fails(403, "FORBIDDEN");
    revoke(&eve, &org, id(&ours)).await.fails(403, "FORBIDDEN");
    let there = format!("/org/{}/members/{}", org.id, other.owner.user_id);
    org.owner.patch(&there, json!({ "role": "MEMBER" })).await.fails(404, "NOT_FOUND");
    org.owner.delete(&there).await.fails(404, "NOT_FOUND");
    assert_eq!(invited(&other.owner, &other).await, ["grace@example.com"]);
}
