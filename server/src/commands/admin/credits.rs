//! `admin credits`: what the operator gives, takes and sees.

use super::{CommandError, Common, Output, progress, say};
use crate::billing::settled;
use crate::bootstrap::{Database, PoolConfig};
use crate::clock::Clock;
use crate::config::CreditsConfig;
use crate::error::{Error, Result};
use crate::store::credits::{self, Balance, Booked, Entry, Kind, Spending};
use crate::store::{Store, SystemTx, accounts, billing};
use clap::{Args, Subcommand};
use serde::Serialize;

/// Most credits that are given or taken at once.
const MAX_AMOUNT: i64 = 100_000_000;
/// Longest reference, in characters.
const MAX_REFERENCE: usize = 200;
/// Longest reason, in characters.
const MAX_REASON: usize = 500;
/// Entries that `show` shows unless told otherwise.
const ENTRIES: i64 = 20;

/// `switchy-server admin credits …`
#[derive(Subcommand)]
pub(in crate::commands) enum Credits {
    /// Give an organization credits that do not expire, for example as a compensation
    Grant(Change),
    /// Spend credits of an organization for something that happened outside of this server
    Spend(Change),
    /// Show an organization's plan, balance and newest entries
    Show(Show),
}

/// A change of the balance.
#[derive(Args)]
pub(in crate::commands) struct Change {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// How many credits
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=MAX_AMOUNT))]
    amount: i64,
    /// What it is for, in your own books; once entered, the same is not entered again
    #[arg(long, value_name = "TEXT")]
    reference: String,
    /// Why, for whoever reads the entries
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    credits: CreditsConfig,
    #[command(flatten)]
    common: Common,
}

/// A look at the balance.
#[derive(Args)]
pub(in crate::commands) struct Show {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// How many entries to show
    #[arg(long, value_name = "N", default_value_t = ENTRIES,
        value_parser = clap::value_parser!(i64).range(0..=1_000))]
    entries: i64,
    #[command(flatten)]
    credits: CreditsConfig,
    #[command(flatten)]
    common: Common,
}

/// What there is now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    organization_id: String,
    organization_slug: String,
    plan: &'static str,
    balance: i64,
    monthly_balance: i64,
    topup_balance: i64,
    /// Whether the command did something; `false` when the reference was entered before.
    changed: bool,
    entries: Vec<ReportEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportEntry {
    entry: i64,
    kind: String,
    monthly: i64,
    topup: i64,
    balance: i64,
    reference: String,
    reason: Option<String>,
    created_at: String,
}

impl From<Booked> for ReportEntry {
    fn from(booked: Booked) -> Self {
        ReportEntry {
            entry: booked.entry,
            balance: booked.after().total(),
            kind: booked.kind,
            monthly: booked.monthly,
            topup: booked.topup,
            reference: booked.reference,
            reason: booked.reason,
            created_at: booked.created_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        }
    }
}

fn checked(change: &Change) -> Result<&str> {
    let reference = change.reference.trim();
    let long = |text: &str, most| text.chars().count() > most || text.contains('\0');
    if reference.is_empty() || long(reference, MAX_REFERENCE) {
        let message = format!("must be 1 to {MAX_REFERENCE} characters");
        return Err(Error::invalid(["reference"], "invalid_reference", message));
    }
    if change.reason.as_deref().is_some_and(|reason| long(reason, MAX_REASON)) {
        let message = format!("must be at most {MAX_REASON} characters");
        return Err(Error::invalid(["reason"], "too_long", message));
    }
    Ok(reference)
}

async fn grant(tx: &mut SystemTx, change: &Change) -> Result<bool> {
    let reference = format!("grant:{}", checked(change)?);
    let org = accounts::org_by_slug(tx, &change.org).await?;
    let mut locked = settled(tx, &org.id, &change.credits.pools()).await?;
    if let Some(before) = credits::find(tx, &org.id, &reference).await? {
        if before.topup != change.amount {
            return Err(Error::conflict("this reference was granted before, another amount"));
        }
        return Ok(false);
    }
    locked.enter(Entry {
        kind: Kind::Adjustment,
        monthly: 0,
        topup: change.amount,
        reference,
        reason: change.reason.clone(),
    });
    billing::save(tx, locked).await?;
    Ok(true)
}

async fn spend(tx: &mut SystemTx, change: &Change) -> Result<bool> {
    let reference = checked(change)?;
    let org = accounts::org_by_slug(tx, &change.org).await?;
    let mut locked = settled(tx, &org.id, &change.credits.pools()).await?;
    let amount = u32::try_from(change.amount).map_err(Error::internal)?;
    let reason = change.reason.as_deref();
    let outcome = credits::spend(tx, &mut locked, amount, reference, reason).await?;
    billing::save(tx, locked).await?;
    match outcome {
        Spending::Done(_) => Ok(true),
        Spending::Repeated(_) => Ok(false),
        Spending::Insufficient(balance) => Err(Error::conflict(format!(
            "the organization has {} credits, not {}; nothing was spent",
            balance.total(),
            change.amount
        ))),
    }
}

async fn report(
    tx: &mut SystemTx,
    slug: &str,
    (config, entries): (&CreditsConfig, i64),
    changed: bool,
) -> Result<Report> {
    let org = accounts::org_by_slug(tx, slug).await?;
    let locked = settled(tx, &org.id, &config.pools()).await?;
    let Balance { monthly, topup } = locked.balance();
    let plan = locked.account.plan.as_str();
    billing::save(tx, locked).await?;
    let newest = credits::newest(tx, &org.id, entries).await?;
    Ok(Report {
        organization_id: org.id.to_string(),
        organization_slug: org.slug,
        plan,
        balance: monthly + topup,
        monthly_balance: monthly,
        topup_balance: topup,
        changed,
        entries: newest.into_iter().map(ReportEntry::from).collect(),
    })
}

impl Report {
    fn print(&self, output: Output) -> std::result::Result<(), CommandError> {
        if output == Output::Json {
            return say(&format!("{}\n", serde_json::to_string_pretty(self)?));
        }
        let mut text = format!(
            "Organization  {} ({})\nPlan          {}\nCredits       {} ({} of this month, {} of \
             top-ups)\n",
            self.organization_slug,
            self.organization_id,
            self.plan,
            self.balance,
            self.monthly_balance,
            self.topup_balance,
        );
        for entry in &self.entries {
            text += &format!(
                "{:>6}  {}  {:<10}  {:>+9}  {:>9}  {}{}\n",
                entry.entry,
                entry.created_at,
                entry.kind,
                entry.monthly + entry.topup,
                entry.balance,
                entry.reference,
                entry.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
            );
        }
        say(&text)
    }
}

async fn carry_out(store: &Store, command: &Credits) -> Result<Report> {
    let mut tx = store.begin_system().await?;
    let (changed, slug, shown) = match command {
        Credits::Grant(c) => (grant(&mut tx, c).await?, &c.org, (&c.credits, 1)),
        Credits::Spend(c) => (spend(&mut tx, c).await?, &c.org, (&c.credits, 1)),
        Credits::Show(c) => (false, &c.org, (&c.credits, c.entries)),
    };
    let report = report(&mut tx, slug, shown, changed).await?;
    tx.commit().await?;
    Ok(report)
}

pub(super) async fn run(command: Credits) -> std::result::Result<(), CommandError> {
    let common = match &command {
        Credits::Grant(c) | Credits::Spend(c) => &c.common,
        Credits::Show(c) => &c.common,
    };
    let database =
        Database::open(&common.storage, crate::bootstrap::Access::Shared, progress()).await?;
    let outcome = async {
        let (store, _) = database.store(PoolConfig::for_command(), Clock::Database).await?;
        Ok::<Report, CommandError>(carry_out(&store, &command).await?)
    }
    .await;
    database.stop().await?;
    outcome?.print(common.output)
}
