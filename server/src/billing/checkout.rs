//! Where people pay: sessions at Stripe, each made once for a request.

use super::Billing;
use super::catalog::CURRENCY;
use super::plans::{Interval, Plan, topup_price};
use super::stripe::objects::{Identified, Session};
use super::stripe::{Form, Stripe};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::billing::{self, Buyer, Purchase, View};
use sha2::{Digest, Sha256};

/// Where the browser goes afterwards.
#[derive(Clone, Debug)]
pub struct Ways {
    /// When it is paid.
    pub success: String,
    /// When it was thought better of.
    pub cancel: String,
}

/// A subscription that is to become another plan.
#[derive(Clone, Debug)]
pub struct Running {
    /// Who pays.
    pub customer: String,
    /// Stripe's id.
    pub subscription: String,
    /// Its item.
    pub item: String,
}

/// What a checkout of a plan leads to.
#[derive(Clone, Debug)]
pub enum PlanCheckout {
    /// A first subscription.
    Subscribe,
    /// A change of the one that runs.
    Change(Running),
}

/// How an account gets to a plan. 409 when it is there already, or when only the portal can help.
pub fn way_to(view: Option<&View>, plan: Plan, interval: Interval) -> Result<PlanCheckout> {
    let Some(View { account, at_stripe, .. }) = view else { return Ok(PlanCheckout::Subscribe) };
    let subscription = at_stripe.subscription_id.as_ref();
    let Some(subscription) = subscription.filter(|_| !at_stripe.subscription_ended) else {
        return Ok(PlanCheckout::Subscribe);
    };
    if account.plan == plan && account.interval == Some(interval) {
        return Err(Error::conflict(if account.cancel_at_period_end {
            "the organization is on this plan, which ends with its period: open the billing \
             portal to keep it"
        } else {
            "the organization is on this plan already"
        }));
    }
    let (Some(customer), Some(item)) = (&at_stripe.customer_id, &at_stripe.item_id) else {
        return Err(Error::Conflict {
            message: "a checkout has just been completed and is being confirmed; try again".into(),
            retry_after: Some(2),
        });
    };
    Ok(PlanCheckout::Change(Running {
        customer: customer.clone(),
        subscription: subscription.clone(),
        item: item.clone(),
    }))
}

/// What makes a request the same one at Stripe: the same request, asking the same.
fn idempotency_key(reference: &str, form: &Form) -> String {
    let digest = Sha256::digest(form.encoded());
    let digest: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
    format!("switchy-{reference}-{digest}")
}

fn url_of(session: &Session) -> Result<String> {
    session.url.clone().ok_or_else(|| Error::Upstream {
        message: "Stripe has made a session without a URL; try again".into(),
        timed_out: false,
    })
}

impl Billing {
    /// The customer of an organization, made once however many ask at once.
    async fn customer(
        &self,
        store: &Store,
        stripe: &Stripe,
        buyer: &Buyer,
        slug: &str,
    ) -> Result<String> {
        let org = &buyer.org_id;
        let mut tx = store.begin_system().await?;
        let known = lock(&mut tx, buyer).await?.at_stripe.customer_id;
        tx.commit().await?;
        if let Some(known) = known {
            return Ok(known);
        }
        // nothing in it changes, so that whoever asks at the same time asks for the same
        let form = Form::default()
            .with("description", format!("Switchy organization {slug}"))
            .with("metadata[organization_id]", org);
        let made: Identified =
            stripe.post("customers", &form, &format!("switchy-customer-{org}")).await?;
        let mut tx = store.begin_system().await?;
        let mut locked = lock(&mut tx, buyer).await?;
        let customer = locked.at_stripe.customer_id.get_or_insert(made.id).clone();
        billing::save(&mut tx, locked).await?;
        tx.commit().await?;
        Ok(customer)
    }

    /// The URL where a plan is bought, or another one chosen.
    pub async fn check_out_plan(
        &self,
        store: &Store,
        (buyer, slug): (&Buyer, &str),
        (plan, interval, members): (Plan, Interval, u32),
        (way, ways): (&PlanCheckout, &Ways),
        reference: &str,
    ) -> Result<String> {
        let stripe = self.stripe()?;
        let seats = plan.quantity(members);
        let price = self.catalog.price(stripe, plan, interval).await?;
        match way {
            PlanCheckout::Subscribe => {
                let customer = self.customer(store, stripe, buyer, slug).await?;
                let form = session_form(&customer, buyer, ways, reference)
                    .with("mode", "subscription")
                    .with("line_items[0][price]", price)
                    .with("line_items[0][quantity]", seats)
                    .with("subscription_data[metadata][organization_id]", &buyer.org_id)
                    .with("metadata[plan]", plan)
                    .with("metadata[interval]", interval);
                let purchase = Purchase::Plan { plan, interval, seats };
                self.make_session(store, stripe, buyer, (&form, reference), purchase).await
            }
            PlanCheckout::Change(running) => {
                let at = "flow_data[subscription_update_confirm]";
                let form = Form::default()
                    .with("customer", &running.customer)
                    .with("configuration", self.catalog.portal(stripe).await?)
                    .with("return_url", &ways.cancel)
                    .with("flow_data[type]", "subscription_update_confirm")
                    .with(format!("{at}[subscription]"), &running.subscription)
                    .with(format!("{at}[items][0][id]"), &running.item)
                    .with(format!("{at}[items][0][price]"), price)
                    .with(format!("{at}[items][0][quantity]"), seats)
                    .with("flow_data[after_completion][type]", "redirect")
                    .with("flow_data[after_completion][redirect][return_url]", &ways.success);
                let key = idempotency_key(reference, &form);
                url_of(&stripe.post("billing_portal/sessions", &form, &key).await?)
            }
        }
    }

    /// The URL where credits are bought.
    pub async fn check_out_credits(
        &self,
        store: &Store,
        (buyer, slug): (&Buyer, &str),
        credits: u32,
        ways: &Ways,
        reference: &str,
    ) -> Result<String> {
        let stripe = self.stripe()?;
        let customer = self.customer(store, stripe, buyer, slug).await?;
        let form = session_form(&customer, buyer, ways, reference)
            .with("mode", "payment")
            .with("line_items[0][quantity]", 1)
            .with("line_items[0][price_data][currency]", CURRENCY)
            .with("line_items[0][price_data][unit_amount]", topup_price(credits, self.topup_price))
            .with(
                "line_items[0][price_data][product_data][name]",
                format!("{credits} Switchy credits"),
            )
            .with("metadata[credits]", credits)
            // Stripe copies it to the charge, by which a refund is recognised
            .with("payment_intent_data[metadata][switchy_checkout]", reference);
        let purchase = Purchase::TopUp { credits };
        self.make_session(store, stripe, buyer, (&form, reference), purchase).await
    }

    /// The URL of the portal.
    pub async fn open_portal(
        &self,
        customer: &str,
        return_url: &str,
        reference: &str,
    ) -> Result<String> {
        let stripe = self.stripe()?;
        let form = Form::default()
            .with("customer", customer)
            .with("configuration", self.catalog.portal(stripe).await?)
            .with("return_url", return_url);
        let key = idempotency_key(reference, &form);
        url_of(&stripe.post("billing_portal/sessions", &form, &key).await?)
    }

    async fn make_session(
        &self,
        store: &Store,
        stripe: &Stripe,
        buyer: &Buyer,
        (form, reference): (&Form, &str),
        purchase: Purchase,
    ) -> Result<String> {
        let key = idempotency_key(reference, form);
        let session: Session = stripe.post("checkout/sessions", form, &key).await?;
        // before anybody learns the URL: a session that is paid is one that we know
        let mut tx = store.begin_system().await?;
        let now = lock(&mut tx, buyer).await?.now;
        let (id, session_url) = (session.id.as_str(), url_of(&session)?);
        let replaced =
            billing::record_checkout(&mut tx, buyer, (id, reference), purchase, now).await?;
        tx.commit().await?;
        for old in replaced {
            let path = format!("checkout/sessions/{old}/expire");
            let expired = stripe.post::<Identified>(&path, &Form::default(), &path).await;
            if let Err(error) = expired {
                // it may have been paid or have expired at this very moment
                slog::info!(self.log, "an older checkout could not be expired";
                    "session" => old, "error" => error.chain());
            }
        }
        Ok(session_url)
    }
}

async fn lock(tx: &mut crate::store::SystemTx, buyer: &Buyer) -> Result<billing::Locked> {
    billing::lock(tx, &buyer.org_id).await?.ok_or_else(|| Error::not_found("organization"))
}

fn session_form(customer: &str, buyer: &Buyer, ways: &Ways, reference: &str) -> Form {
    Form::default()
        .with("customer", customer)
        .with("client_reference_id", reference)
        .with("success_url", &ways.success)
        .with("cancel_url", &ways.cancel)
        .with("metadata[organization_id]", &buyer.org_id)
        .with("metadata[user_id]", &buyer.user_id)
}

/// What identifies a request at Stripe: for the same key of the same request always the same.
pub fn reference_of(request: Option<[u8; 32]>) -> String {
    match request {
        Some(digest) => digest[..16].iter().map(|b| format!("{b:02x}")).collect(),
        None => uuid::Uuid::new_v4().simple().to_string(),
    }
}
