//! What the generations of a session took (contract C1): derived from its messages whenever it is
//! read, and stored nowhere.

use super::session_kinds::from_json;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde::Deserialize;

/// The usage of one session.
#[derive(Clone, Debug, PartialEq, Deserialize, FromSqlRow)]
pub struct Usage {
    /// Tokens that the models read, caches excluded.
    pub input_tokens: i64,
    /// Tokens that the models wrote.
    pub output_tokens: i64,
    /// Tokens read from a provider's cache.
    pub cache_read_input_tokens: i64,
    /// Tokens written to a provider's cache.
    pub cache_creation_input_tokens: i64,
    /// Calls of tools.
    pub tool_call_count: i64,
    /// US dollars; `None` when a generation has no known cost: there are no partial sums.
    pub cost_usd: Option<f64>,
    /// What the newest generation read; `None` while there is none.
    pub last_generation_input_tokens: Option<i64>,
    /// Messages stored.
    pub message_count: i64,
}

/// The usage of the row of `sessions` that the query is at, as a JSON object: a page of sessions is
/// one query. A generation is a message that reports its tokens.
pub(super) const USAGE_SQL: &str = "(SELECT jsonb_build_object(\
     'input_tokens', coalesce(sum(m.input_tokens), 0), \
     'output_tokens', coalesce(sum(m.output_tokens), 0), \
     'cache_read_input_tokens', coalesce(sum(m.cache_read_input_tokens), 0), \
     'cache_creation_input_tokens', coalesce(sum(m.cache_creation_input_tokens), 0), \
     'tool_call_count', \
        coalesce(sum(coalesce(m.tool_call_count, jsonb_array_length(m.tool_calls))), 0), \
     'cost_usd', CASE WHEN bool_and(m.input_tokens IS NULL OR m.cost_usd IS NOT NULL) \
        IS NOT FALSE THEN coalesce(sum(m.cost_usd), 0) END, \
     'last_generation_input_tokens', (array_agg(m.input_tokens ORDER BY m.seq DESC) \
        FILTER (WHERE m.input_tokens IS NOT NULL))[1], \
     'message_count', count(*)) \
     FROM messages m WHERE m.org_id = sessions.org_id AND m.session_id = sessions.id)";

impl FromSql<Jsonb, Pg> for Usage {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        from_json(value)
    }
}

impl Usage {
    /// Of a session without messages.
    pub const NONE: Usage = Usage {
        input_tokens: 0,
        output_tokens: 0,
        cache_read_input_tokens: 0,
        cache_creation_input_tokens: 0,
        tool_call_count: 0,
        cost_usd: Some(0.0),
        last_generation_input_tokens: None,
        message_count: 0,
    };
}
