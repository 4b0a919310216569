//! `billing`.

use serde_json::Value;
use switchy::{Client, Operation, Request, types};

use crate::{
    args::{Billing, TopUpAmount},
    failure::Failure,
    output::{Output, date},
};

pub async fn run(client: &Client, command: Billing, output: &Output) -> Result<(), Failure> {
    match command {
        Billing::Credits => {
            let request = client.billing().credits();
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            view(&request.await?, output)
        }
        Billing::Checkout { plan, annual, success_url, cancel_url } => {
            let mut request = client.billing().checkout(plan.into());
            if annual {
                request = request.interval(types::PaymentInterval::Annual);
            }
            if let Some(url) = success_url {
                request = request.success_url(url);
            }
            if let Some(url) = cancel_url {
                request = request.cancel_url(url);
            }
            page(request, "pay, or confirm the change", output).await
        }
        Billing::Topup { amount: TopUpAmount { pack, credits }, success_url, cancel_url } => {
            let mut request = match (pack, credits) {
                (Some(pack), _) => client.billing().top_up(types::CreditPack::from(pack)),
                (None, credits) => client.billing().top_up(credits.unwrap_or_default()),
            };
            if let Some(url) = success_url {
                request = request.success_url(url);
            }
            if let Some(url) = cancel_url {
                request = request.cancel_url(url);
            }
            page(request, "pay", output).await
        }
        Billing::Portal { return_url } => {
            let mut request = client.billing().portal();
            if let Some(url) = return_url {
                request = request.return_url(url);
            }
            page(request, "see invoices, cards and the plan", output).await
        }
    }
}

/// Prints where to go on; the URL alone on standard output, for `xdg-open` and its like.
async fn page<O>(request: Request<O>, what_for: &str, output: &Output) -> Result<(), Failure>
where
    O: Operation,
{
    let data: Value = request.raw().await?;
    if output.is_json() {
        return output.json(&data);
    }
    output.say(data["url"].as_str().unwrap_or_default())?;
    eprintln!("open this page in a browser to {what_for}; it is valid for a short time");
    Ok(())
}

fn view(credits: &types::CreditBalance, output: &Output) -> Result<(), Failure> {
    let plan = match &credits.interval {
        Some(interval) => format!("{}, paid {}", credits.plan, interval.to_string().to_lowercase()),
        None => credits.plan.to_string(),
    };
    let monthly = credits.balance - credits.topup_balance;
    let notice = match (credits.past_due, credits.cancel_at_period_end) {
        (true, _) => Some("a payment has failed: `switchy billing portal` makes it good"),
        (false, true) => Some("the plan is cancelled, and ends with what is paid"),
        (false, false) => None,
    };
    output.fields(&[
        ("plan", Some(plan)),
        ("credits", Some(credits.balance.to_string())),
        ("of this month", Some(format!("{monthly} of {}", credits.monthly_allotment))),
        ("of top-ups", Some(credits.topup_balance.to_string())),
        ("next month", Some(date(&credits.period_end))),
        ("notice", notice.map(str::to_string)),
    ])
}
