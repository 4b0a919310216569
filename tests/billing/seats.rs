//! Members are seats: Stripe follows them.

use super::{start, until};
use crate::fixture::stripe::Stripe;
use crate::fixture::{Options, Org, Server, embedders};
use serde_json::json;
use switchy_server::auth::OrgRole;

async fn team() -> (Server, Stripe, Org) {
    let stripe = tokio::task::spawn_blocking(Stripe::start).await.expect("Stripe");
    let server = start(stripe.options()).await;
    stripe.notify(&server).await;
    let org = server.org("acme").await;
    let answer = org.owner.post("/billing/checkout", json!({ "plan": "team" })).await;
    stripe.pay(answer.data(200)["url"].as_str().expect("a URL")).await;
    until(&org.owner, ("TEAM", 9_000, 0)).await;
    (server, stripe, org)
}

async fn until_seats(stripe: &Stripe, wanted: i64) {
    for _ in 0..600 {
        if stripe.subscription().await["quantity"] == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{} seats, not {wanted}", stripe.subscription().await["quantity"]);
}

/// Waits until there is nothing to tell Stripe any more.
async fn until_quiet(server: &Server) {
    let sql = server.sql().await;
    let due = "SELECT count(*) FROM stripe_accounts WHERE sync_due_at IS NOT NULL";
    for _ in 0..600 {
        if sql.query_one(due, &[]).await.expect("counted").get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("still comparing");
}

fn item_of(subscription: &serde_json::Value) -> String {
    let id = subscription["items"]["data"][0]["id"].as_str().expect("an item");
    format!("/v1/subscription_items/{id}")
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_or_leaves_changes_the_seats_prorated() {
    let (server, stripe, org) = team().await;
    assert_eq!(stripe.subscription().await["quantity"], 1);
    let grace = server.member(&org, "grace", OrgRole::Member).await;
    until_seats(&stripe, 2).await;
    for name in ["linus", "alan", "barbara"] {
        server.member(&org, name, OrgRole::Member).await;
    }
    until_seats(&stripe, 5).await;
    let leave = "DELETE FROM members WHERE user_id = $1";
    server.sql().await.execute(leave, &[&grace.user_id.as_str()]).await.expect("left");
    until_seats(&stripe, 4).await;
    // credits follow with the next month
    until(&org.owner, ("TEAM", 9_000, 0)).await;
    let requests = stripe.get("/_config/test/requests").await;
    let item = item_of(&stripe.subscription().await);
    let changes = requests["data"].as_array().expect("a list").iter();
    for change in changes.filter(|r| r["path"] == item) {
        let body = change["body"].as_str().expect("a form");
        assert!(body.contains("proration_behavior=create_prorations"), "{body}");
        assert!(change["key"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_tell_stripe_once() {
    let (server, stripe, org) = team().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let options = Options {
            billing: stripe.options(),
            embedder: embedders::none(),
            ..Options::default()
        };
        others.push(server.beside(options).await);
    }
    until_quiet(&server).await;
    let item = item_of(&stripe.subscription().await);
    let before = stripe.count("POST", &item).await;
    server.member(&org, "grace", OrgRole::Member).await;
    until_seats(&stripe, 2).await;
    until_quiet(&server).await;
    assert_eq!(stripe.count("POST", &item).await, before + 1);
    assert_eq!(others.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_was_away_is_told_later() {
    let (server, stripe, org) = team().await;
    until_quiet(&server).await;
    let due = "SELECT sync_attempts FROM stripe_accounts WHERE sync_due_at > now()";
    // a second server that cannot reach Stripe; the first one is gone
    let database = server.database.clone();
    let away = Options {
        billing: switchy_server::billing::BillingOptions {
            stripe_api_url: "http://127.0.0.1:1".parse().expect("a URL"),
            ..stripe.options()
        },
        embedder: embedders::none(),
        ..Options::default()
    };
    let away = server.beside(away).await;
    server.stop(std::time::Duration::from_secs(10)).await;
    away.member(&org, "grace", OrgRole::Member).await;
    let sql = crate::fixture::cluster::connect_to(&database).await;
    let mut attempts = 0;
    for _ in 0..600 {
        if let Some(row) = sql.query_opt(due, &[]).await.expect("read") {
            attempts = row.get(0);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(attempts, 1, "put off, not given up");
    assert_eq!(stripe.subscription().await["quantity"], 1);
    away.stop(std::time::Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_that_was_lost_is_fetched() {
    let stripe = tokio::task::spawn_blocking(Stripe::start).await.expect("Stripe");
    let server = start(stripe.options()).await;
    stripe.notify(&server).await;
    let org = server.org("acme").await;
    let answer = org.owner.post("/billing/checkout", json!({ "plan": "team" })).await;
    stripe.post("/_config/test/hold", json!({})).await;
    let session = stripe.pay(answer.data(200)["url"].as_str().expect("a URL")).await;
    // of all events, only the last arrives
    let completed = stripe.post("/_config/test/release", json!({ "reversed": true })).await;
    assert_eq!(completed["data"][0]["type"], "checkout.session.completed");
    until(&org.owner, ("TEAM", 9_000, 0)).await;
    until_quiet(&server).await;
    let sql = server.sql().await;
    let known = "SELECT subscription_id, item_id IS NOT NULL FROM stripe_accounts";
    let row = sql.query_one(known, &[]).await.expect("read");
    assert_eq!(row.get::<_, &str>(0), session["subscription"].as_str().expect("an id"));
    assert!(row.get::<_, bool>(1), "its item was fetched");
}
