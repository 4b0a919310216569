//! Stripe's news, each item carried out once, in whatever order it comes (contract B6).

use super::Billing;
use super::account::{Heeded, News};
use super::stripe::objects::{Charge, Event, Invoice, Session, StripeSubscription};
use super::stripe::signature::{Signature, SignatureError};
use crate::error::{Error, Result};
use crate::store::billing::{self, Checkout, Locked};
use crate::store::credits::{Entry, Kind};
use crate::store::ids::OrgId;
use crate::store::{Store, SystemTx};
use http::HeaderMap;
use secrecy::SecretString;
use serde::de::DeserializeOwned;

/// Longest id of an event or object of Stripe, in characters.
const MAX_ID: usize = 255;

/// A webhook whose signature is yet to be looked at.
pub struct Webhook<'a> {
    billing: &'a Billing,
    secret: &'a SecretString,
}

/// What an event led to.
enum Effect {
    Done,
    /// The subscription's state could not be told from the event alone.
    AskStripe(OrgId),
    Ignored(&'static str),
}

fn unreadable(cause: serde_json::Error) -> Error {
    Error::Malformed(format!("the event cannot be read: {cause}").into())
}

fn unsigned(refused: SignatureError) -> Error {
    let path = ["headers", "Stripe-Signature"];
    Error::invalid(path, "invalid_signature", refused.to_string())
}

fn object<T: DeserializeOwned>(event: &Event) -> Result<T> {
    event.object().map_err(unreadable)
}

impl Billing {
    /// 409 where the operator has not set webhooks up.
    pub fn webhook(&self) -> Result<Webhook<'_>> {
        let secret = self.webhook_secret.as_ref().ok_or_else(|| {
            Error::conflict(
                "webhooks of Stripe are not set up on this server: its operator sets \
                 SWITCHY_STRIPE_WEBHOOK_SECRET",
            )
        })?;
        Ok(Webhook { billing: self, secret })
    }
}

impl Webhook<'_> {
    /// The header that signs the body: 400 unless there is one of the right form, whatever the body
    /// is.
    pub fn signature<'h>(&self, headers: &'h HeaderMap) -> Result<Signature<'h>> {
        let mut values = headers.get_all("stripe-signature").iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        };
        Signature::parse(value).map_err(unsigned)
    }

    /// 400 unless the body is signed.
    pub fn verify(&self, store: &Store, signature: &Signature<'_>, body: &[u8]) -> Result<()> {
        signature.verify(body, self.secret, store.clock().now()).map_err(unsigned)
    }

    /// Carries out what the body tells, unless that was done before. The effects and the memory of
    /// the event are one transaction, so whatever dies in between, Stripe's repetition finds either
    /// both or neither.
    pub async fn carry_out(&self, store: &Store, body: &[u8]) -> Result<()> {
        let event: Event = serde_json::from_slice(body).map_err(unreadable)?;
        let ids = [event.id.as_str(), &event.kind, event.object_id()];
        if event.id.is_empty() || ids.iter().any(|id| id.len() > MAX_ID || id.contains('\0')) {
            return Err(Error::Malformed("the event's id or type is none of Stripe's".into()));
        }
        let log = self.billing.log.new(slog::o!(
            "event" => event.id.clone(), "type" => event.kind.clone(),
        ));
        let mut tx = store.begin_system().await?;
        let about = (event.kind.as_str(), event.object_id());
        if !billing::is_new_event(&mut tx, &event.id, about, event.at()).await? {
            return tx.commit().await;
        }
        let effect = match self.effect(&mut tx, &event).await {
            Ok(effect) => effect,
            Err(error) => {
                tx.rollback().await?;
                return Err(error);
            }
        };
        match effect {
            Effect::Done => slog::info!(log, "stripe event carried out"),
            Effect::AskStripe(org) => {
                billing::request_sync(&mut tx, &org).await?;
                slog::info!(log, "stripe event carried out, to be compared"; "org" => %org);
            }
            Effect::Ignored(why) => slog::info!(log, "stripe event ignored"; "why" => why),
        }
        tx.commit().await
    }

    async fn effect(&self, tx: &mut SystemTx, event: &Event) -> Result<Effect> {
        match event.kind.as_str() {
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
                self.session_completed(tx, event).await
            }
            "customer.subscription.created"
            | "customer.subscription.updated"
            | "customer.subscription.deleted" => self.subscription_changed(tx, event).await,
            "invoice.paid" => self.invoice_paid(tx, event).await,
            "invoice.payment_failed" => self.payment_failed(tx, event).await,
            "charge.refunded" => self.refunded(tx, event).await,
            _ => Ok(Effect::Ignored("of no consequence here")),
        }
    }

    async fn session_completed(&self, tx: &mut SystemTx, event: &Event) -> Result<Effect> {
        let session: Session = object(event)?;
        if session.payment_status.as_deref() == Some("unpaid") {
            return Ok(Effect::Ignored("the money is still on its way"));
        }
        let Some(ours) = billing::checkout_of_session(tx, &session.id).await? else {
            return Ok(Effect::Ignored("not a session of this server"));
        };
        let org = ours.org_id;
        let Some(mut locked) = billing::lock(tx, &org).await? else {
            return Ok(Effect::Ignored("no such organization"));
        };
        // again, now that nobody else can change it
        let Some(mut checkout) = billing::checkout_of_session(tx, &session.id).await? else {
            return Ok(Effect::Ignored("not a session of this server"));
        };
        if checkout.completed_at.is_some() {
            return Ok(Effect::Ignored("the session was completed before"));
        }
        checkout.completed_at = Some(locked.now);
        locked.settle(&self.billing.pools);
        if let Some(customer) = &session.customer {
            locked.at_stripe.customer_id.get_or_insert_with(|| customer.id().to_owned());
        }
        let mut effect = Effect::Done;
        match (checkout.credits, checkout.plan, checkout.interval, &session.subscription) {
            (Some(credits), ..) => {
                if let Some(intent) = &session.payment_intent {
                    checkout.payment_intent_id = Some(intent.id().to_owned());
                }
                locked.enter(Entry {
                    kind: Kind::TopUp,
                    monthly: 0,
                    topup: credits,
                    reference: format!("checkout:{}", session.id),
                    reason: None,
                });
                // a refund may have overtaken the payment
                claw_back(&mut locked, checkout.refunded_credits, &session.id);
            }
            (None, Some(plan), Some(interval), Some(subscription)) => {
                if billing::is_deleted(tx, subscription.id()).await? {
                    effect = Effect::Ignored("the subscription is deleted already");
                } else {
                    let bought = (plan, interval, checkout.seats);
                    let pools = &self.billing.pools;
                    let heeded = locked.bought(subscription.id(), bought, news(event), pools);
                    effect = outcome(heeded, &org);
                }
            }
            _ => effect = Effect::Ignored("a subscription's session without one"),
        }
        billing::update_checkout(tx, &checkout).await?;
        billing::save(tx, locked).await?;
        Ok(effect)
    }

    async fn subscription_changed(&self, tx: &mut SystemTx, event: &Event) -> Result<Effect> {
        let stripe: StripeSubscription = object(event)?;
        let mut subscription = stripe.read();
        let is_deletion = event.kind == "customer.subscription.deleted";
        if is_deletion {
            subscription.status = super::account::Status::Ended;
        } else if billing::is_deleted(tx, &subscription.id).await? {
            return Ok(Effect::Ignored("the subscription is deleted already"));
        }
        let Some((org, mut locked)) = self.lock_customer(tx, stripe.customer.id()).await? else {
            return Ok(Effect::Ignored("not a customer of this server"));
        };
        let heeded = locked.heed(&subscription, news(event), &self.billing.pools);
        billing::save(tx, locked).await?;
        Ok(outcome(heeded, &org))
    }

    async fn invoice_paid(&self, tx: &mut SystemTx, event: &Event) -> Result<Effect> {
        let invoice: Invoice = object(event)?;
        let (Some(customer), Some(paid)) = (&invoice.customer, invoice.read()) else {
            return Ok(Effect::Ignored("not an invoice of a subscription"));
        };
        let Some((org, mut locked)) = self.lock_customer(tx, customer.id()).await? else {
            return Ok(Effect::Ignored("not a customer of this server"));
        };
        let heeded = locked.paid(&paid, news(event), &self.billing.pools);
        billing::save(tx, locked).await?;
        Ok(outcome(heeded, &org))
    }

    async fn payment_failed(&self, tx: &mut SystemTx, event: &Event) -> Result<Effect> {
        let invoice: Invoice = object(event)?;
        let (Some(customer), Some(subscription)) = (&invoice.customer, invoice.subscription())
        else {
            return Ok(Effect::Ignored("not an invoice of a subscription"));
        };
        let Some((org, mut locked)) = self.lock_customer(tx, customer.id()).await? else {
            return Ok(Effect::Ignored("not a customer of this server"));
        };
        let heeded = locked.payment_failed(subscription, news(event));
        billing::save(tx, locked).await?;
        Ok(outcome(heeded, &org))
    }

    /// Takes back the refunded part of a top-up, as far as it is unspent.
    async fn refunded(&self, tx: &mut SystemTx, event: &Event) -> Result<Effect> {
        let charge: Charge = object(event)?;
        let Some(found) = top_up_of(tx, &charge).await? else {
            return Ok(Effect::Ignored("not a payment for credits"));
        };
        let Some(mut locked) = billing::lock(tx, &found.org_id).await? else {
            return Ok(Effect::Ignored("no such organization"));
        };
        let Some(mut checkout) = billing::checkout_of_session(tx, &found.session_id).await? else {
            return Ok(Effect::Ignored("not a session of this server"));
        };
        let credits = checkout.credits.unwrap_or_default();
        let (refunded, amount) = (charge.amount_refunded.min(charge.amount), charge.amount.max(1));
        let target = i128::from(credits) * i128::from(refunded) / i128::from(amount);
        let target = i64::try_from(target).unwrap_or(credits);
        // partial refunds add up, and may be told of in any order
        let more = target - checkout.refunded_credits;
        if more <= 0 {
            return Ok(Effect::Ignored("an earlier refund, which was counted already"));
        }
        checkout.refunded_credits = target;
        if let Some(intent) = &charge.payment_intent {
            checkout.payment_intent_id.get_or_insert_with(|| intent.id().to_owned());
        }
        if checkout.completed_at.is_some() {
            claw_back(&mut locked, more, &format!("{}:{target}", charge.id));
        }
        billing::update_checkout(tx, &checkout).await?;
        billing::save(tx, locked).await?;
        Ok(Effect::Done)
    }

    async fn lock_customer(
        &self,
        tx: &mut SystemTx,
        customer: &str,
    ) -> Result<Option<(OrgId, Locked)>> {
        let Some(org) = billing::org_of_customer(tx, customer).await? else { return Ok(None) };
        let Some(mut locked) = billing::lock(tx, &org).await? else { return Ok(None) };
        locked.settle(&self.billing.pools);
        Ok(Some((org, locked)))
    }
}

fn news(event: &Event) -> News<'_> {
    let is_creation = event.kind.ends_with(".created");
    News { id: &event.id, at: Some(event.at()), is_creation }
}

fn outcome(heeded: Heeded, org: &OrgId) -> Effect {
    match heeded {
        Heeded::Yes => Effect::Done,
        Heeded::AskStripe => Effect::AskStripe(org.clone()),
        Heeded::No(why) => Effect::Ignored(why),
    }
}

/// The top-up that was charged: known by its payment, or by what we wrote on it.
async fn top_up_of(tx: &mut SystemTx, charge: &Charge) -> Result<Option<Checkout>> {
    let mut found = None;
    if let Some(intent) = &charge.payment_intent {
        found = billing::checkout_of_payment(tx, intent.id()).await?;
    }
    if found.is_none()
        && let Some(reference) = charge.metadata.get("switchy_checkout").and_then(|r| r.as_str())
    {
        found = billing::checkout_of_reference(tx, reference).await?;
        // another payment's metadata says nothing about this one
        found = found.filter(|checkout| checkout.payment_intent_id.is_none());
    }
    Ok(found.filter(|checkout| checkout.credits.is_some()))
}

fn claw_back(locked: &mut Locked, credits: i64, cause: &str) {
    let unspent = credits.min(locked.balance().topup);
    if credits > 0 {
        locked.enter(Entry {
            kind: Kind::Clawback,
            monthly: 0,
            topup: -unspent,
            reference: format!("refund:{cause}"),
            reason: None,
        });
    }
}
