//! Checkout sessions that this server has made at Stripe.

use super::Buyer;
use crate::error::Result;
use crate::store::SystemTx;
use crate::store::ids::OrgId;
use crate::store::schema::stripe_checkouts;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use switchy_types::plans::{Interval, Plan};

/// How long a session can be paid: Stripe's own default.
const OPEN: TimeDelta = TimeDelta::hours(24);

/// What a session sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purchase {
    /// A plan, for so many members.
    Plan {
        /// Which.
        plan: Plan,
        /// Paid how often.
        interval: Interval,
        /// Units of it.
        seats: u32,
    },
    /// So many credits.
    TopUp {
        /// How many.
        credits: u32,
    },
}

/// A session.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = stripe_checkouts, treat_none_as_null = true)]
#[expect(missing_docs, reason = "the columns are explained in the migration")]
pub struct Checkout {
    pub session_id: String,
    pub org_id: OrgId,
    pub plan: Option<Plan>,
    #[diesel(column_name = billing_interval)]
    pub interval: Option<Interval>,
    pub seats: Option<i32>,
    pub credits: Option<i64>,
    pub completed_at: Option<DateTime<Utc>>,
    pub payment_intent_id: Option<String>,
    pub refunded_credits: i64,
}

/// Remembers a session. A plan's takes the place of those that are still open: their ids are
/// returned, and nobody should be able to pay them any more.
pub async fn record_checkout(
    tx: &mut SystemTx,
    buyer: &Buyer,
    (session, reference): (&str, &str),
    purchase: Purchase,
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let (plan, interval, seats, credits) = match purchase {
        Purchase::Plan { plan, interval, seats } => {
            (Some(plan), Some(interval), i32::try_from(seats).ok(), None)
        }
        Purchase::TopUp { credits } => (None, None, None, Some(i64::from(credits))),
    };
    let replaced = match plan {
        None => Vec::new(),
        Some(_) => {
            diesel::update(stripe_checkouts::table)
                .filter(stripe_checkouts::org_id.eq(&buyer.org_id))
                .filter(stripe_checkouts::plan.is_not_null())
                .filter(stripe_checkouts::session_id.ne(session))
                .filter(stripe_checkouts::completed_at.is_null())
                .filter(stripe_checkouts::superseded_at.is_null())
                .filter(stripe_checkouts::created_at.gt(now - OPEN))
                .set(stripe_checkouts::superseded_at.eq(now))
                .returning(stripe_checkouts::session_id)
                .get_results(tx.connection())
                .await?
        }
    };
    diesel::insert_into(stripe_checkouts::table)
        .values((
            stripe_checkouts::session_id.eq(session),
            stripe_checkouts::org_id.eq(&buyer.org_id),
            stripe_checkouts::reference.eq(reference),
            stripe_checkouts::plan.eq(plan),
            stripe_checkouts::billing_interval.eq(interval),
            stripe_checkouts::seats.eq(seats),
            stripe_checkouts::credits.eq(credits),
            stripe_checkouts::created_by_user_id.eq(buyer.user_id.as_str()),
            stripe_checkouts::created_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(tx.connection())
        .await?;
    Ok(replaced)
}

/// The session with this id, if it is one of ours.
pub async fn checkout_of_session(tx: &mut SystemTx, session: &str) -> Result<Option<Checkout>> {
    Ok(stripe_checkouts::table
        .filter(stripe_checkouts::session_id.eq(session))
        .select(Checkout::as_select())
        .first(tx.connection())
        .await
        .optional()?)
}

/// The top-up that this payment was for.
pub async fn checkout_of_payment(tx: &mut SystemTx, intent: &str) -> Result<Option<Checkout>> {
    Ok(stripe_checkouts::table
        .filter(stripe_checkouts::payment_intent_id.eq(intent))
        .select(Checkout::as_select())
        .first(tx.connection())
        .await
        .optional()?)
}

/// The session that we call so.
pub async fn checkout_of_reference(tx: &mut SystemTx, reference: &str) -> Result<Option<Checkout>> {
    Ok(stripe_checkouts::table
        .filter(stripe_checkouts::reference.eq(reference))
        .select(Checkout::as_select())
        .first(tx.connection())
        .await
        .optional()?)
}

/// Writes what was changed. The organization's account is locked, and with it its sessions.
pub async fn update_checkout(tx: &mut SystemTx, checkout: &Checkout) -> Result<()> {
    diesel::update(stripe_checkouts::table)
        .filter(stripe_checkouts::session_id.eq(&checkout.session_id))
        .set(checkout)
        .execute(tx.connection())
        .await?;
    Ok(())
}
