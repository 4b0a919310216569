//! `reembed`: another model for what is there already, beside running servers.

use super::eval::Bar;
use super::{CommandError, progress, say};
use crate::bootstrap::{self, Access, Database, PoolConfig};
use crate::clock::Clock;
use crate::config::{ModelConfig, StorageConfig};
use crate::search::embedder::default_threads;
use crate::search::reembed::{self, Done, Options, Then};
use crate::store::models::Change;
use clap::Args;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a search of a running server may take: longer than nearly all do.
const GRACE: Duration = Duration::from_secs(5);

/// `switchy-server reembed`
#[derive(Args)]
pub(super) struct Reembed {
    /// Most notes a second, to leave room for the servers [default: as fast as it goes]
    #[arg(long, value_name = "NOTES")]
    rate: Option<NonZeroU32>,
    /// Embed everything, but go on searching with the old model: the switch is made by another run
    #[arg(long, conflicts_with = "keep_old")]
    prepare: bool,
    /// Keep the old model's vectors, for a quick way back
    #[arg(long)]
    keep_old: bool,
    #[command(flatten)]
    storage: StorageConfig,
    #[command(flatten)]
    model: ModelConfig,
}

pub(super) async fn run(command: Reembed) -> Result<(), CommandError> {
    if command.model.lexical_only {
        return Err(CommandError("there is nothing to embed with --lexical-only".into()));
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let database = Database::open(&command.storage, Access::Shared, progress()).await?;
    let outcome = tokio::select! {
        done = change(&database, &command) => done,
        _ = interrupt.recv() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
    };
    let stopped = database.stop().await;
    let done = outcome?;
    stopped?;
    let mut text =
        format!("{} notes were embedded with {}.\n", done.embedded, done.models.model_id);
    if done.hopeless > 0 {
        text.push_str(&format!(
            "{} notes cannot be embedded; they are found by their words.\n",
            done.hopeless
        ));
    }
    text.push_str(match (done.was_active, command.prepare) {
        (true, _) => "It is the model that this database is searched with.\n",
        (false, true) => "The old model is still in use: run this again without --prepare.\n",
        (false, false) => {
            "The database is searched with it from now on. Restart the servers with its folder in \
             SWITCHY_MODEL_DIR: until then they search by words alone.\n"
        }
    });
    say(&text)
}

fn interrupted() -> CommandError {
    CommandError("interrupted: nothing has been switched; run it again to go on from here".into())
}

async fn change(database: &Database, command: &Reembed) -> Result<Done, CommandError> {
    let workers = command.model.embed_threads.map_or_else(default_threads, usize::from);
    let pool = PoolConfig {
        size: u32::try_from(workers + 1).unwrap_or(u32::MAX),
        timeout: Duration::from_secs(60),
        statement_timeout: Duration::from_secs(600),
    };
    let (store, _) = database.store(pool, Clock::Database).await?;
    let Some(_change) = Change::begin(&database.url).await? else {
        return Err(CommandError(
            "another `reembed` is at work on this database: let it finish".into(),
        ));
    };
    let embedder = bootstrap::embedder(&command.storage, &command.model, progress()).await?;
    let then = match (command.prepare, command.keep_old) {
        (true, _) => Then::Wait,
        (false, true) => Then::SwitchAndKeep,
        (false, false) => Then::Switch,
    };
    let options = Options { workers, rate: command.rate, then, grace: GRACE };
    let bar = Bar::new("Embedding notes");
    let done = reembed::run(&store, &*embedder, options, &bar).await;
    bar.end();
    Ok(done?)
}
