//! A connection on which a transaction begins with its first statement.

use super::authentication::{self, Attempt, Outcome};
use super::connection::Pooled;
use crate::auth::Caller;
use crate::error;
use crate::round_trips;
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::{Error, QueryResult};
use diesel_async::{
    AnsiTransactionManager, AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join};
use std::future::Future;

/// A connection with a transaction that is to begin, or has begun.
///
/// What begins it is sent together with the first statement, before that one, and PostgreSQL works
/// off what it gets in order: the two cost one round trip. Should the beginning fail, so has the
/// statement: without a transaction no caller is set, and the policies show nothing.
pub struct LazyTransaction {
    connection: Pooled,
    /// What is sent ahead of the next statement: what begins it, or settings.
    ahead: Option<String>,
    /// What is asked ahead of that.
    speculation: Option<Speculation>,
    /// The answer to it.
    found: Option<Outcome>,
    /// Whether PostgreSQL may be in the transaction.
    open: bool,
}

/// The caller assumed for a key. The key is verified, and the request counted, in the same round trip
/// as the first statement.
pub(super) struct Speculation {
    /// The key, and what the request is counted against.
    pub(super) attempt: Attempt,
    /// When it is; `None`: the database's time.
    pub(super) now: Option<DateTime<Utc>>,
    /// The caller that is assumed.
    pub(super) caller: Caller,
}

impl Speculation {
    fn holds(&self, found: &Outcome) -> bool {
        found.allowed && matches!(found.caller(), Ok(Some(caller)) if caller == self.caller)
    }
}

impl LazyTransaction {
    /// `sql` begins the transaction and says who acts in it.
    pub(super) fn by(connection: Pooled, sql: String) -> Self {
        LazyTransaction {
            connection,
            ahead: Some(sql),
            speculation: None,
            found: None,
            open: false,
        }
    }

    /// The same, asking first whether the assumption is true. If it is not, the first statement
    /// fails, with whatever was read.
    pub(super) fn speculative(connection: Pooled, sql: String, speculation: Speculation) -> Self {
        let mut transaction = LazyTransaction::by(connection, sql);
        transaction.speculation = Some(speculation);
        transaction
    }

    /// The database's answer; `None` when it was not asked, or has failed.
    pub(super) fn take_authentication(&mut self) -> Option<Outcome> {
        self.found.take()
    }

    /// Makes everything so far durable.
    pub(super) async fn commit(self) -> error::Result<()> {
        self.end("COMMIT").await
    }

    /// Undoes everything so far.
    pub(super) async fn rollback(self) -> error::Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &str) -> error::Result<()> {
        if self.open {
            self.connection.batch_execute(how).await?;
            self.open = false;
        }
        Ok(())
    }

    /// Undoes everything so far, without anybody waiting for it.
    pub(super) fn release(mut self) {
        if !self.open {
            return;
        }
        let connection: &AsyncPgConnection = &self.connection;
        let rollback = async {
            let mut connection = connection;
            connection.batch_execute("ROLLBACK").await
        };
        // It is sent when first polled. Whatever is asked next on this connection is answered after
        // it, and what ends a transaction fails only when the connection does.
        let failed = matches!(rollback.now_or_never(), Some(Err(_)));
        round_trips::uncount();
        self.open = failed;
    }

    /// Has `sql`, which has no answer, sent together with the next statement, before that one: at no
    /// round trip of its own. It is not sent at all when there is no next statement.
    pub(super) fn ahead_of_next(&mut self, sql: &str) {
        match &mut self.ahead {
            Some(ahead) => {
                ahead.push_str("; ");
                ahead.push_str(sql);
            }
            None => self.ahead = Some(sql.to_owned()),
        }
    }

    /// The answer to a statement that `send` sends, with what belongs ahead of it.
    fn send<'conn, T: Send + 'conn>(
        &'conn mut self,
        send: impl FnOnce(&'conn AsyncPgConnection) -> BoxFuture<'conn, QueryResult<T>>,
    ) -> BoxFuture<'conn, QueryResult<T>> {
        self.open = true;
        let LazyTransaction { connection, ahead, speculation, found, .. } = self;
        let connection: &'conn AsyncPgConnection = connection;
        let answer = send(connection);
        match (ahead.take(), speculation.take()) {
            (None, _) => answer,
            (Some(ahead), None) => together(connection, ahead, answer).boxed(),
            (Some(ahead), Some(speculation)) => {
                let answer = together(connection, ahead, answer);
                speculated(connection, speculation, found, answer).boxed()
            }
        }
    }
}

/// The answer to `statement`, which `ahead` is sent before.
async fn together<T>(
    connection: &AsyncPgConnection,
    ahead: String,
    statement: impl Future<Output = QueryResult<T>>,
) -> QueryResult<T> {
    let before = async {
        let mut connection = connection;
        connection.batch_execute(&ahead).await
    };
    // polled in this order, and sent when first polled
    let (before, answer) = join(before, statement).await;
    // both count themselves
    round_trips::uncount();
    before?;
    answer
}

/// The same, sent after the question whether the assumption is true; nothing when it is not.
async fn speculated<T>(
    connection: &AsyncPgConnection,
    speculation: Speculation,
    found: &mut Option<Outcome>,
    statement: impl Future<Output = QueryResult<T>>,
) -> QueryResult<T> {
    let asked = authentication::ask(connection, &speculation.attempt, speculation.now);
    let (asked, answer) = join(asked, statement).await;
    round_trips::uncount();
    let outcome = found.insert(asked?);
    if speculation.holds(outcome) { answer } else { Err(Error::RollbackTransaction) }
}

impl Drop for LazyTransaction {
    /// Dropped in the midst of it, the connection leaves the pool, and PostgreSQL rolls back.
    fn drop(&mut self) {
        if self.open {
            AnsiTransactionManager::transaction_manager_status_mut(&mut *self.connection)
                .set_in_error();
        }
    }
}

impl AsyncConnectionCore for LazyTransaction {
    type LoadFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<Self::Stream<'conn, 'query>>>;
    type ExecuteFuture<'conn, 'query> = BoxFuture<'conn, QueryResult<usize>>;
    type Stream<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Stream<'conn, 'query>;
    type Row<'conn, 'query> = <AsyncPgConnection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = Pg;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        self.send(|mut connection| connection.load(source))
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        self.send(|mut connection| connection.execute_returning_count(source))
    }
}

impl SimpleAsyncConnection for LazyTransaction {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        let query = query.to_owned();
        self.send(|mut connection| async move { connection.batch_execute(&query).await }.boxed())
            .await
    }
}
