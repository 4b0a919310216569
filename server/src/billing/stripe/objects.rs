//! Stripe's objects, as far as they are read here.
//!
//! The webhook's version is the account's, not ours, so what moved from one version to another is
//! looked for in either place.

use crate::billing::account::{PaidInvoice, Status, Subscription};
use crate::billing::plans::{Interval, Plan};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// What has happened.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// Stripe's id.
    pub id: String,
    /// For example `invoice.paid`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Seconds since 1970.
    pub created: i64,
    /// About what.
    pub data: EventData,
}

/// What an event is about.
#[derive(Clone, Debug, Deserialize)]
pub struct EventData {
    /// As it was then.
    pub object: Value,
}

/// An object, or its id.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Reference {
    /// Its id.
    Id(String),
    /// It itself.
    Object {
        /// Its id.
        id: String,
    },
}

impl Reference {
    /// The id.
    pub fn id(&self) -> &str {
        match self {
            Reference::Id(id) | Reference::Object { id } => id,
        }
    }
}

/// A list.
#[derive(Clone, Debug, Deserialize)]
pub struct List<T> {
    /// Its first page.
    #[serde(default = "Vec::new")]
    pub data: Vec<T>,
}

/// Anything with an id.
#[derive(Clone, Debug, Deserialize)]
pub struct Identified {
    /// Its id.
    pub id: String,
}

/// A session of Checkout or of the portal.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Where it takes place; `None` once it is over.
    pub url: Option<String>,
    /// The subscription that it made.
    pub subscription: Option<Reference>,
    /// The payment that it made.
    pub payment_intent: Option<Reference>,
    /// Who paid.
    pub customer: Option<Reference>,
    /// `unpaid` when the money is still on its way.
    pub payment_status: Option<String>,
}

/// A price.
#[derive(Clone, Debug, Deserialize)]
pub struct StripePrice {
    /// Its id.
    pub id: String,
    /// What we call it.
    pub lookup_key: Option<String>,
    product: Option<Reference>,
    recurring: Option<Recurring>,
    // as older versions have it
    interval: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Recurring {
    interval: String,
}

impl StripePrice {
    fn bought(&self) -> Option<(Plan, Interval)> {
        let product = self.product.as_ref()?.id();
        let plan = Plan::PAID.into_iter().find(|plan| plan.product_id() == product)?;
        let unit = self.recurring.as_ref().map(|r| &r.interval).or(self.interval.as_ref())?;
        let interval = Interval::ALL.into_iter().find(|interval| interval.unit() == unit)?;
        Some((plan, interval))
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Item {
    id: String,
    price: Option<StripePrice>,
    plan: Option<StripePrice>,
    quantity: Option<u32>,
    current_period_start: Option<i64>,
    current_period_end: Option<i64>,
}

/// A subscription.
#[derive(Clone, Debug, Deserialize)]
pub struct StripeSubscription {
    id: String,
    /// Who pays.
    pub customer: Reference,
    created: i64,
    status: String,
    items: List<Item>,
    current_period_start: Option<i64>,
    current_period_end: Option<i64>,
    #[serde(default)]
    cancel_at_period_end: bool,
    cancel_at: Option<i64>,
}

fn moment(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0)
}

impl Event {
    /// When it happened; to the second.
    pub fn at(&self) -> DateTime<Utc> {
        moment(self.created).unwrap_or_default()
    }

    /// The id of what it is about; empty for what has none.
    pub fn object_id(&self) -> &str {
        self.data.object["id"].as_str().unwrap_or_default()
    }

    /// What it is about.
    pub fn object<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.data.object)
    }
}

impl StripeSubscription {
    /// What matters of it.
    pub fn read(&self) -> Subscription {
        let ours = |item: &&Item| item.bought().is_some();
        let item = self.items.data.iter().find(ours).or(self.items.data.first());
        let created = moment(self.created).unwrap_or_default();
        let start = self.current_period_start.or(item.and_then(|i| i.current_period_start));
        let end = self.current_period_end.or(item.and_then(|i| i.current_period_end));
        let start = start.and_then(moment).unwrap_or(created);
        let end = end.and_then(moment).unwrap_or(start).max(start);
        Subscription {
            id: self.id.clone(),
            created,
            status: match self.status.as_str() {
                "active" | "trialing" => Status::Active,
                "past_due" => Status::PastDue,
                "unpaid" | "paused" => Status::Unpaid,
                "canceled" => Status::Ended,
                _ => Status::Incomplete,
            },
            bought: item.and_then(Item::bought),
            item_id: item.map(|item| item.id.clone()),
            quantity: item.and_then(|item| item.quantity).unwrap_or(1),
            period: (start, end),
            cancel_at_period_end: self.cancel_at_period_end || self.cancel_at.is_some(),
        }
    }
}

impl Item {
    fn bought(&self) -> Option<(Plan, Interval)> {
        [&self.price, &self.plan].into_iter().flatten().find_map(StripePrice::bought)
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Line {
    period: Option<LinePeriod>,
}

#[derive(Clone, Debug, Deserialize)]
struct LinePeriod {
    start: i64,
    end: i64,
}

#[derive(Clone, Debug, Deserialize)]
struct Parent {
    subscription_details: Option<ParentSubscription>,
}

#[derive(Clone, Debug, Deserialize)]
struct ParentSubscription {
    subscription: Option<Reference>,
}

/// An invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct Invoice {
    id: String,
    /// Who pays.
    pub customer: Option<Reference>,
    created: i64,
    billing_reason: Option<String>,
    subscription: Option<Reference>,
    parent: Option<Parent>,
    lines: Option<List<Line>>,
}

impl Invoice {
    /// The subscription that it is for.
    pub fn subscription(&self) -> Option<&str> {
        let of_parent =
            || self.parent.as_ref()?.subscription_details.as_ref()?.subscription.as_ref();
        self.subscription.as_ref().or_else(of_parent).map(Reference::id)
    }

    /// What matters of it, if it is for a subscription.
    pub fn read(&self) -> Option<PaidInvoice> {
        let lines = self.lines.as_ref().map_or(&[][..], |lines| &lines.data);
        let periods = lines.iter().filter_map(|line| {
            let period = line.period.as_ref()?;
            Some((moment(period.start)?, moment(period.end)?))
        });
        Some(PaidInvoice {
            id: self.id.clone(),
            created: moment(self.created)?,
            subscription: self.subscription()?.to_owned(),
            is_renewal: self.billing_reason.as_deref() == Some("subscription_cycle"),
            // prorations reach back; the line that reaches furthest is what was renewed
            period: periods.max_by_key(|(start, end)| (*end, *start)),
        })
    }
}

/// A charge.
#[derive(Clone, Debug, Deserialize)]
pub struct Charge {
    /// Its id.
    pub id: String,
    /// What was charged.
    pub amount: u64,
    /// What was given back so far.
    pub amount_refunded: u64,
    /// The payment that it belongs to.
    pub payment_intent: Option<Reference>,
    /// What we wrote on the payment.
    #[serde(default)]
    pub metadata: serde_json::Map<String, Value>,
}
