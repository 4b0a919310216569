//! Quotas of organizations, how much of them is used, and whose notes wait for their vectors. The
//! database counts and refuses, in triggers, whatever way something is written on.

use super::ids::OrgId;
use super::{Store, SystemTx};
use crate::error::Result;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;

/// From which part of a quota on, in percent, an operator is told.
pub const NEARLY: i64 = 80;

/// The quotas of each organization; 0 is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Spaces, archived ones as well.
    pub spaces: u32,
    /// Spaces that one MEMBER has made.
    pub member_spaces: u32,
    /// Sessions, archived ones as well.
    pub sessions: u32,
    /// Notes.
    pub notes: u32,
    /// Bytes of notes and messages.
    pub bytes: u64,
    /// Notes of one author that wait for their vectors.
    pub waiting: u32,
}

/// As many bytes as PostgreSQL can count.
fn bytes(quotas: &Quotas) -> i64 {
    i64::try_from(quotas.bytes).unwrap_or(i64::MAX)
}

/// From now on, on all servers of this database, organizations without quotas of their own have
/// these.
pub async fn set_defaults(store: &Store, quotas: &Quotas) -> Result<()> {
    let mut tx = store.begin_system().await?;
    // Raw SQL, here and below: what is nobody's, which no predicate applies to
    diesel::sql_query(
        "INSERT INTO quota_defaults (spaces, member_spaces, sessions, notes, bytes, waiting)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (is_only) DO UPDATE SET spaces = excluded.spaces,
             member_spaces = excluded.member_spaces, sessions = excluded.sessions,
             notes = excluded.notes, bytes = excluded.bytes, waiting = excluded.waiting",
    )
    .bind::<BigInt, _>(i64::from(quotas.spaces))
    .bind::<BigInt, _>(i64::from(quotas.member_spaces))
    .bind::<BigInt, _>(i64::from(quotas.sessions))
    .bind::<BigInt, _>(i64::from(quotas.notes))
    .bind::<BigInt, _>(bytes(quotas))
    .bind::<BigInt, _>(i64::from(quotas.waiting))
    .execute(tx.connection())
    .await?;
    tx.commit().await
}

/// Quotas that an operator gives one organization; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `Quotas`")]
pub struct Change {
    pub spaces: Option<i64>,
    pub member_spaces: Option<i64>,
    pub sessions: Option<i64>,
    pub notes: Option<i64>,
    pub bytes: Option<i64>,
    pub waiting: Option<i64>,
}

/// Gives an organization quotas of its own.
pub async fn change(tx: &mut SystemTx, org: &OrgId, change: &Change) -> Result<()> {
    diesel::sql_query(
        "INSERT INTO org_quotas AS q (org_id, spaces, member_spaces, sessions, notes, bytes, waiting)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (org_id) DO UPDATE SET spaces = coalesce(excluded.spaces, q.spaces),
             member_spaces = coalesce(excluded.member_spaces, q.member_spaces),
             sessions = coalesce(excluded.sessions, q.sessions),
             notes = coalesce(excluded.notes, q.notes), bytes = coalesce(excluded.bytes, q.bytes),
             waiting = coalesce(excluded.waiting, q.waiting)",
    )
    .bind::<Text, _>(org)
    .bind::<Nullable<BigInt>, _>(change.spaces)
    .bind::<Nullable<BigInt>, _>(change.member_spaces)
    .bind::<Nullable<BigInt>, _>(change.sessions)
    .bind::<Nullable<BigInt>, _>(change.notes)
    .bind::<Nullable<BigInt>, _>(change.bytes)
    .bind::<Nullable<BigInt>, _>(change.waiting)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Leaves an organization with the defaults.
pub async fn forget(tx: &mut SystemTx, org: &OrgId) -> Result<()> {
    diesel::sql_query("DELETE FROM org_quotas WHERE org_id = $1")
        .bind::<Text, _>(org)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// How much of a quota is used.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Use {
    /// The organization's slug.
    #[diesel(sql_type = Text)]
    pub slug: String,
    /// The quota's name.
    #[diesel(sql_type = Text)]
    pub quota: String,
    /// How much of it is used; of a quota by member or author, by whoever has most.
    #[diesel(sql_type = BigInt)]
    pub used: i64,
    /// How much there may be; 0 is unlimited, `None` when no server has told its settings yet.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub most: Option<i64>,
    /// The number that the operator has given this organization; `None`: it has the default.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub own: Option<i64>,
}

impl Use {
    /// Whether nothing more fits.
    pub fn is_reached(&self) -> bool {
        self.most.is_some_and(|most| most > 0 && self.used >= most)
    }
}

/// Every quota of the organizations that `o` stands for.
const USES: &str = "SELECT o.slug, v.quota, v.used, coalesce(v.own, v.fallback) AS most, v.own
     FROM orgs o
     LEFT JOIN org_quotas q ON q.org_id = o.id
     LEFT JOIN quota_defaults d ON true
     CROSS JOIN LATERAL (
         SELECT coalesce(sum(u.spaces), 0)::bigint AS spaces,
             coalesce(sum(u.sessions), 0)::bigint AS sessions,
             coalesce(sum(u.notes), 0)::bigint AS notes,
             coalesce(sum(u.bytes), 0)::bigint AS bytes
         FROM org_usage u WHERE u.org_id = o.id
     ) u
     CROSS JOIN LATERAL (VALUES
         (1, 'spaces', u.spaces, q.spaces, d.spaces),
         (2, 'member_spaces', coalesce((
             SELECT max(c.spaces) FROM (
                 SELECT count(*) AS spaces FROM spaces s
                 JOIN members m ON m.org_id = s.org_id AND m.user_id = s.created_by_user_id
                 WHERE s.org_id = o.id AND m.role = 'MEMBER' GROUP BY s.created_by_user_id
             ) c), 0), q.member_spaces, d.member_spaces),
         (3, 'sessions', u.sessions, q.sessions, d.sessions),
         (4, 'notes', u.notes, q.notes, d.notes),
         (5, 'bytes', u.bytes, q.bytes, d.bytes),
         (6, 'waiting', coalesce((
             SELECT max(c.notes) FROM (
                 SELECT count(*) AS notes FROM memory_backlog b
                 WHERE b.org_id = o.id GROUP BY b.author_user_id
             ) c), 0), q.waiting, d.waiting)
     ) AS v(place, quota, used, own, fallback)";

/// Every quota of an organization.
pub async fn of(tx: &mut SystemTx, org: &OrgId) -> Result<Vec<Use>> {
    Ok(diesel::sql_query(format!("{USES} WHERE o.id = $1 ORDER BY v.place"))
        .bind::<Text, _>(org)
        .load(tx.connection())
        .await?)
}

/// Quotas of which at least [`NEARLY`] percent are used, the fullest first, at most `limit`.
pub async fn nearly_reached(store: &Store, limit: i64) -> Result<Vec<Use>> {
    let mut tx = store.begin_system().await?;
    let uses = diesel::sql_query(format!(
        "{USES} WHERE coalesce(v.own, v.fallback) > 0
             AND v.used::numeric * 100 >= coalesce(v.own, v.fallback)::numeric * $1
         ORDER BY v.used::numeric / coalesce(v.own, v.fallback) DESC, o.slug, v.place LIMIT $2"
    ))
    .bind::<BigInt, _>(NEARLY)
    .bind::<BigInt, _>(limit)
    .load(tx.connection())
    .await?;
    tx.commit().await?;
    Ok(uses)
}

/// An author's notes that wait for their vectors.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Waiting {
    /// The organization's slug.
    #[diesel(sql_type = Text)]
    pub slug: String,
    /// The author.
    #[diesel(sql_type = Text)]
    pub author_user_id: String,
    /// How many of the author's notes wait.
    #[diesel(sql_type = BigInt)]
    pub notes: i64,
    /// For how many seconds the oldest of them has waited.
    #[diesel(sql_type = BigInt)]
    pub seconds: i64,
    /// How many notes wait in all, whosoever they are.
    #[diesel(sql_type = BigInt)]
    pub of: i64,
}

/// The authors whose notes wait for their vectors: those who have most, at most `limit`.
pub async fn backlog(store: &Store, limit: i64) -> Result<Vec<Waiting>> {
    let mut tx = store.begin_system().await?;
    let waiting = diesel::sql_query(
        "SELECT o.slug, b.author_user_id, count(*) AS notes,
             greatest(extract(epoch FROM clock_timestamp() - min(b.since)), 0)::bigint AS seconds,
             (sum(count(*)) OVER ())::bigint AS of
         FROM memory_backlog b JOIN orgs o ON o.id = b.org_id
         GROUP BY o.slug, b.author_user_id
         ORDER BY notes DESC, o.slug, b.author_user_id LIMIT $1",
    )
    .bind::<BigInt, _>(limit)
    .load(tx.connection())
    .await?;
    tx.commit().await?;
    Ok(waiting)
}
