//! Comparing an organization's subscriptions with Stripe: what they are there, and how many seats
//! are paid here.

use super::Billing;
use super::account::{News, Status, Subscription};
use super::stripe::objects::{Identified, List, StripeSubscription};
use super::stripe::{Form, Stripe};
use crate::error::Result;
use crate::store::Store;
use crate::store::billing::{self, SyncJob};

/// Organizations that are taken on at once.
const BATCH: i64 = 10;

/// What Stripe has to be told.
struct Seats {
    item: String,
    quantity: u32,
}

impl Billing {
    /// Compares what is due. Any number of servers may do so at the same time. Returns how many
    /// were taken on.
    pub async fn sync(&self, store: &Store) -> Result<usize> {
        let Some(stripe) = &self.stripe else { return Ok(0) };
        let mut tx = store.begin_system().await?;
        let jobs = billing::claim_syncs(&mut tx, BATCH).await?;
        tx.commit().await?;
        for job in &jobs {
            let outcome = self.sync_one(store, stripe, job).await;
            let mut tx = store.begin_system().await?;
            match outcome {
                Ok(()) => billing::finish_sync(&mut tx, job).await?,
                Err(error) => {
                    slog::warn!(self.log, "a subscription could not be compared with Stripe";
                        "org" => %job.org_id, "error" => error.chain());
                    billing::put_off_sync(&mut tx, job).await?;
                }
            }
            tx.commit().await?;
        }
        Ok(jobs.len())
    }

    async fn sync_one(&self, store: &Store, stripe: &Stripe, job: &SyncJob) -> Result<()> {
        let query = Form::default()
            .with("customer", &job.customer_id)
            .with("status", "all")
            .with("limit", 100);
        let found: List<StripeSubscription> = stripe.get("subscriptions", &query).await?;
        let mut all: Vec<Subscription> = found.data.iter().map(StripeSubscription::read).collect();
        all.sort_by_key(|subscription| subscription.created);
        if let Some(seats) = self.heed_all(store, job, &all).await? {
            let form = Form::default()
                .with("quantity", seats.quantity)
                .with("proration_behavior", "create_prorations");
            // the lease tells this change from the same one on another day
            let key = format!("switchy-seats-{}-{}", seats.item, job.lease.timestamp_micros());
            let path = format!("subscription_items/{}", seats.item);
            stripe.post::<Identified>(&path, &form, &key).await?;
            slog::info!(self.log, "seats changed at Stripe";
                "org" => %job.org_id, "seats" => seats.quantity);
        }
        Ok(())
    }

    /// Takes over what Stripe says; returns what it has to be told in turn.
    async fn heed_all(
        &self,
        store: &Store,
        job: &SyncJob,
        all: &[Subscription],
    ) -> Result<Option<Seats>> {
        let mut tx = store.begin_system().await?;
        let Some(mut locked) = billing::lock(&mut tx, &job.org_id).await? else {
            tx.commit().await?;
            return Ok(None);
        };
        locked.settle(&self.pools);
        for subscription in all {
            let id = format!("sync:{}:{}", subscription.id, job.lease.timestamp_micros());
            let news = News { id: &id, at: None, is_creation: false };
            locked.heed(subscription, news, &self.pools);
        }
        let running = all.iter().filter(|s| matches!(s.status, Status::Active | Status::PastDue));
        if running.clone().count() > 1 {
            slog::warn!(self.log, "an organization pays for several subscriptions; cancel the \
                older ones at Stripe"; "org" => %job.org_id, "customer" => &job.customer_id);
        }
        let current = running
            .filter(|s| locked.at_stripe.subscription_id.as_deref() == Some(&*s.id))
            .find_map(|s| s.item_id.clone().map(|item| (item, s)));
        let wanted = locked.account.plan.quantity(locked.members);
        let seats = current.and_then(|(item, subscription)| {
            let is_ours = subscription.bought.is_some_and(|(plan, _)| plan.has_seats());
            (is_ours && subscription.quantity != wanted).then_some(Seats { item, quantity: wanted })
        });
        if seats.is_some() {
            locked.at_stripe.seats = i32::try_from(wanted).ok();
        }
        billing::save(&mut tx, locked).await?;
        tx.commit().await?;
        Ok(seats)
    }
}
