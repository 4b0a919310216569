//! The plan of an organization, and what is known of it at Stripe.

use super::credits::{self, Balance, Entry};
use super::ids::{OrgId, UserId};
use super::schema::{billing_accounts, credit_balances, members, orgs, stripe_accounts};
use super::statements::Keep;
use super::{SystemTx, Tx, visibility};
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use switchy_types::plans::{Interval, Plan};

mod checkouts;
mod events;
mod sync;

pub use checkouts::{
    Checkout, Purchase, checkout_of_payment, checkout_of_reference, checkout_of_session,
    record_checkout, update_checkout,
};
pub use events::{expire_events, is_deleted, is_new_event};
pub use sync::{SyncJob, claim_syncs, finish_sync, put_off_sync, request_sync};

/// An organization's plan.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = billing_accounts, treat_none_as_null = true)]
#[expect(missing_docs, reason = "the columns are explained in the migration")]
pub struct Account {
    pub org_id: OrgId,
    pub plan: Plan,
    #[diesel(column_name = billing_interval)]
    pub interval: Option<Interval>,
    pub anchor: DateTime<Utc>,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    pub monthly_allotment: i64,
    pub settle_at: Option<DateTime<Utc>>,
    pub paid_until: Option<DateTime<Utc>>,
    pub ends_at: Option<DateTime<Utc>>,
    pub past_due: bool,
    pub cancel_at_period_end: bool,
}

/// What Stripe calls the same.
#[derive(Clone, Debug, Default, PartialEq, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = stripe_accounts, treat_none_as_null = true)]
#[expect(missing_docs, reason = "as above")]
pub struct AtStripe {
    pub customer_id: Option<String>,
    pub subscription_id: Option<String>,
    pub item_id: Option<String>,
    pub seats: Option<i32>,
    pub subscription_created_at: Option<DateTime<Utc>>,
    pub subscription_event_at: Option<DateTime<Utc>>,
    pub payment_event_at: Option<DateTime<Utc>>,
    pub refill_invoice_at: Option<DateTime<Utc>>,
    pub subscription_ended: bool,
}

/// What a caller sees of his organization's plan.
#[derive(Clone, Debug)]
pub struct View {
    /// The plan.
    pub account: Account,
    /// As Stripe knows it.
    pub at_stripe: AtStripe,
    /// Its credits.
    pub balance: Balance,
    /// Time has passed that changes something: settle it first.
    pub is_due: bool,
}

/// Plan and credits of the caller's organization; `None` when nobody has asked for them yet.
pub async fn view(tx: &mut Tx) -> Result<Option<View>> {
    let caller = tx.caller().clone();
    let now = tx.now();
    let due = sql::<Bool>("coalesce(billing_accounts.settle_at <= coalesce(")
        .bind::<Nullable<Timestamptz>, _>(now)
        .sql(", clock_timestamp()), false)");
    let row: Option<(Account, AtStripe, Option<Balance>, bool)> = billing_accounts::table
        .inner_join(stripe_accounts::table)
        .left_join(credit_balances::table.on(credit_balances::org_id.eq(billing_accounts::org_id)))
        .filter(visibility::billing(&caller))
        .select((Account::as_select(), AtStripe::as_select(), Option::<Balance>::as_select(), due))
        .first(tx.connection())
        .await
        .optional()?;
    Ok(row.map(|(account, at_stripe, balance, is_due)| View {
        account,
        at_stripe,
        balance: balance.unwrap_or_default(),
        is_due,
    }))
}

/// How many members the caller's organization has.
pub async fn count_members(tx: &mut Tx) -> Result<u32> {
    let org = tx.caller().org_id.clone();
    let count: i64 =
        members::table.filter(members::org_id.eq(org)).count().get_result(tx.connection()).await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// An account that nobody else can change until the transaction ends, and what is to be booked.
#[derive(Clone, Debug)]
pub struct Locked {
    /// The plan; [`save`] writes what was changed.
    pub account: Account,
    /// As Stripe knows it; likewise.
    pub at_stripe: AtStripe,
    /// How many members the organization has.
    pub members: u32,
    /// The time, one for the whole transaction.
    pub now: DateTime<Utc>,
    balance: Balance,
    entries: Vec<Entry>,
}

impl Locked {
    /// An account as it is.
    pub fn new(
        (account, at_stripe): (Account, AtStripe),
        balance: Balance,
        members: u32,
        now: DateTime<Utc>,
    ) -> Self {
        Locked { account, at_stripe, members, now, balance, entries: Vec::new() }
    }

    /// The credits, with what is to be booked.
    pub fn balance(&self) -> Balance {
        self.balance
    }

    /// What [`save`] will book.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// To be booked with [`save`].
    pub fn enter(&mut self, entry: Entry) {
        self.balance.monthly += entry.monthly;
        self.balance.topup += entry.topup;
        self.entries.push(entry);
    }
}

#[derive(QueryableByName)]
struct Surroundings {
    #[diesel(sql_type = BigInt)]
    monthly: i64,
    #[diesel(sql_type = BigInt)]
    topup: i64,
    #[diesel(sql_type = BigInt)]
    members: i64,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

/// Locks the account of an organization, made if there is none yet; `None` when there is no such
/// organization.
pub async fn lock(tx: &mut SystemTx, org: &OrgId) -> Result<Option<Locked>> {
    let account = match find_for_update(tx, org).await? {
        Some(account) => account,
        None => {
            open(tx, org).await?;
            let Some(account) = find_for_update(tx, org).await? else { return Ok(None) };
            account
        }
    };
    // Raw SQL: the clock, and two sub-selects. After the lock, so that nothing in it is old.
    let now = tx.now();
    let around: Surroundings = diesel::sql_query(
        "SELECT coalesce(b.monthly, 0) AS monthly, coalesce(b.topup, 0) AS topup, \
         (SELECT count(*) FROM members m WHERE m.org_id = o.id) AS members, \
         coalesce($2, clock_timestamp()) AS now \
         FROM orgs o LEFT JOIN credit_balances b ON b.org_id = o.id WHERE o.id = $1",
    )
    .bind::<Text, _>(org)
    .bind::<Nullable<Timestamptz>, _>(now)
    .kept()
    .get_result(tx.connection())
    .await?;
    let balance = Balance { monthly: around.monthly, topup: around.topup };
    let members = u32::try_from(around.members).unwrap_or(u32::MAX);
    Ok(Some(Locked::new(account, balance, members, around.now)))
}

async fn find_for_update(tx: &mut SystemTx, org: &OrgId) -> Result<Option<(Account, AtStripe)>> {
    Ok(billing_accounts::table
        .inner_join(stripe_accounts::table)
        .filter(billing_accounts::org_id.eq(org))
        .select((Account::as_select(), AtStripe::as_select()))
        .for_update()
        .first(tx.connection())
        .await
        .optional()?)
}

/// A STARTER whose first month has yet to begin.
async fn open(tx: &mut SystemTx, org: &OrgId) -> Result<()> {
    let now = tx.now();
    // Raw SQL: an INSERT of what a SELECT finds, with the clock
    diesel::sql_query(
        "WITH made AS (INSERT INTO billing_accounts \
             (org_id, anchor, period_start, period_end, settle_at) \
             SELECT o.id, t, t, t, t FROM orgs o, coalesce($2, clock_timestamp()) t \
             WHERE o.id = $1 ON CONFLICT DO NOTHING RETURNING org_id) \
         INSERT INTO stripe_accounts (org_id) SELECT org_id FROM made",
    )
    .bind::<Text, _>(org)
    .bind::<Nullable<Timestamptz>, _>(now)
    .kept()
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Writes the account, and books what was entered.
pub async fn save(tx: &mut SystemTx, locked: Locked) -> Result<()> {
    let Locked { account, at_stripe, now, entries, .. } = locked;
    diesel::update(billing_accounts::table)
        .filter(billing_accounts::org_id.eq(&account.org_id))
        .set(&account)
        .execute(tx.connection())
        .await?;
    diesel::update(stripe_accounts::table)
        .filter(stripe_accounts::org_id.eq(&account.org_id))
        .set(&at_stripe)
        .execute(tx.connection())
        .await?;
    for entry in &entries {
        credits::enter(tx, &account.org_id, entry, now).await?;
    }
    Ok(())
}

/// The organization that pays as this customer.
pub async fn org_of_customer(tx: &mut SystemTx, customer: &str) -> Result<Option<OrgId>> {
    Ok(stripe_accounts::table
        .filter(stripe_accounts::customer_id.eq(customer))
        .select(stripe_accounts::org_id)
        .first(tx.connection())
        .await
        .optional()?)
}

/// The organization's slug, as its customer at Stripe is described.
pub async fn slug(tx: &mut Tx) -> Result<String> {
    let org = tx.caller().org_id.clone();
    Ok(orgs::table.filter(orgs::id.eq(org)).select(orgs::slug).first(tx.connection()).await?)
}

/// Organizations for which time has passed that changes something, the longest waiting first.
pub async fn due(tx: &mut SystemTx, limit: usize) -> Result<Vec<OrgId>> {
    let now = tx.now();
    let past = sql::<Bool>("billing_accounts.settle_at <= coalesce(")
        .bind::<Nullable<Timestamptz>, _>(now)
        .sql(", clock_timestamp())");
    Ok(billing_accounts::table
        .filter(past)
        .order(billing_accounts::settle_at)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(billing_accounts::org_id)
        .load(tx.connection())
        .await?)
}

/// Who asked for a checkout.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// For which organization.
    pub org_id: OrgId,
    /// He himself.
    pub user_id: UserId,
}
