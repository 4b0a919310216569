//! What we need of a PostgreSQL that somebody else runs.

use super::connection::{ConnectError, open};
use diesel::sql_types::{Integer, Nullable, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use secrecy::{ExposeSecret, SecretString};

/// Oldest PostgreSQL, as `server_version_num`.
pub const MIN_POSTGRES: i32 = 150_000;
/// Oldest pgvector: iterative scans came with it.
pub const MIN_PGVECTOR: (u32, u32, u32) = (0, 8, 0);

/// The versions that were found.
#[derive(Clone, Debug)]
pub struct Versions {
    /// For example `18.4`.
    pub postgres: String,
    /// Of pgvector: installed in this database, or what `CREATE EXTENSION` would install.
    pub pgvector: String,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Integer)]
    number: i32,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    encoding: String,
    #[diesel(sql_type = Nullable<Text>)]
    message: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    installed: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    available: Option<String>,
}

fn triple(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split('.').map(|p| p.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Keeps PostgreSQL's message for a failure as a setting. It is caught, so that no log has it.
const PROVOKE: &str = "DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN \
                       PERFORM set_config('switchy.message', SQLERRM, false); END $$";

/// PostgreSQL's answer to [`PROVOKE`] in English, whatever name its locale has.
const ENGLISH: &str = "division by zero";

/// Refuses a server whose messages are not in English: failures are told apart by them, and callers
/// would get a 500 for what is a 503 or 403.
fn check_language(message: &str) -> Result<(), ConnectError> {
    if message == ENGLISH {
        return Ok(());
    }
    Err(ConnectError::Unsuitable(
        "PostgreSQL's messages are not in English, and Switchy tells failures apart by them: run \
         ALTER ROLE … SET lc_messages = 'C' for the role in DATABASE_URL as a superuser, or set \
         lc_messages = 'C' in postgresql.conf"
            .into(),
    ))
}

/// Refuses a database that is too old, answers in another language than English, or lacks pgvector,
/// in a sentence that says what to do.
pub async fn check(url: &SecretString) -> Result<Versions, ConnectError> {
    let mut connection = open(url.expose_secret()).await?;
    connection.batch_execute(PROVOKE).await.map_err(|e| ConnectError::Refused(e.to_string()))?;
    let row: Row = diesel::sql_query(
        "SELECT current_setting('server_version_num')::int AS number, \
         current_setting('server_version') AS version, \
         current_setting('server_encoding') AS encoding, \
         current_setting('switchy.message', true) AS message, \
         (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS installed, \
         (SELECT default_version FROM pg_available_extensions WHERE name = 'vector') AS available",
    )
    .get_result(&mut connection)
    .await
    .map_err(|e| ConnectError::Refused(e.to_string()))?;
    let unsuitable = |sentence: String| Err(ConnectError::Unsuitable(sentence));
    if row.number < MIN_POSTGRES {
        return unsuitable(format!(
            "PostgreSQL {} is too old: Switchy needs 15 or newer",
            row.version
        ));
    }
    if row.encoding != "UTF8" {
        return unsuitable(format!(
            "the database's encoding is {}: create one with ENCODING 'UTF8'",
            row.encoding
        ));
    }
    check_language(row.message.as_deref().unwrap_or_default())?;
    let (found, hint) = match (&row.installed, &row.available) {
        (Some(installed), _) => (installed, "run ALTER EXTENSION vector UPDATE"),
        (None, Some(available)) => (available, "install a newer pgvector"),
        (None, None) => {
            return unsuitable(
                "pgvector is not installed on this PostgreSQL: install it (0.8.0 or newer), then \
                 start again"
                    .into(),
            );
        }
    };
    if triple(found) < MIN_PGVECTOR {
        return unsuitable(format!(
            "pgvector {found} is too old: Switchy needs 0.8.0 or newer; {hint}"
        ));
    }
    Ok(Versions { postgres: row.version, pgvector: found.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_must_be_english() {
        assert!(check_language("division by zero").is_ok());
        for message in ["Division durch Null", "0 による除算が行われました", ""] {
            let refused = check_language(message).expect_err("another language").to_string();
            assert!(
                refused.contains("lc_messages = 'C'") && !refused.contains("Null"),
                "{refused}"
            );
        }
    }

    #[test]
    fn versions_compare_by_number_not_by_text() {
        assert!(triple("0.10.0") > MIN_PGVECTOR);
        assert!(triple("0.8") >= MIN_PGVECTOR);
        assert!(triple("0.7.4") < MIN_PGVECTOR);
    }
}
