//! Who sees credits, and how time refills them.

use super::{credits, january, start, start_at, state};
use crate::fixture::shape::{assert_timestamp, fields};
use crate::fixture::stripe::unconfigured;
use crate::fixture::{Caller, Options, Server, embedders};
use chrono::TimeDelta;
use serde_json::json;
use switchy_server::auth::OrgRole;

#[tokio::test]
async fn an_organization_begins_as_a_starter_and_every_member_sees_it() {
    let server = start(unconfigured()).await;
    let org = server.org("acme").await;
    for role in [OrgRole::Admin, OrgRole::Member] {
        let member = server.member(&org, role.as_str(), role).await;
        let balance = credits(&member).await;
        assert_eq!(
            fields(&balance),
            [
                "balance",
                "cancelAtPeriodEnd",
                "interval",
                "monthlyAllotment",
                "organizationId",
                "pastDue",
                "periodEnd",
                "plan",
                "topupBalance"
            ]
        );
        assert_eq!(balance["organizationId"], org.id.as_str());
        assert_eq!(balance["plan"], "STARTER");
        assert_eq!(balance["interval"], json!(null));
        assert_eq!(balance["monthlyAllotment"], 500);
        assert_timestamp(&balance["periodEnd"]);
    }
    // seen many times and at once, it was given once
    let seen = futures::future::join_all((0..20).map(|_| credits(&org.owner))).await;
    assert!(seen.iter().all(|balance| balance["balance"] == 500), "{seen:?}");
    let other = server.org("globex").await;
    assert_eq!(credits(&other.owner).await["organizationId"], other.id.as_str());
}

#[tokio::test]
async fn a_month_is_refilled_when_it_is_over_and_what_is_left_expires() {
    let (server, clock) = start_at(january()).await;
    let org = server.org("acme").await;
    assert_eq!(credits(&org.owner).await["periodEnd"], "2026-02-28T10:00:00.000Z");
    spend(&server, &org.owner, 120, "a").await;
    assert_eq!(state(&org.owner).await.1, 380);
    clock.advance(TimeDelta::days(28) - TimeDelta::seconds(1));
    assert_eq!(state(&org.owner).await.1, 380);
    clock.advance(TimeDelta::seconds(1));
    let balance = credits(&org.owner).await;
    assert_eq!(balance["balance"], 500);
    // the end of the month comes back
    assert_eq!(balance["periodEnd"], "2026-03-31T10:00:00.000Z");
    // nobody looks for a quarter of a year: one refill, not three
    clock.advance(TimeDelta::days(90));
    assert_eq!(state(&org.owner).await.1, 500);
    assert_eq!(credits(&org.owner).await["periodEnd"], "2026-05-31T10:00:00.000Z");
    let kinds = "SELECT array_agg(kind || monthly ORDER BY entry) FROM credit_ledger";
    let kinds: Vec<String> = server.sql().await.query_one(kinds, &[]).await.expect("read").get(0);
    assert_eq!(
        kinds,
        ["allotment500", "spend-120", "expiry-380", "allotment500", "expiry-500", "allotment500"]
    );
}

#[tokio::test]
async fn top_ups_are_spent_first_and_do_not_expire() {
    let (server, clock) = start_at(january()).await;
    let org = server.org("acme").await;
    grant(&server, &org.owner, 300).await;
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 800, 300));
    spend(&server, &org.owner, 200, "a").await;
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 600, 100));
    clock.advance(TimeDelta::days(31));
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 600, 100));
    spend(&server, &org.owner, 150, "b").await;
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 450, 0));
}

#[tokio::test]
async fn the_server_refills_by_itself() {
    let (server, clock) = start_at(january()).await;
    let org = server.org("acme").await;
    credits(&org.owner).await;
    clock.advance(TimeDelta::days(40));
    // a server that starts looks at once
    let options = Options {
        billing: unconfigured(),
        clock: switchy_server::clock::Clock::Manual(clock.clone()),
        embedder: embedders::none(),
        ..Options::default()
    };
    let _second = server.beside(options).await;
    let sql = server.sql().await;
    for _ in 0..500 {
        let entries = "SELECT count(*) FROM credit_ledger";
        if sql.query_one(entries, &[]).await.expect("counted").get::<_, i64>(0) == 3 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no refill");
}

#[tokio::test]
async fn credits_cost_one_round_trip() {
    use crate::fixture::logs::Logs;
    let (log, logs) = Logs::new();
    let options = Options {
        billing: unconfigured(),
        embedder: embedders::none(),
        log,
        pool_size: 2,
        ..Options::default()
    };
    let server = Server::with(options).await;
    let org = server.org("acme").await;
    for _ in 0..20 {
        credits(&org.owner).await;
    }
    let lines = logs.lines();
    let last = lines.iter().rev().find(|l| l.contains("operation=credit_balance")).expect("one");
    assert!(format!("{last} ").contains(" round_trips=1 "), "{last}");
}

/// Spends credits of the caller's organization.
pub(super) async fn spend(server: &Server, caller: &Caller, amount: u32, reference: &str) {
    let mut tx = server.store.begin_system().await.expect("a transaction");
    let locked = switchy_server::store::billing::lock(&mut tx, &caller.org_id).await;
    let mut locked = locked.expect("locked").expect("an account");
    use switchy_server::store::credits::{Spending, spend};
    let outcome = spend(&mut tx, &mut locked, amount, reference, None).await.expect("spent");
    assert!(matches!(outcome, Spending::Done(_)), "{outcome:?}");
    switchy_server::store::billing::save(&mut tx, locked).await.expect("saved");
    tx.commit().await.expect("committed");
}

/// Gives credits that do not expire.
pub(super) async fn grant(server: &Server, caller: &Caller, credits: i64) {
    super::credits(caller).await;
    let sql = "INSERT INTO credit_ledger (org_id, entry, kind, monthly, topup, monthly_after, \
               topup_after, reference, created_at) \
               VALUES ($1, 0, 'adjustment', 0, $2, 0, 0, 'grant:' || gen_random_uuid(), now())";
    let org = caller.org_id.as_str();
    server.sql().await.execute(sql, &[&org, &credits]).await.expect("granted");
}
