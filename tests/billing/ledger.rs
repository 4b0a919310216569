//! The books: what the database itself guarantees, whoever writes.

use super::credits::grant;
use super::{credits, january, session, start, start_at, state};
use crate::fixture::stripe::{event, tell, unreachable};
use crate::fixture::{Caller, Server};
use futures::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use secrecy::ExposeSecret;
use serde_json::json;
use std::collections::BTreeSet;
use switchy_server::store::billing::{lock, save};
use switchy_server::store::credits::{Spending, spend};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A connection with the rights of a role, in the name of a caller.
async fn in_role(server: &Server, role: &str, caller: Option<&Caller>) -> Client {
    let client = crate::fixture::cluster::connect(server.database.expose_secret()).await;
    client.batch_execute(&format!("SET ROLE {role}")).await.expect("the role");
    if let Some(caller) = caller {
        let set = "SELECT set_config('switchy.org_id', $1, false), \
                   set_config('switchy.user_id', $2, false)";
        let (org, user) = (caller.org_id.as_str(), caller.user_id.as_str());
        client.execute(set, &[&org, &user]).await.expect("set");
    }
    client
}

/// Fails the test unless the books are in order: the balance is the sum of the entries, the
/// entries are numbered without a gap, none left anything below zero, no reference came twice.
async fn audit(server: &Server) {
    let sql = "SELECT b.org_id, b.entries, b.monthly, b.topup, count(l.entry), max(l.entry),
            coalesce(sum(l.monthly), 0)::bigint, coalesce(sum(l.topup), 0)::bigint,
            coalesce(min(least(l.monthly_after, l.topup_after)), 0),
            count(DISTINCT l.reference)
        FROM credit_balances b LEFT JOIN credit_ledger l ON l.org_id = b.org_id
        GROUP BY b.org_id";
    for row in server.sql().await.query(sql, &[]).await.expect("read") {
        let number = |i: usize| row.get::<_, Option<i64>>(i).unwrap_or_default();
        assert_eq!((number(1), number(1)), (number(4), number(5)), "numbered without a gap");
        assert_eq!((number(2), number(3)), (number(6), number(7)), "the balance is the sum");
        assert!(number(8) >= 0, "never below zero");
        assert_eq!(number(4), number(9), "every reference once");
    }
}

#[tokio::test]
async fn nobody_changes_or_removes_an_entry_not_even_the_owner_of_the_table() {
    let server = start(unreachable()).await;
    let org = server.org("acme").await;
    credits(&org.owner).await;
    let writes = [
        "UPDATE credit_ledger SET monthly = 1000000",
        "UPDATE credit_ledger SET reason = 'x'",
        "DELETE FROM credit_ledger",
        "TRUNCATE credit_ledger CASCADE",
    ];
    let owner = server.sql().await;
    for sql in writes {
        let refused = owner.batch_execute(sql).await.expect_err(sql);
        assert_eq!(refused.code(), Some(&SqlState::INTEGRITY_CONSTRAINT_VIOLATION), "{sql}");
    }
    for role in ["switchy_system", "switchy_app"] {
        let client = in_role(&server, role, Some(&org.owner)).await;
        for sql in writes {
            let refused = client.batch_execute(sql).await.expect_err(sql);
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{role}: {sql}");
        }
    }
    audit(&server).await;
}

#[tokio::test]
async fn a_balance_that_is_not_the_sum_of_its_entries_cannot_be_written() {
    let server = start(unreachable()).await;
    let (org, other) = (server.org("acme").await, server.org("globex").await);
    credits(&org.owner).await;
    let system = in_role(&server, "switchy_system", None).await;
    let owner = server.sql().await;
    let fresh = format!(
        "INSERT INTO credit_balances (org_id, entries, monthly, topup) VALUES ('{}', 0, 0, 5)",
        other.id
    );
    for client in [&system, &owner] {
        for sql in [
            "UPDATE credit_balances SET monthly = monthly + 1",
            "UPDATE credit_balances SET topup = 1",
            "UPDATE credit_balances SET entries = 0, monthly = 0, topup = 0",
            "UPDATE credit_balances SET entries = entries + 1",
            &fresh,
        ] {
            let refused = client.batch_execute(sql).await.expect_err(sql);
            let code = refused.code();
            assert_eq!(code, Some(&SqlState::INTEGRITY_CONSTRAINT_VIOLATION), "{sql}");
        }
    }
    owner.batch_execute("DELETE FROM credit_balances").await.expect_err("stays");
    audit(&server).await;
}

#[tokio::test]
async fn what_is_entered_cannot_lie_about_the_balance_or_fall_below_zero() {
    let server = start(unreachable()).await;
    let org = server.org("acme").await;
    credits(&org.owner).await;
    let system = in_role(&server, "switchy_system", None).await;
    let enter = |kind: &str, monthly: i64, topup: i64, reference: &str| {
        format!(
            "INSERT INTO credit_ledger (org_id, entry, kind, monthly, topup, monthly_after, \
             topup_after, reference, created_at) VALUES ('{}', 77, '{kind}', {monthly}, {topup}, \
             999999, 999999, '{reference}', now())",
            org.id
        )
    };
    // number and balance are not the writer's to say
    system.batch_execute(&enter("adjustment", 0, 7, "r1")).await.expect("entered");
    assert_eq!(state(&org.owner).await, ("STARTER".into(), 507, 7));
    for (sql, code) in [
        (enter("adjustment", 0, 7, "r1"), SqlState::UNIQUE_VIOLATION),
        (enter("adjustment", -501, 0, "r2"), SqlState::CHECK_VIOLATION),
        (enter("adjustment", 0, -8, "r3"), SqlState::CHECK_VIOLATION),
        (enter("spend", 1, 0, "r4"), SqlState::CHECK_VIOLATION),
        (enter("topup", 1, 0, "r5"), SqlState::CHECK_VIOLATION),
        (enter("gift", 1, 0, "r6"), SqlState::CHECK_VIOLATION),
        (enter("adjustment", 0, 1, ""), SqlState::CHECK_VIOLATION),
    ] {
        let refused = system.batch_execute(&sql).await.expect_err(&sql);
        assert_eq!(refused.code(), Some(&code), "{sql}");
    }
    audit(&server).await;
}

#[tokio::test]
async fn requests_write_no_billing_at_all_and_read_their_own_organization_alone() {
    let server = start(unreachable()).await;
    let (acme, globex) = (server.org("acme").await, server.org("globex").await);
    for org in [&acme, &globex] {
        grant(&server, &org.owner, 10).await;
        session(&server, org, &format!("cs_{}", org.slug), Err(1_000)).await;
    }
    let app = in_role(&server, "switchy_app", Some(&acme.owner)).await;
    for table in ["billing_accounts", "stripe_accounts", "credit_balances"] {
        let rows = app.query(&format!("SELECT org_id FROM {table}"), &[]).await.expect("read");
        let orgs: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(orgs, [acme.id.as_str()], "{table}");
        let nobody = in_role(&server, "switchy_app", None).await;
        let rows = nobody.query(&format!("SELECT org_id FROM {table}"), &[]).await.expect("read");
        assert!(rows.is_empty(), "{table}");
    }
    for sql in [
        "SELECT * FROM credit_ledger",
        "SELECT * FROM stripe_checkouts",
        "SELECT * FROM stripe_events",
        "UPDATE billing_accounts SET plan = 'ENTERPRISE', billing_interval = 'ANNUAL'",
        "DELETE FROM billing_accounts",
        "UPDATE stripe_accounts SET customer_id = 'cus_mine'",
        "UPDATE credit_balances SET topup = 1000000",
        "INSERT INTO credit_balances (org_id) VALUES ('x')",
        "INSERT INTO credit_ledger SELECT * FROM credit_ledger",
        "INSERT INTO stripe_events VALUES ('evt_1', 'x', 'x', now(), now())",
        "DELETE FROM stripe_events",
    ] {
        let refused = app.batch_execute(sql).await.expect_err(sql);
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}");
    }
    assert_eq!(state(&acme.owner).await.2, 10);
}

/// Both layers: without row-level security the query's own predicate holds.
#[tokio::test]
async fn the_predicate_holds_without_row_level_security() {
    let server = start(unreachable()).await;
    let (acme, globex) = (server.org("acme").await, server.org("globex").await);
    grant(&server, &globex.owner, 77).await;
    credits(&acme.owner).await;
    let sql = server.sql().await;
    for table in ["billing_accounts", "stripe_accounts", "credit_balances", "members"] {
        sql.batch_execute(&format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"))
            .await
            .expect("disabled");
    }
    assert_eq!(credits(&acme.owner).await["organizationId"], acme.id.as_str());
    assert_eq!(state(&acme.owner).await, ("STARTER".into(), 500, 0));
    assert_eq!(state(&globex.owner).await, ("STARTER".into(), 577, 77));
}

/// What happens to an organization's credits.
#[derive(Clone, Debug)]
enum Step {
    Spend(u32, u8),
    TopUp(u8),
    Refund(u8, u16),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u32..900, 0u8..8).prop_map(|(amount, n)| Step::Spend(amount, n)),
        2 => (0u8..4).prop_map(Step::TopUp),
        2 => (0u8..4, 0u16..=1_000).prop_map(|(n, cents)| Step::Refund(n, cents)),
        1 => Just(Step::Look),
    ]
}

async fn take(server: &Server, caller: &Caller, case: u32, step: &Step, nth: usize) -> Option<i64> {
    let at = january().timestamp();
    let session = |n: &u8| format!("cs_{case}_{n}");
    match step {
        Step::Spend(amount, n) => {
            let mut tx = server.store.begin_system().await.expect("a transaction");
            let locked = lock(&mut tx, &caller.org_id).await.expect("locked");
            let mut locked = locked.expect("an account");
            // an amount belongs to its reference
            let reference = format!("{n}:{amount}");
            let outcome = spend(&mut tx, &mut locked, *amount, &reference, None).await;
            let outcome = outcome.expect("an outcome");
            save(&mut tx, locked).await.expect("saved");
            tx.commit().await.expect("committed");
            return matches!(outcome, Spending::Done(_)).then_some(i64::from(*amount));
        }
        Step::TopUp(n) => {
            let object = json!({
                "id": session(n), "object": "checkout.session", "payment_status": "paid",
                "payment_intent": format!("pi_{case}_{n}"), "mode": "payment"
            });
            let told =
                event(&format!("evt_{case}_{nth}"), "checkout.session.completed", at, object);
            tell(server, &told).await.data(200);
        }
        Step::Refund(n, cents) => {
            let object = json!({
                "id": format!("ch_{case}_{n}"), "object": "charge", "amount": 1_000,
                "amount_refunded": cents, "payment_intent": format!("pi_{case}_{n}")
            });
            let told = event(&format!("evt_{case}_{nth}"), "charge.refunded", at, object);
            tell(server, &told).await.data(200);
        }
        Step::Look => {
            credits(caller).await;
        }
    }
    None
}

#[test]
fn whatever_happens_at_the_same_time_the_books_are_in_order() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (server, _clock) = runtime.block_on(start_at(january()));
    let case = std::cell::Cell::new(0u32);
    let config =
        Config { cases: 12, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let steps = proptest::collection::vec(step(), 1..40);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        case.set(case.get() + 1);
        let case = case.get();
        runtime.block_on(async {
            let org = server.org(&format!("org{case}")).await;
            for n in 0..4 {
                session(&server, &org, &format!("cs_{case}_{n}"), Err(300)).await;
            }
            let taken = steps.iter().enumerate();
            let spent: i64 =
                join_all(taken.map(|(nth, step)| take(&server, &org.owner, case, step, nth)))
                    .await
                    .into_iter()
                    .flatten()
                    .sum();
            let (_, balance, _) = state(&org.owner).await;
            let topups = steps.iter().filter_map(|step| match step {
                Step::TopUp(n) => Some(*n),
                _ => None,
            });
            let topups = topups.collect::<BTreeSet<_>>().len();
            let bought = i64::try_from(topups).expect("few") * 300;
            assert!(balance >= 0 && balance + spent <= 500 + bought, "{balance} {spent} {bought}");
            audit(&server).await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spending_at_the_same_time_never_overdraws_and_a_reference_is_spent_once() {
    let (server, _clock) = start_at(january()).await;
    let org = server.org("acme").await;
    credits(&org.owner).await;
    let attempt = async |reference: String| {
        let mut tx = server.store.begin_system().await.expect("a transaction");
        let locked = lock(&mut tx, &org.id).await.expect("locked");
        let mut locked = locked.expect("an account");
        let outcome = spend(&mut tx, &mut locked, 30, &reference, None).await.expect("an outcome");
        save(&mut tx, locked).await.expect("saved");
        tx.commit().await.expect("committed");
        outcome
    };
    let outcomes = join_all((0..40).map(|n| attempt(format!("r{}", n % 20)))).await;
    let done = outcomes.iter().filter(|o| matches!(o, Spending::Done(_))).count();
    let refused = outcomes.iter().filter(|o| matches!(o, Spending::Insufficient(_))).count();
    assert_eq!(done, 16, "500 are sixteen times 30, and 20 left: {outcomes:?}");
    assert!(refused >= 4, "{outcomes:?}");
    assert_eq!(state(&org.owner).await.1, 20);
    // the same reference for another amount is a mistake
    let mut tx = server.store.begin_system().await.expect("a transaction");
    let mut locked = lock(&mut tx, &org.id).await.expect("locked").expect("an account");
    for (amount, is_error) in [(30, false), (31, true)] {
        let reference = outcomes.iter().position(|o| matches!(o, Spending::Done(_)));
        let reference = format!("r{}", reference.expect("one") % 20);
        let outcome = spend(&mut tx, &mut locked, amount, &reference, None).await;
        assert_eq!(outcome.is_err(), is_error, "{outcome:?}");
    }
    audit(&server).await;
}
