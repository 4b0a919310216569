//! What time, payments and Stripe's news do to a plan and its credits. Knows neither the database
//! nor HTTP: [`Locked`] is what there is, and what is to be booked.

use super::period;
use super::plans::{Interval, Plan, Pools};
use crate::store::billing::{AtStripe, Locked};
use crate::store::credits::{Entry, Kind};
use chrono::{DateTime, Utc};

/// What Stripe says of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Stripe's id.
    pub id: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Where it stands.
    pub status: Status,
    /// What it is for, if that is something of ours.
    pub bought: Option<(Plan, Interval)>,
    /// Its item.
    pub item_id: Option<String>,
    /// Units of it.
    pub quantity: u32,
    /// The period that is running.
    pub period: (DateTime<Utc>, DateTime<Utc>),
    /// Whether it ends with the period.
    pub cancel_at_period_end: bool,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Paid, or on trial.
    Active,
    /// A payment has failed, and is tried again.
    PastDue,
    /// It cannot be paid, or rests.
    Unpaid,
    /// The first payment is awaited, or never came.
    Incomplete,
    /// Over.
    Ended,
}

/// Where news comes from.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// Identifies it in the books.
    pub id: &'a str,
    /// When it was true; `None` for an answer to a question of ours, which is true now.
    pub at: Option<DateTime<Utc>>,
    /// It tells of the making of something, and so of nothing newer.
    pub is_creation: bool,
}

/// What became of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heeded {
    /// It changed something, or could have.
    Yes,
    /// It could not be told whether it was the newest: ask Stripe.
    AskStripe,
    /// It was old, or about something else.
    No(&'static str),
}

/// A paid invoice.
#[derive(Clone, Debug, PartialEq)]
pub struct PaidInvoice {
    /// Stripe's id.
    pub id: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// For which subscription.
    pub subscription: String,
    /// Whether it begins another period.
    pub is_renewal: bool,
    /// What it pays for, as far as it tells.
    pub period: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Locked {
    /// Does what time alone does: STARTER refills, the months of a year that is paid, the end of a
    /// plan. Once is enough, however much time has passed.
    pub fn settle(&mut self, pools: &Pools) {
        let (now, account) = (self.now, &mut self.account);
        if let Some(ends_at) = account.ends_at.filter(|ends_at| *ends_at <= now) {
            account.plan = Plan::Starter;
            account.interval = None;
            account.anchor = ends_at;
            account.period_end = ends_at;
            account.ends_at = None;
            account.past_due = false;
            account.cancel_at_period_end = false;
        }
        if self.account.period_end <= now {
            let anchor = self.account.anchor;
            let number = period::number(anchor, now);
            let start = period::month(anchor, number);
            // a month that is paid by itself comes with its payment, not with time
            let is_paid = match self.account.interval {
                None => true,
                Some(Interval::Monthly) => false,
                Some(Interval::Annual) => self.account.paid_until > Some(start),
            };
            if is_paid {
                let cause = format!("month:{}:{}", self.account.plan, start.to_rfc3339());
                self.begin_month((start, period::month(anchor, number + 1)), &cause, pools);
            }
        }
        self.foresee();
    }

    /// When time alone will have something to do.
    fn foresee(&mut self) {
        let account = &mut self.account;
        let end = Some(account.period_end);
        let refill = match account.interval {
            None => end,
            Some(Interval::Monthly) => None,
            // past what is paid, nothing comes before the next payment
            Some(Interval::Annual) => {
                end.filter(|at| *at > self.now && Some(*at) < account.paid_until)
            }
        };
        account.settle_at = refill.into_iter().chain(account.ends_at).min();
    }

    /// What is left of the month expires, and another one begins.
    fn begin_month(
        &mut self,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
        cause: &str,
        pools: &Pools,
    ) {
        let left = self.balance().monthly;
        if left > 0 {
            self.month_entry(Kind::Expiry, -left, cause);
        }
        let allotment = pools.allotment(self.account.plan, self.members);
        self.month_entry(Kind::Allotment, allotment, cause);
        self.account.monthly_allotment = allotment;
        self.account.period_start = start;
        self.account.period_end = end;
    }

    fn month_entry(&mut self, kind: Kind, monthly: i64, cause: &str) {
        let what = if kind == Kind::Expiry { "expiry" } else { "allotment" };
        let reference = format!("{what}:{cause}");
        self.enter(Entry { kind, monthly, topup: 0, reference, reason: None });
    }

    /// Whether a subscription of the organization is running, that is: neither over nor about to
    /// be without a way back.
    pub fn is_subscribed(&self) -> bool {
        self.at_stripe.subscription_id.is_some() && !self.at_stripe.subscription_ended
    }

    /// A checkout of a plan is through. What the subscription itself says comes beside it, before
    /// or after, and knows better.
    pub fn bought(
        &mut self,
        subscription: &str,
        (plan, interval, seats): (Plan, Interval, Option<i32>),
        news: News<'_>,
        pools: &Pools,
    ) -> Heeded {
        if self.at_stripe.subscription_id.as_deref() == Some(subscription) {
            return Heeded::No("the subscription is known already");
        }
        let start = news.at.unwrap_or(self.now);
        if self.is_subscribed()
            && self.at_stripe.subscription_created_at.is_some_and(|created| created > start)
        {
            return Heeded::No("a newer subscription has taken its place");
        }
        let months = interval.months();
        self.attach(subscription, start, (plan, interval));
        self.at_stripe.seats = seats;
        self.account.paid_until = Some(period::month(start, months));
        self.begin_month((start, period::month(start, 1)), news.id, pools);
        self.foresee();
        Heeded::AskStripe
    }

    fn attach(
        &mut self,
        subscription: &str,
        created: DateTime<Utc>,
        (plan, interval): (Plan, Interval),
    ) {
        let account = &mut self.account;
        account.plan = plan;
        account.interval = Some(interval);
        account.anchor = created;
        account.ends_at = None;
        account.past_due = false;
        account.cancel_at_period_end = false;
        self.at_stripe = AtStripe {
            customer_id: self.at_stripe.customer_id.take(),
            subscription_id: Some(subscription.to_owned()),
            subscription_created_at: Some(created),
            ..AtStripe::default()
        };
    }

    /// News of a subscription, in whatever order it comes.
    pub fn heed(&mut self, subscription: &Subscription, news: News<'_>, pools: &Pools) -> Heeded {
        let known = self.at_stripe.subscription_id.as_deref() == Some(&*subscription.id);
        if !known {
            return self.heed_unknown(subscription, news, pools);
        }
        if self.at_stripe.subscription_ended {
            return Heeded::No("the subscription is over");
        }
        let mut heeded = Heeded::Yes;
        if subscription.status != Status::Ended
            && let (Some(at), Some(last)) = (news.at, self.at_stripe.subscription_event_at)
        {
            if at < last || (at == last && news.is_creation) {
                return Heeded::No("newer news came before it");
            }
            if at == last {
                heeded = Heeded::AskStripe;
            }
        }
        if news.at.is_some() {
            self.at_stripe.subscription_event_at = news.at;
        }
        let account = &mut self.account;
        account.cancel_at_period_end = subscription.cancel_at_period_end;
        match subscription.status {
            Status::Active | Status::PastDue => self.run(subscription, news, pools),
            Status::Unpaid => {
                account.past_due = true;
                account.ends_at = Some(account.paid_until.unwrap_or(self.now));
            }
            Status::Incomplete => {}
            Status::Ended => {
                self.at_stripe.subscription_ended = true;
                // what is paid is theirs to the end
                account.ends_at = Some(account.paid_until.unwrap_or(self.now));
            }
        }
        self.settle(pools);
        heeded
    }

    fn heed_unknown(
        &mut self,
        subscription: &Subscription,
        news: News<'_>,
        pools: &Pools,
    ) -> Heeded {
        if !matches!(subscription.status, Status::Active | Status::PastDue) {
            return Heeded::No("another subscription, which does not run");
        }
        let Some(bought) = subscription.bought else {
            return Heeded::No("the subscription is for nothing that this server sells");
        };
        if self.is_subscribed()
            && self.at_stripe.subscription_created_at.is_some_and(|at| at > subscription.created)
        {
            return Heeded::No("a newer subscription has taken its place");
        }
        let (start, end) = subscription.period;
        self.attach(&subscription.id, subscription.created, bought);
        self.account.anchor = start;
        self.at_stripe.subscription_event_at = news.at;
        self.account.paid_until = Some(end);
        self.account.cancel_at_period_end = subscription.cancel_at_period_end;
        self.note_item(subscription);
        self.account.past_due = subscription.status == Status::PastDue;
        // of a year, the month that is running
        let number = match bought.1 {
            Interval::Monthly => 0,
            Interval::Annual => period::number(start, self.now),
        };
        let month = (period::month(start, number), period::month(start, number + 1));
        let month = if bought.1 == Interval::Monthly { (start, end) } else { month };
        self.begin_month(month, news.id, pools);
        self.foresee();
        Heeded::Yes
    }

    fn note_item(&mut self, subscription: &Subscription) {
        self.at_stripe.item_id.clone_from(&subscription.item_id);
        self.at_stripe.seats = i32::try_from(subscription.quantity).ok();
    }

    /// The subscription that the plan is known to come from runs, perhaps as another plan.
    fn run(&mut self, subscription: &Subscription, news: News<'_>, pools: &Pools) {
        let (start, end) = subscription.period;
        // what a checkout alone has told is an estimate
        let is_estimate = self.at_stripe.item_id.is_none();
        self.note_item(subscription);
        self.account.ends_at = None;
        let is_newest = news.at.is_none_or(|at| self.at_stripe.payment_event_at <= Some(at));
        if subscription.status == Status::PastDue {
            self.account.past_due = true;
        } else if is_newest {
            self.account.past_due = false;
        }
        let was = (self.account.plan, self.account.interval);
        let (plan, interval) = subscription.bought.unwrap_or_else(|| {
            (was.0, was.1.unwrap_or(Interval::Monthly)) // an item of the operator's own making
        });
        self.account.plan = plan;
        self.account.interval = Some(interval);
        if is_estimate && was == (plan, Some(interval)) {
            self.account.anchor = start;
            self.account.period_start = start;
            let first = if interval == Interval::Monthly { end } else { period::month(start, 1) };
            self.account.period_end = first;
            self.account.paid_until = Some(end);
            return;
        }
        let month = if was.1 == Some(interval) {
            if interval == Interval::Monthly {
                // credits come with the payment; when they are due is known before
                self.account.period_end = self.account.period_end.max(end);
            }
            (self.account.period_start, self.account.period_end)
        } else {
            self.account.anchor = start;
            self.account.paid_until = Some(end);
            (start, if interval == Interval::Monthly { end } else { period::month(start, 1) })
        };
        let allotment = pools.allotment(plan, self.members);
        if was.0 != plan && allotment > self.account.monthly_allotment {
            // an upgrade; to go down and up again earns nothing more
            self.begin_month(month, news.id, pools);
        } else if was.1 != Some(interval) {
            self.begin_month_in_between(month, news.id, allotment);
        }
    }

    /// Another interval begins another month: what is left stays, and for the time that has passed
    /// of the old month its share is added, so that changing back and forth earns nothing.
    fn begin_month_in_between(
        &mut self,
        (start, end): (DateTime<Utc>, DateTime<Utc>),
        cause: &str,
        allotment: i64,
    ) {
        let whole = (self.account.period_end - self.account.period_start).num_seconds().max(1);
        let passed = (start - self.account.period_start).num_seconds().clamp(0, whole);
        let earned = i128::from(allotment) * i128::from(passed) / i128::from(whole);
        let earned = i64::try_from(earned).unwrap_or(allotment);
        let room = (allotment - self.balance().monthly).max(0);
        self.month_entry(Kind::Allotment, earned.min(room), cause);
        self.account.period_start = start;
        self.account.period_end = end;
    }

    /// An invoice of the subscription is paid; one that renews it brings the next month's credits.
    pub fn paid(&mut self, invoice: &PaidInvoice, news: News<'_>, pools: &Pools) -> Heeded {
        if self.at_stripe.subscription_id.as_deref() != Some(&*invoice.subscription) {
            return Heeded::AskStripe;
        }
        if self.at_stripe.payment_event_at <= news.at {
            self.account.past_due = false;
            self.at_stripe.payment_event_at = news.at;
        }
        if let Some((_, end)) = invoice.period {
            self.account.paid_until = Some(self.account.paid_until.map_or(end, |p| p.max(end)));
        }
        if self.at_stripe.subscription_ended && self.account.plan != Plan::Starter {
            self.account.ends_at = self.account.paid_until;
        }
        let is_late = self.at_stripe.refill_invoice_at.is_some_and(|at| at >= invoice.created);
        if invoice.is_renewal && !is_late && self.account.plan != Plan::Starter {
            self.at_stripe.refill_invoice_at = Some(invoice.created);
            let interval = self.account.interval.unwrap_or(Interval::Monthly);
            let (start, end) = invoice.period.unwrap_or_else(|| {
                let start = self.account.period_end;
                (start, period::month(start, interval.months()))
            });
            let month_end = match interval {
                Interval::Monthly => end.max(self.account.period_end),
                Interval::Annual => {
                    self.account.anchor = start;
                    period::month(start, 1)
                }
            };
            self.begin_month((start, month_end), &format!("invoice:{}", invoice.id), pools);
        }
        self.settle(pools);
        Heeded::Yes
    }

    /// A payment of the subscription has failed. The credits stay as they are: the next ones come
    /// when it is paid.
    pub fn payment_failed(&mut self, subscription: &str, news: News<'_>) -> Heeded {
        if self.at_stripe.subscription_id.as_deref() != Some(subscription) {
            return Heeded::No("another subscription");
        }
        // of the same second, the payment counts
        if self.at_stripe.payment_event_at >= news.at && self.at_stripe.payment_event_at.is_some() {
            return Heeded::No("newer news came before it");
        }
        self.at_stripe.payment_event_at = news.at;
        self.account.past_due = true;
        Heeded::Yes
    }
}
