//! A connection on which a transaction begins with its first statement.

use super::connection::Pooled;
use crate::error::Result;
use crate::trips;
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::QueryResult;
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
pub struct Begun {
    connection: Pooled,
    /// What is sent ahead of the next statement: what begins it, or settings.
    ahead: Option<String>,
    /// Whether PostgreSQL may be in the transaction.
    open: bool,
}

impl Begun {
    /// `sql` begins the transaction and says who acts in it.
    pub(super) fn by(connection: Pooled, sql: String) -> Self {
        Begun { connection, ahead: Some(sql), open: false }
    }

    /// Makes everything so far durable.
    pub(super) async fn commit(self) -> Result<()> {
        self.end("COMMIT").await
    }

    /// Undoes everything so far.
    pub(super) async fn rollback(self) -> Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &str) -> Result<()> {
        if self.open {
            self.connection.batch_execute(how).await?;
            self.open = false;
        }
        Ok(())
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

    /// What is to be sent ahead of the statement that is sent now.
    fn take_ahead(&mut self) -> Option<String> {
        self.open = true;
        self.ahead.take()
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
    // both count themselves
    trips::uncount();
    // polled in this order, and sent when first polled
    let (before, answer) = join(before, statement).await;
    before?;
    answer
}

impl Drop for Begun {
    /// Dropped in the midst of it, the connection leaves the pool, and PostgreSQL rolls back.
    fn drop(&mut self) {
        if self.open {
            AnsiTransactionManager::transaction_manager_status_mut(&mut *self.connection)
                .set_in_error();
        }
    }
}

impl AsyncConnectionCore for Begun {
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
        let ahead = self.take_ahead();
        let mut connection: &'conn AsyncPgConnection = &self.connection;
        let answer = connection.load(source);
        match ahead {
            None => answer,
            Some(ahead) => together(connection, ahead, answer).boxed(),
        }
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Pg> + QueryId + 'query,
    {
        let ahead = self.take_ahead();
        let mut connection: &'conn AsyncPgConnection = &self.connection;
        let answer = connection.execute_returning_count(source);
        match ahead {
            None => answer,
            Some(ahead) => together(connection, ahead, answer).boxed(),
        }
    }
}

impl SimpleAsyncConnection for Begun {
    async fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        match self.take_ahead() {
            None => self.connection.batch_execute(query).await,
            Some(ahead) => self.connection.batch_execute(&format!("{ahead}; {query}")).await,
        }
    }
}
