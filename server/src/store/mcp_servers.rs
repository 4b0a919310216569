//! MCP servers that organizations have registered, and the Spaces that use them.

use super::ids::{McpServerId, OrgId, SecretId};
use super::pages::{Listed, Paging, unknown_place};
use super::schema::{mcp_servers, space_mcp_servers};
use super::spaces::Space;
use super::statements::Keep;
use super::vault::{self, Sealed};
use super::{Store, Tx, visibility};
use crate::auth::{Caller, OrgRole, SpaceRole};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use diesel::deserialize::FromSqlRow;
use diesel::dsl::{exists, sql};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Double, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most MCP servers of one organization.
pub const MAX_SERVERS: i64 = 50;

/// How often a server is checked in the background.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// How much earlier or later than [`CHECK_INTERVAL`], at most, as a part of it: servers that were
/// registered together need not be checked together for ever.
const JITTER: f64 = 0.1;

macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, AsExpression,
            FromSqlRow,
        )]
        #[diesel(sql_type = Text)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// As the contract and the database spell it.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl diesel::deserialize::FromSql<Text, Pg> for $name {
            fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
                let text = <String as diesel::deserialize::FromSql<Text, Pg>>::from_sql(value)?;
                match text.as_str() {
                    $($text => Ok($name::$variant),)*
                    other => Err(format!(concat!("unknown ", stringify!($name), ": {}"), other).into()),
                }
            }
        }

        impl diesel::serialize::ToSql<Text, Pg> for $name {
            fn to_sql<'b>(
                &'b self, out: &mut diesel::serialize::Output<'b, '_, Pg>,
            ) -> diesel::serialize::Result {
                <str as diesel::serialize::ToSql<Text, Pg>>::to_sql(self.as_str(), out)
            }
        }
    };
}

word!(
    /// How an MCP server is, as of its last check.
    McpHealth {
        /// It answers as it should.
        Healthy = "HEALTHY",
        /// It answers, but slowly, or not as it should.
        Degraded = "DEGRADED",
        /// It does not answer, or must not be asked.
        Unreachable = "UNREACHABLE",
        /// It has not been checked yet.
        Unknown = "UNKNOWN",
    }
);

word!(
    /// How the server is shown that we may call it.
    McpAuthType {
        /// Not at all.
        None = "NONE",
        /// By `Authorization: Bearer …`.
        Bearer = "BEARER",
        /// By a header of its own.
        ApiKey = "API_KEY",
    }
);

/// A registered server, as it is stored. Its secret is elsewhere.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = mcp_servers)]
#[expect(missing_docs, reason = "the columns are documented where the API shows them")]
pub struct McpServer {
    pub id: McpServerId,
    pub org_id: OrgId,
    pub display_name: String,
    pub mention_slug: String,
    pub endpoint_url: String,
    pub auth_type: McpAuthType,
    pub health: McpHealth,
    pub last_checked_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

/// What a new server is made of.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as above")]
pub struct NewMcpServer {
    pub display_name: String,
    pub mention_slug: String,
    pub endpoint_url: String,
    pub auth_type: McpAuthType,
    /// Unless the type is `NONE`.
    pub secret: Option<Sealed>,
}

/// What is needed to call a server.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which.
    pub id: McpServerId,
    /// Whose: the secret opens for no other.
    pub org_id: OrgId,
    /// Where it is.
    pub endpoint_url: String,
    /// How to be let in.
    pub auth_type: McpAuthType,
    /// With what.
    pub secret: Option<Sealed>,
}

/// Whether the caller may register, test and remove integrations, and bind them in any Space.
pub fn may_manage(caller: &Caller) -> bool {
    matches!(caller.role, OrgRole::Owner | OrgRole::Admin)
}

/// 403 unless [`may_manage`].
pub fn manager(caller: &Caller) -> Result<()> {
    if may_manage(caller) {
        return Ok(());
    }
    Err(Error::forbidden(
        "only the organization's OWNER or ADMIN may register, test or remove integrations",
    ))
}

fn no_such_server() -> Error {
    Error::not_found("MCP server")
}

/// The name of the server that a page comes after; 404 when there is no such server.
async fn name_of(tx: &mut Tx, before: &McpServerId) -> Result<String> {
    let caller = tx.caller().clone();
    mcp_servers::table
        .filter(visibility::mcp_server(&caller))
        .filter(mcp_servers::id.eq(before))
        .select(mcp_servers::display_name)
        .first(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| unknown_place("MCP server"))
}

/// How many servers the organization has, if `paging` did not show it.
async fn total(tx: &mut Tx, paging: &Paging<McpServerId>, shown: usize) -> Result<i64> {
    if let Some(total) = paging.whole(shown) {
        return Ok(total);
    }
    let caller = tx.caller().clone();
    let servers = mcp_servers::table.filter(visibility::mcp_server(&caller));
    Ok(servers.count().get_result(tx.connection()).await?)
}

/// The servers of the organization, by name. 404 when `before` names none of them.
pub async fn list(tx: &mut Tx, paging: &Paging<McpServerId>) -> Result<Listed<McpServer>> {
    let caller = tx.caller().clone();
    let mut page = mcp_servers::table
        .filter(visibility::mcp_server(&caller))
        .order((mcp_servers::display_name, mcp_servers::id))
        .limit(paging.rows())
        .select(McpServer::as_select())
        .into_boxed();
    if let Some(before) = &paging.before {
        let name = name_of(tx, before).await?;
        page = page.filter(
            mcp_servers::display_name
                .gt(name.clone())
                .or(mcp_servers::display_name.eq(name).and(mcp_servers::id.gt(before))),
        );
    }
    let rows: Vec<McpServer> = page.load(tx.connection()).await?;
    let total = total(tx, paging, rows.len()).await?;
    Ok(Listed { rows, total })
}

/// Registers a server. 409 when its mention is taken, or the organization has [`MAX_SERVERS`].
pub async fn create(tx: &mut Tx, new: &NewMcpServer) -> Result<McpServer> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let caller = tx.caller().clone();
    manager(&caller)?;
    let there: Count = diesel::sql_query("SELECT count_mcp_servers() AS count")
        .kept()
        .get_result(tx.connection())
        .await?;
    if there.count >= MAX_SERVERS {
        return Err(Error::conflict(format!(
            "the organization has {MAX_SERVERS} MCP servers, which is the most: remove one first"
        )));
    }
    // the secret comes first: there is no moment at which a row refers to nothing
    if let Some(sealed) = &new.secret {
        vault::put(tx, sealed).await?;
    }
    let now = tx.now();
    let at = || {
        sql::<Timestamptz>("coalesce(")
            .bind::<Nullable<Timestamptz>, _>(now)
            .sql(", clock_timestamp())")
    };
    diesel::insert_into(mcp_servers::table)
        .values((
            mcp_servers::id.eq(McpServerId::generate()),
            mcp_servers::org_id.eq(&caller.org_id),
            mcp_servers::display_name.eq(&new.display_name),
            mcp_servers::mention_slug.eq(&new.mention_slug),
            mcp_servers::endpoint_url.eq(&new.endpoint_url),
            mcp_servers::auth_type.eq(new.auth_type),
            mcp_servers::secret_id.eq(new.secret.as_ref().map(|sealed| &sealed.id)),
            mcp_servers::created_at.eq(at()),
            mcp_servers::next_check_at.eq(at()),
        ))
        .on_conflict((mcp_servers::org_id, mcp_servers::mention_slug))
        .do_nothing()
        .returning(McpServer::as_returning())
        .kept()
        .get_result(tx.connection())
        .await
        .optional()?
        .ok_or_else(|| {
            Error::conflict(format!(
                "an integration with the mention `{}` exists already in this organization",
                new.mention_slug
            ))
        })
}

/// Removes a server, with its bindings and its secret.
pub async fn delete(tx: &mut Tx, id: &McpServerId) -> Result<()> {
    let caller = tx.caller().clone();
    manager(&caller)?;
    let gone = diesel::delete(mcp_servers::table)
        .filter(visibility::mcp_server(&caller))
        .filter(mcp_servers::id.eq(id))
        .execute(tx.connection())
        .await?;
    if gone == 0 { Err(no_such_server()) } else { Ok(()) }
}

#[derive(QueryableByName)]
struct SealedRow {
    #[diesel(sql_type = Text)]
    id: SecretId,
    #[diesel(sql_type = Text)]
    key_id: String,
    #[diesel(sql_type = Binary)]
    nonce: Vec<u8>,
    #[diesel(sql_type = Binary)]
    ciphertext: Vec<u8>,
}

/// What is needed to call a server of the organization.
pub async fn target(tx: &mut Tx, id: &McpServerId) -> Result<Target> {
    let caller = tx.caller().clone();
    manager(&caller)?;
    let found: Option<(String, McpAuthType)> = mcp_servers::table
        .filter(visibility::mcp_server(&caller))
        .filter(mcp_servers::id.eq(id))
        .select((mcp_servers::endpoint_url, mcp_servers::auth_type))
        .first(tx.connection())
        .await
        .optional()?;
    let (endpoint_url, auth_type) = found.ok_or_else(no_such_server)?;
    let secret = match auth_type {
        McpAuthType::None => None,
        // Raw SQL: the function is the only way to a secret for a request
        _ => diesel::sql_query("SELECT * FROM mcp_server_secret($1)")
            .bind::<Text, _>(id)
            .get_result::<SealedRow>(tx.connection())
            .await
            .optional()?,
    };
    let secret = secret.map(|row| Sealed {
        id: row.id,
        key_id: row.key_id,
        nonce: row.nonce,
        ciphertext: row.ciphertext,
    });
    Ok(Target { id: id.clone(), org_id: caller.org_id, endpoint_url, auth_type, secret })
}

/// Notes how a server was found. One that is gone by now is nobody's concern.
pub async fn record(tx: &mut Tx, id: &McpServerId, health: McpHealth) -> Result<()> {
    let caller = tx.caller().clone();
    let now = tx.now();
    diesel::update(mcp_servers::table)
        .filter(visibility::mcp_server(&caller))
        .filter(mcp_servers::id.eq(id))
        .set((
            mcp_servers::health.eq(health),
            mcp_servers::last_checked_at.eq(sql::<Nullable<Timestamptz>>("coalesce(")
                .bind::<Nullable<Timestamptz>, _>(now)
                .sql(", clock_timestamp())")),
        ))
        .kept()
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The servers of the organization, by name, and whether the Space uses each. 404 when `before`
/// names none of them.
pub async fn list_of_space(
    tx: &mut Tx,
    space: &Space,
    paging: &Paging<McpServerId>,
) -> Result<Listed<(McpServer, bool)>> {
    let caller = tx.caller().clone();
    let bound = space_mcp_servers::table
        .filter(visibility::binding(&caller))
        .filter(space_mcp_servers::space_id.eq(&space.id))
        .filter(space_mcp_servers::server_id.eq(mcp_servers::id));
    let mut page = mcp_servers::table
        .filter(visibility::mcp_server(&caller))
        .order((mcp_servers::display_name, mcp_servers::id))
        .limit(paging.rows())
        .select((McpServer::as_select(), exists(bound)))
        .into_boxed();
    if let Some(before) = &paging.before {
        let name = name_of(tx, before).await?;
        page = page.filter(
            mcp_servers::display_name
                .gt(name.clone())
                .or(mcp_servers::display_name.eq(name).and(mcp_servers::id.gt(before))),
        );
    }
    let rows: Vec<(McpServer, bool)> = page.load(tx.connection()).await?;
    let total = total(tx, paging, rows.len()).await?;
    Ok(Listed { rows, total })
}

/// A Space's OWNER and EDITOR say what it uses, and so do the organization's OWNER and ADMIN, in
/// Spaces that they are not in as well. 403 for everybody else.
pub fn may_bind(caller: &Caller, role: Option<SpaceRole>) -> Result<()> {
    if may_manage(caller) || role.is_some_and(SpaceRole::may_edit) {
        return Ok(());
    }
    Err(match role {
        None => Error::forbidden("you are not a member of this Space"),
        Some(_) => Error::forbidden(
            "only the Space's OWNER or EDITOR, or the organization's OWNER or ADMIN, may say \
             which integrations it uses",
        ),
    })
}

/// That there is such a server.
async fn known(tx: &mut Tx, id: &McpServerId) -> Result<()> {
    let caller = tx.caller().clone();
    let there: Option<McpServerId> = mcp_servers::table
        .filter(visibility::mcp_server(&caller))
        .filter(mcp_servers::id.eq(id))
        .select(mcp_servers::id)
        .first(tx.connection())
        .await
        .optional()?;
    there.map(drop).ok_or_else(no_such_server)
}

/// Lets a Space use a server. Once more is no error.
pub async fn bind(tx: &mut Tx, space: &Space, id: &McpServerId) -> Result<()> {
    use diesel::result::{DatabaseErrorKind, Error as Diesel};
    let caller = tx.caller().clone();
    known(tx, id).await?;
    let bound = diesel::insert_into(space_mcp_servers::table)
        .values((
            space_mcp_servers::org_id.eq(&caller.org_id),
            space_mcp_servers::space_id.eq(&space.id),
            space_mcp_servers::server_id.eq(id),
        ))
        .on_conflict_do_nothing()
        .execute(tx.connection())
        .await;
    match bound {
        Ok(_) => Ok(()),
        // removed a moment ago
        Err(Diesel::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)) => {
            Err(no_such_server())
        }
        Err(error) => Err(error.into()),
    }
}

/// Lets a Space use a server no longer. Once more is no error.
pub async fn unbind(tx: &mut Tx, space: &Space, id: &McpServerId) -> Result<()> {
    let caller = tx.caller().clone();
    known(tx, id).await?;
    diesel::delete(space_mcp_servers::table)
        .filter(space_mcp_servers::org_id.eq(&caller.org_id))
        .filter(space_mcp_servers::space_id.eq(&space.id))
        .filter(space_mcp_servers::server_id.eq(id))
        .execute(tx.connection())
        .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = Text)]
    id: McpServerId,
    #[diesel(sql_type = Text)]
    org_id: OrgId,
    #[diesel(sql_type = Text)]
    endpoint_url: String,
    #[diesel(sql_type = Text)]
    auth_type: McpAuthType,
    #[diesel(sql_type = Nullable<Text>)]
    secret_id: Option<SecretId>,
    #[diesel(sql_type = Nullable<Text>)]
    key_id: Option<String>,
    #[diesel(sql_type = Nullable<Binary>)]
    nonce: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    ciphertext: Option<Vec<u8>>,
}

/// Takes up to `most` servers of any organization whose check is due, so that no other process
/// takes them: the next one is due in [`CHECK_INTERVAL`], whatever becomes of this one.
pub async fn claim_due(store: &Store, most: i32) -> Result<Vec<Target>> {
    let mut tx = store.begin_system().await?;
    let now = tx.now();
    // Raw SQL: Diesel has no UPDATE over a locked selection
    let rows: Vec<DueRow> = diesel::sql_query(
        "WITH due AS ( \
             SELECT s.id FROM mcp_servers s \
             WHERE s.next_check_at <= coalesce($1, clock_timestamp()) \
             ORDER BY s.next_check_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
         claimed AS ( \
             UPDATE mcp_servers s SET next_check_at = coalesce($1, clock_timestamp()) \
                 + make_interval(secs => $3 * (1 + $4 * (2 * random() - 1))) \
             FROM due WHERE s.id = due.id \
             RETURNING s.id, s.org_id, s.endpoint_url, s.auth_type, s.secret_id) \
         SELECT c.*, v.key_id, v.nonce, v.ciphertext FROM claimed c \
         LEFT JOIN vault_secrets v ON v.org_id = c.org_id AND v.id = c.secret_id",
    )
    .bind::<Nullable<Timestamptz>, _>(now)
    .bind::<Integer, _>(most)
    .bind::<Double, _>(CHECK_INTERVAL.as_secs_f64())
    .bind::<Double, _>(JITTER)
    .kept()
    .load(tx.connection())
    .await?;
    tx.commit().await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let sealed = (row.secret_id, row.key_id, row.nonce, row.ciphertext);
            let secret = match sealed {
                (Some(id), Some(key_id), Some(nonce), Some(ciphertext)) => {
                    Some(Sealed { id, key_id, nonce, ciphertext })
                }
                _ => None,
            };
            Target {
                id: row.id,
                org_id: row.org_id,
                endpoint_url: row.endpoint_url,
                auth_type: row.auth_type,
                secret,
            }
        })
        .collect())
}

/// Notes how a server was found, by nobody's request. One that is gone by now is nobody's concern.
pub async fn record_due(store: &Store, target: &Target, health: McpHealth) -> Result<()> {
    let mut tx = store.begin_system().await?;
    let now = tx.now();
    diesel::sql_query(
        "UPDATE mcp_servers SET health = $3, last_checked_at = coalesce($4, clock_timestamp()) \
         WHERE org_id = $1 AND id = $2",
    )
    .bind::<Text, _>(&target.org_id)
    .bind::<Text, _>(&target.id)
    .bind::<Text, _>(health)
    .bind::<Nullable<Timestamptz>, _>(now)
    .kept()
    .execute(tx.connection())
    .await?;
    tx.commit().await
}
