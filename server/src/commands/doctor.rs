//! `doctor`: every part, one after the other, and what is wrong with it.

use super::{CommandError, Output, progress, say};
use crate::bootstrap::{self, Access, Database, PoolConfig};
use crate::clock::Clock;
use crate::config::{CrossEncoderConfig, ModelConfig, StorageConfig};
use crate::error::Error;
use crate::store::quotas::{self, NEARLY, Use, Waiting};
use crate::store::{Store, StoreConfig, migrations, requirements};
use clap::Args;
use serde::Serialize;
use switchy_runtime::Layout;

/// `switchy-server doctor`
#[derive(Args)]
pub(super) struct Doctor {
    /// For people or for programs
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(flatten)]
    storage: StorageConfig,
    #[command(flatten)]
    model: ModelConfig,
    #[command(flatten)]
    cross_encoder: CrossEncoderConfig,
}

/// One part.
#[derive(Serialize)]
struct Finding {
    part: &'static str,
    ok: bool,
    says: String,
}

#[derive(Default, Serialize)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add<T, E: std::fmt::Display>(
        &mut self,
        part: &'static str,
        outcome: Result<T, E>,
        good: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (ok, says) = match &outcome {
            Ok(value) => (true, good(value)),
            Err(error) => (false, error.to_string()),
        };
        self.findings.push(Finding { part, ok, says });
        outcome.ok()
    }
}

/// Most authors and quotas that are told of.
const MOST_TOLD: i64 = 10;

/// The authors whose notes wait to be embedded, and the quotas that are nearly reached.
async fn who_fills(database: &Database) -> Result<(Vec<Waiting>, Vec<Use>), String> {
    let pool = PoolConfig::for_command();
    let store = Store::connect(&StoreConfig {
        url: database.url.clone(),
        pool_size: pool.size,
        checkout_timeout: pool.timeout,
        statement_timeout: pool.statement_timeout,
        clock: Clock::Database,
    })
    .await
    .map_err(|error| error.to_string())?;
    let said = |error: Error| error.chain();
    let waiting = quotas::backlog(&store, MOST_TOLD).await.map_err(said)?;
    Ok((waiting, quotas::nearly_reached(&store, MOST_TOLD).await.map_err(said)?))
}

fn backlog(waiting: &[Waiting]) -> String {
    let Some(all) = waiting.first().map(|first| first.of) else {
        return "no note waits to be embedded".into();
    };
    let authors: Vec<_> = waiting
        .iter()
        .map(|w| format!("{} by {} of {}", w.notes, w.author_user_id, w.slug))
        .collect();
    let oldest = waiting.iter().map(|w| w.seconds).max().unwrap_or_default();
    format!(
        "{all} notes wait to be embedded, the oldest of these for {oldest} s: {}",
        authors.join(", ")
    )
}

/// The quotas that are nearly reached; an error when one is reached.
fn judged(uses: Vec<Use>) -> Result<String, String> {
    let told: Vec<_> = uses
        .iter()
        .map(|u| format!("{}: {} of {} {}", u.slug, u.used, u.most.unwrap_or_default(), u.quota))
        .collect();
    match told.join(", ") {
        none if none.is_empty() => Ok(format!("no organization uses {NEARLY} % of one")),
        some if uses.iter().any(Use::is_reached) => Err(format!(
            "{some}; `switchy-server admin org quota --org SLUG` shows and changes them"
        )),
        some => Ok(some),
    }
}

pub(super) async fn run(doctor: Doctor) -> Result<(), CommandError> {
    let mut report = Report::default();
    let folders =
        Layout::resolve(doctor.storage.data_dir.clone(), doctor.storage.cache_dir.clone());
    report.add("folders", folders, |layout| {
        format!("data {}, cache {}", layout.data_dir.display(), layout.cache_dir.display())
    });
    let opened = Database::open(&doctor.storage, Access::Shared, progress()).await;
    let database = report.add("postgres", opened, |database| {
        if database.is_embedded() { "embedded, running".into() } else { "DATABASE_URL".into() }
    });
    if let Some(database) = database {
        let checked = requirements::check(&database.url).await;
        report.add("versions", checked, |v| {
            format!("PostgreSQL {}, pgvector {}", v.postgres, v.pgvector)
        });
        let state = migrations::state(&database.url).await;
        let schema = report.add(
            "schema",
            state.map_err(|e| e.to_string()).and_then(|state| match state {
                migrations::State::Current => Ok(()),
                migrations::State::Pending(names) => Err(format!(
                    "{} migrations have not run: run `switchy-server migrate`, or start the server",
                    names.len()
                )),
            }),
            |()| "up to date".into(),
        );
        if schema.is_some() {
            let who = who_fills(&database).await;
            let (waiting, uses) = match who {
                Ok((waiting, uses)) => (Ok(waiting), Ok(uses)),
                Err(error) => (Err(error.clone()), Err(error)),
            };
            report.add("backlog", waiting, |waiting| backlog(waiting));
            report.add("quotas", uses.and_then(judged), String::clone);
        }
        report.add("stop", database.stop().await, |()| "done".into());
        report.findings.retain(|f| f.part != "stop" || !f.ok);
    }
    let embedder = bootstrap::embedder(&doctor.storage, &doctor.model, progress()).await;
    if let Some(embedder) = report.add("model", embedder, |e| e.model_id().to_owned())
        && embedder.is_available()
    {
        let embedded = embedder.embed_query("Is the model well?").await;
        report.add("embedding", embedded, |e| format!("{} dimensions", e.dense.as_slice().len()));
    }
    let (storage, model) = (&doctor.storage, &doctor.model);
    let cross = bootstrap::cross_encoding(storage, model, &doctor.cross_encoder, progress()).await;
    // loading it has tried it; without one there is nothing to say
    if !matches!(cross, Ok(None)) {
        report.add("cross-encoder", cross, |cross| {
            cross.as_ref().map_or_else(String::new, |c| c.encoder.model_id().to_owned())
        });
    }
    match doctor.output {
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
        Output::Text => {
            for finding in &report.findings {
                let mark = if finding.ok { "ok  " } else { "FAIL" };
                say(&format!("{mark}  {:<13} {}\n", finding.part, finding.says))?;
            }
        }
    }
    match report.findings.iter().filter(|f| !f.ok).count() {
        0 => Ok(()),
        1 => Err(CommandError("1 part is not well".into())),
        n => Err(CommandError(format!("{n} parts are not well"))),
    }
}
