//! Pages of saved sessions, and what values they have.

use super::{CREATOR_SQL, SavedSession, columns, preview, visible};
use crate::error::Result;
use crate::store::ids::SpaceId;
use crate::store::session_kinds::{Labels, SessionOrigin};
use crate::store::spaces::Space;
use crate::store::statements::Keep;
use crate::store::usage::USAGE_SQL;
use crate::store::{FACETS_TIMEOUT, LIST_TIMEOUT, Tx};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text};
use diesel_async::RunQueryDsl;

/// Most values that a facet lists for one key, the most frequent ones.
pub const MAX_FACET_VALUES: i64 = 100;
/// Most values that an answer lists for all facets together.
pub const MAX_FACETS: i64 = 2_000;
/// Sessions in which words are looked for: of more that match otherwise, those changed last. Putting
/// together what is shown of one takes some 20 µs.
pub const SEARCHED_SESSIONS: i64 = 10_000;
/// Sessions of which the values are counted: of more that match, those changed last.
pub const FACETED_SESSIONS: i64 = 10_000;
/// Values of labels that are counted, of those sessions that were changed last.
pub const FACETED_LABELS: i64 = 200_000;

/// Which sessions; empty lists and `None` leave everything in.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Creators, by id, e-mail address or the part of it before the `@`.
    pub users: Vec<String>,
    /// Agents.
    pub agents: Vec<String>,
    /// Models.
    pub models: Vec<String>,
    /// Origins; never empty.
    pub origins: Vec<SessionOrigin>,
    /// For every key, one of the values.
    pub labels: Labels,
    /// Whether archived ones are left out, alone, or in.
    pub archived: Archived,
    /// Words that must all occur in title, model, agent, labels or preview.
    pub words: Vec<String>,
}

/// Whether archived sessions are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Archived {
    /// Live ones alone.
    #[default]
    Active,
    /// Archived ones alone.
    Archived,
    /// Both.
    Any,
}

/// The order of a list; ties are broken by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the columns")]
pub enum SortBy {
    UpdatedAt,
    LastMessageAt,
    CreatedAt,
    MessageCount,
}

impl SortBy {
    fn column(self) -> &'static str {
        match self {
            SortBy::UpdatedAt => "updated_at",
            SortBy::LastMessageAt => "last_message_at",
            SortBy::CreatedAt => "created_at",
            SortBy::MessageCount => "message_count",
        }
    }
}

/// One value of a facet.
#[derive(Clone, Debug, QueryableByName)]
pub struct FacetRow {
    /// `agent`, `label`, `model` or `user`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The label's key.
    #[diesel(sql_type = Nullable<Text>)]
    pub key: Option<String>,
    /// The value; a user's id.
    #[diesel(sql_type = Text)]
    pub value: String,
    /// A user's address, while he is a member.
    #[diesel(sql_type = Nullable<Text>)]
    pub email: Option<String>,
    /// Sessions with it.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// Those of [`visible`] that a [`Filter`] leaves in: its parts are `$4` to `$10`.
const FILTER_SQL: &str = "\
     AND (cardinality($4) = 0 OR sessions.created_by_user_id = ANY ($4) \
        OR lower(creator.email) = ANY ($4) OR split_part(lower(creator.email), '@', 1) = ANY ($4)) \
     AND (cardinality($5) = 0 OR sessions.default_agent = ANY ($5)) \
     AND (cardinality($6) = 0 OR sessions.model = ANY ($6)) \
     AND sessions.origin = ANY ($7) \
     AND NOT EXISTS (SELECT FROM jsonb_each($8) wanted WHERE NOT coalesce(jsonb_exists_any(\
        sessions.labels -> wanted.key, ARRAY(SELECT jsonb_array_elements_text(wanted.value))), \
        false)) \
     AND ($9 = 'any' OR ($9 = 'archived') = (sessions.archived_at IS NOT NULL))";

/// The words of `$10`, each somewhere in what is shown of a session.
fn search_sql() -> String {
    format!(
        "(SELECT bool_and(position(lower(word) IN text) > 0) \
         FROM unnest($10) word, lower(concat_ws(E'\\n', sessions.title, sessions.model, \
         sessions.default_agent, {}, (SELECT string_agg(l.key || ':' || v.value, E'\\n') \
         FROM jsonb_each(sessions.labels) l, jsonb_array_elements_text(l.value) v))) text)",
        preview()
    )
}

/// The sessions that a filter leaves in, each with its creator.
fn matching(filter: &Filter) -> String {
    let visible = visible();
    if filter.words.is_empty() {
        return format!("{visible} {FILTER_SQL} AND cardinality($10) = 0");
    }
    format!(
        "FROM (SELECT sessions.* {visible} {FILTER_SQL} \
         ORDER BY sessions.updated_at DESC, sessions.id DESC LIMIT {SEARCHED_SESSIONS}) sessions \
         {CREATOR_SQL} WHERE {}",
        search_sql()
    )
}

/// A query whose first ten parameters say who asks, where, and for what.
fn filtered<'a>(
    text: String,
    tx: &Tx,
    space: &SpaceId,
    filter: &Filter,
) -> BoxedSqlQuery<'a, Pg, SqlQuery> {
    let caller = tx.caller();
    let lower = |words: &[String]| words.iter().map(|w| w.to_lowercase()).collect::<Vec<_>>();
    // Raw SQL: lateral sub-selects, set-returning functions, and an order by what was computed
    diesel::sql_query(text)
        .into_boxed::<Pg>()
        .bind::<Text, _>(caller.org_id.clone())
        .bind::<Text, _>(caller.user_id.clone())
        .bind::<Text, _>(space.clone())
        .bind::<Array<Text>, _>(lower(&filter.users))
        .bind::<Array<Text>, _>(filter.agents.clone())
        .bind::<Array<Text>, _>(filter.models.clone())
        .bind::<Array<Text>, _>(filter.origins.clone())
        .bind::<Jsonb, _>(filter.labels.clone())
        .bind::<Text, _>(match filter.archived {
            Archived::Active => "active",
            Archived::Archived => "archived",
            Archived::Any => "any",
        })
        .bind::<Array<Text>, _>(filter.words.clone())
}

/// One page of the sessions of a Space, and how many match in all; words are looked for in
/// [`SEARCHED_SESSIONS`].
pub async fn list(
    tx: &mut Tx,
    space: &Space,
    filter: &Filter,
    (sort, ascending): (SortBy, bool),
    (page, limit): (i64, i64),
) -> Result<(Vec<SavedSession>, i64)> {
    tx.at_most(LIST_TIMEOUT);
    let (matching, columns) = (matching(filter), columns());
    // counted beside the page, which an index puts in order; with words, what is shown of the sessions
    // is put together once for both
    let total = match filter.words.is_empty() {
        true => format!("(SELECT count(*) {matching})"),
        false => "count(*) OVER ()".to_owned(),
    };
    let direction = if ascending { "ASC" } else { "DESC" };
    let order = format!("{} {direction} NULLS LAST, id {direction}", sort.column());
    // the usage of the page's sessions alone
    let text = format!(
        "SELECT sessions.*, {USAGE_SQL} AS usage FROM (\
         SELECT {columns}, sessions.org_id, {total} AS total \
         {matching} ORDER BY {order} LIMIT $11 OFFSET $12) sessions \
         ORDER BY {order}"
    );
    let rows: Vec<SavedSession> = filtered(text, tx, &space.id, filter)
        .bind::<BigInt, _>(limit)
        .bind::<BigInt, _>((page - 1).saturating_mul(limit))
        .kept()
        .load(tx.connection())
        .await?;
    let total = match rows.as_slice() {
        [row, ..] => row.total,
        [] if page == 1 => 0,
        // past the end: there is no row to have counted on
        [] => {
            let text = format!("SELECT count(*) {matching}");
            let counted: Count =
                filtered(text, tx, &space.id, filter).kept().get_result(tx.connection()).await?;
            counted.count
        }
    };
    Ok((rows, total))
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// The values that the matching sessions have, the most frequent ones first; of more than
/// [`FACETED_SESSIONS`], those of the ones that were changed last.
pub async fn facets(tx: &mut Tx, space: &Space, filter: &Filter) -> Result<Vec<FacetRow>> {
    tx.at_most(FACETS_TIMEOUT);
    let matching = matching(filter);
    let text = format!(
        "WITH matching AS MATERIALIZED (SELECT sessions.default_agent, sessions.model, \
            sessions.labels, sessions.created_by_user_id, creator.email \
            {matching} ORDER BY sessions.updated_at DESC, sessions.id DESC \
            LIMIT {FACETED_SESSIONS}), \
         labelled AS (SELECT l.key, v.value FROM matching, jsonb_each(labels) l, \
            jsonb_array_elements_text(l.value) v LIMIT {FACETED_LABELS}), \
         counted AS (\
            SELECT 'agent' AS kind, NULL AS key, default_agent AS value, NULL AS email, \
                count(*) AS count FROM matching WHERE default_agent IS NOT NULL \
                GROUP BY default_agent \
            UNION ALL SELECT 'model', NULL, model, NULL, count(*) FROM matching \
                WHERE model IS NOT NULL GROUP BY model \
            UNION ALL SELECT 'user', NULL, created_by_user_id, email, count(*) FROM matching \
                GROUP BY created_by_user_id, email \
            UNION ALL SELECT 'label', key, value, NULL, count(*) FROM labelled \
                GROUP BY key, value), \
         ranked AS (SELECT *, row_number() OVER (\
            PARTITION BY kind, key ORDER BY count DESC, value) AS rank FROM counted) \
         SELECT kind, key, value, email, count FROM ranked WHERE rank <= $11 \
         ORDER BY count DESC, kind, key, value LIMIT $12"
    );
    Ok(filtered(text, tx, &space.id, filter)
        .bind::<BigInt, _>(MAX_FACET_VALUES)
        .bind::<BigInt, _>(MAX_FACETS)
        .kept()
        .load(tx.connection())
        .await?)
}
