//! Letters to strangers.

use crate::fixture::shape::id;
use crate::fixture::{Answer, Caller, Options, Org, Server};
use crate::mail::{Sink, clock, invite, options, recipient, until_delivery};
use chrono::TimeDelta;
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use switchy_server::clock::{Clock, ManualClock};

async fn start(sink: &Sink) -> (Server, Org, ManualClock) {
    let clock = clock();
    let options = Options { clock: Clock::Manual(clock.clone()), ..options(&sink.url()) };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    (server, org, clock)
}

async fn revoke(by: &Caller, org: &Org, invitation: &Value) {
    let path = format!("/org/{}/invitations/{}", org.id, id(invitation));
    assert_eq!(by.delete(&path).await.status, 204);
}

/// The letters that have come when one to `address` has, which must be the last one.
async fn letters_until(sink: &Sink, org: &Org, address: &str) -> Vec<String> {
    invite(&org.owner, org, address).await;
    let mut came = Vec::new();
    loop {
        let to = recipient(&sink.letter()).to_owned();
        if to == address {
            return came;
        }
        came.push(to);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inviting_and_revoking_a_stranger_is_one_letter_a_day() {
    let sink = Sink::start(&[]);
    let (_server, org, clock) = start(&sink).await;
    // one mailbox, as its provider understands addresses
    let spellings = [
        "grace@example.com",
        "GRACE@example.com",
        "grace+1@example.com",
        "Grace+another.one@Example.com",
    ];
    for round in 0..12 {
        let made = invite(&org.owner, &org, spellings[round % spellings.len()]).await;
        // whoever invites can always hand it over
        assert!(made["token"].as_str().is_some_and(|token| token.starts_with("inv_")), "{made}");
        revoke(&org.owner, &org, &made).await;
    }
    let last = invite(&org.owner, &org, spellings[0]).await;
    let came = letters_until(&sink, &org, "first-fence@example.com").await;
    assert_eq!(came.len(), 1, "{came:?}");

    // as soon as it is sent, the answer says that there will be no other
    if last["delivery"] == "QUEUED" {
        until_delivery(&org, spellings[0], "SENT").await;
    }
    revoke(&org.owner, &org, &last).await;
    let held = invite(&org.owner, &org, spellings[0]).await;
    assert_eq!(held["delivery"], "HELD");
    until_delivery(&org, spellings[0], "HELD").await;
    revoke(&org.owner, &org, &held).await;
    clock.advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    let held = invite(&org.owner, &org, spellings[2]).await;
    assert_eq!(held["delivery"], "HELD");
    revoke(&org.owner, &org, &held).await;
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(invite(&org.owner, &org, spellings[0]).await["delivery"], "QUEUED");
    let came = letters_until(&sink, &org, "second-fence@example.com").await;
    assert_eq!(came, ["grace@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dots_make_no_other_mailbox_where_the_provider_ignores_them() {
    let sink = Sink::start(&[]);
    let (_server, org, _clock) = start(&sink).await;
    for (email, delivery) in [
        ("grace.hopper@gmail.com", "QUEUED"),
        ("gracehopper@gmail.com", "HELD"),
        ("g.r.a.c.e.hopper+x@googlemail.com", "HELD"),
        ("grace.hopper@example.com", "QUEUED"),
        ("gracehopper@example.com", "QUEUED"),
    ] {
        assert_eq!(invite(&org.owner, &org, email).await["delivery"], delivery, "{email}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_together_send_one_address_three_letters_a_day() {
    let sink = Sink::start(&[]);
    let (server, org, _clock) = start(&sink).await;
    let mut orgs = Vec::new();
    for number in 0..6 {
        orgs.push(server.org(&format!("org{number}")).await);
    }
    let made = join_all(orgs.iter().map(|org| invite(&org.owner, org, "grace@example.com"))).await;
    let with = |delivery: &str| made.iter().filter(|one| one["delivery"] == delivery).count();
    assert_eq!((with("QUEUED"), with("HELD")), (3, 3));
    let came = letters_until(&sink, &org, "fence@example.com").await;
    assert_eq!(came, ["grace@example.com"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_joined_before_gets_a_few_more_and_a_held_one_works() {
    let sink = Sink::start(&[]);
    let (server, org, _clock) = start(&sink).await;
    let grace = server.org("elsewhere").await.owner;
    let accept = async |made: &Value| {
        let token = made["token"].as_str().expect("a token");
        let path = format!("/invitations/{token}/accept");
        Answer::of(grace.request(Method::POST, &path)).await.data(200)
    };
    let member = format!("/org/{}/members/{}", org.id, grace.user_id);
    let mut deliveries = Vec::new();
    for _ in 0..4 {
        let made = invite(&org.owner, &org, &grace.email).await;
        deliveries.push(made["delivery"].clone());
        if made["delivery"] == "QUEUED" {
            until_delivery(&org, &grace.email, "SENT").await;
        }
        accept(&made).await;
        assert_eq!(org.owner.delete(&member).await.status, 204);
    }
    assert_eq!(deliveries, ["QUEUED", "QUEUED", "QUEUED", "HELD"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_writes_to_two_hundred_strangers_a_day() {
    let sink = Sink::start(&[]);
    let (server, org, clock) = start(&sink).await;
    let (org_id, owner) = (org.id.as_str(), org.owner.user_id.as_str());
    // invited, mailed and revoked, each of them another one
    let fill = "WITH i AS (INSERT INTO invitations (id, org_id, email, role, status, digest, \
                    invited_by_user_id, created_at, expires_at, ended_at) \
                SELECT 'c' || lpad(n::text, 24, '0'), $1, n || '@example.com', 'MEMBER', \
                    'REVOKED', decode(lpad(n::text, 64, '0'), 'hex'), $2, '2026-01-01Z', \
                    '2026-01-08Z', '2026-01-01Z' \
                FROM generate_series(1, 199) n RETURNING id, org_id) \
                INSERT INTO invitation_mails (invitation_id, org_id, attempts, sent_at) \
                SELECT id, org_id, 1, '2026-01-01Z' FROM i";
    server.sql().await.execute(fill, &[&org_id, &owner]).await.expect("filled");
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(invite(&org.owner, &org, "last@example.com").await["delivery"], "QUEUED");
    assert_eq!(invite(&org.owner, &org, "late@example.com").await["delivery"], "HELD");
    // another organization is another matter
    let other = server.org("other").await;
    assert_eq!(invite(&other.owner, &other, "late@example.com").await["delivery"], "QUEUED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_no_mail_server_took_is_no_letter() {
    let sink = Sink::start(&["--refuse", "grace@example.com=550"]);
    let (_server, org, _clock) = start(&sink).await;
    for _ in 0..3 {
        let made = invite(&org.owner, &org, "grace@example.com").await;
        assert_eq!(made["delivery"], "QUEUED");
        until_delivery(&org, "grace@example.com", "FAILED").await;
        let body = json!({ "email": "grace@example.com", "role": "MEMBER" });
        let path = format!("/org/{}/invitations", org.id);
        org.owner.post(&path, body).await.fails(409, "CONFLICT");
        revoke(&org.owner, &org, &made).await;
    }
}
