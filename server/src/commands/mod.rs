//! The commands of `switchy-server`.

mod admin;
mod doctor;
mod eval;
mod openapi;
mod reembed;
mod serve;
mod setup;

use crate::bootstrap::HostError;
use crate::config::{Config, LogConfig, StorageConfig};
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use switchy_runtime::TerminalProgress;

/// The Switchy workspace server.
#[derive(Parser)]
#[command(name = "switchy-server", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API; without configuration with an embedded PostgreSQL and model
    Serve(Box<Config>),
    /// Download and build everything that the embedded default needs, and exit
    Setup(setup::Setup),
    /// Bring the database's schema up to date, and exit
    Migrate(MigrateArgs),
    /// Print the OpenAPI document
    Openapi(openapi::OpenApi),
    /// Make organizations, users and keys; works beside a running server
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Check every part and say what is wrong
    Doctor(Box<doctor::Doctor>),
    /// Give every note vectors of another model while servers run, and then search with that one
    Reembed(Box<reembed::Reembed>),
    /// Measure what search finds, and how fast, on a judged collection
    #[command(subcommand)]
    Eval(eval::Eval),
}

#[derive(clap::Args)]
struct MigrateArgs {
    #[command(flatten)]
    storage: StorageConfig,
    #[command(flatten)]
    log: LogConfig,
}

/// How a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A sentence for standard error, and the exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CommandError(String);

impl From<HostError> for CommandError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Store(error) => error.into(),
            other => CommandError(other.to_string()),
        }
    }
}

impl From<crate::error::Error> for CommandError {
    fn from(error: crate::error::Error) -> Self {
        match error {
            // there is no log to look into: the operator is the one who asks
            internal @ crate::error::Error::Internal(_) => {
                let cause = std::error::Error::source(&internal).map(ToString::to_string);
                CommandError(cause.unwrap_or_else(|| internal.to_string()))
            }
            other => CommandError(other.to_string()),
        }
    }
}

macro_rules! failed_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                CommandError(error.to_string())
            }
        })*
    };
}

failed_from!(
    crate::api::DescriptionError,
    crate::mail::MailError,
    crate::server::StartError,
    crate::mcp::client::SetupError,
    crate::store::ConnectError,
    crate::store::migrations::MigrateError,
    serde_json::Error,
    std::io::Error,
);

fn progress() -> Arc<TerminalProgress> {
    Arc::new(TerminalProgress::new())
}

/// Prints the result of a command.
fn say(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `| head` is no failure
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The reason why a secret on the command line is refused.
const SECRET_IN_ARGUMENTS: &str = "everybody on this machine can read the arguments of a process: \
    give the secret in a file (add -file to the flag), or in the environment";

/// The flags with which secrets were given.
fn secret_flags(matches: &clap::ArgMatches) -> Vec<String> {
    let mut command = matches;
    while let Some((_, below)) = command.subcommand() {
        command = below;
    }
    let given = |flag: &&&str| {
        // not every command has all of them
        command.ids().any(|id| id == **flag)
            && command.value_source(flag) == Some(ValueSource::CommandLine)
    };
    let flags = crate::config::SECRET_FLAGS.iter().filter(given);
    flags.map(|flag| format!("--{}", flag.replace('_', "-"))).collect()
}

/// Makes an environment variable that is set but empty count as not set: container files and unit
/// files write `NAME=` for that, and an empty secret must never become one.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|v| v.is_empty());
    command
        .mut_args(|argument| match argument.get_env().is_some_and(is_empty) {
            true => argument.env(clap::builder::Resettable::Reset),
            false => argument,
        })
        .mut_subcommands(without_empty_variables)
}

/// Tokio's runtime, with a thread for every second processor unless `TOKIO_WORKER_THREADS` says
/// otherwise. Requests mostly wait for PostgreSQL, which is often on the same machine, and for the
/// embedder's own threads: on two processors, a second thread of the runtime answers no more
/// requests and takes twice as long for one, since each step wakes the other thread up.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        builder.worker_threads((processors / 2).max(1));
    }
    builder.enable_all().build()
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let matches = without_empty_variables(Cli::command()).get_matches();
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    };
    let secret_flags = secret_flags(&matches);
    if !matches!(command, Command::Serve(_)) {
        // those that have no log
        for flag in &secret_flags {
            eprintln!("warning: {flag}: {SECRET_IN_ARGUMENTS}");
        }
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(config) => serve::run(*config, &secret_flags).await,
            Command::Setup(setup) => setup::run(setup).await,
            Command::Migrate(args) => migrate(args).await,
            Command::Openapi(command) => openapi::run(&command),
            Command::Admin(command) => admin::run(command).await,
            Command::Doctor(command) => doctor::run(*command).await,
            Command::Reembed(command) => reembed::run(*command).await,
            Command::Eval(command) => eval::run(command).await,
        }
    });
    // a blocking task that hangs must not keep the process
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError(sentence)) => {
            crate::logging::say_last(format!("error: {sentence}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn migrate(args: MigrateArgs) -> Result<(), CommandError> {
    use crate::bootstrap::{Access, Database};
    let database = Database::open(&args.storage, Access::Shared, progress()).await?;
    crate::store::requirements::check(&database.url).await?;
    let ran = crate::store::migrations::run(&database.url).await?;
    database.stop().await?;
    match ran.as_slice() {
        [] => say("The schema is up to date.\n"),
        names => say(&format!("Ran {}.\n", names.join(", "))),
    }
}
