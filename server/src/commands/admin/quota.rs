//! `admin org quota`: what an organization may have.

use super::{CommandError, Common, Output, progress, say};
use crate::bootstrap::{Access, Database, PoolConfig};
use crate::clock::Clock;
use crate::error::Result;
use crate::store::quotas::{self, Change, Use};
use crate::store::{Store, accounts};
use clap::Args;
use serde::Serialize;

/// The numbers that a change may name.
const RANGE: std::ops::RangeInclusive<i64> = 0..=1_000_000_000_000_000;

/// Show or change quotas.
#[derive(Args)]
pub(in crate::commands) struct Quota {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// Spaces, archived ones as well; 0 means unlimited, here and below
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(RANGE))]
    spaces: Option<i64>,
    /// Spaces that one MEMBER makes, archived ones as well
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(RANGE))]
    member_spaces: Option<i64>,
    /// Sessions, archived ones as well
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(RANGE))]
    sessions: Option<i64>,
    /// Notes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(RANGE))]
    notes: Option<i64>,
    /// Bytes of notes and messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(RANGE))]
    bytes: Option<i64>,
    /// Notes of one author that wait to be embedded
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(RANGE))]
    waiting: Option<i64>,
    /// First forget what was given to the organization: it has the servers' settings again
    #[arg(long)]
    default: bool,
    #[command(flatten)]
    common: Common,
}

impl Quota {
    fn change(&self) -> Change {
        Change {
            spaces: self.spaces,
            member_spaces: self.member_spaces,
            sessions: self.sessions,
            notes: self.notes,
            bytes: self.bytes,
            waiting: self.waiting,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    organization_id: String,
    organization_slug: String,
    quotas: Vec<Line>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    quota: String,
    used: i64,
    /// 0 is unlimited; `null` until a server has started.
    most: Option<i64>,
    /// Whether the operator has given it to this organization.
    own: bool,
}

impl From<Use> for Line {
    fn from(used: Use) -> Self {
        Line { quota: used.quota, used: used.used, most: used.most, own: used.own.is_some() }
    }
}

impl Report {
    fn print(&self, output: Output) -> std::result::Result<(), CommandError> {
        if output == Output::Json {
            return say(&format!("{}\n", serde_json::to_string_pretty(self)?));
        }
        let mut text =
            format!("Organization  {} ({})\n", self.organization_slug, self.organization_id);
        for Line { quota, used, most, own } in &self.quotas {
            let most = match most {
                None => "not known before a server has started".to_owned(),
                Some(0) => "unlimited".to_owned(),
                Some(most) => most.to_string(),
            };
            let whose = if *own { " (its own)" } else { "" };
            let name = quota.replace('_', "-");
            text.push_str(&format!("{name:<13} {used} of {most}{whose}\n"));
        }
        say(&text)
    }
}

async fn work(store: &Store, command: &Quota) -> Result<Report> {
    let mut tx = store.begin_system().await?;
    let org = accounts::org_by_slug(&mut tx, &command.org).await?;
    if command.default {
        quotas::forget(&mut tx, &org.id).await?;
    }
    let change = command.change();
    if change != Change::default() {
        quotas::change(&mut tx, &org.id, &change).await?;
    }
    let uses = quotas::of(&mut tx, &org.id).await?;
    tx.commit().await?;
    Ok(Report {
        organization_id: org.id.to_string(),
        organization_slug: org.slug,
        quotas: uses.into_iter().map(Line::from).collect(),
    })
}

pub(super) async fn run(command: Quota) -> std::result::Result<(), CommandError> {
    let common = &command.common;
    let database = Database::open(&common.storage, Access::Shared, progress()).await?;
    let outcome = async {
        let (store, _) = database.store(PoolConfig::for_command(), Clock::Database).await?;
        Ok::<Report, CommandError>(work(&store, &command).await?)
    }
    .await;
    database.stop().await?;
    outcome?.print(common.output)
}
