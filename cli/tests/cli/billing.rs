//! Plan and credits.

use serde_json::{Value, json};

use crate::{ID, NOW, User, failure, serve, server, success};

const PAGE: &str = "https://checkout.stripe.com/c/pay/cs_test_1";

fn balance(past_due: bool) -> Value {
    json!({ "balance": {
        "organizationId": ID, "plan": "TEAM", "interval": "MONTHLY", "balance": 9500,
        "monthlyAllotment": 9000, "topupBalance": 1000, "periodEnd": NOW, "pastDue": past_due,
        "cancelAtPeriodEnd": false
    } })
}

#[tokio::test]
async fn credits_are_shown_with_where_they_come_from() {
    let server = server().await;
    serve(&server, "GET", "/billing/credits", success(200, &balance(false))).await;
    let done = User::of(&server).run(&["billing", "credits"]).await.ok();
    assert_eq!(
        done.stdout,
        "plan           TEAM, paid monthly\n\
         credits        9500\n\
         of this month  8500 of 9000\n\
         of top-ups     1000\n\
         next month     2026-04-19 12:34Z\n"
    );
    let done = User::of(&server).run(&["billing", "credits", "-o", "json"]).await.ok();
    assert_eq!(done.json(), balance(false));
}

#[tokio::test]
async fn a_failed_payment_is_told_with_what_to_do() {
    let server = server().await;
    serve(&server, "GET", "/billing/credits", success(200, &balance(true))).await;
    let done = User::of(&server).run(&["billing", "credits"]).await.ok();
    assert!(done.stdout.contains("switchy billing portal"), "{}", done.stdout);
}

#[tokio::test]
async fn the_url_of_a_page_is_all_that_is_printed_and_everything_asked_for_is_sent() {
    let server = server().await;
    for route in ["/billing/checkout", "/billing/topup", "/billing/portal"] {
        serve(&server, "POST", route, success(200, &json!({ "url": PAGE }))).await;
    }
    let user = User::of(&server);
    for arguments in [
        &["billing", "checkout", "TEAM", "--annual", "--success-url", "https://a.test/"][..],
        &["billing", "checkout", "pro"],
        &["billing", "topup", "large"],
        &["billing", "topup", "--credits", "250", "--cancel-url", "https://a.test/"],
        &["billing", "portal"],
        &["billing", "portal", "--return-url", "https://a.test/"],
    ] {
        let done = user.run(arguments).await.ok();
        assert_eq!(done.stdout, format!("{PAGE}\n"));
        assert!(done.stderr.contains("browser"), "{}", done.stderr);
    }
    let requests = server.received_requests().await.expect("recorded");
    let bodies: Vec<Value> = requests.iter().map(|r| r.body_json().expect("JSON")).collect();
    assert_eq!(
        bodies,
        [
            json!({ "plan": "team", "interval": "annual", "successUrl": "https://a.test/" }),
            json!({ "plan": "pro" }),
            json!({ "pack": "large" }),
            json!({ "credits": 250, "cancelUrl": "https://a.test/" }),
            json!({}),
            json!({ "returnUrl": "https://a.test/" }),
        ]
    );
    assert!(requests.iter().all(|r| r.headers.contains_key("idempotency-key")));
    let done = user.run(&["billing", "portal", "-o", "json"]).await.ok();
    assert_eq!(done.json(), json!({ "url": PAGE }));
    assert!(done.stderr.is_empty(), "{}", done.stderr);
}

#[tokio::test]
async fn a_plan_that_one_is_on_is_a_conflict() {
    let server = server().await;
    serve(&server, "POST", "/billing/checkout", failure(409, "CONFLICT", &json!({}))).await;
    assert_eq!(User::of(&server).run(&["billing", "checkout", "team"]).await.exit, 6);
}
