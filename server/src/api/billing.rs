//! Plan and credits (contract B6).

use super::{Call, Ctx, Kept};
use crate::auth::{OrgRole, Scope};
use crate::billing::checkout::{Ways, reference_of, way_to};
use crate::billing::plans::{Interval, MAX_TOPUP, MIN_TOPUP, Plan};
use crate::error::{Error, Result};
use crate::http::{
    Answer, Check, IdempotencyKey, Issues, Json, Ok200, Raw, Reply, Timestamp, Unread, peer,
};
use crate::limits::count_failure;
use crate::store::Tx;
use crate::store::billing::{self as store, Buyer, View};
use crate::store::ids::OrgId;
use crate::store::rights::Right;
use dropshot::endpoint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Largest event of Stripe that is read, in bytes: theirs are below 64 KiB.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// Longest URL to come back to, in characters.
pub const MAX_URL: usize = 2_048;

/// What an organization has to spend.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CreditBalance {
    /// The organization.
    organization_id: OrgId,
    /// Its plan.
    plan: Plan,
    /// How often the plan is paid; `null` for STARTER.
    interval: Option<Interval>,
    /// Credits that can be spent: what is left of this month's, and of top-ups.
    balance: i64,
    /// Credits that this month began with.
    monthly_allotment: i64,
    /// Credits left of top-ups: they are spent first, and do not expire.
    topup_balance: i64,
    /// When the next month of credits begins. What is left of this one's then expires.
    period_end: Timestamp,
    /// A payment has failed: the next month's credits come when it is made good.
    past_due: bool,
    /// The plan was cancelled, and falls back to STARTER when what is paid has passed.
    cancel_at_period_end: bool,
}

impl From<View> for CreditBalance {
    fn from(view: View) -> Self {
        let View { account, balance, .. } = view;
        CreditBalance {
            organization_id: account.org_id,
            plan: account.plan,
            interval: account.interval,
            balance: balance.total(),
            monthly_allotment: account.monthly_allotment,
            topup_balance: balance.topup,
            period_end: account.period_end.into(),
            past_due: account.past_due,
            cancel_at_period_end: account.cancel_at_period_end || account.ends_at.is_some(),
        }
    }
}

/// What an organization has to spend.
#[derive(Serialize, JsonSchema)]
struct CreditBalanceData {
    /// The balance.
    balance: CreditBalance,
}

/// Where to go on.
#[derive(Serialize, JsonSchema)]
struct PaymentPageData {
    /// A page of Stripe's, for the browser of the OWNER who asked. It is valid for a short time.
    #[schemars(example = "example_url")]
    url: String,
}

fn example_url() -> &'static str {
    "https://checkout.stripe.com/c/pay/cs_live_a1b2c3"
}

/// A plan that can be bought.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum PaidPlan {
    /// For one person.
    Pro,
    /// For a team: a pool of credits that grows with its members.
    Team,
    /// For a large team.
    Enterprise,
}

impl From<PaidPlan> for Plan {
    fn from(plan: PaidPlan) -> Self {
        match plan {
            PaidPlan::Pro => Plan::Pro,
            PaidPlan::Team => Plan::Team,
            PaidPlan::Enterprise => Plan::Enterprise,
        }
    }
}

/// How often a plan is to be paid.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum PaymentInterval {
    /// Every month.
    #[default]
    Monthly,
    /// Every year, for less.
    Annual,
}

impl From<PaymentInterval> for Interval {
    fn from(interval: PaymentInterval) -> Self {
        match interval {
            PaymentInterval::Monthly => Interval::Monthly,
            PaymentInterval::Annual => Interval::Annual,
        }
    }
}

/// A plan to buy.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CheckoutCreate {
    /// Which plan.
    plan: PaidPlan,
    /// Paid how often; `monthly` if nothing is said.
    interval: Option<PaymentInterval>,
    /// Where the browser goes when it is paid: an `http` or `https` URL. This server otherwise.
    #[schemars(length(min = 1, max = 2_048), regex(pattern = "^https?://"))]
    #[schemars(example = "example_return_url")]
    success_url: Option<String>,
    /// Where the browser goes when it is not: likewise.
    #[schemars(length(min = 1, max = 2_048), regex(pattern = "^https?://"))]
    #[schemars(example = "example_return_url")]
    cancel_url: Option<String>,
}

fn example_return_url() -> &'static str {
    "https://switchy.example/settings/billing"
}

fn check_url(issues: &mut Issues, field: &'static str, url: Option<&String>) {
    let Some(text) = url else { return };
    issues.length(field, text, 1..=MAX_URL);
    let scheme = url::Url::parse(text).ok().filter(url::Url::has_host);
    let is_web = scheme.is_some_and(|url| matches!(url.scheme(), "http" | "https"));
    if !is_web || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        issues.add(field, "invalid_url", "must be a URL that begins with http:// or https://");
    }
}

impl Check for CheckoutCreate {
    fn check(&self, issues: &mut Issues) {
        check_url(issues, "successUrl", self.success_url.as_ref());
        check_url(issues, "cancelUrl", self.cancel_url.as_ref());
    }
}

/// Where to come back to.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PortalCreate {
    /// Where the portal's link back leads: an `http` or `https` URL. This server otherwise.
    #[schemars(length(min = 1, max = 2_048), regex(pattern = "^https?://"))]
    #[schemars(example = "example_return_url")]
    return_url: Option<String>,
}

impl Check for PortalCreate {
    const MAY_BE_ABSENT: bool = true;

    fn check(&self, issues: &mut Issues) {
        check_url(issues, "returnUrl", self.return_url.as_ref());
    }
}

/// A usual number of credits.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CreditPack {
    /// 1,000 credits.
    Small,
    /// 5,000 credits.
    Medium,
    /// 20,000 credits.
    Large,
}

impl CreditPack {
    fn credits(self) -> u32 {
        match self {
            CreditPack::Small => 1_000,
            CreditPack::Medium => 5_000,
            CreditPack::Large => 20_000,
        }
    }
}

/// Credits to buy: either `pack` or `credits`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TopUpCreate {
    /// A usual number of them.
    pack: Option<CreditPack>,
    /// How many.
    #[schemars(range(min = 100, max = 1_000_000))]
    credits: Option<u32>,
    /// Where the browser goes when it is paid: an `http` or `https` URL. This server otherwise.
    #[schemars(length(min = 1, max = 2_048), regex(pattern = "^https?://"))]
    #[schemars(example = "example_return_url")]
    success_url: Option<String>,
    /// Where the browser goes when it is not: likewise.
    #[schemars(length(min = 1, max = 2_048), regex(pattern = "^https?://"))]
    #[schemars(example = "example_return_url")]
    cancel_url: Option<String>,
}

impl Check for TopUpCreate {
    fn check(&self, issues: &mut Issues) {
        match (self.pack, self.credits) {
            (None, None) => {
                if !issues.is_unreadable("pack") && !issues.is_unreadable("credits") {
                    issues.add("pack", "required", "or `credits` is required");
                }
            }
            (Some(_), Some(_)) => {
                issues.add("credits", "exclusive", "must not be given together with `pack`");
            }
            (None, Some(credits)) => {
                let allowed = i64::from(MIN_TOPUP)..=i64::from(MAX_TOPUP);
                issues.range("credits", i64::from(credits), allowed);
            }
            (Some(_), None) => {}
        }
        check_url(issues, "successUrl", self.success_url.as_ref());
        check_url(issues, "cancelUrl", self.cancel_url.as_ref());
    }
}

impl Call<'_> {
    /// 403 for all but OWNERs; 409 where nothing can be bought.
    fn may_pay(&self) -> Result<()> {
        if self.caller().role != OrgRole::Owner {
            return Err(Error::forbidden("only an OWNER of the organization may do this"));
        }
        self.app().billing.stripe().map(|_| ())
    }

    fn buyer(&self) -> Buyer {
        let caller = self.caller();
        Buyer { org_id: caller.org_id.clone(), user_id: caller.user_id.clone() }
    }

    fn ways(&self, success: Option<String>, cancel: Option<String>) -> Ways {
        let here = || self.app().public_url.at("/");
        Ways { success: success.unwrap_or_else(here), cancel: cancel.unwrap_or_else(here) }
    }

    /// Answers with a page of Stripe's: `prepare` reads what is needed for it, and `open` makes it.
    async fn pay<B, Q>(
        &self,
        key: IdempotencyKey,
        body: Json<B>,
        prepare: impl AsyncFnOnce(&mut Tx, B) -> Result<Q>,
        open: impl AsyncFnOnce(Q, &str) -> Result<String>,
    ) -> Answer<Ok200<PaymentPageData>> {
        let ask = async |asked: Q, digest| open(asked, &reference_of(digest)).await;
        self.create_around(key, body, prepare, ask, async |_, url: String| {
            Kept::new(&PaymentPageData { url }, Right::Owner)
        })
        .await
    }
}

/// View the credits
///
/// The organization's plan, and what it has to spend. Every member may.
#[endpoint { method = GET, path = "/api/billing/credits", tags = ["Billing"], operation_id = "credit_balance" }]
pub(super) async fn credit_balance(ctx: Ctx) -> Answer<Ok200<CreditBalanceData>> {
    let mut call = Call::reading(&ctx, Scope::BillingRead);
    let view = match call.read(store::view).await? {
        Some(current) if !current.is_due => current,
        _ => {
            let app = call.app();
            app.billing.settle(&app.store, &call.call().await?.caller().org_id).await?;
            call.read(store::view).await?.ok_or_else(|| Error::not_found("organization"))?
        }
    };
    Reply::ok(CreditBalanceData { balance: view.into() })
}

/// Buy or change the plan
///
/// Makes a page of Stripe's on which it is paid, or the change of the plan that runs is confirmed;
/// the plan changes when that is done. An OWNER may. The organization's members are the seats.
#[endpoint { method = POST, path = "/api/billing/checkout", tags = ["Billing"], operation_id = "billing_checkout" }]
pub(super) async fn billing_checkout(
    ctx: Ctx,
    key: IdempotencyKey,
    body: Unread<CheckoutCreate>,
) -> Answer<Ok200<PaymentPageData>> {
    let mut call = Call::writing(&ctx, Scope::BillingWrite).await?;
    let body = call.body(body).await?;
    let app = call.app();
    let prepare = async |tx: &mut Tx, body: CheckoutCreate| {
        call.may_pay()?;
        let (plan, interval) = (body.plan.into(), body.interval.unwrap_or_default().into());
        let view = store::view(tx).await?;
        let way = way_to(view.as_ref(), plan, interval)?;
        let members = store::count_members(tx).await?;
        let slug = store::slug(tx).await?;
        let ways = call.ways(body.success_url, body.cancel_url);
        Ok(((plan, interval, members), slug, (way, ways)))
    };
    call.pay(key, body, prepare, async |(wanted, slug, (way, ways)), reference| {
        let buyer = call.buyer();
        app.billing
            .check_out_plan(&app.store, (&buyer, &slug), wanted, (&way, &ways), reference)
            .await
    })
    .await
}

/// Open the billing portal
///
/// Makes a page of Stripe's with the organization's invoices, cards and plan. An OWNER may, once
/// something was bought. The body may be left out.
#[endpoint { method = POST, path = "/api/billing/portal", tags = ["Billing"], operation_id = "billing_portal" }]
pub(super) async fn billing_portal(
    ctx: Ctx,
    key: IdempotencyKey,
    body: Unread<PortalCreate>,
) -> Answer<Ok200<PaymentPageData>> {
    let mut call = Call::writing(&ctx, Scope::BillingWrite).await?;
    let body = call.body(body).await?;
    let app = call.app();
    let prepare = async |tx: &mut Tx, body: PortalCreate| {
        call.may_pay()?;
        let view = store::view(tx).await?;
        let customer = view.and_then(|view| view.at_stripe.customer_id).ok_or_else(|| {
            Error::conflict("nothing was bought yet: the portal opens after the first checkout")
        })?;
        let return_url = body.return_url.unwrap_or_else(|| app.public_url.at("/"));
        Ok((customer, return_url))
    };
    call.pay(key, body, prepare, async |(customer, return_url), reference| {
        app.billing.open_portal(&customer, &return_url, reference).await
    })
    .await
}

/// Buy credits
///
/// Makes a page of Stripe's on which they are paid; they are there when that is done, are spent
/// before the month's, and do not expire. An OWNER may.
#[endpoint { method = POST, path = "/api/billing/topup", tags = ["Billing"], operation_id = "billing_topup" }]
pub(super) async fn billing_topup(
    ctx: Ctx,
    key: IdempotencyKey,
    body: Unread<TopUpCreate>,
) -> Answer<Ok200<PaymentPageData>> {
    let mut call = Call::writing(&ctx, Scope::BillingWrite).await?;
    let body = call.body(body).await?;
    let app = call.app();
    let prepare = async |tx: &mut Tx, body: TopUpCreate| {
        call.may_pay()?;
        let credits = body.pack.map(CreditPack::credits).or(body.credits).unwrap_or_default();
        let slug = store::slug(tx).await?;
        Ok((credits, slug, call.ways(body.success_url, body.cancel_url)))
    };
    call.pay(key, body, prepare, async |(credits, slug, ways), reference| {
        let buyer = call.buyer();
        app.billing.check_out_credits(&app.store, (&buyer, &slug), credits, &ways, reference).await
    })
    .await
}

/// An event of Stripe's, as its documentation describes it.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "documents the body, which is read byte by byte")]
struct StripeEvent {
    /// Identifies the event; each is carried out once.
    id: String,
    /// What has happened, for example `invoice.paid`.
    r#type: String,
    /// When, in seconds since 1970.
    created: i64,
    /// About what.
    data: serde_json::Map<String, Value>,
}

/// That an event has arrived.
#[derive(Serialize, JsonSchema)]
struct WebhookData {
    /// Always `true`.
    received: bool,
}

/// Receive an event of Stripe
///
/// For Stripe alone, which signs the body in `Stripe-Signature`. An event is carried out once,
/// however often and in whatever order it comes; one of another kind than those that matter here is
/// received and ignored.
#[endpoint { method = POST, path = "/api/webhooks/stripe", tags = ["Billing"], operation_id = "stripe_webhook" }]
pub(super) async fn stripe_webhook(ctx: Ctx, body: Raw<StripeEvent>) -> Answer<Ok200<WebhookData>> {
    let app = ctx.context();
    let webhook = app.billing.webhook()?;
    let headers = ctx.request.headers();
    let verified = async {
        // without a signature the body is not even read
        let signature = webhook.signature(headers)?;
        let body = body.read(MAX_EVENT_BYTES).await?;
        webhook.verify(&app.store, &signature, &body)?;
        Ok(body)
    };
    let body = match verified.await {
        Ok(body) => body,
        Err(refused) => {
            count_failure(&app.store, &app.limits, peer::counted(ctx.request.remote_addr().ip()))
                .await?;
            return Err(Error::into(refused));
        }
    };
    webhook.carry_out(&app.store, &body).await?;
    Reply::ok(WebhookData { received: true })
}
