//! Transactions: of a caller, and of the server itself.

use super::authentication::{Attempt, Outcome};
use super::connection::{Pooled, SYSTEM_ROLE};
use super::lazy_transaction::{LazyTransaction, Speculation};
use crate::auth::{Caller, PrivateNotes};
use crate::clock::Clock;
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

/// Longest time that a statement of a search may run.
pub const SEARCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time that a statement of a list may run.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time that counting which values there are may take.
pub const FACETS_TIMEOUT: Duration = Duration::from_secs(3);

/// A transaction in which row-level security knows the caller.
///
/// Dropped without [`Tx::commit`], it takes its connection out of the pool, and PostgreSQL rolls
/// back: a handler that panics or runs into its deadline leaves nothing half-written.
pub struct Tx {
    connection: LazyTransaction,
    caller: Caller,
    clock: Clock,
    /// Longest time that any statement may run.
    longest: Duration,
}

impl Tx {
    pub(super) fn begin(connection: Pooled, caller: Caller, clock: Clock, longest: Duration) -> Tx {
        let connection = LazyTransaction::by(connection, beginning("BEGIN", &caller));
        Tx { connection, caller, clock, longest }
    }

    /// The same of a caller who is assumed but not verified yet, for reading.
    pub(super) fn speculative(
        connection: Pooled,
        caller: Caller,
        clock: Clock,
        longest: Duration,
        attempt: Attempt,
    ) -> Tx {
        let speculation =
            Speculation { attempt, now: clock.for_database(), caller: caller.clone() };
        let sql = beginning("BEGIN READ ONLY", &caller);
        Tx {
            connection: LazyTransaction::speculative(connection, sql, speculation),
            caller,
            clock,
            longest,
        }
    }

    /// The database's verdict on the assumed caller; `None` when it was not asked, or has failed.
    pub fn take_authentication(&mut self) -> Option<Outcome> {
        self.connection.take_authentication()
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The connection, inside the transaction.
    pub fn connection(&mut self) -> &mut LazyTransaction {
        &mut self.connection
    }

    /// What SQL gets as its time: `None` for the database's own.
    pub fn now(&self) -> Option<DateTime<Utc>> {
        self.clock.for_database()
    }

    /// Ends every statement from here on that runs longer than this: 503, and what to do. Sent
    /// together with the next statement.
    pub fn at_most(&mut self, timeout: Duration) {
        let timeout = timeout.min(self.longest).as_millis();
        self.connection.ahead_of_next(&format!("SET LOCAL statement_timeout = {timeout}"));
    }

    /// Makes everything so far durable.
    pub async fn commit(self) -> Result<()> {
        self.connection.commit().await
    }

    /// Undoes everything so far.
    pub async fn rollback(self) -> Result<()> {
        self.connection.rollback().await
    }

    /// Ends the transaction by what came of its work: makes it durable, or undoes it.
    pub async fn end<T>(self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Ok(value) => {
                self.commit().await?;
                Ok(value)
            }
            Err(error) => {
                self.rollback().await?;
                Err(error)
            }
        }
    }

    /// Ends what has changed nothing, without anybody waiting for it. Should it fail, the
    /// connection leaves the pool.
    pub fn release(self) {
        self.connection.release();
    }

    /// From here on, [`Tx::undo_to_savepoint`] can undo.
    pub async fn savepoint(&mut self) -> Result<()> {
        Ok(self.connection.batch_execute("SAVEPOINT handler").await?)
    }

    /// Undoes what came after [`Tx::savepoint`]; the transaction goes on.
    pub async fn undo_to_savepoint(&mut self) -> Result<()> {
        Ok(self.connection.batch_execute("ROLLBACK TO SAVEPOINT handler").await?)
    }
}

/// What begins a transaction and says who acts in it.
fn beginning(begin: &str, caller: &Caller) -> String {
    // Raw SQL: Diesel has no word for settings. Ids consist of lowercase letters and digits
    // only, so there is nothing to escape. `SET` is neither planned nor has it an answer.
    let mut sql = format!(
        "{begin}; SET LOCAL switchy.org_id = '{}'; SET LOCAL switchy.user_id = '{}'",
        caller.org_id, caller.user_id
    );
    if caller.private_notes != PrivateNotes::Open {
        sql.push_str("; SET LOCAL switchy.private_notes = 'closed'");
    }
    if caller.on_behalf {
        sql.push_str(&format!("; SET LOCAL switchy.acting_key = '{}'", caller.key_id));
    }
    sql
}

/// A transaction of the server itself: it sees every tenant's rows.
pub struct SystemTx {
    connection: LazyTransaction,
    clock: Clock,
}

impl SystemTx {
    pub(super) fn begin(connection: Pooled, clock: Clock) -> SystemTx {
        let sql = format!("BEGIN; SET LOCAL ROLE {SYSTEM_ROLE}");
        SystemTx { connection: LazyTransaction::by(connection, sql), clock }
    }

    /// The connection, inside the transaction.
    pub fn connection(&mut self) -> &mut LazyTransaction {
        &mut self.connection
    }

    /// What SQL gets as its time: `None` for the database's own.
    pub fn now(&self) -> Option<DateTime<Utc>> {
        self.clock.for_database()
    }

    /// Makes everything so far durable.
    pub async fn commit(self) -> Result<()> {
        self.connection.commit().await
    }

    /// Undoes everything so far.
    pub async fn rollback(self) -> Result<()> {
        self.connection.rollback().await
    }
}
