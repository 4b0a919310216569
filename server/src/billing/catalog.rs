//! What is sold, as Stripe has to know it: products, prices, and what the portal offers.
//!
//! The server makes them itself, so that nobody has to set anything up at Stripe. A price is found
//! by a name that says what it is and costs (Stripe's `lookup_key`): when the table of prices
//! changes, so does the name, and a new one is made; who pays the old price goes on paying it.

use super::plans::{Interval, Plan};
use super::stripe::objects::{Identified, List, StripePrice};
use super::stripe::{Form, Stripe};
use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use tokio::sync::OnceCell;

/// What prices are in.
pub const CURRENCY: &str = "usd";
/// What we write on a portal configuration, to find it again.
const PORTAL_MARK: &str = "switchy_portal";

/// Stripe's ids of what is sold; looked up, or made, when first needed.
#[derive(Debug, Default)]
pub struct Catalog {
    prices: OnceCell<HashMap<(Plan, Interval), String>>,
    portal: OnceCell<String>,
}

#[derive(Deserialize)]
struct Configuration {
    id: String,
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
}

fn everything() -> impl Iterator<Item = (Plan, Interval)> {
    Plan::PAID.into_iter().flat_map(|plan| Interval::ALL.map(|interval| (plan, interval)))
}

/// What a price is called.
fn lookup_key(plan: Plan, interval: Interval) -> String {
    let price = plan.price(interval);
    format!("{}_{}_{CURRENCY}_{}_{}", plan.product_id(), interval.unit(), price.base, price.seat)
}

impl Catalog {
    /// Stripe's id of a price.
    pub async fn price(&self, stripe: &Stripe, plan: Plan, interval: Interval) -> Result<&str> {
        let prices = self.prices(stripe).await?;
        let id = prices.get(&(plan, interval));
        id.map(String::as_str).ok_or_else(|| Error::internal(format!("no price of {plan}")))
    }

    async fn prices(&self, stripe: &Stripe) -> Result<&HashMap<(Plan, Interval), String>> {
        self.prices.get_or_try_init(|| find_or_make_prices(stripe)).await
    }

    /// Stripe's id of what the portal offers.
    pub async fn portal(&self, stripe: &Stripe) -> Result<&str> {
        let prices = self.prices(stripe).await?;
        let id = self.portal.get_or_try_init(|| find_or_make_portal(stripe, prices)).await?;
        Ok(id)
    }
}

async fn find_or_make_prices(stripe: &Stripe) -> Result<HashMap<(Plan, Interval), String>> {
    let mut query = Form::default().with("active", true);
    for (i, (plan, interval)) in everything().enumerate() {
        query = query.with(format!("lookup_keys[{i}]"), lookup_key(plan, interval));
    }
    let found: List<StripePrice> = stripe.get("prices", &query).await?;
    let mut prices = HashMap::new();
    for (plan, interval) in everything() {
        let key = lookup_key(plan, interval);
        let known = found.data.iter().find(|price| price.lookup_key.as_ref() == Some(&key));
        let id = match known {
            Some(price) => price.id.clone(),
            None => make_price(stripe, plan, interval).await?,
        };
        prices.insert((plan, interval), id);
    }
    Ok(prices)
}

async fn make_price(stripe: &Stripe, plan: Plan, interval: Interval) -> Result<String> {
    let product = Form::default()
        .with("id", plan.product_id())
        .with("name", plan.product_name())
        .with("unit_label", "member");
    let key = format!("product-{}", plan.product_id());
    stripe.post_unless_there::<Identified>("products", &product, &key).await?;
    let key = lookup_key(plan, interval);
    let price = plan.price(interval);
    let form = Form::default()
        .with("currency", CURRENCY)
        .with("product", plan.product_id())
        .with("lookup_key", &key)
        .with("recurring[interval]", interval.unit());
    let form = if plan.has_seats() {
        // one item, so that the portal can change it: a price for the plan, and one a member
        form.with("billing_scheme", "tiered")
            .with("tiers_mode", "graduated")
            .with("tiers[0][up_to]", "inf")
            .with("tiers[0][flat_amount]", price.base)
            .with("tiers[0][unit_amount]", price.seat)
    } else {
        form.with("unit_amount", price.base)
    };
    let made: Identified = stripe.post("prices", &form, &format!("price-{key}")).await?;
    Ok(made.id)
}

/// The portal shows invoices, changes cards, addresses and plans, and cancels at the period's end.
fn portal_form(prices: &HashMap<(Plan, Interval), String>) -> Form {
    let mut form = Form::default()
        .with("features[customer_update][enabled]", true)
        .with("features[invoice_history][enabled]", true)
        .with("features[payment_method_update][enabled]", true)
        .with("features[subscription_cancel][enabled]", true)
        .with("features[subscription_cancel][mode]", "at_period_end")
        .with("features[subscription_update][enabled]", true)
        .with("features[subscription_update][proration_behavior]", "always_invoice")
        .with("features[subscription_update][default_allowed_updates][0]", "price");
    for (i, what) in ["email", "name", "address", "tax_id"].into_iter().enumerate() {
        form = form.with(format!("features[customer_update][allowed_updates][{i}]"), what);
    }
    for (i, plan) in Plan::PAID.into_iter().enumerate() {
        let at = format!("features[subscription_update][products][{i}]");
        form = form.with(format!("{at}[product]"), plan.product_id());
        for (j, interval) in Interval::ALL.into_iter().enumerate() {
            if let Some(price) = prices.get(&(plan, interval)) {
                form = form.with(format!("{at}[prices][{j}]"), price);
            }
        }
    }
    form
}

async fn find_or_make_portal(
    stripe: &Stripe,
    prices: &HashMap<(Plan, Interval), String>,
) -> Result<String> {
    let form = portal_form(prices);
    // another offer is another configuration
    let mark: String =
        Sha256::digest(form.encoded())[..8].iter().map(|b| format!("{b:02x}")).collect();
    let query = Form::default().with("active", true).with("limit", 100);
    let found: List<Configuration> = stripe.get("billing_portal/configurations", &query).await?;
    let is_ours = |c: &&Configuration| c.metadata.get(PORTAL_MARK).is_some_and(|m| *m == *mark);
    if let Some(known) = found.data.iter().find(is_ours) {
        return Ok(known.id.clone());
    }
    let form = form.with(format!("metadata[{PORTAL_MARK}]"), &mark);
    let made: Identified =
        stripe.post("billing_portal/configurations", &form, &format!("portal-{mark}")).await?;
    Ok(made.id)
}
