//! A subscription's life, told in any order.

use super::credits::spend;
use super::{
    SUB_CREATED, SUB_DELETED, SUB_UPDATED, Sub, credits, customer, hear, invoice, january, seconds,
    session, start_at, state,
};
use crate::fixture::stripe::{event, tell};
use crate::fixture::{Org, Server};
use chrono::{DateTime, Months, TimeDelta, Utc};
use serde_json::{Value, json};
use switchy_server::auth::OrgRole;
use switchy_server::clock::ManualClock;

async fn with_customer() -> (Server, ManualClock, Org) {
    let (server, clock) = start_at(january()).await;
    let org = server.org("acme").await;
    customer(&server, &org).await;
    (server, clock, org)
}

/// What leads to a TEAM: the session, the subscription twice, its first invoice.
fn beginnings(at: DateTime<Utc>) -> Vec<Value> {
    let team = Sub::monthly("team", at);
    let mut incomplete = team.json("cus_acme");
    incomplete["status"] = json!("incomplete");
    let completed = json!({
        "id": "cs_1", "object": "checkout.session", "mode": "subscription", "subscription": "sub_1",
        "customer": "cus_acme", "payment_status": "paid", "payment_intent": null
    });
    let paid = invoice("in_1", "cus_acme", "subscription_create", (team.start, team.end));
    let second = |n: i64| (at + seconds(n)).timestamp();
    vec![
        event("evt_a", SUB_CREATED, second(0), incomplete),
        event("evt_b", SUB_UPDATED, second(1), team.json("cus_acme")),
        event("evt_c", "invoice.paid", second(1), paid),
        event("evt_d", "checkout.session.completed", second(2), completed),
    ]
}

fn orders<T: Clone>(of: &[T]) -> Vec<Vec<T>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    (0..of.len())
        .flat_map(|first| {
            let mut rest = of.to_vec();
            let head = rest.remove(first);
            orders(&rest).into_iter().map(move |tail| [vec![head.clone()], tail].concat())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_begins_the_same_in_every_order_of_its_events() {
    let (server, _clock) = start_at(january()).await;
    let at = january() + seconds(10);
    for (n, order) in orders(&beginnings(at)).into_iter().enumerate() {
        let org = server.org(&format!("acme{n}")).await;
        customer(&server, &org).await;
        session(&server, &org, &format!("cs_{n}"), Ok(("TEAM", "MONTHLY"))).await;
        for told in order {
            // each organization has its own of everything
            let text = told.to_string();
            let text = text
                .replace("\"cus_acme\"", &format!("\"cus_acme{n}\""))
                .replace("\"cs_1\"", &format!("\"cs_{n}\""))
                .replace("\"sub_1\"", &format!("\"sub_{n}\""))
                .replace("\"in_1\"", &format!("\"in_{n}\""))
                .replace("\"evt_", &format!("\"evt_{n}_"));
            let told: Value = serde_json::from_str(&text).expect("JSON");
            tell(&server, &told).await.data(200);
        }
        let balance = credits(&org.owner).await;
        assert_eq!(balance["plan"], "TEAM", "{n}");
        assert_eq!(balance["interval"], "MONTHLY", "{n}");
        assert_eq!(balance["balance"], 9_000, "{n}");
        assert_eq!(balance["periodEnd"], "2026-02-28T10:00:10.000Z", "{n}");
        let seeds = "SELECT count(*) FROM credit_ledger WHERE org_id = $1 AND kind = 'allotment'";
        let seeds = server.sql().await.query_one(seeds, &[&org.id.as_str()]).await;
        assert_eq!(seeds.expect("counted").get::<_, i64>(0), 2, "{n}: STARTER's and one of TEAM");
    }
}

#[tokio::test]
async fn old_news_changes_nothing() {
    let (server, _clock, org) = with_customer().await;
    let at = january();
    let team = Sub::monthly("team", at);
    let mut cancelled = team.json("cus_acme");
    cancelled["cancel_at_period_end"] = json!(true);
    hear(&server, "evt_2", SUB_UPDATED, at + seconds(20), cancelled).await;
    assert_eq!(credits(&org.owner).await["cancelAtPeriodEnd"], true);
    // made later, and older
    hear(&server, "evt_1", SUB_UPDATED, at + seconds(10), team.json("cus_acme")).await;
    hear(&server, "evt_0", SUB_CREATED, at, team.json("cus_acme")).await;
    assert_eq!(credits(&org.owner).await["cancelAtPeriodEnd"], true);
    hear(&server, "evt_3", SUB_UPDATED, at + seconds(30), team.json("cus_acme")).await;
    assert_eq!(credits(&org.owner).await["cancelAtPeriodEnd"], false);
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 9_000, 0));
}

#[tokio::test]
async fn a_deletion_is_final_whatever_comes_after_it() {
    let (server, clock, org) = with_customer().await;
    let at = january();
    let team = Sub::monthly("team", at).json("cus_acme");
    // before anything else is known of it
    hear(&server, "evt_9", SUB_DELETED, at + seconds(30), team.clone()).await;
    hear(&server, "evt_1", SUB_CREATED, at, team.clone()).await;
    hear(&server, "evt_2", SUB_UPDATED, at + seconds(60), team.clone()).await;
    assert_eq!(state(&org.owner).await.0, "STARTER");
    // one that ran: what is paid is theirs to the end
    let next = Sub { id: "sub_2", ..Sub::monthly("team", at) }.json("cus_acme");
    hear(&server, "evt_3", SUB_CREATED, at, next.clone()).await;
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 9_000, 0));
    hear(&server, "evt_4", SUB_DELETED, at + seconds(5), next.clone()).await;
    hear(&server, "evt_5", SUB_UPDATED, at + seconds(50), next).await;
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 9_000, 0));
    clock.advance(TimeDelta::days(28));
    let balance = credits(&org.owner).await;
    assert_eq!(balance["plan"], "STARTER");
    assert_eq!(balance["interval"], json!(null));
    assert_eq!(balance["balance"], 500);
    assert_eq!(balance["periodEnd"], "2026-03-28T10:00:00.000Z");
}

#[tokio::test]
async fn a_renewal_that_is_paid_refills_once_and_tells_the_next_end() {
    let (server, clock, org) = with_customer().await;
    let team = Sub::monthly("team", january());
    hear(&server, "evt_1", SUB_CREATED, team.start, team.json("cus_acme")).await;
    spend(&server, &org.owner, 4_000, "a").await;
    clock.advance(TimeDelta::days(28));
    // time alone brings nothing: the month is not paid yet
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 5_000, 0));
    let next = (team.end, january() + Months::new(2));
    server.member(&org, "grace", OrgRole::Member).await;
    let renewed = Sub { start: next.0, end: next.1, ..Sub::monthly("team", january()) };
    let mut renewed = renewed.json("cus_acme");
    renewed["created"] = json!(january().timestamp());
    hear(&server, "evt_2", SUB_UPDATED, next.0, renewed).await;
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 5_000, 0), "not paid yet");
    let paid = invoice("in_2", "cus_acme", "subscription_cycle", next);
    hear(&server, "evt_3", "invoice.paid", next.0 + seconds(9), paid.clone()).await;
    let balance = credits(&org.owner).await;
    // one more member than at the beginning
    assert_eq!(balance["balance"], 10_000);
    assert_eq!(balance["periodEnd"], "2026-03-31T10:00:00.000Z");
    spend(&server, &org.owner, 1_000, "b").await;
    // the same invoice in another event
    hear(&server, "evt_4", "invoice.paid", next.0 + seconds(9), paid).await;
    // invoices that renew nothing
    for (id, reason) in [("in_3", "subscription_update"), ("in_4", "manual")] {
        let other = invoice(id, "cus_acme", reason, next);
        hear(&server, &format!("evt_{id}"), "invoice.paid", next.0 + seconds(9), other).await;
    }
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 9_000, 0));
}

#[tokio::test]
async fn a_failed_payment_is_marked_and_refills_nothing_until_it_is_made_good() {
    let (server, clock, org) = with_customer().await;
    let team = Sub::monthly("team", january());
    hear(&server, "evt_1", SUB_CREATED, team.start, team.json("cus_acme")).await;
    spend(&server, &org.owner, 4_000, "a").await;
    clock.advance(TimeDelta::days(28));
    let next = (team.end, january() + Months::new(2));
    let due = invoice("in_2", "cus_acme", "subscription_cycle", next);
    hear(&server, "evt_2", "invoice.payment_failed", next.0 + seconds(5), due.clone()).await;
    let balance = credits(&org.owner).await;
    assert_eq!(balance["pastDue"], true);
    assert_eq!((&balance["plan"], &balance["balance"]), (&json!("TEAM"), &json!(5_000)));
    hear(&server, "evt_4", "invoice.paid", next.0 + seconds(50), due.clone()).await;
    let balance = credits(&org.owner).await;
    assert_eq!(balance["pastDue"], false);
    assert_eq!(balance["balance"], 9_000);
    // an attempt before the one that succeeded, told late
    hear(&server, "evt_3", "invoice.payment_failed", next.0 + seconds(40), due).await;
    assert_eq!(credits(&org.owner).await["pastDue"], false);
}

#[tokio::test]
async fn a_year_that_is_paid_brings_credits_every_month_and_no_longer() {
    let (server, clock, org) = with_customer().await;
    let year = Sub { end: january() + Months::new(12), ..Sub::monthly("team", january()) };
    hear(&server, "evt_1", SUB_CREATED, year.start, year.json("cus_acme")).await;
    let balance = credits(&org.owner).await;
    assert_eq!(balance["interval"], "ANNUAL");
    assert_eq!(balance["periodEnd"], "2026-02-28T10:00:00.000Z");
    for (month, (days, end)) in
        [(28, "2026-03-31"), (31, "2026-04-30"), (30, "2026-05-31")].into_iter().enumerate()
    {
        spend(&server, &org.owner, 100, &format!("{month}")).await;
        clock.advance(TimeDelta::days(days));
        let balance = credits(&org.owner).await;
        assert_eq!(balance["balance"], 9_000);
        assert_eq!(balance["periodEnd"], format!("{end}T10:00:00.000Z"));
    }
    // into the next year, which is not paid
    clock.advance(TimeDelta::days(300));
    spend(&server, &org.owner, 100, "late").await;
    clock.advance(TimeDelta::days(100));
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 8_900, 0));
}

#[tokio::test]
async fn an_upgrade_reseeds_once_and_going_back_and_forth_earns_nothing() {
    let (server, _clock, org) = with_customer().await;
    let at = january();
    let change = async |n: i64, plan: &str| {
        let sub = Sub::monthly(plan, at).json("cus_acme");
        hear(&server, &format!("evt_{n}"), SUB_UPDATED, at + seconds(n), sub).await;
    };
    change(1, "pro").await;
    assert_eq!(state(&org.owner).await, ("PRO".into(), 3_000, 0));
    spend(&server, &org.owner, 1_000, "a").await;
    change(2, "team").await;
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 9_000, 0));
    spend(&server, &org.owner, 8_000, "b").await;
    change(3, "pro").await;
    assert_eq!(state(&org.owner).await, ("PRO".into(), 1_000, 0), "kept to the month's end");
    change(4, "team").await;
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 1_000, 0));
    // and between intervals
    for n in 5..15 {
        let months = if n % 2 == 0 { 1 } else { 12 };
        let start = at + seconds(n);
        let sub = Sub { start, end: start + Months::new(months), ..Sub::monthly("team", at) };
        let mut sub = sub.json("cus_acme");
        sub["created"] = json!(at.timestamp());
        hear(&server, &format!("evt_{n}"), SUB_UPDATED, start, sub).await;
    }
    assert_eq!(state(&org.owner).await, ("TEAM".into(), 1_000, 0));
}

#[tokio::test]
async fn a_newer_subscription_takes_the_place_of_an_older_one() {
    let (server, _clock, org) = with_customer().await;
    let at = january();
    let old = Sub { id: "sub_old", ..Sub::monthly("pro", at) };
    let start = at + seconds(60);
    let new = Sub { id: "sub_new", ..Sub::monthly("enterprise", start) };
    hear(&server, "evt_1", SUB_CREATED, at, old.json("cus_acme")).await;
    hear(&server, "evt_2", SUB_CREATED, start, new.json("cus_acme")).await;
    assert_eq!(state(&org.owner).await, ("ENTERPRISE".into(), 42_000, 0));
    hear(&server, "evt_3", SUB_UPDATED, start + seconds(9), old.json("cus_acme")).await;
    hear(&server, "evt_4", SUB_DELETED, start + seconds(10), old.json("cus_acme")).await;
    assert_eq!(state(&org.owner).await, ("ENTERPRISE".into(), 42_000, 0));
}

#[tokio::test]
async fn a_subscription_for_something_else_is_not_a_plan() {
    let (server, _clock, org) = with_customer().await;
    let at = january();
    hear(&server, "evt_1", SUB_CREATED, at, Sub::monthly("socks", at).json("cus_acme")).await;
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 500, 0));
    let mut incomplete = Sub::monthly("team", at).json("cus_acme");
    incomplete["status"] = json!("incomplete");
    hear(&server, "evt_2", SUB_CREATED, at, incomplete).await;
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 500, 0), "not paid yet");
}
