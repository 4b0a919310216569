//! Plans, credits and Stripe (contract B6).
//!
//! What an organization has is in our database; Stripe takes the money and tells what was paid.
//! `account` decides what news means, `webhook` and `sync` bring it, `checkout` makes the sessions
//! in which people pay.

pub mod account;
mod catalog;
pub mod checkout;
pub mod period;
pub mod stripe;
mod sync;
mod tasks;
mod webhook;

pub use switchy_types::plans;
pub use webhook::Webhook;

use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::billing::{self, Locked};
use crate::store::ids::OrgId;
use catalog::Catalog;
use plans::Pools;
use secrecy::SecretString;
use slog::Logger;
use std::time::Duration;
use stripe::Stripe;
use url::Url;

/// Where Stripe's API is.
pub const STRIPE_API: &str = "https://api.stripe.com";
/// How often subscriptions are looked at that may differ from Stripe's.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// What billing needs to know.
#[derive(Clone, Debug)]
pub struct BillingOptions {
    /// Credits that plans bring.
    pub pools: Pools,
    /// US cents for a hundred credits of a top-up.
    pub topup_price: u32,
    /// Stripe's secret key; without one nothing is sold.
    pub stripe_secret_key: Option<SecretString>,
    /// Under which Stripe signs; without one nothing is believed.
    pub stripe_webhook_secret: Option<SecretString>,
    /// Where Stripe's API is.
    pub stripe_api_url: Url,
    /// How often subscriptions are looked at that may differ from Stripe's.
    pub sync_interval: Duration,
}

/// Plans, credits and Stripe.
#[derive(Debug)]
pub struct Billing {
    pools: Pools,
    topup_price: u32,
    stripe: Option<Stripe>,
    webhook_secret: Option<SecretString>,
    catalog: Catalog,
    sync_interval: Duration,
    log: Logger,
}

impl Billing {
    /// Asks nobody anything yet.
    pub fn new(options: BillingOptions, log: Logger) -> Result<Self> {
        let stripe = options
            .stripe_secret_key
            .map(|key| Stripe::new(options.stripe_api_url, key))
            .transpose()?;
        Ok(Billing {
            pools: options.pools,
            topup_price: options.topup_price,
            stripe,
            webhook_secret: options.stripe_webhook_secret,
            catalog: Catalog::default(),
            sync_interval: options.sync_interval,
            log,
        })
    }

    /// Stripe; 409 where the operator has not set it up.
    pub fn stripe(&self) -> Result<&Stripe> {
        self.stripe.as_ref().ok_or_else(|| {
            Error::conflict(
                "billing is not set up on this server: its operator sets SWITCHY_STRIPE_SECRET_KEY",
            )
        })
    }

    /// Does what time alone does to an organization's plan.
    pub async fn settle(&self, store: &Store, org: &OrgId) -> Result<()> {
        let mut tx = store.begin_system().await?;
        let Some(mut locked) = billing::lock(&mut tx, org).await? else {
            return tx.commit().await;
        };
        locked.settle(&self.pools);
        billing::save(&mut tx, locked).await?;
        tx.commit().await
    }
}

/// The account of an organization, settled; 404 when there is no such organization.
pub async fn settled(
    tx: &mut crate::store::SystemTx,
    org: &OrgId,
    pools: &Pools,
) -> Result<Locked> {
    let found = billing::lock(tx, org).await?;
    let mut locked = found.ok_or_else(|| Error::not_found("organization"))?;
    locked.settle(pools);
    Ok(locked)
}
