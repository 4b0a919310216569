//! `eval`: what search is worth, on collections that people judged.

use super::{CommandError, Output, progress, say};
use crate::bootstrap::{self, Access, Database, PoolConfig};
use crate::clock::Clock;
use crate::config::{CrossEncoderConfig, ModelConfig, StorageConfig};
use crate::eval::dataset::Dataset;
use crate::eval::retrieval::{Report, Watch, evaluate};
use crate::search::embedder::default_threads;
use crate::search::{Search, reembed};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use slog::{Discard, Logger};
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// `switchy-server eval …`
#[derive(Subcommand)]
pub(super) enum Eval {
    /// Write a collection as notes, ask its questions, and compare with the judgements
    Retrieval(Retrieval),
}

/// Measures retrieval.
#[derive(Args)]
pub(super) struct Retrieval {
    /// Folder of a collection in the layout of BEIR: corpus.jsonl, queries.jsonl, and
    /// qrels/SPLIT.tsv or qrels.tsv
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// Which of qrels/ to take [default: test, or what there is]
    #[arg(long, value_name = "SPLIT")]
    split: Option<String>,
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

/// A bar on a terminal, a line a step elsewhere.
pub(super) struct Bar {
    what: &'static str,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bar {
    pub(super) fn new(what: &'static str) -> Self {
        Bar { what, bar: Mutex::default() }
    }

    /// Nothing more follows.
    pub(super) fn end(&self) {
        self.swap(None);
    }

    fn swap(&self, next: Option<ProgressBar>) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *bar, next) {
            old.finish_and_clear();
        }
    }
}

impl Watch for Bar {
    fn begin(&self, what: &str, steps: usize) {
        let total = u64::try_from(steps).unwrap_or(u64::MAX);
        let target = match stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => {
                eprintln!("{what}: {steps}");
                ProgressDrawTarget::hidden()
            }
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template("{msg} {bar:24} {pos}/{len} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        self.swap(Some(bar));
    }

    fn step(&self) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(1);
        }
    }
}

impl reembed::Watch for Bar {
    fn embedded(&self, done: u64, of: u64) {
        let begun = self.bar.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !begun {
            self.begin(self.what, usize::try_from(of).unwrap_or(usize::MAX));
        }
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.set_length(of);
            bar.set_position(done);
        }
    }
}

pub(super) async fn run(command: Eval) -> Result<(), CommandError> {
    let Eval::Retrieval(command) = command;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let dataset = Dataset::read(&command.dataset, command.split.as_deref())
        .map_err(|e| CommandError(e.to_string()))?;

    // Without a database of one's own, one that lasts as long as this command.
    let mut storage = command.storage.clone();
    let scratch = match storage.database_url() {
        Some(_) => None,
        None => Some(scratch_folder()?),
    };
    if let Some(folder) = &scratch {
        storage.data_dir = Some(folder.path().join("data"));
    }
    let database = Database::open(&storage, Access::Shared, progress()).await?;
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let models = (&command.model, &command.cross_encoder);
    let outcome = measure(&database, &storage, models, &dataset, stop).await;
    let stopped = database.stop().await;
    let report = outcome?;
    stopped?;
    if let Some(folder) = scratch {
        folder.close()?;
    }
    match command.output {
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(&report)?)),
        Output::Text => say(&table(&report)),
    }
}

/// A folder that goes with the command. Started by root, PostgreSQL runs as an account that must
/// get through; nobody else needs to see what is in it.
fn scratch_folder() -> std::io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("switchy-eval-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o711))
        .tempdir()
}

async fn measure(
    database: &Database,
    storage: &StorageConfig,
    (model, cross_encoder): (&ModelConfig, &CrossEncoderConfig),
    dataset: &Dataset,
    stop: impl Future<Output = ()>,
) -> Result<Report, CommandError> {
    let writers = model.embed_threads.map_or_else(default_threads, usize::from);
    let pool = PoolConfig {
        size: u32::try_from(writers + 1).unwrap_or(u32::MAX),
        timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(60),
    };
    let (store, _) = database.store(pool, Clock::Database).await?;
    let cross = bootstrap::cross_encoding(storage, model, cross_encoder, progress()).await?;
    let embedder = bootstrap::embedder(storage, model, progress()).await?;
    // every question is asked once a stage: from a cache it would look faster than it is
    let search = Search::new(embedder, Logger::root(Discard, slog::o!()))
        .without_query_cache()
        .with_cross_encoding(cross);
    let bar = Bar::new("");
    let report = evaluate(&store, &search, dataset, writers, &bar, stop).await;
    bar.end();
    report?.ok_or_else(|| CommandError("interrupted; nothing was left behind".into()))
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{}: {} documents, {} questions\nmodel {}, reranker {}\n",
        report.dataset,
        report.documents,
        report.questions,
        report.model,
        report.sparse_model.as_deref().unwrap_or("none"),
    );
    for (count, what) in [
        (report.left_out, "without text were left out"),
        (report.shortened, "longer than a note may be were shortened"),
    ] {
        if count > 0 {
            text.push_str(&format!("{count} documents {what}\n"));
        }
    }
    if let Some(cross_encoder) = &report.cross_encoder {
        let fell_back: usize = report.stages.iter().filter_map(|stage| stage.fell_back).sum();
        text.push_str(&format!(
            "cross-encoder {cross_encoder}: for {fell_back} questions it was not in time\n"
        ));
    }
    let w = &report.write;
    text.push_str(&format!(
        "writing a note: p50 {:.1} ms, p95 {:.1} ms\n\n{:<13} {:>8} {:>9} {:>10} {:>10} {:>7} {:>8} {:>8} {:>8}\n",
        w.p50_ms, w.p95_ms, "stage", "nDCG@10", "recall@5", "recall@10", "recall@50", "MRR@10",
        "p50 ms", "p95 ms", "p99 ms",
    ));
    for stage in &report.stages {
        let (q, l) = (&stage.quality, &stage.latency);
        text.push_str(&format!(
            "{:<13} {:>8.3} {:>9.3} {:>10.3} {:>10.3} {:>7.3} {:>8.1} {:>8.1} {:>8.1}\n",
            stage.stage,
            q.ndcg,
            q.recall_5,
            q.recall_10,
            q.recall_50,
            q.mrr,
            l.p50_ms,
            l.p95_ms,
            l.p99_ms,
        ));
    }
    text
}
