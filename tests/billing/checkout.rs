//! Buying, through Stripe and back.

use super::{credits, start, state, until};
use crate::fixture::shape::{fields, issues};
use crate::fixture::stripe::{Stripe, id_in, unconfigured};
use crate::fixture::{Options, Org, Server, embedders};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;

async fn with_stripe() -> (Server, Stripe, Org) {
    let stripe = tokio::task::spawn_blocking(Stripe::start).await.expect("Stripe");
    let server = start(stripe.options()).await;
    stripe.notify(&server).await;
    let org = server.org("acme").await;
    (server, stripe, org)
}

/// Asks for a page of Stripe's; its URL.
async fn page(org: &Org, path: &str, body: Value) -> String {
    let data = org.owner.post(path, body).await.data(200);
    assert_eq!(fields(&data), ["url"]);
    data["url"].as_str().expect("a URL").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_bought_renewed_and_cancelled() {
    let (server, stripe, org) = with_stripe().await;
    let member = server.member(&org, "grace", OrgRole::Member).await;
    assert_eq!(state(&member).await, ("STARTER".into(), 500, 0));

    let url = page(&org, "/billing/checkout", json!({ "plan": "team" })).await;
    assert_eq!(state(&member).await, ("STARTER".into(), 500, 0), "nothing is paid yet");
    stripe.pay(&url).await;
    // two members
    until(&member, ("TEAM", 10_000, 0)).await;
    let balance = credits(&member).await;
    assert_eq!(balance["interval"], "MONTHLY");
    assert_eq!(balance["monthlyAllotment"], 10_000);
    let subscription = stripe.subscription().await;
    assert_eq!(subscription["quantity"], 2);
    let end = subscription["current_period_end"].as_i64().expect("a time");
    let shown = |balance: &Value| {
        let text = balance["periodEnd"].as_str().expect("a time");
        chrono::DateTime::parse_from_rfc3339(text).expect("a time").timestamp()
    };
    // what the checkout told is an estimate; the subscription says it to the second
    for _ in 0..500 {
        if shown(&credits(&member).await) == end {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(shown(&credits(&member).await), end);

    let again = org.owner.post("/billing/checkout", json!({ "plan": "team" })).await;
    again.fails(409, "CONFLICT");

    let id = subscription["id"].as_str().expect("an id");
    server.member(&org, "linus", OrgRole::Member).await;
    stripe.post(&format!("/_config/test/renew/{id}"), json!({})).await;
    until(&member, ("TEAM", 11_000, 0)).await;
    assert!(shown(&credits(&member).await) > end);

    stripe.post(&format!("/_config/test/renew/{id}"), json!({ "fails": true })).await;
    for _ in 0..500 {
        if credits(&member).await["pastDue"] == true {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(credits(&member).await["pastDue"], true);
    assert_eq!(state(&member).await, ("TEAM".into(), 11_000, 0), "no refill");

    stripe.post(&format!("/_config/test/cancel/{id}"), json!({})).await;
    for _ in 0..500 {
        if credits(&member).await["cancelAtPeriodEnd"] == true {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(credits(&member).await["cancelAtPeriodEnd"], true);
    assert_eq!(state(&member).await.0, "TEAM");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_plan_is_confirmed_on_the_portal_and_reseeds_the_pool() {
    let (_server, stripe, org) = with_stripe().await;
    let url = page(&org, "/billing/checkout", json!({ "plan": "pro", "interval": "annual" })).await;
    stripe.pay(&url).await;
    until(&org.owner, ("PRO", 3_000, 0)).await;
    let mut url = org.owner.post("/billing/checkout", json!({ "plan": "team" })).await;
    for _ in 0..500 {
        // until the subscription itself has been heard of
        if url.status == 200 {
            break;
        }
        url.fails(409, "CONFLICT");
        assert!(url.header("retry-after").is_some());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        url = org.owner.post("/billing/checkout", json!({ "plan": "team" })).await;
    }
    let url = url.data(200)["url"].as_str().expect("a URL").to_owned();
    assert!(url.contains("/p/session/"), "no second subscription: {url}");
    stripe.confirm(&url).await;
    until(&org.owner, ("TEAM", 9_000, 0)).await;
    assert_eq!(credits(&org.owner).await["interval"], "MONTHLY");
    let all = stripe.get("/v1/subscriptions?status=all").await;
    assert_eq!(all["data"].as_array().expect("a list").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_are_bought_and_go_with_a_refund() {
    let (_server, stripe, org) = with_stripe().await;
    let url = page(&org, "/billing/topup", json!({ "pack": "small" })).await;
    let session = stripe.pay(&url).await;
    until(&org.owner, ("STARTER", 1_500, 1_000)).await;
    let url = page(&org, "/billing/topup", json!({ "credits": 250 })).await;
    stripe.pay(&url).await;
    until(&org.owner, ("STARTER", 1_750, 1_250)).await;

    let intent = session["payment_intent"].as_str().expect("a payment");
    let intents = stripe.get(&format!("/v1/payment_intents/{intent}")).await;
    // a dollar for a hundred
    assert_eq!(intents["amount"], 1_000);
    let refund = |amount: i64| json!({ "payment_intent": intent, "amount": amount });
    stripe.post("/v1/refunds", refund(400)).await;
    until(&org.owner, ("STARTER", 1_350, 850)).await;
    stripe.post("/v1/refunds", refund(600)).await;
    until(&org.owner, ("STARTER", 750, 250)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portal_opens_after_the_first_checkout_and_needs_no_body() {
    let (_server, stripe, org) = with_stripe().await;
    org.owner.post("/billing/portal", json!({})).await.fails(409, "CONFLICT");
    page(&org, "/billing/topup", json!({ "pack": "large" })).await;
    let back = json!({ "returnUrl": "https://acme.test/billing" });
    let url = page(&org, "/billing/portal", back).await;
    assert!(url.starts_with("https://billing.test/"), "{url}");
    let bare = org.owner.request(http::Method::POST, "/billing/portal");
    crate::fixture::Answer::of(bare).await.data(200);
    page(&org, "/billing/portal", json!({ "returnUrl": null })).await;
    assert_eq!(stripe.count("POST", "/v1/billing_portal/configurations").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_makes_one_session() {
    let (server, stripe, org) = with_stripe().await;
    let body = json!({ "pack": "medium" });
    let ask = || org.owner.post_once("/billing/topup", "one", body.clone());
    let first = ask().await.data(200);
    let second = ask().await;
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    assert_eq!(second.data(200), first);
    assert_eq!(stripe.count("POST", "/v1/checkout/sessions").await, 1);
    // the answer was lost before it was kept, as when a server dies: Stripe knows the request
    let sql = server.sql().await;
    sql.batch_execute("DELETE FROM idempotency_keys").await.expect("deleted");
    assert_eq!(ask().await.data(200), first);
    let count = "SELECT count(*) FROM stripe_checkouts";
    assert_eq!(sql.query_one(count, &[]).await.expect("counted").get::<_, i64>(0), 1);
    let other = json!({ "pack": "small" });
    org.owner.post_once("/billing/topup", "one", other).await.fails(409, "CONFLICT");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_at_the_same_time_gets_one_customer_and_one_session() {
    let (server, stripe, org) = with_stripe().await;
    let other = server.beside(Options {
        billing: stripe.options(),
        embedder: embedders::none(),
        ..Options::default()
    });
    let other = other.await;
    let asked = (0..12).map(|i| {
        let owner = if i % 2 == 0 { org.owner.clone() } else { org.owner.at(&other.url) };
        async move { owner.post_once("/billing/checkout", "same", json!({ "plan": "pro" })).await }
    });
    let mut urls = std::collections::BTreeSet::new();
    for answer in futures::future::join_all(asked).await {
        if answer.status == 409 {
            assert!(answer.header("retry-after").is_some(), "{}", answer.text);
        } else {
            urls.insert(answer.data(200)["url"].as_str().expect("a URL").to_owned());
        }
    }
    assert_eq!(urls.len(), 1, "{urls:?}");
    let customers = stripe.get("/v1/customers").await;
    assert_eq!(customers["data"].as_array().expect("a list").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_checkout_of_a_plan_takes_the_place_of_an_older_one() {
    let (_server, stripe, org) = with_stripe().await;
    let old = page(&org, "/billing/checkout", json!({ "plan": "pro" })).await;
    let credits = page(&org, "/billing/topup", json!({ "pack": "small" })).await;
    let new = page(&org, "/billing/checkout", json!({ "plan": "enterprise" })).await;
    let status = async |url: &str| {
        let session = stripe.get(&format!("/v1/checkout/sessions/{}", id_in(url))).await;
        session["status"].as_str().expect("a status").to_owned()
    };
    assert_eq!(status(&old).await, "expired");
    assert_eq!(status(&credits).await, "open");
    assert_eq!(status(&new).await, "open");
    stripe.pay(&new).await;
    until(&org.owner, ("ENTERPRISE", 42_000, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_owner_pays_and_everything_that_is_wrong_is_said() {
    let (server, _stripe, org) = with_stripe().await;
    for role in [OrgRole::Admin, OrgRole::Member] {
        let other = server.member(&org, role.as_str(), role).await;
        for (path, body) in [
            ("/billing/checkout", json!({ "plan": "team" })),
            ("/billing/topup", json!({ "pack": "small" })),
            ("/billing/portal", json!({})),
        ] {
            other.post(path, body).await.fails(403, "FORBIDDEN");
        }
        credits(&other).await;
    }
    let owner = &org.owner;
    let checkout = async |body: Value| issues(&owner.post("/billing/checkout", body).await);
    assert_eq!(checkout(json!({})).await, ["plan"]);
    assert_eq!(checkout(json!({ "plan": "TEAM" })).await, ["plan"]);
    assert_eq!(
        checkout(json!({ "plan": "starter", "interval": "weekly" })).await,
        ["interval", "plan"]
    );
    let bad = json!({ "plan": "pro", "successUrl": "ftp://x.test", "cancelUrl": "x" });
    assert_eq!(checkout(bad).await, ["cancelUrl", "successUrl"]);
    let long = format!("https://x.test/{}", "a".repeat(2_048));
    assert_eq!(checkout(json!({ "plan": "pro", "successUrl": long })).await, ["successUrl"]);
    let control = "https://x.test/\u{1}";
    assert_eq!(checkout(json!({ "plan": "pro", "cancelUrl": control })).await, ["cancelUrl"]);

    let topup = async |body: Value| issues(&owner.post("/billing/topup", body).await);
    assert_eq!(topup(json!({})).await, ["pack"]);
    assert_eq!(topup(json!({ "pack": "small", "credits": 100 })).await, ["credits"]);
    assert_eq!(topup(json!({ "pack": "huge" })).await, ["pack"]);
    for credits in [json!(99), json!(1_000_001), json!(-1), json!(1.5), json!("100")] {
        assert_eq!(topup(json!({ "credits": credits })).await, ["credits"], "{credits}");
    }
    for credits in [100, 1_000_000] {
        owner.post("/billing/topup", json!({ "credits": credits })).await.data(200);
    }
    let portal = owner.post("/billing/portal", json!({ "returnUrl": "javascript:alert(1)" })).await;
    assert_eq!(issues(&portal), ["returnUrl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stripe_nothing_is_sold_and_credits_are_seen() {
    let server = start(unconfigured()).await;
    let org = server.org("acme").await;
    let member = server.member(&org, "grace", OrgRole::Member).await;
    for (path, good, bad) in [
        ("/billing/checkout", json!({ "plan": "team" }), json!({ "plan": 1 })),
        ("/billing/topup", json!({ "pack": "small" }), json!({})),
        ("/billing/portal", json!({}), json!({ "returnUrl": "" })),
    ] {
        org.owner.post(path, bad).await.fails(400, "VALIDATION_ERROR");
        member.post(path, good.clone()).await.fails(403, "FORBIDDEN");
        let refused = org.owner.post(path, good).await;
        let error = refused.fails(409, "CONFLICT");
        assert!(error["message"].as_str().expect("text").contains("SWITCHY_STRIPE_SECRET_KEY"));
    }
    server.nobody().post("/webhooks/stripe", json!({})).await.fails(409, "CONFLICT");
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 500, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_stripe_is_a_form_with_a_version_and_the_key_is_seen_nowhere() {
    use crate::fixture::logs::Logs;
    use crate::fixture::stripe::KEY;
    let stripe = tokio::task::spawn_blocking(Stripe::start).await.expect("Stripe");
    let (log, logs) = Logs::new();
    let options = Options {
        billing: stripe.options(),
        embedder: embedders::none(),
        log,
        ..Options::default()
    };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    page(&org, "/billing/checkout", json!({ "plan": "team" })).await;
    let requests = stripe.get("/_config/test/requests").await;
    let requests = requests["data"].as_array().expect("a list");
    let ours = requests.iter().filter(|r| r["version"].is_string()).collect::<Vec<_>>();
    assert!(ours.len() >= 4, "{ours:?}");
    for request in ours {
        assert_eq!(request["version"], "2025-08-27.basil");
        if request["method"] == "POST" {
            assert_eq!(request["type"], "application/x-www-form-urlencoded");
            assert!(request["key"].as_str().is_some_and(|key| key.len() <= 255), "{request}");
        }
    }
    // Stripe is gone: an answer that says so, and no key in it or in the log
    drop(stripe);
    let failed = org.owner.post("/billing/topup", json!({ "pack": "small" })).await;
    assert!(
        failed.fails(500, "INTERNAL_ERROR")["message"].as_str().expect("text").contains("Stripe")
    );
    let lines = logs.lines().join("\n");
    assert!(!lines.contains(KEY) && !failed.text.contains(KEY));
}
