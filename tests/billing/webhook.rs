//! What is believed of what comes as Stripe's, and that it is carried out once.

use super::{SUB_CREATED, Sub, customer, hear, january, seconds, session, start, start_at, state};
use crate::fixture::binary::{Home, Serving};
use crate::fixture::shape::issues;
use crate::fixture::stripe::{SECRET, event, send, signature, tell, unreachable};
use crate::fixture::{Options, Org, Server, embedders, until_somebody_waits};
use futures::future::join_all;
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::time::Duration;
use switchy_server::limits::Limits;

/// That a top-up is paid.
fn paid(id: &str, session: &str, credits: i64) -> Value {
    let object = json!({
        "id": session, "object": "checkout.session", "mode": "payment", "payment_status": "paid",
        "customer": "cus_acme", "payment_intent": format!("pi_{session}"), "subscription": null,
        "metadata": { "credits": credits.to_string(), "organization_id": "whatever" }
    });
    event(id, "checkout.session.completed", january().timestamp(), object)
}

async fn with_session() -> (Server, Org) {
    let (server, _) = start_at(january()).await;
    let org = server.org("acme").await;
    session(&server, &org, "cs_1", Err(1_000)).await;
    (server, org)
}

#[tokio::test]
async fn an_event_is_received_and_one_of_no_consequence_too() {
    let (server, org) = with_session().await;
    let data = tell(&server, &paid("evt_1", "cs_1", 1_000)).await.data(200);
    assert_eq!(data, json!({ "received": true }));
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 1_500, 1_000));
    for (id, kind) in
        [("evt_2", "payout.paid"), ("evt_3", "checkout.session.expired"), ("evt_4", "")]
    {
        let object = json!({ "id": "x", "object": "payout" });
        tell(&server, &event(id, kind, january().timestamp(), object)).await.data(200);
    }
    // about somebody else's customer
    let stranger = Sub::monthly("team", january()).json("cus_unknown");
    hear(&server, "evt_5", SUB_CREATED, january(), stranger).await;
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 1_500, 1_000));
}

#[tokio::test]
async fn without_a_good_signature_nothing_happens() {
    let (server, org) = with_session().await;
    let body = paid("evt_1", "cs_1", 1_000).to_string();
    let now = january().timestamp();
    let good = signature(SECRET, now, &body);
    let v1 = good.split("v1=").nth(1).expect("a signature");
    let other_body = paid("evt_1", "cs_1", 9_999).to_string();
    for header in [
        None,
        Some(String::new()),
        Some("t=1".into()),
        Some(format!("v1={v1}")),
        Some(format!("t={now}")),
        Some(format!("t={now},v1=")),
        Some(format!("t={now},v1={}", "0".repeat(64))),
        Some(format!("t={},v1={v1}", now + 1)),
        Some(format!("t={now},v0={v1}")),
        Some(signature("whsec_another", now, &body)),
        Some(signature("", now, &body)),
        Some(signature(SECRET, now, &other_body)),
        Some(signature(SECRET, now - 301, &body)),
        Some(signature(SECRET, now + 301, &body)),
    ] {
        let refused = send(&server, &body, header.clone()).await;
        assert_eq!(issues(&refused), ["headers.Stripe-Signature"], "{header:?}");
    }
    // twice
    let request = server.nobody().request(Method::POST, "/webhooks/stripe").body(body.clone());
    let twice = request.header("Stripe-Signature", &good).header("Stripe-Signature", &good);
    let twice = crate::fixture::Answer::of(twice).await;
    assert_eq!(issues(&twice), ["headers.Stripe-Signature"]);
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 500, 0));
    // while secrets are changed there are several, and five minutes are allowed
    let late = signature(SECRET, now - 300, &body);
    let several = late.replace(",v1=", &format!(",v1={},v1=", "1".repeat(64)));
    send(&server, &body, Some(several)).await.data(200);
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 1_500, 1_000));
}

#[tokio::test]
async fn what_is_signed_and_cannot_be_read_is_400_and_can_be_sent_again() {
    let (server, _) = with_session().await;
    let now = january().timestamp();
    let nul = event("evt_\u{0}", "invoice.paid", now, json!({})).to_string();
    let huge = event(&"e".repeat(300), "invoice.paid", now, json!({})).to_string();
    let odd = event("evt_9", "invoice.paid", now, json!({ "id": 5 })).to_string();
    for body in ["", "{", "[]", "null", "{\"id\":\"evt_1\"}", &nul, &huge, &odd] {
        let answer = send(&server, body, Some(signature(SECRET, now, body))).await;
        answer.fails(400, "VALIDATION_ERROR");
    }
    let body = " ".repeat(1024 * 1024 + 1);
    send(&server, &body, Some(signature(SECRET, now, &body))).await.fails(413, "VALIDATION_ERROR");
    let events = "SELECT count(*) FROM stripe_events";
    let events: i64 = server.sql().await.query_one(events, &[]).await.expect("counted").get(0);
    assert_eq!(events, 0);
}

#[tokio::test]
async fn guessing_signatures_is_limited_by_address_and_stripe_is_not() {
    let server = Server::with(Options {
        billing: unreachable(),
        embedder: embedders::none(),
        limits: Limits { reads: 0, writes: 1, failures: 3 },
        ..Options::default()
    })
    .await;
    for _ in 0..3 {
        send(&server, "{}", None).await.fails(400, "VALIDATION_ERROR");
    }
    send(&server, "{}", None).await.fails(429, "RATE_LIMIT");
    for i in 0..10 {
        let now = chrono::Utc::now().timestamp();
        tell(&server, &event(&format!("evt_{i}"), "payout.paid", now, json!({}))).await.data(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_deliveries_at_once_have_one_effect() {
    let (server, org) = with_session().await;
    let body = paid("evt_1", "cs_1", 1_000);
    for answer in join_all((0..20).map(|_| tell(&server, &body))).await {
        assert_eq!(answer.data(200), json!({ "received": true }));
    }
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 1_500, 1_000));
    // another event about the same session, as Stripe may send for delayed payments
    let mut again = paid("evt_2", "cs_1", 1_000);
    again["type"] = json!("checkout.session.async_payment_succeeded");
    tell(&server, &again).await.data(200);
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 1_500, 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_on_its_way_buys_nothing_yet() {
    let (server, org) = with_session().await;
    let mut pending = paid("evt_1", "cs_1", 1_000);
    pending["data"]["object"]["payment_status"] = json!("unpaid");
    tell(&server, &pending).await.data(200);
    assert_eq!(state(&org.owner).await.1, 500);
    let mut arrived = paid("evt_2", "cs_1", 1_000);
    arrived["type"] = json!("checkout.session.async_payment_succeeded");
    tell(&server, &arrived).await.data(200);
    assert_eq!(state(&org.owner).await.1, 1_500);
}

#[tokio::test]
async fn metadata_mints_nothing_and_other_sessions_of_the_account_are_not_ours() {
    let (server, org) = with_session().await;
    let mut forged = paid("evt_1", "cs_of_another_program", 1_000_000);
    forged["data"]["object"]["metadata"]["organization_id"] = json!(org.id.as_str());
    tell(&server, &forged).await.data(200);
    assert_eq!(state(&org.owner).await.1, 500);
    // ours, and only as many as were paid for
    tell(&server, &paid("evt_2", "cs_1", 1_000_000)).await.data(200);
    assert_eq!(state(&org.owner).await.1, 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_over_an_event_leaves_it_to_the_repetition() {
    let server = start(unreachable()).await;
    let org = server.org("acme").await;
    session(&server, &org, "cs_1", Err(1_000)).await;
    state(&org.owner).await;
    let doomed = {
        let url = server.database.expose_secret().to_owned();
        let start = move || {
            let home = Home::new();
            let mut command = home.serve();
            command.env("DATABASE_URL", url).env("SWITCHY_STRIPE_WEBHOOK_SECRET", SECRET);
            (Serving::start(&mut command), home)
        };
        tokio::task::spawn_blocking(start).await.expect("it starts")
    };
    // the account is locked: the event is half carried out, and stays so
    let mut sql = server.sql().await;
    let lock = sql.transaction().await.expect("a transaction");
    lock.execute("SELECT FROM billing_accounts FOR UPDATE", &[]).await.expect("locked");
    let body = paid("evt_1", "cs_1", 1_000).to_string();
    let header = signature(SECRET, chrono::Utc::now().timestamp(), &body);
    let request = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = request
        .post(format!("{}/webhooks/stripe", doomed.0.url))
        .header("Stripe-Signature", header)
        .body(body);
    let answer = tokio::spawn(request.send());
    let watch = server.sql().await;
    until_somebody_waits(&watch).await;
    drop(doomed); // SIGKILL
    assert!(answer.await.expect("no panic").is_err(), "nobody answered");
    lock.commit().await.expect("released");
    assert_eq!(state(&org.owner).await.1, 500, "nothing happened");
    let now = chrono::Utc::now().timestamp();
    let mut again = paid("evt_1", "cs_1", 1_000);
    again["created"] = json!(now);
    tell(&server, &again).await.data(200);
    tell(&server, &again).await.data(200);
    assert_eq!(state(&org.owner).await.1, 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_runs_into_the_deadline_is_undone_whole() {
    let options = Options {
        billing: unreachable(),
        embedder: embedders::none(),
        request_deadline: Duration::from_millis(300),
        ..Options::default()
    };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    session(&server, &org, "cs_1", Err(1_000)).await;
    state(&org.owner).await;
    let mut sql = server.sql().await;
    let lock = sql.transaction().await.expect("a transaction");
    lock.execute("SELECT FROM billing_accounts FOR UPDATE", &[]).await.expect("locked");
    tell(&server, &paid("evt_1", "cs_1", 1_000)).await.fails(503, "INTERNAL_ERROR");
    lock.commit().await.expect("released");
    tell(&server, &paid("evt_1", "cs_1", 1_000)).await.data(200);
    assert_eq!(state(&org.owner).await.1, 1_500);
}

#[tokio::test]
async fn refunds_take_back_what_is_unspent_in_whatever_order_they_are_told() {
    let (server, org) = with_session().await;
    let refund = |id: &str, cents: i64| {
        let object = json!({
            "id": "ch_1", "object": "charge", "amount": 1_000, "amount_refunded": cents,
            "payment_intent": "pi_cs_1", "metadata": { "switchy_checkout": "ref_cs_1" }
        });
        event(id, "charge.refunded", january().timestamp(), object)
    };
    // a refund overtakes the payment that it refunds
    tell(&server, &refund("evt_1", 200)).await.data(200);
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 500, 0));
    tell(&server, &paid("evt_2", "cs_1", 1_000)).await.data(200);
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 1_300, 800));
    // they are told as a sum, and the smaller sum is the older one
    tell(&server, &refund("evt_3", 500)).await.data(200);
    tell(&server, &refund("evt_4", 300)).await.data(200);
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 1_000, 500));
    super::credits::spend(&server, &org.owner, 450, "a").await;
    tell(&server, &refund("evt_5", 1_000)).await.data(200);
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 500, 0), "the month's are untouched");
    // a charge of another payment, whatever is written on it
    session(&server, &org, "cs_2", Err(1_000)).await;
    tell(&server, &paid("evt_6", "cs_2", 1_000)).await.data(200);
    let mut foreign = refund("evt_7", 1_000);
    foreign["data"]["object"]["payment_intent"] = json!("pi_foreign");
    foreign["data"]["object"]["metadata"]["switchy_checkout"] = json!("ref_cs_2");
    tell(&server, &foreign).await.data(200);
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 1_500, 1_000));
}

#[tokio::test]
async fn an_event_of_a_customer_touches_no_other_organization() {
    let (server, acme) = with_session().await;
    let globex = server.org("globex").await;
    customer(&server, &acme).await;
    customer(&server, &globex).await;
    let at = january() + seconds(60);
    let team = Sub::monthly("team", at).json("cus_globex");
    hear(&server, "evt_1", SUB_CREATED, at, team).await;
    assert_eq!(state(&acme.owner).await.0, "STARTER");
    assert_eq!(state(&globex.owner).await, ("TEAM".into(), 9_000, 0));
}
