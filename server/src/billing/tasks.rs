//! What happens beside requests: months that begin, plans that end, subscriptions that are
//! compared with Stripe.

use super::Billing;
use crate::error::Result;
use crate::store::{Store, billing};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often months and plans are looked after. Whoever looks at his credits meanwhile has them
/// settled at once.
const SETTLE_INTERVAL: Duration = Duration::from_secs(60);
/// How often old events are forgotten.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// Organizations that are settled before a look at anything else.
const BATCH: usize = 1_000;

impl Billing {
    /// Runs until the server stops.
    pub async fn run(self: Arc<Self>, store: Store) {
        let (mut settled, mut expired) = (None, None);
        let is_due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
        loop {
            if is_due(settled, SETTLE_INTERVAL) {
                settled = Some(Instant::now());
                match self.settle_due(&store).await {
                    // there are more
                    Ok(count) if count >= BATCH => settled = None,
                    outcome => self.report("credits could not be settled", outcome),
                }
            }
            if is_due(expired, EXPIRY_INTERVAL) {
                expired = Some(Instant::now());
                self.report("old events could not be removed", forget(&store).await);
            }
            self.report("subscriptions could not be compared", self.sync(&store).await);
            tokio::time::sleep(self.sync_interval).await;
        }
    }

    fn report(&self, what: &'static str, outcome: Result<usize>) {
        if let Err(error) = outcome {
            slog::warn!(self.log, "{}", what; "error" => error.chain());
        }
    }

    /// Settles what is due; returns how many organizations that were. Any number of servers may do
    /// so at the same time: who comes second finds nothing to do.
    pub async fn settle_due(&self, store: &Store) -> Result<usize> {
        let mut tx = store.begin_system().await?;
        let due = billing::due(&mut tx, BATCH).await?;
        tx.commit().await?;
        for org in &due {
            // one that fails must not keep the others from theirs
            if let Err(error) = self.settle(store, org).await {
                slog::warn!(self.log, "the credits of an organization could not be settled";
                    "org" => %org, "error" => error.chain());
            }
        }
        Ok(due.len())
    }
}

async fn forget(store: &Store) -> Result<usize> {
    let mut tx = store.begin_system().await?;
    let gone = billing::expire_events(&mut tx).await?;
    tx.commit().await?;
    Ok(gone)
}
