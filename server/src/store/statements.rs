//! Raw SQL whose prepared form is kept.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;

/// A statement that a connection prepares once.
///
/// Diesel keeps what it knows to have few forms, and takes everything with raw SQL in it for
/// something that never comes again: it would be prepared for each request, in a round trip of its
/// own. Statements of a fixed text, or of one out of a few, are wrapped in this.
pub(super) struct Kept<Q>(Q);

/// Statements that can be kept.
pub(super) trait Keep: Sized {
    /// Prepared once a connection. The text must not be made of what somebody sent: every text
    /// stays.
    fn kept(self) -> Kept<Self> {
        Kept(self)
    }
}

impl<Q: QueryFragment<Pg>> Keep for Q {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _backend: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

/// By its text: the type says nothing about it.
impl<Q> QueryId for Kept<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query> Query for Kept<Q> {
    type SqlType = Q::SqlType;
}
