//! Integrations (contract B7): MCP servers of the organization, and the Spaces that use them.

use super::pages::{PageParams, total};
use super::sessions::{AGENTS, checked_slug};
use super::{App, Call, Ctx, Kept};
use crate::auth::Scope;
use crate::error::{Error, Issue, Result};
use crate::http::{
    Answer, Check, Created, IdempotencyKey, Issues, Json, NoContent, Ok200, Params, Reply,
    Timestamp, Unread,
};
use crate::mcp::client::{Credential, MAX_SECRET, McpFailureCode};
use crate::mcp::guard::{self, MAX_URL, UrlError};
use crate::mcp::health::{self, Report};
use crate::store::Tx;
use crate::store::ids::{McpServerId, OrgId};
use crate::store::mcp_servers::{self as store, McpAuthType, McpHealth};
use crate::store::rights::Right;
use crate::store::spaces;
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

/// Longest name of an integration, in characters.
pub const MAX_DISPLAY_NAME: usize = 100;
/// Longest mention of an integration, in characters.
pub const MAX_MENTION: usize = 50;

/// An MCP server of the organization. Its secret is never shown.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct McpServer {
    /// The integration's id.
    id: McpServerId,
    /// The organization that it belongs to.
    organization_id: OrgId,
    /// Its name.
    #[schemars(example = "example_name")]
    display_name: String,
    /// How messages mention it, without the `@`.
    #[schemars(example = "example_mention")]
    mention_slug: String,
    /// Where it is; `null` when that is nobody's business but ours.
    #[schemars(example = "example_url")]
    endpoint_url: Option<String>,
    /// How it is shown that we may call it.
    auth_type: McpAuthType,
    /// How it was when it was last checked; it is checked every 10 minutes.
    health: McpHealth,
    /// When it was last checked; `null` before the first time.
    last_checked_at: Option<Timestamp>,
    /// When it was registered.
    created_at: Timestamp,
}

fn example_name() -> &'static str {
    "Deploy tools"
}

fn example_mention() -> &'static str {
    "deploys"
}

fn example_url() -> &'static str {
    "https://mcp.example.com/mcp"
}

fn example_slug() -> &'static str {
    "platform-team"
}

impl From<store::McpServer> for McpServer {
    fn from(server: store::McpServer) -> Self {
        McpServer {
            id: server.id,
            organization_id: server.org_id,
            display_name: server.display_name,
            mention_slug: server.mention_slug,
            endpoint_url: Some(server.endpoint_url),
            auth_type: server.auth_type,
            health: server.health,
            last_checked_at: server.last_checked_at.map(Timestamp::from),
            created_at: server.created_at.into(),
        }
    }
}

/// One integration.
#[derive(Serialize, JsonSchema)]
struct McpServerData {
    /// The integration.
    server: McpServer,
}

/// The integrations of the organization.
#[derive(Serialize, JsonSchema)]
struct McpServerList {
    /// By name.
    servers: Vec<McpServer>,
    /// How many there are in all.
    total: u32,
}

/// An integration, as a Space sees it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpaceMcpServer {
    #[serde(flatten)]
    server: McpServer,
    /// Whether the Space uses it.
    bound: bool,
}

/// The integrations of the organization, as a Space sees them.
#[derive(Serialize, JsonSchema)]
struct SpaceMcpServerList {
    /// By name.
    servers: Vec<SpaceMcpServer>,
    /// How many there are in all.
    total: u32,
}

/// A text that is taken, and never given.
struct WriteOnly(SecretString);

impl<'de> Deserialize<'de> for WriteOnly {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        // serde's own message for a number would repeat it
        match serde_json::Value::deserialize(d)? {
            serde_json::Value::String(text) => Ok(WriteOnly(text.into())),
            _ => Err(serde::de::Error::custom("must be a text")),
        }
    }
}

/// A new integration.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct McpServerCreate {
    /// Its name.
    #[schemars(
        length(min = 1, max = 100),
        regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"),
        example = "example_name"
    )]
    display_name: String,
    /// How messages mention it: lowercase letters, digits, dashes and underscores, unique in the
    /// organization, and none of the built-in agents.
    #[schemars(
        length(min = 1, max = 50),
        regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,49}$"),
        example = "example_mention"
    )]
    mention_slug: String,
    /// Its MCP endpoint (Streamable HTTP): an HTTPS URL on the Internet, with port 443 or one from
    /// 1024, without a user and a fragment. What it resolves to is checked now and at every call.
    #[schemars(length(min = 1, max = 2_048), example = "example_url")]
    endpoint_url: String,
    /// How it is shown that we may call it.
    auth_type: McpAuthType,
    /// The bearer token for `BEARER`, `HeaderName:value` for `API_KEY`, nothing for `NONE`.
    /// Visible ASCII. It is kept encrypted, and never shown again.
    #[serde(default, skip_serializing)]
    #[schemars(with = "Option<String>", length(min = 1, max = 4_096))]
    secret: Option<WriteOnly>,
}

fn is_mention(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=MAX_MENTION).contains(&text.len())
        && text.bytes().all(|b| inner(b) || b == b'-' || b == b'_')
        && text.bytes().next().is_some_and(inner)
}

impl Check for McpServerCreate {
    fn check(&self, issues: &mut Issues) {
        let name = self.display_name.trim();
        issues.length("displayName", name, 1..=MAX_DISPLAY_NAME);
        if name.chars().any(char::is_control) {
            issues.add("displayName", "invalid_character", "must not contain control characters");
        }
        if !is_mention(&self.mention_slug) {
            let message = "must be 1 to 50 lowercase letters, digits, dashes and underscores, and \
                           begin with a letter or digit";
            issues.add("mentionSlug", "invalid", message);
        }
        let url = self.endpoint_url.as_str();
        issues.length("endpointUrl", url, 1..=MAX_URL);
        if !url.is_empty() && url.chars().count() <= MAX_URL {
            for refusal in guard::parse(url).err().into_iter().flatten() {
                issues.add("endpointUrl", refusal.code(), refusal.to_string());
            }
        }
        match (&self.secret, self.auth_type) {
            (None, McpAuthType::None) => {}
            (None, _) => issues.add("secret", "required", "is required unless authType is NONE"),
            (Some(_), McpAuthType::None) => {
                issues.add("secret", "not_allowed", "must not be given when authType is NONE");
            }
            (Some(WriteOnly(secret)), kind) => {
                let length = secret.expose_secret().chars().count();
                issues.length("secret", secret.expose_secret(), 1..=MAX_SECRET);
                if (1..=MAX_SECRET).contains(&length)
                    && let Err(message) = Credential::parse(kind, secret)
                {
                    issues.add("secret", "invalid", message);
                }
            }
        }
    }
}

/// The endpoint is not one that is called.
fn refused(refusals: &[UrlError]) -> Error {
    let issue = |refusal: &UrlError| Issue {
        path: vec!["endpointUrl".into()],
        code: refusal.code(),
        message: refusal.to_string(),
    };
    Error::Invalid(refusals.iter().map(issue).collect())
}

/// The endpoint of a body that is otherwise acceptable, if it may be called.
async fn endpoint_of(app: &App, body: &McpServerCreate) -> Result<Url> {
    let url = guard::parse(&body.endpoint_url).map_err(|refusals| refused(&refusals))?;
    app.upstreams.check_url(&url).await.map_err(|refusals| refused(&refusals))?;
    Ok(url)
}

/// An integration by id.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct McpServerPath {
    /// The integration's id.
    #[schemars(with = "McpServerId")]
    server_id: String,
}

/// The Space by slug.
#[derive(Deserialize, JsonSchema)]
struct SpaceMcpPath {
    /// The Space's slug.
    #[schemars(length(min = 1, max = 100), example = "example_slug")]
    slug: String,
}

/// A Space and an integration.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpaceMcpServerPath {
    /// The Space's slug.
    #[schemars(length(min = 1, max = 100), example = "example_slug")]
    slug: String,
    /// The integration's id.
    #[schemars(with = "McpServerId")]
    server_id: String,
}

fn server_id(text: &str) -> Result<McpServerId> {
    text.parse().map_err(|_| Error::not_found("MCP server"))
}

/// How a connection test went.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct McpConnectionTest {
    /// Whether the server answered as an MCP server does.
    ok: bool,
    /// How the server is, as it is now stored.
    health: McpHealth,
    /// How long the test took, in milliseconds.
    latency_ms: u32,
    /// Why it failed; `null` when it did not.
    error: Option<McpConnectionError>,
    /// What the server said of itself; `null` when it failed.
    server_info: Option<McpServerInfo>,
    /// How many tools the server has; `null` when it failed, or has none to list.
    tool_count: Option<u32>,
}

/// Why a connection test failed.
#[derive(Serialize, JsonSchema)]
struct McpConnectionError {
    /// For programs.
    code: McpFailureCode,
    /// For people. Nothing of what the server answered is in it.
    message: String,
}

/// What an MCP server says of itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct McpServerInfo {
    /// Its name.
    name: Option<String>,
    /// Its version.
    version: Option<String>,
    /// The protocol's version that was agreed on.
    protocol_version: String,
}

impl From<Report> for McpConnectionTest {
    fn from(report: Report) -> Self {
        let latency_ms = u32::try_from(report.latency.as_millis()).unwrap_or(u32::MAX);
        let base = McpConnectionTest {
            ok: report.outcome.is_ok(),
            health: report.health,
            latency_ms,
            error: None,
            server_info: None,
            tool_count: None,
        };
        match report.outcome {
            Ok(seen) => McpConnectionTest {
                tool_count: seen.tools.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
                server_info: Some(McpServerInfo {
                    name: seen.name,
                    version: seen.version,
                    protocol_version: seen.protocol_version,
                }),
                ..base
            },
            Err(failure) => McpConnectionTest {
                error: Some(McpConnectionError { code: failure.code, message: failure.message }),
                ..base
            },
        }
    }
}

/// List integrations
///
/// The MCP servers that the organization has registered, by name. Secrets are never shown. All of
/// them, up to 1,000; `before` pages through more.
#[endpoint { method = GET, path = "/api/mcp/servers", tags = ["Integrations"], operation_id = "mcp_server_list" }]
pub(super) async fn mcp_server_list(
    ctx: Ctx,
    params: Params<PageParams<McpServerId>>,
) -> Answer<Ok200<McpServerList>> {
    let mut call = Call::reading(&ctx, Scope::McpServersRead);
    let paging = call.valid(params.into_inner()).await?.into();
    let listed = call.read(async |tx| store::list(tx, &paging).await).await?;
    Reply::ok(McpServerList {
        servers: listed.rows.into_iter().map(McpServer::from).collect(),
        total: total(listed.total),
    })
}

/// Register an integration
///
/// The organization's OWNER and ADMIN may, up to 50. A mention that is taken, or that belongs to a
/// built-in agent, is a conflict. An endpoint that is not on the Internet, or does not resolve, is
/// not accepted. The server is not called yet: test its connection.
#[endpoint { method = POST, path = "/api/mcp/servers", tags = ["Integrations"], operation_id = "mcp_server_create" }]
pub(super) async fn mcp_server_create(
    ctx: Ctx,
    key: IdempotencyKey,
    body: Unread<McpServerCreate>,
) -> Answer<Created<McpServerData>> {
    let mut call = Call::writing(&ctx, Scope::McpServersWrite).await?;
    let body = call.body(body).await?;
    // Names are looked up before the transaction begins, which must not wait for them. What was
    // found counts only if this request is the first with its key.
    let endpoint = match body.peek() {
        Some(body) if store::may_manage(call.caller()) => Some(endpoint_of(call.app(), body).await),
        _ => None,
    };
    call.create(key, body, async |tx, new| {
        store::manager(call.caller())?;
        let endpoint = endpoint.ok_or_else(|| Error::internal("no endpoint was looked at"))??;
        if AGENTS.contains(&new.mention_slug.as_str()) {
            let message = format!("the mention `{}` is a built-in agent's", new.mention_slug);
            return Err(Error::conflict(message));
        }
        let vault = &call.app().vault;
        let seal = |WriteOnly(secret)| vault.seal(&call.caller().org_id, &secret);
        let new = store::NewMcpServer {
            display_name: new.display_name.trim().to_owned(),
            mention_slug: new.mention_slug,
            endpoint_url: endpoint.into(),
            auth_type: new.auth_type,
            secret: new.secret.map(seal).transpose()?,
        };
        let server = store::create(tx, &new).await?;
        let data = McpServerData { server: server.into() };
        Kept::new(&data, Right::Manager)
    })
    .await
}

/// Remove an integration
///
/// The organization's OWNER and ADMIN may. Its secret goes with it, and no Space uses it any more.
#[endpoint { method = DELETE, path = "/api/mcp/servers/{serverId}", tags = ["Integrations"], operation_id = "mcp_server_delete" }]
pub(super) async fn mcp_server_delete(ctx: Ctx, path: Path<McpServerPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::McpServersWrite).await?;
    store::manager(call.caller())?;
    let id = server_id(&path.into_inner().server_id)?;
    call.write(async |tx| store::delete(tx, &id).await).await?;
    Reply::no_content()
}

/// Test an integration's connection
///
/// Calls the server as it is called for its tools (`initialize`, then `tools/list`), within 10
/// seconds. The organization's OWNER and ADMIN may. A server that cannot be used is no failure of
/// this request: `ok` and `error` tell. What was found is stored as the server's health.
#[endpoint { method = POST, path = "/api/mcp/servers/{serverId}/test-connection", tags = ["Integrations"], operation_id = "mcp_server_test" }]
pub(super) async fn mcp_server_test(
    ctx: Ctx,
    path: Path<McpServerPath>,
    key: IdempotencyKey,
) -> Answer<Ok200<McpConnectionTest>> {
    let call = Call::writing(&ctx, Scope::McpServersWrite).await?;
    let app = call.app();
    let prepare = async |tx: &mut Tx, ()| {
        store::manager(call.caller())?;
        let id = server_id(&path.into_inner().server_id)?;
        store::target(tx, &id).await
    };
    let ask = async |target: store::Target, _| {
        let place = app.upstreams.place()?;
        let report = health::check(&app.upstreams, &app.vault, &target).await;
        Ok((place, target, report))
    };
    call.create_around(key, Json::none(), prepare, ask, async |tx, (_place, target, report)| {
        store::record(tx, &target.id, report.health).await?;
        Kept::new(&McpConnectionTest::from(report), Right::Manager)
    })
    .await
}

/// List a Space's integrations
///
/// The integrations of the organization, and whether the Space uses each. Members of the Space may.
/// All of them, up to 1,000; `before` pages through more.
#[endpoint { method = GET, path = "/api/spaces/{slug}/mcps", tags = ["Integrations"], operation_id = "space_mcp_list" }]
pub(super) async fn space_mcp_list(
    ctx: Ctx,
    path: Path<SpaceMcpPath>,
    params: Params<PageParams<McpServerId>>,
) -> Answer<Ok200<SpaceMcpServerList>> {
    let mut call = Call::reading(&ctx, Scope::McpServersRead);
    let slug = call.valid(checked_slug(path.into_inner().slug)).await?;
    let paging = call.valid(params.into_inner()).await?.into();
    let listed = call
        .read(async |tx| {
            let (space, _) = spaces::view_by_slug(tx, &slug).await?;
            store::list_of_space(tx, &space, &paging).await
        })
        .await?;
    let servers = listed.rows.into_iter();
    let servers = servers.map(|(server, bound)| SpaceMcpServer { server: server.into(), bound });
    Reply::ok(SpaceMcpServerList { servers: servers.collect(), total: total(listed.total) })
}

/// Bind an integration to a Space
///
/// From now on, messages of the Space can mention it. The Space's OWNER and EDITOR may, and the
/// organization's OWNER and ADMIN. Once more is no error.
#[endpoint { method = PUT, path = "/api/spaces/{slug}/mcps/{serverId}", tags = ["Integrations"], operation_id = "space_mcp_bind" }]
pub(super) async fn space_mcp_bind(ctx: Ctx, path: Path<SpaceMcpServerPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::McpServersWrite).await?;
    let SpaceMcpServerPath { slug, server_id: id } = path.into_inner();
    let slug = checked_slug(slug)?;
    call.write(async |tx| {
        let space = spaces::find_by_slug(tx, &slug).await?;
        store::may_bind(tx.caller(), space.1)?;
        store::bind(tx, &space.0, &server_id(&id)?).await
    })
    .await?;
    Reply::no_content()
}

/// Unbind an integration from a Space
///
/// Messages of the Space can mention it no longer. Who may bind it may unbind it, and once more is
/// no error.
#[endpoint { method = DELETE, path = "/api/spaces/{slug}/mcps/{serverId}", tags = ["Integrations"], operation_id = "space_mcp_unbind" }]
pub(super) async fn space_mcp_unbind(
    ctx: Ctx,
    path: Path<SpaceMcpServerPath>,
) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::McpServersWrite).await?;
    let SpaceMcpServerPath { slug, server_id: id } = path.into_inner();
    let slug = checked_slug(slug)?;
    call.write(async |tx| {
        let space = spaces::find_by_slug(tx, &slug).await?;
        store::may_bind(tx.caller(), space.1)?;
        store::unbind(tx, &space.0, &server_id(&id)?).await
    })
    .await?;
    Reply::no_content()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_what_the_contract_says() {
        for good in ["a", "0", "a-b_c", "deploys", &"a".repeat(50)] {
            assert!(is_mention(good), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a b", "ä", "a.b", "@a", "a\n", &"a".repeat(51)] {
            assert!(!is_mention(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_of_another_type_is_not_repeated() {
        let Err(error) = serde_json::from_str::<WriteOnly>("123456") else { panic!("accepted") };
        assert!(!error.to_string().contains("123456"), "{error}");
    }
}
