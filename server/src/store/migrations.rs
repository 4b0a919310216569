//! The schema, embedded in the binary.

use super::connection::{ConnectError, open};
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use secrecy::{ExposeSecret, SecretString};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations");

/// Any number: whoever migrates holds it, and others wait.
const MIGRATION_LOCK: i64 = 0x5357_4954_4348;

/// The schema cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database has migrations that this build does not know.
    #[error(
        "this database has the schema of another build of Switchy, whose migrations this one does \
         not know ({0}): run that build, or restore a backup that was made before it; see \
         \"Upgrades, and the way back\" in docs/deployment.md"
    )]
    Foreign(String),
    /// A migration failed; it left nothing behind.
    #[error("a migration failed: {0}")]
    Failed(String),
}

/// What somebody with more rights has to do first, where that is the cause.
fn explain(error: &dyn std::fmt::Display) -> MigrateError {
    let cause = error.to_string();
    let hint = if cause.contains("permission denied to create extension") {
        "; this login may not create it: let a superuser run CREATE EXTENSION vector in this \
         database, then start again"
    } else if cause.contains("permission denied to create role")
        || cause.contains("permission denied to grant role")
        || cause.contains("must have admin option")
    {
        "; this login needs CREATEROLE, or let a superuser create the roles switchy_app and \
         switchy_system (NOLOGIN) and grant both to it, then start again"
    } else {
        ""
    };
    MigrateError::Failed(format!("{cause}{hint}"))
}

/// What a look at the database found.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Every migration has run.
    Current,
    /// These have not.
    Pending(Vec<String>),
}

/// Refuses a database that a newer build, or one of another line, has migrated: what this build
/// would do to it is anybody's guess.
fn refuse_foreign(harness: &mut impl MigrationHarness<Pg>) -> Result<(), MigrateError> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| explain(&e);
    let ours = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(failed)?;
    let foreign: Vec<_> = harness
        .applied_migrations()
        .map_err(failed)?
        .into_iter()
        .filter(|applied| ours.iter().all(|known| known.name().version() != *applied))
        .map(|version| version.to_string())
        .collect();
    match foreign.join(", ") {
        none if none.is_empty() => Ok(()),
        some => Err(MigrateError::Foreign(some)),
    }
}

/// Runs what has not run yet; returns the names. Several servers may call it at once: one
/// migrates, the others wait for it.
pub async fn run(url: &SecretString) -> Result<Vec<String>, MigrateError> {
    let mut connection = open(url.expose_secret()).await?;
    // a session lock: it outlives the migrations' own transactions, and ends with the connection
    diesel::sql_query(format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))
        .execute(&mut connection)
        .await
        .map_err(|e| explain(&e))?;
    let names = tokio::task::block_in_place(|| {
        let mut harness = AsyncMigrationHarness::new(connection);
        refuse_foreign(&mut harness)?;
        harness
            .run_pending_migrations(MIGRATIONS)
            .map(|versions| versions.iter().map(ToString::to_string).collect::<Vec<_>>())
            .map_err(|e| explain(&e))
    })?;
    Ok(names)
}

/// Whether the database is as this version wants it.
pub async fn state(url: &SecretString) -> Result<State, MigrateError> {
    let connection = open(url.expose_secret()).await?;
    let pending = tokio::task::block_in_place(|| {
        let mut harness = AsyncMigrationHarness::new(connection);
        refuse_foreign(&mut harness)?;
        harness.pending_migrations(MIGRATIONS).map_err(|e| MigrateError::Failed(e.to_string()))
    })?;
    let names = pending.iter().map(|m| Migration::<Pg>::name(&**m).to_string()).collect::<Vec<_>>();
    Ok(if names.is_empty() { State::Current } else { State::Pending(names) })
}
