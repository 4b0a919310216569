//! Events of Stripe, each carried out once.

use crate::error::Result;
use crate::store::SystemTx;
use crate::store::schema::stripe_events;
use chrono::{DateTime, Utc};
use diesel::dsl::{exists, select};
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Days that an event is remembered: Stripe repeats one for three days by itself, and for thirty
/// when somebody asks it to.
const KEPT_DAYS: i32 = 90;

/// Remembers the event; whether it is new. Where the same one is being carried out at this moment,
/// waits for how that ends.
pub async fn is_new_event(
    tx: &mut SystemTx,
    id: &str,
    (kind, object_id): (&str, &str),
    created_at: DateTime<Utc>,
) -> Result<bool> {
    let now = tx.now();
    // Raw SQL: the clock
    let inserted = diesel::sql_query(
        "INSERT INTO stripe_events (event_id, kind, object_id, created_at, received_at) \
         VALUES ($1, $2, $3, $4, coalesce($5, clock_timestamp())) ON CONFLICT DO NOTHING",
    )
    .bind::<Text, _>(id)
    .bind::<Text, _>(kind)
    .bind::<Text, _>(object_id)
    .bind::<Timestamptz, _>(created_at)
    .bind::<Nullable<Timestamptz>, _>(now)
    .execute(tx.connection())
    .await?;
    Ok(inserted == 1)
}

/// Whether Stripe has said that this subscription is deleted.
pub async fn is_deleted(tx: &mut SystemTx, subscription: &str) -> Result<bool> {
    let deletions = stripe_events::table
        .filter(stripe_events::object_id.eq(subscription))
        .filter(stripe_events::kind.eq("customer.subscription.deleted"));
    Ok(select(exists(deletions)).get_result(tx.connection()).await?)
}

/// Forgets events that nobody will repeat any more; returns how many.
pub async fn expire_events(tx: &mut SystemTx) -> Result<usize> {
    let now = tx.now();
    let sql = format!(
        "DELETE FROM stripe_events \
         WHERE received_at <= coalesce($1, clock_timestamp()) - interval '{KEPT_DAYS} days'"
    );
    Ok(diesel::sql_query(sql)
        .bind::<Nullable<Timestamptz>, _>(now)
        .execute(tx.connection())
        .await?)
}
