//! Plans, credits and Stripe (contract B6).

mod checkout;
mod credits;
mod ledger;
mod order;
mod seats;
mod webhook;

use crate::fixture::stripe::{event, tell, unreachable};
use crate::fixture::{Caller, Options, Org, Server, embedders};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use switchy_server::billing::BillingOptions;
use switchy_server::clock::{Clock, ManualClock};

/// A server without a model: billing needs none.
async fn start(billing: BillingOptions) -> Server {
    Server::with(Options { billing, embedder: embedders::none(), ..Options::default() }).await
}

/// 2026-01-31 10:00 UTC: a day that not every month has.
fn january() -> DateTime<Utc> {
    "2026-01-31T10:00:00Z".parse().expect("a moment")
}

/// A server whose clock the test moves, and whose Stripe cannot be reached.
async fn start_at(at: DateTime<Utc>) -> (Server, ManualClock) {
    let clock = ManualClock::starting_at(at);
    let server = Server::with(Options {
        billing: unreachable(),
        clock: Clock::Manual(clock.clone()),
        embedder: embedders::none(),
        ..Options::default()
    })
    .await;
    (server, clock)
}

/// `GET /billing/credits`.
async fn credits(caller: &Caller) -> Value {
    caller.get("/billing/credits").await.data(200)["balance"].take()
}

/// Plan, credits in all, and those of top-ups.
async fn state(caller: &Caller) -> (String, i64, i64) {
    let balance = credits(caller).await;
    let number = |name: &str| balance[name].as_i64().expect("a number");
    let plan = balance["plan"].as_str().expect("a plan").to_owned();
    (plan, number("balance"), number("topupBalance"))
}

/// Waits until the plan and the credits are these.
async fn until(caller: &Caller, wanted: (&str, i64, i64)) {
    let wanted = (wanted.0.to_owned(), wanted.1, wanted.2);
    let mut last = None;
    for _ in 0..600 {
        let now = state(caller).await;
        if now == wanted {
            return;
        }
        last = Some(now);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{last:?} did not become {wanted:?}");
}

/// An organization with a customer at Stripe, `cus_SLUG`, without a checkout.
async fn customer(server: &Server, org: &Org) {
    credits(&org.owner).await;
    let sql = "UPDATE stripe_accounts SET customer_id = 'cus_' || $2 WHERE org_id = $1";
    let changed = server.sql().await.execute(sql, &[&org.id.as_str(), &org.slug]).await;
    assert_eq!(changed.expect("changed"), 1);
}

/// A checkout session that the server has made: for a plan, or for credits.
async fn session(server: &Server, org: &Org, id: &str, of: Result<(&str, &str), i64>) {
    let (plan, interval, credits) = match of {
        Ok((plan, interval)) => (Some(plan), Some(interval), None),
        Err(credits) => (None, None, Some(credits)),
    };
    let seats = plan.map(|_| 1i32);
    let sql = "INSERT INTO stripe_checkouts (session_id, org_id, reference, plan, \
               billing_interval, seats, credits, created_by_user_id, created_at) \
               VALUES ($1, $2, 'ref_' || $1, $3, $4, $5, $6, $7, now())";
    let (org, user) = (org.id.as_str(), org.owner.user_id.as_str());
    server
        .sql()
        .await
        .execute(sql, &[&id, &org, &plan, &interval, &seats, &credits, &user])
        .await
        .expect("a session");
}

/// A subscription as Stripe describes it.
struct Sub<'a> {
    id: &'a str,
    plan: &'a str,
    status: &'a str,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl<'a> Sub<'a> {
    /// A monthly one of this plan, which began now.
    fn monthly(plan: &'a str, start: DateTime<Utc>) -> Self {
        let end = start + chrono::Months::new(1);
        Sub { id: "sub_1", plan, status: "active", start, end }
    }

    fn json(&self, customer: &str) -> Value {
        let days = (self.end - self.start).num_days();
        let interval = if days > 31 { "year" } else { "month" };
        let price = json!({
            "id": format!("price_{}_{interval}", self.plan), "object": "price",
            "product": format!("switchy_{}", self.plan),
            "recurring": { "interval": interval, "interval_count": 1 }
        });
        json!({
            "id": self.id, "object": "subscription", "customer": customer,
            "created": self.start.timestamp(), "status": self.status,
            "cancel_at_period_end": false,
            "items": { "object": "list", "data": [{
                "id": format!("si_{}", self.id), "price": price, "quantity": 1,
                "current_period_start": self.start.timestamp(),
                "current_period_end": self.end.timestamp(),
            }] }
        })
    }
}

/// An invoice as Stripe describes it, that pays for this period.
fn invoice(
    id: &str,
    customer: &str,
    reason: &str,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
) -> Value {
    json!({
        "id": id, "object": "invoice", "customer": customer, "created": start.timestamp(),
        "billing_reason": reason, "subscription": "sub_1",
        "lines": { "object": "list", "data": [
            { "period": { "start": start.timestamp(), "end": end.timestamp() } }
        ] }
    })
}

/// Tells the server of a subscription, and that it is heard.
async fn hear(server: &Server, id: &str, kind: &str, at: DateTime<Utc>, object: Value) {
    tell(server, &event(id, kind, at.timestamp(), object)).await.data(200);
}

const SUB_CREATED: &str = "customer.subscription.created";
const SUB_UPDATED: &str = "customer.subscription.updated";
const SUB_DELETED: &str = "customer.subscription.deleted";

/// So many seconds.
fn seconds(n: i64) -> TimeDelta {
    TimeDelta::seconds(n)
}
