//! Transactions: of a caller, and of the server itself.

use super::connection::{Pooled, SYSTEM_ROLE};
use crate::auth::{Caller, PrivateNotes};
use crate::clock::Clock;
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, SimpleAsyncConnection, TransactionManager,
};

/// A transaction in which row-level security knows the caller.
///
/// Dropped without [`Tx::commit`], it takes its connection out of the pool, and PostgreSQL rolls
/// back: a handler that panics or runs into its deadline leaves nothing half-written.
pub struct Tx {
    connection: Pooled,
    caller: Caller,
    clock: Clock,
}

async fn begin(connection: &mut Pooled, sql: &str) -> Result<()> {
    Ok(AnsiTransactionManager::begin_transaction_sql(&mut **connection, sql).await?)
}

async fn commit(connection: &mut Pooled) -> Result<()> {
    Ok(AnsiTransactionManager::commit_transaction(&mut **connection).await?)
}

impl Tx {
    pub(super) async fn begin(mut connection: Pooled, caller: Caller, clock: Clock) -> Result<Tx> {
        // Raw SQL: Diesel has no word for settings, and one batch is one round trip. Ids consist
        // of lowercase letters and digits only, so there is nothing to escape.
        let mut sql = format!(
            "BEGIN; SELECT set_config('switchy.org_id', '{}', true), \
             set_config('switchy.user_id', '{}', true)",
            caller.org_id, caller.user_id
        );
        if caller.private_notes == PrivateNotes::Closed {
            sql.push_str(", set_config('switchy.private_notes', 'closed', true)");
        }
        if caller.on_behalf {
            sql.push_str(&format!(", set_config('switchy.acting_key', '{}', true)", caller.key_id));
        }
        begin(&mut connection, &sql).await?;
        Ok(Tx { connection, caller, clock })
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The connection, inside the transaction.
    pub fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }

    /// What SQL gets as its time: `None` for the database's own.
    pub fn now(&self) -> Option<DateTime<Utc>> {
        self.clock.for_database()
    }

    /// Makes everything so far durable.
    pub async fn commit(mut self) -> Result<()> {
        commit(&mut self.connection).await
    }

    /// Undoes everything so far.
    pub async fn rollback(mut self) -> Result<()> {
        Ok(AnsiTransactionManager::rollback_transaction(&mut *self.connection).await?)
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

/// A transaction of the server itself: it sees every tenant's rows.
pub struct SystemTx {
    connection: Pooled,
    clock: Clock,
}

impl SystemTx {
    pub(super) async fn begin(mut connection: Pooled, clock: Clock) -> Result<SystemTx> {
        begin(&mut connection, &format!("BEGIN; SET LOCAL ROLE {SYSTEM_ROLE}")).await?;
        Ok(SystemTx { connection, clock })
    }

    /// The connection, inside the transaction.
    pub fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }

    /// What SQL gets as its time: `None` for the database's own.
    pub fn now(&self) -> Option<DateTime<Utc>> {
        self.clock.for_database()
    }

    /// Makes everything so far durable.
    pub async fn commit(mut self) -> Result<()> {
        commit(&mut self.connection).await
    }

    /// Undoes everything so far.
    pub async fn rollback(mut self) -> Result<()> {
        Ok(AnsiTransactionManager::rollback_transaction(&mut *self.connection).await?)
    }
}
