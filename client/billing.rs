//! Plan and credits.

use progenitor_client::Error as Failure;

use crate::{
    Client, Request,
    envelope::ErrorEnvelope,
    generated,
    request::{idempotency_key, sealed::Run},
    types,
};

/// Plan and credits of the organization: [`Client::billing`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// use switchy::types::{CreditPack, PaidPlan, PaymentInterval};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// let credits = client.billing().credits().await?;
/// println!("{} credits until {}", credits.balance, credits.period_end);
/// // pages of Stripe's, for the browser of an OWNER
/// let plan = client.billing().checkout(PaidPlan::Team).interval(PaymentInterval::Annual).await?;
/// let credits = client.billing().top_up(CreditPack::Medium).await?;
/// let portal = client.billing().portal().return_url("https://switchy.example/billing").await?;
/// println!("{plan} {credits} {portal}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Billing<'a> {
    pub(crate) client: &'a Client,
}

/// What to top up with: a pack, or a number of credits from 100 to 1,000,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopUp {
    /// A usual number.
    Pack(types::CreditPack),
    /// So many.
    Credits(u32),
}

impl From<types::CreditPack> for TopUp {
    fn from(pack: types::CreditPack) -> Self {
        Self::Pack(pack)
    }
}

impl From<u32> for TopUp {
    fn from(credits: u32) -> Self {
        Self::Credits(credits)
    }
}

impl Billing<'_> {
    /// The plan, and what there is to spend.
    pub fn credits(&self) -> Request<CreditView> {
        self.client.request(CreditView(()))
    }

    /// The URL of a page on which the plan is bought, or the change to it confirmed. For OWNERs.
    pub fn checkout(&self, plan: types::PaidPlan) -> Request<BillingCheckout> {
        let body =
            types::CheckoutCreate { plan, interval: None, success_url: None, cancel_url: None };
        self.client.request(BillingCheckout { body, idempotency_key: None })
    }

    /// The URL of a page on which credits are bought that do not expire. For OWNERs.
    pub fn top_up(&self, what: impl Into<TopUp>) -> Request<BillingTopUp> {
        let (pack, credits) = match what.into() {
            TopUp::Pack(pack) => (Some(pack), None),
            TopUp::Credits(credits) => (None, Some(credits)),
        };
        let body = types::TopUpCreate { pack, credits, success_url: None, cancel_url: None };
        self.client.request(BillingTopUp { body, idempotency_key: None })
    }

    /// The URL of a page with invoices, cards and the plan; there is one after the first checkout.
    /// For OWNERs.
    pub fn portal(&self) -> Request<BillingPortal> {
        let body = types::PortalCreate { return_url: None };
        self.client.request(BillingPortal { body, idempotency_key: None })
    }
}

/// `GET /billing/credits`: see [`Billing::credits`].
#[derive(Clone, Debug)]
pub struct CreditView(());

impl Run for CreditView {
    type Data = types::CreditBalance;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.credit_balance().send().await?.into_inner().data.balance)
    }
}

/// `POST /billing/checkout`: see [`Billing::checkout`].
#[derive(Clone, Debug)]
pub struct BillingCheckout {
    body: types::CheckoutCreate,
    idempotency_key: Option<String>,
}

impl Request<BillingCheckout> {
    /// Paid how often; every month otherwise.
    pub fn interval(mut self, interval: types::PaymentInterval) -> Self {
        self.operation.body.interval = Some(interval);
        self
    }

    /// Where the browser goes when it is paid.
    pub fn success_url(mut self, url: impl Into<String>) -> Self {
        self.operation.body.success_url = Some(url.into());
        self
    }

    /// Where the browser goes when it is not.
    pub fn cancel_url(mut self, url: impl Into<String>) -> Self {
        self.operation.body.cancel_url = Some(url.into());
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for BillingCheckout {
    type Data = String;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.billing_checkout().idempotency_key(key).body(self.body);
        Ok(request.send().await?.into_inner().data.url)
    }
}

/// `POST /billing/topup`: see [`Billing::top_up`].
#[derive(Clone, Debug)]
pub struct BillingTopUp {
    body: types::TopUpCreate,
    idempotency_key: Option<String>,
}

impl Request<BillingTopUp> {
    /// Where the browser goes when it is paid.
    pub fn success_url(mut self, url: impl Into<String>) -> Self {
        self.operation.body.success_url = Some(url.into());
        self
    }

    /// Where the browser goes when it is not.
    pub fn cancel_url(mut self, url: impl Into<String>) -> Self {
        self.operation.body.cancel_url = Some(url.into());
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for BillingTopUp {
    type Data = String;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.billing_topup().idempotency_key(key).body(self.body);
        Ok(request.send().await?.into_inner().data.url)
    }
}

/// `POST /billing/portal`: see [`Billing::portal`].
#[derive(Clone, Debug)]
pub struct BillingPortal {
    body: types::PortalCreate,
    idempotency_key: Option<String>,
}

impl Request<BillingPortal> {
    /// Where the portal's link back leads.
    pub fn return_url(mut self, url: impl Into<String>) -> Self {
        self.operation.body.return_url = Some(url.into());
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for BillingPortal {
    type Data = String;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.billing_portal().idempotency_key(key).body(self.body);
        Ok(request.send().await?.into_inner().data.url)
    }
}
