//! The books: entries that are never changed, and the balance that they add up to.
//!
//! The database itself sees to it that an entry is booked once (`reference` is unique), that no
//! bucket falls below zero, and that the balance is the sum of the entries (see
//! `migrations/*_billing`).

use super::SystemTx;
use super::billing::Locked;
use super::ids::OrgId;
use super::schema::{credit_balances, credit_ledger};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// What there is to spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = credit_balances)]
pub struct Balance {
    /// Left of this month's allotment.
    pub monthly: i64,
    /// Left of top-ups, which do not expire.
    pub topup: i64,
}

impl Balance {
    /// Both together.
    pub fn total(self) -> i64 {
        self.monthly + self.topup
    }
}

/// Why an entry is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A month's credits.
    Allotment,
    /// What was left of the month before.
    Expiry,
    /// Bought besides.
    TopUp,
    /// Used.
    Spend,
    /// Taken back after a refund.
    Clawback,
    /// The operator's doing.
    Adjustment,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Allotment => "allotment",
            Kind::Expiry => "expiry",
            Kind::TopUp => "topup",
            Kind::Spend => "spend",
            Kind::Clawback => "clawback",
            Kind::Adjustment => "adjustment",
        }
    }
}

/// One effect on the balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Why.
    pub kind: Kind,
    /// What it does to the month's credits.
    pub monthly: i64,
    /// What it does to the top-ups.
    pub topup: i64,
    /// What caused it; booked once in an organization.
    pub reference: String,
    /// For people.
    pub reason: Option<String>,
}

/// An entry in the books.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = credit_ledger)]
#[expect(missing_docs, reason = "as in `Entry`; the balance is the one afterwards")]
pub struct Booked {
    pub entry: i64,
    pub kind: String,
    pub monthly: i64,
    pub topup: i64,
    pub monthly_after: i64,
    pub topup_after: i64,
    pub reference: String,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
}

impl Booked {
    /// The balance that it left.
    pub fn after(&self) -> Balance {
        Balance { monthly: self.monthly_after, topup: self.topup_after }
    }
}

/// How spending ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spending {
    /// Done; what is left.
    Done(Balance),
    /// The reference was spent before, and nothing was taken now; what was left then.
    Repeated(Balance),
    /// There are not as many; nothing was taken.
    Insufficient(Balance),
}

/// The entry with this reference.
pub async fn find(tx: &mut SystemTx, org: &OrgId, reference: &str) -> Result<Option<Booked>> {
    Ok(credit_ledger::table
        .filter(credit_ledger::org_id.eq(org))
        .filter(credit_ledger::reference.eq(reference))
        .select(Booked::as_select())
        .first(tx.connection())
        .await
        .optional()?)
}

/// The newest entries, newest first.
pub async fn newest(tx: &mut SystemTx, org: &OrgId, limit: i64) -> Result<Vec<Booked>> {
    Ok(credit_ledger::table
        .filter(credit_ledger::org_id.eq(org))
        .order(credit_ledger::entry.desc())
        .limit(limit)
        .select(Booked::as_select())
        .load(tx.connection())
        .await?)
}

/// Books an entry. A reference that is in the books already is a defect: whoever enters holds the
/// account's lock and has looked.
pub(super) async fn enter(
    tx: &mut SystemTx,
    org: &OrgId,
    entry: &Entry,
    at: DateTime<Utc>,
) -> Result<()> {
    diesel::insert_into(credit_ledger::table)
        .values((
            credit_ledger::org_id.eq(org),
            // number and balance are the trigger's to set
            credit_ledger::entry.eq(0),
            credit_ledger::monthly_after.eq(0),
            credit_ledger::topup_after.eq(0),
            credit_ledger::kind.eq(entry.kind.as_str()),
            credit_ledger::monthly.eq(entry.monthly),
            credit_ledger::topup.eq(entry.topup),
            credit_ledger::reference.eq(&entry.reference),
            credit_ledger::reason.eq(&entry.reason),
            credit_ledger::created_at.eq(at),
        ))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Spends credits, top-ups first, then the month's; once for a reference.
///
/// `account` is locked, so that of several at once none overdraws. 409 when the reference was spent
/// for another amount.
pub async fn spend(
    tx: &mut SystemTx,
    account: &mut Locked,
    amount: u32,
    reference: &str,
    reason: Option<&str>,
) -> Result<Spending> {
    let reference = format!("spend:{reference}");
    let amount = i64::from(amount);
    let org = account.account.org_id.clone();
    if let Some(before) = find(tx, &org, &reference).await? {
        if before.monthly + before.topup != -amount {
            return Err(Error::conflict("this reference was spent before, for another amount"));
        }
        return Ok(Spending::Repeated(before.after()));
    }
    let balance = account.balance();
    if balance.total() < amount {
        return Ok(Spending::Insufficient(balance));
    }
    let of_topups = amount.min(balance.topup);
    account.enter(Entry {
        kind: Kind::Spend,
        monthly: of_topups - amount,
        topup: -of_topups,
        reference,
        reason: reason.map(str::to_owned),
    });
    Ok(Spending::Done(account.balance()))
}
