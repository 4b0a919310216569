//! Integrations: MCP servers of the organization, and where they are used.

use progenitor_client::Error as Failure;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Client, Request,
    envelope::ErrorEnvelope,
    generated,
    pages::{Part, paged},
    request::{idempotency_key, sealed::Run},
    types,
};

/// The MCP servers that the organization has registered: [`Client::mcp_servers`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// let servers = client.mcp_servers();
/// let server = servers
///     .create("Deploy tools", "deploys", "https://mcp.example.com/mcp")
///     .bearer("the server's token")
///     .await?;
/// let test = servers.test(&server.id).await?;
/// match test.error {
///     None => client.space_mcps("platform-team").bind(&server.id).await?,
///     Some(error) => println!("{:?}: {}", error.code, error.message),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct McpServers<'a> {
    pub(crate) client: &'a Client,
}

impl McpServers<'_> {
    /// The servers, by name.
    pub fn list(&self) -> Request<McpServerList> {
        self.client.request(McpServerList { part: Part::default() })
    }

    /// Registers a server that is called without a secret, unless one is set. `mention` is how
    /// messages name it, without the `@`; `endpoint` is an HTTPS URL on the Internet.
    pub fn create(
        &self,
        name: impl Into<String>,
        mention: impl Into<String>,
        endpoint: impl Into<String>,
    ) -> Request<McpServerCreate> {
        self.client.request(McpServerCreate {
            name: name.into(),
            mention: mention.into(),
            endpoint: endpoint.into(),
            auth: types::McpAuthType::None,
            secret: None,
            idempotency_key: None,
        })
    }

    /// Removes a server, with its secret; no Space uses it any more.
    pub fn delete(&self, id: impl Into<String>) -> Request<McpServerDelete> {
        self.client.request(McpServerDelete { id: id.into() })
    }

    /// Has the server called, and tells how it went. A server that cannot be used is no error:
    /// look at [`types::McpConnectionTest::error`].
    pub fn test(&self, id: impl Into<String>) -> Request<McpServerTest> {
        self.client.request(McpServerTest { id: id.into(), idempotency_key: None })
    }
}

/// The integrations of one Space: [`Client::space_mcps`].
#[derive(Clone, Copy, Debug)]
pub struct SpaceMcps<'a> {
    pub(crate) client: &'a Client,
    pub(crate) slug: &'a str,
}

impl SpaceMcps<'_> {
    /// The servers of the organization, and whether the Space uses each.
    pub fn list(&self) -> Request<SpaceMcpList> {
        self.client.request(SpaceMcpList { slug: self.slug.into(), part: Part::default() })
    }

    /// Lets the Space use a server. Repeating it is no error.
    pub fn bind(&self, id: impl Into<String>) -> Request<SpaceMcpBind> {
        self.client.request(SpaceMcpBind { slug: self.slug.into(), id: id.into() })
    }

    /// Lets the Space use a server no longer. Repeating it is no error.
    pub fn unbind(&self, id: impl Into<String>) -> Request<SpaceMcpUnbind> {
        self.client.request(SpaceMcpUnbind { slug: self.slug.into(), id: id.into() })
    }
}

/// `GET /mcp/servers`: see [`McpServers::list`].
#[derive(Clone, Debug)]
pub struct McpServerList {
    part: Part,
}

paged!(McpServerList, types::McpServer, servers, id as "id", |_list, api| api.mcp_server_list());

/// `POST /mcp/servers`: see [`McpServers::create`].
#[derive(Clone, Debug)]
pub struct McpServerCreate {
    name: String,
    mention: String,
    endpoint: String,
    auth: types::McpAuthType,
    secret: Option<SecretString>,
    idempotency_key: Option<String>,
}

impl Request<McpServerCreate> {
    /// Calls the server with `Authorization: Bearer` and this token.
    pub fn bearer(mut self, token: impl Into<SecretString>) -> Self {
        self.operation.auth = types::McpAuthType::Bearer;
        self.operation.secret = Some(token.into());
        self
    }

    /// Calls the server with a header of its own: `HeaderName:value`.
    pub fn api_key(mut self, header: impl Into<SecretString>) -> Self {
        self.operation.auth = types::McpAuthType::ApiKey;
        self.operation.secret = Some(header.into());
        self
    }

    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for McpServerCreate {
    type Data = types::McpServer;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let body = types::McpServerCreate {
            display_name: self.name,
            mention_slug: self.mention,
            endpoint_url: self.endpoint,
            auth_type: self.auth,
            secret: self.secret.map(|secret| secret.expose_secret().to_owned()),
        };
        let request = api.mcp_server_create().idempotency_key(key).body(body);
        Ok(request.send().await?.into_inner().data.server)
    }
}

/// `DELETE /mcp/servers/{serverId}`: see [`McpServers::delete`].
#[derive(Clone, Debug)]
pub struct McpServerDelete {
    id: String,
}

impl Run for McpServerDelete {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.mcp_server_delete().server_id(self.id).send().await?;
        Ok(())
    }
}

/// `POST /mcp/servers/{serverId}/test-connection`: see [`McpServers::test`].
#[derive(Clone, Debug)]
pub struct McpServerTest {
    id: String,
    idempotency_key: Option<String>,
}

impl Request<McpServerTest> {
    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for McpServerTest {
    type Data = types::McpConnectionTest;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.mcp_server_test().server_id(self.id).idempotency_key(key);
        Ok(request.send().await?.into_inner().data)
    }
}

/// `GET /spaces/{slug}/mcps`: see [`SpaceMcps::list`].
#[derive(Clone, Debug)]
pub struct SpaceMcpList {
    slug: String,
    part: Part,
}

paged!(SpaceMcpList, types::SpaceMcpServer, servers, id as "id", |list, api| {
    api.space_mcp_list().slug(list.slug)
});

/// `PUT /spaces/{slug}/mcps/{serverId}`: see [`SpaceMcps::bind`].
#[derive(Clone, Debug)]
pub struct SpaceMcpBind {
    slug: String,
    id: String,
}

impl Run for SpaceMcpBind {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.space_mcp_bind().slug(self.slug).server_id(self.id).send().await?;
        Ok(())
    }
}

/// `DELETE /spaces/{slug}/mcps/{serverId}`: see [`SpaceMcps::unbind`].
#[derive(Clone, Debug)]
pub struct SpaceMcpUnbind {
    slug: String,
    id: String,
}

impl Run for SpaceMcpUnbind {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.space_mcp_unbind().slug(self.slug).server_id(self.id).send().await?;
        Ok(())
    }
}
