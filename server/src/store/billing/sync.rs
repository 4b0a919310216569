//! Whose subscriptions have to be compared with Stripe, shared between servers.

use crate::error::Result;
use crate::store::SystemTx;
use crate::store::ids::OrgId;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Seconds that a server gets for one organization before another one takes over.
const LEASE_SECONDS: i32 = 120;
/// Seconds after the first failure; twice as many after each further one.
const FIRST_PAUSE_SECONDS: i32 = 5;
/// Most doublings of the pause: about an hour and a half.
const MOST_DOUBLINGS: i32 = 10;

/// An organization whose subscriptions a server has taken on.
#[derive(Clone, Debug, QueryableByName)]
pub struct SyncJob {
    /// The organization.
    #[diesel(sql_type = Text)]
    pub org_id: OrgId,
    /// Who pays for it.
    #[diesel(sql_type = Text)]
    pub customer_id: String,
    /// Until when; also tells this turn from any other.
    #[diesel(sql_type = Timestamptz)]
    pub lease: DateTime<Utc>,
}

/// Has the organization's subscriptions compared with Stripe soon.
pub async fn request_sync(tx: &mut SystemTx, org: &OrgId) -> Result<()> {
    diesel::sql_query(
        "UPDATE stripe_accounts SET sync_due_at = '-infinity', sync_attempts = 0 \
         WHERE org_id = $1 AND customer_id IS NOT NULL",
    )
    .bind::<Text, _>(org)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes on what is due and nobody else is at.
pub async fn claim_syncs(tx: &mut SystemTx, limit: i64) -> Result<Vec<SyncJob>> {
    let now = tx.now();
    // Raw SQL: SKIP LOCKED below an UPDATE
    let sql = format!(
        "UPDATE stripe_accounts a SET sync_attempts = sync_attempts + 1, \
             sync_due_at = coalesce($1, clock_timestamp()) + interval '{LEASE_SECONDS} s' \
         WHERE a.customer_id IS NOT NULL AND a.org_id IN ( \
             SELECT org_id FROM stripe_accounts \
             WHERE sync_due_at <= coalesce($1, clock_timestamp()) \
             ORDER BY sync_due_at LIMIT $2 FOR UPDATE SKIP LOCKED) \
         RETURNING a.org_id, a.customer_id, a.sync_due_at AS lease"
    );
    Ok(diesel::sql_query(sql)
        .bind::<Nullable<Timestamptz>, _>(now)
        .bind::<BigInt, _>(limit)
        .load(tx.connection())
        .await?)
}

/// Nothing is left to do, unless something has changed meanwhile.
pub async fn finish_sync(tx: &mut SystemTx, job: &SyncJob) -> Result<()> {
    diesel::sql_query(
        "UPDATE stripe_accounts SET sync_due_at = NULL, sync_attempts = 0 \
         WHERE org_id = $1 AND sync_due_at = $2",
    )
    .bind::<Text, _>(&job.org_id)
    .bind::<Timestamptz, _>(job.lease)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// It failed: again after a pause that grows.
pub async fn put_off_sync(tx: &mut SystemTx, job: &SyncJob) -> Result<()> {
    let now = tx.now();
    diesel::sql_query(
        "UPDATE stripe_accounts SET sync_due_at = coalesce($3, clock_timestamp()) \
             + make_interval(secs => $4 * 2 ^ least(sync_attempts - 1, $5)) \
         WHERE org_id = $1 AND sync_due_at = $2",
    )
    .bind::<Text, _>(&job.org_id)
    .bind::<Timestamptz, _>(job.lease)
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Integer, _>(FIRST_PAUSE_SECONDS)
    .bind::<Integer, _>(MOST_DOUBLINGS)
    .execute(tx.connection())
    .await?;
    Ok(())
}
