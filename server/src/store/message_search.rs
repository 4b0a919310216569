//! Where in a Space's transcripts something was said, and what stands around it.
//!
//! As with notes, the candidates' functions yield places and scores only; [`around`] then reads the
//! messages under the caller's predicate and under the policy.

use super::ids::{MessageId, SessionId, SpaceId, UserId};
use super::messages::{Message, columns};
use super::schema::messages;
use super::statements::Keep;
use super::{Tx, visibility};
use crate::error::Result;
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

/// Most distinct words of a query that are looked for.
pub const MAX_QUERY_TERMS: i32 = 64;
/// A word that more messages of a Space have is a common one: it scores what other words brought.
pub const BUDGET: i32 = 500;

/// Which messages of a Space are looked at, among those that the caller can see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only what was said in this session.
    pub session_id: Option<SessionId>,
    /// Only this user's messages, those of agents on his behalf included.
    pub author_user_id: Option<UserId>,
    /// Only this agent's messages.
    pub author_agent: Option<String>,
    /// Only what was said then or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Only what was said earlier.
    pub created_before: Option<DateTime<Utc>>,
}

/// Where something fits, and how well.
#[derive(Clone, Debug, PartialEq, diesel::QueryableByName)]
pub struct Place {
    /// The message.
    #[diesel(sql_type = Text)]
    pub message_id: MessageId,
    /// Its session.
    #[diesel(sql_type = Text)]
    pub session_id: SessionId,
    /// Its number there, from 1.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// The more the better; of one query.
    #[diesel(sql_type = Double)]
    pub score: f64,
}

/// The best messages of the Space by BM25 of the query's words, any of which may occur, in the
/// message itself or up to two turns away.
pub async fn lexical(
    tx: &mut Tx,
    query: &str,
    space: &SpaceId,
    filter: &Filter,
    limit: i32,
) -> Result<Vec<Place>> {
    // Raw SQL, here and below: functions that use the index under the policy
    Ok(diesel::sql_query("SELECT * FROM lexical_messages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind::<Text, _>(query)
        .bind::<Integer, _>(limit)
        .bind::<Integer, _>(MAX_QUERY_TERMS)
        .bind::<Integer, _>(BUDGET)
        .bind::<Text, _>(space)
        .bind::<Nullable<Text>, _>(&filter.session_id)
        .bind::<Nullable<Text>, _>(&filter.author_user_id)
        .bind::<Nullable<Text>, _>(&filter.author_agent)
        .bind::<Nullable<Timestamptz>, _>(filter.created_after)
        .bind::<Nullable<Timestamptz>, _>(filter.created_before)
        .kept()
        .load(tx.connection())
        .await?)
}

/// Messages of the Space that contain the pieces of the query literally, by how many of them: for
/// scripts without spaces, emoji, and words that the dictionary throws away.
pub async fn literal(
    tx: &mut Tx,
    pieces: &[String],
    space: &SpaceId,
    filter: &Filter,
    limit: i32,
) -> Result<Vec<Place>> {
    Ok(diesel::sql_query("SELECT * FROM literal_messages($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind::<Array<Text>, _>(pieces)
        .bind::<Integer, _>(limit)
        .bind::<Text, _>(space)
        .bind::<Nullable<Text>, _>(&filter.session_id)
        .bind::<Nullable<Text>, _>(&filter.author_user_id)
        .bind::<Nullable<Text>, _>(&filter.author_agent)
        .bind::<Nullable<Timestamptz>, _>(filter.created_after)
        .bind::<Nullable<Timestamptz>, _>(filter.created_before)
        .kept()
        .load(tx.connection())
        .await?)
}

/// A message with its place.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Its number in the session, from 1.
    pub seq: i64,
    /// What the session is called.
    pub session_name: Option<String>,
    /// The message.
    pub message: Message,
}

/// The messages at these places and up to `turns` before and after each, as far as the caller can
/// see them; by session, in the order in which they were said.
pub async fn around(tx: &mut Tx, places: &[&Place], turns: i64) -> Result<Vec<Turn>> {
    let caller = tx.caller().clone();
    // Every place by itself: were the neighbours counted out in SQL, the planner would expect so many
    // that it read all messages instead.
    let (sessions, numbers): (Vec<&str>, Vec<i64>) = places
        .iter()
        .flat_map(|p| (-turns..=turns).map(|d| (p.session_id.as_str(), p.seq + d)))
        .unzip();
    // Raw SQL: pairs of columns, which Diesel has no word for
    let wanted = sql::<Bool>("(messages.session_id, messages.seq) IN (SELECT * FROM unnest(")
        .bind::<Array<Text>, _>(sessions)
        .sql(", ")
        .bind::<Array<BigInt>, _>(numbers)
        .sql("))");
    let rows: Vec<(Message, i64, Option<String>)> = messages::table
        .filter(visibility::message(&caller))
        .filter(wanted)
        .order((messages::session_id, messages::seq))
        .select((
            columns(),
            messages::seq,
            sql::<Nullable<Text>>(
                "(SELECT s.title FROM sessions s WHERE s.id = messages.session_id)",
            ),
        ))
        .kept()
        .load(tx.connection())
        .await?;
    Ok(rows
        .into_iter()
        .map(|(message, seq, session_name)| Turn { seq, session_name, message })
        .collect())
}
